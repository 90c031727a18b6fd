//! Crash: what a gateway had still to tell when it was killed, the next one tells.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    site::{Site, state},
    support::{
        eventually,
        larder::Larder,
        origin::{Origin, ok},
    },
};

/// What a CDN was told, in its order, and whether it answers.
#[derive(Clone, Default)]
pub(crate) struct Told {
    pub(crate) tags: Arc<Mutex<Vec<String>>>,
    pub(crate) calls: Arc<AtomicUsize>,
    pub(crate) is_up: Arc<AtomicBool>,
}

impl Told {
    /// A CDN that takes a list of tags in JSON, and as many as it likes.
    pub(crate) async fn serve(&self) -> Origin {
        let told = self.clone();
        Origin::playing(move |visit| {
            let told = told.clone();
            async move {
                let mut wire = visit.into_wire();
                while wire.has_more().await {
                    let head = wire.head().await;
                    let Some(body) = wire.body(&head).await else { return };
                    told.calls.fetch_add(1, SeqCst);
                    if !told.is_up.load(SeqCst) {
                        let busy = "HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n";
                        if wire.try_send(busy).await.is_err() {
                            return;
                        }
                        continue;
                    }
                    let said: Value = serde_json::from_slice(&body).unwrap();
                    let tags = said["tags"].as_array().cloned().unwrap_or_default();
                    let tags = tags.iter().map(|tag| tag.as_str().unwrap().to_owned());
                    told.tags.lock().unwrap().extend(tags);
                    if wire.try_send(ok("content-type: application/json\r\n", "{}")).await.is_err()
                    {
                        return;
                    }
                }
            }
        })
        .await
    }
}

fn tables(cdn: &Origin) -> String {
    format!(
        "[[cdn]]\n[cdn.larder]\napi = \"http://{}\"\n[outbox]\njournal = \"cdn\"\nsettle = \"0s\"\n",
        cdn.address
    )
}

#[tokio::test]
async fn ten_thousand_tags_arrive_whole_though_the_gateway_is_killed_in_the_middle() {
    let origin = Origin::saying(ok("cache-control: max-age=600\r\n", "page")).await;
    let told = Told::default();
    let cdn = told.serve().await;
    let site = Site::before(origin.address, &tables(&cdn)).await;
    let mut ids = Vec::new();
    for request in 0..10 {
        let tags: Vec<_> = (0..1000).map(|tag| format!("t{:05}", request * 1000 + tag)).collect();
        let story = site.post(&json!({ "tags": tags, "mode": "hard" })).await;
        ids.push(story["id"].as_str().unwrap().to_owned());
        // In the middle the CDN is there for a while.
        told.is_up.store(request == 4, SeqCst);
        if request == 4 {
            eventually("some to arrive", async || {
                (!told.tags.lock().unwrap().is_empty()).then_some(())
            })
            .await;
        }
    }
    told.is_up.store(false, SeqCst);
    let Site { larder, folder } = site;
    larder.signal(Signal::KILL);
    larder.exit().await;
    told.is_up.store(true, SeqCst);
    let larder = Larder::in_folder(folder.path(), &["serve"], &[]).await;
    let site = Site { larder, folder };
    eventually("all to arrive", async || {
        let tags = told.tags.lock().unwrap();
        let different: BTreeSet<&String> = tags.iter().collect();
        (different.len() == 10_000).then_some(())
    })
    .await;
    // By the name that the earlier process gave it.
    let last = eventually("the last to be confirmed", async || {
        let story = site.story(ids.last().unwrap()).await;
        (state(&story) == "confirmed").then_some(story)
    })
    .await;
    assert_eq!(last["purges"], 1000);
    // Those that came last came in the order of the log.
    let tags = told.tags.lock().unwrap().clone();
    let first_time: Vec<&String> = {
        let mut seen = BTreeSet::new();
        tags.iter().filter(|tag| seen.insert(*tag)).collect()
    };
    assert!(first_time.is_sorted(), "{first_time:?}");
}

#[tokio::test]
async fn what_is_confirmed_is_not_told_again_by_the_next_process() {
    let origin = Origin::saying(ok("cache-control: max-age=600\r\n", "page")).await;
    let told = Told::default();
    told.is_up.store(true, SeqCst);
    let cdn = told.serve().await;
    let site = Site::before(origin.address, &tables(&cdn)).await;
    let story = site.purge(json!({ "tags": ["a"] }), Duration::from_secs(30)).await;
    assert_eq!(state(&story), "confirmed", "{story}");
    let Site { larder, folder } = site;
    larder.signal(Signal::TERM);
    assert_eq!(larder.exit().await, Some(0));
    let calls = told.calls.load(SeqCst);
    let larder = Larder::in_folder(folder.path(), &["serve"], &[]).await;
    let site = Site { larder, folder };
    let story = site.purge(json!({ "tags": ["b"] }), Duration::from_secs(30)).await;
    assert_eq!(state(&story), "confirmed", "{story}");
    let tags = told.tags.lock().unwrap().clone();
    assert_eq!(tags.iter().filter(|tag| *tag == "a").count(), calls, "{tags:?}");
}
