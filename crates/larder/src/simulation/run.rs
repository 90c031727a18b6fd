//! Run: what happens in the course of one simulation: readers, purges and faults, then calm, in which all must be well
//! again.

use std::{future::poll_fn, pin::pin, sync::Arc, task::Poll, time::Duration};

use bytes::Bytes;
use tokio::{runtime, time::Instant};

use super::{
    INSTANCES,
    below::Below,
    dice::Dice,
    laws::{Floor, Floors, History, Outcome},
    link::{Line, Link, Newer, Next, Version, Weather, pass},
    origin::{self, KEYS, Origin},
    process::{Process, UnderWay},
};
#[cfg(feature = "redis")]
use super::{courses::Course, server::Server};
use crate::{
    Cache,
    codec::{Codec, CodecError, Text},
    journal::{Found, Journal},
    purge::{Mode, Purge, Receipt, Tier, TierState},
    tier::lower::{Call, OutboxFile, Settings, Unsure},
};

/// What happens outside all instances happens at moments of its own.
const DRIVER: usize = INSTANCES;
/// So long there are faults.
const STORM: Duration = Duration::from_secs(15);
/// All who reach the tier have heard of a purge after this time, or of who is there.
const HEARD: Duration = Duration::from_secs(2);
/// After this time nobody waits any more for who has been away.
const OVER: Duration = Duration::from_secs(30);

const SETTINGS: Settings = Settings {
    budget: Duration::from_millis(248),
    failures: 5,
    rest: Duration::from_secs(1),
    max_outstanding: 64,
    max_writes: 64,
    max_write_bytes: 64 << 20,
    lease: Duration::from_secs(10),
    // Longer than any fetch takes, and than the lease of one that was killed before it heard that it has it: those who wait
    // would all give up at once, and fetch.
    lease_wait: Duration::from_secs(12),
    purge_wait: Duration::from_secs(2),
    max_incoherence: Duration::from_secs(4),
    max_incoherence_margin: Duration::from_secs(1),
    unsure: Unsure::Fetch,
};

/// What may happen beside reads and purges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// An instance does not reach the tier.
    Cut,
    /// A process stands still.
    Stop,
    /// The same while an answer is on its way to it.
    StopAtAnswer,
    /// A process is killed, and started anew.
    Crash,
    /// A process shuts down, and is started anew.
    Leave,
    /// The way to the tier gets better, or worse.
    Weather,
    /// Something changes and is purged again while the first purge of it is being acknowledged.
    PurgeAgain,
    /// The tier loses its log, or its records, or a part.
    AnotherLog,
    RollBack,
    Forget,
    LosePieces,
    Trim,
    /// It loses its log, and an answer from before comes late.
    EndedLogAnswers,
    /// A server is started anew and has all that it had; or nothing.
    #[cfg(feature = "redis")]
    Restart,
    #[cfg(feature = "redis")]
    Empty,
    /// A replica takes its place that does not have all.
    #[cfg(feature = "redis")]
    FailOver,
    /// The log has lost one of its purges.
    #[cfg(feature = "redis")]
    Hole,
    /// Stored bytes are damaged, or change places.
    #[cfg(feature = "redis")]
    Damage,
    #[cfg(feature = "redis")]
    Swap,
    /// The server's clock steps.
    #[cfg(feature = "redis")]
    ClockForward,
    /// A few faults one after the other.
    #[cfg(feature = "redis")]
    Course(Course),
}

/// Each run has the faults of one theme: where everything goes wrong at once, little that was learnt before is left for
/// a fault to matter.
const THEMES: [&[Fault]; 9] = [
    &[Fault::Crash, Fault::Stop],
    &[Fault::Cut, Fault::Cut, Fault::Crash],
    &[Fault::Leave, Fault::PurgeAgain],
    &[Fault::StopAtAnswer],
    &[Fault::StopAtAnswer, Fault::Stop, Fault::Weather],
    &[Fault::EndedLogAnswers, Fault::RollBack, Fault::Weather],
    &[Fault::Cut, Fault::Trim],
    &[Fault::Cut, Fault::AnotherLog],
    &[
        Fault::Cut,
        Fault::Stop,
        Fault::StopAtAnswer,
        Fault::Crash,
        Fault::Leave,
        Fault::Weather,
        Fault::AnotherLog,
        Fault::RollBack,
        Fault::Forget,
        Fault::LosePieces,
        Fault::Trim,
        Fault::EndedLogAnswers,
    ],
];

