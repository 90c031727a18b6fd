//! Upgrade: another process takes over, and nobody who asks notices.

use larder_test_support::redis::Redis;
use rustix::process::{Signal, kill_process};

use crate::{
    load::Load,
    site::{Site, exists, is_there, service},
    support::{
        Certificate, Wire, eventually, free_port,
        larder::request,
        origin::{Origin, ok},
    },
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_in_a_row_under_load_lose_no_request_and_refuse_no_connection() {
    let origin = service().await;
    let folder = tempfile::tempdir().unwrap();
    let certificate = Certificate::for_names(&["localhost"]);
    let (tls, unix) = (([127, 0, 0, 1], free_port()).into(), folder.path().join("larder.sock"));
    let address = ([127, 0, 0, 1], free_port()).into();
    let more = format!(
        "drain = \"30s\"\n[[listener]]\nlisten = \"{tls}\"\n[listener.tls]\ncertificate = \"{}\"\nkey = \"{}\"\n\
         [[listener]]\nlisten = \"unix:{}\"\n",
        certificate.file().display(),
        certificate.key().display(),
        unix.display()
    );
    let text = crate::site::file(origin.address, address, &more);
    let mut site = Site::by(folder, address, &text, &[]).await;
    let mut load = Load::new();
    for _ in 0..4 {
        load.kept(address);
        load.alone(address);
    }
    load.http2(address);
    load.http2(address);
    load.local(&unix);
    load.asks_whether_ready(site.larder.admin());
    load.tls(tls, certificate.file(), "--http2");
    load.tls(tls, certificate.file(), "--http1.1");
    let mut olds = Vec::new();
    for _ in 0..5 {
        load.goes_on(20).await;
        olds.push(site.upgrade().await);
        load.goes_on(20).await;
    }
    let answered = load.over().await;
    assert!(answered > 1000, "{answered}");
    for old in olds {
        site.gone(old).await;
    }
    assert!(exists(&unix), "the last one listens there");
    assert_eq!(site.count(" cut off"), 0);
    let last = site.pid();
    site.signal(Signal::TERM);
    site.gone(last).await;
    assert!(!exists(&unix), "it goes with the last one");
}

#[tokio::test]
async fn what_is_under_way_goes_on_where_it_began_and_each_connection_ends_with_an_answer() {
    let origin = Origin::answering(|_| ok("cache-control: no-store\r\n", "a")).await;
    let mut site = Site::with(&origin, "drain = \"60s\"\n").await;
    let mut idle = site.larder.connect().await;
    let mut first = site.larder.connect().await;
    first.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(first.answer().await.field("connection"), None);
    let old = site.upgrade().await;
    assert!(is_there(old));
    for wire in [&mut idle, &mut first] {
        wire.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let answer = wire.answer().await;
        assert_eq!((answer.status(), answer.field("connection")), (200, Some("close")));
        assert_eq!(wire.rest().await, "");
    }
    // Nobody is left.
    site.gone(old).await;
    let mut new = Wire::connect(site.address).await;
    new.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(new.answer().await.field("connection"), None);
}

#[tokio::test]
async fn settings_are_those_of_now_and_the_cache_begins_anew() {
    let origin = service().await;
    let mut site = Site::with(&origin, "drain = \"1s\"\n").await;
    site.larder.get("/").await;
    assert_eq!(site.larder.get("/").await.handling(), "hit");
    let text = std::fs::read_to_string(site.path("larder.toml")).unwrap();
    let other = free_port();
    let more = format!("{text}threads = 3\n[[listener]]\nlisten = \"127.0.0.1:{other}\"\n");
    std::fs::write(site.path("larder.toml"), more).unwrap();
    let old = site.upgrade().await;
    site.gone(old).await;
    assert_ne!(site.larder.get("/").await.handling(), "hit");
    let mut wire = Wire::connect(([127, 0, 0, 1], other).into()).await;
    wire.send(request("GET", "/", "")).await;
    assert_eq!(wire.answer().await.status(), 200);
    // And back: what is not in the settings any more is not listened at.
    std::fs::write(site.path("larder.toml"), text).unwrap();
    let old = site.upgrade().await;
    site.larder.told(&format!("127.0.0.1:{other} is no longer listened at")).await;
    site.gone(old).await;
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], other));
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
    assert_eq!(site.larder.get("/").await.status(), 200);
}

#[tokio::test]
async fn what_is_purged_in_the_new_one_is_not_answered_by_the_old_one() {
    let origin = service().await;
    let mut site = Site::with(&origin, "drain = \"60s\"\n").await;
    site.larder.get("/").await;
    let mut kept = Vec::new();
    for _ in 0..300 {
        kept.push(site.larder.connect().await);
    }
    let old = site.upgrade().await;
    let ask = "GET / HTTP/1.1\r\nhost: larder.test\r\n\r\n";
    let mut first = kept.pop().unwrap();
    first.send(ask).await;
    assert_eq!(first.answer().await.handling(), "hit", "it has what it had");
    let purge = r#"{"keys":["http://larder.test/"],"mode":"hard"}"#;
    assert_eq!(site.larder.post_to_admin("/v1/purge", purge).await.status(), 200);
    // It hears of it a moment later.
    eventually("an answer that is not from before", async || {
        let mut wire = kept.pop().expect("one of many");
        wire.send(ask).await;
        (wire.answer().await.handling() != "hit").then_some(())
    })
    .await;
    // The first one as well: it may have been answered before its loop heard of the other process, and be kept.
    drop((first, kept));
    site.gone(old).await;
}

