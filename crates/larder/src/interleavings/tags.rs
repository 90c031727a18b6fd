//! The tag table alone: a purge that has been acknowledged is known to whoever looks afterwards.

use std::sync::Arc;

use shuttle::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use super::{RUNS, in_many_orders};
use crate::{
    clock::ManualClock,
    tag::{Mode, Standing, TagTable},
};

#[test]
fn what_began_before_an_acknowledged_purge_stands_purged() {
    for mode in [Mode::Hard, Mode::Soft] {
        in_many_orders(RUNS, move || {
            let table = Arc::new(TagTable::new(100));
            let now = ManualClock::new().clock().now();
            let (truth, acknowledged) =
                (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            let purgers = (0..2).map(|_| {
                let (table, truth) = (Arc::clone(&table), Arc::clone(&truth));
                let acknowledged = Arc::clone(&acknowledged);
                thread::spawn(move || {
                    let newest = truth.fetch_add(1, Ordering::SeqCst) + 1;
                    table.purge("tag", mode, now);
                    acknowledged.fetch_max(newest, Ordering::SeqCst);
                })
            });
            let fetches = (0..2).map(|_| {
                let (table, truth) = (Arc::clone(&table), Arc::clone(&truth));
                let acknowledged = Arc::clone(&acknowledged);
                thread::spawn(move || {
                    let fence = table.fence();
                    let fetched = truth.load(Ordering::SeqCst);
                    let newest = acknowledged.load(Ordering::SeqCst);
                    let standing = table.standing(&[table.id("tag")], fence);
                    assert!(fetched >= newest || standing != Standing::Untouched, "{standing:?}");
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
        let table = Arc::new(TagTable::new(2));
        let now = ManualClock::new().clock().now();
        let purgers: Vec<_> = [["a", "b"], ["c", "d"]]
            .into_iter()
            .map(|tags| {
                let table = Arc::clone(&table);
                thread::spawn(move || {
                    for tag in tags {
                        table.purge(tag, Mode::Hard, now);
                        let standing = table.standing(&[table.id(tag)], 0);
                        assert_eq!(standing, Standing::Purged, "{tag}");
                        assert!(table.len() <= 2);
                    }
                })
            })
            .collect();
        purgers.into_iter().for_each(|purger| purger.join().unwrap());
        for tag in ["a", "b", "c", "d"] {
            assert_eq!(table.standing(&[table.id(tag)], 0), Standing::Purged, "{tag}");
        }
        assert_eq!(table.fence(), 4, "each purge has a number of its own");
    });
}
