//! Pruned models: which products have weights that are mostly zero, and whether steps by sparse weights are faster.
//!
//! A step by sparse weights gives the bits of the dense one, so that time alone decides: of both the cycles are estimated
//! as [`crate::predict`] does, from what kernels reach on a core. For a target that core counts; without one a step is
//! sparse only where that is faster on every core whose figures are known.

use std::collections::HashMap;

use cygnet_format::op::{Algorithm, Conv, GroupKind, Op, SparseConv};
use cygnet_format::program::DType;
use cygnet_kernels::sparse::pack::{Lists, MAX_K, groups_of, kept, pack};
use cygnet_targets::Profile;

use crate::lir::{Const, Kind, Lir, Step};

/// Share of zeros from which a product is told of.
const TOLD: f64 = 0.25;

/// What a sparse step must gain, as estimates go.
const GAIN: f64 = 1.05;

/// Longest sum whose inputs, of the pixels that are done at a time, stay in a first-level cache; longer ones are slower
/// by [`FAR`].
const NEAR: usize = 1024;
const FAR: f64 = 1.5;

/// Pixels that are done at once, wherever they come from.
const LANES: usize = 8;

/// What kernels of s8 products reach on a core: multiply-accumulates per cycle, of the sparse ones those of kept groups;
/// cycles for every result; bytes of inputs copied per cycle.
#[derive(Clone, Debug, PartialEq)]
pub struct Rates {
    /// The core's name.
    pub core: String,
    /// Dense products, and windows of 3 x 3 and stride 1.
    pub dense: [f64; 2],
    /// Results of dense products.
    pub store: f64,
    /// Groups of four and of two inputs.
    pub fours: f64,
    /// See above.
    pub pairs: f64,
    /// Inputs, for each tap of the window.
    pub copy: f64,
    /// Results of sparse products.
    pub sparse_store: f64,
}

impl Rates {
    /// Those of the fastest cluster of a profile, where it says them.
    pub fn of(profile: &Profile) -> Option<Self> {
        let cluster = profile.fastest_cluster();
        let kernels = cluster.kernels.as_ref()?;
        let sparse = kernels.sparse.as_ref()?;
        Some(Self {
            core: cluster.core.clone(),
            dense: [kernels.conv_s8, kernels.conv3x3_s8],
            store: kernels.store_s8,
            fours: sparse.fours_s8,
            pairs: sparse.pairs_s8,
            copy: sparse.copy,
            sparse_store: sparse.store_s8,
        })
    }

    /// Those of every core that is known.
    fn all() -> Vec<Self> {
        let profiles = cygnet_targets::names().filter_map(|name| Profile::named(name).ok());
        let mut all: Vec<Self> = profiles.filter_map(|p| Self::of(&p)).collect();
        // Measured on Zen 5, as docs/performance.md says.
        all.push(Self {
            core: "x86-64 with AVX-512 VNNI".to_owned(),
            dense: [100.0; 2],
            store: 0.45,
            fours: 54.0,
            pairs: 20.0,
            copy: 12.0,
            sparse_store: 0.36,
        });
        all
    }

    /// Cycles of the dense step.
    fn dense(&self, s: &Shape) -> f64 {
        let rate = self.dense[usize::from(s.three)];
        (s.pixels * s.m * s.k) as f64 / rate + (s.pixels * s.m) as f64 * self.store
    }

    /// Cycles of the step by so many groups.
    pub(crate) fn sparse(&self, s: &Shape, group: GroupKind, kept: f64) -> f64 {
        let rate = match group {
            GroupKind::Fours => self.fours,
            GroupKind::Pairs => self.pairs,
        };
        let rate = if s.k > NEAR { rate / FAR } else { rate };
        let pixels = s.pixels.next_multiple_of(LANES) as f64;
        let macs = kept * group.inputs() as f64 * pixels;
        macs / rate + s.k as f64 * pixels / self.copy + (s.pixels * s.m) as f64 * self.sparse_store
    }

    /// How many times faster the sparse step is.
    fn gain(&self, s: &Shape, group: GroupKind, kept: f64) -> f64 {
        self.dense(s) / self.sparse(s, group, kept)
    }

    /// The share of groups that must be zero for the sparse step to be taken, if there is one.
    fn needed(&self, s: &Shape, group: GroupKind) -> Option<f64> {
        let of = |kept: f64| self.sparse(s, group, kept * s.groups(group) as f64);
        let wanted = self.dense(s) / GAIN;
        let per = of(1.0) - of(0.0);
        let most = (wanted - of(0.0)) / per;
        (most > 0.0).then(|| (1.0 - most).max(0.0))
    }
}

