//! `larder serve`: from flags to a running gateway, and its orderly end.

use std::{
    io, net::SocketAddr, num::NonZeroUsize, path::PathBuf, thread::available_parallelism,
    time::Duration,
};

use bytesize::ByteSize;
use clap::{Args, ValueEnum};
use larder::{
    Cache,
    http::{HttpCache, Policy, Variants},
};
use larder_admin::Admin;
use larder_gateway::{
    Gateway, GatewayConfig, Loops, Server, ServerConfig, Tls, TlsError,
    upstream::{Origin, Upstream, UpstreamConfig},
};
use tokio::{net::TcpListener, runtime::Builder};
use tokio_util::sync::CancellationToken;

use crate::{address, doubts};

/// How long answers under way may take once it is told to stop.
const GRACE: Duration = Duration::from_secs(10);

/// Each connection to a reader and to the origin is an open file; a login usually has 1024.
const OPEN_FILES: u64 = 1 << 15;

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
\"mode\":\"hard\" nothing is left, otherwise what is stale may still be served while it is refreshed.

Every answer says in Cache-Status what the cache did, and why.")]
pub(crate) struct Serve {
    /// The service to put the cache before: http://127.0.0.1:8001, localhost:8001, or a port of this machine
    #[arg(long, value_name = "URL", value_parser = address::upstream)]
    upstream: Origin,
    /// Where to answer requests: 127.0.0.1:8080, or a port of 127.0.0.1; 0.0.0.0:8080 for all addresses
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080", value_parser = address::listen)]
    listen: SocketAddr,
    /// Answer over TLS (https) with this certificate, and not in the open: a PEM file with the server's
    /// own certificate first, then those that vouch for it (often called fullchain.pem). Read once, at
    /// the start
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,
    /// The certificate's private key: a PEM file without a passphrase, that only this user can read
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
    /// Where to answer questions about the cache, and purges; loopback only
    #[arg(long, value_name = "ADDRESS", value_parser = address::listen)]
    admin: Option<SocketAddr>,
    /// How much memory the cache may fill
    #[arg(long, value_name = "SIZE", default_value = "256MiB")]
    memory: ByteSize,
    /// How many event loops serve connections, each on a thread of its own; usually one a core that
    /// this process may use
    #[arg(long, value_name = "NUMBER")]
    threads: Option<NonZeroUsize>,
    /// How long answers are fresh that do not say so themselves: 90s, 5m, 1h
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    ttl: Option<Duration>,
    /// Which rules to go by
    #[arg(long, value_enum, default_value_t = Preset::Guarded)]
    policy: Preset,
    /// Who sends this in the field Larder-Explain is told the keys of answers (as is this machine)
    #[arg(long, value_name = "TOKEN", env = "LARDER_EXPLAIN_TOKEN", hide_env_values = true)]
    explain_token: Option<String>,
    /// What to log: error, warn, info, debug, or levels by module
    #[arg(long, value_name = "LEVELS", default_value = "info")]
    pub(crate) log: String,
}

/// The rules.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Preset {
    /// The standard, and refusals where an answer looks personal: cookies, credentials
    Guarded,
    /// RFC 9111 to the letter
    Standard,
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
    #[error("--memory {0} is too little for a cache: give it at least 1 MiB")]
    TooLittleMemory(ByteSize),
    #[error("--log {text:?} are no levels: say error, warn, info, debug, or module=level")]
    LogLevels { text: String, source: Option<tracing_subscriber::filter::ParseError> },
}

impl ServeError {
    /// 2: it was asked for wrongly. 1: it was not possible.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            ServeError::Listen { .. } | ServeError::Start(_) => 1,
            ServeError::Tls(_)
            | ServeError::AdminNotLoopback(_)
            | ServeError::TooLittleMemory(_)
            | ServeError::LogLevels { .. } => 2,
        }
    }
}

