//! From the lowered graph to a program and its weights.

use std::collections::HashMap;

use cygnet_format::op::{self, Op};
use cygnet_format::program::{self, ARENA_ALIGN, DType, Port, Program, READ_SLACK, Storage};
use cygnet_kernels::conv::pack::{pack_f16, pack_f32, pack_s8, pad_channels};
use cygnet_kernels::conv::transpose::Phases;
use cygnet_kernels::depthwise::pack as depthwise;
use half::f16;

use crate::lir::{Const, Id, Kind, Lir, State, Step};
use crate::plan::{Buffer, Placement, Sharing, place, share};

/// A program, and which of its tensors each tensor of the lowered graph became.
#[derive(Clone, Debug)]
pub struct Emitted {
    /// The program.
    pub program: Program,
    /// For each step of the program, the operators of the source model that it is there for.
    pub sources: Vec<Vec<u32>>,
    /// For each tensor of the lowered graph, its index in the program, when it has one.
    pub tensors: Vec<Option<u32>>,
    /// For each tensor that a step of the lowered graph computes, how many steps of the program have been done when it is
    /// there.
    pub ready: Vec<Option<usize>>,
}

/// Plans memory, packs weights, adds those to `weights` that are not there yet, and writes out every step. With `apart`
/// every computed tensor keeps its contents until the run ends.
///
/// # Errors
/// Names the step that cannot be written.
pub fn emit(lir: &Lir, name: &str, apart: bool, weights: &mut Weights) -> Result<Emitted, String> {
    emit_shared(lir, name, apart, apart, weights)
}

/// As [`emit`], for a program whose tensors are looked at one after another while it runs: each is there, by itself, when
/// the step that computes it is done ([`Emitted::ready`]), and until the last that reads it.
///
/// # Errors
/// As [`emit`].
pub fn emit_for_looking(lir: &Lir, name: &str, weights: &mut Weights) -> Result<Emitted, String> {
    emit_shared(lir, name, true, false, weights)
}

/// With `apart` no tensor takes another's place while that is alive; with `kept` none is ever taken.
fn emit_shared(
    lir: &Lir,
    name: &str,
    apart: bool,
    kept: bool,
    weights: &mut Weights,
) -> Result<Emitted, String> {
    let mut lir = lir.clone();
    pack(&mut lir)?;
    let sharing = share(&lir, apart);
    let (buffers, index) = buffers(&lir, &sharing, kept);
    let placement = place(&buffers, ARENA_ALIGN);
    let mut e = Emitter {
        lir: &lir,
        sharing: &sharing,
        placement: &placement,
        index,
        program: Program {
            name: name.to_owned(),
            arena_bytes: placement.bytes as u64,
            arena_lower_bound: placement.lower_bound as u64,
            ..Program::default()
        },
        weights,
        ids: vec![None; lir.tensors.len()],
    };
    for (port, inputs) in lir.inputs.iter().map(|p| (p, true)).chain(lir.outputs.iter().map(|p| (p, false))) {
        let tensor = e.tensor(port.1);
        let ports = if inputs { &mut e.program.inputs } else { &mut e.program.outputs };
        ports.push(Port { name: port.0.clone(), tensor });
    }
    let mut sources = Vec::new();
    let mut ready = vec![None; lir.tensors.len()];
    for step in &lir.steps {
        e.step(step).map_err(|why| format!("step '{}': {why}", step.name))?;
        sources.resize(e.program.steps.len(), step.sources.clone());
        ready[step.output] = Some(e.program.steps.len());
    }
    for state in &lir.states {
        e.state(state).map_err(|why| format!("state '{}': {why}", state.name))?;
    }
    sources.resize(e.program.steps.len(), Vec::new());
    Ok(Emitted { program: e.program, sources, tensors: e.ids, ready })
}

/// Live ranges of the buffers, and for each root tensor the index of its buffer.
fn buffers(lir: &Lir, sharing: &Sharing, kept: bool) -> (Vec<Buffer>, HashMap<Id, usize>) {
    let end = lir.steps.len();
    let (mut buffers, mut index) = (Vec::new(), HashMap::new());
    let mut touch = |id: Id, step: usize| {
        if lir.tensors[id].constant.is_some() {
            return;
        }
        let root = sharing.home(id).root;
        let t = &lir.tensors[root];
        let i = *index.entry(root).or_insert_with(|| {
            // A kernel may read some bytes past the end, which must not be another's that is being written.
            let bytes = t.len() * t.dtype.size() + READ_SLACK;
            let (first, last) = if kept { (0, end) } else { (step, step) };
            buffers.push(Buffer { bytes, first, last });
            buffers.len() - 1
        });
        let b: &mut Buffer = &mut buffers[i];
        b.first = b.first.min(step);
        b.last = b.last.max(step);
    };
    // Steps count from 1: inputs are there before the first, outputs after the last, states at both times.
    lir.inputs.iter().for_each(|&(_, id)| touch(id, 0));
    lir.states.iter().flat_map(|s| [(s.input, 0), (s.input, end + 1)]).for_each(|(id, step)| touch(id, step));
    for (i, step) in lir.steps.iter().enumerate() {
        step.inputs.iter().flatten().for_each(|&id| touch(id, i + 1));
        touch(step.output, i + 1);
    }
    lir.results().for_each(|id| touch(id, end + 1));
    (buffers, index)
}

