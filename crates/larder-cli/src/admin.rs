//! Admin: the listener for questions about the cache, and what they are answered from.

use std::{sync::Arc, time::Duration};

use http::Request;
use larder::{http::HttpCache, redis::Redis};
use larder_admin::{
    Admin, Tokens, access::ClientAddress, log::Log, over_redis::OverRedis, stage::Stage,
};
use larder_gateway::{
    Gateway, GatewayCrowds, Refresher, Server, ServerConfig, Tls,
    access::AccessLog,
    cdn::Cdns,
    downstream::{
        Peer,
        counters::Counters,
        http1::{Http1Config, ReaderBody},
        server::Stopped,
    },
    traces::Traces,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::util::MapRequest;

use crate::{
    certificates::Certificates,
    ending::Draining,
    inherited::Taken,
    metrics::{
        AccessFigures, AddressFigures, CacheFigures, CdnFigures, MemoryFigures, OriginFigures,
        RateFigures, ReaderFigures, RefreshFigures, SharedFigures, TraceFigures, kept_note,
        trouble, upstream_states,
    },
    reload::Reloads,
    route_metrics::{RouteMetrics, table_of, traffic_of},
    upgrade::Upgrades,
};

/// Puts into a request who asks, as the admin API wants to be told.
fn with_client(mut request: Request<ReaderBody>) -> Request<ReaderBody> {
    if let Some(ip) = request.extensions().get::<Peer>().and_then(Peer::ip) {
        request.extensions_mut().insert(ClientAddress(ip));
    }
    request
}

/// How long answers of the admin listener may take after that.
const ADMIN_GRACE: Duration = Duration::from_secs(1);

/// How long a request to the admin listener may take to arrive: it comes from this machine.
const ADMIN_HEAD: Duration = Duration::from_secs(5);

/// Where all its connections are taken, each is left alone for so long, and then has as long again for the
/// next step: a program on this machine needs no more, and a question for `/livez` must not wait for others.
const ADMIN_TURN: Duration = Duration::from_millis(100);

/// Who has closed its side of a connection there has left, unless the answer comes within this time: what it has asked for (a
/// crowd, say) is to end with it.
const ADMIN_HALF_CLOSED: Duration = Duration::from_secs(1);

/// All that the admin API tells of, or changes.
pub(crate) struct Seen<'a> {
    pub(crate) cache: &'a HttpCache,
    pub(crate) gateway: &'a Gateway,
    pub(crate) refresher: &'a Refresher,
    pub(crate) cdns: &'a Cdns,
    pub(crate) tier: Option<&'a Redis>,
    pub(crate) access_log: Option<&'a AccessLog>,
    pub(crate) traces: Option<&'a Traces>,
    pub(crate) crowds: Option<&'a GatewayCrowds>,
    /// Those of each listener, by its name.
    pub(crate) counters: Vec<(String, Arc<Counters>)>,
    pub(crate) reloads: &'a Reloads,
    pub(crate) upgrades: &'a Upgrades,
    pub(crate) draining: &'a Draining,
    pub(crate) certificates: &'a Certificates,
    pub(crate) log: &'a Log,
    /// Cancelled when it is no longer ready.
    pub(crate) leaving: &'a CancellationToken,
}

impl Seen<'_> {
    /// Answers at `server`, until `end` is cancelled, those who call it by one of `hosts` and show one of `tokens`.
    pub(crate) fn answer(
        self,
        server: Server,
        (hosts, tokens): (&[String], &Tokens),
        end: CancellationToken,
    ) -> JoinHandle<Stopped> {
        let admin = hosts.iter().cloned().fold(Admin::new(), Admin::allow_host);
        let (cache, gateway, cdns) = (self.cache, self.gateway, self.cdns);
        let router = self
            .optional(admin.tokens(tokens))
            .http_cache(cache)
            .key_routes(gateway.clone())
            .refresh_with(self.refresher.clone())
            .explain_with(gateway.clone())
            .metrics(RefreshFigures(self.refresher.clone()))
            .metrics(ReaderFigures(self.counters))
            .metrics(RateFigures(gateway.clone()))
            .metrics(RouteMetrics::new(gateway.clone()))
            .route_table(table_of(gateway))
            .traffic(traffic_of(gateway))
            .metrics(MemoryFigures(gateway.pressure()))
            .metrics(CacheFigures(cache.clone()))
            .metrics(CdnFigures(cdns.clone()))
            .trail(cdns.trail())
            .ready_note(kept_note(cdns))
            .metrics(OriginFigures(gateway.clone()))
            .metrics(AddressFigures(gateway.clone()))
            .stats("upstreams", upstream_states(gateway))
            .ready_note(trouble(gateway))
            .metrics(self.reloads.clone())
            .metrics(self.certificates.clone())
            .metrics(self.draining.clone())
            .metrics(self.upgrades.clone())
            .ready_note(self.reloads.note())
            .ready_note(self.upgrades.note())
            .metrics(self.log.clone())
            .stop_with(self.leaving.clone())
            .router();
        tokio::spawn(server.serve(MapRequest::new(router, with_client), end))
    }

    /// What there is only where the settings say so.
    fn optional(&self, admin: Admin) -> Admin {
        let admin = match self.tier {
            Some(tier) => {
                let fleet = OverRedis::new(tier.clone(), self.cache.cache().clone());
                admin.metrics(SharedFigures(tier.clone())).fleet(fleet)
            }
            None => admin,
        };
        let admin = match self.access_log {
            Some(access_log) => admin.metrics(AccessFigures(access_log.clone())),
            None => admin,
        };
        let admin = match self.crowds {
            Some(crowds) => admin.stage(Stage::new().crowds(crowds.clone())),
            None => admin,
        };
        match self.traces {
            Some(traces) => admin.metrics(TraceFigures(traces.clone())),
            None => admin,
        }
    }
}

/// The server at this socket, for so many connections.
pub(crate) fn server(
    taken: Taken,
    tls: Option<Tls>,
    max_connections: usize,
    handed_over: CancellationToken,
) -> Server {
    let config = ServerConfig {
        max_connections,
        tls,
        grace: ADMIN_GRACE,
        handed_over,
        welcome: ADMIN_TURN,
        http1: Http1Config {
            head_timeout: ADMIN_HEAD,
            half_closed_timeout: ADMIN_HALF_CLOSED,
            linger_timeout: ADMIN_TURN,
            stalled_timeout: ADMIN_TURN,
            ..Http1Config::default()
        },
        ..ServerConfig::default()
    };
    Server::of(vec![(taken.bound, config.listener())], config)
}
