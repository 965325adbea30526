#!/usr/bin/env python3
"""Writes tests/data/export_ops.npz: small graphs as exporters spell them, with what ONNX Runtime answers.

    tests/onnx/make_exports.py

Needs `pip install onnxruntime==1.32.0 onnx==1.23.2 numpy` in an environment of its own. Laid out as
tests/data/tflite_ops.npz: CASE/model, CASE/0/in/I, CASE/0/out/I. Most are about rows whose number the data decides; an
output has as many as ONNX Runtime found.
"""
import zipfile
from pathlib import Path

import numpy as np
import onnxruntime
from onnx import TensorProto as T
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

INTO = Path(__file__).resolve().parent.parent / "data" / "export_ops.npz"
rng = np.random.default_rng(3)
real = lambda *dims: rng.normal(size=dims).astype(np.float32)
ints = lambda *v: np.array(v, np.int64)
N = helper.make_node
CASES = {}

V, ROWS = real(12), real(12, 4)
CORNERS = np.sort(rng.random((12, 2, 2)), axis=1).reshape(12, 4).astype(np.float32) * 50
CONSTANTS = {
    "zero": np.float32(0), "half": np.float32(.5), "high": np.float32(9), "i0": np.int64(0), "i1": np.int64(1),
    "i2": np.int64(2), "a0": ints(0), "a1": ints(1), "a01": ints(0, 1), "a2": ints(2), "a3": ints(3), "a5": ints(5),
    "a100": ints(100), "last": ints(-1), "pairs": ints(-1, 2), "squares": ints(-1, 2, 2), "depth": np.int64(12),
    "onoff": real(2) * 0 + np.float32([0, 1]), "w": real(4, 3), "iou": np.float32([.3]), "least": np.float32([0]),
    "corners": CORNERS, "batch": CORNERS[None], "open": ints(-1, -1), "wide": ints(1, 4),
}
# Rows of `e` where `v` is greater than a limit, as torch.onnx spells `e[v > limit]`.
FOUND = [
    N("NonZero", ["g"], ["nz"]), N("Transpose", ["nz"], ["t"], perm=[1, 0]), N("GatherND", ["v", "t"], ["s"]),
    N("Squeeze", ["t", "a1"], ["idx"]), N("Gather", ["e", "idx"], ["rows"]),
]
SELECT = [N("Greater", ["v", "zero"], ["g"])] + FOUND
NONE = [N("Greater", ["v", "high"], ["g"])] + FOUND
COUNT = [N("Shape", ["s"], ["shape"]), N("Gather", ["shape", "i0"], ["n"]), N("Unsqueeze", ["n", "a0"], ["count"])]
BEST = COUNT + [
    N("Concat", ["a5", "count"], ["c"], axis=0), N("ReduceMin", ["c"], ["min"], keepdims=0),
    N("Reshape", ["min", "a1"], ["k"]),
]


def case(name, nodes, outputs, inputs=None, types=None, opset=17, constants=CONSTANTS):
    used = {i for n in nodes for i in n.input}
    inputs = {k: v for k, v in (inputs or {"v": V, "e": ROWS}).items() if k in used}
    read = used | ({"zero", "a0", "a1", "i0"} if constants is CONSTANTS else set())
    port = lambda k, v: helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
    graph = helper.make_graph(
        nodes, "case", [port(k, v) for k, v in inputs.items()],
        [helper.make_tensor_value_info(o, (types or {}).get(o, T.FLOAT), None) for o in outputs],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items() if k in read])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    CASES[name] = (model.SerializeToString(), list(inputs.values()))


