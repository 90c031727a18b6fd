//! A gateway in this process that goes by a text, and services that say how they were asked.

use std::path::Path;

use larder::{
    Cache,
    http::{HttpCache, Policy, Variants, policy::scheme::Scheme},
};
use larder_gateway::{
    Gateway,
    config::{self, Places, Secrets, Settings},
    downstream::http1::{Http1Config, serve_connection_with_hits},
    origins::Origins,
};
use larder_test_support::{answer::Answer, origin::Origin, wire::Wire};
use tokio::{
    io::{DuplexStream, duplex},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

/// A service that answers each request with its target and fields, and under them what the target's `say` is.
pub(crate) async fn service(name: &'static str) -> Origin {
    Origin::playing(move |mut wire, _| async move {
        while wire.has_more().await {
            let head = wire.head().await;
            let target = head.split(' ').nth(1).unwrap_or_default();
            let says = match target {
                _ if target.starts_with("/silent") => "",
                _ if target.starts_with("/private") => "cache-control: private\r\n",
                _ if target.starts_with("/cookie") => {
                    "cache-control: max-age=100\r\nset-cookie: a=1\r\n"
                }
                _ if target.starts_with("/missing") => "cache-control: max-age=100\r\n",
                // Stale as it comes.
                _ if target.starts_with("/stale") => "cache-control: max-age=5\r\nage: 6\r\n",
                _ if target.starts_with("/old") => {
                    "last-modified: Sat, 01 Jan 2011 00:00:00 GMT\r\n"
                }
                _ if target.starts_with("/me/") => {
                    "cache-control: max-age=100\r\ncontent-type: text/html\r\n"
                }
                _ if target.starts_with("/tagged") => {
                    "cache-control: max-age=100\r\nsurrogate-key: x y\r\n"
                }
                _ => "cache-control: max-age=100\r\nserver: inner\r\n",
            };
            let status = if target.starts_with("/missing") { "404 Not Found" } else { "200 OK" };
            let body = format!("{name} {target}");
            let length = body.len();
            wire.send(format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{says}\r\n{body}"))
                .await;
        }
    })
    .await
}

pub(crate) fn cache() -> HttpCache {
    let store = Cache::<Variants>::builder().max_bytes(4 << 20).build();
    HttpCache::new(store, Policy::guarded())
}

/// What a text says. It is right.
pub(crate) fn settings(text: &str) -> (Settings, Places) {
    let (config, places, mistakes) = config::read_on(Path::new("larder.toml"), text);
    assert!(mistakes.is_empty(), "{text}\n{mistakes:?}");
    let settings = Settings::of(&config, &places, Secrets::default());
    (settings.unwrap_or_else(|mistakes| panic!("{text}\n{mistakes:?}")), places)
}

/// A reader's connection to a gateway. Dropping it ends it.
pub(crate) struct Reader {
    scheme: Scheme,
    cache: HttpCache,
    gateway: Gateway,
    wire: Wire<DuplexStream>,
    serving: JoinHandle<()>,
}

impl Reader {
    pub(crate) fn of(settings: &Settings) -> Reader {
        Reader::over(Scheme::Http, settings)
    }

    /// Whose connection is over TLS, or as if it were.
    pub(crate) fn over(scheme: Scheme, settings: &Settings) -> Reader {
        let upstream = |named: &config::Named| {
            Origins::new(&named.name, &named.addresses, &named.config, named.origins.clone())
        };
        let upstreams: Vec<_> = settings.upstreams.iter().map(upstream).collect();
        let cache = cache();
        let (ways, config) = (settings.ways.clone(), settings.gateway.clone());
        let gateway = Gateway::with_ways(&cache, upstreams, ways, config);
        Reader::at(scheme, cache, gateway)
    }

    /// Another connection to the same.
    pub(crate) fn again(&self) -> Reader {
        Reader::at(self.scheme, self.cache.clone(), self.gateway.clone())
    }

    pub(crate) fn cache(&self) -> &HttpCache {
        &self.cache
    }

    pub(crate) fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    fn at(scheme: Scheme, cache: HttpCache, gateway: Gateway) -> Reader {
        let serves = gateway.clone();
        let (near, mut far) = duplex(64 << 10);
        let serving = tokio::spawn(async move {
            // On this machine: it is told the keys.
            let peer = ([127, 0, 0, 1], 1).into();
            let gateway = serves;
            let config = Http1Config { scheme, ..Http1Config::default() };
            let (hits, stop) = (gateway.clone(), CancellationToken::new());
            // However it ends: its reader has been answered, or says that it was not.
            let _ended =
                serve_connection_with_hits(&mut far, peer, &config, &hits, gateway, stop).await;
        });
        Reader { scheme, cache, gateway, wire: Wire::new(near), serving }
    }

    pub(crate) async fn ask(
        &mut self,
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
    ) -> Answer {
        self.ask_at("any.test", method, target, fields).await
    }

    pub(crate) async fn ask_at(
        &mut self,
        host: &str,
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
    ) -> Answer {
        let fields: String =
            fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = format!("{method} {target} HTTP/1.1\r\nhost: {host}\r\n{fields}\r\n");
        self.wire.send(head).await;
        match method {
            "HEAD" => Answer { head: self.wire.head().await, body: Vec::new() },
            _ => self.wire.answer().await,
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
