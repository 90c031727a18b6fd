//! Settings: a configuration that can be run, whichever way it was said, and what is wrong with one that cannot.

use std::{
    error::Error,
    fs,
    net::{Ipv4Addr, SocketAddr},
    num::NonZeroUsize,
    path::Path,
    sync::Arc,
    time::Duration,
};

use bytesize::ByteSize;
use larder::http;

use super::{
    address,
    document::Places,
    mistake::Mistake,
    nearest::nearest,
    parts::{Config, Server, TlsPart, UpstreamPart},
    route::Route,
    rules::Rules,
    value::{Count, Size, Time},
};
use crate::{
    GatewayConfig, ServerConfig, Tls,
    downstream::{
        MinRate,
        http1::{FIELDS_LIMIT, Http1Config},
    },
    routes::{Fitting, HostPattern, PathPattern, Routes, Way, Ways},
    upstream::{Origin, UpstreamConfig},
};

/// What a gateway runs by. Everything in it can be done, as far as that can be told before any port is taken.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where requests are answered.
    pub listen: SocketAddr,
    /// How; `max_connections` only if [`Settings::max_connections`] says it.
    pub server: ServerConfig,
    /// How many event loops there are to be, if that was said.
    pub threads: Option<NonZeroUsize>,
    /// How many connections there may be, if that was said.
    pub max_connections: Option<NonZeroUsize>,
    /// Where questions about the cache are answered.
    pub admin: Option<SocketAddr>,
    /// What the cache may hold.
    pub memory: ByteSize,
    /// What it may spend.
    pub cache: http::Settings,
    /// Whom the gateway believes.
    pub gateway: GatewayConfig,
    /// The services, at least one; ways name them by their place here.
    pub upstreams: Vec<Named>,
    /// The rules of requests that fit no route.
    pub rules: Rules,
    /// By which rules which requests are answered.
    pub ways: Ways,
    /// The rules of each route, with those of `[defaults]`.
    pub rules_of_routes: Vec<Rules>,
    /// What can be run, and is probably not what was meant.
    pub doubts: Vec<Mistake>,
}

/// A service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// By the file's name for it.
    pub name: String,
    /// Where it answers.
    pub origin: Origin,
    /// What requests to it may take.
    pub config: UpstreamConfig,
}

/// What no file says: it comes from the environment, or from a file of its own.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    /// Who sends this in `Larder-Explain` is told keys.
    pub explain_token: Option<String>,
}

/// No time in a configuration is meant to be longer, and sums of longer ones are none.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);
/// Heads lie in memory whole.
const LARGEST_HEAD: u64 = 16 << 20;
const SMALLEST_HEAD: u64 = 1 << 10;
const LEAST_MEMORY: u64 = 1 << 20;

