//! Link: what lies between one instance and the tier, and what goes wrong on it.
//!
//! What an instance of a newer version purges, an older one does not understand: to it, that is all there is, hard.
//!
//! A call and its answer each take their time, so that several overtake each other. Either may be lost: a call whose
//! answer is lost has taken effect, and one that its caller has given up may still do so.

use std::{
    collections::{HashMap, HashSet},
    mem,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::oneshot,
    time::{Instant, sleep_until},
};

use super::{INSTANCES, dice::Dice};
use crate::{
    Clock,
    purge::{Mode, Scope},
    tier::lower::{
        Answering, BodyId, Call, Commit, Heads, Holds, InProcess, Lease, LeaseAnswer, LogPart,
        LowerError, LowerPurge, LowerTier, Piece, Position, PurgeId, Reader, Readers, Record, Tail,
        bucket,
    },
};

/// The tier as one instance reaches it.
pub(super) struct Link {
    model: InProcess,
    line: Arc<Line>,
    version: Version,
    newer: Newer,
}

/// Of which version an instance is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    This,
    Next,
}

/// The purges that only instances of the next version understand.
#[derive(Clone, Default)]
pub(super) struct Newer(Arc<Mutex<HashSet<PurgeId>>>);

impl Newer {
    fn lock(&self) -> MutexGuard<'_, HashSet<PurgeId>> {
        self.0.lock().expect("nothing panics under it")
    }

    fn note(&self, purges: &[LowerPurge]) {
        self.lock().extend(purges.iter().map(|purge| purge.id));
    }

    /// What an instance of this version reads of them.
    fn read(&self, version: Version, tail: &mut Tail) {
        if version == Version::Next {
            return;
        }
        for logged in &mut tail.purges {
            if self.lock().contains(&logged.purge.id) {
                (logged.purge.scopes, logged.purge.mode) = (vec![Scope::Everything], Mode::Hard);
            }
        }
    }
}

/// One instance's way to the tier.
pub(super) struct Line {
    instance: usize,
    seed: u64,
    began: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// So many want it to be cut.
    cuts: usize,
    weather: Weather,
    /// What is to happen to the next answer to such a call.
    next: Option<Next>,
    /// Answers to such calls come so much later.
    slow: Option<(Call, Duration)>,
    /// How many calls there were of each kind, for each name.
    calls: HashMap<(usize, u16), u64>,
}

/// What happens when a call has taken effect, and its answer is on its way back.
pub(super) struct Next {
    pub(super) call: Call,
    /// The answer comes so much later.
    pub(super) late: Duration,
    pub(super) act: Box<dyn FnOnce() + Send>,
}

/// How it goes on a line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weather {
    /// Each way takes so many milliseconds at most.
    pub(super) most_ms: u64,
    /// So many of a hundred calls are lost, and as many answers.
    pub(super) lost: u64,
    /// So many of a hundred take up to `late_ms` on their way back.
    pub(super) late: u64,
    pub(super) late_ms: u64,
}

impl Default for Weather {
    fn default() -> Self {
        Weather { most_ms: 16, lost: 0, late: 0, late_ms: 0 }
    }
}

/// How it goes with one call.
struct Way {
    there: Duration,
    back: Duration,
    is_lost_there: bool,
    is_lost_back: bool,
    /// When its caller learns that.
    lost: Duration,
}

#[derive(Debug, thiserror::Error)]
#[error("the connection is lost")]
struct Lost;

