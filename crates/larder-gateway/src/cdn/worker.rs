//! Worker: the calls to one CDN, one after the other, in the order of the log.

use std::{
    collections::HashMap,
    future::pending,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, SystemTime},
};

use http::StatusCode;
use larder_admin::trail::Keeper;
use tokio::time::{Instant, sleep_until};

use super::{
    CallEnd, Cdn, Inside,
    driver::{Call, Said},
    hidden,
    queue::{Fate, Job, Queue, Under},
    rate::pause_after,
};
use crate::origins::dice::dice;

/// So many calls may be worked on by the vendor behind the scenes; others wait until one of them is done.
pub(super) const MOST_WORKING: usize = 32;
/// A call that fails so often makes room for others, and is tried again later.
const TRIES: u32 = 4;
/// What a vendor works on is asked about no more often.
const LEAST_ASK: Duration = Duration::from_millis(100);

/// What was asked for, and what is still open of it.
struct Run {
    job: Job,
    /// What it is called.
    batch: Arc<str>,
    began: Instant,
    /// How many calls are still open about each wish.
    open: Vec<usize>,
    vendor_id: Option<Arc<str>>,
    /// Which calls are kept until it is known what became of them, by the first wish of each: their numbers in the file.
    kept: HashMap<usize, u64>,
}

/// A question about what the vendor works on.
struct Poll {
    at: Instant,
    ask: Call,
    run: u64,
    failures: u32,
}

/// What came of a call.
struct Heard {
    said: Said,
    /// `None`: there was no answer.
    status: Option<StatusCode>,
    /// What the vendor calls each wish, where it says.
    ids: HashMap<usize, Arc<str>>,
}

struct Worker {
    inside: Arc<Inside>,
    place: usize,
    runs: HashMap<u64, Run>,
    polls: Vec<Poll>,
    last_run: u64,
    source: u32,
    failures: u32,
}

/// Until its task is dropped.
pub(super) async fn work(inside: Arc<Inside>, place: usize) {
    let bounds = inside.cdns[place].config.bounds;
    let source = (dice() * f64::from(u32::MAX)) as u32;
    let (runs, polls) = (HashMap::new(), Vec::new());
    let mut worker = Worker { inside, place, runs, polls, last_run: 0, source, failures: 0 };
    loop {
        let now = Instant::now();
        if let Some(due) = worker.polls.iter().position(|poll| poll.at <= now) {
            let poll = worker.polls.swap_remove(due);
            worker.ask(poll).await;
            continue;
        }
        let most = bounds.most_in_a_call;
        let may_begin = worker.polls.len() < MOST_WORKING;
        let job = if may_begin { worker.cdn().queue().take(most, now) } else { None };
        match job {
            Some(job) => worker.begin(job).await,
            None => worker.wait(may_begin).await,
        }
    }
}

impl Worker {
    fn cdn(&self) -> &Cdn {
        &self.inside.cdns[self.place]
    }

    fn tell(&self) {
        self.inside.tell(self.place, &mut self.inside.outbox());
    }

    async fn wait(&self, may_begin: bool) {
        let next_job = if may_begin { self.cdn().queue().next_due() } else { None };
        let next_poll = self.polls.iter().map(|poll| poll.at).min();
        let next = next_job.into_iter().chain(next_poll).min();
        tokio::select! {
            () = self.cdn().news.notified() => {}
            () = async {
                match next {
                    Some(at) => sleep_until(at).await,
                    None => pending().await,
                }
            } => {}
        }
    }

    /// Makes the calls of a job, in their order.
    async fn begin(&mut self, job: Job) {
        self.last_run += 1;
        let run = self.last_run;
        let driver = Arc::clone(&self.cdn().config.driver);
        let batch = self.name(&job);
        let calls = driver.calls(&job.wishes, &batch, SystemTime::now());
        let count = calls.len();
        let mut open = vec![0; job.wishes.len()];
        for call in &calls {
            call.wishes.iter().for_each(|wish| open[*wish] += 1);
        }
        let kept = match &job.again {
            Some(Under { entry, .. }) => entry.iter().map(|entry| (0, *entry)).collect(),
            None if driver.knows_calls_again() => self.keep(&job, &batch, &calls).await,
            None => HashMap::new(),
        };
        self.cdn().queue().sent(&job, &batch, None);
        self.tell();
        let forgotten: Vec<usize> = (0..open.len()).filter(|wish| open[*wish] == 0).collect();
        let began = Instant::now();
        self.runs.insert(run, Run { job, batch, began, open, vendor_id: None, kept });
        let why: Arc<str> = "no call can ask for this".into();
        self.settle(run, &forgotten, &Fate::Failed { why });
        for nth in 0..count {
            self.call(run, nth).await;
        }
        self.end(run);
    }

