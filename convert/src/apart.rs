//! How far integer steps of a model that comes quantized are from what the source says: each, fed with exactly what the
//! source's operators give it, beside Dequantize, the float operator and Quantize.

use cygnet::format::Array;
use cygnet::{Model, Session, SessionOptions};

use crate::graph::Graph;
use crate::pipeline::{ConvertError, file_of, prepare};
use crate::precision::{Plan, given};
use crate::ranges::{Range, quantize};
use crate::sensitivity::{Twins, original, parts, run, twin};

/// One integer step beside what the source means.
#[derive(Clone, Debug, PartialEq)]
pub struct Apart {
    /// Name of the step.
    pub name: String,
    /// Results compared.
    pub compared: u64,
    /// Results that differ.
    pub unequal: u64,
    /// The greatest difference, in units of the last place.
    pub most: u32,
}

/// Compares each integer step of a graph over samples.
///
/// # Errors
/// When the graph cannot be lowered, or a sample cannot be run.
pub fn apart(graph: &Graph, samples: &[Vec<Array>]) -> Result<Vec<Apart>, ConvertError> {
    let lir = prepare(graph)?;
    let plan = Plan::float(lir.steps.len()).with_given(given(&lir));
    let chosen: Vec<usize> = (0..lir.steps.len()).filter(|&i| plan.given.step(i)).collect();
    let ranges: Vec<Option<Range>> = vec![None; lir.tensors.len()];
    let mut found = Vec::new();
    for part in parts(&lir, &chosen) {
        let twins = Twins::new(&lir, &plan, &ranges, &part);
        // Winograd's algorithm in f32 rounds as no source does.
        let file = file_of(&twins.lir, &twins.plan, &twins.ranges, "steps", false)?;
        let mut session = Session::new(&Model::from_bytes(&file)?, &SessionOptions::default())?;
        let first = found.len();
        let name = |&i: &usize| Apart { name: lir.steps[i].name.clone(), compared: 0, unequal: 0, most: 0 };
        found.extend(part.iter().map(name));
        for sample in samples {
            run(&mut session, sample)?;
            for (step, &i) in found[first..].iter_mut().zip(&part) {
                let Some(quant) = plan.given.quant(lir.steps[i].output) else { continue };
                let [a, b] = [original(i), twin(i)].map(|name| session.output(&name).map(|t| t.to_f32()));
                for (a, b) in a?.into_iter().zip(b?) {
                    let [a, b] = [a, b].map(|v| i32::from(quantize(v, quant)));
                    step.compared += 1;
                    step.unequal += u64::from(a != b);
                    step.most = step.most.max(a.abs_diff(b));
                }
            }
        }
    }
    Ok(found)
}
