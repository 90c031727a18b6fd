//! Bounds: what nginx bounds of all requests, as keys of `[server]`.
//!
//! Here they hold for all hosts and paths. nginx says them for parts of them, so each is taken where that keeps nobody out
//! whom nginx lets in: the largest of all that hold anywhere. What bounds only some requests is told.

use std::time::Duration;

use super::{
    caching::variables,
    scope::{Ledger, Scope},
    servers::Server,
    syntax::Directive,
    units::{shown_time, time},
};

type Rows = Vec<(String, String)>;

/// Directives that are a time, and their keys.
const TIMES: [(&str, &str); 4] = [
    ("client_header_timeout", "head_timeout"),
    ("client_body_timeout", "body_timeout"),
    ("send_timeout", "write_timeout"),
    ("keepalive_timeout", "idle_timeout"),
];

/// A key, and why it is not as it was.
const OF_ADDRESS: &str = "here it counts all connections of an address, those that only wait for a request as well: browsers \
                          open six";

/// The rows of `[server]`.
pub(super) fn rows(servers: &[Server<'_>], http: &Scope<'_>, ledger: &mut Ledger) -> Rows {
    let mut rows = Rows::new();
    // Those that only send readers on have no say.
    let scopes: Vec<_> = servers.iter().map(|server| &server.scope).collect();
    for (name, key) in TIMES {
        let said = scopes.iter().filter_map(|scope| scope.one(name, ledger)).collect();
        let value = |said: &Directive| time(said.word()).filter(|time| !time.is_zero());
        if let Some(time) = largest(said, value, "this is no time that can be waited here", ledger)
        {
            rows.push((key.to_owned(), shown_time(time.max(Duration::from_secs(1)))));
        }
    }
    let said = scopes.iter().filter_map(|scope| scope.one("keepalive_requests", ledger)).collect();
    let value = |said: &Directive| said.word().parse::<u32>().ok().filter(|count| *count > 0);
    if let Some(most) = largest(said, value, "this is no number of requests", ledger) {
        rows.push(("max_requests_per_connection".to_owned(), most.to_string()));
    }
    rows.extend(connections(&scopes, http, ledger));
    rows.extend(requests(&scopes, http, ledger));
    rows
}

/// The largest of what is said; of the others it is told. None where one of them is not understood: that may be the largest.
fn largest<T: Ord + Copy>(
    said: Vec<&Directive>,
    value: impl Fn(&Directive) -> Option<T>,
    otherwise: &str,
    ledger: &mut Ledger,
) -> Option<T> {
    let values: Option<Vec<_>> = said.iter().map(|one| value(one)).collect();
    let Some(values) = values else {
        said.iter().for_each(|one| ledger.note(one, otherwise));
        return None;
    };
    let most = values.iter().copied().max()?;
    for (value, one) in values.into_iter().zip(said) {
        if value < most {
            ledger.note(one, "it is one for all here: the largest of those in this file");
        }
    }
    Some(most)
}

/// Those of this name in the blocks of `directives`.
fn within<'d>(directives: &'d [Directive], name: &str) -> Vec<&'d Directive> {
    let mut found = Vec::new();
    for one in directives.iter().filter(|one| matches!(one.name.as_str(), "location" | "if")) {
        found.extend(one.block().iter().filter(|inner| inner.name == name));
        found.extend(within(one.block(), name));
    }
    found
}

/// The zone that a bound counts in: its text of variables, and the directive that makes it.
fn zone<'d>(kind: &str, name: &str, http: &Scope<'d>) -> Option<&'d Directive> {
    http.own().iter().find(|one| {
        let zones = one.words.iter().filter_map(|word| word.strip_prefix("zone="));
        one.name == kind && zones.map(|zone| zone.split(':').next()).any(|zone| zone == Some(name))
    })
}

