//! Courses: faults that follow one another as chance alone hardly has them follow. Who takes part, and when, is chance.
//!
//! Mostly a second rule stands behind the first: a server that has lost a purge is told it again by whoever has heard of
//! it, and those who have heard of it serve nothing older anyway. So each course leaves one rule alone between a purge and
//! a reader.

use std::{sync::Arc, time::Duration};

use super::{
    INSTANCES,
    link::{Next, Weather},
    origin::{self, KEYS},
    run::Run,
};
#[cfg(feature = "redis")]
use super::{
    laws::Floors,
    link::Line,
    run::Instance,
    server::{Server, prefixes},
};
#[cfg(feature = "redis")]
use crate::tier::lower::LowerTier;
use crate::{
    Purge,
    purge::{Mode, Tier},
    tier::lower::Call,
};

/// Those of a server.
#[cfg(feature = "redis")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Course {
    /// A server loses a purge of which only one has heard, who is cut off.
    LostUnheard,
    /// So it is with somebody of whom the others have not heard either.
    LostByNewcomer,
    /// So it is with somebody who is no more.
    LostWithIssuer,
    /// Of such a purge somebody knows only that there was one.
    LostAndForgotten,
    /// A log that has ended is there again.
    EndedLogReturns,
    /// A server loses everything, and the first who comes has heard of nobody.
    EmptyForNewcomer,
    /// The log lacks what somebody has not read yet.
    MissedInLog,
    /// What is stored is damaged, or changes places, and is read by somebody who has nothing in memory.
    ReadAnew,
    /// Something is read below when its time is over, by somebody whom the server answers late.
    Overdue,
    /// More prefixes are purged than are remembered one by one.
    ForgottenPrefix,
}

#[cfg(feature = "redis")]
impl Course {
    /// Whether a replica takes the place of the server.
    pub(super) fn is_fail_over(self) -> bool {
        use Course::*;
        matches!(self, LostUnheard | LostByNewcomer | LostWithIssuer | LostAndForgotten)
    }
}

/// A purge of which there is a receipt that says whether it holds for all.
const HARD: (Mode, Tier) = (Mode::Hard, Tier::Shared);
/// Whoever reaches the tier has called it within this time.
#[cfg(feature = "redis")]
const CALLED: u64 = 800;
/// No receipt waits for longer after the tier has the purge.
#[cfg(feature = "redis")]
const LAPSED: u64 = 5300;

impl Run {
    /// Something changes and is purged again while the first purge of it is being acknowledged.
    pub(super) async fn purge_again(&mut self, instance: usize) {
        let key = self.dice.index(KEYS);
        let line = Arc::clone(&self.instances[instance].line);
        // It does not learn in another way either that the tier has the first.
        line.set_weather(Weather { late: 100, late_ms: 900, ..Weather::default() });
        self.later(move || line.set_weather(Weather::default()));
        self.purge_key(instance, key);
        self.pass(100).await;
        // What others fetch now is newer than the first of them, and older than the second.
        let others = self.others(instance);
        self.read_all(&others, key);
        let between = self.dice.between(150, 350);
        self.pass(between).await;
        self.purge_key(instance, key);
        self.watch(&others, &[key], 2000).await;
    }

    /// The tier begins another log while an answer from the old one is on its way, which comes late. What is purged
    /// meanwhile, that answer knows nothing of.
    pub(super) async fn answer_from_ended_log(&mut self, instance: usize) {
        let late = self.dice.between(100, 220);
        let (below, line) = (self.below.clone(), Arc::clone(&self.instances[instance].line));
        let act = Box::new(move || below.begin_another_log());
        line.at_next(Next { call: Call::Follow, late: Duration::from_millis(late), act });
        for _ in 0..50 {
            if !line.has_next() {
                break;
            }
            self.pass(10).await;
        }
        let purge = origin::some_scope(&mut self.dice);
        self.purge_of(instance, purge, 80);
        self.pass(late).await;
        for key in 0..KEYS {
            self.read_one(instance, key);
            self.pass(8).await;
        }
    }

    /// A key that has changed.
    fn purge_key(&mut self, by: usize, key: usize) {
        self.purge_as(by, Purge::key(origin::name(key)), HARD, 100);
    }

