//! Listeners: where nginx listens, with which certificates, and whom it believes.

use std::{collections::BTreeMap, net::SocketAddr, path::Path};

use larder_gateway::{
    Tls,
    config::address,
    downstream::{ListenAddress, TrustedPeer},
};

use super::{
    scope::{Ledger, Scope},
    servers::Server,
    syntax::Directive,
};
use crate::import::written::{Table, list, quoted};

/// A place that a server listens at.
#[derive(Clone, Debug)]
pub(super) struct Listen {
    /// As Larder writes it.
    pub(super) at: String,
    is_tls: bool,
    has_proxy_header: bool,
    pub(super) is_default: bool,
}

/// The places of one server.
pub(super) fn of_server(at: &Directive, scope: &Scope<'_>, ledger: &mut Ledger) -> Vec<Listen> {
    let ssl = scope.is_on("ssl", ledger);
    let said: Vec<_> = scope.own().iter().filter(|one| one.name == "listen").collect();
    if said.is_empty() {
        ledger.note(at, "without listen it is port 80");
        let listen = Listen {
            at: "0.0.0.0:80".to_owned(),
            is_tls: ssl,
            has_proxy_header: false,
            is_default: false,
        };
        return vec![listen];
    }
    let mut listens = Vec::new();
    for one in said {
        ledger.carry(one);
        let Some(at) = place(one.word()) else {
            ledger.note(one, "this is no place to listen at");
            continue;
        };
        let mut listen = Listen { at, is_tls: ssl, has_proxy_header: false, is_default: false };
        let mut is_quic = false;
        for word in one.words.iter().skip(1) {
            match word.as_str() {
                "ssl" => listen.is_tls = true,
                "proxy_protocol" => listen.has_proxy_header = true,
                "default_server" | "default" => listen.is_default = true,
                "quic" => is_quic = true,
                // Both are as they are here.
                "http2" | "reuseport" | "deferred" | "bind" => {}
                "ipv6only=on" => ledger.note(one, "a listener of [::] takes IPv4 as well"),
                word if word.starts_with("backlog=") || word.starts_with("ipv6only=") => {}
                other => ledger.note(one, format!("{other} is not said of a listener here")),
            }
        }
        match is_quic {
            true => ledger.note(one, "there is no HTTP/3 here"),
            false => listens.push(listen),
        }
    }
    listens
}

fn place(word: &str) -> Option<String> {
    let is_number = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    let (host, port) = match word.rsplit_once(':') {
        _ if word.starts_with("unix:") => {
            return address::place(word).ok().map(|_| word.to_owned());
        }
        _ if is_number => ("0.0.0.0", word),
        _ if word.ends_with(']') => (word, "80"),
        Some((host, port)) => (host, port),
        None => (word, "80"),
    };
    let host = match host {
        "*" => "0.0.0.0",
        "localhost" => "127.0.0.1",
        host => host,
    };
    let address: SocketAddr = format!("{host}:{port}").parse().ok()?;
    (address.port() > 0).then(|| address.to_string())
}

/// What is known of a place from all servers that listen there.
#[derive(Debug, Default)]
struct Place<'d> {
    is_tls: bool,
    has_proxy_header: bool,
    redirect: Option<u16>,
    /// Where it would be sent on, and others would not.
    is_mixed: bool,
    /// Certificates with their keys, each with the line that it is from.
    pairs: Vec<(&'d Directive, String, String)>,
    min_version: Option<&'static str>,
}

/// `[server]`, or each `[[listener]]`, and where questions about the cache are answered.
pub(super) fn tables<'d>(
    servers: &[Server<'d>],
    http: &Scope<'d>,
    folder: &Path,
    ledger: &mut Ledger,
) -> Vec<Table> {
    let mut places: BTreeMap<String, Place<'d>> = BTreeMap::new();
    let mut order = Vec::new();
    for server in servers {
        let pairs = pairs(server, folder, ledger);
        let version = min_version(server, ledger);
        for listen in &server.listens {
            let at = merged(&listen.at, &mut order, &mut places, server.at, ledger);
            let is_first = !order.contains(&at);
            if is_first {
                order.push(at.clone());
            }
            let place = places.entry(at).or_default();
            place.is_mixed |= !is_first && place.redirect.is_some() != server.redirect.is_some();
            place.redirect = place.redirect.or(server.redirect);
            place.is_tls |= listen.is_tls;
            place.has_proxy_header |= listen.has_proxy_header;
            if listen.is_tls {
                place.min_version = place.min_version.or(version);
                for pair in &pairs {
                    if !place.pairs.iter().any(|known| known.1 == pair.1) {
                        place.pairs.push(pair.clone());
                    }
                }
            }
        }
    }
    let peers = peers(http, servers, ledger);
    let mut tables = vec![];
    let mut server = Table::new("[server]");
    if !peers.is_empty() {
        server.row("trusted_peers", list(&peers));
    }
    server.rows(&super::bounds::rows(servers, http, ledger));
    let is_one = order.len() <= 1;
    let mut certificates = Vec::new();
    let mut listeners = Vec::new();
    for at in &order {
        let place = &places[at];
        let mut table = if is_one { server.clone() } else { Table::new("[[listener]]") };
        table.row("listen", quoted(at));
        if place.has_proxy_header {
            if peers.is_empty() {
                table.comment(
                    "From whom may a PROXY header come? Name them in the place of 127.0.0.1.",
                );
                table.row("trusted_peers", list(["127.0.0.1"]));
            }
            table.row("proxy_protocol", "true");
        }
        let redirect = place.redirect.filter(|_| !place.is_tls);
        if let Some(port) = redirect {
            if place.is_mixed {
                table.comment("Only some hosts were sent on to https here; now it is all of them.");
            }
            table.row("redirect_to_https", port.to_string());
        }
        let (usable, unusable): (Vec<_>, Vec<_>) = place
            .pairs
            .iter()
            .partition(|(_, file, key)| Tls::from_pem_files(file.as_ref(), key.as_ref()).is_ok());
        for (said, file, key) in unusable {
            ledger.note(
                said,
                format!(
                    "{file} and {key} are no certificate and key that can be read here: left out"
                ),
            );
        }
        if place.is_tls && usable.is_empty() {
            // In the open it would be another place than it was.
            certificates.push(at.clone());
            continue;
        }
        listeners.push(table);
        let below = if is_one { "server" } else { "listener" };
        for (index, (_, file, key)) in usable.into_iter().enumerate() {
            let head =
                if index == 0 { format!("[{below}.tls]") } else { format!("[[{below}.tls.more]]") };
            let mut table = Table::new(&head);
            table.row("certificate", quoted(file));
            table.row("key", quoted(key));
            if let Some(version) = place.min_version.filter(|_| index == 0) {
                table.row("min_version", quoted(version));
            }
            listeners.push(table);
        }
    }
    for at in certificates {
        server.comment(format!("{at} is left out: its certificate cannot be read here."));
    }
    // One place is [server] itself.
    if !is_one || listeners.is_empty() {
        if listeners.is_empty() {
            server.row("listen", quoted("127.0.0.1:8080"));
        }
        tables.extend(Some(server).filter(Table::says_something));
    }
    tables.extend(listeners);
    let is_taken = |port: u16| order.iter().any(|at| at.ends_with(&format!(":{port}")));
    let mut admin = Table::new("[admin]");
    let port = (9191..).find(|port| !is_taken(*port)).unwrap_or(9191);
    admin.row("listen", quoted(&format!("127.0.0.1:{port}")));
    tables.push(admin);
    tables
}

