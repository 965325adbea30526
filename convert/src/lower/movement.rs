//! Operators that move elements and compute nothing.

use cygnet_format::op::{self, Op};

use super::{Layout, Lowered, Lowerer, axis_of, reshape_order};
use crate::graph::{Node, ValueId};
use crate::lir::{Const, Id, Kind};

impl Lowerer<'_> {
    pub(super) fn transpose(&mut self, node: &Node) -> Lowered<()> {
        let (x, y) = (self.required(node, 0)?, self.only_first_output(node)?);
        let rank = self.dims(x).len();
        let perm: Vec<usize> = match node.ints("perm") {
            None => (0..rank).rev().collect(),
            Some(p) => p.iter().map(|&a| axis_of(a, rank)).collect::<Lowered<_>>()?,
        };
        if perm.len() != rank || (0..rank).any(|d| !perm.contains(&d)) {
            return Err(format!("its perm {perm:?} is no permutation of {rank} dimensions"));
        }
        let placed = self.placed(x)?;
        self.define(y, placed.id, placed.layout.transposed(&perm));
        Ok(())
    }

    /// `Reshape` and its relatives: the output's dimensions are known, so all are alike.
    pub(super) fn reshape(&mut self, node: &Node) -> Lowered<()> {
        let (x, y) = (self.required(node, 0)?, self.first_output(node)?);
        let (id, layout) = self.reshaped(x, &self.dims(y))?;
        self.define(y, id, layout);
        Ok(())
    }

    fn reshaped(&mut self, x: ValueId, new: &[usize]) -> Lowered<(Id, Layout)> {
        let placed = self.placed(x)?;
        let old = self.dims(x);
        Ok(self.reshape_tensor(placed.id, &placed.layout, &old, new))
    }

    /// A tensor of logical dimensions `old` as one of `new`.
    fn reshape_tensor(&mut self, id: Id, layout: &Layout, old: &[usize], new: &[usize]) -> (Id, Layout) {
        if old == new {
            return (id, layout.clone());
        }
        let (needed, result) = reshape_order(old, layout, new);
        let id = self.arrange(id, layout, old, &needed);
        (self.view(id, &result.physical(new)), result)
    }

    pub(super) fn depth_to_space(&mut self, node: &Node) -> Lowered<()> {
        let (x, y) = (self.required(node, 0)?, self.only_first_output(node)?);
        let [n, c, h, w] = self.dims(x)[..] else { return Err("its input is no image".to_owned()) };
        let b = usize::try_from(node.int("blocksize", 0)).ok().filter(|&b| b > 0 && c % (b * b) == 0);
        let b = b.ok_or_else(|| format!("its blocksize does not divide {c} channels"))?;
        let depth = c / (b * b);
        let (split, perm) = if node.str("mode", "DCR") == "CRD" {
            ([n, depth, b, b, h, w], [0, 1, 4, 2, 5, 3])
        } else {
            ([n, b, b, depth, h, w], [0, 3, 4, 1, 5, 2])
        };
        self.shuffled(x, y, &split, &perm)
    }

    pub(super) fn space_to_depth(&mut self, node: &Node) -> Lowered<()> {
        let (x, y) = (self.required(node, 0)?, self.only_first_output(node)?);
        let [n, c, h, w] = self.dims(x)[..] else { return Err("its input is no image".to_owned()) };
        let b = usize::try_from(node.int("blocksize", 0)).ok().filter(|&b| b > 0 && h % b == 0 && w % b == 0);
        let b = b.ok_or_else(|| format!("its blocksize does not divide {h} x {w}"))?;
        let perm = if node.str("mode", "DCR") == "CRD" { [0, 1, 3, 5, 2, 4] } else { [0, 3, 5, 1, 2, 4] };
        self.shuffled(x, y, &[n, c, h / b, b, w / b, b], &perm)
    }

    /// Reshape to `split`, transpose by `perm`, reshape to the output.
    fn shuffled(&mut self, x: ValueId, y: ValueId, split: &[usize], perm: &[usize]) -> Lowered<()> {
        let (id, layout) = self.reshaped(x, split)?;
        let dims: Vec<usize> = perm.iter().map(|&p| split[p]).collect();
        let (id, layout) = self.reshape_tensor(id, &layout.transposed(perm), &dims, &self.dims(y));
        self.define(y, id, layout);
        Ok(())
    }

    pub(super) fn concat(&mut self, node: &Node) -> Lowered<()> {
        let y = self.only_first_output(node)?;
        let inputs: Vec<ValueId> = node.inputs.iter().flatten().copied().collect();
        let rank = self.dims(y).len();
        let axis = axis_of(node.int("axis", 0), rank)?;
        // The layout of most of the elements.
        let mut layouts: Vec<(Layout, usize)> = Vec::new();
        for &v in &inputs {
            let layout = self.placed(v)?.layout;
            let len = if self.constant_of(v).is_some() { 0 } else { self.dims(v).iter().product() };
            match layouts.iter_mut().find(|(l, _)| *l == layout) {
                Some((_, total)) => *total += len,
                None => layouts.push((layout, len)),
            }
        }
        let layout = layouts.into_iter().max_by_key(|l| l.1).ok_or("it has no inputs")?.0;
        let ids = inputs.iter().map(|&v| self.arranged(v, &layout)).collect::<Lowered<Vec<_>>>()?;
        let dims = layout.physical(&self.dims(y));
        let kind = Kind::Concat { axis: layout.position(axis) };
        let out = self.moved(&node.name, kind, &ids, &dims);
        self.define(y, out, layout);
        Ok(())
    }

    pub(super) fn split(&mut self, node: &Node) -> Lowered<()> {
        let x = self.required(node, 0)?;
        let rank = self.dims(x).len();
        let axis = axis_of(node.int("axis", 0), rank)?;
        let mut start = 0;
        for (i, out) in node.outputs.iter().enumerate() {
            let Some(y) = *out else {
                return Err(format!("its output {i} is unnamed; export the model again"));
            };
            let mut starts = vec![0; rank];
            starts[axis] = start;
            start += self.dims(y)[axis];
            self.sliced(&format!("{}:{i}", node.name), x, y, &starts, &vec![1; rank])?;
        }
        Ok(())
    }

    /// Defines `y` as every `steps`-th element of `x` from `starts` on, in logical dimensions.
    fn sliced(
        &mut self,
        name: &str,
        x: ValueId,
        y: ValueId,
        starts: &[usize],
        steps: &[isize],
    ) -> Lowered<()> {
        let placed = self.placed(x)?;
        if self.dims(x) == self.dims(y) && steps.iter().all(|&s| s == 1) {
            self.define(y, placed.id, placed.layout);
            return Ok(());
        }
        let dims = placed.layout.physical(&self.dims(y));
        let kind =
            Kind::Slice { starts: placed.layout.physical(starts), steps: placed.layout.physical(steps) };
        let out = self.moved(name, kind, &[placed.id], &dims);
        self.define(y, out, placed.layout);
        Ok(())
    }

    pub(super) fn slice(&mut self, node: &Node) -> Lowered<()> {
        let (x, y) = (self.required(node, 0)?, self.only_first_output(node)?);
        let dims = self.dims(x);
        let rank = dims.len();
        let begin = self.ints_input(node, 1, "starts")?.ok_or("its starts are missing")?;
        let axes = self.ints_input(node, 3, "axes")?.unwrap_or_else(|| (0..begin.len() as i64).collect());
        let strides = self.ints_input(node, 4, "steps")?.unwrap_or_else(|| vec![1; begin.len()]);
        let (mut starts, mut steps) = (vec![0; rank], vec![1; rank]);
        for ((&b, &a), &s) in begin.iter().zip(&axes).zip(&strides) {
            let axis = axis_of(a, rank)?;
            let len = dims[axis] as i64;
            let from = if b < 0 { b.saturating_add(len) } else { b };
            starts[axis] = if s < 0 { from.clamp(0, len - 1) } else { from.clamp(0, len) } as usize;
            steps[axis] =
                isize::try_from(s).ok().filter(|&s| s != 0).ok_or_else(|| format!("its step is {s}"))?;
        }
        self.sliced(&node.name, x, y, &starts, &steps)
    }

    pub(super) fn pad(&mut self, node: &Node) -> Lowered<()> {
        let (x, y) = (self.required(node, 0)?, self.only_first_output(node)?);
        let (from, to) = (self.dims(x), self.dims(y));
        let rank = from.len();
        let pads = self.ints_input(node, 1, "pads")?.ok_or("its pads are missing")?;
        let axes: Vec<usize> = match self.ints_input(node, 3, "axes")? {
            None => (0..rank).collect(),
            Some(axes) => axes.iter().map(|&a| axis_of(a, rank)).collect::<Lowered<_>>()?,
        };
        let mut before = vec![0_i64; rank];
        for (i, &axis) in axes.iter().enumerate() {
            before[axis] = *pads.get(i).ok_or("it has too few pads")?;
        }
        let placed = self.placed(x)?;
        let mode = node.str("mode", "constant");
        let crops = (0..rank).any(|d| before[d] < 0 || (to[d] as i64) < before[d] + from[d] as i64);
        if mode == "constant" && !crops {
            let value = match node.input(2) {
                None => 0.0,
                Some(_) => {
                    self.constant_input(node, 2, "value")?.scalar_f32().ok_or("its value is no scalar")?
                }
            };
            let before: Vec<usize> = before.iter().map(|&b| b as usize).collect();
            let kind = Kind::Pad { before: placed.layout.physical(&before), value };
            let out = self.moved(&node.name, kind, &[placed.id], &placed.layout.physical(&to));
            self.define(y, out, placed.layout);
            return Ok(());
        }
        if mode == "constant" {
            return Err("negative pads are not supported; use a Slice".to_owned());
        }
        // Every other mode reads existing elements: one gather per padded axis.
        let (mut id, mut dims) = (placed.id, from.clone());
        for d in (0..rank).filter(|&d| from[d] != to[d]) {
            let len = from[d] as i64;
            let indices =
                (0..to[d] as i64).map(|i| mirrored(i - before[d], len, mode)).collect::<Lowered<Vec<_>>>()?;
            dims[d] = to[d];
            let name = format!("{}:{d}", node.name);
            id = self.gather_physical(
                &name,
                id,
                indices,
                placed.layout.position(d),
                &placed.layout.physical(&dims),
            );
        }
        self.define(y, id, placed.layout);
        Ok(())
    }

    /// Elements at constant indices of a physical axis.
    pub(super) fn gather_physical(
        &mut self,
        name: &str,
        x: Id,
        indices: Vec<i32>,
        axis: usize,
        dims: &[usize],
    ) -> Id {
        let table = self.lir.add_const(format!("{name}:indices"), &[indices.len()], Const::S32(indices));
        self.moved(name, Kind::Op(Op::Gather(op::Gather { axis: axis as u32 })), &[x, table], dims)
    }

    pub(super) fn expand(&mut self, node: &Node) -> Lowered<()> {
        let (x, y) = (self.required(node, 0)?, self.only_first_output(node)?);
        let (from, to) = (self.dims(x), self.dims(y));
        let placed = self.placed(x)?;
        let wide: Vec<usize> = std::iter::repeat_n(1, to.len() - from.len()).chain(from).collect();
        let layout = placed.layout.widened(to.len());
        let id = self.view(placed.id, &layout.physical(&wide));
        let id =
            if wide == to { id } else { self.moved(&node.name, Kind::Expand, &[id], &layout.physical(&to)) };
        self.define(y, id, layout);
        Ok(())
    }

    pub(super) fn tile(&mut self, node: &Node) -> Lowered<()> {
        let (x, y) = (self.required(node, 0)?, self.only_first_output(node)?);
        let (from, to) = (self.dims(x), self.dims(y));
        let placed = self.placed(x)?;
        let (mut id, mut dims) = (placed.id, from.clone());
        for d in (0..from.len()).filter(|&d| from[d] != to[d]) {
            dims[d] = to[d];
            let copies = vec![id; to[d] / from[d]];
            let kind = Kind::Concat { axis: placed.layout.position(d) };
            id = self.moved(&format!("{}:{d}", node.name), kind, &copies, &placed.layout.physical(&dims));
        }
        self.define(y, id, placed.layout);
        Ok(())
    }

    pub(super) fn gather(&mut self, node: &Node) -> Lowered<()> {
        let (x, i, y) = (self.required(node, 0)?, self.required(node, 1)?, self.only_first_output(node)?);
        let (from, to, index_dims) = (self.dims(x), self.dims(y), self.dims(i));
        let axis = axis_of(node.int("axis", 0), from.len())?;
        if let Some(t) = self.constant_of(i) {
            let len = from[axis] as i64;
            let indices: Vec<i32> = t
                .to_i64()
                .ok_or("its indices are not integers")?
                .iter()
                .map(|&v| if v < 0 { v + len } else { v })
                .map(|v| i32::try_from(v).ok().filter(|_| (0..len).contains(&v)))
                .collect::<Option<_>>()
                .ok_or_else(|| format!("an index is outside the {len} elements of axis {axis}"))?;
            let placed = self.placed(x)?;
            let mut dims = from.clone();
            dims[axis] = indices.len();
            let consecutive = indices.windows(2).all(|w| w[1] == w[0] + 1);
            let physical = placed.layout.physical(&dims);
            let id = if consecutive {
                let mut starts = vec![0; from.len()];
                starts[axis] = indices[0] as usize;
                let kind =
                    Kind::Slice { starts: placed.layout.physical(&starts), steps: vec![1; from.len()] };
                self.moved(&node.name, kind, &[placed.id], &physical)
            } else {
                let position = placed.layout.position(axis);
                self.gather_physical(&node.name, placed.id, indices, position, &physical)
            };
            let (id, layout) = if index_dims.is_empty() {
                let layout = placed.layout.without(&[axis]);
                (self.view(id, &layout.physical(&to)), layout)
            } else {
                self.reshape_tensor(id, &placed.layout, &dims, &to)
            };
            self.define(y, id, layout);
            return Ok(());
        }
        let (data, indices) = (self.identity(x)?, self.identity(i)?);
        let kind = Kind::Op(Op::Gather(op::Gather { axis: axis as u32 }));
        let out = self.moved(&node.name, kind, &[data, indices], &to);
        self.define(y, out, Layout::identity(to.len()));
        Ok(())
    }
}

/// Which element a padded position shows.
fn mirrored(i: i64, len: i64, mode: &str) -> Lowered<i32> {
    let at = match mode {
        "edge" => i.clamp(0, len - 1),
        "wrap" => i.rem_euclid(len),
        "reflect" if len == 1 => 0,
        "reflect" => {
            let period = 2 * (len - 1);
            let r = i.rem_euclid(period);
            r.min(period - r)
        }
        other => return Err(format!("its mode '{other}' is unknown")),
    };
    i32::try_from(at).map_err(|_| "an index is out of range".to_owned())
}
