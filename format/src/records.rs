//! A program as bytes: fixed-width records, pools of words, strings.
//!
//! The PROGRAM section is its header, then tensors, steps, inputs, outputs, states, operands, parameters and strings,
//! each right behind the one before, to the section's end. Records name ranges of the pools; the ranges follow one
//! another without gap or overlap in the order of the records, so a program has one encoding and what a reader
//! allocates is bounded by the section's length.

use crate::bytes::{Cursor, Fault, Put, stored};
use crate::check::Item;
use crate::op::Op;
use crate::program::{DType, MAX_RANK, Port, Program, Quant, State, Step, Storage, Tensor};

/// Bytes of the section's header.
pub const PROGRAM_HEADER_BYTES: usize = 72;
/// Bytes of a tensor record.
pub const TENSOR_BYTES: usize = 56;
/// Bytes of a step record.
pub const STEP_BYTES: usize = 32;
/// Bytes of an input or output record.
pub const PORT_BYTES: usize = 16;
/// Bytes of a state record.
pub const STATE_BYTES: usize = 24;
/// The operand word of an input left out, and the initial value of a state without one.
pub const NO_OPERAND: u32 = u32::MAX;

const MAX_RECORD_BYTES: u32 = 4096;
const QUANTIZED: u8 = 1;

/// A range of a pool, handed out in order.
#[derive(Default)]
struct Pool {
    used: u32,
}

impl Pool {
    /// The next `n`, where `start` is where a record says they begin.
    fn take(&mut self, start: u32, n: u32, size: u32, what: &str) -> Result<std::ops::Range<usize>, String> {
        if start != self.used {
            return Err(format!("{what} begin at {start} where {} comes next", self.used));
        }
        let end = start.checked_add(n).filter(|&end| end <= size);
        self.used =
            end.ok_or_else(|| format!("{what} {start}..{start}+{n} go past the pool's end at {size}"))?;
        Ok(start as usize..self.used as usize)
    }
}

/// Strings gathered while records are written.
#[derive(Default)]
struct Names(Vec<u8>);

impl Names {
    fn put(&mut self, name: &str, out: &mut Vec<u8>) -> Result<(), String> {
        out.put_u32(stored(self.0.len(), "bytes of names")?);
        out.put_u32(stored(name.len(), "bytes of a name")?);
        self.0.extend_from_slice(name.as_bytes());
        Ok(())
    }
}

/// The section's bytes. The program has passed [`Program::check`].
pub(crate) fn encode(program: &Program) -> Result<Vec<u8>, String> {
    let mut records = Vec::new();
    let mut operands = Vec::new();
    let mut params = Vec::new();
    let mut names = Names(program.name.clone().into_bytes());
    for tensor in &program.tensors {
        names.put(&tensor.name, &mut records)?;
        records.push(tensor.dtype as u8);
        records.push(tensor.storage as u8);
        records.push(tensor.dims.len() as u8);
        records.push(if tensor.quant.is_some() { QUANTIZED } else { 0 });
        records.put_u32(tensor.pitch);
        records.put_u64(tensor.offset);
        for axis in 0..MAX_RANK {
            records.put_u32(tensor.dims.get(axis).copied().unwrap_or(0));
        }
        records.put_f32(tensor.quant.map_or(0.0, |q| q.scale));
        records.put_u32(tensor.quant.map_or(0, |q| q.zero_point.cast_unsigned()));
    }
    for step in &program.steps {
        let words = step.op.words();
        names.put(&step.name, &mut records)?;
        records.put_u16(step.op.code());
        records.put_u16(step.inputs.len() as u16);
        records.put_u32(stored(operands.len(), "operands")?);
        records.put_u32(stored(params.len(), "parameter words")?);
        records.put_u32(words.len() as u32);
        records.put_u32(step.output);
        records.put_u32(0);
        operands.extend(step.inputs.iter().map(|input| input.unwrap_or(NO_OPERAND)));
        params.extend(words);
    }
    for port in program.inputs.iter().chain(&program.outputs) {
        names.put(&port.name, &mut records)?;
        records.put_u32(port.tensor);
        records.put_u32(0);
    }
    for state in &program.states {
        names.put(&state.name, &mut records)?;
        records.put_u32(state.tensor);
        records.put_u32(state.initial.unwrap_or(NO_OPERAND));
        records.put_u64(0);
    }

    let mut out =
        Vec::with_capacity(PROGRAM_HEADER_BYTES + records.len() + 4 * (operands.len() + params.len()));
    out.put_u32(PROGRAM_HEADER_BYTES as u32);
    out.put_u32(stored(program.name.len(), "bytes of a name")?);
    out.put_u32(stored(program.tensors.len(), "tensors")?);
    out.put_u32(TENSOR_BYTES as u32);
    out.put_u32(stored(program.steps.len(), "steps")?);
    out.put_u32(STEP_BYTES as u32);
    out.put_u32(stored(program.inputs.len(), "inputs")?);
    out.put_u32(stored(program.outputs.len(), "outputs")?);
    out.put_u32(PORT_BYTES as u32);
    out.put_u32(stored(operands.len(), "operands")?);
    out.put_u32(stored(params.len(), "parameter words")?);
    out.put_u32(stored(names.0.len(), "bytes of names")?);
    out.put_u64(program.arena_bytes);
    out.put_u64(program.arena_lower_bound);
    out.put_u32(stored(program.states.len(), "states")?);
    out.put_u32(if program.states.is_empty() { 0 } else { STATE_BYTES as u32 });
    out.append(&mut records);
    operands.iter().chain(&params).for_each(|&word| out.put_u32(word));
    out.append(&mut names.0);
    Ok(out)
}