    /// What a job is called: as it was, where it was made before.
    fn name(&self, job: &Job) -> Arc<str> {
        if let Some(under) = &job.again {
            return Arc::clone(&under.batch);
        }
        let in_list = match self.cdn().config.driver.knows_calls_again() {
            true => Queue::name_in_list(job),
            false => None,
        };
        in_list.unwrap_or_else(|| format!("{:08x}-{}", self.source, self.last_run)).into()
    }

    /// Has these calls in the file before they are made, so that the next process makes them again under their names. Their
    /// numbers there, by the first wish of each.
    async fn keep(&self, job: &Job, batch: &Arc<str>, calls: &[Call]) -> HashMap<usize, u64> {
        let cdn = &self.cdn().config.name;
        let mut numbers = HashMap::new();
        for call in calls {
            let wishes: Vec<_> = call.wishes.iter().map(|wish| job.wishes[*wish].clone()).collect();
            let parts = Queue::parts(job, &call.wishes);
            let entry = self.inside.keep_call(cdn, batch, &wishes, &parts);
            if let (Some(entry), Some(first)) = (entry, call.wishes.first()) {
                numbers.insert(*first, entry);
            }
        }
        if !numbers.is_empty() {
            self.inside.kept().await;
        }
        numbers
    }

    /// The call of this number, until it is answered, or has failed too often for others to wait.
    async fn call(&mut self, run: u64, nth: usize) {
        let driver = Arc::clone(&self.cdn().config.driver);
        for tries in 1.. {
            self.turn().await;
            let Some(under_way) = self.runs.get(&run) else { return };
            let (batch, since) = (Arc::clone(&under_way.batch), under_way.job.since);
            // Made anew each time: it may carry a date.
            let now = SystemTime::now();
            let calls = driver.calls(&under_way.job.wishes, &batch, now);
            // What several calls ask for began with the first of them.
            if calls.len() == 1
                && let Some(under_way) = self.runs.get_mut(&run)
            {
                under_way.began = Instant::now();
            }
            let Some(call) = calls.into_iter().nth(nth) else { return };
            let Heard { said, status, ids } = self.send(&call).await;
            let why = match said {
                Said::Later { after, why } => (after, why),
                Said::Refused { why } if is_about_one(status) && call.wishes.len() > 1 => {
                    // One of them is not to its liking, and the others are not to fail for it.
                    self.failures = 0;
                    let why: Arc<str> = why.into();
                    let at = Instant::now();
                    self.split(run, &call.wishes, at, &why).await;
                    return;
                }
                said => return self.heard(run, &call, said, &ids),
            };
            let (after, why) = why;
            self.failures += 1;
            let pause = self.pause(after);
            let why: Arc<str> = why.into();
            if since.elapsed() >= self.inside.config.give_up {
                let why = format!("given up: {why}").into();
                return self.settle(run, &call.wishes, &Fate::Failed { why });
            }
            let at = Instant::now() + pause;
            if after.is_some() {
                self.cdn().rate().pause(at);
            }
            if tries >= TRIES {
                return match driver.knows_calls_again() {
                    true => self.repeat(run, &call.wishes, at, &why),
                    false => self.settle(run, &call.wishes, &Fate::Later { at, why }),
                };
            }
            self.tell_why(run, &why);
            sleep_until(at).await;
        }
    }

