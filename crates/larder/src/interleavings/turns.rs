//! Turns alone: nobody runs without one who needs one, and none is lost.

use std::sync::Arc;

use shuttle::{
    future::{block_on, spawn, yield_now},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use super::{RUNS, in_many_orders};
use crate::turns::{Fetch, Turns};

/// Takes a turn, runs and ends, also if it is dropped.
async fn run(fetch: Arc<Fetch>, at_once: Arc<AtomicUsize>, most: usize) {
    assert!(!fetch.take_turn().await, "nobody waits for so long");
    let running = Running { fetch, at_once };
    assert!(running.at_once.fetch_add(1, Ordering::SeqCst) < most, "too many run");
    yield_now().await;
}

struct Running {
    fetch: Arc<Fetch>,
    at_once: Arc<AtomicUsize>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.at_once.fetch_sub(1, Ordering::SeqCst);
        self.fetch.end_one();
    }
}

#[test]
fn a_turn_goes_from_one_to_the_next_whoever_leaves_or_hurries() {
    in_many_orders(RUNS, || {
        let (turns, at_once) = (Turns::new(1), Arc::new(AtomicUsize::new(0)));
        let fetches: Vec<_> = (0..4).map(|_| Fetch::new(&turns)).collect();
        // One of them needs no turn.
        let running = |fetch: &Arc<Fetch>| run(Arc::clone(fetch), Arc::clone(&at_once), 2);
        let leaving = spawn(running(&fetches[0]));
        let tasks: Vec<_> = fetches[1..]
            .iter()
            .map(|fetch| {
                let running = running(fetch);
                thread::spawn(move || block_on(running))
            })
            .collect();
        let hurrying = Arc::clone(&fetches[2]);
        let hurrying = thread::spawn(move || hurrying.hurry());
        leaving.abort();
        tasks.into_iter().chain([hurrying]).for_each(|task| task.join().unwrap());
        let last = Fetch::new(&turns);
        block_on(running(&last));
    });
}
