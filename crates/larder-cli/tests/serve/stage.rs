//! The console's crowd: many requests at once through a running gateway, where its configuration offers that.

use std::{
    fs,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{sync::watch, time::sleep};

use crate::support::{
    Wire, eventually,
    larder::Larder,
    origin::{Origin, ok},
};

struct Site {
    origin: Origin,
    larder: Larder,
    _folder: TempDir,
}

impl Site {
    /// Before `origin`, with `text` behind the `[admin]` of its file.
    async fn before(origin: Origin, text: &str) -> Site {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "[upstream.app]\nurl = \"http://{}\"\n[server]\nlisten = 0\n[admin]\nlisten = 0\n{text}",
            origin.address
        );
        fs::write(folder.path().join("larder.toml"), text).unwrap();
        let larder = Larder::in_folder(folder.path(), &["serve"], &[]).await;
        Site { origin, larder, _folder: folder }
    }

    async fn crowd(&self, body: &str) -> Value {
        let answer = self.larder.post_to_admin("/v1/stage/crowd", body).await;
        assert_eq!(answer.status(), 200, "{}", answer.text());
        serde_json::from_str(answer.text()).unwrap()
    }

    async fn stage(&self) -> Value {
        let answer = self.larder.get_from_admin("/v1/stage").await;
        serde_json::from_str(answer.text()).unwrap()
    }

    /// The requests of its only route so far, by what they were.
    async fn requests(&self) -> Value {
        let answer = self.larder.get_from_admin("/v1/routes").await;
        let told: Value = serde_json::from_str(answer.text()).unwrap();
        told["routes"][0]["requests"].clone()
    }
}

const FRESH: &str = "cache-control: max-age=600\r\n";

/// Answers only once it is told to.
async fn held_back(fields: &'static str) -> (Origin, watch::Sender<bool>) {
    let (release, released) = watch::channel(false);
    let origin = Origin::playing(move |mut visit| {
        let mut released = released.clone();
        async move {
            while visit.request().await.is_some() {
                released.wait_for(|released| *released).await.unwrap();
                visit.send(ok(fields, "slow")).await;
            }
        }
    })
    .await;
    (origin, release)
}

