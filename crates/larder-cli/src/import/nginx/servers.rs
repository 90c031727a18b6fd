//! Servers: the `server` blocks, which of them can stand in one `larder.toml`, and for which hosts each is.

use std::collections::BTreeSet;

use larder_gateway::routes::HostPattern;

use super::{
    listeners::{self, Listen},
    scope::{Ledger, Scope},
    syntax::Directive,
};

/// A `server` block.
#[derive(Clone, Debug)]
pub(super) struct Server<'d> {
    pub(super) at: &'d Directive,
    pub(super) scope: Scope<'d>,
    pub(super) listens: Vec<Listen>,
    /// The port of https that all its requests are sent on to.
    pub(super) redirect: Option<u16>,
}

/// All of them, in their order.
pub(super) fn of<'d>(http: &Scope<'d>, ledger: &mut Ledger) -> Vec<Server<'d>> {
    let blocks = http.own().iter().filter(|one| one.name == "server" && one.block.is_some());
    let mut servers = Vec::new();
    for at in blocks {
        ledger.carry(at);
        let scope = http.within(at.block());
        let listens = listeners::of_server(at, &scope, ledger);
        let redirect = redirect(at, ledger);
        servers.push(Server { at, scope, listens, redirect });
    }
    servers
}

/// Those whose requests come at the same places as one another's: routes do not go by where a request came, so that others,
/// which may be meant for few people, would be open to all. The largest group is taken.
pub(super) fn one_group<'d>(servers: Vec<Server<'d>>, ledger: &mut Ledger) -> Vec<Server<'d>> {
    let (redirects, mut left): (Vec<_>, Vec<_>) =
        servers.into_iter().partition(|server| server.redirect.is_some());
    let mut groups: Vec<Vec<Server<'d>>> = Vec::new();
    while !left.is_empty() {
        let mut group = vec![left.remove(0)];
        loop {
            let places: BTreeSet<_> =
                group.iter().flat_map(|one| &one.listens).map(|one| one.at.clone()).collect();
            let is_near = |one: &Server<'_>| one.listens.iter().any(|one| places.contains(&one.at));
            let (near, far): (Vec<_>, Vec<_>) = left.into_iter().partition(is_near);
            left = far;
            if near.is_empty() {
                break;
            }
            group.extend(near);
        }
        group.sort_by_key(|one| one.at.number);
        groups.push(group);
    }
    // Of the same size, the first one.
    let largest = groups
        .iter()
        .enumerate()
        .max_by_key(|(index, group)| (group.len(), std::cmp::Reverse(*index)));
    let chosen = largest.map_or(0, |(index, _)| index);
    let mut all = redirects;
    for (index, group) in groups.into_iter().enumerate() {
        if index == chosen {
            all.extend(group);
            continue;
        }
        for server in group {
            ledger.note(
                server.at,
                "it listens elsewhere, and routes do not go by where a request comes: put it into a file of its own, and \
                 import that for a Larder of its own",
            );
            carry_all(server.at.block(), ledger);
        }
    }
    all.sort_by_key(|one| one.at.number);
    all
}

