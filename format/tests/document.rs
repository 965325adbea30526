//! docs/format.md says what the code does.

use cygnet_format::op::{
    Algorithm, BinaryKind, BlockKind, CellKind, CumulateKind, GroupKind, Op, Outside, PoolKind, ReduceKind,
    ResizeKind, SampleKind, ScatterKind, UnaryKind,
};
use cygnet_format::{DType, Kind, Precision, layout, meta};

const DOCUMENT: &str = include_str!("../../docs/format.md");

/// The text from one heading to the next of the same or a higher level.
fn part(heading: &str) -> &'static str {
    let level = heading.split(' ').next().expect("hashes");
    let start = DOCUMENT.find(&format!("\n{heading}")).unwrap_or_else(|| panic!("no heading {heading}")) + 1;
    let rest = &DOCUMENT[start + heading.len()..];
    let ends = (2..=level.len()).filter_map(|n| rest.find(&format!("\n{} ", "#".repeat(n))));
    &rest[..ends.min().unwrap_or(rest.len())]
}

/// The rows of the first table: cells, without the head.
fn table(text: &'static str) -> Vec<Vec<&'static str>> {
    let lines =
        text.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    lines.skip(2).map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

#[test]
fn operations() {
    let rows = table(part("## 3. Operations"));
    let said: Vec<_> = rows.iter().map(|row| row[..4].join(" ")).collect();
    let done: Vec<_> = Op::TABLE
        .iter()
        .map(|(code, name, min, max, words)| format!("{code} {name} {min}..{max} {words}"))
        .collect();
    assert_eq!(said, done);
}

/// The words that the listed parameters take add up to the number in the table.
#[test]
fn parameters_add_up() {
    let text = part("## 3. Operations");
    let groups = table(&text[text.find("Groups of parameters").expect("groups")..]);
    let group_words =
        |name: &str| groups.iter().find(|g| g[0] == name).map(|g| g[1].parse::<usize>().expect("a number"));
    let words_of = |list: &str| -> usize {
        let mut plain = String::new(); // without remarks in parentheses
        let mut depth = 0;
        for c in list.chars() {
            depth += usize::from(c == '(');
            if depth == 0 {
                plain.push(c);
            }
            depth -= usize::from(c == ')');
        }
        let one = |field: &str| match field.split_once('[') {
            Some((_, n)) => n.trim_end_matches(']').parse().expect("a count"),
            None => group_words(field).unwrap_or(1),
        };
        plain.split(',').map(str::trim).filter(|field| !field.is_empty()).map(one).sum()
    };
    for row in table(text) {
        assert_eq!(words_of(row[4]).to_string(), row[3], "{}", row[1]);
    }
    for row in &groups {
        assert_eq!(words_of(row[2]).to_string(), row[1], "{}", row[0]);
    }
}

#[test]
fn enumerations() {
    fn line<T: Copy>(what: &str, all: &[T], code: fn(T) -> u32, name: fn(T) -> &'static str) {
        let list: Vec<_> = all.iter().map(|&v| format!("{} {}", code(v), name(v))).collect();
        let line = format!("- {what}: {}", list.join(", "));
        assert!(DOCUMENT.lines().any(|l| l == line), "docs/format.md lacks the line\n{line}");
    }
    line("algorithm", Algorithm::ALL, |k| k as u32, Algorithm::name);
    line("kind of unary", UnaryKind::ALL, |k| k as u32, UnaryKind::name);
    line("kind of binary", BinaryKind::ALL, |k| k as u32, BinaryKind::name);
    line("kind of pool", PoolKind::ALL, |k| k as u32, PoolKind::name);
    line("kind of reduce", ReduceKind::ALL, |k| k as u32, ReduceKind::name);
    line("kind of resize", ResizeKind::ALL, |k| k as u32, ResizeKind::name);
    line("kind of cumulate", CumulateKind::ALL, |k| k as u32, CumulateKind::name);
    line("kind of scatter", ScatterKind::ALL, |k| k as u32, ScatterKind::name);
    line("kind of sample", SampleKind::ALL, |k| k as u32, SampleKind::name);
    line("kind of outside", Outside::ALL, |k| k as u32, Outside::name);
    line("kind of recurrent", CellKind::ALL, |k| k as u32, CellKind::name);
    line("kind of block-conv", BlockKind::ALL, |k| k as u32, BlockKind::name);
    line("kind of sparse-conv", GroupKind::ALL, |k| k as u32, GroupKind::name);
    let precisions: Vec<_> = Precision::ALL.iter().map(|&p| format!("{} {}", p as u32, p.name())).collect();
    assert!(part("## 6. QUAN").contains(&format!("precision ({})", precisions.join(", "))));
}

#[test]
fn element_types() {
    let text = part("### Tensor record");
    let rows = table(&text[text.find("| code |").expect("the table of types")..]);
    let said: Vec<_> = rows.iter().map(|row| row[..3].join(" ")).collect();
    let done: Vec<_> = DType::ALL.iter().map(|&t| format!("{} {} {}", t as u8, t.name(), t.size())).collect();
    assert_eq!(said, done);
}

#[test]
fn sections() {
    let text = part("### Section table");
    let rows = table(&text[text.find("| kind | critical").expect("the table of kinds")..]);
    let said: Vec<_> = rows.iter().map(|row| row[..2].join(" ")).collect();
    let done: Vec<_> =
        Kind::ALL.iter().map(|&k| format!("`{k}` {}", if k.is_critical() { "yes" } else { "no" })).collect();
    assert_eq!(said, done);
    let magic: Vec<_> = layout::MAGIC.iter().map(|b| format!("{b:02X}")).collect();
    assert!(table(part("### Header"))[0][3].starts_with(&format!("`{}`", magic.join(" "))));
}

#[test]
fn keys() {
    use meta::{key, provenance};
    let text = part("## 4. META");
    let keys = [
        key::TASK,
        key::LABELS,
        key::LAYOUT,
        key::SIZE,
        key::COLOR,
        key::SCALE,
        key::MEAN,
        key::STD,
        key::LETTERBOX,
        key::LICENCE,
        key::SOURCE,
        key::AUTHOR,
        key::DESCRIPTION,
        provenance::SOURCE_FILE,
        provenance::SOURCE_SHA256,
        provenance::CALIBRATION_SHA256,
        provenance::TOOL,
        provenance::TOOL_VERSION,
        provenance::OPTIONS,
        provenance::SEED,
    ];
    for key in keys {
        assert!(text.contains(&format!("`{key}`")), "docs/format.md does not name the key {key}");
    }
}

/// Fields of the fixed records follow one another without a gap, up to the size given.
#[test]
fn records_have_no_holes() {
    let sizes = [
        ("### Header\n\n| offset | size | field | rule |\n| ---: | ---: | --- | --- |\n| 0 | 8", 40),
        ("### Section table", 32),
        ("### Header\n\n| offset | size | field | rule |\n| ---: | ---: | --- | --- |\n| 0 | 4", 72),
        ("### Tensor record", 56),
        ("### Step record", 32),
        ("### Input and output record", 16),
        ("### State record", 24),
    ];
    for (heading, size) in sizes {
        let start = DOCUMENT.find(heading).unwrap_or_else(|| panic!("no {heading}"));
        let end = table(&DOCUMENT[start..]).iter().fold(0, |at, row| {
            assert_eq!(row[0], at.to_string(), "{heading}");
            at + row[1].parse::<usize>().expect("a size")
        });
        assert_eq!(end, size, "{heading}");
    }
}
