#!/usr/bin/env python3
"""Writes tests/data/tflite_ops.npz: small TensorFlow Lite models, one operator or pattern each, with what LiteRT answers.

    tests/tflite/make_ops.py

Needs `pip install ai-edge-litert==2.3.0 numpy flatbuffers` in an environment of its own. The archive holds for each case
CASE/model (the file's bytes), CASE/RUN/in/I and CASE/RUN/out/I: inputs and outputs of runs that follow one another, in
the model's order. LiteRT's own kernels, no delegate, compute the outputs. Numbers come from a generator with a fixed seed.
"""
import sys
import zipfile
from pathlib import Path

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from builder import Model
from flatbuffers import flexbuffers

INTO = Path(__file__).resolve().parent.parent / "data" / "tflite_ops.npz"
rng = np.random.default_rng(5)


def real(*dims):
    return rng.normal(size=dims).astype(np.float32)


def whole(low, high, *dims, dtype=np.int32):
    return rng.integers(low, high, size=dims).astype(dtype)


CASES = {}


def case(make):
    """Keeps a case: `make(model)` may return inputs of further runs."""
    CASES[make.__name__] = make
    return make


def simple(name, code, inputs, outputs, options=None, **fields):
    """A case of one operator: `inputs` are arrays, those in a tuple constants; `outputs` dtype and shape, or a type."""

    def make(model):
        g = model.main
        ins = [g.const(i[0]) if isinstance(i, tuple) else g.input(i) for i in inputs]
        outs = [g.out(shape, dtype) for dtype, shape in outputs]
        g.op(code, ins, outs, options, **fields)
        g.give(*outs)

    CASES[name] = make


F, I, B, L = np.float32, np.int32, np.bool_, np.int64
ints = lambda *v: (np.array(v, I),)
one = lambda v, t=I: (np.array(v, t),)

x = real(2, 3, 4, 5)
distinct = rng.permutation(2 * 30).reshape(2, 30).astype(F)
simple("topk", "TOPK_V2", [distinct, one(7)], [(F, (2, 7)), (I, (2, 7))], "TopKV2Options")
simple("topk_rows", "TOPK_V2", [rng.permutation(48).reshape(2, 2, 12).astype(F), one(3)],
       [(F, (2, 2, 3)), (I, (2, 2, 3))], "TopKV2Options")
simple("gather_batch", "GATHER", [real(2, 7, 3), whole(0, 7, 2, 4)], [(F, (2, 4, 3))], "GatherOptions", axis=1, batchDims=1)
simple("gather_batch_inner", "GATHER", [real(2, 3, 7, 4), whole(0, 7, 2, 5)], [(F, (2, 3, 5, 4))], "GatherOptions",
       axis=2, batchDims=1)
simple("gather_nd", "GATHER_ND", [x, whole(0, 2, 6, 2)], [(F, (6, 4, 5))])
simple("scatter_nd", "SCATTER_ND", [np.array([[1], [4], [1]], I), real(3, 5), ints(6, 5)], [(F, (6, 5))])
simple("sparse_to_dense", "SPARSE_TO_DENSE", [(np.array([[0, 1], [2, 3]], I),), ints(3, 4), real(2), (np.float32(-1),)],
       [(F, (3, 4))], "SparseToDenseOptions")
simple("embedding_lookup", "EMBEDDING_LOOKUP", [whole(0, 9, 4), (real(9, 6),)], [(F, (4, 6))])
simple("update_slice", "DYNAMIC_UPDATE_SLICE", [real(1, 6, 4), real(1, 2, 4), ints(0, 3, 0)], [(F, (1, 6, 4))])
simple("update_slice_clamped", "DYNAMIC_UPDATE_SLICE", [real(5, 6), real(2, 3), np.array([4, 1], I)], [(F, (5, 6))])
simple("one_hot", "ONE_HOT", [np.array([[1, 3], [0, -1]], I), one(4), (F(2.0),), (F(-1.0),)], [(F, (2, 2, 4))],
       "OneHotOptions", axis=-1)
simple("one_hot_first", "ONE_HOT", [np.array([1, 3, 0], I), one(4), (F(1.0),), (F(0.0),)], [(F, (4, 3))],
       "OneHotOptions", axis=0)
simple("cumsum", "CUMSUM", [x, one(2)], [(F, x.shape)], "CumsumOptions", exclusive=True, reverse=True)
simple("cumsum_int", "CUMSUM", [whole(-9, 9, 3, 4), one(0)], [(I, (3, 4))], "CumsumOptions")
simple("reverse", "REVERSE_V2", [x, ints(1)], [(F, x.shape)], "ReverseV2Options")
simple("reverse_sequence", "REVERSE_SEQUENCE", [real(3, 4, 5), (np.array([1, 5, 3], I),)], [(F, (3, 4, 5))],
       "ReverseSequenceOptions", seqDim=2, batchDim=0)
