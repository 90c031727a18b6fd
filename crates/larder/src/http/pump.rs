//! Pump: brings a body from the origin to its readers, and to its end.

use std::{future::Future, pin::pin, sync::Arc, time::Duration};

use http_body_util::BodyExt;
use larder_policy::{reason::Reason, settings::Policy};
use tokio::time::{Instant as Deadline, timeout, timeout_at};

use super::{
    body::{
        Body,
        arriving::{Arriving, Filler},
        stored::StoredBody,
    },
    cache::Parts,
    landing::Leader,
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
}

/// Why the next piece of a body is not waited for any longer.
enum Late {
    TooLong,
    /// Nobody reads it, and others wait for its turn.
    Forsaken,
}

/// Brings a body to its readers, and to its end.
pub(crate) async fn pump(cache: &Parts, flow: Flow<'_>) -> Pumped {
    let Flow { mut body, filler, announced, leader, sharing_name, policy, turn } = flow;
    let max = cache.max_body_bytes();
    // What has not said how long it is may have no end.
    let limit = cache.settings.max_arriving_time.filter(|_| announced.is_none());
    let ends_by = limit.and_then(|limit| Deadline::now().checked_add(limit));
    let goes_on = || ends_by.is_some_and(|ends_by| ends_by <= Deadline::now());
    // Dropping the filler tells its readers. Whoever comes then is not one of them any more.
    let broken = || {
        leader.withdraw();
        Pumped::Broken
    };
    let mut kept = Ok(turn);
    // When the last of its readers left, if it had any.
    let (mut was_read, mut unread_since) = (false, None);
    // When nobody read it, and how much of it there was.
    let mut unread_pace: Option<(Deadline, u64)> = None;
    let forsaken = || {
        cache.counters().abandoned.increment();
        broken()
    };
    loop {
        if !filler.room().await {
            return broken();
        }
        // Whichever of these is dropped half-way, the body has lost nothing.
        let frame = match &kept {
            Ok(Some(_)) => {
                let frame = in_time_if(cache, body.frame(), || may_go_on_unread(cache, &filler));
                match until(ends_by, frame).await {
                    Some(Err(Late::Forsaken)) => return forsaken(),
                    Some(Err(Late::TooLong)) | None => None,
                    Some(Ok(frame)) => Some(frame),
                }
            }
            Ok(None) => until(ends_by, in_time(cache, body.frame())).await.flatten(),
            Err(_) => tokio::select! {
                frame = body.frame() => Some(frame),
                () = filler.unwanted() => return broken(),
            },
        };
        let Some(frame) = frame else {
            // Later readers ask anew. These have begun, and may wait for the rest of it.
            let reason = if goes_on() { Reason::Endless } else { Reason::OriginError };
            cache.remember_apart(policy, sharing_name, reason, leader);
            kept = Err(reason);
            leader.withdraw();
            filler.keep_no_longer();
            continue;
        };
        match frame {
            None => break,
            Some(Ok(frame)) => {
                let Ok(chunk) = frame.into_data() else { continue };
                filler.push(chunk);
            }
            Some(Err(_)) => return broken(),
        }
        let arrived = filler.arrived();
        if announced.is_some_and(|announced| arrived > announced) {
            return broken();
        }
        if filler.is_read() {
            (was_read, unread_since) = (true, None);
        } else if was_read {
            let since = *unread_since.get_or_insert_with(Deadline::now);
            // One that drips would have a turn for as long as it likes.
            if kept.is_ok()
                && cache.settings.idle_body_timeout.is_some_and(|limit| since.elapsed() >= limit)
            {
                return broken();
            }
        }
        if filler.is_read() || !matches!(kept, Ok(Some(_))) {
            unread_pace = None;
        } else {
            let (since, before) = *unread_pace.get_or_insert_with(|| (Deadline::now(), arrived));
            if since.elapsed() >= LOOK_EVERY {
                if arrived - before < UNREAD_BYTES && !may_go_on_unread(cache, &filler) {
                    return forsaken();
                }
                unread_pace = Some((Deadline::now(), arrived));
            }
        }
        let is_too_large = arrived > max;
        let is_endless = kept.is_ok() && goes_on();
        if kept.is_ok() && (is_too_large || is_endless || !cache.room.fits(0)) {
            if is_too_large {
                kept = Err(Reason::TooLarge);
                cache.counters().too_large.increment();
                cache.remember_apart(policy, sharing_name, Reason::TooLarge, leader);
            } else if is_endless {
                kept = Err(Reason::Endless);
                cache.remember_apart(policy, sharing_name, Reason::Endless, leader);
            } else {
                kept = Err(Reason::NoRoom);
                cache.count_crowded_out();
            }
            leader.withdraw();
            filler.keep_no_longer();
        }
    }
    if announced.is_some_and(|announced| announced != filler.arrived()) {
        return broken();
    }
    match (filler.complete(), kept) {
        (Some(body), _) => Pumped::Whole(body),
        (None, kept) => Pumped::Passed(kept.err().unwrap_or(Reason::TooLarge)),
    }
}

/// All of a body. `None`: it is larger than what is stored, there is no room for it, it pauses for
/// too long, or it breaks off.
pub(crate) async fn whole_body(
    cache: &Parts,
    mut body: Body,
    announced: Option<u64>,
) -> Option<StoredBody> {
    let max = cache.max_body_bytes();
    let has_room = |announced| announced <= max && cache.room.fits(announced);
    if !has_room(announced.unwrap_or(0)) {
        return None;
    }
    let (filler, _) = Arriving::new(announced, &cache.room);
    while let Some(frame) = in_time(cache, body.frame()).await? {
        let Ok(chunk) = frame.ok()?.into_data() else { continue };
        filler.push(chunk);
        if filler.arrived() > max || !has_room(0) {
            return None;
        }
    }
    filler.complete()
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
