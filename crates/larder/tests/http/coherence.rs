//! HTTP caches above a tier that knows its readers: each variant is gone by for as long as it may be, and no longer.

use std::time::Duration;

use http::Response;
use larder::{
    Cache, Clock, ManualClock, Purge, Tier, TierState,
    http::{Body, HttpCache, Policy, Settings, Variants},
    lower::{self, InProcess},
};
use tokio::time::{Instant, sleep};

use crate::support::{Answer, Origin, Site, get_with, ok, read, secs};

const SHORT: Duration = Duration::from_millis(400);

fn tier() -> InProcess {
    InProcess::new(Clock::system()).with_readers()
}

/// One that has heard of its tier. It goes by the machine's clock.
async fn site(tier: &InProcess) -> Site {
    let settings = lower::Settings { max_incoherence: SHORT, ..lower::Settings::default() };
    let store = Cache::<Variants>::builder().lower_http_with(tier.clone(), settings).build();
    let cache = HttpCache::with_settings(store, Policy::standard(), Settings::default());
    until(|| cache.cache().stats().lower.is_trusted).await;
    Site { clock: ManualClock::new(), cache, origin: Origin::default() }
}

async fn until(is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < secs(20), "it does not come true");
        sleep(Duration::from_millis(1)).await;
    }
}

fn in_lang(lang: &str, text: &str) -> Response<Body> {
    let fields = [("cache-control", "max-age=3600"), ("vary", "accept-language")];
    ok(&fields, format!("{lang} {text}"))
}

/// What is answered, by the cache or else by the origin with `text`.
async fn asked(site: &Site, lang: &'static str, text: &str) -> Answer {
    let reading = site.ask(get_with("/a", &[("accept-language", lang)]));
    until(|| reading.is_finished() || site.origin.waiting() > 0).await;
    if site.origin.waiting() > 0 {
        site.origin.answer(in_lang(lang, text));
    }
    read(reading).await
}

#[tokio::test]
async fn a_purge_that_holds_reaches_the_memory_of_another_process_that_asks_for_nothing() {
    let tier = tier();
    let (one, other) = (site(&tier).await, site(&tier).await);
    for site in [&one, &other] {
        asked(site, "de", "old").await;
        assert!(asked(site, "de", "new").await.is_hit());
    }
    let purge = Purge::everything().hard().wait(Tier::Shared);
    let receipt = one.cache.purge(purge).await.unwrap();
    assert_eq!(receipt.tiers[1].state, TierState::Applied { by: 2, of: 2 });
    assert_eq!(asked(&other, "de", "new").await.text(), "de new");
}

#[tokio::test]
async fn a_variant_that_is_fetched_without_the_tier_vouches_for_no_other() {
    let tier = tier();
    let site = site(&tier).await;
    asked(&site, "de", "before").await;
    tier.go_away();
    until(|| !site.cache.cache().stats().lower.is_trusted).await;
    sleep(SHORT).await;
    // While new ones come under the same key, none is used for longer than it may be.
    let began = Instant::now();
    asked(&site, "fr", "alone").await;
    let fr_until = began + SHORT + Duration::from_millis(100);
    assert_eq!(asked(&site, "de", "alone").await.text(), "de alone");
    while Instant::now() < fr_until {
        asked(&site, "en", "alone").await;
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(asked(&site, "fr", "anew").await.text(), "fr anew");
    // Many readers in that time cost a fetch of each.
    assert!(site.origin.calls() <= 10, "{}", site.origin.calls());
    tier.come_back();
    until(|| site.cache.cache().stats().lower.is_trusted).await;
    assert!(asked(&site, "fr", "never").await.is_hit());
}
