//! Operators that compute on quantized tensors (`QLinearConv`, `QGemm`, ...), rewritten to what they mean:
//! dequantize, compute, quantize. Later stages know quantized models in this one form.

use crate::build::Builder;
use crate::error::ImportError;
use crate::graph::{Attr, Node, Tensor, ValueId};

/// Operators that are rewritten. Some exporters write those of ONNX Runtime's domain without it.
const OPERATORS: &[&str] = &[
    "QLinearConv",
    "QLinearMatMul",
    "com.microsoft.QGemm",
    "com.microsoft.QLinearAdd",
    "com.microsoft.QLinearAveragePool",
    "com.microsoft.QLinearConcat",
    "com.microsoft.QLinearGlobalAveragePool",
    "com.microsoft.QLinearLeakyRelu",
    "com.microsoft.QLinearMul",
    "com.microsoft.QLinearSigmoid",
    "com.microsoft.QLinearSoftmax",
];

/// All operators that are rewritten.
pub fn operators() -> impl Iterator<Item = &'static str> {
    OPERATORS.iter().copied()
}

/// Whether an operator is one of those that are rewritten.
pub fn handles(op: &str) -> bool {
    let bare = |op: &'static str| op.strip_prefix("com.microsoft.").unwrap_or(op);
    OPERATORS.iter().any(|&name| bare(name) == op.strip_prefix("com.microsoft.").unwrap_or(op))
}

/// Replaces `node` when it is such an operator; `false` leaves it to the caller.
///
/// # Errors
/// [`ImportError::Node`] when inputs that the operator needs are left out.
pub fn normalize(b: &mut Builder, node: &Node) -> Result<bool, ImportError> {
    let op = node.op.strip_prefix("com.microsoft.").unwrap_or(&node.op);
    let q = Q { b, node };
    match op {
        "QLinearConv" => q.conv()?,
        "QLinearMatMul" => q.matmul()?,
        "QGemm" => q.gemm()?,
        "QLinearAdd" | "QLinearMul" => q.binary(&op["QLinear".len()..])?,
        "QLinearGlobalAveragePool"
        | "QLinearAveragePool"
        | "QLinearSigmoid"
        | "QLinearLeakyRelu"
        | "QLinearSoftmax"
            if node.int("channels_last", 0) == 0 =>
        {
            q.unary(&op["QLinear".len()..])?;
        }
        "QLinearConcat" => q.concat()?,
        _ => return Ok(false),
    }
    Ok(true)
}

struct Q<'a> {
    b: &'a mut Builder,
    node: &'a Node,
}

