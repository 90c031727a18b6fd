//! The backend: hands the page its posts, and remembers them.

mod breakable;
mod cors;
mod endpoint;
mod explaining;
mod past;
mod posts_client;
mod reply;
mod respond;
mod rules;
pub(crate) mod settings;
pub(crate) mod stage;
mod tally;

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use axum::{
    Router,
    extract::{Path, State, rejection::PathRejection},
    middleware::map_response,
    response::Response,
    routing::get,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use larder::{Cache, Fetched, Lifetime, lower};
use larder_admin::{
    Admin,
    explain::{PastRequest, time},
    over_redis::OverRedis,
    stage::Verdict,
    trail::Trail,
    watch::Watch,
};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    backend::{
        breakable::{Breakable, Breaker},
        endpoint::Endpoint,
        explaining::Explainer,
        past::{Past, new_id},
        posts_client::{LastCall, PostsClient, PostsError},
        reply::{Reply, ReplyCodec},
        respond::{Delivery, tell_caches_outside},
        rules::{Rules, Switches},
        settings::BackendSettings,
        stage::Props,
        tally::Tally,
    },
    post_id::{NoPostId, PostId},
    replies::{no_post_id, with_common_replies},
};

/// By which a request is found again that was no plain hit.
const LARDER_REQUEST: HeaderName = HeaderName::from_static("larder-request");

/// As long as a name may be (RFC 1035 §2.3.4), with a port.
const MAX_HOST_BYTES: usize = 262;

pub(crate) struct Backend {
    posts: PostsClient,
    cache: Cache<Arc<Reply>>,
    rules: Arc<Rules>,
    negative_ttl: Duration,
    /// What is shared with other backends, if something is, and where.
    place: Option<String>,
    shared: Option<OverRedis<Arc<Reply>>>,
    /// Whether that is out of reach.
    breaker: Breaker,
    tally: Tally,
    past: Arc<Past>,
    /// Which purges were made of late.
    trail: Trail,
    /// The tasks that say how that is: in the log, and to the others.
    watching: Vec<AbortHandle>,
}

impl Backend {
    pub(crate) fn new(settings: BackendSettings) -> Arc<Backend> {
        let rules = Arc::new(Rules::new(&settings));
        let lifetime = rules.lifetime();
        let cache = Cache::<Arc<Reply>>::builder()
            .name("posts")
            .ttl(lifetime.ttl())
            .stale_while_revalidate(lifetime.revalidate_window())
            .stale_if_error(lifetime.rescue_window())
            .max_bytes(settings.cache_max_bytes);
        let place = settings.shared.as_ref().map(|tier| format!("Redis at {tier}"));
        let breaker = Breaker::new();
        let cache = match settings.shared.clone() {
            Some(tier) => cache.lower(Breakable::new(tier, breaker.clone()), ReplyCodec),
            None => cache,
        };
        let cache = cache.build();
        let trail = Trail::new(place.is_some(), Vec::new());
        cache.follow_purges(Arc::new(trail.clone()));
        let shared = settings.shared.map(|tier| OverRedis::new(tier, cache.clone()));
        let in_log = place.as_ref().map(|place| {
            let watch = Watch::new(place, lower::Settings::default());
            tokio::spawn(watch.tell(cache.clone()))
        });
        let to_others = shared.clone().map(|shared| tokio::spawn(shared.say_what_it_holds()));
        let watching = in_log.into_iter().chain(to_others);
        cache.serve_stale_while_revalidate(rules.is_stale_served_while_revalidating());
        Arc::new(Backend {
            posts: PostsClient::new(settings.posts_service),
            cache,
            rules,
            negative_ttl: settings.cache_negative_ttl,
            place,
            shared,
            breaker,
            tally: Tally::default(),
            past: Arc::default(),
            trail,
            watching: watching.map(|task| task.abort_handle()).collect(),
        })
    }

    /// What is on its way to the shared tier gets there, if it can `within` this time; and no purge at another backend
    /// waits for this one any more.
    pub(crate) async fn shut_down(&self, within: Duration) {
        self.watching.iter().for_each(AbortHandle::abort);
        self.cache.shut_down(within).await;
    }

    /// Whom it asks and what it keeps, for the line of a start.
    pub(crate) fn summary(&self) -> String {
        let posts_service = self.posts.base();
        let shares = self.place.as_ref().map(|place| format!(", shares them over {place}"));
        let shares = shares.unwrap_or_default();
        if self.rules.is_enabled() {
            format!("asks {posts_service}, {}{shares}", self.rules)
        } else {
            format!("asks {posts_service} every time: the cache is off, until the page turns it on")
        }
    }

    /// What the page talks to, from one of `page_origins`.
    pub(crate) fn router(self: &Arc<Self>, page_origins: &[String]) -> Router {
        let router =
            Router::new().route("/api/posts", get(posts)).route("/api/posts/{id}", get(post));
        let router = with_common_replies(router, "backend", endpoint::is_path);
        let posts = router.layer(map_response(respond::complete)).with_state(Arc::clone(self));
        let switches = Switches {
            rules: Arc::clone(&self.rules),
            cache: self.cache.clone(),
            posts: self.posts.clone(),
            is_shared: self.place.is_some(),
            page_origins: page_origins.into(),
        };
        let rules = rules::router(switches).layer(map_response(respond::complete));
        cors::allow(posts, page_origins, [Method::GET, Method::HEAD]).merge(cors::allow(
            rules,
            page_origins,
            rules::METHODS,
        ))
    }

