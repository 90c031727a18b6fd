//! `larder serve`: from settings to a running gateway, and its orderly end.

use std::{
    io,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
    thread::available_parallelism,
    time::Duration,
};

use larder::{
    Cache,
    http::{HttpCache, Policy, Settings as CacheSettings, Variants},
    lower::{OutboxError, OutboxFile},
};
use larder_admin::{Tokens, log::Log, over_redis::OverRedis, watch::Watch};
use larder_gateway::{
    Gateway, GatewayCrowds, Loops, Refresher, Server, ServerConfig,
    access::{AccessLog, AccessLogConfig, Destination},
    cdn::{self, Cdns},
    config::{AdminAccess, Listener, Mistakes, Named, PolicyWord, Settings},
    downstream::{Bound, ListenAddress, UnderWay},
    origins::Origins,
    traces::Traces,
    upstream::UpstreamConfig,
};
use tokio::{runtime::Builder, task::JoinSet};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    admin::{self, Seen},
    advice,
    certificates::Certificates,
    check::place_of,
    configured::Configured,
    crowd, doubts,
    ending::{Draining, Ending, Why},
    files::{self, Files},
    hearing::Hearing,
    inherited::{InheritError, Inherited, Taken},
    memory::{MemoryBound, watch},
    overlap::tell_each_other,
    predecessor::Predecessor,
    reload::{Again, FilesOf, Reloader, Reloads, RunningAdmin},
    shared::Shared,
    signals::Signals,
    supervisor::Supervisor,
    upgrade::{Upgrade, Upgrades, open_when_free},
    watch::LOOK_EVERY,
};

/// What was logged may take so long to be written where the gateway is told to end at once.
const LAST_LINES: Duration = Duration::from_millis(100);

/// Why `larder serve` does not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    #[error(transparent)]
    Mistakes(#[from] Mistakes),
    #[error("cannot listen on {address} ({name})")]
    Listen { name: String, address: ListenAddress, source: io::Error },
    #[error("cannot keep purges in {} ({name})", path.display())]
    Outbox { name: String, path: PathBuf, source: OutboxError },
    #[error("cannot write the access log {place} (access_log.to)")]
    AccessLog { place: String, source: io::Error },
    #[error("cannot start event loops")]
    Start(#[source] io::Error),
    #[error(transparent)]
    Inherited(#[from] InheritError),
    #[error(
        "{name} {wanted} needs {needed} open files, and {limit} are allowed: raise the limit \
         (ulimit -n, or LimitNOFILE= of systemd)"
    )]
    TooFewFiles { name: String, wanted: usize, needed: u64, limit: u64 },
}

impl ServeError {
    /// 2: it was asked for wrongly. 1: it was not possible.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            ServeError::Listen { .. }
            | ServeError::Outbox { .. }
            | ServeError::AccessLog { .. }
            | ServeError::Start(_)
            | ServeError::Inherited(InheritError::Io(_)) => 1,
            ServeError::Mistakes(_) | ServeError::TooFewFiles { .. } | ServeError::Inherited(_) => {
                2
            }
        }
    }
}

impl Configured {
    /// Signals and questions about the cache are seen to beside the loops that serve: neither waits
    /// for the other.
    pub(crate) fn run(self, log: &Log, again: Again, given: Given) -> Result<(), ServeError> {
        let beside = Builder::new_current_thread().enable_all().build();
        beside.map_err(ServeError::Start)?.block_on(self.serve(log, again, given))
    }

