#!/usr/bin/env python3
"""Writes tests/data/contrib_ops.npz: small models of ONNX Runtime's own operators, with what it answers.

    tests/onnx/make_contrib.py

Needs `pip install onnxruntime==1.32.0 onnx==1.23.2 numpy` in an environment of its own. Laid out as
tests/data/tflite_ops.npz: CASE/model, CASE/0/in/I, CASE/0/out/I.
"""
import zipfile
from pathlib import Path

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

INTO = Path(__file__).resolve().parent.parent / "data" / "contrib_ops.npz"
rng = np.random.default_rng(7)


def quantized(real, axes):
    """Bytes with a zero point of 0, and their scale along all axes but `axes`."""
    scale = np.abs(real).max(axis=axes) / 127
    wide = np.expand_dims(scale, axes)
    return np.round(real / wide).astype(np.int8), scale.astype(np.float32)


def lstm(directions, by_column):
    steps, batch, depth, units = 6, 2, 5, 4
    axes = (1,) if by_column else (1, 2)
    w, ws = quantized(rng.normal(size=(directions, depth, 4 * units)), axes)
    r, rs = quantized(rng.normal(size=(directions, units, 4 * units)) * .5, axes)
    bias = rng.normal(size=(directions, 8 * units)).astype(np.float32) * .3
    constants = {"w": w, "r": r, "b": bias, "ws": ws, "wz": np.zeros(ws.shape, np.int8), "rs": rs,
                 "rz": np.zeros(rs.shape, np.int8)}
    node = helper.make_node(
        "DynamicQuantizeLSTM", ["x", "w", "r", "b", "", "", "", "", "ws", "wz", "rs", "rz"], ["y", "yh", "yc"],
        domain="com.microsoft", hidden_size=units, direction="bidirectional" if directions == 2 else "forward")
    port = lambda name, dims: helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)
    state = [directions, batch, units]
    graph = helper.make_graph(
        [node], "case", [port("x", [steps, batch, depth])],
        [port("y", [steps, directions, batch, units]), port("yh", state), port("yc", state)],
        [numpy_helper.from_array(v, k) for k, v in constants.items()])
    sets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=sets)
    model.ir_version = 8
    return model.SerializeToString(), [rng.normal(size=(steps, batch, depth)).astype(np.float32)]


CASES = {"lstm": lstm(1, False), "lstm_columns": lstm(1, True), "lstm_both_ways": lstm(2, False)}

if __name__ == "__main__":
    with zipfile.ZipFile(INTO, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, (model, inputs) in CASES.items():
            session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
            outputs = session.run(None, dict(zip([i.name for i in session.get_inputs()], inputs)))
            arrays = {"model": np.frombuffer(model, np.uint8)}
            arrays |= {f"0/in/{i}": v for i, v in enumerate(inputs)}
            arrays |= {f"0/out/{i}": v for i, v in enumerate(outputs)}
            for key, value in arrays.items():
                # A fixed date: the same cases give the same bytes.
                info = zipfile.ZipInfo(f"{name}/{key}.npy")
                info.compress_type = zipfile.ZIP_DEFLATED
                with archive.open(info, "w") as f:
                    np.lib.format.write_array(f, np.ascontiguousarray(value))
