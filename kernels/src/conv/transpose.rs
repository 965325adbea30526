//! Transposed convolution, as one indirect product for each phase of its stride.
//!
//! Output `o` of an axis receives tap `t` of input `i` where `o + pad = i * stride + t * dilation`. Outputs whose
//! `o + pad` leaves the same rest `r` when divided by the stride receive the same taps: those with
//! `t * dilation % stride == r`, and from one such output to the next each tap moves to the next input. So the
//! outputs of a phase, a rest down and a rest across, are an ordinary convolution with stride 1 by the taps of
//! the phase.

use cygnet_format::op::{self, Window};

use super::geometry::{Axis, Product, positive};
use super::pack;
use super::setup::Padding;
use super::{Parts, family, finish, image_axes, packed_bytes, setup};
use crate::kernel::{Context, Kernel, PrepareError};
use cygnet_format::program::{DType, READ_SLACK};

/// Phases (the product of the strides) above which a transposed convolution is refused.
pub const MAX_PHASES: usize = 4096;

/// Kernel positions above which a transposed convolution is refused; those of one phase are limited by
/// [`super::MAX_TAPS`].
pub const MAX_KERNEL: usize = 4096;

/// The phases of a transposed convolution, in the order in which its weights are packed: by the rest down, then by
/// the rest across. The packed weights are those of each phase, one after the other, packed as the weights
/// `[M][taps of the phase][C / groups]` of an ordinary convolution; taps are row by row of the kernel. An s8
/// bias has a part for each phase too, since a phase's zero-point correction is by its own taps; float biases and
/// the multipliers are those of an ordinary convolution.
#[derive(Clone, Copy, Debug)]
pub struct Phases {
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
}

impl Phases {
    /// The phases of a window; `None` when an extent is zero, or there are more than [`MAX_PHASES`] phases or
    /// [`MAX_KERNEL`] taps.
    pub fn new(window: &Window) -> Option<Self> {
        let [kernel, stride, dilation] =
            [window.kernel, window.stride, window.dilation].map(|v| v.map(|v| v as usize));
        let some = [kernel, stride, dilation].iter().flatten().all(|&v| v > 0);
        let few = |v: [usize; 2], most| v[0].checked_mul(v[1]).is_some_and(|n| n <= most);
        (some && few(stride, MAX_PHASES) && few(kernel, MAX_KERNEL)).then_some(Self {
            kernel,
            stride,
            dilation,
        })
    }

    /// Number of phases.
    pub fn count(&self) -> usize {
        self.stride[0] * self.stride[1]
    }

    /// Taps of a phase, as indices `ky * kernel_width + kx`, in order.
    pub fn taps(&self, phase: usize) -> Vec<usize> {
        let [rows, cols] = self.rests(phase);
        let cols: Vec<_> = self.axis_taps(1, cols).collect();
        self.axis_taps(0, rows).flat_map(|ky| cols.iter().map(move |kx| ky * self.kernel[1] + kx)).collect()
    }

    /// The rests that make a phase.
    fn rests(&self, phase: usize) -> [usize; 2] {
        [phase / self.stride[1], phase % self.stride[1]]
    }

    fn axis_taps(&self, axis: usize, rest: usize) -> impl Iterator<Item = usize> {
        let (stride, dilation) = (self.stride[axis], self.dilation[axis]);
        (0..self.kernel[axis]).filter(move |t| t * dilation % stride == rest)
    }

    /// Packs s8 weights `[m][kernel height * kernel width][depth]`.
    ///
    /// # Panics
    /// As [`pack::pack_s8`].
    pub fn pack_s8(&self, weights: &[i8], m: usize, depth: usize, groups: usize) -> Vec<u8> {
        self.pack(weights, m, depth, |part, taps| pack::pack_s8(part, m, taps, depth, groups))
    }

    /// Packs f16 weights `[m][kernel height * kernel width][depth]`.
    ///
    /// # Panics
    /// As [`pack::pack_f16`].
    pub fn pack_f16(&self, weights: &[half::f16], m: usize, depth: usize, groups: usize) -> Vec<u8> {
        self.pack(weights, m, depth, |part, taps| pack::pack_f16(part, m, taps, depth, groups))
    }

    /// Packs f32 weights `[m][kernel height * kernel width][depth]`.
    ///
    /// # Panics
    /// As [`pack::pack_f32`].
    pub fn pack_f32(&self, weights: &[f32], m: usize, depth: usize, groups: usize) -> Vec<u8> {
        self.pack(weights, m, depth, |part, taps| pack::pack_f32(part, m, taps, depth, groups))
    }

    /// The s8 bias operand: for each phase `bias` less the input's zero point times the phase's weights, each part
    /// filled up to whole panels.
    ///
    /// # Panics
    /// When `weights` is not `[bias.len()][kernel height * kernel width][depth]`.
    pub fn bias_s8(
        &self,
        bias: &[i32],
        weights: &[i8],
        depth: usize,
        groups: usize,
        zero_point: i32,
    ) -> Vec<i32> {
        let fold = |phase| {
            let (part, taps) = self.select(weights, bias.len(), depth, phase);
            pack::pad_channels(&pack::fold_zero_point(bias, &part, taps * depth, zero_point), groups)
        };
        (0..self.count()).flat_map(fold).collect()
    }

