//! Figures of kernels for cores that a report of `cygnet doctor` describes: those of the known core that is most alike, in
//! the ratio of what both can issue, then put right by what was measured.

use crate::{Arch, Cluster, Kernels, Profile, Rate, names};

/// Layers as `cygnet doctor` measures them: name, multiply-accumulates, results.
const LAYERS: [(&str, f64, f64); 3] = [
    ("conv-3x3", (40 * 40 * 64 * 64 * 9) as f64, (40 * 40 * 64) as f64),
    ("pointwise", (28 * 28 * 128 * 128) as f64, (28 * 28 * 128) as f64),
    ("depthwise", (28 * 28 * 192 * 9) as f64, (28 * 28 * 192) as f64),
];

/// A measurement moves a figure by no more than this factor: beyond it something else ran.
const MOST: f64 = 8.0;

/// Gives every cluster without figures those of its like, where there is one.
pub(crate) fn fill(profile: &mut Profile) {
    let known: Vec<Profile> = names().filter_map(|name| Profile::named(name).ok()).collect();
    for cluster in profile.clusters.iter_mut().filter(|cluster| cluster.kernels.is_none()) {
        cluster.kernels = like(&known, profile.arch, cluster).map(|(name, base, kernels)| {
            let mut kernels = scaled(kernels, base, cluster);
            let mut source = format!("those of {} in the profile {name}", base.core);
            if base.core != cluster.core {
                source += ", by what both cores issue";
            }
            if correct(&mut kernels, cluster) {
                source += ", put right by what cygnet doctor measured";
            }
            Kernels { source, ..kernels }
        });
    }
}

/// The profile, cluster and figures of the core that is most alike: one with no feature that this one lacks.
fn like<'a>(
    known: &'a [Profile],
    arch: Arch,
    cluster: &Cluster,
) -> Option<(&'a str, &'a Cluster, &'a Kernels)> {
    let all = known.iter().filter(|p| p.arch == arch).flat_map(|p| p.clusters.iter().map(|c| (&*p.name, c)));
    let fits = all.filter_map(|(name, base)| {
        let kernels = base.kernels.as_ref()?;
        let half = kernels.conv_f16.is_some() == cluster.mac_per_cycle.f16.is_some();
        (half && base.features.iter().all(|feature| cluster.has(feature))).then_some((name, base, kernels))
    });
    let width = |c: &Cluster| f64::from(c.mac_per_cycle.int8);
    // The first of equals, in the order of the README.
    fits.min_by(|(_, a, _), (_, b, _)| {
        let unlike = |base: &Cluster| {
            let missing = cluster.features.len() - base.features.len().min(cluster.features.len());
            (base.core != cluster.core, missing, base.in_order != cluster.in_order)
        };
        let wide = |base| (width(base) / width(cluster)).ln().abs();
        unlike(a).cmp(&unlike(b)).then(wide(a).total_cmp(&wide(b)))
    })
}

/// Figures of one core for another one: products in the ratio of what they issue, results as f32 arithmetic.
fn scaled(base: &Kernels, from: &Cluster, to: &Cluster) -> Kernels {
    let (from, to) = (&from.mac_per_cycle, &to.mac_per_cycle);
    let ratio = |a: f32, b: f32| f64::from(b) / f64::from(a);
    let int8 = ratio(from.int8, to.int8);
    let f32 = ratio(from.f32, to.f32);
    let f16 = from.f16.zip(to.f16).map_or(1.0, |(a, b)| ratio(a, b));
    let mut k = base.clone();
    for (figure, by) in [
        (&mut k.conv_s8, int8),
        (&mut k.conv3x3_s8, int8),
        (&mut k.depthwise_s8, int8),
        (&mut k.matmul_s8, int8),
        (&mut k.conv_f32, f32),
        (&mut k.conv3x3_f32, f32),
        (&mut k.depthwise_f32, f32),
        (&mut k.matmul_f32, f32),
        (&mut k.store_s8, 1.0 / f32),
        (&mut k.store_f32, 1.0 / f32),
    ] {
        *figure *= by;
    }
    for figure in [&mut k.conv_f16, &mut k.depthwise_f16].into_iter().flatten() {
        *figure *= f16;
    }
    if let Some(sparse) = &mut k.sparse {
        sparse.fours_s8 *= int8;
        sparse.pairs_s8 *= int8;
        sparse.store_s8 /= f32;
    }
    k
}