    async fn serve(self, log: &Log, again: Again, given: Given) -> Result<(), ServeError> {
        let mut signals = Signals::listen(LOOK_EVERY).map_err(ServeError::Start)?;
        let usual = || available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let threads = self.settings.threads.unwrap_or_else(usual);
        let files = self.files(threads.get())?;
        let Configured { settings, config: configuration, places, shared, .. } = self;
        if let Some(file) = places.file() {
            tracing::info!("settings from {}", file.display());
        }
        for doubt in &settings.doubts {
            tracing::warn!("{doubt}");
        }
        let watch_of_shared = shared.as_ref().map(|Shared { tier, settings, outbox: _ }| {
            tracing::info!("sharing with others over Redis at {tier}");
            Watch::new(format!("Redis at {tier}"), *settings)
        });
        let tier = shared.as_ref().map(|shared| shared.tier.clone());
        let has_shared_tier = tier.is_some();
        let name = |path: &str| places.name(path).to_owned();
        let handed_over = CancellationToken::new();
        let config = ServerConfig {
            max_connections: settings
                .max_connections
                .map_or(files.usual_readers(), NonZeroUsize::get),
            handed_over: handed_over.clone(),
            ..settings.server.clone()
        };
        let access_log = settings.access_log.clone().map(access_log).transpose()?;
        let Given { mut inherited, program, files_of } = given;
        let Sockets { listeners, admin: admin_socket } =
            Sockets::take(&settings, &config, &mut inherited, name)?;
        let predecessor = inherited.before.take().map(Predecessor::new).transpose();
        let mut predecessor = predecessor.map_err(InheritError::Io)?;
        // From here on nothing is likely to go wrong any more.
        if let Some(predecessor) = &mut predecessor {
            predecessor.prepared().await;
        }
        let outbox_path = shared.as_ref().and_then(|shared| shared.outbox.clone());
        let is_successor = predecessor.is_some();
        let outbox = match &outbox_path {
            Some(path) => {
                let opened = open_in_turn(is_successor, || OutboxFile::open(path)).await;
                Some(outbox_of(opened, path, places.name("shared.outbox"))?)
            }
            None => None,
        };
        let cache = cache(&settings, files, shared, outbox);
        let kept_path = settings.outbox.file.clone().filter(|_| !settings.cdns.is_empty());
        let kept = match &kept_path {
            Some(path) => {
                let opened = open_in_turn(is_successor, || cdn::OutboxFile::open(path)).await;
                Some(kept_of(opened, path, places.name("outbox.journal"))?)
            }
            None => None,
        };
        // Who has nobody to tell need not know which answers are under way.
        let under_way = (!settings.cdns.is_empty()).then(UnderWay::default);
        let cdns = Cdns::start(
            &cache,
            settings.cdns.clone(),
            settings.outbox.clone(),
            kept,
            under_way.clone().unwrap_or_default(),
            has_shared_tier,
            tier.as_ref().map(|tier| tier.worklist("cdn")),
        );
        let overlap = predecessor.as_ref().map(|_| cdns.overlap());
        let addresses = listeners.iter().map(|taken| taken.bound.address().to_string());
        let addresses = addresses.collect::<Vec<_>>().join(", ");
        let supervisor = Supervisor::of_environment(&format!("serves at {addresses}"));
        let mut upgrade = Upgrade::new(
            program,
            settings.running.upgrade_timeout,
            &cache,
            outbox_path,
            kept_path.map(|path| (path, cdns.clone())),
            supervisor.is_told_who_goes_on(),
        );
        let mut bound = Vec::new();
        let mut own = Vec::new();
        let mut counters = Vec::new();
        for (listener, taken) in settings.listeners.iter().zip(listeners) {
            upgrade.hand_over(&taken).map_err(ServeError::Start)?;
            if let ListenAddress::Tcp(address) = taken.bound.address() {
                own.push((name(&format!("{}.listen", listener.path)), *address));
            }
            counters.push((listener.name.clone(), Arc::clone(&listener.config.http1.counters)));
            let mut config = listener.config.clone();
            config.http1.access_log = access_log.as_ref().map(|log| log.at(&listener.name));
            config.http1.under_way.clone_from(&under_way);
            bound.push((taken.bound, config));
        }
        let drain = config.grace;
        let readers = settings.max_connections.map_or(files.usual_readers(), NonZeroUsize::get);
        let upstreams = upstreams(&settings.upstreams, files, readers, &[]);
        let gateway =
            Gateway::with_ways(&cache, upstreams, settings.ways.clone(), settings.gateway.clone());
        for (_, config) in &mut bound {
            config.http1.own_answers = gateway.own_answers();
        }
        gateway.remember(cdns.trail());
        let traces = settings.traces.clone().and_then(Traces::start);
        if let Some(traces) = &traces {
            gateway.trace(traces.clone());
        }
        let config = ServerConfig { pressure: gateway.pressure(), ..config };
        let server = Server::of(bound, config);
        let certificates = Certificates::of(&settings.listeners, settings.admin_access.tls.clone());
        let (reloads, upgrades, draining) =
            (Reloads::default(), Upgrades::default(), Draining::default());
        // Told before the server: /readyz says it first.
        let leaving = CancellationToken::new();
        let counters_of_all: Vec<_> =
            counters.iter().map(|(_, counters)| Arc::clone(counters)).collect();
        let refresher = Refresher::new(&gateway);
        let crowds = settings.admin_access.stage.then(|| {
            let (scheme, host) = crowd::host_of(server.addresses().zip(&settings.listeners));
            GatewayCrowds::new(&gateway, scheme, host)
        });
        let AdminAccess { read, write, .. } = settings.admin_access.clone();
        let tokens = Tokens::new(read, write);
        let admin = match admin_socket {
            None => None,
            Some(taken) => {
                upgrade.hand_over(&taken).map_err(ServeError::Start)?;
                let seen = Seen {
                    cache: &cache,
                    gateway: &gateway,
                    refresher: &refresher,
                    cdns: &cdns,
                    tier: tier.as_ref(),
                    access_log: access_log.as_ref(),
                    traces: traces.as_ref(),
                    crowds: crowds.as_ref(),
                    counters,
                    reloads: &reloads,
                    upgrades: &upgrades,
                    draining: &draining,
                    certificates: &certificates,
                    log,
                    leaving: &leaving,
                };
                let tls = settings.admin_access.tls.clone();
                let server = admin::server(taken, tls, files.admin, handed_over.clone());
                own.push((name("admin.listen"), server.address()));
                let scheme = if settings.admin_access.tls.is_some() { "https" } else { "http" };
                tracing::info!("admin on {scheme}://{}", server.address());
                // Of its own: /readyz still answers, with 503, while the others stop.
                let end = CancellationToken::new();
                let who = (&settings.admin_access.hosts[..], &tokens);
                Some((seen.answer(server, who, end.clone()), end))
            }
        };
        for (address, listener) in server.addresses().zip(&settings.listeners) {
            let listener = Listener { listen: address.clone(), ..listener.clone() };
            tracing::info!("listening on {}", place_of(&listener));
        }
        let services = services(&settings.upstreams);
        tracing::info!("caching {services}: {}", what_is_cached(&settings));
        // Ends with the requests; what is left of it is nobody's business any more.
        let mut beside = JoinSet::new();
        if let Some(watch) = watch_of_shared {
            beside.spawn(watch.tell(cache.cache().clone()));
        }
        if let Some(tier) = tier {
            beside.spawn(OverRedis::new(tier, cache.cache().clone()).say_what_it_holds());
        }
        if let Some(bound) = MemoryBound::of(settings.process_memory) {
            beside.spawn(watch(bound, cache.clone(), gateway.pressure()));
        }
        beside.spawn(certificates.look_after());
        beside.spawn(advice::give(cache.cache().events(), services));
        for Named { name, addresses, .. } in &settings.upstreams {
            let url = if addresses.len() == 1 { ".url" } else { "" };
            let name = format!("upstream.{name}{url}");
            for address in addresses {
                doubts::tell(places.name(&name), &address.origin, own.clone());
            }
        }
        let mut reloader = Reloader {
            again,
            files_of,
            running: configuration,
            gateway: gateway.clone(),
            cdns: cdns.clone(),
            admin: RunningAdmin {
                address: settings.admin,
                tokens,
                tls: settings.admin_access.tls.clone(),
            },
            upstreams: settings.upstreams,
            listeners: settings.listeners,
            files,
            readers,
            reloads,
        };
        // Dropped last of all: the cache's own work goes on there.
        let loops = Loops::start(threads).map_err(ServeError::Start)?;
        let stop = CancellationToken::new();
        // Where readers' requests are, and so the connections to services.
        beside.spawn_on(refresher.run(stop.clone()), &loops.handles()[0]);
        if let Some(crowds) = &crowds {
            crowds.run_on(loops.handles());
        }
        let events = cache.cache().events();
        let serving = server.serve_on(&loops, gateway.clone(), gateway, stop.clone());
        let _overlapping = match predecessor {
            Some(predecessor) => {
                let talk = predecessor.ready().await;
                tracing::info!("process {} has taken over", std::process::id());
                let telling = tell_each_other(talk, events, cache.clone(), has_shared_tier);
                let telling = async move {
                    telling.await;
                    drop(overlap);
                };
                Some(AbortOnDropHandle::new(tokio::spawn(telling)))
            }
            None => None,
        };
        supervisor.ready(None).await;
        let watchdog = supervisor.clone().keep_watch(loops.handles().to_vec());
        let watchdog = AbortOnDropHandle::new(tokio::spawn(watchdog));
        let hearing =
            Hearing { access_log: &access_log, supervisor: &supervisor, upgrades: &upgrades };
        let successor = hearing.until_told(&mut signals, &mut reloader, &upgrade).await;
        let why = match &successor {
            None => Why::Told,
            Some(successor) => Why::TakenOver { by: successor.pid },
        };
        if why == Why::Told {
            draining.begin();
            leaving.cancel();
        }
        let ending = async {
            let _overlapping = match successor {
                None => {
                    let delay = settings.running.drain_delay;
                    if !delay.is_zero() {
                        let seconds = delay.as_secs_f32();
                        tracing::info!("told to stop: not ready, and as before for {seconds} s");
                    }
                    supervisor.stopping_for("told to stop, and serves as before", delay).await;
                    None
                }
                Some(successor) => {
                    tracing::info!("process {} has taken over, this one drains", successor.pid);
                    // From then on it hears of the other one only.
                    watchdog.abort();
                    supervisor.handed_over(successor.pid).await;
                    let (talk, events) = successor.go_on().await;
                    handed_over.cancel();
                    let telling = tell_each_other(talk, events, cache.clone(), has_shared_tier);
                    Some(AbortOnDropHandle::new(tokio::spawn(telling)))
                }
            };
            // Nobody is to wait at sockets that only this keeps open.
            drop(upgrade);
            stop.cancel();
            beside.abort_all();
            let ending = Ending {
                why,
                serving,
                admin,
                cache: cache.clone(),
                cdns,
                access_log: access_log.clone(),
                traces,
                counters: counters_of_all,
                drain,
                supervisor: supervisor.clone(),
            };
            ending.run().await;
        };
        let told_again = hearing.until_told_again(&mut signals);
        tokio::select! {
            () = ending => Ok(()),
            () = told_again => {
                tracing::warn!("told to stop again: what is under way is cut off");
                log.flush(LAST_LINES);
                // Nothing is waited for any more, nor undone.
                std::process::exit(1)
            }
        }
    }

