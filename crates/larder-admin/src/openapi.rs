//! OpenAPI: what there is to ask, told to programs (OpenAPI 3.1).
//!
//! It is made of the handlers and of what they answer. `openapi.json` beside this crate is the same, for who reads it
//! without running anything; a test compares the two.

use axum::Json;
use utoipa::{
    Modify, OpenApi,
    openapi::{
        OpenApi as Description,
        security::{Http, HttpAuthScheme, SecurityScheme},
    },
};

use crate::{
    copies, entries, events, explain, forget, gone, health, held, history, instances, metrics,
    purge, purges, routes, stage, stats, tags,
};

/// The admin API of Larder's caches. Paths are relative to where it is mounted. Errors are `application/problem+json`
/// (RFC 9457).
#[derive(OpenApi)]
#[openapi(
    info(title = "Larder admin API", license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")),
    modifiers(&Tokens),
    security((), ("token" = [])),
    tags(
        (name = "counters", description = "What the caches did, and do."),
        (name = "entries", description = "What the caches hold, and what they held."),
        (name = "health", description = "For supervisors and balancers."),
        (name = "purges", description = "What is to be forgotten."),
        (name = "requests", description = "What would become of a request, and what has."),
        (name = "shared tier", description = "Processes that share one tier."),
        (name = "stage", description = "Acts for whoever watches, where the server offers some."),
    ),
    // Whoever adds a path to the router adds it here: a test compares them.
    paths(
        openapi,
        health::live,
        health::ready,
        metrics::metrics,
        stats::stats,
        history::history,
        events::events,
        entries::entries,
        held::entry,
        held::body,
        tags::tags,
        copies::copies,
        gone::gone,
        routes::routes,
        explain::post,
        explain::get,
        explain::request,
        instances::instances,
        purge::purge,
        purges::since,
        purges::one,
        forget::forget,
        stage::stage,
        stage::crowd,
        stage::break_shared,
        stage::slow_origin,
    ),
)]
struct Api;

/// Where tokens are asked for, they are shown so.
struct Tokens;

impl Modify for Tokens {
    fn modify(&self, api: &mut Description) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        api.components.get_or_insert_default().add_security_scheme("token", scheme);
    }
}

/// The description of the admin API.
pub(crate) fn description() -> Description {
    Api::openapi()
}

/// This description.
#[utoipa::path(
    get, path = "/openapi.json", tag = "health",
    responses((status = 200, description = "OpenAPI 3.1.", body = serde_json::Value)),
)]
pub(crate) async fn openapi() -> Json<Description> {
    Json(description())
}
