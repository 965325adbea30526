"""What torch's exporter has no translation for: the operators of PT2E-quantized modules that go by channel, and fake
quantization that is fused with its observer."""

import copy

import torch

# Annotations are read by the exporter, so they are evaluated here: no `from __future__ import annotations`.


def translations() -> dict:
    """For ``torch.onnx.export(custom_translation_table=...)``: quantization by channel."""
    # Registers the operators.
    import torch.ao.quantization.fx._decomposed  # noqa: F401
    from onnxscript import FLOAT, INT8, INT64
    from onnxscript import opset18 as op

    def dequantize_per_channel(
        input: INT8,
        scales: FLOAT,
        zero_points: INT64,
        axis: int,
        quant_min: int,
        quant_max: int,
        dtype: int,
        out_dtype: int = -1,
    ) -> FLOAT:
        return op.DequantizeLinear(input, op.Cast(scales, to=1), op.CastLike(zero_points, input), axis=axis)

    def quantize_per_channel(
        input: FLOAT,
        scales: FLOAT,
        zero_points: INT64,
        axis: int,
        quant_min: int,
        quant_max: int,
        dtype: int = 3,
    ) -> INT8:
        # `dtype` is the number of an ONNX type by now.
        return op.QuantizeLinear(input, op.Cast(scales, to=1), op.Cast(zero_points, to=dtype), axis=axis)

    ops = torch.ops.quantized_decomposed
    return {
        ops.dequantize_per_channel.default: dequantize_per_channel,
        ops.quantize_per_channel.default: quantize_per_channel,
    }


class _Fake(torch.nn.Module):
    """Rounds to the values that a quantized tensor can have, with the scales that were learned."""

    def __init__(self, of):
        super().__init__()
        self.bounds = of.activation_post_process.quant_min, of.activation_post_process.quant_max
        scale, zero_point = of.scale.detach().clone(), of.zero_point.detach().clone().int()
        self.axis = of.ch_axis if of.is_per_channel else None
        if self.axis is None:
            self.one = float(scale), int(zero_point)
        else:
            self.register_buffer("scale", scale)
            self.register_buffer("zero_point", zero_point)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.axis is None:
            return torch.fake_quantize_per_tensor_affine(x, *self.one, *self.bounds)
        return torch.fake_quantize_per_channel_affine(x, self.scale, self.zero_point, self.axis, *self.bounds)


def frozen(model: torch.nn.Module) -> torch.nn.Module:
    """The module; or where quantization-aware training has left fake quantization in it, a copy that observes nothing.

    torch exports no fake quantization that is fused with its observer, as that of its default configurations is.
    """
    from torch.ao.quantization import FakeQuantizeBase

    if not any(isinstance(m, FakeQuantizeBase) for m in model.modules()):
        return model
    model = copy.deepcopy(model)
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, FakeQuantizeBase):
                on = bool(child.fake_quant_enabled[0])
                setattr(parent, name, _Fake(child) if on else torch.nn.Identity())
    return model
