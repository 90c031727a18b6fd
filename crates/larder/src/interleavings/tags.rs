//! The log of purges alone: a purge that has been acknowledged is known to whoever looks afterwards.

use std::sync::Arc;

use shuttle::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use super::{RUNS, in_many_orders};
use crate::{
    clock::ManualClock,
    purge::{Mode, last::PurgeState, log::PurgeLog, tags::TagKey},
};

#[test]
fn what_began_before_an_acknowledged_purge_counts_as_purged() {
    for mode in [Mode::Hard, Mode::Soft] {
        in_many_orders(RUNS, move || {
            let log = Arc::new(PurgeLog::new(100, TagKey::new([0; 16])));
            let now = ManualClock::new().clock().now();
            let (truth, acknowledged) =
                (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            let purgers = (0..2).map(|_| {
                let (log, truth) = (Arc::clone(&log), Arc::clone(&truth));
                let acknowledged = Arc::clone(&acknowledged);
                thread::spawn(move || {
                    let newest = truth.fetch_add(1, Ordering::SeqCst) + 1;
                    log.next();
                    log.purge_tag("tag", mode, now);
                    acknowledged.fetch_max(newest, Ordering::SeqCst);
                })
            });
            let fetches = (0..2).map(|_| {
                let (log, truth) = (Arc::clone(&log), Arc::clone(&truth));
                let acknowledged = Arc::clone(&acknowledged);
                thread::spawn(move || {
                    let fence = log.position();
                    let fetched = truth.load(Ordering::SeqCst);
                    let newest = acknowledged.load(Ordering::SeqCst);
                    let state = log.state(&[log.tag("tag")], fence);
                    assert!(fetched >= newest || state != PurgeState::Untouched, "{state:?}");
                })
            });
            let tasks: Vec<_> = purgers.chain(fetches).collect();
            tasks.into_iter().for_each(|task| task.join().unwrap());
        });
    }
}

#[test]
fn a_purge_that_is_forgotten_for_want_of_room_still_counts() {
    in_many_orders(RUNS, || {
        let log = Arc::new(PurgeLog::new(2, TagKey::new([0; 16])));
        let now = ManualClock::new().clock().now();
        let purgers: Vec<_> = [["a", "b"], ["c", "d"]]
            .into_iter()
            .map(|tags| {
                let log = Arc::clone(&log);
                thread::spawn(move || {
                    for tag in tags {
                        log.purge_tag(tag, Mode::Hard, now);
                        let state = log.state(&[log.tag(tag)], 0);
                        assert_eq!(state, PurgeState::Purged, "{tag}");
                        assert!(log.tags() <= 2);
                    }
                })
            })
            .collect();
        purgers.into_iter().for_each(|purger| purger.join().unwrap());
        for tag in ["a", "b", "c", "d"] {
            assert_eq!(log.state(&[log.tag(tag)], 0), PurgeState::Purged, "{tag}");
        }
        assert_eq!(log.position(), 4, "each purge has a number of its own");
    });
}
