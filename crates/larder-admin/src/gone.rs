//! Gone: which keys left memory of late, why and when.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    extract::{RawQuery, State},
};
use larder::{GoneCause, GoneKey};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use crate::{
    console::Console,
    problem::{Problem, ProblemView},
    question::{Question, wrong},
};

/// Which keys.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it says what a question looks like; the text is read by `Question`")]
pub(crate) struct GoneQuestion {
    /// This key alone, and the last time that it went; of HTTP responses a URI in any spelling.
    key: Option<String>,
    /// Only keys that begin so.
    prefix: Option<String>,
    /// Only keys of this route, in the words of its file.
    route: Option<String>,
    /// Only what went for this cause.
    #[param(pattern = "^(purged|evicted|expired|replaced|taken)$")]
    cause: Option<String>,
    /// How many.
    #[param(minimum = 1, maximum = 1000, default = 50)]
    limit: Option<u16>,
    /// The cache, by its name; left out: all.
    cache: Option<String>,
}

/// Keys that went, the newest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct GoneKeys {
    gone: Vec<GoneView>,
    /// How many keys that fit are remembered, those beyond the limit too, by their causes.
    by_cause: BTreeMap<&'static str, usize>,
    /// So many keys went and are not remembered, because they came too fast; older ones made room for newer beside.
    left_out: u64,
}

/// A key that went.
#[derive(Serialize, ToSchema)]
pub(crate) struct GoneView {
    cache: String,
    key: String,
    /// Its route, where that is known.
    route: Option<String>,
    #[schema(pattern = "^(purged|evicted|expired|replaced|taken)$")]
    cause: &'static str,
    /// When it was taken out. What a purge by tag has ended is taken out when it is swept or when room is needed, and lies
    /// there until then.
    #[schema(format = DateTime)]
    at: String,
    /// The purge that was the cause, where it is still remembered.
    purge: Option<GonePurgeView>,
}

/// A purge by which something went.
#[derive(Serialize, ToSchema)]
pub(crate) struct GonePurgeView {
    /// `tag post:1`
    what: String,
    #[schema(pattern = "^(soft|hard)$")]
    mode: &'static str,
    /// When it was made.
    #[schema(format = DateTime)]
    at: String,
    /// Its number in the cache's log of purges.
    number: u64,
}

/// What left memory of late: up to 4096 keys of each cache.
#[utoipa::path(
    get, path = "/v1/gone", tag = "entries", params(GoneQuestion),
    responses(
        (status = 200, description = "The newest first.", body = GoneKeys),
        (status = "default", description = "A problem.", body = ProblemView, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn gone(
    State(console): State<Arc<Console>>,
    RawQuery(query): RawQuery,
) -> Result<Json<GoneKeys>, Problem> {
    let known = ["cache", "key", "prefix", "route", "cause", "limit"];
    let mut said = Question::of(query.as_deref(), &known)?;
    let caches = console.caches_called(said.take("cache").as_deref())?;
    let limit = said.limit()?;
    let cause = said.word("cause", &GoneCause::ALL.map(|cause| (cause.as_str(), cause)))?;
    let (key, prefix, route) = (said.take("key"), said.take("prefix"), said.take("route"));
    if key.is_some() && prefix.is_some() {
        return Err(wrong("say \"key\" or \"prefix\", not both".to_owned()));
    }
    let (mut keys, mut left_out) = (Vec::new(), 0);
    for cache in caches.into_iter().map(|at| &console.caches[at]) {
        let of_cache = match &key {
            Some(key) => cache.gone(key).into_iter().collect(),
            None => cache.gone_keys(prefix.as_deref().unwrap_or_default(), usize::MAX),
        };
        let is_of_route = |gone: &GoneKey| {
            let of = || console.key_routes.route_of(&gone.key);
            route.as_deref().is_none_or(|route| of().as_deref() == Some(route))
        };
        let fitting =
            of_cache.into_iter().filter(|gone| cause.is_none_or(|cause| gone.cause == cause));
        keys.extend(fitting.filter(is_of_route).map(|gone| (cache.name(), gone)));
        left_out += cache.gone_left_out();
    }
    let mut by_cause = BTreeMap::new();
    for (_, gone) in &keys {
        *by_cause.entry(gone.cause.as_str()).or_default() += 1;
    }
    keys.sort_by_key(|(_, gone)| Reverse(gone.at));
    keys.truncate(limit);
    // To find a key's route takes longer than all else here: only of what is told, or where it is asked for.
    let gone = keys.into_iter().map(|(cache, gone)| {
        let route = console.key_routes.route_of(&gone.key);
        GoneView::of(cache, route, gone)
    });
    Ok(Json(GoneKeys { gone: gone.collect(), by_cause, left_out }))
}

impl GoneView {
    fn of(cache: &str, route: Option<Arc<str>>, gone: GoneKey) -> GoneView {
        let at = |time| humantime::format_rfc3339_millis(time).to_string();
        GoneView {
            cache: cache.to_owned(),
            key: gone.key,
            route: route.map(|route| route.to_string()),
            cause: gone.cause.as_str(),
            at: at(gone.at),
            purge: gone.purge.map(|purge| GonePurgeView {
                what: purge.what,
                mode: purge.mode.as_str(),
                at: at(purge.at),
                number: purge.number,
            }),
        }
    }
}
