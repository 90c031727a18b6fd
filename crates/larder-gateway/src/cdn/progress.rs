//! Progress: how far a CDN is with the list of a fleet, as its leader says and all read. Pure.

use std::{collections::BTreeMap, fmt::Write, sync::Arc};

use super::queue::{Change, State};

/// So many failures are told one by one; of earlier ones only up to where they go.
const MOST_FAILED: usize = 128;
/// Of the last so many calls it is told what was confirmed by them.
const MOST_CONFIRMED: usize = 128;
const MOST_WORDS: usize = 200;
const ONE_OF_MANY: &str =
    "it has failed, or others at its time have: there were too many to tell which";

/// How far one CDN is. Numbers are those of pieces of the list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// All up to here are over.
    pub(super) confirmed: u64,
    /// It has been told of all up to here.
    pub(super) sent: u64,
    pub(super) ends: Ends,
}

/// How some of them have ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ends {
    failed: BTreeMap<u64, End>,
    /// Up to here some have failed that are no longer told.
    untold: u64,
    /// By the last piece of each, the first, and by which call all between were confirmed that no other names.
    confirmed: BTreeMap<u64, (u64, End)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct End {
    batch: Option<Arc<str>>,
    vendor_id: Option<Arc<str>>,
    reason: Option<Arc<str>>,
}

impl Ends {
    pub(super) fn note(&mut self, change: &Change) {
        let Change { to: piece, state, batch, vendor_id, reason, .. } = change.clone();
        let mut end = End { batch, vendor_id, reason };
        match state {
            State::Queued | State::Sent => {}
            State::Confirmed => {
                // A call is about several one after the other. Of their names at the vendor the first speaks for all.
                let mut first = piece;
                if let Some((last, (begins, known))) = self.confirmed.range(..piece).next_back()
                    && known.batch == end.batch
                    && end.batch.is_some()
                    && known.reason == end.reason
                {
                    let last = *last;
                    (first, end) = (*begins, known.clone());
                    self.confirmed.remove(&last);
                }
                self.confirmed.insert(piece, (first, end));
                if self.confirmed.len() > MOST_CONFIRMED {
                    self.confirmed.pop_first();
                }
            }
            State::Failed => {
                self.failed.insert(piece, end);
                if self.failed.len() > MOST_FAILED
                    && let Some((oldest, _)) = self.failed.pop_first()
                {
                    self.untold = self.untold.max(oldest);
                }
            }
        }
    }
}

impl Progress {
    /// What became of this piece, as far as is said. What was said of the call stands in the change.
    pub(super) fn of(&self, piece: u64) -> Option<(State, Change)> {
        let Ends { failed, untold, confirmed } = &self.ends;
        // Of several the one that names fewest.
        let by_call = || {
            // What has failed may lie between, and no longer be told.
            let is_sure = |first: u64, last: u64| piece > *untold || first == last;
            let around = confirmed
                .range(piece..)
                .filter(|(last, (first, _))| *first <= piece && is_sure(*first, **last));
            let narrowest = around.min_by_key(|(last, (first, _))| *last - first);
            narrowest.map(|(_, (_, end))| end.clone())
        };
        let (state, end) = match failed.get(&piece).cloned() {
            Some(end) => (State::Failed, end),
            None if piece <= self.confirmed => match by_call() {
                Some(end) => (State::Confirmed, end),
                None if piece <= *untold => {
                    (State::Failed, End { reason: Some(ONE_OF_MANY.into()), ..End::default() })
                }
                None => (State::Confirmed, End::default()),
            },
            None if piece <= self.sent => (State::Sent, End::default()),
            None => return None,
        };
        let End { batch, vendor_id, reason, .. } = end;
        Some((state, Change { from: piece, to: piece, state, batch, vendor_id, reason }))
    }

    /// As one text.
    pub(super) fn written(&self) -> String {
        let Progress { confirmed, sent, ends } = self;
        let mut text = format!("{confirmed}\t{sent}\t{}\n", ends.untold);
        let failed = ends.failed.iter().map(|(piece, end)| ("F".to_owned(), piece, end));
        // Who knows no ranges takes it for the last.
        let confirmed = ends.confirmed.iter();
        let confirmed = confirmed.map(|(last, (first, end))| (format!("C{first}"), last, end));
        for (kind, piece, End { batch, vendor_id, reason }) in failed.chain(confirmed) {
            let [batch, vendor_id, reason] = [batch, vendor_id, reason].map(word);
            // A text takes all that is written to it.
            _ = writeln!(text, "{kind}\t{piece}\t{batch}\t{vendor_id}\t{reason}");
        }
        text
    }

    /// What cannot be read is nothing.
    pub(super) fn read(text: Option<&String>) -> Progress {
        text.and_then(|text| read(text)).unwrap_or_default()
    }
}

/// Without what parts words and lines.
fn word(text: &Option<Arc<str>>) -> String {
    let text = text.as_deref().unwrap_or_default();
    let plain = |letter: char| if letter.is_control() { ' ' } else { letter };
    let mut word: String = text.chars().map(plain).collect();
    word.truncate(word.floor_char_boundary(MOST_WORDS));
    word
}

