//! The report as one page that needs nothing else: styles and plots are inside.

use std::fmt::Write;

use cygnet::DType;
use cygnet_convert::compare::Layer;

use super::svg::{Series, area, escape, histogram, lines, meter};
use super::{Report, Step};
use crate::common::{shape, size};

const STYLE: &str = include_str!("style.css");

/// Top of the plot of signal to noise, in dB.
const TOP_DB: f64 = 60.0;

pub fn page(r: &Report<'_>) -> String {
    let title = escape(&r.source);
    let mut out = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>{title}</title><style>{STYLE}</style></head><body><main>\n"
    );
    let _ = write!(out, "<h1>{title}</h1><p>converted with --precision {}</p>", escape(&r.precision));
    for part in [
        cards(r),
        strip(r),
        raised(r),
        sparsity(r),
        errors(r),
        layers(r),
        memory(r),
        sizes(r),
        targets(r),
        steps(r),
    ] {
        out.push_str(&part);
        out.push('\n');
    }
    out.push_str("</main></body></html>\n");
    out
}

fn section(title: &str, text: &str, body: &str) -> String {
    format!("<section><h2>{title}</h2><p>{text}</p>{body}</section>")
}

fn percent(share: f64) -> String {
    match share * 100.0 {
        p if !p.is_finite() || p > 1e6 => "&gt; 1000000 %".to_owned(),
        p if p >= 10.0 => format!("{p:.0} %"),
        p => format!("{p:.1} %"),
    }
}

fn cards(r: &Report<'_>) -> String {
    let c = r.converted;
    let macs: u64 = c.steps.iter().map(|s| s.macs).sum();
    let mut cards = vec![
        (size(c.file.len() as u64), "file".to_owned()),
        (size(c.weights_bytes as u64), "weights".to_owned()),
        (
            size(c.program.arena_bytes),
            format!("memory at run time (least possible {})", size(c.program.arena_lower_bound)),
        ),
        (format!("{:.1} M", macs as f64 / 1e6), "multiply-accumulates".to_owned()),
        (percent(c.share(DType::S8)), "of them in int8".to_owned()),
    ];
    if let Some(found) = &c.found {
        let text = format!("of the error accepted (all in int8: {})", percent(found.whole));
        cards.push((percent(found.error), text));
    }
    if let Some(e) = &c.enlarged {
        let text = format!(
            "channels enlarged by equalization, at most {:.1} times; {} samples",
            e.greatest, e.samples
        );
        cards.push((format!("{} of {}", e.channels, e.of), text));
    }
    let one = |(value, text): &(String, String)| {
        format!("<div class=\"card\"><b>{value}</b><span>{text}</span></div>")
    };
    format!("<div class=\"cards\">{}</div>", cards.iter().map(one).collect::<String>())
}

fn class(dtype: &str) -> &'static str {
    match dtype {
        "s8" => "s8",
        "f16" => "f16",
        "f32" => "f32",
        _ => "other",
    }
}

/// The type of a graph's step, by name.
fn type_of(dtype: DType) -> &'static str {
    if dtype == DType::S8 { "int8" } else { dtype.name() }
}

fn strip(r: &Report<'_>) -> String {
    let products: Vec<_> = r.converted.steps.iter().filter(|s| s.macs > 0).collect();
    let mut body = String::from("<div class=\"strip\">");
    for s in &products {
        let why = s.reason.as_deref().unwrap_or("");
        let title = format!("{} ({}, {:.1} M) {why}", s.name, type_of(s.dtype), s.macs as f64 / 1e6);
        // Roots: small layers can still be seen.
        let grow = (s.macs as f64).sqrt();
        let _ = write!(
            body,
            "<i class=\"{}\" style=\"flex:{grow:.0}\" title=\"{}\"></i>",
            class(s.dtype.name()),
            escape(&title)
        );
    }
    body.push_str("</div><div class=\"legend\">");
    for dtype in [DType::S8, DType::F16, DType::F32] {
        let share = r.converted.share(dtype);
        if share > 0.0 {
            let _ = write!(
                body,
                "<span><i class=\"{}\"></i>{} {}</span>",
                class(dtype.name()),
                type_of(dtype),
                percent(share)
            );
        }
    }
    body.push_str("</div>");
    section(
        "Precision of each layer",
        "Convolutions and matrix products from the first to the last, by their work.",
        &body,
    )
}

