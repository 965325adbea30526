//! Curves for terminals and for pages.

use std::fmt::Write;

/// A curve: a name, and values at equal distances; gaps where nothing is known.
pub struct Curve<'a> {
    pub name: &'a str,
    pub color: &'a str,
    pub values: Vec<Option<f64>>,
}

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Bars from zero to the greatest value, one a value, in so many rows; the scale stands at the left.
pub fn bars(values: &[Option<f64>], rows: usize) -> String {
    let top = values.iter().flatten().copied().fold(0.0, f64::max);
    if top <= 0.0 {
        return String::new();
    }
    let mut out = String::new();
    for row in (0..rows).rev() {
        let label = if row == rows - 1 {
            format!("{top:>9.2}")
        } else if row == 0 {
            format!("{:>9}", 0)
        } else {
            " ".repeat(9)
        };
        let bar = |value: &Option<f64>| {
            let eighths = (value.unwrap_or(0.0) / top * (rows * 8) as f64).round() as usize;
            match eighths.saturating_sub(row * 8) {
                0 => ' ',
                n => BLOCKS[n.min(8) - 1],
            }
        };
        // Writing to a String does not fail.
        let _ = writeln!(out, "{label} │{}", values.iter().map(bar).collect::<String>().trim_end());
    }
    out
}

/// Width and height of a chart of [`svg`], without its margins.
const PLOT: (f64, f64) = (640.0, 160.0);

/// The distance of grid lines, of which at most five reach `greatest`: 1, 2 or 5 times a power of ten.
fn grid(greatest: f64) -> f64 {
    let (mut step, mut turn) = (1e-3, 0);
    // Powers of ten are a little off.
    while step * 5.000001 < greatest && turn < 40 {
        step *= if turn % 3 == 1 { 2.5 } else { 2.0 };
        turn += 1;
    }
    step
}

/// A chart of one axis: `unit` at its left, `span` (as `30 min`) below. Values begin at zero and go to the greatest of all
/// curves, but no further than three times that of the first: rare late runs do not flatten what matters. What is
/// greater is cut off, and the curve's name tells how far it goes.
pub fn panel(title: &str, unit: &str, span: &str, curves: &[Curve<'_>], y: f64) -> String {
    let (width, height) = PLOT;
    let greatest = |c: &Curve<'_>| c.values.iter().flatten().copied().fold(0.0, f64::max);
    let bound = curves.first().map(|c| 3.0 * greatest(c)).filter(|bound| *bound > 0.0);
    let shown = curves.iter().map(greatest).fold(0.0, f64::max).min(bound.unwrap_or(f64::MAX));
    let step = grid(shown);
    let digits = if step < 1.0 { 3 } else { 0 };
    let lines = (shown / step).ceil().clamp(1.0, 5.0);
    let top = step * lines;
    let (left, base) = (60.0, y + 24.0 + height);
    let mut out = String::new();
    let _ =
        write!(out, "<text x=\"{left}\" y=\"{}\" font-weight=\"bold\">{}</text>", y + 14.0, escape(title));
    for line in 0..=lines as u32 {
        let (at, value) = (base - height * f64::from(line) / lines, step * f64::from(line));
        let _ = write!(
            out,
            "<line x1=\"{left}\" y1=\"{at:.1}\" x2=\"{}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{value:.digits$}</text>",
            left + width,
            left - 6.0,
            at + 4.0
        );
    }
    let _ = write!(
        out,
        "<text x=\"{left}\" y=\"{0}\">0</text><text x=\"{1}\" y=\"{0}\" text-anchor=\"end\">{2}</text>\
         <text x=\"10\" y=\"{3}\">{4}</text>",
        base + 16.0,
        left + width,
        escape(span),
        y + 14.0,
        escape(unit)
    );
    for (i, curve) in curves.iter().enumerate() {
        let step = width / curve.values.len().saturating_sub(1).max(1) as f64;
        for run in runs(&curve.values) {
            let points: Vec<String> = run
                .iter()
                .map(|&(at, value)| {
                    format!("{:.1},{:.1}", left + step * at as f64, base - value.min(top) / top * height)
                })
                .collect();
            let _ = write!(
                out,
                "<polyline fill=\"none\" stroke=\"{}\" stroke-width=\"1.5\" points=\"{}\"/>",
                curve.color,
                points.join(" ")
            );
        }
        let cut = Some(greatest(curve)).filter(|greatest| *greatest > top);
        let _ = write!(
            out,
            "<text x=\"{}\" y=\"{}\" fill=\"{}\">{}{}</text>",
            left + 160.0 + 120.0 * i as f64,
            y + 14.0,
            curve.color,
            escape(curve.name),
            cut.map_or(String::new(), |greatest| format!(", up to {greatest:.1}"))
        );
    }
    out
}

/// Height of a panel with its margins.
pub const PANEL: f64 = PLOT.1 + 50.0;

/// A page of panels, each a [`panel`] at its multiple of [`PANEL`].
pub fn svg(panels: &[String]) -> String {
    let (width, height) = (PLOT.0 + 80.0, PANEL * panels.len() as f64);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\"><rect width=\"100%\" height=\"100%\" fill=\"white\"/>{}</svg>\n",
        panels.concat()
    )
}

/// Values without gaps between them, with their positions.
fn runs(values: &[Option<f64>]) -> Vec<Vec<(usize, f64)>> {
    let mut all: Vec<Vec<(usize, f64)>> = vec![Vec::new()];
    for (at, value) in values.iter().enumerate() {
        match (value, all.last_mut()) {
            (Some(value), Some(run)) => run.push((at, *value)),
            (None, Some(run)) if !run.is_empty() => all.push(Vec::new()),
            _ => {}
        }
    }
    all.retain(|run| !run.is_empty());
    all
}

/// Text as HTML and SVG want it.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_end_at_their_values() {
        let text = bars(&[Some(4.0), Some(2.0), None, Some(1.0)], 2);
        assert_eq!(text, "     4.00 │█\n        0 │██ ▄\n");
        assert_eq!(bars(&[None], 2), "");
    }

    #[test]
    fn grids_are_round() {
        let known =
            [(0.38, 0.1), (0.5, 0.1), (1.0, 0.2), (3.1, 1.0), (74.8, 20.0), (2400.0, 500.0), (0.0, 0.001)];
        for (greatest, step) in known {
            assert!((grid(greatest) / step - 1.0).abs() < 1e-9, "{greatest}: {}", grid(greatest));
        }
    }

    #[test]
    fn late_runs_are_cut_off_and_told() {
        let curve = |name, values: [f64; 2]| Curve { name, color: "red", values: values.map(Some).into() };
        let svg = panel("t", "ms", "4 s", &[curve("p50", [1.0, 0.5]), curve("p99", [1.0, 44.0])], 0.0);
        // Three lines of 1 ms above a base at 184, over 160 points.
        assert!(svg.contains(">3</text>") && !svg.contains(">4</text>"), "{svg}");
        assert!(svg.contains("points=\"60.0,130.7 700.0,157.3\""), "{svg}");
        assert!(svg.contains("60.0,130.7 700.0,24.0") && svg.contains(">p99, up to 44.0<"), "{svg}");
    }

    #[test]
    fn a_gap_parts_a_curve() {
        let curve = Curve { name: "a<b", color: "red", values: vec![Some(1.0), None, Some(2.0), Some(3.0)] };
        let svg = svg(&[panel("t", "ms", "4 s", &[curve], 0.0)]);
        assert_eq!(svg.matches("<polyline").count(), 2);
        assert!(svg.contains("a&lt;b") && !svg.contains("a<b"));
    }
}