    fn others(&self, instance: usize) -> Vec<usize> {
        (0..INSTANCES).filter(|other| *other != instance).collect()
    }

    fn read_all(&self, instances: &[usize], key: usize) {
        instances.iter().for_each(|instance| self.read_one(*instance, key));
    }

    /// Readers ask for these again and again, for so long.
    async fn watch(&self, instances: &[usize], keys: &[usize], millis: u64) {
        for _ in 0..millis / 200 {
            self.pass(200).await;
            keys.iter().for_each(|key| self.read_all(instances, *key));
        }
    }
}

#[cfg(feature = "redis")]
impl Run {
    pub(super) async fn go(&mut self, course: Course, server: &Arc<Server>, instance: usize) {
        match course {
            Course::LostUnheard => self.lose_unheard(server, instance).await,
            Course::LostByNewcomer => self.lose_by_newcomer(server, instance).await,
            Course::LostWithIssuer => self.lose_with_issuer(server, instance).await,
            Course::LostAndForgotten => self.lose_and_forget(server, instance).await,
            Course::EndedLogReturns => self.return_ended_log(server, instance).await,
            Course::EmptyForNewcomer => self.empty_for_newcomer(server, instance).await,
            Course::MissedInLog => self.miss_in_log(server, instance).await,
            Course::ReadAnew => self.read_anew(server, instance).await,
            Course::Overdue => self.read_overdue(instance).await,
            Course::ForgottenPrefix => self.forget_prefix(server, instance).await,
        }
    }

    /// A purge of which neither the others hear nor the replica that takes the place of the server. Who has made it comes
    /// back before it is said to hold, or after.
    async fn lose_unheard(&mut self, server: &Server, issuer: usize) {
        let (others, [key, other_key]) = (self.others(issuer), self.two_keys());
        self.all_have(&[key, other_key]).await;
        server.replicate();
        server.lag(true);
        self.cut_off(&others);
        self.pass(50).await;
        self.purge_key(issuer, key);
        self.pass(150).await;
        self.cut_off(&[issuer]);
        self.fail_over(server);
        self.mend(&others);
        let away = [self.dice.between(300, 2000), LAPSED][self.dice.index(2)];
        if self.dice.percent(50) {
            self.purge_key(others[0], other_key);
        }
        self.watch(&others, &[key], away).await;
        self.mend(&[issuer]);
        self.watch(&[0, 1, 2], &[key, other_key], LAPSED).await;
    }

    /// Somebody has come of whom neither the others have heard nor the replica, and has made a purge. When it comes back
    /// the log has opened without it, and has another purge.
    async fn lose_by_newcomer(&mut self, server: &Server, newcomer: usize) {
        let (others, [key, other_key]) = (self.others(newcomer), self.two_keys());
        self.all_have(&[key, other_key]).await;
        self.shut_down(newcomer).await;
        // The first to come after the failover has not read as far as the replica has.
        let [behind, ahead] = [others[0], others[1]];
        self.cut_off(&[behind]);
        self.pass(50).await;
        self.purge_of(ahead, Purge::key("none"), 0);
        self.pass(100).await;
        server.replicate();
        server.lag(true);
        self.cut_off(&[ahead]);
        self.start_anew(newcomer, false);
        self.pass(400).await;
        self.read_one(newcomer, other_key);
        self.pass(150).await;
        self.purge_key(newcomer, key);
        self.pass(150).await;
        self.cut_off(&[newcomer]);
        self.fail_over(server);
        self.mend(&[behind]);
        self.pass(CALLED).await;
        self.mend(&[ahead]);
        self.purge_key(ahead, other_key);
        let away = self.dice.between(CALLED + 400, 2500);
        self.pass(away).await;
        self.mend(&[newcomer]);
        self.watch(&[0, 1, 2], &[key, other_key], LAPSED + 1000).await;
    }

