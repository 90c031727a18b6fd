//! Bounds of one route: how many of its requests are at the service, how often an address may ask, and whose
//! `Cache-Control` counts.

use std::{fs, net::SocketAddr, sync::Arc};

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::sync::Semaphore;

use crate::support::{
    Wire, eventually,
    larder::{Larder, request},
    origin::{Origin, ok},
};

fn written(folder: &TempDir, origin: SocketAddr, rest: &str) {
    let text = format!(
        "[server]\nlisten = 0\ntrusted_peers = [\"127.0.0.1\"]\n{rest}\n[admin]\nlisten = 0\n\
         [upstream.app]\nurl = \"http://{origin}\"\n"
    );
    fs::write(folder.path().join("larder.toml"), text).unwrap();
}

async fn larder(folder: &TempDir, origin: SocketAddr, rest: &str) -> Larder {
    written(folder, origin, rest);
    Larder::in_folder(folder.path(), &["serve"], &[]).await
}

/// Answers the head of a request at once, and its body only for a permit.
async fn held_back(permits: &Arc<Semaphore>) -> Origin {
    let permits = Arc::clone(permits);
    Origin::playing(move |mut visit| {
        let permits = Arc::clone(&permits);
        async move {
            while let Some(head) = visit.request().await {
                let answer = ok("cache-control: max-age=600\r\n", "whole");
                let (front, rest) = answer.split_at(answer.len() - 4);
                visit.send(front).await;
                if head.contains(" /slow/") {
                    permits.acquire().await.unwrap().forget();
                }
                visit.send(rest).await;
            }
        }
    })
    .await
}

const SLOW: &str = "[[route]]\npath = \"/slow/**\"\nmax_fetches = 2\n";

async fn asking(larder: &Larder, path: &str) -> Wire {
    let mut reader = larder.connect().await;
    reader.send(request("GET", path, "")).await;
    reader
}

#[tokio::test]
async fn no_more_requests_of_a_route_are_at_the_service_than_may_be_and_others_do_not_wait() {
    let permits = Arc::new(Semaphore::new(0));
    let (origin, folder) = (held_back(&permits).await, tempfile::tempdir().unwrap());
    let larder = larder(&folder, origin.address, SLOW).await;
    let at_service = async |count: usize| {
        eventually("requests at the service", async || {
            let of_route = origin.requests().iter().filter(|head| head.contains("/slow/")).count();
            assert!(of_route <= count, "{of_route} of {count}");
            (of_route == count).then_some(())
        })
        .await;
    };
    let mut readers = Vec::new();
    for number in 0..2 {
        readers.push(asking(&larder, &format!("/slow/{number}")).await);
    }
    at_service(2).await;
    // Its rules are replaced, and it is another one by number: who is there still counts.
    written(&folder, origin.address, &format!("[[route]]\npath = \"/new\"\nttl = \"1s\"\n{SLOW}"));
    larder.signal(Signal::HUP);
    larder.told("the settings are those of").await;
    assert_eq!(larder.metric("larder_route_fetches{route=\"/slow/**\"}").await, 2.0);
    assert_eq!(larder.get("/other").await.status(), 200, "another route does not wait");
    // Two wait in line, and there is no place for a fifth.
    for number in 2..4 {
        readers.push(asking(&larder, &format!("/slow/{number}")).await);
    }
    eventually("two in line", async || {
        let waiting = larder.metric("larder_route_fetches_waiting{route=\"/slow/**\"}").await;
        (waiting == 2.0).then_some(())
    })
    .await;
    let refused = larder.get("/slow/4").await;
    assert_eq!(refused.status(), 503);
    assert!(refused.field("retry-after").is_some(), "{}", refused.head);
    at_service(2).await;
    // The place of whose answer is whole goes to the next in line.
    permits.add_permits(1);
    at_service(3).await;
    permits.add_permits(100);
    at_service(4).await;
    for mut reader in readers {
        assert_eq!(reader.answer().await.text(), "whole");
    }
    eventually("nobody is there", async || {
        let there = larder.metric("larder_route_fetches{route=\"/slow/**\"}").await;
        (there == 0.0).then_some(())
    })
    .await;
    assert_eq!(larder.get("/slow/0").await.status(), 200, "it is stored");
    assert!(larder.metric("larder_route_fetches_refused_total{route=\"/slow/**\"}").await >= 1.0);
}

