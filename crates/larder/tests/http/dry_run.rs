//! A dry run says what the next real request does, whatever is stored, under way, purged or held back, and changes nothing.

use std::sync::Arc;

use http::{Request, Response};
use larder::{
    Mode, Purge,
    http::{
        Below, Body, Bypass, DryRun, Handled, Policy, RefreshOutlook, Rules, Settings, ShowHandled,
        Standing, Step, Verdict,
        policy::{query::QueryRecipe, reason::Reason},
    },
};
use proptest::prelude::*;
use tokio::time::timeout;

use crate::{
    below::Cluster,
    support::{Answer, Shape, Site, answer, fresh, get, get_with, ok, read, request, secs, settle},
};

/// What a request is, for a dry run as for a real one.
fn without_content(request: &Request<Body>) -> Request<()> {
    let mut same = Request::new(());
    *same.method_mut() = request.method().clone();
    *same.uri_mut() = request.uri().clone();
    *same.headers_mut() = request.headers().clone();
    *same.extensions_mut() = request.extensions().clone();
    same
}

async fn dry(site: &Site, request: &Request<Body>) -> DryRun {
    site.cache.dry_run(without_content(request)).await
}

/// What has become of a request, and why, in the words of a dry run.
fn done(handled: Handled) -> (Verdict, Reason) {
    match handled.verdict {
        // That it was waited for is told apart from why.
        Verdict::Collapsed => (Verdict::Miss, handled.why),
        verdict => (verdict, handled.why),
    }
}

/// The same of a dry run.
fn foretold(told: &DryRun) -> (Verdict, Reason) {
    let verdict = match told.step {
        Step::Serve if told.reason == Reason::Hit => Verdict::Hit,
        Step::ServeFromBelow if told.reason == Reason::Shared => Verdict::Hit,
        Step::Serve | Step::ServeAndRefresh(_) | Step::ServeFromBelow => Verdict::Stale,
        Step::Ask { .. } => Verdict::Miss,
        Step::Pass => Verdict::Pass,
        Step::Refuse => Verdict::Refused,
    };
    (verdict, told.reason)
}

/// The rules of the requests, each with something that the others have not.
fn rules(which: usize) -> Policy {
    let recipe = QueryRecipe::default().without(&["tracking"]).unwrap().sorted(true);
    match which {
        0 => Policy::standard(),
        1 => Policy::guarded().query(recipe).ignore_cookies("analytics".parse().unwrap()),
        2 => Policy::guarded()
            .key_cookies(vec!["lang".to_owned()])
            .default_ttl(secs(30))
            .default_stale_while_revalidate(secs(20))
            .default_stale_if_error(secs(100)),
        _ => Policy::standard().obeys_readers(false).passes_credentials(true).hit_for_miss(secs(9)),
    }
}

/// A request as it is drawn.
#[derive(Clone, Debug)]
struct Asking {
    method: &'static str,
    path: &'static str,
    fields: Vec<(&'static str, &'static str)>,
    rules: usize,
    bypasses: bool,
}

impl Asking {
    fn request(&self) -> Request<Body> {
        let mut asked = request(self.method, self.path, &self.fields);
        asked.extensions_mut().insert(Rules(Arc::new(rules(self.rules))));
        asked.extensions_mut().insert(ShowHandled);
        if self.bypasses {
            asked.extensions_mut().insert(Bypass);
        }
        asked
    }
}

/// What comes between the requests.
#[derive(Clone, Debug)]
enum Event {
    /// A request, with this answer where the origin is asked.
    Asked(Asking, usize),
    /// The same, and its origin takes longer than all that follows.
    Hangs(Asking),
    /// The same, and its origin refuses it.
    Refused(Asking),
    Passes(u64),
    Purged(usize, Mode),
    /// Another process asks: what it fetches lies below.
    Elsewhere(Asking, usize),
}