    /// Asks for each of these alone, once.
    async fn split(&mut self, run: u64, wishes: &[usize], at: Instant, why: &Arc<str>) {
        let driver = Arc::clone(&self.cdn().config.driver);
        for wish in wishes {
            let Some(under_way) = self.runs.get(&run) else { return };
            let batch = format!("{}-{wish}", under_way.batch);
            let alone = [under_way.job.wishes[*wish].clone()];
            let began = Instant::now();
            let mut fate = Fate::Done { began, vendor_id: None };
            for call in driver.calls(&alone, &batch, SystemTime::now()) {
                self.turn().await;
                let said = self.send(&call).await.said;
                // Whoever answers is well, whatever it says.
                self.failures = match said {
                    Said::Later { .. } => self.failures + 1,
                    _ => 0,
                };
                fate = match said {
                    Said::Done { id } => Fate::Done { began, vendor_id: id.map(Arc::from) },
                    // It is asked for again, with the others of then.
                    Said::Working { .. } | Said::Later { .. } => {
                        Fate::Later { at: at + self.pause(None), why: Arc::clone(why) }
                    }
                    Said::Partly { not, .. } => {
                        let own = not.into_iter().next().map(|(_, why)| why.into());
                        Fate::Failed { why: own.unwrap_or_else(|| Arc::clone(why)) }
                    }
                    Said::Refused { why } => Fate::Failed { why: why.into() },
                };
                if !matches!(fate, Fate::Done { .. }) {
                    break;
                }
            }
            self.settle(run, &[*wish], &fate);
        }
    }

    /// Asks how far the vendor is.
    async fn ask(&mut self, mut poll: Poll) {
        self.turn().await;
        let Some(run) = self.runs.get(&poll.run) else { return };
        let since = run.job.since;
        let Heard { said, ids, .. } = self.send(&poll.ask).await;
        match said {
            Said::Later { after, why } => {
                poll.failures += 1;
                let why: Arc<str> = why.into();
                if since.elapsed() >= self.inside.config.give_up {
                    let why = format!("given up: {why}").into();
                    self.settle(poll.run, &poll.ask.wishes, &Fate::Failed { why });
                } else {
                    let pause = after.unwrap_or_else(|| pause_after(poll.failures, dice()));
                    poll.at = Instant::now() + pause;
                    self.tell_why(poll.run, &why);
                    return self.polls.push(poll);
                }
            }
            said => self.heard(poll.run, &poll.ask, said, &ids),
        }
        self.end(poll.run);
    }

    fn heard(&mut self, run: u64, call: &Call, said: Said, ids: &HashMap<usize, Arc<str>>) {
        self.failures = 0;
        let Some(under_way) = self.runs.get_mut(&run) else { return };
        let began = under_way.began;
        match said {
            Said::Done { id } => {
                let vendor_id = id.map(Arc::from).or_else(|| under_way.vendor_id.clone());
                if ids.is_empty() {
                    return self.settle(run, &call.wishes, &Fate::Done { began, vendor_id });
                }
                for wish in &call.wishes {
                    let vendor_id = ids.get(wish).cloned().or_else(|| vendor_id.clone());
                    self.settle(run, &[*wish], &Fate::Done { began, vendor_id });
                }
            }
            Said::Working { id, ask, after } => {
                let id: Arc<str> = id.into();
                under_way.vendor_id = Some(Arc::clone(&id));
                let (job, batch) = (&under_way.job, &under_way.batch);
                self.inside.cdns[self.place].queue().sent(job, batch, Some(&id));
                let at = Instant::now() + after.max(LEAST_ASK);
                let ask = Call { wishes: call.wishes.clone(), ..*ask };
                self.polls.push(Poll { at, ask, run, failures: 0 });
                self.tell();
            }
            Said::Partly { id, not } => {
                let vendor_id = id.map(Arc::from);
                let failed: HashMap<usize, String> = not.into_iter().collect();
                for wish in &call.wishes {
                    let fate = match failed.get(wish) {
                        Some(why) => Fate::Failed { why: why.as_str().into() },
                        None => {
                            let vendor_id = ids.get(wish).cloned().or_else(|| vendor_id.clone());
                            Fate::Done { began, vendor_id }
                        }
                    };
                    self.settle(run, &[*wish], &fate);
                }
            }
            Said::Refused { why } | Said::Later { why, .. } => {
                self.settle(run, &call.wishes, &Fate::Failed { why: why.into() });
            }
        }
    }

