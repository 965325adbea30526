//! Index arithmetic that inference and folding share.

/// An axis counted from the front, from one that may be counted from the back.
pub fn axis(axis: i64, rank: usize) -> Result<usize, String> {
    let from_front = if axis < 0 { axis.saturating_add(rank as i64) } else { axis };
    match usize::try_from(from_front) {
        Ok(a) if a < rank => Ok(a),
        _ => Err(format!("has axis {axis}, outside of rank {rank}")),
    }
}

/// NumPy's rule for shapes of elementwise operators.
pub fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>, String> {
    let rank = a.len().max(b.len());
    let at = |d: &[usize], i: usize| if i + d.len() < rank { 1 } else { d[i + d.len() - rank] };
    (0..rank)
        .map(|i| match (at(a, i), at(b, i)) {
            (x, y) if x == y => Ok(x),
            (1, y) => Ok(y),
            (x, 1) => Ok(x),
            _ => Err(format!(
                "its inputs of dimensions {a:?} and {b:?} do not broadcast; check the input shapes"
            )),
        })
        .collect()
}

/// What `Slice` takes of one axis: `count` elements from `start`, `step` apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SliceAxis {
    pub start: i64,
    pub step: i64,
    pub count: usize,
}

/// Resolves the parameters of `Slice` for all axes of `dims`.
pub fn slice_axes(
    dims: &[usize],
    starts: &[i64],
    ends: &[i64],
    axes: Option<&[i64]>,
    steps: Option<&[i64]>,
) -> Result<Vec<SliceAxis>, String> {
    let n = starts.len();
    if ends.len() != n || axes.is_some_and(|a| a.len() != n) || steps.is_some_and(|s| s.len() != n) {
        return Err("has starts, ends, axes and steps of different lengths".to_owned());
    }
    let mut out: Vec<SliceAxis> = dims.iter().map(|&d| SliceAxis { start: 0, step: 1, count: d }).collect();
    for i in 0..n {
        let a = axis(axes.map_or(i as i64, |a| a[i]), dims.len())?;
        let step = steps.map_or(1, |s| s[i]);
        if step == 0 {
            return Err("has a step of 0".to_owned());
        }
        let d = dims[a] as i64;
        let wrap = |x: i64| if x < 0 { x.saturating_add(d) } else { x };
        let (start, end) = if step > 0 {
            (wrap(starts[i]).clamp(0, d), wrap(ends[i]).clamp(0, d))
        } else {
            (wrap(starts[i]).clamp(0, (d - 1).max(0)), wrap(ends[i]).clamp(-1, d - 1))
        };
        let span = if step > 0 { end - start } else { start - end };
        let count =
            if d == 0 || span <= 0 { 0 } else { (span as u64).div_ceil(step.unsigned_abs()) as usize };
        out[a] = SliceAxis { start, step, count };
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broadcast_follows_numpy() {
        assert_eq!(broadcast(&[2, 1, 4], &[3, 1]).unwrap(), [2, 3, 4]);
        assert_eq!(broadcast(&[], &[5]).unwrap(), [5]);
        assert!(broadcast(&[2], &[3]).is_err());
    }

    #[test]
    fn slices_clamp_and_run_backwards() {
        let one = |s, e, st| slice_axes(&[5], &[s], &[e], None, Some(&[st])).unwrap()[0];
        assert_eq!(one(-3, i64::MAX, 1), SliceAxis { start: 2, step: 1, count: 3 });
        assert_eq!(one(4, i64::MIN, -2), SliceAxis { start: 4, step: -2, count: 3 });
        assert_eq!(one(0, 5, 2).count, 3);
        assert_eq!(one(3, 1, 1).count, 0);
        assert!(slice_axes(&[5], &[0], &[1], Some(&[1]), None).is_err());
        assert!(slice_axes(&[5], &[0], &[1], None, Some(&[0])).is_err());
    }
}