impl Line {
    pub(super) fn new(instance: usize, seed: u64, began: Instant) -> Arc<Self> {
        Arc::new(Line { instance, seed, began, state: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics under it")
    }

    pub(super) fn cut(&self) {
        self.lock().cuts += 1;
    }

    pub(super) fn mend(&self) {
        self.lock().cuts -= 1;
    }

    pub(super) fn set_weather(&self, weather: Weather) {
        self.lock().weather = weather;
    }

    /// The clock of the machine at its end. No two agree.
    pub(super) fn clock(&self) -> Clock {
        let (began, ahead) = (self.began, Duration::from_secs(1000 * self.instance as u64));
        Clock::other(move || began.elapsed() + ahead)
    }

    fn is_cut(&self) -> bool {
        self.lock().cuts > 0
    }

    /// Once, when such a call is answered.
    pub(super) fn at_next(&self, next: Next) {
        self.lock().next = Some(next);
    }

    /// Whether that is still to come.
    pub(super) fn has_next(&self) -> bool {
        self.lock().next.is_some()
    }

    pub(super) fn forget_next(&self) {
        self.lock().next = None;
    }

    /// From now on answers to such calls come so much later, or none do any more.
    #[cfg(feature = "redis")]
    pub(super) fn slow_down(&self, slow: Option<(Call, Duration)>) {
        self.lock().slow = slow;
    }

    /// A call is being answered, so much later than usual.
    fn answering(&self, call: Call) -> Duration {
        let (next, slow) = {
            let mut state = self.lock();
            (state.next.take_if(|next| next.call == call), state.slow)
        };
        let slow = slow.filter(|(slow, _)| *slow == call).map_or(Duration::ZERO, |(_, by)| by);
        next.map_or(slow, |Next { late, act, .. }| {
            act();
            late
        })
    }

    fn way(&self, call: Call, name: &str) -> Way {
        let mut state = self.lock();
        let what = (call as usize, bucket(name));
        let nth = state.calls.entry(what).or_default();
        *nth += 1;
        let parts = [self.instance as u64, what.0 as u64, u64::from(what.1), *nth];
        let mut dice = Dice::of(self.seed, &parts);
        let weather = state.weather;
        let mut some = |most| Duration::from_millis(dice.between(1, most));
        let (there, mut back) = (some(weather.most_ms), some(weather.most_ms));
        if dice.percent(weather.late) {
            back += Duration::from_millis(dice.between(1, weather.late_ms.max(1)));
        }
        Way {
            there,
            back,
            is_lost_there: dice.percent(weather.lost),
            is_lost_back: dice.percent(weather.lost),
            lost: Duration::from_millis(dice.between(0, 600)),
        }
    }

    /// Lets time pass. No two instances do anything at the same instant: what happens does not hang on whose task is
    /// polled first.
    async fn pass(&self, time: Duration) {
        pass(self.began, self.instance, time).await;
    }

    /// Takes a call there, and its answer back, if neither is lost.
    pub(super) fn carry<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        self: &Arc<Self>,
        call: Call,
        name: &str,
        effect: F,
    ) -> impl Future<Output = Option<T>> + Send + use<T, F> {
        let way = self.way(call, name);
        let (tell, told) = oneshot::channel();
        let line = Arc::clone(self);
        tokio::spawn(async move {
            line.pass(way.there).await;
            if way.is_lost_there || line.is_cut() {
                line.pass(way.lost).await;
                return drop(tell);
            }
            let answer = effect.await;
            line.pass(way.back + line.answering(call)).await;
            if way.is_lost_back || line.is_cut() {
                // Not dropped: a lease in it would be given back, by somebody who has not heard of it.
                mem::forget(answer);
                line.pass(way.lost).await;
                return drop(tell);
            }
            if let Err(answer) = tell.send(answer) {
                mem::forget(answer);
            }
        });
        async move { told.await.ok() }
    }

    /// What is told of a lease on its way back, and its end on its way there.
    fn leased(self: &Arc<Self>, key: String, answer: LeaseAnswer) -> LeaseAnswer {
        let line = Arc::clone(self);
        match answer {
            LeaseAnswer::Granted { lease, heads } => {
                let give_back = move || {
                    if !super::is_under_way() {
                        return;
                    }
                    let way = line.way(Call::Lease, &format!("{key} back"));
                    tokio::spawn(async move {
                        line.pass(way.there).await;
                        if way.is_lost_there || line.is_cut() {
                            mem::forget(lease);
                        }
                    });
                };
                LeaseAnswer::Granted { lease: Lease::new(give_back), heads }
            }
            LeaseAnswer::Held { until, ended } => {
                let way = line.way(Call::Lease, &format!("{key} ended"));
                let ended = async move {
                    ended.await;
                    line.pass(way.back).await;
                };
                LeaseAnswer::Held { until, ended: Box::pin(ended) }
            }
        }
    }
}

/// Lets time pass, until a moment at which nobody else does anything.
pub(super) async fn pass(began: Instant, whose: usize, time: Duration) {
    let (all, whose) = (INSTANCES as u64 + 1, whose as u64);
    let at = (began.elapsed() + time).as_millis() as u64;
    let at = at + (all + whose - at % all) % all;
    sleep_until(began + Duration::from_millis(at)).await;
}

impl Link {
    pub(super) fn new(
        model: &InProcess,
        line: &Arc<Line>,
        version: Version,
        newer: &Newer,
    ) -> Self {
        Link { model: model.clone(), line: Arc::clone(line), version, newer: newer.clone() }
    }