    /// A process makes a purge of which neither the others hear nor the replica that takes the place of the server, which
    /// does not know of the process either; and is killed. Its outbox is all there is.
    async fn lose_with_issuer(&mut self, server: &Server, issuer: usize) {
        let (others, key) = (self.others(issuer), self.dice.index(KEYS));
        self.all_have(&[key]).await;
        self.shut_down(issuer).await;
        self.cut_off(&others);
        server.replicate();
        server.lag(true);
        self.start_anew(issuer, false);
        self.pass(300).await;
        let purge = Purge::key(origin::name(key));
        let floors = self.purge_as(issuer, purge, HARD, 100);
        self.pass(400).await;
        self.kill(issuer);
        self.fail_over(server);
        self.mend(&others);
        self.all_is_sent(issuer, &floors).await;
        self.watch(&others, &[key], 1000).await;
    }

    /// Once the process has sent what it has found in its outbox, that holds for all who reach the tier.
    async fn all_is_sent(&mut self, issuer: usize, floors: &Floors) {
        let is_sent = |Instance { cache, .. }: &Instance| {
            let stats = cache.stats().lower;
            stats.is_trusted && stats.purges_outstanding == 0
        };
        for _ in 0..150 {
            self.pass(100).await;
            if is_sent(&self.instances[issuer]) {
                break;
            }
        }
        self.pass(2000).await;
        let is_sent = is_sent(&self.instances[issuer]);
        match is_sent {
            true => self.history.holds_for_all(floors),
            false => self.history.broken(format!("7: {issuer} has not sent what it has found")),
        }
    }

    /// A purge whose receipt says that it holds is lost with the server. Who made it is gone; one has not heard of it, and
    /// the other one knows only that there was one. What the outbox has comes late.
    async fn lose_and_forget(&mut self, server: &Server, issuer: usize) {
        let (others, key) = (self.others(issuer), self.dice.index(KEYS));
        let [heard, unheard] = [others[0], others[1]];
        self.all_have(&[key]).await;
        self.shut_down(issuer).await;
        server.replicate();
        server.lag(true);
        self.cut_off(&[unheard]);
        self.start_anew(issuer, false);
        self.pass(300).await;
        let stopped = Arc::clone(&self.instances[heard].process);
        stopped.stop();
        self.purge_key(issuer, key);
        self.pass(150).await;
        server.trim_log(0);
        stopped.go_on();
        self.pass(LAPSED).await;
        self.shut_down(issuer).await;
        self.start_anew(issuer, false);
        self.cut_off(&[issuer]);
        self.fail_over(server);
        self.mend(&[unheard]);
        self.watch(&[unheard], &[key], 3000).await;
        self.mend(&[issuer]);
    }

    /// A server loses its log, and begins another one. Then it has what it had before, and is the same server. One who has
    /// not heard of the second log comes back.
    async fn return_ended_log(&mut self, server: &Server, away: usize) {
        let (others, key) = (self.others(away), self.dice.index(KEYS));
        self.all_have(&[key]).await;
        let keys = server.copy();
        self.cut_off(&[away]);
        server.lose_log();
        let while_ = self.dice.between(CALLED, 2 * CALLED);
        self.pass(while_).await;
        self.purge_key(others[0], key);
        self.pass(150).await;
        server.reload(keys);
        self.mend(&[away]);
        self.watch(&[away], &[key], LAPSED).await;
    }

    /// A server loses everything, also who reads. The first to come, and to purge, has just been started.
    async fn empty_for_newcomer(&mut self, server: &Server, newcomer: usize) {
        let (others, key) = (self.others(newcomer), self.dice.index(KEYS));
        self.all_have(&[key]).await;
        self.cut_off(&others);
        self.pass(50).await;
        self.kill(newcomer);
        server.empty();
        self.pass(300).await;
        self.purge_key(newcomer, key);
        self.watch(&others, &[key], 3000).await;
        self.mend(&others);
    }

    /// Of two purges the log has only the second left, or neither, when somebody comes back.
    async fn miss_in_log(&mut self, server: &Server, behind: usize) {
        let (others, [key, other_key]) = (self.others(behind), self.two_keys());
        self.all_have(&[key, other_key]).await;
        self.cut_off(&[behind]);
        self.pass(50).await;
        self.purge_key(others[0], key);
        self.pass(100).await;
        self.purge_key(others[1], other_key);
        self.pass(100).await;
        match self.dice.index(2) {
            0 => server.make_hole(1),
            _ => server.trim_log(self.dice.index(2)),
        }
        self.mend(&[behind]);
        self.watch(&[behind], &[key], 2000).await;
    }

