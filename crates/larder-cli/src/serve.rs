//! `larder serve`: from flags to a running gateway, and its orderly end.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    num::NonZeroUsize,
    path::PathBuf,
    sync::Arc,
    thread::available_parallelism,
    time::Duration,
};

use bytesize::ByteSize;
use clap::{Args, ValueEnum};
use http::HeaderName;
use larder::{
    Cache,
    http::{
        HttpCache, Policy, Settings, Variants,
        policy::{cookies::IgnoredCookies, settings::SetCookie},
    },
};
use larder_admin::{
    Admin,
    log::{Levels, Log},
    watch::Watch,
};
use larder_gateway::{
    Gateway, GatewayConfig, Loops, Server, ServerConfig, Tls, TlsError,
    downstream::{MinRate, http1::Http1Config},
    upstream::{Origin, Upstream, UpstreamConfig},
};
use tokio::{runtime::Builder, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    address, advice, amount, doubts,
    files::{self, Files},
    metrics::{CacheFigures, OriginFigures, ReaderFigures, SharedFigures},
    shared::{Password, Shared, SharedFlags, SharedMistakes},
    signals::Signals,
};

/// How long answers under way may take once it is told to stop.
const GRACE: Duration = Duration::from_secs(10);

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

/// Answers requests from the cache, and from the service behind it.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  larder serve --upstream http://127.0.0.1:8001
  curl -i http://127.0.0.1:8080/posts/1

Over TLS, here with a certificate that is made for a try:
  openssl req -x509 -newkey rsa:2048 -noenc -subj /CN=localhost \\
    -addext subjectAltName=DNS:localhost -keyout key.pem -out cert.pem
  larder serve --upstream http://127.0.0.1:8001 --tls-certificate cert.pem --tls-key key.pem
  curl -i --cacert cert.pem https://localhost:8080/posts/1

To purge, with --admin 127.0.0.1:9191:
  curl http://127.0.0.1:9191/v1/purge -H 'content-type: application/json' \\
    -d '{\"keys\":[\"http://127.0.0.1:8080/posts/1\"]}'
