//! Watch: what the log says of a tier that processes share.

use std::time::Duration;

use larder::{
    Cache,
    lower::{Health, Settings, Unsure},
};

/// So often the log looks how the tier is.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// What is over sooner is told by counters alone.
const WORTH_A_LINE: Duration = Duration::from_secs(1);
/// A tier that answers has told within this what there is to go by, unless it cannot.
const PATIENCE: Duration = Duration::from_secs(5);

/// How a cache stands with its tier, as far as the log tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// What happens first is yet to be seen.
    Begins,
    Together,
    Away,
    /// It answers, some calls at least, and still nobody knows what others have purged.
    Unsettled,
}

/// Says in the log when the tier goes, and when it comes back: each once, however many requests that concerns.
///
/// ```no_run
/// # use larder::{Cache, codec::Text, lower::Settings};
/// use larder_admin::watch::Watch;
/// # async fn doc(tier: larder::lower::InProcess) {
/// let settings = Settings::default();
/// let cache = Cache::<String>::builder().lower_with(tier, Text, settings).build();
/// let watching = tokio::spawn(Watch::new("Redis at 127.0.0.1:6379", settings).tell(cache));
/// # }
/// ```
#[derive(Debug)]
pub struct Watch {
    place: String,
    settings: Settings,
    state: State,
    /// For so long it has been answering without being of use.
    unsettled: Duration,
    /// What a call that it did not answer meanwhile has come to.
    reason: Option<String>,
    /// Whether it was told last that purges which wait are not on disk.
    outbox_fails: bool,
}

impl Watch {
    /// `place`: how the log is to call the tier. `settings`: those of the cache.
    pub fn new(place: impl Into<String>, settings: Settings) -> Self {
        let place = place.into();
        let (state, unsettled) = (State::Begins, Duration::ZERO);
        Watch { place, settings, state, unsettled, reason: None, outbox_fails: false }
    }

