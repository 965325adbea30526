//! Plots, as SVG that takes its colors from the page's style.

use std::fmt::Write;

/// A text safe inside HTML and SVG.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Width of the drawing area of plots, in their own units.
const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 46.0;
const BOTTOM: f64 = 18.0;

/// A series of a plot: style class, name, and a value for each place, or none.
pub struct Series<'a> {
    pub class: &'static str,
    pub name: &'static str,
    pub values: &'a [Option<f64>],
}

/// Lines over places, with a tooltip for each point. `names` are those of the places.
pub fn lines(series: &[Series<'_>], names: &[&str], unit: &str, top: f64) -> String {
    let count = names.len().max(2);
    let x = |i: usize| LEFT + (WIDTH - LEFT - 8.0) * i as f64 / (count - 1) as f64;
    let y = |v: f64| (HEIGHT - BOTTOM) - (HEIGHT - BOTTOM - 8.0) * (v.clamp(0.0, top) / top);
    let mut svg = frame(top, unit, &y);
    for s in series {
        let points: Vec<(usize, f64)> =
            s.values.iter().enumerate().filter_map(|(i, v)| v.map(|v| (i, v))).collect();
        let path: Vec<String> = points.iter().map(|&(i, v)| format!("{:.1},{:.1}", x(i), y(v))).collect();
        let _ = write!(svg, r#"<polyline class="line {}" points="{}"/>"#, s.class, path.join(" "));
        for (i, v) in points {
            let name = escape(names[i]);
            let _ = write!(
                svg,
                r#"<circle class="dot {}" cx="{:.1}" cy="{:.1}" r="3"><title>{name}: {} {} {unit}</title></circle>"#,
                s.class,
                x(i),
                y(v),
                s.name,
                if v.is_finite() { format!("{v:.1}") } else { "exact,".to_owned() }
            );
        }
    }
    svg.push_str("</svg>");
    svg
}

/// Bars over places as one area, with the greatest marked.
pub fn area(values: &[f64], names: &[&str], unit: &str) -> String {
    let greatest = values.iter().copied().fold(0.0, f64::max).max(1e-9);
    let top = greatest * 1.08;
    let y = |v: f64| (HEIGHT - BOTTOM) - (HEIGHT - BOTTOM - 8.0) * (v / top);
    let width = (WIDTH - LEFT - 8.0) / values.len().max(1) as f64;
    let mut svg = frame(top, unit, &y);
    for (i, &v) in values.iter().enumerate() {
        let class = if v == greatest { "bar peak" } else { "bar" };
        let _ = write!(
            svg,
            r#"<rect class="{class}" x="{:.2}" y="{:.1}" width="{:.2}" height="{:.1}"><title>{}: {v:.1} {unit}</title></rect>"#,
            LEFT + width * i as f64,
            y(v),
            width.max(0.6) * 0.92,
            (HEIGHT - BOTTOM - y(v)).max(0.0),
            escape(names[i])
        );
    }
    svg.push_str("</svg>");
    svg
}

/// An empty plot with a scale of four lines.
fn frame(top: f64, unit: &str, y: &dyn Fn(f64) -> f64) -> String {
    let mut svg = format!(r#"<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">"#);
    for i in 0..=4 {
        let v = top * f64::from(i) / 4.0;
        let text = if top < 10.0 { format!("{v:.1}") } else { format!("{v:.0}") };
        let _ = write!(
            svg,
            r#"<line class="grid" x1="{LEFT}" x2="{WIDTH}" y1="{0:.1}" y2="{0:.1}"/><text class="tick" x="{1}" y="{2:.1}">{text}</text>"#,
            y(v),
            LEFT - 6.0,
            y(v) + 4.0
        );
    }
    let _ = write!(svg, r#"<text class="tick unit" x="{LEFT}" y="{:.1}">{unit}</text>"#, HEIGHT - 3.0);
    svg
}

/// A histogram as a small picture; `range` is what the scale expresses, shaded where it ends inside.
pub fn histogram(low: f64, high: f64, counts: &[u32], range: Option<[f64; 2]>) -> String {
    const W: f64 = 144.0;
    const H: f64 = 30.0;
    let greatest = f64::from(counts.iter().copied().max().unwrap_or(1).max(1));
    let width = W / counts.len().max(1) as f64;
    let mut svg =
        format!(r#"<svg class="hist" viewBox="0 0 {W} {H}" role="img"><title>{low:.3} to {high:.3}</title>"#);
    for (i, &n) in counts.iter().enumerate() {
        // Square roots let tails be seen.
        let h = (f64::from(n) / greatest).sqrt() * H;
        if h > 0.0 {
            let (x, y) = (width * i as f64, H - h);
            let _ = write!(
                svg,
                r#"<rect class="bar" x="{x:.1}" y="{y:.1}" width="{:.2}" height="{h:.1}"/>"#,
                width * 0.9
            );
        }
    }
    if let Some([from, to]) = range {
        let at = |v: f64| ((v - low) / (high - low).max(1e-30) * W).clamp(0.0, W);
        for (x0, x1) in [(0.0, at(from)), (at(to), W)] {
            if x1 - x0 > 0.5 {
                let _ = write!(
                    svg,
                    r#"<rect class="cut" x="{x0:.1}" y="0" width="{:.1}" height="{H}"/>"#,
                    x1 - x0
                );
            }
        }
    }
    svg.push_str("</svg>");
    svg
}

/// A share of a whole as a bar.
pub fn meter(share: f64, class: &str) -> String {
    format!(
        r#"<span class="meter"><span class="{class}" style="width:{:.1}%"></span></span>"#,
        (share * 100.0).clamp(0.0, 100.0)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_cannot_break_out() {
        assert_eq!(escape(r#"<a b="c">&"#), "&lt;a b=&quot;c&quot;&gt;&amp;");
        let svg = area(&[1.0], &["</title><script>"], "KiB");
        assert!(!svg.contains("<script>"));
    }

    #[test]
    fn plots_have_every_point() {
        let values = [Some(10.0), None, Some(f64::INFINITY)];
        let svg =
            lines(&[Series { class: "own", name: "own", values: &values }], &["a", "b", "c"], "dB", 60.0);
        assert_eq!(svg.matches("<circle").count(), 2);
        // Infinite signal to noise is drawn at the top: 8 below the edge.
        assert!(svg.contains(r#"cy="8.0""#), "{svg}");
    }

    #[test]
    fn what_a_scale_leaves_out_is_shaded() {
        let cut = |range| histogram(0.0, 10.0, &[1; 10], range).matches("cut").count();
        assert_eq!((cut(Some([0.0, 10.0])), cut(Some([-1.0, 5.0])), cut(Some([2.0, 5.0]))), (0, 1, 2));
    }
}