fn read(text: &str) -> Option<Progress> {
    let mut lines = text.lines();
    let numbers: Vec<u64> =
        lines.next()?.split('\t').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let [confirmed, sent, untold] = numbers.try_into().ok()?;
    let mut ends = Ends { untold, ..Ends::default() };
    for line in lines {
        let parts: Vec<&str> = line.split('\t').collect();
        let [kind, piece, batch, vendor_id, reason] = parts.try_into().ok()?;
        let said = |text: &str| (!text.is_empty()).then(|| Arc::from(text));
        let piece = piece.parse().ok()?;
        let end = End { batch: said(batch), vendor_id: said(vendor_id), reason: said(reason) };
        match kind.strip_prefix('C') {
            // A gateway of before tells one by one.
            Some(first) => {
                let first = if first.is_empty() { piece } else { first.parse().ok()? };
                ends.confirmed.insert(piece, (first.min(piece), end));
            }
            None => drop(ends.failed.insert(piece, end)),
        }
    }
    Some(Progress { confirmed, sent, ends })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn change(piece: u64, state: State, reason: Option<&str>) -> Change {
        let (batch, vendor_id) = (Some(Arc::from("b-1")), Some(Arc::from("id\t1\n")));
        Change { from: piece, to: piece, state, batch, vendor_id, reason: reason.map(Arc::from) }
    }

    fn state(progress: &Progress, piece: u64) -> Option<State> {
        progress.of(piece).map(|(state, _)| state)
    }

    #[test]
    fn what_is_read_is_what_was_said_though_vendors_say_what_they_like() {
        let mut ends = Ends::default();
        ends.note(&change(5, State::Failed, Some("no\tsuch\nservice")));
        ends.note(&change(6, State::Confirmed, None));
        ends.note(&change(9, State::Sent, None));
        let said = Progress { confirmed: 7, sent: 9, ends };
        let read = Progress::read(Some(&said.written()));
        let states: Vec<_> = (4..=10).map(|piece| state(&read, piece)).collect();
        use State::{Confirmed, Failed, Sent};
        let expected = [Confirmed, Failed, Confirmed, Confirmed, Sent, Sent].map(Some);
        assert_eq!(states[..6], expected);
        assert_eq!(states[6], None);
        let (_, failed) = read.of(5).unwrap();
        assert_eq!(failed.reason.as_deref(), Some("no such service"));
        assert_eq!(failed.vendor_id.as_deref(), Some("id 1 "));
        assert_eq!(Progress::read(None), Progress::default());
    }

    #[test]
    fn of_a_thousand_that_a_few_calls_confirmed_each_is_told_by_its_call() {
        let mut ends = Ends::default();
        let batch = |piece: u64| Some(Arc::from(format!("b-{}", piece / 100)));
        for piece in 1..=1000 {
            // One in the middle of a call went with the next.
            let batch = if piece == 150 { continue } else { batch(piece) };
            ends.note(&Change { batch, ..change(piece, State::Confirmed, None) });
        }
        ends.note(&Change { batch: Some("late".into()), ..change(150, State::Confirmed, None) });
        let said = Progress { confirmed: 1000, sent: 1000, ends };
        let text = said.written();
        assert!(text.len() < 1000, "{text}");
        let read = Progress::read(Some(&text));
        for piece in 1..=1000 {
            let (state, change) = read.of(piece).unwrap();
            let expected = if piece == 150 { Some("late".into()) } else { batch(piece) };
            assert_eq!((state, change.batch), (State::Confirmed, expected), "{piece}");
        }
        let before = Progress::read(Some(&"9\t9\t0\nC\t7\tb-1\tid\t\n".to_owned()));
        assert_eq!(before.of(7).unwrap().1.batch.as_deref(), Some("b-1"));
        assert_eq!(before.of(6).unwrap().1.batch, None);
    }

    #[test]
    fn a_failure_is_never_told_as_confirmed_however_many_there_are() {
        let mut ends = Ends::default();
        for piece in 1..=1000 {
            ends.note(&change(piece, State::Failed, Some("no")));
        }
        for piece in 1001..=2000 {
            ends.note(&change(piece, State::Confirmed, None));
        }
        let progress = Progress { confirmed: 2000, sent: 2000, ends };
        let progress = Progress::read(Some(&progress.written()));
        assert!((1..=1000).all(|piece| state(&progress, piece) == Some(State::Failed)));
        assert!((1001..=2000).all(|piece| state(&progress, piece) == Some(State::Confirmed)));
        assert!(progress.written().len() < 64 << 10);
    }

    #[test]
    fn what_failed_within_a_call_is_not_told_as_confirmed_when_it_is_no_longer_told() {
        let mut ends = Ends::default();
        for piece in 1..=1000 {
            let state = if piece % 2 == 0 { State::Failed } else { State::Confirmed };
            ends.note(&change(piece, state, None));
        }
        let progress = Progress { confirmed: 1000, sent: 1000, ends };
        let progress = Progress::read(Some(&progress.written()));
        let failed = |piece: &u64| state(&progress, *piece) == Some(State::Failed);
        assert!((1..=1000).filter(|piece| piece % 2 == 0).all(|piece| failed(&piece)));
        assert!(!failed(&999));
    }

    proptest! {
        #[test]
        fn whatever_stands_there_nothing_panics(text in any::<String>(), piece in any::<u64>()) {
            Progress::read(Some(&text)).of(piece);
            Progress::read(Some(&format!("1\t2\t3\n{text}"))).of(piece);
        }
    }
}