/// The weights section as it grows: one for all programs of a file.
#[derive(Default)]
pub struct Weights {
    bytes: Vec<u8>,
    /// Offsets of what is there already: equal constants are stored once.
    known: HashMap<Vec<u8>, usize>,
}

impl Weights {
    fn add(&mut self, constant: &Const) -> usize {
        let bytes = constant.bytes();
        if let Some(&at) = self.known.get(&bytes) {
            return at;
        }
        // Packed panels lie at multiples of 128, everything else of 64.
        let align = if matches!(constant, Const::Packed(_)) { 128 } else { 64 };
        self.bytes.resize(self.bytes.len().next_multiple_of(align), 0);
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&bytes);
        self.known.insert(bytes, at);
        at
    }

    /// The bytes of the section, padding included.
    pub fn finish(mut self) -> Vec<u8> {
        if !self.bytes.is_empty() {
            self.bytes.resize((self.bytes.len() + READ_SLACK).next_multiple_of(64), 0);
        }
        self.bytes
    }
}

struct Emitter<'a> {
    lir: &'a Lir,
    sharing: &'a Sharing,
    placement: &'a Placement,
    index: HashMap<Id, usize>,
    program: Program,
    weights: &'a mut Weights,
    ids: Vec<Option<u32>>,
}

impl Emitter<'_> {
    /// The program's record of a tensor, and of those that it lies in.
    fn tensor(&mut self, id: Id) -> u32 {
        if let Some(done) = self.ids[id] {
            return done;
        }
        let t = &self.lir.tensors[id];
        let size = t.dtype.size();
        let (storage, offset, pitch) = match &t.constant {
            Some(c) => (Storage::Weights, self.weights.add(c), t.dims.last().copied().unwrap_or(1)),
            None => {
                let home = self.sharing.home(id);
                if home.root != id {
                    self.tensor(home.root);
                }
                let base = self.placement.offsets[self.index[&home.root]];
                (Storage::Arena, base + home.offset * size, home.pitch)
            }
        };
        self.program.tensors.push(program::Tensor {
            name: t.name.clone(),
            dtype: t.dtype,
            storage,
            offset: offset as u64,
            dims: t.dims.iter().map(|&d| d as u32).collect(),
            pitch: pitch as u32,
            quant: t.quant,
        });
        let done = (self.program.tensors.len() - 1) as u32;
        self.ids[id] = Some(done);
        done
    }

    fn push(&mut self, name: &str, op: Op, inputs: &[Option<Id>], output: Id) {
        let inputs = inputs.iter().map(|i| i.map(|id| self.tensor(id))).collect();
        let output = self.tensor(output);
        self.program.steps.push(program::Step { name: name.to_owned(), op, inputs, output });
    }

    fn strides(&self, id: Id) -> Vec<i64> {
        let dims = &self.lir.tensors[id].dims;
        let pitch = if self.lir.tensors[id].constant.is_some() {
            dims.last().copied().unwrap_or(1)
        } else {
            self.sharing.home(id).pitch
        };
        let mut strides = vec![1; dims.len()];
        for d in (0..dims.len().saturating_sub(1)).rev() {
            strides[d] = if d + 2 == dims.len() { pitch as i64 } else { strides[d + 1] * dims[d + 1] as i64 };
        }
        strides
    }

    /// A copy of `x` to `y`: extents, where each starts, and its strides. Their types are of one width.
    fn copy(
        &mut self,
        name: &str,
        x: (Id, i64, &[i64]),
        y: (Id, i64, &[i64]),
        dims: &[usize],
    ) -> Result<(), String> {
        let from = self.tensor(x.0);
        let source = if self.lir.tensors[x.0].dtype == self.lir.tensors[y.0].dtype {
            from
        } else {
            // The same bytes under the other type.
            let (dtype, quant) = (self.lir.tensors[y.0].dtype, self.lir.tensors[y.0].quant);
            let record = &self.program.tensors[from as usize];
            let name = format!("{}:{}", record.name, dtype.name());
            let record = program::Tensor { name, dtype, quant, ..record.clone() };
            self.program.tensors.push(record);
            (self.program.tensors.len() - 1) as u32
        };
        let mut p = op::Copy {
            dims: [1; 6],
            src_offset: u32::try_from(x.1).map_err(|_| "an offset is out of range")?,
            src_strides: [0; 6],
            dst_offset: u32::try_from(y.1).map_err(|_| "an offset is out of range")?,
            dst_strides: [0; 6],
        };
        for (d, &extent) in dims.iter().enumerate() {
            p.dims[d] = extent as u32;
            if extent > 1 {
                p.src_strides[d] = i32::try_from(x.2[d]).map_err(|_| "a stride is out of range")?;
                p.dst_strides[d] = i32::try_from(y.2[d]).map_err(|_| "a stride is out of range")?;
            }
        }
        let output = self.tensor(y.0);
        let inputs = vec![Some(source)];
        self.program.steps.push(program::Step { name: name.to_owned(), op: Op::Copy(p), inputs, output });
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        let y = step.output;
        let yd = self.lir.tensors[y].dims.clone();
        let ys = self.strides(y);
        let first = step.inputs.first().copied().flatten();
        let x = || first.ok_or_else(|| "its input is missing".to_owned());
        match &step.kind {
            Kind::Op(op) => self.push(&step.name, *op, &step.inputs, y),
            Kind::View | Kind::Slice { .. } if self.sharing.is_part(y, x()?) => {}
            Kind::View => {
                // Rows apart become dense: copied in the dimensions of the source.
                let x = x()?;
                let xd = self.lir.tensors[x].dims.clone();
                let dense = dense_strides(&xd);
                let xs = self.strides(x);
                if self.strides(y) != dense_strides(&yd) {
                    return Err("a view with gaps cannot be made of other rows".to_owned());
                }
                self.copy(&step.name, (x, 0, &xs), (y, 0, &dense), &xd)?;
            }
            Kind::Transpose(order) => {
                let xs = self.strides(x()?);
                let moved: Vec<i64> = order.iter().map(|&d| xs[d]).collect();
                self.copy(&step.name, (x()?, 0, &moved), (y, 0, &ys), &yd)?;
            }
            Kind::Slice { starts, steps } => {
                let xs = self.strides(x()?);
                let at = starts.iter().zip(&xs).map(|(&i, s)| i as i64 * s).sum();
                let moved: Vec<i64> = xs.iter().zip(steps).map(|(s, &k)| s * k as i64).collect();
                self.copy(&step.name, (x()?, at, &moved), (y, 0, &ys), &yd)?;
            }
            Kind::Expand => {
                let x = x()?;
                let xs = self.strides(x);
                let xd = self.lir.tensors[x].dims.clone();
                let moved: Vec<i64> = (0..yd.len()).map(|d| if xd[d] == 1 { 0 } else { xs[d] }).collect();
                self.copy(&step.name, (x, 0, &moved), (y, 0, &ys), &yd)?;
            }
            Kind::Concat { axis } => {
                let mut at = 0;
                for &x in step.inputs.iter().flatten() {
                    let xd = self.lir.tensors[x].dims.clone();
                    let start = at * ys[*axis];
                    at += xd[*axis] as i64;
                    if !self.lies_at(x, y, start) {
                        let xs = self.strides(x);
                        self.copy(&step.name, (x, 0, &xs), (y, start, &ys), &xd)?;
                    }
                }
            }
            Kind::Pad { before, value } => {
                let x = x()?;
                let bits = self.fill_bits(y, *value)?;
                self.push(&format!("{}:fill", step.name), Op::Fill(op::Fill { bits }), &[], y);
                let (xs, xd) = (self.strides(x), self.lir.tensors[x].dims.clone());
                let at = before.iter().zip(&ys).map(|(&b, s)| b as i64 * s).sum();
                self.copy(&step.name, (x, 0, &xs), (y, at, &ys), &xd)?;
            }
        }
        Ok(())
    }

    /// The record of a state, and the copy that hands its new value on. All those copies come last: they read places of
    /// their own, and steps that read the states are over.
    fn state(&mut self, state: &State) -> Result<(), String> {
        let dims = self.lir.tensors[state.input].dims.clone();
        let (from, to) = (self.strides(state.output), self.strides(state.input));
        self.copy(&format!("{}:next", state.name), (state.output, 0, &from), (state.input, 0, &to), &dims)?;
        let (tensor, initial) = (self.tensor(state.input), state.initial.map(|id| self.tensor(id)));
        self.program.states.push(program::State { name: state.name.clone(), tensor, initial });
        Ok(())
    }

    /// Whether `x` is computed where the concatenation `y` needs it.
    fn lies_at(&self, x: Id, y: Id, start: i64) -> bool {
        if self.lir.tensors[x].constant.is_some() {
            return false;
        }
        let (a, b) = (self.sharing.home(x), self.sharing.home(y));
        a.root == b.root && a.offset as i64 == b.offset as i64 + start
    }

    /// The bits of a constant in the type and scale of `y`.
    fn fill_bits(&self, y: Id, value: f32) -> Result<u32, String> {
        let t = &self.lir.tensors[y];
        Ok(match (t.dtype, t.quant) {
            (DType::F32, _) => value.to_bits(),
            (DType::F16, _) => u32::from(f16::from_f32(value).to_bits()),
            (DType::S8, Some(q)) => u32::from(crate::ranges::quantize(value, q).cast_unsigned()),
            (DType::S8, None) => u32::from((value as i8).cast_unsigned()),
            (DType::U8, _) => u32::from(value as u8),
            (DType::S32, _) => (value as i32).cast_unsigned(),
            (other, _) => return Err(format!("a {} tensor cannot be padded", other.name())),
        })
    }
}

