//! Copy: a strided block of elements from one tensor to another.
//!
//! [`plan`] proves the block inside both tensors and merges its loops; the two innermost loops make a [`plane`],
//! copied as runs, as a transpose or element by element.

pub mod oracle;
pub mod plan;
mod plane;
pub(crate) mod run;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "aarch64")]
mod neon;

use cygnet_format::op;

use crate::cpu::Features;
use crate::kernel::{Context, Kernel, PrepareError};
use crate::view::{Mem, View};
use plan::{Loop, Plan};
use plane::Plane;

/// Bytes that a piece and a tile move, about.
const PIECE_BYTES: usize = 16 << 10;
const TILE_BYTES: usize = 64 << 10;

/// Implementations of a plane, best first: the name, the shape it is for, what the processor must have, and the
/// functions for elements of 1, 2, 4 and 8 bytes.
struct Row {
    name: &'static str,
    shape: Shape,
    needs: Features,
    run: [Plane; 4],
}

/// What is contiguous in a plane.
#[derive(Clone, Copy, PartialEq)]
enum Shape {
    /// Columns, in both tensors.
    Runs,
    /// Rows in the source, columns in the destination: 2, 3 or 4 rows.
    Apart(usize),
    /// Rows in the source, columns in the destination: 2, 3 or 4 columns.
    Together(usize),
    /// Rows in the source, columns in the destination.
    Transpose,
    /// Nothing that helps.
    Strided,
}

macro_rules! sizes {
    ($f:path $(, $n:literal)?) => {{
        use $f as f;
        [f::<1 $(, $n)?>, f::<2 $(, $n)?>, f::<4 $(, $n)?>, f::<8 $(, $n)?>]
    }};
}

const TABLE: &[Row] = &[
    Row { name: "copy_runs", shape: Shape::Runs, needs: Features::NONE, run: sizes!(plane::runs) },
    Row { name: "copy_apart2", shape: Shape::Apart(2), needs: Features::NONE, run: sizes!(plane::apart, 2) },
    Row { name: "copy_apart3", shape: Shape::Apart(3), needs: Features::NONE, run: sizes!(plane::apart, 3) },
    Row { name: "copy_apart4", shape: Shape::Apart(4), needs: Features::NONE, run: sizes!(plane::apart, 4) },
    Row {
        name: "copy_together2",
        shape: Shape::Together(2),
        needs: Features::NONE,
        run: sizes!(plane::together, 2),
    },
    #[cfg(target_arch = "x86_64")]
    Row {
        name: "copy_together3_avx2",
        shape: Shape::Together(3),
        needs: Features::AVX2,
        run: sizes!(avx2::together3),
    },
    #[cfg(target_arch = "aarch64")]
    Row {
        name: "copy_together3_neon",
        shape: Shape::Together(3),
        needs: Features::NEON,
        run: sizes!(neon::together3),
    },
    Row {
        name: "copy_together3",
        shape: Shape::Together(3),
        needs: Features::NONE,
        run: sizes!(plane::together, 3),
    },
    Row {
        name: "copy_together4",
        shape: Shape::Together(4),
        needs: Features::NONE,
        run: sizes!(plane::together, 4),
    },
    #[cfg(target_arch = "x86_64")]
    Row {
        name: "copy_transpose_avx2",
        shape: Shape::Transpose,
        needs: Features::AVX2,
        run: sizes!(avx2::transpose_avx2),
    },
    #[cfg(target_arch = "aarch64")]
    Row {
        name: "copy_transpose_neon",
        shape: Shape::Transpose,
        needs: Features::NEON,
        run: sizes!(neon::transpose_neon),
    },
    Row {
        name: "copy_transpose_generic",
        shape: Shape::Transpose,
        needs: Features::NONE,
        run: sizes!(plane::strided),
    },
    Row { name: "copy_strided", shape: Shape::Strided, needs: Features::NONE, run: sizes!(plane::strided) },
];

struct Copy {
    x: View,
    y: View,
    /// Around the plane: `plan.loops`.
    plan: Plan,
    row: &'static Row,
    rows: Loop,
    cols: Loop,
    /// Rows and columns of a piece, a rectangle of a plane.
    piece: [usize; 2],
    /// Pieces of a plane, down and across.
    grid: [usize; 2],
    pieces: usize,
    pieces_per_tile: usize,
}