fn asking() -> impl Strategy<Value = Asking> {
    let method =
        prop_oneof![8 => Just("GET"), 2 => Just("HEAD"), 1 => Just("POST"), 1 => Just("QUERY")];
    let path = prop::sample::select(vec![
        "/a",
        "/a",
        "/a",
        "/b",
        "/a?q=1&utm_source=x",
        "/a?utm_source=y&q=1",
        "/%61",
    ]);
    let field = prop::sample::select(vec![
        ("accept-encoding", "br"),
        ("accept-encoding", "gzip"),
        ("cookie", "lang=de"),
        ("cookie", "_ga=1; sid=2"),
        ("authorization", "Basic YTpi"),
        ("cache-control", "no-cache"),
        ("cache-control", "max-age=5"),
        ("cache-control", "only-if-cached"),
        ("cache-control", "max-stale=60"),
        ("if-none-match", "\"1\""),
        ("range", "bytes=2-5"),
    ]);
    let fields = prop::collection::vec(field, 0..3);
    let bypasses = prop::bool::weighted(0.05);
    (method, path, fields, 0..4_usize, bypasses).prop_map(
        |(method, path, mut fields, rules, bypasses)| {
            fields.dedup_by_key(|(name, _)| *name);
            Asking { method, path, fields, rules, bypasses }
        },
    )
}

fn event() -> impl Strategy<Value = Event> {
    let mode = prop_oneof![Just(Mode::Soft), Just(Mode::Hard)];
    prop_oneof![
        6 => (asking(), 0..ANSWERS).prop_map(|(asking, with)| Event::Asked(asking, with)),
        1 => asking().prop_map(Event::Hangs),
        1 => asking().prop_map(Event::Refused),
        3 => prop::sample::select(vec![1, 12, 25, 45, 130]).prop_map(Event::Passes),
        2 => (0..4_usize, mode).prop_map(|(what, mode)| Event::Purged(what, mode)),
        2 => (asking(), 0..ANSWERS).prop_map(|(asking, with)| Event::Elsewhere(asking, with)),
    ]
}

const ANSWERS: usize = 8;

/// What an origin may answer.
fn answered(which: usize) -> Response<Body> {
    let windows = "max-age=10, stale-while-revalidate=10, stale-if-error=100";
    match which {
        0 => fresh("0123456789"),
        1 => ok(
            &[("cache-control", windows), ("etag", "\"1\""), ("surrogate-key", "tag")],
            "0123456789",
        ),
        2 => ok(&[("cache-control", "private")], "somebody's"),
        3 => ok(&[("cache-control", "max-age=20"), ("vary", "accept-encoding")], "0123456789"),
        4 => ok(&[("cache-control", "max-age=20"), ("set-cookie", "a=1")], "0123456789"),
        5 => answer(
            206,
            &[
                ("cache-control", "max-age=20"),
                ("content-range", "bytes 2-5/10"),
                ("etag", "\"1\""),
            ],
            "2345",
        ),
        6 => ok(
            &[("cache-control", "public, max-age=15, must-revalidate"), ("surrogate-key", "tag")],
            "0123456789",
        ),
        _ => answer(404, &[("cache-control", "no-cache"), ("etag", "\"2\"")], "no"),
    }
}

/// A request, whose origin answers at once.
async fn asked_and_answered(site: &Site, asking: &Asking, with: usize) {
    site.origin.answers(move |_| Ok(answered(with)));
    if let Ok(answer) = site.ask(asking.request()).await.unwrap() {
        Answer::read(answer).await;
    }
    settle().await;
    site.origin.waits();
}

