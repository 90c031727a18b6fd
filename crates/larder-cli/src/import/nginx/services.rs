//! Services: what `proxy_pass` and `upstream` name, as `[upstream.NAME]`.

use std::{collections::BTreeMap, path::Path};

use larder_gateway::{
    config::address,
    origins::MAX_ADDRESSES,
    upstream::{OriginTls, OriginTlsOptions},
};

use super::{
    scope::{Ledger, Scope},
    syntax::Directive,
    units::{shown_time, time},
};
use crate::import::written::{Table, list, quoted};

/// Where requests go that nginx answered by itself, or let only some people make. Nobody can listen below a device, so
/// they are answered 502.
pub(super) const NOWHERE: &str = "nowhere";
const NOWHERE_URL: &str = "unix:/dev/null/nowhere";

/// All services so far.
pub(super) struct Services<'d> {
    /// Where files are named from.
    folder: &'d Path,
    pools: BTreeMap<&'d str, &'d Directive>,
    made: Vec<Service>,
}

struct Service {
    name: String,
    /// What tells it apart: where it is, and how it is asked.
    key: (String, Vec<(String, String)>),
    tables: Vec<Table>,
}

/// What `proxy_pass` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) scheme: &'static str,
    /// A host with its port, the name of an `upstream`, or `unix:` and a path.
    pub(super) authority: String,
    /// The path that takes the place of the location's.
    pub(super) uri: Option<String>,
}

impl Target {
    pub(super) fn parse(text: &str) -> Option<Target> {
        // The URI of the reader is what is sent where none is said.
        let text = text.strip_suffix("$request_uri").unwrap_or(text);
        let lower = text.to_ascii_lowercase();
        let scheme =
            ["http", "https"].into_iter().find(|one| lower.starts_with(&format!("{one}://")))?;
        let rest = &text[scheme.len() + 3..];
        let (authority, uri) = match rest.strip_prefix("unix:") {
            Some(path) => match path.split_once(':') {
                Some((path, uri)) => (format!("unix:{path}"), Some(uri)),
                None => (rest.to_owned(), None),
            },
            None => match rest.find('/') {
                Some(slash) => (rest[..slash].to_owned(), Some(&rest[slash..])),
                None => (rest.to_owned(), None),
            },
        };
        let uri = uri.filter(|uri| !uri.is_empty()).map(str::to_owned);
        let is_plain = !text.contains('$') && !authority.is_empty();
        is_plain.then_some(Target { scheme, authority, uri })
    }

    /// The `Host` that nginx sends if nothing else is said.
    pub(super) fn host(&self) -> &str {
        if self.authority.starts_with("unix:") { "localhost" } else { &self.authority }
    }
}

