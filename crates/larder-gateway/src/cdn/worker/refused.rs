//! Refused: a call about several that was refused, perhaps for one of them. Which ones it is about is searched for, so that the
//! others do not fail with them.

use std::{collections::VecDeque, sync::Arc};

use http::StatusCode;
use tokio::time::Instant;

use super::{Heard, Run, Worker};
use crate::cdn::{
    driver::{Call, Said, Wish},
    queue::Fate,
};

/// So many are tried alone, refused one after the other in the same words, until the refusal is taken for one of all: were
/// half of them good, one search in 65,000 would be mistaken.
const SAMPLES: usize = 16;
/// After so many calls other purges have their turn, and what is left is asked for again.
const MOST_CALLS: usize = 64;

/// Which of several a refusal is about. Pure.
///
/// First some are tried alone, from all over, until one is taken or is refused in other words. If none is, so is the rest: the
/// refusal is about all, and who asks for each has no better answer. Otherwise what was refused is halved until it is one.
#[derive(Debug)]
struct Search {
    samples: VecDeque<usize>,
    rest: Vec<usize>,
    /// What is still to be asked for, the next at the end.
    pieces: Vec<Vec<usize>>,
    /// Whether the rest was refused as it is: it was not, if one of the samples was to blame.
    is_refused: bool,
    words: Option<Arc<str>>,
    is_about_all: bool,
}

impl Search {
    fn of(refused: &[usize]) -> Search {
        let last = refused.len().saturating_sub(1);
        let count = refused.len().min(SAMPLES);
        let places = (0..count).map(|nth| nth * last / (count - 1).max(1));
        let samples: VecDeque<usize> = places.map(|place| refused[place]).collect();
        let rest: Vec<usize> =
            refused.iter().copied().filter(|wish| !samples.contains(wish)).collect();
        let is_about_all = true;
        Search { samples, rest, pieces: Vec::new(), is_refused: true, words: None, is_about_all }
    }

    /// What is to be asked for now. `None`: the search is over, or the refusal is about all that is left.
    fn next(&mut self) -> Option<Vec<usize>> {
        if self.is_about_all
            && let Some(sample) = self.samples.pop_front()
        {
            return Some(vec![sample]);
        }
        if self.refusal().is_some() {
            return None;
        }
        self.rest.extend(self.samples.drain(..));
        let rest = std::mem::take(&mut self.rest);
        match self.is_refused {
            _ if rest.is_empty() => {}
            true => self.halve(rest),
            false => self.pieces.push(rest),
        }
        self.pieces.pop()
    }

    /// One was taken, or has no answer.
    fn not_refused(&mut self) {
        self.is_about_all = false;
    }

    /// `asked` was refused: whether that is the end of it.
    fn refused(&mut self, asked: Vec<usize>, why: &Arc<str>) -> bool {
        if asked.len() > 1 {
            self.halve(asked);
            return false;
        }
        self.is_refused = false;
        self.is_about_all &= self.words.get_or_insert_with(|| Arc::clone(why)) == why;
        true
    }

    fn halve(&mut self, mut piece: Vec<usize>) {
        let later = piece.split_off(piece.len().div_ceil(2));
        self.pieces.extend([later, piece].into_iter().filter(|piece| !piece.is_empty()));
    }

    /// In which words all that is left is refused, if it is.
    fn refusal(&self) -> Option<&Arc<str>> {
        let is_over = self.is_about_all && self.samples.is_empty() && !self.rest.is_empty();
        self.words.as_ref().filter(|_| is_over)
    }

    /// What has not been asked for, or was refused together with others.
    fn left(self) -> Vec<usize> {
        let Search { samples, rest, pieces, .. } = self;
        samples.into_iter().chain(rest).chain(pieces.into_iter().flatten()).collect()
    }
}

impl Worker {
    /// Which of these it is that the vendor has refused, `why`; the others go.
    pub(super) async fn look_into(&mut self, run: u64, refused: &[usize], why: &Arc<str>) {
        let Some(Run { job, .. }) = self.runs.get(&run) else { return };
        let deadline = job.since + self.inside.config.give_up;
        let (mut search, mut last_words) = (Search::of(refused), Arc::clone(why));
        for _ in 0..MOST_CALLS {
            let Some(asked) = search.next() else { break };
            if !self.turn(deadline).await {
                let left = [asked, search.left()].concat();
                return self.give_up(run, &left, &last_words);
            }
            let Some(call) = self.call_about(run, &asked) else { return };
            let Heard { said, status, ids } = self.send(&call).await;
            match said {
                Said::Refused { why } if is_about_one(status) => {
                    self.failures = 0;
                    last_words = why.into();
                    if search.refused(asked, &last_words) {
                        let why = Arc::clone(&last_words);
                        self.settle(run, &call.wishes, &Fate::Failed { why });
                    }
                }
                Said::Later { after, why } => {
                    self.failures += 1;
                    last_words = why.into();
                    let at = Instant::now() + self.pause(after);
                    if after.is_some() {
                        self.cdn().rate().pause(at);
                    }
                    search.not_refused();
                    let why = Arc::clone(&last_words);
                    self.settle(run, &asked, &Fate::Later { at, why });
                    break;
                }
                said => {
                    search.not_refused();
                    self.heard(run, &call, said, &ids);
                }
            }
        }
        let refusal = search.refusal().cloned();
        let fate = match refusal {
            Some(why) => Fate::Failed { why },
            None => Fate::Later { at: Instant::now() + self.pause(None), why: last_words },
        };
        self.settle(run, &search.left(), &fate);
    }

