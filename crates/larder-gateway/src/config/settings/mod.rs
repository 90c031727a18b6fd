//! Settings: a configuration that can be run, whichever way it was said, and what is wrong with one that cannot.

mod access_log;
mod admin;
mod cdn;
mod check;
mod connection;
mod listener;
mod origins;
mod purge;
mod route;
mod server;
mod tracing;
mod upstream;

use std::{
    net::SocketAddr,
    num::NonZeroUsize,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytesize::ByteSize;
use larder::http;

pub use self::{admin::AdminAccess, listener::Listener};

use self::check::{Check, bytes};
use super::{
    document::Places,
    mistake::Mistake,
    parts::{Config, Memory},
    route::Route,
    rules::Rules,
    written::Written,
};
use crate::{
    GatewayConfig, ServerConfig,
    access::AccessLogConfig,
    cdn::{CdnConfig, OutboxConfig},
    origins::{Address, OriginsConfig},
    routes::{Routes, Way, Ways},
    traces::{IS_BUILT, TracesConfig},
    upstream::{Protocol, Scheme, UpstreamConfig},
};

/// What a gateway runs by. Everything in it can be done, as far as that can be told before any port is taken.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where requests are answered, at least one place.
    pub listeners: Vec<Listener>,
    /// What all of them share; `max_connections` only if [`Settings::max_connections`] says it.
    pub server: ServerConfig,
    /// How the process itself comes to its end.
    pub running: Running,
    /// How many event loops there are to be, if that was said.
    pub threads: Option<NonZeroUsize>,
    /// How many connections there may be, if that was said.
    pub max_connections: Option<NonZeroUsize>,
    /// Where questions about the cache are answered.
    pub admin: Option<SocketAddr>,
    /// Who is let in there.
    pub admin_access: AdminAccess,
    /// Where each request has a line.
    pub access_log: Option<AccessLogConfig>,
    /// Which requests are traced, and who is told.
    pub traces: Option<TracesConfig>,
    /// What the cache may hold.
    pub memory: ByteSize,
    /// What the whole process may take, if that was said.
    pub process_memory: Option<ByteSize>,
    /// What it may spend.
    pub cache: http::Settings,
    /// Which caches outside are told of purges.
    pub cdns: Vec<CdnConfig>,
    /// What they have in common.
    pub outbox: OutboxConfig,
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

/// How a process that runs comes to its end, and how another takes its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Running {
    /// Told to stop, it goes on as before for so long, and says that it is not ready.
    pub drain_delay: Duration,
    /// How long a process that is to take over may take until it is ready.
    pub upgrade_timeout: Duration,
}

impl Default for Running {
    fn default() -> Self {
        Running { drain_delay: Duration::ZERO, upgrade_timeout: Duration::from_secs(30) }
    }
}

/// A service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// By the file's name for it.
    pub name: String,
    /// Where it answers, one at least.
    pub addresses: Vec<Address>,
    /// What requests to it may take.
    pub config: UpstreamConfig,
    /// How its addresses are used.
    pub origins: OriginsConfig,
}

impl Named {
    /// Where it answers, for people.
    pub fn shown(&self) -> String {
        let each = self.addresses.iter().map(|address| {
            let weight = match address.weight {
                1 => String::new(),
                weight => format!(", weight {weight}"),
            };
            let backup = if address.is_backup { ", backup" } else { "" };
            format!("{}{weight}{backup}", address.origin)
        });
        each.collect::<Vec<_>>().join("; ")
    }
}

/// What no file says: it comes from the environment, or from a file of its own.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    /// Who sends this in `Larder-Explain` is told keys.
    pub explain_token: Option<String>,
    /// Who shows this may purge where requests come.
    pub purge_token: Option<String>,
    /// Who shows this may read in the admin API.
    pub admin_read_token: Option<String>,
    /// Who shows this may change what there is, there.
    pub admin_write_token: Option<String>,
}

