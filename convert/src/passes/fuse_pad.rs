//! Zero padding taken into the window of the convolution or pooling behind it.

use super::rewrite::{Index, uniform};
use crate::graph::{Attr, Graph};
use crate::infer::{Ctx, pads_of};

/// Takes a `Pad` that feeds node `i` into its `pads`: zeros for `Conv` and for `AveragePool` that counts its
/// padding. `MaxPool` pads with minus infinity, so only such a `Pad` would be the same.
pub fn fuse_pad(graph: &mut Graph, index: &Index, i: usize) -> bool {
    let n = &graph.nodes[i];
    let own = n.ints("pads").map(<[i64]>::to_vec);
    let fill = match n.op.as_str() {
        "Conv" => 0.0,
        "AveragePool" if n.int("ceil_mode", 0) == 0 => 0.0,
        "MaxPool" => f32::NEG_INFINITY,
        _ => return false,
    };
    let Some(pad) = n.input(0).and_then(|x| index.made_by(graph, x, "Pad")) else { return false };
    let (Some(source), Some(mut own)) = (pad.input(0), own) else { return false };
    let value = match pad.input(2) {
        Some(v) => uniform(graph, v),
        None => Some(0.0),
    };
    let Ok(pads) = pads_of(&Ctx { graph, node: pad }) else { return false };
    let spatial = own.len() / 2;
    // An average over its own, uncounted padding cannot also have a counted one.
    let average = n.op == "AveragePool";
    let clash = average && n.int("count_include_pad", 0) == 0 && own.iter().any(|&p| p != 0);
    let fits = pad.str("mode", "constant") == "constant"
        && value == Some(fill)
        && pads.len() == spatial + 2
        && pads.iter().all(|&(a, b)| a >= 0 && b >= 0)
        && pads[..2].iter().all(|&p| p == (0, 0))
        && !clash;
    if !fits {
        return false;
    }
    for (k, &(before, after)) in pads[2..].iter().enumerate() {
        own[k] += before;
        own[k + spatial] += after;
    }
    let n = &mut graph.nodes[i];
    n.inputs[0] = Some(source);
    n.attrs.insert("pads".to_owned(), Attr::Ints(own));
    if average {
        n.attrs.insert("count_include_pad".to_owned(), Attr::Int(1));
    }
    true
}
