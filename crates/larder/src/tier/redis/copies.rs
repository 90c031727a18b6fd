//! Copies: whether replicas have what the log has, and whether the server may lose it all the same.
//!
//! `WAIT` counts what was written on its own connection. So there is one for it, on which something is written first: what
//! comes after all purges in the server's history tells of all of them. One answer serves all who ask meanwhile.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use super::{
    Shared,
    connect::Link,
    script::{Answer, REPLICATE},
    seen::Header,
};
use crate::{
    purge::{Doubt, Replication},
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
    /// The least number of replicas without which the server takes no writes, and when it was asked for that. `None`: it
    /// does not say.
    least: Option<(Instant, Option<u64>)>,
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
        let copies = Copies { replication, doubt };
        last.told = Some(Told { position, copies, asked });
        Ok(copies)
    }

    /// Whether a replica has what was written on this line.
    async fn replicated(&self, link: &mut Link) -> Replication {
        let wait = redis::cmd("WAIT").arg(1).arg(REPLICATION_MS).take();
        match link.ask_where::<u64>(&self.names.control("ctl"), wait).await {
            Ok(replicas) if replicas > 0 => Replication::Replicated,
            Ok(_) | Err(_) => Replication::Unreplicated,
        }
    }

    /// Of n replicas and a primary more than half have whatever is acknowledged where more than (n - 1) / 2 replicas must
    /// answer. That some must is seen by every user; how many, by one who may read the settings.
    async fn doubt(
        &self,
        link: &mut Link,
        header: &Header,
        last: &mut LastCopies,
    ) -> Option<Doubt> {
        let needed = header.replicas.saturating_sub(1) / 2 + 1;
        let least = match (header.is_guarded, needed) {
            (false, _) => 0,
            (true, 1) => 1,
            (true, _) => self.least(link, last).await.unwrap_or(1),
        };
        (least < needed).then_some(Doubt::MinReplicasToWrite)
    }

    async fn least(&self, link: &mut Link, last: &mut LastCopies) -> Option<u64> {
        if let Some((_, least)) = last.least.filter(|(asked, _)| asked.elapsed() < LOOK) {
            return least;
        }
        let get = redis::cmd("CONFIG").arg("GET").arg("min-replicas-to-write").take();
        let said = link.ask_where::<Vec<(String, String)>>(&self.names.control("ctl"), get).await;
        let least = said.ok().and_then(|said| said.first()?.1.parse().ok());
        last.least = Some((Instant::now(), least));
        least
    }
}

const SINGLE: Copies = Copies { replication: Replication::Single, doubt: None };