    /// One call about these has come to this. What others are still open about is done when they are.
    fn settle(&mut self, run: u64, wishes: &[usize], fate: &Fate) {
        let Some(under_way) = self.runs.get_mut(&run) else { return };
        let mut queue = self.inside.cdns[self.place].queue();
        for wish in wishes {
            let open = &mut under_way.open[*wish];
            *open = open.saturating_sub(1);
            let is_over = *open == 0 || !matches!(fate, Fate::Done { .. });
            if is_over {
                queue.settle(&under_way.job, *wish, &under_way.batch, fate, Instant::now());
            }
        }
        drop(queue);
        if let Some(entry) = wishes.first().and_then(|first| under_way.kept.remove(first)) {
            self.inside.outbox().release(&[entry]);
        }
        self.tell();
    }

    /// A call about these is made again then, as it was.
    fn repeat(&mut self, run: u64, wishes: &[usize], at: Instant, why: &Arc<str>) {
        let Some(under_way) = self.runs.get_mut(&run) else { return };
        let entry = wishes.first().and_then(|first| under_way.kept.remove(first));
        let under = Under { batch: Arc::clone(&under_way.batch), entry };
        let mut queue = self.inside.cdns[self.place].queue();
        queue.repeat(&under_way.job, wishes, (at, under), why);
        drop(queue);
        self.tell();
    }

    /// Forgets a run of which nothing is open.
    fn end(&mut self, run: u64) {
        if !self.polls.iter().any(|poll| poll.run == run) {
            self.runs.remove(&run);
        }
    }

    /// Says of what is under way why it is not done.
    fn tell_why(&self, run: u64, why: &Arc<str>) {
        let Some(Run { job, batch, .. }) = self.runs.get(&run) else { return };
        self.cdn().queue().delayed(job, batch, why);
        self.tell();
    }

    fn pause(&self, after: Option<Duration>) -> Duration {
        let own = pause_after(self.failures, dice());
        after.map_or(own, |after| after.max(Duration::from_millis(100)))
    }

    /// Waits until one more call may be made.
    async fn turn(&mut self) {
        loop {
            let taken = self.cdn().rate().take(Instant::now());
            match taken {
                Ok(()) => return,
                Err(at) => sleep_until(at).await,
            }
        }
    }

    async fn send(&self, call: &Call) -> Heard {
        let cdn = self.cdn();
        let answer = match cdn.client.send(call).await {
            Ok(answer) => answer,
            Err(why) => {
                cdn.count(CallEnd::NoAnswer);
                let said = Said::Later { after: None, why };
                return Heard { said, status: None, ids: HashMap::new() };
            }
        };
        // In this order: what the vendor says of its clock is over when this one says so.
        let (now, at) = (SystemTime::now(), Instant::now());
        if let Some(rest) = cdn.config.driver.rest(&answer, now) {
            cdn.rate().pause(at + rest);
            cdn.counts.rests.fetch_add(1, Relaxed);
            tracing::debug!(cdn = %cdn.config.name, "no calls are left for {rest:?}");
        }
        let said = hidden::said(call, cdn.config.driver.said(call, &answer, now));
        cdn.count(match &said {
            Said::Done { .. } => CallEnd::Done,
            Said::Working { .. } => CallEnd::Working,
            Said::Partly { .. } => CallEnd::Partly,
            Said::Later { .. } => CallEnd::Later,
            Said::Refused { .. } => CallEnd::Refused,
        });
        let ids = match &said {
            Said::Done { .. } | Said::Partly { .. } => cdn.config.driver.ids(call, &answer),
            _ => Vec::new(),
        };
        let ids = ids.into_iter().map(|(wish, id)| (wish, id.into())).collect();
        Heard { said, status: Some(answer.head.status), ids }
    }
}

/// Whether a refusal with this status may be about one of several, and not about who asks.
fn is_about_one(status: Option<StatusCode>) -> bool {
    let status = status.map_or(0, |status| status.as_u16());
    matches!(status, 400 | 404 | 409 | 412 | 413 | 414 | 422 | 431)
}

impl Cdn {
    fn count(&self, end: CallEnd) {
        self.counts.calls[end as usize].fetch_add(1, Relaxed);
    }
}
