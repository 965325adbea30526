//! Recurrent layers: [`Op::Recurrent`](cygnet_format::op::Op::Recurrent).
//!
//! Steps follow one another, samples of the batch are tiles. What a step needs to remember is in the output: the hidden
//! state of the step before, and for LSTM the cell state in the rows behind the last step. Gates are computed in
//! scratch.

use cygnet_format::op::{self, CellKind};
use cygnet_format::program::DType;

use crate::kernel::{Context, Kernel, MAX_SCRATCH, PrepareError};
use crate::map::Function;
use crate::simd::{Isa, LANES, V8, isa_name, load_some, per_isa, store_part};
use crate::view::{Mem, View};

pub(crate) fn prepare(p: &op::Recurrent, cx: &Context<'_>) -> Result<Box<dyn Kernel>, PrepareError> {
    let (x, weights, hidden, y) =
        (cx.typed(0, DType::F32)?, cx.typed(1, DType::F32)?, cx.typed(2, DType::F32)?, cx.output());
    let gates = match p.kind {
        CellKind::Rnn => 1,
        CellKind::Lstm => 4,
        CellKind::Gru | CellKind::GruResetAfter => 3,
    };
    cx.ensure(y.dtype == DType::F32, || format!("writes {} where f32 is needed", y.dtype.name()))?;
    cx.ensure(x.rank == 3 && hidden.rank == 2, || {
        format!("input is {:?} and state {:?}; [T, B, G * H] and [B, H] are needed", x.dims(), hidden.dims())
    })?;
    let [steps, batch, width, ..] = x.dims;
    let units = hidden.dims[1];
    let rows = steps + usize::from(p.kind == CellKind::Lstm);
    let fits = hidden.dims[0] == batch
        && units.checked_mul(gates) == Some(width)
        && weights.dims() == [units, width]
        && y.dims() == [rows, batch, units];
    cx.ensure(fits, || {
        format!(
            "input {:?}, weights {:?} and state {:?} do not give {:?}",
            x.dims(),
            weights.dims(),
            hidden.dims(),
            y.dims()
        )
    })?;
    let wants = match p.kind {
        CellKind::Lstm => Some([batch, units].as_slice().to_vec()),
        CellKind::GruResetAfter => Some(vec![units]),
        _ => None,
    };
    let extra = cx.optional(3);
    cx.ensure(extra.as_ref().map(|v| v.dims().to_vec()) == wants, || {
        format!("input 3 is {:?} where {wants:?} is needed", extra.as_ref().map(|v| v.dims().to_vec()))
    })?;
    cx.ensure(extra.as_ref().is_none_or(|v| v.dtype == DType::F32), || "input 3 must be f32".to_owned())?;
    let scratch = (width + units) * size_of::<f32>();
    cx.ensure(scratch <= MAX_SCRATCH, || {
        format!("{width} gates take more scratch than the {MAX_SCRATCH} bytes there are")
    })?;
    let isa = Isa::of(cx.cpu());
    let name = match p.kind {
        CellKind::Rnn => isa_name!(isa, "recurrent_rnn_f32"),
        CellKind::Lstm => isa_name!(isa, "recurrent_lstm_f32"),
        CellKind::Gru | CellKind::GruResetAfter => isa_name!(isa, "recurrent_gru_f32"),
    };
    let [gate, candidate, cell] = [p.gate, p.candidate, p.cell].map(|unary| Function::new(cx.cpu(), unary));
    Ok(Box::new(Recurrent {
        x,
        weights,
        hidden,
        extra,
        y,
        kind: p.kind,
        reverse: p.reverse,
        units,
        gate,
        candidate,
        cell,
        product: pick_product(isa),
        lstm: pick_lstm(isa),
        blend: pick_blend(isa),
        times: pick_times(isa),
        name,
    }))
}

/// `s[j] = fma(h[k], w[k][j], s[j])` for k ascending, over `n` columns of weights `pitch` apart.
type Product = unsafe fn(h: *const f32, k: usize, w: *const f32, pitch: usize, s: *mut f32, n: usize);

/// `c = fma(f, c, i * g)`.
type Lstm = unsafe fn(i: *const f32, f: *const f32, g: *const f32, c: *mut f32, n: usize);

/// `y = fma(z, h, (1 - z) * c)`.
type Blend = unsafe fn(z: *const f32, h: *const f32, c: *const f32, y: *mut f32, n: usize);

/// `y = fma(a, b, c)`; c is null for zeros.
type Times = unsafe fn(a: *const f32, b: *const f32, c: *const f32, y: *mut f32, n: usize);

struct Recurrent {
    x: View,
    weights: View,
    hidden: View,
    extra: Option<View>,
    y: View,
    kind: CellKind,
    reverse: bool,
    units: usize,
    gate: Function,
    candidate: Function,
    cell: Function,
    product: Product,
    lstm: Lstm,
    blend: Blend,
    times: Times,
    name: &'static str,
}

