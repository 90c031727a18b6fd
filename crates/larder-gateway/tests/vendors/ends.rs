//! Ends: what receipts say of purges that a vendor never took, and of so many that they became one of everything.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use larder::Purge;
use larder_gateway::cdn::MOST_BYTES;

use crate::{
    double::{Double, Reply, Seen, Vendor},
    setups::fastly,
    told::Told,
};

/// At Fastly.
const MOST_IN_A_CALL: usize = 256;

/// A vendor that is unwell until it is not.
struct Unwell {
    is_well: Arc<AtomicBool>,
    urls: usize,
    all: usize,
}

impl Vendor for Unwell {
    fn answer(&mut self, seen: &Seen) -> Reply {
        if !self.is_well.load(SeqCst) {
            return Reply::of(503, "{\"msg\":\"in maintenance\"}");
        }
        match seen.target.path().ends_with("/purge_all") {
            true => self.all += 1,
            false => self.urls += 1,
        }
        Reply::of(200, r#"{"status":"ok","id":"1"}"#)
    }

    fn too_many(&self) -> Reply {
        Reply::of(429, "{}")
    }
}

async fn start(give_up: Duration) -> (Double<Unwell>, Arc<AtomicBool>, Told) {
    let is_well = Arc::new(AtomicBool::new(false));
    let vendor = Unwell { is_well: Arc::clone(&is_well), urls: 0, all: 0 };
    let double = Double::of(vendor, &[]).await;
    let told = Told::at_once(fastly(&double.api()), give_up);
    (double, is_well, told)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_vendor_never_takes_is_given_up_with_its_last_words() {
    let (_double, _, told) = start(Duration::from_secs(2)).await;
    let ask = told.purge(Purge::key("https://www.example.com/a").hard()).await;
    let ended = told.ended(&ask).await;
    assert_eq!(ended["state"], "failed", "{ended}");
    assert_eq!(ended["reason"], "given up: 503: in maintenance", "{ended}");
    // With the call that it was given up at.
    let calls = ended["calls"].as_array().unwrap();
    assert_eq!(calls.last().unwrap()["state"], "failed", "{ended}");
    assert_eq!(told.cdns.stats()[0].failed, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_purges_become_one_of_everything_and_all_their_receipts_say_so() {
    let (double, is_well, told) = start(Duration::from_secs(3600)).await;
    // Of long names fewer are too many.
    let long = "x".repeat(7_000);
    let count = MOST_BYTES / long.len() + 10;
    let mut asked = Vec::new();
    for number in 0..count {
        let key = format!("https://www.example.com/{number}/{long}");
        asked.push(told.purge(Purge::key(key).hard()).await);
    }
    let stats = told.cdns.outbox();
    assert_eq!(stats.overflows, 1);
    assert!(stats.bytes < MOST_BYTES / 2, "there is room again: {}", stats.bytes);
    is_well.store(true, SeqCst);
    let first = told.ended(&asked[0]).await;
    assert_eq!(first["state"], "confirmed", "{first}");
    let reason = "too many purges waited: everything is purged";
    assert_eq!(first["reason"], reason, "{first}");
    let mut widened = 0;
    for ask in &asked {
        let ended = told.ended(ask).await;
        assert_eq!(ended["state"], "confirmed", "{ended}");
        widened += usize::from(ended["reason"] == reason);
    }
    assert_eq!(told.cdns.stats()[0].confirmed as usize, count - widened + 1, "it is one purge");
    double.look(|vendor| {
        assert!(vendor.all >= 1, "everything");
        // What was under way when it became one of everything goes on.
        let most = count - widened + 1 + MOST_IN_A_CALL;
        assert!(vendor.urls <= most, "{} of {count}, {widened}", vendor.urls);
    });
}
