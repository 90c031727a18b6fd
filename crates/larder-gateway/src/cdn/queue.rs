//! Queue: what one CDN is still to be told of, and when. Pure: no sockets, and `now` is an argument.
//!
//! A purge counts as *confirmed* when a call has succeeded that was begun after all of this:
//!
//! 1. all tiers inside had applied it, or the CDN might have fetched the old copy from them;
//! 2. all answers had ended that were begun before that ([`under_way`](crate::downstream::UnderWay)), or one of them might
//!    have brought the old copy there after the call (together: it is *clear*);
//! 3. where the vendor needs that, its propagation time had passed since an earlier call had succeeded: an edge may have
//!    filled itself from a shield that still had the old copy.
//!
//! ```text
//! handed out        clear                       propagation is over
//! call: done        call: done                  call: done            confirmed
//! ```
//!
//! The first call is made as soon as the purge is handed out, so that most readers see the change at once. Where it is clear
//! by then, that call is the only one.
//!
//! A vendor that knows calls by their names does nothing when one is made again. There a call counts by what held when it was
//! *first* made under its name, and one that is made again ([`Repeat`]) has the same wishes in the same order.

mod again;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Bound,
    sync::Arc,
    time::Duration,
};

use larder::Mode;
use tokio::time::Instant;

pub(super) use self::again::Under;
use self::again::{Left, Repeat};
use super::driver::{What, Wish};

/// To fill a call no more purges are passed over that came by other caches.
const MOST_PASSED_OVER: usize = 1000;
/// Of a purge that comes to no call.
const NO_URL: &str =
    "it names no URL (https://host/path), by which alone a CDN has anything: there was no call";

/// What one CDN is still to be told of. Purges are named by their numbers, which grow.
#[derive(Debug)]
pub(super) struct Queue {
    purges: BTreeMap<u64, Purge>,
    /// When which wish is to be asked for, and of what is due at the same time first what came first.
    due: BTreeSet<(Instant, u64, usize)>,
    propagation: Duration,
    /// Whether the vendor knows calls by their names.
    names_calls: bool,
    /// What is to be asked for as it was.
    repeats: Vec<Repeat>,
    /// What an earlier process was about to ask for, while its purges come back.
    left: Vec<Left>,
    changes: Vec<Change>,
    /// Calls that need not be kept any longer, by their numbers in the file.
    released: Vec<u64>,
}

#[derive(Debug)]
struct Purge {
    /// Those before it, from this one on, are done with it.
    from: u64,
    wishes: Vec<Unit>,
    is_applied: bool,
    clear_at: Option<Instant>,
    since: Instant,
    was: Option<State>,
    /// By which call it came so far.
    was_by: Option<Arc<str>>,
    /// Which of its wishes failed for good first, and why.
    failure: Option<Arc<str>>,
    /// By which caches it came, where the vendor has to know that.
    came_by: Arc<str>,
}

#[derive(Debug)]
struct Unit {
    wish: Wish,
    stage: Stage,
    /// When a call for it first succeeded that may count.
    first_done: Option<Instant>,
    /// What is under way began too early: it is to be asked for once more.
    again: bool,
    was_asked: bool,
    /// It is in a call of an earlier process, and goes with that alone.
    is_left: bool,
    /// How many calls about it have succeeded.
    done: u32,
}

#[derive(Debug)]
enum Stage {
    /// For the tiers inside.
    Waits,
    Due(Instant),
    /// A call is under way.
    Asked,
    /// For the call that it is in to be made again.
    Repeats,
    /// A call was made, and the next is made when it is clear.
    Idle,
    Confirmed,
    Failed,
}

/// How far a CDN is with a purge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    Queued,
    Sent,
    Confirmed,
    Failed,
}

/// What has become of purges from one number to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) state: State,
    /// By which name its last call went.
    pub(super) batch: Option<Arc<str>>,
    /// What the vendor calls it.
    pub(super) vendor_id: Option<Arc<str>>,
    pub(super) reason: Option<Arc<str>>,
}

/// What is asked for in one go.
#[derive(Clone, Debug)]
pub(super) struct Job {
    /// Different ones.
    pub(super) wishes: Vec<Wish>,
    /// Whose each of them is.
    units: Vec<Vec<Part>>,
    /// The earliest purge that is in it came at that time.
    pub(super) since: Instant,
    /// It was made before.
    pub(super) again: Option<Under>,
    /// By which caches all that is in it came.
    pub(super) came_by: Arc<str>,
}