impl Q<'_> {
    fn need(&self, i: usize) -> Result<ValueId, ImportError> {
        self.node.input(i).ok_or_else(|| ImportError::Node {
            op: self.node.op.clone(),
            node: self.node.name.clone(),
            reason: format!("needs input {i}, which is left out; export the model again"),
        })
    }

    fn hint(&self, part: &str) -> String {
        format!("{}/{part}", self.node.name)
    }

    /// The real value of input `i`, whose scale and zero point are the next two inputs.
    fn real(&mut self, i: usize, axis: i64) -> Result<ValueId, ImportError> {
        let inputs = [Some(self.need(i)?), Some(self.need(i + 1)?), self.node.input(i + 2)];
        let hint = self.hint(&format!("dequantize{i}"));
        self.b.emit("DequantizeLinear", &hint, &inputs, &[("axis", Attr::Int(axis))])
    }

    /// The real value of an int32 bias at input `i`, whose scale is the product of inputs `x` and `w`.
    fn bias(&mut self, i: usize, x: usize, w: usize) -> Result<Option<ValueId>, ImportError> {
        let Some(bias) = self.node.input(i) else { return Ok(None) };
        let (x, w) = (Some(self.need(x)?), Some(self.need(w)?));
        let scale = self.b.emit("Mul", &self.hint("bias_scale"), &[x, w], &[])?;
        let inputs = [Some(bias), Some(scale)];
        let hint = self.hint("dequantize_bias");
        Ok(Some(self.b.emit("DequantizeLinear", &hint, &inputs, &[("axis", Attr::Int(0))])?))
    }

    fn attrs(&self, keep: &[&'static str]) -> Vec<(&'static str, Attr)> {
        keep.iter().filter_map(|&k| self.node.attrs.get(k).map(|v| (k, v.clone()))).collect()
    }

    /// Computes `op` over real `inputs` and quantizes it with the scale at input `scale` and the next one.
    fn finish(
        self,
        op: &str,
        inputs: &[Option<ValueId>],
        scale: usize,
        attrs: &[(&str, Attr)],
    ) -> Result<(), ImportError> {
        let real = self.b.emit(op, &self.hint(op), inputs, attrs)?;
        self.quantize(real, scale)
    }

    fn quantize(self, real: ValueId, scale: usize) -> Result<(), ImportError> {
        let inputs = [Some(real), Some(self.need(scale)?), self.node.input(scale + 1)];
        if let Some(&Some(out)) = self.node.outputs.first() {
            self.b.emit_to("QuantizeLinear", &self.node.name, &inputs, &[out], &[])?;
        }
        Ok(())
    }

    fn conv(mut self) -> Result<(), ImportError> {
        let x = self.real(0, 1)?;
        let w = self.real(3, 0)?;
        let mut inputs = vec![Some(x), Some(w)];
        inputs.extend(self.bias(8, 1, 4)?.map(Some));
        let attrs = self.attrs(&["auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"]);
        self.finish("Conv", &inputs, 6, &attrs)
    }

    fn matmul(mut self) -> Result<(), ImportError> {
        let inputs = [Some(self.real(0, 1)?), Some(self.real(3, 1)?)];
        self.finish("MatMul", &inputs, 6, &[])
    }

    /// `alpha` scales the bias too: it is stored at scale `alpha * a_scale * b_scale`.
    fn gemm(mut self) -> Result<(), ImportError> {
        let columns = i64::from(self.node.int("transB", 0) == 0);
        let mut inputs = vec![Some(self.real(0, 1)?), Some(self.real(3, columns)?)];
        if let Some(bias) = self.bias(6, 1, 4)? {
            let alpha = self.node.float("alpha", 1.0);
            let alpha = self.b.constant(&self.hint("alpha"), Tensor::f32(&[], vec![alpha]));
            inputs.push(Some(self.b.emit("Mul", &self.hint("bias"), &[Some(bias), Some(alpha)], &[])?));
        }
        let attrs = self.attrs(&["alpha", "transA", "transB"]);
        if self.node.input(7).is_some() {
            return self.finish("Gemm", &inputs, 7, &attrs);
        }
        if let Some(&Some(out)) = self.node.outputs.first() {
            self.b.emit_to("Gemm", &self.node.name, &inputs, &[out], &attrs)?;
        }
        Ok(())
    }

    fn binary(mut self, op: &str) -> Result<(), ImportError> {
        let inputs = [Some(self.real(0, 1)?), Some(self.real(3, 1)?)];
        self.finish(op, &inputs, 6, &[])
    }

    fn unary(mut self, op: &str) -> Result<(), ImportError> {
        let x = self.real(0, 1)?;
        let attrs = self.attrs(&[
            "alpha",
            "auto_pad",
            "axis",
            "ceil_mode",
            "count_include_pad",
            "kernel_shape",
            "pads",
            "strides",
        ]);
        self.finish(op, &[Some(x)], 3, &attrs)
    }

    /// Inputs: the output's scale and zero point, then three for each part.
    fn concat(mut self) -> Result<(), ImportError> {
        let mut inputs = Vec::new();
        for i in (2..self.node.inputs.len()).step_by(3) {
            inputs.push(Some(self.real(i, 1)?));
        }
        let attrs = self.attrs(&["axis"]);
        self.finish("Concat", &inputs, 0, &attrs)
    }
}
