//! Again: calls that may have been done, under their names, and what is left of them by an earlier process. Pure.

use std::{collections::BTreeSet, sync::Arc};

use tokio::time::Instant;

use super::{Job, Part, Queue, Stage, Unit};
use crate::cdn::{
    driver::Wish,
    fleet::FIRST_OF_LIST,
    repeat::{self, Name},
};

/// A call that the vendor may have had: it is made again as it was.
#[derive(Debug)]
pub(super) struct Repeat {
    pub(super) at: Instant,
    since: Instant,
    pub(super) under: Under,
    wishes: Vec<Wish>,
    units: Vec<Vec<Part>>,
}

/// Under which name a call is made again, and its number in the file.
#[derive(Clone, Debug)]
pub(in crate::cdn) struct Under {
    pub(in crate::cdn) batch: Arc<str>,
    pub(in crate::cdn) entry: Option<u64>,
}

/// A call that was kept, and which of its purges are here: in the form of its wishes.
#[derive(Debug)]
pub(super) struct Left {
    kept: repeat::Kept,
    pub(super) entry: u64,
    found: Vec<Vec<Found>>,
}

/// The number of a purge that is here, and which of its wishes it is.
type Found = Option<(u64, usize)>;

impl Queue {
    /// An earlier process was about to make this call, or has made it. It is made again as it was when all its purges are
    /// here again, and is given up where one of them does not come back: it was over.
    pub(in crate::cdn) fn expect(&mut self, kept: repeat::Kept, entry: u64) {
        let found = kept.wishes.iter().map(|parts| vec![None; parts.len()]).collect();
        self.left.push(Left { kept, entry, found });
    }

    /// The purge of this number is kept by this name.
    pub(in crate::cdn) fn know(&mut self, number: u64, name: &Name) {
        let Some(purge) = self.purges.get_mut(&number) else { return };
        for Left { kept, found, .. } in &mut self.left {
            let parts = kept.wishes.iter().flatten().zip(found.iter_mut().flatten());
            for (part, found) in parts.filter(|(part, found)| part.of == *name && found.is_none()) {
                let place = usize::try_from(part.place).unwrap_or(usize::MAX);
                let Some(unit) = purge.wishes.get_mut(place) else { continue };
                if !unit.is_left && matches!(unit.stage, Stage::Waits) {
                    (unit.is_left, *found) = (true, Some((number, place)));
                }
            }
        }
    }

    /// All purges of an earlier process are here that come back.
    pub(in crate::cdn) fn all_are_back(&mut self, now: Instant) {
        for Left { kept, entry, found } in std::mem::take(&mut self.left) {
            let of = |part: &repeat::Part, found: &Found| {
                let (number, place) = (*found)?;
                Some(Part { number, place, was_clear: part.was_clear, done: 0 })
            };
            let row = |(parts, found): (&Vec<repeat::Part>, &Vec<Found>)| {
                parts.iter().zip(found).map(|(part, found)| of(part, found)).collect()
            };
            let units: Option<Vec<Vec<Part>>> = kept.wishes.iter().zip(&found).map(row).collect();
            let wishes: Option<Vec<Wish>> = units.as_ref().and_then(|units| {
                let first = |row: &Vec<Part>| Some(self.unit(row.first()?)?.wish.clone());
                units.iter().map(first).collect()
            });
            match (units, wishes) {
                (Some(units), Some(wishes)) if repeat::digest(&wishes) == kept.digest => {
                    let under = Under { batch: kept.batch, entry: Some(entry) };
                    self.repeats.push(Repeat { at: now, since: now, under, wishes, units });
                }
                _ => {
                    self.released.push(entry);
                    let found = found.into_iter().flatten().flatten();
                    let parts: Vec<_> = found.collect();
                    parts.into_iter().for_each(|(number, place)| self.set_free(number, place, now));
                }
            }
        }
    }

    fn unit(&self, part: &Part) -> Option<&Unit> {
        self.purges.get(&part.number)?.wishes.get(part.place)
    }

    /// It goes with no call that was made before.
    fn set_free(&mut self, number: u64, place: usize, now: Instant) {
        let purge = self.purges.get_mut(&number);
        let Some(unit) = purge.and_then(|purge| purge.wishes.get_mut(place)) else { return };
        unit.is_left = false;
        if matches!(unit.stage, Stage::Repeats) {
            unit.stage = Stage::Due(now);
            self.due.insert((now, number, place));
        }
    }

