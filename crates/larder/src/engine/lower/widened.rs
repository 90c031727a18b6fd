//! Widened: a few prefixes of keys that stand for many paths.
//!
//! A path is what keys begin with, as of URIs: `https://host/some/where`. What is looked for is the deepest folders that
//! are few enough. Of more sites than that, everything is left.

use std::collections::BTreeSet;

/// Deeper folders are not told apart.
const MAX_DEPTH: usize = 8;

/// At most `most` prefixes, in order, of which one is what each of `paths` begins with; `""` alone where those are of more
/// sites. `most` is at least 1.
pub(super) fn prefixes<'a>(
    paths: impl Iterator<Item = &'a str> + Clone,
    most: usize,
) -> Vec<String> {
    let mut best = BTreeSet::from([""]);
    for depth in 0..=MAX_DEPTH {
        let mut folders = BTreeSet::new();
        for path in paths.clone() {
            folders.insert(folder(path, depth));
            if folders.len() > most {
                return without_nested(&best);
            }
        }
        best = folders;
    }
    without_nested(&best)
}

/// What lies in another one of them needs no prefix of its own.
fn without_nested(folders: &BTreeSet<&str>) -> Vec<String> {
    let mut left: Vec<String> = Vec::new();
    for folder in folders {
        if !left.last().is_some_and(|outer| folder.starts_with(outer.as_str())) {
            left.push((*folder).to_owned());
        }
    }
    left
}

/// The folder of a path that lies so deep, or its deepest. One that has no site is whole.
fn folder(path: &str, depth: usize) -> &str {
    let Some(scheme) = path.find("//") else { return path };
    let slashes = path[scheme + 2..].match_indices('/');
    match slashes.take(depth + 1).last() {
        Some((at, _)) => &path[..scheme + 2 + at + 1],
        None => path,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(paths: &[&str], most: usize) -> Vec<String> {
        prefixes(paths.iter().copied(), most)
    }

    #[test]
    fn they_are_the_deepest_folders_that_are_few_enough() {
        let paths = ["https://h/a/b/1", "https://h/a/b/2", "https://h/a/c/1", "https://g/x"];
        assert_eq!(of(&paths, 3), ["https://g/", "https://h/a/b/", "https://h/a/c/"]);
        assert_eq!(of(&paths, 2), ["https://g/", "https://h/a/"]);
        assert_eq!(of(&paths, 1), [""]);
        assert_eq!(
            of(&["https://h/a/1", "https://h/2"], 4),
            ["https://h/"],
            "one lies in the other"
        );
        assert_eq!(of(&[], 4), [""; 0]);
        assert_eq!(of(&["https://h/"], 1), ["https://h/"]);
    }

    #[test]
    fn what_is_no_path_stands_for_itself() {
        assert_eq!(of(&["a", "b"], 2), ["a", "b"]);
        assert_eq!(of(&["a", "b"], 1), [""]);
        assert_eq!(of(&["", "https://h/a"], 2), [""]);
        assert_eq!(of(&["https://h"], 2), ["https://h"]);
    }

    proptest! {
        #[test]
        fn each_path_begins_with_one_of_them_and_they_are_few(
            paths in proptest::collection::vec("(https://[ab](/[abc]{0,2}){0,10}|[a/:]{0,6})", 0..40),
            most in 1..20_usize,
        ) {
            let found = prefixes(paths.iter().map(String::as_str), most);
            prop_assert!(found.len() <= most);
            for path in &paths {
                prop_assert!(found.iter().any(|prefix| path.starts_with(prefix.as_str())), "{path}");
            }
        }
    }
}