/// The same on a server of Redis.
#[cfg(feature = "redis")]
const THEMES_OF_SERVERS: [&[Fault]; 24] = [
    &[Fault::Crash, Fault::Stop],
    &[Fault::Cut, Fault::Crash, Fault::PurgeAgain],
    &[Fault::StopAtAnswer, Fault::Stop, Fault::Weather],
    &[Fault::Cut, Fault::Trim],
    &[Fault::Cut, Fault::AnotherLog],
    &[Fault::Cut, Fault::Empty],
    &[Fault::Cut, Fault::Hole],
    &[Fault::Weather, Fault::Forget, Fault::ClockForward],
    &[Fault::Damage, Fault::Swap, Fault::LosePieces],
    &[Fault::Restart],
    &[Fault::FailOver, Fault::Cut],
    &[Fault::FailOver, Fault::Trim, Fault::Leave],
    &[Fault::PurgeAgain],
    &[Fault::Course(Course::LostUnheard)],
    &[Fault::Course(Course::LostByNewcomer)],
    &[Fault::Course(Course::LostWithIssuer)],
    &[Fault::Course(Course::LostAndForgotten)],
    &[Fault::Course(Course::EndedLogReturns)],
    &[Fault::Course(Course::EmptyForNewcomer)],
    &[Fault::Course(Course::MissedInLog)],
    &[Fault::Course(Course::ReadAnew)],
    &[Fault::Course(Course::Overdue)],
    &[Fault::Course(Course::ForgottenPrefix)],
    &[
        Fault::Cut,
        Fault::Stop,
        Fault::StopAtAnswer,
        Fault::Crash,
        Fault::Leave,
        Fault::Weather,
        Fault::AnotherLog,
        Fault::RollBack,
        Fault::Forget,
        Fault::Trim,
        Fault::Restart,
        Fault::Empty,
        Fault::FailOver,
    ],
];

/// Runs what this seed makes, in a thread that does nothing else.
pub(super) fn run(seed: u64) -> Outcome {
    let mut builder = runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().expect("there are threads");
    let _under_way = UnderWay::begin(seed);
    runtime.block_on(async {
        let mut run = Run::begin(seed);
        run.storm().await;
        run.calm().await;
        run.all_is_well().await;
        run.history.outcome()
    })
}

pub(super) struct Run {
    pub(super) seed: u64,
    pub(super) dice: Dice,
    pub(super) began: Instant,
    pub(super) below: Below,
    pub(super) origin: Arc<Origin>,
    pub(super) history: Arc<History>,
    pub(super) settings: Settings,
    /// How long values are good for, and how they are served when they no longer are.
    ttl: Duration,
    stale: Duration,
    pub(super) instances: [Instance; INSTANCES],
    faults: &'static [Fault],
    /// So many of a hundred steps are purges.
    purges: u64,
    /// Between two steps.
    pause_ms: u64,
    /// Readers that ask at once.
    crowd: u64,
    /// Faults that have begun are over by then.
    over: Instant,
    /// Killed ones: nothing of them is ever dropped while the run lasts.
    pub(super) dead: Vec<Instance>,
    versions: Dice,
    /// So many of a hundred instances that are started are of the next version.
    upgraded: u64,
    newer: Newer,
    /// Which log there was when all had heard of one.
    #[cfg(feature = "redis")]
    first_log: Option<Vec<u8>>,
}

#[derive(Clone)]
pub(super) struct Instance {
    pub(super) cache: Cache<String>,
    pub(super) process: Arc<Process>,
    pub(super) line: Arc<Line>,
    start: u64,
    /// On a server: its outbox, which outlives it.
    outbox: Option<Arc<Journal>>,
}