const LEAST_MEMORY: u64 = 1 << 20;
/// What a process takes that does next to nothing, and as much again.
const LEAST_PROCESS: u64 = 32 << 20;
const MOST_MEMORY: u64 = 64 << 40;

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
        let mut check = Check { places, mistakes: Vec::new(), doubts: Vec::new() };
        let Config {
            include: _,
            server,
            listener: _,
            admin,
            purge,
            memory,
            shared,
            cdn,
            outbox,
            log: _,
            access_log,
            tracing,
            upstream,
            defaults,
            route,
        } = config;
        let admin_access = check.admin(admin, &secrets);
        let admin = admin.listen.as_ref().map(|listen| listen.0);
        let server_config = check.server(server);
        let running = check.running(server);
        let listeners = check.listeners(config, &server_config.http1);
        let access_log = check.access_log(access_log);
        let traces = check.tracing(tracing, IS_BUILT);
        let of_purges = purge;
        let refresh = check.refresh(purge);
        let purge = check.purge(purge, secrets.purge_token.clone());
        let mut gateway =
            GatewayConfig { purge, refresh, ..check.gateway(server, &listeners, secrets) };
        gateway.upstream_names = upstream.keys().map(|name| name.as_str().into()).collect();
        let cdns = check.cdns(cdn, admin);
        let mut outbox = check.outbox(outbox, !cdns.is_empty(), shared.url.is_some());
        let process_memory = memory.process.as_ref().map(|size| size.0);
        let size = size_of(memory);
        match process_memory {
            Some(process) if process.as_u64() < LEAST_PROCESS => {
                let what =
                    format!("{process} is too little for a process: give it at least 32 MiB");
                check.note("memory.process", what);
            }
            Some(process) if memory.size.is_some() && size >= process => {
                let what =
                    format!("what is stored ({size}) does not fit into a process of {process}");
                check.note("memory.process", what);
            }
            _ => {}
        }
        if size.as_u64() < LEAST_MEMORY {
            let name = places.name("memory.size");
            let what = format!("{name} {size} is too little for a cache: give it at least 1 MiB");
            check.note("memory.size", what);
        } else if size.as_u64() > MOST_MEMORY {
            check.note("memory.size", "no machine has so much: at most 64TiB");
        }
        let max_body_bytes = memory.max_body.as_ref().map(bytes);
        let usual = http::Settings::default();
        let turn_wait = check.time_or_none("server.turn_wait", server.turn_wait.as_ref());
        let cache = http::Settings {
            turn_wait: turn_wait.unwrap_or(usual.turn_wait),
            max_body_bytes: max_body_bytes.unwrap_or(usual.max_body_bytes),
            ..usual
        };
        let upstreams: Vec<_> =
            upstream.iter().filter_map(|(name, part)| check.upstream(name, part)).collect();
        let of_ways = check.ways(config, size);
        let of_purges = check.doubts_of_purges(of_purges, gateway.purge.as_ref());
        if let Some((_, rules_of_routes)) = &of_ways {
            check.doubt_of_tags((defaults, rules_of_routes), &gateway);
            check.doubt_of_shown_tags((defaults, rules_of_routes), &cdns);
        }
        let of_certificates = check.doubts_of_certificates(&listeners, route, SystemTime::now());
        let Check { mistakes, mut doubts, .. } = check;
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let Some((ways, rules_of_routes)) = of_ways else {
            unreachable!("what cannot be used is a mistake");
        };
        doubts.extend(hidden(ways.routes(), places));
        doubts.extend(of_certificates);
        doubts.extend(of_purges);
        let path = |place: usize| match place < route.len() {
            true => format!("route[{}]", place + 1),
            false => "defaults".to_owned(),
        };
        let all_ways = ways.iter().zip(rules_of_routes.iter().chain([defaults])).enumerate();
        let all_ways = all_ways.map(|(place, way)| (path(place), way));
        let tells_tags = ways.iter().any(|way| way.policy.says_outside().tells_tags());
        let readers = gateway.trusted_readers.clone();
        let written = Written::new(config, places, (ways.clone(), &rules_of_routes), readers);
        gateway.written = Some(Arc::new(written));
        outbox.tells_tags = tells_tags;
        doubts.extend(doubts_of_upgrades(all_ways, &upstreams, places));
        Ok(Settings {
            listeners,
            server: server_config,
            running,
            threads: server.threads.map(|count| count.0),
            max_connections: server.max_connections.map(|count| count.0),
            admin,
            admin_access,
            access_log,
            traces,
            memory: size,
            process_memory,
            cache,
            gateway,
            cdns,
            outbox,
            upstreams,
            rules: defaults.clone(),
            ways,
            rules_of_routes,
            doubts,
        })
    }
}

