//! Worker: the calls to one CDN, one after the other, in the order of the log.
//!
//! What the vendor works on behind the scenes is asked about in between ([`questions`]). A refusal that may be about one of
//! several is looked into ([`refused`]).

mod questions;
mod refused;

use std::{
    collections::HashMap,
    future::pending,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, SystemTime},
};

use http::StatusCode;
use larder_admin::{
    trail::Keeper,
    way::{LARDER_PURGED_BY, onwards},
};
use tokio::time::{Instant, sleep_until};

use self::questions::{Question, Questions};
use super::{
    CallEnd, Cdn, Inside,
    driver::{Bounds, Call, Said, Wish},
    drivers, hidden,
    queue::{Fate, Job, Most, Queue, Under},
    rate::pause_after,
};
use crate::origins::dice::dice;

/// A call that fails so often makes room for others, and is tried again later.
const TRIES: u32 = 4;
/// Where the vendor works on as many as it takes, it is looked so often whether it is done with some.
const FULL: Duration = Duration::from_secs(1);

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

/// What came of a call.
struct Heard {
    said: Said,
    /// `None`: there was no answer.
    status: Option<StatusCode>,
    /// What the vendor calls each wish, where it says.
    ids: HashMap<usize, Arc<str>>,
}

/// What to do next.
enum Next {
    Begin(Job),
    Ask(Question),
}

struct Worker {
    inside: Arc<Inside>,
    place: usize,
    runs: HashMap<u64, Run>,
    questions: Questions,
    /// Whether the last thing done was a question.
    has_asked: bool,
    last_run: u64,
    source: u32,
    failures: u32,
}

