//! Working: what a vendor does behind the scenes, and never ends, or forgets.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use larder::Purge;
use larder_test_support::eventually::eventually;
use serde_json::json;

use crate::{
    double::{Double, Reply, Seen, Vendor},
    setups::larder,
    told::Told,
};

/// More than a handful, and more than are asked about in a second.
const MANY: usize = 40;

/// Another Larder, before a CDN that does nothing until it is up.
#[derive(Default)]
struct Outer {
    is_done: Arc<AtomicBool>,
    /// What it was asked for, and has not forgotten.
    purges: Vec<String>,
    tags: BTreeSet<String>,
    questions: usize,
}

impl Outer {
    fn receipt(&self, id: &str) -> Reply {
        let state = if self.is_done.load(SeqCst) { "confirmed" } else { "sent" };
        let cdn = json!([{ "name": "far", "state": state }]);
        Reply::of(200, json!({ "id": id, "tiers": { "cdn": cdn } }).to_string())
    }
}

impl Vendor for Outer {
    fn answer(&mut self, seen: &Seen) -> Reply {
        if let Some(id) = seen.target.path().strip_prefix("/v1/purges/") {
            self.questions += 1;
            return match self.purges.iter().any(|known| known == id) {
                true => self.receipt(id),
                false => Reply::of(404, r#"{"title":"Unknown purge"}"#),
            };
        }
        let body = match seen.json() {
            Ok(body) => body,
            Err(reply) => return reply,
        };
        let tags: Vec<String> = serde_json::from_value(body["tags"].clone()).unwrap();
        self.tags.extend(tags);
        let id = format!("p{}", self.purges.len());
        self.purges.push(id.clone());
        self.receipt(&id)
    }

    fn too_many(&self) -> Reply {
        Reply::of(429, "{}")
    }
}

async fn has(double: &Double<Outer>, tag: &str) {
    eventually(tag, async || double.look(|outer| outer.tags.contains(tag)).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_never_ends_keeps_nothing_new_from_being_told_and_is_given_up() {
    let double = Double::of(Outer::default(), &[]).await;
    let told = Told::at_once(larder(&double.api()), Duration::from_secs(5));
    let mut asked = Vec::new();
    for number in 0..MANY {
        asked.push(told.purge(Purge::tag(format!("t{number}")).hard()).await);
        // Each in a call of its own.
        has(&double, &format!("t{number}")).await;
    }
    for ask in &asked {
        let ended = told.ended(ask).await;
        assert_eq!(ended["state"], "failed", "{ended}");
        assert_eq!(ended["reason"], "given up: it is still at work", "{ended}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_done_in_the_end_is_confirmed() {
    let (double, is_done) = {
        let outer = Outer::default();
        let is_done = Arc::clone(&outer.is_done);
        (Double::of(outer, &[]).await, is_done)
    };
    let told = Told::at_once(larder(&double.api()), Duration::from_secs(3600));
    let ask = told.purge(Purge::tag("a").hard()).await;
    eventually("a question", async || double.look(|outer| outer.questions > 0).then_some(())).await;
    assert_eq!(told.now(&ask)["state"], "sent");
    is_done.store(true, SeqCst);
    assert_eq!(told.ended(&ask).await["state"], "confirmed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_forgotten_there_is_asked_for_once_more() {
    let double = Double::of(Outer::default(), &[]).await;
    let told = Told::at_once(larder(&double.api()), Duration::from_secs(3600));
    let ask = told.purge(Purge::tag("a").hard()).await;
    has(&double, "a").await;
    // As after a restart; what it was asked for there it may not have done.
    double.look(|outer| {
        outer.purges[0] = "another".to_owned();
        outer.is_done.store(true, SeqCst);
    });
    let ended = told.ended(&ask).await;
    assert_eq!(ended["state"], "confirmed", "{ended}");
    assert_eq!(double.look(|outer| outer.purges.len()), 2, "{ended}");
}
