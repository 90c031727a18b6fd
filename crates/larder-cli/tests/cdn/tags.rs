//! Tags: what the CDN was told in the form that all vendors take is purged there by the name that somebody says. By a real
//! Varnish with xkey.

use std::{
    fmt::Write,
    fs,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use rustix::process::Signal;
use serde_json::json;

use crate::{
    outer::Varnish,
    site::{Site, state},
    support::{
        Wire, eventually, free_port,
        larder::Larder,
        origin::{Origin, ok},
    },
};

const SHORT: &str = "Surrogate-Key: post:1 Post-1 list";
/// More than go out.
const MANY: usize = 80;

/// Pages that are all of this version.
async fn pages(version: &Arc<AtomicU64>) -> Origin {
    let version = Arc::clone(version);
    Origin::playing(move |mut visit| {
        let version = Arc::clone(&version);
        async move {
            while let Some(head) = visit.request().await {
                let mut tags = SHORT.to_owned();
                if head.starts_with("GET /many ") {
                    (0..MANY).for_each(|tag| write!(tags, " t{tag:02}").unwrap());
                }
                let fields = format!("cache-control: max-age=600\r\n{tags}\r\n");
                visit.send(ok(&fields, format!("{}", version.load(SeqCst)))).await;
            }
        }
    })
    .await
}

async fn read(outer: SocketAddr, path: &str) -> u64 {
    let mut wire = Wire::connect(outer).await;
    let head = format!("GET {path} HTTP/1.1\r\nhost: larder.test\r\nconnection: close\r\n\r\n");
    wire.send(head).await;
    let answer = wire.answer().await;
    answer.text().trim().parse().unwrap_or_else(|_| panic!("{}", answer.text()))
}

/// `rules`: for tags.
fn text(port: u16, origin: &Origin, varnish: &Varnish, rules: &str) -> String {
    format!(
        "[server]\nlisten = {port}\ntrusted_peers = [\"127.0.0.1\"]\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [defaults]\n{rules}\n[upstream.app]\nurl = \"http://{}\"\n\
         [[cdn]]\n[cdn.varnish]\napi = \"http://{}\"\n[outbox]\nsettle = \"50ms\"\n",
        origin.address, varnish.address
    )
}

const TOLD: &str = "cdn_tags = [\"Surrogate-Key\"]";

/// Each of these tags takes the pages away from Varnish that carry it, however it was told them.
async fn each_is_purged(site: &Site, outer: SocketAddr, version: &AtomicU64) {
    // Of the tags of one page the last do not fit, and go out as the one for those.
    for (tag, path) in
        [("post:1", "/a"), ("Post-1", "/a"), ("list", "/a"), ("t03", "/many"), ("t79", "/many")]
    {
        let before = version.load(SeqCst);
        assert_eq!(read(outer, path).await, before, "{tag}");
        version.fetch_add(1, SeqCst);
        let story = site.purge(json!({ "tags": [tag] }), Duration::from_secs(30)).await;
        assert_eq!(state(&story), "confirmed", "{story}");
        assert_eq!(read(outer, path).await, before + 1, "{tag}: {story}");
        // What does not carry it stays, and so is what was read kept by Varnish.
        if tag == "t03" {
            assert_eq!(read(outer, "/a").await, before, "{tag}");
            let all = site.purge(json!({ "all": true }), Duration::from_secs(30)).await;
            assert_eq!(state(&all), "confirmed", "{all}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tag_that_goes_out_as_a_hash_or_not_at_all_is_purged_by_its_name() {
    let (version, port) = (Arc::new(AtomicU64::new(1)), free_port());
    let (origin, varnish) = (pages(&version).await, Varnish::before(port).await);
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("larder.toml"), text(port, &origin, &varnish, TOLD)).unwrap();
    let larder = Larder::in_folder(folder.path(), &["serve"], &[]).await;
    let site = Site { larder, folder };
    each_is_purged(&site, varnish.address, &version).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tags_that_a_reload_has_told_otherwise_are_purged_as_they_were_and_as_they_are() {
    let (version, port) = (Arc::new(AtomicU64::new(1)), free_port());
    let (origin, varnish) = (pages(&version).await, Varnish::before(port).await);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("larder.toml");
    fs::write(&file, text(port, &origin, &varnish, "")).unwrap();
    let larder = Larder::in_folder(folder.path(), &["serve"], &[]).await;
    let site = Site { larder, folder };
    // As the service wrote it.
    assert_eq!(read(varnish.address, "/a").await, 1);
    for (rules, reloads) in [(TOLD, 1.0), ("", 2.0)] {
        fs::write(&file, text(port, &origin, &varnish, rules)).unwrap();
        site.larder.signal(Signal::HUP);
        eventually("the reload", async || {
            let done = site.larder.metric("larder_config_reloads_total{outcome=\"applied\"}").await;
            (done == reloads).then_some(())
        })
        .await;
        // What is there is from before it.
        let before = version.fetch_add(1, SeqCst);
        assert_eq!(read(varnish.address, "/a").await, before);
        let story = site.purge(json!({ "tags": ["post:1"] }), Duration::from_secs(30)).await;
        assert_eq!(state(&story), "confirmed", "{story}");
        assert_eq!(read(varnish.address, "/a").await, before + 1, "{story}");
        if !rules.is_empty() {
            each_is_purged(&site, varnish.address, &version).await;
        }
        // With what this was told by it goes on to the next.
        assert_eq!(read(varnish.address, "/a").await, version.load(SeqCst));
    }
}

#[tokio::test]
async fn so_many_tags_go_out_as_is_said() {
    let version = Arc::new(AtomicU64::new(1));
    let origin = pages(&version).await;
    let port = free_port();
    for (rules, tags, bytes) in [
        ("", 50, 16_384),
        ("cdn_tags_max = 20", 20, 16_384),
        ("cdn_tags_max = 70", 70, 16_384),
        ("cdn_tags_max_bytes = \"128B\"", 19, 128),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "[server]\nlisten = {port}\ntrusted_peers = [\"127.0.0.1\"]\n[admin]\nlisten = 0\n[defaults]\n{TOLD}\n{rules}\n\
             [upstream.app]\nurl = \"http://{}\"\n",
            origin.address
        );
        fs::write(folder.path().join("larder.toml"), text).unwrap();
        let larder = Larder::in_folder(folder.path(), &["serve"], &[]).await;
        let answer = larder.get_with("/many", "x-forwarded-for: 192.0.2.1\r\n").await;
        let told = answer.field("surrogate-key").unwrap();
        assert_eq!(told.split(' ').count(), tags, "{rules}: {told}");
        assert!(told.len() <= bytes && told.ends_with(" larder-overflow"), "{rules}: {told}");
    }
}
