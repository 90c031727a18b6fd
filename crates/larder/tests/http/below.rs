//! A tier below memory: what it has answers as if it lay in memory, and nothing that was purged comes back from it.

use bytes::Bytes;
use http::Response;
use larder::{
    Cache, ManualClock, Mode, Purge, Scope, Tier, TierState,
    http::{Body, HttpCache, Policy, Settings, Variants},
    lower::{self, Call, InProcess, LogPart, LowerTier, Point},
};

use crate::support::{
    Answer, Origin, Seen, Site, answer, chunk, drip, failed, fresh, get, get_with, key, ok, read,
    request, secs, settle, without_length,
};

/// So much of a body in pieces lies in its head.
const BEGIN: usize = 4 << 10;

/// HTTP caches over one tier, as processes are.
pub(crate) struct Cluster {
    pub(crate) tier: InProcess,
    pub(crate) clock: ManualClock,
    pub(crate) origin: Origin,
}

impl Cluster {
    pub(crate) fn new() -> Self {
        let clock = ManualClock::new();
        Cluster { tier: InProcess::new(clock.clock()), clock, origin: Origin::default() }
    }

    pub(crate) fn site(&self) -> Site {
        self.site_with(Policy::standard(), lower::Settings::default())
    }

    pub(crate) fn site_with(&self, policy: Policy, settings: lower::Settings) -> Site {
        let builder = Cache::<Variants>::builder().clock(self.clock.clock());
        let store = builder.lower_http_with(self.tier.clone(), settings).build();
        let cache = HttpCache::with_settings(store, policy, Settings::default());
        Site { clock: self.clock.clone(), cache, origin: self.origin.clone() }
    }

    /// A site that has fetched this, which is written below as well.
    async fn filled(&self, path: &str, with: Response<Body>) -> Site {
        let site = self.site();
        site.fill(path, with).await;
        settle().await;
        site
    }

    /// What lies there under a key, as long as it is short.
    pub(crate) async fn bodies(&self, path: &str) -> Vec<Bytes> {
        let heads = self.tier.heads(&key(path), LogPart::Nothing).await.unwrap();
        let body = |record: lower::Record| match record.head.body {
            lower::Body::Whole(whole) => whole,
            lower::Body::Pieces { bytes, .. } => panic!("{bytes} bytes in pieces"),
        };
        heads.records.into_iter().map(body).collect()
    }

    pub(crate) fn calls(&self, call: Call) -> u64 {
        self.tier.calls(call)
    }
}

/// Its bytes are all different places.
fn long(length: usize) -> Bytes {
    (0..length).map(|place| (place / 7 * 31 + place) as u8).collect()
}

fn tagged(body: impl Into<Bytes>) -> Response<Body> {
    let fields = [("cache-control", "max-age=60, stale-if-error=600"), ("surrogate-key", "tag")];
    ok(&fields, body)
}

pub(crate) async fn purged(site: &Site, purge: Purge) {
    let receipt = site.cache.purge(Purge { wait: Tier::Shared, ..purge }).await.unwrap();
    let state = &receipt.tiers.last().unwrap().state;
    assert_eq!(state, &TierState::Applied { by: 1, of: 1 });
}

fn scopes() -> [Scope; 4] {
    let tag = Scope::Tag("tag".to_owned());
    [Scope::Key(key("/a")), Scope::Prefix(key("/")), tag, Scope::Everything]
}

/// The origin is asked, and refuses.
async fn is_fetched_anew(site: &Site, path: &str, why: &str) {
    let reading = site.ask(get(path));
    settle().await;
    assert_eq!(site.origin.waiting(), 1, "{why}: something was there");
    site.origin.refuse();
    reading.await.unwrap().ok();
}

