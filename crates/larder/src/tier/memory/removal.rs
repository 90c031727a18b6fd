//! Removal: why a value left memory, told to whoever asked to be told.

#[cfg(feature = "http")]
use std::cell::RefCell;
use std::sync::Arc;

#[cfg(feature = "http")]
use super::dropping::as_dropping;
use super::shard::Slot;
use crate::{clock::Moment, gone::GoneRing, purge::judge::Judge};

/// Why a value has left the memory of a [`Cache`](crate::Cache): see
/// [`Builder::on_removed`](crate::Builder::on_removed).
///
/// What was over when it left is [`Expired`](RemovalCause::Expired), or [`Purged`](RemovalCause::Purged) if a
/// purge by tag had ended it, whatever came to take it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RemovalCause {
    /// A newer value of its key came: inserted, computed or fetched. It may itself not be stored, if it is too
    /// large, or kept for no time.
    Replaced,
    /// Its lifetime was over, stale windows included, or nobody had read it for the cache's
    /// [`time_to_idle`](crate::Builder::time_to_idle).
    Expired,
    /// Somebody removed it: a hard purge of its key, a prefix, a tag or everything, made here or in another
    /// process, or a [`compute`](crate::Cache::compute) or [`retain_local`](crate::Cache::retain_local) that said
    /// so.
    Purged,
    /// Others needed its room.
    Evicted,
    /// It had to go because [`Cache::resize`](crate::Cache::resize) made the bound smaller.
    Resized,
    /// [`Cache::take`](crate::Cache::take) has handed it out.
    Taken,
}

/// The user's code, so it is called under no lock.
pub(crate) type OnRemoved<V> = Arc<dyn Fn(&str, &V, RemovalCause) + Send + Sync>;

/// Who is told of what goes, if anybody is, and why it does.
pub(super) struct Notice<'a, V> {
    hook: Option<&'a OnRemoved<V>>,
    /// Where it is written down which keys went, if it is.
    gone: Option<&'a GoneRing>,
    /// What is over goes for that, and not for `cause`.
    judge: &'a Judge<'a>,
    cause: RemovalCause,
}

// Derived code would ask for `V: Copy`.
impl<V> Clone for Notice<'_, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V> Copy for Notice<'_, V> {}

impl<'a, V> Notice<'a, V> {
    pub(super) fn new(
        hook: Option<&'a OnRemoved<V>>,
        gone: Option<&'a GoneRing>,
        judge: &'a Judge<'a>,
        cause: RemovalCause,
    ) -> Self {
        Notice { hook, gone, judge, cause }
    }

    /// For what has something newer in its place: its key is not gone.
    pub(super) fn of_replaced(self) -> Self {
        Notice { gone: None, ..self }
    }

    /// Whether anybody is to be told.
    pub(super) fn is_wanted(&self) -> bool {
        self.hook.is_some() || self.gone.is_some()
    }

    /// Tells of what has been taken out.
    pub(super) fn tell(&self, slot: &Slot<V>) {
        let cause = self.cause_of(slot);
        if let Some(gone) = self.gone {
            let purge = || match cause {
                RemovalCause::Purged => self.judge.purge_of(slot.entry()),
                _ => None,
            };
            gone.note(slot.key(), cause, self.judge.now(), purge);
        }
        if let Some(hook) = self.hook {
            hook(slot.key(), &slot.entry().value, cause);
        }
    }

    fn cause_of(&self, slot: &Slot<V>) -> RemovalCause {
        match self.judge.end(slot.entry()) {
            Moment::FIRST => RemovalCause::Purged,
            end if end <= self.judge.now() => RemovalCause::Expired,
            _ => self.cause,
        }
    }
}

/// As long as this lives, what is to be told by this thread waits: for somebody who holds a lock of its own while
/// values are stored and taken out. To be dropped after that lock.
#[cfg(feature = "http")]
pub(crate) struct TellLater(());

#[cfg(feature = "http")]
type Untold = Vec<Box<dyn FnOnce()>>;

#[cfg(feature = "http")]
thread_local! {
    /// What waits, as long as it has to.
    static UNTOLD: RefCell<Option<Untold>> = const { RefCell::new(None) };
}

#[cfg(feature = "http")]
impl TellLater {
    pub(crate) fn begin() -> Self {
        UNTOLD.with_borrow_mut(|untold| _ = untold.get_or_insert_default());
        TellLater(())
    }
}

#[cfg(feature = "http")]
impl Drop for TellLater {
    fn drop(&mut self) {
        let untold = UNTOLD.try_with(|untold| untold.borrow_mut().take());
        for tell in untold.ok().flatten().into_iter().flatten() {
            as_dropping(tell).pass_over();
        }
    }
}

/// The same hook, which [can wait](TellLater) until it is told, with a clone of the value.
#[cfg(feature = "http")]
pub(crate) fn that_can_wait<V: Clone + Send + Sync + 'static>(hook: OnRemoved<V>) -> OnRemoved<V> {
    Arc::new(move |key, value, cause| {
        if !UNTOLD.with_borrow(Option::is_some) {
            return hook(key, value, cause);
        }
        let (hook, key, value) = (Arc::clone(&hook), key.to_owned(), value.clone());
        let tell = move || hook(&key, &value, cause);
        UNTOLD.with_borrow_mut(|untold| untold.get_or_insert_default().push(Box::new(tell)));
    })
}
