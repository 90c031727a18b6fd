//! Span: something that was done, from when to when, as it is sent.

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use super::ids::{Place, SpanId};

/// A span that has ended. What it has of a request is bounded: a path of 512 bytes, a host, a route's words.
#[derive(Debug)]
pub(super) struct Span {
    pub(super) place: Place,
    pub(super) parent: Option<SpanId>,
    pub(super) name: Cow<'static, str>,
    pub(super) kind: Kind,
    /// Nanoseconds since 1970.
    pub(super) began: u64,
    pub(super) ended: u64,
    pub(super) attributes: Vec<(&'static str, Value)>,
    pub(super) links: Vec<Place>,
    pub(super) is_error: bool,
}

/// Which side of a call it is, as its number in OTLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Internal = 1,
    Server = 2,
    Client = 3,
}

/// What an attribute says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Word(&'static str),
    Text(String),
    Shared(Arc<str>),
    Number(i64),
}

impl Value {
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Value::Word(text) => Some(text),
            Value::Text(text) => Some(text),
            Value::Shared(text) => Some(text),
            Value::Number(_) => None,
        }
    }
}

/// The wall clock at one instant: spans of a request are in order, whatever the wall clock does meanwhile.
#[derive(Clone, Copy, Debug)]
pub(super) struct Anchor {
    pub(super) instant: Instant,
    wall: Duration,
}

impl Anchor {
    pub(super) fn now() -> Anchor {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Anchor { instant: Instant::now(), wall }
    }

    /// Nanoseconds since 1970.
    pub(super) fn nanos(&self, instant: Instant) -> u64 {
        let at = match instant.checked_duration_since(self.instant) {
            Some(after) => self.wall.saturating_add(after),
            None => self.wall.saturating_sub(self.instant.duration_since(instant)),
        };
        u64::try_from(at.as_nanos()).unwrap_or(u64::MAX)
    }
}

/// As much of a text as is told.
pub(super) fn bounded(text: &str) -> String {
    const MOST: usize = 512;
    text[..text.floor_char_boundary(MOST)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_before_an_anchor_is_before_it_on_the_wall() {
        let anchor = Anchor::now();
        let (later, before) =
            (anchor.instant + Duration::from_millis(5), anchor.instant - Duration::from_millis(5));
        let at = anchor.nanos(anchor.instant);
        assert_eq!(anchor.nanos(later) - at, 5_000_000);
        assert_eq!(at - anchor.nanos(before), 5_000_000);
    }

    #[test]
    fn a_long_text_ends_between_two_letters() {
        assert_eq!(bounded("short"), "short");
        assert_eq!(bounded(&"é".repeat(400)).len(), 512);
        assert_eq!(bounded(&format!("a{}", "é".repeat(400))).len(), 511);
    }
}
