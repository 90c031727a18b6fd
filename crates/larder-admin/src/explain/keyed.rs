//! Keyed: a dry run of a library's cache, as the API tells it. Such a cache knows keys alone; what a request means, and by
//! which key it is looked up, knows the application.

use std::time::{Duration, SystemTime};

use larder::{
    Cache, DryRead, Freshness, ReadBelow, ReadStep, Reason, RefreshOutlook,
    listing::{Held, HeldState},
};

use super::{
    GoneView, KeyView, NextView, RouteView, Says, TierView, Told, VariantView, VerdictView, time,
};

/// What the application knows of a request.
#[derive(Clone, Debug)]
pub struct KeyedBefore {
    /// Its route, if the application has some.
    pub route: Option<RouteView>,
    /// Its key, and what that is made of.
    pub key: KeyView,
    /// What is asked where the cache has no answer, as a sentence can name it.
    pub service: String,
}

impl Told {
    /// A request in which the cache has no part.
    pub fn without_cache(
        route: Option<RouteView>,
        verdict: &'static str,
        reason: Reason,
        says: impl Into<String>,
        next: NextView,
    ) -> Told {
        let verdict = VerdictView { verdict, reason: reason.to_string(), says: says.into() };
        Told {
            route,
            key: None,
            tiers: Vec::new(),
            flight: None,
            verdict,
            personal: None,
            next,
            nearest: Vec::new(),
            looked: None,
            gone: None,
        }
    }
}

/// What would become of a request that `cache` is asked about by this key, as [`Cache::answer`] does. For an application's
/// [`Explain`](super::Explain).
pub async fn told_of_key<V: Clone + Send + Sync + 'static>(
    cache: &Cache<V>,
    before: KeyedBefore,
) -> Told {
    let KeyedBefore { route, key, service } = before;
    let dry = cache.dry_run(key.key.as_str()).await;
    let gone = gone(cache, &dry, &key.key);
    Told {
        tiers: tiers(&dry),
        flight: flight(&dry),
        verdict: verdict(&dry),
        next: next(&dry, &service),
        gone,
        key: Some(key),
        ..Told::without_cache(route, "", dry.reason, "", NextView::default())
    }
}

fn tiers(dry: &DryRead) -> Vec<TierView> {
    let memory = match &dry.held {
        None => tier("memory", "nothing", "Nothing is stored under this key.".to_owned(), None),
        Some(held) => {
            let holds = if held.state == HeldState::Purged { "nothing" } else { "this" };
            tier("memory", holds, of_held(held), Some(variant(held, dry)))
        }
    };
    let shared = match dry.below {
        ReadBelow::NotThere => None,
        ReadBelow::Silent => {
            let says = "The shared tier does not answer: it counts as empty.";
            Some(tier("shared", "nothing", says.to_owned(), None))
        }
        ReadBelow::Nothing => {
            let says = "Nothing of use is stored under this key.";
            Some(tier("shared", "nothing", says.to_owned(), None))
        }
        ReadBelow::Holds { freshness, age } => {
            let (state, seconds, says) = of_freshness(freshness);
            let view = VariantView {
                differs_by: Vec::new(),
                status: None,
                age_seconds: age.as_secs_f64(),
                fresh_for_seconds: seconds,
                state,
                is_chosen: dry.step == ReadStep::ServeFromBelow,
            };
            Some(tier("shared", "this", says, Some(view)))
        }
    };
    [Some(memory), shared].into_iter().flatten().collect()
}

fn tier(
    tier: &'static str,
    holds: &'static str,
    says: String,
    variant: Option<VariantView>,
) -> TierView {
    TierView { tier, holds, says, variants: variant.into_iter().collect() }
}

fn variant(held: &Held, dry: &DryRead) -> VariantView {
    VariantView {
        differs_by: Vec::new(),
        status: None,
        age_seconds: held.age.as_secs_f64(),
        fresh_for_seconds: held.freshness.seconds(),
        state: held.state.as_str(),
        is_chosen: matches!(
            dry.step,
            ReadStep::Serve | ReadStep::ServeAndRefresh(_) | ReadStep::Rescue
        ),
    }
}

fn of_held(held: &Held) -> String {
    let for_ = seconds(Duration::from_secs_f64(held.freshness.seconds().abs().min(1e12)));
    match held.state {
        HeldState::Fresh => format!("This is stored, and fresh for {for_}."),
        HeldState::StaleUsable => {
            format!("This is stored, stale since {for_}, and may be served while it is refreshed.")
        }
        HeldState::Rescue => {
            format!("This is stored, stale since {for_}, and may stand in where the fetch fails.")
        }
        HeldState::Over => {
            format!("This is stored, stale since {for_}, and serves nobody any more.")
        }
        HeldState::Purged => {
            "What lies here has been purged by one of its tags, and goes when room is needed."
                .to_owned()
        }
    }
}

