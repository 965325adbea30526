//! Activations that exporters spell out as products: Swish, HardSwish, GELU, Mish; and HardSigmoid.

use super::rewrite::{Index, node, output, scalar_and_other};
use crate::graph::{Attr, Graph, ValueId};

/// Recognizes the product (or quotient by a constant) `i` as an activation.
pub fn fuse_activation(graph: &mut Graph, index: &Index, i: usize) -> bool {
    let n = &graph.nodes[i];
    let Some(y) = output(n).filter(|&y| matches!(n.op.as_str(), "Mul" | "Div") && graph.elem(y).is_float())
    else {
        return false;
    };
    let name = n.name.clone();
    let product = Product::of(graph, index, i);
    let scale = product.scale;
    let found = match *product.factors.as_slice() {
        [a, b] => gate(graph, index, scale, a, b)
            .map(|f| (f, a))
            .or_else(|| gate(graph, index, scale, b, a).map(|f| (f, b))),
        [a] => ramp(graph, index, a).filter(|&(_, top)| near(scale * top, 1.0)).map(|(x, _)| {
            let attrs = vec![("alpha", Attr::Float(1.0 / 6.0)), ("beta", Attr::Float(0.5))];
            (("HardSigmoid", attrs), x)
        }),
        _ => None,
    };
    let Some(((op, attrs), x)) = found else { return false };
    if graph.dims(x) != graph.dims(y) {
        return false;
    }
    graph.nodes[i] = node(op, &name, &[x], y, &attrs);
    true
}

type Activation = (&'static str, Vec<(&'static str, Attr)>);

/// What `scale * x * g` is.
fn gate(graph: &Graph, index: &Index, scale: f32, x: ValueId, g: ValueId) -> Option<Activation> {
    let by = |op| index.made_by(graph, g, op);
    if near(scale, 1.0) {
        if let Some(s) = by("Sigmoid") {
            // By another slope, as of CLIP's "quick GELU", it stays a product: no step has that one.
            return (s.input(0) == Some(x)).then(|| ("Swish", vec![]));
        }
        if let Some(h) = by("HardSigmoid") {
            let same = h.input(0) == Some(x);
            let standard = near(h.float("alpha", 0.2), 1.0 / 6.0) && near(h.float("beta", 0.5), 0.5);
            return (same && standard).then(|| ("HardSwish", vec![]));
        }
        if let Some(t) = by("Tanh") {
            let soft = index.made_by(graph, t.input(0)?, "Softplus")?;
            return (soft.input(0) == Some(x)).then(|| ("Mish", vec![]));
        }
    }
    if ramp(graph, index, g).is_some_and(|(of, top)| of == x && near(scale * top, 1.0)) {
        return Some(("HardSwish", vec![]));
    }
    if near(scale, 0.5) {
        let (_, inner) = scalar_and_other(graph, by("Add")?).filter(|&(c, _)| c == 1.0)?;
        if let Some(erf) = index.made_by(graph, inner, "Erf") {
            let u = Product::value(graph, index, erf.input(0)?);
            let exact = u.factors == [x] && near(u.scale, std::f32::consts::FRAC_1_SQRT_2);
            return exact.then(|| ("Gelu", vec![("approximate", Attr::Str("none".to_owned()))]));
        }
        let tanh = index.made_by(graph, inner, "Tanh")?;
        return tanh_argument(graph, index, x, tanh.input(0)?)
            .then(|| ("Gelu", vec![("approximate", Attr::Str("tanh".to_owned()))]));
    }
    None
}

/// Whether `u` is `sqrt(2/pi) * (x + 0.044715 x^3)`, or `sqrt(2/pi) * x * (1 + 0.044715 x^2)`.
fn tanh_argument(graph: &Graph, index: &Index, x: ValueId, u: ValueId) -> bool {
    let u = Product::value(graph, index, u);
    if !near(u.scale, (2.0 / std::f32::consts::PI).sqrt()) {
        return false;
    }
    let sum = |id: ValueId| index.made_by(graph, id, "Add").and_then(|n| n.input(0).zip(n.input(1)));
    let cubic = |id: ValueId, power: usize| {
        let p = Product::value(graph, index, id);
        let powers: usize = p.factors.iter().map(|&f| power_of(graph, index, x, f).unwrap_or(9)).sum();
        near(p.scale, 0.044_715) && powers == power
    };
    let one = |id: ValueId| graph.constant(id).and_then(|t| t.scalar_f32()) == Some(1.0);
    match *u.factors.as_slice() {
        [s] => sum(s).is_some_and(|(a, b)| (a == x && cubic(b, 3)) || (b == x && cubic(a, 3))),
        [a, b] => {
            let polynomial = if a == x { b } else { a };
            (a == x || b == x)
                && sum(polynomial).is_some_and(|(p, q)| (one(p) && cubic(q, 2)) || (one(q) && cubic(p, 2)))
        }
        _ => false,
    }
}

