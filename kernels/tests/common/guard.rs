//! Runs one step on every instruction set, its operands between guard pages, alone and with helpers.
//!
//! Build a [`Case`], give its inputs, and [`Case::run`] yields the output for each instruction set. On the way it
//! asserts what every kernel owes: the calling convention on a small stack ([`super::hostile`]), no access outside the operands (or [`READ_SLACK`] bytes past them, which a
//! page of no access follows), nothing written but the output's elements, the same bytes for every placement, order
//! of tiles and number of threads.

#![allow(dead_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use cygnet_format::op::Op;
use cygnet_format::program::{DType, Program, Quant, READ_SLACK, Step, Storage, Tensor, TensorId};
use cygnet_kernels::exec::Leader;
use cygnet_kernels::view::Mem;
use cygnet_kernels::{Algorithm, Arena, Cpu, Kernel, Limits, PrepareError, prepare_by};

use super::hostile::Hostile;

/// What memory holds where nothing was put: NaN as f32 and f16, and not zero as an integer.
pub const POISON: u8 = 0xFF;

/// Alignment of tensors, as the planner's.
const ALIGN: usize = 64;

/// One step with its operands' contents.
#[derive(Clone)]
pub struct Case {
    op: Op,
    tensors: Vec<Tensor>,
    /// Contents of each tensor but the output, without gaps between rows.
    contents: Vec<Vec<u8>>,
    inputs: Vec<Option<TensorId>>,
    output: Tensor,
    algorithm: Algorithm,
    /// Whether the output takes the place of the last input.
    in_place: bool,
}

/// Which end of a block of memory a page of no access touches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Guard {
    Before,
    After,
}

impl Case {
    /// A step whose output has these dimensions, rows `pitch` elements apart.
    pub fn new(op: Op, dtype: DType, dims: &[usize], pitch: usize, quant: Option<Quant>) -> Self {
        let output = tensor("y", dtype, Storage::Arena, dims, pitch, quant);
        let (tensors, contents, inputs) = (Vec::new(), Vec::new(), Vec::new());
        Self { op, tensors, contents, inputs, output, algorithm: Algorithm::Fastest, in_place: false }
    }

    /// Adds a computed input, its rows `pitch` elements apart.
    pub fn input(
        mut self,
        dtype: DType,
        dims: &[usize],
        pitch: usize,
        quant: Option<Quant>,
        bytes: Vec<u8>,
    ) -> Self {
        self.push(tensor("x", dtype, Storage::Arena, dims, pitch, quant), bytes);
        self
    }

    /// Adds a dense constant input.
    pub fn constant(mut self, dtype: DType, dims: &[usize], bytes: Vec<u8>) -> Self {
        let pitch = dims.last().copied().unwrap_or(1);
        self.push(tensor("constant", dtype, Storage::Weights, dims, pitch, None), bytes);
        self
    }

    /// The last input is not there.
    pub fn without_last(mut self) -> Self {
        *self.inputs.last_mut().expect("no input") = None;
        self
    }

    /// Leaves the next input out.
    pub fn absent(mut self) -> Self {
        self.inputs.push(None);
        self
    }

    /// Asks for an algorithm.
    pub fn by(mut self, algorithm: Algorithm) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// The output is written over the last input, which is of its layout.
    pub fn in_place(mut self) -> Self {
        self.in_place = true;
        self
    }

    fn push(&mut self, t: Tensor, bytes: Vec<u8>) {
        assert_eq!(bytes.len() as u64, t.elements() * t.dtype.size() as u64, "contents of '{}'", t.name);
        self.inputs.push(Some(self.tensors.len() as TensorId));
        self.tensors.push(t);
        self.contents.push(bytes);
    }

    fn step(&self) -> Step {
        let output = self.tensors.len() as TensorId;
        Step { name: "step".into(), op: self.op, inputs: self.inputs.clone(), output }
    }