#[tokio::test(start_paused = true)]
async fn what_one_process_has_fetched_answers_in_another_and_is_in_its_memory_then() {
    let cluster = Cluster::new();
    let one = cluster.filled("/a", fresh("text")).await;
    assert_eq!((cluster.tier.records(), one.store().stats().lower.writes), (1, 1));
    cluster.clock.advance(secs(20));
    let other = cluster.site();
    let first = other.get("/a").await;
    assert_eq!((first.text(), first.said().as_str()), ("text", "Larder;hit;ttl=40;detail=shared"));
    assert_eq!((first.field("age").as_str(), cluster.origin.calls()), ("20", 1));
    assert!(first.field("server-timing").starts_with("lower;"), "{first:?}");
    let heads = cluster.calls(Call::Heads);
    let second = other.get("/a").await;
    assert!(
        second.said().ends_with("detail=hit")
            && second.field("server-timing").starts_with("cache;")
    );
    assert_eq!(cluster.calls(Call::Heads), heads, "a hit asks nothing");
    let stats = other.store().stats();
    assert_eq!((stats.fetches, stats.misses, stats.hits, stats.lower.hits), (0, 1, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn each_variant_is_a_record_of_its_own() {
    let cluster = Cluster::new();
    let one = cluster.site();
    let asks = |lang: &'static str| get_with("/a", &[("accept-language", lang)]);
    let in_lang = |lang: &str| {
        let fields =
            [("cache-control", "max-age=60"), ("vary", "accept-language"), ("etag", "\"1\"")];
        ok(&fields, lang.to_owned())
    };
    for lang in ["de", "fr"] {
        one.answered(asks(lang), in_lang(lang)).await;
    }
    assert_eq!((cluster.tier.records(), cluster.calls(Call::Commit)), (2, 2));
    let other = cluster.site();
    for lang in ["fr", "de"] {
        let found = other.send(asks(lang)).await;
        assert_eq!((found.text(), found.is_hit()), (lang, true));
    }
    // One is fetched anew: the other stays as it is.
    let reading =
        other.ask(get_with("/a", &[("accept-language", "de"), ("cache-control", "no-cache")]));
    settle().await;
    cluster.origin.answer(in_lang("neu"));
    read(reading).await;
    settle().await;
    assert_eq!(cluster.tier.records(), 2);
    let third = cluster.site();
    assert_eq!(third.send(asks("de")).await.text(), "neu");
    assert_eq!(third.send(asks("fr")).await.text(), "fr");
    assert_eq!(cluster.origin.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_key_has_no_more_records_below_than_variants_in_memory() {
    let cluster = Cluster::new();
    let site = cluster.site_with(Policy::standard().max_variants(3), lower::Settings::default());
    for number in 0..10 {
        let fields = [("cache-control", "max-age=60"), ("vary", "x-lang")];
        let asked = get_with("/a", &[("x-lang", &*number.to_string())]);
        site.answered(asked, ok(&fields, long(20_000))).await;
    }
    assert_eq!(cluster.tier.records(), 3);
}

/// How much of their bodies the heads of `/a` carry, by how long that is.
async fn begins(cluster: &Cluster) -> Vec<usize> {
    let heads = cluster.tier.heads(&key("/a"), LogPart::Nothing).await.unwrap();
    let begin = |record: &lower::Record| match &record.head.body {
        lower::Body::Pieces { begin, .. } => begin.len(),
        lower::Body::Whole(whole) => panic!("{} bytes in a head", whole.len()),
    };
    let mut begins: Vec<_> = heads.records.iter().map(begin).collect();
    begins.sort_unstable();
    begins
}

#[tokio::test(start_paused = true)]
async fn of_many_variants_the_heads_carry_less_of_their_bodies() {
    let cluster = Cluster::new();
    let site = cluster.site();
    let filled = async |variant: usize| {
        let fields = [("cache-control", "max-age=60"), ("vary", "x-lang")];
        let asked = get_with("/a", &[("x-lang", &*variant.to_string())]);
        site.answered(asked, ok(&fields, long(200_000))).await;
    };
    for variant in 0..5 {
        filled(variant).await;
    }
    assert_eq!(begins(&cluster).await, [BEGIN; 5]);
    for variant in 5..32 {
        filled(variant).await;
    }
    let begins = begins(&cluster).await;
    assert_eq!((begins.len(), begins[0]), (32, (64 << 10) / 31));
    assert!(begins.iter().sum::<usize>() < 256 << 10, "{begins:?}");
    for variant in [0, 31] {
        let asked = get_with("/a", &[("x-lang", &*variant.to_string())]);
        let found = cluster.site().send(asked).await;
        assert_eq!((found.body.clone(), found.is_hit()), (long(200_000), true));
    }
}

#[tokio::test(start_paused = true)]
async fn a_confirmation_writes_a_head_and_no_body() {
    let cluster = Cluster::new();
    let fields = [("cache-control", "max-age=60"), ("etag", "\"one\"")];
    let one = cluster.filled("/a", ok(&fields, long(1 << 20))).await;
    let pieces = cluster.calls(Call::Write);
    assert_eq!(pieces, 8);
    // By the process that has it in memory, and by one that has nothing but what is below.
    let mut read = 0;
    for site in [one, cluster.site()] {
        cluster.clock.advance(secs(70));
        let confirmed = site.answered(get("/a"), answer(304, &fields, "")).await;
        assert_eq!(cluster.origin.last().field("if-none-match"), "\"one\"");
        assert_eq!(confirmed.body, long(1 << 20));
        assert!(confirmed.said().contains("fwd=stale"), "{confirmed:?}");
        assert_eq!(cluster.calls(Call::Write), pieces, "its body lies there already");
        // Who has it in memory reads nothing but heads.
        assert_eq!(cluster.calls(Call::Piece), read, "{:?}", site.cache);
        read += 8;
    }
    let found = cluster.site().get("/a").await;
    assert_eq!((found.body.len(), found.is_hit(), cluster.origin.calls()), (1 << 20, true, 3));
    // What has changed is written, in the place of the old one.
    cluster.clock.advance(secs(70));
    let changed = long(1 << 20).slice(1..);
    cluster.site().answered(get("/a"), ok(&fields, changed.clone())).await;
    assert_eq!((cluster.calls(Call::Write), cluster.tier.records()), (2 * pieces, 1));
    assert_eq!(cluster.site().get("/a").await.body, changed);
}

#[tokio::test(start_paused = true)]
async fn a_long_body_is_streamed_to_all_who_wait_and_is_in_memory_then() {
    let cluster = Cluster::new();
    let body = long(1 << 20);
    cluster.filled("/a", fresh(body.clone())).await;
    let other = cluster.site();
    cluster.tier.hold(Call::Piece, Point::Answer);
    let readers: Vec<_> = (0..5).map(|_| other.ask(get("/a"))).collect();
    let ranged = other.ask(get_with("/a", &[("range", "bytes=100-199")]));
    let head = other.ask(request("HEAD", "/a", &[]));
    settle().await;
    // The first piece is on its way, and they have what the head brought.
    let mut first = readers.into_iter().map(|reader| async { reader.await.unwrap().unwrap() });
    let mut answer = first.next().unwrap().await;
    assert_eq!(answer.headers()["content-length"], "1048576");
    assert_eq!(chunk(&mut answer).await.unwrap().unwrap(), body[..BEGIN]);
    // The second piece is asked for before the first is read.
    cluster.tier.release(0);
    settle().await;
    assert_eq!(cluster.calls(Call::Piece), 2);
    cluster.tier.release_all();
    for reader in first {
        assert_eq!(Answer::read(reader.await).await.body, body);
    }
    let ranged = read(ranged).await;
    assert_eq!((ranged.status, &ranged.body[..]), (206, &body[100..200]));
    let head = read(head).await;
    assert_eq!((head.status, head.field("content-length").as_str()), (200, "1048576"));
    drop(answer);
    settle().await;
    let pieces = cluster.calls(Call::Piece);
    assert_eq!(other.get("/a").await.body, body);
    assert_eq!((cluster.calls(Call::Piece), cluster.origin.calls()), (pieces, 1));
    assert_eq!(pieces, 8, "one read for all of them");
}

#[tokio::test(start_paused = true)]
async fn a_range_a_head_and_a_condition_are_answered_from_below() {
    let cluster = Cluster::new();
    let fields = [("cache-control", "max-age=60"), ("etag", "\"one\"")];
    cluster.filled("/a", ok(&fields, "0123456789")).await;
    let range = cluster.site().send(get_with("/a", &[("range", "bytes=2-4")])).await;
    assert_eq!((range.status, range.text()), (206, "234"));
    let head = cluster.site().send(request("HEAD", "/a", &[])).await;
    assert_eq!((head.status, head.field("content-length").as_str()), (200, "10"));
    let same = cluster.site().send(get_with("/a", &[("if-none-match", "\"one\"")])).await;
    assert_eq!(same.status, 304);
    assert_eq!(cluster.origin.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lost_body_is_a_miss_and_one_that_breaks_off_is_not_kept() {
    // What comes in one piece is whole or gone.
    let cluster = Cluster::new();
    cluster.filled("/a", fresh(long(128 << 10))).await;
    assert_eq!(cluster.calls(Call::Write), 1);
    cluster.tier.lose_pieces();
    is_fetched_anew(&cluster.site(), "/a", "its body is gone").await;

    let cluster = Cluster::new();
    cluster.filled("/a", fresh(long((128 << 10) + 1))).await;
    cluster.tier.lose_pieces();
    let other = cluster.site();
    let broken = other.get("/a").await;
    assert!(!broken.is_whole && broken.body == long(BEGIN), "{}", broken.body.len());
    settle().await;
    is_fetched_anew(&other, "/a", "it broke off").await;

    let cluster = Cluster::new();
    cluster.filled("/a", fresh(long(1 << 20))).await;
    let other = cluster.site();
    cluster.tier.hold(Call::Piece, Point::Request);
    let reading = other.ask(get("/a"));
    settle().await;
    cluster.tier.release(0);
    settle().await;
    cluster.tier.lose_pieces();
    cluster.tier.release_all();
    let broken = read(reading).await;
    assert!(!broken.is_whole && broken.body.len() == BEGIN + (128 << 10));
    assert_eq!(other.store().stats().entries, 0);
    is_fetched_anew(&other, "/a", "it broke off").await;
}

#[tokio::test(start_paused = true)]
async fn readers_of_a_cold_key_of_several_processes_cause_one_request() {
    let cluster = Cluster::new();
    let sites = [cluster.site(), cluster.site(), cluster.site()];
    let readers: Vec<_> = (0..30).map(|nth| sites[nth % 3].ask(get("/a"))).collect();
    settle().await;
    assert_eq!(cluster.origin.calls(), 1);
    cluster.origin.answer(fresh(long(300_000)));
    for reader in readers {
        assert_eq!(read(reader).await.body, long(300_000));
    }
    assert_eq!(cluster.origin.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_process_that_fetches_another_variant() {
    let cluster = Cluster::new();
    let asks = |lang: &'static str| get_with("/a", &[("x-lang", lang)]);
    let fields = [("cache-control", "max-age=60"), ("vary", "x-lang")];
    let (one, other) = (cluster.site(), cluster.site());
    // From this one both know that it varies.
    one.answered(asks("it"), ok(&fields, "it")).await;
    let first = one.ask(asks("de"));
    settle().await;
    let second = other.ask(asks("fr"));
    settle().await;
    assert_eq!(cluster.origin.waiting(), 2);
    for (reading, lang) in [(first, "de"), (second, "fr")] {
        cluster.origin.answer(ok(&fields, lang));
        assert_eq!(read(reading).await.text(), lang);
    }
}

#[tokio::test(start_paused = true)]
async fn what_may_not_be_kept_is_not_written() {
    for (asked, fields) in [
        (vec![], vec![("cache-control", "private, max-age=60")]),
        (vec![], vec![("cache-control", "no-store")]),
        (vec![("authorization", "Basic eDp5")], vec![("cache-control", "max-age=60")]),
        (vec![("cookie", "session=1")], vec![("cache-control", "max-age=60")]),
        (vec![], vec![("cache-control", "max-age=60"), ("set-cookie", "a=b")]),
        (vec![("range", "bytes=0-1")], vec![("cache-control", "max-age=60")]),
    ] {
        let cluster = Cluster::new();
        let site = cluster.site_with(Policy::guarded(), lower::Settings::default());
        let answer = match asked.first() {
            Some(("range", _)) => {
                let fields = [&fields[..], &[("content-range", "bytes 0-1/9")]].concat();
                answer(206, &fields, "01")
            }
            _ => ok(&fields, "text"),
        };
        site.answered(get_with("/a", &asked), answer).await;
        for body in cluster.bodies("/a").await {
            assert_eq!(body, "", "{asked:?} {fields:?}");
        }
        // And nobody else waits for that any longer.
        let reading = cluster.site().ask(get("/a"));
        settle().await;
        assert_eq!(cluster.origin.waiting(), 1);
        cluster.origin.refuse();
        failed(reading).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_stale_below_answers_at_once_where_it_may_and_is_refreshed() {
    let cluster = Cluster::new();
    let fields = [("cache-control", "max-age=60, stale-while-revalidate=60"), ("etag", "\"1\"")];
    for body in [Bytes::from("short"), long(300_000)] {
        cluster.filled("/a", ok(&fields, body.clone())).await;
        cluster.clock.advance(secs(70));
        let other = cluster.site();
        let readers: Vec<_> = (0..3).map(|_| other.ask(get("/a"))).collect();
        settle().await;
        assert_eq!(cluster.origin.waiting(), 1, "one refresh behind them");
        for reader in readers {
            let stale = read(reader).await;
            assert_eq!(stale.body, body);
            assert!(
                stale.said().contains("hit;ttl=-10;detail=stale-while-revalidate"),
                "{stale:?}"
            );
        }
        assert_eq!(cluster.origin.last().field("if-none-match"), "\"1\"");
        cluster.origin.answer(answer(304, &fields, ""));
        settle().await;
        assert!(other.get("/a").await.is_hit());
        let found = cluster.site().get("/a").await;
        assert!(found.is_hit() && found.body == body, "the confirmation is below");
        purged(&other, Purge::key(key("/a")).hard()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn one_reader_of_what_is_stale_below_is_enough_for_a_refresh() {
    let cluster = Cluster::new();
    let fields = [("cache-control", "max-age=60, stale-while-revalidate=60")];
    cluster.filled("/a", ok(&fields, "old")).await;
    cluster.clock.advance(secs(70));
    let other = cluster.site();
    assert_eq!(other.answered(get("/a"), ok(&fields, "new")).await.text(), "old");
    assert_eq!(other.get("/a").await.text(), "new");
}

#[tokio::test(start_paused = true)]
async fn a_refresh_takes_what_another_process_has_refreshed() {
    let cluster = Cluster::new();
    let fields = [("cache-control", "max-age=60, stale-while-revalidate=60")];
    let one = cluster.filled("/a", ok(&fields, "old")).await;
    let other = cluster.site();
    other.get("/a").await;
    cluster.clock.advance(secs(70));
    assert_eq!(one.answered(get("/a"), ok(&fields, "new")).await.text(), "old");
    settle().await;
    let calls = cluster.origin.calls();
    assert_eq!(other.get("/a").await.text(), "old");
    settle().await;
    assert_eq!(other.get("/a").await.text(), "new");
    assert_eq!(cluster.origin.calls(), calls, "its refresh asked below");
}

#[tokio::test(start_paused = true)]
async fn a_refresh_takes_nothing_stale_for_fresh_though_it_is_newer_than_what_is_in_memory() {
    let cluster = Cluster::new();
    let fields = [("cache-control", "max-age=60, stale-while-revalidate=600")];
    let one = cluster.filled("/a", ok(&fields, "old")).await;
    let other = cluster.site();
    other.get("/a").await;
    cluster.clock.advance(secs(70));
    one.answered(get("/a"), ok(&fields, "new")).await;
    cluster.clock.advance(secs(70));
    assert_eq!(other.answered(get("/a"), ok(&fields, "newest")).await.text(), "old");
    assert_eq!(other.get("/a").await.text(), "newest");
    assert_eq!(cluster.site().get("/a").await.text(), "newest");
}

#[tokio::test(start_paused = true)]
async fn what_is_stale_below_stands_in_for_an_origin_that_fails() {
    let cluster = Cluster::new();
    for body in [Bytes::from("short"), long(300_000)] {
        cluster.filled("/a", tagged(body.clone())).await;
        cluster.clock.advance(secs(70));
        for refuses in [true, false] {
            let other = cluster.site();
            let reading = other.ask(get("/a"));
            settle().await;
            match refuses {
                true => cluster.origin.refuse(),
                false => cluster.origin.answer(answer(503, &[], "")),
            }
            let stale = read(reading).await;
            assert_eq!((stale.status, stale.body), (200, body.clone()));
            assert_eq!(other.store().stats().lower.rescues, 1);
        }
        purged(&cluster.site(), Purge::key(key("/a")).hard()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_purge_leaves_nothing_below_for_this_process_and_for_others() {
    for scope in scopes() {
        for mode in [Mode::Soft, Mode::Hard] {
            let what = format!("{scope}, {mode}");
            let cluster = Cluster::new();
            let one = cluster.filled("/a", tagged("old")).await;
            let other = cluster.site();
            assert!(other.get("/a").await.is_hit());
            let purge = Purge { scope: scope.clone(), mode, wait: Tier::Shared, asked: None };
            purged(&one, purge).await;
            other.store().catch_up().await.unwrap();
            for site in [&one, &other, &cluster.site()] {
                is_fetched_anew(site, "/a", &what).await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_purge_that_is_not_acknowledged_yet_holds_here() {
    for scope in scopes() {
        let cluster = Cluster::new();
        let one = cluster.filled("/a", tagged(long(300_000))).await;
        cluster.tier.hold(Call::Append, Point::Request);
        let purge =
            Purge { scope: scope.clone(), mode: Mode::Hard, wait: Tier::Memory, asked: None };
        one.cache.purge(purge).await.unwrap();
        is_fetched_anew(&one, "/a", &scope.to_string()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_purged_while_it_is_read_from_below_is_not_handed_out() {
    for (call, body) in [
        (Call::Heads, Bytes::from("short")),
        (Call::Heads, long(300_000)),
        (Call::Piece, long(100_000)),
    ] {
        for scope in scopes() {
            let cluster = Cluster::new();
            cluster.filled("/a", tagged(body.clone())).await;
            let other = cluster.site();
            cluster.tier.hold(call, Point::Answer);
            let before = other.ask(get("/a"));
            settle().await;
            let purge =
                Purge { scope: scope.clone(), mode: Mode::Hard, wait: Tier::Memory, asked: None };
            other.cache.purge(purge).await.unwrap();
            let after = other.ask(get("/a"));
            settle().await;
            cluster.tier.release_all();
            settle().await;
            assert_eq!(cluster.origin.waiting(), 1, "{scope}, {call:?}: one fetch for both");
            cluster.origin.answer(tagged("new"));
            for reader in [before, after] {
                assert_eq!(read(reader).await.text(), "new", "{scope}, {call:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_purged_while_its_body_streams_is_neither_kept_nor_given_to_later_readers() {
    for scope in scopes() {
        let cluster = Cluster::new();
        cluster.filled("/a", tagged(long(400_000))).await;
        let other = cluster.site();
        cluster.tier.hold(Call::Piece, Point::Request);
        let before = other.ask(get("/a"));
        settle().await;
        cluster.tier.release(0);
        settle().await;
        let purge =
            Purge { scope: scope.clone(), mode: Mode::Hard, wait: Tier::Memory, asked: None };
        other.cache.purge(purge).await.unwrap();
        let after = other.ask(get("/a"));
        settle().await;
        assert_eq!(cluster.origin.waiting(), 1, "{scope}");
        cluster.origin.answer(tagged("new"));
        assert_eq!(read(after).await.text(), "new");
        cluster.tier.release_all();
        read(before).await;
        settle().await;
        assert_eq!(other.get("/a").await.text(), "new", "{scope}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_fetched_before_a_purge_is_not_written_after_it() {
    for scope in scopes() {
        let cluster = Cluster::new();
        let (one, other) = (cluster.site(), cluster.site());
        let reading = one.ask(get("/a"));
        settle().await;
        purged(
            &other,
            Purge { scope: scope.clone(), mode: Mode::Hard, wait: Tier::Shared, asked: None },
        )
        .await;
        cluster.origin.answer(tagged(long(300_000)));
        read(reading).await;
        settle().await;
        is_fetched_anew(&cluster.site(), "/a", &scope.to_string()).await;
        assert_eq!((one.store().stats().lower.writes_refused, cluster.tier.records()), (1, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_through_one_process_holds_in_others() {
    let cluster = Cluster::new();
    let one = cluster.filled("/a", tagged("old")).await;
    one.answered(request("PUT", "/a", &[]), answer(204, &[], "")).await;
    settle().await;
    for site in [&one, &cluster.site()] {
        is_fetched_anew(site, "/a", "it was changed").await;
    }
    // Of answers to QUERY only the process knows that has asked for them.
    let query = || {
        let mut query = request("QUERY", "/a", &[("content-type", "text/plain")]);
        *query.body_mut() = Bytes::from_static(b"which").into();
        query
    };
    let cluster = Cluster::new();
    let (one, other) = (cluster.site(), cluster.site());
    assert!(!one.answered(query(), fresh("old")).await.is_hit());
    settle().await;
    assert!(read(one.ask(query())).await.is_hit());
    other.answered(request("PUT", "/a", &[]), answer(204, &[], "")).await;
    settle().await;
    assert_eq!(cluster.site().answered(query(), fresh("new")).await.text(), "new");
    one.store().catch_up().await.unwrap();
    assert_eq!(read(one.ask(query())).await.text(), "new");
    // And so does what a HEAD has shown.
    let cluster = Cluster::new();
    let fields = |tag| [("cache-control", "max-age=60"), ("etag", tag)];
    let one = cluster.filled("/a", ok(&fields("\"1\""), "old")).await;
    let head = request("HEAD", "/a", &[("cache-control", "no-cache")]);
    let mut changed = ok(&fields("\"2\""), "");
    changed.headers_mut().insert("content-length", 7.into());
    one.answered(head, changed).await;
    settle().await;
    for site in [&one, &cluster.site()] {
        is_fetched_anew(site, "/a", "it has changed").await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_readers_change_while_the_tier_is_away_empties_no_more_than_the_folders_they_wrote_to()
{
    let cluster = Cluster::new();
    let settings = lower::Settings { max_outstanding: 40, ..lower::Settings::default() };
    let one = cluster.site_with(Policy::standard(), settings);
    for path in ["/kept/a", "/posts/7", "/posts/new", "/asked"] {
        one.fill(path, fresh("old")).await;
    }
    settle().await;
    cluster.tier.go_away();
    let change = async |path: &str| {
        one.answered(request("PUT", path, &[]), answer(204, &[], "")).await;
    };
    one.cache.purge(Purge::key(key("/asked")).hard()).await.unwrap();
    for _ in 0..100 {
        change("/posts/7").await;
    }
    let lower = || one.store().stats().lower;
    // The first of them was sent, perhaps, and with what was purged before.
    assert!(lower().purges_outstanding <= 3 && lower().purges_folded >= 98, "{:?}", lower());
    for n in 0..1000 {
        change(&format!("/posts/{n}")).await;
    }
    assert!(lower().purges_outstanding <= 40 && lower().purges_widened >= 1, "{:?}", lower());
    assert_eq!(lower().overflows, 0);
    cluster.tier.come_back();
    tokio::time::sleep(secs(5)).await;
    assert_eq!(lower().purges_outstanding, 0);
    for path in ["/posts/7", "/posts/new", "/asked"] {
        is_fetched_anew(&cluster.site(), path, "it was purged").await;
    }
    assert_eq!(cluster.site().get("/kept/a").await.text(), "old");
    assert_eq!(lower().overflows, 0);
}

#[tokio::test(start_paused = true)]
async fn the_groups_that_one_answer_names_are_one_purge_below() {
    let cluster = Cluster::new();
    let one = cluster.site();
    let of_group = |group: &str| {
        ok(&[("cache-control", "max-age=60"), ("cache-groups", &format!("\"{group}\""))], "old")
    };
    for n in 0..3 {
        one.fill(&format!("/{n}"), of_group(&format!("g{n}"))).await;
    }
    settle().await;
    let before = one.store().stats().lower.log_position;
    let fields = [("cache-group-invalidation", "\"g0\", \"g1\"")];
    one.answered(request("PUT", "/a", &[]), answer(200, &fields, "")).await;
    settle().await;
    one.store().catch_up().await.unwrap();
    assert!(one.store().stats().lower.log_position - before <= 2, "the key, and the groups");
    for path in ["/0", "/1"] {
        is_fetched_anew(&cluster.site(), path, "its group was invalidated").await;
    }
    assert_eq!(cluster.site().get("/2").await.text(), "old");
}

#[tokio::test(start_paused = true)]
async fn a_tier_that_is_away_slow_or_full_of_nonsense_is_a_miss() {
    let cluster = Cluster::new();
    let one = cluster.filled("/a", fresh("text")).await;
    cluster.tier.go_away();
    let other = cluster.site();
    assert_eq!(other.answered(get("/a"), fresh("text")).await.text(), "text");
    assert!(one.get("/a").await.is_hit() && other.get("/a").await.is_hit());
    cluster.tier.come_back();

    cluster.tier.delay(secs(20));
    let reading = cluster.site().ask(get("/a"));
    tokio::time::sleep(secs(1)).await;
    assert_eq!(cluster.origin.waiting(), 1, "it is not waited for");
    cluster.origin.answer(fresh("text"));
    read(reading).await;
    cluster.tier.delay(secs(0));

    // What a cache of another name has written, and whatever else there may be.
    let builder = Cache::<Variants>::builder().name("another").clock(cluster.clock.clock());
    let store = builder.lower_http(cluster.tier.clone()).build();
    let another = Site { cache: HttpCache::new(store, Policy::standard()), ..one.clone() };
    is_fetched_anew(&another, "/a", "it is another's").await;
    assert_eq!(another.store().stats().lower.unreadable, 1);
    let heads = cluster.tier.heads(&key("/a"), LogPart::Nothing).await.unwrap();
    let mut record = heads.records[0].clone();
    for length in [0, 10, 39, 40, 60] {
        record.head.extra = heads.records[0].head.extra.slice(..length);
        cluster.tier.commit(&key("/a"), record.clone(), 1).await.unwrap();
        is_fetched_anew(&cluster.site(), "/a", "it cannot be read").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_of_another_length_than_its_head_names_is_a_miss() {
    let cluster = Cluster::new();
    cluster.filled("/a", fresh("text")).await;
    let heads = cluster.tier.heads(&key("/a"), LogPart::Nothing).await.unwrap();
    let mut record = heads.records[0].clone();
    record.head.body = lower::Body::Whole(Bytes::from_static(b"longer text"));
    cluster.tier.commit(&key("/a"), record, 1).await.unwrap();
    is_fetched_anew(&cluster.site(), "/a", "its head says otherwise").await;
}

#[tokio::test(start_paused = true)]
async fn who_leaves_while_his_flight_looks_below_strands_nobody() {
    let cluster = Cluster::new();
    cluster.filled("/a", fresh("text")).await;
    let other = cluster.site();
    cluster.tier.hold(Call::Heads, Point::Request);
    let (first, second) = (other.ask(get("/a")), other.ask(get("/a")));
    settle().await;
    first.abort();
    settle().await;
    cluster.tier.release_all();
    assert!(read(second).await.is_hit());
    // And where all leave nothing goes on.
    let third = cluster.site();
    cluster.tier.hold(Call::Heads, Point::Request);
    let reading = third.ask(get("/b"));
    settle().await;
    reading.abort();
    settle().await;
    cluster.tier.release_all();
    settle().await;
    assert_eq!((cluster.origin.calls(), third.store().stats().abandoned), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_streamed_answer_is_written_once_it_is_whole() {
    let cluster = Cluster::new();
    let one = cluster.site();
    let (body, rest) = drip();
    let reading = one.ask(get("/a"));
    settle().await;
    cluster.origin.answer(without_length(200, &[("cache-control", "max-age=60")], rest));
    body.send(long(200_000));
    settle().await;
    assert_eq!(cluster.calls(Call::Commit), 0);
    body.break_off();
    read(reading).await;
    settle().await;
    assert_eq!((cluster.calls(Call::Write), cluster.calls(Call::Commit)), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_is_on_its_way_down_has_a_bound_in_bytes() {
    let cluster = Cluster::new();
    let settings = lower::Settings { max_write_bytes: 500_000, ..Default::default() };
    let site = cluster.site_with(Policy::standard(), settings);
    cluster.tier.hold(Call::Write, Point::Request);
    for path in ["/a", "/b", "/c"] {
        site.fill(path, fresh(long(200_000))).await;
    }
    cluster.tier.release_all();
    settle().await;
    let stats = site.store().stats().lower;
    assert_eq!((stats.writes, stats.writes_dropped, cluster.tier.records()), (2, 1, 2));
    assert!(site.get("/c").await.is_hit(), "memory has it");
}

#[tokio::test(start_paused = true)]
async fn what_is_purged_while_its_refresh_looks_below_is_not_confirmed() {
    for scope in scopes() {
        let cluster = Cluster::new();
        let fields = [
            ("cache-control", "max-age=60, stale-while-revalidate=60"),
            ("etag", "\"1\""),
            ("surrogate-key", "tag"),
        ];
        let site = cluster.filled("/a", ok(&fields, "old")).await;
        cluster.clock.advance(secs(70));
        cluster.tier.hold(Call::Heads, Point::Answer);
        assert_eq!(site.get("/a").await.text(), "old");
        settle().await;
        let purge =
            Purge { scope: scope.clone(), mode: Mode::Hard, wait: Tier::Memory, asked: None };
        site.cache.purge(purge).await.unwrap();
        cluster.tier.release_all();
        settle().await;
        if cluster.origin.waiting() > 0 {
            assert_eq!(cluster.origin.last().field("if-none-match"), "", "{scope}");
            cluster.origin.refuse();
            settle().await;
        }
        for site in [&site, &cluster.site()] {
            is_fetched_anew(site, "/a", &scope.to_string()).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_wants_the_origins_word_gets_nothing_from_below() {
    let cluster = Cluster::new();
    cluster.filled("/a", fresh("old")).await;
    cluster.clock.advance(secs(20));
    let other = cluster.site();
    cluster.tier.hold(Call::Heads, Point::Request);
    let plain = other.ask(get("/a"));
    settle().await;
    let reload = other.ask(get_with("/a", &[("cache-control", "no-cache")]));
    settle().await;
    cluster.tier.release_all();
    assert_eq!(read(plain).await.text(), "old");
    settle().await;
    assert_eq!(cluster.origin.waiting(), 1);
    cluster.origin.answer(fresh("new"));
    assert_eq!(read(reload).await.text(), "new");
}

/// A tier that has lost the second piece of each body, or whose calls panic.
#[derive(Clone)]
struct Faulty {
    tier: InProcess,
    panics: bool,
}

impl Faulty {
    fn site(&self, of: &Cluster) -> Site {
        let builder = Cache::<Variants>::builder().clock(of.clock.clock());
        let store = builder.lower_http(self.clone()).build();
        let cache = HttpCache::new(store, Policy::standard());
        Site { clock: of.clock.clone(), cache, origin: of.origin.clone() }
    }
}

impl LowerTier for Faulty {
    fn heads<'a>(
        &'a self,
        key: &'a str,
        log: lower::LogPart,
    ) -> lower::Answering<'a, lower::Heads> {
        assert!(!self.panics, "a bug of this tier");
        self.tier.heads(key, log)
    }

    fn piece(&self, body: lower::BodyId, index: u32) -> lower::Answering<'_, Bytes> {
        match index {
            1 => Box::pin(async { Err(lower::LowerError::Gone) }),
            _ => self.tier.piece(body, index),
        }
    }

    fn write(&self, piece: lower::Piece) -> lower::Answering<'_, ()> {
        self.tier.write(piece)
    }

    fn commit<'a>(
        &'a self,
        key: &'a str,
        record: lower::Record,
        most: usize,
    ) -> lower::Answering<'a, lower::Commit> {
        self.tier.commit(key, record, most)
    }

    fn discard(&self, body: lower::BodyId, pieces: u32) -> lower::Answering<'_, ()> {
        self.tier.discard(body, pieces)
    }

    fn append<'a>(
        &'a self,
        purges: &'a [lower::LowerPurge],
    ) -> lower::Answering<'a, lower::Position> {
        self.tier.append(purges)
    }

    fn tail(&self, since: Option<lower::Position>) -> lower::Answering<'_, lower::Tail> {
        self.tier.tail(since)
    }

    fn lease<'a>(
        &'a self,
        key: &'a str,
        wanted: &'a str,
        log: lower::LogPart,
        length: std::time::Duration,
    ) -> lower::Answering<'a, lower::LeaseAnswer> {
        self.tier.lease(key, wanted, log, length)
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_has_a_hole_breaks_off_once_and_is_fetched_then() {
    let cluster = Cluster::new();
    cluster.filled("/a", fresh(long(1 << 20))).await;
    let tier = Faulty { tier: cluster.tier.clone(), panics: false };
    let other = tier.site(&cluster);
    assert!(!other.get("/a").await.is_whole);
    settle().await;
    is_fetched_anew(&other, "/a", "it has a hole").await;
}

/// What follows of `body` from the byte on that was asked for.
fn rest_of(body: &[u8], asked: &Seen, tag: &str) -> http::Response<Body> {
    let from =
        asked.field("range").strip_prefix("bytes=").and_then(|range| range.strip_suffix('-'));
    let from: usize = from.unwrap().parse().unwrap();
    let range = format!("bytes {from}-{}/{}", body.len() - 1, body.len());
    let fields = [("content-range", &*range), ("etag", tag), ("cache-control", "max-age=60")];
    answer(206, &fields, body[from..].to_vec())
}

#[tokio::test(start_paused = true)]
async fn a_body_that_has_a_hole_goes_on_with_what_the_origin_has() {
    let (tag, text) = ("\"one\"", long(1 << 20));
    let stored = || ok(&[("cache-control", "max-age=60"), ("etag", tag)], text.clone());
    let cluster = Cluster::new();
    cluster.filled("/a", stored()).await;
    let tier = Faulty { tier: cluster.tier.clone(), panics: false };
    let other = tier.site(&cluster);
    let readers = [other.ask(get("/a")), other.ask(get_with("/a", &[("range", "bytes=500000-")]))];
    settle().await;
    assert_eq!(cluster.origin.waiting(), 1, "all readers go on by one request");
    let asked = cluster.origin.last();
    assert_eq!(asked.field("if-range"), tag);
    cluster.origin.answer(rest_of(&text, &asked, tag));
    let [whole, part] = readers;
    let (whole, part) = (read(whole).await, read(part).await);
    assert!(whole.is_whole && whole.body == text);
    assert!(part.body == text[500_000..]);
    assert!(read(other.ask(get("/a"))).await.is_hit(), "it is in memory as a whole");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_has_a_hole_goes_on_with_nothing_else() {
    let text = long(1 << 20);
    // By which tag it is stored, and with which the origin answers, if at all.
    for (stored, said) in [("W/\"one\"", None), ("\"one\"", Some("\"two\"")), ("\"one\"", Some(""))]
    {
        let cluster = Cluster::new();
        let fields = [("cache-control", "max-age=60"), ("etag", stored)];
        cluster.filled("/a", ok(&fields, text.clone())).await;
        let tier = Faulty { tier: cluster.tier.clone(), panics: false };
        let other = tier.site(&cluster);
        let reading = other.ask(get("/a"));
        settle().await;
        assert_eq!(cluster.origin.waiting(), usize::from(said.is_some()), "{stored}");
        match said {
            None => {}
            // It has something else by now, and says all of it.
            Some("") => cluster.origin.answer(ok(&[("etag", "\"two\"")], long(1 << 20))),
            Some(tag) => {
                let asked = cluster.origin.last();
                cluster.origin.answer(rest_of(&text, &asked, tag));
            }
        }
        assert!(!read(reading).await.is_whole, "{stored} {said:?}");
        settle().await;
        is_fetched_anew(&other, "/a", "it has a hole").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_body_is_written_again() {
    let fields = [("cache-control", "max-age=60"), ("etag", "\"one\"")];
    for is_confirmed in [false, true] {
        let cluster = Cluster::new();
        let one = cluster.filled("/a", ok(&fields, long(100_000))).await;
        cluster.tier.lose_pieces();
        match is_confirmed {
            false => {
                cluster.site().answered(get("/a"), ok(&fields, long(100_000))).await;
            }
            true => {
                // Twice: only what is refused shows that it is lost.
                for _ in 0..2 {
                    cluster.clock.advance(secs(70));
                    one.answered(get("/a"), answer(304, &fields, "")).await;
                }
            }
        }
        let calls = cluster.origin.calls();
        let reading = cluster.site().ask(get("/a"));
        settle().await;
        assert_eq!(cluster.origin.calls(), calls, "confirmed: {is_confirmed}");
        assert_eq!(read(reading).await.body, long(100_000));
    }
}

#[tokio::test(start_paused = true)]
async fn a_tier_that_panics_is_a_miss() {
    let cluster = Cluster::new();
    let tier = Faulty { tier: cluster.tier.clone(), panics: true };
    let site = tier.site(&cluster);
    let reading = site.ask(get("/a"));
    settle().await;
    assert_eq!(cluster.origin.waiting(), 1);
    cluster.origin.answer(fresh("text"));
    assert_eq!(read(reading).await.text(), "text");
}

#[tokio::test(start_paused = true)]
async fn who_fetches_for_himself_keeps_nobody_waiting_and_waits_for_nobody() {
    let asks = || [get("/a"), get_with("/a", &[("range", "bytes=5-")]), request("HEAD", "/a", &[])];
    for (first, second) in [(0, 1), (0, 2), (1, 0), (2, 0), (1, 1)] {
        let cluster = Cluster::new();
        let (one, other) = (cluster.site(), cluster.site());
        let leads = one.ask(asks().into_iter().nth(first).unwrap());
        settle().await;
        let asks_too = other.ask(asks().into_iter().nth(second).unwrap());
        settle().await;
        assert_eq!(cluster.origin.waiting(), 2, "{first}, {second}");
        for reading in [leads, asks_too] {
            cluster.origin.refuse();
            failed(reading).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_kept_no_longer_keeps_no_other_process_waiting() {
    let cluster = Cluster::new();
    let one = cluster.site();
    let settings = Settings { max_body_bytes: 1000, ..Settings::default() };
    let cache = HttpCache::with_settings(one.store().clone(), Policy::standard(), settings);
    let one = Site { cache, ..one };
    let (body, rest) = drip();
    let reading = one.ask(get("/a"));
    settle().await;
    cluster.origin.answer(without_length(200, &[("cache-control", "max-age=60")], rest));
    let mut reading = reading.await.unwrap().unwrap();
    body.send(long(2000));
    chunk(&mut reading).await.unwrap().unwrap();
    settle().await;
    let other = cluster.site().ask(get("/a"));
    settle().await;
    assert_eq!(cluster.origin.waiting(), 1);
    cluster.origin.refuse();
    failed(other).await;
}

#[tokio::test(start_paused = true)]
async fn the_hard_timeout_is_for_looking_below_and_fetching_together() {
    let cluster = Cluster::new();
    let one = cluster.site();
    let holds = one.ask(get("/a"));
    settle().await;
    let builder = Cache::<Variants>::builder().clock(cluster.clock.clock());
    let store = builder.hard_timeout(secs(4)).lower_http(cluster.tier.clone()).build();
    let cache = HttpCache::new(store, Policy::standard());
    let other = Site { cache, ..one.clone() };
    let began = tokio::time::Instant::now();
    failed(other.ask(get("/a"))).await;
    assert!(began.elapsed() <= secs(5), "{:?}", began.elapsed());
    holds.abort();
}

#[tokio::test(start_paused = true)]
async fn what_others_have_brought_meanwhile_is_not_fetched() {
    for method in ["GET", "HEAD"] {
        let cluster = Cluster::new();
        cluster.filled("/a", fresh(long(1 << 20))).await;
        let other = cluster.site();
        let asks = || request(method, "/a", &[("range", "bytes=900000-900009")]);
        let readers: Vec<_> = (0..30).map(|_| other.ask(asks())).collect();
        for reader in readers {
            assert!(read(reader).await.is_hit(), "{method}");
        }
        assert_eq!((cluster.origin.calls(), cluster.calls(Call::Piece)), (1, 8), "{method}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_stored_by_other_rules_is_nobodys() {
    let by_tenant = Policy::standard().key_fields(vec!["x-tenant".parse().unwrap()]);
    for policy in [by_tenant, Policy::guarded()] {
        let cluster = Cluster::new();
        let fields = [("cache-control", "public, max-age=60"), ("set-cookie", "session=of-a")];
        let asked = get_with("/a", &[("x-tenant", "a")]);
        cluster.site().answered(asked, ok(&fields, "of a")).await;
        let other = cluster.site_with(policy, lower::Settings::default());
        let reading = other.ask(get_with("/a", &[("x-tenant", "b")]));
        settle().await;
        assert_eq!(cluster.origin.waiting(), 1);
        reading.abort();
    }
}
