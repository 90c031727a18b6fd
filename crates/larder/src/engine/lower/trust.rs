//! Trust: for how long what is known of the log of purges is gone by.

use std::time::Duration;

use crate::{
    clock::{AtomicMoment, Clock, Moment},
    rules::Rule,
};

/// So long after its last renewal a cache may still be waited for: a tier forgets a silent reader after an hour.
const MAX_SILENCE: Duration = Duration::from_secs(55 * 60);

/// For how long a cache goes by what it knows.
pub(super) struct Trust {
    /// By this it is measured: never by a clock of the user's, which may stand still or step back.
    clock: Clock,
    /// Hits read the same clock.
    is_of_hits: bool,
    until: AtomicMoment,
    /// When the last call was sent that has renewed it.
    renewed: AtomicMoment,
    /// How long it lasts after that.
    lasts: Duration,
}

/// What may be gone by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trusted {
    /// Whatever is in memory.
    All,
    /// What was fetched no longer ago than this: so long it may be used by a cache that has lost the tier, as by one
    /// that has just lost it. The rest may be stale.
    Within(Duration),
    /// Nothing, also not as stale: no purge waits for this cache.
    Nothing,
}

impl Trust {
    /// None yet. `clock`: the one that hits read.
    pub(super) fn new(clock: &Clock, lasts: Duration) -> Self {
        let is_of_hits = clock.is_system() || clock.is_simulated();
        Trust {
            clock: if is_of_hits { clock.clone() } else { Clock::system() },
            is_of_hits,
            until: AtomicMoment::new(Moment::FIRST),
            renewed: AtomicMoment::new(Moment::FIRST),
            lasts,
        }
    }

    pub(super) fn now(&self) -> Moment {
        self.clock.now()
    }

    /// What was known when a call was sent at `sent` is all there was then.
    pub(super) fn renew(&self, sent: Moment) {
        let sent = if Rule::TrustLastsFromSending.holds() { sent } else { self.now() };
        self.renewed.advance(sent);
        self.until.advance(sent.plus(self.lasts));
    }

    /// There is none any more, nor will there be.
    pub(super) fn end(&self) {
        self.renewed.set(Moment::FIRST);
        self.until.set(Moment::FIRST);
    }

    /// Until when hits need not ask, by their own clock.
    pub(super) fn until_by_hits(&self) -> Moment {
        if self.is_of_hits { self.until.get() } else { Moment::FIRST }
    }

    /// So long ago the call was sent that has renewed it; zero where none has.
    pub(super) fn behind(&self) -> Duration {
        let renewed = self.renewed.get();
        if renewed == Moment::FIRST { Duration::ZERO } else { self.now().since(renewed) }
    }

    pub(super) fn holds(&self) -> bool {
        self.now() < self.until.get()
    }

    pub(super) fn at_present(&self) -> Trusted {
        let (now, renewed) = (self.now(), self.renewed.get());
        if now < self.until.get() {
            return Trusted::All;
        }
        let is_known = renewed > Moment::FIRST && now.since(renewed) < MAX_SILENCE
            || !Rule::NothingIsKeptBeforeTheFirstRenewal.holds();
        match self.is_of_hits {
            _ if !is_known => Trusted::Nothing,
            true => Trusted::Within(self.lasts),
            // By a user's clock nobody can tell how old something is.
            false => Trusted::Within(Duration::ZERO),
        }
    }
}

#[cfg(all(test, not(shuttle)))]
impl Trust {
    /// By a clock of the test's, which hits read as well.
    pub(super) fn by(clock: &Clock, lasts: Duration) -> Self {
        Trust { clock: clock.clone(), is_of_hits: true, ..Trust::new(clock, lasts) }
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    const LASTS: Duration = Duration::from_secs(10);

    #[test]
    fn it_lasts_from_the_sending_of_the_call_that_has_renewed_it() {
        let clock = ManualClock::new();
        let trust = Trust::by(&clock.clock(), LASTS);
        assert_eq!(trust.at_present(), Trusted::Nothing, "nothing has been heard of the tier");
        let sent = trust.now();
        clock.advance(Duration::from_secs(4));
        trust.renew(sent);
        clock.advance(Duration::from_millis(5_999));
        assert_eq!(trust.at_present(), Trusted::All);
        clock.advance(Duration::from_millis(1));
        assert_eq!(trust.at_present(), Trusted::Within(LASTS));
        // An answer that comes late takes nothing back.
        trust.renew(trust.now());
        trust.renew(sent);
        assert!(trust.holds());
        clock.advance(MAX_SILENCE);
        assert_eq!(trust.at_present(), Trusted::Nothing);
    }

    #[test]
    fn by_a_clock_of_the_users_no_hit_is_plain_and_nothing_is_used_without_trust() {
        let clock = ManualClock::new();
        let trust = Trust::new(&clock.clock(), Duration::from_millis(30));
        trust.renew(trust.now());
        assert_eq!(trust.at_present(), Trusted::All);
        assert_eq!(trust.until_by_hits(), Moment::FIRST);
        std::thread::sleep(Duration::from_millis(50));
        let nothing_lately = Trusted::Within(Duration::ZERO);
        assert_eq!(trust.at_present(), nothing_lately, "though the user's clock stands still");
        trust.end();
        assert_eq!(trust.at_present(), Trusted::Nothing);
    }
}