impl Settings {
    /// Checks all of it. Files that it names are read.
    ///
    /// # Errors
    ///
    /// All that is wrong.
    pub fn of(
        config: &Config,
        places: &Places,
        secrets: Secrets,
    ) -> Result<Settings, Vec<Mistake>> {
        let mut check = Check { places, mistakes: Vec::new() };
        let Config { server, admin, memory, shared: _, log: _, upstream, defaults, route } = config;
        let listen = server.listen.as_ref().map_or(LISTEN, |listen| listen.0);
        let admin = admin.listen.as_ref().map(|listen| listen.0);
        check.listeners(listen, admin);
        let server_config = check.server(server);
        let gateway = check.gateway(server, secrets);
        let size = memory.size.as_ref().map_or(ByteSize::mib(256), |size| size.0);
        if size.as_u64() < LEAST_MEMORY {
            let name = places.name("memory.size");
            let what = format!("{name} {size} is too little for a cache: give it at least 1 MiB");
            check.note("memory.size", what);
        }
        let max_body_bytes = memory.max_body.as_ref().map(bytes);
        let usual = http::Settings::default();
        let cache = http::Settings {
            max_body_bytes: max_body_bytes.unwrap_or(usual.max_body_bytes),
            ..usual
        };
        let upstreams: Vec<_> =
            upstream.iter().filter_map(|(name, part)| check.upstream(name, part)).collect();
        if upstream.is_empty() {
            let what = "there is no service to put the cache before";
            check.mistakes.push(places.mistake("upstream", what));
        }
        let names: Vec<_> = upstream.keys().map(String::as_str).collect();
        let otherwise = check.way("defaults", defaults, defaults, &names);
        let mut ways = Vec::new();
        let mut fittings = Vec::new();
        let mut rules_of_routes = Vec::new();
        for (index, Route { rules, .. }) in route.iter().enumerate() {
            let path = format!("route[{}]", index + 1);
            let effective = rules.clone().or(defaults);
            fittings.push(check.fitting(&path, &route[index]));
            ways.push(check.way(&path, rules, &effective, &names));
            rules_of_routes.push(effective);
        }
        let Check { mistakes, .. } = check;
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let (Some(fittings), Some(ways), Some(otherwise)) = (all(fittings), all(ways), otherwise)
        else {
            unreachable!("what cannot be used is a mistake");
        };
        let routes = Routes::new(fittings);
        let doubts = hidden(&routes, places);
        Ok(Settings {
            listen,
            server: server_config,
            threads: server.threads.map(|count| count.0),
            max_connections: server.max_connections.map(|count| count.0),
            admin,
            memory: size,
            cache,
            gateway,
            upstreams,
            rules: defaults.clone(),
            ways: Ways::new(routes, ways, otherwise),
            rules_of_routes,
            doubts,
        })
    }
}

/// Other machines cannot reach it: a start without a word opens nothing to them.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

fn all<T>(each: Vec<Option<T>>) -> Option<Vec<T>> {
    each.into_iter().collect()
}

fn hidden(routes: &Routes, places: &Places) -> Vec<Mistake> {
    let hidden = routes.hidden().into_iter().map(|(hidden, by)| {
        let by = format!("route[{}]", by + 1);
        let at = places.of(&by).map(|place| format!(" ({place})")).unwrap_or_default();
        let what =
            format!("this route is never found: {by}{at} comes first, and fits all that it fits");
        Mistake::new(places.of(&format!("route[{}]", hidden + 1)).cloned(), what)
    });
    hidden.collect()
}

fn bytes(size: &Size) -> usize {
    usize::try_from(size.0.as_u64()).unwrap_or(usize::MAX)
}

/// One look at a whole configuration.
struct Check<'a> {
    places: &'a Places,
    mistakes: Vec<Mistake>,
}

