//! Functions of two tensors that broadcast as numpy arrays do: [`Op::Binary`](cygnet_format::op::Op::Binary).

#[cfg(target_arch = "aarch64")]
mod fp16;
mod function;
mod integer;
mod vector;

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;

use std::ops::Range;

use cygnet_format::op::{self, BinaryKind, Epilogue};
use cygnet_format::program::{DType, MAX_RANK};

use crate::Cpu;
use crate::convert::{Narrow, narrow};
use crate::copy::run::copy_run;
use crate::kernel::{Context, Kernel, PrepareError};
use crate::map::Function;
use crate::quant::{self, zero_point};
use crate::simd::{F16, Isa};
use crate::view::{Mem, View};
use crate::walk::{TILE_ELEMENTS, Walk, broadcast};

/// What a row function is told beside its operands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Params {
    /// Bounds of the result; for s8 of the quantized value less the zero point.
    lo: f32,
    hi: f32,
    /// Factors of s8 operands.
    scale_a: f32,
    scale_b: f32,
    /// Zero points of s8 tensors.
    zero_a: i32,
    zero_b: i32,
    zero_y: i32,
}

/// `n` elements of a row. An operand whose step is not set is one element for all.
pub(crate) type Row =
    unsafe fn(a: *const u8, b: *const u8, y: *mut u8, n: usize, steps: [bool; 2], p: &Params);

/// Elements computed before the epilogue's function is applied to them.
const BLOCK: usize = 256;

pub(crate) fn prepare(p: &op::Binary, cx: &Context<'_>) -> Result<Box<dyn Kernel>, PrepareError> {
    let (a, b, y) = (cx.input(0)?, cx.input(1)?, cx.output());
    cx.ensure(a.dtype == b.dtype, || {
        format!("operands are {} and {}; both must be of one type", a.dtype.name(), b.dtype.name())
    })?;
    let compares = is_comparison(p.kind);
    let wanted = if compares { DType::U8 } else { a.dtype };
    cx.ensure(y.dtype == wanted, || format!("writes {} where {} is needed", y.dtype.name(), wanted.name()))?;
    let strides = broadcast_strides(cx, &a, &b, &y)?;
    let in_half = in_half(p, a.dtype, cx.cpu());
    let (name, run) = in_half
        .or_else(|| row(p.kind, a.dtype, Isa::wide(cx.cpu())))
        .ok_or_else(|| cx.error(format!("{} of {} is not defined", p.kind.name(), a.dtype.name())))?;
    let params = params(p, cx, [&a, &b, &y])?;
    let function = Function::new(cx.cpu(), p.epilogue.unary);
    let finish = match a.dtype {
        DType::F16 if !compares && in_half.is_none() => Finish::Half(function, narrow(Isa::wide(cx.cpu()))),
        DType::F32 if !function.is_identity() => Finish::Float(function),
        _ => Finish::Nothing,
    };
    let slow = matches!(p.kind, BinaryKind::Pow | BinaryKind::Mod | BinaryKind::Fmod);
    let weight = function.weight().max(if slow { 16 } else { 1 });
    let grain = cx.grain(y.len(), TILE_ELEMENTS / weight);
    let (walk, repeated) = match Repeated::find(y.dims(), &strides) {
        Some(r) => (Walk::in_units(&r.dims, &r.strides, grain, r.n), Some((r.operand, r.n))),
        None => (Walk::new(y.dims(), &strides, grain), None),
    };
    let by_rows = ByRows::find([&y, &a, &b]);
    Ok(Box::new(Binary { a, b, y, walk, repeated, by_rows, params, run, name, finish }))
}

/// A short row of one operand that meets many dense rows of the other, as the scale of each channel does the pixels of an
/// image. The rows go as one, and the short one is repeated.
struct Repeated {
    /// Which operand, 0 or 1, and its elements.
    operand: usize,
    n: usize,
    /// The output's dimensions, the rows having become one, and the operands' strides over them: 0 over that for the
    /// repeated operand.
    dims: Vec<usize>,
    strides: [[usize; MAX_RANK]; 3],
}