impl<'d> Services<'d> {
    pub(super) fn new(http: &Scope<'d>, folder: &'d Path, ledger: &mut Ledger) -> Services<'d> {
        let blocks = http.own().iter().filter(|one| one.name == "upstream");
        let mut pools = BTreeMap::new();
        for block in blocks {
            if pools.insert(block.word(), block).is_some() {
                ledger.note(block, "there is another upstream of this name");
            }
        }
        Services { folder, pools, made: Vec::new() }
    }

    /// The name of the service that is meant, which is there from now on.
    pub(super) fn of(
        &mut self,
        target: &Target,
        scope: &Scope<'d>,
        ledger: &mut Ledger,
    ) -> Result<String, String> {
        let pool = self.pools.get(target.authority.as_str()).copied();
        let addresses = match pool {
            Some(pool) => pooled(pool, target.scheme, ledger),
            None => vec![Address::new(target.scheme, &target.authority)],
        };
        let addresses = checked(addresses, pool, ledger)?;
        let mut rows = Vec::new();
        if let [only] = addresses.as_slice() {
            rows.push(("url".to_owned(), quoted(&only.url)));
        } else if addresses.iter().all(Address::is_plain) {
            rows.push(("urls".to_owned(), list(addresses.iter().map(|one| &one.url))));
        }
        timeouts(scope, &mut rows, ledger);
        let mut below = Vec::new();
        if target.scheme == "https" {
            below.extend(tls(scope, self.folder, ledger));
        }
        if let Some(pool) = pool {
            below.extend(of_pool(pool, addresses.len() > 1, &mut rows, ledger));
        }
        if addresses.len() > 1 {
            below.extend(retries(scope, ledger));
        }
        let key = (format!("{}://{} {below:?}", target.scheme, target.authority), rows);
        if let Some(known) = self.made.iter().find(|known| known.key == key) {
            return Ok(known.name.clone());
        }
        let name = self.free_name(&target.authority);
        let mut table = Table::new(&format!("[upstream.{name}]"));
        table.rows(&key.1);
        let mut tables = vec![table];
        if addresses.len() > 1 && !addresses.iter().all(Address::is_plain) {
            tables.extend(addresses.iter().map(|one| one.table(&name)));
        }
        for (part, rows) in below {
            let mut table = Table::new(&format!("[upstream.{name}.{part}]"));
            table.rows(&rows);
            tables.push(table);
        }
        self.made.push(Service { name: name.clone(), key, tables });
        Ok(name)
    }

    /// The first one, if there is any.
    pub(super) fn first(&self) -> Option<&str> {
        self.made.first().map(|service| service.name.as_str())
    }

    pub(super) fn tables(&self) -> impl Iterator<Item = &Table> {
        self.made.iter().flat_map(|service| &service.tables)
    }

    /// Those that nothing was made of.
    pub(super) fn unused(&self, ledger: &mut Ledger) {
        for pool in self.pools.values().filter(|pool| !ledger.has(pool)).collect::<Vec<_>>() {
            ledger.note(pool, "no location that is carried over asks it");
            pool.block().iter().for_each(|directive| ledger.carry(directive));
        }
    }

    fn free_name(&self, authority: &str) -> String {
        let host = authority.trim_start_matches("unix:");
        let host = match host.rsplit_once(':') {
            Some(("127.0.0.1" | "localhost", port)) => format!("port-{port}"),
            Some((host, _)) if !host.contains(':') => host.to_owned(),
            _ => host.to_owned(),
        };
        let name: String = host
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' })
            .collect();
        let name = name.trim_matches('-');
        let name = if name.is_empty() || name == NOWHERE { "service" } else { name };
        let is_free = |name: &str| !self.made.iter().any(|service| service.name == name);
        let numbered = (2_u32..).map(|number| format!("{name}-{number}"));
        std::iter::once(name.to_owned())
            .chain(numbered)
            .find(|name| is_free(name))
            .expect("numbers do not end")
    }
}

/// The service that nobody is.
pub(super) fn nowhere() -> Table {
    let mut table = Table::new(&format!("[upstream.{NOWHERE}]"));
    table.comment("What nginx answered by itself, or did not let everybody ask for: nobody listens here, readers get 502.");
    table.row("url", quoted(NOWHERE_URL));
    table
}

/// One address of a service.
#[derive(Debug)]
struct Address {
    url: String,
    weight: u32,
    is_backup: bool,
    max_connections: Option<u32>,
}

impl Address {
    fn new(scheme: &str, authority: &str) -> Address {
        let is_socket = authority.starts_with("unix:");
        let url = if is_socket { authority.to_owned() } else { format!("{scheme}://{authority}") };
        Address { url, weight: 1, is_backup: false, max_connections: None }
    }

    fn is_plain(&self) -> bool {
        self.weight == 1 && !self.is_backup && self.max_connections.is_none()
    }

    fn table(&self, name: &str) -> Table {
        let mut table = Table::new(&format!("[[upstream.{name}.server]]"));
        table.row("url", quoted(&self.url));
        if self.weight != 1 {
            table.row("weight", self.weight.to_string());
        }
        if self.is_backup {
            table.row("backup", "true");
        }
        if let Some(most) = self.max_connections {
            table.row("max_connections", most.to_string());
        }
        table
    }
}