    /// Gives every tensor its place; the lengths of arena and weights. `output_last`: whether the output comes after
    /// the inputs. With [`Guard::After`] blocks and their slack fill whole multiples of [`ALIGN`].
    fn place(&self, output_last: bool, guard: Guard) -> (Vec<Tensor>, usize, usize) {
        let mut tensors = self.tensors.clone();
        tensors.push(self.output.clone());
        let mut order: Vec<usize> = (0..tensors.len()).collect();
        if !output_last {
            order.rotate_right(1);
        }
        let mut lengths = [0; 2];
        for (length, storage) in lengths.iter_mut().zip([Storage::Arena, Storage::Weights]) {
            let mut end = 0;
            let placed = |i: usize| !(self.in_place && i == self.tensors.len());
            let mine: Vec<_> =
                order.iter().copied().filter(|&i| tensors[i].storage == storage && placed(i)).collect();
            for &i in &mine {
                // An input's slack is clear of the output.
                tensors[i].offset =
                    if end == 0 { 0 } else { (end + READ_SLACK).next_multiple_of(ALIGN) } as u64;
                end = (tensors[i].offset + tensors[i].extent()) as usize;
            }
            if guard == Guard::After {
                // Tensors move up to the end, in whole elements of any type, but for packed weights.
                let shift = (end + READ_SLACK).next_multiple_of(ALIGN) - (end + READ_SLACK);
                for &i in &mine {
                    let t = &mut tensors[i];
                    if t.dtype != DType::Packed {
                        t.offset += (shift / t.dtype.size() * t.dtype.size()) as u64;
                    }
                }
                end += shift;
            }
            *length = end;
        }
        if let (true, [.., last, output]) = (self.in_place, &mut tensors[..]) {
            output.offset = last.offset;
        }
        (tensors, lengths[0], lengths[1])
    }

    /// What preparing the step for `cpu` says.
    pub fn prepared(&self, cpu: Cpu) -> Result<Box<dyn Kernel>, PrepareError> {
        let (tensors, arena_bytes, weights_bytes) = self.place(true, Guard::Before);
        let mut weights = vec![POISON; weights_bytes + READ_SLACK];
        self.fill(&tensors, Storage::Weights, &mut weights);
        self.prepare(&tensors, &Limits { arena_bytes, weights: &weights }, cpu)
    }

    fn prepare(
        &self,
        tensors: &[Tensor],
        limits: &Limits<'_>,
        cpu: Cpu,
    ) -> Result<Box<dyn Kernel>, PrepareError> {
        prepare_by(&self.step(), tensors, limits, cpu, self.algorithm)
    }

    /// Puts the contents of the tensors of a storage in their places.
    fn fill(&self, tensors: &[Tensor], storage: Storage, to: &mut [u8]) {
        for (t, bytes) in tensors.iter().zip(&self.contents).filter(|(t, _)| t.storage == storage) {
            let (row, pitch) = (t.cols() as usize * t.dtype.size(), t.pitch as usize * t.dtype.size());
            for (i, bytes) in bytes.chunks_exact(row).enumerate() {
                to[t.offset as usize + i * pitch..][..row].copy_from_slice(bytes);
            }
        }
    }

    /// Runs the step everywhere: for each instruction set its name, the kernel's, and the output without gaps.
    pub fn run(&self) -> Vec<(&'static str, &'static str, Vec<u8>)> {
        Cpu::runnable().into_iter().map(|(isa, cpu)| self.run_on(isa, cpu)).collect()
    }

    /// Runs the step on one instruction set.
    pub fn run_on(&self, isa: &'static str, cpu: Cpu) -> (&'static str, &'static str, Vec<u8>) {
        let mut results = Vec::new();
        let mut name = "";
        for (output_last, guard) in [(true, Guard::After), (false, Guard::After), (true, Guard::Before)] {
            let (tensors, arena_bytes, weights_bytes) = self.place(output_last, guard);
            let mut arena = Guarded::new(arena_bytes + READ_SLACK, guard);
            let mut weights = Guarded::new(weights_bytes + READ_SLACK, guard);
            self.fill(&tensors, Storage::Arena, arena.bytes_mut());
            self.fill(&tensors, Storage::Weights, weights.bytes_mut());
            let before = arena.bytes().to_vec();
            let limits = Limits { arena_bytes, weights: weights.bytes() };
            let kernel = self.prepare(&tensors, &limits, cpu).unwrap_or_else(|e| panic!("{isa}: {e}"));
            name = kernel.name();
            let mut scratch = Guarded::new(kernel.scratch().max(1).next_multiple_of(ALIGN), guard);
            let mem = Mem {
                arena: arena.bytes_mut().as_mut_ptr(),
                weights: weights.bytes().as_ptr(),
                scratch: scratch.bytes_mut().as_mut_ptr(),
            };
            let mut hostile = Hostile::new();
            for tile in (0..kernel.tiles()).rev() {
                // SAFETY: prepared against this memory; one thread; each tile once.
                unsafe { hostile.run_tile(&*kernel, &mem, tile) };
            }
            results.push(self.harvest(&tensors, &before, arena.bytes(), name));
        }
        if worth_threads() {
            results.push(self.run_with_threads(cpu, name));
            if self.algorithm == Algorithm::Fastest {
                results.push(self.run_with_helpers(cpu, name));
            }
        }
        for result in &results[1..] {
            assert!(*result == results[0], "{name} ({isa}) depends on placement, order of tiles or threads");
        }
        (isa, name, results.swap_remove(0))
    }