    /// The console of this backend's cache, with the acts that `props` allow.
    pub(crate) fn admin(
        self: &Arc<Self>,
        page_origins: &[String],
        props: Props,
        stop: CancellationToken,
    ) -> Router {
        let shared = self.place.clone().map(|place| (place, self.breaker.clone()));
        let stage = stage::stage(props, self.posts.clone(), shared);
        let (counts, lines) = (Arc::clone(self), Arc::clone(self));
        let (explainer, posts) = (Explainer(Arc::clone(self)), self.posts.clone());
        let admin = Admin::new()
            .cache(&self.cache)
            .traffic(move || counts.tally.traffic())
            .route_table(move || lines.routes())
            .key_routes(explainer.clone())
            .explain_with(explainer)
            .trail(self.trail.clone())
            .stats("upstreams", move || upstreams(&posts))
            .stage(stage)
            .stop_with(stop);
        let admin = match &self.shared {
            Some(shared) => admin.fleet(Breakable::new(shared.clone(), self.breaker.clone())),
            None => admin,
        };
        let admin = page_origins.iter().try_fold(admin, |admin, origin| admin.allow_origin(origin));
        admin.expect("origins are checked when the settings are read").router()
    }

    /// One request, start to end: the cache if it may, else the posts service.
    async fn deliver(self: Arc<Self>, endpoint: Endpoint, request: &HeaderMap) -> Response {
        let began = Instant::now();
        let (key, tags) = (endpoint.path(), endpoint.tags());
        let is_enabled = self.rules.is_enabled();
        let delivery = if is_enabled {
            let (backend, endpoint) = (Arc::clone(&self), endpoint.clone());
            let answer = self.cache.answer(&key, async move || {
                // Told when it begins: the two seconds that follow are the posts service's. After a
                // `Cache HIT … (stale-while-revalidate)` this MISS is the refresh behind it.
                tracing::info!("Cache MISS for {}", endpoint.path());
                backend.fetch(&endpoint).await
            });
            match answer.await {
                Ok(answer) => Delivery::FromCache(answer),
                Err(failure) => Delivery::failed(failure),
            }
        } else {
            match self.ask(&endpoint).await {
                Ok(reply) => Delivery::PastTheCache(reply),
                Err(error) => Delivery::FailedPastTheCache(error),
            }
        };
        let took = began.elapsed();
        let finished = delivery.finished(took);
        self.tally.count(&endpoint, &finished);
        delivery.log(&key, took);
        let told = delivery.told();
        let mut response = delivery.respond(&key, request, took);
        let outside = (!is_enabled).then(|| self.rules.lifetime().ttl());
        tell_caches_outside(&mut response, &tags, outside);
        if finished.verdict != Verdict::Hit || self.past.onlookers.take_hit() {
            let id = new_id();
            let field = HeaderValue::from_str(&id).expect("hexadecimal digits");
            response.headers_mut().insert(LARDER_REQUEST, field);
            self.past.remember(PastRequest {
                id,
                at: time(SystemTime::now()),
                method: Method::GET.to_string(),
                url: format!("http://{}/api{key}", host_of(request)),
                route: endpoint.route().name().to_owned(),
                verdict: told.verdict,
                reason: told.reason.as_str(),
                says: told.reason.says().to_owned(),
                status: response.status().as_u16(),
                seconds: took.as_secs_f64(),
                origin_seconds: told.origin_time.map(|time| time.as_secs_f64()),
                tier: told.tier,
                trace_id: None,
            });
        }
        response
    }

    /// One call of the posts service, which is counted.
    async fn ask(&self, endpoint: &Endpoint) -> Result<Reply, PostsError> {
        let began = Instant::now();
        let reply = self.posts.ask(endpoint).await;
        self.tally.called(endpoint, began.elapsed(), reply.is_err());
        reply
    }

    /// Asks the posts service, and decides how long its answer is worth keeping. A posts service that
    /// fails while it answers is an error, so that a stale copy can stand in.
    async fn fetch(&self, endpoint: &Endpoint) -> Result<Fetched<Arc<Reply>>, PostsError> {
        let reply = Arc::new(self.ask(endpoint).await?);
        Ok(match (endpoint, reply.status()) {
            (_, StatusCode::OK) => Fetched::new(reply).tags(endpoint.tags()),
            (Endpoint::Post(_), StatusCode::NOT_FOUND) => {
                // Without stale windows: a post that is written meanwhile is not to be missed.
                let lifetime = Lifetime::fresh_for(self.negative_ttl);
                Fetched::new(reply).lifetime(lifetime).tags(endpoint.tags())
            }
            _ => Fetched::do_not_store(reply),
        })
    }
}

/// The posts service as the console tells services: down where its last call failed.
fn upstreams(posts: &PostsClient) -> serde_json::Value {
    let is_up = !matches!(posts.last_call(), LastCall::Failed);
    let address = serde_json::json!({ "address": posts.base(), "is_up": is_up });
    serde_json::json!([{ "name": "posts service", "addresses": [address] }])
}

/// By what its reader calls the backend; what no browser sends is not kept.
fn host_of(request: &HeaderMap) -> &str {
    let host = request.get(header::HOST).and_then(|host| host.to_str().ok());
    host.filter(|host| host.len() <= MAX_HOST_BYTES).unwrap_or("backend")
}

async fn posts(State(backend): State<Arc<Backend>>, headers: HeaderMap) -> Response {
    backend.deliver(Endpoint::Posts, &headers).await
}

async fn post(
    State(backend): State<Arc<Backend>>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Response {
    // The one thing that fails here is a path whose escapes are no UTF-8.
    let Ok(Path(id)) = id else { return no_post_id(NoPostId::NotAnInteger, "\u{FFFD}") };
    match PostId::parse(&id) {
        Ok(id) => backend.deliver(Endpoint::Post(id), &headers).await,
        Err(why) => no_post_id(why, &id),
    }
}