or {\"prefix\":\"http://127.0.0.1:8080/posts/\"}, {\"tags\":[\"posts\"]}, {\"all\":true}; with
\"mode\":\"hard\" nothing is left, otherwise it is stale: served once more while it is refreshed, or if the origin fails.

SIGTERM and Ctrl-C let the answers under way end, for 10 s; once more, and it ends at once. Until then the
admin listener answers, /readyz with 503. Other signals change nothing; SIGHUP is kept for reading settings
again.

With --shared redis://127.0.0.1 several gateways share what they have, and a purge at one reaches all:
with \"wait\":\"shared\" its answer says for how many it holds.

Every answer says in Cache-Status what the cache did, and why (detail=hit: from memory, detail=shared: from the
shared tier); in Proxy-Status, why the service gave none.")]
pub(crate) struct Serve {
    /// The service to put the cache before: http://127.0.0.1:8001, localhost:8001, or a port of this machine
    #[arg(long, value_name = "URL", env = "LARDER_UPSTREAM", value_parser = address::upstream)]
    upstream: Origin,
    /// Where to answer requests: 127.0.0.1:8080, or a port of 127.0.0.1; 0.0.0.0:8080 for all addresses
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "LARDER_LISTEN",
        default_value = "127.0.0.1:8080",
        value_parser = address::listen
    )]
    listen: SocketAddr,
    /// Answer over TLS (https) with this certificate, and not in the open: a PEM file with the server's
    /// own certificate first, then those that vouch for it (often called fullchain.pem). Read once, at
    /// the start
    #[arg(long, value_name = "FILE", env = "LARDER_TLS_CERTIFICATE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,
    /// The certificate's private key: a PEM file without a passphrase, that only this user can read
    #[arg(long, value_name = "FILE", env = "LARDER_TLS_KEY", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
    /// Where to answer questions about the cache, and purges; loopback only
    #[arg(long, value_name = "ADDRESS", env = "LARDER_ADMIN", value_parser = address::listen)]
    admin: Option<SocketAddr>,
    /// How much memory the cache may fill
    #[arg(long, value_name = "SIZE", env = "LARDER_MEMORY", default_value = "256MiB", value_parser = amount::size)]
    memory: ByteSize,
    /// How many event loops serve connections, each on a thread of its own; usually one a core that
    /// this process may use
    #[arg(long, value_name = "NUMBER", env = "LARDER_THREADS", value_parser = amount::count)]
    threads: Option<NonZeroUsize>,
    /// How many connections may be open to those who ask. Where there are as many, kept ones are closed and
    /// new ones wait. Usually 16384, or as many as the limit of open files allows beside those to the
    /// upstream
    #[arg(long, value_name = "NUMBER", env = "LARDER_MAX_CONNECTIONS", value_parser = amount::count)]
    max_connections: Option<NonZeroUsize>,
    /// How many of them one address may have (with IPv6, one /64); more are closed at once. Usually a quarter
    /// of them, and all for a proxy on this machine (127.0.0.1, ::1)
    #[arg(long, value_name = "NUMBER", env = "LARDER_MAX_CONNECTIONS_PER_ADDRESS", value_parser = amount::count)]
    max_connections_per_address: Option<NonZeroUsize>,
    /// How much of a request or of an answer has to move each second while those who ask are waited for, on
    /// average. Who sends or takes less is cut off: nobody holds memory and connections by a byte now and then.
    /// What waits for the service does not count, as an event stream without events or an upload that it does
    /// not take. 0 asks for no rate. Counted in larder_below_min_rate_total
    #[arg(long, value_name = "SIZE", env = "LARDER_MIN_RATE", default_value = "1KiB", value_parser = amount::size)]
    min_rate: ByteSize,
    /// How long nothing at all may move before that counts as too slow. Shorter is stricter: a line that
    /// stalls for as long is cut, too
    #[arg(
        long,
        value_name = "DURATION",
        env = "LARDER_MIN_RATE_PERIOD",
        default_value = "30s",
        value_parser = amount::period
    )]
    min_rate_period: Duration,
    /// How long answers are fresh that do not say so themselves: 90s, 5m, 1h. Those with content (200, 203,
    /// 206) and permanent redirects (301, 308) only, and what is not found (404, 410) for a minute at most
    #[arg(long, value_name = "DURATION", env = "LARDER_TTL", value_parser = amount::duration)]
    ttl: Option<Duration>,
    /// Which rules to go by
    #[arg(long, value_enum, env = "LARDER_POLICY", default_value_t = Preset::Guarded)]
    policy: Preset,
    /// Cookies that change nothing in an answer, so that requests which carry no others share theirs, by
    /// name, with commas: 'theme,ab_*'. The word analytics stands for those of the usual visitor counters.
    /// The service does not see them on requests whose answer may be stored
    #[arg(
        long,
        value_name = "NAMES",
        env = "LARDER_IGNORE_COOKIES",
        default_value = "",
        hide_default_value = true
    )]
    ignore_cookies: IgnoredCookies,
    /// What becomes of answers that set a cookie and could be stored but for that; guarded refuses them,
    /// standard stores them as they are
    #[arg(long, value_enum, value_name = "WHAT", env = "LARDER_SET_COOKIE")]
    set_cookie: Option<SetCookies>,
    /// Request fields that tell answers apart, as if all varied by them: X-Original-URL,X-Tenant. What
    /// guarded would keep from the service (fields that stand for the method, the host or the URI) reaches
    /// it if it is among them
    #[arg(long, value_name = "NAMES", env = "LARDER_KEY_FIELDS", value_delimiter = ',')]
    key_fields: Vec<HeaderName>,
    /// Proxies in front, by address, that are believed in whom they ask for (X-Forwarded-For, Forwarded) and
    /// how (X-Forwarded-Proto, -Host). Without it all of a balancer's readers count as one client
    #[arg(long, value_name = "ADDRESSES", env = "LARDER_TRUSTED_PEERS", value_delimiter = ',')]
    trusted_peers: Vec<IpAddr>,
    /// Who sends this in the field Larder-Explain is told the keys of answers (as is this machine)
    #[arg(long, value_name = "TOKEN", env = "LARDER_EXPLAIN_TOKEN", hide_env_values = true)]
    explain_token: Option<String>,
    #[command(flatten)]
    pub(crate) shared: SharedFlags,
    /// What to log: error, warn, info, debug or off, and levels by module (info,h2=debug): modules that are
    /// not Larder's are off unless they are named. Lines that are not read in time are lost, and of one kind
    /// ten are logged at once and then one a second: what was left out is counted
    #[arg(long, value_name = "LEVELS", env = "LARDER_LOG", default_value = "info")]
    pub(crate) log: Levels,
}

/// The rules.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Preset {
    /// The standard, and refusals where an answer looks personal: cookies, credentials
    Guarded,
    /// RFC 9111 to the letter
    Standard,
}

/// What becomes of a cookie.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum SetCookies {
    /// The answer is not stored
    Refuse,
    /// It is stored without the cookie, which only the reader gets who was asked for
    StoreWithout,
    /// It is stored with it, and all readers get the same cookie
    Store,
}

