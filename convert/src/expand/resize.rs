//! `Resize` of integers, of any axes and ranks, by the step that resizes the last two of four dimensions of reals.

use super::Rule;
use super::make::{Done, Made, Make};
use crate::error::ImportError;
use crate::graph::{Attr, Data, ElemType, Tensor, ValueId};

pub(super) const RULES: &[(&str, Rule)] = &[("Resize", resize)];

fn resize(m: &mut Make<'_, '_>) -> Done {
    let x = m.input(0)?;
    // Inference says what is wrong with shapes that are computed.
    if [2, 3].iter().filter_map(|&i| m.opt(i)).any(|v| m.known(v).is_none()) {
        return Ok(false);
    }
    let elem = m.elem(x);
    let nearest = m.node.str("mode", "nearest") == "nearest";
    let asked = Asked::of(m, x)?;
    if (elem.is_float() || nearest && elem == ElemType::I8) && asked.is_step {
        return Ok(false);
    }
    // Nearest elements are copied, so any type of as many bits will do. Other modes compute in float32 and drop what is
    // behind the point, as ONNX Runtime does.
    let (whole, through) = match elem {
        e if e.is_float() => (e, e),
        _ if !nearest => (elem, ElemType::F32),
        ElemType::I8 | ElemType::U8 | ElemType::Bool => (elem, ElemType::I8),
        _ => (ElemType::I32, ElemType::F32),
    };
    let bits = nearest && !elem.is_float();
    let mut y = m.cast(x, whole)?;
    y = if bits { bit_cast(m, y, through)? } else { m.cast(y, through)? };
    y = if asked.is_step { asked.step(m, y)? } else { asked.by_axes(m, y)? };
    y = if bits { bit_cast(m, y, whole)? } else { y };
    if !bits && !elem.is_float() {
        // Weights sum to one but for rounding: what is whole stays so.
        y = m.times(y, 1.0 + 1.0 / f64::from(1 << 20))?;
    }
    let y = m.cast(y, elem)?;
    m.done(y)
}

/// The same bits as another type.
fn bit_cast(m: &mut Make<'_, '_>, v: ValueId, to: ElemType) -> Made {
    if m.elem(v) == to {
        return Ok(v);
    }
    m.op_with("BitCast", &[v], &[("to", Attr::Int(i64::from(crate::onnx::elem_number(to))))])
}

/// What a node asks for, axis by axis.
struct Asked {
    /// Axes whose size changes, with the scale or size that the node gives.
    axes: Vec<(usize, Extent)>,
    /// Whether the step does it as it is.
    is_step: bool,
}

#[derive(Clone, Copy)]
enum Extent {
    Scale(f32),
    Size(i64),
}

impl Asked {
    fn of(m: &Make<'_, '_>, x: ValueId) -> Result<Self, ImportError> {
        let dims = m.dims(x);
        let rank = dims.len();
        let scales = m.known_input(2)?.map(Tensor::to_f32).filter(|s| !s.is_empty());
        let sizes = m.ints(3)?.filter(|s| !s.is_empty());
        let axes = match m.node.ints("axes") {
            None => (0..rank).collect(),
            Some(list) => {
                let axes = list.iter().map(|&a| crate::infer::axis(a, rank));
                axes.collect::<Result<Vec<_>, _>>().or_else(|e| m.fail(e))?
            }
        };
        let extents: Vec<Extent> = match (scales, sizes) {
            (Some(scales), _) => scales.into_iter().map(Extent::Scale).collect(),
            (None, Some(sizes)) => sizes.into_iter().map(Extent::Size).collect(),
            (None, None) => return m.fail("needs scales or sizes"),
        };
        let same = |&(a, extent): &(usize, Extent)| match extent {
            Extent::Scale(s) => s == 1.0,
            Extent::Size(s) => usize::try_from(s) == Ok(dims[a]),
        };
        let changed: Vec<_> = axes.into_iter().zip(extents).filter(|e| !same(e)).collect();
        let is_step = (3..=4).contains(&rank) && changed.iter().all(|&(a, _)| a >= 2);
        Ok(Self { axes: changed, is_step })
    }

    /// The node itself, over a value of a type that the step takes.
    fn step(&self, m: &mut Make<'_, '_>, x: ValueId) -> Made {
        let inputs = [Some(x), m.opt(1), m.opt(2), m.opt(3)];
        let attrs = m.node.attrs.clone();
        let attrs: Vec<_> = attrs.iter().map(|(k, v)| (k.as_str(), v.clone())).collect();
        m.op_opt("Resize", &inputs, &attrs)
    }

    /// Two axes after two axes, brought to the end of `[1, others, a, b]`: all modes go axis by axis.
    fn by_axes(&self, m: &mut Make<'_, '_>, x: ValueId) -> Made {
        if m.node.str("keep_aspect_ratio_policy", "stretch") != "stretch" {
            return m.fail(format!(
                "keeps the aspect ratio while it resizes axes {:?} of rank {}; give it scales",
                self.axes.iter().map(|a| a.0).collect::<Vec<_>>(),
                m.rank(x)
            ));
        }
        let mut y = x;
        for pair in self.axes.chunks(2) {
            y = resize_last(m, y, pair)?;
        }
        Ok(y)
    }
}

fn resize_last(m: &mut Make<'_, '_>, x: ValueId, axes: &[(usize, Extent)]) -> Made {
    let rank = m.rank(x);
    let mut order: Vec<usize> = (0..rank).filter(|d| axes.iter().all(|a| a.0 != *d)).collect();
    order.extend(axes.iter().map(|a| a.0));
    let ahead = m.transpose(x, &order)?;
    let outer = m.dims(ahead);
    let (others, last) = outer.split_at(rank - axes.len());
    let mut flat = vec![1, others.iter().product()];
    flat.extend(last);
    let flat = m.reshape(ahead, &flat)?;
    let (mut scales, mut sizes) = (None, None);
    let all = |pick: fn(Extent) -> Option<f64>| axes.iter().map(|a| pick(a.1)).collect::<Option<Vec<_>>>();
    if let Some(values) = all(|e| if let Extent::Scale(s) = e { Some(f64::from(s)) } else { None }) {
        let values: Vec<f32> = values.into_iter().map(|v| v as f32).collect();
        scales = Some(m.constant(Tensor::new(vec![axes.len()], Data::F32(values))));
    }
    if let Some(values) = all(|e| if let Extent::Size(s) = e { Some(s as f64) } else { None }) {
        sizes = Some(m.list(&values.into_iter().map(|v| v as i64).collect::<Vec<_>>()));
    }
    let mut attrs = m.node.attrs.clone();
    attrs.insert("axes".to_owned(), Attr::Ints((2..2 + axes.len() as i64).collect()));
    let attrs: Vec<_> = attrs.iter().map(|(k, v)| (k.as_str(), v.clone())).collect();
    let y = m.op_opt("Resize", &[Some(flat), None, scales, sizes], &attrs)?;
    let mut whole = others.to_vec();
    whole.extend(&m.dims(y)[2..]);
    let y = m.reshape(y, &whole)?;
    let mut back = vec![0; rank];
    for (at, &d) in order.iter().enumerate() {
        back[d] = at;
    }
    m.transpose(y, &back)
}