/// The hosts that each server is for, in the order in which nginx looks for them; `None` is what no name fits.
pub(super) fn by_host<'s, 'd>(
    servers: &'s [Server<'d>],
    ledger: &mut Ledger,
) -> Vec<(Option<String>, &'s Server<'d>)> {
    let is_default = |server: &&Server<'_>| server.listens.iter().any(|listen| listen.is_default);
    let Some(default) = servers.iter().find(is_default).or(servers.first()) else {
        return Vec::new();
    };
    let mut exact = Vec::new();
    let mut below = Vec::new();
    let mut seen = BTreeSet::new();
    for server in servers {
        let names = server.scope.own().iter().filter(|one| one.name == "server_name");
        for said in names {
            ledger.carry(said);
            for name in &said.words {
                for host in hosts(name, said, ledger) {
                    if !seen.insert(host.clone()) {
                        ledger.note(said, format!("another server before it is for {host}"));
                        continue;
                    }
                    let list = if host.starts_with("*.") { &mut below } else { &mut exact };
                    list.push((Some(host), server));
                }
            }
        }
    }
    below.sort_by_key(|(host, _)| std::cmp::Reverse(host.as_ref().map_or(0, String::len)));
    // What no other server is for comes to the default in any case.
    let has_others_below = below.iter().any(|(_, server)| server.at.number != default.at.number);
    if !has_others_below {
        exact.retain(|(_, server)| server.at.number != default.at.number);
        below.clear();
    }
    let mut all: Vec<(Option<String>, &Server<'d>)> = exact;
    all.extend(below);
    all.push((None, default));
    for server in servers {
        if !all.iter().any(|(_, other)| other.at.number == server.at.number) {
            ledger.note(server.at, "no request can come to it: no host is its own");
            carry_all(server.at.block(), ledger);
        }
    }
    all
}

fn hosts(name: &str, said: &Directive, ledger: &mut Ledger) -> Vec<String> {
    let lower = name.to_ascii_lowercase();
    let hosts = match lower.strip_prefix('.') {
        Some(rest) => vec![rest.to_owned(), format!("*.{rest}")],
        // It is no host, and stands for those that no name fits.
        None if matches!(lower.as_str(), "_" | "" | "\"\"") => Vec::new(),
        None => vec![lower.clone()],
    };
    let mut fine = Vec::new();
    for host in hosts {
        match HostPattern::parse(&host) {
            Ok(_) => fine.push(host.trim_end_matches('.').to_owned()),
            Err(_) if name.starts_with('~') => {
                ledger.note(said, format!("{name}: hosts are not found by expressions"))
            }
            Err(what) => ledger.note(said, format!("{name}: {what}")),
        }
    }
    fine
}

/// Whether all that a server does is to send its readers on to https, and to which port.
fn redirect(at: &Directive, ledger: &mut Ledger) -> Option<u16> {
    let mut port = None;
    let mut returns = Vec::new();
    for one in at.block() {
        match one.name.as_str() {
            "return" => match https_port(one) {
                Some(to) => {
                    port = port.or(Some(to));
                    returns.push(one);
                }
                // As certbot writes it, behind an `if` of the host.
                None if one.word() == "404" => returns.push(one),
                None => return None,
            },
            "if" if one.words.join(" ").contains("$host") => {
                let inner = one.block().iter().find(|inner| inner.name == "return")?;
                port = port.or(Some(https_port(inner)?));
                returns.extend([one, inner]);
            }
            "location"
                if one.words == ["/"]
                    && one.block().len() == 1
                    && one.block()[0].name == "return" =>
            {
                port = port.or(Some(https_port(&one.block()[0])?));
                returns.extend([one, &one.block()[0]]);
            }
            // The challenges of certificates lie on the disk.
            "location" if one.words.iter().any(|word| word.contains("acme-challenge")) => {}
            "location" | "proxy_pass" | "rewrite" | "try_files" => return None,
            _ => {}
        }
    }
    let port = port?;
    for one in returns {
        if one.name == "return" && matches!(one.word(), "302" | "303" | "307" | "404") {
            ledger.note(one, "readers are sent on with 308, for all hosts");
        }
        ledger.carry(one);
    }
    for one in at.block() {
        match one.name.as_str() {
            "location" if !ledger.has(one) => {
                ledger.note(one, "Larder serves no files: answer challenges otherwise (DNS, or a port of their own)");
                carry_all(one.block(), ledger);
            }
            "server_name" => ledger.carry(one),
            _ => {}
        }
    }
    Some(port)
}

/// `301 https://$host$request_uri`
fn https_port(said: &Directive) -> Option<u16> {
    let [status, to] = said.words.as_slice() else { return None };
    let is_redirect = matches!(status.as_str(), "301" | "302" | "303" | "307" | "308");
    let rest = to.strip_prefix("https://").filter(|_| is_redirect)?;
    let host = rest.strip_suffix("$request_uri")?;
    match host.rsplit_once(':') {
        Some((_, port)) => port.parse().ok().filter(|port| *port > 0),
        None => (!host.contains('/')).then_some(443),
    }
}

/// What a note about their block is about.
pub(super) fn carry_all(directives: &[Directive], ledger: &mut Ledger) {
    for one in directives {
        ledger.carry(one);
        carry_all(one.block(), ledger);
    }
}