L = T.INT64
x = real(3, 5)
case("non_zero", [N("Greater", ["x", "zero"], ["g"]), N("NonZero", ["g"], ["y"])], ["y"], {"x": x}, {"y": L})
case("selected", SELECT, ["s", "rows", "idx"], types={"idx": L})
# Arrays here have elements: of none, with others.
OF_NONE = [N("Concat", ["rows", "e"], ["y"], axis=0), N("ReduceSum", ["s"], ["sum"], keepdims=0), N("Size", ["s"], ["n0"])]
case("none_selected", NONE + OF_NONE, ["y", "sum", "n0"], types={"n0": L})
for op in ("Sum", "Max", "Min", "Mean", "Prod", "L2", "LogSumExp"):
    axes = lambda a: {} if op == "Sum" else {"axes": [a]}
    more = lambda a: [f"a{a}"] if op == "Sum" else []
    case("reduce_" + op.lower(), SELECT + [
        N("Reduce" + op, ["rows"] + more(0), ["y"], keepdims=0, **axes(0)), N("Reduce" + op, ["rows"], ["all"], keepdims=0),
        N("Reduce" + op, ["rows"] + more(1), ["each"], keepdims=0, **axes(1))], ["y", "all", "each"])
case("best_place", SELECT + [
    N("ArgMax", ["s"], ["y"], axis=0, keepdims=0), N("ArgMin", ["rows"], ["q"], axis=0),
    N("ArgMax", ["rows"], ["each"], axis=1, keepdims=0)], ["y", "q", "each"], types=dict.fromkeys(["y", "q", "each"], L))
case("top_k", SELECT + BEST + [N("TopK", ["s", "k"], ["tv", "ti"]), N("Gather", ["rows", "ti"], ["tr"]),
     N("TopK", ["s", "k"], ["lv", "li"], largest=0)], ["tv", "ti", "tr", "lv"], types={"ti": L})
case("top_k_of_none", NONE + BEST + [N("TopK", ["s", "k"], ["tv", "ti"]), N("Gather", ["rows", "ti"], ["tr"]),
     N("Concat", ["e", "tr"], ["y"], axis=0)], ["y"])
case("filled", SELECT + COUNT + [
    N("ConstantOfShape", ["shape"], ["y"], value=helper.make_tensor("v", L, [1], [7])), N("Range", ["i0", "n", "i1"], ["r"])],
    ["y", "r"], types={"y": L, "r": L})
case("joined", SELECT + [
    N("Less", ["v", "zero"], ["g2"]), N("NonZero", ["g2"], ["nz2"]), N("Transpose", ["nz2"], ["t2"], perm=[1, 0]),
    N("GatherND", ["e", "t2"], ["rows2"]), N("Concat", ["rows", "e", "rows2"], ["y"], axis=0),
    N("ReduceMax", ["y"], ["most"], keepdims=0), N("Unsqueeze", ["s", "a1"], ["su"]),
    N("Concat", ["rows", "su"], ["beside"], axis=1)], ["y", "most", "beside"])
case("sliced", SELECT + COUNT + [
    N("Slice", ["rows", "a0", "a3"], ["y"]), N("Slice", ["rows", "a1", "a100"], ["rest"]),
    N("Slice", ["rows", "a0", "last"], ["but"]), N("Slice", ["rows", "a1", "a3", "a1"], ["columns"]),
    N("Slice", ["e", "a0", "count"], ["first"])], ["y", "rest", "but", "columns", "first"])
case("last", SELECT + [N("Gather", ["rows", "last"], ["y"])], ["y"])
case("reshaped", SELECT + COUNT + [
    N("Reshape", ["rows", "last"], ["y"]), N("Reshape", ["y", "pairs"], ["p"]), N("Reshape", ["rows", "squares"], ["q"]),
    N("Concat", ["count", "a2", "a2"], ["list"], axis=0), N("Reshape", ["rows", "list"], ["counted"])],
    ["y", "p", "q", "counted"])
case("expanded", SELECT + COUNT + [
    N("Concat", ["count", "a3"], ["list"], axis=0), N("Expand", ["half", "list"], ["y"]),
    N("Unsqueeze", ["s", "a1"], ["su"]), N("Concat", ["count", "last"], ["open_list"], axis=0),
    N("Equal", ["open_list", "open"], ["eq"]), N("Where", ["eq", "wide", "open_list"], ["whole"]),
    N("Expand", ["su", "whole"], ["z"])], ["y", "z"])
