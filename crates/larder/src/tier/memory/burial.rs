//! Burial: whoever asked to be told of what was taken out of a shard is told, and it is dropped. Both run the
//! caller's code ([`dropping`](super::dropping)): it may call the cache, panic, or take its time.
//!
//! So it happens under no lock, each entry's room is given back as soon as it is gone, and a panic keeps
//! neither the others nor their room, nor those who have yet to be told.

use super::{
    budget::Leaving,
    dropping::{Burial, as_dropping, is_dropping},
    removal::Notice,
    shard::{Gone, Slot},
};

/// Burials of what comes out of many holds of locks: each lot is dropped before the next is taken out, so
/// no more than one is in hand.
///
/// Where a value's `Drop` is what calls, all are dropped at the end. Otherwise it would find some more to
/// take out, whose `Drop`s would find some more, and the stack would end before they do.
pub(super) struct Burials<'a, V> {
    notice: Notice<'a, V>,
    burial: Burial,
    kept_back: Vec<(Gone<V>, Leaving<'a>)>,
}

impl<'a, V> Burials<'a, V> {
    pub(super) fn new(notice: Notice<'a, V>) -> Self {
        Burials { notice, burial: Burial::default(), kept_back: Vec::new() }
    }

    pub(super) fn bury(&mut self, mut gone: Gone<V>, leaving: Leaving<'a>) {
        if gone.is_empty() {
            return;
        }
        if is_dropping() {
            self.kept_back.push((gone, leaving));
        } else {
            self.burial =
                std::mem::take(&mut self.burial).and(bury(&mut gone, leaving, self.notice));
        }
    }

    pub(super) fn end(self) -> Burial {
        let (kept_back, notice) = (self.kept_back.into_iter(), self.notice);
        let bury_lot = |(mut gone, leaving): (Gone<V>, _)| bury(&mut gone, leaving, notice);
        kept_back.fold(self.burial, |burial, lot| burial.and(bury_lot(lot)))
    }
}

/// Tells of what is in each of these places, drops it where it is, and gives its room back, which is `leaving`.
/// To be called without a lock.
pub(super) fn bury<'a, V: 'a>(
    gone: impl IntoIterator<Item = &'a mut Option<Slot<V>>>,
    leaving: Leaving<'_>,
    notice: Notice<'_, V>,
) -> Burial {
    let tell = notice.is_wanted().then_some(|slot: &Slot<V>| notice.tell(slot));
    bury_and(gone, leaving, tell)
}

/// The same for what was never stored: nobody is told.
pub(super) fn bury_untold<'a, V: 'a>(
    gone: impl IntoIterator<Item = &'a mut Option<Slot<V>>>,
    leaving: Leaving<'_>,
) -> Burial {
    bury_and(gone, leaving, None::<fn(&Slot<V>)>)
}

fn bury_and<'a, V: 'a>(
    gone: impl IntoIterator<Item = &'a mut Option<Slot<V>>>,
    mut leaving: Leaving<'_>,
    tell: Option<impl Fn(&Slot<V>)>,
) -> Burial {
    let mut burial = Burial::default();
    for place in gone {
        let Some(slot) = place else { continue };
        let weight = slot.weight();
        if let Some(tell) = &tell {
            burial = burial.and(as_dropping(|| tell(slot)));
        }
        burial = burial.and(as_dropping(|| *place = None));
        leaving.is_gone(weight);
        burial.entries += 1;
    }
    burial
}