impl Run {
    fn begin(seed: u64) -> Self {
        let (mut dice, began) = (Dice::of(seed, &[2]), Instant::now());
        let below = Below::new(seed, began);
        let slowest = [40, 400, 6000][dice.index(3)];
        let fails = [0, 0, 20][dice.index(3)];
        let origin = Origin::new(seed, began, slowest, fails);
        let unsure = if dice.percent(15) { Unsure::ServeStale } else { Unsure::Fetch };
        let (mut versions, newer) = (Dice::of(seed, &[5]), Newer::default());
        let upgraded = [0, 0, 0, 50][versions.index(4)];
        // Longer than two fetches take: the first may be for those of the other version alone.
        let lease_wait = if upgraded > 0 { Duration::from_secs(15) } else { SETTINGS.lease_wait };
        let settings = Settings { unsure, lease_wait, ..SETTINGS };
        let lives = [(60, 0), (8, 4), (60, 20)][dice.index(3)];
        let faults = theme(seed, &below, &mut dice);
        let (ttl, stale) = if is_overdue(faults) { (8, 4) } else { lives };
        let (ttl, stale) = (Duration::from_secs(ttl), Duration::from_secs(stale));
        let history = Arc::new(History::new(began, ttl));
        let instances = std::array::from_fn(|instance| {
            let line = Line::new(instance, seed, began);
            let version = some_version(&mut versions, upgraded);
            start(&below, line, version, &newer, settings, (ttl, stale), 0, None)
        });
        (0..INSTANCES).for_each(|instance| history.disturb(instance, HEARD));
        #[cfg(feature = "redis")]
        if let Below::Server(server) = &below
            && faults.iter().any(is_fail_over)
        {
            server.has_replica(&mut dice);
        }
        let purges = [4, 12][dice.index(2)];
        let (pause_ms, crowd) = [(300, 4), (120, 2), (40, 1)][dice.index(3)];
        let (over, dead) = (began, Vec::new());
        Run {
            seed,
            dice,
            began,
            below,
            origin,
            history,
            settings,
            ttl,
            stale,
            instances,
            faults,
            purges,
            pause_ms,
            crowd,
            over,
            dead,
            versions,
            upgraded,
            newer,
            #[cfg(feature = "redis")]
            first_log: None,
        }
    }

    /// Readers, purges and faults, one after the other.
    async fn storm(&mut self) {
        self.history.note(format!("seed {}: {:?}", self.seed, self.faults));
        while self.began.elapsed() < STORM {
            while let Some(key) = self.origin.raced() {
                let by = self.dice.index(INSTANCES);
                self.purge_of(by, Purge::key(origin::name(key)), 100);
            }
            match self.dice.below(100) {
                step if step < self.purges => self.purge(),
                90.. => self.fault().await,
                _ => self.read(),
            }
            let pause = self.dice.between(0, self.pause_ms);
            self.pass(pause).await;
        }
    }

    /// No faults any more, and whoever has something to do can do it.
    async fn calm(&mut self) {
        self.origin.recover();
        self.instances.iter().for_each(|instance| instance.line.forget_next());
        tokio::time::sleep_until(self.over).await;
        for Instance { line, .. } in &self.instances {
            line.set_weather(Weather::default());
        }
        self.pass((SETTINGS.max_incoherence + self.below.recovery()).as_millis() as u64).await;
        let mut waited = 0;
        while self.history.open() > 0 && waited < 20_000 {
            waited += 100;
            self.pass(100).await;
        }
        self.history.nobody_has_waited_for_long();
        if self.history.open() > 0 {
            self.history.broken(format!("3: {} are never answered", self.history.open()));
        }
    }

