//! What `larder check --explain` says of a request is what `larder serve` does with it: of files that nobody has written.

use std::{collections::HashMap, fs, path::Path};

use proptest::{
    collection::vec,
    prelude::*,
    sample::{select, subsequence},
    strategy::ValueTree,
    test_runner::TestRunner,
};

use crate::support::{
    larder::{Larder, run_in},
    origin::{Origin, ok},
};

const FILES: usize = 20;

const CONDITIONS: [&str; 8] = [
    "",
    "path = \"/a/**\"\n",
    "path = \"/a/{id}\"\nmethods = [\"POST\"]\n",
    "host = \"other.test\"\n",
    "host = \"*.test\"\npath = \"/b\"\n",
    "header = { X-Beta = true }\n",
    "query = { preview = true }\n",
    "path = \"/b/**\"\nstrip_prefix = \"/b\"\nadd_prefix = \"/inner\"\n",
];

/// No two of them say the same key, or the contrary.
const RULES: [&str; 9] = [
    "ttl_override = \"20s\"\n",
    "query_sort = true\n",
    "query_deny = [\"tracking\"]\n",
    "upstream = \"two\"\n",
    "ignore_cookies = [\"theme\"]\n",
    "key_cookies = [\"lang\"]\n",
    "authorization = \"pass\"\n",
    "obey_readers = false\n",
    "stale_while_revalidate = \"1m\"\nsoft_timeout = \"5s\"\n",
];

const FIELDS: [&str; 6] = [
    "",
    "x-beta: 1\r\n",
    "cookie: theme=dark\r\n",
    "cookie: session=1\r\n",
    "authorization: Basic YTpi\r\n",
    "cache-control: no-cache\r\n",
];

const TARGETS: [&str; 7] =
    ["/a", "/a/b", "/a/b?y=1&x=2&utm_source=c", "/b", "/b/c?x=1", "/preview?preview", "/"];

/// Of a request: its method, host, target and fields.
type Asked = (&'static str, &'static str, &'static str, &'static str);

fn route() -> impl Strategy<Value = String> {
    let uncached = prop_oneof![4 => Just(""), 1 => Just("cache = false\nupstream = \"two\"\n")];
    let rules = subsequence(RULES.to_vec(), 0..4);
    (select(CONDITIONS.to_vec()), uncached, rules).prop_map(|(conditions, uncached, rules)| {
        let rules = if uncached.is_empty() { rules.concat() } else { uncached.to_owned() };
        format!("[[route]]\n{conditions}{rules}")
    })
}

fn asked() -> impl Strategy<Value = Asked> {
    let method = prop_oneof![4 => Just("GET"), 1 => Just("POST")];
    let host = select(vec!["any.test", "other.test"]);
    (method, host, select(TARGETS.to_vec()), select(FIELDS.to_vec()))
}

/// The rows of an explanation.
async fn explained(folder: &Path, asked: Asked) -> HashMap<String, String> {
    let (method, host, target, fields) = asked;
    let url = format!("http://{host}{target}");
    let mut words = vec!["check", "larder.toml", "--explain", &url, "--method", method];
    for field in fields.split_terminator("\r\n") {
        words.extend(["--header", field]);
    }
    let exit = run_in(folder, &words).await;
    assert_eq!(exit.code, Some(0), "{}", exit.log);
    let rows = exit.out.lines().filter(|line| line.starts_with("  ") && line.len() > 26);
    let rows = rows.map(|line| {
        let (name, rest) = line[2..].split_at(24);
        let value = rest.split("  ").next().unwrap_or_default();
        (name.trim().to_owned(), value.trim().to_owned())
    });
    rows.collect()
}

/// Whether the service's answer to it (a minute for everybody, but for credentials) is stored, and answers the next one.
fn is_hit(rows: &HashMap<String, String>, (method, _, _, fields): Asked) -> bool {
    let is = |key: &str, value: &str| rows[key].contains(value);
    let is_personal = match fields {
        _ if fields.starts_with("authorization") => true,
        _ if fields.contains("theme") => !is("ignore_cookies", "theme"),
        _ => fields.contains("session"),
    };
    let fetches_anew = fields.starts_with("cache-control") && is("obey_readers", "true");
    method == "GET" && is("cache", "true") && !is_personal && !fetches_anew
}