/// Whose a wish is, and what held when it was first asked for under that name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) number: u64,
    /// Of its purge's wishes.
    pub(super) place: usize,
    /// All tiers inside had it, and nothing older was on its way.
    pub(super) was_clear: bool,
    /// How many calls about it had succeeded.
    done: u32,
}

/// What has become of a job, or of a part of it.
#[derive(Clone, Debug)]
pub(super) enum Fate {
    Done {
        began: Instant,
        vendor_id: Option<Arc<str>>,
    },
    /// To be tried again then.
    Later {
        at: Instant,
        why: Arc<str>,
    },
    Failed {
        why: Arc<str>,
    },
}

/// How much goes into one job.
#[derive(Clone, Copy, Debug)]
pub(super) struct Most {
    pub(super) wishes: usize,
    /// Of the names of what is wished for.
    pub(super) bytes: usize,
}

impl Queue {
    pub(super) fn new(propagation: Duration) -> Queue {
        Queue {
            purges: BTreeMap::new(),
            due: BTreeSet::new(),
            propagation,
            names_calls: false,
            repeats: Vec::new(),
            left: Vec::new(),
            changes: Vec::new(),
            released: Vec::new(),
        }
    }

    /// Of a vendor that does what comes under the same name once.
    pub(super) fn of_named_calls(propagation: Duration) -> Queue {
        Queue { names_calls: true, ..Queue::new(propagation) }
    }

    pub(super) fn len(&self) -> usize {
        self.purges.len()
    }