    /// Raises the limit of open files if that is needed and allowed, and shares it out.
    fn files(&self, loops: usize) -> Result<Files, ServeError> {
        let readers = self.settings.max_connections.map(NonZeroUsize::get);
        let needed = readers.map(|readers| Files::needed(readers, loops));
        let wanted = files::WANTED.max(needed.unwrap_or_default());
        let limit = rlimit::increase_nofile_limit(wanted).unwrap_or_else(|error| {
            tracing::debug!("keeping the usual limit of open files: {error}");
            rlimit::Resource::NOFILE.get_soft().unwrap_or(files::LEAST)
        });
        let files = Files::of(limit, loops);
        match (readers, needed) {
            (Some(wanted), Some(needed)) if wanted > files.readers => {
                let name = self.places.name("server.max_connections").to_owned();
                Err(ServeError::TooFewFiles { name, wanted, needed, limit })
            }
            _ => {
                if readers.is_none() && files.readers < ServerConfig::default().max_connections {
                    let readers = files.readers;
                    tracing::info!("at most {readers} connections: {limit} open files are allowed");
                }
                Ok(files)
            }
        }
    }
}

fn access_log(config: AccessLogConfig) -> Result<AccessLog, ServeError> {
    let place = match &config.to {
        Destination::Stdout => "stdout".to_owned(),
        Destination::File(path) => path.display().to_string(),
    };
    AccessLog::start(config).map_err(|source| ServeError::AccessLog { place, source })
}

