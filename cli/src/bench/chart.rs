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

/// A chart of one axis: `unit` at its left, `span` (as `30 min`) below. Values begin at zero.
pub fn panel(title: &str, unit: &str, span: &str, curves: &[Curve<'_>], y: f64) -> String {
    let (width, height) = PLOT;
    let top = curves.iter().flat_map(|c| c.values.iter().flatten()).copied().fold(0.0, f64::max);
    let top = if top > 0.0 { top * 1.1 } else { 1.0 };
    let (left, base) = (60.0, y + 24.0 + height);
    let mut out = String::new();
    let _ =
        write!(out, "<text x=\"{left}\" y=\"{}\" font-weight=\"bold\">{}</text>", y + 14.0, escape(title));
    for tick in 0..=4 {
        let (at, value) = (base - height * f64::from(tick) / 4.0, top * f64::from(tick) / 4.0);
        let _ = write!(
            out,
            "<line x1=\"{left}\" y1=\"{at:.1}\" x2=\"{}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{value:.1}</text>",
            left + width,
            left - 6.0,
            at + 4.0
        );
    }
    let _ = write!(
        out,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text><text x=\"10\" y=\"{}\">{}</text>",
        left + width,
        base + 16.0,
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
                    format!("{:.1},{:.1}", left + step * at as f64, base - value / top * height)
                })
                .collect();
            let _ = write!(
                out,
                "<polyline fill=\"none\" stroke=\"{}\" stroke-width=\"1.5\" points=\"{}\"/>",
                curve.color,
                points.join(" ")
            );
        }
        let _ = write!(
            out,
            "<text x=\"{}\" y=\"{}\" fill=\"{}\">{}</text>",
            left + 160.0 + 120.0 * i as f64,
            y + 14.0,
            curve.color,
            escape(curve.name)
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
    fn a_gap_parts_a_curve() {
        let curve = Curve { name: "a<b", color: "red", values: vec![Some(1.0), None, Some(2.0), Some(3.0)] };
        let svg = svg(&[panel("t", "ms", "4 s", &[curve], 0.0)]);
        assert_eq!(svg.matches("<polyline").count(), 2);
        assert!(svg.contains("a&lt;b") && !svg.contains("a<b"));
    }
}