#[tokio::test]
async fn who_may_not_wait_is_answered_at_once() {
    let permits = Arc::new(Semaphore::new(0));
    let (origin, folder) = (held_back(&permits).await, tempfile::tempdir().unwrap());
    let rules = "[[route]]\npath = \"/slow/**\"\nmax_fetches = 1\nfetch_wait = \"0s\"\n";
    let larder = larder(&folder, origin.address, rules).await;
    let mut first = asking(&larder, "/slow/first").await;
    eventually("it is at the service", async || (origin.requests().len() == 1).then_some(())).await;
    assert_eq!(larder.metric("larder_route_fetches{route=\"/slow/**\"}").await, 1.0);
    // Its place in line is taken for no time: all of them are refused, not each second one.
    for number in 0..3 {
        assert_eq!(larder.get(&format!("/slow/{number}")).await.status(), 503);
    }
    permits.add_permits(100);
    assert_eq!(first.answer().await.text(), "whole");
    assert_eq!(larder.get("/slow/0").await.text(), "whole");
}

#[tokio::test]
async fn a_place_is_free_again_however_its_request_ends() {
    let permits = Arc::new(Semaphore::new(0));
    let (origin, folder) = (held_back(&permits).await, tempfile::tempdir().unwrap());
    let rules = "[[route]]\npath = \"/slow/**\"\nmax_fetches = 1\ncache = false\n";
    let larder = larder(&folder, origin.address, rules).await;
    for number in 0..3 {
        // It leaves in the middle of its answer.
        let mut reader = asking(&larder, &format!("/slow/{number}")).await;
        reader.head().await;
        reader.reset();
    }
    permits.add_permits(100);
    assert_eq!(larder.get("/slow/last").await.text(), "whole");
}

#[tokio::test]
async fn an_address_that_asks_too_often_on_a_route_may_ask_on_others() {
    let origin = Origin::saying(ok("cache-control: max-age=600\r\n", "hello")).await;
    let folder = tempfile::tempdir().unwrap();
    let login = "[[route]]\npath = \"/login\"\nrequests_per_address = 1\nrequests_burst = 3\n";
    let larder = larder(&folder, origin.address, login).await;
    let mut refused = 0;
    // What is stored and what passes count alike.
    for (client, method) in [("203.0.113.1", "GET"), ("203.0.113.2", "POST")] {
        let ask = |path: &str| {
            format!(
                "{method} {path} HTTP/1.1\r\nhost: larder.test\r\nx-forwarded-for: {client}\r\n\
                 content-length: 0\r\n\r\n"
            )
        };
        let mut wire = larder.connect().await;
        wire.send(ask("/login").repeat(30)).await;
        let mut statuses = Vec::new();
        for _ in 0..30 {
            let answer = wire.answer().await;
            if answer.status() == 429 {
                assert_eq!(answer.field("retry-after"), Some("1"));
            }
            statuses.push(answer.status());
        }
        assert_eq!(statuses[..3], [200; 3], "{client}");
        let of_it = statuses.iter().filter(|status| **status == 429).count();
        assert!(of_it > 0, "{statuses:?}");
        refused += of_it;
        wire.send(ask("/other").repeat(30)).await;
        for _ in 0..30 {
            assert_eq!(wire.answer().await.status(), 200);
        }
    }
    let name = "larder_route_requests_limited_total{route=\"/login\"}";
    assert_eq!(larder.metric(name).await, refused as f64);
    // Its rules are replaced by the same ones: nobody gets a new burst by that.
    written(&folder, origin.address, &format!("[[route]]\npath = \"/new\"\nttl = \"1s\"\n{login}"));
    larder.signal(Signal::HUP);
    larder.told("the settings are those of").await;
    assert_eq!(larder.metric(name).await, refused as f64);
}

#[tokio::test]
async fn only_trusted_readers_have_fetched_anew_what_is_stored() {
    let origin = Origin::saying(ok("cache-control: max-age=600\r\n", "hello")).await;
    let folder = tempfile::tempdir().unwrap();
    let rest = "trusted_readers = [\"203.0.113.0/24\"]\n\
                [[route]]\npath = \"/never\"\nobey_readers = false\n";
    let larder = larder(&folder, origin.address, rest).await;
    for (path, client, is_fetched) in [
        ("/a", "203.0.113.7", true),
        ("/a", "198.51.100.7", false),
        ("/never", "203.0.113.7", false),
        ("/never", "198.51.100.7", false),
    ] {
        let from = format!("x-forwarded-for: {client}\r\n");
        larder.get_with(path, &from).await;
        for wish in ["cache-control: no-cache", "pragma: no-cache"] {
            let before = origin.requests().len();
            let fields = format!("{from}{wish}\r\n");
            assert_eq!(larder.get_with(path, &fields).await.status(), 200);
            let fetched = origin.requests().len() - before;
            assert_eq!(fetched, usize::from(is_fetched), "{path} {client} {wish}");
        }
        // What costs nobody anything counts from everybody.
        let fields = format!("{from}cache-control: only-if-cached\r\n");
        assert_eq!(larder.get_with("/not-there", &fields).await.status(), 504);
    }
}