/// The place as it is listened at: `0.0.0.0` and `[::]` of one port are one place, and a special address is one of them.
fn merged(
    at: &str,
    order: &mut [String],
    places: &mut BTreeMap<String, Place<'_>>,
    said: &Directive,
    ledger: &mut Ledger,
) -> String {
    let Ok(ListenAddress::Tcp(new)) = address::place(at) else { return at.to_owned() };
    for known in order.iter_mut() {
        let Ok(ListenAddress::Tcp(old)) = address::place(known) else { continue };
        if known == at || old.port() != new.port() {
            continue;
        }
        let covers = |wide: SocketAddr, narrow: SocketAddr| {
            wide.ip().is_unspecified() && (wide.is_ipv6() || narrow.is_ipv4())
        };
        if covers(old, new) {
            ledger.note(said, format!("{known} takes what comes to {at}, too"));
            return known.clone();
        }
        if covers(new, old) {
            ledger.note(said, format!("{at} takes what comes to {known}, too"));
            if let Some(place) = places.remove(known.as_str()) {
                places.insert(at.to_owned(), place);
            }
            *known = at.to_owned();
            return at.to_owned();
        }
    }
    at.to_owned()
}

/// A server's certificates and keys, by whole paths.
fn pairs<'d>(
    server: &Server<'d>,
    folder: &Path,
    ledger: &mut Ledger,
) -> Vec<(&'d Directive, String, String)> {
    let [files, keys] =
        ["ssl_certificate", "ssl_certificate_key"].map(|name| server.scope.all(name, ledger));
    let whole = |said: &Directive| folder.join(said.word()).display().to_string();
    files.iter().zip(&keys).map(|(file, key)| (*file, whole(file), whole(key))).collect()
}

fn min_version(server: &Server<'_>, ledger: &mut Ledger) -> Option<&'static str> {
    let said = server.scope.one("ssl_protocols", ledger)?;
    let has = |version: &str| said.words.iter().any(|word| word == version);
    if has("TLSv1") || has("TLSv1.1") || has("SSLv3") {
        ledger.note(said, "the oldest version here is TLS 1.2");
    }
    (!has("TLSv1.2") && !has("TLSv1.1") && !has("TLSv1") && has("TLSv1.3")).then_some("1.3")
}

/// `set_real_ip_from`, of all servers together.
fn peers(http: &Scope<'_>, servers: &[Server<'_>], ledger: &mut Ledger) -> Vec<String> {
    let mut peers = Vec::new();
    let scopes = servers.iter().map(|server| &server.scope).chain([http]);
    for scope in scopes {
        for said in scope.all("set_real_ip_from", ledger) {
            let peer = if said.word() == "unix:" { "unix" } else { said.word() };
            match peer.parse::<TrustedPeer>() {
                Ok(_) if peers.iter().any(|known| known == peer) => {}
                Ok(_) => {
                    ledger.note(said, "it is believed in X-Forwarded-Host and X-Forwarded-Proto as well: let it set both");
                    peers.push(peer.to_owned());
                }
                Err(error) => ledger.note(said, error.to_string()),
            }
        }
        if let Some(said) = scope.one("real_ip_header", ledger)
            && !matches!(
                said.word().to_ascii_lowercase().as_str(),
                "x-forwarded-for" | "proxy_protocol"
            )
        {
            ledger.note(
                said,
                "trusted peers say whom they ask for in X-Forwarded-For, or in a PROXY header",
            );
        }
    }
    peers
}
