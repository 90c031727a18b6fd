//! Under way: since when each answer to a reader has been on its way, so that somebody can wait until all have ended that
//! were begun before now.
//!
//! A cache outside may be storing an old answer when a purge of it arrives there, and would keep it. So what was begun
//! before a purge has to end before the purge is made there for the last time.
//!
//! Answers are begun in an *epoch*. Whoever waits begins the next one, and waits until nothing of older ones is left.
//!
//! ```text
//! answer   begins: epoch 5 ── looks in memory ─────────── last byte written
//! purge              purges memory ── turns: 6            5 has ended ── purges outside once more
//! ```
//!
//! An answer says its epoch *before* it looks in memory, and a purge looks at the epochs *after* it has purged memory. So
//! one that the purge does not see finds the purge.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicU64,
            Ordering::{Relaxed, SeqCst},
            fence,
        },
    },
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderName, Method, header};

/// All answers that are under way. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct UnderWay(Arc<Answers>);

#[derive(Debug)]
struct Answers {
    epoch: AtomicU64,
    places: Mutex<Places>,
    began: Instant,
}

#[derive(Debug, Default)]
struct Places {
    all: HashMap<u64, Arc<Place>>,
    last: u64,
    /// When the last answer of those that have gone had ended.
    gone_at: u64,
}

/// Of one connection, or one stream.
#[derive(Debug, Default)]
struct Place {
    /// The epoch of what is under way; 0: nothing is.
    epoch: AtomicU64,
    /// When something last ended, in milliseconds.
    ended_at: AtomicU64,
}

/// Where a connection says what is under way on it. Dropping it says that nothing is.
#[derive(Debug)]
pub(super) struct Seat {
    place: Arc<Place>,
    answers: Arc<Answers>,
    name: u64,
}

impl Default for Answers {
    fn default() -> Self {
        let places = Mutex::default();
        Answers { epoch: AtomicU64::new(1), places, began: Instant::now() }
    }
}

impl Answers {
    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Never 0, which says that nothing has ended.
    fn now(&self) -> u64 {
        let millis = self.began.elapsed().as_millis();
        u64::try_from(millis).unwrap_or(u64::MAX).saturating_add(1)
    }
}

impl UnderWay {
    /// A place for one connection, or one stream.
    pub(super) fn seat(&self) -> Seat {
        let place = Arc::<Place>::default();
        let mut places = self.0.places();
        places.last += 1;
        let name = places.last;
        places.all.insert(name, Arc::clone(&place));
        drop(places);
        Seat { place, answers: Arc::clone(&self.0), name }
    }

    /// Begins the next epoch, and tells the one before: all answers that are under way are of it, or older.
    pub(crate) fn turn(&self) -> u64 {
        self.0.epoch.fetch_add(1, SeqCst)
    }

    /// Whether no answer of this epoch, or an older one, is under way.
    pub(crate) fn has_ended(&self, epoch: u64) -> bool {
        fence(SeqCst);
        let places = self.0.places();
        places.all.values().all(|place| {
            let under_way = place.epoch.load(SeqCst);
            under_way == 0 || under_way > epoch
        })
    }

    /// Another process, which is gone, had its last answer under way until now.
    pub(crate) fn has_ended_elsewhere(&self) {
        let now = self.0.now();
        self.0.places().gone_at = now;
    }

    /// How long ago an answer has last ended; `None`: none ever has.
    pub(crate) fn quiet_for(&self) -> Option<Duration> {
        let places = self.0.places();
        let ended = places.all.values().map(|place| place.ended_at.load(SeqCst));
        let last = ended.max().unwrap_or_default().max(places.gone_at);
        (last > 0).then(|| Duration::from_millis(self.0.now().saturating_sub(last)))
    }
}

impl Seat {
    /// An answer begins here, and all before it have ended.
    pub(super) fn begin(&self) {
        self.place.epoch.swap(self.answers.epoch.load(SeqCst), SeqCst);
        fence(SeqCst);
    }

