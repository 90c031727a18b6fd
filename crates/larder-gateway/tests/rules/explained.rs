//! What is explained of a URL is what happens to a request for it.

use std::{collections::HashMap, time::Duration};

use http::{HeaderMap, HeaderName, Method};
use larder::http::policy::scheme::Scheme;
use larder_gateway::config;
use proptest::{collection::vec, prelude::*, sample::select, test_runner::TestRunner};

use crate::site::{Reader, service, settings};

const PATHS: [&str; 8] =
    ["/a", "/a/b", "/a/c.css", "/silent/a", "/private", "/cookie", "/missing", "/de/7"];
const QUERIES: [&str; 8] = [
    "",
    "?b=1&a=2",
    "?a=2&b=1",
    "?utm_source=x&a=2&b=1",
    "?preview=1",
    "?preview",
    "?a=2&a=1",
    "?",
];
const FIELDS: [&[(&str, &str)]; 7] = [
    &[],
    &[("x-beta", "1")],
    &[("x-beta", "2")],
    &[("cookie", "lang=de")],
    &[("cookie", "session=1")],
    &[("authorization", "Basic YTpi")],
    &[("cache-control", "no-cache")],
];
const METHODS: [&str; 6] = ["GET", "GET", "GET", "HEAD", "POST", "OPTIONS"];
const HOSTS: [&str; 3] = ["any.test", "any.test", "other.test"];

/// A route's conditions, or nothing.
pub(crate) fn conditions() -> impl Strategy<Value = &'static str> {
    select(vec![
        "",
        "path = \"/a/{id}\"\n",
        "path = \"/a/**\"\nmethods = [\"GET\"]\n",
        "path_regex = \"^/(de|fr)/[0-9]+$\"\n",
        "header = { X-Beta = \"1\" }\n",
        "header = { X-Beta = true }\npath = \"/a\"\n",
        "header = { X-Beta = false }\npath = \"/a\"\n",
        "query = { preview = true }\n",
        "query = { preview = \"1\" }\n",
        "host = \"other.test\"\n",
        "path = \"/silent/**\"\n",
        "host = \"*.test\"\nmethods = [\"POST\", \"HEAD\"]\n",
        "path = \"/a/**\"\nstrip_prefix = \"/a\"\nadd_prefix = \"/inner\"\n",
        "path = \"/de/**\"\nupstream_host = \"inner.test\"\n",
    ])
}

/// Some rules.
pub(crate) fn rules() -> impl Strategy<Value = String> {
    let rule = select(vec![
        "ttl = \"30s\"",
        "ttl_override = \"20s\"",
        "min_ttl = \"200s\"",
        "max_ttl = \"10s\"",
        "ttl_by_status = { 404 = \"7s\", 5xx = \"0s\" }",
        "cache = false",
        "cookies_matter = false",
        "set_cookie = \"store-without\"",
        "query_deny = [\"tracking\"]",
        "query_allow = [\"a\", \"preview\"]",
        "query_sort = true",
        "upstream = \"two\"",
        "key_cookies = [\"lang\"]",
        "policy = \"standard\"",
        "ignore_cookies = [\"session\"]",
        "key_fields = [\"X-Beta\"]",
        "authorization = \"pass\"",
        "obey_readers = false",
        "stale_while_revalidate = \"1m\"\nstale_if_error = \"1m\"",
        "soft_timeout = \"5s\"",
        "compress = [\"gzip\"]",
    ]);
    vec(rule, 0..4).prop_map(|mut rules| {
        rules.sort_unstable();
        rules.dedup();
        // These say nothing, or the contrary, beside another.
        if rules.contains(&"cache = false") {
            rules.retain(|rule| rule.starts_with("cache =") || rule.starts_with("upstream"));
        }
        if rules.contains(&"max_ttl = \"10s\"") {
            rules.retain(|rule| !rule.starts_with("min_ttl"));
        }
        rules.join("\n") + "\n"
    })
}

/// The rows of an explanation.
fn rows(text: &str) -> HashMap<String, String> {
    let rows = text.lines().skip(1).map(|line| {
        let (name, rest) = line.trim_start().split_at(24);
        let value = rest.split("  ").next().unwrap_or_default().trim();
        (name.trim().to_owned(), value.to_owned())
    });
    rows.collect()
}