    /// Tiles taken by three threads, each with scratch of its own.
    fn run_with_threads(&self, cpu: Cpu, name: &str) -> Vec<u8> {
        let (tensors, arena_bytes, weights_bytes) = self.place(true, Guard::Before);
        let mut arena = Arena::new(arena_bytes + READ_SLACK).unwrap();
        let mut weights = Arena::new(weights_bytes + READ_SLACK).unwrap();
        arena.bytes_mut().fill(POISON);
        self.fill(&tensors, Storage::Arena, arena.bytes_mut());
        self.fill(&tensors, Storage::Weights, weights.bytes_mut());
        let before = arena.bytes().to_vec();
        let kernel = self.prepare(&tensors, &Limits { arena_bytes, weights: weights.bytes() }, cpu).unwrap();
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let scratch = Arena::new(kernel.scratch()).unwrap();
                    let mem =
                        Mem { arena: arena.as_ptr(), weights: weights.as_ptr(), scratch: scratch.as_ptr() };
                    loop {
                        let tile = next.fetch_add(1, Ordering::Relaxed);
                        if tile >= kernel.tiles() {
                            break;
                        }
                        // SAFETY: prepared against this memory; no other thread has the tile.
                        unsafe { kernel.run_tile(&mem, tile) };
                    }
                });
            }
        });
        self.harvest(&tensors, &before, arena.bytes(), name)
    }

    /// Two runs of an executor with two helpers.
    fn run_with_helpers(&self, cpu: Cpu, name: &str) -> Vec<u8> {
        let (tensors, arena_bytes, weights_bytes) = self.place(true, Guard::Before);
        let mut weights = Arena::new(weights_bytes + READ_SLACK).unwrap();
        self.fill(&tensors, Storage::Weights, weights.bytes_mut());
        let program = Program {
            tensors: tensors.clone(),
            steps: vec![self.step()],
            arena_bytes: arena_bytes as u64,
            ..Program::default()
        };
        let mut leader = Leader::new(&program, Arc::new(weights), cpu, 3).unwrap();
        let mut results: Vec<Vec<u8>> = Vec::new();
        for _ in 0..2 {
            leader.arena_mut().fill(POISON);
            self.fill(&tensors, Storage::Arena, leader.arena_mut());
            let before = leader.arena().to_vec();
            let helpers = [leader.helper(), leader.helper()];
            let stop = AtomicBool::new(false);
            std::thread::scope(|scope| {
                for helper in &helpers {
                    scope.spawn(|| {
                        while !stop.load(Ordering::Acquire) {
                            helper.assist();
                            std::thread::yield_now();
                        }
                    });
                }
                leader.run().unwrap();
                stop.store(true, Ordering::Release);
            });
            results.push(self.harvest(&tensors, &before, leader.arena(), name));
        }
        assert!(results[0] == results[1], "{name} gives other results in a second run");
        results.swap_remove(0)
    }

    /// The output's elements; asserts that nothing else changed.
    fn harvest(&self, tensors: &[Tensor], before: &[u8], after: &[u8], name: &str) -> Vec<u8> {
        let t = &tensors[tensors.len() - 1];
        let (row, pitch) = (t.cols() as usize * t.dtype.size(), t.pitch as usize * t.dtype.size());
        let mut out = Vec::with_capacity(t.rows() as usize * row);
        let mut rest = after.to_vec();
        for i in 0..t.rows() as usize {
            let at = t.offset as usize + i * pitch;
            out.extend_from_slice(&after[at..at + row]);
            rest[at..at + row].copy_from_slice(&before[at..at + row]);
        }
        if let Some(i) = rest.iter().zip(before).position(|(a, b)| a != b) {
            panic!("{name} wrote to byte {i} of the arena; its output starts at {}", t.offset);
        }
        out
    }
}

