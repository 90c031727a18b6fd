//! Routes: what becomes of the requests of each location.

use http::{HeaderName, uri::Authority};

use super::{
    caching::{self, Caching, Unless},
    locations::{self, Location, Paths},
    scope::{Ledger, Scope},
    servers::Server,
    services::{NOWHERE, Services, Target},
    syntax::Directive,
    units::{shown_time, size, time},
};
use crate::import::written::{Table, inline, list, quoted};

type Rows = Vec<(String, String)>;

/// Who answers the requests of a location.
enum Answers {
    /// A service, by its name; with the rows of the way there.
    Service(String, Rows),
    /// Nobody: nginx did it by itself, or not for everybody.
    Nobody,
}

/// The routes of a server for one of its hosts, and whether what fits none of them is closed.
pub(super) fn of<'d>(
    server: &Server<'d>,
    host: Option<&str>,
    http: &Scope<'d>,
    services: &mut Services<'d>,
    ledger: &mut Ledger,
) -> (Vec<Table>, bool) {
    let mut tables = Vec::new();
    if let Some(said) = server.scope.own().iter().find(|one| one.name == "return") {
        ledger.note(said, "Larder does not answer by itself: readers get 502");
        super::servers::carry_all(server.at.block(), ledger);
        return closed(host);
    }
    let all = locations::of(&server.scope, ledger);
    let mut is_whole = false;
    for location in &all {
        is_whole |= location.paths.is_all();
        tables.extend(of_location(location, server, host, http, services, ledger));
    }
    if is_whole {
        return (tables, false);
    }
    ledger.note(
        server.at,
        "what fits no location nginx answers by itself, from files: readers get 502",
    );
    if host.is_some() {
        tables.extend(closed(host).0);
    }
    (tables, true)
}

fn closed(host: Option<&str>) -> (Vec<Table>, bool) {
    let Some(host) = host else { return (Vec::new(), true) };
    let mut table = Table::new("[[route]]");
    table.row("host", quoted(host));
    table.row("upstream", quoted(NOWHERE));
    table.row("cache", "false");
    (vec![table], true)
}

fn of_location<'d>(
    location: &Location<'d>,
    server: &Server<'d>,
    host: Option<&str>,
    http: &Scope<'d>,
    services: &mut Services<'d>,
    ledger: &mut Ledger,
) -> Vec<Table> {
    let Location { paths, scope, at } = location;
    let answers = answers(location, server, services, ledger);
    let mut base = Table::new("[[route]]");
    if let Some(at) = at {
        base.comment(format!("{}: {}", at.place, at.shown()));
    }
    if let Some(host) = host {
        base.row("host", quoted(host));
    }
    if let Some((key, value)) = paths.row() {
        base.row(key, value);
    }
    let (name, rows) = match answers {
        Answers::Service(name, rows) => (name, rows),
        Answers::Nobody => {
            base.row("upstream", quoted(NOWHERE));
            base.row("cache", "false");
            return vec![base];
        }
    };
    base.row("upstream", quoted(&name));
    base.rows(&rows);
    if switches(scope, ledger) {
        base.row("upgrades", list(["websocket"]));
        if let Some(time) = scope.word("proxy_read_timeout", ledger).and_then(time)
            && !time.is_zero()
        {
            base.row("upgrade_idle_timeout", shown_time(time));
        }
    }
    if let Some(bytes) = most_content(scope, ledger) {
        base.row("max_request_body", quoted(&bytes.to_string()));
    }
    let headers = answer_fields(scope, ledger);
    if !headers.is_empty() {
        base.row("response_headers", headers);
    }
    let methods = methods(location, ledger);
    let mut tables = Vec::new();
    let mut open = base.clone();
    if let Some(methods) = &methods {
        open.row("methods", methods.clone());
    }
    let mut plain = |comment: &str, unless: Option<&Unless>| {
        let mut table = open.clone();
        if !comment.is_empty() {
            table.comment(comment);
        }
        if let Some(Unless { key, value }) = unless {
            table.row(key, value.clone());
        }
        table.row("cache", "false");
        tables.push(table);
    };
    match caching::of(scope, http, ledger) {
        Caching::Not => plain("", None),
        Caching::Unsure => {
            plain("It is not known for whom an answer is: see the notes above.", None)
        }
        Caching::By(_, unless)
            if !paths.is_all() && unless.iter().any(|one| one.key == "path_regex") =>
        {
            if let Some(at) = at {
                ledger.note(at, "nothing is stored here: a route goes by a path or by an expression, not by both");
            }
            plain("", None);
        }
        Caching::By(rows, unless) => {
            for one in &unless {
                plain("proxy_cache_bypass, proxy_no_cache", Some(one));
            }
            open.rows(&rows);
            tables.push(open);
        }
    }
    if methods.is_some() {
        // All others were not for everybody.
        let mut table = Table::new("[[route]]");
        if let Some(host) = host {
            table.row("host", quoted(host));
        }
        if let Some((key, value)) = paths.row() {
            table.row(key, value);
        }
        table.row("upstream", quoted(NOWHERE));
        table.row("cache", "false");
        tables.push(table);
    }
    tables
}

