//! From a step's record to a kernel: the bounds proof that all kernels share, then the family's own.

use cygnet_format::op::{CONV_ADDEND, Op};
use cygnet_format::program::{READ_SLACK, Step, Storage, Tensor};

use crate::cpu::Cpu;
use crate::kernel::{Algorithm, Context, Kernel, PrepareError};
use crate::view::View;

/// The memory that a program's steps will run over.
#[derive(Clone, Copy, Debug)]
pub struct Limits<'a> {
    /// Bytes of the arena; [`READ_SLACK`] more may be read.
    pub arena_bytes: usize,
    /// The weights section, [`READ_SLACK`] bytes of padding at its end included.
    pub weights: &'a [u8],
}

/// Prepares a step: proves that its operands lie inside the memory that `limits` describes, that its output
/// overlaps no input (save where an elementwise step works in place), that dimensions and parameters agree, and
/// chooses the implementation for `cpu`.
///
/// # Errors
/// Names the step and what does not fit. No byte of a file can make a prepared kernel leave its operands.
pub fn prepare(
    step: &Step,
    tensors: &[Tensor],
    limits: &Limits<'_>,
    cpu: Cpu,
) -> Result<Box<dyn Kernel>, PrepareError> {
    prepare_by(step, tensors, limits, cpu, Algorithm::Fastest)
}

/// [`prepare`] for a number of threads: steps are cut into as many tiles as those need, and no more.
///
/// # Errors
/// As [`prepare`].
pub fn prepare_for(
    step: &Step,
    tensors: &[Tensor],
    limits: &Limits<'_>,
    cpu: Cpu,
    threads: usize,
) -> Result<Box<dyn Kernel>, PrepareError> {
    let cx = Context::new(step, tensors, limits.weights, cpu, Algorithm::Fastest);
    prepare_in(step, tensors, limits, &cx.on_threads(threads))
}

/// [`prepare`] with a say in the algorithm, for tests and measurements.
///
/// # Errors
/// As [`prepare`].
#[doc(hidden)]
pub fn prepare_by(
    step: &Step,
    tensors: &[Tensor],
    limits: &Limits<'_>,
    cpu: Cpu,
    algorithm: Algorithm,
) -> Result<Box<dyn Kernel>, PrepareError> {
    prepare_in(step, tensors, limits, &Context::new(step, tensors, limits.weights, cpu, algorithm))
}

fn prepare_in(
    step: &Step,
    tensors: &[Tensor],
    limits: &Limits<'_>,
    cx: &Context<'_>,
) -> Result<Box<dyn Kernel>, PrepareError> {
    check_operands(step, tensors, limits, cx)?;
    match &step.op {
        Op::Conv(p) => crate::conv::prepare(p, cx),
        Op::ConvTranspose(p) => crate::conv::transpose::prepare(p, cx),
        Op::DepthwiseConv(p) => crate::depthwise::prepare(p, cx),
        Op::MatMul(p) => crate::matmul::prepare(p, cx),
        Op::Map(p) => crate::map::prepare(p, cx),
        Op::Table(p) => crate::map::prepare_table(p, cx),
        Op::Binary(p) => crate::binary::prepare(p, cx),
        Op::Select(p) => crate::select::prepare(p, cx),
        Op::Convert(p) => crate::convert::prepare(p, cx),
        Op::Reduce(p) => crate::reduce::prepare(p, cx),
        Op::ArgReduce(p) => crate::reduce::prepare_arg(p, cx),
        Op::Softmax(p) => crate::softmax::prepare(p, cx),
        Op::LayerNorm(p) => crate::layer_norm::prepare(p, cx),
        Op::Pool(p) => crate::pool::prepare(p, cx),
        Op::Resize(p) => crate::resize::prepare(p, cx),
        Op::Copy(p) => crate::copy::prepare(p, cx),
        Op::Fill(p) => crate::fill::prepare(p, cx),
        Op::Gather(p) => crate::gather::prepare(p, cx),
        Op::TopK(p) => crate::top_k::prepare(p, cx),
        Op::Cumulate(p) => crate::cumulate::prepare(p, cx),
        Op::Scatter(p) => crate::scatter::prepare(p, cx),
        Op::Sample(p) => crate::sample::prepare(p, cx),
        Op::NonMaxSuppression(p) => crate::suppress::prepare(p, cx),
        Op::Recurrent(p) => crate::recurrent::prepare(p, cx),
        Op::BlockConv(p) => crate::blocks::prepare(p, cx),
        Op::SparseConv(p) => crate::sparse::prepare(p, cx),
        Op::QuantizeRows(p) => crate::quantize_rows::prepare(p, cx),
        Op::Attention(p) => crate::attention::prepare(p, cx),
    }
}