fn time(rows: &HashMap<String, String>, name: &str) -> Option<u64> {
    let text = rows[name].trim_matches('"');
    let time: config::Time = serde_json::from_value(text.into()).ok()?;
    Some(time.0.as_secs())
}

/// For how long an answer to this path is fresh by the rules that were told, if it is stored: worked out anew from the
/// documentation's words.
fn fresh_for(rows: &HashMap<String, String>, path: &str) -> Option<u64> {
    let status = if path.starts_with("/missing") { 404 } else { 200 };
    let named = (!path.starts_with("/silent")).then_some(100);
    let by_status = (status == 404 && rows["ttl_by_status"].contains("404")).then_some(7);
    let bounded = |ttl: u64| time(rows, "max_ttl").map_or(ttl, |most| ttl.min(most));
    let by_default = |ttl: u64| if status == 404 { ttl.min(60) } else { ttl };
    match (named, time(rows, "ttl_override")) {
        (_, Some(_)) if by_status.is_some() => by_status,
        (Some(_), Some(rule)) => Some(rule),
        (None, Some(rule)) => Some(by_default(rule)),
        (Some(named), None) => {
            let floor = time(rows, "min_ttl").map_or(0, by_default);
            Some(bounded(named.max(floor)))
        }
        (None, None) => time(rows, "ttl").map(|ttl| bounded(by_default(ttl))),
    }
}

/// Whether an answer to this request is stored, and answers the next.
fn is_stored(rows: &HashMap<String, String>, path: &str, fields: &[(&str, &str)]) -> bool {
    let has_cookie = fields.iter().any(|(name, _)| *name == "cookie");
    let is_in_key = fields.contains(&("cookie", "lang=de")) && rows["key_cookies"].contains("lang");
    let is_standard = rows["policy"].contains("standard");
    let is_ignored =
        fields.contains(&("cookie", "session=1")) && rows["ignore_cookies"].contains("session");
    let has_credentials = fields.iter().any(|(name, _)| *name == "authorization");
    let fetches_anew =
        fields.contains(&("cache-control", "no-cache")) && rows["obey_readers"] == "true";
    let is_personal =
        has_cookie && !is_in_key && !is_ignored && !is_standard && rows["cookies_matter"] == "true";
    let sets_cookie = path.starts_with("/cookie") && rows["set_cookie"].contains("refuse");
    rows["cache"] == "true"
        && !path.starts_with("/private")
        && !is_personal
        && !has_credentials
        && !fetches_anew
        && !sets_cookie
        && fresh_for(rows, path).is_some_and(|ttl| ttl > 0)
}