// SAFETY: a tile reads and writes the rows of its own sample, whose dimensions `prepare` has compared, and scratch of
// the length that was asked for.
unsafe impl Kernel for Recurrent {
    fn name(&self) -> &'static str {
        self.name
    }
    fn tiles(&self) -> usize {
        self.x.dims[1]
    }
    fn macs(&self) -> u64 {
        (self.x.dims[0] * self.x.dims[1] * self.weights.len()) as u64
    }
    fn scratch(&self) -> usize {
        (self.x.dims[2] + self.units) * size_of::<f32>()
    }
    unsafe fn run_tile(&self, mem: &Mem, tile: usize) {
        let [steps, batch, width, ..] = self.x.dims;
        let n = self.units;
        // SAFETY: `mem` is the memory of these views; `tile` is a sample of the batch, and steps are below their number.
        unsafe {
            let row = |v: &View, t: usize| v.ptr::<f32>(mem).add((t * batch + tile) * v.pitch);
            let out = |t: usize| self.y.ptr_mut::<f32>(mem).add((t * batch + tile) * self.y.pitch);
            let (s, spare) = (mem.scratch.cast::<f32>(), mem.scratch.cast::<f32>().add(width));
            if self.kind == CellKind::Lstm
                && let Some(cell) = &self.extra
            {
                std::ptr::copy_nonoverlapping(row(cell, 0), out(steps), n);
            }
            let mut h = row(&self.hidden, 0);
            for step in 0..steps {
                let t = if self.reverse { steps - 1 - step } else { step };
                std::ptr::copy_nonoverlapping(row(&self.x, t), s, width);
                let w = self.weights.ptr::<f32>(mem);
                let pitch = self.weights.pitch;
                let y = out(t);
                match self.kind {
                    CellKind::Rnn => {
                        (self.product)(h, n, w, pitch, s, n);
                        self.candidate.f32(s, y, n);
                    }
                    CellKind::Lstm => {
                        (self.product)(h, n, w, pitch, s, width);
                        // Input, output and forget gates lie side by side.
                        self.gate.f32(s, s, 3 * n);
                        self.candidate.f32(s.add(3 * n), s.add(3 * n), n);
                        let c = out(steps);
                        (self.lstm)(s, s.add(2 * n), s.add(3 * n), c, n);
                        self.cell.f32(c, spare, n);
                        (self.times)(s.add(n), spare, std::ptr::null(), y, n);
                    }
                    CellKind::Gru | CellKind::GruResetAfter => {
                        (self.product)(h, n, w, pitch, s, 2 * n);
                        // Update and reset gates lie side by side.
                        self.gate.f32(s, s, 2 * n);
                        let (z, r, c) = (s, s.add(n), s.add(2 * n));
                        if let (CellKind::GruResetAfter, Some(bias)) = (self.kind, &self.extra) {
                            std::ptr::copy_nonoverlapping(bias.ptr::<f32>(mem), spare, n);
                            (self.product)(h, n, w.add(2 * n), pitch, spare, n);
                            (self.times)(r, spare, c, c, n);
                        } else {
                            (self.times)(r, h, std::ptr::null(), spare, n);
                            (self.product)(spare, n, w.add(2 * n), pitch, c, n);
                        }
                        self.candidate.f32(c, c, n);
                        (self.blend)(z, h, c, y, n);
                    }
                }
                h = y;
            }
        }
    }
}

per_isa! {
    fn pick_product[](h: *const f32, k: usize, w: *const f32, pitch: usize, s: *mut f32, n: usize) = product
}
per_isa! {
    fn pick_lstm[](i: *const f32, f: *const f32, g: *const f32, c: *mut f32, n: usize) = lstm
}
per_isa! {
    fn pick_blend[](z: *const f32, h: *const f32, c: *const f32, y: *mut f32, n: usize) = blend
}
per_isa! {
    fn pick_times[](a: *const f32, b: *const f32, c: *const f32, y: *mut f32, n: usize) = times
}

/// Vectors of sums that are held in registers.
const BLOCK: usize = 8;

#[inline(always)]
unsafe fn product<V: V8>(h: *const f32, k: usize, w: *const f32, pitch: usize, s: *mut f32, n: usize) {
    let mut j = 0;
    while j + BLOCK * LANES <= n {
        // SAFETY: `BLOCK * LANES` columns from j on are within n, in each of `k` rows.
        unsafe {
            let mut sums = [V::splat(0.0); BLOCK];
            for (b, sum) in sums.iter_mut().enumerate() {
                *sum = V::load(s.add(j + b * LANES));
            }
            for i in 0..k {
                let x = V::splat(*h.add(i));
                let row = w.add(i * pitch + j);
                for (b, sum) in sums.iter_mut().enumerate() {
                    *sum = x.fma(V::load(row.add(b * LANES)), *sum);
                }
            }
            for (b, sum) in sums.iter().enumerate() {
                sum.store(s.add(j + b * LANES));
            }
        }
        j += BLOCK * LANES;
    }
    while j < n {
        let part = LANES.min(n - j);
        // SAFETY: `part` columns from j on are within n, in each of `k` rows.
        unsafe {
            let mut sum = load_some::<V, f32>(s.add(j), part);
            for i in 0..k {
                sum = V::splat(*h.add(i)).fma(load_some::<V, f32>(w.add(i * pitch + j), part), sum);
            }
            store_part(sum, s.add(j), part, V::store);
        }
        j += part;
    }
}

