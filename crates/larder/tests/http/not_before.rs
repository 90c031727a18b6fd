//! Not before: a reader who is answered only from what the origin was asked for since a moment, and all others as ever.

use http::Request;
use larder::http::{Body, NotBefore};

use crate::support::{Shape, Site, answer, fresh, get, ok, over_each_shape, read, secs, settle};

fn get_since(path: &str, since: NotBefore) -> Request<Body> {
    let mut request = get(path);
    request.extensions_mut().insert(since);
    request
}

/// A moment later than all that is stored, and earlier than all that comes.
fn later(site: &Site) -> NotBefore {
    site.clock.advance(secs(1));
    let since = site.cache.not_before_now();
    // What is asked for within the same step of the clock would be too old.
    site.clock.advance(secs(1));
    since
}

over_each_shape!(what_is_fresh_but_older_does_not_answer_and_what_is_fetched_instead_answers_all);
async fn what_is_fresh_but_older_does_not_answer_and_what_is_fetched_instead_answers_all(
    shape: Shape,
) {
    let site = Site::new(shape);
    site.fill("/a", fresh("old")).await;
    let since = later(&site);
    assert_eq!(site.get("/a").await.text(), "old");
    let own = site.answered(get_since("/a", since), fresh("new")).await;
    assert_eq!(own.text(), "new");
    assert_eq!(site.send(get_since("/a", since)).await.text(), "new");
    assert_eq!(site.get("/a").await.text(), "new");
    assert_eq!(site.origin.calls(), 2);
}

over_each_shape!(an_earlier_fetch_under_way_is_passed_over_and_a_later_one_is_shared);
async fn an_earlier_fetch_under_way_is_passed_over_and_a_later_one_is_shared(shape: Shape) {
    let site = Site::new(shape);
    let other = site.ask(get("/a"));
    settle().await;
    let since = later(&site);
    let own: Vec<_> = (0..3).map(|_| site.ask(get_since("/a", since))).collect();
    settle().await;
    assert_eq!(site.origin.waiting(), 1, "it joins as anybody does");
    site.origin.answer(fresh("old"));
    settle().await;
    assert_eq!(read(other).await.text(), "old");
    assert_eq!((site.origin.calls(), site.origin.waiting()), (2, 1), "one asks for all three");
    site.origin.answer(fresh("new"));
    for own in own {
        assert_eq!(read(own).await.text(), "new");
    }
    assert_eq!(site.origin.calls(), 2);
}

over_each_shape!(nothing_older_stands_in_for_an_origin_that_fails);
async fn nothing_older_stands_in_for_an_origin_that_fails(shape: Shape) {
    let site = Site::new(shape);
    let rescue = [("cache-control", "max-age=10, stale-while-revalidate=60, stale-if-error=60")];
    site.fill("/a", ok(&rescue, "old")).await;
    site.clock.advance(secs(15));
    let since = later(&site);
    let failed = site.answered(get_since("/a", since), answer(503, &[], "down")).await;
    assert_eq!(failed.status, 503);
    let other = site.answered(get("/a"), answer(503, &[], "down")).await;
    assert_eq!(other.text(), "old");
}

#[tokio::test(start_paused = true)]
async fn what_another_process_was_given_before_does_not_answer_from_below() {
    let cluster = crate::below::Cluster::new();
    let (one, other) = (cluster.site(), cluster.site());
    one.fill("/a", fresh("old")).await;
    settle().await;
    let since = later(&other);
    let own = other.answered(get_since("/a", since), fresh("new")).await;
    assert_eq!(own.text(), "new");
    assert_eq!(other.send(get_since("/a", since)).await.text(), "new");
    // One that was brought into memory by somebody else is as old there.
    one.fill("/b", fresh("old")).await;
    settle().await;
    let since = later(&other);
    assert_eq!(other.get("/b").await.text(), "old");
    assert_eq!(other.answered(get_since("/b", since), fresh("new")).await.text(), "new");
}