impl Repeated {
    /// Most elements of such a row.
    const MOST: usize = BLOCK / 2;

    fn find(dims: &[usize], strides: &[[usize; MAX_RANK]; 3]) -> Option<Self> {
        let last = dims.len().checked_sub(1)?;
        let n = dims[last];
        // Dimensions before the last one over which the operand does not move.
        let operand =
            (0..2).find(|&o| strides[1 + o][last] == 1 && last > 0 && strides[1 + o][last - 1] == 0)?;
        let mut first = last;
        let mut rows = 1;
        while first > 0 && strides[1 + operand][first - 1] == 0 {
            let dense = |v: usize| dims[first - 1] == 1 || strides[v][first - 1] == n * rows;
            if !dense(0) || !dense(2 - operand) {
                break;
            }
            first -= 1;
            rows *= dims[first];
        }
        let moves = strides[0][last] == 1 && strides[2 - operand][last] == 1;
        if n > Self::MOST || rows < 2 || !moves {
            return None;
        }
        let mut out = Self { operand, n, dims: dims[..=first].to_vec(), strides: [[0; MAX_RANK]; 3] };
        out.dims[first] = rows * n;
        for (v, to) in out.strides.iter_mut().enumerate() {
            to[..first].copy_from_slice(&strides[v][..first]);
            to[first] = usize::from(v != 1 + operand);
        }
        Some(out)
    }
}

fn is_comparison(kind: BinaryKind) -> bool {
    use BinaryKind as K;
    matches!(kind, K::Equal | K::Less | K::LessOrEqual | K::Greater | K::GreaterOrEqual)
}

/// Strides of output and operands over the output's dimensions, which are exactly what the operands broadcast to.
fn broadcast_strides(
    cx: &Context<'_>,
    a: &View,
    b: &View,
    y: &View,
) -> Result<[[usize; MAX_RANK]; 3], PrepareError> {
    let rank = a.rank.max(b.rank);
    let extent = |v: &View, d: usize| if d + v.rank < rank { 1 } else { v.dims[d + v.rank - rank] };
    let exact = y.rank == rank && (0..rank).all(|d| y.dims[d] == extent(a, d).max(extent(b, d)));
    cx.ensure(exact, || {
        format!("{:?} and {:?} do not broadcast to the output's {:?}", a.dims(), b.dims(), y.dims())
    })?;
    Ok([y.strides(), broadcast(cx, a, y.dims(), "input 0")?, broadcast(cx, b, y.dims(), "input 1")?])
}

fn params(p: &op::Binary, cx: &Context<'_>, [a, b, y]: [&View; 3]) -> Result<Params, PrepareError> {
    let e = &p.epilogue;
    let mut out = Params {
        lo: e.lo,
        hi: e.hi,
        scale_a: p.scale_a,
        scale_b: p.scale_b,
        zero_a: zero_point(cx, a)?,
        zero_b: zero_point(cx, b)?,
        zero_y: zero_point(cx, y)?,
    };
    let float = matches!(y.dtype, DType::F32 | DType::F16);
    if float {
        cx.ensure(!e.lo.is_nan() && !e.hi.is_nan(), || "a bound of the epilogue is no number".to_owned())?;
    } else if y.dtype == DType::S8 {
        (out.lo, out.hi) = quant::bounds(cx, e, out.zero_y)?;
    } else {
        cx.ensure(*e == Epilogue::NONE, || format!("an epilogue of {} is not defined", y.dtype.name()))?;
    }
    if a.dtype == DType::S8 {
        quant::factor(cx, p.scale_a, "scale_a")?;
        quant::factor(cx, p.scale_b, "scale_b")?;
    }
    Ok(out)
}