/// Whether a connection may go on as a WebSocket: where nginx hands on what readers say of it.
fn switches(scope: &Scope<'_>, ledger: &mut Ledger) -> bool {
    let fields = scope.all("proxy_set_header", ledger);
    fields.iter().any(|one| {
        let value = one.words.get(1).map_or("", String::as_str).to_ascii_lowercase();
        one.word().eq_ignore_ascii_case("upgrade")
            && matches!(value.as_str(), "$http_upgrade" | "websocket")
    })
}

fn answers<'d>(
    location: &Location<'d>,
    server: &Server<'d>,
    services: &mut Services<'d>,
    ledger: &mut Ledger,
) -> Answers {
    let Location { paths, scope, .. } = location;
    if let Some((said, why)) = guarded(scope, ledger) {
        ledger.note(said, format!("{why}: what it guards is closed, readers get 502"));
        super::servers::carry_all(scope.own(), ledger);
        return Answers::Nobody;
    }
    // What answers is said in the location itself, and not taken from those around it.
    let own = |names: &[&str]| scope.own().iter().find(|one| names.contains(&one.name.as_str()));
    if let Some(said) = own(&[
        "return",
        "fastcgi_pass",
        "uwsgi_pass",
        "scgi_pass",
        "grpc_pass",
        "memcached_pass",
        "internal",
        "stub_status",
        "empty_gif",
    ]) {
        let why = match said.name.as_str() {
            "fastcgi_pass" | "uwsgi_pass" | "scgi_pass" => {
                "Larder speaks HTTP to services: let nginx, or the application's own server, stand before it. Until then"
            }
            "grpc_pass" => "say it by hand, as [upstream.NAME] with url = \"h2c://…\". Until then",
            _ => "Larder does not answer by itself:",
        };
        ledger.note(said, format!("{why} readers get 502"));
        super::servers::carry_all(scope.own(), ledger);
        return Answers::Nobody;
    }
    let mut scope = scope.clone();
    let mut pass = own(&["proxy_pass"]);
    if pass.is_none()
        && let Some(tried) = own(&["try_files"])
        && let Some(name) = tried.words.last().filter(|word| word.starts_with('@'))
        && let Some(named) =
            server.scope.own().iter().find(|one| one.name == "location" && one.word() == *name)
        && let Some(found) = named.block().iter().find(|one| one.name == "proxy_pass")
    {
        ledger.note(
            tried,
            "Larder serves no files: all of it goes to the service, which has to have them",
        );
        ledger.carry(named);
        scope = server.scope.within(named.block());
        pass = Some(found);
    }
    let Some(pass) = pass else {
        let first = own(&["root", "alias", "try_files", "index"]).or(location.at);
        if let Some(said) = first {
            ledger.note(said, "Larder serves no files: let a server that does stand behind it. Until then readers get 502");
        }
        super::servers::carry_all(scope.own(), ledger);
        return Answers::Nobody;
    };
    ledger.carry(pass);
    match way(pass, paths, &scope, services, ledger) {
        Ok((name, rows)) => Answers::Service(name, rows),
        Err(why) => {
            ledger.note(pass, format!("{why}: readers get 502"));
            Answers::Nobody
        }
    }
}

