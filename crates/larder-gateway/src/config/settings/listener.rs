//! The check of where requests come: each listener, its certificates, and that no two are one.

use std::{
    error::Error,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::{Duration, SystemTime},
};

use super::check::Check;
use crate::{
    ListenerRules, Server as Running, Tls,
    config::{
        address,
        mistake::Mistake,
        parts::{Config, ListenerPart, PairPart, Server, TlsPart, UnknownNamesWord, VersionWord},
        route::Route,
    },
    downstream::{
        ListenAddress, ListenerConfig, ProxyProtocol,
        http1::Http1Config,
        tls::{Pair, TlsConfig, TlsVersion, UnknownNames},
    },
};

/// A place where requests are answered.
#[derive(Clone, Debug)]
pub struct Listener {
    /// What it is called in figures and in the log: `server`, its name, or its number in the file.
    pub name: String,
    /// Its table in the file: `server`, `listener[1]`.
    pub path: String,
    /// Where it is.
    pub listen: ListenAddress,
    /// Who may open its Unix socket.
    pub socket_mode: u32,
    /// How it is spoken to.
    pub config: ListenerConfig,
    /// What holds for its peers.
    pub rules: ListenerRules,
}

/// Other machines cannot reach it: a start without a word opens nothing to them.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// Its user and its group.
const SOCKET_MODE: u32 = 0o660;

/// So long before a certificate ends, that is told. Those that are renewed by themselves are, by then.
const SOON: Duration = Duration::from_secs(14 * 86_400);

