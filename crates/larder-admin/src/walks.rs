//! Walks: purges that look at every key. They take turns, off the loops that answer requests, and so many may wait.

use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    task::Poll,
    time::Duration,
};

use larder::Scope;
use tokio::{runtime::Handle, sync::Mutex, task::spawn_blocking};

use crate::figures::{Family, Figures, Kind};

/// As many wait for their turn, or have it.
const MOST: usize = 64;

/// When it is worth asking again where there are too many.
pub const ASK_AGAIN: Duration = Duration::from_secs(1);

/// The walks of one way in. Clones share it.
#[derive(Clone, Default)]
pub struct Walks(Arc<State>);

#[derive(Default)]
struct State {
    /// One at a time.
    turn: Arc<Mutex<()>>,
    begun: AtomicUsize,
    refused: AtomicU64,
}

/// Why one was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoWalk {
    /// As many wait as may.
    #[error("{MOST} purges that look at everything wait already")]
    TooMany,
    /// It broke, and said so in the log.
    #[error("the purge broke off")]
    Broken,
}

/// Whether a purge of this has to look at every key.
pub fn is_walk(scope: &Scope) -> bool {
    !matches!(scope, Scope::Key(_) | Scope::Tag(_))
}

impl Walks {
    /// Makes `purges` when those before are made, on a thread that may take long. They are made where they are first
    /// polled, as those of a cache are: while they wait for outer tiers, others have their turn. Dropping this makes none
    /// that has not begun; one that has goes on to its end, and keeps its turn until then.
    ///
    /// # Errors
    ///
    /// [`NoWalk`]: then none was made, or it is not known which.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub async fn walk<F>(&self, purges: F) -> Result<F::Output, NoWalk>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let walk = Walk::begin(&self.0)?;
        let turn = Arc::clone(&self.0.turn).lock_owned().await;
        let (runtime, mut purges) = (Handle::current(), Box::pin(purges));
        let made = spawn_blocking(move || {
            let made = runtime.block_on(once(purges.as_mut()));
            drop((turn, walk));
            (purges, made)
        });
        let (purges, made) = made.await.map_err(|_| NoWalk::Broken)?;
        match made {
            Poll::Ready(made) => Ok(made),
            Poll::Pending => Ok(purges.await),
        }
    }
}

/// Polls a future, and waits for nothing.
async fn once<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await
}

/// The right to wait for one's turn. Dropping it gives it back.
struct Walk(Arc<State>);

impl Walk {
    fn begin(state: &Arc<State>) -> Result<Walk, NoWalk> {
        let walk = Walk(Arc::clone(state));
        if state.begun.fetch_add(1, Relaxed) < MOST {
            return Ok(walk);
        }
        state.refused.fetch_add(1, Relaxed);
        Err(NoWalk::TooMany)
    }
}

impl Drop for Walk {
    fn drop(&mut self) {
        self.0.begun.fetch_sub(1, Relaxed);
    }
}

impl fmt::Debug for Walks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Walks").field("begun", &self.0.begun).finish_non_exhaustive()
    }
}

impl Figures for Walks {
    fn families(&self) -> Vec<Family> {
        vec![Family {
            name: "admin_purge_walks_refused",
            help: "Purges at the admin API that were refused because too many that look at everything waited",
            kind: Kind::Counter,
            label: "",
            samples: vec![("".into(), self.0.refused.load(Relaxed) as f64)],
        }]
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::AtomicBool,
        thread::{self, ThreadId},
    };

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn they_take_turns_elsewhere_and_let_others_pass_while_they_wait() {
        let walks = Walks::default();
        let here = thread::current().id();
        let is_walking = Arc::new(AtomicBool::new(false));
        let (confirm, confirmed) = oneshot::channel::<()>();
        let walk = |confirmed: Option<oneshot::Receiver<()>>| {
            let is_walking = Arc::clone(&is_walking);
            async move {
                assert!(!is_walking.swap(true, Relaxed), "one at a time");
                let at: ThreadId = thread::current().id();
                thread::sleep(Duration::from_millis(2));
                is_walking.store(false, Relaxed);
                if let Some(confirmed) = confirmed {
                    confirmed.await.unwrap();
                }
                at
            }
        };
        let first = tokio::spawn({
            let (walks, walk) = (walks.clone(), walk(Some(confirmed)));
            async move { walks.walk(walk).await.unwrap() }
        });
        for _ in 0..5 {
            assert_ne!(walks.walk(walk(None)).await.unwrap(), here);
        }
        confirm.send(()).unwrap();
        assert_ne!(first.await.unwrap(), here);
    }

    #[tokio::test]
    async fn so_many_wait_and_the_next_is_refused_until_one_has_left() {
        let walks = Walks::default();
        let turn = walks.0.turn.lock().await;
        let mut waiting: Vec<_> = (0..MOST).map(|_| Box::pin(walks.walk(async {}))).collect();
        for walk in &mut waiting {
            assert!(once(walk.as_mut()).await.is_pending());
        }
        assert_eq!(walks.walk(async {}).await, Err(NoWalk::TooMany));
        waiting.pop();
        let mut next = Box::pin(walks.walk(async {}));
        assert!(once(next.as_mut()).await.is_pending());
        drop((turn, waiting));
        assert_eq!(next.await, Ok(()));
        assert_eq!(walks.families()[0].samples[0].1, 1.0);
        // Who does not wait for it leaves it its turn.
        let (begins, begun) = oneshot::channel();
        let (go_on, wait) = std::sync::mpsc::channel::<()>();
        let left = tokio::spawn({
            let walks = walks.clone();
            async move {
                let walk = async move {
                    begins.send(()).unwrap();
                    wait.recv().ok();
                };
                walks.walk(walk).await
            }
        });
        begun.await.unwrap();
        left.abort();
        assert!(left.await.unwrap_err().is_cancelled());
        assert_eq!(walks.0.begun.load(Relaxed), 1);
        let mut next = Box::pin(walks.walk(async { 2 }));
        assert!(once(next.as_mut()).await.is_pending());
        go_on.send(()).unwrap();
        assert_eq!(next.await, Ok(2));
        let broken = walks.walk(async { panic!("as a weigher may") });
        assert_eq!(broken.await, Err::<(), _>(NoWalk::Broken));
        assert_eq!(walks.walk(async { 1 }).await, Ok(1));
    }
}
