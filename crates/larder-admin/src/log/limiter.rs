//! Limiter: how many lines of one kind are logged, and how many were left out.
//!
//! A kind is a place in the code. Ten of its lines are logged at once, and then one a second: enough to see
//! what goes wrong and whether it still does, however often a client can make it happen.

use std::{
    collections::HashMap,
    mem,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tracing::{Level, callsite::Identifier};

/// How many lines of one kind may come at once.
const BURST: u32 = 10;
/// After that, one in this time. What was left out is told as often.
pub(super) const EVERY: Duration = Duration::from_secs(1);

/// The kinds of lines. There are as many as places in the code that log.
#[derive(Debug, Default)]
pub(super) struct Limiter {
    kinds: Mutex<HashMap<Identifier, LineKind>>,
    left_out: AtomicU64,
}

#[derive(Debug)]
struct LineKind {
    /// How many more may come at once.
    left: u32,
    /// When `left` grew last.
    grown: Instant,
    /// Not told yet.
    left_out: u64,
    level: Level,
    /// One of those that were left out, once it is written.
    example: String,
}

/// What becomes of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decision {
    Logged,
    /// It is to be the example.
    FirstLeftOut,
    LeftOut,
}

impl Limiter {
    /// Whether another line of this kind may be logged. `example` is asked for where it is the first that
    /// may not: under no lock, for it runs the code that logs, which may log once more.
    pub(super) fn admit(
        &self,
        kind: Identifier,
        level: Level,
        now: Instant,
        example: impl FnOnce() -> String,
    ) -> bool {
        let decision = self.judge(kind.clone(), level, now);
        if decision == Decision::FirstLeftOut {
            let example = example();
            // It may have been told without one meanwhile; then this is the next one's.
            if let Some(kind) = self.kinds().get_mut(&kind) {
                kind.example = example;
            }
        }
        decision == Decision::Logged
    }

    fn judge(&self, kind: Identifier, level: Level, now: Instant) -> Decision {
        let mut kinds = self.kinds();
        let kind = kinds.entry(kind).or_insert_with(|| LineKind {
            left: BURST,
            grown: now,
            left_out: 0,
            level,
            example: String::new(),
        });
        let periods = now.saturating_duration_since(kind.grown).as_secs() / EVERY.as_secs();
        if periods > 0 {
            kind.left =
                BURST.min(kind.left.saturating_add(u32::try_from(periods).unwrap_or(BURST)));
            kind.grown = now;
        }
        if kind.left > 0 {
            kind.left -= 1;
            return Decision::Logged;
        }
        kind.left_out += 1;
        self.left_out.fetch_add(1, Ordering::Relaxed);
        if kind.left_out == 1 { Decision::FirstLeftOut } else { Decision::LeftOut }
    }

    /// What was left out of one kind and not told yet, if anything was.
    pub(super) fn take_summary(&self) -> Option<(Level, String)> {
        let mut kinds = self.kinds();
        let kind = kinds.values_mut().find(|kind| kind.left_out > 0)?;
        let (count, example) = (mem::take(&mut kind.left_out), mem::take(&mut kind.example));
        let lines = if count == 1 { "1 line".to_owned() } else { format!("{count} lines") };
        Some((kind.level, format!("left out {lines} like: {example}")))
    }

    /// All lines that were left out so far.
    pub(super) fn left_out(&self) -> u64 {
        self.left_out.load(Ordering::Relaxed)
    }

    fn kinds(&self) -> MutexGuard<'_, HashMap<Identifier, LineKind>> {
        // Nothing under this lock can panic half-way through a change.
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Not without size: it is known by its address.
    pub(crate) struct Site(u8);

    impl tracing::Callsite for Site {
        fn set_interest(&self, _: tracing::subscriber::Interest) {}

        fn metadata(&self) -> &tracing::Metadata<'_> {
            unreachable!("nobody asks number {}", self.0)
        }
    }

    pub(crate) static ONE: Site = Site(1);
    static OTHER: Site = Site(2);

    /// Made in one place: an identifier's hash is also that of how its site came to be one.
    fn kind(site: &'static Site) -> Identifier {
        Identifier(site)
    }

    pub(crate) fn admitted(
        limiter: &Limiter,
        site: &'static Site,
        times: usize,
        now: Instant,
    ) -> usize {
        let admit = || limiter.admit(kind(site), Level::WARN, now, || "no origin".to_owned());
        (0..times).filter(|_| admit()).count()
    }

    #[test]
    fn ten_lines_of_a_kind_come_at_once_then_one_a_second_and_the_rest_is_counted() {
        let (limiter, began) = (Limiter::default(), Instant::now());
        assert_eq!(admitted(&limiter, &ONE, 1000, began), 10);
        let expected = (Level::WARN, "left out 990 lines like: no origin".to_owned());
        assert_eq!(limiter.take_summary(), Some(expected));
        assert_eq!(admitted(&limiter, &ONE, 5, began + EVERY / 2), 0);
        assert_eq!(admitted(&limiter, &ONE, 5, began + EVERY), 1);
        assert_eq!(limiter.left_out(), 999);
        let expected = (Level::WARN, "left out 9 lines like: no origin".to_owned());
        assert_eq!(limiter.take_summary(), Some(expected));
        assert_eq!(limiter.take_summary(), None);
        assert_eq!(admitted(&limiter, &ONE, 1000, began + 100 * EVERY), 10);
    }

    #[test]
    fn what_logs_while_it_is_written_holds_nothing_up() {
        let (limiter, now) = (Limiter::default(), Instant::now());
        admitted(&limiter, &ONE, 10, now);
        let example = || {
            assert_eq!(admitted(&limiter, &ONE, 1, now) + admitted(&limiter, &OTHER, 1, now), 1);
            "an example".to_owned()
        };
        assert!(!limiter.admit(kind(&ONE), Level::WARN, now, example));
        let expected = (Level::WARN, "left out 2 lines like: an example".to_owned());
        assert_eq!(limiter.take_summary(), Some(expected));
    }

    #[test]
    fn one_kind_takes_nothing_from_another() {
        let (limiter, now) = (Limiter::default(), Instant::now());
        admitted(&limiter, &ONE, 1000, now);
        assert_eq!(admitted(&limiter, &OTHER, 5, now), 5);
    }
}
