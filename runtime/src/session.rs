//! A program with its memory and threads, ready to run any number of times.

use std::sync::Arc;

use bytemuck::cast_slice;
use cygnet_format::program::{DType, Port, Program, Quant, Storage, Tensor};
use cygnet_kernels::exec::{ExecError, Helper, Leader, Weights};
use cygnet_kernels::{Cpu, Kernel, Pages};
use half::f16;

use crate::error::Error;
use crate::model::Model;
use crate::pool::{Pool, PoolOptions};
use crate::profile::Profile;
use crate::tensor::{Element, TensorRef};

/// Which of a file's programs to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Select {
    /// The first.
    #[default]
    First,
    /// By position.
    Index(usize),
    /// By name.
    Name(String),
    /// The first whose inputs of these names have these dimensions.
    Shapes(Vec<(String, Vec<u32>)>),
}

/// How a session is made.
#[derive(Clone, Default)]
pub struct SessionOptions {
    /// Threads that work on a run, the calling one included. By default [`PoolOptions::threads`]'s, or those of `pool`.
    pub threads: Option<usize>,
    /// See [`PoolOptions::cores`]; of no effect when `pool` is given.
    pub cores: Option<Vec<usize>>,
    /// The processor to choose kernels for; by default [`Cpu::from_env`].
    pub cpu: Option<Cpu>,
    /// The program.
    pub program: Select,
    /// Workers to share with other sessions; by default the session has its own.
    pub pool: Option<Arc<Pool>>,
    /// The pages of the arena and of scratch; see [`OpenOptions::pages`](crate::OpenOptions::pages) for the weights.
    pub pages: Pages,
}

/// A prepared program. Making one takes all memory and does all decisions; running takes none and does none.
///
/// An input's memory may be used again while running, so every input has to be set before every run, except
/// where [`Session::keeps_input`] says so. Outputs are there from the end of a run until an input is set. States persist
/// from run to run: see [`Session::states`].
pub struct Session {
    // Declared before `leader`: fields are dropped in order, and workers should be gone first.
    pool: Option<Arc<Pool>>,
    model: Model,
    program: Arc<Program>,
    leader: Leader,
    helper: Helper,
    weights: Arc<dyn Weights>,
    cpu: Cpu,
    threads: usize,
    /// For each input: whether no step writes over it, and whether it is set now.
    keeps: Vec<bool>,
    set: Vec<bool>,
    has_results: bool,
}