/// Runs what is drawn over a cache, and over one that shares a tier with another; before each request a dry run foretells it.
async fn foretells(events: Vec<Event>, is_shared: bool) -> Result<(), TestCaseError> {
    let cluster = Cluster::new();
    let (site, other) = match is_shared {
        true => (cluster.site(), Some(cluster.site())),
        false => {
            let site =
                Site::with(Shape::S3_FIFO, Policy::standard(), Settings::default(), |builder| {
                    builder
                });
            (site, None)
        }
    };
    let mut hanging = Vec::new();
    for event in events {
        match event {
            Event::Passes(seconds) => site.clock.advance(secs(seconds)),
            Event::Purged(what, mode) => {
                let purge = match what {
                    0 => Purge::tag("tag"),
                    1 => Purge::key("http://example.org/a"),
                    2 => Purge::prefix("http://example.org/"),
                    _ => Purge::everything(),
                };
                site.cache.purge(purge.mode(mode)).await.unwrap();
            }
            Event::Hangs(asking) => {
                hanging.push(site.ask(asking.request()));
                settle().await;
            }
            Event::Refused(asking) => {
                site.origin.answers(|_| Err(crate::support::Refused("down")));
                // It may wait for one that hangs.
                hanging.push(site.ask(asking.request()));
                settle().await;
                site.origin.waits();
            }
            Event::Elsewhere(asking, with) => {
                if let Some(other) = &other {
                    asked_and_answered(other, &asking, with).await;
                }
            }
            Event::Asked(asking, with) => {
                let (before, calls) = (site.store().stats(), site.origin.calls());
                let told = dry(&site, &asking.request()).await;
                let stats = site.store().stats();
                prop_assert_eq!(
                    (
                        before.hits,
                        before.misses,
                        before.fetches,
                        before.stale_served,
                        before.refreshes
                    ),
                    (stats.hits, stats.misses, stats.fetches, stats.stale_served, stats.refreshes),
                    "it counts nothing"
                );
                prop_assert_eq!(site.origin.calls(), calls, "it asks nobody");
                site.origin.answers(move |_| Ok(answered(with)));
                let reading = site.ask(asking.request());
                settle().await;
                if told.waits_for.is_some() {
                    // It waits for what hangs, which is let go.
                    prop_assert!(
                        !reading.is_finished(),
                        "{:?} waits for nobody: {:?}",
                        asking,
                        told
                    );
                    while site.origin.waiting() > 0 {
                        site.origin.answer(answered(with));
                        settle().await;
                    }
                }
                let answer = timeout(secs(600), reading).await;
                let answer = answer.map_err(|_| TestCaseError::fail(format!("{told:?} waits")))?;
                let answer = answer.unwrap();
                let answer = answer.map_err(|error| TestCaseError::fail(error.to_string()))?;
                let handled = *answer.extensions().get::<Handled>().unwrap();
                Answer::read(answer).await;
                settle().await;
                site.origin.waits();
                // What it has waited for may have changed what is stored, and not have been for it.
                if told.waits_for.is_none() || handled.verdict == Verdict::Collapsed {
                    prop_assert_eq!(foretold(&told), done(handled), "{:?}: {:?}", asking, told);
                }
            }
        }
    }
    for reading in hanging {
        reading.abort();
    }
    Ok(())
}

fn run(events: Vec<Event>, is_shared: bool) -> Result<(), TestCaseError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.unwrap().block_on(foretells(events, is_shared))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_dry_run_foretells_the_next_request(events in prop::collection::vec(event(), 1..24)) {
        run(events, false)?;
    }

    #[test]
    fn a_dry_run_foretells_the_next_request_over_a_tier_that_others_fill(
        events in prop::collection::vec(event(), 1..24),
    ) {
        run(events, true)?;
    }
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_tells_what_is_stored_and_in_what_it_differs() {
    let site = Site::new(Shape::S3_FIFO);
    let varying = |body: &'static str| {
        ok(&[("cache-control", "max-age=60"), ("vary", "accept-encoding")], body)
    };
    site.answered(get_with("/a", &[("accept-encoding", "br")]), varying("one")).await;
    site.clock.advance(secs(20));
    let told = dry(&site, &get("/a")).await;
    assert_eq!(
        (told.reason, told.key.as_deref()),
        (Reason::VaryMiss, Some("http://example.org/a"))
    );
    let [held] = &told.memory[..] else { panic!("{:?}", told.memory) };
    assert_eq!((held.standing, held.age.as_secs(), held.is_chosen), (Standing::Fresh, 20, false));
    let differs = &held.differs_by[0];
    assert_eq!(
        (differs.name.as_deref(), differs.asked.as_deref(), differs.stored.as_deref()),
        (Some("accept-encoding"), None, Some("br"))
    );
    let told = dry(&site, &get_with("/a", &[("accept-encoding", "br")])).await;
    assert_eq!((told.step, told.memory[0].is_chosen), (Step::Serve, true));
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_makes_nothing_look_read() {
    let site = Site::new(Shape::S3_FIFO);
    for path in ["/a", "/b"] {
        site.fill(path, fresh("a")).await;
    }
    site.get("/b").await;
    for _ in 0..7 {
        dry(&site, &get("/a")).await;
        site.cache.nearest("http://example.org/a/", 3, secs(60));
    }
    let read_most = site.cache.again(&[Purge::everything()], 2).requests;
    assert_eq!(read_most[0].uri().path(), "/b");
}

