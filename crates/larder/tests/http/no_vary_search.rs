//! `No-Vary-Search`: what is stored for one URI answers others whose query differs in nothing that
//! matters.

use http::{Request, Response};
use larder::http::{Body, Policy, Settings};

use crate::support::{Shape, Site, fresh, get, key, ok, over_each_shape, request, settle};

fn site(shape: Shape) -> Site {
    let settings = Settings { no_vary_search: true, ..Settings::default() };
    Site::with(shape, Policy::standard(), settings, |builder| builder)
}

fn untracked(body: &'static str) -> Response<Body> {
    let fields =
        [("cache-control", "max-age=60"), ("no-vary-search", "params=(\"utm\"), key-order")];
    ok(&fields, body)
}

async fn misses(site: &Site, request: Request<Body>) -> bool {
    let reading = site.ask(request);
    settle().await;
    let misses = site.origin.waiting() == 1;
    if misses {
        site.origin.refuse();
    }
    assert_eq!(reading.await.unwrap().is_err(), misses);
    misses
}

over_each_shape!(parameters_that_do_not_matter_are_not_asked_for_again);
async fn parameters_that_do_not_matter_are_not_asked_for_again(shape: Shape) {
    let site = site(shape);
    site.fill("/a?id=1&utm=x&b=2", untracked("body")).await;
    for path in ["/a?id=1&utm=y&b=2", "/a?b=2&id=1", "/a?b=2&utm=&id=1&utm=z"] {
        let hit = site.get(path).await;
        assert_eq!((hit.is_hit(), hit.text()), (true, "body"), "{path}");
    }
    assert!(misses(&site, get("/a?id=2&utm=x&b=2")).await);
    assert!(misses(&site, get("/b?id=1&utm=x&b=2")).await);
}

over_each_shape!(unless_it_is_asked_for_every_byte_matters);
async fn unless_it_is_asked_for_every_byte_matters(shape: Shape) {
    let site = Site::new(shape);
    site.fill("/a?utm=x", untracked("body")).await;
    assert!(misses(&site, get("/a?utm=y")).await);
}

over_each_shape!(what_does_not_say_so_itself_stands_for_nothing_else);
async fn what_does_not_say_so_itself_stands_for_nothing_else(shape: Shape) {
    let site = site(shape);
    site.fill("/a?utm=x", untracked("body")).await;
    site.fill("/a?id=1&utm=x", fresh("only this")).await;
    assert!(misses(&site, get("/a?id=1&utm=y")).await);
    // Nor does what came later in the place of what did.
    let reload = request("GET", "/a?utm=x", &[("cache-control", "no-cache")]);
    site.answered(reload, fresh("only this")).await;
    assert!(misses(&site, get("/a?utm=y")).await);
}

over_each_shape!(a_purge_of_any_uri_it_stood_for_ends_it);
async fn a_purge_of_any_uri_it_stood_for_ends_it(shape: Shape) {
    for purged in ["/a?utm=x", "/a?utm=y", "/a"] {
        let site = site(shape);
        site.fill("/a?utm=x", untracked("body")).await;
        assert!(site.get("/a?utm=y").await.is_hit());
        site.store().remove(key(purged));
        assert!(misses(&site, get("/a?utm=y")).await, "{purged}");
    }
    let site = site(shape);
    site.fill("/a?utm=x", untracked("body")).await;
    site.answered(request("POST", "/a?utm=y", &[]), ok(&[], "")).await;
    assert!(misses(&site, get("/a?utm=y")).await);
}

over_each_shape!(a_purge_while_it_is_fetched_ends_it_too);
async fn a_purge_while_it_is_fetched_ends_it_too(shape: Shape) {
    let site = site(shape);
    let reading = site.ask(get("/a?utm=x"));
    settle().await;
    site.store().remove(key("/a?utm=y"));
    site.origin.answer(untracked("older than the purge"));
    reading.await.unwrap().unwrap();
    settle().await;
    assert!(misses(&site, get("/a?utm=y")).await);
}