/// For the line of the start: what will be found in the cache.
fn what_is_cached(settings: &Settings) -> String {
    let rules = match settings.rules.policy.unwrap_or_default() {
        PolicyWord::Guarded => "what its answers allow and does not look personal",
        PolicyWord::Standard => "what its answers allow",
    };
    let ttl = settings.rules.ttl.as_ref().map(|ttl| {
        format!(", {} where they do not say for how long", humantime::format_duration(ttl.0))
    });
    let routes = match settings.rules_of_routes.len() {
        0 => "",
        1 => ", one route otherwise",
        several => &format!(", {several} routes otherwise"),
    };
    format!("{rules}{}{routes}, up to {}", ttl.unwrap_or_default(), settings.memory)
}

fn services(upstreams: &[Named]) -> String {
    match upstreams {
        [one] => one.shown(),
        several => {
            let each = several.iter().map(|named| format!("{} ({})", named.name, named.shown()));
            each.collect::<Vec<_>>().join(", ")
        }
    }
}

/// Each may have as many connections as its settings say, and the limit of open files allows. What is among `kept`, all
/// that there were, and has not changed goes on with all that it has; of what has changed, or has another share of the
/// files now, what is known of addresses stays.
pub(crate) fn upstreams(
    named: &[Named],
    files: Files,
    readers: usize,
    kept: &[(Named, Origins)],
) -> Vec<Origins> {
    let share = |services: usize| files.of_each(services, readers);
    let (before, now) = (share(kept.len()), share(named.len()));
    let upstreams = named.iter().map(|named| {
        let connection = within(&named.config, now);
        let is_the_same =
            |kept: &Named| kept == named && within(&kept.config, before) == connection;
        let (addresses, config) = (&named.addresses, named.origins.clone());
        match kept.iter().find(|(before, _)| before.name == named.name) {
            Some((before, origins)) if is_the_same(before) => origins.clone(),
            Some((_, origins)) => origins.renewed(addresses, &connection, config),
            None => Origins::new(&named.name, addresses, &connection, config),
        }
    });
    upstreams.collect()
}

