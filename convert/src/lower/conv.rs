//! Convolutions, products with constant matrices, pooling.

use cygnet_format::op::{self, Algorithm, Epilogue, Op, PoolKind, ReduceKind, Window};
use cygnet_format::program::DType;
use cygnet_kernels::conv::micro::NR;

use super::layout::transpose_const;
use super::{Layout, Lowered, Lowerer};
use crate::graph::{Node, ValueId};
use crate::lir::{Const, Id};

/// The window of a 1 x 1 convolution.
pub(crate) const POINTWISE: Window = Window { kernel: [1, 1], stride: [1, 1], dilation: [1, 1], pad: [0; 4] };

/// Two spatial values of an attribute; one-dimensional operators get `fill` as their height.
fn pair(values: Option<&[i64]>, spatial: usize, default: i64, fill: i64) -> Lowered<[u32; 2]> {
    let v: Vec<i64> = values.map_or_else(|| vec![default; spatial], <[i64]>::to_vec);
    let full = match v.as_slice() {
        [w] if spatial == 1 => [fill, *w],
        [h, w] => [*h, *w],
        _ => return Err(format!("it has {} spatial values where {spatial} belong", v.len())),
    };
    let word = |x: i64| u32::try_from(x).map_err(|_| format!("spatial value {x} is out of range"));
    Ok([word(full[0])?, word(full[1])?])
}

/// How many pixels a window spans.
fn span(kernel: u32, dilation: u32) -> i64 {
    (i64::from(kernel) - 1) * i64::from(dilation) + 1
}