fn pooled(pool: &Directive, scheme: &str, ledger: &mut Ledger) -> Vec<Address> {
    ledger.carry(pool);
    let mut addresses = Vec::new();
    for server in pool.block().iter().filter(|one| one.name == "server") {
        ledger.carry(server);
        let mut address = Address::new(scheme, server.word());
        let mut is_down = false;
        for word in server.words.iter().skip(1) {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            match name {
                "weight" => address.weight = value.parse().unwrap_or(1).clamp(1, 1000),
                "backup" => address.is_backup = true,
                "max_conns" => {
                    address.max_connections = value.parse().ok().filter(|most| *most > 0)
                }
                "down" => is_down = true,
                // Names are looked up again in any case.
                "max_fails" | "fail_timeout" | "resolve" => {}
                "slow_start" => ledger
                    .note(server, "slow_start is one for all addresses here, the first one said"),
                _ => ledger.note(server, format!("there is no {name} for one address")),
            }
        }
        match is_down {
            true => ledger.note(server, "it is down, and left out"),
            false => addresses.push(address),
        }
    }
    addresses
}

/// Those that can be asked. What stands there twice is there once, with the weight of both.
fn checked(
    addresses: Vec<Address>,
    pool: Option<&Directive>,
    ledger: &mut Ledger,
) -> Result<Vec<Address>, String> {
    let mut fine: Vec<(larder_gateway::upstream::Origin, Address)> = Vec::new();
    let mut wrong = String::new();
    for address in addresses {
        let parsed = address::upstream(&address.url);
        let is_whole = |path: &str| path.starts_with('/') && path.len() < 100;
        if address.url.strip_prefix("unix:").is_some_and(|path| !is_whole(path)) {
            wrong = format!("{} is no whole path", address.url);
            continue;
        }
        match parsed {
            Ok(origin) => match fine.iter_mut().find(|(known, _)| *known == origin) {
                Some((_, known)) => known.weight = (known.weight + address.weight).min(1000),
                None => fine.push((origin, address)),
            },
            Err(error) => wrong = error,
        }
    }
    let mut fine: Vec<_> = fine.into_iter().map(|(_, address)| address).collect();
    // With https it is one way for all of them, and a socket has no TLS.
    if fine.iter().any(|one| one.url.starts_with("https:"))
        && fine.iter().any(|one| one.url.starts_with("unix:"))
    {
        return Err("sockets are not asked over TLS here".to_owned());
    }
    if let Some(pool) = pool {
        if !wrong.is_empty() && !fine.is_empty() {
            ledger.note(pool, format!("one address is left out: {wrong}"));
        }
        if fine.len() > MAX_ADDRESSES {
            ledger.note(pool, format!("only the first {MAX_ADDRESSES} addresses are taken"));
            fine.truncate(MAX_ADDRESSES);
        }
    }
    if fine.iter().all(|one| one.is_backup) {
        fine.iter_mut().for_each(|one| one.is_backup = false);
    }
    match fine.is_empty() {
        true if wrong.is_empty() => Err("it has no address".to_owned()),
        true => Err(wrong),
        false => Ok(fine),
    }
}

type Rows = Vec<(String, String)>;

/// What holds for each request of the location, which is said of the service here.
fn timeouts(scope: &Scope<'_>, rows: &mut Rows, ledger: &mut Ledger) {
    for (name, keys) in [
        ("proxy_connect_timeout", &["connect_timeout"][..]),
        ("proxy_read_timeout", &["first_byte_timeout", "idle_body_timeout"]),
    ] {
        let Some(said) = scope.one(name, ledger) else { continue };
        match time(said.word()).filter(|time| !time.is_zero()) {
            Some(time) => rows.extend(keys.iter().map(|key| ((*key).to_owned(), shown_time(time)))),
            None => ledger.note(said, "this is no time that can be waited"),
        }
    }
}

