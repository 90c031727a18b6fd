//! Watch: a channel as tokio's of that name, but for who is woken first: whoever has waited longest, and not whoever
//! chance has chosen. So one seed makes one run.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    mem,
    ops::Deref,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Poll, Waker},
};

pub(crate) struct Sender<T>(Arc<Shared<T>>);

pub(crate) struct Receiver<T>(Arc<Shared<T>>);

/// The value, for as long as this is there.
pub(crate) struct Ref<'a, T>(RwLockReadGuard<'a, T>);

/// No sender is left.
#[derive(Debug)]
pub(crate) struct Closed;

struct Shared<T> {
    value: RwLock<T>,
    senders: AtomicUsize,
    receivers: AtomicUsize,
    waiting: Mutex<InOrder>,
}

/// Those who wait for another value, or until no receiver is left, in the order in which they came.
#[derive(Default)]
struct InOrder {
    next: u64,
    wakers: BTreeMap<u64, Waker>,
}

/// One of them. Dropping it takes it out.
struct Waiting<'a> {
    number: u64,
    order: &'a Mutex<InOrder>,
}

pub(crate) fn channel<T>(first: T) -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared {
        value: RwLock::new(first),
        senders: AtomicUsize::new(1),
        receivers: AtomicUsize::new(1),
        waiting: Mutex::default(),
    });
    (Sender(Arc::clone(&shared)), Receiver(shared))
}

impl<T> Shared<T> {
    fn borrow(&self) -> Ref<'_, T> {
        Ref(self.value.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn wake_all(&self) {
        let woken = mem::take(&mut lock(&self.waiting).wakers);
        woken.into_values().for_each(Waker::wake);
    }

    fn waiting(&self) -> Waiting<'_> {
        let mut order = lock(&self.waiting);
        order.next += 1;
        Waiting { number: order.next, order: &self.waiting }
    }
}

impl Waiting<'_> {
    fn wake_with(&self, waker: &Waker) {
        lock(self.order).wakers.insert(self.number, waker.clone());
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        lock(self.order).wakers.remove(&self.number);
    }
}

fn lock(order: &Mutex<InOrder>) -> MutexGuard<'_, InOrder> {
    order.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T> Sender<T> {
    pub(crate) fn send_replace(&self, value: T) -> T {
        let mut there = self.0.value.write().unwrap_or_else(PoisonError::into_inner);
        let before = mem::replace(&mut *there, value);
        drop(there);
        self.0.wake_all();
        before
    }

    pub(crate) fn send_if_modified(&self, modify: impl FnOnce(&mut T) -> bool) -> bool {
        let mut there = self.0.value.write().unwrap_or_else(PoisonError::into_inner);
        let is_modified = modify(&mut there);
        drop(there);
        if is_modified {
            self.0.wake_all();
        }
        is_modified
    }

    pub(crate) fn borrow(&self) -> Ref<'_, T> {
        self.0.borrow()
    }

    pub(crate) fn receiver_count(&self) -> usize {
        self.0.receivers.load(Ordering::SeqCst)
    }

    pub(crate) fn subscribe(&self) -> Receiver<T> {
        self.0.receivers.fetch_add(1, Ordering::SeqCst);
        Receiver(Arc::clone(&self.0))
    }

    pub(crate) async fn closed(&self) {
        let waiting = self.0.waiting();
        poll_fn(|context| {
            // First: the last receiver may go meanwhile.
            waiting.wake_with(context.waker());
            if self.receiver_count() == 0 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.senders.fetch_add(1, Ordering::SeqCst);
        Sender(Arc::clone(&self.0))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if self.0.senders.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.wake_all();
        }
    }
}

impl<T> Receiver<T> {
    pub(crate) fn borrow(&self) -> Ref<'_, T> {
        self.0.borrow()
    }

    /// Fails if no sender is left, as tokio's does. That is all that it is asked for.
    pub(crate) fn has_changed(&self) -> Result<bool, Closed> {
        let is_closed = self.0.senders.load(Ordering::SeqCst) == 0;
        if is_closed { Err(Closed) } else { Ok(false) }
    }

    pub(crate) async fn wait_for(
        &mut self,
        mut is_awaited: impl FnMut(&T) -> bool,
    ) -> Result<Ref<'_, T>, Closed> {
        let (shared, waiting) = (&self.0, self.0.waiting());
        poll_fn(move |context| {
            // First: another value may come meanwhile, or the last sender go.
            waiting.wake_with(context.waker());
            let is_closed = shared.senders.load(Ordering::SeqCst) == 0;
            let value = shared.borrow();
            if is_awaited(&value) {
                return Poll::Ready(Ok(value));
            }
            if is_closed { Poll::Ready(Err(Closed)) } else { Poll::Pending }
        })
        .await
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        self.0.receivers.fetch_add(1, Ordering::SeqCst);
        Receiver(Arc::clone(&self.0))
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        if self.0.receivers.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.wake_all();
        }
    }
}

impl<T> Deref for Ref<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