case("products", SELECT + [
    N("MatMul", ["rows", "w"], ["y"]), N("Transpose", ["rows"], ["rt"], perm=[1, 0]), N("MatMul", ["rt", "rows"], ["square"]),
    N("Gemm", ["rows", "w"], ["z"])], ["y", "square", "z"])
case("along", SELECT + [
    N("Softmax", ["s"], ["y"], axis=0), N("Softmax", ["rows"], ["each"], axis=1), N("CumSum", ["s", "i0"], ["sums"])],
    ["y", "each", "sums"])
case("compress", [N("Greater", ["v", "zero"], ["g"]), N("Compress", ["e", "g"], ["y"], axis=0)], ["y"])
case("scattered", SELECT + [
    N("Neg", ["s"], ["ns"]), N("ScatterElements", ["v", "idx", "ns"], ["y"], axis=0),
    N("ScatterND", ["v", "t", "ns"], ["z"])], ["y", "z"])
SUPPRESS = [N("Gather", ["k", "i2"], ["ki"], axis=1)]
case("suppressed", [N("Unsqueeze", ["v", "a01"], ["sc"]), N("NonMaxSuppression", ["batch", "sc", "a100", "iou", "least"], ["k"])]
     + SUPPRESS + [N("Gather", ["e", "ki"], ["kr"])], ["k", "ki", "kr"], types={"k": L, "ki": L})
case("suppressed_of_selected", SELECT + [
    N("Gather", ["corners", "idx"], ["b"]), N("Unsqueeze", ["b", "a0"], ["bu"]), N("Unsqueeze", ["s", "a01"], ["sc"]),
    N("NonMaxSuppression", ["bu", "sc", "a100", "iou"], ["k"])] + SUPPRESS + [N("Gather", ["rows", "ki"], ["kr"])],
    ["k", "kr"], types={"k": L})
case("selected_twice", SELECT + [
    N("Greater", ["s", "half"], ["g3"]), N("NonZero", ["g3"], ["n3"]), N("Squeeze", ["n3", "a0"], ["q3"]),
    N("Gather", ["rows", "q3"], ["y"])], ["y"])
case("counted", SELECT + [N("Size", ["rows"], ["y"]), N("Shape", ["rows"], ["z"])], ["y", "z"], types={"y": L, "z": L})
case("classes", SELECT + [N("OneHot", ["idx", "depth", "onoff"], ["y"])], ["y"])


def branch(name, nodes, out):
    return helper.make_graph(nodes, name, [], [helper.make_tensor_value_info(out, L, None)])


# As torchvision spells `if boxes.numel() == 0: return empty`.
for name, start in (("branch", SELECT), ("branch_of_none", NONE)):
    case(name, start + [
        N("Size", ["s"], ["size"]), N("Equal", ["size", "i0"], ["empty"]),
        N("If", ["empty"], ["y"], then_branch=branch("a", [N("Constant", [], ["x1"], value=helper.make_tensor("q", L, [0], []))], "x1"),
          else_branch=branch("b", [N("Add", ["idx", "a1"], ["x2"])], "x2")),
        N("Concat", ["y", "a5"], ["z"], axis=0)], ["z"], types={"z": L})

# Sums of more products of bytes than float32 holds exactly, in one group and in two.
for name, group in (("conv_integer", 1), ("conv_integer_groups", 2)):
    image, kernel = rng.integers(0, 256, (1, 640 * group, 3, 3)), rng.integers(-128, 128, (2 * group, 640, 3, 3))
    case(name, [N("ConvInteger", ["x", "k", "xz"], ["y"], group=group)], ["y"], {"x": image.astype(np.uint8)},
         {"y": T.INT32}, constants={"k": kernel.astype(np.int8), "xz": np.uint8(7)})
# torch.isfinite asks doubles.
case("is_infinite", [
    N("Cast", ["x"], ["d"], to=T.DOUBLE), N("IsInf", ["d"], ["i"]), N("Greater", ["d", "limit"], ["g"]), N("Or", ["i", "g"], ["o"]),
    N("Cast", ["o"], ["y"], to=T.FLOAT)], ["y"], {"x": np.float32([1, np.inf, -np.inf, 0, .25, .3])},
    constants={"limit": np.float64(.25)})