    /// Since when the oldest has been waiting.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.purges.values().next().map(|purge| purge.since)
    }

    /// What has changed since this was asked last.
    pub(super) fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// A purge, as this CDN can make it. One that it cannot make fails at once, and so does one of which it cannot make a part.
    pub(super) fn enter(&mut self, number: u64, wishes: Vec<Result<Wish, String>>, now: Instant) {
        let fresh = |wish| Unit {
            wish,
            stage: Stage::Waits,
            first_done: None,
            again: false,
            was_asked: false,
            is_left: false,
            done: 0,
        };
        match wishes.into_iter().collect::<Result<Vec<Wish>, String>>() {
            Ok(wishes) => {
                let wishes: Vec<_> = wishes.into_iter().map(fresh).collect();
                let purge = Purge {
                    from: number,
                    wishes,
                    is_applied: false,
                    clear_at: None,
                    since: now,
                    was: None,
                    was_by: None,
                    failure: None,
                    came_by: Arc::default(),
                };
                self.purges.insert(number, purge);
                self.note(number, None, None, None);
            }
            Err(why) => {
                let (batch, vendor_id, reason) = (None, None, Some(why.into()));
                let state = State::Failed;
                let (from, to) = (number, number);
                self.changes.push(Change { from, to, state, batch, vendor_id, reason });
            }
        }
    }

    /// It came by these caches, and the vendor has to know that.
    pub(super) fn came_by(&mut self, number: u64, came_by: &Arc<str>) {
        if let Some(purge) = self.purges.get_mut(&number) {
            purge.came_by = Arc::clone(came_by);
        }
    }

    /// All that waits becomes one purge of everything, whose number is higher than all before.
    pub(super) fn collapse(&mut self, number: u64, everything: Result<Wish, String>, now: Instant) {
        let from = self.purges.values().next().map_or(number, |purge| purge.from);
        let since = self.oldest().unwrap_or(now);
        self.purges.clear();
        self.due.clear();
        let kept = self.repeats.drain(..).filter_map(|repeat| repeat.under.entry);
        self.released.extend(kept.chain(self.left.drain(..).map(|left| left.entry)));
        self.enter(number, vec![everything], now);
        // All of them fail where it cannot be made.
        if let Some(change) = self.changes.last_mut() {
            change.from = from;
        }
        if let Some(purge) = self.purges.get_mut(&number) {
            (purge.from, purge.since) = (from, since);
        }
    }

    /// This one stands for all from that number on.
    pub(super) fn cover(&mut self, number: u64, from: u64) {
        if let Some(purge) = self.purges.get_mut(&number) {
            purge.from = purge.from.min(from);
        }
    }

    pub(super) fn contains(&self, number: u64) -> bool {
        self.purges.contains_key(&number)
    }

    /// It is another's to tell. What is under way counts for nothing.
    pub(super) fn remove(&mut self, number: u64) {
        self.purges.remove(&number);
    }

    /// The same of all from this one on.
    pub(super) fn remove_from(&mut self, first: u64) {
        self.purges.split_off(&first);
    }

    /// Whether there is something to tell that nobody has taken.
    pub(super) fn has_changes(&self) -> bool {
        !self.changes.is_empty()
    }

    /// The first from this number on that is not over.
    pub(super) fn first_open(&self, first: u64) -> Option<u64> {
        self.purges.range(first..).next().map(|(number, _)| *number)
    }

    /// The first from this number on that has not been asked for.
    pub(super) fn first_queued(&self, first: u64) -> Option<u64> {
        let mut open = self.purges.range(first..);
        open.find(|(_, purge)| purge.state() == State::Queued).map(|(number, _)| *number)
    }

    /// These may be asked for: the tiers inside have applied them; or, if `is_applied` is false, have not, and that has
    /// taken too long.
    pub(super) fn hand_out(&mut self, numbers: &[u64], is_applied: bool, now: Instant) {
        for number in numbers {
            let Some(purge) = self.purges.get_mut(number) else { continue };
            purge.is_applied |= is_applied;
            for (place, unit) in purge.wishes.iter_mut().enumerate() {
                match unit.stage {
                    Stage::Waits => {}
                    // What was asked for before counts for nothing.
                    Stage::Idle if is_applied => unit.first_done = None,
                    Stage::Asked if is_applied => {
                        unit.again = true;
                        continue;
                    }
                    _ => continue,
                }
                if unit.is_left {
                    unit.stage = Stage::Repeats;
                    continue;
                }
                unit.stage = Stage::Due(now);
                self.due.insert((now, *number, place));
            }
            if purge.wishes.is_empty() {
                // It names nothing that could be there.
                self.note(*number, None, None, None);
            }
        }
    }

    /// All answers have ended that may have been older than these.
    pub(super) fn clear(&mut self, numbers: &[u64], now: Instant) {
        for number in numbers {
            let Some(purge) = self.purges.get_mut(number) else { continue };
            if !purge.is_applied || purge.clear_at.is_some() {
                continue;
            }
            purge.clear_at = Some(now);
            for (place, unit) in purge.wishes.iter_mut().enumerate() {
                if matches!(unit.stage, Stage::Idle) {
                    let at = unit.next(now, self.propagation);
                    unit.stage = Stage::Due(at);
                    self.due.insert((at, *number, place));
                }
            }
        }
    }

    /// When something is to be asked for next.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let repeats = self.repeats.iter().filter(|repeat| self.can_be_taken(repeat));
        let repeats = repeats.map(|repeat| repeat.at).min();
        self.due.first().map(|(at, ..)| *at).into_iter().chain(repeats).min()
    }

    /// What is due, as many different wishes as that with names of as many bytes, in the order of the log; at least one. What came
    /// by other caches than the first of them stays.
    pub(super) fn take(&mut self, most: Most, now: Instant) -> Option<Job> {
        if let Some(job) = self.take_repeat(now) {
            return Some(job);
        }
        let (wishes, units, came_by) = (Vec::new(), Vec::new(), Arc::default());
        let mut job = Job { wishes, units, since: now, again: None, came_by };
        let mut places: HashMap<(What, bool), usize> = HashMap::new();
        let (mut bytes, mut passed_over, mut after) = (0, 0, Bound::Unbounded);
        while let Some(next @ (at, number, place)) =
            self.due.range((after, Bound::Unbounded)).next().copied()
        {
            if at > now {
                break;
            }
            let Some(purge) = self.purges.get_mut(&number) else {
                self.due.remove(&next);
                continue;
            };
            if job.wishes.is_empty() {
                job.came_by = Arc::clone(&purge.came_by);
            } else if job.came_by != purge.came_by {
                passed_over += 1;
                if passed_over > MOST_PASSED_OVER {
                    break;
                }
                after = Bound::Excluded(next);
                continue;
            }
            let unit = &mut purge.wishes[place];
            let named = (unit.wish.what.clone(), unit.wish.mode == Mode::Hard);
            let is_there = places.get(&named).copied();
            let more = if is_there.is_none() { unit.wish.what.bytes() } else { 0 };
            let is_full = job.wishes.len() >= most.wishes || bytes + more > most.bytes;
            if is_there.is_none() && is_full && !job.wishes.is_empty() {
                break;
            }
            bytes += more;
            let there = is_there.unwrap_or_else(|| {
                job.wishes.push(unit.wish.clone());
                job.units.push(Vec::new());
                places.insert(named, job.wishes.len() - 1);
                job.wishes.len() - 1
            });
            let was_clear = purge.is_applied && purge.clear_at.is_some();
            job.units[there].push(Part { number, place, was_clear, done: unit.done });
            job.since = job.since.min(purge.since);
            (unit.stage, unit.was_asked) = (Stage::Asked, true);
            self.due.remove(&next);
        }
        (!job.wishes.is_empty()).then_some(job)
    }

    /// What the numbers of the purges are that a job is about, for its name.
    pub(super) fn numbers(job: &Job) -> impl Iterator<Item = u64> {
        job.units.iter().flatten().map(|part| part.number)
    }

    /// A job is under way by this name.
    pub(super) fn sent(&mut self, job: &Job, batch: &Arc<str>, vendor_id: Option<&Arc<str>>) {
        let numbers: BTreeSet<u64> = Queue::numbers(job).collect();
        for number in numbers {
            self.note(number, Some(batch), vendor_id, None);
        }
    }

    /// A job is not done, and why; it is tried again.
    pub(super) fn delayed(&mut self, job: &Job, batch: &Arc<str>, why: &Arc<str>) {
        let numbers: BTreeSet<u64> = Queue::numbers(job).collect();
        for number in numbers {
            self.note(number, Some(batch), None, Some(why));
        }
    }

    /// Whether somebody waits for what a job that is under way asks for.
    pub(super) fn waits_for(&self, job: &Job) -> bool {
        job.units.iter().flatten().any(|Part { number, place, .. }| {
            let purge = self.purges.get(number);
            purge.is_some_and(|purge| matches!(purge.wishes[*place].stage, Stage::Asked))
        })
    }

    /// What has become of the wish at this place of a job.
    pub(super) fn settle(
        &mut self,
        job: &Job,
        place: usize,
        batch: &Arc<str>,
        fate: &Fate,
        now: Instant,
    ) {
        let may_be_old = self.names_calls && job.again.is_some();
        for Part { number, place: unit, was_clear, .. } in &job.units[place] {
            let Some(purge) = self.purges.get_mut(number) else { continue };
            let (clear_at, is_applied) = (purge.clear_at, purge.is_applied);
            let has_one_wish = purge.wishes.len() == 1;
            let unit_of = &mut purge.wishes[*unit];
            if !matches!(unit_of.stage, Stage::Asked) {
                continue;
            }
            let again = std::mem::take(&mut unit_of.again);
            if matches!(fate, Fate::Done { .. }) {
                unit_of.done = unit_of.done.saturating_add(1);
            }
            let (vendor_id, reason) = match fate {
                Fate::Done { vendor_id, .. } => (vendor_id.as_ref(), None),
                Fate::Later { why, .. } | Fate::Failed { why } => (None, Some(why)),
            };
            if let Fate::Failed { why } = fate {
                // Of several it is told which: whoever asked for all of them cannot tell from the words.
                let which = || match &unit_of.wish.what {
                    _ if has_one_wish => Arc::clone(why),
                    what => format!("{what}: {why}").into(),
                };
                purge.failure.get_or_insert_with(which);
            }
            unit_of.stage = match fate {
                Fate::Failed { .. } => Stage::Failed,
                Fate::Later { at, .. } => Stage::Due(*at),
                Fate::Done { .. } if again => Stage::Due(now),
                Fate::Done { began, .. } => {
                    let is_late_enough = match unit_of.first_done {
                        _ if self.propagation.is_zero() => true,
                        Some(first) => *began >= first + self.propagation,
                        None => false,
                    };
                    let is_clear = match self.names_calls {
                        true => clear_at.is_some() && *was_clear,
                        false => clear_at.is_some_and(|clear_at| *began >= clear_at),
                    };
                    // One that was made before may have been done before all of this.
                    let counts = *was_clear || !may_be_old;
                    if counts && (is_applied || unit_of.first_done.is_none()) {
                        unit_of.first_done.get_or_insert(now);
                    }
                    match clear_at {
                        _ if is_clear && is_late_enough => Stage::Confirmed,
                        Some(_) => Stage::Due(unit_of.next(now, self.propagation)),
                        None => Stage::Idle,
                    }
                }
            };
            if let Stage::Due(at) = unit_of.stage {
                self.due.insert((at, *number, *unit));
            }
            self.note(*number, Some(batch), vendor_id, reason);
        }
    }

    /// Tells how far a purge is, if that is news, and lets it go if it is done.
    fn note(
        &mut self,
        number: u64,
        batch: Option<&Arc<str>>,
        vendor_id: Option<&Arc<str>>,
        reason: Option<&Arc<str>>,
    ) {
        let Some(purge) = self.purges.get_mut(&number) else { return };
        let state = purge.state();
        let is_other_call = batch.is_some() && purge.was_by.as_ref() != batch;
        let has_more_to_say = vendor_id.is_some() || reason.is_some() || is_other_call;
        if purge.was == Some(state) && !has_more_to_say {
            return;
        }
        purge.was = Some(state);
        if batch.is_some() {
            purge.was_by = batch.cloned();
        }
        let (from, to) = (purge.from, number);
        let (batch, vendor_id) = (batch.cloned(), vendor_id.cloned());
        let failure = purge.failure.as_ref().filter(|_| state == State::Failed);
        let reason = match failure.or(reason) {
            None if from < to => Some("too many purges waited: everything is purged".into()),
            None if purge.wishes.is_empty() && state == State::Confirmed => Some(NO_URL.into()),
            reason => reason.cloned(),
        };
        self.changes.push(Change { from, to, state, batch, vendor_id, reason });
        if matches!(state, State::Confirmed | State::Failed) {
            self.purges.remove(&number);
        }
    }
}

