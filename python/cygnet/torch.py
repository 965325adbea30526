"""PyTorch modules and exported programs to ``.cygnet`` files.

    python -m cygnet.torch torchvision.models:mobilenet_v2 -o mobilenet.cygnet --input 1x3x224x224
    python -m cygnet.torch model.pt2 -o model.cygnet --precision int8 --calibrate samples/

The module goes through torch's own ONNX exporter: that of ``torch.export`` first, that of TorchScript where the first
one has no translation. Quantized modules keep their scales: those of PT2E (``convert_pt2e``) and fake-quantized ones of
quantization-aware training become QuantizeLinear and DequantizeLinear, which the converter reads. What comes out is run on
the sample inputs and compared with what the module gives, unless that is turned off.
"""
from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from .command import CygnetError, run
from .quantized import frozen, translations


@dataclass
class Converted:
    """A file that was written."""

    path: Path
    #: What the command printed: sizes, memory, work.
    report: str
    #: Of each output the greatest difference from the module's, relative to the module's greatest magnitude; empty when
    #: they were not compared.
    differences: dict[str, float]


def convert(
    model: torch.nn.Module | torch.export.ExportedProgram,
    inputs: Sequence[torch.Tensor] | None,
    output: str | Path,
    *,
    precision: str = "auto",
    calibrate: Sequence[str | Path] | Iterable[Sequence[torch.Tensor]] = (),
    options: Sequence[str] = (),
    compare: bool = True,
) -> Converted:
    """Converts a module, in evaluation mode, or an exported program to a file.

    ``inputs`` are sample inputs, tensors in the order of ``forward``: their shapes are those of the file. An exported
    program may do with its own. ``calibrate`` shows int8 what values tensors take: folders and files as the command's
    ``--calibrate`` takes them, or tuples of inputs. ``options`` are further arguments of ``cygnet convert``.

    Raises :class:`CygnetError` when the converter refuses the model, and whatever the exporter raises.
    """
    inputs = tuple(_example(model) if inputs is None else inputs)
    output = Path(output)
    if isinstance(model, torch.nn.Module):
        _evaluate(model)
        model = frozen(model)
    with tempfile.TemporaryDirectory() as folder:
        onnx = Path(folder) / "model.onnx"
        names, outputs = export(model, inputs, onnx)
        arguments = ["convert", str(onnx), "-o", str(output), "--quiet", "--precision", precision]
        given = [str(c) if isinstance(c, (str, Path)) else c for c in calibrate]
        for i, sample in enumerate(given):
            if not isinstance(sample, str):
                given[i] = str(Path(folder) / f"sample{i}.npz")
                _save(given[i], names, sample)
        if given:
            arguments += ["--calibrate", *given]
        for name, value in zip(names, inputs):
            if value.dim() > 0:
                arguments += ["--shape", f"{name}={'x'.join(map(str, value.shape))}"]
        report = run([*arguments, *options])
        differences = _compare(model, inputs, names, outputs, output, Path(folder)) if compare else {}
    return Converted(output, report, differences)


def export(
    model: torch.nn.Module | torch.export.ExportedProgram, inputs: Sequence[torch.Tensor], path: Path
) -> tuple[list[str], list[str]]:
    """Writes an ONNX file with all its weights; the names of inputs and outputs."""
    import onnx

    if isinstance(model, torch.nn.Module):
        _evaluate(model)
    is_program = isinstance(model, torch.export.ExportedProgram)
    try:
        program = torch.onnx.export(
            model,
            () if is_program else tuple(inputs),
            dynamo=True,
            verbose=False,
            custom_translation_table=translations(),
        )
        program.save(str(path))
    except torch.onnx.OnnxExporterError:
        # Fake-quantized modules of eager mode have no translation there.
        if is_program:
            raise
        torch.onnx.export(model, tuple(inputs), str(path), dynamo=False)
    graph = onnx.load(str(path), load_external_data=False).graph
    weights = {t.name for t in graph.initializer}
    return [i.name for i in graph.input if i.name not in weights], [o.name for o in graph.output]


def _evaluate(model: torch.nn.Module) -> None:
    """To evaluation mode, which exported modules do not have a method for: those are in it."""
    try:
        model.eval()
    except NotImplementedError:
        pass