    /// All go by the same, and among all one fetches.
    async fn all_is_well(&mut self) {
        for (instance, Instance { cache, .. }) in self.instances.iter().enumerate() {
            let stats = cache.stats().lower;
            if !stats.is_trusted || stats.purges_outstanding > 0 {
                self.history.broken(format!("4: {instance} has not recovered: {stats:?}"));
            }
        }
        let positions: Vec<_> = self
            .instances
            .iter()
            .map(|instance| instance.cache.stats().lower.log_position)
            .collect();
        if positions.iter().any(|position| *position != positions[0]) {
            self.history.broken(format!("4: they have read up to {positions:?}"));
        }
        #[cfg(feature = "redis")]
        if self.faults == [Fault::Restart]
            && self.first_log.is_some()
            && self.first_log != self.below.log()
        {
            self.history.broken("4: it is another log, though nothing was lost".to_owned());
        }
        self.nothing_is_lost().await;
        for key in 0..KEYS {
            self.origin.update(key);
        }
        let by = self.dice.index(INSTANCES);
        let purge = Purge::everything().hard().wait(Tier::Shared);
        let receipt = self.instances[by].cache.purge(purge).await;
        let receipt = receipt.expect("there is a tier to wait for");
        self.history.note(format!("{by} in calm {}", told(&receipt)));
        // Whoever serves what is stale without trust is waited for, though it is dead.
        if !holds(&receipt) && self.settings.unsure == Unsure::Fetch {
            self.history.broken(format!("4: in calm {receipt}"));
        }
        for key in 0..KEYS {
            let before = self.origin.fetches(key);
            let floor = Floor::at(self.origin.version(key), Mode::Hard);
            let mut floors = Floors::default();
            floors[key] = floor;
            self.history.holds_for_all(&floors);
            for _ in 0..3 {
                for instance in 0..INSTANCES {
                    self.read_one(instance, key);
                }
                self.pass(4).await;
            }
            while self.history.open() > 0 {
                self.pass(100).await;
            }
            let fetches = self.origin.fetches(key) - before;
            // What one version stores, the other does not understand, and puts its own in that place.
            let most = if self.upgraded > 0 { INSTANCES as u64 } else { 1 };
            if fetches > most {
                let key = origin::name(key);
                self.history.broken(format!("2: {fetches} fetches of {key} at once"));
            }
        }
    }

    /// Whatever was purged is purged for all, also by processes that are no more: their outboxes outlive them.
    async fn nothing_is_lost(&self) {
        #[cfg(feature = "redis")]
        if self.faults.iter().any(is_fail_over) {
            self.history.all_hold();
            // One key after the other: whom the tier has failed lets one reader try it first, and the others fetch.
            for key in 0..KEYS {
                (0..INSTANCES).for_each(|instance| self.read_one(instance, key));
                while self.history.open() > 0 {
                    self.pass(100).await;
                }
            }
        }
    }

    pub(super) async fn pass(&self, millis: u64) {
        pass(self.began, DRIVER, Duration::from_millis(millis)).await;
    }

    fn read(&mut self) {
        let key = self.dice.index(KEYS);
        for _ in 0..self.dice.between(1, self.crowd) {
            let instance = self.dice.index(INSTANCES);
            self.read_one(instance, key);
        }
    }

    pub(super) fn read_one(&self, instance: usize, key: usize) {
        let Instance { cache, process, start, .. } = self.instances[instance].clone();
        let (history, origin) = (Arc::clone(&self.history), Arc::clone(&self.origin));
        let question = history.ask(instance, key);
        process.spawn(async move {
            let (fetched, fetching) = (Arc::clone(&origin), Arc::clone(&history));
            let fetch = async move || {
                let _fetching = fetching.fetches(instance, start, key);
                fetched.fetch(instance, key).await
            };
            match cache.answer(origin::name(key), fetch).await {
                Ok(answer) => {
                    let served = origin.read(key, &answer.value);
                    history.served(question, served, &answer.source);
                }
                Err(_) => history.failed(question),
            }
        });
    }

    fn purge(&mut self) {
        let scope = origin::some_scope(&mut self.dice);
        let by = self.dice.index(INSTANCES);
        self.purge_of(by, scope, 80);
    }

