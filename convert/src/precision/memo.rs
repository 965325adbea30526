//! Weights quantized once. A search tries a model in many precisions, and most weights are the same in all of them.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::weights::Quantized;
use crate::lir::{Channels, Const, Met};

/// What a quantization follows from.
#[derive(Clone)]
pub(super) struct Origin {
    pub(super) weights: Arc<Const>,
    /// Real biases are none of the quantization's business.
    pub(super) bias: Option<Arc<Const>>,
    pub(super) scale: f32,
    pub(super) channels: Option<Arc<Channels>>,
    pub(super) met: Option<Arc<Met>>,
}

/// Where each part of an origin lies, and the bits of the scale.
type Key = ([usize; 4], u32);

impl Origin {
    fn key(&self) -> Key {
        let parts = [
            Arc::as_ptr(&self.weights).addr(),
            self.bias.as_ref().map_or(0, |p| Arc::as_ptr(p).addr()),
            self.channels.as_ref().map_or(0, |p| Arc::as_ptr(p).addr()),
            self.met.as_ref().map_or(0, |p| Arc::as_ptr(p).addr()),
        ];
        (parts, self.scale.to_bits())
    }
}

/// Quantized weights by their origins, shared by all copies of a graph.
#[derive(Clone, Default)]
pub struct Memo(Arc<Mutex<HashMap<Key, Known>>>);

/// The origin is kept, so that nothing else comes to lie where its parts do.
struct Known {
    _origin: Origin,
    quantized: Arc<Quantized>,
}

impl fmt::Debug for Memo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Memo")
    }
}

impl Memo {
    /// What was found for this origin before, or else what `quantize` finds now.
    pub(super) fn get(&self, origin: Origin, quantize: impl FnOnce() -> Quantized) -> Arc<Quantized> {
        let key = origin.key();
        if let Some(known) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Arc::clone(&known.quantized);
        }
        let quantized = Arc::new(quantize());
        let known = Known { _origin: origin, quantized: Arc::clone(&quantized) };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, known);
        quantized
    }
}
