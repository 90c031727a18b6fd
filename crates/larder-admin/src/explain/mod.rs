//! Explain: what would become of a request now, and what has become of one that was.
//!
//! The cache is below this crate and what stands before it above: whoever knows routes and rules answers through the trait
//! [`Explain`]. A cache of HTTP responses by itself does so, without routes (feature `http`).

mod keyed;
pub(crate) mod passed;
mod question;
#[cfg(feature = "http")]
mod told;
#[cfg(feature = "http")]
mod words;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::{
    Json,
    extract::{Path, RawQuery, State, rejection::JsonRejection},
};
use futures_util::future::BoxFuture;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    console::Console,
    object::Object,
    problem::{Problem, ProblemView},
    trail::Trail,
};

pub use keyed::{KeyedBefore, told_of_key};
pub use passed::{Onlookers, Passed, Watch};
pub use question::Question;
use question::{AskedInQuery, Written};
#[cfg(feature = "http")]
pub use told::{Before, told_of, turn};

/// More in a question is refused: the text of another configuration is most of it.
pub(crate) const MAX_QUESTION_BYTES: usize = 512 << 10;

/// Explains requests, for [`Admin::explain_with`](crate::Admin::explain_with).
pub trait Explain: Send + Sync {
    /// What would become of this request now. Nothing may change by it.
    ///
    /// # Errors
    ///
    /// Something in the question can be no request, or its policy has mistakes: it says where.
    fn explain(&self, question: Question) -> BoxFuture<'_, Result<Explained, Problem>>;

    /// What became of the request that was given this id, if that is remembered.
    fn request(&self, id: &str) -> Option<PastRequest>;

    /// Begins to tell what becomes of single requests as they are answered. `None`: nothing is remembered of them.
    fn watch(&self) -> Option<Box<dyn Watch>> {
        None
    }
}

/// What would become of a request.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Explained {
    /// When it was looked at: RFC 3339, to the millisecond.
    pub at: String,
    /// What was asked.
    pub request: RequestView,
    /// What would become of it.
    #[serde(flatten)]
    pub told: Told,
    /// What became of the last real request for this URL that was no plain hit, where that is remembered: what comes of an
    /// answer, nobody can tell before it is there.
    pub last: Option<PastRequest>,
    /// What would become of it by another policy, where one was asked about.
    pub with_policy: Option<Box<Told>>,
}

/// A request.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = ExplainedRequest)]
pub struct RequestView {
    /// The method.
    pub method: String,
    /// The whole URL.
    pub url: String,
}

/// What would become of a request by one set of rules.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Told {
    /// The route that it fits, and its rules. `None`: there are no routes.
    pub route: Option<RouteView>,
    /// Under which key it is looked up. `None`: it passes.
    pub key: Option<KeyView>,
    /// What each tier holds for it, memory first.
    pub tiers: Vec<TierView>,
    /// What is under way for it.
    pub flight: Option<Says>,
    /// What is done with it, and why.
    pub verdict: VerdictView,
    /// By which of its cookies the answer may be its reader's alone, where it is not answered from what is stored.
    pub personal: Option<PersonalView>,
    /// What the next real request does.
    pub next: NextView,
    /// What is stored that nearly fits, where nothing does.
    pub nearest: Vec<NearView>,
    /// How far that was looked for.
    pub looked: Option<Looked>,
    /// Why what was stored is not there any more, where that is known.
    pub gone: Option<GoneView>,
}

/// A route.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = ExplainedRoute)]
pub struct RouteView {
    /// What its requests have in common, as the file has it; `otherwise` for what fits none.
    pub route: String,
    /// Where it is said: a file and a line.
    pub line: Option<String>,
    /// Which service is asked.
    pub upstream: Option<String>,
    /// Whether anything is stored.
    pub is_cached: bool,
    /// The rules that are said for it, or for all routes.
    pub rules: Vec<RuleView>,
}

/// A rule.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RuleView {
    /// Its key in the file.
    pub rule: String,
    /// What is said.
    pub value: String,
    /// Where.
    pub line: Option<String>,
}

