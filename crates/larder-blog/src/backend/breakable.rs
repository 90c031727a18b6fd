//! Breakable: a shared tier that can be put out of this process's reach, and back.
//!
//! What is under way when that happens fails, as on a connection that is cut, and may still have taken effect; what is asked
//! for meanwhile is not asked. The tier itself goes on, and so does who else shares it.

use std::{future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use larder::lower::{
    Answering, BodyId, Commit, Copies, Forget, Forgotten, Heads, Holds, LeaseAnswer, LogPart,
    LowerError, LowerPurge, LowerTier, Piece, Position, Reader, Readers, Record, Tail, TierFigures,
};
use larder_admin::instances::{Fleet, Told};
use tokio::sync::watch;

/// Puts a tier out of reach, and back. Clones are one.
#[derive(Clone, Debug)]
pub(crate) struct Breaker(Arc<watch::Sender<bool>>);

impl Breaker {
    /// In reach.
    pub(crate) fn new() -> Breaker {
        Breaker(Arc::new(watch::Sender::new(false)))
    }

    pub(crate) fn is_broken(&self) -> bool {
        *self.0.borrow()
    }

    pub(crate) fn set(&self, is_broken: bool) {
        self.0.send_replace(is_broken);
    }

    /// Ready once it is broken.
    fn broken(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut state = self.0.subscribe();
        async move {
            // Whoever asks has the tier, and with it the sender.
            state.wait_for(|is_broken| *is_broken).await.ok();
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("it was put out of reach from the console")]
struct OutOfReach;

/// A tier with a breaker before it.
pub(crate) struct Breakable<T> {
    tier: T,
    breaker: Breaker,
}

impl<T> Breakable<T> {
    pub(crate) fn new(tier: T, breaker: Breaker) -> Breakable<T> {
        Breakable { tier, breaker }
    }

    /// What `call` answers, or that the tier is out of reach as soon as it is.
    fn unless_broken<'a, A: Send + 'a>(&self, call: Answering<'a, A>) -> Answering<'a, A> {
        let broken = self.breaker.broken();
        Box::pin(async move {
            tokio::select! {
                biased;
                () = broken => Err(LowerError::Failed(Box::new(OutOfReach))),
                answer = call => answer,
            }
        })
    }
}

/// Who shares the tier is not known while that is out of reach.
impl<F: Fleet> Fleet for Breakable<F> {
    fn instances(&self) -> Told<'_> {
        match self.breaker.is_broken() {
            true => Box::pin(std::future::ready(Err(OutOfReach.to_string()))),
            false => self.tier.instances(),
        }
    }
}

impl<T: LowerTier> LowerTier for Breakable<T> {
    fn heads<'a>(&'a self, key: &'a str, log: LogPart) -> Answering<'a, Heads> {
        self.unless_broken(self.tier.heads(key, log))
    }

    fn piece(&self, body: BodyId, index: u32) -> Answering<'_, Bytes> {
        self.unless_broken(self.tier.piece(body, index))
    }

    fn write(&self, piece: Piece) -> Answering<'_, ()> {
        self.unless_broken(self.tier.write(piece))
    }

    fn commit<'a>(&'a self, key: &'a str, record: Record, most: usize) -> Answering<'a, Commit> {
        self.unless_broken(self.tier.commit(key, record, most))
    }

    fn discard(&self, body: BodyId, pieces: u32) -> Answering<'_, ()> {
        self.unless_broken(self.tier.discard(body, pieces))
    }

    fn append<'a>(&'a self, purges: &'a [LowerPurge]) -> Answering<'a, Position> {
        self.unless_broken(self.tier.append(purges))
    }

    fn copies(&self, position: Position) -> Answering<'_, Copies> {
        self.unless_broken(self.tier.copies(position))
    }

    fn figures(&self) -> TierFigures {
        self.tier.figures()
    }

    fn tail(&self, since: Option<Position>) -> Answering<'_, Tail> {
        self.unless_broken(self.tier.tail(since))
    }

    fn readers(&self) -> Option<&dyn Readers> {
        self.tier.readers().map(|_| self as &dyn Readers)
    }

    fn lease<'a>(
        &'a self,
        key: &'a str,
        wanted: &'a str,
        log: LogPart,
        length: Duration,
    ) -> Answering<'a, LeaseAnswer> {
        self.unless_broken(self.tier.lease(key, wanted, log, length))
    }
}

impl<T: LowerTier> Breakable<T> {
    /// The tier's own readers.
    fn own_readers(&self) -> &dyn Readers {
        // `readers` gives this one only where there are some, and a tier always says the same.
        self.tier.readers().expect("a tier that has had readers has them")
    }
}

impl<T: LowerTier> Readers for Breakable<T> {
    fn follow(&self, since: Position, most: Duration) -> Answering<'_, Tail> {
        self.unless_broken(self.own_readers().follow(since, most))
    }

    fn renew<'a>(&'a self, reader: &'a Reader, read: Option<Position>) -> Answering<'a, Position> {
        self.unless_broken(self.own_readers().renew(reader, read))
    }

    fn leave<'a>(&'a self, reader: &'a Reader) -> Answering<'a, ()> {
        self.unless_broken(self.own_readers().leave(reader))
    }

    fn forget<'a>(&'a self, name: &'a str, whom: Forget) -> Answering<'a, Forgotten> {
        self.unless_broken(self.own_readers().forget(name, whom))
    }

    fn holds(&self, position: Position, most: Duration) -> Answering<'_, Holds> {
        self.unless_broken(self.own_readers().holds(position, most))
    }
}

#[cfg(test)]
mod tests {
    use larder::{Clock, lower::InProcess};
    use tokio::time::Instant;

    use super::*;

    fn breakable() -> (Breakable<InProcess>, Breaker) {
        let breaker = Breaker::new();
        (Breakable::new(InProcess::new(Clock::system()).with_readers(), breaker.clone()), breaker)
    }

    #[tokio::test]
    async fn out_of_reach_nothing_is_answered_and_in_reach_all_is() {
        let (tier, breaker) = breakable();
        for is_broken in [false, true, false] {
            breaker.set(is_broken);
            assert_eq!(breaker.is_broken(), is_broken);
            assert_eq!(tier.tail(None).await.is_err(), is_broken);
            assert_eq!(tier.heads("a", LogPart::Nothing).await.is_err(), is_broken);
            assert_eq!(tier.append(&[]).await.is_err(), is_broken);
            let readers = tier.readers().expect("those of the tier");
            let reader = Reader { id: 1, name: "one".to_owned() };
            assert_eq!(readers.renew(&reader, None).await.is_err(), is_broken);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_under_way_when_it_breaks_fails_then() {
        let (tier, breaker) = breakable();
        let end = tier.tail(None).await.expect("it is in reach").position;
        let readers = tier.readers().expect("those of the tier");
        let long = Duration::from_secs(60);
        let began = Instant::now();
        let breaking = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            breaker.set(true);
        };
        let (followed, ()) = tokio::join!(readers.follow(end, long), breaking);
        assert!(matches!(followed, Err(LowerError::Failed(_))), "{followed:?}");
        assert_eq!(began.elapsed(), Duration::from_secs(1));
    }
}
