//! A result as one page that can be published: no scripts, nothing from elsewhere.

use std::fmt::Write;

use serde_json::Value;

use super::chart::escape;
use super::times::Bin;

const STYLE: &str = "body{font:15px/1.5 sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;color:#222}\
table{border-collapse:collapse;margin:1rem 0}td,th{padding:.2rem .8rem;text-align:left;border-bottom:1px solid #ddd}\
td.n{text-align:right;font-variant-numeric:tabular-nums}svg{max-width:100%}code{background:#f3f3f3}";

/// What stands on the page besides the result itself.
pub struct Page<'a> {
    /// File name of the model.
    pub model: &'a str,
    pub machine: &'a str,
    /// The result as `--json` prints it.
    pub result: &'a Value,
    pub histogram: &'a [Bin],
    /// The curves of a long run.
    pub curves: Option<String>,
    /// The options that another one repeats it with.
    pub command: &'a str,
}

impl Page<'_> {
    pub fn html(&self) -> String {
        let r = self.result;
        let title = format!("{} on {}", self.model, self.machine);
        let mut out = format!(
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{0}</title><style>{STYLE}</style><h1>{0}</h1>",
            escape(&title)
        );
        let figure = |key: &str| r["latency_ms"][key].as_f64().unwrap_or(0.0);
        let mut rows = vec![
            ("median latency", format!("{:.3} ms", figure("p50"))),
            ("90 % below", format!("{:.3} ms", figure("p90"))),
            ("99 % below", format!("{:.3} ms", figure("p99"))),
            ("greatest", format!("{:.3} ms", figure("max"))),
            ("standard deviation", format!("{:.3} ms", figure("deviation"))),
            ("inferences per second", format!("{:.1}", r["throughput_per_s"].as_f64().unwrap_or(0.0))),
            ("GMAC/s", format!("{:.2}", r["gmac_per_s"].as_f64().unwrap_or(0.0))),
            ("timed runs", r["runs"].to_string()),
            ("threads", r["threads"].to_string()),
            ("instruction set", text(&r["isa"])),
            ("cores", clusters(&r["machine"]["clocks"])),
        ];
        if let Some(joules) = r["joules_per_inference"].as_f64() {
            rows.push((
                "energy",
                format!("{:.2} mJ per inference ({})", joules * 1e3, text(&r["power_sensor"])),
            ));
        }
        if let Some(celsius) = r["machine"]["max_celsius"].as_f64() {
            rows.push(("temperature", format!("{celsius:.1} °C at most")));
        }
        if let Some(peak) = r["peak_rss_bytes"].as_u64() {
            rows.push(("peak memory of the process", crate::common::size(peak)));
        }
        let slowed: Vec<String> = r["machine"]["slowed"].as_array().into_iter().flatten().map(text).collect();
        rows.push((
            "held down by",
            if slowed.is_empty() { "nothing that the system tells".into() } else { slowed.join(", ") },
        ));
        // Writing to a String does not fail.
        let _ = write!(out, "<table>");
        for (name, value) in rows {
            let _ = write!(out, "<tr><th>{name}</th><td class=\"n\">{}</td></tr>", escape(&value));
        }
        let _ = write!(out, "</table><h2>Spread</h2>{}", histogram(self.histogram));
        if let Some(curves) = &self.curves {
            let _ = write!(out, "<h2>Over time</h2>{curves}");
        }
        let _ = write!(out, "<h2>Steps</h2>{}", steps(&r["profile"]));
        let _ = writeln!(
            out,
            "<p>Measured with cygnet {} by <code>{}</code>.</p></html>",
            env!("CARGO_PKG_VERSION"),
            escape(self.command)
        );
        out
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn clusters(clocks: &Value) -> String {
    let one = |c: &Value| {
        let count = c["cores"].as_array().map_or(0, Vec::len);
        let clock = c["mean_mhz"].as_f64().map_or(String::new(), |mhz| format!(" at {mhz:.0} MHz"));
        format!("{count} x {}{clock}", text(&c["core"]))
    };
    clocks.as_array().into_iter().flatten().map(one).collect::<Vec<_>>().join(", ")
}

/// Classes as bars; the last one, of late runs, in another colour.
fn histogram(bins: &[Bin]) -> String {
    const HEIGHT: f64 = 140.0;
    let top = bins.iter().map(|b| b.count).max().unwrap_or(0).max(1) as f64;
    let wide = 640.0 / bins.len().max(1) as f64;
    let mut out = format!(
        "<svg viewBox=\"0 0 720 {}\" width=\"720\" font-family=\"sans-serif\" font-size=\"12\">",
        HEIGHT + 30.0
    );
    for (i, bin) in bins.iter().enumerate() {
        let tall = HEIGHT * bin.count as f64 / top;
        let color = if i + 1 == bins.len() && i > 0 { "#c0504d" } else { "#1f6fb2" };
        let _ = write!(
            out,
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{tall:.1}\" fill=\"{color}\"><title>{:.3} to {:.3} ms: {}</title></rect>",
            20.0 + wide * i as f64,
            HEIGHT - tall,
            (wide - 1.0).max(0.5),
            bin.from_ms,
            bin.to_ms,
            bin.count
        );
    }
    let ends = (bins.first().map_or(0.0, |b| b.from_ms), bins.last().map_or(0.0, |b| b.from_ms));
    let _ = write!(
        out,
        "<text x=\"20\" y=\"{0}\">{1:.3} ms</text><text x=\"660\" y=\"{0}\" text-anchor=\"end\">{2:.3} ms; red: later</text></svg>",
        HEIGHT + 16.0,
        ends.0,
        ends.1
    );
    out
}

/// The twenty costliest steps.
fn steps(profile: &Value) -> String {
    let mut steps: Vec<&Value> = profile["steps"].as_array().into_iter().flatten().collect();
    let us = |step: &Value| step["best_us"].as_f64().unwrap_or(0.0);
    let total: f64 = steps.iter().map(|s| us(s)).sum::<f64>().max(1e-9);
    steps.sort_by(|a, b| us(b).total_cmp(&us(a)));
    let mut out = "<table><tr><th>step</th><th>kernel</th><th>least µs</th><th>%</th></tr>".to_owned();
    for step in steps.into_iter().take(20) {
        let _ = write!(
            out,
            "<tr><td>{}</td><td>{}</td><td class=\"n\">{:.1}</td><td class=\"n\">{:.1}</td></tr>",
            escape(&text(&step["name"])),
            escape(&text(&step["kernel"])),
            us(step),
            100.0 * us(step) / total
        );
    }
    out + "</table>"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_outside_stay_text() {
        let result = serde_json::json!({
            "latency_ms": { "p50": 1.5 }, "machine": { "slowed": ["<b>"], "clocks": [] },
            "profile": { "steps": [{ "name": "<script>", "kernel": "k", "best_us": 2.0 }] },
        });
        let page = Page {
            model: "a<b>.cygnet",
            machine: "m & n",
            result: &result,
            histogram: &[Bin { from_ms: 1.0, to_ms: 2.0, count: 3 }],
            curves: None,
            command: "cygnet bench",
        };
        let html = page.html();
        assert!(html.contains("a&lt;b&gt;.cygnet on m &amp; n") && html.contains("1.500 ms"), "{html}");
        assert!(html.contains("<td class=\"n\">2.0</td>"), "{html}");
        assert!(!html.contains("<script>") && !html.contains("<b>"), "{html}");
    }
}