    /// Of the keys that are named so many of a hundred have changed before.
    pub(super) fn purge_of(&mut self, by: usize, purge: Purge, changed: u64) {
        let mode = if self.dice.percent(60) { Mode::Hard } else { Mode::Soft };
        let wait = if self.dice.percent(70) { Tier::Shared } else { Tier::Memory };
        self.purge_as(by, purge, (mode, wait), changed);
    }

    /// The same, of this kind. It is gone by from these versions on.
    pub(super) fn purge_as(
        &mut self,
        by: usize,
        purge: Purge,
        (mode, wait): (Mode, Tier),
        changed: u64,
    ) -> Floors {
        let purge = purge.mode(mode).wait(wait);
        let named = (0..KEYS).filter(|key| origin::names(&purge.scope, *key));
        let mut floors = Floors::default();
        for key in named {
            if self.dice.percent(changed) {
                self.origin.update(key);
            }
            floors[key] = Floor::at(self.origin.version(key), mode);
            self.history.disturb_key(key, HEARD);
        }
        let Instance { cache, process, start, .. } = self.instances[by].clone();
        let history = Arc::clone(&self.history);
        history.note(format!("{by} purges {} {mode}, {wait}", purge.scope));
        process.spawn(async move {
            let mut purging = pin!(cache.purge(purge));
            // It is made when it is first asked for.
            let made = poll_fn(|context| Poll::Ready(purging.as_mut().poll(context))).await;
            history.holds_here(by, start, &floors);
            let receipt = match made {
                Poll::Ready(receipt) => receipt,
                Poll::Pending => purging.await,
            };
            let receipt = receipt.expect("there is a tier to wait for");
            if wait == Tier::Shared && holds(&receipt) {
                history.holds_for_all(&floors);
            }
            history.note(format!("{by} {}", told(&receipt)));
        });
        floors
    }

    async fn fault(&mut self) {
        let fault = self.faults[self.dice.index(self.faults.len())];
        let lasts = matches!(fault, Fault::Cut | Fault::Stop | Fault::StopAtAnswer);
        if lasts && Instant::now() < self.over && self.dice.percent(80) {
            // Mostly one at a time: where nobody can do anything, nothing goes wrong.
            return;
        }
        // Where the tier is reached all the time one process has all the bad luck: among the others one fetches.
        let is_reached = |fault: &Fault| matches!(fault, Fault::Crash | Fault::Stop);
        let many = if self.faults.iter().all(is_reached) { 1 } else { INSTANCES };
        let instance = self.dice.index(many);
        self.history.note(format!("{fault:?} {instance}"));
        match fault {
            Fault::Crash | Fault::Stop => self.history.disturb(instance, OVER),
            _ => (0..INSTANCES).for_each(|instance| self.history.disturb(instance, OVER)),
        }
        match fault {
            Fault::Cut => self.cut(instance),
            Fault::Stop => {
                let process = Arc::clone(&self.instances[instance].process);
                process.stop();
                self.later(move || process.go_on());
            }
            Fault::StopAtAnswer => {
                let process = Arc::clone(&self.instances[instance].process);
                let calls = [Call::Renew, Call::Renew, Call::Renew, Call::Heads, Call::Append];
                let stopped = Arc::clone(&process);
                let (began, ends) = (self.began, Instant::now() + self.a_long_while());
                let act = Box::new(move || {
                    stopped.stop();
                    tokio::spawn(async move {
                        pass(began, DRIVER, ends.saturating_duration_since(Instant::now())).await;
                        process.go_on();
                    });
                });
                let call = calls[self.dice.index(calls.len())];
                let next = Next { call, late: Duration::ZERO, act };
                self.instances[instance].line.at_next(next);
            }
            Fault::EndedLogAnswers => self.answer_from_ended_log(instance).await,
            Fault::Crash => {
                self.crash(instance);
            }
            Fault::Leave => {
                let is_cut = self.dice.percent(50);
                let Instance { cache, process, .. } = self.start_anew(instance, is_cut);
                let within = Duration::from_millis(self.dice.between(0, 2000));
                process.spawn(async move { _ = cache.shut_down(within).await });
            }
            Fault::Weather => {
                let weather = Weather {
                    most_ms: [4, 16, 100, 200][self.dice.index(4)],
                    lost: [0, 0, 5, 30][self.dice.index(4)],
                    late: [0, 0, 10, 40][self.dice.index(4)],
                    late_ms: [200, 700, 4000][self.dice.index(3)],
                };
                self.instances[instance].line.set_weather(weather);
            }
            Fault::PurgeAgain => self.purge_again(instance).await,
            Fault::AnotherLog => self.below.begin_another_log(),
            Fault::RollBack => {
                let roll_back = self.below.roll_back();
                self.later(roll_back);
            }
            Fault::Forget => self.below.forget(),
            Fault::LosePieces => self.below.lose_pieces(),
            Fault::Trim => self.below.trim_log(self.dice.index(2)),
            #[cfg(feature = "redis")]
            fault => {
                if let Below::Server(server) = self.below.clone() {
                    self.fault_of_server(&server, fault, instance).await;
                }
            }
        }
    }

