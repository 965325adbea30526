//! Product of two computed matrices, batch by batch.
//!
//! A batch's output is cut into blocks of at most [`MB`] rows and a number of columns that depends on the work; a
//! tile is one or more of these. Within a block, panels of [`NB`] columns of `b` are packed, [`KB`] of their rows
//! at a time, onto the stack; the rows of `a` meet them there. Partial sums are kept exactly between the parts,
//! so that their extent changes no bit.

#[cfg(target_arch = "x86_64")]
mod avx512;
mod float;
pub mod oracle;
mod s8;
#[cfg(test)]
mod tests;

use cygnet_format::op;
use cygnet_format::program::{DType, MAX_RANK};

use crate::cpu::Cpu;
#[cfg(target_arch = "x86_64")]
use crate::cpu::Features;
use crate::kernel::{Context, Kernel, PrepareError};
use crate::map;
use crate::simd::{Elem, F16, Isa};
use crate::view::{Mem, View};

/// Most rows of a block.
pub(crate) const MB: usize = 64;

/// Columns of a panel.
const NB: usize = 16;

/// Rows of `b` that are packed at a time; a multiple of 8.
const KB: usize = 128;

/// Multiply-accumulates of a tile, about.
const TILE_MACS: usize = 400_000;

/// Most products of two s8 numbers less their zero points, 255 * 255 each, that 32 bits hold.
const MAX_K_S8: usize = i32::MAX as usize / (255 * 255);

/// What a block is told. Addresses are those of the batch's first elements; pitches count elements.
pub(crate) struct Block {
    pub rows: std::ops::Range<usize>,
    pub cols: std::ops::Range<usize>,
    pub k: usize,
    pub a: *const u8,
    pub a_pitch: usize,
    pub b: *const u8,
    pub b_pitch: usize,
    /// Whether a row of `b` in memory is a column of the product.
    pub transpose_b: bool,
    pub y: *mut u8,
    pub y_pitch: usize,
    pub scale: f32,
    pub lo: f32,
    pub hi: f32,
    /// Of `a`, `b` and `y` (s8).
    pub zero_points: [i32; 3],
    /// As many bytes as the implementation asks for.
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "no implementation asks for any"))]
    pub scratch: *mut u8,
}

/// Computes a block.
///
/// # Safety
/// The matrices have the block's rows, columns and k; the processor has what the function needs; `rows` has at
/// most [`MB`] elements; the scratch is there.
pub(crate) type Run = unsafe fn(&Block);

