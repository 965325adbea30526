//! Counting: the n-grams of a vectorizer among a sequence of numbers, and the distinct elements of a known tensor.

use std::collections::BTreeMap;

use super::Rule;
use super::make::{Done, Made, Make};
use crate::error::ImportError;
use crate::graph::{Attr, ElemType, Tensor, ValueId};

pub(super) const RULES: &[(&str, Rule)] = &[("TfIdfVectorizer", tf_idf), ("Unique", unique)];

/// Most places that n-grams are counted in.
const MAX_WIDTH: usize = 1 << 24;

fn ints<'m>(m: &'m Make<'_, '_>, key: &str) -> &'m [i64] {
    match m.node.attrs.get(key) {
        Some(Attr::Ints(v)) => v,
        _ => &[],
    }
}

/// The n-grams of the pool, by length: length 1 first.
fn grams(m: &Make<'_, '_>) -> Result<Vec<Vec<Vec<i64>>>, ImportError> {
    let pool = ints(m, "pool_int64s");
    if pool.is_empty() {
        return m.fail("counts words of text; only numbers (pool_int64s) are supported");
    }
    let starts = ints(m, "ngram_counts");
    let mut lengths = Vec::with_capacity(starts.len());
    for (i, &start) in starts.iter().enumerate() {
        let end = starts.get(i + 1).copied().unwrap_or(pool.len() as i64);
        let range = usize::try_from(start).ok().zip(usize::try_from(end).ok());
        let part = range.and_then(|(a, b)| pool.get(a..b)).filter(|p| p.len() % (i + 1) == 0);
        let Some(part) = part else {
            return m.fail(format!("its pool of {} numbers is no list of n-grams", pool.len()));
        };
        lengths.push(part.chunks(i + 1).map(<[i64]>::to_vec).collect());
    }
    Ok(lengths)
}

/// Input: numbers `[C]` or `[N, C]`. Output: how often each n-gram of the pool occurs, weighted or not.
fn tf_idf(m: &mut Make<'_, '_>) -> Done {
    let x = m.input(0)?;
    let dims = m.dims(x);
    let (batch, length) = match *dims.as_slice() {
        [c] => (1, c),
        [n, c] => (n, c),
        _ => return m.fail(format!("needs one or two dimensions, it has {dims:?}")),
    };
    let x = m.reshape(x, &[batch, length])?;
    let (least, most) = (m.node.int("min_gram_length", 1), m.node.int("max_gram_length", 1));
    let skips = usize::try_from(m.node.int("max_skip_count", 0)).unwrap_or(0);
    let mut counts = Vec::new();
    let grams = grams(m)?;
    let total: usize = grams.iter().map(Vec::len).sum();
    for (i, grams) in grams.iter().enumerate().filter(|(_, g)| !g.is_empty()) {
        let n = i + 1;
        let mut sum = zeros(m, batch, grams.len())?;
        if (least..=most).contains(&(n as i64)) {
            // Elements of one n-gram stand as far apart as the skip says; a single one, nowhere else.
            for distance in 1..=if n == 1 { 1 } else { skips + 1 } {
                if let Some(places) = length.checked_sub((n - 1) * distance).filter(|&p| p > 0) {
                    let found = occurrences(m, x, grams, distance, places)?;
                    sum = m.add(sum, found)?;
                }
            }
        }
        counts.push(sum);
    }
    let mode = m.node.str("mode", "TF").to_owned();
    let mut y = m.concat(&counts, 1)?;
    if mode == "IDF" {
        let one = m.like(y, 1.0);
        y = m.op("Min", &[y, one])?;
    }
    if let (true, Some(Attr::Floats(weights))) = (mode != "TF", m.node.attrs.get("weights")) {
        if weights.len() != total {
            return m.fail(format!("has {} weights for {total} n-grams", weights.len()));
        }
        let weights = m.constant(Tensor::f32(&[1, total], weights.clone()));
        y = m.mul(y, weights)?;
    }
    // One column behind the others is of no n-gram.
    let places = ints(m, "ngram_indexes").to_vec();
    let width = places.iter().max().map_or(0, |&v| usize::try_from(v).map_or(0, |v| v.saturating_add(1)));
    if width > MAX_WIDTH {
        return m.fail(format!("counts in {width} places; at most {MAX_WIDTH} are possible"));
    }
    let mut from = vec![total as i64; width];
    for (i, &place) in places.iter().enumerate() {
        match usize::try_from(place).ok().and_then(|p| from.get_mut(p)) {
            Some(slot) if i < total && *slot == total as i64 => *slot = i as i64,
            _ => return m.fail(format!("places n-gram {i} at {place}, where none or another belongs")),
        }
    }
    let none = zeros(m, batch, 1)?;
    let y = m.concat(&[y, none], 1)?;
    let from = m.list(&from);
    let y = m.gather(y, from, 1)?;
    let y = if dims.len() == 1 { m.reshape(y, &[width])? } else { y };
    m.done(y)
}