/// A decoded section and where its records stand in it.
pub(crate) struct Decoded {
    pub program: Program,
    header: Head,
}

impl Decoded {
    /// Offset in the section of an item's record.
    pub fn at(&self, item: Item) -> usize {
        let h = &self.header;
        let nth = |from: usize, size: u32, i: usize| from + size as usize * i;
        match item {
            Item::Program => 0,
            Item::Tensor(i) => nth(h.tensors_at, h.tensor_bytes, i),
            Item::Step(i) => nth(h.steps_at, h.step_bytes, i),
            Item::Input(i) => nth(h.ports_at, h.port_bytes, i),
            Item::Output(i) => nth(h.ports_at, h.port_bytes, h.inputs as usize + i),
            Item::State(i) => nth(h.states_at, h.state_bytes, i),
        }
    }
}

/// The section's header, with the offsets of its parts.
struct Head {
    header_bytes: u32,
    name_bytes: u32,
    tensors: u32,
    tensor_bytes: u32,
    steps: u32,
    step_bytes: u32,
    inputs: u32,
    outputs: u32,
    port_bytes: u32,
    operands: u32,
    params: u32,
    strings: u32,
    arena_bytes: u64,
    arena_lower_bound: u64,
    states: u32,
    state_bytes: u32,
    tensors_at: usize,
    steps_at: usize,
    ports_at: usize,
    states_at: usize,
    operands_at: usize,
    params_at: usize,
    strings_at: usize,
}

impl Head {
    fn get(bytes: &[u8]) -> Result<Self, Fault> {
        let mut c = Cursor::new(bytes, 0);
        let mut head = Self {
            header_bytes: c.u32()?,
            name_bytes: c.u32()?,
            tensors: c.u32()?,
            tensor_bytes: c.u32()?,
            steps: c.u32()?,
            step_bytes: c.u32()?,
            inputs: c.u32()?,
            outputs: c.u32()?,
            port_bytes: c.u32()?,
            operands: c.u32()?,
            params: c.u32()?,
            strings: c.u32()?,
            arena_bytes: c.u64()?,
            arena_lower_bound: c.u64()?,
            states: c.u32()?,
            state_bytes: c.u32()?,
            tensors_at: 0,
            steps_at: 0,
            ports_at: 0,
            states_at: 0,
            operands_at: 0,
            params_at: 0,
            strings_at: 0,
        };
        let sizes = [
            (head.header_bytes, PROGRAM_HEADER_BYTES, 0),
            (head.tensor_bytes, TENSOR_BYTES, 12),
            (head.step_bytes, STEP_BYTES, 20),
            (head.port_bytes, PORT_BYTES, 32),
        ];
        for (size, least, at) in sizes {
            if (size as usize) < least || size > MAX_RECORD_BYTES || !size.is_multiple_of(8) {
                let rule = format!("a multiple of 8 from {least} to {MAX_RECORD_BYTES}");
                return Err(Fault::new(at, format!("record size {size} is not {rule}")));
            }
        }
        // Files without states, as those of version 1.0, have zeros here.
        let least = if head.states == 0 { 0..=0 } else { STATE_BYTES as u32..=MAX_RECORD_BYTES };
        if !least.contains(&head.state_bytes) || !head.state_bytes.is_multiple_of(8) {
            let (size, states, from, to) = (head.state_bytes, head.states, least.start(), least.end());
            let rule = format!("a multiple of 8 from {from} to {to}");
            return Err(Fault::new(68, format!("record size {size} of {states} states is not {rule}")));
        }
        c.unused(head.header_bytes as usize)?;

        // Counts and sizes have 32 bits, so no product overflows 64, and no sum of eight of them 128.
        let parts: [u128; 8] = [
            u128::from(head.header_bytes),
            u128::from(head.tensors) * u128::from(head.tensor_bytes),
            u128::from(head.steps) * u128::from(head.step_bytes),
            (u128::from(head.inputs) + u128::from(head.outputs)) * u128::from(head.port_bytes),
            u128::from(head.states) * u128::from(head.state_bytes),
            u128::from(head.operands) * 4,
            u128::from(head.params) * 4,
            u128::from(head.strings),
        ];
        let total: u128 = parts.iter().sum();
        if total != bytes.len() as u128 {
            let have = bytes.len();
            return Err(Fault::new(0, format!("the section's parts take {total} bytes, it has {have}")));
        }
        // All of them fit: their sum is the length of a slice.
        let part = |i: usize| parts[i] as usize;
        head.tensors_at = part(0);
        head.steps_at = head.tensors_at + part(1);
        head.ports_at = head.steps_at + part(2);
        head.states_at = head.ports_at + part(3);
        head.operands_at = head.states_at + part(4);
        head.params_at = head.operands_at + part(5);
        head.strings_at = head.params_at + part(6);
        Ok(head)
    }
}