/// What times follow from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub pixels: usize,
    pub m: usize,
    pub taps: usize,
    pub depth: usize,
    /// Products of a result.
    pub k: usize,
    /// Whether the window is one that Winograd's algorithm may do.
    pub three: bool,
}

impl Shape {
    fn groups(&self, group: GroupKind) -> usize {
        self.m * self.taps * groups_of(self.depth, group.inputs())
    }
}

/// What was found of a product's weights, and what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The step.
    pub step: String,
    /// Share of weights that are zero.
    pub zeros: f64,
    /// Share of groups of four inputs, and of two, whose weights are all zero.
    pub fours: f64,
    /// See above.
    pub pairs: f64,
    /// Of every four consecutive weights at most so many are not zero: one or two.
    pub of_four: Option<usize>,
    /// Inputs of a group of the sparse step, or why it is dense.
    pub outcome: Result<GroupKind, String>,
}

/// Makes steps by sparse weights of those that are faster so, by what kernels reach on the target, and says what was
/// found. With another program of the file, `first`, its choice holds, so that both read the same weights; with `taken`
/// false nothing is changed.
pub fn choose(lir: &mut Lir, target: Option<&Rates>, taken: bool, first: Option<&Lir>) -> Vec<Finding> {
    let rates = target.map_or_else(Rates::all, |r| vec![r.clone()]);
    let before: Option<HashMap<&str, GroupKind>> = first.map(|first| {
        let sparse = first.steps.iter().filter_map(|s| match &s.kind {
            Kind::Op(Op::SparseConv(p)) => Some((s.name.as_str(), p.group)),
            _ => None,
        });
        sparse.collect()
    });
    let mut findings = Vec::new();
    for i in 0..lir.steps.len() {
        let Some(product) = Product::of(lir, &lir.steps[i]) else { continue };
        let mut finding = product.finding(&lir.steps[i].name);
        let outcome = match (&before, product.able()) {
            (_, Err(why)) => Err(why),
            _ if !taken => Err("sparse steps are switched off".to_owned()),
            (Some(before), Ok(_)) => {
                let group = before.get(lir.steps[i].name.as_str()).copied();
                group.ok_or_else(|| "it is dense in the file's first program".to_owned())
            }
            (None, Ok(weights)) => verdict(&product.shape, weights, &rates),
        };
        if let (Ok(group), Ok(weights)) = (&outcome, product.able()) {
            let s = product.shape;
            let lists = pack(weights, s.m, s.taps, s.depth, group.inputs());
            replace(lir, i, *group, lists);
        }
        finding.outcome = outcome;
        if finding.zeros >= TOLD || finding.outcome.is_ok() {
            findings.push(finding);
        }
    }
    findings
}

/// The size of group that is faster on all cores, or why none is.
fn verdict(s: &Shape, weights: &[i8], rates: &[Rates]) -> Result<GroupKind, String> {
    let tried = GroupKind::ALL.iter().map(|&group| {
        let kept = kept(weights, s.depth, group.inputs()) as f64;
        let least = rates.iter().map(|r| (r.gain(s, group, kept), r)).min_by(|a, b| a.0.total_cmp(&b.0));
        (group, kept, least)
    });
    let (group, kept, least) =
        tried.max_by(|a, b| gain(&a.2).total_cmp(&gain(&b.2))).ok_or("no group can be tried")?;
    let (gain, rates) = least.ok_or("nothing is known of what kernels reach")?;
    if gain >= GAIN {
        return Ok(group);
    }
    let zero = 100.0 * (1.0 - kept / s.groups(group) as f64);
    let inputs = group.inputs();
    Err(match rates.needed(s, group) {
        Some(needed) => format!(
            "{zero:.0} % of the groups of {inputs} are zero; on {} a sparse step wins from {:.0} % on",
            rates.core,
            (100.0 * needed).ceil()
        ),
        None => format!(
            "for {} pixels and {} channels a sparse step never wins on {}: copying inputs and storing results takes as long",
            s.pixels, s.m, rates.core
        ),
    })
}

fn gain(least: &Option<(f64, &Rates)>) -> f64 {
    least.as_ref().map_or(0.0, |l| l.0)
}

/// A product with constant weights.
struct Product<'a> {
    conv: &'a Conv,
    step: &'a Step,
    weights: &'a Const,
    /// Of input and output.
    dtypes: [DType; 2],
    shape: Shape,
}