    /// Some of what is stored is no longer what was written there.
    async fn read_anew(&mut self, server: &Server, newcomer: usize) {
        self.all_have(&[0, 1, 2, 3]).await;
        self.pass(200).await;
        for _ in 0..8 {
            match self.dice.index(2) {
                0 => server.damage(&mut self.dice),
                _ => server.swap(&mut self.dice),
            }
        }
        self.kill(newcomer);
        self.pass(CALLED).await;
        (0..KEYS).for_each(|key| self.read_one(newcomer, key));
        self.answered().await;
    }

    /// One has nothing of a key in memory, and learns late what time it is for the server.
    async fn read_overdue(&mut self, late: usize) {
        let (others, key) = (self.others(late), self.dice.index(KEYS));
        self.answered().await;
        self.purge_key(others[0], key);
        self.pass(300).await;
        self.read_one(others[0], key);
        self.answered().await;
        let line = Arc::clone(&self.instances[late].line);
        let by = self.dice.between(700, 900);
        line.slow_down(Some((Call::Renew, Duration::from_millis(by))));
        self.pass(7000).await;
        for _ in 0..30 {
            self.read_one(late, key);
            self.pass(80).await;
        }
        line.slow_down(None);
    }

    /// A prefix is purged, and then so many others that the log's server does not remember it. Somebody who has just been
    /// started reads what was stored before.
    async fn forget_prefix(&mut self, server: &Arc<Server>, newcomer: usize) {
        let issuer = self.others(newcomer)[self.dice.index(INSTANCES - 1)];
        let (prefix, keys) = [("posts/", [0, 1]), ("users/", [2, 3])][self.dice.index(2)];
        self.all_have(&keys).await;
        self.pass(200).await;
        self.purge_as(issuer, Purge::prefix(prefix), HARD, 100);
        self.pass(CALLED).await;
        let line = Line::new(INSTANCES, self.seed, self.began);
        let tier = server.tier(&line, self.settings.max_incoherence);
        for purge in prefixes(self.dice.roll()) {
            if let Err(error) = tier.append(&[purge]).await {
                self.history.note(format!("the prefixes are not purged: {error}"));
            }
        }
        self.kill(newcomer);
        self.pass(CALLED).await;
        self.watch(&[newcomer], &keys, 800).await;
    }

    fn two_keys(&mut self) -> [usize; 2] {
        let one = self.dice.index(KEYS);
        [one, (one + 1 + self.dice.index(KEYS - 1)) % KEYS]
    }

    /// All have these in memory, as they are now.
    async fn all_have(&mut self, keys: &[usize]) {
        for key in keys {
            let by = self.dice.index(INSTANCES);
            self.purge_key(by, *key);
        }
        self.pass(300).await;
        keys.iter().for_each(|key| self.read_all(&[0, 1, 2], *key));
        self.answered().await;
    }

    /// Until nobody waits, or for so long as a fetch may take.
    async fn answered(&self) {
        for _ in 0..100 {
            if self.history.open() == 0 {
                return;
            }
            self.pass(100).await;
        }
    }

    /// Until the others have heard that it has left. It is not started anew.
    async fn shut_down(&mut self, instance: usize) {
        let Instance { cache, process, .. } = self.instances[instance].clone();
        process.spawn(async move { _ = cache.shut_down(Duration::from_millis(500)).await });
        self.pass(1500).await;
    }

    fn kill(&mut self, instance: usize) {
        let before = self.start_anew(instance, false);
        before.process.kill();
        self.dead.push(before);
    }

    fn fail_over(&self, server: &Server) {
        server.fail_over();
        server.lag(false);
    }

    fn cut_off(&self, instances: &[usize]) {
        instances.iter().for_each(|instance| self.instances[*instance].line.cut());
    }

    fn mend(&self, instances: &[usize]) {
        instances.iter().for_each(|instance| self.instances[*instance].line.mend());
    }
}