impl From<SetCookies> for SetCookie {
    fn from(treatment: SetCookies) -> Self {
        match treatment {
            SetCookies::Refuse => SetCookie::Refuse,
            SetCookies::StoreWithout => SetCookie::StoreWithout,
            SetCookies::Store => SetCookie::Store,
        }
    }
}

/// Why `larder serve` does not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    #[error("the files of --tls-certificate and --tls-key will not do")]
    Tls(#[source] TlsError),
    #[error("cannot listen on {address} (--{flag})")]
    Listen { flag: &'static str, address: SocketAddr, source: io::Error },
    #[error("cannot start event loops")]
    Start(#[source] io::Error),
    #[error("--admin {0} is not a loopback address, and there is no log-in: use 127.0.0.1")]
    AdminNotLoopback(SocketAddr),
    #[error(
        "--listen {listen} and --admin {admin} are one address: give one of them another port, for example \
         --admin {}", SocketAddr::new(admin.ip(), other_port(*admin))
    )]
    SameAddress { listen: SocketAddr, admin: SocketAddr },
    #[error(
        "--max-connections {wanted} needs {needed} open files, and {limit} are allowed: raise the limit \
         (ulimit -n, or LimitNOFILE= of systemd)"
    )]
    TooFewFiles { wanted: usize, needed: u64, limit: u64 },
    #[error("--memory {0} is too little for a cache: give it at least 1 MiB")]
    TooLittleMemory(ByteSize),
    #[error(transparent)]
    Shared(#[from] SharedMistakes),
}

impl ServeError {
    /// 2: it was asked for wrongly. 1: it was not possible.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            ServeError::Listen { .. } | ServeError::Start(_) => 1,
            ServeError::Tls(_)
            | ServeError::AdminNotLoopback(_)
            | ServeError::SameAddress { .. }
            | ServeError::TooFewFiles { .. }
            | ServeError::TooLittleMemory(_)
            | ServeError::Shared(_) => 2,
        }
    }
}

/// The usual port of the admin listener, or the next one where that is taken.
fn other_port(taken: SocketAddr) -> u16 {
    if taken.port() == 9191 { 9192 } else { 9191 }
}

impl Serve {
    /// Signals and questions about the cache are seen to beside the loops that serve: neither waits
    /// for the other.
    pub(crate) fn run(self, log: &Log, password: Option<Password>) -> Result<(), ServeError> {
        let beside = Builder::new_current_thread().enable_all().build();
        beside.map_err(ServeError::Start)?.block_on(self.serve(log, password))
    }