impl Session {
    /// Prepares a program of `model`: proves and resolves every step, takes the arena, starts the threads.
    ///
    /// # Errors
    /// Names the step that cannot be run, or what is wrong with the options.
    pub fn new(model: &Model, options: &SessionOptions) -> Result<Self, Error> {
        let program = select(model, &options.program)?;
        let _span =
            tracing::info_span!("prepare", program = program.name, steps = program.steps.len()).entered();
        let cpu = options.cpu.map_or_else(Cpu::from_env, Ok)?;
        let weights = model.weights();
        let pool = match &options.pool {
            Some(pool) => Arc::clone(pool),
            None => {
                Arc::new(Pool::new(&PoolOptions { threads: options.threads, cores: options.cores.clone() })?)
            }
        };
        let threads = match options.threads {
            Some(0) => return Err(Error::Threads(0)),
            Some(n) => n.min(pool.threads()),
            None => pool.threads(),
        };
        let leader = Leader::of_pages(&program, Arc::clone(&weights), cpu, threads, options.pages)
            .map_err(|source| Error::Prepare { program: program.name.clone(), source })?;
        let parallel = threads > 1 && leader.is_parallel();
        let keeps: Vec<bool> = program.inputs.iter().map(|port| is_kept(&program, port)).collect();
        let set = vec![false; keeps.len()];
        let mut session = Self {
            pool: parallel.then_some(pool),
            model: model.clone(),
            helper: leader.helper(),
            program,
            leader,
            weights,
            cpu,
            threads,
            keeps,
            set,
            has_results: false,
        };
        session.reset();
        Ok(session)
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The program.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The processor that kernels were chosen for.
    pub fn cpu(&self) -> Cpu {
        self.cpu
    }

    /// Threads that work on a run, the calling one included.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Bytes of the arena: all that running takes beside the mapped weights and [`Session::scratch_bytes`].
    pub fn arena_bytes(&self) -> usize {
        self.leader.arena().len()
    }

    /// Bytes of scratch of all threads, at most [`MAX_SCRATCH`](cygnet_kernels::kernel::MAX_SCRATCH) for each.
    pub fn scratch_bytes(&self) -> usize {
        self.leader.scratch_bytes()
    }

    /// The prepared steps, in the order in which they run: names, tiles, multiply-accumulates.
    pub fn implementations(&self) -> impl Iterator<Item = &dyn Kernel> {
        self.leader.kernels().iter().map(|kernel| &**kernel)
    }

    /// The program's inputs: name and tensor.
    pub fn inputs(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.program.inputs.iter().map(|port| (port.name.as_str(), self.tensor_of(port)))
    }

    /// The program's outputs: name and tensor.
    pub fn outputs(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.program.outputs.iter().map(|port| (port.name.as_str(), self.tensor_of(port)))
    }

    /// Whether the input keeps its value over a run, so that it has to be set only once.
    ///
    /// # Errors
    /// When there is no such input.
    pub fn keeps_input(&self, name: &str) -> Result<bool, Error> {
        Ok(self.keeps[self.input_index(name)?])
    }

    /// The elements of an input, to fill in place. All of them count as set by this.
    ///
    /// # Errors
    /// When there is no such input or it is of another type.
    pub fn input_mut<T: Element>(&mut self, name: &str) -> Result<&mut [T], Error> {
        let want = self.tensor_of(&self.program.inputs[self.input_index(name)?]).dtype;
        if want != T::DTYPE {
            return Err(Error::Type { name: name.to_owned(), want, got: T::DTYPE });
        }
        let bytes = self.input_bytes_mut(name)?;
        // Tensors lie at multiples of their element size in an aligned arena: proved with the program.
        Ok(bytemuck::cast_slice_mut(bytes))
    }

    /// The bytes of an input, to fill in place: dense, little endian.
    ///
    /// # Errors
    /// When there is no such input.
    pub fn input_bytes_mut(&mut self, name: &str) -> Result<&mut [u8], Error> {
        let index = self.input_index(name)?;
        self.set[index] = true;
        self.has_results = false;
        let t = self.tensor_of(&self.program.inputs[index]);
        let range = t.offset as usize..(t.offset + t.extent()) as usize;
        Ok(&mut self.leader.arena_mut()[range])
    }

    /// Sets an input to `value`, of exactly its shape.
    ///
    /// The types must be the same, with two exceptions: 64-bit integers for a 32-bit input are converted, if all
    /// fit; f32 numbers for a quantized s8 input are quantized by `round(x / scale) + zero_point`, to the
    /// nearest even, saturating.
    ///
    /// # Errors
    /// When there is no such input, or the value does not suit it.
    pub fn set_input(&mut self, name: &str, value: TensorRef<'_>) -> Result<(), Error> {
        let index = self.input_index(name)?;
        let t = self.tensor_of(&self.program.inputs[index]);
        if value.dims != t.dims {
            return Err(Error::Shape {
                name: name.to_owned(),
                want: t.dims.clone(),
                got: value.dims.to_vec(),
            });
        }
        if !value.is_dense() {
            let (dims, got) = (value.dims.to_vec(), value.bytes.len());
            return Err(Error::Size { name: name.to_owned(), dims, dtype: value.dtype, got });
        }
        match (t.dtype, value.dtype, t.quant) {
            (want, got, _) if want == got => self.input_bytes_mut(name)?.copy_from_slice(value.bytes),
            (DType::S32, DType::S64, _) => {
                let values = || value.bytes.as_chunks().0.iter().map(|&b| i64::from_le_bytes(b));
                if let Some((index, value)) = values().enumerate().find(|(_, v)| i32::try_from(*v).is_err()) {
                    return Err(Error::Range { name: name.to_owned(), index, value });
                }
                for (to, from) in self.input_mut::<i32>(name)?.iter_mut().zip(values()) {
                    *to = from as i32;
                }
            }
            (DType::S8, DType::F32, Some(Quant { scale, zero_point })) => {
                let values = value.bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b));
                for (to, x) in self.input_mut::<i8>(name)?.iter_mut().zip(values) {
                    *to = ((x / scale).round_ties_even() + zero_point as f32).clamp(-128.0, 127.0) as i8;
                }
            }
            (want, got, _) => return Err(Error::Type { name: name.to_owned(), want, got }),
        }
        Ok(())
    }

    /// Looks for NaN and infinities in the floating-point inputs that are set.
    ///
    /// Running is defined for them too; this finds bad data early. It reads every input once.
    ///
    /// # Errors
    /// Names the first such element of the first such input.
    pub fn check_finite(&self) -> Result<(), Error> {
        let arena = self.leader.arena();
        for (port, _) in self.program.inputs.iter().zip(&self.set).filter(|(_, set)| **set) {
            let t = self.tensor_of(port);
            let bytes = &arena[t.offset as usize..(t.offset + t.extent()) as usize];
            let found = match t.dtype {
                DType::F32 => first_odd(cast_slice::<_, f32>(bytes).iter().copied()),
                DType::F16 => first_odd(cast_slice::<_, f16>(bytes).iter().map(|v| v.to_f32())),
                _ => None,
            };
            if let Some((index, value)) = found {
                return Err(Error::NotFinite { name: port.name.clone(), index, value });
            }
        }
        Ok(())
    }

    /// Runs the program: no allocation, no system call but to wake or await threads.
    ///
    /// # Errors
    /// When an input is not set, or a kernel panicked in this or an earlier run.
    pub fn run(&mut self) -> Result<(), Error> {
        let _span = tracing::info_span!("run").entered();
        #[cfg(feature = "trace-steps")]
        return self.go(|leader, program| leader.run_observed(&mut crate::profile::Tracer(program)));
        #[cfg(not(feature = "trace-steps"))]
        self.go(|leader, _| leader.run())
    }

    /// Runs the program and adds the time of each step to `profile`, made by [`Profile::new`] from this session.
    ///
    /// # Errors
    /// As [`Session::run`]; also when the profile is of another program.
    pub fn run_profiled(&mut self, profile: &mut Profile) -> Result<(), Error> {
        if profile.steps().len() != self.program.steps.len() {
            return Err(Error::Profile);
        }
        self.go(|leader, _| profile.observe(leader))
    }

    /// Runs the program and shows its memory in between: `look` is called with the number of steps done, from none to
    /// all. A tensor is there from the step that computes it to the last one that reads it.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub fn run_looking(&mut self, look: &mut dyn FnMut(usize, &Memory<'_>)) -> Result<(), Error> {
        let weights = Arc::clone(&self.weights);
        self.go(|leader, program| {
            leader.run_looking(&mut |done, arena| {
                look(done, &Memory { program, arena, weights: weights.bytes() });
            })
        })
    }

    fn go(&mut self, run: impl FnOnce(&mut Leader, &Program) -> Result<(), ExecError>) -> Result<(), Error> {
        if self.set.contains(&false) {
            let unset = self.program.inputs.iter().zip(&self.set).filter(|(_, set)| !**set);
            return Err(Error::NotSet(unset.map(|(port, _)| port.name.clone()).collect()));
        }
        if let Some(pool) = &self.pool {
            pool.offer(&self.helper, self.threads - 1);
        }
        self.has_results = false;
        run(&mut self.leader, &self.program).map_err(Error::Run)?;
        self.has_results = true;
        self.set.copy_from_slice(&self.keeps);
        Ok(())
    }

    /// An output of the last run: dense.
    ///
    /// # Errors
    /// When there is no such output, or no run since an input was set.
    pub fn output(&self, name: &str) -> Result<TensorRef<'_>, Error> {
        let port = self.program.outputs.iter().find(|port| port.name == name);
        let Some(port) = port else {
            let have = self.program.outputs.iter().map(|port| port.name.clone()).collect();
            return Err(Error::NoTensor { what: "output", wanted: name.to_owned(), have });
        };
        if !self.has_results {
            return Err(Error::NoResults);
        }
        Ok(self.view(self.tensor_of(port)))
    }

    /// A tensor of the program by its position, as the last run left it: of use when the program was planned to
    /// keep all tensors (for calibration and comparison), since otherwise later ones take its place. It may be
    /// pitched: see [`TensorRef::rows`].
    ///
    /// # Errors
    /// When there is no such tensor, or no run since an input was set.
    pub fn tensor(&self, index: usize) -> Result<TensorRef<'_>, Error> {
        let Some(t) = self.program.tensors.get(index) else {
            return Err(Error::NoTensor { what: "tensor", wanted: index.to_string(), have: Vec::new() });
        };
        if t.storage == Storage::Arena && !self.has_results {
            return Err(Error::NoResults);
        }
        Ok(self.view(t))
    }

    pub(crate) fn program_arc(&self) -> Arc<Program> {
        Arc::clone(&self.program)
    }

    pub(crate) fn weights_arc(&self) -> Arc<dyn Weights> {
        Arc::clone(&self.weights)
    }

    pub(crate) fn arena_mut(&mut self) -> &mut [u8] {
        self.leader.arena_mut()
    }

    pub(crate) fn view<'a>(&'a self, t: &'a Tensor) -> TensorRef<'a> {
        match t.storage {
            Storage::Arena => TensorRef::of(t, self.leader.arena()),
            Storage::Weights => TensorRef::of(t, self.weights.bytes()),
        }
    }

    fn tensor_of(&self, port: &Port) -> &Tensor {
        &self.program.tensors[port.tensor as usize]
    }

    fn input_index(&self, name: &str) -> Result<usize, Error> {
        self.program.inputs.iter().position(|port| port.name == name).ok_or_else(|| self.no_input(name))
    }

    pub(crate) fn no_input(&self, name: &str) -> Error {
        let have = self.program.inputs.iter().map(|port| port.name.clone()).collect();
        Error::NoTensor { what: "input", wanted: name.to_owned(), have }
    }
}

