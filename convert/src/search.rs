//! Which steps run in int8 and which stay higher: by what each costs, under a budget.
//!
//! The whole model is tried in int8 first. Where it errs by more than is accepted, runs of steps are tried alone, the rest
//! in float, and halved where they cost much: few trials find the layers that matter. Those are then raised, those
//! first that cost most for the work that int8 saves, until the model as a whole is accepted. Everything is decided by
//! exact comparisons of the same arithmetic, so the same samples give the same answer on every machine.

use cygnet::format::Array;
use cygnet::{Model, Session, SessionOptions};
use cygnet_format::program::DType;

use crate::judge::Judge;
use crate::lir::{Kind, Lir};
use crate::pipeline::{ConvertError, Progress, file_of};
use crate::precision::{Plan, has_real, is_product};
use crate::predict::Device;
use crate::ranges::Range;
use crate::sensitivity::outputs;

/// What the search is to keep to.
#[derive(Clone, Debug)]
pub struct Budget {
    /// Greatest error of the outputs, in units of what the judge accepts; infinite where only the others count.
    pub error: f64,
    /// Greatest size of the weights, in bytes.
    pub bytes: Option<u64>,
    /// Greatest predicted time of a run on the device, in seconds.
    pub seconds: Option<f64>,
    /// The device that times are predicted for.
    pub device: Option<Device>,
}

impl Default for Budget {
    fn default() -> Self {
        Self { error: 1.0, bytes: None, seconds: None, device: None }
    }
}

/// A product with the steps that follow it: what is raised together.
#[derive(Clone, Debug)]
pub struct Group {
    /// The product's name.
    pub name: String,
    /// Its int8 steps.
    pub steps: Vec<usize>,
    /// Multiply-accumulates.
    pub macs: u64,
    /// Elements of its constant weights.
    pub weights: u64,
    /// Error at the outputs when it alone is in int8, in units of what is accepted.
    pub cost: f64,
    /// Whether the cost was measured by itself; else it is its share of that of a run of steps.
    pub measured: bool,
    /// How it is computed.
    pub level: Level,
}

/// How a group is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// In int8.
    Int8,
    /// The product in int8, its results and what follows as real numbers.
    Real,
    /// All of it higher.
    High,
}

/// What the search has found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The plan.
    pub plan: Plan,
    /// All groups.
    pub groups: Vec<Group>,
    /// Error of the whole model with every group in int8.
    pub whole: f64,
    /// Error of the model as it was chosen.
    pub error: f64,
    /// Trials that it took.
    pub trials: usize,
    /// What errors are, for people.
    pub measure: String,
}

/// The groups of a plan, costs unknown.
pub fn groups(lir: &Lir, plan: &Plan) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (i, step) in lir.steps.iter().enumerate().filter(|&(i, _)| plan.types[i] == DType::S8) {
        if is_product(step) && groups.last().is_none_or(|g| g.macs > 0) || groups.is_empty() {
            groups.push(Group {
                name: step.name.clone(),
                steps: Vec::new(),
                macs: 0,
                weights: 0,
                cost: 0.0,
                measured: false,
                level: Level::Int8,
            });
        }
        let Some(group) = groups.last_mut() else { continue };
        if is_product(step) {
            group.name.clone_from(&step.name);
        }
        group.steps.push(i);
        group.macs += lir.macs(step);
        if matches!(step.kind, Kind::Op(_)) && is_product(step) {
            let constant = step.inputs[1].filter(|&w| lir.tensors[w].constant.is_some());
            group.weights += constant.map_or(0, |w| lir.tensors[w].len() as u64);
        }
    }
    groups
}

/// Most trials of single runs of steps.
const TRIALS: usize = 32;

/// Samples that runs of steps are tried on: those that the whole model in int8 does worst on.
const HARDEST: usize = 2;

/// What each step loses with these ranges, in dB.
pub type Measure<'a> =
    dyn Fn(&[Option<Range>], &mut dyn Progress) -> Result<Vec<Option<f32>>, ConvertError> + 'a;

