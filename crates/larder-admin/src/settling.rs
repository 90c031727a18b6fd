//! Settling: how far the shared tier is with purges, found out behind those who asked for one and did not wait.
//!
//! A task looks four times a second whether there are any of which the tier has not said that they hold, and asks it. It begins
//! with the router, or with the first request where that is made outside a runtime.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use larder::TierReceipt;
use tokio::{runtime::Handle, time::sleep};

use crate::{
    console::Console,
    trail::{Trail, is_applied},
};

const LOOK: Duration = Duration::from_millis(250);
/// One question takes no longer: a tier that finds out what it has lost answers later ones sooner.
const HELD: Duration = Duration::from_secs(5);

/// Somebody looks. Dropping it says that nobody does any more.
struct Looking(Weak<Console>);

impl Drop for Looking {
    fn drop(&mut self) {
        if let Some(console) = self.0.upgrade() {
            console.is_settling.store(false, Ordering::Relaxed);
        }
    }
}

/// Begins to look, unless that has begun, there is no shared tier, or no runtime to do it on.
pub(crate) fn begin(console: &Arc<Console>) {
    let is_settling: &AtomicBool = &console.is_settling;
    let Some(trail) = console.trail.clone().filter(Trail::has_shared) else { return };
    let Ok(runtime) = Handle::try_current() else { return };
    if !is_settling.load(Ordering::Relaxed) && !is_settling.swap(true, Ordering::Relaxed) {
        let stop = console.stop.clone();
        let looking = look(Looking(Arc::downgrade(console)), trail);
        // It ends by itself when the console does: nobody need hold it.
        drop(runtime.spawn(async move { stop.run_until_cancelled(looking).await }));
    }
}

async fn look(looking: Looking, trail: Trail) {
    loop {
        sleep(LOOK).await;
        // What is made after this the answer may not be about.
        let open = trail.not_shared();
        let Some(console) = looking.0.upgrade() else { return };
        if open.is_empty() {
            continue;
        }
        let caches = console.caches.clone();
        drop(console);
        let mut least: Option<TierReceipt> = None;
        for cache in caches {
            let Some(receipt) = cache.purges_held(HELD).await else { continue };
            if least.as_ref().is_none_or(is_applied) {
                least = Some(receipt);
            }
        }
        // Until then they are on their way, however long that takes.
        if let Some(receipt) = least.filter(is_applied) {
            trail.shared(&open, &Arc::new(receipt));
        }
    }
}