/// What a session holds between two steps.
pub struct Memory<'a> {
    program: &'a Program,
    arena: &'a [u8],
    weights: &'a [u8],
}

impl Memory<'_> {
    /// A tensor of the program by its position; `None` when there is none. See [`Session::run_looking`].
    pub fn tensor(&self, index: usize) -> Option<TensorRef<'_>> {
        let t = self.program.tensors.get(index)?;
        Some(match t.storage {
            Storage::Arena => TensorRef::of(t, self.arena),
            Storage::Weights => TensorRef::of(t, self.weights),
        })
    }
}

fn select(model: &Model, wanted: &Select) -> Result<Arc<Program>, Error> {
    let programs = model.programs();
    let found = match wanted {
        Select::First => programs.first(),
        Select::Index(i) => programs.get(*i),
        Select::Name(name) => programs.iter().find(|p| p.name == *name),
        Select::Shapes(given) => {
            programs.iter().find(|p| given.iter().all(|(name, dims)| takes(p, name, dims)))
        }
    };
    found.cloned().ok_or_else(|| Error::NoProgram {
        wanted: match wanted {
            Select::First => "0".to_owned(),
            Select::Index(i) => i.to_string(),
            Select::Name(name) => name.clone(),
            Select::Shapes(given) => {
                let by_x = |dims: &[u32]| dims.iter().map(u32::to_string).collect::<Vec<_>>().join("x");
                given
                    .iter()
                    .map(|(name, dims)| format!("{name}={}", by_x(dims)))
                    .collect::<Vec<_>>()
                    .join(",")
            }
        },
        have: programs.iter().map(|p| p.name.clone()).collect(),
    })
}

/// Whether a program has no input of this name, or one of these dimensions.
fn takes(program: &Program, name: &str, dims: &[u32]) -> bool {
    let port = program.inputs.iter().find(|port| port.name == name);
    port.is_none_or(|port| program.tensors[port.tensor as usize].dims == dims)
}

/// Whether no step writes where the input is.
fn is_kept(program: &Program, port: &Port) -> bool {
    let range = |id: u32| {
        let t = &program.tensors[id as usize];
        t.offset..t.offset + t.extent()
    };
    let own = range(port.tensor);
    program.steps.iter().all(|step| {
        let written = range(step.output);
        written.end <= own.start || own.end <= written.start
    })
}

fn first_odd(values: impl Iterator<Item = f32>) -> Option<(usize, f32)> {
    values.enumerate().find(|(_, v)| !v.is_finite())
}
