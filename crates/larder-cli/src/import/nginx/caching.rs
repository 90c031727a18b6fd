//! Caching: `proxy_cache` and its kin as the rules of a route.

use std::{collections::BTreeMap, time::Duration};

use larder_gateway::routes::PathRegex;

use super::{
    scope::{Ledger, Scope},
    syntax::Directive,
    units::{shown_time, size, time},
};
use crate::import::written::{Table, inline, list, quoted};

type Rows = Vec<(String, String)>;

/// What is stored of a location's answers.
pub(super) enum Caching {
    /// Nothing.
    Not,
    /// Nothing, since it is not known for whom an answer is: what nginx decides by is not carried over.
    Unsure,
    /// By these rules, but for requests that meet a condition.
    By(Rows, Vec<Unless>),
}

/// Requests whose answers are not stored: the key of a route, and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unless {
    pub(super) key: &'static str,
    pub(super) value: String,
}

/// What nginx keeps if nothing else is said: as long as it is not asked for.
const INACTIVE: Duration = Duration::from_secs(600);

/// What a location's answers are stored by.
pub(super) fn of(scope: &Scope<'_>, http: &Scope<'_>, ledger: &mut Ledger) -> Caching {
    let Some(cache) = scope.one("proxy_cache", ledger).filter(|cache| cache.word() != "off") else {
        return Caching::Not;
    };
    if scope.word("proxy_buffering", ledger) == Some("off") {
        ledger.note(cache, "nginx stores nothing where proxy_buffering is off");
        return Caching::Not;
    }
    let mut rows = Rows::new();
    let mut row = |key: &str, value: String| rows.push((key.to_owned(), value));
    // As nginx does: whatever cookies a request has, and whatever its Cache-Control says.
    row("cookies_matter", "false".to_owned());
    row("obey_readers", "false".to_owned());
    let mut is_sure = true;
    for (key, value) in by_key(scope, ledger, &mut is_sure) {
        row(key, value);
    }
    for (key, value) in times(scope, ledger) {
        row(key, value);
    }
    for (key, value) in stale(cache, scope, http, ledger) {
        row(key, value);
    }
    for (key, value) in compression(scope, ledger) {
        row(key, value);
    }
    few_words(scope, ledger);
    let unless = unless(scope, http, ledger, &mut is_sure);
    match is_sure {
        true => Caching::By(rows, unless),
        false => {
            ledger.note(cache, "nothing is stored here until what tells answers apart is said: see the lines below");
            Caching::Unsure
        }
    }
}

/// `proxy_cache_key`.
fn by_key(
    scope: &Scope<'_>,
    ledger: &mut Ledger,
    is_sure: &mut bool,
) -> Vec<(&'static str, String)> {
    let Some(said) = scope.one("proxy_cache_key", ledger) else { return Vec::new() };
    let variables = variables(&said.words.join(" "));
    let has = |names: &[&str]| variables.iter().any(|one| names.contains(&one.as_str()));
    let has_query = has(&["request_uri", "args", "query_string"]);
    if !has(&["request_uri", "uri", "document_uri"]) {
        ledger.note(said, "keys are made of the URI here, and this one is not");
        *is_sure = false;
        return Vec::new();
    }
    let (mut cookies, mut fields, mut parameters) = (Vec::new(), Vec::new(), Vec::new());
    for variable in &variables {
        match variable.as_str() {
            "scheme" | "host" | "http_host" | "server_name" | "proxy_host" | "request_uri"
            | "uri" | "args" | "is_args" | "query_string" | "request_method" | "document_uri"
            | "server_port" | "proxy_port" => {}
            name if is_cookie(name) => cookies.push(name["cookie_".len()..].to_owned()),
            name if name.starts_with("arg_") => parameters.push(name["arg_".len()..].to_owned()),
            name if field(name).is_some() => fields.extend(field(name)),
            name => {
                ledger.note(
                    said,
                    format!(
                        "what ${name} is, is not known here, and answers may be told apart by it"
                    ),
                );
                *is_sure = false;
            }
        }
    }
    if !has(&["host", "http_host", "server_name", "proxy_host"]) {
        ledger.note(said, "the host is always a part of the key");
    }
    let mut rows = Vec::new();
    if !has_query {
        ledger.note(
            said,
            "the service does not see the parameters of the query that are no part of the key",
        );
        rows.push(("query_allow", list(&parameters)));
    }
    if !cookies.is_empty() {
        rows.push(("key_cookies", list(&cookies)));
    }
    if !fields.is_empty() {
        rows.push(("key_fields", list(&fields)));
    }
    rows
}

