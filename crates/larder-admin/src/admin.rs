//! Admin: which caches are administered, by whom, and the router that does it.

use std::{
    fmt,
    sync::{Arc, atomic::AtomicBool},
    time::{Instant, SystemTime},
};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    middleware::{self, Next},
    response::Response,
    routing::{get, post},
};
use http::{HeaderValue, Method, StatusCode, Uri, header::InvalidHeaderValue};
use larder::{Cache, GoneLimits};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::{
    access::Token,
    assets,
    console::{Console, CountTraffic, Note, Part},
    copies, entries,
    entry::{Entry, Tokens, let_in},
    events,
    explain::{self, Explain, MAX_QUESTION_BYTES},
    figures::Figures,
    forget, gone,
    guard::{Allowed, guard},
    health, held,
    history::{self, History},
    index,
    instances::{self, Fleet},
    key_routes::{KeyRoutes, NoRoutes},
    managed::Managed,
    metrics::{self, Scraped},
    openapi,
    problem::Problem,
    purge, purges,
    refresh::Refresh,
    routes::{self, RouteTable, Traffic},
    settling,
    snapshots::Snapshots,
    stage::{self, Stage},
    stats, tags,
    totals::TotalFigures,
    trail::Trail,
    walks::Walks,
    way::CameRound,
};

/// The most event streams open at once; one more is answered 503.
const MAX_STREAMS: usize = 32;
const MAX_BODY_BYTES: usize = 64 << 10;

/// What to administer, and who may.
#[derive(Default)]
pub struct Admin {
    caches: Vec<Arc<dyn Managed>>,
    figures: Vec<Box<dyn Figures>>,
    allowed: Allowed,
    notes: Vec<Note>,
    refresh: Option<Arc<dyn Refresh>>,
    explain: Option<Arc<dyn Explain>>,
    read: Option<Token>,
    write: Option<Token>,
    tokens: Option<Tokens>,
    route_table: Option<Box<dyn RouteTable>>,
    stats: Vec<(&'static str, Part)>,
    trail: Option<Trail>,
    key_routes: Option<Arc<dyn KeyRoutes>>,
    traffic: Option<CountTraffic>,
    fleet: Option<Arc<dyn Fleet>>,
    stage: Option<Stage>,
    stop: CancellationToken,
}

impl Admin {
    /// No caches, no pages; requests must name this machine as their host.
    pub fn new() -> Self {
        Admin::default()
    }

    /// Administers `cache` (a clone of it; clones share one cache). From now on it remembers
    /// [which keys go](Cache::remember_gone) and [what tags are called](Cache::remember_tag_names).
    pub fn cache<V: Clone + Send + Sync + 'static>(mut self, cache: &Cache<V>) -> Self {
        cache.remember_gone(GoneLimits::default());
        cache.remember_tag_names();
        self.caches.push(Arc::new(cache.clone()));
        self
    }

    /// Administers a cache of HTTP responses: as [`cache`](Admin::cache), and keys and prefixes are
    /// found however their URIs are spelt. Its responses tell what their tags are called.
    #[cfg(feature = "http")]
    pub fn http_cache(mut self, cache: &larder::http::HttpCache) -> Self {
        cache.cache().remember_gone(GoneLimits::default());
        self.caches.push(Arc::new(cache.clone()));
        self
    }

    /// Shows further figures on `/metrics`: a function that returns them will do. Two families of one name
    /// are one family: name them apart.
    pub fn metrics(mut self, figures: impl Figures + 'static) -> Self {
        self.figures.push(Box::new(figures));
        self
    }

    /// Adds a line to the answer of `/readyz` while `note` has one to say. It stays 200: what is told so is for whoever
    /// looks, and no reason to send requests elsewhere.
    pub fn ready_note(mut self, note: impl Fn() -> Option<String> + Send + Sync + 'static) -> Self {
        self.notes.push(Box::new(note));
        self
    }

    /// Purges that say `"refresh":true` have `refresh` ask again for what they name. Without one they are refused.
    pub fn refresh_with(mut self, refresh: impl Refresh + 'static) -> Self {
        self.refresh = Some(Arc::new(refresh));
        self
    }