/// The row function that writes f16 itself, where there is one, and its name.
#[cfg_attr(not(target_arch = "aarch64"), expect(unused_variables, reason = "no other processor has one"))]
fn in_half(p: &op::Binary, dtype: DType, cpu: Cpu) -> Option<(&'static str, Row)> {
    #[cfg(target_arch = "aarch64")]
    if dtype == DType::F16 {
        return fp16::row(p, cpu);
    }
    None
}

fn row(kind: BinaryKind, dtype: DType, isa: Isa) -> Option<(&'static str, Row)> {
    match dtype {
        DType::F32 => vector::f32(kind, isa),
        DType::F16 => vector::f16(kind, isa),
        DType::S8 => vector::s8(kind, isa),
        DType::S32 => integer::s32(kind),
        DType::U8 => integer::u8(kind),
        _ => None,
    }
}

/// What follows the bounds of the epilogue.
enum Finish {
    Nothing,
    /// A function of f32.
    Float(Function),
    /// A function of f32 (the identity too), then rounding to f16: row functions of f16 write f32, but for [`in_half`].
    Half(Function, Narrow),
}

struct Binary {
    a: View,
    b: View,
    y: View,
    walk: Walk<3>,
    /// The operand that is repeated, and its elements.
    repeated: Option<(usize, usize)>,
    by_rows: Option<ByRows>,
    params: Params,
    run: Row,
    name: &'static str,
    finish: Finish,
}

// SAFETY: the walk stays inside the views, whose broadcasting was checked; its tiles are disjoint in the output.
unsafe impl Kernel for Binary {
    fn name(&self) -> &'static str {
        self.name
    }
    fn tiles(&self) -> usize {
        self.walk.tiles()
    }
    unsafe fn run_tile(&self, mem: &Mem, tile: usize) {
        let steps = [self.walk.steps[1], self.walk.steps[2]];
        self.walk.tile(tile, |at, n| {
            // SAFETY: `mem` is the memory of these views; runs, and so their blocks, lie inside them.
            unsafe {
                let [y, a, b] = self.at(mem, at);
                match self.repeated {
                    Some((operand, each)) => self.repeat([a, b], operand, each, y.cast_mut(), n),
                    None => self.run(a, b, y.cast_mut(), n, steps),
                }
            }
        });
    }
    fn rows(&self) -> usize {
        if self.by_rows.is_some() { self.y.rows() } else { 0 }
    }
    unsafe fn run_rows(&self, mem: &Mem, rows: Range<usize>) {
        let Some(by) = self.by_rows else { return };
        if by.dense {
            // SAFETY: `mem` is the memory of these views, which have the rows, one behind the other.
            return unsafe {
                let [y, a, b] = self.at(mem, by.pitches.map(|pitch| rows.start * pitch));
                self.run(a, b, y.cast_mut(), rows.len() * self.y.cols(), by.steps);
            };
        }
        for row in rows {
            // SAFETY: `mem` is the memory of these views, which have the row.
            unsafe {
                let [y, a, b] = self.at(mem, by.pitches.map(|pitch| row * pitch));
                self.run(a, b, y.cast_mut(), self.y.cols(), by.steps);
            }
        }
    }
}

/// How to do the rows of the output one by one.
#[derive(Clone, Copy)]
struct ByRows {
    /// Elements from one row to the next of the output and the operands; 0 where there is one row for all.
    pitches: [usize; 3],
    /// Whether each operand advances within a row.
    steps: [bool; 2],
    /// Whether rows that follow one another are one run for all operands.
    dense: bool,
}

impl ByRows {
    /// Fewest elements of rows that are worth a call each.
    const LEAST: usize = 128;

    /// Unless an operand is broadcast in another way, or rows are short and apart.
    fn find([y, a, b]: [&View; 3]) -> Option<Self> {
        // Dimensions broadcast: as many rows are the same rows.
        let pitch = |v: &View| match v.rows() {
            1 => Some(0),
            rows => (rows == y.rows()).then_some(v.pitch),
        };
        // One element for all is one for all rows too.
        let steps = [a, b].map(|v| v.cols() == y.cols() && v.len() > 1);
        let pitches = [y.pitch, pitch(a)?, pitch(b)?];
        let one_run = |i: usize, v: &View| v.len() == 1 || steps[i] && pitches[1 + i] == y.cols();
        let dense = y.is_dense() && one_run(0, a) && one_run(1, b);
        (dense || y.cols() >= Self::LEAST).then_some(Self { pitches, steps, dense })
    }
}

