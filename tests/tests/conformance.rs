//! ONNX's own tests of its operators, against lists that say of every case how it comes out.
//!
//! The cases of the package onnx and of Debian's libonnx-testdata are looked for in the folder that the environment
//! variable `CYGNET_CONFORMANCE` names; `tests/conformance/make_suites.py` writes them.
//!
//! After a change that is meant to change outcomes: `CYGNET_CONFORMANCE_WRITE=1 cargo test -p cygnet-tests --test
//! conformance` writes the lists anew.
#![cfg(target_arch = "x86_64")]

use std::path::{Path, PathBuf};

use cygnet_tests::{conformance, place};

/// Runs the cases in `folder` and holds the outcomes against the list of that name.
fn check(folder: &Path, title: &str) {
    let list = place::own("conformance").join(format!("{title}.tsv"));
    let text = conformance::listing(title, &conformance::run(folder));
    if std::env::var_os("CYGNET_CONFORMANCE_WRITE").is_some() {
        std::fs::write(&list, text).unwrap_or_else(|e| panic!("{}: {e}", list.display()));
        return;
    }
    let want = std::fs::read_to_string(&list).unwrap_or_else(|e| panic!("{}: {e}", list.display()));
    let differences: Vec<String> = text
        .lines()
        .filter(|line| !want.lines().any(|w| w == *line))
        .map(|line| {
            let case = line.split('\t').next().unwrap_or("");
            let listed = want.lines().find(|w| w.split('\t').next() == Some(case)).unwrap_or("nothing");
            format!("now    {line}\nlisted {listed}")
        })
        .collect();
    assert!(differences.is_empty(), "{} differs:\n{}", list.display(), differences.join("\n"));
    assert_eq!(
        text.lines().count(),
        want.lines().count(),
        "{} lists cases that are not there",
        list.display()
    );
}

/// What is promised of the suites, and that the lists say so themselves.
#[test]
fn lists_add_up() {
    for (title, promised, of) in
        [("onnx-1.23.2", 1250, 1404), ("exports-1.23.2", 125, 140), ("debian-1.12.0", 880, 932)]
    {
        let path = place::own("conformance").join(format!("{title}.tsv"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let cases: Vec<Vec<&str>> =
            text.lines().filter(|l| !l.starts_with('#')).map(|l| l.split('\t').collect()).collect();
        let out = cases.iter().filter(|c| c[1] == "out").count();
        let passed = cases.len() - out;
        assert!(text.starts_with(&format!("# {title}: {passed} of {of} pass\n")), "{title}: its first line");
        assert_eq!(cases.len(), of, "{title}");
        assert!(passed >= promised, "{title}: {passed} pass, {promised} are promised");
        assert!(
            cases.iter().all(|c| c[1] != "out" || c.len() == 3),
            "{title}: every case that is out says why"
        );
    }
}

fn suite(test: &str, name: &str) {
    let Some(folder) = std::env::var_os("CYGNET_CONFORMANCE").filter(|v| !v.is_empty()).map(PathBuf::from)
    else {
        place::skipped(test, "CYGNET_CONFORMANCE names no folder; tests/conformance/make_suites.py makes it");
        return;
    };
    let folder = folder.join(name);
    if !folder.is_dir() {
        place::skipped(test, &format!("there is no {}", folder.display()));
        return;
    }
    check(&folder, name);
}

#[test]
fn onnx_node_suite() {
    suite("onnx_node_suite", "onnx-1.23.2");
}

#[test]
fn small_exported_models() {
    suite("small_exported_models", "exports-1.23.2");
}

#[test]
fn debian_node_suite() {
    suite("debian_node_suite", "debian-1.12.0");
}