/// What is known of the model: its graph and scales, samples, and what the float model says to them.
pub struct Bench<'a> {
    /// The lowered graph.
    pub lir: &'a Lir,
    /// All that can be in int8.
    pub plan: &'a Plan,
    /// Ranges that are taken.
    pub ranges: Vec<Option<Range>>,
    /// Samples.
    pub samples: Vec<Vec<Array>>,
    /// Outputs of the float model, of each sample.
    pub float: Vec<Vec<Array>>,
    /// What counts as an error.
    pub judge: &'a dyn Judge,
    /// Whether f32 convolutions may be Winograd's.
    pub winograd: bool,
    /// Type of what is raised: f32 or f16.
    pub higher: DType,
    trials: usize,
}

impl<'a> Bench<'a> {
    /// Runs the float model over the samples, and keeps `most` of them, first those that tell something.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn new(
        (lir, plan, ranges): (&'a Lir, &'a Plan, Vec<Option<Range>>),
        (samples, most): (Vec<Vec<Array>>, usize),
        judge: &'a dyn Judge,
        (winograd, higher): (bool, DType),
        progress: &mut dyn Progress,
    ) -> Result<Self, ConvertError> {
        let mut bench = Self {
            lir,
            plan,
            ranges,
            samples: Vec::new(),
            float: Vec::new(),
            judge,
            winograd,
            higher,
            trials: 0,
        };
        progress.stage("running the float model", Some(samples.len()));
        let mut session = bench.session(&Plan::float(lir.steps.len()))?;
        let mut quiet = Vec::new();
        for sample in samples {
            let float = outputs(&mut session, &sample)?;
            if !judge.tells(&float) {
                quiet.push((sample, float));
            } else if bench.samples.len() < most {
                bench.samples.push(sample);
                bench.float.push(float);
            }
            progress.advance();
        }
        quiet.truncate(most - bench.samples.len());
        for (sample, float) in quiet {
            bench.samples.push(sample);
            bench.float.push(float);
        }
        Ok(bench)
    }

    fn session(&self, plan: &Plan) -> Result<Session, ConvertError> {
        let file = file_of(self.lir, plan, &self.ranges, "trial", self.winograd)?;
        Ok(Session::new(&Model::from_bytes(&file)?, &SessionOptions::default())?)
    }

    /// The plan in which groups are computed as their levels say.
    fn plan_of(&self, groups: &[Group]) -> Plan {
        let mut plan = self.plan.clone();
        for group in groups.iter().filter(|g| g.level != Level::Int8) {
            for &step in &group.steps {
                plan.real[step] = group.level == Level::Real && has_real(self.lir, &self.lir.steps[step]);
                if !plan.real[step] {
                    plan.types[step] = self.higher;
                }
            }
        }
        plan
    }

    /// The errors of a plan on some of the samples.
    fn errors(&mut self, plan: &Plan, which: &[usize]) -> Result<Vec<f64>, ConvertError> {
        self.trials += 1;
        let mut session = self.session(plan)?;
        let one = |&i: &usize| {
            let low = outputs(&mut session, &self.samples[i])?;
            self.judge.error(&self.float[i], &low).map_err(ConvertError::Judge)
        };
        which.iter().map(one).collect()
    }

    /// The error of a plan that the samples let expect of others.
    fn error(&mut self, plan: &Plan, which: &[usize]) -> Result<f64, ConvertError> {
        let errors = self.errors(plan, which)?;
        Ok(self.judge.pool().expected(&errors))
    }

    /// Measures what each group costs: a run of groups alone in int8, halved where it costs more than `fine`.
    /// What a run of groups costs is shared among them by `noise`, the power that each adds locally.
    fn costs(
        &mut self,
        groups: &mut [Group],
        (noise, fine): (&[f64], f64),
        which: &[usize],
        progress: &mut dyn Progress,
    ) -> Result<(), ConvertError> {
        progress.stage("finding the layers that cost most", Some(TRIALS));
        // Runs of groups by their cost, the costliest split next; ties by place.
        let mut runs = vec![(f64::INFINITY, 0..groups.len())];
        let first = self.trials;
        while self.trials - first < TRIALS {
            let splits = |(cost, run): &&(f64, std::ops::Range<usize>)| run.len() > 1 && *cost > fine;
            let worst =
                runs.iter().filter(splits).max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.start.cmp(&a.1.start)));
            let Some((_, run)) = worst.cloned() else { break };
            runs.retain(|(_, r)| *r != run);
            let middle = run.start + run.len() / 2;
            for half in [run.start..middle, middle..run.end] {
                for (i, group) in groups.iter_mut().enumerate() {
                    group.level = if half.contains(&i) { Level::Int8 } else { Level::High };
                }
                let errors = self.errors(&self.plan_of(groups), which)?;
                let cost = self.judge.pool().of(&errors);
                progress.advance();
                runs.push((cost, half));
            }
        }
        groups.iter_mut().for_each(|g| g.level = Level::Int8);
        for (cost, run) in runs {
            let all: f64 = run.clone().map(|i| noise[i]).sum();
            for i in run.clone() {
                let share = if all > 0.0 { noise[i] / all } else { 1.0 / run.len() as f64 };
                groups[i].cost = cost.min(f64::MAX) * share.sqrt();
                groups[i].measured = run.len() == 1;
            }
        }
        Ok(())
    }

    /// Searches a plan within the budget. `measure` is [`crate::sensitivity::local`] of the whole plan in int8.
    ///
    /// # Errors
    /// When a trial fails, or no plan keeps to the budget.
    pub fn search(
        &mut self,
        budget: &Budget,
        measure: &Measure<'_>,
        progress: &mut dyn Progress,
    ) -> Result<Found, ConvertError> {
        let mut groups = groups(self.lir, self.plan);
        let all: Vec<usize> = (0..self.samples.len()).collect();
        progress.stage("trying the whole model in int8", None);
        let errors = self.errors(self.plan, &all)?;
        let whole = self.judge.pool().expected(&errors);
        let mut error = whole;
        let noise = local_noise(&groups, &measure(&self.ranges, progress)?);
        if whole > budget.error && !groups.is_empty() {
            let mut hardest = all.clone();
            hardest.sort_by(|&a, &b| errors[b].total_cmp(&errors[a]).then(a.cmp(&b)));
            hardest.truncate(HARDEST);
            self.costs(&mut groups, (&noise, budget.error / 4.0), &hardest, progress)?;
            error = self.raise(&mut groups, budget.error, &all, progress)?;
        } else {
            let total: f64 = noise.iter().sum();
            for (group, n) in groups.iter_mut().zip(&noise) {
                group.cost = if total > 0.0 { whole * (n / total).sqrt() } else { 0.0 };
            }
        }
        if self.fit(budget, &mut groups)? {
            error = self.error(&self.plan_of(&groups), &all)?;
        }
        let plan = self.plan_of(&groups);
        let (trials, measure) = (self.trials, self.judge.measure());
        Ok(Found { plan, groups, whole, error, trials, measure })
    }

    /// Raises groups until the error is within the budget, then lowers those again that it can do without. Returns the
    /// error reached.
    fn raise(
        &mut self,
        groups: &mut [Group],
        budget: f64,
        all: &[usize],
        progress: &mut dyn Progress,
    ) -> Result<f64, ConvertError> {
        let order = by_cost(groups);
        progress.stage("choosing each layer's precision", None);
        let (int8, high) = (vec![Level::Int8; groups.len()], vec![Level::High; groups.len()]);
        let gentle = self.gentle(groups);
        let mut found = self.fewest(groups, &order, (&int8, &gentle), budget, all)?;
        if found.is_none() {
            found = self.fewest(groups, &order, (&gentle, &high), budget, all)?;
        }
        // With everything higher there is no error.
        let error = found.map_or(0.0, |f| f.1);
        let raised: Vec<usize> = order.into_iter().filter(|&i| groups[i].level != Level::Int8).collect();
        self.lower_again(groups, &raised, (budget, error), all)
    }

    /// To what groups are raised first: those of much work keep their products in int8.
    fn gentle(&self, groups: &[Group]) -> Vec<Level> {
        let total: u64 = groups.iter().map(|g| g.macs).sum();
        let real = |g: &Group| g.steps.iter().any(|&s| has_real(self.lir, &self.lir.steps[s]));
        let level = |g: &Group| if g.macs * MUCH > total && real(g) { Level::Real } else { Level::High };
        groups.iter().map(level).collect()
    }

    /// Raises, from one level each to another, the fewest of the first groups in the order with which the error is within the budget, and returns how many
    /// and the error; `None`, with all raised, where it is not even then.
    fn fewest(
        &mut self,
        groups: &mut [Group],
        order: &[usize],
        (from, to): (&[Level], &[Level]),
        budget: f64,
        all: &[usize],
    ) -> Result<Option<(usize, f64)>, ConvertError> {
        let set = |groups: &mut [Group], count: usize| {
            groups.iter_mut().zip(from).for_each(|(g, &level)| g.level = level);
            order[..count].iter().for_each(|&i| groups[i].level = to[i]);
        };
        let mut raised = first_guess(groups, order, budget);
        let mut least = 0;
        set(groups, raised);
        let mut error = self.error(&self.plan_of(groups), all)?;
        // Bounded above by doubling, then by bisection.
        while error > budget {
            if raised == order.len() {
                return Ok(None);
            }
            least = raised;
            raised = (raised * 2).min(order.len());
            set(groups, raised);
            error = self.error(&self.plan_of(groups), all)?;
        }
        while raised - least > 1 {
            let middle = least + (raised - least) / 2;
            set(groups, middle);
            let tried = self.error(&self.plan_of(groups), all)?;
            if tried <= budget {
                (raised, error) = (middle, tried);
            } else {
                least = middle;
            }
        }
        set(groups, raised);
        Ok(Some((raised, error)))
    }

    /// Lowers raised groups one by one where the error stays within the budget, those that cost most first: to int8, or their
    /// products alone.
    fn lower_again(
        &mut self,
        groups: &mut [Group],
        raised: &[usize],
        (budget, mut error): (f64, f64),
        all: &[usize],
    ) -> Result<f64, ConvertError> {
        let mut order = raised.to_vec();
        // What is higher as a whole first: real results cost little beside.
        let saved = |g: &Group| if g.level == Level::High { g.macs } else { g.macs / LESS };
        order.sort_by_key(|&i| (std::cmp::Reverse(saved(&groups[i])), i));
        for &i in order.iter().take(AGAIN) {
            let before = groups[i].level;
            let real = groups[i].steps.iter().any(|&s| has_real(self.lir, &self.lir.steps[s]));
            let levels =
                if before == Level::High && real { &[Level::Int8, Level::Real][..] } else { &[Level::Int8] };
            for &level in levels {
                groups[i].level = level;
                let tried = self.error(&self.plan_of(groups), all)?;
                if tried <= budget {
                    error = tried;
                    break;
                }
                groups[i].level = before;
            }
        }
        Ok(error)
    }

    /// Lowers raised groups, the least costly for their work first, until size and time are kept. True where one was.
    fn fit(&self, budget: &Budget, groups: &mut [Group]) -> Result<bool, ConvertError> {
        if budget.bytes.is_none() && budget.seconds.is_none() {
            return Ok(false);
        }
        let mut order = by_cost(groups);
        order.retain(|&i| groups[i].level != Level::Int8);
        order.reverse();
        let before: Vec<Level> = groups.iter().map(|g| g.level).collect();
        let mut over_with = |count: usize| {
            for (place, &i) in order.iter().enumerate() {
                groups[i].level = if place < count { Level::Int8 } else { before[i] };
            }
            self.over(budget, &self.plan_of(groups))
        };
        if let Some(what) = over_with(order.len())? {
            return Err(ConvertError::Budget(what));
        }
        // The fewest that have to be lowered.
        let (mut none, mut enough) = (0, order.len());
        while none < enough {
            let middle = (none + enough) / 2;
            if over_with(middle)?.is_some() { none = middle + 1 } else { enough = middle }
        }
        over_with(enough)?;
        Ok(enough > 0)
    }

    /// By what a plan exceeds size or time.
    fn over(&self, budget: &Budget, plan: &Plan) -> Result<Option<String>, ConvertError> {
        let file = file_of(self.lir, plan, &self.ranges, "trial", self.winograd)?;
        let model = Model::from_bytes(&file)?;
        let reader = model.reader()?;
        let bytes: u64 = reader
            .sections()
            .iter()
            .filter(|s| s.kind == cygnet::format::Kind::WEIGHTS)
            .map(|s| s.length)
            .sum();
        if let Some(most) = budget.bytes
            && bytes > most
        {
            return Ok(Some(format!("the weights take {bytes} bytes, {most} are allowed")));
        }
        if let (Some(most), Some(device)) = (budget.seconds, &budget.device) {
            let seconds = device.predict(&model)?.seconds;
            if seconds > most {
                let (is, may) = (seconds * 1e3, most * 1e3);
                return Ok(Some(format!("a run takes {is:.2} ms on {}, {may:.2} are allowed", device.name)));
            }
        }
        Ok(None)
    }
}