impl<'a> Product<'a> {
    fn of(lir: &'a Lir, step: &'a Step) -> Option<Self> {
        let Kind::Op(Op::Conv(conv)) = &step.kind else { return None };
        let [x, w] = [0, 1].map(|i| step.inputs.get(i).copied().flatten().map(|id| &lir.tensors[id]));
        let (x, w, y) = (x?, w?, &lir.tensors[step.output]);
        let &[m, down, across, depth] = &w.dims[..] else { return None };
        let weights = w.constant.as_deref()?;
        let window = &conv.window;
        let three = window.kernel == [3; 2] && window.stride == [1; 2] && window.dilation == [1; 2];
        let taps = down * across;
        let shape = Shape { pixels: y.len() / m, m, taps, depth, k: taps * depth, three };
        Some(Self { conv, step, weights, dtypes: [x.dtype, y.dtype], shape })
    }

    /// The weights, where a sparse step can do the product; else why not.
    fn able(&self) -> Result<&'a [i8], String> {
        let Const::S8(weights) = self.weights else {
            let dtype = self.weights.dtype().name();
            return Err(format!("its weights are {dtype}; sparse steps are for int8"));
        };
        if self.dtypes != [DType::S8; 2] {
            return Err("its results are real numbers; those of sparse steps are int8".to_owned());
        }
        if self.conv.groups != 1 {
            return Err(format!("it has {} groups of channels; sparse steps have one", self.conv.groups));
        }
        if self.step.inputs.len() > CONV_INPUTS || self.conv.algorithm != Algorithm::Direct {
            return Err("it does more than a sparse step can".to_owned());
        }
        let longest = self.shape.taps * self.shape.depth.next_multiple_of(GroupKind::Fours.inputs());
        if longest > MAX_K {
            return Err(format!("it sums {longest} products; sparse steps at most {MAX_K}"));
        }
        if weights.contains(&i8::MIN) {
            return Err("a weight is -128; those of sparse steps are from -127 on".to_owned());
        }
        Ok(weights)
    }

    fn finding(&self, step: &str) -> Finding {
        let depth = self.shape.depth;
        // Zero or not, whatever the type.
        let set: Vec<bool> = match self.weights {
            Const::F32(v) => v.iter().map(|&w| w != 0.0).collect(),
            Const::F16(v) => v.iter().map(|&w| w.to_f32() != 0.0).collect(),
            Const::S8(v) => v.iter().map(|&w| w != 0).collect(),
            _ => Vec::new(),
        };
        let share = |group: usize| {
            let all = set.len() / depth * groups_of(depth, group);
            1.0 - kept(&set, depth, group) as f64 / all.max(1) as f64
        };
        let most = set
            .chunks_exact(depth)
            .flat_map(|tap| tap.chunks(4))
            .map(|four| four.iter().filter(|&&w| w).count())
            .max()
            .unwrap_or(0);
        let of_four = (depth.is_multiple_of(4) && (1..=2).contains(&most)).then_some(most);
        Finding {
            step: step.to_owned(),
            zeros: share(1),
            fours: share(4),
            pairs: share(2),
            of_four,
            outcome: Err(String::new()),
        }
    }
}

/// Inputs that a dense step without further meaning has.
const CONV_INPUTS: usize = 6;

/// Puts the step by sparse weights in the place of the dense one.
fn replace(lir: &mut Lir, at: usize, group: GroupKind, lists: Lists) {
    let step = lir.steps[at].clone();
    let Kind::Op(Op::Conv(conv)) = &step.kind else { return };
    let name = |what: &str| format!("{}:{what}", step.name);
    let bytes = |v: Vec<i8>| Const::Packed(v.into_iter().map(i8::cast_unsigned).collect());
    let n = lists.indices.len();
    let weights = lir.add_const(name("groups"), &[n * group.inputs()], bytes(lists.weights));
    let indices = lists.indices.iter().flat_map(|i| i.to_le_bytes()).collect();
    let indices = lir.add_const(name("numbers"), &[n * 2], Const::Packed(indices));
    let ends = lir.add_const(name("ends"), &[lists.ends.len()], Const::S32(lists.ends));
    let rest = |i: usize| step.inputs.get(i).copied().flatten();
    let mut inputs = vec![rest(0), Some(weights), Some(indices), Some(ends)];
    inputs.extend([rest(2), rest(3), rest(4), rest(5)]);
    while inputs.last() == Some(&None) {
        inputs.pop();
    }
    let op = SparseConv { window: conv.window, group, epilogue: conv.epilogue };
    lir.steps[at] = Step { kind: Kind::Op(Op::SparseConv(op)), inputs, ..step };
}