/// Whether this case shall be done by threads too: on Arm, which tests meet emulated, one in sixteen: QEMU 7.2
/// keeps memory of every thread that ever ran, which came to gigabytes.
fn worth_threads() -> bool {
    static CASES: AtomicUsize = AtomicUsize::new(0);
    !cfg!(target_arch = "aarch64") || CASES.fetch_add(1, Ordering::Relaxed).is_multiple_of(16)
}

fn tensor(
    name: &str,
    dtype: DType,
    storage: Storage,
    dims: &[usize],
    pitch: usize,
    quant: Option<Quant>,
) -> Tensor {
    let dims = dims.iter().map(|&d| u32::try_from(d).unwrap()).collect();
    Tensor { name: name.into(), dtype, storage, offset: 0, dims, pitch: u32::try_from(pitch).unwrap(), quant }
}

/// Little-endian bytes of elements.
pub fn le<T: Copy, const N: usize>(values: &[T], to: impl Fn(T) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(|&v| to(v)).collect()
}

/// Bytes of s8 elements.
pub fn le_s8(values: &[i8]) -> Vec<u8> {
    le(values, i8::to_le_bytes)
}

/// Bytes of s32 elements.
pub fn le_s32(values: &[i32]) -> Vec<u8> {
    le(values, i32::to_le_bytes)
}

/// Bytes of f32 elements.
pub fn le_f32(values: &[f32]) -> Vec<u8> {
    le(values, f32::to_le_bytes)
}

/// Bytes of f16 elements.
pub fn le_f16(values: &[half::f16]) -> Vec<u8> {
    le(values, half::f16::to_le_bytes)
}

/// f32 elements of bytes.
pub fn f32s(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect()
}

/// s8 elements of bytes.
pub fn s8s(bytes: &[u8]) -> Vec<i8> {
    bytes.iter().map(|&b| b.cast_signed()).collect()
}

/// f16 elements of bytes.
pub fn f16s(bytes: &[u8]) -> Vec<half::f16> {
    bytes.as_chunks().0.iter().map(|&b| half::f16::from_le_bytes(b)).collect()
}

/// Poisoned memory with a page of no access right before or right after it.
pub struct Guarded {
    #[cfg(unix)]
    map: *mut u8,
    #[cfg(unix)]
    map_len: usize,
    #[cfg(not(unix))]
    owner: Vec<u8>,
    start: *mut u8,
    len: usize,
}

#[cfg(unix)]
impl Guarded {
    pub fn new(len: usize, guard: Guard) -> Self {
        // SAFETY: asks for a number.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
        let inner = len.max(1).next_multiple_of(page);
        let map_len = inner + 2 * page;
        // SAFETY: a fresh private mapping; its middle is made accessible; both results are checked.
        let map = unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let map = libc::mmap(std::ptr::null_mut(), map_len, libc::PROT_NONE, flags, -1, 0);
            assert_ne!(map, libc::MAP_FAILED);
            let middle = map.cast::<u8>().add(page);
            assert_eq!(libc::mprotect(middle.cast(), inner, libc::PROT_READ | libc::PROT_WRITE), 0);
            std::ptr::write_bytes(middle, POISON, inner);
            map.cast::<u8>()
        };
        let skip = if guard == Guard::After { inner - len } else { 0 };
        // SAFETY: inside the mapping.
        let start = unsafe { map.add(page + skip) };
        Self { map, map_len, start, len }
    }
}

#[cfg(unix)]
impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: mapped in `new`.
        unsafe { libc::munmap(self.map.cast(), self.map_len) };
    }
}

#[cfg(not(unix))]
impl Guarded {
    pub fn new(len: usize, _: Guard) -> Self {
        let mut owner = vec![POISON; len + ALIGN];
        let skip = owner.as_ptr().align_offset(ALIGN);
        let start = owner[skip..].as_mut_ptr();
        Self { owner, start, len }
    }
}

impl Guarded {
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: initialized memory of the mapping.
        unsafe { std::slice::from_raw_parts(self.start, self.len) }
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.len) }
    }
}
