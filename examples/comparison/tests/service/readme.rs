//! The README's tables say what is counted and tried here.

use crate::{
    behaviours,
    running::{SERVICES, Service},
};

/// Lines of code: neither blank nor a comment.
fn lines(service: Service) -> usize {
    let lines = service.source.lines().map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with("//")).count()
}

const README: &str = include_str!("../../README.md");

#[track_caller]
fn assert_says(row: &str) {
    assert!(README.lines().any(|line| line == row), "the README lacks the line\n{row}");
}

#[test]
fn the_readme_tells_how_long_each_service_is() {
    let counts = SERVICES.map(lines);
    let row = counts.map(|count| format!(" {count} |")).concat();
    assert_says(&format!("| lines of code |{row}"));
}

#[test]
fn the_readme_tells_which_behaviours_hold_for_which_service() {
    for (name, holds_for) in behaviours::ALL {
        let marks =
            SERVICES.map(|service| if holds_for.contains(&service) { " ✓ |" } else { " **no** |" });
        assert_says(&format!("| {} |{}", name.replace('_', " "), marks.concat()));
    }
    let told = README.lines().filter(|line| line.contains('✓')).count();
    assert_eq!(told, behaviours::ALL.len(), "the README tells of one that is not tried");
}

#[test]
fn larders_service_is_the_shortest_and_lacks_nothing() {
    let [larder, moka, cached] = SERVICES.map(lines);
    assert!(larder < moka && larder < cached, "{larder}, {moka}, {cached}");
    assert!(behaviours::ALL.iter().all(|(_, holds_for)| holds_for.contains(&SERVICES[0])));
}