impl Serve {
    /// Signals and questions about the cache are seen to beside the loops that serve: neither waits
    /// for the other.
    pub(crate) fn run(self) -> Result<(), ServeError> {
        let beside = Builder::new_current_thread().enable_all().build();
        beside.map_err(ServeError::Start)?.block_on(self.serve())
    }

    async fn serve(self) -> Result<(), ServeError> {
        // What was asked for wrongly is said before any port is taken.
        if let Some(address) = self.admin.filter(|address| !address.ip().is_loopback()) {
            return Err(ServeError::AdminNotLoopback(address));
        }
        let cache = self.cache()?;
        let tls = self.tls()?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        if let Err(error) = rlimit::increase_nofile_limit(OPEN_FILES) {
            tracing::debug!("keeping the usual limit of open files: {error}");
        }
        let stop = CancellationToken::new();
        let listen = |flag, address| move |source| ServeError::Listen { flag, address, source };
        let config = ServerConfig { grace: GRACE, tls, ..ServerConfig::default() };
        let server = Server::bind(self.listen, config).map_err(listen("listen", self.listen))?;
        let mut own = vec![("listen", server.address())];
        let admin = match self.admin {
            None => None,
            Some(address) => {
                let listener =
                    TcpListener::bind(address).await.map_err(listen("admin", address))?;
                let address = listener.local_addr().unwrap_or(address);
                own.push(("admin", address));
                tracing::info!("admin on http://{address}");
                let router = Admin::new().http_cache(&cache).stop_with(stop.clone()).router();
                let until = stop.clone().cancelled_owned();
                let serving = axum::serve(listener, router).with_graceful_shutdown(until);
                Some(tokio::spawn(serving.into_future()))
            }
        };
        tracing::info!("listening on {scheme}://{}", server.address());
        tracing::info!("caching {}: {}", self.upstream, self.what_is_cached());
        doubts::tell(&self.upstream, own);
        let upstream = Upstream::new(self.upstream, UpstreamConfig::default());
        // An empty variable counts as unset.
        let explain_token = self.explain_token.filter(|token| !token.is_empty());
        let config = GatewayConfig { explain_token, ..GatewayConfig::default() };
        let gateway = Gateway::new(&cache, upstream, config);
        let usual = || available_parallelism().unwrap_or(NonZeroUsize::MIN);
        // Dropped last of all: the cache's own work goes on there.
        let loops = Loops::start(self.threads.unwrap_or_else(usual)).map_err(ServeError::Start)?;
        let serving = server.serve_on(&loops, gateway.clone(), gateway, stop.clone());
        told_to_stop().await;
        stop.cancel();
        if let Ok(stopped) = serving.await
            && stopped.cut > 0
        {
            tracing::warn!("{} answers were cut off", stopped.cut);
        }
        if let Some(admin) = admin {
            tokio::time::timeout(Duration::from_secs(1), admin).await.ok();
        }
        cache.cache().shut_down(Duration::from_secs(1)).await;
        Ok(())
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

    /// For whoever starts it: what will be found in the cache.
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

    fn cache(&self) -> Result<HttpCache, ServeError> {
        let policy = match self.policy {
            Preset::Guarded => Policy::guarded(),
            Preset::Standard => Policy::standard(),
        };
        let policy = match self.ttl {
            Some(ttl) => policy.default_ttl(ttl),
            None => policy,
        };
        let bytes = usize::try_from(self.memory.as_u64()).unwrap_or(usize::MAX);
        if bytes < 1 << 20 {
            return Err(ServeError::TooLittleMemory(self.memory));
        }
        let store = Cache::<Variants>::builder().name("gateway").max_bytes(bytes).build();
        Ok(HttpCache::new(store, policy))
    }
}

/// Ctrl-C, or what a supervisor sends.
async fn told_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).ok();
    let terminated = async {
        match &mut terminate {
            Some(terminate) => {
                terminate.recv().await;
            }
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted.unwrap_or(()),
        () = terminated => (),
    }
}