/// What a service may take that has this share of the open files: so many requests, and so many bodies of answers.
fn within(config: &UpstreamConfig, (connections, streams): (usize, usize)) -> UpstreamConfig {
    UpstreamConfig {
        max_connections: config.max_connections.min(connections),
        max_streams: config.max_streams.min(streams),
        ..config.clone()
    }
}

/// The file in which purges wait for the shared tier. They are sent before anything from there is believed that they name.
fn outbox_of(
    opened: Result<OutboxFile, OutboxError>,
    path: &Path,
    name: &str,
) -> Result<OutboxFile, ServeError> {
    let opened = opened.map_err(|source| {
        let (name, path) = (name.to_owned(), path.to_owned());
        ServeError::Outbox { name, path, source }
    })?;
    if opened.is_damaged() {
        tracing::warn!(
            "a part of {} cannot be read: all that is shared is purged, for nobody can tell what was to be",
            path.display()
        );
    }
    tell_of_end(path, opened.torn_bytes());
    if opened.left() > 0 {
        tracing::info!("{} purges that an earlier run has left are sent first", opened.left());
    }
    Ok(opened)
}

/// What this process was given beside its settings.
pub(crate) struct Given {
    pub(crate) inherited: Inherited,
    /// By which path it was started.
    pub(crate) program: io::Result<PathBuf>,
    /// The files that its settings were read from, as they were then.
    pub(crate) files_of: FilesOf,
}

/// The sockets of all listeners, and of the admin API.
struct Sockets {
    listeners: Vec<Taken>,
    admin: Option<Taken>,
}