/// What keeps others out.
fn guarded<'d>(scope: &Scope<'d>, ledger: &mut Ledger) -> Option<(&'d Directive, &'static str)> {
    let off = |one: &&Directive| one.word() != "off";
    let deny = scope.all("deny", ledger).into_iter().next();
    scope.all("allow", ledger);
    let asks = ["auth_basic", "auth_request", "auth_jwt", "ssl_verify_client", "secure_link"];
    let asks = asks.map(|name| scope.one(name, ledger).filter(off));
    let asks = asks.into_iter().flatten().next();
    deny.map(|one| (one, "routes do not go by who asks"))
        .or(asks.map(|one| (one, "Larder asks nobody who he is")))
}

fn way<'d>(
    pass: &'d Directive,
    paths: &Paths,
    scope: &Scope<'d>,
    services: &mut Services<'d>,
    ledger: &mut Ledger,
) -> Result<(String, Rows), String> {
    let text = with_constants(pass.word(), scope, ledger);
    let target =
        Target::parse(&text).ok_or("which service is meant is known at each request only")?;
    let (strip, add) = match &target.uri {
        Some(uri) if text.contains("$request_uri") && paths.is_all() => {
            (String::new(), uri.trim_end_matches('/').to_owned())
        }
        Some(uri) => paths.rewrite(uri)?,
        None => Default::default(),
    };
    let name = services.of(&target, scope, ledger)?;
    if target.scheme == "https" && scope.word("proxy_ssl_verify", ledger) != Some("on") {
        ledger.note(pass, "its certificate is checked here, as with proxy_ssl_verify on: ca_file in [upstream.NAME.tls] names what vouches for it");
    }
    let mut rows = Rows::new();
    for (key, value) in [("strip_prefix", strip), ("add_prefix", add)] {
        if !value.is_empty() {
            rows.push((key.to_owned(), quoted(&value)));
        }
    }
    if let Some(host) = host(&target, scope, ledger) {
        rows.push(("upstream_host".to_owned(), quoted(&host)));
    }
    Ok((name, rows))
}

/// With what `set` says once, and always the same.
fn with_constants(text: &str, scope: &Scope<'_>, ledger: &mut Ledger) -> String {
    let mut text = text.to_owned();
    let mut names = caching::variables(&text);
    // What begins like another one comes first.
    names.sort_by_key(|name| std::cmp::Reverse(name.len()));
    for name in names {
        let variable = format!("${name}");
        let levels = scope.0.iter().copied().flatten();
        let inner = levels.flat_map(|one| std::iter::once(one).chain(one.block()));
        let sets: Vec<_> =
            inner.filter(|one| one.name == "set" && one.word() == variable).collect();
        let values: Vec<_> = sets.iter().filter_map(|one| one.words.get(1)).collect();
        if let Some(value) = values.first().filter(|value| !value.contains('$'))
            && values.iter().all(|other| other == value)
        {
            sets.iter().for_each(|one| ledger.carry(one));
            text = text.replace(&format!("${{{name}}}"), value).replace(&variable, value);
        }
    }
    text
}

/// The host that the service is told, where that is not the one that its readers ask for.
fn host(target: &Target, scope: &Scope<'_>, ledger: &mut Ledger) -> Option<String> {
    let mut said = None;
    for one in scope.all("proxy_set_header", ledger) {
        let value = one.words.get(1).map_or("", String::as_str);
        match one.word().to_ascii_lowercase().as_str() {
            "host" => said = Some((one, value)),
            // Larder says these by itself.
            "x-forwarded-for" | "x-forwarded-proto" | "x-forwarded-host" | "connection" | "via"
            | "forwarded" => {}
            "accept-encoding" if value.is_empty() => {}
            "x-real-ip" => {
                ledger.note(one, "the service is told the client in X-Forwarded-For and Forwarded")
            }
            // Said of the route.
            "upgrade" => {}
            _ if value.is_empty() => {
                ledger.note(one, "LOOK AT THIS: the service sees what readers say in it")
            }
            _ => ledger.note(one, "requests get no fields here: the service does not see it"),
        }
    }
    match said {
        None => target
            .host()
            .parse::<Authority>()
            .ok()
            .map(|host| host.to_string())
            .filter(|host| !host.contains('@')),
        Some((
            _,
            "$host"
            | "$http_host"
            | "$host:$server_port"
            | "$server_name"
            | "$http_host:$server_port",
        )) => None,
        Some((_, "$proxy_host")) => Some(target.host().to_owned()),
        Some((one, value)) => match value.parse::<Authority>() {
            Ok(host) if !value.contains(['$', '@']) => Some(host.to_string()),
            _ => {
                ledger.note(one, "the service is told the host that readers ask for");
                None
            }
        },
    }
}

