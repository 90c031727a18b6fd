//! Told: a dry run of a cache of HTTP responses, as the API tells it.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures_util::{FutureExt, future::BoxFuture};
use http::{Request, Uri};
use larder::http::{
    Below, DryRun, Held, HttpCache, Nearest, Policy, Rules, Standing, Step,
    policy::{
        key_parts::{KeyParts, Part},
        nearness::Difference,
        reason::Reason,
    },
};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    task::spawn_blocking,
};

use super::{
    DifferView, Explain, Explained, GoneView, KeyView, LeftOutView, Looked, NearView, NextView,
    PartView, PastRequest, PersonalView, Question, RequestView, RouteView, Says, TierView, Told,
    VariantView, VerdictView, time, words,
};
use crate::problem::Problem;

/// How many stored keys that nearly fit are told, and how long they are looked for.
const NEAREST: usize = 3;
const NEAREST_WITHIN: Duration = Duration::from_millis(50);
/// So many look at once, whoever asks: each keeps a processor busy for that long. The others wait for them.
static LOOKS: Semaphore = Semaphore::const_new(2);

/// What stands before the cache: which rules a request has there, and what is asked.
#[derive(Clone, Debug)]
pub struct Before {
    /// By which rules the request is answered.
    pub policy: Arc<Policy>,
    /// Its route, if there are routes.
    pub route: Option<RouteView>,
    /// What the service is called that would be asked.
    pub service: String,
    /// What else is to be said of it, in sentences.
    pub remarks: Vec<String>,
    /// The same, where the service is asked.
    pub remarks_of_service: Vec<String>,
}

/// A turn for what keeps a processor busy for whoever explains, as reading another configuration does. Dropping it gives it to
/// the next.
pub async fn turn() -> SemaphorePermit<'static> {
    LOOKS.acquire().await.expect("it is never closed")
}

/// What would become of a request, whose extensions are those that whoever stands before the cache gives it. `uri`: the
/// whole URL, before rules leave anything out of it.
pub async fn told_of(cache: &HttpCache, request: Request<()>, uri: &Uri, before: Before) -> Told {
    let Before { policy, route, service, remarks, remarks_of_service } = before;
    let mut parts = KeyParts::of(&policy, uri, request.headers());
    let dry = cache.dry_run(request).await;
    let key = dry.key.as_ref().map(|key| KeyView {
        key: key.to_string(),
        parts: std::mem::take(&mut parts.parts).into_iter().map(part).collect(),
        left_out: { parts.left_out }
            .into_iter()
            .map(|left| LeftOutView {
                part: left.part.as_str(),
                name: left.name,
                why: left.why.as_str(),
            })
            .collect(),
    });
    let mut nearest = of_variants(&dry);
    let mut looked = None;
    // What is answered from what is stored needs no other.
    if let (Some(key), Step::Ask { .. } | Step::Refuse) = (&dry.key, dry.step) {
        let (cache, key) = (cache.clone(), Arc::clone(key));
        let look = move || cache.nearest(&key, NEAREST, NEAREST_WITHIN);
        let _turn = turn().await;
        // It goes over all that is stored: not here, where others wait. If it broke, that was told.
        if let Ok(Nearest { near, looked_at, is_whole }) = spawn_blocking(look).await {
            looked = Some(Looked { keys: looked_at, all: is_whole });
            let room = NEAREST.saturating_sub(nearest.len());
            nearest.extend(near.into_iter().take(room).map(|near| NearView {
                says: words::differs(&near.differences),
                differs: near.differences.into_iter().map(differ).collect(),
                key: near.key,
            }));
        }
    }
    let asks_origin = asks_origin(&dry);
    let mut says = words::next(&dry, &service);
    let of_service = remarks_of_service.iter().filter(|_| asks_origin);
    for remark in remarks.iter().chain(of_service) {
        says.push(' ');
        says.push_str(remark);
    }
    Told {
        route,
        key,
        tiers: tiers(&dry),
        flight: words::flight(&dry).map(|says| Says { says }),
        verdict: verdict(&dry),
        personal: personal(&dry, parts.personal_cookies),
        next: NextView { asks_origin, says },
        nearest,
        looked,
        gone: gone(cache, &dry),
    }
}

fn part(part: larder::http::policy::key_parts::KeyPart) -> PartView {
    let from = match part.part {
        Part::Scheme | Part::Host | Part::Path | Part::Query => "the URL",
        Part::Header => "a field of the request",
        Part::Cookie => "a cookie of the request",
        _ => "the conditions of its route",
    };
    PartView { part: part.part.as_str(), name: part.name, value: part.value, from }
}

fn differ(difference: Difference) -> DifferView {
    let Difference { part, name, asked, stored } = difference;
    DifferView { part: part.as_str(), name, asked, stored }
}

fn tiers(dry: &DryRun) -> Vec<TierView> {
    let mut tiers = vec![tier("memory", &dry.memory, words::memory(dry))];
    match &dry.below {
        Below::NotThere => {}
        Below::Silent => {
            let says = "The shared tier does not answer: it counts as empty.".to_owned();
            tiers.push(tier("shared", &[], says));
        }
        Below::Holds(held) => tiers.push(tier("shared", held, words::held(held))),
    }
    tiers
}