impl Sockets {
    /// Those that were handed over, and new ones where none was.
    fn take(
        settings: &Settings,
        config: &ServerConfig,
        inherited: &mut Inherited,
        name: impl Fn(&str) -> String,
    ) -> Result<Sockets, ServeError> {
        let listeners = settings.listeners.iter().map(|listener| Wanted {
            name: &listener.name,
            path: format!("{}.listen", listener.path),
            address: listener.listen.clone(),
            backlog: config.backlog,
            mode: listener.socket_mode,
        });
        let admin = settings.admin.map(|address| Wanted {
            name: "admin",
            path: "admin.listen".to_owned(),
            address: address.into(),
            backlog: ServerConfig::default().backlog,
            mode: 0,
        });
        let wanted: Vec<_> = listeners.chain(admin).collect();
        let places: Vec<_> = wanted.iter().map(|wanted| (wanted.name, &wanted.address)).collect();
        let handed = inherited.take(&places)?;
        // Before others are opened: one that nobody wants may be in their way, and then that is what is wrong.
        inherited.leave_none()?;
        let taken = wanted.iter().zip(handed).map(|(wanted, handed)| match handed {
            Some(taken) => Ok(taken),
            None => {
                let bound = Bound::take(&wanted.address, wanted.backlog, wanted.mode);
                let bound = bound.map_err(|source| ServeError::Listen {
                    name: name(&wanted.path),
                    address: wanted.address.clone(),
                    source,
                })?;
                Ok(Taken { bound, name: None })
            }
        });
        let mut listeners = taken.collect::<Result<Vec<_>, ServeError>>()?;
        let admin = settings.admin.and_then(|_| listeners.pop());
        Ok(Sockets { listeners, admin })
    }
}

/// A socket that is to be listened at.
struct Wanted<'a> {
    name: &'a str,
    /// Its key in the file.
    path: String,
    address: ListenAddress,
    backlog: u32,
    mode: u32,
}

/// A file that another process may still have open, if this one takes over from it.
async fn open_in_turn<T>(
    is_successor: bool,
    open: impl Fn() -> Result<T, OutboxError>,
) -> Result<T, OutboxError> {
    if is_successor { open_when_free(open).await } else { open() }
}

/// The file in which purges wait for CDNs.
fn kept_of(
    opened: Result<cdn::OutboxFile, OutboxError>,
    path: &Path,
    name: &str,
) -> Result<cdn::OutboxFile, ServeError> {
    let opened = opened.map_err(|source| {
        let (name, path) = (name.to_owned(), path.to_owned());
        ServeError::Outbox { name, path, source }
    })?;
    if opened.is_damaged() {
        tracing::warn!(
            "a part of {} cannot be read: everything is purged, for nobody can tell what was to be",
            path.display()
        );
    }
    tell_of_end(path, opened.torn_bytes());
    if opened.left() > 0 {
        tracing::info!("{} purges that an earlier run has left are made again", opened.left());
    }
    Ok(opened)
}

/// Of a file whose last purge is not whole.
fn tell_of_end(path: &Path, torn_bytes: usize) {
    if torn_bytes > 0 {
        tracing::warn!(
            "the last {torn_bytes} bytes of {} are left out: a crash has cut off a purge that nobody was told to be on disk; if \
             there was no crash, somebody has cut off the end of the file: purge again what you purged last",
            path.display()
        );
    }
}

fn cache(
    settings: &Settings,
    files: Files,
    shared: Option<Shared>,
    outbox: Option<OutboxFile>,
) -> HttpCache {
    let bytes = usize::try_from(settings.memory.as_u64()).unwrap_or(usize::MAX);
    let store = Cache::<Variants>::builder().name("gateway").max_bytes(bytes);
    let store = store.max_concurrent_fetches(files.fetches());
    let store = match shared {
        Some(Shared { tier, settings, outbox: _ }) => store.lower_http_with(tier, settings),
        None => store,
    };
    let store = match outbox {
        Some(outbox) => store.outbox(outbox),
        None => store,
    };
    let policy = Policy::clone(&settings.ways.otherwise().policy);
    let settings = CacheSettings { max_passing: Some(files.passing()), ..settings.cache };
    HttpCache::with_settings(store.build(), policy, settings)
}
