//! Data: records and the pieces of bodies.
//!
//! A read of heads is one plain `HSCAN`, which brings all fields of the hash, or some of one that somebody has filled
//! with more than any cache writes. A record is written with the pieces of its body first, each a plain `SET`
//! that may go to any server of a cluster; then one script on the key of its head puts it in place.

use std::{sync::LazyLock, time::Duration};

use ::redis::{Script, cmd, pipe};
use bytes::Bytes;
use futures_util::{StreamExt, future::try_join, stream};
use tokio::time::Instant;

use super::{Shared, connect::failed};
use crate::tier::lower::{Body, BodyId, Commit, Heads, LogPart, LowerError, Piece, Record};

static COMMIT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/commit.lua")));
static TIME: LazyLock<Script> = LazyLock::new(|| Script::new("return redis.call('TIME')"));

/// The field of a hash of records in which the server notes their order. No variant is named so: it is not UTF-8.
const NOTE: &[u8] = b"\xff";

/// A key has no more records than this, its note included. Of a hash that has more fields nothing is read, so that
/// whoever can write to the server cannot make a miss bring as many as he likes.
const MOST_FIELDS: usize = 4096;

/// Nothing is kept longer.
const LONGEST: Duration = Duration::from_secs(400 * 24 * 3600);
/// Pieces outlive their head: who has read it reads them next.
const PIECES_OUTLIVE: Duration = Duration::from_secs(30);
/// So many pieces are asked about at once.
const AT_ONCE: usize = 64;

impl Shared {
    pub(super) async fn heads(&self, key: &str, log: LogPart) -> Result<Heads, LowerError> {
        match log {
            LogPart::Nothing => self.records(key).await,
            LogPart::After(since) => {
                let (heads, tail) = try_join(self.records(key), self.tail(since)).await?;
                Ok(Heads { tail: Some(tail), ..heads })
            }
        }
    }

    async fn records(&self, key: &str) -> Result<Heads, LowerError> {
        let mut command = cmd("HSCAN");
        command.arg(self.names.head(key)).arg(0).arg("COUNT").arg(MOST_FIELDS);
        let asking = self.lines.twice(|| async {
            self.lines.heads().await?.ask::<(u64, Vec<(Vec<u8>, Vec<u8>)>)>(&command).await
        });
        let asked = match self.time.is_known() {
            true => asking.await,
            false => try_join(asking, self.ask_time()).await.map(|(fields, ())| fields),
        };
        let fields = match asked {
            Err(LowerError::Unreadable) => {
                return Ok(Heads { records: Vec::new(), tail: None, unreadable: 1 });
            }
            // There is more than was asked for.
            Ok((cursor, _)) if cursor != 0 => {
                return Ok(Heads { records: Vec::new(), tail: None, unreadable: 1 });
            }
            asked => asked?.1,
        };
        let now = self.time.latest().ok_or(LowerError::Reconciling)?;
        let mut heads = Heads { records: Vec::with_capacity(1), tail: None, unreadable: 0 };
        for (field, bytes) in fields.into_iter().filter(|(field, _)| field != NOTE) {
            let read = String::from_utf8(field).ok();
            let read = read.and_then(|variant| self.seal.read_head(key, variant, bytes).ok());
            let Some((head, fetched)) = read else {
                heads.unreadable += 1;
                continue;
            };
            // One from the future was written before the server's clock stepped back: nobody knows its age.
            let Some(age) = now.checked_sub(fetched) else { continue };
            if age < head.lifetime.end() {
                heads.records.push(Record { head, age });
            }
        }
        Ok(heads)
    }

    /// Of a cluster's clocks, the one of the log's server counts.
    async fn ask_time(&self) -> Result<(), LowerError> {
        let script = TIME.key(self.names.control("ctl"));
        let asking = self.lines.twice(|| async {
            let mut link = self.lines.heads().await?;
            let asked = Instant::now();
            let time: (u64, u64) = script.invoke_async(&mut link).await.map_err(failed)?;
            Ok((asked, time))
        });
        let (asked, (seconds, micros)) = asking.await?;
        self.time.note(asked, seconds.saturating_mul(1_000_000).saturating_add(micros));
        Ok(())
    }

