//! Held: one entry as it is told, with its variants, and the beginning of a body.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{RawQuery, State},
    response::{IntoResponse, Response},
};
use http::{HeaderName, HeaderValue, StatusCode, header};
use larder::listing::Held;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use crate::{
    console::Console,
    problem::{Problem, ProblemView},
    question::{Question, wrong},
};

/// So much of a body is shown.
const BODY_BYTES: usize = 64 << 10;

/// Text from elsewhere: no browser takes it for a page, and were it one, nothing of it would run.
const BODY_FIELDS: [(HeaderName, &str); 4] = [
    (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox"),
    (header::CACHE_CONTROL, "no-store"),
];

/// In it the answer to a question for a body says what that is: `text` or `binary`, with the content coding in which it came
/// and whether that was undone (`binary;coding="dcb";decoded=?0`), as a structured field (RFC 9651 §3.3).
const LARDER_BODY: HeaderName = HeaderName::from_static("larder-body");

/// The beginning of a body.
pub(crate) struct Beginning {
    text: String,
    /// What it is.
    is: String,
}

#[cfg(feature = "http")]
impl Beginning {
    pub(crate) fn of(body: larder::http::BodyBeginning) -> Beginning {
        let mut is = if body.is_text() { "text" } else { "binary" }.to_owned();
        if let Some(coding) = &body.coding {
            // It may be anything that an origin has said.
            let coding =
                coding.chars().filter(|one| one.is_ascii_graphic() && !"\"\\".contains(*one));
            let coding: String = coding.take(40).collect();
            is += &format!(";coding=\"{coding}\";decoded=?{}", u8::from(body.is_decoded));
        }
        Beginning { text: String::from_utf8_lossy(&body.bytes).into_owned(), is }
    }
}

/// An entry, without its value.
#[derive(Serialize, ToSchema)]
pub(crate) struct EntryView {
    /// Which cache holds it.
    cache: String,
    key: String,
    /// What it weighs in memory, overhead included.
    bytes: u64,
    age_seconds: f64,
    /// `fresh`: it answers. `stale-usable`: it answers while it is asked for anew. `rescue`: it answers where the origin
    /// fails. `over`: it answers nobody, and goes when it is swept or when room is needed. `purged`: the same because of a
    /// purge by tag, which looks for no entry.
    #[schema(pattern = "^(fresh|stale-usable|rescue|over|purged)$")]
    state: &'static str,
    /// Less than none once it is stale.
    fresh_for_seconds: Option<f64>,
    /// After freshness has ended.
    stale_while_revalidate_seconds: f64,
    /// After freshness has ended.
    stale_if_error_seconds: f64,
    /// By which a purge finds it. One whose name is not known is `#` and a number.
    tags: Vec<String>,
    /// What fetching it took.
    cost_seconds: f64,
    /// How often it was asked for of late.
    #[schema(pattern = "^(cold|warm|hot)$")]
    heat: &'static str,
    /// The route of a plain GET of its key; `null` where that is not known.
    route: Option<String>,
    /// How many responses lie there, told apart by `Vary`.
    variants: usize,
}

/// An entry with the responses that it has.
#[derive(Serialize, ToSchema)]
pub(crate) struct WholeEntry {
    #[serde(flatten)]
    entry: EntryView,
    /// Of a cache of HTTP responses; values of others are not shown.
    variants_held: Vec<VariantView>,
}

/// One of the responses under a key.
#[derive(Serialize, ToSchema)]
pub(crate) struct VariantView {
    status: u16,
    /// `Set-Cookie` and credentials have the value `(hidden)`.
    fields: Vec<[String; 2]>,
    /// What of its request told it apart.
    differs_by: Vec<[String; 2]>,
    body_bytes: u64,
    /// In which content codings it lies there beside.
    codings: Vec<&'static str>,
    #[schema(pattern = "^(fresh|stale-usable|rescue|over|purged)$")]
    state: &'static str,
    age_seconds: f64,
    /// Less than none once it is stale.
    fresh_for_seconds: Option<f64>,
    stale_while_revalidate_seconds: f64,
    stale_if_error_seconds: f64,
}

/// Which entry.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it says what a question looks like; the text is read by `Question`")]
pub(crate) struct EntryQuestion {
    /// Its key; of HTTP responses a URI in any spelling.
    #[param(required = true)]
    key: String,
    /// The cache, by its name; left out: the first that holds it.
    cache: Option<String>,
}

/// Which body.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it says what a question looks like; the text is read by `Question`")]
pub(crate) struct BodyQuestion {
    /// The key; a URI in any spelling.
    #[param(required = true)]
    key: String,
    /// Which of the responses there, counted from 0.
    #[param(default = 0)]
    variant: Option<u64>,
    /// The cache, by its name; left out: the first that holds it.
    cache: Option<String>,
}

/// What lies under one key.
#[utoipa::path(
    get, path = "/v1/entry", tag = "entries", params(EntryQuestion),
    responses(
        (status = 200, description = "The entry.", body = WholeEntry),
        (status = "default", description = "A problem.", body = ProblemView, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn entry(
    State(console): State<Arc<Console>>,
    RawQuery(query): RawQuery,
) -> Result<Json<WholeEntry>, Problem> {
    let mut said = Question::of(query.as_deref(), &["key", "cache"])?;
    let key = said.take("key").ok_or_else(no_key)?;
    let caches = console.caches_called(said.take("cache").as_deref())?;
    let found = caches.into_iter().find_map(|cache| console.view(cache, &key));
    let (entry, variants_held) = found.ok_or_else(|| nothing(&key))?;
    Ok(Json(WholeEntry { entry, variants_held }))
}

/// The beginning of a stored body, as text: 64 KiB at most, without its content coding, what is no UTF-8 replaced. `Larder-Body`
/// says whether it is `text` or `binary`, and of a body in a content coding which one that is and whether it was undone.
#[utoipa::path(
    get, path = "/v1/entry/body", tag = "entries", params(BodyQuestion),
    responses(
        (status = 200, description = "The beginning.", body = String, content_type = "text/plain; charset=utf-8", headers(("Larder-Body" = String, description = "`text` or `binary`; `coding` and `decoded` where it came in a content coding."))),
        (status = "default", description = "A problem.", body = ProblemView, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn body(
    State(console): State<Arc<Console>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let mut said = Question::of(query.as_deref(), &["key", "variant", "cache"])?;
    let key = said.take("key").ok_or_else(no_key)?;
    let variant = said.number("variant")?.unwrap_or(0);
    let caches = console.caches_called(said.take("cache").as_deref())?;
    let variant = usize::try_from(variant).unwrap_or(usize::MAX);
    let bodies = caches.into_iter().map(|at| &console.caches[at]);
    let body = bodies.filter_map(|cache| cache.body(&key, variant, BODY_BYTES)).next();
    let body = body.ok_or_else(|| nothing(&key))?;
    let Beginning { text, is } = body;
    let mut response = text.into_response();
    response.headers_mut().extend(HeaderValue::from_str(&is).map(|is| (LARDER_BODY, is)));
    for (name, value) in BODY_FIELDS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}

fn no_key() -> Problem {
    wrong("say which: ?key=…".to_owned())
}

fn nothing(key: &str) -> Problem {
    let detail = format!("nothing is stored under {key:?}; what became of it /v1/gone may know");
    Problem::new(StatusCode::NOT_FOUND, "Entry not known", detail)
}

impl Console {
    /// What a cache holds under a key. `None`: nothing.
    pub(crate) fn view(&self, cache: usize, key: &str) -> Option<(EntryView, Vec<VariantView>)> {
        let cache = &self.caches[cache];
        let (held, variants) = cache.held(key, &*self.key_routes)?;
        let route = self.key_routes.route_of(&held.key).map(|route| route.to_string());
        Some((EntryView::of(cache.name(), held, route), variants))
    }
}

impl EntryView {
    fn of(cache: &str, held: Held, route: Option<String>) -> EntryView {
        EntryView {
            cache: cache.to_owned(),
            key: held.key,
            bytes: held.bytes,
            age_seconds: held.age.as_secs_f64(),
            state: held.state.as_str(),
            fresh_for_seconds: Some(held.freshness.seconds()),
            stale_while_revalidate_seconds: seconds(held.stale_while_revalidate),
            stale_if_error_seconds: seconds(held.stale_if_error),
            tags: held.tags,
            cost_seconds: held.cost.as_secs_f64(),
            heat: held.heat.as_str(),
            route,
            variants: held.variants,
        }
    }
}

#[cfg(feature = "http")]
impl VariantView {
    pub(crate) fn of(variant: larder::http::HeldVariant) -> VariantView {
        let pairs = |pairs: Vec<(String, String)>| {
            pairs.into_iter().map(|(name, value)| [name, value]).collect()
        };
        VariantView {
            status: variant.status,
            fields: pairs(variant.fields),
            differs_by: pairs(variant.differs_by),
            body_bytes: variant.body_bytes,
            codings: variant.codings,
            state: variant.state.as_str(),
            age_seconds: variant.age.as_secs_f64(),
            fresh_for_seconds: Some(variant.freshness.seconds()),
            stale_while_revalidate_seconds: seconds(variant.stale_while_revalidate),
            stale_if_error_seconds: seconds(variant.stale_if_error),
        }
    }
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}