simple("matrix_diag", "MATRIX_DIAG", [real(2, 4)], [(F, (2, 4, 4))], "MatrixDiagOptions")
simple("matrix_set_diag", "MATRIX_SET_DIAG", [real(2, 3, 5), real(2, 3)], [(F, (2, 3, 5))], "MatrixSetDiagOptions")
simple("select_rows", "SELECT", [np.array([True, False, True]), real(3, 4), real(3, 4)], [(F, (3, 4))], "SelectOptions")
simple("select_same", "SELECT", [whole(0, 2, 3, 4) > 0, real(3, 4), real(3, 4)], [(F, (3, 4))], "SelectOptions")
simple("select_broadcast", "SELECT_V2", [whole(0, 2, 2, 1, 4, 1) > 0, x, real(5)], [(F, x.shape)], "SelectV2Options")
simple("floor_div", "FLOOR_DIV", [real(3, 4) * 5, real(3, 4)], [(F, (3, 4))], "FloorDivOptions")
simple("floor_div_int", "FLOOR_DIV", [whole(-20, 20, 4, 6), (np.array([[3], [-3], [7], [-1]], I),)], [(I, (4, 6))],
       "FloorDivOptions")
simple("floor_mod", "FLOOR_MOD", [real(3, 4) * 5, real(3, 4)], [(F, (3, 4))], "FloorModOptions")
simple("floor_mod_int", "FLOOR_MOD", [whole(-20, 20, 4, 6), (np.array([[3], [-3], [7], [-1]], I),)], [(I, (4, 6))],
       "FloorModOptions")
simple("atan2", "ATAN2", [np.array([1, -1, 1, -1, 0, 2, -2, 0, 0], F), np.array([1, 1, -1, -1, 3, 0, 0, 0, -2], F)],
       [(F, (9,))], "ATan2Options")
simple("bitwise_xor", "BITWISE_XOR", [whole(0, 99, 5), whole(0, 99, 5)], [(I, (5,))], "BitwiseXorOptions")
simple("zeros_like", "ZEROS_LIKE", [real(2, 3)], [(F, (2, 3))], "ZerosLikeOptions")
simple("reduce_any", "REDUCE_ANY", [whole(0, 3, 4, 3) > 1, ints(1)], [(B, (4,))], "ReducerOptions")
simple("reduce_all", "REDUCE_ALL", [whole(0, 4, 4, 3) > 0, ints(1)], [(B, (4, 1))], "ReducerOptions", keepDims=True)
simple("relu_0_to_1", "RELU_0_TO_1", [real(3, 7)], [(F, (3, 7))])
simple("l2_normalization", "L2_NORMALIZATION", [x], [(F, x.shape)], "L2NormOptions")
simple("l2_normalization_rows", "L2_NORMALIZATION", [np.concatenate([real(3, 6), np.zeros((1, 6), F)])], [(F, (4, 6))],
       "L2NormOptions")
simple("l2_pool", "L2_POOL_2D", [real(1, 6, 7, 3)], [(F, (1, 3, 4, 3))], "Pool2DOptions", padding=0, strideW=2, strideH=2,
       filterWidth=3, filterHeight=3)
simple("local_response", "LOCAL_RESPONSE_NORMALIZATION", [real(1, 3, 3, 9)], [(F, (1, 3, 3, 9))],
       "LocalResponseNormalizationOptions", radius=2, bias=1.5, alpha=0.3, beta=0.75)
simple("fake_quant", "FAKE_QUANT", [real(4, 9) * 3], [(F, (4, 9))], "FakeQuantOptions", min=-3.0, max=4.5, numBits=8)
simple("mirror_pad", "MIRROR_PAD", [real(1, 5, 4, 2), (np.array([[0, 0], [3, 2], [1, 4], [0, 0]], I),)], [(F, (1, 10, 9, 2))],
       "MirrorPadOptions", mode=1)
