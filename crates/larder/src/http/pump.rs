//! Pump: brings a body from the origin to its readers, and to its end.

use std::{future::Future, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body::Frame;
use http_body_util::BodyExt;
use larder_policy::{reason::Reason, settings::Policy};
use tokio::time::{Instant as Deadline, timeout, timeout_at};

use super::{
    body::{Body, account::Ahead, arriving::Filler, stored::StoredBody},
    cache::Parts,
    error::BoxError,
    landing::Leader,
    records::MayWrite,
    turns::Turn,
};

/// Where others wait for a turn, a body that nobody reads keeps its own while so much of it comes in each
/// [`LOOK_EVERY`]: then it will soon be stored.
const UNREAD_BYTES: u64 = 16 << 10;
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What became of a body.
pub(crate) enum Pumped {
    /// It is whole, and to be stored.
    Whole(StoredBody),
    /// Its readers have had it; it was not kept, for this reason.
    Passed(Reason),
    /// It ended before it was whole, or nobody wanted it any more.
    Broken,
}

/// A body on its way: where it goes, and how long it is to be.
pub(crate) struct Flow<'a> {
    pub(crate) body: Body,
    pub(crate) filler: Filler,
    /// What the origin said it will be, in bytes.
    pub(crate) announced: Option<u64>,
    pub(crate) leader: &'a Leader,
    /// Where it is remembered that answers like this one's are not to be waited for, and by which rules.
    pub(crate) sharing_name: &'a Arc<str>,
    pub(crate) policy: &'a Policy,
    /// Given back once its readers set the pace.
    pub(crate) turn: Option<Turn>,
    /// Given up with its turn: it is not written either, and no other process is to wait for that.
    pub(crate) may_write: &'a mut Option<Box<MayWrite>>,
}

/// Brings a body to its readers, and to its end.
pub(crate) async fn pump(cache: &Parts, flow: Flow<'_>) -> Pumped {
    let Flow { mut body, filler, announced, leader, sharing_name, policy, turn, may_write } = flow;
    // What has not said how long it is may have no end.
    let limit = cache.settings.max_arriving_time.filter(|_| announced.is_none());
    let mut pump = Pump {
        cache,
        leader,
        sharing_name,
        policy,
        filler,
        announced,
        ahead: Ahead::new(&cache.account),
        ends_by: limit.and_then(|limit| Deadline::now().checked_add(limit)),
        kept: Ok(turn),
        may_write,
        was_read: false,
        unread_since: None,
        unread_pace: None,
    };
    match pump.run(&mut body).await {
        Ok(()) => pump.complete(),
        // Dropping the filler tells its readers. Whoever comes then is not one of them any more.
        Err(end) => {
            if end == Abort::Forsaken {
                cache.counters().abandoned.increment();
            }
            leader.withdraw();
            Pumped::Broken
        }
    }
}

struct Pump<'a> {
    cache: &'a Parts,
    leader: &'a Leader,
    sharing_name: &'a Arc<str>,
    policy: &'a Policy,
    filler: Filler,
    announced: Option<u64>,
    ahead: Ahead,
    /// If it goes on beyond that, it counts as endless.
    ends_by: Option<Deadline>,
    /// It is kept, with the turn it has; or not, for this reason.
    kept: Result<Option<Turn>, Reason>,
    may_write: &'a mut Option<Box<MayWrite>>,
    was_read: bool,
    /// When the last of its readers left, if it had any.
    unread_since: Option<Deadline>,
    /// When nobody read it, and how much of it there was.
    unread_pace: Option<(Deadline, u64)>,
}

/// Why a body comes to no end.
#[derive(PartialEq, Eq)]
enum Abort {
    Broken,
    /// Nobody reads it, and others wait for its turn.
    Forsaken,
}

/// What a body brings next.
enum Pulled {
    Frame(Result<Frame<Bytes>, BoxError>),
    /// It is over.
    End,
    /// It pauses for too long, or goes on for too long.
    Late,
}

/// Why the next piece of a body is not waited for any longer.
enum Late {
    TooLong,
    Forsaken,
}