    /// Tells at `/v1/routes` what `table` knows: a function that returns its lines will do. Without one the answer is
    /// 404.
    pub fn route_table(mut self, table: impl RouteTable + 'static) -> Self {
        self.route_table = Some(Box::new(table));
        self
    }

    /// Has `explain` tell what would become of a request, and what has become of past ones. Without one the paths for that
    /// answer 404.
    pub fn explain_with(mut self, explain: impl Explain + 'static) -> Self {
        self.explain = Some(Arc::new(explain));
        self
    }

    /// Adds a part that is called `name` to `/v1/stats` and to each event: what stands beside the caches. It must not
    /// wait.
    pub fn stats(
        mut self,
        name: &'static str,
        part: impl Fn() -> serde_json::Value + Send + Sync + 'static,
    ) -> Self {
        self.stats.push((name, Box::new(part)));
        self
    }

    /// Tells what `trail` remembers of purges, and waits for CDNs by it. Whoever gives it here has it follow the purges.
    pub fn trail(mut self, trail: Trail) -> Self {
        self.trail = Some(trail);
        self
    }

    /// Says of each entry which route it belongs to, and judges it by that route's rules.
    pub fn key_routes(mut self, routes: impl KeyRoutes + 'static) -> Self {
        self.key_routes = Some(Arc::new(routes));
        self
    }

    /// Takes from `traffic` how many requests were finished so far and how often a service was asked, for the history of the
    /// last hour: whoever serves them knows those that no cache sees. Asked once a second; it must not wait. Without it the
    /// caches' own counters are told.
    pub fn traffic(mut self, traffic: impl Fn() -> Traffic + Send + Sync + 'static) -> Self {
        self.traffic = Some(Arc::new(traffic));
        self
    }

    /// Tells who shares a tier with the caches, as `fleet` knows them.
    pub fn fleet(mut self, fleet: impl Fleet + 'static) -> Self {
        self.fleet = Some(Arc::new(fleet));
        self
    }

    /// Offers the acts of `stage` to whoever may change something. Without it they answer 404. Its acts cost something: on a
    /// server that others need, offer none.
    pub fn stage(mut self, stage: Stage) -> Self {
        self.stage = Some(stage);
        self
    }

    /// Lets pages of `origin` (`http://localhost:3000`) use the API from a browser.
    ///
    /// # Errors
    ///
    /// If `origin` cannot be a header's value.
    pub fn allow_origin(mut self, origin: &str) -> Result<Self, InvalidHeaderValue> {
        self.allowed.origins.push(HeaderValue::from_str(origin)?);
        Ok(self)
    }

    /// Accepts requests that call this machine `host` (a name without port). The names of the
    /// loopback addresses are always accepted.
    pub fn allow_host(mut self, host: impl Into<String>) -> Self {
        self.allowed.hosts.push(host.into());
        self
    }

    /// Whoever reads has to show this, or what [`write_token`](Admin::write_token) asks for. `/livez` and `/readyz` are open.
    /// Alone it lets nobody change anything.
    pub fn read_token(mut self, token: Token) -> Self {
        self.read = Some(token);
        self
    }

    /// Whoever changes anything has to show this. Alone it lets everybody read.
    pub fn write_token(mut self, token: Token) -> Self {
        self.write = Some(token);
        self
    }

    /// Asks for these, and for what they are [exchanged](Tokens::exchange) for, instead of
    /// [`read_token`](Admin::read_token) and [`write_token`](Admin::write_token).
    pub fn tokens(mut self, tokens: &Tokens) -> Self {
        self.tokens = Some(tokens.clone());
        self
    }

    /// Ends the event streams, which otherwise last as long as their readers, once `stop` is
    /// cancelled; from then on `/readyz` answers 503.
    pub fn stop_with(mut self, stop: CancellationToken) -> Self {
        self.stop = stop;
        self
    }

