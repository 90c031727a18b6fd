//! Advice: says once why a service's answers are not stored, and what would change that.
//!
//! Somebody who puts the cache before a service for the first time sees nothing but misses, and each of
//! them says why; but only to those who know where to look.

use larder::{Event, Events, Observed, http::policy::reason::Reason};

/// How many answers, not stored for one reason, are worth a line in the log.
const MANY: u32 = 20;

/// What came of the origin's answers so far, as far as somebody could change it.
#[derive(Debug, Default)]
struct Advisor {
    fetched: u32,
    without_freshness: Habit,
    to_cookies: Habit,
    with_cookies: Habit,
}

/// How many answers were not stored for one reason, and whether that was told.
#[derive(Debug, Default)]
struct Habit {
    count: u32,
    was_told: bool,
}

impl Habit {
    /// Whether to tell of it now: the first time that it is many, and half of all.
    fn shows(&mut self, fetched: u32) -> bool {
        self.count = self.count.saturating_add(1);
        let shows = !self.was_told && self.count >= MANY && self.count >= fetched / 2;
        self.was_told |= shows;
        shows
    }
}

impl Advisor {
    /// The line that is due now that an answer was not stored for `reason`, or was stored.
    fn after(&mut self, reason: Option<Reason>, origin: &str) -> Option<String> {
        self.fetched = self.fetched.saturating_add(1);
        let (habit, why, remedy) = match reason? {
            Reason::NoFreshness => (
                &mut self.without_freshness,
                "do not say how long they are fresh",
                "let it send Cache-Control: max-age=60, or start with --ttl 1m",
            ),
            Reason::Cookie => (
                &mut self.to_cookies,
                "answer requests with a cookie",
                "name the cookies that change nothing in them with --ignore-cookies \
                 (--ignore-cookies analytics: those of the usual visitor counters), or let it send \
                 Cache-Control: public",
            ),
            Reason::SetCookie => (
                &mut self.with_cookies,
                "set a cookie",
                "let it set cookies only where somebody logs in",
            ),
            _ => return None,
        };
        habit.shows(self.fetched).then(|| {
            let count = habit.count;
            format!("{count} answers of {origin} were not stored because they {why}: {remedy}")
        })
    }

    fn has_told_all(&self) -> bool {
        self.without_freshness.was_told && self.to_cookies.was_told && self.with_cookies.was_told
    }
}

/// Follows what the cache does until everything was told that there is to tell, or the cache is gone.
/// Events that are lost to it are answers that it does not count.
pub(crate) async fn give(mut events: Events, origin: String) {
    let mut advisor = Advisor::default();
    while let Some(observed) = events.next().await {
        let Observed::Event(Event::Fetched { not_stored, .. }) = observed else { continue };
        if let Some(line) = advisor.after(not_stored, &origin) {
            tracing::info!("{line}");
        }
        if advisor.has_told_all() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(reasons: impl IntoIterator<Item = Option<Reason>>) -> Vec<String> {
        let mut advisor = Advisor::default();
        reasons.into_iter().filter_map(|reason| advisor.after(reason, "http://o:1")).collect()
    }

    #[test]
    fn a_habit_is_told_once_with_what_to_do() {
        let told = lines(std::iter::repeat_n(Some(Reason::NoFreshness), 100));
        assert_eq!(
            told,
            ["20 answers of http://o:1 were not stored because they do not say how long they are \
              fresh: let it send Cache-Control: max-age=60, or start with --ttl 1m"]
        );
        let told = lines(std::iter::repeat_n(Some(Reason::Cookie), 100));
        assert!(told.len() == 1 && told[0].contains("--ignore-cookies analytics"), "{told:?}");
        assert_eq!(lines(std::iter::repeat_n(Some(Reason::SetCookie), 100)).len(), 1);
    }

    #[test]
    fn what_is_rare_or_nobody_can_change_is_not_told() {
        assert!(lines(std::iter::repeat_n(Some(Reason::NoFreshness), 19)).is_empty());
        assert!(lines(std::iter::repeat_n(Some(Reason::NoStore), 100)).is_empty());
        // One in four.
        let rarely = (0..400).map(|n| (n % 4 == 0).then_some(Reason::NoFreshness));
        assert!(lines(rarely).is_empty());
    }
}
