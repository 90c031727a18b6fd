//! Supervisor: what starts and stops this process is told how it is, as systemd wants to be told (`sd_notify`).
//!
//! Without `NOTIFY_SOCKET` nothing is told to nobody. One that does not listen holds nothing up.

use std::{fmt::Write, sync::Arc, thread, time::Duration};

use sd_notify::NotifyState;
use tokio::{
    runtime::Handle,
    sync::oneshot,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};

/// One that takes nothing for so long is not waited for.
const PATIENCE: Duration = Duration::from_secs(1);
/// While this process comes to its end, that is told so often.
pub(crate) const TELL_EVERY: Duration = Duration::from_secs(5);
/// Each time, the supervisor is to wait for so long again.
const MORE_TIME: Duration = Duration::from_secs(20);

/// The supervisor of this process, if it wants to be told anything.
#[derive(Clone, Debug)]
pub(crate) struct Supervisor {
    is_there: bool,
    /// In a few words, what this process does.
    serves: Arc<str>,
}

impl Supervisor {
    /// `serves` is for its list of services.
    pub(crate) fn of_environment(serves: &str) -> Supervisor {
        let is_there = std::env::var_os("NOTIFY_SOCKET").is_some_and(|path| !path.is_empty());
        Supervisor { is_there, serves: serves.into() }
    }

    /// Whether it wants to know which process goes on, so that one may take another's place.
    pub(crate) fn is_told_who_goes_on(&self) -> bool {
        self.is_there
    }

    /// It serves. `note`: what is to be seen to, if there is anything.
    pub(crate) async fn ready(&self, note: Option<String>) {
        let note = note.map(|note| one_line(&note));
        self.tell(format!("READY=1\nSTATUS={}", note.as_deref().unwrap_or(&self.serves))).await;
    }

    /// It reads its settings again, until it is [ready](Supervisor::ready).
    pub(crate) async fn reloading(&self) {
        let mut text = "RELOADING=1".to_owned();
        if let Ok(now) = NotifyState::monotonic_usec_now() {
            // Without it newer ones take the next word for an older one.
            write!(text, "\n{now}").ok();
        }
        self.tell(text).await;
    }

    /// Another process is started, which is to take this one's place.
    pub(crate) async fn upgrading(&self) {
        self.tell(
            "STATUS=a new process is started, and this one serves until it is ready".to_owned(),
        )
        .await;
    }

    /// From now on it is the other process that counts.
    pub(crate) async fn handed_over(&self, pid: u32) {
        self.tell(format!("MAINPID={pid}\nSTATUS=process {pid} has taken over")).await;
    }

    /// It comes to its end, and waits for `what`.
    pub(crate) async fn stopping(&self, what: &str) {
        let more = MORE_TIME.as_micros();
        let what = one_line(what);
        self.tell(format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={more}\nSTATUS={what}")).await;
    }

    /// As [`stopping`](Supervisor::stopping), again and again for so long.
    pub(crate) async fn stopping_for(&self, what: &str, time: Duration) {
        let end = Instant::now() + time;
        loop {
            self.stopping(what).await;
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            sleep(left.min(TELL_EVERY)).await;
        }
    }

    /// Tells it again and again that all event loops answer, where it wants that. One that does not is told of in the
    /// log, and then nobody says that all is well: a process that hangs is not kept alive by a part that does not.
    pub(crate) async fn keep_watch(self, loops: Vec<Handle>) {
        let Some(limit) =
            sd_notify::watchdog_enabled().filter(|limit| self.is_there && !limit.is_zero())
        else {
            return;
        };
        let every = (limit / 2).max(Duration::from_millis(1));
        let mut turns = interval(every);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            turns.tick().await;
            match answering(&loops, every).await {
                count if count == loops.len() => self.tell("WATCHDOG=1".to_owned()).await,
                count => {
                    let missing = loops.len() - count;
                    tracing::error!("{missing} of {} event loops do not answer", loops.len());
                }
            }
        }
    }

    /// In order: once this returns it has been told, or does not listen.
    async fn tell(&self, text: String) {
        if !self.is_there {
            return;
        }
        let (done, told) = oneshot::channel();
        // On a thread of its own: where nobody takes it, it waits.
        let sending = thread::Builder::new().name("larder-notify".to_owned()).spawn(move || {
            // Whoever waited for it may have gone on.
            done.send(sd_notify::notify(&[NotifyState::Custom(&text)])).ok();
        });
        let told = match sending {
            Ok(_) => timeout(PATIENCE, told).await,
            Err(error) => return tracing::warn!("the supervisor cannot be told anything: {error}"),
        };
        match told {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => {
                tracing::warn!("the supervisor cannot be told anything: {error}");
            }
            Ok(Err(_)) | Err(_) => tracing::warn!("the supervisor takes nothing"),
        }
    }
}

/// How many of them do something within this time.
async fn answering(loops: &[Handle], within: Duration) -> usize {
    let mut asked = JoinSet::new();
    for one in loops {
        asked.spawn_on(std::future::ready(()), one);
    }
    let mut count = 0;
    let all = async {
        while asked.join_next().await.is_some() {
            count += 1;
        }
    };
    timeout(within, all).await.ok();
    count
}

/// What a line of its list has room for.
fn one_line(text: &str) -> String {
    const MOST: usize = 200;
    text.lines().next().unwrap_or_default().chars().take(MOST).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio::runtime::Builder;

    use super::*;

    #[tokio::test]
    async fn a_loop_that_hangs_is_missed_and_the_others_are_not() {
        let (go_on, wait) = mpsc::channel::<()>();
        let loops: Vec<_> = (0..3)
            .map(|_| {
                let runtime = Builder::new_current_thread().enable_all().build().unwrap();
                let handle = runtime.handle().clone();
                thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
                handle
            })
            .collect();
        assert_eq!(answering(&loops, Duration::from_secs(30)).await, 3);
        loops[1].spawn(async move { wait.recv().ok() });
        assert_eq!(answering(&loops, Duration::from_millis(100)).await, 2);
        go_on.send(()).unwrap();
        assert_eq!(answering(&loops, Duration::from_secs(30)).await, 3);
    }

    #[test]
    fn a_status_is_one_line_and_not_a_long_one() {
        assert_eq!(one_line("one\ntwo"), "one");
        assert_eq!(one_line(&"ä".repeat(300)).chars().count(), 200);
        assert_eq!(one_line(""), "");
    }
}