/// `proxy_cache_valid` and `proxy_ignore_headers`.
fn times(scope: &Scope<'_>, ledger: &mut Ledger) -> Vec<(&'static str, String)> {
    let mut by_status: BTreeMap<String, Duration> = BTreeMap::new();
    for said in scope.all("proxy_cache_valid", ledger) {
        let Some((last, statuses)) = said.words.split_last() else { continue };
        let Some(time) = time(last) else {
            ledger.note(said, "this is no time");
            continue;
        };
        let usual = ["200", "301", "302"].map(str::to_owned);
        for status in if statuses.is_empty() { &usual } else { statuses } {
            let is_number = status.parse::<u16>().is_ok_and(|number| (200..600).contains(&number));
            let statuses = match status.as_str() {
                "any" => vec!["2xx", "3xx", "4xx", "5xx"],
                status if is_number && status.len() == 3 => vec![status],
                _ => {
                    ledger.note(said, format!("{status} is no status of an answer"));
                    continue;
                }
            };
            for status in statuses {
                by_status.entry(status.to_owned()).or_insert(time);
            }
        }
    }
    let mut rows = Vec::new();
    let ignored = scope.one("proxy_ignore_headers", ledger);
    let ignores = |name: &str| {
        ignored.is_some_and(|said| said.words.iter().any(|word| word.eq_ignore_ascii_case(name)))
    };
    if let Some(said) = ignored {
        let longest = by_status.get("200").or(by_status.values().max()).copied();
        match (ignores("cache-control") || ignores("expires"), longest) {
            (true, Some(time)) => {
                rows.push(("ttl_override", shown_time(time)));
                ledger.note(said, "no-store, private and no-cache of an answer hold all the same");
            }
            (true, None) => ledger.note(said, "without proxy_cache_valid nothing was stored"),
            (false, _) => {}
        }
        if ignores("set-cookie") {
            rows.push(("set_cookie", quoted("store-without")));
            ledger.note(said, "answers with Set-Cookie are stored without it: nginx hands the first reader's cookie to all");
        }
        if ignores("vary") {
            ledger.note(said, "Vary of an answer holds: what it names tells answers apart");
        }
    }
    if !by_status.is_empty() {
        rows.push((
            "ttl_by_status",
            inline(by_status.into_iter().map(|(status, time)| (status, shown_time(time)))),
        ));
    }
    rows
}

/// `proxy_cache_use_stale` and `proxy_cache_background_update`.
fn stale(
    cache: &Directive,
    scope: &Scope<'_>,
    http: &Scope<'_>,
    ledger: &mut Ledger,
) -> Vec<(&'static str, String)> {
    let background = scope.one("proxy_cache_background_update", ledger);
    let Some(said) = scope.one("proxy_cache_use_stale", ledger) else {
        if let Some(background) = background.filter(|one| one.word() == "on") {
            ledger.note(background, "it does nothing without proxy_cache_use_stale updating");
        }
        return Vec::new();
    };
    let window = shown_time(inactive(cache.word(), http).max(Duration::from_secs(1)));
    let has = |word: &str| said.words.iter().any(|one| one == word);
    let mut rows = Vec::new();
    if has("updating") {
        rows.push(("stale_while_revalidate", window.clone()));
        if background.is_none_or(|one| one.word() != "on") {
            ledger.note(
                said,
                "nobody waits for what is fetched anew, the first one who asks neither",
            );
        }
    }
    let of_errors =
        ["error", "timeout", "invalid_header", "http_500", "http_502", "http_503", "http_504"];
    if of_errors.into_iter().any(has) {
        rows.push(("stale_if_error", window));
    }
    for word in ["http_403", "http_404", "http_429"].into_iter().filter(|word| has(word)) {
        ledger.note(said, format!("{word}: such an answer is the service's last word here"));
    }
    rows
}

/// For how long a zone keeps what is not asked for.
fn inactive(zone: &str, http: &Scope<'_>) -> Duration {
    let is_of_zone = |one: &&Directive| {
        let names = one.words.iter().filter_map(|word| word.strip_prefix("keys_zone="));
        one.name == "proxy_cache_path"
            && names.map(|name| name.split(':').next()).any(|name| name == Some(zone))
    };
    let path = http.own().iter().find(is_of_zone);
    let word =
        path.and_then(|path| path.words.iter().find_map(|word| word.strip_prefix("inactive=")));
    word.and_then(time).unwrap_or(INACTIVE)
}