/// Whether a step of this operation may write over this one of its inputs, if it has the very place, type and dimensions of
/// the output: each element of the output depends on that element of the input alone.
pub fn works_in_place(op: &Op, input: usize) -> bool {
    match op {
        Op::Map(_) | Op::Table(_) | Op::Binary(_) => true,
        Op::Conv(_) => input == CONV_ADDEND,
        _ => false,
    }
}

/// Bytes up to a multiple of which a kernel may read past the end of a row that other columns follow.
pub const ROW_SLACK: usize = 16;

fn check_operands(
    step: &Step,
    tensors: &[Tensor],
    limits: &Limits<'_>,
    cx: &Context<'_>,
) -> Result<(), PrepareError> {
    let (least, most) = step.op.arity();
    let given = step.inputs.len();
    cx.ensure((least..=most).contains(&given), || {
        format!("has {given} inputs where {least} to {most} belong")
    })?;
    let view = |id: u32| -> Result<View, PrepareError> {
        let t = tensors
            .get(id as usize)
            .ok_or_else(|| cx.error(format!("names tensor {id} of {}", tensors.len())))?;
        check_tensor(t, limits).map_err(|what| cx.error(format!("tensor '{}' {what}", t.name)))?;
        Ok(View::new(t))
    };
    let y = view(step.output)?;
    cx.ensure(y.storage == Storage::Arena, || "writes to the weights".to_owned())?;
    let inputs = step.inputs.iter().enumerate().filter_map(|(i, &id)| Some((i, id?)));
    for (i, id) in inputs {
        let x = view(id)?;
        let apart = x.storage != Storage::Arena
            || x.offset + x.extent() + READ_SLACK <= y.offset
            || y.offset + y.extent() <= x.offset
            || interleaved(&x, &y);
        let in_place = works_in_place(&step.op, i)
            && (x.offset, x.pitch, x.dtype, x.dims()) == (y.offset, y.pitch, y.dtype, y.dims());
        cx.ensure(apart || in_place, || {
            format!("output at {} overlaps input at {} (extent {})", y.offset, x.offset, x.extent())
        })?;
    }
    Ok(())
}

/// Whether two tensors are column ranges of the same rows of one buffer: a concatenation or split by placement.
/// A kernel may read a row of `x` up to the next multiple of [`ROW_SLACK`] bytes.
pub(crate) fn interleaved(x: &View, y: &View) -> bool {
    let row = x.pitch * x.dtype.size();
    let apart = (y.offset as i64 - x.offset as i64).rem_euclid(row as i64) as usize;
    row == y.pitch * y.dtype.size()
        && apart >= (x.cols() * x.dtype.size()).next_multiple_of(ROW_SLACK)
        && apart + y.cols() * y.dtype.size() <= row
}

/// The bounds of one tensor, with no assumption about its record.
fn check_tensor(t: &Tensor, limits: &Limits<'_>) -> Result<(), String> {
    use cygnet_format::program::MAX_RANK;
    if t.dims.len() > MAX_RANK || t.dims.contains(&0) {
        return Err(format!("has dimensions {:?}; 0 to {MAX_RANK} of at least 1 are allowed", t.dims));
    }
    let elements = t.dims.iter().try_fold(1_u64, |n, &d| n.checked_mul(u64::from(d)));
    let cols = u64::from(t.dims.last().copied().unwrap_or(1));
    if u64::from(t.pitch) < cols {
        return Err(format!("has pitch {} below its last dimension {cols}", t.pitch));
    }
    let size = t.dtype.size() as u64;
    let end = elements
        .filter(|&n| n <= i32::MAX as u64)
        .and_then(|n| (n / cols - 1).checked_mul(u64::from(t.pitch)))
        .and_then(|n| n.checked_add(cols))
        .and_then(|n| n.checked_mul(size))
        .and_then(|n| n.checked_add(t.offset));
    let (room, place) = match t.storage {
        Storage::Arena => (limits.arena_bytes as u64, "arena"),
        Storage::Weights => (limits.weights.len().saturating_sub(READ_SLACK) as u64, "weights"),
    };
    match end {
        Some(end) if end <= room => {}
        _ => {
            return Err(format!(
                "of dimensions {:?} does not fit in the {room} bytes of the {place}",
                t.dims
            ));
        }
    }
    if !t.offset.is_multiple_of(size) {
        return Err(format!("lies at {}, not a multiple of its element size {size}", t.offset));
    }
    Ok(())
}
