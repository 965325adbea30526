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