/// `k` when `id` is `x^k`.
fn power_of(graph: &Graph, index: &Index, x: ValueId, id: ValueId) -> Option<usize> {
    if id == x {
        return Some(1);
    }
    if let Some(pow) = index.made_by(graph, id, "Pow") {
        let exponent = graph.constant(pow.input(1)?)?.scalar_f32()?;
        return (pow.input(0) == Some(x) && exponent == 3.0).then_some(3);
    }
    let m = index.made_by(graph, id, "Mul")?;
    (m.input(0) == Some(x) && m.input(1) == Some(x)).then_some(2)
}

/// `x` and the scale when `id` is the scale times `clamp(x / 6 + 1/2, 0, 1)`: `min(max(x + 3, 0), 6)` and its multiples.
fn ramp(graph: &Graph, index: &Index, id: ValueId) -> Option<(ValueId, f32)> {
    let clip = index.made_by(graph, id, "Clip")?;
    let limit = |i: usize| clip.input(i).and_then(|l| graph.constant(l)).and_then(|t| t.scalar_f32());
    let top = limit(2).filter(|&top| limit(1) == Some(0.0) && top > 0.0 && top.is_finite())?;
    let (shift, sloped) = scalar_and_other(graph, index.made_by(graph, clip.input(0)?, "Add")?)?;
    let slope = Product::value(graph, index, sloped);
    let [x] = *slope.factors.as_slice() else { return None };
    (near(slope.scale / top, 1.0 / 6.0) && near(shift / top, 0.5)).then_some((x, top))
}

/// Whether `a` is `b`, as f32 arithmetic leaves it. What a stay in half precision leaves is another function: its results
/// differ by a thousandth of their size.
fn near(a: f32, b: f32) -> bool {
    (a - b).abs() <= 1e-5 * b.abs()
}

/// A tree of multiplications: a constant times values.
struct Product {
    scale: f32,
    factors: Vec<ValueId>,
}

impl Product {
    /// The product that node `i` computes; nodes whose result nobody else sees are opened up.
    fn of(graph: &Graph, index: &Index, i: usize) -> Self {
        let mut p = Self { scale: 1.0, factors: Vec::new() };
        p.open(graph, index, i, 4);
        p
    }

    /// The product that computes `id`, which is `id` itself when no multiplication does.
    fn value(graph: &Graph, index: &Index, id: ValueId) -> Self {
        let mut p = Self { scale: 1.0, factors: Vec::new() };
        match index.producer(id) {
            Some(i) if index.sole_user(id).is_some() => p.open(graph, index, i, 4),
            _ => p.factors.push(id),
        }
        p
    }

    fn open(&mut self, graph: &Graph, index: &Index, i: usize, depth: usize) {
        let n = &graph.nodes[i];
        let scalar = |id: ValueId| graph.constant(id).and_then(|t| t.scalar_f32());
        match (n.op.as_str(), n.input(0), n.input(1)) {
            ("Div", Some(a), Some(b)) if scalar(b).is_some_and(|s| s != 0.0) => {
                self.scale /= scalar(b).unwrap_or(1.0);
                self.factor(graph, index, a, depth);
            }
            ("Mul", Some(a), Some(b)) => {
                for id in [a, b] {
                    match scalar(id) {
                        Some(s) => self.scale *= s,
                        None => self.factor(graph, index, id, depth),
                    }
                }
            }
            _ => self.factors.extend(output(n)),
        }
    }

    fn factor(&mut self, graph: &Graph, index: &Index, id: ValueId, depth: usize) {
        match index.producer(id) {
            Some(i) if depth > 0 && index.sole_user(id).is_some() => self.open(graph, index, i, depth - 1),
            _ => self.factors.push(id),
        }
    }
}