#[tokio::test]
async fn purges_that_wait_for_the_shared_tier_change_hands() {
    let mut server = Redis::start().await;
    let origin = service().await;
    let folder = tempfile::tempdir().unwrap();
    let address = ([127, 0, 0, 1], free_port()).into();
    let shared =
        format!("drain = \"1s\"\n[shared]\nurl = \"{}\"\noutbox = \"outbox\"\n", server.url());
    let text = crate::site::file(origin.address, address, &shared);
    let mut site = Site::by(folder, address, &text, &[]).await;
    server.kill().await;
    let purge = |name: &str| format!(r#"{{"tags":["{name}"],"mode":"hard"}}"#);
    let said = site.larder.post_to_admin("/v1/purge", &purge("before")).await;
    assert!(said.text().contains(r#""outbox":"on disk""#), "{}", said.text());
    // One that does not come to it leaves the file where it was.
    site.replace_program("exit 3");
    site.signal(Signal::USR2);
    site.larder.told("this process goes on").await;
    site.restore_program();
    let said = site.larder.post_to_admin("/v1/purge", &purge("between")).await;
    assert!(said.text().contains(r#""outbox":"on disk""#), "{}", said.text());
    let old = site.upgrade().await;
    site.larder.told("2 purges that an earlier run has left are sent first").await;
    site.gone(old).await;
    let said = site.larder.post_to_admin("/v1/purge", &purge("after")).await;
    assert!(said.text().contains(r#""outbox":"on disk""#), "{}", said.text());
    server.start_again().await;
    eventually("all of them to arrive", async || {
        let waiting =
            site.larder.metric("larder_lower_purges_outstanding{cache=\"gateway\"}").await;
        (waiting == 0.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_successor_goes_on_if_the_one_before_is_killed() {
    let origin = service().await;
    let mut site = Site::with(&origin, "drain = \"60s\"\n").await;
    let _idle = site.larder.connect().await;
    let old = site.upgrade().await;
    kill_process(old, Signal::KILL).unwrap();
    site.gone(old).await;
    assert_eq!(site.larder.get("/").await.status(), 200);
    let second = site.upgrade().await;
    site.gone(second).await;
    assert_eq!(site.larder.get("/").await.status(), 200);
}

/// An old answer that the process before has under way may yet come to a CDN after it was told.
#[tokio::test]
async fn a_cdn_confirms_nothing_while_the_process_before_has_an_older_answer_under_way() {
    use std::sync::Arc;
    let cdn = Origin::playing(|visit| async move {
        let mut wire = visit.into_wire();
        while wire.has_more().await {
            let head = wire.head().await;
            let Some(_) = wire.body(&head).await else { return };
            let answer = ok("content-type: application/json\r\n", "{}");
            if wire.try_send(answer).await.is_err() {
                return;
            }
        }
    })
    .await;
    // It stops in the middle of its answer.
    let go_on = Arc::new(tokio::sync::Notify::new());
    let held = Arc::clone(&go_on);
    let origin = Origin::playing(move |mut visit| {
        let held = Arc::clone(&held);
        async move {
            while visit.request().await.is_some() {
                let head =
                    "HTTP/1.1 200 OK\r\ncache-control: max-age=600\r\ncontent-length: 2\r\n\r\n";
                visit.send(format!("{head}a")).await;
                held.notified().await;
                visit.send("b").await;
            }
        }
    })
    .await;
    let cdn = format!("[[cdn]]\n[cdn.larder]\napi = \"http://{}\"\n", cdn.address);
    let more = format!("drain = \"60s\"\n{cdn}[outbox]\nsettle = \"100ms\"\n");
    let mut site = Site::with(&origin, &more).await;
    let mut reader = site.larder.connect().await;
    reader.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    eventually("the service to be asked", async || (!origin.requests().is_empty()).then_some(()))
        .await;
    let old = site.upgrade().await;
    let story = site.larder.post_to_admin("/v1/purge", r#"{"tags":["a"],"mode":"hard"}"#).await;
    let story: serde_json::Value = serde_json::from_str(story.text()).unwrap();
    let path = format!("/v1/purges/{}", story["id"].as_str().unwrap());
    let state = async || {
        let told = site.larder.get_from_admin(&path).await;
        let told: serde_json::Value = serde_json::from_str(told.text()).unwrap();
        told["tiers"]["cdn"][0]["state"].as_str().unwrap().to_owned()
    };
    eventually("the first call", async || (state().await == "sent").then_some(())).await;
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert_eq!(state().await, "sent");
    go_on.notify_one();
    assert_eq!(reader.answer().await.text(), "ab");
    eventually("the last call", async || (state().await == "confirmed").then_some(())).await;
    drop(reader);
    site.gone(old).await;
}