def _example(model: torch.nn.Module | torch.export.ExportedProgram) -> Sequence[torch.Tensor]:
    """The inputs that an exported program was made with."""
    held = model.example_inputs if isinstance(model, torch.export.ExportedProgram) else None
    if not held or held[1]:
        raise CygnetError("sample inputs are needed, in the order of forward; only exported programs bring their own")
    return held[0]


def _save(path: str | Path, names: Sequence[str], values: Sequence[torch.Tensor]) -> None:
    if len(names) != len(values):
        raise CygnetError(f"{len(values)} inputs were given, the model has {len(names)}: {', '.join(names)}")
    np.savez(path, **{n: v.detach().cpu().numpy() for n, v in zip(names, values)})


def _compare(model, inputs, names, outputs, file: Path, folder: Path) -> dict[str, float]:
    run_module = model.module() if isinstance(model, torch.export.ExportedProgram) else model
    with torch.no_grad():
        want = run_module(*inputs)
    want = [want] if isinstance(want, torch.Tensor) else torch.utils._pytree.tree_leaves(want)
    _save(folder / "inputs.npz", names, inputs)
    run(["run", str(file), "--input", str(folder / "inputs.npz"), "--output", str(folder / "outputs.npz")])
    got = np.load(folder / "outputs.npz")
    differences = {}
    for name, value in zip(outputs, want):
        value = value.detach().cpu().numpy().astype(np.float64)
        # In a .npz a slash would be a folder.
        own = got[name if name in got.files else name.replace("/", "|")].astype(np.float64)
        if own.shape != value.shape:
            raise CygnetError(f"output '{name}' is {own.shape} where the module gives {value.shape}")
        peak = max(float(np.abs(value).max(initial=0.0)), 1e-12)
        differences[name] = float(np.abs(own - value).max(initial=0.0)) / peak
    return differences


def load(source: str) -> torch.nn.Module | torch.export.ExportedProgram:
    """``FILE.pt2``, or ``package.module:name``: a module, or what makes one."""
    if source.endswith(".pt2"):
        return torch.export.load(source)
    where, _, name = source.partition(":")
    if not name:
        raise CygnetError(f"'{source}' is neither FILE.pt2 nor package.module:factory")
    found = importlib.import_module(where)
    for part in name.split("."):
        found = getattr(found, part)
    return found if isinstance(found, torch.nn.Module) else found()


def sample(text: str) -> torch.Tensor:
    """``1x3x224x224`` or ``1x128:int64``: pseudo-random numbers; ``FILE.npy``: what it holds."""
    if text.endswith(".npy"):
        return torch.from_numpy(np.load(text))
    shape, _, dtype = text.partition(":")
    dims = [int(d) for d in shape.split("x")]
    kind = getattr(torch, dtype or "float32")
    generator = torch.Generator().manual_seed(0)
    if kind.is_floating_point:
        return torch.randn(dims, generator=generator).to(kind)
    return torch.randint(0, 100, dims, generator=generator).to(kind)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m cygnet.torch", description=__doc__.split("\n")[0])
    parser.add_argument("source", help="package.module:factory, or FILE.pt2")
    parser.add_argument("-o", "--output", required=True, help="the .cygnet file to write")
    parser.add_argument(
        "--input", action="append", default=[], metavar="1x3x224x224[:DTYPE]|FILE.npy",
        help="a sample input, in the order of forward; a .pt2 file brings its own",
    )
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--calibrate", action="append", default=[], metavar="DIR|FILE")
    parser.add_argument("--no-compare", action="store_true", help="do not run the file and the module on the inputs")
    parser.add_argument("options", nargs="*", help="behind --: further options of `cygnet convert`")
    args = parser.parse_args(arguments)
    sys.path.insert(0, "")
    try:
        made = convert(
            load(args.source),
            [sample(text) for text in args.input] or None,
            args.output,
            precision=args.precision,
            calibrate=args.calibrate,
            options=args.options,
            compare=not args.no_compare,
        )
    except CygnetError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(made.report, end="")
    for name, far in made.differences.items():
        print(f"output '{name}': within {far:.2e} of the module's, relative to its greatest")
    return 0


if __name__ == "__main__":
    sys.exit(main())