fn raised(r: &Report<'_>) -> String {
    let kept: Vec<_> = r.converted.steps.iter().filter(|s| s.macs > 0 && s.reason.is_some()).collect();
    if kept.is_empty() {
        return section(
            "Layers that stay higher",
            "None: everything that multiplies runs in the precision asked for.",
            "",
        );
    }
    let mut body = String::from(
        "<div class=\"scroll\"><table><tr><th>layer</th><th>type</th><th class=\"n\">M MAC</th><th class=\"n\">error in int8</th><th></th><th>why</th></tr>",
    );
    for s in &kept {
        let cost = s.cost.map_or((String::new(), String::new()), |c| (percent(c), meter(c, "bad")));
        let _ = write!(
            body,
            "<tr><td class=\"name\">{}</td><td><span class=\"tag {}\">{}</span></td><td class=\"n\">{:.1}</td>\
             <td class=\"n\">{}</td><td>{}</td><td class=\"why\">{}</td></tr>",
            escape(&s.name),
            class(s.dtype.name()),
            type_of(s.dtype),
            s.macs as f64 / 1e6,
            cost.0,
            cost.1,
            escape(s.reason.as_deref().unwrap_or_default())
        );
    }
    body.push_str("</table></div>");
    let measure = r.converted.found.as_ref().map_or(String::new(), |f| {
        format!(
            "Error of the outputs if the layer alone ran in int8; 100 % is what is accepted: {}.",
            escape(&f.measure)
        )
    });
    section("Layers that stay higher", &measure, &body)
}

/// Products with many weights of zero, where there are any.
fn sparsity(r: &Report<'_>) -> String {
    let found = &r.converted.sparsity;
    if found.is_empty() {
        return String::new();
    }
    let mut body = String::from(
        "<div class=\"scroll\"><table><tr><th>layer</th><th class=\"n\">zeros</th><th class=\"n\">groups of 4</th>\
         <th class=\"n\">groups of 2</th><th>step</th></tr>",
    );
    for f in found {
        let outcome = match &f.outcome {
            Ok(group) => format!("sparse, by groups of {}", group.inputs()),
            Err(why) => format!("dense: {}", escape(why)),
        };
        let _ = write!(
            body,
            "<tr><td class=\"name\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
             <td class=\"why\">{outcome}</td></tr>",
            escape(&f.step),
            percent(f.zeros),
            percent(f.fours),
            percent(f.pairs),
        );
    }
    body.push_str("</table></div>");
    let text = "Products with many weights of zero: share of weights, and of groups of consecutive inputs, that are zero.";
    section("Sparsity", text, &body)
}

fn errors(r: &Report<'_>) -> String {
    if r.layers.is_empty() {
        return String::new();
    }
    let names: Vec<&str> = r.layers.iter().map(|l| l.step.as_str()).collect();
    let sum: Vec<Option<f64>> = r.layers.iter().map(|l| Some(l.sqnr_db).filter(|v| !v.is_nan())).collect();
    let known = |l: &Layer| {
        let step = r.converted.steps.iter().find(|s| s.name == l.step || s.name == l.tensor);
        step.filter(|s| s.dtype == DType::S8).and_then(|s| s.sqnr_db).map(f64::from)
    };
    let own: Vec<Option<f64>> = r.layers.iter().map(known).collect();
    let series = [
        Series { class: "sum", name: "with all layers before", values: &sum },
        Series { class: "own", name: "alone", values: &own },
    ];
    let plot = format!("<div class=\"scroll\">{}</div>", lines(&series, &names, "dB", TOP_DB));
    let legend = "<div class=\"legend\"><span><i class=\"f32\"></i>with all layers before it</span>\
                  <span><i class=\"ownbg\"></i>the layer alone, fed with exact inputs</span></div>";
    let text = format!(
        "Signal over quantization noise of each result, over {} samples: 40 dB is an error of 1 %, 20 dB of 10 %. Exact results are at the top.",
        r.samples
    );
    section("Error, layer by layer", &text, &(plot + legend))
}

