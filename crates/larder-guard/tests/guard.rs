//! The guard itself: each of its cases comes to its end, and the page for users has the figures of the record.

use std::{env, fs, path::PathBuf, process::Command};

/// The cases, and what the page says of them.
const CASES: [(&str, &str); 12] = [
    ("hit", "a hit"),
    ("hit-unaccounted", "the same if no route counted it and none had an id"),
    ("hit-watched", "a hit while 32 consoles are open"),
    ("hit-matched", "the same where one of a hundred routes has to be found"),
    (
        "hit-everything",
        "the same with a hundred routes, rules for queries and cookies, and a tier below memory",
    ),
    ("hit-unrouted", "a hit whose request has a query of five parameters and two cookies"),
    (
        "hit-routed",
        "the same with a hundred routes, a sorted and filtered query, and cookies that do not matter",
    ),
    ("hit-tracked-unrouted", "a hit whose request is a few bytes longer than that"),
    (
        "hit-tracked",
        "the same with those routes and rules, and a number in `gclid` that nobody has sent before",
    ),
    ("not-modified", "a 304"),
    ("miss", "a miss"),
    ("pass", "a pass"),
];

fn file(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn each_case_is_answered_as_it_says_to_its_end() {
    for (name, _) in CASES {
        let guard = env!("CARGO_BIN_EXE_larder-guard");
        // More than a target has to be asked for to be known.
        let ended = Command::new(guard).args([name, "20"]).output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success(), "{name}: {said}");
    }
}

#[test]
fn the_page_of_costs_has_the_figures_of_the_record() {
    const BEGIN: &str = "<!-- Written by crates/larder-guard/tests/guard.rs -->\n";
    const END: &str = "<!-- So far. -->\n";
    let record = fs::read_to_string(file("guard.txt")).unwrap();
    let rows: Vec<_> = record.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(rows.len(), CASES.len(), "a row for each case");
    let mut table = "\n| | instructions |\n| --- | --- |\n".to_owned();
    for (row, (name, words)) in rows.into_iter().zip(CASES) {
        let (of, instructions) = row.split_once(' ').unwrap();
        assert_eq!(of, name);
        table += &format!("| {words} (`{name}`) | {instructions} |\n");
    }
    let page = fs::read_to_string(file("../../docs/cost.md")).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (said, after) = rest.split_once(END).unwrap();
    let wanted = table + "\n";
    if env::var_os("LARDER_BLESS").is_some() {
        fs::write(file("../../docs/cost.md"), [before, BEGIN, &wanted, END, after].concat())
            .unwrap();
    } else {
        assert_eq!(said, wanted, "LARDER_BLESS=1 writes it anew");
    }
}