#[test]
fn what_is_explained_is_what_the_next_request_finds() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _guard = runtime.enter();
    let (one, two) = runtime.block_on(async { (service("one").await, service("two").await) });
    let route = (conditions(), rules())
        .prop_map(|(conditions, rules)| format!("[[route]]\n{conditions}{rules}"));
    let request = (
        (select(METHODS.to_vec()), select(HOSTS.to_vec())),
        (select(PATHS.to_vec()), select(QUERIES.to_vec()), select(FIELDS.to_vec())),
    );
    let scheme = select(vec![Scheme::Http, Scheme::Https]);
    let cases = (scheme, rules(), vec(route, 0..4), vec(request, 1..6));
    let mut runner = TestRunner::new(ProptestConfig::with_cases(150));
    let found = runner.run(&cases, |(scheme, defaults, routes, requests)| {
        let defaults = match defaults.contains("upstream") {
            true => defaults,
            false => format!("upstream = \"one\"\n{defaults}"),
        };
        let text = format!(
            "[upstream.one]\nurl = \"{}\"\n[upstream.two]\nurl = \"{}\"\n[defaults]\n{defaults}{}",
            one.url(),
            two.url(),
            routes.concat(),
        );
        // Together a route's rules and the defaults may be wrong: that is told, and is another test's.
        let (config, places, mistakes) = config::read_on("larder.toml".as_ref(), &text);
        prop_assert!(mistakes.is_empty(), "{text}\n{mistakes:?}");
        if config::Settings::of(&config, &places, config::Secrets::default()).is_err() {
            return Ok(());
        }
        let (settings, places) = settings(&text);
        let mut reader = Reader::over(scheme, &settings);
        let mut stored: HashMap<String, String> = HashMap::new();
        for ((method, host), (path, query, fields)) in requests {
            let target = format!("{path}{query}");
            let uri = format!("{}://{host}{target}", scheme.as_str()).parse().unwrap();
            let by: Method = method.parse().unwrap();
            let mut map = HeaderMap::new();
            for (name, value) in fields {
                map.append(HeaderName::from_static(name), value.parse().unwrap());
            }
            let rows = rows(&config::explain(&settings, &places, &by, &uri, &map).to_string());
            let answer = runtime.block_on(reader.ask_at(host, method, &target, fields));
            let said = answer.field("cache-status").unwrap_or_default().to_owned();
            let upstream = rows["upstream"].split(' ').next().unwrap_or_default();
            let context = format!("{text}\n{method} {uri} {fields:?}\n{rows:#?}\n{said}");
            if !said.contains(";hit") && method != "HEAD" {
                let asked_as = rows
                    .get("asked as")
                    .map_or(path, |asked| &asked[asked.find('/').unwrap_or(0)..]);
                let asked_path = asked_as.split('?').next().unwrap_or_default();
                let expected = format!("{upstream} {asked_path}");
                prop_assert!(answer.text().starts_with(&expected), "{}\n{context}", answer.text());
            }
            let has_credentials = fields.iter().any(|(name, _)| *name == "authorization");
            let passes_credentials = has_credentials && rows["authorization"].contains("pass");
            let is_retrieval = matches!(method, "GET" | "HEAD");
            let is_cached = rows["cache"] == "true" && is_retrieval && !passes_credentials;
            if is_cached {
                prop_assert!(said.contains(&format!("key=\"{}\"", rows["key"])), "{context}");
            } else {
                prop_assert!(rows["key"].starts_with("none: it passes"), "{}", &context);
                let why = match rows["cache"] == "true" {
                    false => "fwd=bypass",
                    true if is_retrieval => "detail=authorization",
                    true => "fwd=method",
                };
                prop_assert!(said.contains(why), "{context}");
            }
            // What is asked once more is a hit if that is what the rules say.
            let again = runtime.block_on(reader.ask_at(host, method, &target, fields));
            let said = again.field("cache-status").unwrap_or_default().to_owned();
            let is_hit = said.starts_with("Larder;hit;");
            let is_kept = method == "GET" && is_stored(&rows, path, fields);
            // What somebody without credentials has brought may be for everybody, unless the rules say otherwise.
            let may_be_anothers = has_credentials && !passes_credentials;
            if may_be_anothers && stored.contains_key(&rows["key"]) {
                continue;
            }
            if method == "HEAD" {
                // What is stored of it is for others of its kind, or a GET has brought it.
                prop_assert!(!is_hit || is_stored(&rows, path, fields), "{said} {context}");
            } else if stored.get(&rows["key"]).is_none_or(|by| *by == context_of(&rows)) {
                prop_assert_eq!(is_hit, is_kept, "{} {}", said, context);
            }
            if is_hit && let Some(ttl) = fresh_for(&rows, path) {
                let told = said.split("ttl=").nth(1).and_then(|rest| rest.split(';').next());
                let told: u64 = told.unwrap().parse().unwrap();
                // Meanwhile a second or two may have gone by.
                prop_assert!(
                    (ttl.saturating_sub(5)..=ttl).contains(&told),
                    "{said} {ttl} {context}"
                );
                if method == "GET" {
                    prop_assert!(again.text().starts_with(upstream), "{}\n{context}", again.text());
                }
            }
            stored.insert(rows["key"].clone(), context_of(&rows));
        }
        Ok(())
    });
    found.unwrap_or_else(|error| panic!("{error}"));
    runtime.shutdown_timeout(Duration::from_secs(1));
}

/// By which rules something was stored.
fn context_of(rows: &HashMap<String, String>) -> String {
    let mut rows: Vec<_> = rows.iter().map(|(name, value)| format!("{name}={value}")).collect();
    rows.sort_unstable();
    rows.join("\n")
}