fn layers(r: &Report<'_>) -> String {
    if r.layers.is_empty() {
        return String::new();
    }
    let mut body = String::from(
        "<details><summary>Show all</summary><div class=\"scroll\"><table><tr><th>layer</th><th>type</th><th>values</th>\
         <th class=\"n\">least</th><th class=\"n\">greatest</th><th class=\"n\">cosine</th><th class=\"n\">dB</th><th class=\"n\">saturated</th></tr>",
    );
    for l in &r.layers {
        let h = &l.histogram;
        let saturated =
            if l.saturated > 0.0 { format!("{:.3} %", l.saturated * 100.0) } else { String::new() };
        let _ = write!(
            body,
            "<tr><td class=\"name\">{}</td><td><span class=\"tag {}\">{}</span></td><td>{}</td><td class=\"n\">{:.3}</td>\
             <td class=\"n\">{:.3}</td><td class=\"n\">{:.5}</td><td class=\"n\">{:.1}</td><td class=\"n\">{saturated}</td></tr>",
            escape(&l.step),
            class(l.dtype.name()),
            type_of(l.dtype),
            histogram(h.low, h.high, &h.counts, l.range),
            h.low,
            h.high,
            l.cosine,
            l.sqnr_db
        );
    }
    body.push_str("</table></div></details>");
    section(
        "Values and ranges",
        "What the float model's results hold (heights are square roots of counts). Shaded: values that the scale of int8 leaves out.",
        &body,
    )
}

fn memory(r: &Report<'_>) -> String {
    let names: Vec<&str> = r.steps.iter().map(|s| s.name.as_str()).collect();
    let values: Vec<f64> = r.timeline.iter().map(|&b| b as f64 / 1024.0).collect();
    let plot = format!("<div class=\"scroll\">{}</div>", area(&values, &names, "KiB"));
    section("Memory while it runs", "Bytes alive at each step; the peak is marked.", &plot)
}

fn sizes(r: &Report<'_>) -> String {
    let all: u64 = r.sizes.iter().map(|s| s.1).sum();
    let mut body =
        String::from("<table><tr><th>type</th><th class=\"n\">weights and tables</th><th></th></tr>");
    for (name, bytes) in &r.sizes {
        let share = *bytes as f64 / all.max(1) as f64;
        let _ = write!(
            body,
            "<tr><td><span class=\"tag {0}\">{1}</span></td><td class=\"n\">{2}</td><td>{3}</td></tr>",
            class(name),
            if *name == "s8" { "int8" } else { name },
            size(*bytes),
            meter(share, class(name))
        );
    }
    body.push_str("</table>");
    section("Size", "What the constants in the file take, by the type that they are multiplied in.", &body)
}

fn targets(r: &Report<'_>) -> String {
    let slowest = r.targets.iter().map(|t| t.ms).fold(0.0, f64::max).max(1e-9);
    let mut body = String::from(
        "<div class=\"scroll\"><table><tr><th>device</th><th>core</th><th class=\"n\">one core</th><th></th><th class=\"n\">all of the fastest</th></tr>",
    );
    for t in &r.targets {
        let _ = write!(
            body,
            "<tr><td>{}</td><td>{} &times; {}</td><td class=\"n\">{:.1} ms</td><td>{}</td><td class=\"n\">{:.1} ms</td></tr>",
            t.name,
            t.cores,
            escape(&t.core),
            t.ms,
            meter(t.ms / slowest, "f32"),
            t.ms_all
        );
    }
    body.push_str("</table></div>");
    section("Predicted time", "From what kernels reach on each core; no device was measured.", &body)
}

fn steps(r: &Report<'_>) -> String {
    let mut body = String::from(
        "<details><summary>Show all</summary><div class=\"scroll\"><table><tr><th class=\"n\">#</th><th>step</th><th>operation</th><th>type</th><th>result</th>\
         <th class=\"n\">M MAC</th><th class=\"n\">alone, dB</th><th class=\"n\">cost</th><th>why</th></tr>",
    );
    for (i, s) in r.steps.iter().enumerate() {
        body.push_str(&step(i, s));
    }
    body.push_str("</table></div></details>");
    section("Steps of the program", "In the order in which they run.", &body)
}

fn step(i: usize, s: &Step) -> String {
    format!(
        "<tr><td class=\"n\">{i}</td><td class=\"name\">{}</td><td>{}</td><td><span class=\"tag {}\">{}</span></td><td>{}</td>\
         <td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"why\">{}</td></tr>",
        escape(&s.name),
        s.op,
        class(s.dtype),
        if s.dtype == "s8" { "int8" } else { s.dtype },
        shape(&s.dims),
        if s.macs > 0 { format!("{:.1}", s.macs as f64 / 1e6) } else { String::new() },
        s.sqnr_db.map_or(String::new(), |db| format!("{db:.1}")),
        s.cost.map_or(String::new(), percent),
        escape(s.reason.as_deref().unwrap_or_default())
    )
}