#[tokio::test]
async fn a_crowd_before_a_cold_path_is_one_request_to_the_service_and_then_hits() {
    let (origin, release) = held_back(FRESH).await;
    let site = Site::before(origin, "stage = true\n").await;
    let asked = async {
        eventually("the service is asked", async || {
            (!site.origin.requests().is_empty()).then_some(())
        })
        .await;
        // Whoever else wants to ask has had the time to.
        sleep(Duration::from_millis(200)).await;
        release.send_replace(true);
    };
    let (report, ()) = tokio::join!(site.crowd(r#"{"path":"/slow","requests":200}"#), asked);
    assert_eq!(site.origin.requests().len(), 1);
    // On a busy machine some come so late that it is there already.
    let verdicts = report["by_verdict"].clone();
    let many = |verdict: &str| verdicts[verdict].as_u64().unwrap();
    assert_eq!((many("miss"), many("collapsed") + many("hit")), (1, 199), "{report}");
    assert!(many("collapsed") > 0, "{report}");
    assert_eq!((&report["requests"], &report["origin_calls"]), (&json!(200), &json!(1)));
    assert_eq!((&report["by_status"], &report["unanswered"]), (&json!({"200": 200}), &json!(0)));
    assert!(report["took_ms"].as_f64().unwrap() >= 200.0, "{report}");
    // They are counted as readers are.
    assert_eq!(site.requests().await, verdicts);

    // What the crowd has fetched is what readers of the same host get, once it is in its place.
    let host = site.larder.address.to_string();
    eventually("what was fetched", async || {
        let mut wire = site.larder.connect().await;
        let fields = format!("host: {host}\r\ncache-control: only-if-cached\r\n");
        wire.send(format!("GET /slow HTTP/1.1\r\n{fields}\r\n")).await;
        (wire.answer().await.handling() == "hit").then_some(())
    })
    .await;

    let report = site.crowd(r#"{"path":"/slow","requests":1000}"#).await;
    assert_eq!((&report["by_verdict"]["hit"], &report["origin_calls"]), (&json!(1000), &json!(0)));
    assert_eq!(site.origin.requests().len(), 1);
}

#[tokio::test]
async fn a_crowd_goes_by_the_routes_of_the_host_that_it_names() {
    let origin = Origin::answering(|head: &str| ok(FRESH, head)).await;
    let text = "stage = true\n[[route]]\nhost = \"shop.example\"\nadd_prefix = \"/shop\"\n";
    let site = Site::before(origin, text).await;
    let report = site.crowd(r#"{"path":"/a","host":"shop.example","requests":3}"#).await;
    assert_eq!(report["by_status"], json!({"200": 3}), "{report}");
    let heads = site.origin.requests();
    let heads = heads.iter().map(|head| head.to_lowercase()).collect::<Vec<_>>();
    assert_eq!(heads.len(), 1);
    assert!(heads[0].starts_with("get /shop/a http/1.1\r\n"), "{}", heads[0]);
    assert!(heads[0].contains("\r\nhost: shop.example\r\n"), "{}", heads[0]);
}

#[tokio::test]
async fn a_crowd_is_for_the_first_port_that_sends_nobody_elsewhere() {
    let origin = Origin::saying(ok(FRESH, "a")).await;
    let text = format!(
        "[upstream.app]\nurl = \"http://{}\"\n[server]\nlisten = 0\nredirect_to_https = 443\n\
         [[listener]]\nname = \"inside\"\nlisten = \"0.0.0.0:0\"\n[admin]\nlisten = 0\nstage = true\n",
        origin.address
    );
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("larder.toml"), text).unwrap();
    let larder = Larder::in_folder(folder.path(), &["serve"], &[]).await;
    let log = larder.process.log.text();
    let port = log.lines().find_map(|line| line.split_once("listening on http://0.0.0.0:"));
    let answer = larder.get_from_admin("/v1/stage").await;
    let told: Value = serde_json::from_str(answer.text()).unwrap();
    // Where all addresses of a machine are listened at, it is found at this one.
    let at = format!("http://127.0.0.1:{}", port.unwrap().1.trim());
    assert_eq!(told["acts"][0]["at"], at, "{told}");
}

#[tokio::test]
async fn what_cannot_be_shared_is_as_many_requests_to_the_service() {
    let site = Site::before(Origin::saying(ok("", "a")).await, "stage = true\n").await;
    let text = r#"{"path":"/a","requests":20}"#;
    let report = site.crowd(text).await;
    assert_eq!(report["by_status"], json!({"200": 20}), "{report}");
    assert_eq!(report["origin_calls"], site.origin.requests().len(), "{report}");
}

#[tokio::test]
async fn a_service_that_is_gone_is_told_of_all() {
    let origin = Origin::saying(ok("", "a")).await;
    let site = Site::before(origin, "stage = true\n").await;
    let Site { origin, larder, _folder } = site;
    let address = origin.address;
    drop(origin);
    eventually("the end of the service", async || {
        tokio::net::TcpStream::connect(address).await.is_err().then_some(())
    })
    .await;
    let answer = larder.post_to_admin("/v1/stage/crowd", r#"{"path":"/a","requests":10}"#).await;
    let report: Value = serde_json::from_str(answer.text()).unwrap();
    assert_eq!(report["by_status"], json!({"502": 10}), "{report}");
}

#[tokio::test]
async fn who_hangs_up_ends_the_crowd() {
    let (origin, _release) = held_back(FRESH).await;
    let site = Site::before(origin, "stage = true\n").await;
    let is_under_way = async |expected: bool| {
        let is_it = async || {
            let told = site.stage().await;
            (told["acts"][0]["is_under_way"] == expected).then_some(())
        };
        eventually("the crowd to begin, or to end", is_it).await;
    };
    let mut wire = Wire::connect(site.larder.admin()).await;
    let body = r#"{"path":"/slow"}"#;
    wire.send(format!(
        "POST /v1/stage/crowd HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    ))
    .await;
    is_under_way(true).await;
    let again = site.larder.post_to_admin("/v1/stage/crowd", body).await;
    assert_eq!(again.status(), 409, "{}", again.text());
    drop(wire);
    let left = Instant::now();
    is_under_way(false).await;
    // Well before the crowd would end by itself.
    assert!(left.elapsed() < Duration::from_secs(8), "{:?}", left.elapsed());
}

#[tokio::test]
async fn without_a_word_in_the_configuration_no_crowd_is_sent() {
    let origin = Origin::saying(ok(FRESH, "a")).await;
    let larder = Larder::before(origin.address).await;
    let answer = larder.post_to_admin("/v1/stage/crowd", r#"{"path":"/a"}"#).await;
    assert_eq!((answer.status(), origin.requests().len()), (404, 0), "{}", answer.text());
    assert_eq!(larder.get_from_admin("/v1/stage").await.status(), 404);
}
