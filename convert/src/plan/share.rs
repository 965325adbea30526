//! Tensors that lie inside others.

use cygnet_kernels::{ROW_SLACK, works_in_place};

use crate::lir::{Id, Kind, Lir};

/// Where a tensor lies: in its own buffer, or inside another tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Home {
    /// The tensor whose buffer it is.
    pub root: Id,
    /// Elements from the start of the root.
    pub offset: usize,
    /// Elements between consecutive rows of the last dimension.
    pub pitch: usize,
}

/// How the tensors of a lowered graph share buffers.
#[derive(Clone, Debug)]
pub struct Sharing {
    /// For each tensor, what it lies in, and how far from its start: rows of that tensor, and elements.
    parents: Vec<Option<(Id, usize, usize)>>,
    cols: Vec<usize>,
    dense_parent: Vec<bool>,
}

impl Sharing {
    /// Where a tensor lies.
    pub fn home(&self, id: Id) -> Home {
        match self.parents[id] {
            None => Home { root: id, offset: 0, pitch: self.cols[id] },
            Some((parent, rows, elements)) => {
                let outer = self.home(parent);
                let pitch = if self.dense_parent[id] { self.cols[id] } else { outer.pitch };
                Home { root: outer.root, offset: outer.offset + rows * outer.pitch + elements, pitch }
            }
        }
    }

    /// Whether a tensor has no buffer of its own.
    pub fn is_placed(&self, id: Id) -> bool {
        self.parents[id].is_some()
    }

    /// Whether `y`, made of `x` by a view or a slice, is part of `x` and takes no copy. Where a concatenation holds both,
    /// they share a buffer and are two tensors.
    pub fn is_part(&self, y: Id, x: Id) -> bool {
        self.parents[y].is_some_and(|(parent, ..)| parent == x)
    }

    /// Whether rows of a tensor have gaps between them.
    fn has_gaps(&self, id: Id, rows: usize) -> bool {
        rows > 1 && self.home(id).pitch != self.cols[id]
    }
}

fn cols(dims: &[usize]) -> usize {
    dims.last().copied().unwrap_or(1)
}

fn rows(dims: &[usize]) -> usize {
    dims.iter().product::<usize>() / cols(dims)
}

/// Decides which tensors share buffers. With `apart` every computed tensor keeps its own contents to the end, as
/// calibration needs: only views and slices share then.
pub fn share(lir: &Lir, apart: bool) -> Sharing {
    let n = lir.tensors.len();
    let mut s = Sharing {
        parents: vec![None; n],
        cols: lir.tensors.iter().map(|t| cols(&t.dims)).collect(),
        dense_parent: vec![false; n],
    };
    let port: Vec<bool> = {
        let mut port = vec![false; n];
        lir.ports().for_each(|id| port[id] = true);
        port
    };
    views(lir, &mut s, &port);
    if !apart {
        concatenations(lir, &mut s, &port);
        in_place(lir, &mut s, &port);
    }
    s
}

/// Views, and slices that are ranges of columns or of memory.
fn views(lir: &Lir, s: &mut Sharing, port: &[bool]) {
    for step in &lir.steps {
        let (Some(Some(x)), y) = (step.inputs.first().copied(), step.output) else { continue };
        let (xd, yd) = (&lir.tensors[x].dims, &lir.tensors[y].dims);
        if port[y] || lir.tensors[x].constant.is_some() {
            continue;
        }
        match &step.kind {
            Kind::View => {
                if cols(xd) == cols(yd) {
                    s.parents[y] = Some((x, 0, 0));
                } else if !s.has_gaps(x, rows(xd)) {
                    s.parents[y] = Some((x, 0, 0));
                    s.dense_parent[y] = true;
                }
            }
            Kind::Slice { starts, steps } => {
                let cut: Vec<usize> = (0..xd.len()).filter(|&d| xd[d] != yd[d]).collect();
                let [axis] = cut[..] else { continue };
                if steps[axis] != 1 {
                    continue;
                }
                if axis + 1 == xd.len() {
                    s.parents[y] = Some((x, 0, starts[axis]));
                } else if xd[..axis].iter().all(|&d| d == 1) {
                    let inner: usize = xd[axis + 1..xd.len() - 1].iter().product();
                    s.parents[y] = Some((x, starts[axis] * inner, 0));
                }
            }
            _ => {}
        }
    }
}