/// An implementation: its name, the function, and the bytes of scratch that it asks for.
type Choice = (&'static str, Run, usize);

/// The best implementation of an element type for `k` products and this multiplier.
#[allow(unused_variables)]
fn choose(cpu: Cpu, dtype: DType, k: usize, scale: f32) -> Choice {
    #[cfg(target_arch = "x86_64")]
    if cpu.has(Features::AVX512_VNNI) {
        match dtype {
            DType::S8 if avx512::suits_s8(k, scale) => {
                return ("matmul_s8_12x32c4_avx512vnni", avx512::run_s8, avx512::SCRATCH_S8);
            }
            DType::F32 => return ("matmul_f32_12x32_avx512", avx512::run_f32, avx512::SCRATCH_F32),
            _ => {}
        }
    }
    let (name, run) = match dtype {
        DType::S8 => s8::choose(cpu),
        DType::F32 => float::choose::<f32>(cpu),
        _ => float::choose::<F16>(cpu),
    };
    (name, run, 0)
}

/// The products of an attention, whose sums are f32: of two matrices of a type, and of f32 with that type.
#[derive(Clone, Copy)]
pub(crate) struct Products {
    pub both: Run,
    pub of_f32: Run,
    /// Bytes of scratch that they ask for.
    pub scratch: usize,
}

impl Products {
    pub fn new<T: Elem>(cpu: Cpu) -> Self {
        #[cfg(target_arch = "x86_64")]
        if cpu.has(Features::AVX512_VNNI) && size_of::<T>() == 4 {
            return Self { both: avx512::run_f32, of_f32: avx512::run_f32, scratch: avx512::SCRATCH_F32 };
        }
        let isa = Isa::of(cpu);
        Self { both: float::pick::<T, T, f32>(isa), of_f32: float::pick::<f32, T, f32>(isa), scratch: 0 }
    }
}

struct MatMul {
    name: &'static str,
    run: Run,
    scratch: usize,
    function: Option<map::Function>,
    transpose_b: bool,
    a: View,
    b: View,
    y: View,
    k: usize,
    scale: f32,
    lo: f32,
    hi: f32,
    zero_points: [i32; 3],
    /// Columns of a block.
    block_cols: usize,
    blocks_per_tile: usize,
}

/// Rows and columns of the matrices of a tensor of at least two dimensions.
fn matrix(v: &View) -> [usize; 2] {
    [v.dims[v.rank - 2], v.dims[v.rank - 1]]
}

/// Extent of leading dimension `d` of `y` in a tensor that broadcasts to it.
fn leading(v: &View, y: &View, d: usize) -> usize {
    (d + v.rank).checked_sub(y.rank).map_or(1, |d| v.dims[d])
}

pub(crate) fn prepare(p: &op::MatMul, cx: &Context<'_>) -> Result<Box<dyn Kernel>, PrepareError> {
    let (a, b, y) = (cx.input(0)?, cx.input(1)?, cx.output());
    cx.ensure(a.dtype == b.dtype && a.dtype == y.dtype, || {
        format!("multiplies {} by {} to {}", a.dtype.name(), b.dtype.name(), y.dtype.name())
    })?;
    let shapes = || format!("cannot make {:?} of {:?} and {:?}", y.dims(), a.dims(), b.dims());
    cx.ensure(a.rank >= 2 && b.rank >= 2 && y.rank == a.rank.max(b.rank), shapes)?;
    let ([m, k], [b0, b1]) = (matrix(&a), matrix(&b));
    let (b_k, n) = if p.transpose_b { (b1, b0) } else { (b0, b1) };
    cx.ensure(k == b_k && matrix(&y) == [m, n], shapes)?;
    for d in 0..y.rank - 2 {
        let (from_a, from_b) = (leading(&a, &y, d), leading(&b, &y, d));
        let agree = from_a == from_b || from_a == 1 || from_b == 1;
        cx.ensure(agree && y.dims[d] == from_a.max(from_b), shapes)?;
    }
    let e = &p.epilogue;
    cx.ensure(e.lo <= e.hi, || format!("clamps to [{}, {}]", e.lo, e.hi))?;
    let (mut function, mut zero_points) = (None, [0; 3]);
    match a.dtype {
        DType::S8 => {
            let whole = |v: f32| v.fract() == 0.0 && (-128.0..=127.0).contains(&v);
            cx.ensure(whole(e.lo) && whole(e.hi), || {
                format!("clamps to [{}, {}]; integers in [-128, 127] are needed", e.lo, e.hi)
            })?;
            cx.ensure(e.unary == op::Unary::IDENTITY, || {
                "a function of an s8 result must be a table".into()
            })?;
            cx.ensure(p.scale.is_finite(), || format!("the multiplier is {}", p.scale))?;
            cx.ensure(k <= MAX_K_S8, || format!("sums {k} products; 32 bits hold those of {MAX_K_S8}"))?;
            for (to, v) in zero_points.iter_mut().zip([&a, &b, &y]) {
                *to = v.quant.ok_or_else(|| cx.error("an operand is not quantized"))?.zero_point;
                cx.ensure((-128..=127).contains(to), || format!("a zero point is {to}"))?;
            }
        }
        DType::F32 | DType::F16 => {
            function = Some(map::Function::new(cx.cpu(), e.unary)).filter(|f| !f.is_identity());
        }
        other => return Err(cx.error(format!("inputs are {}; f32, f16 or s8 is needed", other.name()))),
    }
    let (name, run, scratch) = choose(cx.cpu(), a.dtype, k, p.scale);
    let panel_macs = m.min(MB).saturating_mul(k).saturating_mul(NB);
    let block_cols = (TILE_MACS / panel_macs).clamp(1, n.div_ceil(NB)) * NB;
    let block_macs = panel_macs.saturating_mul(block_cols / NB);
    let mut kernel = MatMul {
        name,
        run,
        scratch,
        function,
        transpose_b: p.transpose_b,
        a,
        b,
        y,
        k,
        scale: p.scale,
        lo: e.lo,
        hi: e.hi,
        zero_points,
        block_cols,
        blocks_per_tile: 1,
    };
    let grain = cx.grain(block_macs.saturating_mul(kernel.blocks()), TILE_MACS);
    kernel.blocks_per_tile = grain.div_ceil(block_macs).clamp(1, kernel.blocks());
    Ok(Box::new(kernel))
}

impl MatMul {
    /// Blocks down and across a batch's output.
    fn grid(&self) -> [usize; 2] {
        let [m, n] = matrix(&self.y);
        [m.div_ceil(MB), n.div_ceil(self.block_cols)]
    }

    fn blocks(&self) -> usize {
        let [down, across] = self.grid();
        self.y.dims[..self.y.rank - 2].iter().product::<usize>() * down * across
    }

    /// Elements from the first of `a`, `b` and `y` to the first of the matrices of a batch.
    fn batch(&self, mut batch: usize) -> [usize; 3] {
        let operands = [&self.a, &self.b, &self.y];
        let strides: [[usize; MAX_RANK]; 3] = operands.map(View::strides);
        let mut at = [0; 3];
        for d in (0..self.y.rank - 2).rev() {
            let i = batch % self.y.dims[d];
            batch /= self.y.dims[d];
            for (o, v) in operands.into_iter().enumerate() {
                if leading(v, &self.y, d) > 1 {
                    at[o] += i * strides[o][d + v.rank - self.y.rank];
                }
            }
        }
        at
    }

    /// # Safety
    /// As [`Kernel::run_tile`], of one block.
    unsafe fn block(&self, mem: &Mem, block: usize) {
        let [down, across] = self.grid();
        let [m, n] = matrix(&self.y);
        let (row, col) = (block / across % down * MB, block % across * self.block_cols);
        let (rows, cols) = (row..m.min(row + MB), col..n.min(col + self.block_cols));
        let size = self.y.dtype.size();
        let at = self.batch(block / across / down);
        // SAFETY: the batch's matrices are inside the operands, as `prepare` compared their dimensions.
        unsafe {
            let y = self.y.ptr_mut::<u8>(mem).add(at[2] * size);
            (self.run)(&Block {
                rows: rows.clone(),
                cols: cols.clone(),
                k: self.k,
                a: self.a.ptr::<u8>(mem).add(at[0] * size),
                a_pitch: self.a.pitch,
                b: self.b.ptr::<u8>(mem).add(at[1] * size),
                b_pitch: self.b.pitch,
                transpose_b: self.transpose_b,
                y,
                y_pitch: self.y.pitch,
                scale: self.scale,
                lo: self.lo,
                hi: self.hi,
                zero_points: self.zero_points,
                scratch: mem.scratch,
            });
            if let Some(f) = &self.function {
                for row in rows {
                    let y = y.add((row * self.y.pitch + cols.start) * size);
                    if self.y.dtype == DType::F32 {
                        f.f32(y.cast(), y.cast(), cols.len());
                    } else {
                        f.f16(y.cast(), y.cast(), cols.len());
                    }
                }
            }
        }
    }
}

// SAFETY: blocks are disjoint ranges of rows and columns of the output's matrices, and tiles of blocks.
unsafe impl Kernel for MatMul {
    fn name(&self) -> &'static str {
        self.name
    }

    fn tiles(&self) -> usize {
        self.blocks().div_ceil(self.blocks_per_tile)
    }

    fn macs(&self) -> u64 {
        self.y.len() as u64 * self.k as u64
    }

    fn scratch(&self) -> usize {
        self.scratch
    }

    unsafe fn run_tile(&self, mem: &Mem, tile: usize) {
        let first = tile * self.blocks_per_tile;
        for block in first..self.blocks().min(first + self.blocks_per_tile) {
            // SAFETY: the caller's promise.
            unsafe { self.block(mem, block) };
        }
    }
}
