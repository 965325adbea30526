//! Equal constants and equal computations kept once.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use super::rewrite::{redirect, sweep};
use crate::graph::{Attr, Data, Graph, Node, Tensor, ValueId, absorb};
use crate::with_data;

/// Makes nodes that read equal constants read one of them, and users of equal nodes use the first; returns whether
/// anything changed.
pub fn share(graph: &mut Graph) -> bool {
    let constants = share_constants(graph);
    share_nodes(graph) || constants
}

/// The bits of an element, so that -0.0 differs from 0.0 and NaN equals itself.
trait Bits {
    fn bits(&self) -> u64;
}

macro_rules! bits {
    ($($t:ty => |$x:ident| $e:expr),* $(,)?) => { $(impl Bits for $t { fn bits(&self) -> u64 { let $x = self; $e } })* };
}
bits! {
    f32 => |x| u64::from(x.to_bits()), f64 => |x| x.to_bits(),
    half::f16 => |x| u64::from(x.to_bits()), half::bf16 => |x| u64::from(x.to_bits()),
    i8 => |x| *x as u64, u8 => |x| u64::from(*x), i16 => |x| *x as u64, u16 => |x| u64::from(*x),
    i32 => |x| *x as u64, u32 => |x| u64::from(*x), i64 => |x| *x as u64, u64 => |x| *x, bool => |x| u64::from(*x),
}

fn digest(t: &Tensor) -> u64 {
    let mut h = DefaultHasher::new();
    (t.elem(), &t.dims).hash(&mut h);
    with_data!(&t.data, v => v.iter().for_each(|x| h.write_u64(x.bits())));
    h.finish()
}

fn equal(a: &Tensor, b: &Tensor) -> bool {
    macro_rules! same {
        ($($v:ident),*) => {
            match (&a.data, &b.data) {
                $((Data::$v(x), Data::$v(y)) => x.iter().map(Bits::bits).eq(y.iter().map(Bits::bits)),)*
                _ => false,
            }
        };
    }
    a.dims == b.dims && same!(F32, F16, BF16, F64, I8, U8, I16, U16, I32, U32, I64, U64, Bool)
}

fn share_constants(graph: &mut Graph) -> bool {
    let mut first: HashMap<u64, Vec<ValueId>> = HashMap::new();
    let mut to: HashMap<ValueId, ValueId> = HashMap::new();
    let mut seen = std::collections::HashSet::new();
    for &id in graph.nodes.iter().flat_map(|n| n.inputs.iter().flatten()) {
        let Some(t) = graph.constant(id).filter(|_| seen.insert(id)) else { continue };
        let same = first.entry(digest(t)).or_default();
        match same.iter().find(|&&s| graph.constant(s).is_some_and(|s| equal(s, t))) {
            Some(&s) => {
                to.insert(id, s);
            }
            None => same.push(id),
        }
    }
    for input in graph.nodes.iter_mut().flat_map(|n| &mut n.inputs).flatten() {
        if let Some(&s) = to.get(input) {
            *input = s;
        }
    }
    !to.is_empty()
}

fn share_nodes(graph: &mut Graph) -> bool {
    let mut first: HashMap<String, usize> = HashMap::new();
    let mut changed = false;
    for i in 0..graph.nodes.len() {
        let n = &graph.nodes[i];
        let Some(&j) = key(n).as_ref().and_then(|k| first.get(k)) else {
            first.extend(key(n).map(|k| (k, i)));
            continue;
        };
        let kept = graph.nodes[j].outputs.clone();
        let gone = graph.nodes[i].outputs.clone();
        let possible = kept.len() == gone.len()
            && kept.iter().zip(&gone).all(|(k, g)| match (k, g) {
                (Some(_), Some(g)) => !graph.is_result(*g),
                (k, g) => k == g,
            });
        if !possible {
            continue;
        }
        for (k, g) in kept.iter().zip(&gone) {
            if let (Some(k), Some(g)) = (k, g) {
                redirect(graph, *g, *k);
            }
        }
        let own = std::mem::take(&mut graph.nodes[i].sources);
        absorb(&mut graph.nodes[j].sources, &own);
        super::rewrite::kill(graph, i);
        changed = true;
    }
    sweep(graph);
    graph.lost.clear();
    changed
}

/// What makes two nodes equal; `None` for a node that holds a tensor or draws random numbers.
fn key(n: &Node) -> Option<String> {
    let plain = !n.attrs.values().any(|a| matches!(a, Attr::Tensor(_)));
    (plain && !n.op.starts_with("Random") && !n.outputs.is_empty())
        .then(|| format!("{} {:?} {:?}", n.op, n.inputs, n.attrs))
}