    /// All that was under way here has been written.
    pub(super) fn end(&self) {
        if self.place.epoch.load(Relaxed) != 0 {
            self.place.ended_at.store(self.answers.now(), SeqCst);
            self.place.epoch.store(0, SeqCst);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.end();
        let mut places = self.answers.places();
        places.all.remove(&self.name);
        places.gone_at = places.gone_at.max(self.place.ended_at.load(SeqCst));
    }
}

/// Whether caches outside keep answers to requests with this method (RFC 9110 §9.2.3, RFC 10008). Others are waited for by
/// nobody: a `PURGE` that is answered when the CDNs have it would wait for itself, and so would a service that purges, and
/// waits for that, before it answers the `POST` that has changed something. Those to `POST` could be kept by the standard, and
/// are by no CDN that has not been told to.
pub(super) fn may_be_kept_of(method: &Method) -> bool {
    matches!(method.as_str(), "GET" | "HEAD" | "QUERY")
}

/// Whether a cache outside could keep the answer with these fields, and serve it without asking. What none can keep brings no
/// old copy there, and may go on for ever: an event stream, say.
pub(super) fn may_be_kept(headers: &HeaderMap) -> bool {
    // What is said to some caches alone may say otherwise.
    let is_for_some = |name: &HeaderName| {
        let name = name.as_str();
        name.ends_with("-cache-control")
            || matches!(name, "surrogate-control" | "edge-control" | "x-accel-expires")
    };
    if headers.keys().any(is_for_some) {
        return true;
    }
    let forbids = |member: &[u8]| {
        let word = member.trim_ascii();
        [&b"no-store"[..], b"no-cache", b"private"].iter().any(|no| word.eq_ignore_ascii_case(no))
    };
    let said = headers.get_all(header::CACHE_CONTROL).iter();
    let mut members = said.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let kind = headers.get(header::CONTENT_TYPE).map_or(&b""[..], |kind| kind.as_bytes());
    let is_events =
        kind.get(..EVENT_STREAM.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(EVENT_STREAM));
    !is_events && !members.any(forbids)
}

const EVENT_STREAM: &[u8] = b"text/event-stream";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_cache_can_keep_brings_no_old_copy_anywhere() {
        for (fields, is_kept) in [
            (&[][..], true),
            (&[("cache-control", "max-age=60")], true),
            (&[("cache-control", "public, No-Store")], false),
            (&[("cache-control", "no-cache")], false),
            (&[("cache-control", "max-age=60"), ("cache-control", "private")], false),
            (&[("cache-control", "private=\"set-cookie\"")], true),
            (&[("cache-control", "no-store"), ("cdn-cache-control", "max-age=60")], true),
            (&[("cache-control", "no-store"), ("surrogate-control", "max-age=60")], true),
            (&[("cache-control", "no-store"), ("x-accel-expires", "60")], true),
            (&[("content-type", "text/event-stream; charset=utf-8")], false),
            (&[("content-type", "text/html")], true),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(*name, value.parse().unwrap());
            }
            assert_eq!(may_be_kept(&headers), is_kept, "{fields:?}");
        }
    }

    #[test]
    fn only_answers_to_some_methods_can_be_kept_by_any_cache() {
        for (method, is_kept) in [
            ("GET", true),
            ("HEAD", true),
            ("QUERY", true),
            ("POST", false),
            ("PURGE", false),
            ("BAN", false),
            ("PUT", false),
            ("DELETE", false),
            ("CONNECT", false),
        ] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(may_be_kept_of(&method), is_kept, "{method}");
        }
    }

    #[test]
    fn what_was_begun_before_is_waited_for_and_what_begins_later_is_not() {
        let answers = UnderWay::default();
        let (one, other) = (answers.seat(), answers.seat());
        one.begin();
        let epoch = answers.turn();
        other.begin();
        assert!(!answers.has_ended(epoch));
        one.end();
        assert!(answers.has_ended(epoch));
        // It goes on at once with the next, which is newer.
        one.begin();
        assert!(answers.has_ended(epoch));
        assert!(!answers.has_ended(answers.turn()));
    }

    #[test]
    fn a_connection_that_is_gone_has_nothing_under_way_and_its_end_is_known() {
        let answers = UnderWay::default();
        let seat = answers.seat();
        assert_eq!(answers.quiet_for(), None);
        seat.begin();
        let epoch = answers.turn();
        drop(seat);
        assert!(answers.has_ended(epoch));
        assert!(answers.quiet_for().is_some());
        assert_eq!(answers.0.places().all.len(), 0);
    }
}