impl Pump<'_> {
    async fn run(&mut self, body: &mut Body) -> Result<(), Abort> {
        loop {
            self.ahead.release_if_overfull();
            if !self.filler.room().await {
                return Err(Abort::Broken);
            }
            match self.next(body).await? {
                Pulled::End => break,
                Pulled::Frame(Err(_)) => return Err(Abort::Broken),
                Pulled::Frame(Ok(frame)) => {
                    let Ok(chunk) = frame.into_data() else { continue };
                    if self.kept.is_err() {
                        self.ahead.came(chunk.len());
                    }
                    self.filler.push(&chunk);
                    self.cache.engine().make_room();
                    self.cache.account.relieve();
                }
                Pulled::Late => {
                    // Later readers ask anew. These have begun, and may wait for the rest of it.
                    let reason = if self.goes_on() { Reason::Endless } else { Reason::OriginError };
                    self.keep_no_longer(reason);
                    continue;
                }
            }
            let arrived = self.filler.arrived();
            if self.announced.is_some_and(|announced| arrived > announced) {
                return Err(Abort::Broken);
            }
            self.look_at_readers(arrived)?;
            if self.kept.is_ok()
                && let Some(reason) = self.may_not_be_kept(arrived)
            {
                self.keep_no_longer(reason);
            }
        }
        match self.announced {
            Some(announced) if announced != self.filler.arrived() => Err(Abort::Broken),
            _ => Ok(()),
        }
    }

    /// Whichever of these is dropped half-way, the body has lost nothing.
    async fn next(&self, body: &mut Body) -> Result<Pulled, Abort> {
        let Pump { cache, filler, ends_by, .. } = self;
        let frame = match &self.kept {
            Ok(Some(_)) => {
                let frame = in_time_if(cache, body.frame(), || may_go_on_unread(cache, filler));
                match until(*ends_by, frame).await {
                    Some(Err(Late::Forsaken)) => return Err(Abort::Forsaken),
                    Some(Err(Late::TooLong)) | None => None,
                    Some(Ok(frame)) => Some(frame),
                }
            }
            Ok(None) => until(*ends_by, in_time(cache, body.frame())).await.flatten(),
            Err(_) => tokio::select! {
                frame = body.frame() => Some(frame),
                () = filler.unwanted() => return Err(Abort::Broken),
            },
        };
        Ok(match frame {
            Some(Some(frame)) => Pulled::Frame(frame),
            Some(None) => Pulled::End,
            None => Pulled::Late,
        })
    }

    /// One that nobody reads any more does not have a turn for as long as it likes: neither if it drips, nor
    /// where others wait for one and next to nothing of it comes.
    fn look_at_readers(&mut self, arrived: u64) -> Result<(), Abort> {
        let is_read = self.filler.is_read();
        if is_read {
            (self.was_read, self.unread_since) = (true, None);
        } else if self.was_read {
            let since = *self.unread_since.get_or_insert_with(Deadline::now);
            let limit = self.cache.settings.idle_body_timeout.filter(|_| self.kept.is_ok());
            if limit.is_some_and(|limit| since.elapsed() >= limit) {
                return Err(Abort::Broken);
            }
        }
        if is_read || !matches!(self.kept, Ok(Some(_))) {
            self.unread_pace = None;
            return Ok(());
        }
        let (since, before) = *self.unread_pace.get_or_insert_with(|| (Deadline::now(), arrived));
        if since.elapsed() >= LOOK_EVERY {
            if arrived - before < UNREAD_BYTES && !may_go_on_unread(self.cache, &self.filler) {
                return Err(Abort::Forsaken);
            }
            self.unread_pace = Some((Deadline::now(), arrived));
        }
        Ok(())
    }

    fn may_not_be_kept(&self, arrived: u64) -> Option<Reason> {
        if arrived > self.cache.max_body_bytes(self.policy) {
            Some(Reason::TooLarge)
        } else if self.goes_on() {
            Some(Reason::Endless)
        } else {
            // One that said how long it is has had its room since then.
            let has_room = self.announced.is_some() || self.filler.may_be_kept();
            (!has_room).then_some(Reason::NoRoom)
        }
    }

    /// From now on it is for those who read it, who set the pace; its turn is another's.
    fn keep_no_longer(&mut self, reason: Reason) {
        match reason {
            Reason::NoRoom => self.cache.count_crowded_out(),
            Reason::TooLarge => self.cache.counters().too_large.increment(),
            _ => {}
        }
        // That there is no room now says nothing of later answers.
        let may_write = self.may_write.take();
        if reason != Reason::NoRoom {
            let Pump { cache, policy, sharing_name, leader, .. } = *self;
            let is_news = cache.remember_apart(policy, sharing_name, reason, leader);
            if let (Some(memory), Some(may_write)) = (is_news, may_write) {
                cache.publish_apart(policy, sharing_name, memory, leader, *may_write);
            }
        }
        self.kept = Err(reason);
        self.leader.withdraw();
        self.filler.keep_no_longer();
    }

    fn goes_on(&self) -> bool {
        self.ends_by.is_some_and(|ends_by| ends_by <= Deadline::now())
    }

    fn complete(self) -> Pumped {
        match (self.filler.complete(), self.kept) {
            (Some(body), _) => Pumped::Whole(body),
            (None, kept) => Pumped::Passed(kept.err().unwrap_or(Reason::TooLarge)),
        }
    }
}

/// What a body on its way into the cache brings next. `None`: it pauses for too long.
async fn in_time<T>(cache: &Parts, frame: impl Future<Output = T>) -> Option<T> {
    match cache.settings.idle_body_timeout {
        Some(limit) => timeout(limit, frame).await.ok(),
        None => Some(frame.await),
    }
}

/// The same, but asked every second that brings nothing whether it may go on like that.
async fn in_time_if<T>(
    cache: &Parts,
    frame: impl Future<Output = T>,
    may_go_on: impl Fn() -> bool,
) -> Result<T, Late> {
    let mut frame = pin!(frame);
    let limit = cache.settings.idle_body_timeout;
    let mut waited = Duration::ZERO;
    loop {
        let left = limit.map_or(LOOK_EVERY, |limit| limit.saturating_sub(waited));
        let look = left.min(LOOK_EVERY);
        if let Ok(frame) = timeout(look, frame.as_mut()).await {
            return Ok(frame);
        }
        waited += look;
        if limit.is_some_and(|limit| waited >= limit) {
            return Err(Late::TooLong);
        }
        if !may_go_on() {
            return Err(Late::Forsaken);
        }
    }
}

/// Whether a body that brings next to nothing may keep its turn: somebody reads it, or nobody waits for
/// one.
fn may_go_on_unread(cache: &Parts, filler: &Filler) -> bool {
    let (_, waiting) = cache.turns.in_use();
    filler.is_read() || waiting == 0
}

/// What `what` brings; `None`: it does not in time.
pub(crate) async fn until<T>(
    deadline: Option<Deadline>,
    what: impl Future<Output = T>,
) -> Option<T> {
    match deadline {
        Some(deadline) => timeout_at(deadline, what).await.ok(),
        None => Some(what.await),
    }
}