/// Reads the records; the program has still to pass [`Program::check`].
pub(crate) fn decode(bytes: &[u8]) -> Result<Decoded, Fault> {
    let head = Head::get(bytes)?;
    let strings = &bytes[head.strings_at..];
    let mut pools = Pools {
        strings: std::str::from_utf8(strings)
            .map_err(|e| Fault::new(head.strings_at + e.valid_up_to(), "a name that is not UTF-8"))?,
        operands: &bytes[head.operands_at..head.params_at],
        params: &bytes[head.params_at..head.strings_at],
        string_pool: Pool::default(),
        operand_pool: Pool::default(),
        param_pool: Pool::default(),
    };
    let name = pools.name(0, head.name_bytes).map_err(|what| Fault::new(4, what))?;
    let mut program = Program {
        name,
        tensors: Vec::with_capacity(head.tensors as usize),
        steps: Vec::with_capacity(head.steps as usize),
        inputs: Vec::with_capacity(head.inputs as usize),
        outputs: Vec::with_capacity(head.outputs as usize),
        states: Vec::with_capacity(head.states as usize),
        arena_bytes: head.arena_bytes,
        arena_lower_bound: head.arena_lower_bound,
    };
    for record in bytes[head.tensors_at..head.steps_at].chunks_exact(head.tensor_bytes as usize) {
        let at = head.tensors_at + program.tensors.len() * head.tensor_bytes as usize;
        program
            .tensors
            .push(pools.tensor(record).map_err(|fault| inside(at, "tensor", program.tensors.len(), fault))?);
    }
    for record in bytes[head.steps_at..head.ports_at].chunks_exact(head.step_bytes as usize) {
        let at = head.steps_at + program.steps.len() * head.step_bytes as usize;
        program
            .steps
            .push(pools.step(record).map_err(|fault| inside(at, "step", program.steps.len(), fault))?);
    }
    for (i, record) in bytes[head.ports_at..head.states_at].chunks_exact(head.port_bytes as usize).enumerate()
    {
        let at = head.ports_at + i * head.port_bytes as usize;
        let port = pools.port(record).map_err(|fault| inside(at, "input or output", i, fault))?;
        let ports = if i < head.inputs as usize { &mut program.inputs } else { &mut program.outputs };
        ports.push(port);
    }
    if head.states > 0 {
        let records = bytes[head.states_at..head.operands_at].chunks_exact(head.state_bytes as usize);
        for (i, record) in records.enumerate() {
            let at = head.states_at + i * head.state_bytes as usize;
            program.states.push(pools.state(record).map_err(|fault| inside(at, "state", i, fault))?);
        }
    }
    pools.finish().map_err(|what| Fault::new(head.operands_at, what))?;
    Ok(Decoded { program, header: head })
}

/// A fault in a record, told as one in the section.
fn inside(at: usize, what: &str, i: usize, fault: Fault) -> Fault {
    Fault::new(at + fault.at, format!("{what} {i}: {}", fault.what))
}

/// What records refer to.
struct Pools<'a> {
    strings: &'a str,
    operands: &'a [u8],
    params: &'a [u8],
    string_pool: Pool,
    operand_pool: Pool,
    param_pool: Pool,
}