/// On disk there is more room than in memory: of more than this somebody has to say how much.
const MOST_MEMORY: u64 = 1 << 30;
const LEAST_MEMORY: u64 = 16 << 20;

/// `[memory]`, by the `max_size` of all zones together.
pub(super) fn memory(http: &Scope<'_>, ledger: &mut Ledger) -> Option<Table> {
    let paths: Vec<_> = http.own().iter().filter(|one| one.name == "proxy_cache_path").collect();
    let mut bytes = paths
        .iter()
        .map(|path| size(path.words.iter().find_map(|word| word.strip_prefix("max_size="))?));
    let sum = bytes.try_fold(0_u64, |sum, bytes| sum.checked_add(bytes?))?;
    if sum == 0 || sum > MOST_MEMORY {
        return None;
    }
    for path in paths {
        ledger.note(
            path,
            "answers are in memory, and not on disk: max_size is one for all of them here",
        );
    }
    let mut table = Table::new("[memory]");
    table.row("size", quoted(&sum.max(LEAST_MEMORY).to_string()));
    Some(table)
}

/// `gzip` and `brotli`.
fn compression(scope: &Scope<'_>, ledger: &mut Ledger) -> Vec<(&'static str, String)> {
    let mut codings = Vec::new();
    for (name, coding) in [("zstd", "zstd"), ("brotli", "br"), ("gzip", "gzip")] {
        if let Some(said) = scope.one(name, ledger).filter(|said| said.word() == "on") {
            codings.push(coding);
            ledger.note(
                said,
                "only what is stored is compressed here; what passes the service may compress",
            );
        }
    }
    if codings.is_empty() {
        return Vec::new();
    }
    let mut rows = vec![("compress", list(&codings))];
    let said = ["gzip_types", "brotli_types", "zstd_types"].map(|name| scope.one(name, ledger));
    let said = said.into_iter().flatten().next();
    let mut types = vec!["text/html"];
    for word in said.iter().flat_map(|said| &said.words) {
        let may_be = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&byte);
        let is_token = |part: &str| !part.is_empty() && part.bytes().all(may_be);
        match word.split_once('/') {
            _ if word == "*" => types = vec!["*"],
            Some((kind, name)) if is_token(kind) && is_token(name) => {
                if !types.contains(&word.as_str()) && types != ["*"] {
                    types.push(word);
                }
            }
            _ => ledger.note(said.expect("it has words"), format!("{word} is no media type")),
        }
    }
    rows.push(("compress_types", list(types)));
    if let Some(said) = scope.one("gzip_min_length", ledger) {
        match size(said.word()).filter(|bytes| *bytes <= 8 << 20) {
            Some(bytes) => rows.push(("compress_min", quoted(&bytes.to_string()))),
            None => ledger.note(said, "nothing above 8 MiB is compressed"),
        }
    }
    rows
}

/// What is as it is here, or cannot be otherwise.
fn few_words(scope: &Scope<'_>, ledger: &mut Ledger) {
    if let Some(said) = scope.one("proxy_cache_methods", ledger)
        && said.words.iter().any(|word| word != "GET" && word != "HEAD")
    {
        ledger.note(said, "only answers to GET and HEAD are stored");
    }
    if let Some(said) = scope.one("proxy_cache_min_uses", ledger).filter(|said| said.word() != "1")
    {
        ledger.note(
            said,
            "answers are stored at the first request; those that nobody asks for again leave first",
        );
    }
    if let Some(said) = scope.one("proxy_cache_lock", ledger).filter(|said| said.word() != "on") {
        ledger.note(said, "many readers of one missing answer always share one request");
    }
}

/// `proxy_cache_bypass` and `proxy_no_cache`.
fn unless(
    scope: &Scope<'_>,
    http: &Scope<'_>,
    ledger: &mut Ledger,
    is_sure: &mut bool,
) -> Vec<Unless> {
    let lists = ["proxy_cache_bypass", "proxy_no_cache"].map(|name| scope.all(name, ledger));
    let words = |list: &[&Directive]| {
        let mut words: Vec<_> = list.iter().flat_map(|said| said.words.clone()).collect();
        words.sort();
        words
    };
    let [by_bypass, by_no_cache] = lists.each_ref().map(|list| words(list));
    if by_bypass != by_no_cache {
        for said in lists.iter().flatten() {
            ledger.note(said, "such requests are neither answered from what is stored, nor are their answers stored");
        }
    }
    let mut all = Vec::new();
    for said in lists.into_iter().flatten() {
        for word in &said.words {
            match conditions(word, scope, http, ledger) {
                Ok(conditions) => {
                    for one in conditions {
                        if !all.contains(&one) {
                            all.push(one);
                        }
                    }
                }
                Err(why) => {
                    ledger.note(said, why);
                    *is_sure = false;
                }
            }
        }
    }
    all
}