    #[cfg(feature = "redis")]
    async fn fault_of_server(&mut self, server: &Arc<Server>, fault: Fault, instance: usize) {
        match fault {
            Fault::Restart => {
                // One of which nobody has heard nobody can sign for.
                if self.first_log.is_none() && self.began.elapsed() > HEARD {
                    self.first_log = self.below.log();
                }
                server.restart();
            }
            Fault::Empty => server.empty(),
            Fault::FailOver => {
                server.lag(true);
                let server = Arc::clone(server);
                self.later(move || {
                    server.fail_over();
                    server.lag(false);
                });
            }
            Fault::Course(course) => self.go(course, server, instance).await,
            Fault::Hole => server.make_hole(self.dice.index(3) + 1),
            Fault::Damage => server.damage(&mut self.dice),
            Fault::Swap => server.swap(&mut self.dice),
            _ => server.step_forward(Duration::from_millis(self.dice.between(1, 5000))),
        }
    }

    fn cut(&mut self, instance: usize) {
        let line = Arc::clone(&self.instances[instance].line);
        line.cut();
        self.later(move || line.mend());
    }

    /// Soon, or when all trust is over.
    fn a_while(&mut self) -> Duration {
        let (least, most) = [(20, 400), (400, 4000), (6000, 12_000)][self.dice.index(3)];
        let while_ = Duration::from_millis(self.dice.between(least, most));
        self.over = self.over.max(Instant::now() + while_ + Duration::from_millis(10));
        while_
    }

    /// Mostly until all trust is over.
    fn a_long_while(&mut self) -> Duration {
        let (first, second) = (self.a_while(), self.a_while());
        first.max(second)
    }

    /// Does something after a while.
    pub(super) fn later(&mut self, act: impl FnOnce() + Send + 'static) {
        let (began, while_) = (self.began, self.a_while());
        tokio::spawn(async move {
            pass(began, DRIVER, while_).await;
            act();
        });
    }

    fn crash(&mut self, instance: usize) {
        let is_cut = self.dice.percent(50);
        let before = self.start_anew(instance, is_cut);
        before.process.kill();
        self.dead.push(before);
    }

    /// Starts another process in the place of this one, which is given back.
    pub(super) fn start_anew(&mut self, instance: usize, is_cut: bool) -> Instance {
        self.history.is_gone(instance);
        let starts = self.history.starts(instance);
        let lives = (self.ttl, self.stale);
        let seed = Dice::of(self.seed, &[3, starts]).roll();
        let line = Line::new(instance, seed, self.began);
        if is_cut {
            // It does not reach the tier at first.
            line.cut();
            let line = Arc::clone(&line);
            self.later(move || line.mend());
        }
        let version = some_version(&mut self.versions, self.upgraded);
        let (below, newer) = (&self.below, &self.newer);
        let left = self.instances[instance].outbox.as_ref().map(|outbox| outbox.left());
        let new = start(below, line, version, newer, self.settings, lives, starts, left);
        std::mem::replace(&mut self.instances[instance], new)
    }
}

