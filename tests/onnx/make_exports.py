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
import onnx
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


def case(name, nodes, outputs, inputs=None, types=None, opset=17, constants=CONSTANTS, ml=None):
    used = {i for n in nodes for i in n.input}
    inputs = {k: v for k, v in (inputs or {"v": V, "e": ROWS}).items() if k in used}
    read = used | ({"zero", "a0", "a1", "i0"} if constants is CONSTANTS else set())
    port = lambda k, v: helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
    graph = helper.make_graph(
        nodes, "case", [port(k, v) for k, v in inputs.items()],
        [helper.make_tensor_value_info(o, (types or {}).get(o, T.FLOAT), None) for o in outputs],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items() if k in read])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)]
                              + ([helper.make_opsetid("ai.onnx.ml", ml)] if ml else [])
                              + [helper.make_opsetid(d, 1) for d in {n.domain for n in nodes} if d == "com.microsoft"])
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

# What has no elements, between others.
case("joined_with_nothing", [
    N("ConstantOfShape", ["empty"], ["none"]), N("Mul", ["none", "half"], ["some"]), N("Slice", ["e", "a0", "a0"], ["cut"]),
    N("Concat", ["cut", "e", "some", "e"], ["y"], axis=0)], ["y"],
    constants={"empty": ints(0, 4), "half": np.float32(.5), "a0": ints(0)})

# Rows of features, on thresholds too, and what is no number.
F = np.round(rng.normal(size=(9, 5)) * 4).astype(np.float32) / 2
HOLES = np.where(rng.random(F.shape) < .2, np.float32(np.nan), F)
M = lambda op, outputs, **attributes: N(op, ["x"], outputs, domain="ai.onnx.ml", **attributes)
COMPARE = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"]


def trees(what, targets, each=None, modes=COMPARE, count=7, depth=4, tracks=True, positive=False):
    """Random trees as attributes of the older form; each leaf gives to `each` targets, or trees take turns."""
    a = {k: [] for k in ("nodes_treeids", "nodes_nodeids", "nodes_featureids", "nodes_values", "nodes_modes", "nodes_truenodeids",
                         "nodes_falsenodeids", "nodes_missing_value_tracks_true", f"{what}_treeids", f"{what}_nodeids",
                         f"{what}_ids", f"{what}_weights")}

    def grow(tree, left):
        me = sum(t == tree for t in a["nodes_treeids"])
        leaf = left == 0 or (left < depth and rng.random() < .2)
        row = [tree, me, int(rng.integers(5)), float(np.round(rng.normal() * 4) / 2), "LEAF" if leaf else str(rng.choice(modes)), 0, 0,
               int(tracks and rng.random() < .5)]
        at = len(a["nodes_treeids"])
        for k, v in zip(list(a)[:8], row):
            a[k].append(v)
        if leaf:
            for t in (range(targets) if each else [tree % targets]):
                w = float(rng.random() / count if positive else rng.normal())
                for k, v in zip(list(a)[8:], (tree, me, t, w)):
                    a[k].append(v)
        else:
            a["nodes_truenodeids"][at] = grow(tree, left - 1)
            a["nodes_falsenodeids"][at] = grow(tree, left - 1)
        return me

    for tree in range(count):
        grow(tree, depth)
    return a


def ensemble(targets, modes, count=5, depth=3, **more):
    """The same in the form of version 5."""
    nodes, leaves, members = [], [], []

    def grow(left):
        if left == 0:
            leaves.append((int(rng.integers(targets)), float(rng.normal())))
            return len(leaves) - 1, 1
        mode, at = int(rng.choice(modes)), len(nodes)
        nodes.append([int(rng.integers(5)), float(np.round(rng.normal() * 4) / 2), mode, 0, 0, 0, 0, int(rng.random() < .5)])
        if mode == 6:
            nodes[at][1] = 0.
            members.extend([*rng.integers(1, 5, 3).astype(float), np.nan])
        for i in (3, 5):
            nodes[at][i], nodes[at][i + 1] = grow(left - 1 - int(rng.random() < .2 and left > 1))
        return at, 0

    roots = [grow(depth)[0] for _ in range(count)]
    column = lambda i: [n[i] for n in nodes]
    tensor = lambda t, v: helper.make_tensor("t", t, [len(v)], v)
    return M("TreeEnsemble", ["y"], n_targets=targets, nodes_featureids=column(0), nodes_splits=tensor(T.FLOAT, column(1)),
             nodes_modes=tensor(T.UINT8, column(2)), nodes_truenodeids=column(3), nodes_trueleafs=column(4),
             nodes_falsenodeids=column(5), nodes_falseleafs=column(6), nodes_missing_value_tracks_true=column(7),
             leaf_targetids=[t for t, _ in leaves], leaf_weights=tensor(T.FLOAT, [w for _, w in leaves]), tree_roots=roots,
             membership_values=tensor(T.FLOAT, members) if members else None, **more)