impl Check<'_> {
    fn note(&mut self, path: &str, what: impl Into<String>) {
        self.mistakes.push(self.places.mistake(path, what));
    }

    fn listeners(&mut self, listen: SocketAddr, admin: Option<SocketAddr>) {
        let Some(admin) = admin else { return };
        let (listen_name, admin_name) =
            (self.places.name("server.listen"), self.places.name("admin.listen"));
        if !admin.ip().is_loopback() {
            let what = format!(
                "{admin_name} {admin} is not a loopback address, and there is no log-in: use 127.0.0.1"
            );
            self.note("admin.listen", what);
        } else if admin.port() != 0 && address::reaches(admin, listen) {
            // Port 0 is another one each time.
            let port = if admin.port() == 9191 { 9192 } else { 9191 };
            let other = SocketAddr::new(admin.ip(), port);
            let what = format!(
                "{listen_name} {listen} and {admin_name} {admin} are one address: give one of them another port, \
                 for example {admin_name} {other}"
            );
            self.note("admin.listen", what);
        }
    }

    fn server(&mut self, server: &Server) -> ServerConfig {
        let usual = Http1Config::default();
        let time = |check: &mut Self, key, said: &Option<Time>, usual| {
            check.time(&format!("server.{key}"), said.as_ref()).unwrap_or(usual)
        };
        let usual_rate = MinRate::default();
        let min_rate = MinRate {
            bytes_per_second: server
                .min_rate
                .as_ref()
                .map_or(usual_rate.bytes_per_second, |size| size.0.as_u64()),
            period: time(self, "min_rate_period", &server.min_rate_period, usual_rate.period),
        };
        if min_rate.period < Duration::from_secs(1) && !min_rate.period.is_zero() {
            self.note("server.min_rate_period", "say 1s or more");
        }
        let max_head_bytes =
            self.head("server.max_head", server.max_head.as_ref(), usual.max_head_bytes);
        let max_request_line_bytes = server.max_request_line.as_ref().map(bytes);
        let max_request_line_bytes =
            max_request_line_bytes.unwrap_or(usual.max_request_line_bytes.min(max_head_bytes));
        let is_said = server.max_request_line.is_some();
        if is_said && max_request_line_bytes > max_head_bytes {
            let what =
                "a request's first line is a part of its head: max_request_line is above max_head";
            self.note("server.max_request_line", what);
        }
        if is_said && max_request_line_bytes < 64 {
            self.note("server.max_request_line", "that is too little for any address");
        }
        let max_fields = server.max_fields.map_or(usual.max_fields, |count| count.0.get());
        if max_fields > FIELDS_LIMIT {
            self.note("server.max_fields", format!("the most is {FIELDS_LIMIT}"));
        }
        if let (Some(of_one), Some(of_all)) =
            (server.max_connections_per_address, server.max_connections)
            && of_one.0 > of_all.0
        {
            let (of_one_name, of_all_name) = (
                self.places.name("server.max_connections_per_address").to_owned(),
                self.places.name("server.max_connections").to_owned(),
            );
            let what = format!("{of_one_name} {} is above {of_all_name} {}", of_one.0, of_all.0);
            self.note("server.max_connections_per_address", what);
        }
        let http1 = Http1Config {
            max_head_bytes,
            max_request_line_bytes,
            max_fields,
            head_timeout: time(self, "head_timeout", &server.head_timeout, usual.head_timeout),
            idle_timeout: time(self, "idle_timeout", &server.idle_timeout, usual.idle_timeout),
            body_timeout: time(self, "body_timeout", &server.body_timeout, usual.body_timeout),
            write_timeout: time(self, "write_timeout", &server.write_timeout, usual.write_timeout),
            min_rate,
            ..usual
        };
        let usual = ServerConfig::default();
        let of_handshake = &server.tls.handshake_timeout;
        ServerConfig {
            max_connections_per_address: server.max_connections_per_address.map(|of| of.0.get()),
            grace: time(self, "grace", &server.grace, usual.grace),
            tls: self.tls(&server.tls),
            handshake_timeout: time(
                self,
                "tls.handshake_timeout",
                of_handshake,
                usual.handshake_timeout,
            ),
            http1,
            ..usual
        }
    }

    /// A time that something may take.
    fn time(&mut self, path: &str, said: Option<&Time>) -> Option<Duration> {
        let time = said?.0;
        if time.is_zero() {
            let name = self.places.name(path).to_owned();
            self.note(path, format!("{name} of 0s leaves no time at all"));
        } else if time > LONGEST {
            self.note(path, "that is more than a year");
        }
        Some(time)
    }

    fn head(&mut self, path: &str, said: Option<&Size>, usual: usize) -> usize {
        let Some(size) = said else { return usual };
        if size.0.as_u64() < SMALLEST_HEAD {
            self.note(path, "that is too little for a head: at least 1KiB");
        } else if size.0.as_u64() > LARGEST_HEAD {
            self.note(path, "heads lie in memory whole: at most 16MiB");
        }
        bytes(size)
    }

    fn tls(&mut self, tls: &TlsPart) -> Option<Tls> {
        const PATHS: [&str; 2] = ["server.tls.certificate", "server.tls.key"];
        let [of_certificate, of_key] = PATHS.map(|path| self.places.name(path).to_owned());
        let (certificate, key) = match (&tls.certificate, &tls.key) {
            (None, None) => return None,
            (Some(certificate), Some(key)) => (certificate, key),
            (Some(_), None) => {
                self.note(PATHS[0], format!("{of_certificate} is of no use without {of_key}"));
                return None;
            }
            (None, Some(_)) => {
                self.note(PATHS[1], format!("{of_key} is of no use without {of_certificate}"));
                return None;
            }
        };
        let certificate = self.places.resolve(PATHS[0], certificate);
        let key = self.places.resolve(PATHS[1], key);
        let tls = Tls::from_pem_files(&certificate, &key);
        let noted = tls.map_err(|error| {
            let mut what = format!("the files of {of_certificate} and {of_key} will not do");
            let mut cause: Option<&dyn Error> = Some(&error);
            while let Some(error) = cause {
                what += &format!("\n  because: {error}");
                cause = error.source();
            }
            self.note(PATHS[0], what);
        });
        noted.ok()
    }

    fn gateway(&mut self, server: &Server, secrets: Secrets) -> GatewayConfig {
        const PATH: &str = "server.explain_token_file";
        let of_file = server.explain_token_file.as_ref().and_then(|file| {
            let read = first_line(&self.places.resolve(PATH, file));
            read.map_err(|what| self.note(PATH, what)).ok()
        });
        // An empty one would be everybody's.
        let explain_token = secrets.explain_token.filter(|token| !token.is_empty()).or(of_file);
        let trusted_peers = server.trusted_peers.iter().map(|peer| peer.0).collect();
        GatewayConfig { explain_token, trusted_peers, ..GatewayConfig::default() }
    }

    fn upstream(&mut self, name: &str, part: &UpstreamPart) -> Option<Named> {
        let path = |key: &str| format!("upstream.{name}.{key}");
        if part.url.is_none() {
            self.note(&path("url"), format!("[upstream.{name}] has no url: where does it answer?"));
        }
        let usual = UpstreamConfig::default();
        let mut time = |key: &str, said: &Option<Time>| self.time(&path(key), said.as_ref());
        let connect = time("connect_timeout", &part.connect_timeout);
        let first_byte = time("first_byte_timeout", &part.first_byte_timeout);
        let idle_body = time("idle_body_timeout", &part.idle_body_timeout);
        let whole_timeout = time("whole_timeout", &part.whole_timeout);
        let wait = time("wait_timeout", &part.wait_timeout);
        let idle = time("idle_timeout", &part.idle_timeout);
        for (key, part_of_it) in [
            ("connect_timeout", connect),
            ("first_byte_timeout", first_byte),
            ("idle_body_timeout", idle_body),
            ("wait_timeout", wait),
        ] {
            if let (Some(part_of_it), Some(whole)) = (part_of_it, whole_timeout)
                && part_of_it > whole
            {
                let shown = humantime::format_duration;
                let what = format!(
                    "{key} ({}) is above whole_timeout ({}), which ends it before",
                    shown(part_of_it),
                    shown(whole)
                );
                self.note(&path(key), what);
            }
        }
        let count = |said: Option<Count>, usual| said.map_or(usual, |count| count.0.get());
        let max_fields = count(part.max_fields, usual.max_fields);
        if max_fields > 10_000 {
            self.note(&path("max_fields"), "the most is 10000");
        }
        let config = UpstreamConfig {
            connect_timeout: connect.unwrap_or(usual.connect_timeout),
            first_byte_timeout: first_byte.unwrap_or(usual.first_byte_timeout),
            idle_body_timeout: idle_body.unwrap_or(usual.idle_body_timeout),
            whole_timeout: whole_timeout.or(usual.whole_timeout),
            wait_timeout: wait.unwrap_or(usual.wait_timeout),
            max_waiting: count(part.max_waiting, usual.max_waiting),
            max_idle: count(part.max_idle, usual.max_idle),
            idle_timeout: idle.unwrap_or(usual.idle_timeout),
            max_head_bytes: self.head(
                &path("max_head"),
                part.max_head.as_ref(),
                usual.max_head_bytes,
            ),
            max_fields,
            ..usual
        };
        let origin = part.url.as_ref()?.0.clone();
        Some(Named { name: name.to_owned(), origin, config })
    }

    /// The way of requests by `effective` rules, of which `said` stand at `path`.
    fn way(
        &mut self,
        path: &str,
        said: &Rules,
        effective: &Rules,
        upstreams: &[&str],
    ) -> Option<Way> {
        self.times_of_rules(path, said);
        let upstream = match (&effective.upstream, upstreams) {
            (None, []) => None,
            (None, [_]) => Some(0),
            (None, _) => {
                // It is the same for all routes: said once.
                if path == "defaults" {
                    let several = upstreams.join(", ");
                    let what = format!(
                        "which service answers what fits no route? There are {several}: say upstream in [defaults]"
                    );
                    let second = format!("upstream.{}", upstreams[1]);
                    let place = self.places.of(&second).cloned();
                    self.mistakes.push(Mistake::new(place, what).about("defaults.upstream"));
                }
                None
            }
            (Some(name), names) => {
                let found = names.iter().position(|known| known == name);
                if found.is_none() && said.upstream.is_some() {
                    let what = match nearest(name, names.iter().copied()) {
                        Some(meant) => {
                            format!("there is no [upstream.{name}]: did you mean {meant:?}?")
                        }
                        None if names.is_empty() => format!("there is no [upstream.{name}]"),
                        None => format!(
                            "there is no [upstream.{name}], but there is {}",
                            names.join(", ")
                        ),
                    };
                    self.note(&format!("{path}.upstream"), what);
                }
                found
            }
        };
        let policy = Arc::new(effective.policy());
        Some(Way { policy, upstream: upstream?, is_cached: effective.cache.unwrap_or(true) })
    }

    fn times_of_rules(&mut self, path: &str, rules: &Rules) {
        for (key, said) in [
            ("ttl", &rules.ttl),
            ("ttl_override", &rules.ttl_override),
            ("stale_while_revalidate", &rules.stale_while_revalidate),
            ("stale_if_error", &rules.stale_if_error),
            ("stale_if_disconnected", &rules.stale_if_disconnected),
        ] {
            // As long as RFC 9111 has a number for.
            if said.as_ref().is_some_and(|time| time.0.as_secs() > 1 << 31) {
                self.note(&format!("{path}.{key}"), "that is more than 68 years");
            }
        }
        if rules.cache == Some(false)
            && let Some(key) = of_no_use(rules)
        {
            let what = format!("{key} says nothing where cache = false: nothing is stored there");
            self.note(&format!("{path}.{key}"), what);
        }
    }

    fn fitting(&mut self, path: &str, route: &Route) -> Option<Fitting> {
        let mut is_fine = true;
        let host = route.host.as_deref().map(HostPattern::parse);
        let host = host.transpose().map_err(|what| {
            is_fine = false;
            self.note(&format!("{path}.host"), what);
        });
        let pattern = route.path.as_deref().map(PathPattern::parse);
        let pattern = pattern.transpose().map_err(|what| {
            is_fine = false;
            self.note(&format!("{path}.path"), what);
        });
        let methods = route.methods.as_ref();
        let methods = methods.map(|verbs| verbs.iter().map(|verb| verb.0.clone()).collect());
        if methods.as_ref().is_some_and(Vec::is_empty) {
            is_fine = false;
            self.note(&format!("{path}.methods"), "no request fits an empty list");
        }
        let fitting = Fitting { host: host.ok()?, path: pattern.ok()?, methods };
        is_fine.then_some(fitting)
    }
}

/// A key that only counts for what is stored.
fn of_no_use(rules: &Rules) -> Option<&'static str> {
    let said = [
        ("ttl", rules.ttl.is_some()),
        ("ttl_override", rules.ttl_override.is_some()),
        ("stale_while_revalidate", rules.stale_while_revalidate.is_some()),
        ("stale_if_error", rules.stale_if_error.is_some()),
        ("set_cookie", rules.set_cookie.is_some()),
    ];
    said.into_iter().find_map(|(key, is_said)| is_said.then_some(key))
}

fn first_line(file: &Path) -> Result<String, String> {
    let text = fs::read_to_string(file);
    let text = text.map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    match text.lines().next().map(str::trim) {
        None | Some("") => Err(format!("the first line of {} is empty", file.display())),
        Some(line) => Ok(line.to_owned()),
    }
}
