//! `larder serve`: from settings to a running gateway, and its orderly end.

use std::{
    io,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
    thread::available_parallelism,
    time::Duration,
};

use http::Request;
use larder::{
    Cache,
    http::{HttpCache, Policy, Settings as CacheSettings, Variants},
    lower::{OutboxError, OutboxFile},
};
use larder_admin::{Admin, access::ClientAddress, log::Log, watch::Watch};
use larder_gateway::{
    Gateway, Loops, Server, ServerConfig,
    access::{AccessLog, AccessLogConfig, Destination},
    cdn::{self, Cdns},
    config::{AdminAccess, Listener, Mistakes, Named, PolicyWord, Settings},
    downstream::{
        Bound, ListenAddress, Peer, UnderWay,
        http1::{Http1Config, ReaderBody},
    },
    origins::Origins,
    upstream::UpstreamConfig,
};
use tokio::{runtime::Builder, time::timeout};
use tokio_util::sync::CancellationToken;
use tower::util::MapRequest;

use crate::{
    advice,
    certificates::Certificates,
    check::place_of,
    configured::Configured,
    doubts,
    files::{self, Files},
    metrics::{
        AccessFigures, AddressFigures, CacheFigures, CdnFigures, OriginFigures, RateFigures,
        ReaderFigures, SharedFigures, kept_note, trouble, upstream_states,
    },
    reload::{Again, FilesOf, Reloader, Reloads},
    shared::Shared,
    signals::Signals,
    watch::LOOK_EVERY,
};

/// Puts into a request who asks, as the admin API wants to be told.
fn with_client(mut request: Request<ReaderBody>) -> Request<ReaderBody> {
    if let Some(ip) = request.extensions().get::<Peer>().and_then(Peer::ip) {
        request.extensions_mut().insert(ClientAddress(ip));
    }
    request
}

/// A stop that takes longer says what it waits for.
const PROMPT: Duration = Duration::from_millis(300);

/// How long answers of the admin listener may take after that.
const ADMIN_GRACE: Duration = Duration::from_secs(1);

/// How long a request to the admin listener may take to arrive: it comes from this machine.
const ADMIN_HEAD: Duration = Duration::from_secs(5);

/// Where all its connections are taken, each is left alone for so long, and then has as long again for the
/// next step: a program on this machine needs no more, and a question for `/livez` must not wait for others.
const ADMIN_TURN: Duration = Duration::from_millis(100);

/// What was logged may take so long to be written where the gateway is told to end at once.
const LAST_LINES: Duration = Duration::from_millis(100);

/// The last lines of the access log may take so long to be written once all else has ended.
const LAST_REQUESTS: Duration = Duration::from_secs(1);

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
            | ServeError::Start(_) => 1,
            ServeError::Mistakes(_) | ServeError::TooFewFiles { .. } => 2,
        }
    }
}

impl Configured {
    /// Signals and questions about the cache are seen to beside the loops that serve: neither waits
    /// for the other.
    pub(crate) fn run(self, log: &Log, again: Again) -> Result<(), ServeError> {
        let beside = Builder::new_current_thread().enable_all().build();
        beside.map_err(ServeError::Start)?.block_on(self.serve(log, again))
    }