/// A row, repeated.
#[repr(align(64))]
struct Rows([u8; 4 * BLOCK]);

impl Binary {
    /// Addresses of elements of the output and the operands.
    ///
    /// # Safety
    /// `mem` is the memory of these views, which have the elements.
    unsafe fn at(&self, mem: &Mem, [y, a, b]: [usize; 3]) -> [*const u8; 3] {
        let (from, to) = (self.a.dtype.size(), self.y.dtype.size());
        // SAFETY: the caller's promise.
        unsafe {
            [
                self.y.ptr::<u8>(mem).add(y * to),
                self.a.ptr::<u8>(mem).add(a * from),
                self.b.ptr::<u8>(mem).add(b * from),
            ]
        }
    }

    /// `n` elements and their finish.
    ///
    /// # Safety
    /// As for [`Row`].
    unsafe fn run(&self, a: *const u8, b: *const u8, y: *mut u8, n: usize, steps: [bool; 2]) {
        let (from, to) = (self.a.dtype.size(), self.y.dtype.size());
        // SAFETY: the caller's promise.
        unsafe {
            if matches!(self.finish, Finish::Nothing) {
                return (self.run)(a, b, y, n, steps, &self.params);
            }
            for i in (0..n).step_by(BLOCK) {
                let part = BLOCK.min(n - i);
                let at = |p: *const u8, step: bool| if step { p.add(i * from) } else { p };
                self.block(at(a, steps[0]), at(b, steps[1]), y.add(i * to), part, steps);
            }
        }
    }

    /// `n` elements of which one operand's repeat after `each`.
    ///
    /// # Safety
    /// As for [`Row`], but for that operand, which has `each` elements, at most [`Repeated::MOST`].
    unsafe fn repeat(&self, from: [*const u8; 2], operand: usize, each: usize, y: *mut u8, n: usize) {
        let (size, to) = (self.a.dtype.size(), self.y.dtype.size());
        let mut rows = Rows([0; 4 * BLOCK]);
        let at_once = BLOCK / each * each;
        // SAFETY: the row is there; a block of elements of at most four bytes has room.
        unsafe {
            for i in (0..at_once.min(n)).step_by(each) {
                copy_run(from[operand], rows.0.as_mut_ptr().add(i * size), each * size);
            }
        }
        for i in (0..n).step_by(at_once) {
            let mut at = from.map(|p| p.wrapping_add(i * size));
            at[operand] = rows.0.as_ptr();
            // SAFETY: the elements from i on are within n.
            unsafe { self.block(at[0], at[1], y.add(i * to), at_once.min(n - i), [true; 2]) };
        }
    }

    /// One block of a row and its finish.
    ///
    /// # Safety
    /// As for [`Row`], with `n` at most [`BLOCK`].
    unsafe fn block(&self, a: *const u8, b: *const u8, y: *mut u8, n: usize, steps: [bool; 2]) {
        // SAFETY: as the caller vouches; the buffer holds a block.
        unsafe {
            match &self.finish {
                Finish::Nothing => (self.run)(a, b, y, n, steps, &self.params),
                Finish::Float(function) => {
                    (self.run)(a, b, y, n, steps, &self.params);
                    function.f32(y.cast(), y.cast(), n);
                }
                Finish::Half(function, narrow) => {
                    let mut buffer = [0.0_f32; BLOCK];
                    let wide = buffer.as_mut_ptr();
                    (self.run)(a, b, wide.cast(), n, steps, &self.params);
                    if !function.is_identity() {
                        function.f32(wide, wide, n);
                    }
                    narrow(wide, y.cast::<F16>(), n);
                }
            }
        }
    }
}