/// The state, how long it is fresh, and a sentence.
fn of_freshness(freshness: Freshness) -> (&'static str, f64, String) {
    match freshness {
        Freshness::Fresh { left } => {
            let says = format!("This is stored, and fresh for {}.", seconds(left));
            ("fresh", left.as_secs_f64(), says)
        }
        Freshness::StaleWhileRevalidate { stale } => {
            let says = format!("This is stored, and stale since {}.", seconds(stale));
            ("stale-usable", -stale.as_secs_f64(), says)
        }
        Freshness::StaleIfError { stale } => {
            let says = format!(
                "This is stored, stale since {}, and may stand in where the fetch fails.",
                seconds(stale)
            );
            ("rescue", -stale.as_secs_f64(), says)
        }
        Freshness::Expired => ("over", 0.0, "What is stored serves nobody any more.".to_owned()),
    }
}

fn flight(dry: &DryRead) -> Option<Says> {
    let says = |since| format!("a fetch of this has been under way for {}", seconds(since));
    dry.under_way_for.map(says).map(|says| Says { says })
}

fn verdict(dry: &DryRead) -> VerdictView {
    let verdict = match dry.step {
        ReadStep::Serve | ReadStep::ServeFromBelow | ReadStep::Fail => "hit",
        ReadStep::ServeAndRefresh(_) if dry.reason == Reason::Hit => "hit",
        ReadStep::ServeAndRefresh(_) | ReadStep::Rescue => "stale",
        ReadStep::Wait => "collapsed",
        ReadStep::Fetch { .. } => "miss",
    };
    let says = match dry.reason {
        // Otherwise the word is for an answer that a purge has overtaken.
        Reason::Purged => "What was stored has been purged.",
        reason => reason.says(),
    };
    VerdictView { verdict, reason: dry.reason.to_string(), says: says.to_owned() }
}

fn next(dry: &DryRead, service: &str) -> NextView {
    let (asks_origin, says) = match dry.step {
        ReadStep::Serve => (
            false,
            "The next request is answered from memory, and no service is asked.".to_owned(),
        ),
        ReadStep::ServeAndRefresh(outlook) => {
            let refresh = match outlook {
                RefreshOutlook::Begins => format!("{service} is asked behind its reader's back"),
                RefreshOutlook::UnderWay => "a refresh is under way".to_owned(),
                RefreshOutlook::HeldBack { left } => format!(
                    "{service} is not asked: the last refresh failed, and the next is held back for {}",
                    seconds(left)
                ),
            };
            let says =
                format!("The next request is answered at once with what is stored; {refresh}.");
            (outlook == RefreshOutlook::Begins, says)
        }
        ReadStep::Rescue => (
            false,
            format!(
                "The next request is answered with what is stale: {service} failed a moment ago."
            ),
        ),
        ReadStep::Fail => (
            false,
            format!("The next request gets the error of the last one: {service} failed a moment ago."),
        ),
        ReadStep::Wait => (
            false,
            "The next request waits for the fetch that is under way, and takes its answer."
                .to_owned(),
        ),
        ReadStep::ServeFromBelow => (
            false,
            "The next request is answered from the shared tier, and what lies there comes into memory."
                .to_owned(),
        ),
        ReadStep::Fetch { may_rescue } => {
            let rescue = if may_rescue { "; if that fails, what is stale stands in" } else { "" };
            let silent = match dry.below {
                ReadBelow::Silent => " The shared tier does not answer.",
                _ => "",
            };
            let says = format!(
                "The next request asks {service}; others who want the same wait for its answer{rescue}.{silent}"
            );
            (true, says)
        }
    };
    NextView { asks_origin, says }
}

/// It still lies in memory, and one of its tags was purged; or it was there, and it is remembered why it went.
fn gone<V: Clone + Send + Sync + 'static>(
    cache: &Cache<V>,
    dry: &DryRead,
    key: &str,
) -> Option<GoneView> {
    match &dry.held {
        None => cache.gone(key).map(GoneView::of),
        Some(held) if held.state == HeldState::Purged => {
            let purges = held.tags.iter().map(|tag| format!("tag {tag}")).collect();
            let says = "purged by one of its tags".to_owned();
            Some(GoneView { cause: "purged", at: None, says, purges })
        }
        Some(_) => None,
    }
}

/// As people say it: three digits of what is short, whole seconds of what is not.
pub(super) fn seconds(time: Duration) -> String {
    match time.as_secs() {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        10..600 => format!("{} s", time.as_secs()),
        long => humantime::format_duration(Duration::from_secs(long)).to_string(),
    }
}

impl GoneView {
    /// Why `gone` went, and when.
    pub(super) fn of(gone: larder::GoneKey) -> GoneView {
        let by = gone.purge.map(|purge| (purge.at, format!(" by {}", purge.what)));
        // Who purges by a tag takes nothing out; that comes when room is needed, and is not what was asked.
        let (at, by) = by.unwrap_or((gone.at, String::new()));
        let ago = SystemTime::now().duration_since(at).unwrap_or_default();
        let ago = Duration::from_secs(ago.as_secs());
        let cause = gone.cause.as_str();
        let says = format!("{cause} {} ago{by}", humantime::format_duration(ago));
        GoneView { cause, at: Some(time(at)), says, purges: Vec::new() }
    }
}