    /// A call for these wishes of a run alone, made now: it may carry a date.
    fn call_about(&self, run: u64, wishes: &[usize]) -> Option<Call> {
        let Run { job, batch, .. } = self.runs.get(&run)?;
        let own: Vec<Wish> = wishes.iter().map(|wish| job.wishes[*wish].clone()).collect();
        let batch = format!("{batch}-{}", wishes.first()?);
        let mut call = self.calls_of(job, &own, &batch).pop()?;
        call.wishes = wishes.to_vec();
        Some(call)
    }
}

/// Whether a refusal with this status may be about one of several, and not about who asks, or where.
pub(super) fn is_about_one(status: Option<StatusCode>) -> bool {
    let status = status.map_or(0, |status| status.as_u16());
    matches!(status, 400 | 409 | 412 | 413 | 414 | 422 | 431)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::{collection::btree_set, prelude::*};

    use super::*;

    /// What a vendor that takes none of `bad` has taken and has refused, in how many calls.
    fn searched(count: usize, bad: &BTreeSet<usize>) -> (BTreeSet<usize>, BTreeSet<usize>, usize) {
        let all: Vec<usize> = (0..count).collect();
        let (mut search, mut calls) = (Search::of(&all), 0);
        let (mut taken, mut refused) = (BTreeSet::new(), BTreeSet::new());
        while let Some(asked) = search.next() {
            calls += 1;
            assert!(!asked.is_empty());
            match asked.iter().any(|wish| bad.contains(wish)) {
                true => {
                    if search.refused(asked.clone(), &"no".into()) {
                        refused.extend(asked);
                    }
                }
                false => {
                    search.not_refused();
                    taken.extend(asked);
                }
            }
        }
        let is_about_all = search.refusal().is_some();
        let left = search.left();
        assert!(is_about_all || left.is_empty(), "{left:?}");
        refused.extend(left);
        (taken, refused, calls)
    }

    #[test]
    fn a_refusal_of_all_is_found_out_by_some_and_one_bad_wish_by_few_calls() {
        for count in [2, 3, 4, 5, 256, 3000] {
            let all: BTreeSet<usize> = (0..count).collect();
            let (taken, refused, calls) = searched(count, &all);
            assert!(taken.is_empty() && refused == all && calls <= SAMPLES, "{count}: {calls}");
            for bad in [0, count / 2, count - 1] {
                let bad = BTreeSet::from([bad]);
                let (taken, refused, calls) = searched(count, &bad);
                assert_eq!((taken.len(), &refused), (count - 1, &bad), "{count}");
                assert!(calls <= 28, "{count}: {calls}");
            }
        }
    }

    #[test]
    fn refusals_in_different_words_are_each_about_one() {
        let (mut search, mut calls) = (Search::of(&[0, 1, 2, 3, 4, 5]), 0);
        while let Some(asked) = search.next() {
            calls += 1;
            search.refused(asked.clone(), &format!("no {asked:?}").into());
        }
        assert!(search.refusal().is_none() && search.left().is_empty());
        assert_eq!(calls, 2 + 1 + 2 + 4, "two alone, and what is left in halves");
    }

    #[test]
    fn the_one_that_is_good_is_taken_wherever_it_stands_among_few() {
        for count in 2..=SAMPLES {
            for good in 0..count {
                let bad: BTreeSet<usize> = (0..count).filter(|wish| *wish != good).collect();
                let (taken, refused, _) = searched(count, &bad);
                assert_eq!((taken, refused), (BTreeSet::from([good]), bad), "{count}");
            }
        }
    }

    proptest! {
        #[test]
        fn whatever_is_refused_what_is_good_is_taken(
            (count, bad) in (5_usize..200)
                .prop_flat_map(|count| (Just(count), btree_set(1..count, 1..count - 1))),
        ) {
            // The first is good.
            let (taken, refused, _) = searched(count, &bad);
            prop_assert_eq!(&refused, &bad);
            prop_assert_eq!(taken.len(), count - bad.len());
        }
    }
}
