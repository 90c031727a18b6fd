//! Own writes: whoever changes something at one gateway sees it at once at another, and nobody else is asked for more.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

use larder_test_support::redis::Redis;
use tempfile::TempDir;

use crate::support::{
    Wire,
    answer::Answer,
    larder::Larder,
    origin::{Origin, ok},
};

const ROUNDS: u64 = 1000;
const SECRET: &str = "a secret of more than sixteen letters";

/// A service with one text, which a POST changes, and a list of which no POST says that it changes it.
async fn service() -> (Origin, Arc<AtomicU64>) {
    let text = Arc::new(AtomicU64::new(0));
    let (says, fields) = (Arc::clone(&text), "cache-control: public, max-age=600\r\n");
    let origin = Origin::answering(move |head: &str| {
        if head.starts_with("POST") {
            let now = says.fetch_add(1, SeqCst) + 1;
            return ok("", now.to_string());
        }
        assert!(!head.to_ascii_lowercase().contains("larder-fence"), "{head}");
        ok(fields, says.load(SeqCst).to_string())
    });
    (origin.await, text)
}

async fn gateway(origin: SocketAddr, redis: SocketAddr, secret: &str) -> (Larder, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[server.read_your_writes]\nsecret_file = \"secret\"\n\
         [admin]\nlisten = \"127.0.0.1:0\"\n[shared]\nurl = \"redis://{redis}\"\n\
         [upstream.app]\nurl = \"http://{origin}\"\n"
    );
    fs::write(folder.path().join("larder.toml"), text).unwrap();
    secret_in(folder.path(), secret);
    (Larder::in_folder(folder.path(), &["serve"], &[]).await, folder)
}

fn secret_in(folder: &Path, secret: &str) {
    fs::write(folder.join("secret"), secret).unwrap();
}

async fn ask(wire: &mut Wire, what: &str, fields: &str) -> Answer {
    let length = if what.starts_with("POST") { "content-length: 0\r\n" } else { "" };
    wire.send(format!("{what} HTTP/1.1\r\nhost: larder.test\r\n{length}{fields}\r\n")).await;
    wire.answer().await
}

/// What a browser would send back.
fn cookie(answer: &Answer) -> String {
    let set = answer.field("set-cookie").unwrap_or_else(|| panic!("{}", answer.head));
    format!("cookie: theme=dark; {}; lang=en\r\n", set.split_once(';').unwrap().0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_at_one_gateway_is_read_at_once_at_another_a_thousand_times() {
    let (origin, text) = service().await;
    let redis = Redis::start().await;
    let (one, _one) = gateway(origin.address, redis.address(), SECRET).await;
    let (other, _other) = gateway(origin.address, redis.address(), SECRET).await;
    let (mut at_one, mut at_other) = (one.connect().await, other.connect().await);
    let mut others = other.connect().await;
    let mut hits = 0;
    for round in 1..=ROUNDS {
        // Somebody else reads all the time, so that there is always something to go wrong.
        ask(&mut others, "GET /list", "").await;
        ask(&mut others, "GET /text", "").await;
        let written = ask(&mut at_one, "POST /text", "").await;
        assert_eq!(written.text(), round.to_string());
        let cookie = cookie(&written);
        for path in ["GET /text", "GET /list"] {
            let read = ask(&mut at_other, path, &cookie).await;
            assert_eq!(read.text(), round.to_string(), "{path}: {}", read.head);
        }
        // Once it is there, it answers everybody.
        let again = ask(&mut at_other, "GET /list", &cookie).await;
        assert_eq!(again.text(), round.to_string());
        hits += u64::from(again.handling().contains("hit"));
        let read = ask(&mut others, "GET /list", "").await;
        assert_eq!(read.text(), round.to_string());
    }
    assert_eq!(text.load(SeqCst), ROUNDS);
    // Within one step of the clock nobody can tell what came first, and it is fetched once more.
    assert!(hits > 0, "none of {ROUNDS} second reads was a hit");
    let issued = one.metric("larder_fences_total{outcome=\"issued\"}").await;
    let honoured = other.metric("larder_fences_total{outcome=\"honoured\"}").await;
    assert_eq!((issued, honoured), (ROUNDS as f64, 3.0 * ROUNDS as f64));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fence_of_nobody_s_has_nothing_fetched_and_what_changes_nothing_carries_none() {
    let (origin, _text) = service().await;
    let redis = Redis::start().await;
    let (one, _one) = gateway(origin.address, redis.address(), SECRET).await;
    let (stranger, _stranger) =
        gateway(origin.address, redis.address(), "another secret of enough letters").await;
    let (mut at_one, mut at_stranger) = (one.connect().await, stranger.connect().await);
    let foreign = cookie(&ask(&mut at_stranger, "POST /text", "").await);
    ask(&mut at_one, "GET /list", "").await;
    let asked = origin.requests().len();
    for fields in [&foreign, "larder-fence: 1\r\n", "cookie: Larder-Fence=\r\n", ""] {
        let read = ask(&mut at_one, "GET /list", fields).await;
        assert!(read.handling().contains("hit"), "{fields}: {}", read.head);
    }
    assert_eq!(origin.requests().len(), asked);
    let ignored = one.metric("larder_fences_total{outcome=\"ignored\"}").await;
    assert_eq!(ignored, 3.0);
    // A method that changes nothing has none either.
    let read = ask(&mut at_one, "OPTIONS /list", "").await;
    assert_eq!(read.field("larder-fence"), None);
}