    async fn serve(self, log: &Log, again: Again) -> Result<(), ServeError> {
        let mut signals = Signals::listen().map_err(ServeError::Start)?;
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
        let watch = shared.as_ref().map(|Shared { tier, settings, outbox: _ }| {
            tracing::info!("sharing with others over Redis at {tier}");
            Watch::new(format!("Redis at {tier}"), *settings)
        });
        let tier = shared.as_ref().map(|shared| shared.tier.clone());
        let outbox = shared.as_ref().and_then(|shared| shared.outbox.as_deref());
        let outbox =
            outbox.map(|path| outbox_at(path, places.name("shared.outbox"))).transpose()?;
        let has_shared = shared.is_some();
        let cache = cache(&settings, files, shared, outbox);
        let kept = settings.outbox.file.as_deref();
        let kept = kept.filter(|_| !settings.cdns.is_empty());
        let kept = kept.map(|path| kept_at(path, places.name("outbox.journal"))).transpose()?;
        // Who has nobody to tell need not know which answers are under way.
        let under_way = (!settings.cdns.is_empty()).then(UnderWay::default);
        let cdns = Cdns::start(
            &cache,
            settings.cdns.clone(),
            settings.outbox.clone(),
            kept,
            under_way.clone().unwrap_or_default(),
            has_shared,
        );
        let stop = CancellationToken::new();
        let name = |path: &str| places.name(path).to_owned();
        let listen = |path: &str, address: ListenAddress| {
            let name = name(path);
            move |source| ServeError::Listen { name, address, source }
        };
        let grace = settings.server.grace;
        let config = ServerConfig {
            max_connections: settings
                .max_connections
                .map_or(files.usual_readers(), NonZeroUsize::get),
            ..settings.server.clone()
        };
        let access_log = settings.access_log.clone().map(access_log).transpose()?;
        let mut bound = Vec::new();
        let mut own = Vec::new();
        let mut counters = Vec::new();
        for listener in &settings.listeners {
            let path = format!("{}.listen", listener.path);
            let place = Bound::take(&listener.listen, config.backlog, listener.socket_mode);
            let place = place.map_err(listen(&path, listener.listen.clone()))?;
            if let ListenAddress::Tcp(address) = place.address() {
                own.push((name(&path), *address));
            }
            counters.push((listener.name.clone(), Arc::clone(&listener.config.http1.counters)));
            let mut config = listener.config.clone();
            config.http1.access_log.clone_from(&access_log);
            config.http1.under_way.clone_from(&under_way);
            bound.push((place, config));
        }
        let server = Server::of(bound, config);
        let certificates = Certificates::of(&settings.listeners, settings.admin_access.tls.clone());
        let readers = settings.max_connections.map_or(files.usual_readers(), NonZeroUsize::get);
        let upstreams = upstreams(&settings.upstreams, files, readers, &[]);
        let gateway =
            Gateway::with_ways(&cache, upstreams, settings.ways.clone(), settings.gateway.clone());
        gateway.remember(cdns.trail());
        let reloads = Reloads::default();
        let admin = match settings.admin {
            None => None,
            Some(address) => {
                let config = ServerConfig {
                    max_connections: files.admin,
                    tls: settings.admin_access.tls.clone(),
                    grace: ADMIN_GRACE,
                    welcome: ADMIN_TURN,
                    http1: Http1Config {
                        head_timeout: ADMIN_HEAD,
                        linger_timeout: ADMIN_TURN,
                        stalled_timeout: ADMIN_TURN,
                        ..Http1Config::default()
                    },
                    ..ServerConfig::default()
                };
                let server = Server::bind(address, config)
                    .map_err(listen("admin.listen", address.into()))?;
                own.push((name("admin.listen"), server.address()));
                let AdminAccess { read, write, hosts, tls } = settings.admin_access.clone();
                let scheme = if tls.is_some() { "https" } else { "http" };
                tracing::info!("admin on {scheme}://{}", server.address());
                let router = match tier {
                    Some(tier) => Admin::new().metrics(SharedFigures(tier)),
                    None => Admin::new(),
                };
                let router = hosts.into_iter().fold(router, Admin::allow_host);
                let router = read.into_iter().fold(router, Admin::read_token);
                let router = write.into_iter().fold(router, Admin::write_token);
                let router = match &access_log {
                    Some(access_log) => router.metrics(AccessFigures(access_log.clone())),
                    None => router,
                };
                let router = router
                    .http_cache(&cache)
                    .metrics(ReaderFigures(counters))
                    .metrics(RateFigures(gateway.clone()))
                    .metrics(CacheFigures(cache.clone()))
                    .metrics(CdnFigures(cdns.clone()))
                    .trail(cdns.trail())
                    .ready_note(kept_note(&cdns))
                    .metrics(OriginFigures(gateway.clone()))
                    .metrics(AddressFigures(gateway.clone()))
                    .stats("upstreams", upstream_states(&gateway))
                    .ready_note(trouble(&gateway))
                    .metrics(reloads.clone())
                    .metrics(certificates.clone())
                    .ready_note(reloads.note())
                    .metrics(log.clone())
                    .stop_with(stop.clone())
                    .router();
                let router = MapRequest::new(router, with_client);
                // Of its own: /readyz still answers, with 503, while the others stop.
                let end = CancellationToken::new();
                Some((tokio::spawn(server.serve(router, end.clone())), end))
            }
        };
        for (address, listener) in server.addresses().zip(&settings.listeners) {
            let listener = Listener { listen: address.clone(), ..listener.clone() };
            tracing::info!("listening on {}", place_of(&listener));
        }
        let services = services(&settings.upstreams);
        tracing::info!("caching {services}: {}", what_is_cached(&settings));
        let watching = watch.map(|watch| tokio::spawn(watch.tell(cache.cache().clone())));
        let looking_after = tokio::spawn(certificates.look_after());
        let advising = tokio::spawn(advice::give(cache.cache().events(), services));
        for Named { name, addresses, .. } in &settings.upstreams {
            let url = if addresses.len() == 1 { ".url" } else { "" };
            let name = format!("upstream.{name}{url}");
            for address in addresses {
                doubts::tell(places.name(&name), &address.origin, own.clone());
            }
        }
        let mut reloader = Reloader {
            again,
            files_of: FilesOf::new(&configuration, &places),
            running: configuration,
            gateway: gateway.clone(),
            upstreams: settings.upstreams,
            listeners: settings.listeners,
            files,
            readers,
            reloads,
        };
        // Dropped last of all: the cache's own work goes on there.
        let loops = Loops::start(threads).map_err(ServeError::Start)?;
        let serving = server.serve_on(&loops, gateway.clone(), gateway, stop.clone());
        let reopen = || match &access_log {
            Some(access_log) => access_log.reopen(),
            None => tracing::info!("SIGUSR1 changes nothing: there is no access log"),
        };
        let reread = |reread| reloader.hear(reread);
        signals.told_to_reread_until_stop(LOOK_EVERY, reread, reopen).await;
        stop.cancel();
        advising.abort();
        looking_after.abort();
        if let Some(watching) = watching {
            watching.abort();
        }
        let ending = async {
            let mut serving = serving;
            let stopped = match timeout(PROMPT, &mut serving).await {
                Ok(stopped) => stopped,
                Err(_) => {
                    tracing::info!(
                        "stopping: answers under way have {} s to end; told once more, it ends at once",
                        grace.as_secs()
                    );
                    serving.await
                }
            };
            if let Ok(stopped) = stopped
                && stopped.cut > 0
            {
                let were = if stopped.cut == 1 { "answer was" } else { "answers were" };
                tracing::warn!("{} {were} cut off", stopped.cut);
            }
            if let Some((admin, end)) = admin {
                end.cancel();
                // It ends within its grace.
                admin.await.ok();
            }
            cache.cache().shut_down(Duration::from_secs(1)).await;
            cdns.close();
            if let Some(access_log) = &access_log {
                access_log.flush(LAST_REQUESTS);
            }
        };
        tokio::select! {
            () = ending => Ok(()),
            () = signals.told_to_stop() => {
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

/// Each may have as many connections as its settings say, and the limit of open files allows. What is among `kept` and
/// has not changed goes on with all that it has; of what has changed, what is known of addresses stays.
pub(crate) fn upstreams(
    named: &[Named],
    files: Files,
    readers: usize,
    kept: &[(Named, Origins)],
) -> Vec<Origins> {
    let (connections, streams) = files.of_each(named.len(), readers);
    let upstreams = named.iter().map(|named| {
        let connection = UpstreamConfig {
            max_connections: named.config.max_connections.min(connections),
            max_streams: named.config.max_streams.min(streams),
            ..named.config.clone()
        };
        let (addresses, config) = (&named.addresses, named.origins.clone());
        match kept.iter().find(|(before, _)| before.name == named.name) {
            Some((before, origins)) if before == named => origins.clone(),
            Some((_, origins)) => origins.renewed(addresses, &connection, config),
            None => Origins::new(&named.name, addresses, &connection, config),
        }
    });
    upstreams.collect()
}

/// Opens the file in which purges wait for the shared tier. They are sent before anything from there is believed that
/// they name.
fn outbox_at(path: &Path, name: &str) -> Result<OutboxFile, ServeError> {
    let opened = OutboxFile::open(path).map_err(|source| {
        let (name, path) = (name.to_owned(), path.to_owned());
        ServeError::Outbox { name, path, source }
    })?;
    if opened.is_damaged() {
        tracing::warn!(
            "a part of {} cannot be read: all that is shared is purged, for nobody can tell what was to be",
            path.display()
        );
    }
    if opened.left() > 0 {
        tracing::info!("{} purges that an earlier run has left are sent first", opened.left());
    }
    Ok(opened)
}

/// Opens the file in which purges wait for CDNs.
fn kept_at(path: &Path, name: &str) -> Result<cdn::OutboxFile, ServeError> {
    let opened = cdn::OutboxFile::open(path).map_err(|source| {
        let (name, path) = (name.to_owned(), path.to_owned());
        ServeError::Outbox { name, path, source }
    })?;
    if opened.is_damaged() {
        tracing::warn!(
            "a part of {} cannot be read: everything is purged, for nobody can tell what was to be",
            path.display()
        );
    }
    if opened.left() > 0 {
        tracing::info!("{} purges that an earlier run has left are made again", opened.left());
    }
    Ok(opened)
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
