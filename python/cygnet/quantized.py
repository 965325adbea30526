"""What torch's exporter has no translation for: the operators of PT2E-quantized modules that go by channel."""

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
