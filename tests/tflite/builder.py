"""TensorFlow Lite models, tensor by tensor and operator by operator, for the scripts beside this file."""
import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

TYPES = {
    np.dtype(t): n
    for t, n in {
        "float32": 0, "float16": 1, "int32": 2, "uint8": 3, "int64": 4, "bool": 6, "int16": 7, "complex64": 8,
        "int8": 9,
    }.items()
}
CODES = {n: v for n, v in vars(schema.BuiltinOperator).items() if not n.startswith("_")}
KINDS = {n: v for n, v in vars(schema.BuiltinOptions).items() if not n.startswith("_")}

class Graph:
    """Tensors and operators of one subgraph."""

    def __init__(self, model, name):
        self.model, self.g = model, schema.SubGraphT()
        self.g.name, self.g.tensors, self.g.operators = name, [], []
        self.g.inputs, self.g.outputs = [], []
        self.values = []

    def tensor(self, shape, dtype, value=None, q=None, variable=False, sparsity=None, raw=None, number=None):
        """A tensor; q is (scale, zero point) or (scales, zero points, axis)."""
        t = schema.TensorT()
        t.shape, t.type = list(shape), TYPES[np.dtype(dtype)] if number is None else number
        t.name = f"t{len(self.g.tensors)}_{len(self.model.m.subgraphs)}"
        t.buffer = self.model.buffer(raw if raw is not None else None if value is None else np.asarray(value, dtype).tobytes())
        t.isVariable, t.sparsity = variable, sparsity
        if q is not None:
            t.quantization = schema.QuantizationParametersT()
            t.quantization.scale = np.atleast_1d(np.asarray(q[0], np.float32)).tolist()
            t.quantization.zeroPoint = np.atleast_1d(np.asarray(q[1], np.int64)).tolist()
            t.quantization.quantizedDimension = q[2] if len(q) > 2 else 0
        self.g.tensors.append(t)
        return len(self.g.tensors) - 1

    def input(self, value, q=None):
        value = np.asarray(value)
        t = self.tensor(value.shape, value.dtype, q=q)
        self.g.inputs.append(t)
        self.values.append(value)
        return t

    def const(self, value, q=None):
        value = np.asarray(value)
        return self.tensor(value.shape, value.dtype, value, q)

    def out(self, shape, dtype=np.float32, q=None):
        return self.tensor(shape, dtype, q=q)

    def op(self, code, inputs, outputs, options=None, custom=None, **fields):
        o = schema.OperatorT()
        o.opcodeIndex = self.model.code(code, custom is not None)
        o.inputs, o.outputs = list(inputs), list(outputs)
        if options:
            o.builtinOptionsType = KINDS[options]
            o.builtinOptions = getattr(schema, options + "T")()
            for name, value in fields.items():
                assert hasattr(o.builtinOptions, name), (options, name)
                setattr(o.builtinOptions, name, value)
        if custom is not None:
            o.customOptions = list(custom)
        self.g.operators.append(o)

    def give(self, *tensors):
        self.g.outputs += tensors


class Model:
    """A model under construction; `main` is its first subgraph."""

    def __init__(self):
        self.m = schema.ModelT()
        self.m.version, self.m.description = 3, "case"
        self.m.buffers, self.m.operatorCodes, self.m.subgraphs = [schema.BufferT()], [], []
        self.m.buffers[0].data = []
        self.main = self.graph("main")

    def graph(self, name):
        graph = Graph(self, name)
        self.m.subgraphs.append(graph.g)
        return graph

    def buffer(self, data):
        if data is None:
            return 0
        b = schema.BufferT()
        b.data = np.frombuffer(data, np.uint8)
        self.m.buffers.append(b)
        return len(self.m.buffers) - 1

    def code(self, name, custom):
        c = schema.OperatorCodeT()
        c.builtinCode = CODES["CUSTOM" if custom else name]
        c.deprecatedBuiltinCode, c.version = min(c.builtinCode, 127), VERSIONS.get(name, 1)
        c.customCode = name if custom else None
        self.m.operatorCodes.append(c)
        return len(self.m.operatorCodes) - 1

    def bytes(self):
        b = flatbuffers.Builder(1024)
        b.Finish(self.m.Pack(b), b"TFL3")
        return bytes(b.Output())


VERSIONS = {"CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 4, "ADD": 2, "MUL": 2, "SVDF": 2, "LSTM": 1,
            "UNIDIRECTIONAL_SEQUENCE_LSTM": 1, "GATHER": 5, "BATCH_MATMUL": 1, "SUB": 2, "AVERAGE_POOL_2D": 2, "BROADCAST_TO": 2}