#[tokio::test]
async fn what_is_explained_of_files_that_were_drawn_is_what_the_gateway_does() {
    let service = |name: &'static str| {
        Origin::answering(move |head| {
            let target = head.split(' ').nth(1).unwrap_or_default();
            ok("cache-control: max-age=60\r\n", format!("{name} {target}"))
        })
    };
    let (one, two) = (service("one").await, service("two").await);
    let files = (vec(route(), 1..4), vec(asked(), 6));
    let mut runner = TestRunner::deterministic();
    for _ in 0..FILES {
        let (routes, requests) = files.new_tree(&mut runner).unwrap().current();
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "[server]\nlisten = 0\n[admin]\nlisten = 0\n[upstream.one]\nurl = \"http://{}\"\n\
             [upstream.two]\nurl = \"http://{}\"\n[defaults]\nupstream = \"one\"\n{}",
            one.address,
            two.address,
            routes.concat()
        );
        fs::write(folder.path().join("larder.toml"), &text).unwrap();
        let larder = Larder::in_folder(folder.path(), &["serve"], &[]).await;
        for (number, asked) in requests.into_iter().enumerate() {
            let (method, host, target, fields) = asked;
            // A query that nobody has asked for before, so that nothing is known of it.
            let sign = if target.contains('?') { '&' } else { '?' };
            let own: &str = format!("{target}{sign}z={number}").leak();
            let asked = (method, host, own, fields);
            let rows = explained(folder.path(), asked).await;
            let ask = async || {
                let mut wire = larder.connect().await;
                let length = if method == "POST" { "content-length: 0\r\n" } else { "" };
                let head =
                    format!("{method} {own} HTTP/1.1\r\nhost: {host}\r\n{length}{fields}\r\n");
                wire.send(head).await;
                wire.answer().await
            };
            let (first, second) = (ask().await, ask().await);
            let context = format!("{text}\n{asked:?}\n{rows:#?}\n{}\n{}", first.head, second.head);
            let name = rows["upstream"].split(' ').next().unwrap_or_default();
            let asked_as = match rows.get("asked as") {
                Some(asked_as) => &asked_as[asked_as.find('/').unwrap()..],
                None => own,
            };
            let path = asked_as.split('?').next().unwrap_or_default();
            assert!(
                first.text().starts_with(&format!("{name} {path}?")),
                "{}\n{context}",
                first.text()
            );
            assert_eq!(second.text(), first.text(), "{context}");
            let said = |answer: &crate::support::answer::Answer| {
                answer.field("cache-status").unwrap_or_default().to_owned()
            };
            assert!(!said(&first).contains(";hit"), "{context}");
            assert_eq!(said(&second).contains(";hit"), is_hit(&rows, asked), "{context}");
            let passes =
                fields.starts_with("authorization") && rows["authorization"].contains("pass");
            let may_be_kept = method == "GET" && rows["cache"].contains("true") && !passes;
            assert_eq!(rows["key"].starts_with("none: it passes"), !may_be_kept, "{context}");
            if may_be_kept && let Some((_, key)) = said(&first).split_once("key=\"") {
                assert!(key.starts_with(&format!("{}\"", rows["key"])), "{key}\n{context}");
            }
            if said(&second).contains(";hit") {
                let of_rule = if rows["ttl_override"].contains("20s") { 20 } else { 60 };
                let ttl =
                    said(&second).split_once("ttl=").map(|(_, rest)| rest.to_owned()).unwrap();
                let ttl: u64 = ttl.split(';').next().unwrap().parse().unwrap();
                assert!(ttl <= of_rule && ttl + 15 > of_rule, "{ttl} {context}");
            }
        }
    }
}