#[inline(always)]
unsafe fn lstm<V: V8>(i: *const f32, f: *const f32, g: *const f32, c: *mut f32, n: usize) {
    for at in (0..n).step_by(LANES) {
        let part = LANES.min(n - at);
        // SAFETY: `part` elements from `at` on are within n.
        unsafe {
            let [i, f, g] = [i, f, g].map(|p| load_some::<V, f32>(p.add(at), part));
            let old = load_some::<V, f32>(c.add(at), part);
            store_part(f.fma(old, i.mul(g)), c.add(at), part, V::store);
        }
    }
}

#[inline(always)]
unsafe fn blend<V: V8>(z: *const f32, h: *const f32, c: *const f32, y: *mut f32, n: usize) {
    for at in (0..n).step_by(LANES) {
        let part = LANES.min(n - at);
        // SAFETY: `part` elements from `at` on are within n.
        unsafe {
            let [z, h, c] = [z, h, c].map(|p| load_some::<V, f32>(p.add(at), part));
            let rest = V::splat(1.0).sub(z).mul(c);
            store_part(z.fma(h, rest), y.add(at), part, V::store);
        }
    }
}

#[inline(always)]
unsafe fn times<V: V8>(a: *const f32, b: *const f32, c: *const f32, y: *mut f32, n: usize) {
    for at in (0..n).step_by(LANES) {
        let part = LANES.min(n - at);
        // SAFETY: `part` elements from `at` on are within n.
        unsafe {
            let [a, b] = [a, b].map(|p| load_some::<V, f32>(p.add(at), part));
            let v = if c.is_null() { a.mul(b) } else { a.fma(b, load_some::<V, f32>(c.add(at), part)) };
            store_part(v, y.add(at), part, V::store);
        }
    }
}

pub mod oracle {
    //! The definition for one sample.

    use cygnet_format::op::{CellKind, Recurrent, Unary};

    use crate::math::unary;

    /// Hidden states of each step (and behind them, of an LSTM, the last cell state) from `x` `[steps][gates * n]`,
    /// weights `[n][gates * n]`, the first states, and the bias of a candidate.
    pub fn run(p: &Recurrent, x: &[f32], w: &[f32], hidden: &[f32], extra: &[f32]) -> Vec<f32> {
        let n = hidden.len();
        let width = w.len() / n;
        let steps = x.len() / width;
        let apply = |u: &Unary, v: f32| unary(u.kind, u.a, u.b, v);
        let sum =
            |start: f32, h: &[f32], j: usize| (0..n).fold(start, |s, k| h[k].mul_add(w[k * width + j], s));
        let mut h = hidden.to_vec();
        let mut c = extra.to_vec();
        let mut y = vec![0.0; steps * n];
        for step in 0..steps {
            let t = if p.reverse { steps - 1 - step } else { step };
            let x = &x[t * width..(t + 1) * width];
            let gate = |j: usize| apply(&p.gate, sum(x[j], &h, j));
            let mut next = vec![0.0; n];
            for j in 0..n {
                next[j] = match p.kind {
                    CellKind::Rnn => apply(&p.candidate, sum(x[j], &h, j)),
                    CellKind::Lstm => {
                        let (i, o, f) = (gate(j), gate(n + j), gate(2 * n + j));
                        let g = apply(&p.candidate, sum(x[3 * n + j], &h, 3 * n + j));
                        c[j] = f.mul_add(c[j], i * g);
                        o * apply(&p.cell, c[j])
                    }
                    CellKind::Gru => {
                        let reset: Vec<f32> = (0..n).map(|k| gate(n + k) * h[k]).collect();
                        let g = apply(&p.candidate, sum(x[2 * n + j], &reset, 2 * n + j));
                        gate(j).mul_add(h[j], (1.0 - gate(j)) * g)
                    }
                    CellKind::GruResetAfter => {
                        let product = sum(extra[j], &h, 2 * n + j);
                        let g = apply(&p.candidate, gate(n + j).mul_add(product, x[2 * n + j]));
                        gate(j).mul_add(h[j], (1.0 - gate(j)) * g)
                    }
                };
            }
            h = next;
            y[t * n..(t + 1) * n].copy_from_slice(&h);
        }
        if p.kind == CellKind::Lstm {
            y.extend(c);
        }
        y
    }
}