    /// The router, to be mounted at the root of a listener or nested under a path. What happens in each second is
    /// remembered from now on, or from the first request where there is no tokio runtime yet.
    pub fn router(mut self) -> Router {
        let tokens = self.tokens.unwrap_or_else(|| Tokens::new(self.read, self.write));
        let entry = Entry::new(tokens.clone());
        let (walks, came_round) = (Walks::default(), CameRound::default());
        self.figures.push(Box::new(entry.clone()));
        self.figures.push(Box::new(walks.clone()));
        self.figures.push(Box::new(came_round.clone()));
        let traffic = self.traffic.clone();
        self.figures.push(Box::new(TotalFigures { caches: self.caches.clone(), traffic }));
        let sent = self.stage.as_ref().and_then(Stage::sent);
        self.figures.extend(sent.map(|sent| Box::new(sent) as Box<dyn Figures>));
        let cors = self.allowed.cors();
        let allowed = Arc::new(self.allowed);
        let console = Arc::new(Console {
            metrics: Scraped::new(&self.caches, self.figures),
            caches: self.caches,
            notes: self.notes,
            tokens,
            refresh: self.refresh,
            route_table: self.route_table,
            explain: self.explain,
            stats: self.stats,
            trail: self.trail,
            key_routes: self.key_routes.unwrap_or_else(|| Arc::new(NoRoutes)),
            traffic: self.traffic,
            walks,
            came_round,
            snapshots: Arc::new(Snapshots::default()),
            history: History::default(),
            is_settling: AtomicBool::new(false),
            fleet: self.fleet,
            stage: self.stage,
            started: Instant::now(),
            since: SystemTime::now(),
            streams: Arc::new(Semaphore::new(MAX_STREAMS)),
            stop: self.stop,
        });
        let long_questions = DefaultBodyLimit::max(MAX_QUESTION_BYTES);
        history::begin(&console);
        settling::begin(&console);
        Router::new()
            .route("/", get(index::index))
            .route("/page.js", get(index::script))
            .route("/assets/{*name}", get(assets::asset))
            .route("/favicon.svg", get(assets::icon))
            .route("/livez", get(health::live))
            .route("/readyz", get(health::ready))
            .route("/metrics", get(metrics::metrics))
            .route("/v1/stats", get(stats::stats))
            .route("/v1/events", get(events::events))
            .route("/v1/history", get(history::history))
            .route("/v1/entries", get(entries::entries))
            .route("/v1/entry", get(held::entry))
            .route("/v1/entry/body", get(held::body))
            .route("/v1/tags", get(tags::tags))
            .route("/v1/copies", get(copies::copies))
            .route("/v1/gone", get(gone::gone))
            .route("/v1/routes", get(routes::routes))
            .route("/v1/purge", post(purge::purge))
            .route("/v1/purges", get(purges::since))
            .route("/v1/purges/{id}", get(purges::one))
            .route("/v1/instances", get(instances::instances))
            .route("/v1/shared/forget", post(forget::forget))
            .route("/v1/stage", get(stage::stage))
            .route("/v1/stage/crowd", post(stage::crowd))
            .route("/v1/stage/break_shared", post(stage::break_shared))
            .route("/v1/stage/slow_origin", post(stage::slow_origin))
            .route("/openapi.json", get(openapi::openapi))
            .route("/v1/explain", get(explain::get).post(explain::post).layer(long_questions))
            .route("/v1/requests/{id}", get(explain::request))
            .fallback(not_found)
            .method_not_allowed_fallback(method_not_allowed)
            .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
            .layer(middleware::from_fn_with_state(Arc::clone(&console), remembering))
            .layer(middleware::from_fn_with_state(entry, let_in))
            .layer(middleware::from_fn_with_state(allowed, guard))
            .layer(cors)
            .with_state(console)
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let caches: Vec<_> = self.caches.iter().map(|cache| cache.name()).collect();
        f.debug_struct("Admin")
            .field("caches", &caches)
            .field("allowed", &self.allowed)
            .finish_non_exhaustive()
    }
}

/// Where the router was made outside a runtime, the history begins here.
async fn remembering(
    State(console): State<Arc<Console>>,
    request: Request,
    next: Next,
) -> Response {
    history::begin(&console);
    settling::begin(&console);
    next.run(request).await
}

async fn not_found(uri: Uri) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "Not found", format!("there is nothing at {}", uri.path()))
}

async fn method_not_allowed(method: Method, uri: Uri) -> Problem {
    let detail = format!("{} does not answer {method}", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed", detail)
}
