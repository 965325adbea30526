//! What a session keeps from run to run.

use cygnet_format::golden::Array;
use cygnet_format::program::{State, Storage, Tensor};

use crate::error::Error;
use crate::session::Session;
use crate::tensor::TensorRef;

/// States are named tensors that a run finds as the run before left them, as the hidden state of a recurrent network
/// or the last frames of a streaming one. A session begins with their initial values.
impl Session {
    /// The program's states: name and tensor.
    pub fn states(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        let program = self.program();
        program.states.iter().map(|s| (s.name.as_str(), &program.tensors[s.tensor as usize]))
    }

    /// Puts every state back to its initial value, as for the next of several streams.
    pub fn reset(&mut self) {
        let program = self.program_arc();
        let weights = self.weights_arc();
        for state in &program.states {
            let to = &mut self.arena_mut()[range(&program.tensors[state.tensor as usize])];
            match state.initial {
                Some(id) => to.copy_from_slice(&weights.bytes()[range(&program.tensors[id as usize])]),
                None => to.fill(0),
            }
        }
    }

    /// A state: its initial value, or what was set or the last run left.
    ///
    /// # Errors
    /// When there is no such state.
    pub fn state(&self, name: &str) -> Result<TensorRef<'_>, Error> {
        Ok(self.view(&self.program().tensors[self.find_state(name)?.tensor as usize]))
    }

    /// Sets a state to `value`, of exactly its type and shape.
    ///
    /// # Errors
    /// When there is no such state, or the value does not suit it.
    pub fn set_state(&mut self, name: &str, value: TensorRef<'_>) -> Result<(), Error> {
        let t = &self.program().tensors[self.find_state(name)?.tensor as usize];
        if value.dims != t.dims {
            return Err(Error::Shape {
                name: name.to_owned(),
                want: t.dims.clone(),
                got: value.dims.to_vec(),
            });
        }
        if value.dtype != t.dtype {
            return Err(Error::Type { name: name.to_owned(), want: t.dtype, got: value.dtype });
        }
        if !value.is_dense() {
            let (dims, got) = (value.dims.to_vec(), value.bytes.len());
            return Err(Error::Size { name: name.to_owned(), dims, dtype: value.dtype, got });
        }
        let range = range(t);
        self.arena_mut()[range].copy_from_slice(value.bytes);
        Ok(())
    }

    /// All states as they are, to be restored into this or another session of the same program.
    pub fn save_states(&self) -> Vec<Array> {
        let copy = |(name, t): (&str, &Tensor)| Array {
            name: name.to_owned(),
            dtype: t.dtype,
            dims: t.dims.clone(),
            bytes: self.view(t).bytes.to_vec(),
        };
        self.states().map(copy).collect()
    }

    /// Sets the states that are named; others keep what they hold.
    ///
    /// # Errors
    /// When an array is of no state, or does not suit it; those before it are set then.
    pub fn restore_states(&mut self, saved: &[Array]) -> Result<(), Error> {
        saved
            .iter()
            .try_for_each(|a| self.set_state(&a.name, TensorRef::from_bytes(a.dtype, &a.bytes, &a.dims)))
    }

    fn find_state(&self, name: &str) -> Result<&State, Error> {
        let states = &self.program().states;
        states.iter().find(|s| s.name == name).ok_or_else(|| {
            let have = states.iter().map(|s| s.name.clone()).collect();
            Error::NoTensor { what: "state", wanted: name.to_owned(), have }
        })
    }
}

/// The bytes of a dense tensor in its storage.
fn range(t: &Tensor) -> std::ops::Range<usize> {
    debug_assert!(u64::from(t.pitch) == t.cols() && matches!(t.storage, Storage::Arena | Storage::Weights));
    t.offset as usize..(t.offset + t.extent()) as usize
}