fn theme(seed: u64, below: &Below, dice: &mut Dice) -> &'static [Fault] {
    match below {
        Below::InProcess(_) => THEMES[dice.index(THEMES.len())],
        // One after the other: there are few runs for so many.
        #[cfg(feature = "redis")]
        Below::Server(_) => THEMES_OF_SERVERS[seed as usize % 100 % THEMES_OF_SERVERS.len()],
    }
}

/// Whether a replica is to be there.
#[cfg(feature = "redis")]
fn is_fail_over(fault: &Fault) -> bool {
    match fault {
        Fault::FailOver => true,
        Fault::Course(course) => course.is_fail_over(),
        _ => false,
    }
}

/// Whether times are to end while there are faults.
#[cfg(feature = "redis")]
fn is_overdue(faults: &[Fault]) -> bool {
    faults.contains(&Fault::Course(Course::Overdue))
}

#[cfg(not(feature = "redis"))]
fn is_overdue(_: &[Fault]) -> bool {
    false
}

fn some_version(dice: &mut Dice, upgraded: u64) -> Version {
    if dice.percent(upgraded) { Version::Next } else { Version::This }
}

/// Texts, as a version writes them that others do not understand.
struct TextOf(Version);

impl Codec<String> for TextOf {
    fn format(&self) -> &str {
        match self.0 {
            Version::This => "this version's",
            Version::Next => "the next one's",
        }
    }

    fn encode(&self, value: &String) -> Result<Bytes, CodecError> {
        Text.encode(value)
    }

    fn decode(&self, bytes: Bytes) -> Result<String, CodecError> {
        Text.decode(bytes)
    }
}

#[expect(clippy::too_many_arguments, reason = "each is another thing")]
fn start(
    below: &Below,
    line: Arc<Line>,
    version: Version,
    newer: &Newer,
    settings: Settings,
    lives: (Duration, Duration),
    start: u64,
    left: Option<Found>,
) -> Instance {
    let process = Arc::new(Process::default());
    let (ttl, stale) = lives;
    let builder = Cache::<String>::builder()
        .ttl(ttl)
        .stale_while_revalidate(stale)
        .stale_if_error(2 * stale)
        .clock(line.clock());
    let (builder, outbox) = match below {
        Below::InProcess(model) => {
            let link = Link::new(model, &line, version, newer);
            (builder.lower_with(link, TextOf(version), settings), None)
        }
        #[cfg(feature = "redis")]
        Below::Server(server) => {
            let link = server.tier(&line, settings.max_incoherence);
            let found = left.unwrap_or_default();
            let journal = Journal::in_memory(&found);
            let outbox = Arc::new(journal.twin());
            let builder = builder.lower_with(link, TextOf(version), settings);
            (builder.outbox(OutboxFile { journal, found }), Some(outbox))
        }
    };
    #[cfg(not(feature = "redis"))]
    drop(left);
    let cache = process.enter(|| builder.build());
    Instance { cache, process, line, start, outbox }
}

/// What a receipt says, without the names of processes.
fn told(receipt: &Receipt) -> String {
    let state = match &receipt.tiers.last().map(|it| &it.state) {
        Some(TierState::Applied { by, of }) => format!("applied by {by} of {of}"),
        Some(TierState::Lapsed { by, of, .. }) => format!("lapsed, {by} of {of}"),
        Some(state) => state.as_str().to_owned(),
        None => "nothing".to_owned(),
    };
    format!("purge {}, {} {}: {state}", receipt.number, receipt.scope, receipt.mode)
}

/// Whether a receipt says that nobody serves anything older.
fn holds(receipt: &Receipt) -> bool {
    let shared = receipt.tiers.iter().find(|it| it.tier == Tier::Shared);
    matches!(shared.map(|it| &it.state), Some(TierState::Applied { .. } | TierState::Lapsed { .. }))
}
