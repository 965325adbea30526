//! `docs/operators.md` says what the tables of the importers say.

use std::path::PathBuf;

use cygnet_convert::operators;

#[test]
fn the_page_is_what_the_tables_say() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/operators.md");
    let text = operators::document();
    if std::env::var_os("CYGNET_WRITE").is_some() {
        std::fs::write(&path, &text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }
    let page = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let differs = page.lines().zip(text.lines()).find(|(a, b)| a != b);
    assert!(
        page == text,
        "{} differs ({differs:?}); run CYGNET_WRITE=1 cargo test -p cygnet-convert --test operators",
        path.display()
    );
}

#[test]
fn notes_are_of_operators_that_exist() {
    let text = operators::document();
    for op in operators::noted() {
        let name = op.rsplit('.').next().unwrap_or(op);
        assert!(text.contains(&format!("| {name} | ")), "a note is about {op}, which no table has");
    }
}

/// Every operator of ONNX's own domains has its versions; those that ONNX does not define are ONNX Runtime's.
#[test]
fn operators_have_their_opsets() {
    let text = operators::document();
    let section = |title: &str| {
        let from = text.find(&format!("### {title} (")).expect("a section");
        let rest = &text[from + 4..];
        rest[..rest.find("\n### ").unwrap_or(rest.len())].to_owned()
    };
    let rows = |s: &str| -> Vec<Vec<String>> {
        let cells = |l: &str| l.split(" | ").map(|c| c.trim_matches(['|', ' ']).to_owned()).collect();
        s.lines().filter(|l| l.starts_with("| ") && !l.contains("---")).skip(1).map(cells).collect()
    };
    let onnx = rows(&section("ai.onnx"));
    assert!(onnx.len() > 180);
    let of = |name: &str| onnx.iter().find(|r| r[0] == name).unwrap_or_else(|| panic!("{name}"))[1].clone();
    // As https://onnx.ai/onnx/operators has them.
    assert_eq!((of("Conv"), of("Gelu"), of("Resize")), ("1 to 22".into(), "20".into(), "10 to 19".into()));
    let ranges =
        onnx.iter().all(|r| r[1].split(" to ").all(|v| v.parse::<u8>().is_ok_and(|v| (1..=28).contains(&v))));
    assert!(ranges, "{onnx:?}");
}