/// The requests for which a text of variables is neither empty nor 0.
fn conditions(
    text: &str,
    scope: &Scope<'_>,
    http: &Scope<'_>,
    ledger: &mut Ledger,
) -> Result<Vec<Unless>, String> {
    if matches!(text, "" | "0") {
        return Ok(Vec::new());
    }
    let names = variables(text);
    if names.is_empty() {
        return Err("this is so for all requests".to_owned());
    }
    let mut all = Vec::new();
    for name in names {
        if is_cookie(&name) {
            all.push(of_cookie(&format!("{}=", &name["cookie_".len()..])));
        } else if name == "http_cookie" {
            all.push(Unless { key: "header", value: "{ Cookie = true }".to_owned() });
        } else if let Some(parameter) = name.strip_prefix("arg_") {
            all.push(Unless { key: "query", value: inline([(parameter, "true".to_owned())]) });
        } else if let Some(field) = field(&name) {
            all.push(Unless { key: "header", value: inline([(field, "true".to_owned())]) });
        } else if let Some(map) = map_of(&name, http) {
            all.extend(of_map(map, ledger)?);
        } else {
            all.extend(of_set(&name, scope, ledger)?);
        }
    }
    Ok(all)
}

fn of_cookie(text: &str) -> Unless {
    Unless { key: "header", value: format!("{{ Cookie = {} }}", quoted(&format!("*{text}*"))) }
}

fn map_of<'d>(name: &str, http: &Scope<'d>) -> Option<&'d Directive> {
    let is_it = |one: &&Directive| {
        one.name == "map" && one.words.get(1).is_some_and(|to| *to == format!("${name}"))
    };
    http.own().iter().find(is_it)
}

/// A `map` of all cookies, of one, of a field or of the method, whose default is nothing.
fn of_map(map: &Directive, ledger: &mut Ledger) -> Result<Vec<Unless>, String> {
    let unknown = || Err(format!("what the map of {} says is not carried over", map.place));
    let source = map.word().trim_start_matches('$').to_owned();
    let is_nothing = |value: &str| matches!(value, "" | "0");
    let default = map.block().iter().find(|entry| entry.name == "default");
    let mut all = Vec::new();
    if default.is_some_and(|default| !is_nothing(default.word())) {
        let is_let = |entry: &Directive| entry.name == "GET" && is_nothing(entry.word());
        // By the method: only answers to GET and HEAD are stored in any case.
        let is_stored =
            |entry: &Directive| matches!(entry.name.as_str(), "GET" | "HEAD" | "default");
        if source != "request_method"
            || !map.block().iter().all(is_stored)
            || !map.block().iter().any(is_let)
        {
            return unknown();
        }
    }
    for entry in map.block() {
        if is_nothing(entry.word()) || entry.name == "default" {
            continue;
        }
        match source.as_str() {
            "http_cookie" => all.extend(of_cookies(&entry.name).map_or_else(unknown, Ok)?),
            "request_method" if !matches!(entry.name.as_str(), "GET" | "HEAD") => {}
            name if is_cookie(name) => {
                all.push(of_cookie(&format!("{}=", &name["cookie_".len()..])))
            }
            name if name.starts_with("arg_") => {
                all.push(Unless {
                    key: "query",
                    value: inline([(&name["arg_".len()..], "true".to_owned())]),
                });
            }
            _ => return unknown(),
        }
    }
    ledger.carry(map);
    map.block().iter().for_each(|entry| ledger.carry(entry));
    Ok(all)
}