/// A key, and what it was made of.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct KeyView {
    /// The key.
    pub key: String,
    /// Its pieces, and what else tells answers apart.
    pub parts: Vec<PartView>,
    /// What of the request is not in it.
    pub left_out: Vec<LeftOutView>,
}

/// A piece of a key.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PartView {
    /// `scheme`, `host`, `path`, `query`, `header`, `cookie` or `partition`.
    pub part: &'static str,
    /// Of a parameter, a field or a cookie: its name.
    pub name: Option<String>,
    /// What stands there.
    pub value: Option<String>,
    /// Where it comes from.
    pub from: &'static str,
}

/// What is not in a key.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LeftOutView {
    /// As [`PartView::part`].
    pub part: &'static str,
    /// What it is called.
    pub name: String,
    /// Why.
    pub why: &'static str,
}

/// What a tier holds.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = ExplainedTier)]
pub struct TierView {
    /// `memory` or `shared`.
    pub tier: &'static str,
    /// `this`, `other variants` or `nothing`.
    pub holds: &'static str,
    /// One sentence.
    pub says: String,
    /// Each response under the key.
    pub variants: Vec<VariantView>,
}

/// A stored response.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = ExplainedVariant)]
pub struct VariantView {
    /// The fields in which its request was another, and what they were.
    pub differs_by: Vec<(String, Option<String>)>,
    /// Its status; `null` of a value in a library's cache.
    pub status: Option<u16>,
    /// How old it is.
    pub age_seconds: f64,
    /// How long it is fresh, below zero since it is stale.
    pub fresh_for_seconds: f64,
    /// `fresh`, `stale-usable`, `rescue`, `over` or `purged`.
    pub state: &'static str,
    /// It is the one that answers.
    pub is_chosen: bool,
}

/// One sentence.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Says {
    /// It.
    pub says: String,
}

/// What is done with a request.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct VerdictView {
    /// `hit`, `stale`, `miss`, `pass` or `refused`; `collapsed` where a library's reader waits for another's fetch.
    pub verdict: &'static str,
    /// Why, in one word of the vocabulary.
    pub reason: String,
    /// Why, in a sentence.
    pub says: String,
}

/// The cookies that make a request look like one person's. Their values are told to nobody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct PersonalView {
    /// Their names.
    pub cookies: Vec<String>,
    /// What comes of that, in a sentence.
    pub says: String,
    /// The line of a route that ignores them, for cookies that change nothing in the answer. `None`: they have no names that
    /// could stand there, or look like a login.
    pub remedy: Option<String>,
}

/// What the next request does.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct NextView {
    /// Whether a service is asked for it, be it behind its reader's back.
    pub asks_origin: bool,
    /// One sentence or two.
    pub says: String,
}

/// A stored response that nearly fits.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct NearView {
    /// Its key.
    pub key: String,
    /// In what it differs.
    pub differs: Vec<DifferView>,
    /// The same in a sentence.
    pub says: String,
}

/// One piece in which something differs.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DifferView {
    /// As [`PartView::part`].
    pub part: &'static str,
    /// Of a parameter, a field or a cookie: its name.
    pub name: Option<String>,
    /// What the request has there.
    pub asked: Option<String>,
    /// What is stored there.
    pub stored: Option<String>,
}

/// How far something was looked for.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct Looked {
    /// At so many stored keys.
    pub keys: usize,
    /// These are all.
    pub all: bool,
}

/// Why something is not there any more.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = WhyGone)]
pub struct GoneView {
    /// `purged`, `evicted`, `expired` or `replaced`.
    pub cause: &'static str,
    /// When, if that is known: RFC 3339, to the millisecond.
    pub at: Option<String>,
    /// In a sentence.
    pub says: String,
    /// What the purge has named, as receipts say it (`tag post:1`), or may have: by this it is found when that was, and
    /// which it was.
    #[serde(skip)]
    pub purges: Vec<String>,
}

impl GoneView {
    /// Says when that was, and by what, where `trail` remembers the purge.
    fn date(&mut self, trail: &Trail) {
        if self.at.is_some() {
            return;
        }
        let dated = self.purges.iter().filter_map(|what| Some((trail.last_of(what)?, what)));
        if let Some((at, what)) = dated.max_by_key(|(at, _)| *at) {
            let ago = at.elapsed().unwrap_or_default().as_secs();
            let ago = humantime::format_duration(Duration::from_secs(ago));
            (self.at, self.says) = (Some(time(at)), format!("purged {ago} ago by {what}"));
        }
    }
}