    fn pack<T: Copy>(
        &self,
        weights: &[T],
        m: usize,
        depth: usize,
        pack: impl Fn(&[T], usize) -> Vec<u8>,
    ) -> Vec<u8> {
        let part = |phase| {
            let (part, taps) = self.select(weights, m, depth, phase);
            pack(&part, taps)
        };
        (0..self.count()).flat_map(part).collect()
    }

    /// The weights of a phase's taps, and how many taps they are.
    fn select<T: Copy>(&self, weights: &[T], m: usize, depth: usize, phase: usize) -> (Vec<T>, usize) {
        let [kh, kw] = self.kernel;
        assert_eq!(weights.len(), m * kh * kw * depth, "weights must be [m][taps][depth]");
        let taps = self.taps(phase);
        let tap = |o: usize, t: usize| &weights[(o * kh * kw + t) * depth..][..depth];
        let part = (0..m).flat_map(|o| taps.iter().flat_map(move |&t| tap(o, t)).copied()).collect();
        (part, taps.len())
    }
}

/// The outputs of one rest along an axis.
fn phase_axis(phases: &Phases, axis: usize, rest: usize, whole: &Axis) -> Axis {
    let (stride, dilation) = (phases.stride[axis] as i64, phases.dilation[axis] as i64);
    let pad = -whole.first;
    // The first output that leaves this rest.
    let out_first = (rest as i64 - pad).rem_euclid(stride);
    let outputs = (whole.outputs as i64 - out_first + stride - 1).max(0) / stride;
    let mut taps = phases.axis_taps(axis, rest);
    let first_tap = taps.next();
    let count = first_tap.map_or(0, |_| 1 + taps.count());
    Axis {
        input: whole.input,
        outputs: outputs as usize,
        taps: count,
        first: (out_first + pad - first_tap.unwrap_or(0) as i64 * dilation).div_euclid(stride),
        step: 1,
        // Taps of a phase are stride / gcd apart.
        spacing: -(dilation / gcd(dilation, stride)),
        out_first: out_first as usize,
        out_step: stride as usize,
    }
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// A whole axis: checks that the output is as long as the window makes it, up to an output padding.
fn whole_axis(window: &Window, axis: usize, input: usize, output: usize) -> Result<Axis, String> {
    let (kernel, stride, dilation) = positive(window, axis)?;
    let pads = i128::from(window.pad[axis]) + i128::from(window.pad[axis + 2]);
    let full = (input as i128 - 1) * i128::from(stride) + i128::from(kernel - 1) * i128::from(dilation) + 1;
    let more = output as i128 + pads - full;
    if more < 0 {
        let name = ["height", "width"][axis];
        return Err(format!("the window gives the output {name} {}; the tensor's is {output}", full - pads));
    }
    Ok(Axis {
        input,
        outputs: output,
        taps: kernel as usize,
        first: -i64::from(window.pad[axis]),
        step: stride,
        spacing: dilation,
        out_first: 0,
        out_step: 1,
    })
}

pub(crate) fn prepare(p: &op::ConvTranspose, cx: &Context<'_>) -> Result<Box<dyn Kernel>, PrepareError> {
    let (x, y) = (cx.input(0)?, cx.output());
    let (rows, cols) =
        image_axes(cx, &x, &y, |axis, input, output| whole_axis(&p.window, axis, input, output))?;
    let family = family(cx, &x, &y)?;
    cx.ensure(cx.optional(4).is_none(), || "has a padding row, which belongs to convolutions".into())?;
    let phases = Phases::new(&p.window).ok_or_else(|| {
        let w = &p.window;
        cx.error(format!(
            "kernel {:?} or stride {:?} is above {MAX_KERNEL} taps or {MAX_PHASES} phases",
            w.kernel, w.stride
        ))
    })?;
    let channels = pack::padded_channels(y.cols(), p.groups as usize).unwrap_or(0);
    let (mut products, mut weights) = (Vec::with_capacity(phases.count()), Some(0_usize));
    for phase in 0..phases.count() {
        let [row, col] = phases.rests(phase);
        let (rows, cols) = (phase_axis(&phases, 0, row, &rows), phase_axis(&phases, 1, col, &cols));
        let start = weights;
        let bytes = packed_bytes(family, y.cols(), rows.taps * cols.taps, &x, p.groups);
        weights = start.zip(bytes).and_then(|(a, b)| a.checked_add(b));
        if let Some(start) = start.filter(|_| rows.outputs * cols.outputs > 0) {
            let bias = if family.dtype == DType::S8 { phase * channels } else { 0 };
            products.push(Product { rows, cols, weights: start, bias });
        }
    }
    // What a tap outside the image reads: real zero.
    let zero = match (x.dtype, x.quant) {
        (DType::S8, Some(q)) => q.zero_point as u8,
        _ => 0,
    };
    let row = vec![zero; x.cols() * x.dtype.size() + READ_SLACK];
    let biases = if family.dtype == DType::S8 { phases.count() } else { 1 };
    let parts =
        Parts { x, y, padding: Padding::Own(row), groups: p.groups, epilogue: &p.epilogue, batch: x.dims[0] };
    let setup = setup(cx, family, parts, weights, biases)?;
    finish(cx, family, setup, products)
}