    fn carry<T: Send + 'static>(
        &self,
        call: Call,
        name: &str,
        effect: impl Future<Output = Result<T, LowerError>> + Send + 'static,
    ) -> Answering<'static, T> {
        let answer = self.line.carry(call, name, effect);
        Box::pin(
            async move { answer.await.unwrap_or_else(|| Err(LowerError::Failed(Box::new(Lost)))) },
        )
    }

    /// As this instance reads the log.
    fn reads(&self) -> impl Fn(&mut Tail) + Send + Sync + use<> {
        let (version, newer) = (self.version, self.newer.clone());
        move |tail| newer.read(version, tail)
    }
}

impl LowerTier for Link {
    fn heads<'a>(&'a self, key: &'a str, log: LogPart) -> Answering<'a, Heads> {
        let (model, name, read) = (self.model.clone(), key.to_owned(), self.reads());
        self.carry(Call::Heads, key, async move {
            let mut heads = model.heads(&name, log).await?;
            heads.tail.iter_mut().for_each(&read);
            Ok(heads)
        })
    }

    fn piece(&self, body: BodyId, index: u32) -> Answering<'_, Bytes> {
        let model = self.model.clone();
        self.carry(Call::Piece, "", async move { model.piece(body, index).await })
    }

    fn write(&self, piece: Piece) -> Answering<'_, ()> {
        let model = self.model.clone();
        self.carry(Call::Write, "", async move { model.write(piece).await })
    }

    fn commit<'a>(&'a self, key: &'a str, record: Record, most: usize) -> Answering<'a, Commit> {
        let (model, name) = (self.model.clone(), key.to_owned());
        let called = Instant::now();
        let effect = async move {
            // On its way it has grown older.
            let age = record.age + called.elapsed();
            model.commit(&name, Record { age, ..record }, most).await
        };
        self.carry(Call::Commit, key, effect)
    }

    fn discard(&self, body: BodyId, pieces: u32) -> Answering<'_, ()> {
        let model = self.model.clone();
        self.carry(Call::Discard, "", async move { model.discard(body, pieces).await })
    }

    fn append<'a>(&'a self, purges: &'a [LowerPurge]) -> Answering<'a, Position> {
        let (model, purges) = (self.model.clone(), purges.to_vec());
        if self.version == Version::Next {
            self.newer.note(&purges);
        }
        self.carry(Call::Append, "", async move { model.append(&purges).await })
    }

    fn tail(&self, since: Option<Position>) -> Answering<'_, Tail> {
        let (model, read) = (self.model.clone(), self.reads());
        self.carry(Call::Tail, "", async move {
            let mut tail = model.tail(since).await?;
            read(&mut tail);
            Ok(tail)
        })
    }

    fn readers(&self) -> Option<&dyn Readers> {
        Some(self)
    }

    fn lease<'a>(
        &'a self,
        key: &'a str,
        wanted: &'a str,
        log: LogPart,
        length: Duration,
    ) -> Answering<'a, LeaseAnswer> {
        let (model, line) = (self.model.clone(), Arc::clone(&self.line));
        let (name, wanted, read) = (key.to_owned(), wanted.to_owned(), self.reads());
        let effect = async move {
            let mut answer = model.lease(&name, &wanted, log, length).await?;
            if let LeaseAnswer::Granted { heads, .. } = &mut answer {
                heads.tail.iter_mut().for_each(&read);
            }
            Ok(line.leased(name, answer))
        };
        self.carry(Call::Lease, key, effect)
    }
}

impl Readers for Link {
    fn follow(&self, since: Position, most: Duration) -> Answering<'_, Tail> {
        let (model, read) = (self.model.clone(), self.reads());
        self.carry(Call::Follow, "", async move {
            let mut tail = model.follow(since, most).await?;
            read(&mut tail);
            Ok(tail)
        })
    }

    fn renew<'a>(&'a self, reader: &'a Reader, read: Option<Position>) -> Answering<'a, Position> {
        let (model, reader) = (self.model.clone(), reader.clone());
        self.carry(Call::Renew, "", async move { model.renew(&reader, read).await })
    }

    fn leave<'a>(&'a self, reader: &'a Reader) -> Answering<'a, ()> {
        let (model, reader) = (self.model.clone(), reader.clone());
        self.carry(Call::Leave, "", async move { model.leave(&reader).await })
    }

    fn holds(&self, position: Position, most: Duration) -> Answering<'_, Holds> {
        let model = self.model.clone();
        self.carry(Call::Holds, "", async move { model.holds(position, most).await })
    }
}