pub(crate) fn prepare(p: &op::Copy, cx: &Context<'_>) -> Result<Box<dyn Kernel>, PrepareError> {
    let (x, y) = (cx.input(0)?, cx.output());
    let mut plan = plan::plan(p, &x, &y).map_err(|e| cx.error(e))?;
    let (rows, cols, shape) = split(&mut plan);
    let row = TABLE
        .iter()
        .find(|r| r.shape == shape && cx.cpu().has(r.needs))
        .ok_or_else(|| cx.error("has no implementation for this processor"))?;

    let most = PIECE_BYTES / plan.size;
    let piece_rows = match shape {
        // A cache line of the source, in whole squares.
        Shape::Transpose => 64 / plan.size,
        // All of them: the implementation is made for their number.
        Shape::Apart(n) => n,
        Shape::Together(n) => (most / n).max(1),
        _ => (most / cols.n.min(most)).max(1),
    }
    .min(rows.n);
    let piece = [piece_rows, (most / piece_rows).clamp(1, cols.n)];
    let grid = [rows.n.div_ceil(piece[0]), cols.n.div_ceil(piece[1])];
    let pieces = plan.loops.iter().map(|l| l.n).product::<usize>() * grid[0] * grid[1];
    let bytes = piece[0] * piece[1] * plan.size;
    let pieces_per_tile = cx.grain(pieces * bytes, TILE_BYTES).div_ceil(bytes).clamp(1, pieces);
    Ok(Box::new(Copy { x, y, plan, row, rows, cols, piece, grid, pieces, pieces_per_tile }))
}

/// Takes the rows and columns of the plane out of a plan's loops.
///
/// The loop with the smallest step in `y` is the columns. The rows are the loop that is contiguous in `x` when
/// the columns are not (a square of such a plane is made of whole lines on both sides), else the next one.
fn split(plan: &mut Plan) -> (Loop, Loop, Shape) {
    let step = plan.size as isize;
    let once = Loop { n: 1, src: step, dst: step };
    let cols = plan.loops.pop().unwrap_or(once);
    if cols.dst == step
        && cols.src != step
        && let Some(i) = plan.loops.iter().position(|l| l.src == step)
    {
        let rows = plan.loops.remove(i);
        let shape = match (rows.n, cols.n) {
            (n @ 2..=4, _) => Shape::Apart(n),
            (_, n @ 2..=4) => Shape::Together(n),
            _ => Shape::Transpose,
        };
        return (rows, cols, shape);
    }
    let contiguous = (cols.src, cols.dst) == (step, step);
    let rows = plan.loops.pop().unwrap_or(once);
    (rows, cols, if contiguous { Shape::Runs } else { Shape::Strided })
}

// SAFETY: `plan` proved every element of the block inside both tensors, and no two at one place of `y`. Pieces
// are disjoint parts of the block, a tile some of them, and an implementation stays in the piece it is told.
unsafe impl Kernel for Copy {
    fn name(&self) -> &'static str {
        self.row.name
    }

    fn tiles(&self) -> usize {
        self.pieces.div_ceil(self.pieces_per_tile)
    }

    unsafe fn run_tile(&self, mem: &Mem, tile: usize) {
        let run = self.row.run[self.plan.size.trailing_zeros() as usize];
        let first = tile * self.pieces_per_tile;
        for piece in first..(first + self.pieces_per_tile).min(self.pieces) {
            let at =
                [piece / self.grid[1] % self.grid[0] * self.piece[0], piece % self.grid[1] * self.piece[1]];
            let mut outer = piece / self.grid[1] / self.grid[0];
            let mut src = at[0] as isize * self.rows.src + at[1] as isize * self.cols.src;
            let mut dst = at[0] as isize * self.rows.dst + at[1] as isize * self.cols.dst;
            for l in self.plan.loops.iter().rev() {
                let i = (outer % l.n) as isize;
                outer /= l.n;
                src += i * l.src;
                dst += i * l.dst;
            }
            let rows = Loop { n: self.piece[0].min(self.rows.n - at[0]), ..self.rows };
            let cols = Loop { n: self.piece[1].min(self.cols.n - at[1]), ..self.cols };
            // SAFETY: the piece is part of the block, which is inside both tensors; x and y do not overlap (or are
            // different columns of the same rows, and the block has none of the gaps); the row's needs were met.
            unsafe {
                let src = self.x.ptr::<u8>(mem).add(self.plan.src).offset(src);
                let dst = self.y.ptr_mut::<u8>(mem).add(self.plan.dst).offset(dst);
                run(src, dst, rows, cols);
            }
        }
    }
}