/// How much may be stored: what is said, or 256 MiB, and no more than half of what the process may take.
fn size_of(memory: &Memory) -> ByteSize {
    let of_process = memory.process.as_ref().map_or(u64::MAX, |process| process.0.as_u64() / 2);
    let usual = ByteSize::mib(256).min(ByteSize::b(of_process));
    memory.size.as_ref().map_or(usual, |size| size.0)
}

/// By which rules which requests are answered by this configuration, and the rules of each route. Nothing is opened.
///
/// # Errors
///
/// All that is wrong with that.
pub(super) fn ways_of(
    config: &Config,
    places: &Places,
) -> Result<(Ways, Vec<Rules>), Vec<Mistake>> {
    let mut check = Check { places, mistakes: Vec::new(), doubts: Vec::new() };
    let ways = check.ways(config, size_of(&config.memory));
    match (ways, check.mistakes) {
        (Some(ways), mistakes) if mistakes.is_empty() => Ok(ways),
        (_, mistakes) => Err(mistakes),
    }
}

impl Check<'_> {
    /// `None`: something of it cannot be used, and is noted.
    fn ways(&mut self, config: &Config, memory: ByteSize) -> Option<(Ways, Vec<Rules>)> {
        let Config { server, upstream, defaults, route, .. } = config;
        if upstream.is_empty() {
            let what = "there is no service to put the cache before";
            self.mistakes.push(self.places.mistake("upstream", what));
        }
        let names: Vec<_> = upstream.keys().map(String::as_str).collect();
        let trusts = server.trusted_readers.is_some();
        let otherwise = self.way("defaults", (defaults, defaults), &names, (None, None), trusts);
        let max_memory = self.max_memory("defaults", (defaults, defaults), memory);
        let of_server = server.max_request_body.as_ref();
        let max_request_body =
            |rules: &Rules| Some(rules.max_request_body.as_ref().or(of_server)?.0.as_u64());
        let max_body = max_request_body(defaults);
        let otherwise = otherwise.map(|way| Way { max_memory, max_request_body: max_body, ..way });
        let mut ways = Vec::new();
        let mut fittings = Vec::new();
        let mut rules_of_routes = Vec::new();
        for (index, Route { rules, .. }) in route.iter().enumerate() {
            let path = format!("route[{}]", index + 1);
            let effective = rules.clone().of_route(defaults);
            let fitting = self.fitting(&path, &route[index]);
            let own = (Some(&route[index]), fitting.as_ref());
            let way = self.way(&path, (rules, &effective), &names, own, trusts);
            let max_memory = self.max_memory(&path, (rules, &effective), memory);
            let max_request_body = max_request_body(&effective);
            ways.push(way.map(|way| Way { max_memory, max_request_body, ..way }));
            fittings.push(fitting);
            rules_of_routes.push(effective);
        }
        let ways = Ways::new(Routes::new(all(fittings)?), all(ways)?, otherwise?);
        Some((ways, rules_of_routes))
    }
}

fn all<T>(each: Vec<Option<T>>) -> Option<Vec<T>> {
    each.into_iter().collect()
}

/// A service that speaks HTTP/2 and nothing else cannot switch (RFC 9113 §8.6).
fn doubts_of_upgrades<'a>(
    ways: impl Iterator<Item = (String, (&'a Way, &'a Rules))>,
    upstreams: &[Named],
    places: &Places,
) -> Vec<Mistake> {
    let doubt = |(path, (way, rules)): (String, (&Way, &Rules))| {
        let Named { name, addresses, config, .. } = upstreams.get(way.upstream)?;
        let only_http2 = |address: &Address| match address.origin.scheme() {
            Scheme::H2c => true,
            _ => config.protocol == Protocol::Http2,
        };
        let names_some = rules.upgrades.as_ref().is_some_and(|names| !names.is_empty());
        if !names_some || !addresses.iter().all(only_http2) {
            return None;
        }
        let own = places.of(&format!("{path}.upgrades"));
        let place = own.or_else(|| places.of("defaults.upgrades"));
        let what = format!(
            "{path} names upgrades, and upstream.{name} speaks HTTP/2 alone: it cannot switch, and each is answered 502"
        );
        Some(Mistake::new(place.cloned(), what))
    };
    ways.filter_map(doubt).collect()
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
