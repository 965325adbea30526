#!/usr/bin/env python3
"""Writes the node tests of ONNX where tests/tests/conformance.rs finds them.

    tests/conformance/make_suites.py [--into FOLDER] [onnx] [exports] [debian]

`onnx` takes the cases out of the Python package onnx 1.23.2, which has to be installed (`pip install onnx==1.23.2` in
an environment of its own); `exports` the small models of that package that PyTorch wrote long ago, and others of a few
operators; `debian` those of the Debian package libonnx-testdata 1.12.0, downloaded by `apt-get` and
unpacked by `dpkg-deb` (no root needed). Without a name all are made. FOLDER is .cache/conformance by default; give its
full path to the tests as CYGNET_CONFORMANCE.

A case is a folder under its name: model.onnx, and in test_data_set_0 the files input_N.pb and output_N.pb, as ONNX
keeps its own. Of the package's cases those that only spell out a function (`_expanded`) are left away: the function
itself is among the others.
"""
import argparse
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

ONNX = "1.23.2"
DEBIAN = "libonnx-testdata"
DEBIAN_VERSION = "1.12.0"


def value(array, info):
    """The bytes of one input or output, as the type of the model's port says."""
    from onnx import numpy_helper

    kind = info.type.WhichOneof("value")
    if kind == "sequence_type":
        return numpy_helper.from_list(array, info.name)
    if kind == "optional_type":
        return numpy_helper.from_optional(array, info.name)
    if hasattr(array, "SerializeToString"):
        return array
    import numpy

    return numpy_helper.from_array(numpy.asarray(array), info.name)


def write_onnx(folder):
    try:
        import onnx
        from onnx.backend.test.case.node import collect_testcases
    except ImportError as missing:
        sys.exit(f"{missing}: pip install onnx=={ONNX}, in an environment of its own")

    if onnx.__version__ != ONNX:
        sys.exit(f"onnx {onnx.__version__} is installed, the lists are of {ONNX}: pip install onnx=={ONNX}")
    with warnings.catch_warnings():
        # Some cases are about overflow and division by zero, of which numpy warns.
        warnings.simplefilter("ignore")
        cases = [case for case in collect_testcases(None) if "_expanded" not in case.name]
    for case in cases:
        assert (case.rtol, case.atol) == (1e-3, 1e-7), case.name
        ((inputs, outputs),) = case.data_sets
        data = folder / case.name / "test_data_set_0"
        data.mkdir(parents=True)
        (folder / case.name / "model.onnx").write_bytes(case.model.SerializeToString())
        graph = case.model.graph
        for what, arrays, infos in (("input", inputs, graph.input), ("output", outputs, graph.output)):
            for i, (array, info) in enumerate(zip(arrays, infos)):
                (data / f"{what}_{i}.pb").write_bytes(value(array, info).SerializeToString())
    return len(cases)


def write_exports(folder):
    try:
        import onnx
    except ImportError as missing:
        sys.exit(f"{missing}: pip install onnx=={ONNX}, in an environment of its own")

    if onnx.__version__ != ONNX:
        sys.exit(f"onnx {onnx.__version__} is installed, the lists are of {ONNX}: pip install onnx=={ONNX}")
    data = Path(onnx.__file__).parent / "backend/test/data"
    cases = [case for kind in ("pytorch-converted", "pytorch-operator", "simple") for case in (data / kind).iterdir()]
    for case in cases:
        shutil.copytree(case, folder / case.name)
        graph = onnx.load(case / "model.onnx").graph
        weights = {weight.name for weight in graph.initializer}
        given = [port for port in graph.input if port.name not in weights]
        for what, ports in (("input", given), ("output", graph.output)):
            for i, port in enumerate(ports):
                # Of these files some are without names.
                path = folder / case.name / f"test_data_set_0/{what}_{i}.pb"
                sequence = port.type.WhichOneof("value") == "sequence_type"
                proto = (onnx.SequenceProto if sequence else onnx.TensorProto).FromString(path.read_bytes())
                proto.name = port.name
                path.write_bytes(proto.SerializeToString())
    return len(cases)


def write_debian(folder):
    with tempfile.TemporaryDirectory() as scratch:
        try:
            subprocess.run(["apt-get", "download", "-qq", DEBIAN], cwd=scratch, check=True)
        except (OSError, subprocess.CalledProcessError) as failure:
            sys.exit(f"{DEBIAN} cannot be downloaded ({failure}); it is a package of Debian 12")
        (package,) = Path(scratch).glob("*.deb")
        if not package.name.startswith(f"{DEBIAN}_{DEBIAN_VERSION}-"):
            sys.exit(f"apt-get offers {package.name}, the lists are of {DEBIAN_VERSION}")
        subprocess.run(["dpkg-deb", "-x", package, Path(scratch) / "tree"], check=True)
        node = Path(scratch) / "tree/usr/share/libonnx-testdata/data/node"
        cases = sorted(node.iterdir())
        for case in cases:
            shutil.copytree(case, folder / case.name)
    return len(cases)


SUITES = {
    "onnx": (f"onnx-{ONNX}", write_onnx),
    "exports": (f"exports-{ONNX}", write_exports),
    "debian": (f"debian-{DEBIAN_VERSION}", write_debian),
}


def main():
    root = Path(__file__).resolve().parents[2]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--into", type=Path, default=root / ".cache/conformance")
    parser.add_argument("suite", nargs="*", help=", ".join(SUITES))
    args = parser.parse_args()
    for name in args.suite or SUITES:
        if name not in SUITES:
            sys.exit(f"there is no suite '{name}', only {', '.join(SUITES)}")
        subfolder, write = SUITES[name]
        folder = args.into / subfolder
        if folder.exists():
            print(f"{folder} is there already; remove it to write it anew")
            continue
        part = folder.with_name(subfolder + ".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        count = write(part)
        part.rename(folder)
        print(f"{folder}: {count} cases")


if __name__ == "__main__":
    main()