/// `proxy_ssl_…`: whom the service has to be vouched for by, and what it is shown. A file that cannot be read here is left
/// out, so that what is printed can be run.
fn tls(scope: &Scope<'_>, folder: &Path, ledger: &mut Ledger) -> Option<(&'static str, Rows)> {
    let mut rows = Rows::new();
    let mut options = OriginTlsOptions::default();
    let is_usable = |options: &OriginTlsOptions| OriginTls::new(options).is_ok();
    if let Some(said) = scope.one("proxy_ssl_trusted_certificate", ledger) {
        let file = folder.join(said.word());
        let with = OriginTlsOptions { ca_file: Some(file.clone()), ..options.clone() };
        match is_usable(&with) {
            true => {
                rows.push(("ca_file".to_owned(), quoted(&file.display().to_string())));
                options = with;
            }
            false => ledger.note(said, "these certificates cannot be read here: left out"),
        }
    }
    let shown = ["proxy_ssl_certificate", "proxy_ssl_certificate_key"];
    if let [Some(certificate), Some(key)] = shown.map(|name| scope.one(name, ledger)) {
        let files = [certificate, key].map(|said| folder.join(said.word()));
        let [of_certificate, of_key] = files.clone();
        let with = OriginTlsOptions { client: Some((of_certificate, of_key)), ..options };
        match is_usable(&with) {
            true => {
                let [certificate, key] = files.map(|file| quoted(&file.display().to_string()));
                rows.push(("client_certificate".to_owned(), certificate));
                rows.push(("client_key".to_owned(), key));
            }
            false => {
                ledger.note(certificate, "it cannot be read here with its key: left out");
            }
        }
    }
    if let Some(said) = scope.one("proxy_ssl_name", ledger) {
        let name = said.word();
        let is_name = !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte));
        let with =
            OriginTlsOptions { server_name: Some(name.to_owned()), ..OriginTlsOptions::default() };
        match is_name && is_usable(&with) {
            true => rows.push(("server_name".to_owned(), quoted(name))),
            false => ledger.note(said, "this is no name that is known before a request comes"),
        }
    }
    if let Some(said) = scope.one("proxy_ssl_protocols", ledger) {
        let has = |version: &str| said.words.iter().any(|word| word == version);
        if has("TLSv1.3") && !has("TLSv1.2") && !has("TLSv1.1") && !has("TLSv1") {
            rows.push(("min_version".to_owned(), quoted("1.3")));
        }
    }
    (!rows.is_empty()).then_some(("tls", rows))
}

fn of_pool(
    pool: &Directive,
    has_several: bool,
    rows: &mut Rows,
    ledger: &mut Ledger,
) -> Vec<(&'static str, Rows)> {
    let mut is_by_fewest = false;
    let slow = pool.block().iter().filter(|one| one.name == "server").find_map(|server| {
        server.words.iter().find_map(|word| time(word.strip_prefix("slow_start=")?))
    });
    if let Some(slow) = slow.filter(|slow| has_several && !slow.is_zero()) {
        rows.push(("slow_start".to_owned(), shown_time(slow)));
    }
    for directive in pool.block() {
        match directive.name.as_str() {
            "server" => {}
            "least_conn" => {
                is_by_fewest = true;
                ledger.carry(directive);
            }
            "keepalive" => {
                ledger.carry(directive);
                if let Ok(count @ 1..=65_536) = directive.word().parse::<u32>() {
                    rows.push(("max_idle".to_owned(), count.to_string()));
                }
            }
            "keepalive_timeout" => ledger.note(
                directive,
                "idle connections are kept for 4s, since a request that meets a closing one fails: idle_timeout says another",
            ),
            "zone" | "keepalive_requests" | "keepalive_time" | "resolver" | "resolver_timeout" => {
                ledger.note(directive, "this needs no setting here");
            }
            "ip_hash" | "hash" | "sticky" | "random" | "least_time" => ledger.note(
                directive,
                "addresses are chosen by the fewest requests under way, or in turn: sessions have to be shared behind them",
            ),
            _ => ledger.note(directive, "there is nothing like it here"),
        }
    }
    if !has_several {
        return Vec::new();
    }
    if !is_by_fewest {
        rows.push(("balance".to_owned(), quoted("round-robin")));
    }
    breaker(pool, ledger).into_iter().collect()
}

