//! Questions: how far the vendor is with what it works on behind the scenes.
//!
//! A question is made when it is asked: who asks proves it by a date, or by a token that is renewed meanwhile.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::StatusCode;
use tokio::time::Instant;

use super::{Heard, Run, Worker};
use crate::{
    cdn::{driver::Said, queue::Fate, rate::pause_after},
    origins::dice::dice,
};

/// What a vendor works on is asked about no more often, …
const LEAST: Duration = Duration::from_millis(100);
/// … and however long it takes, no more seldom.
const MOST: Duration = Duration::from_secs(60);
/// What has taken long is asked about after this part of that time.
const PART: u32 = 10;

/// A question that is to be asked.
pub(super) struct Question {
    pub(super) run: u64,
    /// About which wishes of it.
    pub(super) wishes: Vec<usize>,
    /// What the vendor calls them.
    id: Arc<str>,
    at: Instant,
    since: Instant,
    failures: u32,
}

/// All that are to be asked: one for each call that is open, so no more than purges that wait.
#[derive(Default)]
pub(super) struct Questions {
    open: Vec<Question>,
    /// How many in a row the vendor has known nothing of.
    unknown: u32,
}

impl Question {
    pub(super) fn new(run: u64, wishes: Vec<usize>, id: Arc<str>, after: Duration) -> Question {
        let since = Instant::now();
        Question { run, wishes, id, at: since + after.max(LEAST), since, failures: 0 }
    }

    /// When it is asked again, where the vendor says `after`.
    fn next(&self, now: Instant, after: Duration) -> Instant {
        let age = now.saturating_duration_since(self.since);
        now + (age / PART).min(MOST).max(after).max(LEAST)
    }
}

impl Questions {
    pub(super) fn push(&mut self, question: Question) {
        self.open.push(question);
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Question> {
        self.open.iter()
    }

    /// When one is to be asked next.
    pub(super) fn next(&self) -> Option<Instant> {
        self.open.iter().map(|question| question.at).min()
    }

    /// That which has been due for longest.
    pub(super) fn take(&mut self, now: Instant) -> Option<Question> {
        let due = self.open.iter().enumerate().filter(|(_, question)| question.at <= now);
        let (place, _) = due.min_by_key(|(_, question)| question.at)?;
        Some(self.open.swap_remove(place))
    }
}

impl Worker {
    /// Asks how far the vendor is.
    pub(super) async fn ask(&mut self, question: Question) {
        let run = question.run;
        self.asked(question).await;
        self.end(run);
    }

    async fn asked(&mut self, mut question: Question) {
        let Some(Run { job, .. }) = self.runs.get(&question.run) else { return };
        let deadline = job.since + self.inside.config.give_up;
        if !self.cdn().queue().waits_for(job) {
            return;
        }
        if !self.turn(deadline).await {
            return self.give_up(question.run, &question.wishes, "it has not said that it is done");
        }
        let driver = Arc::clone(&self.cdn().config.driver);
        let ask = driver.question(&question.id, question.wishes.clone(), SystemTime::now());
        let Some(ask) = ask else {
            let why = "it works on this, and cannot be asked how far it is".into();
            return self.settle(question.run, &question.wishes, &Fate::Failed { why });
        };
        let Heard { said, status, ids } = self.send(&ask).await;
        let now = Instant::now();
        let why: Arc<str> = match said {
            Said::Refused { .. } if is_unknown(status) => return self.forgotten(question),
            Said::Working { after, .. } => {
                question.failures = 0;
                question.at = question.next(now, after);
                "it is still at work".into()
            }
            Said::Later { after, why } => {
                question.failures += 1;
                let pause = after.unwrap_or_else(|| pause_after(question.failures, dice()));
                question.at = now + pause.max(LEAST);
                self.tell_why(question.run, &why.as_str().into());
                why.into()
            }
            said => {
                self.questions.unknown = 0;
                return self.heard(question.run, &ask, said, &ids);
            }
        };
        if now >= deadline {
            return self.give_up(question.run, &question.wishes, &why);
        }
        question.at = question.at.min(deadline);
        self.questions.push(question);
    }

    /// The vendor knows nothing of it, perhaps because it was restarted: nobody can say that it was done, so it is asked for once
    /// more.
    fn forgotten(&mut self, question: Question) {
        self.questions.unknown += 1;
        let at = Instant::now() + pause_after(self.questions.unknown, dice());
        let why = format!("it knows nothing of {}: it is asked for once more", question.id).into();
        self.settle(question.run, &question.wishes, &Fate::Later { at, why });
    }
}

fn is_unknown(status: Option<StatusCode>) -> bool {
    matches!(status, Some(StatusCode::NOT_FOUND | StatusCode::GONE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_long_is_asked_about_less_often() {
        let question = Question::new(1, vec![0], "x".into(), Duration::ZERO);
        let seconds = Duration::from_secs;
        for (age, after, expected) in [
            (seconds(0), seconds(0), LEAST),
            (seconds(1), seconds(5), seconds(5)),
            (seconds(100), seconds(5), seconds(10)),
            (seconds(86_400), seconds(5), MOST),
            (seconds(86_400), seconds(90), seconds(90)),
        ] {
            let now = question.since + age;
            assert_eq!(question.next(now, after) - now, expected, "{age:?} {after:?}");
        }
    }

    #[test]
    fn the_one_that_has_been_due_for_longest_is_asked_first() {
        let now = Instant::now();
        let mut questions = Questions::default();
        for (run, after) in [(1, 3), (2, 1), (3, 9)] {
            let mut question = Question::new(run, vec![0], "x".into(), Duration::ZERO);
            question.at = now + Duration::from_secs(after);
            questions.push(question);
        }
        assert_eq!(questions.next(), Some(now + Duration::from_secs(1)));
        let later = now + Duration::from_secs(5);
        assert_eq!(questions.take(later).map(|question| question.run), Some(2));
        assert_eq!(questions.take(later).map(|question| question.run), Some(1));
        assert!(questions.take(later).is_none());
    }
}
