//! Circle: gateways that name each other as CDNs tell each other of a purge, and it goes round no further.

use std::{fs, time::Duration};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::support::{
    free_port,
    larder::Larder,
    origin::{Origin, ok},
};

/// A gateway at this port for its admin API, which tells others at theirs.
async fn gateway(origin: &Origin, admin: u16, others: &[u16]) -> (TempDir, Larder) {
    let folder = tempfile::tempdir().unwrap();
    let cdn = |(nth, port): (usize, &u16)| {
        format!("[[cdn]]\nname = \"n{nth}\"\n[cdn.larder]\napi = \"http://127.0.0.1:{port}\"\n")
    };
    let cdns: String = others.iter().enumerate().map(cdn).collect();
    let text = format!(
        "[server]\nlisten = 0\n[admin]\nlisten = {admin}\n[outbox]\nsettle = \"20ms\"\n\
         [upstream.app]\nurl = \"http://{}\"\n{cdns}",
        origin.address
    );
    fs::write(folder.path().join("larder.toml"), text).unwrap();
    let larder = Larder::in_folder(folder.path(), &["serve"], &[]).await;
    (folder, larder)
}

async fn purge(at: &Larder, tag: &str) -> Value {
    let body = json!({ "tags": [tag], "mode": "hard", "wait": "cdn", "timeout_ms": 20_000 });
    let answer = at.post_to_admin("/v1/purge", &body.to_string()).await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    serde_json::from_str(answer.text()).unwrap()
}

async fn calls(larder: &Larder) -> f64 {
    let mut sum = 0.0;
    for outcome in ["done", "working"] {
        sum += larder.metric(&format!("larder_cdn_calls_total{{outcome=\"{outcome}\"}}")).await;
    }
    sum
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_reaches_all_that_name_each_other_and_goes_round_no_further() {
    let fields = "cache-control: max-age=600\r\nsurrogate-key: t\r\n";
    let origin = Origin::saying(ok(fields, "page")).await;
    let ports = [free_port(), free_port(), free_port()];
    // Two that name each other, and a third that is told by one of them and tells the other.
    let (_one, one) = gateway(&origin, ports[0], &[ports[1]]).await;
    let (_two, two) = gateway(&origin, ports[1], &[ports[0], ports[2]]).await;
    let (_three, three) = gateway(&origin, ports[2], &[ports[0]]).await;
    let all = [&one, &two, &three];
    for (nth, asked) in all.into_iter().enumerate() {
        for larder in all {
            larder.get("/page").await;
            assert_eq!(larder.get("/page").await.handling(), "hit");
        }
        let told = purge(asked, "t").await;
        for cdn in told["tiers"]["cdn"].as_array().unwrap() {
            assert_eq!(cdn["state"], "confirmed", "{nth}: {told}");
        }
        for larder in all {
            assert_ne!(larder.get("/page").await.handling(), "hit", "{nth}");
        }
    }
    let mut before = 0.0;
    for larder in all {
        before += calls(larder).await;
    }
    sleep(Duration::from_secs(1)).await;
    let mut after = 0.0;
    for larder in all {
        after += calls(larder).await;
        assert_eq!(larder.metric("larder_cdn_purges_waiting{cdn=\"n0\"}").await, 0.0);
    }
    assert_eq!(before, after, "nobody is told any more");
    assert!(after < 100.0, "{after} calls for three purges");
    for larder in all {
        assert!(larder.metric("larder_admin_purges_come_round_total").await > 0.0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn purges_of_all_at_once_end_as_well() {
    let origin = Origin::saying(ok("cache-control: max-age=600\r\n", "page")).await;
    let ports = [free_port(), free_port()];
    let (_one, one) = gateway(&origin, ports[0], &[ports[1]]).await;
    let (_two, two) = gateway(&origin, ports[1], &[ports[0]]).await;
    for nth in 0..10 {
        let (of_one, of_two) = (format!("one{nth}"), format!("two{nth}"));
        let told = tokio::join!(purge(&one, &of_one), purge(&two, &of_two));
        for told in [told.0, told.1] {
            assert_eq!(told["tiers"]["cdn"][0]["state"], "confirmed", "{told}");
        }
    }
    let before = calls(&one).await + calls(&two).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(calls(&one).await + calls(&two).await, before);
}