/// Puts figures right by what the cluster was measured to do. Returns whether anything was measured.
fn correct(k: &mut Kernels, cluster: &Cluster) -> bool {
    let hertz = f64::from(cluster.max_mhz) * 1e6;
    let (step, store_s8, store_f32) = (k.step, k.store_s8, k.store_f32);
    let mut any = false;
    for Rate { layer, dtype, gmac_per_s, .. } in &cluster.measured {
        let Some(&(_, macs, results)) = LAYERS.iter().find(|(name, ..)| name == layer) else { continue };
        let store = if dtype == "s8" { store_s8 } else { store_f32 };
        // What is left for products of the cycles that a run took.
        let left = macs / (gmac_per_s * 1e9) * hertz - step - results * store;
        let factor = |figure: f64| {
            let reached = if left > 0.0 { macs / left / figure } else { MOST };
            reached.clamp(1.0 / MOST, MOST)
        };
        any = true;
        match (&**layer, &**dtype) {
            ("pointwise", "s8") => {
                let by = factor(k.conv_s8);
                k.conv_s8 *= by;
                k.matmul_s8 *= by;
                if let Some(sparse) = &mut k.sparse {
                    sparse.fours_s8 *= by;
                    sparse.pairs_s8 *= by;
                }
            }
            ("conv-3x3", "s8") => k.conv3x3_s8 *= factor(k.conv3x3_s8),
            ("depthwise", "s8") => k.depthwise_s8 *= factor(k.depthwise_s8),
            ("pointwise", "f32") => {
                let by = factor(k.conv_f32);
                k.conv_f32 *= by;
                k.matmul_f32 *= by;
            }
            ("conv-3x3", "f32") => k.conv3x3_f32 *= factor(k.conv3x3_f32),
            ("depthwise", "f32") => k.depthwise_f32 *= factor(k.depthwise_f32),
            ("pointwise", "f16") => k.conv_f16 = k.conv_f16.map(|figure| figure * factor(figure)),
            ("depthwise", "f16") => k.depthwise_f16 = k.depthwise_f16.map(|figure| figure * factor(figure)),
            _ => {}
        }
    }
    any
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A known machine without its figures.
    fn stripped(name: &str) -> Profile {
        let mut profile = Profile::named(name).unwrap();
        profile.clusters.iter_mut().for_each(|cluster| cluster.kernels = None);
        profile
    }

    #[test]
    fn a_known_core_has_its_own_figures() {
        for name in names() {
            let mut profile = stripped(name);
            fill(&mut profile);
            let known = Profile::named(name).unwrap();
            for (got, expected) in profile.clusters.iter().zip(&known.clusters) {
                let figures = |c: &Cluster| c.kernels.as_ref().unwrap().figures().collect::<Vec<_>>();
                assert_eq!(figures(got), figures(expected), "{name}, {}", got.core);
            }
        }
    }

    /// A Cortex-X1 is twice as wide as the Cortex-A76 of a Raspberry Pi 5; one that does half precision is like no core that
    /// does not.
    #[test]
    fn an_unknown_core_is_scaled_by_what_it_issues() {
        let mut wide = stripped("raspberry-pi-5");
        let cluster = &mut wide.clusters[0];
        cluster.core = "cortex-x1".to_owned();
        (cluster.mac_per_cycle.int8, cluster.mac_per_cycle.f32, cluster.mac_per_cycle.f16) =
            (64.0, 16.0, Some(32.0));
        fill(&mut wide);
        let known = Profile::named("raspberry-pi-5").unwrap();
        let base = known.clusters[0].kernels.as_ref().unwrap();
        let kernels = wide.clusters[0].kernels.as_ref().unwrap();
        assert_eq!(kernels.conv_s8, 2.0 * base.conv_s8);
        assert_eq!((kernels.store_s8, kernels.bytes), (base.store_s8 / 2.0, base.bytes));
        assert!(
            kernels.source.contains("cortex-a76") && kernels.source.contains("issue"),
            "{}",
            kernels.source
        );
        let mut alien = stripped("raspberry-pi-5");
        alien.clusters[0].features.clear();
        fill(&mut alien);
        assert_eq!(alien.clusters[0].kernels, None);
    }

    /// With the figures that come out, the measured layer takes what it took.
    #[test]
    fn what_was_measured_is_predicted() {
        let mut profile = stripped("raspberry-pi-5");
        let rate = |layer: &str, dtype: &str, gmac_per_s| Rate {
            layer: layer.to_owned(),
            dtype: dtype.to_owned(),
            kernel: "some".to_owned(),
            gmac_per_s,
        };
        profile.clusters[0].measured = vec![rate("pointwise", "s8", 40.0), rate("depthwise", "f32", 1e9)];
        fill(&mut profile);
        let k = profile.clusters[0].kernels.as_ref().unwrap();
        let (macs, results) = (12_845_056.0, 100_352.0);
        let cycles = macs / k.conv_s8 + results * k.store_s8 + k.step;
        assert!((macs / (cycles / 2.4e9) / 1e9 - 40.0).abs() < 1e-9);
        // What cannot be is not believed.
        let known = Profile::named("raspberry-pi-5").unwrap();
        assert_eq!(k.depthwise_f32, 8.0 * known.clusters[0].kernels.as_ref().unwrap().depthwise_f32);
        assert!(k.source.ends_with("measured"), "{}", k.source);
    }
}