/// Until its task is dropped.
pub(super) async fn work(inside: Arc<Inside>, place: usize) {
    let source = (dice() * f64::from(u32::MAX)) as u32;
    let (runs, questions) = (HashMap::new(), Questions::default());
    let mut worker = Worker {
        inside,
        place,
        runs,
        questions,
        has_asked: false,
        last_run: 0,
        source,
        failures: 0,
    };
    loop {
        match worker.next(Instant::now()) {
            Some(Next::Begin(job)) => worker.begin(job).await,
            Some(Next::Ask(question)) => worker.ask(question).await,
            None => worker.wait().await,
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

    /// Questions and what is new take turns: neither keeps the other waiting.
    fn next(&mut self, now: Instant) -> Option<Next> {
        let Bounds { most_in_a_call, most_bytes, .. } = self.cdn().config.bounds;
        let most = Most { wishes: most_in_a_call, bytes: most_bytes };
        let question = match self.has_asked {
            true => None,
            false => self.questions.take(now),
        };
        let next = match question {
            Some(question) => Some(Next::Ask(question)),
            None => {
                let job = self.cdn().queue().take(most, now).map(Next::Begin);
                job.or_else(|| self.questions.take(now).map(Next::Ask))
            }
        };
        self.has_asked = matches!(next, Some(Next::Ask(_)));
        next
    }

    async fn wait(&self) {
        let next_job = self.cdn().queue().next_due();
        let next = next_job.into_iter().chain(self.questions.next()).min();
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
        let calls = self.calls_of(&job, &job.wishes, &batch);
        let mut open = vec![0; job.wishes.len()];
        for call in &calls {
            call.wishes.iter().for_each(|wish| open[*wish] += 1);
        }
        let (fitting, full) = self.that_fit(&job.wishes, calls);
        let kept = match &job.again {
            Some(Under { entry, .. }) => entry.iter().map(|entry| (0, *entry)).collect(),
            None if driver.knows_calls_again() => self.keep(&job, &batch, &fitting).await,
            None => HashMap::new(),
        };
        if !fitting.is_empty() {
            self.cdn().queue().sent(&job, &batch, None);
            self.tell();
        }
        let forgotten: Vec<usize> = (0..open.len()).filter(|wish| open[*wish] == 0).collect();
        let began = Instant::now();
        self.runs.insert(run, Run { job, batch, began, open, vendor_id: None, kept });
        let why: Arc<str> = "no call can ask for this".into();
        self.settle(run, &forgotten, &Fate::Failed { why });
        for call in full {
            self.put_off(run, &call.wishes);
        }
        for (nth, call) in fitting {
            self.call(run, nth, &call.wishes).await;
        }
        self.end(run);
    }

    /// The calls for these wishes of a job, as they are to be made now.
    fn calls_of(&self, job: &Job, wishes: &[Wish], batch: &str) -> Vec<Call> {
        let driver = &self.cdn().config.driver;
        let mut calls = driver.calls(wishes, batch, SystemTime::now());
        if driver.tells_others() {
            for call in &mut calls {
                call.head.headers.insert(LARDER_PURGED_BY, onwards(&job.came_by));
            }
        }
        calls
    }

    /// The calls, by their places, that the vendor can work on beside what it works on, and the others.
    fn that_fit(&self, wishes: &[Wish], calls: Vec<Call>) -> (Vec<(usize, Call)>, Vec<Call>) {
        let driver = &self.cdn().config.driver;
        let mut working: HashMap<&'static str, usize> = HashMap::new();
        for Question { run, wishes, .. } in self.questions.all() {
            let Some(run) = self.runs.get(run) else { continue };
            for wish in wishes {
                if let Some((kind, _)) = driver.most_working(&run.job.wishes[*wish].what) {
                    *working.entry(kind).or_default() += 1;
                }
            }
        }
        let (mut fitting, mut full) = (Vec::new(), Vec::new());
        for (nth, call) in calls.into_iter().enumerate() {
            let bound = call.wishes.first();
            let bound = bound.and_then(|wish| driver.most_working(&wishes[*wish].what));
            let Some((kind, most)) = bound else {
                fitting.push((nth, call));
                continue;
            };
            let count = working.entry(kind).or_default();
            // More than it ever takes is the vendor's to refuse.
            if *count > 0 && *count + call.wishes.len() > most {
                full.push(call);
                continue;
            }
            *count += call.wishes.len();
            fitting.push((nth, call));
        }
        (fitting, full)
    }

    /// The vendor works on as many as it takes: these are asked for when it is done with some.
    fn put_off(&mut self, run: u64, wishes: &[usize]) {
        let Some(Run { job, .. }) = self.runs.get(&run) else { return };
        let (since, is_again) = (job.since, job.again.is_some());
        let why: Arc<str> = "the vendor works on as many as it takes at once".into();
        if since.elapsed() >= self.inside.config.give_up {
            return self.give_up(run, wishes, &why);
        }
        let at = Instant::now() + FULL;
        match is_again {
            true => self.repeat(run, wishes, at, &why),
            false => self.settle(run, wishes, &Fate::Later { at, why }),
        }
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
    async fn keep(
        &self,
        job: &Job,
        batch: &Arc<str>,
        calls: &[(usize, Call)],
    ) -> HashMap<usize, u64> {
        let cdn = &self.cdn().config.name;
        let mut numbers = HashMap::new();
        for (_, call) in calls {
            let wishes: Vec<_> = call.wishes.iter().map(|wish| job.wishes[*wish].clone()).collect();
            let parts = Queue::parts(job, &call.wishes);
            let entry = self.inside.keep_call(cdn, batch, &wishes, &parts);
            if let (Some(entry), Some(first)) = (entry, call.wishes.first()) {
                numbers.insert(*first, entry);
            }
        }
        if !numbers.is_empty() {
            // Where it is not on disk, the call is made all the same: to repeat it under another name costs a call.
            self.inside.kept().await.ok();
        }
        numbers
    }

    /// The call of this number, about these, until it is answered, or has failed too often for others to wait.
    async fn call(&mut self, run: u64, nth: usize, wishes: &[usize]) {
        let driver = Arc::clone(&self.cdn().config.driver);
        let mut last_words: Arc<str> = "it leaves no turn for this".into();
        for tries in 1.. {
            let Some(Run { job, .. }) = self.runs.get(&run) else { return };
            let deadline = job.since + self.inside.config.give_up;
            if !self.turn(deadline).await {
                return self.give_up(run, wishes, &last_words);
            }
            let Some(under_way) = self.runs.get(&run) else { return };
            let batch = Arc::clone(&under_way.batch);
            // Made anew each time: it may carry a date.
            let calls = self.calls_of(&under_way.job, &under_way.job.wishes, &batch);
            // What several calls ask for began with the first of them.
            if calls.len() == 1
                && let Some(under_way) = self.runs.get_mut(&run)
            {
                under_way.began = Instant::now();
            }
            let Some(call) = calls.into_iter().nth(nth) else { return };
            let Heard { said, status, ids } = self.send(&call).await;
            let (after, why) = match said {
                Said::Later { after, why } => (after, why),
                Said::Refused { why } if refused::is_about_one(status) && call.wishes.len() > 1 => {
                    // One of them is not to its liking, and the others are not to fail for it.
                    self.failures = 0;
                    return self.look_into(run, &call.wishes, &why.into()).await;
                }
                said => return self.heard(run, &call, said, &ids),
            };
            self.tell_of_credentials(status, &why);
            self.failures += 1;
            let at = Instant::now() + self.pause(after);
            last_words = why.into();
            if after.is_some() {
                self.cdn().rate().pause(at);
            }
            if Instant::now() >= deadline {
                return self.give_up(run, wishes, &last_words);
            }
            if tries >= TRIES {
                return match driver.knows_calls_again() {
                    true => self.repeat(run, wishes, at, &last_words),
                    false => {
                        self.settle(run, wishes, &Fate::Later { at, why: Arc::clone(&last_words) });
                    }
                };
            }
            self.tell_why(run, &last_words);
            sleep_until(at.min(deadline)).await;
        }
    }

    /// These have been tried for too long. With the vendor's last words.
    fn give_up(&mut self, run: u64, wishes: &[usize], last_words: &str) {
        let why = format!("given up: {last_words}").into();
        self.settle(run, wishes, &Fate::Failed { why });
    }

    /// Once until a call is well again: somebody has to do something.
    fn tell_of_credentials(&self, status: Option<StatusCode>, why: &str) {
        if self.failures == 0 && status.is_some_and(drivers::is_about_credentials) {
            let cdn = &self.cdn().config.name;
            tracing::warn!(
                %cdn,
                "a CDN does not take its credentials, and is asked until it does: {why}"
            );
        }
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
            Said::Working { id, after } => {
                let id: Arc<str> = id.into();
                under_way.vendor_id = Some(Arc::clone(&id));
                let (job, batch) = (&under_way.job, &under_way.batch);
                self.inside.cdns[self.place].queue().sent(job, batch, Some(&id));
                self.questions.push(Question::new(run, call.wishes.clone(), id, after));
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
        if !self.questions.all().any(|question| question.run == run) {
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

    /// Waits until one more call may be made: whether that was before `deadline`.
    async fn turn(&mut self, deadline: Instant) -> bool {
        loop {
            let taken = self.cdn().rate().take(Instant::now());
            match taken {
                Ok(()) => break,
                Err(at) if at > deadline => {
                    sleep_until(deadline).await;
                    return false;
                }
                Err(at) => sleep_until(at).await,
            }
        }
        // The call is made after this, with what proves who asks.
        for secret in &self.cdn().config.secrets {
            secret.renew().await;
        }
        true
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
        let named = ids.into_iter().map(|(wish, id)| (wish, hidden::name(call, &id).into()));
        Heard { said, status: Some(answer.head.status), ids: named.collect() }
    }
}

impl Cdn {
    fn count(&self, end: CallEnd) {
        self.counts.calls[end as usize].fetch_add(1, Relaxed);
    }
}