#[tokio::test(start_paused = true)]
async fn the_stored_value_of_a_field_that_tells_who_asks_is_hidden() {
    let site = Site::new(Shape::S3_FIFO);
    let personal = [("cache-control", "public, max-age=60"), ("vary", "authorization, cookie")];
    let asked = [("authorization", "Basic c2VjcmV0"), ("cookie", "sid=secret")];
    site.answered(get_with("/a", &asked), ok(&personal, "one")).await;
    let told = dry(&site, &get("/a")).await;
    let shown = format!("{told:?}");
    assert!(!shown.contains("c2VjcmV0") && !shown.contains("sid=secret"), "{shown}");
    assert_eq!(told.memory[0].differs_by.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_a_purge_by_tag_has_ended_is_told_with_the_tag() {
    let site = Site::new(Shape::S3_FIFO);
    site.fill("/a", ok(&[("cache-control", "max-age=60"), ("surrogate-key", "one two")], "a"))
        .await;
    site.cache.purge(Purge::tag("two").mode(Mode::Hard)).await.unwrap();
    let told = dry(&site, &get("/a")).await;
    assert_eq!((told.reason, told.purged_by), (Reason::UriMiss, vec!["two".to_owned()]));
    assert_eq!(told.memory[0].standing, Standing::Purged);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_is_held_back_is_told_and_stays_so() {
    let site = Site::new(Shape::S3_FIFO);
    let windows = "max-age=10, stale-while-revalidate=600";
    site.fill("/a", ok(&[("cache-control", windows)], "a")).await;
    site.clock.advance(secs(15));
    let outlook = async || match dry(&site, &get("/a")).await.step {
        Step::ServeAndRefresh(outlook) => outlook,
        step => panic!("{step:?}"),
    };
    assert_eq!(outlook().await, RefreshOutlook::Begins);
    let reading = site.ask(get("/a"));
    settle().await;
    assert_eq!(outlook().await, RefreshOutlook::UnderWay);
    site.origin.refuse();
    read(reading).await;
    settle().await;
    assert_eq!(outlook().await, RefreshOutlook::HeldBack { left: secs(1) });
    site.clock.advance(secs(1));
    assert_eq!(outlook().await, RefreshOutlook::Begins);
}

#[tokio::test(start_paused = true)]
async fn a_tier_that_does_not_answer_is_told_and_not_waited_for() {
    let cluster = Cluster::new();
    let site = cluster.site();
    let told = dry(&site, &get("/a")).await;
    assert!(matches!(&told.below, Below::Holds(there) if there.is_empty()), "{:?}", told.below);
    cluster.tier.go_away();
    let told = dry(&site, &get("/a")).await;
    assert!(matches!(told.below, Below::Silent), "{:?}", told.below);
    assert_eq!(told.reason, Reason::UriMiss);
}

#[tokio::test(start_paused = true)]
async fn what_is_nearly_the_same_is_found_with_what_differs() {
    let site = Site::new(Shape::S3_FIFO);
    for path in ["/posts/1?utm_source=x", "/posts/2", "/Posts/1"] {
        site.fill(path, fresh("a")).await;
    }
    let nearest = site.cache.nearest("http://example.org/posts/1", 3, secs(60));
    assert_eq!((nearest.looked_at, nearest.is_whole), (3, true));
    let near: Vec<_> = nearest.near.iter().map(|near| near.key.as_str()).collect();
    assert_eq!(near, ["http://example.org/Posts/1", "http://example.org/posts/1?utm_source=x"]);
    assert_eq!(nearest.near[1].differences[0].name.as_deref(), Some("utm_source"));
    let none = site.cache.nearest("http://example.org/posts/1", 3, secs(0));
    assert_eq!((none.looked_at, none.is_whole), (0, false));
}

#[tokio::test(start_paused = true)]
async fn the_page_without_the_parameter_is_the_nearest_however_many_there_are_with_another() {
    let site = Site::new(Shape::S3_FIFO);
    for number in 0..20 {
        site.fill(&format!("/search?q=1&utm_source={number}"), fresh("a")).await;
    }
    site.fill("/search?q=1", fresh("a")).await;
    for number in 20..40 {
        site.fill(&format!("/search?q=1&utm_source={number}"), fresh("a")).await;
    }
    let asked = "http://example.org/search?q=1&utm_source=new";
    let near = site.cache.nearest(asked, 3, secs(60)).near;
    let keys: Vec<_> = near.iter().map(|near| near.key.as_str()).collect();
    let others = ["0", "1"].map(|of| format!("http://example.org/search?q=1&utm_source={of}"));
    assert_eq!(keys, ["http://example.org/search?q=1", &others[0], &others[1]]);
}