fn dense_strides(dims: &[usize]) -> Vec<i64> {
    let mut strides = vec![1; dims.len()];
    for d in (0..dims.len().saturating_sub(1)).rev() {
        strides[d] = strides[d + 1] * dims[d + 1] as i64;
    }
    strides
}

/// Puts the weights of every convolution into the layout that kernels read, biases and multipliers with them.
fn pack(lir: &mut Lir) -> Result<(), String> {
    let mut known: HashMap<(Id, usize), Id> = HashMap::new();
    for i in 0..lir.steps.len() {
        let step = lir.steps[i].clone();
        let (groups, phases) = match &step.kind {
            Kind::Op(Op::Conv(p)) => (p.groups as usize, None),
            Kind::Op(Op::DepthwiseConv(_)) => (0, None),
            Kind::Op(Op::ConvTranspose(p)) => {
                (p.groups as usize, Some(Phases::new(&p.window).ok_or("a window is out of range")?))
            }
            _ => continue,
        };
        let err = |what: &str| format!("step '{}': {what}", step.name);
        let w = step.inputs[1].ok_or_else(|| err("weights are missing"))?;
        let packed = match known.get(&(w, groups)) {
            Some(&done) => done,
            None => {
                let t = &lir.tensors[w];
                let c = t.constant.clone().ok_or_else(|| err("weights are computed"))?;
                let bytes = match &phases {
                    _ if groups == 0 => pack_depthwise(&c, t.dims[2])
                        .ok_or_else(|| err("weights are of a type that is not packed"))?,
                    None => {
                        let (m, taps, depth) = (t.dims[0], t.dims[1] * t.dims[2], t.dims[3]);
                        match &*c {
                            Const::F32(v) => pack_f32(v, m, taps, depth, groups),
                            Const::F16(v) => pack_f16(v, m, taps, depth, groups),
                            Const::S8(v) => pack_s8(v, m, taps, depth, groups),
                            _ => return Err(err("weights are of a type that is not packed")),
                        }
                    }
                    Some(ph) => match &*c {
                        Const::F32(v) => ph.pack_f32(v, t.dims[0], t.dims[3], groups),
                        Const::F16(v) => ph.pack_f16(v, t.dims[0], t.dims[3], groups),
                        Const::S8(v) => ph.pack_s8(v, t.dims[0], t.dims[3], groups),
                        _ => return Err(err("weights are of a type that is not packed")),
                    },
                };
                let name = t.name.clone();
                let done = lir.add_const(name, &[bytes.len()], Const::Packed(bytes));
                known.insert((w, groups), done);
                done
            }
        };
        lir.steps[i].inputs[1] = Some(packed);
        for slot in [2, 3] {
            let Some(id) = step.inputs.get(slot).copied().flatten() else { continue };
            // The bias of a transposed s8 convolution has been filled up, phase by phase.
            if slot == 2 && phases.is_some() && lir.tensors[id].dtype == DType::S32 {
                continue;
            }
            let t = &lir.tensors[id];
            let c = t.constant.clone().ok_or_else(|| err("bias is computed"))?;
            let padded = match &*c {
                Const::F32(v) => Const::F32(pad(v, groups)),
                Const::S32(v) => Const::S32(pad(v, groups)),
                _ => return Err(err("bias is neither f32 nor s32")),
            };
            let name = t.name.clone();
            lir.steps[i].inputs[slot] = Some(lir.add_const(name, &[padded.len()], padded));
        }
    }
    Ok(())
}

fn pad<T: Copy + Default>(values: &[T], groups: usize) -> Vec<T> {
    if groups > 0 {
        return pad_channels(values, groups);
    }
    let mut padded = values.to_vec();
    padded.resize(depthwise::padded_channels(values.len()), T::default());
    padded
}

fn pack_depthwise(c: &Const, channels: usize) -> Option<Vec<u8>> {
    match c {
        Const::F32(v) => Some(depthwise::pack_f32(v, channels)),
        Const::F16(v) => Some(depthwise::pack_f16(v, channels)),
        Const::S8(v) => Some(depthwise::pack_s8(v, channels)),
        _ => None,
    }
}