impl Lowerer<'_> {
    /// Number of spatial dimensions: 1 or 2.
    fn spatial(&self, v: ValueId) -> Lowered<usize> {
        match self.dims(v).len() {
            rank @ (3 | 4) => Ok(rank - 2),
            rank => {
                Err(format!("its input has {rank} dimensions; 3 (N, C, L) and 4 (N, C, H, W) are supported"))
            }
        }
    }

    /// An input as an NHWC image; `[N, C, L]` becomes an image of height 1.
    pub(super) fn image(&mut self, v: ValueId) -> Lowered<Id> {
        let dims = self.dims(v);
        let id = self.arranged(v, &Layout::channels_last(dims.len()))?;
        Ok(if let [n, c, l] = dims[..] { self.view(id, &[n, 1, l, c]) } else { id })
    }

    /// Defines an output from an NHWC image.
    pub(super) fn define_image(&mut self, v: ValueId, id: Id) {
        let dims = self.dims(v);
        let layout = Layout::channels_last(dims.len());
        let id = self.view(id, &layout.physical(&dims));
        self.define(v, id, layout);
    }

    /// Dimensions of an output as an NHWC image.
    pub(super) fn image_dims(&self, v: ValueId) -> Vec<usize> {
        let dims = self.dims(v);
        if let [n, c, l] = dims[..] { vec![n, 1, l, c] } else { Layout::channels_last(4).physical(&dims) }
    }

    /// The window of a convolution or pooling node, whose padding `auto_pad` may leave to be computed.
    fn window(&self, node: &Node, x: ValueId, y: ValueId, kernel: [u32; 2]) -> Lowered<Window> {
        let spatial = self.spatial(x)?;
        let stride = pair(node.ints("strides"), spatial, 1, 1)?;
        let dilation = pair(node.ints("dilations"), spatial, 1, 1)?;
        if stride.contains(&0) || dilation.contains(&0) || kernel.contains(&0) {
            return Err("its kernel, strides and dilations must be at least 1".to_owned());
        }
        let (xi, yi) = (self.image_dims(x), self.image_dims(y));
        // What the output's extent says must be there, for padding that is to be computed.
        let total: [i64; 2] = std::array::from_fn(|i| {
            let reach = (yi[i + 1] as i64 - 1) * i64::from(stride[i]) + span(kernel[i], dilation[i]);
            (reach - xi[i + 1] as i64).max(0)
        });
        let pad = match node.str("auto_pad", "NOTSET") {
            "SAME_UPPER" => [total[0] / 2, total[1] / 2, total[0] - total[0] / 2, total[1] - total[1] / 2],
            "SAME_LOWER" => [total[0] - total[0] / 2, total[1] - total[1] / 2, total[0] / 2, total[1] / 2],
            "VALID" => [0; 4],
            _ => match node.ints("pads") {
                None => [0; 4],
                Some(&[l, r]) if spatial == 1 => [0, l, 0, r],
                Some(&[t, l, b, r]) if spatial == 2 => [t, l, b, r],
                Some(other) => {
                    return Err(format!("its pads {other:?} do not fit {spatial} spatial dimensions"));
                }
            },
        };
        if pad.iter().any(|&p| !(0..=i64::from(i32::MAX)).contains(&p)) {
            return Err(format!("its pads {pad:?} must not be negative"));
        }
        Ok(Window { kernel, stride, dilation, pad: pad.map(|p| p as u32) })
    }

    /// Weights `[M, C / groups, spatial..]` of a convolution as `[M, KH, KW, C / groups]`.
    fn conv_weights(&mut self, node: &Node) -> Lowered<(Id, Vec<usize>)> {
        let v = self.required(node, 1)?;
        let t = self.constant_input(node, 1, "weights")?;
        let (m, c) = (t.dims[0], t.dims[1]);
        let (kh, kw) = if t.dims.len() == 3 { (1, t.dims[2]) } else { (t.dims[2], t.dims[3]) };
        let moved = transpose_const(&Const::F32(t.to_f32()), &[m, c, kh, kw], &[0, 2, 3, 1]);
        let name = self.graph.value(v).name.clone();
        let dims = vec![m, kh, kw, c];
        Ok((self.lir.add_const(name, &dims, moved), dims))
    }

    /// The bias of a node, zeros when it has none.
    fn bias(&mut self, node: &Node, i: usize, m: usize) -> Lowered<Id> {
        let values = match node.input(i) {
            None => vec![0.0; m],
            Some(_) => self.constant_input(node, i, "bias")?.to_f32(),
        };
        let values = if values.len() == 1 { vec![values[0]; m] } else { values };
        if values.len() != m {
            return Err(format!("its bias has {} values for {m} channels", values.len()));
        }
        Ok(self.lir.add_const(format!("{}:bias", node.name), &[m], Const::F32(values)))
    }

    pub(super) fn conv(&mut self, node: &Node) -> Lowered<()> {
        let (x, y) = (self.required(node, 0)?, self.only_first_output(node)?);
        let spatial = self.spatial(x)?;
        let groups =
            u32::try_from(node.int("group", 1)).map_err(|_| "its group is out of range".to_owned())?;
        let (mut w, wd) = self.conv_weights(node)?;
        let (m, kh, kw, depth) = (wd[0], wd[1], wd[2], wd[3]);
        let kernel = pair(Some(&[kh as i64, kw as i64][2 - spatial..]), spatial, 1, 1)?;
        let window = self.window(node, x, y, kernel)?;
        let bias = self.bias(node, 2, m)?;
        let c = self.dims(x)[1];
        if groups == 0 || c != depth * groups as usize || !m.is_multiple_of(groups as usize) {
            return Err(format!("{c} input channels do not fit {groups} groups of weights {wd:?}"));
        }
        let image = self.image(x)?;
        let dims = self.image_dims(y);
        let op = if groups as usize == c && m == c && c > 1 {
            let t = &self.lir.tensors[w];
            let moved = transpose_const(t.constant.as_ref().expect("weights"), &[m, kh * kw], &[1, 0]);
            let name = t.name.clone();
            w = self.lir.add_const(name, &[kh, kw, c], moved);
            Op::DepthwiseConv(op::DepthwiseConv { window, epilogue: Epilogue::NONE })
        } else {
            Op::Conv(op::Conv {
                window,
                groups,
                epilogue: Epilogue::NONE,
                algorithm: Algorithm::Direct,
                addend_scale: 0.0,
            })
        };
        let out = self.step(&node.name, op, &[image, w, bias], &dims, DType::F32);
        self.define_image(y, out);
        Ok(())
    }

    pub(super) fn conv_transpose(&mut self, node: &Node) -> Lowered<()> {
        let (x, y) = (self.required(node, 0)?, self.only_first_output(node)?);
        let spatial = self.spatial(x)?;
        let groups = usize::try_from(node.int("group", 1)).unwrap_or(0).max(1);
        let t = self.constant_input(node, 1, "weights")?;
        // [C, M / groups, KH, KW] to [M, KH, KW, C / groups].
        let (c, mg) = (t.dims[0], t.dims[1]);
        let (kh, kw) = if t.dims.len() == 3 { (1, t.dims[2]) } else { (t.dims[2], t.dims[3]) };
        let (m, cg) = (mg * groups, c / groups);
        let dims = [groups, cg, mg, kh, kw];
        let moved = transpose_const(&Const::F32(t.to_f32()), &dims, &[0, 2, 3, 4, 1]);
        let name = self.graph.value(self.required(node, 1)?).name.clone();
        let w = self.lir.add_const(name, &[m, kh, kw, cg], moved);
        let bias = self.bias(node, 2, m)?;
        let kernel = pair(Some(&[kh as i64, kw as i64][2 - spatial..]), spatial, 1, 1)?;
        let stride = pair(node.ints("strides"), spatial, 1, 1)?;
        let dilation = pair(node.ints("dilations"), spatial, 1, 1)?;
        let (xi, yi) = (self.image_dims(x), self.image_dims(y));
        // The whole extent before cropping; what the output lacks of it is padding.
        let crop: [i64; 2] = std::array::from_fn(|i| {
            (xi[i + 1] as i64 - 1) * i64::from(stride[i]) + span(kernel[i], dilation[i]) - yi[i + 1] as i64
        });
        let begin = match (node.str("auto_pad", "NOTSET"), node.ints("pads")) {
            ("SAME_UPPER", _) => crop.map(|p| p.max(0) / 2),
            ("SAME_LOWER", _) => crop.map(|p| p.max(0) - p.max(0) / 2),
            // `output_shape` leaves the padding to be found: ONNX splits it as SAME_UPPER does not.
            (_, _) if node.ints("output_shape").is_some() => crop.map(|p| p.max(0) - p.max(0) / 2),
            (_, Some(&[l, _])) if spatial == 1 => [0, l],
            (_, Some(&[t, l, _, _])) => [t, l],
            _ => [0, 0],
        };
        if begin.iter().any(|&p| p < 0) {
            return Err("its pads must not be negative".to_owned());
        }
        let end: [i64; 2] = std::array::from_fn(|i| (crop[i] - begin[i]).max(0));
        let pad = [begin[0] as u32, begin[1] as u32, end[0] as u32, end[1] as u32];
        let window = Window { kernel, stride, dilation, pad };
        let image = self.image(x)?;
        let dims = self.image_dims(y);
        let apart = groups == 1 && kernel == stride && dilation == [1, 1] && [begin, crop] == [[0; 2]; 2];
        let out = if apart && m < NR {
            self.conv_then_spread(&node.name, image, w, bias, &dims)
        } else {
            let groups = groups as u32;
            let op = Op::ConvTranspose(op::ConvTranspose { window, groups, epilogue: Epilogue::NONE });
            self.step(&node.name, op, &[image, w, bias], &dims, DType::F32)
        };
        self.define_image(y, out);
        Ok(())
    }

    /// A transposed convolution whose windows do not overlap: every input pixel makes `KH x KW` pixels of its own. As one
    /// convolution these fill the vectors that a few channels alone would leave empty; then they are put in place.
    /// Products and their order are the same.
    fn conv_then_spread(&mut self, name: &str, image: Id, w: Id, bias: Id, dims: &[usize]) -> Id {
        let (weights, biases) = (&self.lir.tensors[w], &self.lir.tensors[bias]);
        let [m, kh, kw, c] = weights.dims[..] else { unreachable!("[M, KH, KW, C]") };
        let (weights, biases) = (weights.constant.clone(), biases.constant.clone());
        let weights = transpose_const(weights.as_ref().expect("weights"), &[m, kh, kw, c], &[1, 2, 0, 3]);
        let biases = biases.as_ref().expect("bias").f32().repeat(kh * kw);
        let n = kh * kw * m;
        let w = self.lir.add_const(format!("{name}:weights"), &[n, 1, 1, c], weights);
        let bias = self.lir.add_const(format!("{name}:bias"), &[n], Const::F32(biases));
        let mut each = self.lir.tensors[image].dims.clone();
        let (images, h, width) = (each[0], each[1], each[2]);
        each[3] = n;
        let op = Op::Conv(op::Conv {
            window: POINTWISE,
            groups: 1,
            epilogue: Epilogue::NONE,
            algorithm: Algorithm::Direct,
            addend_scale: 0.0,
        });
        let id = self.step(name, op, &[image, w, bias], &each, DType::F32);
        let id = self.view(id, &[images, h, width, kh, kw, m]);
        let lies = Layout::new(vec![0, 1, 3, 2, 4, 5]);
        let id = self.arrange(id, &lies, &[images, h, kh, width, kw, m], &Layout::identity(6));
        self.view(id, dims)
    }

    /// Rows times a constant matrix, given as `[K, N]` values.
    fn rows_times(&mut self, name: &str, x: Id, w: (String, Vec<f32>), k: usize, n: usize, bias: Id) -> Id {
        let moved = transpose_const(&Const::F32(w.1), &[k, n], &[1, 0]);
        let weights = self.lir.add_const(w.0, &[n, 1, 1, k], moved);
        let mut dims = self.lir.tensors[x].dims.clone();
        *dims.last_mut().expect("a matrix") = n;
        let op = Op::Conv(op::Conv {
            window: POINTWISE,
            groups: 1,
            epilogue: Epilogue::NONE,
            algorithm: Algorithm::Direct,
            addend_scale: 0.0,
        });
        self.step(name, op, &[x, weights, bias], &dims, DType::F32)
    }

    pub(super) fn gemm(&mut self, node: &Node) -> Lowered<()> {
        let (a, b, y) = (self.required(node, 0)?, self.required(node, 1)?, self.only_first_output(node)?);
        let (alpha, beta) = (node.float("alpha", 1.0), node.float("beta", 1.0));
        let wanted = if node.int("transA", 0) == 0 { Layout::identity(2) } else { Layout::new(vec![1, 0]) };
        let x = self.arranged(a, &wanted)?;
        let out = self.dims(y);
        let (m, n) = (out[0], out[1]);
        let k = self.lir.tensors[x].dims[1];
        if let Some(t) = self.constant_of(b) {
            let mut w = t.to_f32();
            if node.int("transB", 0) != 0 {
                let Const::F32(moved) = transpose_const(&Const::F32(w), &[n, k], &[1, 0]) else {
                    unreachable!()
                };
                w = moved;
            }
            w.iter_mut().for_each(|v| *v *= alpha);
            let c = node.input(2);
            let constant =
                c.is_none_or(|c| self.constant_of(c).is_some_and(|t| t.len() == 1 || t.len() == n));
            let name = self.graph.value(b).name.clone();
            let bias = if constant { self.bias(node, 2, n)? } else { self.zeros(&node.name, n) };
            if constant && beta != 1.0 {
                let t = &mut self.lir.tensors[bias];
                let scaled = t.constant.as_ref().expect("bias").f32().iter().map(|v| v * beta).collect();
                t.constant = Some(std::sync::Arc::new(Const::F32(scaled)));
            }
            let product = self.rows_times(&node.name, x, (name, w), k, n, bias);
            let id = if constant { product } else { self.add_scaled(node, product, beta, &[m, n])? };
            self.define(y, id, Layout::identity(2));
            return Ok(());
        }
        let (b_id, transpose_b) =
            if node.int("transB", 0) == 0 { self.right_matrix(b)? } else { (self.identity(b)?, true) };
        let op = Op::MatMul(op::MatMul { transpose_b, scale: alpha, epilogue: Epilogue::NONE });
        let product = self.step(&node.name, op, &[x, b_id], &[m, n], DType::F32);
        let id =
            if node.input(2).is_some() { self.add_scaled(node, product, beta, &[m, n])? } else { product };
        self.define(y, id, Layout::identity(2));
        Ok(())
    }

    fn zeros(&mut self, name: &str, n: usize) -> Id {
        self.lir.add_const(format!("{name}:bias"), &[n], Const::F32(vec![0.0; n]))
    }

    /// `product + beta * C`, for a Gemm whose C is no bias.
    fn add_scaled(&mut self, node: &Node, product: Id, beta: f32, dims: &[usize]) -> Lowered<Id> {
        let c = self.required(node, 2)?;
        let mut c = self.identity(c)?;
        if beta != 1.0 {
            let rank = self.lir.tensors[c].dims.len();
            let factor = self.scalar(&format!("{}:beta", node.name), rank, beta);
            let cd = self.lir.tensors[c].dims.clone();
            c = self.binary_step(
                &format!("{}:scaled", node.name),
                op::BinaryKind::Mul,
                c,
                factor,
                &cd,
                DType::F32,
            );
        }
        Ok(self.binary_step(&format!("{}:add", node.name), op::BinaryKind::Add, product, c, dims, DType::F32))
    }

    /// The second matrix of a product, as it lies: whether transposed is told with it.
    fn right_matrix(&mut self, v: ValueId) -> Lowered<(Id, bool)> {
        let placed = self.placed(v)?;
        let dims = self.dims(v);
        let rank = dims.len();
        let mut swapped: Vec<usize> = (0..rank).collect();
        swapped.swap(rank - 1, rank - 2);
        let swapped = Layout::new(swapped);
        if placed.layout != Layout::identity(rank) && placed.layout.same_sequence(&swapped, &dims) {
            return Ok((self.arranged(v, &swapped)?, true));
        }
        Ok((self.identity(v)?, false))
    }

    pub(super) fn matmul(&mut self, node: &Node) -> Lowered<()> {
        let (a, b, y) = (self.required(node, 0)?, self.required(node, 1)?, self.only_first_output(node)?);
        let (ad, bd, yd) = (self.dims(a), self.dims(b), self.dims(y));
        if let (Some(t), 2, true) = (self.constant_of(b), bd.len(), !ad.is_empty()) {
            let (w, name) = (t.to_f32(), self.graph.value(b).name.clone());
            let (k, n) = (bd[0], bd[1]);
            // Rows may come in any order, as long as their elements lie together.
            let placed = self.placed(a)?;
            let rank = ad.len();
            let layout = if placed.layout.order()[rank - 1] == rank - 1 {
                placed.layout
            } else {
                Layout::identity(rank)
            };
            let x = self.arranged(a, &layout)?;
            let bias = self.bias(node, 2, n)?;
            let out = self.rows_times(&node.name, x, (name, w), k, n, bias);
            self.define(y, out, layout);
            return Ok(());
        }
        let mut x = self.identity(a)?;
        if ad.len() == 1 {
            x = self.view(x, &[1, ad[0]]);
        }
        let (w, transpose_b) = if bd.len() == 1 {
            let id = self.identity(b)?;
            (self.view(id, &[1, bd[0]]), true)
        } else {
            self.right_matrix(b)?
        };
        let (k_rows, n) = (
            if ad.len() == 1 { 1 } else { ad[ad.len() - 2] },
            if bd.len() == 1 { 1 } else { bd[bd.len() - 1] },
        );
        let kept = yd.len() - usize::from(ad.len() > 1) - usize::from(bd.len() > 1);
        let dims: Vec<usize> = yd[..kept].iter().copied().chain([k_rows, n]).collect();
        let op = Op::MatMul(op::MatMul { transpose_b, scale: 1.0, epilogue: Epilogue::NONE });
        let mut out = self.step(&node.name, op, &[x, w], &dims, DType::F32);
        if let Some(bias) = node.input(2) {
            let bias = self.identity(bias)?;
            out = self.binary_step(
                &format!("{}:add", node.name),
                op::BinaryKind::Add,
                out,
                bias,
                &dims,
                DType::F32,
            );
        }
        let out = self.view(out, &yd);
        self.define(y, out, Layout::identity(yd.len()));
        Ok(())
    }

    pub(super) fn pool(&mut self, node: &Node) -> Lowered<()> {
        let (x, y) = (self.required(node, 0)?, self.only_first_output(node)?);
        let spatial = self.spatial(x)?;
        let kernel = pair(node.ints("kernel_shape"), spatial, 1, 1)?;
        let window = self.window(node, x, y, kernel)?;
        let kind = if node.op == "MaxPool" { PoolKind::Max } else { PoolKind::Average };
        let image = self.image(x)?;
        let dims = self.image_dims(y);
        let count_include_pad = node.int("count_include_pad", 0) != 0;
        let op = Op::Pool(op::Pool { kind, window, count_include_pad, scale: 1.0 });
        let dtype = self.lir.tensors[image].dtype;
        let out = self.step(&node.name, op, &[image], &dims, dtype);
        self.define_image(y, out);
        Ok(())
    }

    pub(super) fn global_pool(&mut self, node: &Node) -> Lowered<()> {
        let (x, y) = (self.required(node, 0)?, self.only_first_output(node)?);
        self.spatial(x)?;
        let image = self.image(x)?;
        let dims = self.image_dims(y);
        let kind = if node.op == "GlobalMaxPool" { ReduceKind::Max } else { ReduceKind::Mean };
        let op = Op::Reduce(op::Reduce { kind, axes: 0b110, scale: 1.0 });
        let out = self.step(&node.name, op, &[image], &dims, DType::F32);
        self.define_image(y, out);
        Ok(())
    }
}