/// A `set` to nothing, and to something else in `if`s of cookies or of the method.
fn of_set(name: &str, scope: &Scope<'_>, ledger: &mut Ledger) -> Result<Vec<Unless>, String> {
    let variable = format!("${name}");
    let is_set = |one: &Directive| one.name == "set" && one.word() == variable;
    let value = |one: &Directive| one.words.get(1).cloned().unwrap_or_default();
    let is_nothing = |value: &str| matches!(value, "" | "0");
    let mut all = Vec::new();
    let mut is_known = false;
    for one in scope.0.iter().copied().flatten() {
        if is_set(one) {
            is_known = true;
            if !is_nothing(&value(one)) {
                return Err(format!("{variable} is set to something that is not known here"));
            }
            ledger.carry(one);
        }
        if one.name != "if" {
            continue;
        }
        let Some(inner) = one.block().iter().find(|inner| is_set(inner)) else { continue };
        is_known = true;
        let condition = one.words.join(" ");
        let condition = condition.trim().trim_start_matches('(').trim_end_matches(')').trim();
        let found = if is_nothing(&value(inner)) { None } else { of_condition(condition) };
        let Some(found) = found else {
            return Err(format!(
                "{variable} is set by ({condition}) in {}, which is not carried over",
                one.place
            ));
        };
        ledger.carry(one);
        ledger.carry(inner);
        all.extend(found);
    }
    if is_known { Ok(all) } else { Err(format!("what {variable} is, is not known here")) }
}

/// The condition of an `if`.
fn of_condition(condition: &str) -> Option<Vec<Unless>> {
    let words: Vec<_> = condition.split_whitespace().collect();
    match words.as_slice() {
        ["$request_method", "=", method] if !matches!(*method, "GET" | "HEAD") => Some(Vec::new()),
        ["$http_cookie", "~" | "~*", _, ..] => {
            let (_, expression) = condition.split_once('~')?;
            let expression = expression.trim_start_matches('*').trim().trim_matches('"');
            of_cookies(&format!("~*{expression}"))
        }
        ["$request_uri", "~" | "~*", _, ..] => {
            let (_, expression) = condition.split_once('~')?;
            let expression = expression.trim_start_matches('*').trim().trim_matches('"');
            // It is compared with the path alone here.
            let is_of_path =
                !expression.contains(['?', '$']) && PathRegex::parse(expression).is_ok();
            let expression = format!("(?i){expression}");
            is_of_path.then(|| vec![Unless { key: "path_regex", value: quoted(&expression) }])
        }
        [one] => {
            let name = one.strip_prefix('$')?;
            let parameter = name.strip_prefix("arg_");
            let of_query = parameter
                .map(|name| Unless { key: "query", value: inline([(name, "true".to_owned())]) });
            let of_one =
                is_cookie(name).then(|| of_cookie(&format!("{}=", &name["cookie_".len()..])));
            Some(vec![of_one.or(of_query)?])
        }
        _ => None,
    }
}

/// `~*a|b`: parts of names of cookies.
fn of_cookies(pattern: &str) -> Option<Vec<Unless>> {
    let expression = pattern.strip_prefix('~')?.trim_start_matches('*');
    let expression =
        expression.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).unwrap_or(expression);
    let is_plain = |text: &str| {
        let text = text.strip_suffix("[^_]").unwrap_or(text);
        !text.is_empty()
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-=".contains(&byte))
    };
    let parts: Vec<_> = expression.split('|').collect();
    // One that is looked for without the characters behind it fits at least as much.
    let fitting = |part: &&str| of_cookie(part.strip_suffix("[^_]").unwrap_or(part));
    parts.iter().all(|part| is_plain(part)).then(|| parts.iter().map(fitting).collect())
}

fn is_cookie(variable: &str) -> bool {
    variable.strip_prefix("cookie_").is_some_and(|name| !name.is_empty())
}

/// The field that a variable is, if requests may be told apart by it.
fn field(variable: &str) -> Option<String> {
    const NOT: [&str; 16] = [
        "cdn-loop",
        "connection",
        "content-length",
        "cookie",
        "expect",
        "forwarded",
        "host",
        "http2-settings",
        "keep-alive",
        "larder-explain",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
        "x-real-ip",
    ];
    let name = variable.strip_prefix("http_")?.replace('_', "-").to_ascii_lowercase();
    let is_not = NOT.contains(&name.as_str())
        || name.starts_with("x-forwarded")
        || name.starts_with("proxy-");
    (!name.is_empty() && !is_not).then_some(name)
}

/// The names of the variables in a text.
pub(super) fn variables(text: &str) -> Vec<String> {
    let parts = text.split('$').skip(1);
    let names = parts.map(|part| {
        let part = part.strip_prefix('{').unwrap_or(part);
        let end = part.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(part.len());
        part[..end].to_owned()
    });
    names.filter(|name| !name.is_empty()).collect()
}
