//! Advice: says once why a service's answers are not stored, or not reused, and what would change that.
//!
//! On a first try there may be nothing but misses. Each of them says why, but only to a user who knows where
//! to look.

use larder::{Event, Events, Observed, http::policy::reason::Reason};

/// How many answers, not stored for one reason, are worth a line in the log.
const MANY: u32 = 20;

/// What came of the origin's answers so far, as far as a change of the service could mend it.
#[derive(Debug, Default)]
struct Advisor {
    fetched: u32,
    without_freshness: Habit,
    validated_each_time: Habit,
    to_cookies: Habit,
    with_cookies: Habit,
}

/// What came of one answer.
#[derive(Clone, Copy, Debug)]
enum Came {
    NotStored(Reason),
    /// It is stored, and asked for again at each use.
    LacksFreshness,
    Reusable,
}

/// How many answers had one fate, and whether that was told.
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
    /// The line that is due now that this came of an answer.
    fn after(&mut self, came: Came, origin: &str) -> Option<String> {
        const SAY_HOW_LONG: &str = "let it send Cache-Control: max-age=60, or start with --ttl 1m";
        self.fetched = self.fetched.saturating_add(1);
        let (habit, why, remedy) = match came {
            Came::NotStored(Reason::NoFreshness) => (
                &mut self.without_freshness,
                "were not stored because they do not say how long they are fresh",
                SAY_HOW_LONG,
            ),
            Came::LacksFreshness => (
                &mut self.validated_each_time,
                "are asked for again at each use because they do not say how long they are fresh",
                SAY_HOW_LONG,
            ),
            Came::NotStored(Reason::Cookie) => (
                &mut self.to_cookies,
                "were not stored because they answer requests with a cookie",
                "name the cookies that change nothing in them with --ignore-cookies \
                 (--ignore-cookies analytics: those of the usual visitor counters), or let it send \
                 Cache-Control: public",
            ),
            Came::NotStored(Reason::SetCookie) => (
                &mut self.with_cookies,
                "were not stored because they set a cookie",
                "let it set cookies only where somebody logs in",
            ),
            Came::NotStored(_) | Came::Reusable => return None,
        };
        habit.shows(self.fetched).then(|| {
            let count = habit.count;
            format!("{count} answers of {origin} {why}: {remedy}")
        })
    }

    fn has_told_all(&self) -> bool {
        let Advisor {
            fetched: _,
            without_freshness,
            validated_each_time,
            to_cookies,
            with_cookies,
        } = self;
        [without_freshness, validated_each_time, to_cookies, with_cookies]
            .iter()
            .all(|habit| habit.was_told)
    }
}

/// Follows what the cache does until everything was told that there is to tell, or the cache is gone.
/// Events that are lost to it are answers that it does not count.
pub(crate) async fn give(mut events: Events, origin: String) {
    let mut advisor = Advisor::default();
    while let Some(observed) = events.next().await {
        let Observed::Event(Event::Fetched { not_stored, lacks_freshness, .. }) = observed else {
            continue;
        };
        let came = match not_stored {
            Some(reason) => Came::NotStored(reason),
            None if lacks_freshness => Came::LacksFreshness,
            None => Came::Reusable,
        };
        if let Some(line) = advisor.after(came, &origin) {
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

    fn lines(fates: impl IntoIterator<Item = Came>) -> Vec<String> {
        let mut advisor = Advisor::default();
        fates.into_iter().filter_map(|came| advisor.after(came, "http://o:1")).collect()
    }

    fn many(came: Came) -> impl Iterator<Item = Came> {
        std::iter::repeat_n(came, 100)
    }

    #[test]
    fn a_habit_is_told_once_with_what_to_do() {
        let told = lines(many(Came::NotStored(Reason::NoFreshness)));
        assert_eq!(
            told,
            ["20 answers of http://o:1 were not stored because they do not say how long they are \
              fresh: let it send Cache-Control: max-age=60, or start with --ttl 1m"]
        );
        let told = lines(many(Came::NotStored(Reason::Cookie)));
        assert!(told.len() == 1 && told[0].contains("--ignore-cookies analytics"), "{told:?}");
        assert_eq!(lines(many(Came::NotStored(Reason::SetCookie))).len(), 1);
        let told = lines(many(Came::LacksFreshness));
        assert!(
            told.len() == 1 && told[0].contains("at each use") && told[0].contains("--ttl"),
            "{told:?}"
        );
    }

    #[test]
    fn what_is_rare_or_nobody_can_change_is_not_told() {
        assert!(lines(many(Came::NotStored(Reason::NoFreshness)).take(19)).is_empty());
        assert!(lines(many(Came::NotStored(Reason::NoStore))).is_empty());
        // One in four.
        let rarely = (0..400).map(|n| match n % 4 {
            0 => Came::NotStored(Reason::NoFreshness),
            _ => Came::Reusable,
        });
        assert!(lines(rarely).is_empty());
    }
}
