"""Builds the ONNX graphs of two classifiers, ResNet-18 and MobileNetV3-Small, with random weights.

  graphs.py [DIR]        writes DIR/resnet18.onnx and DIR/mobilenet_v3_small.onnx (default: the current folder)

They serve speed measurements and operator coverage; their answers mean nothing. Topology, channels and strides are the
papers' (He et al. 2015; Howard et al. 2019, in the form whose head is pool, 576 -> 1024, hard-swish, 1024 -> 1000). Input
`images` is f32[1,3,224,224], normalised to zero mean and unit variance; output `logits` is f32[1,1000]; opset 17. Batch
normalisation is folded: every convolution carries a bias, as in an exported inference graph.

Weights are He-initialised: each layer divides by the power expected of its input, which the builder carries from tensor to
tensor, and a filter's mean over the input channels is taken off, since what follows a rectifier is all positive and its
common mean would drown what differs between two pictures. So layer after layer stays near unit variance, and int8
calibration meets ranges like those of a trained network. The factors by which a node changes the power were set by looking
at what photographs give. The seed is fixed and the generator is numpy's frozen RandomState: the same files every time.

Needs only the `onnx` package (and the numpy it brings).
"""
import os
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET, IR_VERSION, SEED = 17, 8, 20240229


class Graph:
    """A graph under construction; a tensor is (name, channels, expected power: what varies, squared)."""

    def __init__(self, name, inputs=(1, 3, 224, 224)):
        self.name, self.rng = name, np.random.RandomState(SEED)
        self.nodes, self.weights, self.counts = [], [], {}
        self.inputs = [helper.make_tensor_value_info('images', TensorProto.FLOAT, inputs)]
        self.input = ('images', inputs[1], 1.0)

    def node(self, op, inputs, **attributes):
        """Append one node and return its output's name."""
        self.counts[op] = self.counts.get(op, 0) + 1
        name = f'{op.lower()}_{self.counts[op]}'
        self.nodes.append(helper.make_node(op, inputs, [name], name, **attributes))
        return name

    def weight(self, name, array):
        self.weights.append(numpy_helper.from_array(array.astype(np.float32), name))
        return name

    def parameters(self, op, shape, power):
        """He-initialised weights (fan-in: all but the first axis) and a small bias, for the next node of this operator."""
        name = f'{op.lower()}_{self.counts.get(op, 0) + 1}'
        w = self.rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]) * power)
        if shape[1] > 3:                     # not the picture's colours, nor a depthwise filter's single channel
            w -= w.mean(1, keepdims=True)
        b = self.rng.standard_normal(shape[0]) * 0.05
        return [self.weight(name + '.weight', w), self.weight(name + '.bias', b)]

    def conv(self, x, out, kernel, stride=1, depthwise=False):
        name, channels, power = x
        group = channels if depthwise else 1
        shape = (out, channels // group, kernel, kernel)
        y = self.node('Conv', [name, *self.parameters('Conv', shape, power)], kernel_shape=[kernel] * 2,
                      strides=[stride] * 2, pads=[kernel // 2] * 4, dilations=[1, 1], group=group)
        return y, out, 1.0

    def linear(self, x, out):
        name, channels, power = x
        y = self.node('Gemm', [name, *self.parameters('Gemm', (out, channels), power)], transB=1)
        return y, out, 1.0

    def relu(self, x):
        return self.node('Relu', [x[0]]), x[1], 0.4 * x[2]

    def hard_swish(self, x):
        return self.node('HardSwish', [x[0]]), x[1], 0.34 * x[2]

    def add(self, a, b):
        return self.node('Add', [a[0], b[0]]), a[1], a[2] + b[2]

    def max_pool(self, x, kernel, stride, pad):
        y = self.node('MaxPool', [x[0]], kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4)
        return y, x[1], 2 * x[2]

    def average_pool(self, x):
        """Mean over the whole picture; the axes are kept. What varies over the picture averages out."""
        return self.node('GlobalAveragePool', [x[0]]), x[1], 0.4 * x[2]

    def flatten(self, x):
        return self.node('Flatten', [x[0]], axis=1), x[1], x[2]

    def squeeze_excite(self, x):
        """Scale each channel by a gate in 0..1 computed from all channels' means."""
        squeezed = max(8, (x[1] // 4 + 4) // 8 * 8)
        if squeezed < 0.9 * (x[1] // 4):
            squeezed += 8
        y = self.relu(self.conv(self.average_pool(x), squeezed, 1))
        gate = self.node('HardSigmoid', [self.conv(y, x[1], 1)[0]], alpha=1 / 6, beta=0.5)
        return self.node('Mul', [x[0], gate]), x[1], 0.25 * x[2]

    def model(self, x, output='logits'):
        self.nodes[-1].output[0] = output
        outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, [1, x[1]])]
        graph = helper.make_graph(self.nodes, self.name, self.inputs, outputs, self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', OPSET)], producer_name='graphs.py',
                                  ir_version=IR_VERSION)
        onnx.checker.check_model(model, full_check=True)
        return model


def resnet18():
    g = Graph('resnet18')
    x = g.relu(g.conv(g.input, 64, 7, 2))
    x = g.max_pool(x, 3, 2, 1)
    for stage, channels in enumerate((64, 128, 256, 512)):
        for block in range(2):
            stride = 2 if stage and not block else 1
            y = g.conv(g.relu(g.conv(x, channels, 3, stride)), channels, 3)
            shortcut = g.conv(x, channels, 1, stride) if stride == 2 else x
            x = g.relu(g.add(y, shortcut))
    return g.model(g.linear(g.flatten(g.average_pool(x)), 1000))


def mobilenet_v3_small():
    blocks = (  # kernel, expanded channels, channels out, squeeze and excite, hard-swish (else ReLU), stride
        (3, 16, 16, True, False, 2), (3, 72, 24, False, False, 2), (3, 88, 24, False, False, 1),
        (5, 96, 40, True, True, 2), (5, 240, 40, True, True, 1), (5, 240, 40, True, True, 1),
        (5, 120, 48, True, True, 1), (5, 144, 48, True, True, 1),
        (5, 288, 96, True, True, 2), (5, 576, 96, True, True, 1), (5, 576, 96, True, True, 1))
    g = Graph('mobilenet_v3_small')
    x = g.hard_swish(g.conv(g.input, 16, 3, 2))
    for kernel, expanded, out, excite, swish, stride in blocks:
        activation = g.hard_swish if swish else g.relu
        y = activation(g.conv(x, expanded, 1)) if expanded != x[1] else x
        y = activation(g.conv(y, expanded, kernel, stride, depthwise=True))
        y = g.conv(g.squeeze_excite(y) if excite else y, out, 1)
        x = g.add(y, x) if stride == 1 and out == x[1] else y
    x = g.hard_swish(g.conv(x, 576, 1))
    x = g.hard_swish(g.linear(g.flatten(g.average_pool(x)), 1024))
    return g.model(g.linear(x, 1000))


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else '.'
    os.makedirs(folder, exist_ok=True)
    for build in (resnet18, mobilenet_v3_small):
        path = os.path.join(folder, build.__name__ + '.onnx')
        onnx.save(build(), path)
        print(f'{path}: {os.path.getsize(path)} bytes')


if __name__ == '__main__':
    main()