impl Pools<'_> {
    fn name(&mut self, start: u32, length: u32) -> Result<String, String> {
        let size = u32::try_from(self.strings.len()).map_err(|_| "too many bytes of names")?;
        let range = self.string_pool.take(start, length, size, "bytes of the name")?;
        let name = self.strings.get(range).ok_or("the name ends inside a UTF-8 character")?;
        Ok(name.to_owned())
    }

    fn tensor(&mut self, record: &[u8]) -> Result<Tensor, Fault> {
        let mut c = Cursor::new(record, 0);
        let name = self.name(c.u32()?, c.u32()?).map_err(|what| Fault::new(0, what))?;
        let code = c.u8()?;
        let dtype = DType::from_code(code).ok_or_else(|| {
            Fault::new(8, format!("element type {code} is unknown; the file needs a newer runtime"))
        })?;
        let storage = match c.u8()? {
            1 => Storage::Arena,
            2 => Storage::Weights,
            code => {
                return Err(Fault::new(
                    9,
                    format!("storage {code} is unknown; the file needs a newer runtime"),
                ));
            }
        };
        let rank = usize::from(c.u8()?);
        if rank > MAX_RANK {
            return Err(Fault::new(10, format!("rank {rank}, {MAX_RANK} at most are possible")));
        }
        let flags = c.u8()?;
        if flags & !QUANTIZED != 0 {
            return Err(Fault::new(
                11,
                format!("flags {flags:#x} are unknown; the file needs a newer runtime"),
            ));
        }
        let pitch = c.u32()?;
        let offset = c.u64()?;
        let mut dims = Vec::with_capacity(rank);
        for _ in 0..rank {
            dims.push(c.u32()?);
        }
        c.unused(48)?;
        let quant = if flags & QUANTIZED != 0 {
            Some(Quant { scale: c.f32()?, zero_point: c.i32()? })
        } else {
            c.unused(56)?;
            None
        };
        c.unused(record.len())?;
        Ok(Tensor { name, dtype, storage, offset, dims, pitch, quant })
    }

    fn step(&mut self, record: &[u8]) -> Result<Step, Fault> {
        let mut c = Cursor::new(record, 0);
        let name = self.name(c.u32()?, c.u32()?).map_err(|what| Fault::new(0, what))?;
        let code = c.u16()?;
        let operand_count = u32::from(c.u16()?);
        let (operand_start, param_start, param_count) = (c.u32()?, c.u32()?, c.u32()?);
        let output = c.u32()?;
        c.unused(record.len())?;
        let range = self
            .operand_pool
            .take(operand_start, operand_count, words_in(self.operands), "operands")
            .map_err(|what| Fault::new(12, what))?;
        let inputs = words(self.operands, range).map(|id| (id != NO_OPERAND).then_some(id)).collect();
        let range = self
            .param_pool
            .take(param_start, param_count, words_in(self.params), "parameters")
            .map_err(|what| Fault::new(16, what))?;
        let params: Vec<u32> = words(self.params, range).collect();
        let op = Op::decode(code, &params).map_err(|e| Fault::new(8, format!("'{name}': {e}")))?;
        Ok(Step { name, op, inputs, output })
    }

    fn port(&mut self, record: &[u8]) -> Result<Port, Fault> {
        let mut c = Cursor::new(record, 0);
        let name = self.name(c.u32()?, c.u32()?).map_err(|what| Fault::new(0, what))?;
        let tensor = c.u32()?;
        c.unused(record.len())?;
        Ok(Port { name, tensor })
    }

    fn state(&mut self, record: &[u8]) -> Result<State, Fault> {
        let mut c = Cursor::new(record, 0);
        let name = self.name(c.u32()?, c.u32()?).map_err(|what| Fault::new(0, what))?;
        let (tensor, initial) = (c.u32()?, c.u32()?);
        c.unused(record.len())?;
        Ok(State { name, tensor, initial: (initial != NO_OPERAND).then_some(initial) })
    }

    /// Nothing of the pools is left over.
    fn finish(&self) -> Result<(), String> {
        let left = [
            (self.string_pool.used as usize, self.strings.len(), "bytes of names"),
            (self.operand_pool.used as usize, self.operands.len() / 4, "operands"),
            (self.param_pool.used as usize, self.params.len() / 4, "parameter words"),
        ];
        match left.iter().find(|(used, size, _)| used != size) {
            Some((used, size, what)) => Err(format!("{} {what} belong to no record", size - used)),
            None => Ok(()),
        }
    }
}

/// How many words a pool holds; pools are counted in 32 bits, so this loses nothing.
fn words_in(pool: &[u8]) -> u32 {
    (pool.len() / 4) as u32
}

fn words(pool: &[u8], range: std::ops::Range<usize>) -> impl Iterator<Item = u32> + '_ {
    pool[4 * range.start..4 * range.end].as_chunks().0.iter().map(|&word| u32::from_le_bytes(word))
}