    pub(super) async fn piece(&self, body: BodyId, index: u32) -> Result<Bytes, LowerError> {
        let mut command = cmd("GET");
        command.arg(self.names.piece(body, index));
        let asking = self.lines.twice(|| async { self.lines.bodies().await?.ask(&command).await });
        let bytes: Option<Vec<u8>> = asking.await?;
        let bytes = bytes.ok_or(LowerError::Gone)?;
        self.seal.read_piece(body, index, bytes).map_err(|_| LowerError::Unreadable)
    }

    pub(super) async fn write(&self, piece: Piece) -> Result<(), LowerError> {
        let Piece { body, index, bytes, keep } = piece;
        let mut command = cmd("SET");
        command.arg(self.names.piece(body, index)).arg(self.seal.write_piece(body, index, &bytes));
        command.arg("PX").arg(millis(keep.saturating_add(PIECES_OUTLIVE)));
        self.lines.twice(|| async { self.lines.bodies().await?.ask(&command).await }).await
    }

    pub(super) async fn commit(
        &self,
        key: &str,
        record: Record,
        most: usize,
    ) -> Result<Commit, LowerError> {
        let called = Instant::now();
        let Record { head, age } = record;
        let left = head.lifetime.end().saturating_sub(age);
        if left.is_zero() {
            return Ok(Commit::Refused);
        }
        let (body, pieces) = match &head.body {
            Body::Whole(_) => (String::new(), 0),
            Body::Pieces { id, pieces, .. } => {
                if !self.are_there(*id, *pieces, left).await? {
                    return Ok(Commit::Refused);
                }
                (format!("{:032x}", id.0), *pieces)
            }
        };
        if !self.time.is_known() {
            self.ask_time().await?;
        }
        // It has grown older meanwhile.
        let age = age.saturating_add(called.elapsed());
        let now = self.time.earliest().ok_or(LowerError::Reconciling)?;
        let bytes = self.seal.write_head(key, &head, now.saturating_sub(age));
        let mut link = self.lines.heads().await?;
        let mut script = COMMIT.key(self.names.head(key));
        script.arg(&head.variant).arg(bytes).arg(most.clamp(1, MOST_FIELDS / 2)).arg(millis(left));
        let script = script.arg(body).arg(pieces);
        // Not twice: another one may have been put in its place since.
        let gone: Vec<(String, u32)> = script.invoke_async(&mut link).await.map_err(failed)?;
        for (body, pieces) in gone {
            if let Ok(id) = u128::from_str_radix(&body, 16) {
                // If it fails they stay until their time is over: nothing names them.
                self.discard(BodyId(id), pieces).await.ok();
            }
        }
        Ok(Commit::Stored)
    }

    pub(super) async fn discard(&self, body: BodyId, pieces: u32) -> Result<(), LowerError> {
        let each = stream::iter(0..pieces).map(async |index| {
            let mut command = cmd("UNLINK");
            command.arg(self.names.piece(body, index));
            self.lines.twice(|| async { self.lines.heads().await?.ask::<()>(&command).await }).await
        });
        let mut each = std::pin::pin!(each.buffer_unordered(AT_ONCE));
        while let Some(done) = each.next().await {
            done?;
        }
        Ok(())
    }

    /// Whether all pieces of a body are there, and stay as long as its record.
    async fn are_there(
        &self,
        body: BodyId,
        pieces: u32,
        keep: Duration,
    ) -> Result<bool, LowerError> {
        let keep = millis(keep.saturating_add(PIECES_OUTLIVE));
        let each = stream::iter(0..pieces).map(async |index| {
            let (mut both, name) = (pipe(), self.names.piece(body, index));
            both.cmd("PEXPIRE").arg(&name).arg(keep).arg("GT").ignore();
            both.cmd("EXISTS").arg(&name);
            let asking =
                self.lines.twice(|| async { self.lines.heads().await?.ask_all(&both).await });
            asking.await.map(|(is_there,): (bool,)| is_there)
        });
        let mut each = std::pin::pin!(each.buffer_unordered(AT_ONCE));
        while let Some(is_there) = each.next().await {
            if !is_there? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// As a server takes it. It keeps nothing for no time at all.
fn millis(keep: Duration) -> u64 {
    let keep = keep.clamp(Duration::from_millis(1), LONGEST);
    u64::try_from(keep.as_millis()).unwrap_or(u64::MAX)
}