fn zeros(m: &mut Make<'_, '_>, rows: usize, columns: usize) -> Made {
    let one = m.numbers(&[1, 1], vec![0.0], ElemType::F32);
    m.expand(one, &[rows, columns])
}

/// How often each of n-grams of one length occurs in the rows of `x` with its elements `distance` apart, beginning at
/// one of the first `places`.
fn occurrences(m: &mut Make<'_, '_>, x: ValueId, grams: &[Vec<i64>], distance: usize, places: usize) -> Made {
    let batch = m.dims(x)[0];
    let mut all: Option<ValueId> = None;
    for k in 0..grams[0].len() {
        let window = m.slice(x, 1, k * distance, k * distance + places)?;
        let window = m.reshape(window, &[batch, places, 1])?;
        let window = m.cast(window, ElemType::I64)?;
        let wanted = m.list(&grams.iter().map(|g| g[k]).collect::<Vec<_>>());
        let same = m.op("Equal", &[window, wanted])?;
        all = Some(match all {
            None => same,
            Some(all) => m.op("And", &[all, same])?,
        });
    }
    match all {
        Some(all) => {
            let hits = m.cast(all, ElemType::F32)?;
            m.reduce("ReduceSum", hits, &[1], false)
        }
        None => m.fail("has n-grams without elements"),
    }
}

/// Numbers by which equal elements are equal and sort as they do.
fn keys(t: &Tensor) -> Vec<i64> {
    t.to_i64().unwrap_or_else(|| {
        let ordered = |x: f64| {
            let bits = (if x == 0.0 { 0.0 } else { x }).to_bits() as i64;
            if bits < 0 { bits ^ i64::MAX } else { bits }
        };
        match crate::fold::cast(t, ElemType::F64).data {
            crate::graph::Data::F64(v) => v.into_iter().map(ordered).collect(),
            _ => Vec::new(),
        }
    })
}

/// The shape of what is distinct follows from the elements, so these have to be known. Outputs: the distinct elements
/// or slices, where each occurs first, which one stands at each place, how often each occurs.
fn unique(m: &mut Make<'_, '_>) -> Done {
    let mut x = m.input(0)?;
    let Some(known) = m.known_input(0)? else { return m.fail("needs its input") };
    let (keys, mut dims) = (keys(known), known.dims.clone());
    let axis = match m.node.attrs.get("axis") {
        Some(&Attr::Int(a)) => crate::infer::axis(a, dims.len()).or_else(|e| m.fail(e))?,
        _ => {
            dims = vec![keys.len()];
            x = m.reshape(x, &dims)?;
            0
        }
    };
    let (count, inner) = (dims[axis], dims[axis + 1..].iter().product::<usize>());
    let mut found: BTreeMap<Vec<i64>, Vec<usize>> = BTreeMap::new();
    for i in 0..count {
        let slice = keys.chunks((count * inner).max(1)).flat_map(|outer| &outer[i * inner..(i + 1) * inner]);
        found.entry(slice.copied().collect()).or_default().push(i);
    }
    let mut groups: Vec<Vec<usize>> = found.into_values().collect();
    if m.node.int("sorted", 1) == 0 {
        groups.sort_by_key(|group| group[0]);
    }
    let mut which = vec![0i64; count];
    for (g, group) in groups.iter().enumerate() {
        group.iter().for_each(|&i| which[i] = g as i64);
    }
    let first: Vec<i64> = groups.iter().map(|g| g[0] as i64).collect();
    let often: Vec<i64> = groups.iter().map(|g| g.len() as i64).collect();
    let [first, which, often] = [first, which, often].map(|v| m.list(&v));
    let distinct = m.gather(x, first, axis)?;
    for (i, v) in [(1, first), (2, which), (3, often)] {
        m.give(i, v)?;
    }
    m.done(distinct)
}