impl Check<'_> {
    /// All of them, in the order of the file: that of `[server]` first, if there is one.
    pub(super) fn listeners(&mut self, config: &Config, http1: &Http1Config) -> Vec<Listener> {
        let Config { server, listener: more, admin, .. } = config;
        let mut listeners = Vec::new();
        if server.listen.is_some() || more.is_empty() {
            listeners.push(self.listener("server", server.as_listener(), server, http1));
        } else {
            self.nowhere(server);
        }
        for (index, part) in more.iter().enumerate() {
            let path = format!("listener[{}]", index + 1);
            if part.listen.is_none() {
                self.note(&format!("{path}.listen"), "where does it listen?");
            }
            let tls = &part.tls;
            for (key, is_said) in [
                ("handshake_timeout", tls.handshake_timeout.is_some()),
                ("max_handshakes", tls.max_handshakes.is_some()),
            ] {
                if is_said {
                    let what = format!("{key} is one for all listeners: say it in [server.tls]");
                    self.note(&format!("{path}.tls.{key}"), what);
                }
            }
            listeners.push(self.listener(&path, part.clone(), server, http1));
        }
        if listeners.len() > Running::MOST_LISTENERS {
            let what = format!("the most are {}", Running::MOST_LISTENERS);
            self.note("listener", what);
        }
        self.names(&listeners);
        self.clashes(&listeners, admin.listen.as_ref().map(|listen| listen.0));
        listeners
    }

    /// Where `[server]` has no place of its own, what is about that place is a slip.
    fn nowhere(&mut self, server: &Server) {
        for (key, is_said) in [
            ("tls.certificate", server.tls.certificate.is_some()),
            ("proxy_protocol", server.proxy_protocol),
            ("redirect_to_https", server.redirect_to_https.is_some()),
            ("socket_mode", server.socket_mode.is_some()),
        ] {
            if is_said {
                let what = format!(
                    "{key} is of no use here: beside [[listener]], [server] listens only where its own listen says"
                );
                self.note(&format!("server.{key}"), what);
            }
        }
    }

    fn listener(
        &mut self,
        path: &str,
        part: ListenerPart,
        server: &Server,
        http1: &Http1Config,
    ) -> Listener {
        let at = |key: &str| format!("{path}.{key}");
        let number = path.trim_start_matches("listener[").trim_end_matches(']').to_owned();
        let name = part.name.clone().unwrap_or(number);
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        if name.is_empty() || name.len() > 40 || !name.bytes().all(is_plain) {
            self.note(&at("name"), "a name has up to 40 letters, digits, and _ - . between them");
        }
        let listen = part.listen.as_ref().map_or(LISTEN.into(), |listen| listen.0.clone());
        let peers = part.trusted_peers.as_ref().unwrap_or(&server.trusted_peers);
        let mut rules = ListenerRules {
            trusted_peers: peers.iter().map(|peer| peer.0).collect(),
            forwarded: part.forwarded.or(server.forwarded).unwrap_or_default().into(),
            redirect_to_https: part.redirect_to_https.as_ref().map(|port| port.0),
            name: Some(name.as_str().into()),
            port: match listen {
                ListenAddress::Tcp(address) if address.port() != 0 => Some(address.port()),
                _ => None,
            },
            speaks_tls: false,
            rate: self.rate(path, part.requests_per_address, part.requests_burst),
            max_request_body: part.max_request_body.as_ref().map(|size| size.0.as_u64()),
        };
        if part.proxy_protocol && rules.trusted_peers.is_empty() {
            let peers = self.places.name(&at("trusted_peers")).to_owned();
            let what = format!(
                "{} lets nobody in without {peers}: who may send such a header?",
                self.places.name(&at("proxy_protocol"))
            );
            self.note(&at("proxy_protocol"), what);
        }
        let tls = self.tls(&at("tls"), &part.tls);
        rules.speaks_tls = tls.is_some();
        if tls.is_some() && part.redirect_to_https.is_some() {
            let what =
                "all that comes here is https already: say it where requests come in the open";
            self.note(&at("redirect_to_https"), what);
        }
        let proxy =
            part.proxy_protocol.then(|| ProxyProtocol::from_peers(rules.trusted_peers.clone()));
        let http1 = Http1Config {
            takes_other_scheme: !rules.trusted_peers.is_empty(),
            // Counted apart.
            counters: Default::default(),
            // It is looked at with each request.
            max_request_body: None,
            ..self.connection(path, (&part).into(), http1)
        };
        Listener {
            name,
            path: path.to_owned(),
            listen,
            socket_mode: part.socket_mode.as_ref().map_or(SOCKET_MODE, |mode| mode.0),
            config: ListenerConfig { tls, proxy, http1 },
            rules,
        }
    }

    fn names(&mut self, listeners: &[Listener]) {
        for (index, listener) in listeners.iter().enumerate() {
            if listeners[..index].iter().any(|before| before.name == listener.name) {
                let what = format!("there is another listener named {:?}", listener.name);
                self.note(&format!("{}.name", listener.path), what);
            }
        }
    }

    fn clashes(&mut self, listeners: &[Listener], admin: Option<SocketAddr>) {
        for (index, listener) in listeners.iter().enumerate() {
            let taken = |before: &&Listener| is_one_place(&before.listen, &listener.listen);
            if let Some(before) = listeners[..index].iter().find(taken) {
                let names = [before, listener].map(|one| format!("{}.listen", one.path));
                let [first, second] = names.each_ref().map(|name| self.places.name(name));
                let what = format!(
                    "{first} {} and {second} {} are one place: give one of them another",
                    before.listen, listener.listen
                );
                self.note(&names[1], what);
            }
        }
        let Some(admin) = admin else { return };
        let reached = listeners.iter().find(|listener| match listener.listen {
            // Port 0 is another one each time.
            ListenAddress::Tcp(listen) => admin.port() != 0 && address::reaches(admin, listen),
            ListenAddress::Unix(_) => false,
        });
        if let Some(Listener { path, listen, .. }) = reached {
            let port = if admin.port() == 9191 { 9192 } else { 9191 };
            let other = SocketAddr::new(admin.ip(), port);
            let listen_path = format!("{path}.listen");
            let names = [listen_path.as_str(), "admin.listen"].map(|name| self.places.name(name));
            let [listen_name, admin_name] = names;
            let what = format!(
                "{listen_name} {listen} and {admin_name} {admin} are one address: give one of them another port, \
                 for example {admin_name} {other}"
            );
            self.note("admin.listen", what);
        }
    }

    fn tls(&mut self, path: &str, tls: &TlsPart) -> Option<Tls> {
        let first = PairPart { certificate: tls.certificate.clone(), key: tls.key.clone() };
        let paths = std::iter::once(path.to_owned())
            .chain((1..=tls.more.len()).map(|number| format!("{path}.more[{number}]")));
        let pairs: Vec<_> = paths.zip(std::iter::once(&first).chain(&tls.more)).collect();
        if tls.certificate.is_none() && tls.key.is_none() {
            for (key, is_said) in [
                ("more", !tls.more.is_empty()),
                ("unknown_names", tls.unknown_names.is_some()),
                ("min_version", tls.min_version.is_some()),
            ] {
                if is_said {
                    let what =
                        format!("{key} is of no use without a first certificate and its key");
                    self.note(&format!("{path}.{key}"), what);
                }
            }
            return None;
        }
        let pairs: Vec<_> = pairs.into_iter().map(|(path, pair)| self.pair(&path, pair)).collect();
        let config = TlsConfig {
            pairs: pairs.into_iter().collect::<Option<_>>()?,
            unknown_names: match tls.unknown_names.unwrap_or_default() {
                UnknownNamesWord::First => UnknownNames::First,
                UnknownNamesWord::Refuse => UnknownNames::Refuse,
            },
            min_version: match tls.min_version.unwrap_or_default() {
                VersionWord::Tls12 => TlsVersion::Tls12,
                VersionWord::Tls13 => TlsVersion::Tls13,
            },
        };
        Tls::new(config).ok()
    }

    /// A certificate and a key that belong together.
    pub(super) fn pair(&mut self, path: &str, pair: &PairPart) -> Option<Pair> {
        let paths = ["certificate", "key"].map(|key| format!("{path}.{key}"));
        let [of_certificate, of_key] =
            paths.each_ref().map(|path| self.places.name(path).to_owned());
        let (certificate, key) = match (&pair.certificate, &pair.key) {
            (Some(certificate), Some(key)) => (certificate, key),
            (Some(_), None) => {
                self.note(&paths[0], format!("{of_certificate} is of no use without {of_key}"));
                return None;
            }
            (None, Some(_)) => {
                self.note(&paths[1], format!("{of_key} is of no use without {of_certificate}"));
                return None;
            }
            (None, None) => {
                self.note(&paths[0], "a certificate and its key are missing");
                return None;
            }
        };
        let certificate: PathBuf = self.places.resolve(&paths[0], certificate);
        let key = self.places.resolve(&paths[1], key);
        // Alone first, so that what is wrong is told where it stands.
        let tls = Tls::from_pem_files(&certificate, &key);
        let noted = tls.map_err(|error| {
            let mut what = format!("the files of {of_certificate} and {of_key} will not do");
            let mut cause: Option<&dyn Error> = Some(&error);
            while let Some(error) = cause {
                what += &format!("\n  because: {error}");
                cause = error.source();
            }
            self.note(&paths[0], what);
        });
        noted.ok().map(|_| Pair { certificate, key })
    }

    /// What can be run of the certificates, and is probably not what was meant.
    pub(super) fn doubts_of_certificates(
        &self,
        listeners: &[Listener],
        routes: &[Route],
        now: SystemTime,
    ) -> Vec<Mistake> {
        let mut doubts = Vec::new();
        for listener in listeners {
            let place = self.places.of(&format!("{}.tls.certificate", listener.path));
            for facts in listener.config.tls.iter().flat_map(Tls::certificates) {
                let file = facts.file.display();
                let at = humantime::format_rfc3339_seconds(facts.expires_at);
                let what = match facts.expires_at.duration_since(now) {
                    Err(_) => format!("the certificate in {file} has ended, at {at}: renew it"),
                    Ok(left) if left < SOON => {
                        format!("the certificate in {file} ends soon, at {at}: renew it")
                    }
                    Ok(_) => continue,
                };
                doubts.push(Mistake::new(place.cloned(), what));
            }
        }
        let is_in_the_open = |listener: &Listener| {
            listener.config.tls.is_none() && listener.rules.redirect_to_https.is_none()
        };
        let encrypted: Vec<_> =
            listeners.iter().filter_map(|listener| listener.config.tls.as_ref()).collect();
        if encrypted.is_empty() || listeners.iter().any(is_in_the_open) {
            return doubts;
        }
        for (index, route) in routes.iter().enumerate() {
            let Some(host) = route.host.as_deref() else { continue };
            // A star stands for names one label longer.
            let name = host.replacen('*', "any", 1);
            if !name.contains('*') && !encrypted.iter().any(|tls| tls.has_certificate_for(&name)) {
                let place = self.places.of(&format!("route[{}].host", index + 1));
                let what = format!("no certificate is for {host}: readers will be warned of it");
                doubts.push(Mistake::new(place.cloned(), what));
            }
        }
        doubts
    }
}

impl Server {
    /// The listener that `[server]` is.
    fn as_listener(&self) -> ListenerPart {
        ListenerPart {
            name: Some("server".to_owned()),
            listen: self.listen.clone(),
            socket_mode: self.socket_mode.clone(),
            proxy_protocol: self.proxy_protocol,
            redirect_to_https: self.redirect_to_https.clone(),
            trusted_peers: Some(self.trusted_peers.clone()),
            forwarded: self.forwarded,
            tls: self.tls.clone(),
            // What it says of connections is what all have in common.
            ..ListenerPart::default()
        }
    }
}

/// Whether both cannot be listened at.
fn is_one_place(one: &ListenAddress, other: &ListenAddress) -> bool {
    match (one, other) {
        // Port 0 is another one each time.
        (ListenAddress::Tcp(one), ListenAddress::Tcp(other)) => {
            one.port() != 0 && (address::reaches(*one, *other) || address::reaches(*other, *one))
        }
        (one, other) => one == other,
    }
}