simple("broadcast_to", "BROADCAST_TO", [real(3, 1, 2), ints(2, 3, 4, 2)], [(F, (2, 3, 4, 2))])
simple("arg_min", "ARG_MIN", [distinct, one(1)], [(I, (2,))], "ArgMinOptions", outputType=2)
simple("space_to_depth", "SPACE_TO_DEPTH", [real(1, 4, 6, 3)], [(F, (1, 2, 3, 12))], "SpaceToDepthOptions", blockSize=2)
simple("depth_to_space", "DEPTH_TO_SPACE", [real(1, 2, 3, 12)], [(F, (1, 4, 6, 3))], "DepthToSpaceOptions", blockSize=2)
simple("space_to_batch", "SPACE_TO_BATCH_ND", [real(2, 5, 4, 3), ints(2, 3), (np.array([[1, 0], [0, 2]], I),)],
       [(F, (12, 3, 2, 3))], "SpaceToBatchNDOptions")
simple("batch_to_space", "BATCH_TO_SPACE_ND", [real(12, 3, 2, 3), ints(2, 3), (np.array([[1, 0], [0, 2]], I),)],
       [(F, (2, 5, 4, 3))], "BatchToSpaceNDOptions")
simple("conv_3d", "CONV_3D", [real(1, 5, 6, 4, 3), (real(3, 2, 3, 3, 4),), (real(4),)], [(F, (1, 3, 3, 4, 4))], "Conv3DOptions",
       padding=0, strideD=2, strideH=2, strideW=1)
# 41 * (2 / 82) is less than 1 in float32.
simple("resize_nearest_ties", "RESIZE_NEAREST_NEIGHBOR", [np.arange(8, dtype=F).reshape(1, 2, 2, 2), ints(82, 4)], [(F, (1, 82, 4, 2))],
       "ResizeNearestNeighborOptions", alignCorners=False, halfPixelCenters=False)
simple("resize_corners", "RESIZE_BILINEAR", [real(1, 4, 5, 2), ints(7, 9)], [(F, (1, 7, 9, 2))], "ResizeBilinearOptions",
       alignCorners=True)

NMS = np.array([[0, 0, 1, 1], [0, .1, 1, 1.1], [0, -.1, 1, .9], [0, 10, 1, 11], [0, 10.1, 1, 11.1], [0, 100, 1, 101]], F)
NMS_ARGS = [NMS, np.array([.9, .75, .6, .95, .5, .3], F), one(6), (F(.5),), (F(.4),)]
simple("nms_v4", "NON_MAX_SUPPRESSION_V4", NMS_ARGS, [(I, (6,)), (I, ())], "NonMaxSuppressionV4Options")
simple("nms_v5", "NON_MAX_SUPPRESSION_V5", NMS_ARGS + [(F(0),)], [(I, (6,)), (F, (6,)), (I, ())],
       "NonMaxSuppressionV5Options")


def constants(name, code, inputs, output, options=None, **fields):
    """A case whose operator knows its inputs: what it gives is added to an input."""

    def make(model):
        g = model.main
        made = g.out(output[1], output[0])
        g.op(code, [g.const(i) for i in inputs], [made], options, **fields)
        value = g.input(whole(0, 5, *output[1], dtype=output[0]))
        total = g.out(output[1], output[0])
        g.op("ADD", [value, made], [total], "AddOptions")
        g.give(total)

    CASES[name] = make


constants("range", "RANGE", [I(3), I(11), I(2)], (I, (4,)), "RangeOptions")
constants("broadcast_args", "BROADCAST_ARGS", [np.array([3, 1], I), np.array([2, 1, 4], I)], (I, (3,)))
constants("where", "WHERE", [np.array([[True, False], [False, True]])], (L, (2, 2)), "WhereOptions")
constants("rank", "RANK", [np.zeros((2, 3), F)], (I, ()), "RankOptions")


@case
def dilated_conv(model):
    """As TensorFlow before 2.0 wrote a convolution with a dilation of 2 and SAME padding."""
    dilated(model, "CONV_2D", real(4, 3, 3, 3), 4, 1)


@case
def dilated_depthwise_same(model):
    """The inner padding is SAME too."""
    dilated(model, "DEPTHWISE_CONV_2D", real(1, 3, 3, 3), 3, 0)