    async fn serve(self, log: &Log, password: Option<Password>) -> Result<(), ServeError> {
        // What was asked for wrongly is said before any port is taken.
        if let Some(address) = self.admin.filter(|address| !address.ip().is_loopback()) {
            return Err(ServeError::AdminNotLoopback(address));
        }
        // Port 0 is another one each time.
        if let Some(admin) = self.admin.filter(|admin| admin.port() != 0)
            && doubts::reaches(admin, self.listen)
        {
            return Err(ServeError::SameAddress { listen: self.listen, admin });
        }
        let tls = self.tls()?;
        let shared = self.shared.tier(password)?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let mut signals = Signals::listen().map_err(ServeError::Start)?;
        let usual = || available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let threads = self.threads.unwrap_or_else(usual);
        let files = self.files(threads.get())?;
        let watch = shared.as_ref().map(|Shared { tier, settings }| {
            tracing::info!("sharing with others over Redis at {tier}");
            Watch::new(format!("Redis at {tier}"), *settings)
        });
        let tier = shared.as_ref().map(|shared| shared.tier.clone());
        let cache = self.cache(files, shared)?;
        let stop = CancellationToken::new();
        let listen = |flag, address| move |source| ServeError::Listen { flag, address, source };
        let config = ServerConfig {
            grace: GRACE,
            tls,
            max_connections: self.max_connections.map_or(files.usual_readers(), NonZeroUsize::get),
            max_connections_per_address: self.max_connections_per_address.map(NonZeroUsize::get),
            http1: Http1Config { min_rate: self.min_rate(), ..Http1Config::default() },
            ..ServerConfig::default()
        };
        let counters = Arc::clone(&config.http1.counters);
        let server = Server::bind(self.listen, config).map_err(listen("listen", self.listen))?;
        let mut own = vec![("listen", server.address())];
        let upstream_config = UpstreamConfig {
            max_connections: files.origin,
            max_streams: files.streams,
            ..UpstreamConfig::default()
        };
        let upstream = Upstream::new(self.upstream.clone(), upstream_config);
        let admin = match self.admin {
            None => None,
            Some(address) => {
                let config = ServerConfig {
                    max_connections: files.admin,
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
                let server = Server::bind(address, config).map_err(listen("admin", address))?;
                own.push(("admin", server.address()));
                tracing::info!("admin on http://{}", server.address());
                let router = match tier {
                    Some(tier) => Admin::new().metrics(SharedFigures(tier)),
                    None => Admin::new(),
                };
                let router = router
                    .http_cache(&cache)
                    .metrics(ReaderFigures(counters))
                    .metrics(CacheFigures(cache.clone()))
                    .metrics(OriginFigures(upstream.clone()))
                    .metrics(log.clone())
                    .stop_with(stop.clone())
                    .router();
                // Of its own: /readyz still answers, with 503, while the others stop.
                let end = CancellationToken::new();
                Some((tokio::spawn(server.serve(router, end.clone())), end))
            }
        };
        tracing::info!("listening on {scheme}://{}", server.address());
        tracing::info!("caching {}: {}", self.upstream, self.what_is_cached());
        let watching = watch.map(|watch| tokio::spawn(watch.tell(cache.cache().clone())));
        let advising =
            tokio::spawn(advice::give(cache.cache().events(), self.upstream.to_string()));
        doubts::tell(&self.upstream, own);
        // `--explain-token ''` would be everybody's.
        let explain_token = self.explain_token.filter(|token| !token.is_empty());
        let trusted_peers = self.trusted_peers.clone();
        let config = GatewayConfig { explain_token, trusted_peers, ..GatewayConfig::default() };
        let gateway = Gateway::new(&cache, upstream, config);
        // Dropped last of all: the cache's own work goes on there.
        let loops = Loops::start(threads).map_err(ServeError::Start)?;
        let serving = server.serve_on(&loops, gateway.clone(), gateway, stop.clone());
        signals.told_to_stop().await;
        stop.cancel();
        advising.abort();
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
                        GRACE.as_secs()
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
        let readers = self.max_connections.map(NonZeroUsize::get);
        let needed = readers.map(|readers| Files::needed(readers, loops));
        let wanted = files::WANTED.max(needed.unwrap_or_default());
        let limit = rlimit::increase_nofile_limit(wanted).unwrap_or_else(|error| {
            tracing::debug!("keeping the usual limit of open files: {error}");
            rlimit::Resource::NOFILE.get_soft().unwrap_or(files::LEAST)
        });
        let files = Files::of(limit, loops);
        match (readers, needed) {
            (Some(wanted), Some(needed)) if wanted > files.readers => {
                Err(ServeError::TooFewFiles { wanted, needed, limit })
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

    fn min_rate(&self) -> MinRate {
        MinRate { bytes_per_second: self.min_rate.as_u64(), period: self.min_rate_period }
    }

    fn tls(&self) -> Result<Option<Tls>, ServeError> {
        match (&self.tls_certificate, &self.tls_key) {
            (Some(certificate), Some(key)) => {
                Tls::from_pem_files(certificate, key).map(Some).map_err(ServeError::Tls)
            }
            // Clap lets none come without the other.
            (None, _) | (_, None) => Ok(None),
        }
    }

    /// For the line of the start: what will be found in the cache.
    fn what_is_cached(&self) -> String {
        let rules = match self.policy {
            Preset::Guarded => "what its answers allow and does not look personal",
            Preset::Standard => "what its answers allow",
        };
        let ttl = self.ttl.map(|ttl| {
            format!(", {} where they do not say for how long", humantime::format_duration(ttl))
        });
        format!("{rules}{}, up to {}", ttl.unwrap_or_default(), self.memory)
    }

    fn cache(&self, files: Files, shared: Option<Shared>) -> Result<HttpCache, ServeError> {
        let policy = match self.policy {
            Preset::Guarded => Policy::guarded(),
            Preset::Standard => Policy::standard(),
        };
        let policy = match self.ttl {
            Some(ttl) => policy.default_ttl(ttl),
            None => policy,
        };
        let policy = policy.ignore_cookies(self.ignore_cookies.clone());
        let policy = match self.set_cookie {
            Some(treatment) => policy.set_cookie(treatment.into()),
            None => policy,
        };
        let policy = policy.key_fields(self.key_fields.clone());
        let bytes = usize::try_from(self.memory.as_u64()).unwrap_or(usize::MAX);
        if bytes < 1 << 20 {
            return Err(ServeError::TooLittleMemory(self.memory));
        }
        let store = Cache::<Variants>::builder().name("gateway").max_bytes(bytes);
        let store = store.max_concurrent_fetches(files.fetches());
        let store = match shared {
            Some(Shared { tier, settings }) => store.lower_http_with(tier, settings),
            None => store,
        };
        let store = store.build();
        let settings = Settings { max_passing: Some(files.passing()), ..Settings::default() };
        Ok(HttpCache::with_settings(store, policy, settings))
    }
}