impl Unit {
    /// When it is to be asked for next, where one call has succeeded and it is clear.
    fn next(&self, now: Instant, propagation: Duration) -> Instant {
        self.first_done.map_or(now, |first| (first + propagation).max(now))
    }
}

impl Purge {
    fn state(&self) -> State {
        let is_over = |unit: &Unit| matches!(unit.stage, Stage::Confirmed | Stage::Failed);
        if self.wishes.iter().all(is_over) {
            let failed = self.wishes.iter().any(|unit| matches!(unit.stage, Stage::Failed));
            return match failed {
                true => State::Failed,
                false if self.wishes.is_empty() && !self.is_applied => State::Queued,
                false => State::Confirmed,
            };
        }
        match self.wishes.iter().any(|unit| unit.was_asked) {
            true => State::Sent,
            false => State::Queued,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(super) fn most(wishes: usize) -> Most {
        Most { wishes, bytes: usize::MAX }
    }

    pub(super) fn wish(tag: &str) -> Result<Wish, String> {
        Ok(Wish { what: What::Tag(tag.to_owned()), mode: Mode::Hard })
    }

    pub(super) fn after(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn states(queue: &mut Queue) -> Vec<(u64, State)> {
        queue.take_changes().into_iter().map(|change| (change.to, change.state)).collect()
    }

    pub(super) fn done(queue: &mut Queue, job: &Job, began: Instant, now: Instant) {
        let fate = Fate::Done { began, vendor_id: None };
        for place in 0..job.wishes.len() {
            queue.settle(job, place, &"batch".into(), &fate, now);
        }
    }

    #[test]
    fn where_nothing_older_is_under_way_one_call_is_enough() {
        let (mut queue, now) = (Queue::new(Duration::ZERO), Instant::now());
        queue.enter(1, vec![wish("a")], now);
        assert!(queue.take(most(10), now).is_none(), "the tiers inside have not applied it");
        queue.hand_out(&[1], true, now);
        queue.clear(&[1], now);
        let job = queue.take(most(10), now).unwrap();
        done(&mut queue, &job, now, now);
        assert_eq!(states(&mut queue), [(1, State::Queued), (1, State::Confirmed)]);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn a_call_before_older_answers_have_ended_confirms_nothing() {
        let (mut queue, now) = (Queue::new(Duration::ZERO), Instant::now());
        queue.enter(1, vec![wish("a")], now);
        queue.hand_out(&[1], true, now);
        let job = queue.take(most(10), now).unwrap();
        // They end while it is under way.
        queue.clear(&[1], now + after(1));
        done(&mut queue, &job, now, now + after(2));
        assert_eq!(states(&mut queue).last(), Some(&(1, State::Sent)));
        let job = queue.take(most(10), now + after(2)).unwrap();
        done(&mut queue, &job, now + after(2), now + after(3));
        assert_eq!(states(&mut queue), [(1, State::Confirmed)]);
    }

    #[test]
    fn of_several_it_is_told_which_has_failed_whichever_is_over_last() {
        let now = Instant::now();
        let failed = Fate::Failed { why: "400".into() };
        for (wishes, order, reason) in [
            (&["evil", "a"][..], [0, 1].as_slice(), "tag evil: 400"),
            (&["evil", "a"], &[1, 0], "tag evil: 400"),
            (&["evil"], &[0], "400"),
        ] {
            let mut queue = Queue::new(Duration::ZERO);
            queue.enter(1, wishes.iter().map(|tag| wish(tag)).collect(), now);
            queue.hand_out(&[1], true, now);
            queue.clear(&[1], now);
            let job = queue.take(most(10), now).unwrap();
            for place in order {
                let done = Fate::Done { began: now, vendor_id: None };
                let fate = if wishes[*place] == "evil" { &failed } else { &done };
                queue.settle(&job, *place, &"batch".into(), fate, now);
            }
            let change = queue.take_changes().pop().unwrap();
            assert_eq!((change.state, change.reason.as_deref()), (State::Failed, Some(reason)));
        }
    }

    #[test]
    fn what_came_by_others_goes_in_calls_of_its_own() {
        let (mut queue, now) = (Queue::new(Duration::ZERO), Instant::now());
        for (number, tag, came_by) in [(1, "a", ""), (2, "b", "x"), (3, "c", ""), (4, "d", "x,y")] {
            queue.enter(number, vec![wish(tag)], now);
            queue.came_by(number, &came_by.into());
        }
        queue.hand_out(&[1, 2, 3, 4], true, now);
        let mut jobs = Vec::new();
        while let Some(job) = queue.take(most(10), now) {
            jobs.push((job.came_by.to_string(), job.wishes.len()));
        }
        let expected = [("", 2), ("x", 1), ("x,y", 1)];
        assert_eq!(jobs, expected.map(|(came_by, count)| (came_by.to_owned(), count)));
    }

    #[test]
    fn where_a_shield_may_refill_an_edge_it_is_asked_for_once_more() {
        let (mut queue, now) = (Queue::new(after(5)), Instant::now());
        queue.enter(1, vec![wish("a")], now);
        queue.hand_out(&[1], true, now);
        queue.clear(&[1], now);
        let job = queue.take(most(10), now).unwrap();
        done(&mut queue, &job, now, now + after(1));
        assert_eq!(queue.next_due(), Some(now + after(6)));
        assert!(queue.take(most(10), now + after(5)).is_none());
        let job = queue.take(most(10), now + after(6)).unwrap();
        done(&mut queue, &job, now + after(6), now + after(7));
        assert_eq!(states(&mut queue).last(), Some(&(1, State::Confirmed)));
    }

    #[test]
    fn what_was_handed_out_early_is_asked_for_once_more_when_the_tiers_inside_have_it() {
        let (mut queue, now) = (Queue::new(Duration::ZERO), Instant::now());
        queue.enter(1, vec![wish("a")], now);
        queue.hand_out(&[1], false, now);
        let early = queue.take(most(10), now).unwrap();
        // Clear it cannot be yet.
        queue.clear(&[1], now);
        queue.hand_out(&[1], true, now + after(1));
        queue.clear(&[1], now + after(1));
        done(&mut queue, &early, now, now + after(2));
        let job = queue.take(most(10), now + after(2)).unwrap();
        done(&mut queue, &job, now + after(2), now + after(2));
        assert_eq!(states(&mut queue).last(), Some(&(1, State::Confirmed)));
    }

    #[test]
    fn the_same_is_asked_for_once_and_what_is_too_much_waits_in_its_order() {
        let (mut queue, now) = (Queue::new(Duration::ZERO), Instant::now());
        for (number, tag) in [(1, "a"), (2, "b"), (3, "a"), (4, "c"), (5, "d")] {
            queue.enter(number, vec![wish(tag)], now);
        }
        queue.hand_out(&[5, 4, 3, 2, 1], true, now);
        let named = |job: Job| -> Vec<String> {
            let tag = |wish: &Wish| match &wish.what {
                What::Tag(tag) => tag.clone(),
                _ => String::new(),
            };
            job.wishes.iter().map(tag).collect()
        };
        assert_eq!(queue.take(most(3), now).map(named).unwrap(), ["a", "b", "c"]);
        assert_eq!(queue.take(most(3), now).map(named).unwrap(), ["d"]);
    }

    #[test]
    fn a_job_has_names_of_no_more_bytes_and_one_that_is_longer_has_one_for_itself() {
        let (mut queue, now) = (Queue::new(Duration::ZERO), Instant::now());
        let tags = ["four", "five", "nine-bytes", "four", "x"];
        for (number, tag) in (1..).zip(tags) {
            queue.enter(number, vec![wish(tag)], now);
        }
        queue.hand_out(&[1, 2, 3, 4, 5], true, now);
        let mut bytes = || {
            let job = queue.take(Most { wishes: 10, bytes: 8 }, now);
            job.map(|job| job.wishes.iter().map(|wish| wish.what.bytes()).collect::<Vec<_>>())
        };
        assert_eq!(
            [bytes(), bytes(), bytes(), bytes()],
            [Some(vec![4, 4]), Some(vec![10]), Some(vec![4, 1]), None]
        );
    }

    #[test]
    fn too_many_become_one_of_everything_which_stands_for_all() {
        let (mut queue, now) = (Queue::new(Duration::ZERO), Instant::now());
        for number in 1..=9 {
            queue.enter(number, vec![wish("a")], now);
        }
        let everything = || Ok(Wish { what: What::Everything, mode: Mode::Hard });
        queue.collapse(10, everything(), now);
        assert_eq!(queue.len(), 1);
        queue.hand_out(&[10], true, now);
        queue.clear(&[10], now);
        let job = queue.take(most(10), now).unwrap();
        done(&mut queue, &job, now, now);
        let last = queue.take_changes().pop().unwrap();
        assert_eq!((last.from, last.to, last.state), (1, 10, State::Confirmed));
        assert!(last.reason.is_some());
        // Where everything cannot be purged, all have failed.
        queue.enter(11, vec![wish("a")], now);
        queue.collapse(12, Err("it cannot".to_owned()), now);
        let last = queue.take_changes().pop().unwrap();
        assert_eq!((last.from, last.to, last.state), (11, 12, State::Failed));
    }

    #[test]
    fn what_a_vendor_cannot_purge_has_failed_and_what_names_nothing_there_is_confirmed() {
        let (mut queue, now) = (Queue::new(Duration::ZERO), Instant::now());
        queue.enter(1, vec![wish("a"), Err("no tags".to_owned())], now);
        queue.enter(2, Vec::new(), now);
        queue.hand_out(&[1, 2], true, now);
        let told = states(&mut queue);
        assert!(told.contains(&(1, State::Failed)) && told.contains(&(2, State::Confirmed)));
        assert_eq!(queue.len(), 0);
    }

    /// What may happen.
    #[derive(Clone, Debug)]
    enum Step {
        Enter(u8),
        HandOut {
            is_applied: bool,
        },
        Clear,
        Take,
        /// Of the oldest job under way: whether it has succeeded, fails for now, or for good.
        Answer(u8),
        Pass(u8),
    }

    fn any_step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..4_u8).prop_map(Step::Enter),
            any::<bool>().prop_map(|is_applied| Step::HandOut { is_applied }),
            Just(Step::Clear),
            Just(Step::Take),
            (0..4_u8).prop_map(Step::Answer),
            (0..4_u8).prop_map(Step::Pass),
        ]
    }

    proptest! {
        /// Whatever fails in whatever order: what is confirmed was seen by the other side in a call that began after all
        /// had been clear, and each purge ends, once. Also where the other side does once what comes under one name.
        #[test]
        fn receipts_end_in_what_the_other_side_saw(
            steps in proptest::collection::vec(any_step(), 1..120),
            propagation in prop_oneof![Just(0_u64), Just(3)],
            names_calls in any::<bool>(),
        ) {
            let mut now = Instant::now();
            let mut queue = match names_calls {
                true => Queue::of_named_calls(after(propagation)),
                false => Queue::new(after(propagation)),
            };
            // When each was first done.
            let mut names: BTreeMap<String, Instant> = BTreeMap::new();
            let mut last_name = 0;
            let mut jobs: Vec<(Job, Instant)> = Vec::new();
            let mut tags: BTreeMap<u64, String> = BTreeMap::new();
            let mut clear: BTreeMap<u64, Instant> = BTreeMap::new();
            let mut applied: BTreeSet<u64> = BTreeSet::new();
            let mut seen: Vec<(String, Instant)> = Vec::new();
            let mut refused: BTreeSet<u64> = BTreeSet::new();
            let mut ends: BTreeMap<u64, State> = BTreeMap::new();
            // In the end all goes well.
            let well = |count: usize| (0..count).flat_map(|_| {
                [Step::HandOut { is_applied: true }, Step::Clear, Step::Take, Step::Answer(0), Step::Pass(3)]
            });
            for step in steps.iter().cloned().chain(well(200)) {
                match step {
                    Step::Enter(tag) => {
                        let number = tags.len() as u64 + 1;
                        tags.insert(number, format!("{tag}"));
                        queue.enter(number, vec![wish(&format!("{tag}"))], now);
                    }
                    Step::HandOut { is_applied } => {
                        let numbers: Vec<u64> = tags.keys().copied().filter(|number| !applied.contains(number)).collect();
                        queue.hand_out(&numbers, is_applied, now);
                        if is_applied {
                            applied.extend(numbers);
                        }
                    }
                    Step::Clear => {
                        let numbers: Vec<u64> = applied.iter().copied().collect();
                        queue.clear(&numbers, now);
                        for number in numbers {
                            clear.entry(number).or_insert(now);
                        }
                    }
                    Step::Take => {
                        jobs.extend(queue.take(most(2), now).map(|job| (job, now)));
                    }
                    Step::Answer(outcome) if !jobs.is_empty() => {
                        let (job, mut began) = jobs.remove(0);
                        last_name += 1;
                        let name = job.again.as_ref().map(|under| under.batch.to_string());
                        let name = name.unwrap_or_else(|| last_name.to_string());
                        if names_calls && outcome < 3 {
                            // Done, whether or not its answer comes.
                            began = *names.entry(name.clone()).or_insert(began);
                        }
                        if names_calls && outcome == 2 {
                            let all: Vec<usize> = (0..job.wishes.len()).collect();
                            let under = Under { batch: name.into(), entry: None };
                            queue.repeat(&job, &all, (now + after(1), under), &"lost".into());
                            continue;
                        }
                        for place in 0..job.wishes.len() {
                            let What::Tag(tag) = job.wishes[place].what.clone() else { unreachable!() };
                            let fate = match outcome {
                                0 | 1 => {
                                    seen.push((tag, began));
                                    Fate::Done { began, vendor_id: None }
                                }
                                2 => Fate::Later { at: now + after(1), why: "later".into() },
                                _ => {
                                    refused.extend(job.units[place].iter().map(|part| part.number));
                                    Fate::Failed { why: "no".into() }
                                }
                            };
                            queue.settle(&job, place, &"batch".into(), &fate, now);
                        }
                    }
                    Step::Answer(_) => {}
                    Step::Pass(seconds) => now += after(seconds.into()),
                }
                for change in queue.take_changes() {
                    if !matches!(change.state, State::Confirmed | State::Failed) {
                        prop_assert!(!ends.contains_key(&change.to), "{change:?} after its end");
                        continue;
                    }
                    prop_assert!(ends.insert(change.to, change.state).is_none(), "{change:?} twice");
                    if change.state == State::Confirmed {
                        let tag = &tags[&change.to];
                        let clear = clear.get(&change.to);
                        let calls: Vec<Instant> = seen.iter()
                            .filter(|(seen, began)| seen == tag && clear.is_some_and(|clear| began >= clear))
                            .map(|(_, began)| *began)
                            .collect();
                        prop_assert!(!calls.is_empty(), "{change:?}: nobody has seen it");
                    } else {
                        prop_assert!(refused.contains(&change.to), "{change:?}");
                    }
                }
            }
            prop_assert_eq!(ends.len(), tags.len());
            prop_assert_eq!(queue.len(), 0);
            prop_assert_eq!(queue.next_due(), None);
        }
    }
}