def dilated(model, code, w, channels, padding):
    g = model.main
    x, block = g.input(real(1, 7, 10, 3)), g.const(np.array([2, 2], I))
    pads, crops = ([[2, 3], [2, 2]], [[0, 1], [0, 0]]) if padding else ([[0, 1], [0, 0]], [[0, 1], [0, 0]])
    h, wd = (12, 14) if padding else (8, 10)
    inner = (4, h // 2 - 2 * padding, wd // 2 - 2 * padding, channels)
    moved, made = g.out((4, h // 2, wd // 2, 3)), g.out(inner)
    g.op("SPACE_TO_BATCH_ND", [x, block, g.const(np.array(pads, I))], [moved], "SpaceToBatchNDOptions")
    options = {"CONV_2D": "Conv2DOptions"}.get(code, "DepthwiseConv2DOptions")
    more = {} if code == "CONV_2D" else {"depthMultiplier": 1}
    g.op(code, [moved, g.const(w), g.const(real(channels))], [made], options, padding=padding, strideW=1, strideH=1,
         dilationWFactor=1, dilationHFactor=1, fusedActivationFunction=1, **more)
    y = g.out((1, 7, 10, channels))
    g.op("BATCH_TO_SPACE_ND", [made, block, g.const(np.array(crops, I))], [y], "BatchToSpaceNDOptions")
    g.give(y)


@case
def sparse_weights(model):
    """Weights of a product, stored by their rows, blocks of 1 x 4."""
    g = model.main
    dense = np.zeros((6, 8), np.float32)
    for row, block in [(0, 1), (2, 0), (2, 1), (5, 0)]:
        dense[row, 4 * block:4 * block + 4] = real(4)
    s = schema.SparsityParametersT()
    s.traversalOrder, s.blockMap = [0, 1, 2], [1]
    s.dimMetadata = [schema.DimensionMetadataT() for _ in range(3)]
    s.dimMetadata[0].format, s.dimMetadata[0].denseSize = 0, 6
    d = s.dimMetadata[1]
    d.format, d.arraySegmentsType, d.arrayIndicesType = 1, 3, 3
    d.arraySegments, d.arrayIndices = schema.Uint8VectorT(), schema.Uint8VectorT()
    d.arraySegments.values, d.arrayIndices.values = [0, 1, 1, 3, 3, 3, 4], [1, 0, 1, 0]
    s.dimMetadata[2].format, s.dimMetadata[2].denseSize = 0, 4
    held = dense.reshape(6, 2, 4)[[0, 2, 2, 5], [1, 0, 1, 0]]
    w = g.tensor((6, 8), F, raw=held.tobytes(), sparsity=s)
    whole_w, y = g.out((6, 8)), g.out((3, 6))
    g.op("DENSIFY", [w], [whole_w], "DensifyOptions")
    g.op("FULLY_CONNECTED", [g.input(real(3, 8)), whole_w, -1], [y], "FullyConnectedOptions")
    g.give(y)


@case
def four_bit_weights(model):
    """Weights of 4 bits, two a byte, one scale a row."""
    g = model.main
    w = whole(-7, 8, 6, 10, dtype=np.int8)
    pairs = w.reshape(-1, 2)
    packed = ((pairs[:, 0] & 15) | (pairs[:, 1] << 4)).astype(np.uint8)
    scales = np.linspace(.02, .05, 6)
    w = g.tensor((6, 10), np.int8, raw=packed.tobytes(), q=(scales, [0] * 6, 0), number=17)
    bias = g.tensor((6,), I, whole(-99, 99, 6), q=(scales * .1, [0] * 6, 0))
    y = g.out((4, 6), np.int8, (.05, 3))
    g.op("FULLY_CONNECTED", [g.input(whole(-128, 128, 4, 10, dtype=np.int8), (.1, -5)), w, bias], [y],
         "FullyConnectedOptions")
    g.give(y)


@case
def conv_int16(model):
    """Values of 16 bits, weights of 8, biases of 64."""
    g = model.main
    scales = np.linspace(.01, .03, 5)
    x = g.input(whole(-3000, 3000, 1, 6, 6, 4, dtype=np.int16), (.001, 0))
    w = g.tensor((5, 3, 3, 4), np.int8, whole(-127, 128, 5, 3, 3, 4), q=(scales, [0] * 5, 0))
    bias = g.tensor((5,), np.int64, whole(-9999, 9999, 5), q=(scales * .001, [0] * 5, 0))
    y = g.out((1, 6, 6, 5), np.int16, (.0015, 0))
    g.op("CONV_2D", [x, w, bias], [y], "Conv2DOptions", padding=0, strideW=1, strideH=1, dilationWFactor=1,
         dilationHFactor=1, fusedActivationFunction=1)
    z = g.out((1, 6, 6, 5), np.int16, (1 / 32768, 0))
    g.op("LOGISTIC", [y], [z])
    g.give(y, z)


@case
def conv_uint8(model):
    """The first quantized form: uint8 throughout, one scale for all weights, whose zero point is not 0."""
    g = model.main
    x = g.input(whole(0, 256, 1, 6, 6, 4, dtype=np.uint8), (.02, 120))
    w = g.tensor((5, 3, 3, 4), np.uint8, whole(0, 256, 5, 3, 3, 4), q=(.01, 131))
    bias = g.tensor((5,), I, whole(-999, 999, 5), q=(.0002, 0))
    y = g.out((1, 3, 3, 5), np.uint8, (.05, 100))
    g.op("CONV_2D", [x, w, bias], [y], "Conv2DOptions", padding=0, strideW=2, strideH=2, dilationWFactor=1,
         dilationHFactor=1)
    g.give(y)


def post_process(model, regular):
    """Detections of a small SSD: 40 anchors, 3 classes behind a background."""
    g = model.main
    n = 40
    encodings = real(1, n, 4) * .5
    scores = 1 / (1 + np.exp(-real(1, n, 4) * 2))
    anchors = np.stack([rng.uniform(.2, .8, n), rng.uniform(.2, .8, n), np.full(n, .3), np.full(n, .25)], 1)
    options = {"max_detections": 6, "max_classes_per_detection": 1 if regular else 2, "detections_per_class": 4,
               "use_regular_nms": regular, "nms_score_threshold": .4, "nms_iou_threshold": .5, "num_classes": 3,
               "y_scale": 10.0, "x_scale": 10.0, "h_scale": 5.0, "w_scale": 5.0}
    b = flexbuffers.Builder()
    with b.Map():
        for key, value in options.items():
            {bool: b.Bool, int: b.Int, float: b.Float}[type(value)](key, value)
    rows = 6 * options["max_classes_per_detection"]
    outs = [g.out(s) for s in [(1, rows, 4), (1, rows), (1, rows), (1,)]]
    g.op("TFLite_Detection_PostProcess", [g.input(encodings), g.input(scores.astype(F)), g.const(anchors.astype(F))], outs,
         custom=bytes(b.Finish()))
    g.give(*outs)


@case
def post_process_fast(model):
    post_process(model, False)


@case
def post_process_regular(model):
    post_process(model, True)


@case
def few_boxes(model):
    """Fewer boxes than detections asked for."""
    g = model.main
    options = {"max_detections": 9, "max_classes_per_detection": 1, "nms_score_threshold": .0, "nms_iou_threshold": .6,
               "num_classes": 2, "y_scale": 1.0, "x_scale": 1.0, "h_scale": 1.0, "w_scale": 1.0}
    b = flexbuffers.Builder()
    with b.Map():
        for key, value in options.items():
            {int: b.Int, float: b.Float}[type(value)](key, value)
    outs = [g.out(s) for s in [(1, 9, 4), (1, 9), (1, 9), (1,)]]
    scores = np.array([[[.5, .0], [.0, .75], [.0, .0]]], F)
    anchors = np.array([[.2, .2, .1, .1], [.5, .5, .1, .1], [.8, .8, .1, .1]], F)
    g.op("TFLite_Detection_PostProcess", [g.input(np.zeros((1, 3, 4), F)), g.input(scores), g.const(anchors)], outs,
         custom=bytes(b.Finish()))
    g.give(*outs)


def runs(g, n):
    """Values of the inputs for `n` more runs, as those of the first."""
    return [[real(*v.shape) for v in g.values] for _ in range(n)]


@case
def rnn(model):
    g = model.main
    h, y = g.tensor((2, 4), F, variable=True), g.out((2, 4))
    g.op("RNN", [g.input(real(2, 3)), g.const(real(4, 3)), g.const(real(4, 4) * .5), g.const(real(4)), h], [y], "RNNOptions",
         fusedActivationFunction=4)
    g.give(y)
    return runs(g, 3)


@case
def sequence_rnn(model):
    g = model.main
    h, y = g.tensor((2, 4), F, variable=True), g.out((2, 5, 4))
    g.op("UNIDIRECTIONAL_SEQUENCE_RNN",
         [g.input(real(2, 5, 3)), g.const(real(4, 3)), g.const(real(4, 4) * .5), g.const(real(4)), h], [y],
         "SequenceRNNOptions", timeMajor=False, fusedActivationFunction=1)
    g.give(y)
    return runs(g, 2)


@case
def svdf(model):
    g = model.main
    state, y = g.tensor((2, 8 * 6), F, variable=True), g.out((2, 4))
    g.op("SVDF", [g.input(real(2, 3)), g.const(real(8, 3)), g.const(real(8, 6)), g.const(real(4)), state], [y], "SVDFOptions",
         rank=2, fusedActivationFunction=1)
    g.give(y)
    return runs(g, 8)


def lstm_ports(g, i, h, coupled=False, peepholes=False, projection=0, norm=False):
    out = projection or h
    w = [-1 if coupled and k == 0 else g.const(real(h, i)) for k in range(4)]
    r = [-1 if coupled and k == 0 else g.const(real(h, out) * .5) for k in range(4)]
    p = [-1 if not peepholes or coupled and k == 0 else g.const(real(h)) for k in range(3)]
    b = [-1 if coupled and k == 0 else g.const(real(h)) for k in range(4)]
    proj = [g.const(real(out, h)), g.const(real(out))] if projection else [-1, -1]
    states = [g.tensor((2, out), F, variable=True), g.tensor((2, h), F, variable=True)]
    norms = [-1 if coupled and k == 0 else g.const(1 + .1 * real(h)) for k in range(4)] if norm else []
    return w + r + p + b + proj + states + norms


@case
def lstm(model):
    g = model.main
    x = g.input(real(2, 3))
    y = g.out((2, 4))
    g.op("LSTM", [x] + lstm_ports(g, 3, 4), [y], "LSTMOptions", fusedActivationFunction=4)
    g.give(y)
    return runs(g, 3)


@case
def lstm_coupled_projected(model):
    g = model.main
    x = g.input(real(2, 3))
    y = g.out((2, 5))
    g.op("LSTM", [x] + lstm_ports(g, 3, 4, True, True, 5), [y], "LSTMOptions", fusedActivationFunction=4, cellClip=.8,
         projClip=.9)
    g.give(y)
    return runs(g, 3)


@case
def sequence_lstm(model):
    g = model.main
    x = g.input(real(2, 5, 3))
    y = g.out((2, 5, 4))
    g.op("UNIDIRECTIONAL_SEQUENCE_LSTM", [x] + lstm_ports(g, 3, 4), [y], "UnidirectionalSequenceLSTMOptions",
         fusedActivationFunction=4)
    g.give(y)
    return runs(g, 2)


@case
def sequence_lstm_peepholes(model):
    g = model.main
    x = g.input(real(5, 2, 3))
    y = g.out((5, 2, 4))
    g.op("UNIDIRECTIONAL_SEQUENCE_LSTM", [x] + lstm_ports(g, 3, 4, peepholes=True), [y], "UnidirectionalSequenceLSTMOptions",
         fusedActivationFunction=4, timeMajor=True)
    g.give(y)
    return runs(g, 2)


@case
def sequence_lstm_normalized(model):
    g = model.main
    x = g.input(real(5, 2, 3))
    y = g.out((5, 2, 4))
    g.op("UNIDIRECTIONAL_SEQUENCE_LSTM", [x] + lstm_ports(g, 3, 4, norm=True), [y], "UnidirectionalSequenceLSTMOptions",
         fusedActivationFunction=4, timeMajor=True)
    g.give(y)
    return runs(g, 2)


@case
def both_ways_lstm(model):
    g = model.main
    x = g.input(real(4, 2, 3))
    first, second = lstm_ports(g, 3, 4), lstm_ports(g, 3, 4)
    y = g.out((4, 2, 8))
    g.op("BIDIRECTIONAL_SEQUENCE_LSTM", [x] + first[:17] + second[:17] + first[17:] + second[17:] + [-1] * 9, [y],
         "BidirectionalSequenceLSTMOptions", fusedActivationFunction=4, mergeOutputs=True, timeMajor=True)
    g.give(y)
    return runs(g, 2)


@case
def rfft(model):
    """The magnitude of a spectrum, as TensorFlow's converter writes `abs(rfft(x))`."""
    g = model.main
    x = g.input(real(3, 12))
    wide, spectrum, flat, y = g.out((3, 1, 12)), g.out((3, 1, 9), np.complex64), g.out((3, 9), np.complex64), g.out((3, 9))
    g.op("RESHAPE", [x, g.const(np.array([3, 1, 12], I))], [wide], "ReshapeOptions", newShape=[3, 1, 12])
    g.op("RFFT2D", [wide, g.const(np.array([1, 16], I))], [spectrum], "Rfft2dOptions")
    g.op("RESHAPE", [spectrum, g.const(np.array([3, 9], I))], [flat], "ReshapeOptions", newShape=[3, 9])
    g.op("COMPLEX_ABS", [flat], [y])
    g.give(y)


@case
def rfft2d(model):
    g = model.main
    spectrum = g.out((2, 4, 5), np.complex64)
    re, im = g.out((2, 4, 5)), g.out((2, 4, 5))
    g.op("RFFT2D", [g.input(real(2, 4, 8)), g.const(np.array([4, 8], I))], [spectrum], "Rfft2dOptions")
    g.op("REAL", [spectrum], [re])
    g.op("IMAG", [spectrum], [im])
    g.give(re, im)


def body(model, name, code, options, inputs=2):
    g = model.graph(name)
    ins = [g.tensor((2, 3), F) for _ in range(inputs)]
    g.g.inputs += ins
    y = g.out((2, 3))
    g.op(code, ins, [y], options)
    g.give(y)


@case
def if_while_running(model):
    """Both branches have the same shape; the condition is an input."""
    g = model.main
    condition, y = g.input(np.array(True)), g.out((2, 3))
    a, b = g.input(real(2, 3)), g.input(real(2, 3))
    body(model, "then", "ADD", "AddOptions")
    body(model, "else", "MUL", "MulOptions")
    g.op("IF", [condition, a, b], [y], "IfOptions", thenSubgraphIndex=1, elseSubgraphIndex=2)
    g.give(y)
    return [[np.array(False), real(2, 3), real(2, 3)]]


@case
def while_of_a_known_length(model):
    """Doubles a matrix four times."""
    g = model.main
    start = g.const(np.array(0, I))
    x = g.input(real(2, 3))
    outs = [g.out((), I), g.out((2, 3))]
    c = model.graph("cond")
    ins = [c.tensor((), I), c.tensor((2, 3), F)]
    c.g.inputs += ins
    less = c.out((), B)
    c.op("LESS", [ins[0], c.const(np.array(4, I))], [less], "LessOptions")
    c.give(less)
    b = model.graph("body")
    ins = [b.tensor((), I), b.tensor((2, 3), F)]
    b.g.inputs += ins
    made = [b.out((), I), b.out((2, 3))]
    b.op("ADD", [ins[0], b.const(np.array(1, I))], [made[0]], "AddOptions")
    b.op("ADD", [ins[1], ins[1]], [made[1]], "AddOptions")
    b.give(*made)
    g.op("WHILE", [start, x], outs, "WhileOptions", condSubgraphIndex=1, bodySubgraphIndex=2)
    g.give(outs[1])


# What LiteRT has no kernels for: computed here in float64, after the definitions.
EXPECTED = {}
# Numbers of its own: those of the cases above stay.
late = np.random.default_rng(11)


@case
def rfft2d_real_part(model):
    """A cast of complex numbers to real ones drops the imaginary part."""
    g = model.main
    spectrum, turned, y = g.out((2, 4, 5), np.complex64), g.out((2, 5, 4), np.complex64), g.out((2, 4, 5))
    g.op("RFFT2D", [g.input(late.normal(size=(2, 4, 8)).astype(F)), g.const(np.array([4, 8], I))], [spectrum], "Rfft2dOptions")
    g.op("CAST", [spectrum], [y], "CastOptions", inDataType=8, outDataType=0)
    part, im = g.out((2, 2, 3), np.complex64), g.out((2, 3, 2))
    g.op("SLICE", [spectrum, g.const(np.array([0, 1, 2], I)), g.const(np.array([2, 2, 3], I))], [part], "SliceOptions")
    half = g.out((2, 3, 2), np.complex64)
    g.op("TRANSPOSE", [part, g.const(np.array([0, 2, 1], I))], [half], "TransposeOptions")
    g.op("REAL", [half], [im])
    g.give(y, im)


for kind in ("SUM", "MAX", "MIN", "PROD"):
    name = "UNSORTED_SEGMENT_" + kind
    options = f"UnsortedSegment{kind.title()}Options"
    simple(name.lower(), name, [late.normal(size=(2, 3, 4)).astype(F), np.array([[0, 3, 1], [-1, 0, 3]], I), one(5)],
           [(F, (5, 4))], options)
simple("segment_sum", "SEGMENT_SUM", [late.integers(-9, 9, size=(5, 3)).astype(I), ints(0, 0, 1, 2, 2)], [(I, (3, 3))],
       "SegmentSumOptions")


def packed(**options):
    b = flexbuffers.Builder()
    with b.Map():
        for key, value in options.items():
            if isinstance(value, list):
                b.TypedVectorFromElements(key, value)
            else:
                {int: b.Int, float: b.Float}[type(value)](key, value)
    return list(b.Finish())


def crop_matrix(marks, left, right, subset, width, height, scale_x, scale_y, target):
    """Landmarks2TransformMatrix of MediaPipe, version 2, as a product of matrices."""
    marks = marks[0].astype(np.float64)
    dx, dy = (marks[right] - marks[left])[:2]
    turn = target - np.arctan2(dy, dx)
    rotation = lambda a: np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    turned = marks[subset][:, :2] @ rotation(turn).T
    low, high = turned.min(0), turned.max(0)
    y = np.eye(4)
    y[:2, :2] = rotation(-turn) @ np.diag((high - low) * [scale_x / width, scale_y / height])
    y[:2, 3] = rotation(-turn) @ ((low + high) / 2) - y[:2, :2] @ [width / 2, height / 2]
    return y[None].astype(F)


def crop(features, matrix, width, height):
    """TransformTensorBilinear of MediaPipe, version 2."""
    x, m = features[0].astype(np.float64), matrix[0].astype(np.float64)
    h, w, channels = x.shape
    y = np.zeros((1, height, width, channels))
    for row in range(height):
        for column in range(width):
            px, py = m[:2, :2] @ [column + .5, row + .5] + m[:2, 3] - .5
            if 0 <= px <= w - 1 and 0 <= py <= h - 1:
                i, j = int(py), int(px)
                down, right = min(i + 1, h - 1), min(j + 1, w - 1)
                u, v = px - j, py - i
                y[0, row, column] = (1 - v) * ((1 - u) * x[i, j] + u * x[i, right]) + v * ((1 - u) * x[down, j] + u * x[down, right])
    return y.astype(F)


@case
def landmark_crop(model):
    """Landmarks, a crop around some of them, and what is found in it put back."""
    g = model.main
    marks = (late.uniform(2, 9, size=(1, 7, 3))).astype(F)
    features = late.normal(size=(1, 7, 8, 3)).astype(F)
    inner = {2: late.uniform(0, 5, size=(1, 4, 2)).astype(F), 3: late.uniform(0, 5, size=(1, 2, 3)).astype(F)}
    matrix, read = g.out((1, 4, 4)), g.out((1, 5, 6, 3))
    subset = [1, 2, 4, 5]
    g.op("Landmarks2TransformMatrix", [g.input(marks)], [matrix],
         custom=packed(left_rotation_idx=1, right_rotation_idx=4, output_height=5, output_width=6, scale_x=1.5, scale_y=1.25,
                       target_rotation_radians=.3, subset_idxs=subset))
    g.op("TransformTensorBilinear", [g.input(features), matrix], [read], custom=packed(output_height=5, output_width=6))
    want = crop_matrix(marks, 1, 4, subset, 6, 5, 1.5, 1.25, .3)
    answers, outs = [want, crop(features, want, 6, 5)], [matrix, read]
    for depth, points in inner.items():
        out = g.out(points.shape)
        g.op("TransformLandmarks", [g.input(points), matrix], [out], custom=[])
        moved = points.astype(np.float64)
        moved[0, :, :2] = points[0, :, :2] @ want[0, :2, :2].T + want[0, :2, 3]
        answers.append(moved.astype(F))
        outs.append(out)
    g.give(*outs)
    EXPECTED["landmark_crop"] = [answers]


# Cases of TFLite_Detection_PostProcess, with how many detections they ask for.
DETECTIONS = {"post_process_fast": 6, "post_process_regular": 6, "few_boxes": 9}


def answer(data, given, detections):
    """What LiteRT gives for runs that follow one another."""
    kernels = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    it = Interpreter(model_content=data, experimental_op_resolver_type=kernels)
    it.allocate_tensors()
    ins, outs = it.get_input_details(), it.get_output_details()
    for values in given:
        for d, v in zip(ins, values):
            it.set_tensor(d["index"], v)
        it.invoke()
        got = [np.array(it.get_tensor(d["index"])) for d in outs]
        if detections:
            # LiteRT leaves what is behind the last one as it finds it.
            rows = int(got[3][0]) * got[1].shape[1] // detections
            for v in got[:3]:
                v[:, rows:] = 0
        yield got


def main():
    failed, arrays = [], {}
    for name, make in CASES.items():
        model = Model()
        more = make(model) or []
        data = model.bytes()
        given = [model.main.values] + more
        try:
            answers = EXPECTED.get(name) or list(answer(data, given, DETECTIONS.get(name)))
        except (RuntimeError, ValueError) as e:
            failed.append(f"{name}: {e}")
            continue
        arrays[f"{name}/model"] = np.frombuffer(data, np.uint8)
        for run, (ins, outs) in enumerate(zip(given, answers)):
            for kind, values in [("in", ins), ("out", outs)]:
                for i, v in enumerate(values):
                    v = np.asarray(v)
                    arrays[f"{name}/{run}/{kind}/{i}"] = v.astype(np.uint8) if v.dtype == np.bool_ else v
    print("\n".join(failed) or f"{len(CASES)} cases", file=sys.stderr)
    # A fixed date: the same cases give the same bytes.
    with zipfile.ZipFile(INTO, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, value in arrays.items():
            info = zipfile.ZipInfo(name + ".npy")
            info.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(info, "w") as f:
                np.lib.format.write_array(f, np.ascontiguousarray(value) if value.ndim else value)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
