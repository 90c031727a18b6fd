//! Ticket: one request at one address. Dropping it ends it there.

use std::sync::Arc;

use super::{addresses::Addresses, choose::Choice, failure::Failure};

/// Counts as a request under way until it is dropped, which is when its answer has ended.
pub(super) struct Ticket {
    all: Arc<Addresses>,
    index: usize,
    is_probe: bool,
    is_settled: bool,
}

impl Ticket {
    /// For the request that was just entered there.
    pub(super) fn of(all: &Arc<Addresses>, Choice { index, is_probe }: Choice) -> Ticket {
        Ticket { all: Arc::clone(all), index, is_probe, is_settled: false }
    }

    pub(super) fn index(&self) -> usize {
        self.index
    }

    pub(super) fn is_probe(&self) -> bool {
        self.is_probe
    }

    /// The head of an answer came.
    pub(super) fn answered(&mut self) {
        self.settle();
        self.all.succeeded(self.index);
    }

    /// Its body came to its end.
    pub(super) fn brought_whole(&mut self) {
        self.all.brought_whole(self.index);
    }

    pub(super) fn failed(&mut self, failure: Failure) {
        let was_probe = self.is_probe && !self.is_settled;
        self.settle();
        self.all.failed(self.index, failure, was_probe);
    }

    /// It failed, and the address is not to blame.
    pub(super) fn excused(&mut self, failure: Failure) {
        self.settle();
        self.all.count_failure(self.index, failure);
    }

    /// It is known what came of it.
    fn settle(&mut self) {
        if !std::mem::replace(&mut self.is_settled, true) {
            self.all.settled(self.index);
        }
    }
}

impl Drop for Ticket {
    /// Where it was given up before anything came, nothing is known of the address.
    fn drop(&mut self) {
        let is_unknown = !self.is_settled;
        self.settle();
        self.all.end(self.index, self.is_probe && is_unknown);
    }
}