/// `max_fails` and `fail_timeout`, which are one for all addresses here.
fn breaker(pool: &Directive, ledger: &mut Ledger) -> Option<(&'static str, Rows)> {
    let servers: Vec<_> = pool.block().iter().filter(|one| one.name == "server").collect();
    let said = |server: &Directive, name: &str| {
        let word = server.words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        word.map(str::to_owned)
    };
    let mut rows = Rows::new();
    for name in ["max_fails", "fail_timeout"] {
        let first = servers.iter().find_map(|server| said(server, name));
        let Some(first) = first else { continue };
        if let Some(other) =
            servers.iter().find(|server| said(server, name).as_ref() != Some(&first))
        {
            ledger.note(other, format!("{name} is one for all addresses here: {first}"));
        }
        if name == "max_fails" {
            match first.parse::<u32>() {
                Ok(0) | Err(_) => {
                    ledger
                        .note(servers[0], "an address that fails is always left alone for a while");
                }
                Ok(count) => rows.push(("failures".to_owned(), count.to_string())),
            }
        } else if let Some(time) = time(&first).filter(|time| !time.is_zero()) {
            rows.push(("back_off".to_owned(), shown_time(time)));
            rows.push(("max_back_off".to_owned(), shown_time(time)));
        }
    }
    (!rows.is_empty()).then_some(("breaker", rows))
}

/// `proxy_next_upstream`, of several addresses.
fn retries(scope: &Scope<'_>, ledger: &mut Ledger) -> Option<(&'static str, Rows)> {
    let mut rows = Rows::new();
    let said = scope.one("proxy_next_upstream", ledger);
    let tries = scope.one("proxy_next_upstream_tries", ledger);
    let mut words = Vec::new();
    if let Some(said) = said {
        for word in &said.words {
            match word.as_str() {
                "error" => words.extend(["connect", "reset"]),
                "timeout" => words.push("timeout"),
                "http_500" => words.push("500"),
                "http_502" => words.push("502"),
                "http_503" => words.push("503"),
                "http_504" => words.push("504"),
                "off" => rows.push(("attempts".to_owned(), "1".to_owned())),
                "invalid_header" => {}
                other => ledger.note(said, format!("nothing is sent once more after {other}")),
            }
        }
        if !words.is_empty() {
            rows.push(("on".to_owned(), list(words)));
        }
    }
    if let Some(tries) = tries
        && let Ok(count @ 1..) = tries.word().parse::<u32>()
        && !rows.iter().any(|(key, _)| key == "attempts")
    {
        rows.push(("attempts".to_owned(), count.to_string()));
    }
    (!rows.is_empty()).then_some(("retry", rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_scheme_a_place_and_perhaps_a_path() {
        let parsed =
            |text: &str| Target::parse(text).map(|one| (one.scheme, one.authority, one.uri));
        let expected = |scheme, authority: &str, uri: Option<&str>| {
            Some((scheme, authority.to_owned(), uri.map(str::to_owned)))
        };
        assert_eq!(parsed("http://app:8000"), expected("http", "app:8000", None));
        assert_eq!(parsed("https://app/"), expected("https", "app", Some("/")));
        assert_eq!(parsed("http://app/v2/$request_uri"), expected("http", "app", Some("/v2/")));
        assert_eq!(parsed("http://app$request_uri"), expected("http", "app", None));
        assert_eq!(parsed("http://unix:/run/a.sock"), expected("http", "unix:/run/a.sock", None));
        assert_eq!(
            parsed("http://unix:/run/a.sock:/x/"),
            expected("http", "unix:/run/a.sock", Some("/x/"))
        );
        assert_eq!(
            ["http://$host", "app:8000", "http://", "grpc://a"].map(parsed),
            [None, None, None, None]
        );
    }
}