for name, node in (
        ("compared", ensemble(1, [0, 1, 2, 3, 4, 5])), ("members", ensemble(1, [0, 6])), ("targets", ensemble(3, [0])),
        ("average", ensemble(2, [0], aggregate_function=0)), ("softmax", ensemble(3, [0], post_transform=1))):
    case("trees_" + name, [node], ["y"], {"x": F}, opset=21, ml=5)
case("trees_missing", [ensemble(2, [0])], ["y"], {"x": HOLES}, opset=21, ml=5)
for name, targets, each, more in (
        ("sum", 1, None, {}), ("turns", 3, None, {"base_values": [.5, -1., 2.]}), ("each", 2, True, {"aggregate_function": "AVERAGE"}),
        ("least", 2, True, {"aggregate_function": "MIN"}), ("greatest", 1, None, {"aggregate_function": "MAX", "base_values": [1.]}),
        ("logistic", 2, None, {"post_transform": "LOGISTIC"})):
    case("regressor_" + name, [M("TreeEnsembleRegressor", ["y"], n_targets=targets, **trees("target", targets, each), **more)], ["y"],
         {"x": F}, ml=3)
for name, classes, labels, more in (
        ("three", 3, [4, 5, 9], {"each": True}), ("softmax", 3, [0, 1, 2], {"post_transform": "SOFTMAX"}),
        ("zeros", 3, [0, 1, 2], {"post_transform": "SOFTMAX_ZERO"}), ("rest", 1, [0, 1], {"positive": True}),
        ("opposite", 1, [3, 7], {}), ("logistic", 1, [0, 1], {"post_transform": "LOGISTIC"})):
    shape = {k: more.pop(k) for k in ("each", "positive") if k in more}
    case("classifier_" + name, [M("TreeEnsembleClassifier", ["l", "y"], classlabels_int64s=labels, **trees("class", classes, **shape), **more)],
         ["l", "y"], {"x": F}, {"l": L}, ml=3)
case("scaled", [M("Scaler", ["y"], offset=[1., 2., 3., 4., 5.], scale=[.5, 2., 1., .25, 3.])], ["y"], {"x": F}, ml=3)
case("imputed", [M("Imputer", ["y"], imputed_value_floats=[1., 2., 3., 4., 5.], replaced_value_float=float("nan"))], ["y"], {"x": HOLES}, ml=3)
for norm in ("MAX", "L1", "L2"):
    case("normalized_" + norm.lower(), [M("Normalizer", ["y"], norm=norm)], ["y"], {"x": np.abs(F) * (F[:, :1] > 0)}, ml=3)
for name, classes, more in (("three", 3, {}), ("softmax", 3, {"post_transform": "SOFTMAX"}), ("logistic", 2, {"post_transform": "LOGISTIC"})):
    case("linear_classes_" + name, [M(
        "LinearClassifier", ["l", "y"], coefficients=[float(v) for v in rng.normal(size=5 * classes)],
        intercepts=[float(v) for v in rng.normal(size=classes)], classlabels_ints=list(range(1, classes + 1)), **more)],
        ["l", "y"], {"x": F}, {"l": L}, ml=3)

# As many samples as a region has pixels. Within the image, of one pixel and of all.
REGIONS = np.float32([[0, 0, 40, 30], [3, 5, 17.5, 9], [10, 12, 10.5, 12.2], [8, 2, 39, 29], [0, 20, 4, 30]])
for name, mode in (("whole", "output_half_pixel"), ("half", "half_pixel")):
    case("roi_align_" + name, [N("RoiAlign", ["x", "r", "b"], ["y"], output_height=3, output_width=4, spatial_scale=.5, sampling_ratio=0,
                                 coordinate_transformation_mode=mode)], ["y"],
         {"x": real(2, 3, 15, 20), "r": REGIONS, "b": ints(0, 1, 0, 1, 1)})
# Around what is selected, not along it.
case("padded", SELECT + [N("Pad", ["rows", "around"], ["y"])], ["y"], constants={**CONSTANTS, "around": ints(0, 1, 0, 2)})
# One chunk of a stream with dynamically quantized weights: the hidden state is rounded to bytes too.
case("quantized_lstm_step", [N(
    "DynamicQuantizeLSTM", ["x", "w", "r", "bias", "", "h", "c", "", "ws", "wz", "rs", "rz"], ["y", "yh", "yc"], domain="com.microsoft",
    hidden_size=6)], ["y", "yh", "yc"], {"x": real(1, 1, 5), "h": real(1, 1, 6), "c": real(1, 1, 6)},
    constants={"w": whole(-127, 128, 1, 5, 24, t=np.int8), "r": whole(-127, 128, 1, 6, 24, t=np.int8), "bias": real(1, 48),
               "ws": np.float32([.01]), "wz": np.int8([0]), "rs": np.float32([.02]), "rz": np.int8([0])})
