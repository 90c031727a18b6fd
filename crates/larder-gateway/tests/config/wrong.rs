//! Files that are wrong as people write them, each with all that is said of it (`wrong.txt`).

use std::fmt::Write;

use crate::{check, header, same_as_in};

const TABLE: &str = include_str!("wrong.txt");
/// Between two files, and between a file and what is said of it.
const NEXT: &str = "\n======\n";
const SAID: &str = "\n------\n";

#[test]
fn each_mistake_is_told_with_its_place_and_what_would_be_right() {
    let mut table = String::new();
    let files: Vec<_> = TABLE.trim_end().split(NEXT).collect();
    assert!(files.len() >= 60, "{}", files.len());
    for file in files {
        let text = file.split(SAID).next().unwrap();
        let said = match check(text) {
            Ok(_) => panic!("nothing is said of:\n{text}"),
            Err(mistakes) => mistakes.to_string(),
        };
        let separator = if table.is_empty() { "" } else { NEXT };
        write!(table, "{separator}{text}{SAID}{said}").unwrap();
    }
    same_as_in("tests/config/wrong.txt", &(table + "\n"));
}

#[test]
fn each_mistake_has_a_line_a_column_and_an_example() {
    for file in TABLE.trim_end().split(NEXT) {
        let text = file.split(SAID).next().unwrap();
        for mistake in check(text).unwrap_err().iter() {
            let said = mistake.to_string();
            let is_whole = said.contains("\n  expected: ") && said.contains("\n  example: ");
            assert!(is_whole, "{said}\nof:\n{text}");
            // What is missing in an empty file stands nowhere.
            let is_nowhere = mistake.place.is_none() && !text.contains("[upstream");
            assert!(is_nowhere || said.starts_with("larder.toml:"), "{said}\nof:\n{text}");
        }
    }
}

#[test]
fn an_example_that_is_given_is_one_that_is_taken() {
    for key in larder_gateway::config::keys() {
        let table = header(&key.table);
        let (upstream, example) = match table.as_str() {
            "[upstream.blog]" if key.name == "url" => ("", format!("{table}\n{}", key.example)),
            "" => ("", key.example),
            "[upstream.blog]" => ("[upstream.blog]\nurl = 8001\n", key.example),
            _ => ("[upstream.blog]\nurl = 8001\n", format!("{table}\n{}", key.example)),
        };
        let text = format!("{upstream}{example}\n");
        let (_, _, mistakes) = larder_gateway::config::read_on("larder.toml".as_ref(), &text);
        assert!(mistakes.is_empty(), "{text}\n{mistakes:?}");
    }
}
