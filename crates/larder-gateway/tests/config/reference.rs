//! `docs/config.md` has each key, its meaning and its default, as the program knows them.

use std::{fmt::Write, fs, path::Path};

use larder_gateway::config::{self, EXAMPLE};

use crate::{check, same_as_in};

const FILE: &str = "../../docs/config.md";
const BEGIN: &str = "<!-- Written by crates/larder-gateway/tests/config/reference.rs -->\n";

#[test]
fn the_reference_says_what_there_is() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    let stands = fs::read_to_string(path).unwrap();
    let (before, _) = stands.split_once(BEGIN).expect("the mark that the keys begin with");
    let mut text = format!("{before}{BEGIN}");
    let mut table = String::new();
    for key in config::keys() {
        if key.table != table {
            table.clone_from(&key.table);
            let title = match table.as_str() {
                "" => "Before all tables".to_owned(),
                table => format!("`{table}`"),
            };
            write!(text, "\n### {title}\n\n| key | | example |\n| --- | --- | --- |\n").unwrap();
        }
        let (_, value) = key.example.split_once(" = ").unwrap();
        writeln!(text, "| `{}` | {} | `{value}` |", key.name, key.meaning.replace('\n', " "))
            .unwrap();
    }
    write!(text, "\n## The example\n\nAs `larder init` prints it:\n\n```toml\n{EXAMPLE}```\n")
        .unwrap();
    same_as_in(FILE, &text);
}

#[test]
fn each_key_says_its_default_or_that_it_has_none() {
    for key in config::keys() {
        // What narrows a route down, or is a list, is by default nothing.
        let says = ["Default", "no default"].iter().any(|word| key.meaning.contains(word));
        assert!(says, "{} {}: {}", key.table, key.name, key.meaning);
    }
}

/// The first word after `Default`, where that is a value as it would be written.
fn default(key: &config::Key) -> Option<String> {
    let (_, after) = key.meaning.split_once("Default ")?;
    let word = after.split([',', ':', ';', ' ']).next()?;
    // An address has a colon in it.
    let word = if key.name == "listen" { after.split([',', ' ']).next()? } else { word };
    let is_value = word.starts_with(|c: char| c.is_ascii_digit())
        || ["true", "false", "guarded", "info", "larder", "fetch", "least-outstanding"]
            .contains(&word);
    if !is_value || after.starts_with("true with") {
        return None;
    }
    let (_, example) = key.example.split_once(" = ")?;
    let value = if example.starts_with('"') { format!("{word:?}") } else { word.to_owned() };
    Some(format!("{} = {value}\n", key.name))
}

#[test]
fn a_default_that_is_told_is_the_one_that_holds() {
    const LEAST: &str = "[upstream.blog]\nurl = 8001\n";
    let shown = |text: &str| {
        let (settings, _) = check(text).unwrap_or_else(|mistakes| panic!("{text}\n{mistakes}"));
        let mut otherwise = settings.ways.otherwise().clone();
        // Where it is said is another matter.
        otherwise.name.line = None;
        let parts =
            (&settings.listeners[0].listen, &settings.server, settings.memory, settings.cache);
        let beside = (&settings.access_log, &settings.traces);
        format!("{parts:?} {otherwise:?} {:?} {beside:?}", settings.upstreams)
    };
    let usual = shown(LEAST);
    let mut told = 0;
    for key in config::keys() {
        let Some(line) = default(&key) else { continue };
        let text = match key.table.as_str() {
            "[upstream.NAME]" => format!("{LEAST}{line}"),
            "[[upstream.NAME.server]]" => format!("[[upstream.blog.server]]\nurl = 8001\n{line}"),
            // What is told of it stands in [server].
            table if table.contains("listener") => continue,
            // There is none where nobody says whose it is.
            "[[cdn]]" => continue,
            // Without a bound nobody waits, and without tags there are not too many.
            _ if ["fetch_wait", "cdn_tags_max"].contains(&key.name.as_str()) => {
                let beside = match key.name.as_str() {
                    "fetch_wait" => "max_fetches = 2",
                    _ => "cdn_tags = [\"Surrogate-Key\"]",
                };
                let bounded = format!("{LEAST}[defaults]\n{beside}\n");
                assert_eq!(shown(&format!("{bounded}{line}")), shown(&bounded), "{line}");
                told += 1;
                continue;
            }
            // Without a place there is none.
            table @ ("[access_log]" | "[tracing]") => {
                let place = match table {
                    "[tracing]" => "endpoint = \"http://127.0.0.1:4318\"",
                    _ => "to = \"stdout\"",
                };
                let placed = format!("{LEAST}{table}\n{place}\n");
                assert_eq!(shown(&format!("{placed}{line}")), shown(&placed), "{line}");
                told += 1;
                continue;
            }
            table => format!("{LEAST}{}\n{line}", table.replace("NAME", "blog")),
        };
        assert_eq!(shown(&text), usual, "{text}");
        told += 1;
    }
    assert!(told >= 30, "{told}");
}

#[test]
fn the_schema_names_each_key_and_refuses_others() {
    let schema: serde_json::Value = serde_json::from_str(&config::schema()).unwrap();
    let server = &schema["$defs"]["Server"];
    assert_eq!(server["additionalProperties"], false);
    for key in config::keys().iter().filter(|key| key.table == "[server]") {
        assert!(server["properties"][&key.name].is_object(), "{}", key.name);
    }
    assert!(schema["$defs"]["Route"]["properties"]["path"].is_object());
    assert!(schema["$defs"]["Route"]["properties"]["ttl"].is_object());
}
