//! Refusals: what is about one of several, about all of them, and about who asks.

use std::time::Duration;

use larder::Purge;
use serde_json::{Map, Value};

use crate::{
    double::{Double, Mishap, Reply, Seen, Vendor},
    setups::fastly,
    told::Told,
};

const TAGS: usize = 100;

/// A vendor that refuses all but the first call, until it has done so that often.
struct Refusing {
    reply: Reply,
    left: usize,
}

impl Vendor for Refusing {
    fn answer(&mut self, seen: &Seen) -> Reply {
        let body = seen.json().unwrap();
        let keys: Vec<String> = serde_json::from_value(body["surrogate_keys"].clone()).unwrap();
        if self.left > 0 && keys != ["first"] {
            self.left -= 1;
            return self.reply.clone();
        }
        let ids: Map<String, Value> = keys.into_iter().map(|key| (key, "1".into())).collect();
        Reply::of(200, Value::Object(ids).to_string())
    }

    fn too_many(&self) -> Reply {
        Reply::of(429, "{}")
    }
}

/// How a hundred tags end, and in how many calls, with this answer so often.
async fn of_a_hundred(status: u16, words: &str, times: usize) -> (Vec<Value>, usize) {
    let vendor = Refusing { reply: Reply::of(status, words), left: times };
    // While the first is under way the others come together.
    const MISHAPS: &[Mishap] = &{
        let mut all = [Mishap::None; 1000];
        all[0] = Mishap::Slow;
        all
    };
    let double = Double::of(vendor, MISHAPS).await;
    let told = Told::at_once(fastly(&double.api()), Duration::from_secs(3600));
    told.purge(Purge::tag("first").hard()).await;
    larder_test_support::eventually::eventually("the first call", async || {
        (double.calls() == 1).then_some(())
    })
    .await;
    let mut asked = Vec::new();
    for tag in 0..TAGS {
        asked.push(told.purge(Purge::tag(format!("t{tag}")).hard()).await);
    }
    let mut ends = Vec::new();
    for ask in &asked {
        ends.push(told.ended(ask).await);
    }
    (ends, double.calls() - 1)
}

fn are(ends: &[Value], state: &str) -> bool {
    ends.iter().all(|end| end["state"] == state)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_that_is_about_all_is_not_asked_for_once_more_one_by_one() {
    let unknown = r#"{"msg":"Record not found","detail":"Cannot load service"}"#;
    for (status, words, most) in [(404, unknown, 1), (400, r#"{"msg":"no such thing"}"#, 17)] {
        let (ends, calls) = of_a_hundred(status, words, usize::MAX).await;
        assert!(are(&ends, "failed"), "{ends:?}");
        assert!(calls <= most, "{status}: {calls} calls");
        let reason = ends[TAGS / 2]["reason"].as_str().unwrap();
        assert!(reason.starts_with(&status.to_string()), "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_refused_because_of_credentials_goes_when_they_are_taken() {
    for status in [401, 403] {
        let (ends, calls) = of_a_hundred(status, r#"{"msg":"Provided credentials"}"#, 2).await;
        assert!(are(&ends, "confirmed"), "{ends:?}");
        assert_eq!(calls, 3, "{status}");
    }
}