/// Inputs of concatenations, computed in their place. Outer concatenations come first, so that what is placed in
/// one that is itself placed knows the distance of its rows.
fn concatenations(lir: &Lir, s: &mut Sharing, port: &[bool]) {
    let producers = lir.producers();
    for step in lir.steps.iter().rev() {
        let Kind::Concat { axis } = step.kind else { continue };
        let y = step.output;
        let yd = &lir.tensors[y].dims;
        let last = axis + 1 == yd.len();
        let one_block = yd[..axis].iter().all(|&d| d == 1);
        if !last && !one_block {
            continue;
        }
        // Whether the inputs' rows come to lie apart, with those of others between them.
        let apart = (last && !one_block) || s.has_gaps(y, rows(yd));
        let inner: usize = if last { 0 } else { yd[axis + 1..yd.len() - 1].iter().product() };
        let mut at = 0;
        for &x in step.inputs.iter().flatten() {
            let start = at;
            at += lir.tensors[x].dims[axis];
            let home = s.home(x);
            let root = home.root;
            let (t, whole) = (&lir.tensors[root], home.offset == 0);
            let same = t.dtype == lir.tensors[y].dtype
                && lir.tensors[x].quant == lir.tensors[y].quant
                && t.len() == lir.tensors[x].len();
            let free = t.constant.is_none() && !port[root] && root != s.home(y).root;
            // Blocks touch, and a kernel may read a little past the end of one: it must not be writing the next.
            let beside = |id: Id| {
                apart || !reads(lir, s, &producers, id, |other| s.home(other).root == s.home(y).root)
            };
            let placed_beside = |id: Id| {
                apart
                    || step
                        .inputs
                        .iter()
                        .flatten()
                        .all(|&o| !reads(lir, s, &producers, o, |i| s.home(i).root == id))
            };
            // What is copied into the output must not lie there already.
            let alone = step.inputs.iter().flatten().filter(|&&o| s.home(o).root == root).count() == 1;
            let aligned = !last || !apart || (start * t.dtype.size()).is_multiple_of(ROW_SLACK);
            let clear = beside(x) && placed_beside(root);
            if !(whole && same && free && aligned && alone && clear && members_fit(lir, s, x, apart, port)) {
                continue;
            }
            s.parents[root] = Some(if last { (y, 0, start) } else { (y, start * inner, 0) });
            s.dense_parent[root] = !apart;
        }
    }
}

/// Whether the step behind `id`, seen through what is part of its input, reads a tensor that `is` true of.
fn reads(lir: &Lir, s: &Sharing, producers: &[Option<usize>], id: Id, is: impl Fn(Id) -> bool) -> bool {
    let mut at = id;
    loop {
        let Some(step) = producers[at].map(|p| &lir.steps[p]) else { return false };
        match (&step.kind, step.inputs.first().copied().flatten()) {
            (Kind::View | Kind::Slice { .. }, Some(x)) if s.is_part(at, x) => at = x,
            _ => return step.inputs.iter().flatten().any(|&i| is(i)),
        }
    }
}

/// Whether everything that shares the buffer of `x` may move into a concatenation's. Where rows come to lie apart, rows
/// must stay rows, and reading them in blocks of [`ROW_SLACK`] bytes must not reach into neighbours that are written.
fn members_fit(lir: &Lir, s: &Sharing, x: Id, apart: bool, port: &[bool]) -> bool {
    let root = s.home(x).root;
    let row = cols(&lir.tensors[root].dims);
    let size = lir.tensors[root].dtype.size();
    let mut members = (0..lir.tensors.len()).filter(|&m| s.home(m).root == root);
    members.all(|m| {
        let home = s.home(m);
        let blocks = |elements: usize| (elements * size).is_multiple_of(ROW_SLACK);
        let stays = cols(&lir.tensors[x].dims) == row && home.pitch == row && !s.dense_parent[m];
        !port[m] && (!apart || (stays && blocks(s.cols[m]) && blocks(home.offset % row)))
    })
}

/// Outputs of elementwise steps, written over an input that nobody reads afterwards.
fn in_place(lir: &Lir, s: &mut Sharing, port: &[bool]) {
    let mut last_read = vec![0; lir.tensors.len()];
    for (i, step) in lir.steps.iter().enumerate() {
        for &id in step.inputs.iter().flatten() {
            last_read[id] = i;
        }
    }
    for (i, step) in lir.steps.iter().enumerate() {
        let y = step.output;
        let Kind::Op(op) = &step.kind else { continue };
        if s.is_placed(y) || port[y] {
            continue;
        }
        let found = step.inputs.iter().flatten().copied().find(|&x| {
            let mut places = (0..step.inputs.len()).filter(|&place| step.inputs[place] == Some(x));
            if !places.all(|place| works_in_place(op, place)) {
                return false;
            }
            let (a, b) = (&lir.tensors[x], &lir.tensors[y]);
            let root = s.home(x).root;
            // Nothing else in the buffer may be of use any more, nor come to be.
            let mut others = (0..lir.tensors.len()).filter(|&m| m != x && s.home(m).root == root);
            // What is a view of the output took its rows to lie close together.
            let gaps = s.has_gaps(x, rows(&a.dims));
            let mut views = (0..lir.tensors.len()).filter(|&m| s.dense_parent[m] && s.home(m).root == y);
            a.constant.is_none()
                && a.dims == b.dims
                && a.dtype == b.dtype
                && last_read[x] == i
                && !port[x]
                && !port[root]
                && step.inputs.iter().flatten().filter(|&&other| s.home(other).root == root).all(|&o| o == x)
                && others.all(|m| last_read[m] < i && !port[m])
                && !(gaps && views.next().is_some())
        });
        if let Some(x) = found {
            s.parents[y] = Some((x, 0, 0));
        }
    }
}