fn tier(tier: &'static str, held: &[Held], says: String) -> TierView {
    let is_this = |held: &Held| {
        held.is_chosen || (held.differs_by.is_empty() && held.standing != Standing::Purged)
    };
    let holds = match held {
        [] => "nothing",
        held if held.iter().any(is_this) => "this",
        held if held.iter().all(|held| held.standing == Standing::Purged) => "nothing",
        _ => "other variants",
    };
    TierView { tier, holds, says, variants: held.iter().map(variant).collect() }
}

fn variant(held: &Held) -> VariantView {
    let differs_by = held.differs_by.iter().map(|differs| {
        let name = differs.name.clone().unwrap_or_else(|| differs.part.as_str().to_owned());
        (name, differs.stored.clone())
    });
    VariantView {
        differs_by: differs_by.collect(),
        status: Some(held.status.as_u16()),
        age_seconds: held.age.as_secs_f64(),
        fresh_for_seconds: held.fresh_for_seconds,
        state: held.standing.as_str(),
        is_chosen: held.is_chosen,
    }
}

/// What is stored under the same key for other requests.
fn of_variants(dry: &DryRun) -> Vec<NearView> {
    let Some(key) = &dry.key else { return Vec::new() };
    let is_near = |held: &&Held| {
        !held.differs_by.is_empty() && !held.is_chosen && held.standing != Standing::Purged
    };
    let all = dry.memory.iter().filter(is_near).take(NEAREST);
    all.map(|held| NearView {
        key: key.to_string(),
        differs: held.differs_by.iter().cloned().map(differ).collect(),
        says: words::differs(&held.differs_by),
    })
    .collect()
}

fn verdict(dry: &DryRun) -> VerdictView {
    let verdict = match dry.step {
        Step::Serve if dry.reason == Reason::Hit => "hit",
        Step::ServeFromBelow if dry.reason == Reason::Shared => "hit",
        Step::Serve | Step::ServeAndRefresh(_) | Step::ServeFromBelow => "stale",
        Step::Ask { .. } => "miss",
        Step::Pass => "pass",
        Step::Refuse => "refused",
    };
    VerdictView { verdict, reason: dry.reason.to_string(), says: words::why(dry) }
}

/// What is answered from what is stored, and what the cache has no part in, is so whatever cookies there are.
fn personal(dry: &DryRun, cookies: Vec<String>) -> Option<PersonalView> {
    let is_asked = matches!(dry.step, Step::Ask { .. } | Step::Pass | Step::Refuse);
    let is_keyed = dry.key.is_some() || dry.reason == Reason::Cookie;
    (is_asked && is_keyed && !cookies.is_empty()).then(|| words::personal(cookies))
}

fn asks_origin(dry: &DryRun) -> bool {
    use larder::http::RefreshOutlook::Begins;
    match dry.step {
        Step::Ask { .. } => dry.waits_for.is_none(),
        Step::Pass => true,
        Step::ServeAndRefresh(outlook) => outlook == Begins,
        Step::ServeFromBelow => dry.reason != Reason::Shared,
        Step::Serve | Step::Refuse => false,
    }
}

/// What is known of why it is gone: it still lies in memory, and a purge by tag has named it; or it was there, and it is
/// remembered why it went.
fn gone(cache: &HttpCache, dry: &DryRun) -> Option<GoneView> {
    if let Some(tag) = dry.purged_by.first() {
        let what = format!("tag {tag}");
        let says = format!("purged by {what}");
        return Some(GoneView { cause: "purged", at: None, says, purges: vec![what] });
    }
    let key = dry.key.as_ref().filter(|_| dry.memory.is_empty())?;
    cache.gone(key).map(GoneView::of)
}

/// A cache by itself: its own rules, and no routes.
impl Explain for HttpCache {
    fn explain(&self, question: Question) -> BoxFuture<'_, Result<Explained, Problem>> {
        async move {
            let Question { method, uri, headers, policy, .. } = question;
            if policy.is_some() {
                let detail = "policy: this cache has no configuration that another could replace";
                return Err(Problem::new(
                    http::StatusCode::UNPROCESSABLE_ENTITY,
                    super::question::TITLE,
                    detail,
                ));
            }
            let mut request = Request::new(());
            *request.method_mut() = method.clone();
            *request.uri_mut() = uri.clone();
            *request.headers_mut() = headers;
            let policy = Arc::new(self.policy().clone());
            request.extensions_mut().insert(Rules(Arc::clone(&policy)));
            let before = Before {
                policy,
                route: None,
                service: "the origin".to_owned(),
                remarks: Vec::new(),
                remarks_of_service: Vec::new(),
            };
            let told = told_of(self, request, &uri, before).await;
            let request = RequestView { method: method.to_string(), url: uri.to_string() };
            let at = time(SystemTime::now());
            Ok(Explained { at, request, told, last: None, with_policy: None })
        }
        .boxed()
    }

    fn request(&self, _: &str) -> Option<PastRequest> {
        None
    }
}
