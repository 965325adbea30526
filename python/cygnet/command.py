"""The command ``cygnet``, run as a subprocess."""
from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence


class CygnetError(RuntimeError):
    """The command failed; the message is what it said."""


def find() -> str:
    """The command: the file that the environment variable CYGNET names, else ``cygnet`` on the PATH."""
    return os.environ.get("CYGNET") or "cygnet"


def run(arguments: Sequence[str]) -> str:
    """Runs the command; what it printed.

    Raises :class:`CygnetError` with its message when it fails or is not there.
    """
    try:
        done = subprocess.run([find(), *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise CygnetError(
            f"there is no command '{find()}'; build it with `cargo build --release -p cygnet-cli` and name it in CYGNET, "
            "or put it on the PATH"
        ) from error
    if done.returncode != 0:
        raise CygnetError(done.stderr.strip().removeprefix("error: "))
    return done.stdout