/// What has become of a request.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PastRequest {
    /// The id that its answer had in `Larder-Request`.
    pub id: String,
    /// When it was answered: RFC 3339, to the millisecond.
    pub at: String,
    /// The method.
    pub method: String,
    /// The URL, with `…` for the values of its query.
    pub url: String,
    /// Its route, as the file has it.
    pub route: String,
    /// `hit`, `stale`, `miss`, `collapsed`, `pass` or `refused`.
    pub verdict: &'static str,
    /// Why, in one word of the vocabulary: of an answer that was not stored, why not.
    pub reason: &'static str,
    /// The same in a sentence or two.
    pub says: String,
    /// The status of the answer.
    pub status: u16,
    /// How long the head of the answer took.
    pub seconds: f64,
    /// How long the origin took for it, where it was asked.
    pub origin_seconds: Option<f64>,
    /// What answered: `memory`, `shared` or `origin`.
    pub tier: &'static str,
    /// By which its trace is found, where it was traced: as in `traceparent`.
    pub trace_id: Option<String>,
}

/// A time as all answers have it.
pub fn time(at: SystemTime) -> String {
    humantime::format_rfc3339_millis(at).to_string()
}

fn nobody() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "Not found", "nothing here explains requests")
}

fn explainer(console: &Console) -> Result<Arc<dyn Explain>, Problem> {
    console.explain.clone().ok_or_else(nobody)
}

/// What would become of a request, and why. Nothing changes by it, and no service is asked.
#[utoipa::path(
    post, path = "/v1/explain", tag = "requests", request_body = Written,
    responses(
        (status = 200, description = "What would become of it.", body = Explained),
        (status = "default", description = "A problem.", body = ProblemView, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn post(
    State(console): State<Arc<Console>>,
    question: Result<Json<Object<Written>>, JsonRejection>,
) -> Result<Json<Explained>, Problem> {
    let explain = explainer(&console)?;
    let question = question.map_err(|rejection| Problem::of_json(question::TITLE, &rejection))?;
    let Json(Object(written)) = question;
    answer(&console, &*explain, written).await
}

/// The same, asked in a query: `?url=…&method=GET&header=name:value`.
#[utoipa::path(
    get, path = "/v1/explain", tag = "requests", params(AskedInQuery),
    responses(
        (status = 200, description = "What would become of it.", body = Explained),
        (status = "default", description = "A problem.", body = ProblemView, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn get(
    State(console): State<Arc<Console>>,
    RawQuery(query): RawQuery,
) -> Result<Json<Explained>, Problem> {
    let explain = explainer(&console)?;
    let written = Written::of_query(&query.unwrap_or_default())?;
    answer(&console, &*explain, written).await
}

async fn answer(
    console: &Console,
    explain: &dyn Explain,
    written: Written,
) -> Result<Json<Explained>, Problem> {
    let mut explained = explain.explain(Question::of(written)?).await?;
    if let Some(trail) = &console.trail {
        let both = [Some(&mut explained.told), explained.with_policy.as_deref_mut()];
        let gone = both.into_iter().flatten().filter_map(|told| told.gone.as_mut());
        gone.for_each(|gone| gone.date(trail));
    }
    Ok(Json(explained))
}

/// What has become of a request, by the id that its answer carries in `Larder-Request`.
#[utoipa::path(
    get, path = "/v1/requests/{id}", tag = "requests",
    params(("id" = String, Path, description = "As the answer has it.")),
    responses(
        (status = 200, description = "What has become of it.", body = PastRequest),
        (status = "default", description = "A problem.", body = ProblemView, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn request(
    State(console): State<Arc<Console>>,
    Path(id): Path<String>,
) -> Result<Json<PastRequest>, Problem> {
    let unknown = || {
        let detail = "no request of this id is remembered: the oldest make room for newer ones";
        Problem::new(StatusCode::NOT_FOUND, "Request not known", detail)
    };
    explainer(&console)?.request(&id).map(Json).ok_or_else(unknown)
}