    /// Calls whose end is known: they need not be kept.
    pub(in crate::cdn) fn take_released(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.released)
    }

    /// Whether it can be made again, or be given up. Not while one of its purges waits for the tiers inside.
    pub(super) fn can_be_taken(&self, repeat: &Repeat) -> bool {
        let waits = |part| self.unit(part).is_some_and(|unit| matches!(unit.stage, Stage::Waits));
        !repeat.units.iter().flatten().any(waits)
    }

    pub(super) fn take_repeat(&mut self, now: Instant) -> Option<Job> {
        loop {
            let is_due = |repeat: &Repeat| repeat.at <= now && self.can_be_taken(repeat);
            let at = self.repeats.iter().position(is_due)?;
            let Repeat { since, under, wishes, units, .. } = self.repeats.remove(at);
            let repeats =
                |part| self.unit(part).is_some_and(|unit| matches!(unit.stage, Stage::Repeats));
            if !units.iter().flatten().all(repeats) {
                // Some of it is no longer to be asked for: what is left of it is another call.
                self.released.extend(under.entry);
                for Part { number, place, .. } in units.into_iter().flatten() {
                    self.set_free(number, place, now);
                }
                continue;
            }
            for Part { number, place, .. } in units.iter().flatten() {
                if let Some(purge) = self.purges.get_mut(number) {
                    let unit = &mut purge.wishes[*place];
                    (unit.stage, unit.was_asked, unit.is_left) = (Stage::Asked, true, false);
                }
            }
            let came_by = Arc::default();
            return Some(Job { wishes, units, since, again: Some(under), came_by });
        }
    }

    /// Whose these wishes of a job are.
    pub(in crate::cdn) fn parts<'a>(job: &'a Job, wishes: &[usize]) -> Vec<&'a [Part]> {
        wishes.iter().map(|wish| &*job.units[*wish]).collect()
    }

    /// A name for a job about purges from a list that several processes work on one after the other: the same for the same
    /// parts, of which as much is done. One that is clear has another: what was done under the first name may have been
    /// too early. `None`: it is about others, or about what stands for a list that is gone, whose number is that of each such
    /// list.
    pub(in crate::cdn) fn name_in_list(job: &Job) -> Option<String> {
        if !Queue::numbers(job).all(|number| number > FIRST_OF_LIST) {
            return None;
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update(&repeat::digest(&job.wishes));
        for Part { number, place, was_clear, done } in job.units.iter().flatten() {
            let place = u64::try_from(*place).unwrap_or(u64::MAX);
            hasher.update(&number.to_le_bytes()).update(&place.to_le_bytes());
            hasher.update(&done.to_le_bytes()).update(&[u8::from(*was_clear)]);
        }
        let hash = hasher.finalize().to_hex();
        Some(format!("list-{}", &hash[..16]))
    }

    /// A call about these wishes of a job may have been done: the same is made again then, under its name.
    pub(in crate::cdn) fn repeat(
        &mut self,
        job: &Job,
        wishes: &[usize],
        (at, under): (Instant, Under),
        why: &Arc<str>,
    ) {
        let of = |wish: &usize| (job.wishes[*wish].clone(), job.units[*wish].clone());
        let (wishes, units): (Vec<Wish>, Vec<Vec<Part>>) = wishes.iter().map(of).unzip();
        let mut numbers = BTreeSet::new();
        for Part { number, place, .. } in units.iter().flatten() {
            let Some(purge) = self.purges.get_mut(number) else { continue };
            let unit = &mut purge.wishes[*place];
            if matches!(unit.stage, Stage::Asked) {
                // Where it was applied meanwhile, it was not clear when this was first asked, and so is asked for once more.
                (unit.stage, unit.again) = (Stage::Repeats, false);
                numbers.insert(*number);
            }
        }
        let batch = Arc::clone(&under.batch);
        self.repeats.push(Repeat { at, since: job.since, under, wishes, units });
        for number in numbers {
            self.note(number, Some(&batch), None, Some(why));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use larder::Mode;

    use super::{
        super::tests::{after, done, most, wish},
        *,
    };
    use crate::cdn::driver::What;

    fn under(batch: &str) -> Under {
        Under { batch: batch.into(), entry: Some(7) }
    }

    #[test]
    fn a_call_that_is_made_again_under_its_name_counts_from_when_it_was_first_made() {
        let now = Instant::now();
        for is_clear_first in [true, false] {
            let mut queue = Queue::of_named_calls(Duration::ZERO);
            queue.enter(1, vec![wish("a")], now);
            queue.enter(2, vec![wish("b")], now);
            queue.hand_out(&[1, 2], true, now);
            if is_clear_first {
                queue.clear(&[1, 2], now);
            }
            let job = queue.take(most(10), now).unwrap();
            // The vendor may have done it then; its answer is lost.
            queue.repeat(&job, &[0, 1], (now + after(3), under("x")), &"no answer".into());
            queue.clear(&[1, 2], now + after(1));
            assert_eq!(queue.next_due(), Some(now + after(3)));
            assert!(queue.take(most(10), now + after(2)).is_none());
            let repeated = queue.take(most(10), now + after(3)).unwrap();
            assert_eq!(repeated.wishes, job.wishes);
            assert_eq!(&*repeated.again.as_ref().unwrap().batch, "x");
            done(&mut queue, &repeated, now + after(3), now + after(3));
            let next = queue.take(most(10), now + after(3));
            assert_eq!(next.is_none(), is_clear_first);
            if let Some(next) = next {
                assert!(next.again.is_none(), "what is to be done once more has another name");
                done(&mut queue, &next, now + after(4), now + after(4));
            }
            assert_eq!(queue.len(), 0, "it is confirmed");
        }
    }

    #[test]
    fn a_call_of_which_a_part_is_gone_is_not_made_again() {
        let (mut queue, now) = (Queue::of_named_calls(Duration::ZERO), Instant::now());
        queue.enter(1, vec![wish("a")], now);
        queue.enter(2, vec![wish("b")], now);
        queue.hand_out(&[1, 2], true, now);
        let job = queue.take(most(10), now).unwrap();
        queue.repeat(&job, &[0, 1], (now + after(9), under("x")), &"no answer".into());
        queue.remove(1);
        let next = queue.take(most(10), now + after(9)).unwrap();
        assert_eq!((next.wishes.len(), next.again.is_none()), (1, true));
        assert_eq!(queue.take_released(), [7]);
        queue.enter(3, vec![wish("c")], now);
        queue.collapse(4, Ok(Wish { what: What::Everything, mode: Mode::Hard }), now);
        assert!(queue.take(most(10), now + after(9)).is_none(), "it waits for the tiers inside");
    }

    fn left(parts: &[&str], digest: Name) -> repeat::Kept {
        let part = |name: &&str| {
            vec![repeat::Part { of: repeat::name(name.as_bytes()), place: 0, was_clear: true }]
        };
        let wishes = parts.iter().map(part).collect();
        repeat::Kept { cdn: "edge".into(), batch: "x".into(), digest, wishes }
    }

    #[test]
    fn a_call_of_an_earlier_process_is_made_again_when_all_its_purges_are_back() {
        let now = Instant::now();
        let digest = repeat::digest(&[wish("a").unwrap(), wish("b").unwrap()]);
        for (comes_back, is_same) in [(true, true), (true, false), (false, true)] {
            let mut queue = Queue::of_named_calls(Duration::ZERO);
            queue.expect(left(&["a", "b"], if is_same { digest } else { [0; 16] }), 7);
            // They come back one by one, and are handed out at once.
            let tags = if comes_back { vec!["b", "c", "a"] } else { vec!["b", "c"] };
            for (number, tag) in (1..).zip(&tags) {
                queue.enter(number, vec![wish(tag)], now);
                queue.know(number, &repeat::name(tag.as_bytes()));
                queue.hand_out(&[number], true, now);
                queue.clear(&[number], now);
            }
            let other = queue.take(most(10), now).unwrap();
            assert_eq!(other.wishes, [wish("c").unwrap()], "what was not in it goes its own way");
            done(&mut queue, &other, now, now);
            assert!(queue.take(most(10), now).is_none());
            queue.all_are_back(now);
            let again = queue.take(most(10), now).unwrap();
            match comes_back && is_same {
                true => {
                    assert_eq!(&*again.again.as_ref().unwrap().batch, "x");
                    assert_eq!(again.wishes, [wish("a").unwrap(), wish("b").unwrap()]);
                }
                false => {
                    assert!(again.again.is_none());
                    assert_eq!(queue.take_released(), [7]);
                    assert_eq!(again.wishes.len(), tags.len() - 1);
                }
            }
            done(&mut queue, &again, now, now);
            assert_eq!(queue.len(), 0);
        }
    }

    #[test]
    fn a_name_in_the_list_is_the_same_for_the_same_and_another_for_what_is_done_again() {
        let (now, piece) = (Instant::now(), FIRST_OF_LIST + 5);
        let job = |number: u64, is_clear: bool| {
            let mut queue = Queue::of_named_calls(Duration::ZERO);
            queue.enter(number, vec![wish("a")], now);
            queue.hand_out(&[number], true, now);
            if is_clear {
                queue.clear(&[number], now);
            }
            let job = queue.take(most(10), now).unwrap();
            (queue, job)
        };
        let ((mut queue, first), (_, same), (_, clear)) =
            (job(piece, false), job(piece, false), job(piece, true));
        let name = Queue::name_in_list;
        assert!(name(&first).is_some() && name(&first) == name(&same));
        assert_ne!(name(&first), name(&clear), "the first may have been done too early for this");
        done(&mut queue, &first, now, now);
        queue.clear(&[piece], now);
        assert_ne!(name(&first), name(&queue.take(most(10), now).unwrap()));
        for other in [5, FIRST_OF_LIST] {
            assert_eq!(name(&job(other, false).1), None, "{other}");
        }
    }
}