impl Found {
    /// Why a group stays higher, with the error it would have cost.
    pub fn reason(&self, group: &Group) -> String {
        let how = if group.measured { "alone in int8 it costs" } else { "in int8 it costs about" };
        let what = if group.level == Level::Real { "results are real numbers: " } else { "" };
        format!("{what}{how} {} of the error accepted", percent(group.cost))
    }
}

/// A share as a percentage of two digits.
fn percent(share: f64) -> String {
    match share * 100.0 {
        p if p >= 1e6 => "more than 1000000 %".to_owned(),
        p if p >= 10.0 => format!("{p:.0} %"),
        p => format!("{p:.1} %"),
    }
}

/// A group of more than one in this many multiply-accumulates does much of the work.
const MUCH: u64 = 200;

/// Real results of a product in int8 cost about one part in so many of what the whole product costs in f32.
const LESS: u64 = 8;

/// Raised groups that are tried in int8 again.
const AGAIN: usize = 8;

/// The power of noise that each group adds locally.
fn local_noise(groups: &[Group], sqnr: &[Option<f32>]) -> Vec<f64> {
    let power = |&i: &usize| sqnr[i].map_or(0.0, |db| 10.0_f64.powf(-f64::from(db) / 10.0));
    groups.iter().map(|g| g.steps.iter().map(power).fold(0.0, f64::max)).collect()
}

/// Groups in the order in which they are raised: the greatest power of error for the work that int8 saves.
fn by_cost(groups: &[Group]) -> Vec<usize> {
    let total: u64 = groups.iter().map(|g| g.macs).sum();
    // A group without much work of its own still costs conversions: a hundredth of the whole.
    let worth = |g: &Group| g.cost * g.cost / (g.macs as f64 + total as f64 / 100.0 + 1.0);
    let mut order: Vec<usize> = (0..groups.len()).collect();
    order.sort_by(|&a, &b| worth(&groups[b]).total_cmp(&worth(&groups[a])).then(a.cmp(&b)));
    order
}

/// How many groups have to be raised when powers of errors add up.
fn first_guess(groups: &[Group], order: &[usize], budget: f64) -> usize {
    let mut rest: f64 = groups.iter().map(|g| g.cost * g.cost).sum();
    let mut count = 0;
    for &i in order {
        if rest <= budget * budget {
            break;
        }
        rest -= groups[i].cost * groups[i].cost;
        count += 1;
    }
    count.max(1)
}
