//! Copies: whether replicas have what the log has, and whether the server may lose it all the same.
//!
//! `WAIT` counts what was written on its own connection. So there is one for it, on which something is written first: what
//! comes after all purges in the server's history tells of all of them. One answer serves all who ask meanwhile.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::time::Instant;

use super::{
    Shared,
    connect::Link,
    script::{Answer, REPLICATE},
    seen::Header,
};
use crate::{
    purge::{Doubt, Replication},
    rules::Rule,
    tier::lower::{Copies, LowerError, Position},
};

/// A replica has so long to acknowledge purges.
const REPLICATION_MS: u64 = 50;
/// That it has not is gone by for so long: one that hangs is not waited for by each purge.
const AGAIN: Duration = Duration::from_millis(250);
/// A server's settings are looked at so often.
const LOOK: Duration = Duration::from_secs(60);

/// What was found out last. Held by who finds out.
#[derive(Default)]
pub(super) struct LastCopies {
    told: Option<Told>,
    /// Without which replicas the server takes no writes, and when it was asked for that.
    guard: Option<(Instant, Guard)>,
}

/// What a server says of when it takes no writes. `None`: it does not say, or not to this user.
#[derive(Clone, Copy, Default)]
struct Guard {
    /// Where fewer replicas than these answer.
    least: Option<u64>,
    /// A replica that has said nothing for so long does not.
    max_lag: Option<Duration>,
}

struct Told {
    /// Of all up to here.
    position: Position,
    copies: Copies,
    asked: Instant,
}

impl Told {
    fn serves(&self, position: Position) -> bool {
        let Position { generation, number } = self.position;
        let is_known = generation == position.generation && number >= position.number;
        is_known
            && (self.copies.replication == Replication::Replicated || self.asked.elapsed() < AGAIN)
    }
}

impl Shared {
    /// Whether what the log has up to `position` is safe.
    pub(super) async fn copies(&self, position: Position) -> Result<Copies, LowerError> {
        let is_single = |replicas| self.control.seen().is_single(replicas, Instant::now());
        let replicas = self.control.seen().figures().replicas;
        if is_single(replicas) {
            self.control.seen().doubts(None);
            return Ok(SINGLE);
        }
        let mut last = self.control.copies.lock().await;
        if let Some(told) = last.told.as_ref().filter(|told| told.serves(position)) {
            return Ok(told.copies);
        }
        let mut link = self.lines.copies().await?;
        let asked = Instant::now();
        // A server that has been replaced is told first what it has lost.
        let Answer { header, .. } = self.call(&mut link, &REPLICATE, |_| ()).await?;
        if is_single(header.replicas) {
            return Ok(SINGLE);
        }
        let replication = match header.replicas {
            // Those that it had may come back in its place.
            0 => Replication::Unreplicated,
            _ => self.replicated(&mut link).await,
        };
        let known = last.told.as_ref().map(|told| told.position);
        let position = Position { generation: header.generation, number: header.number };
        if replication == Replication::Unreplicated && known != Some(position) {
            self.control.unreplicated.fetch_add(1, Ordering::Relaxed);
        }
        let doubt = self.doubt(&mut link, &header, &mut last).await;
        self.control.seen().doubts(doubt);
        let copies = Copies { replication, doubt };
        last.told = Some(Told { position, copies, asked });
        Ok(copies)
    }

    /// Whether a replica has what was written on this line.
    async fn replicated(&self, link: &mut Link) -> Replication {
        if !Rule::ReplicasAreAsked.holds() {
            return Replication::Replicated;
        }
        let wait = redis::cmd("WAIT").arg(1).arg(REPLICATION_MS).take();
        match link.ask_where::<u64>(&self.names.control("ctl"), wait).await {
            Ok(replicas) if replicas > 0 => Replication::Replicated,
            Ok(_) | Err(_) => Replication::Unreplicated,
        }
    }

    /// Of n replicas and a primary more than half have whatever is acknowledged where more than (n - 1) / 2 replicas must
    /// answer. That some must is seen by every user; how many, by one who may read the settings. Those that were there of late
    /// count: a server that was cut off from them does not see them, and one of them may take its place.
    async fn doubt(
        &self,
        link: &mut Link,
        header: &Header,
        last: &mut LastCopies,
    ) -> Option<Doubt> {
        let replicas = self.control.seen().most_replicas(header.replicas, Instant::now());
        let needed = replicas.saturating_sub(1) / 2 + 1;
        let least = match header.is_guarded {
            false => 0,
            true => self.guard(link, last).await.least.unwrap_or(1),
        };
        (least < needed).then_some(Doubt::MinReplicasToWrite)
    }

    async fn guard(&self, link: &mut Link, last: &mut LastCopies) -> Guard {
        if let Some((_, guard)) = last.guard.filter(|(asked, _)| asked.elapsed() < LOOK) {
            return guard;
        }
        let get = redis::cmd("CONFIG").arg("GET").arg("min-replicas-*").take();
        let said = link.ask_where::<Vec<(String, String)>>(&self.names.control("ctl"), get).await;
        let said = said.unwrap_or_default();
        let number = |name: &str| said.iter().find(|(said, _)| said == name)?.1.parse::<u64>().ok();
        let guard = Guard {
            least: number("min-replicas-to-write"),
            max_lag: number("min-replicas-max-lag").map(Duration::from_secs),
        };
        self.control.seen().goes_on_for(guard.max_lag);
        last.guard = Some((Instant::now(), guard));
        guard
    }
}

const SINGLE: Copies = Copies { replication: Replication::Single, doubt: None };