case("half_batch_norm", [
    N("Relu", ["x"], ["r"]), N("BatchNormalization", ["r", "s", "b", "m", "va"], ["h"]), N("Cast", ["h"], ["y"], to=T.FLOAT)],
    ["y"], {"x": real(1, 3, 4).astype(np.float16)}, opset=15,
    constants={k: np.abs(real(3)).astype(np.float16) for k in ("s", "b", "m", "va")})

# Integers where most models have reals.
whole = lambda low, high, *dims, t=np.int32: rng.integers(low, high, dims).astype(t)
for name, left, right in (("matrices", (2, 1, 3, 4), (5, 4, 2)), ("vector", (4,), (2, 4, 5)), ("vectors", (4,), (4,))):
    case("integer_" + name, [N("MatMul", ["a", "b"], ["y"])], ["y"],
         {"a": whole(-9000, 9000, *left), "b": whole(-9000, 9000, *right)}, {"y": T.INT32})
# ONNX Runtime has no such kernel: answered by ONNX's reference.
case("integer_gemm", [N("Gemm", ["a", "b", "c"], ["y"], transA=1, transB=1, alpha=2.0, beta=3.0)], ["y"],
     {"a": whole(-90, 90, 4, 3), "b": whole(-90, 90, 5, 4), "c": whole(-90, 90, 5)}, {"y": T.INT32})
case("unsigned_abs", [N("Abs", ["x"], ["y"])], ["y"], {"x": whole(0, 256, 3, 5, t=np.uint8)}, {"y": T.UINT8})
# By weights that float32 holds, so that no rounding decides what is behind the point.
for t, mode in ((np.uint8, "linear"), (np.uint8, "nearest"), (np.int8, "linear"), (np.int32, "nearest")):
    image = whole(np.iinfo(t).min, np.iinfo(t).max, 1, 2, 5, 7, t=t)
    case(f"resize_{t.__name__}_{mode}", [N("Resize", ["x", "", "s"], ["y"], mode=mode)], ["y"], {"x": image},
         {"y": helper.np_dtype_to_tensor_dtype(image.dtype)}, opset=18, constants={"s": np.float32([1, 1, 2, 4] if mode == "linear" else [1, 1, 1.7, 2.3])})
# 2.3 in float32 is less: which pixel is nearest follows.
for name, dims, scales, mode in (
        ("nearest_ties", (1, 2, 5, 7), (1, 1, 1.7, 2.3), "nearest"), ("channels_last", (1, 5, 7, 3), (1, 2, 1.5, 1), "linear"),
        ("volume", (1, 2, 3, 4, 5), (1, 1, 2, 2, 2), "linear"), ("all_axes", (2, 3, 4, 5), (2, 1.5, 2, 2), "nearest")):
    case("resize_" + name, [N("Resize", ["x", "", "s"], ["y"], mode=mode)], ["y"], {"x": real(*dims)}, opset=18,
         constants={"s": np.float32(scales)})

if __name__ == "__main__":
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    with zipfile.ZipFile(INTO, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, (model, inputs) in CASES.items():
            if name == "integer_gemm":
                outputs = ReferenceEvaluator(model).run(None, dict(zip("abc", inputs)))
            else:
                session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
                outputs = session.run(None, dict(zip([i.name for i in session.get_inputs()], inputs)))
            arrays = {"model": np.frombuffer(model, np.uint8)}
            arrays |= {f"0/in/{i}": v for i, v in enumerate(inputs)}
            arrays |= {f"0/out/{i}": v for i, v in enumerate(outputs)}
            for key, value in arrays.items():
                # A fixed date: the same cases give the same bytes.
                info = zipfile.ZipInfo(f"{name}/{key}.npy")
                info.compress_type = zipfile.ZIP_DEFLATED
                with archive.open(info, "w") as f:
                    np.lib.format.write_array(f, np.ascontiguousarray(value) if np.ndim(value) else np.asarray(value))