    /// Until its task is aborted.
    pub async fn tell<V: Clone + Send + Sync + 'static>(mut self, cache: Cache<V>) {
        while let Some(health) = cache.lower_health() {
            if let Some(state) = self.change(&health, cache.stats().lower.is_trusted) {
                let line = self.line(state, &health);
                match state {
                    State::Begins | State::Together => tracing::info!("{line}"),
                    State::Away | State::Unsettled => tracing::warn!("{line}"),
                }
                self.state = state;
            }
            match self.change_of_outbox(cache.outbox_failure()) {
                Some(Ok(line)) => tracing::info!("{line}"),
                Some(Err(line)) => tracing::warn!("{line}"),
                None => {}
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// What there is to say of the outbox's file, if that is new: it is written again, or it is not any more.
    fn change_of_outbox(
        &mut self,
        failure: Option<String>,
    ) -> Option<Result<&'static str, String>> {
        if failure.is_some() == self.outbox_fails {
            return None;
        }
        self.outbox_fails = failure.is_some();
        Some(match failure {
            None => Ok("the outbox is on disk again"),
            Some(reason) => Err(format!(
                "the outbox is not on disk: until it is, purges that wait to be sent are in memory alone ({reason})"
            )),
        })
    }

    /// The state now, if it is another one than was told last. Asked every [`LOOK_EVERY`].
    fn change(&mut self, health: &Health, is_trusted: bool) -> Option<State> {
        let is_away = matches!(health, Health::Fails { lasts, .. } if *lasts >= WORTH_A_LINE);
        // Reads may be answered where nothing else is: by a server that is full, or to a user with too few rights.
        if is_trusted || is_away {
            (self.unsettled, self.reason) = (Duration::ZERO, None);
        } else {
            self.unsettled += LOOK_EVERY;
            if let Health::Fails { reason, .. } = health {
                self.reason = Some(reason.clone());
            }
        }
        let state = match health {
            _ if is_away => State::Away,
            Health::Answers if is_trusted => State::Together,
            _ if self.unsettled > PATIENCE => State::Unsettled,
            _ => return None,
        };
        (state != self.state).then_some(state)
    }

    fn line(&self, state: State, health: &Health) -> String {
        let Watch { place, settings, .. } = self;
        match (state, self.state) {
            (State::Together, State::Begins) | (State::Begins, _) => format!("{place} answers"),
            (State::Together, _) => format!("{place} answers again"),
            (State::Unsettled, _) => {
                let reason = self.reason.as_ref().map(|reason| format!(" ({reason})"));
                format!(
                    "{place} answers, and does not say which purges there were: until it does nothing in memory is \
                     served without asking{}",
                    reason.unwrap_or_default()
                )
            }
            (State::Away, State::Begins) if settings.unsure == Unsure::Fetch => format!(
                "{place} does not answer: nothing is kept until it first has, for no purge elsewhere waits for one that \
                 it does not know ({})",
                reason(health)
            ),
            (State::Away, _) => {
                let lasts = humantime::format_duration(settings.max_incoherence);
                let then = match settings.unsure {
                    Unsure::ServeStale => "then as stale answers may be",
                    _ => "then fetched anew",
                };
                format!(
                    "{place} does not answer: until it does, nothing is shared, what is in memory is served for {lasts} \
                     and {then}, and purges wait to be sent ({})",
                    reason(health)
                )
            }
        }
    }
}

fn reason(health: &Health) -> &str {
    match health {
        Health::Fails { reason, .. } => reason,
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_is_told_once_and_what_is_short_is_not() {
        let mut watch = Watch::new("redis://one".to_owned(), Settings::default());
        let fails = |millis| Health::Fails {
            lasts: Duration::from_millis(millis),
            reason: "refused".to_owned(),
        };
        let mut after = |health: Health, is_trusted| {
            let state = watch.change(&health, is_trusted)?;
            let line = watch.line(state, &health);
            watch.state = state;
            Some(line)
        };
        assert_eq!(after(fails(999), false), None);
        let away = after(fails(1000), false).unwrap();
        assert!(away.contains("nothing is kept until") && away.ends_with("(refused)"), "{away}");
        assert_eq!(after(fails(60_000), false), None);
        assert_eq!(after(Health::Answers, false), None);
        assert_eq!(after(Health::Answers, true).unwrap(), "redis://one answers again");
        assert_eq!(after(Health::Answers, true), None);
        assert!(after(fails(1000), true).unwrap().contains("served for 10s and then fetched anew"));
        assert!(after(Health::Answers, true).is_some());
        assert_eq!(after(fails(500), true), None);
        assert_eq!(after(Health::Answers, true), None);
        let unsettled = (0..100).filter_map(|_| after(Health::Answers, false));
        let unsettled: Vec<_> = unsettled.collect();
        assert_eq!(unsettled.len(), 1, "{unsettled:?}");
        assert!(unsettled[0].ends_with("without asking"), "{unsettled:?}");
        assert!(after(Health::Answers, true).is_some());
        let mut outbox = |failure: Option<&str>| watch.change_of_outbox(failure.map(str::to_owned));
        assert_eq!(outbox(None), None);
        assert!(outbox(Some("full")).unwrap().unwrap_err().ends_with("alone (full)"));
        assert_eq!(outbox(Some("full")), None);
        assert_eq!(outbox(None), Some(Ok("the outbox is on disk again")));
        assert_eq!(outbox(None), None);
    }

    #[test]
    fn who_is_answered_and_told_nothing_is_told_of_once() {
        let mut watch = Watch::new("redis://one".to_owned(), Settings::default());
        let fails = |millis| Health::Fails {
            lasts: Duration::from_millis(millis),
            reason: "refused".to_owned(),
        };
        let mut after = |health: Health, is_trusted| {
            let state = watch.change(&health, is_trusted)?;
            let line = watch.line(state, &health);
            watch.state = state;
            Some(line)
        };
        // Its reads are answered, and nothing else is.
        let health = |turn| if turn % 2 == 0 { Health::Answers } else { fails(100) };
        let unsettled: Vec<_> = (0..100).filter_map(|turn| after(health(turn), false)).collect();
        assert_eq!(unsettled.len(), 1, "{unsettled:?}");
        assert!(unsettled[0].ends_with("without asking (refused)"), "{unsettled:?}");
    }
}