/// `limit_except`: the methods that are open to all.
fn methods(location: &Location<'_>, ledger: &mut Ledger) -> Option<String> {
    let said = location.scope.own().iter().find(|one| one.name == "limit_except")?;
    ledger.note(said, "all other methods are closed: readers get 502");
    super::servers::carry_all(said.block(), ledger);
    let mut methods = said.words.clone();
    methods.retain(|method| {
        !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase())
    });
    if methods.iter().any(|method| method == "GET") {
        methods.push("HEAD".to_owned());
    }
    methods.dedup();
    (!methods.is_empty()).then(|| list(&methods))
}

/// `client_max_body_size`. None where it says none, as 0.
fn most_content(scope: &Scope<'_>, ledger: &mut Ledger) -> Option<u64> {
    let said = scope.one("client_max_body_size", ledger)?;
    let bytes = size(said.word());
    if bytes.is_none() {
        ledger.note(said, "this is no size");
    }
    bytes.filter(|bytes| *bytes > 0)
}

/// `add_header` and `proxy_hide_header`.
fn answer_fields(scope: &Scope<'_>, ledger: &mut Ledger) -> String {
    /// What the cache says by itself, what is of one connection, and what is for answers of one status only.
    const NOT: [&str; 14] = [
        "age",
        "cache-control",
        "cache-status",
        "connection",
        "content-length",
        "content-range",
        "date",
        "etag",
        "expires",
        "keep-alive",
        "last-modified",
        "transfer-encoding",
        "upgrade",
        "vary",
    ];
    let mut set: Vec<(String, String)> = Vec::new();
    let mut added: Vec<(String, Vec<String>)> = Vec::new();
    for one in scope.all("add_header", ledger) {
        let name = one.word().to_ascii_lowercase();
        let value = one.words.get(1).map_or("", String::as_str);
        let is_value = value.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
        if value.contains("upstream_cache_status") {
            ledger.note(one, "Cache-Status is on all answers, and says more");
        } else if value.contains('$') {
            ledger.note(one, "fields of answers have the same value for all");
        } else if NOT.contains(&name.as_str()) || name == "set-cookie" {
            ledger.note(one, "say it in the service: it would be on errors, too");
        } else if value.trim().is_empty() || !is_value || name.parse::<HeaderName>().is_err() {
            ledger.note(one, "this is no field of an answer");
        } else {
            if one.words.get(2).is_none_or(|word| word != "always") {
                ledger.note(one, "it is on errors as well, as with always");
            }
            let value = value.trim().to_owned();
            if !set.iter().any(|(known, _)| *known == name) {
                set.push((name, quoted(&value)));
            } else if let Some((_, values)) = added.iter_mut().find(|(known, _)| *known == name) {
                values.push(value);
            } else {
                added.push((name, vec![value]));
            }
        }
    }
    let mut removed: Vec<String> = Vec::new();
    for one in scope.all("proxy_hide_header", ledger) {
        let name = one.word().to_ascii_lowercase();
        if name == "set-cookie" {
            ledger.note(one, "what is stored has no Set-Cookie; where nothing is stored, the service must not send it");
        } else if NOT.contains(&name.as_str()) || name.parse::<HeaderName>().is_err() {
            ledger.note(one, "the cache needs it, or says it by itself");
        } else if !removed.contains(&name) && !set.iter().any(|(known, _)| *known == name) {
            removed.push(name);
        }
    }
    let mut parts = Vec::new();
    if !set.is_empty() {
        parts.push(format!("set = {}", inline(set)));
    }
    if !added.is_empty() {
        let added = added.into_iter().map(|(name, values)| (name, list(&values)));
        parts.push(format!("add = {}", inline(added)));
    }
    if !removed.is_empty() {
        parts.push(format!("remove = {}", list(&removed)));
    }
    if parts.is_empty() { String::new() } else { format!("{{ {} }}", parts.join(", ")) }
}