/// Whether a zone counts by addresses of clients alone.
fn is_by_address(zone: &Directive) -> bool {
    let by = variables(zone.word());
    matches!(by.as_slice(), [one] if one == "binary_remote_addr" || one == "remote_addr")
        && zone.word().trim_start_matches('$').trim_matches(['{', '}']) == by[0]
}

/// `limit_conn`, by address, where it holds for all.
fn connections(scopes: &[&Scope<'_>], http: &Scope<'_>, ledger: &mut Ledger) -> Rows {
    const KEY: &str = "max_connections_per_address";
    let read = |said: &Directive, ledger: &mut Ledger| {
        let zone = zone("limit_conn_zone", said.word(), http).filter(|zone| is_by_address(zone));
        let most = said.words.get(1).and_then(|most| most.parse::<u32>().ok());
        let (zone, most) = (zone?, most.filter(|most| *most > 0)?);
        ledger.carry(zone);
        Some((most, OF_ADDRESS))
    };
    let most = of_all(scopes, ("limit_conn", KEY), read, ledger);
    most.map(|most| (KEY.to_owned(), most.to_string())).into_iter().collect()
}

/// `limit_req`, by address, where it holds for all.
fn requests(scopes: &[&Scope<'_>], http: &Scope<'_>, ledger: &mut Ledger) -> Rows {
    const KEY: &str = "requests_per_address";
    let read = |said: &Directive, ledger: &mut Ledger| {
        let part = |name: &str| said.words.iter().find_map(|word| word.strip_prefix(name));
        let zone =
            zone("limit_req_zone", part("zone=")?, http).filter(|zone| is_by_address(zone))?;
        let rate = zone.words.iter().find_map(|word| word.strip_prefix("rate="))?;
        let rate = rate.strip_suffix("r/s")?.parse::<u32>().ok().filter(|rate| *rate > 0)?;
        let burst = part("burst=").map_or(Some(0), |burst| burst.parse::<u32>().ok())?;
        ledger.carry(zone);
        let is_delayed = burst > 0 && !said.words.iter().any(|word| word == "nodelay");
        let differs = match is_delayed {
            true => "what is too much is answered 429; of a burst nothing waits, as with nodelay",
            false => "what is too much is answered 429",
        };
        // nginx lets one through, and as many beside as the burst says.
        Some(((rate, burst.saturating_add(1)), differs))
    };
    match of_all(scopes, ("limit_req", KEY), read, ledger) {
        Some((rate, burst)) => vec![
            (KEY.to_owned(), rate.to_string()),
            ("requests_burst".to_owned(), burst.to_string()),
        ],
        None => Rows::new(),
    }
}

/// The largest of a bound that each server has for all its requests, and is understood. `read` says what a directive
/// bounds, and what differs.
fn of_all<T: Ord + Copy>(
    scopes: &[&Scope<'_>],
    (name, key): (&str, &str),
    read: impl Fn(&Directive, &mut Ledger) -> Option<(T, &'static str)>,
    ledger: &mut Ledger,
) -> Option<T> {
    for one in scopes.iter().flat_map(|scope| within(scope.own(), name)) {
        ledger.note(one, format!("say {key} in [server]: it is for all requests there"));
    }
    let mut most = None;
    let mut has_every_server = true;
    let mut understood = Vec::new();
    for scope in scopes {
        let said = scope.all(name, ledger);
        has_every_server &= !said.is_empty();
        for one in said {
            match read(one, ledger) {
                Some((value, differs)) => {
                    understood.push((one, differs));
                    most = most.max(Some(value));
                }
                None => {
                    has_every_server = false;
                    ledger.note(
                        one,
                        format!(
                            "here it is by the addresses of clients, and whole numbers: see {key}"
                        ),
                    );
                }
            }
        }
    }
    for (one, differs) in understood {
        match has_every_server {
            true => ledger.note(one, differs),
            false => {
                ledger.note(one, format!("say {key} in [server]: it is for all requests there"))
            }
        }
    }
    most.filter(|_| has_every_server)
}
