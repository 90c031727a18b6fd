//! Control: what is asked about the log and its readers.

use std::time::Duration;

use super::Shared;
use crate::tier::lower::{Holds, LowerError, LowerPurge, Position, Reader, Tail};

impl Shared {
    /// Appends purges to the log.
    pub(super) async fn append(&self, _purges: &[LowerPurge]) -> Result<Position, LowerError> {
        todo!("B")
    }

    /// What the log has after `since`.
    pub(super) async fn tail(&self, _since: Option<Position>) -> Result<Tail, LowerError> {
        todo!("B")
    }

    /// The same, as soon as there is something.
    pub(super) async fn follow(
        &self,
        _since: Position,
        _most: Duration,
    ) -> Result<Tail, LowerError> {
        todo!("B")
    }

    /// Says how far a reader has read.
    pub(super) async fn renew(
        &self,
        _reader: &Reader,
        _read: Option<Position>,
    ) -> Result<Position, LowerError> {
        todo!("B")
    }

    /// A reader goes.
    pub(super) async fn leave(&self, _reader: &Reader) -> Result<(), LowerError> {
        todo!("B")
    }

    /// For how many readers a purge holds.
    pub(super) async fn holds(
        &self,
        _position: Position,
        _most: Duration,
    ) -> Result<Holds, LowerError> {
        todo!("B")
    }
}
