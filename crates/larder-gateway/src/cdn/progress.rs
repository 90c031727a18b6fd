//! Progress: how far a CDN is with the list of a fleet, as its leader says and all read. Pure.

use std::{collections::BTreeMap, fmt::Write, sync::Arc};

use super::queue::{Change, State};

/// So many failures are told one by one; of earlier ones only up to where they go.
const MOST_FAILED: usize = 128;
/// Of the last so many that were confirmed it is told by which call.
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
    confirmed: BTreeMap<u64, End>,
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
        let end = End { batch, vendor_id, reason };
        match state {
            State::Queued | State::Sent => {}
            State::Confirmed => {
                self.confirmed.insert(piece, end);
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
        let told = |ends: &BTreeMap<u64, End>| ends.get(&piece).cloned();
        let (state, end) = match told(failed) {
            Some(end) => (State::Failed, end),
            None if piece <= self.confirmed => match told(confirmed) {
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
        for (kind, ends) in [('F', &ends.failed), ('C', &ends.confirmed)] {
            for (piece, End { batch, vendor_id, reason }) in ends {
                let [batch, vendor_id, reason] = [batch, vendor_id, reason].map(word);
                // A text takes all that is written to it.
                _ = writeln!(text, "{kind}\t{piece}\t{batch}\t{vendor_id}\t{reason}");
            }
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
        let ends = if kind == "F" { &mut ends.failed } else { &mut ends.confirmed };
        ends.insert(piece, end);
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

    proptest! {
        #[test]
        fn whatever_stands_there_nothing_panics(text in any::<String>(), piece in any::<u64>()) {
            Progress::read(Some(&text)).of(piece);
            Progress::read(Some(&format!("1\t2\t3\n{text}"))).of(piece);
        }
    }
}