# Filled up to a number of rows, as detectors do with their findings: more than there can be, and fewer.
for name, total, least in (("up", 20, False), ("up_or_cut", 4, False), ("up_at_least", 20, True)):
    rest = [N("Sub", ["total", "n"], ["rest"])] + ([N("Max", ["rest", "i0"], ["missing"])] if least else [])
    case("filled_" + name, SELECT + COUNT + rest + [
        N("Unsqueeze", ["missing" if least else "rest", "a0"], ["r1"]), N("Concat", ["a0", "r1"], ["end"], axis=0),
        N("Unsqueeze", ["end", "a0"], ["pair"]), N("Concat", ["pair", "nothing"], ["pads2"], axis=0),
        N("Transpose", ["pads2"], ["pads_t"]), N("Reshape", ["pads_t", "last"], ["pads"]),
        N("Pad", ["rows", "pads", "value"], ["y"]), N("Shape", ["y"], ["shape_y"])],
        ["y", "shape_y"], types={"shape_y": L},
        constants={**CONSTANTS, "total": np.int64(total), "nothing": ints(0, 1).reshape(1, 2), "value": np.float32(7)})
case("more_rows", SELECT + [N("Pad", ["rows", "around"], ["y"]), N("ReduceSum", ["y"], ["sum"])], ["y", "sum"],
     constants={**CONSTANTS, "around": ints(1, 0, 2, 1)})
# Windows side by side, of which the first ones are cut and behind which something is left over.
case("transposed_cut", [N("ConvTranspose", ["x", "k"], ["y"], strides=[3, 2], pads=[1, 1, 1, 0], output_padding=[2, 1])], ["y"],
     {"x": real(1, 2, 4, 3)}, constants={"k": real(2, 3, 3, 2)})
# A Swish of another slope, as CLIP spells its "quick GELU".
case("quick_gelu", [N("Mul", ["x", "slope"], ["s"]), N("Sigmoid", ["s"], ["g"]), N("Mul", ["x", "g"], ["y"])], ["y"], {"x": real(3, 5)},
     constants={"slope": np.float32(1.702)})
# Weights that are standardized in the graph, as of networks without normalization of their images.
case("standardized_weights", [
    N("ReduceMean", ["w"], ["mean"], axes=[0, 2], keepdims=0), N("BatchNormalization", ["w", "gain", "none", "mean", "gain"], ["n", "rm", "rv"],
      training_mode=1, momentum=1.0), N("Reshape", ["n", "back"], ["k"]), N("Conv", ["x", "k"], ["y"])], ["y"],
    {"x": real(1, 3, 5, 5)}, constants={"w": real(1, 4, 27), "gain": np.abs(real(4)), "none": real(4) * 0, "back": ints(4, 3, 3, 3)})


def answer(name, model, inputs):
    if name == "integer_gemm":
        return ReferenceEvaluator(model).run(None, dict(zip("abc", inputs)))
    plain = onnx.load_from_string(model)
    if name == "trees_softmax":
        # ONNX's number for softmax is ONNX Runtime's for the logistic function.
        kept = [a for a in plain.graph.node[0].attribute if a.name != "post_transform"]
        del plain.graph.node[0].attribute[:]
        plain.graph.node[0].attribute.extend(kept)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(plain.SerializeToString(), options, providers=["CPUExecutionProvider"])
    outputs = session.run(None, dict(zip([i.name for i in session.get_inputs()], inputs)))
    if name == "trees_softmax":
        powers = np.exp(outputs[0])
        outputs = [powers / powers.sum(1, keepdims=True)]
    return outputs


if __name__ == "__main__":
    with zipfile.ZipFile(INTO, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, (model, inputs) in CASES.items():
            outputs = answer(name, model, inputs)
            arrays = {"model": np.frombuffer(model, np.uint8)}
            arrays |= {f"0/in/{i}": v for i, v in enumerate(inputs)}
            arrays |= {f"0/out/{i}": v for i, v in enumerate(outputs)}
            for key, value in arrays.items():
                # A fixed date: the same cases give the same bytes.
                info = zipfile.ZipInfo(f"{name}/{key}.npy")
                info.compress_type = zipfile.ZIP_DEFLATED
                with archive.open(info, "w") as f:
                    np.lib.format.write_array(f, np.ascontiguousarray(value) if np.ndim(value) else np.asarray(value))
