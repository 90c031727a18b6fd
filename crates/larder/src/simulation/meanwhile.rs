//! Meanwhile: what other tasks of a process do while one of them purges memory. In the simulation all of that is one
//! step; here it is held up in the middle.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt;
use tokio::{runtime, time::sleep};

use crate::{
    Cache, Clock,
    codec::Text,
    lower::{Call, InProcess, LowerPurge, LowerTier, Point, PurgeId},
    purge::{Mode, Scope},
    rules::Rule,
};

/// How often somebody could still be served what was said to be purged for all.
fn served_though_it_holds() -> u64 {
    let mut builder = runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().unwrap();
    let runtime = Arc::new(runtime);
    let below = InProcess::new(Clock::system()).with_readers();
    let served = Arc::new(AtomicU64::new(0));

    let purge = |number, key: &str| LowerPurge {
        id: PurgeId { source: 1, number },
        scopes: vec![Scope::Key(key.to_owned())],
        mode: Mode::Hard,
    };
    let renewed = |below: &InProcess, times: u64| {
        let (below, most) = (below.clone(), below.calls(Call::Renew) + times);
        async move {
            for _ in 0..100 {
                if below.calls(Call::Renew) >= most {
                    return;
                }
                sleep(Duration::from_millis(100)).await;
            }
            panic!("nobody renews");
        }
    };
    let cache = {
        let _in_it = runtime.enter();
        let (runtime, below, served) = (Arc::clone(&runtime), below.clone(), Arc::clone(&served));
        let hook = {
            let below = below.clone();
            move |key: &str, _: &String, _| {
                if key != "first" {
                    return;
                }
                // That one is being purged, the second one is still there.
                runtime.block_on(renewed(&below, 3));
                let end = below.tail(None).now_or_never().unwrap().unwrap().position;
                let holds = below.readers().unwrap().holds(end, Duration::ZERO).now_or_never();
                let holds = matches!(holds, Some(Ok(holds)) if holds.missing.is_empty());
                served.fetch_add(u64::from(holds), Ordering::Relaxed);
            }
        };
        Cache::<String>::builder().lower(below, Text).on_removed(hook).build()
    };
    runtime.block_on(async {
        renewed(&below, 2).await;
        for key in ["first", "second"] {
            cache.get_or_fetch(key, async || String::new()).await;
        }
    });
    // Nobody but the one who catches up learns of them.
    below.hold(Call::Follow, Point::Answer);
    let purges = [purge(1, "first"), purge(2, "second")];
    below.append(&purges).now_or_never().unwrap().unwrap();
    assert!(cache.get("second").is_some());
    cache.catch_up().now_or_never().unwrap().unwrap();
    assert!(cache.get("second").is_none());
    served.load(Ordering::Relaxed)
}

#[test]
fn while_memory_is_being_purged_nobody_says_that_it_is() {
    assert_eq!(served_though_it_holds(), 0);
    let _off = Rule::DoneIsSaidWhenItIsDone.turn_off();
    assert_ne!(served_though_it_holds(), 0);
}
