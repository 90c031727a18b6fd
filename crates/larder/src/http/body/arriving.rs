//! Arriving: bytes on their way from the origin to any number of readers, and into the cache.
//!
//! ```text
//! origin ──push──▶ Filler ─▶ piece piece piece … ─┬─▶ reader A (at the third)
//!                    │                            └─▶ reader B (at the first)
//!                    └─ complete ─▶ StoredBody
//! ```
//!
//! While what arrives may still be stored, all of it is kept, and whoever joins begins at the first
//! byte. Once it may not (it grew too large, or there is no room), what every reader has had is let go.
//!
//! Readers do not wait for each other. The origin is read as fast as the fastest of them reads, a window ahead;
//! what the others have yet to read waits for them while there is room ([`Account`]). Where there is none, those who
//! can go on by themselves do so ([`Resume`](super::Resume)), those who do not read are cut off, and the others wait for
//! those who do.
//!
//! Once a body is complete, its readers go on reading the pieces that are stored.
//!
//! Wakers are the code of whoever polls, and bytes may be the origin's own: neither is woken, cloned or
//! dropped under the lock ([`Changed`]).

use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use slab::Slab;
use tokio::time::{Instant, timeout};

use super::{
    super::error::{BoxError, BrokenOff},
    account::{Account, Piece, Reserved},
    readers::{ASK_EVERY, CutOff, Loan, Place, SMALL_BYTES, Seat, SharedBody, Source},
    stored::{LARGE_BYTES, PIECE_BYTES, Span, StoredBody, to_join},
};

/// What is not stored comes so far ahead of its fastest reader.
const WINDOW_BYTES: usize = 256 << 10;
/// So far where there is no room.
const LEAST_BYTES: usize = 16 << 10;

/// A body under way.
pub(crate) struct Arriving {
    /// None of others' code runs while it is held.
    state: Mutex<State>,
    /// Where its bytes are counted.
    account: Arc<Account>,
    /// What the origin said it will be.
    announced_len: Option<u64>,
    /// When it began to arrive.
    began: Instant,
}

/// How far a place in a body is from what has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Distance {
    /// It is here, or will not come any more.
    Here,
    /// At the body's rate so far it will be here in this time.
    Ahead(Duration),
}

struct State {
    /// What is held, in order; the first begins at byte `forgotten`.
    chunks: VecDeque<Chunk>,
    forgotten: u64,
    held: usize,
    /// What that takes on the heap.
    owned: usize,
    /// Room for what was announced and has yet to come.
    reserved: Reserved,
    /// Whether everything is kept, to be stored in the end.
    is_kept: bool,
    end: Option<End>,
    readers: Slab<Position>,
    /// How many there were.
    readers_so_far: u64,
    /// Where the filler waits for its readers.
    filler: Option<Waiting>,
}

/// A filler that waits for its readers.
struct Waiting {
    until: Until,
    waker: Waker,
}

/// What a filler waits for. If nobody wants more, it waits no longer, whatever it waits for.
#[derive(Clone, Copy)]
enum Until {
    NobodyReads,
    /// The fastest has read on.
    MayCome,
    /// The slowest has.
    HeldBelow(usize),
}

impl Until {
    fn is_over(self, next: Next) -> bool {
        match (self, next) {
            (_, Next::Nothing) => true,
            (Until::MayCome, next) => next != Next::Later,
            (Until::HeldBelow(least), Next::IfRoom { held, .. }) => held < least,
            (Until::HeldBelow(_), Next::More) => true,
            (Until::HeldBelow(_), Next::Later) | (Until::NobodyReads, _) => false,
        }
    }
}

struct Chunk {
    begins: u64,
    piece: Arc<Piece>,
}

impl Chunk {
    fn end(&self) -> u64 {
        self.begins + self.piece.len() as u64
    }
}

/// Where a reader is; beyond everything once it has had what it is to be given.
struct Position {
    at: u64,
    number: u64,
    /// It did not go on, and there was no room.
    is_cut_off: bool,
    /// It can go on by itself.
    can_resume: bool,
    /// It is to do so, from this byte on.
    left_behind_at: Option<u64>,
    waker: Option<Waker>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Complete,
    Broken,
}

/// What is to come of a body that arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// More may come: it is kept.
    More,
    /// More may come if there is room for it, beside what is held. `has_begun`: its readers have had some of it.
    IfRoom { held: usize, has_begun: bool },
    /// Its readers have enough to read.
    Later,
    /// Nobody wants it.
    Nothing,
}

/// What follows a change once the lock is free: who is to be woken, and what is to be dropped.
#[derive(Default)]
#[must_use = "whoever waits is woken by it"]
struct Changed {
    /// Most bodies have one reader.
    reader: Option<Waker>,
    readers: Vec<Waker>,
    filler: Option<Waker>,
    let_go: Vec<Chunk>,
}

impl Changed {
    fn wakes_reader(&mut self, waker: Waker) {
        match &self.reader {
            None => self.reader = Some(waker),
            Some(_) => self.readers.push(waker),
        }
    }

    /// Call it with the lock free.
    fn tell(self) {
        let Changed { reader, readers, filler, let_go } = self;
        reader.into_iter().chain(readers).chain(filler).for_each(Waker::wake);
        drop(let_go);
    }
}

impl State {
    fn arrived(&self) -> u64 {
        self.forgotten + self.held as u64
    }

    fn wake_readers(&mut self, changed: &mut Changed) {
        for (_, place) in &mut self.readers {
            if let Some(waker) = place.waker.take() {
                changed.wakes_reader(waker);
            }
        }
    }

    fn next(&self) -> Next {
        let fastest = self.wanting().map(|place| place.at).max();
        let Some(fastest) = fastest.or(self.is_kept.then_some(0)) else { return Next::Nothing };
        if self.is_kept {
            return Next::More;
        }
        match usize::try_from(self.arrived().saturating_sub(fastest)) {
            Ok(ahead) if ahead < WINDOW_BYTES => {
                Next::IfRoom { held: self.held, has_begun: self.arrived() > 0 }
            }
            _ => Next::Later,
        }
    }

    fn is_wanted(&self) -> bool {
        self.wanting().next().is_some()
    }

    /// One that has had all it is to be given, or was cut off, wants nothing.
    fn wanting(&self) -> impl Iterator<Item = &Position> {
        self.readers.iter().map(|(_, place)| place).filter(|place| place.at != u64::MAX)
    }

    /// The slowest reader, if it holds up the fastest and can go on by itself, does so: what is held for it is let
    /// go.
    fn leave_behind(&mut self, changed: &mut Changed) -> bool {
        let Some(fastest) = self.wanting().map(|place| place.at).max() else { return false };
        let places = self.readers.iter_mut().map(|(_, place)| place);
        let Some(slowest) = places.min_by_key(|place| place.at) else { return false };
        if !slowest.can_resume || fastest.saturating_sub(slowest.at) < WINDOW_BYTES as u64 {
            return false;
        }
        slowest.left_behind_at = Some(mem::replace(&mut slowest.at, u64::MAX));
        if let Some(waker) = slowest.waker.take() {
            changed.wakes_reader(waker);
        }
        self.forget(changed);
        true
    }

    /// Lets go of what every reader has had.
    fn forget(&mut self, changed: &mut Changed) {
        if !self.is_kept {
            let needed = self.readers.iter().map(|(_, place)| place.at).min();
            let needed = needed.unwrap_or(u64::MAX);
            while let Some(chunk) = self.chunks.pop_front_if(|chunk| chunk.end() <= needed) {
                self.held -= chunk.piece.len();
                self.owned -= chunk.piece.capacity();
                self.forgotten = chunk.end();
                changed.let_go.push(chunk);
            }
        }
        let next = self.next();
        if let Some(filler) = self.filler.take_if(|filler| filler.until.is_over(next)) {
            changed.filler = Some(filler.waker);
        }
    }

    /// The piece with the byte `at`, and where in it that is.
    fn piece_at(&self, at: u64) -> Option<(&Arc<Piece>, usize)> {
        let chunk = self.chunks.get(self.chunks.partition_point(|chunk| chunk.end() <= at))?;
        let skipped = usize::try_from(at.checked_sub(chunk.begins)?).ok()?;
        Some((&chunk.piece, skipped))
    }

    fn position(&mut self, place: Place) -> Option<&mut Position> {
        self.readers.get_mut(place.id).filter(|position| position.number == place.number)
    }
}

impl Arriving {
    /// `len`: what the origin said it will be, in bytes. `reserved`: room for it.
    pub(crate) fn new(len: Option<u64>, reserved: Reserved) -> (Filler, Arc<Arriving>) {
        let account = Arc::clone(reserved.account());
        let state = State {
            chunks: VecDeque::new(),
            forgotten: 0,
            held: 0,
            owned: 0,
            reserved,
            is_kept: true,
            end: None,
            readers: Slab::new(),
            readers_so_far: 0,
            filler: None,
        };
        let state = Mutex::new(state);
        let began = Instant::now();
        let arriving = Arc::new(Arriving { state, account, announced_len: len, began });
        (Filler { arriving: Arc::clone(&arriving), is_done: false }, arriving)
    }

    /// How long it will be, where that is known.
    pub(crate) fn len(&self) -> Option<u64> {
        let state = self.lock();
        match state.end {
            Some(End::Complete) => Some(state.arrived()),
            Some(End::Broken) | None => self.announced_len,
        }
    }

    /// How far the byte at this place is.
    pub(crate) fn distance(&self, place: u64) -> Distance {
        let (arrived, has_ended) = {
            let state = self.lock();
            (state.arrived(), state.end.is_some())
        };
        if has_ended || place < arrived {
            return Distance::Here;
        }
        let so_far = self.began.elapsed().as_secs_f64();
        let left = (place - arrived) as f64 * so_far / arrived.max(1) as f64;
        Distance::Ahead(Duration::try_from_secs_f64(left).unwrap_or(Duration::MAX))
    }

    /// Whether it ended before it was whole: who comes only now had better ask anew.
    pub(crate) fn is_broken(&self) -> bool {
        self.lock().end == Some(End::Broken)
    }

    /// A reader of `span`. `None`: its first bytes are gone.
    pub(crate) fn read(self: &Arc<Self>, span: Span) -> Option<BodyReader> {
        let mut state = self.lock();
        if span.start < state.forgotten {
            return None;
        }
        state.readers_so_far += 1;
        let number = state.readers_so_far;
        let position = Position {
            at: span.start,
            number,
            is_cut_off: false,
            can_resume: false,
            left_behind_at: None,
            waker: None,
        };
        let place = Place { id: state.readers.insert(position), number };
        drop(state);
        let left = span.len.or(self.len().map(|len| len.saturating_sub(span.start)));
        let shared: Weak<Arriving> = Arc::downgrade(self);
        let source = Source::Arriving(shared, place);
        let seat = Seat::new(&self.account, source, Weak::new());
        Some(BodyReader { arriving: Arc::clone(self), place, seat, left })
    }

    /// The bytes of `span`, shared with it. `None`: not all of them are here, not yet or not any more.
    pub(crate) fn slices(&self, span: Span) -> Option<Vec<Bytes>> {
        let state = self.lock();
        let (mut at, mut left) = (span.start, span.len?);
        let mut slices = Vec::new();
        while left > 0 {
            let (piece, skipped) = state.piece_at(at)?;
            let end = usize::try_from(left)
                .map_or(piece.len(), |left| piece.len().min(skipped.saturating_add(left)));
            let slice = piece.slice(skipped..end);
            at += slice.len() as u64;
            left -= slice.len() as u64;
            slices.push(slice);
        }
        Some(slices)
    }

    fn change(&self, change: impl FnOnce(&mut State, &mut Changed)) {
        let mut changed = Changed::default();
        change(&mut self.lock(), &mut changed);
        changed.tell();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock can panic half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SharedBody for Arriving {
    fn held_for(&self, place: Place) -> usize {
        let mut state = self.lock();
        if state.is_kept {
            return 0;
        }
        let Some(Position { at, .. }) = state.position(place) else { return 0 };
        let at = *at;
        let waiting = state.chunks.iter().filter(|chunk| chunk.end() > at);
        waiting.map(|chunk| chunk.piece.loose()).sum()
    }

    fn cut_off(&self, place: Place) {
        self.change(|state, changed| {
            let Some(position) = state.position(place) else { return };
            (position.at, position.is_cut_off) = (u64::MAX, true);
            if let Some(waker) = position.waker.take() {
                changed.wakes_reader(waker);
            }
            state.forget(changed);
        });
    }
}

impl fmt::Debug for Arriving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arriving").field("len", &self.announced_len).finish_non_exhaustive()
    }
}

/// The right, and the duty, to bring a body to its end. Dropping it before breaks the body off: its
/// readers get an error, and nobody takes for whole what is not.
pub(crate) struct Filler {
    arriving: Arc<Arriving>,
    is_done: bool,
}

impl Filler {
    /// Copies `chunk`, which may be a small part of a large buffer.
    pub(crate) fn push(&self, chunk: &[u8]) {
        if chunk.is_empty() || self.gather(chunk) {
            return;
        }
        chunk.chunks(PIECE_BYTES).for_each(|part| self.add(part));
    }

    fn add(&self, chunk: &[u8]) {
        let piece = Arc::new(Piece::copied(chunk, &self.arriving.account));
        self.arriving.change(|state, changed| {
            let begins = state.arrived();
            state.held += piece.len();
            state.owned += piece.capacity();
            state.reserved.came(piece.len());
            state.chunks.push_back(Chunk { begins, piece });
            state.wake_readers(changed);
            state.forget(changed);
        });
    }

    /// Adds what is small to the last piece, where no reader holds that.
    fn gather(&self, chunk: &[u8]) -> bool {
        if chunk.len() > SMALL_BYTES {
            return false;
        }
        let mut is_gathered = false;
        self.arriving.change(|state, changed| {
            let last = state.chunks.back_mut().and_then(|last| Arc::get_mut(&mut last.piece));
            let Some(last) = last.filter(|last| last.len() + chunk.len() <= LARGE_BYTES) else {
                return;
            };
            let before = last.capacity();
            last.append(chunk);
            state.owned += last.capacity() - before;
            state.held += chunk.len();
            state.reserved.came(chunk.len());
            state.wake_readers(changed);
            state.forget(changed);
            is_gathered = true;
        });
        is_gathered
    }

    /// How many bytes there were so far.
    pub(crate) fn arrived(&self) -> u64 {
        self.arriving.lock().arrived()
    }

    /// Whether anybody reads it.
    pub(crate) fn is_read(&self) -> bool {
        self.arriving.lock().is_wanted()
    }

    /// Whether what is here of it has room, all of it being kept.
    pub(crate) fn may_be_kept(&self) -> bool {
        let owned = self.arriving.lock().owned;
        self.arriving.account.fits(owned, 0)
    }

    /// It will not be stored: from now on only what its readers have not had yet is held.
    pub(crate) fn keep_no_longer(&self) {
        self.arriving.change(|state, changed| {
            state.is_kept = false;
            state.reserved.release();
            state.forget(changed);
        });
    }

    /// Waits until there is room for more. False: nobody reads it any more, nor is it kept.
    ///
    /// # Panics
    ///
    /// If it has to wait for room on a runtime without timers.
    pub(crate) async fn room(&self) -> bool {
        let account = &self.arriving.account;
        loop {
            let next = self.arriving.lock().next();
            match next {
                Next::More => return true,
                Next::Nothing => return false,
                Next::Later => self.wait(Until::MayCome).await,
                Next::IfRoom { .. } if !account.is_full() => return true,
                Next::IfRoom { .. } if self.leave_behind() => {}
                Next::IfRoom { held, has_begun } => {
                    account.relieve();
                    let least = match account.is_overfull() {
                        false => LEAST_BYTES,
                        // Those who have read all there was go on; a new one waits.
                        true => usize::from(has_begun),
                    };
                    if held < least || !account.is_full() {
                        return true;
                    }
                    // Others make room as well.
                    timeout(ASK_EVERY, self.wait(Until::HeldBelow(least))).await.ok();
                }
            }
        }
    }

    fn leave_behind(&self) -> bool {
        let mut is_left_behind = false;
        self.arriving.change(|state, changed| is_left_behind = state.leave_behind(changed));
        is_left_behind
    }

    /// Waits until nobody reads any more what is no longer kept.
    pub(crate) async fn unwanted(&self) {
        self.wait(Until::NobodyReads).await;
    }

    async fn wait(&self, until: Until) {
        poll_fn(|context| self.poll_until(until, context)).await;
    }

    fn poll_until(&self, until: Until, context: &Context<'_>) -> Poll<()> {
        if until.is_over(self.arriving.lock().next()) {
            return Poll::Ready(());
        }
        let waiting = Waiting { until, waker: context.waker().clone() };
        let (polled, other) = {
            let mut state = self.arriving.lock();
            // It may have changed in between.
            match until.is_over(state.next()) {
                true => (Poll::Ready(()), Some(waiting)),
                false => (Poll::Pending, state.filler.replace(waiting)),
            }
        };
        drop(other);
        polled
    }

    /// It is whole. `None`: but not kept.
    pub(crate) fn complete(mut self) -> Option<StoredBody> {
        self.is_done = true;
        let mut is_kept = false;
        self.arriving.change(|state, changed| {
            state.end = Some(End::Complete);
            state.reserved.release();
            state.wake_readers(changed);
            is_kept = state.is_kept;
        });
        if !is_kept {
            return None;
        }
        self.join_parts();
        let mut parts = Vec::new();
        self.arriving.change(|state, changed| {
            parts.extend(state.chunks.iter().map(|chunk| Arc::clone(&chunk.piece)));
            // From now on its readers let go of what they have had.
            state.is_kept = false;
            state.forget(changed);
        });
        Some(StoredBody::of(parts))
    }

    /// Joins small parts to larger pieces, one after the other: nothing is added any more, and what is kept is not
    /// let go. A short body becomes one piece.
    fn join_parts(&self) {
        let is_short = self.arrived() <= PIECE_BYTES as u64;
        let mut first = 0;
        loop {
            let parts: Vec<_> = {
                let state = self.arriving.lock();
                let parts = || state.chunks.range(first..).map(|chunk| &chunk.piece);
                let owns_more = |part: &Arc<Piece>| part.capacity() > part.len();
                let count = match is_short {
                    true if state.chunks.len() > 1 || parts().any(owns_more) => state.chunks.len(),
                    true => 0,
                    false => to_join(parts()),
                };
                if first >= state.chunks.len() {
                    return;
                }
                parts().take(count).map(Arc::clone).collect()
            };
            if !parts.is_empty() {
                let mut joined = Vec::with_capacity(parts.iter().map(|part| part.len()).sum());
                parts.iter().for_each(|part| joined.extend_from_slice(part.bytes()));
                let joined = Arc::new(Piece::new(joined, &self.arriving.account));
                self.arriving.change(|state, changed| {
                    let begins = state.chunks[first].begins;
                    state.owned += joined.capacity();
                    state.owned -= parts.iter().map(|part| part.capacity()).sum::<usize>();
                    let parts = state.chunks.drain(first..first + parts.len());
                    changed.let_go.extend(parts);
                    state.chunks.insert(first, Chunk { begins, piece: joined });
                });
            }
            first += 1;
        }
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        self.arriving.change(|state, changed| {
            state.end = Some(End::Broken);
            state.reserved.release();
            state.wake_readers(changed);
        });
    }
}

/// One reader of a body under way.
pub(crate) struct BodyReader {
    arriving: Arc<Arriving>,
    place: Place,
    seat: Arc<Seat>,
    /// Bytes it is still to be given, where that is known.
    left: Option<u64>,
}

impl BodyReader {
    /// How many bytes that is, where it is known.
    pub(super) fn left(&self) -> Option<u64> {
        self.left
    }

    pub(super) fn loan(&self) -> Loan {
        Loan::of_seat(&self.seat)
    }

    /// It can go on by itself, should the others leave it behind.
    pub(super) fn can_resume(&mut self) {
        if let Some(position) = self.arriving.lock().position(self.place) {
            position.can_resume = true;
        }
    }

    /// From which byte on it is to go on by itself. `None`: it is not left behind.
    pub(super) fn left_behind_at(&self) -> Option<u64> {
        self.arriving.lock().readers[self.place.id].left_behind_at
    }

    /// What comes next. Pending as well where it is [left behind](BodyReader::left_behind_at).
    pub(super) fn poll_chunk(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, BoxError>>> {
        // What was announced is here, and that is all it will ever be given: what the origin sends
        // beyond that, or how it ends, is nothing to this reader.
        if self.left == Some(0) {
            return Poll::Ready(None);
        }
        let next = self.next_chunk(None);
        match next {
            Poll::Ready(_) => next,
            // It may have come in between.
            Poll::Pending => self.next_chunk(Some(context.waker().clone())),
        }
    }

    /// What comes next, and who is woken where that is to be waited for.
    fn next_chunk(&mut self, mut waker: Option<Waker>) -> Poll<Option<Result<Bytes, BoxError>>> {
        let mut state = self.arriving.lock();
        let Position { at, is_cut_off, left_behind_at, .. } = state.readers[self.place.id];
        if left_behind_at.is_some() {
            return Poll::Pending;
        }
        if is_cut_off {
            return Poll::Ready(Some(Err(Box::new(CutOff))));
        }
        if let Some((piece, skipped)) = state.piece_at(at) {
            let piece = Arc::clone(piece);
            let mut end = piece.len();
            if let Some(left) = &mut self.left {
                let most = usize::try_from(*left).unwrap_or(usize::MAX);
                end = end.min(skipped.saturating_add(most));
                *left -= (end - skipped) as u64;
            }
            let count = end - skipped;
            let is_done = self.left == Some(0);
            // A reader that has had everything holds nothing back, even if it stays a while.
            state.readers[self.place.id].at = if is_done { u64::MAX } else { at + count as u64 };
            let mut changed = Changed::default();
            state.forget(&mut changed);
            drop(state);
            changed.tell();
            let chunk = piece.slice(skipped..end);
            self.seat.gave(&piece, count);
            return Poll::Ready(Some(Ok(chunk)));
        }
        match state.end {
            Some(End::Complete) => Poll::Ready(None),
            Some(End::Broken) => Poll::Ready(Some(Err(Box::new(BrokenOff)))),
            None => {
                self.seat.waits();
                if waker.is_some() {
                    // What was there is dropped when the lock is free, as everything passed in here is.
                    mem::swap(&mut waker, &mut state.readers[self.place.id].waker);
                }
                Poll::Pending
            }
        }
    }
}

impl Drop for BodyReader {
    fn drop(&mut self) {
        self.seat.leaves();
        let mut place = None;
        self.arriving.change(|state, changed| {
            place = Some(state.readers.remove(self.place.id));
            state.forget(changed);
        });
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::Future,
        pin::Pin,
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use http_body::Body as _;
    use http_body_util::BodyExt;

    use super::{super::Body, *};

    /// The code of others: it notes whether it ran while the body was locked.
    struct Others {
        arriving: Arc<Arriving>,
        woken: AtomicUsize,
        ran_under_lock: AtomicUsize,
    }

    impl Others {
        fn of(arriving: &Arc<Arriving>) -> Arc<Others> {
            let (woken, ran_under_lock) = (AtomicUsize::new(0), AtomicUsize::new(0));
            Arc::new(Others { arriving: Arc::clone(arriving), woken, ran_under_lock })
        }

        fn waker(self: &Arc<Self>) -> Waker {
            futures_util::task::waker(Arc::new(Theirs(Arc::clone(self))))
        }

        fn bytes(self: &Arc<Self>) -> Bytes {
            Bytes::from_owner(Theirs(Arc::clone(self)))
        }

        fn runs(&self) {
            if self.arriving.state.try_lock().is_err() {
                self.ran_under_lock.fetch_add(1, Ordering::Relaxed);
            }
        }

        fn check(&self, woken: usize) {
            assert_eq!(self.ran_under_lock.load(Ordering::Relaxed), 0);
            assert_eq!(self.woken.swap(0, Ordering::Relaxed), woken);
        }
    }

    /// A waker that runs its task's code where it is woken or dropped, and bytes that run code where they are
    /// dropped.
    struct Theirs(Arc<Others>);

    impl futures_util::task::ArcWake for Theirs {
        fn wake_by_ref(this: &Arc<Theirs>) {
            this.0.woken.fetch_add(1, Ordering::Relaxed);
            this.0.runs();
        }
    }

    impl Drop for Theirs {
        fn drop(&mut self) {
            self.0.runs();
        }
    }

    impl AsRef<[u8]> for Theirs {
        fn as_ref(&self) -> &[u8] {
            &[7; 100]
        }
    }

    fn polls(body: &mut Body, waker: Waker) -> bool {
        Pin::new(body).poll_frame(&mut Context::from_waker(&waker)).is_ready()
    }

    /// Where there is room for everything.
    fn arriving(len: Option<u64>) -> (Filler, Arc<Arriving>) {
        arriving_in(&Account::of(usize::MAX), len)
    }

    fn arriving_in(account: &Arc<Account>, len: Option<u64>) -> (Filler, Arc<Arriving>) {
        Arriving::new(len, account.reserve(len.unwrap_or(0)).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn no_code_of_others_runs_while_a_body_is_locked() {
        let (filler, arriving) = arriving(None);
        let others = Others::of(&arriving);
        let mut readers = [(); 3].map(|()| Body::arriving(arriving.read(Span::WHOLE).unwrap()));
        for body in &mut readers {
            // The second waker takes the first one's place.
            assert!(!polls(body, others.waker()) && !polls(body, others.waker()));
        }
        filler.push(&others.bytes());
        others.check(3);
        filler.keep_no_longer();
        for body in &mut readers {
            // The last of them lets go of the bytes.
            assert!(polls(body, others.waker()) && !polls(body, others.waker()));
        }
        let [mut reading, idle, leaving] = readers;
        filler.push(&bytes(0..WINDOW_BYTES));
        others.check(3);
        let mut room = Box::pin(filler.room());
        for _ in 0..2 {
            let waker = others.waker();
            assert!(room.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
        drop((idle, leaving));
        others.check(0);
        while polls(&mut reading, others.waker()) {}
        others.check(1);
        let waker = others.waker();
        assert!(room.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
        drop(room);
        let mut unwanted = Box::pin(filler.unwanted());
        for _ in 0..2 {
            let waker = others.waker();
            assert!(unwanted.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
        drop(reading);
        others.check(1);
        drop(unwanted);
    }

    #[test]
    fn no_code_of_others_runs_while_a_body_that_ends_is_locked() {
        for is_whole in [true, false] {
            let (filler, arriving) = arriving(None);
            let others = Others::of(&arriving);
            let mut body = Body::arriving(arriving.read(Span::WHOLE).unwrap());
            filler.push(&others.bytes());
            assert!(polls(&mut body, others.waker()) && !polls(&mut body, others.waker()));
            if is_whole {
                // What it is kept in is another's from now on.
                assert!(filler.complete().is_some());
            } else {
                drop(filler);
            }
            others.check(1);
        }
    }

    /// Bytes that tell their place, so that a mix-up shows.
    fn bytes(range: std::ops::Range<usize>) -> Bytes {
        range.map(|place| (place % 251) as u8).collect()
    }

    async fn read_all(reader: BodyReader) -> Result<Bytes, BoxError> {
        Body::arriving(reader).collect().await.map(|body| body.to_bytes())
    }

    #[tokio::test]
    async fn readers_that_join_late_still_get_the_first_byte() {
        let (filler, arriving) = arriving(None);
        filler.push(&bytes(0..10));
        let early = tokio::spawn(read_all(arriving.read(Span::WHOLE).unwrap()));
        tokio::task::yield_now().await;
        filler.push(&bytes(10..30));
        let late = tokio::spawn(read_all(arriving.read(Span::WHOLE).unwrap()));
        filler.push(&bytes(30..31));
        let stored = filler.complete().unwrap();
        assert_eq!(early.await.unwrap().unwrap(), bytes(0..31));
        assert_eq!(late.await.unwrap().unwrap(), bytes(0..31));
        assert_eq!(stored.slices(Span::WHOLE).concat(), bytes(0..31));
    }

    #[tokio::test]
    async fn a_filler_that_goes_away_leaves_an_error_and_no_end() {
        let (filler, arriving) = arriving(Some(20));
        filler.push(&bytes(0..10));
        let mut body = Body::arriving(arriving.read(Span::WHOLE).unwrap());
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), bytes(0..10));
        drop(filler);
        assert!(body.frame().await.unwrap().is_err());
        assert!(arriving.is_broken());
        assert!(read_all(arriving.read(Span::WHOLE).unwrap()).await.is_err());
    }

    #[tokio::test]
    async fn a_part_is_whole_before_the_body_is() {
        let (filler, arriving) = arriving(Some(100));
        filler.push(&bytes(0..60));
        let part = Span { start: 50, len: Some(20) };
        let part = tokio::spawn(read_all(arriving.read(part).unwrap()));
        filler.push(&bytes(60..75));
        assert_eq!(part.await.unwrap().unwrap(), bytes(50..70));
        drop(filler);
    }

    #[tokio::test]
    async fn what_is_not_kept_goes_at_the_pace_of_its_fastest_reader_and_is_let_go_with_the_slowest()
     {
        let (filler, arriving) = arriving(None);
        let account = Arc::clone(&arriving.account);
        let mut slow = arriving.read(Span::WHOLE).map(Body::arriving).unwrap();
        let mut fast = arriving.read(Span::WHOLE).map(Body::arriving).unwrap();
        filler.keep_no_longer();
        let piece = bytes(0..WINDOW_BYTES);
        for _ in 0..10 {
            filler.push(&piece);
            let mut room = Box::pin(filler.room());
            assert!(futures_util::poll!(&mut room).is_pending(), "nobody has read it");
            assert!(window(&mut fast).await == piece);
            assert!(room.await);
        }
        assert_eq!(account.loose(), 10 * WINDOW_BYTES);
        for left in (0..10).rev() {
            assert!(window(&mut slow).await == piece);
            assert_eq!(account.loose(), left * WINDOW_BYTES);
        }
        assert!(arriving.read(Span::WHOLE).is_none(), "its first bytes are gone");
        drop((slow, fast));
        assert!(!filler.room().await, "nobody wants it");
        assert!(filler.complete().is_none());
    }

    /// The next bytes of it, as many as a window.
    async fn window(body: &mut Body) -> Vec<u8> {
        let mut read = Vec::new();
        while read.len() < WINDOW_BYTES {
            read.extend(body.frame().await.unwrap().unwrap().into_data().unwrap());
        }
        read
    }

    /// A body that is not kept, and room for four windows of it.
    fn crowded() -> (Filler, Arc<Arriving>, Arc<Account>) {
        let account = Account::of(8 * WINDOW_BYTES);
        let (filler, arriving) = arriving_in(&account, None);
        filler.keep_no_longer();
        (filler, arriving, account)
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_does_not_read_is_cut_off_but_only_where_there_is_no_room() {
        let (filler, arriving, account) = crowded();
        let mut idle = Body::arriving(arriving.read(Span::WHOLE).unwrap());
        let mut fast = Body::arriving(arriving.read(Span::WHOLE).unwrap());
        let piece = bytes(0..WINDOW_BYTES);
        for _ in 0..4 {
            assert!(filler.room().await);
            filler.push(&piece);
            window(&mut fast).await;
            tokio::time::advance(Duration::from_secs(3600)).await;
        }
        assert!(filler.room().await);
        filler.push(&piece);
        window(&mut fast).await;
        assert_eq!((account.loose(), account.cut.get()), (5 * WINDOW_BYTES, 0));
        assert!(filler.room().await, "there is room once it is gone");
        assert_eq!((account.loose(), account.cut.get()), (0, 1));
        assert!(idle.frame().await.unwrap().unwrap_err().is::<CutOff>());
        filler.push(&piece);
        assert!(window(&mut fast).await == piece);
    }

    #[tokio::test(start_paused = true)]
    async fn where_there_is_no_room_a_reader_that_goes_on_is_waited_for() {
        let (filler, arriving, account) = crowded();
        let mut slow = Body::arriving(arriving.read(Span::WHOLE).unwrap());
        let mut fast = Body::arriving(arriving.read(Span::WHOLE).unwrap());
        let piece = bytes(0..WINDOW_BYTES);
        for number in 0..20 {
            let began = tokio::time::Instant::now();
            let filling = async {
                assert!(filler.room().await);
                filler.push(&piece);
            };
            let reading = async {
                tokio::time::sleep(Duration::from_secs(2)).await;
                if number >= 4 {
                    window(&mut slow).await;
                }
            };
            tokio::join!(filling, reading);
            assert!(account.loose() <= 5 * WINDOW_BYTES);
            assert!(window(&mut fast).await == piece);
            assert!(began.elapsed() <= Duration::from_secs(3));
        }
        assert_eq!(account.cut.get(), 0);
        drop(fast);
        drop(filler);
        let mut left = 0;
        while let Some(Ok(frame)) = slow.frame().await {
            left += frame.into_data().unwrap().len();
        }
        assert_eq!(left, 4 * WINDOW_BYTES, "nothing is lost");
    }

    #[tokio::test]
    async fn what_comes_in_small_parts_is_gathered() {
        let (filler, arriving) = arriving(None);
        let account = Arc::clone(&arriving.account);
        let mut body = Body::arriving(arriving.read(Span::WHOLE).unwrap());
        for part in bytes(0..1000).chunks(10) {
            filler.push(part);
        }
        let parts = arriving.lock().chunks.len();
        assert!(parts <= 1000 / (LARGE_BYTES - 10) + 1, "{parts}");
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        let before = first.clone();
        filler.push(&bytes(1000..1001));
        assert_eq!(first, before, "what somebody holds does not change");
        drop((first, before));
        let stored = filler.complete().unwrap();
        assert_eq!(stored.slices(Span::WHOLE).concat(), bytes(0..1001));
        let piece = stored.piece().expect("a short body is one piece");
        assert_eq!(piece.capacity(), 1001);
        assert_eq!(account.loose(), 1001, "and nothing else is left");
    }

    #[tokio::test]
    async fn a_reader_that_has_had_its_part_holds_nobody_up() {
        let (filler, arriving) = arriving(None);
        let part = Span { start: 0, len: Some(10) };
        let mut part = Body::arriving(arriving.read(part).unwrap());
        let mut whole = Body::arriving(arriving.read(Span::WHOLE).unwrap());
        filler.keep_no_longer();
        filler.push(&bytes(0..WINDOW_BYTES));
        assert_eq!(part.frame().await.unwrap().unwrap().into_data().unwrap(), bytes(0..10));
        assert!(part.is_end_stream());
        window(&mut whole).await;
        assert!(filler.room().await);
        assert_eq!(arriving.lock().held, 0);
    }

    #[tokio::test]
    async fn a_body_that_was_announced_is_over_with_its_last_byte_however_it_ends() {
        let (filler, arriving) = arriving(Some(10));
        let mut body = Body::arriving(arriving.read(Span::WHOLE).unwrap());
        filler.push(&bytes(0..12));
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), bytes(0..10));
        assert!(body.is_end_stream());
        drop(filler);
        assert!(body.frame().await.is_none());
    }

    #[tokio::test]
    async fn bytes_count_while_anybody_has_them() {
        let account = Account::of(800);
        let (filler, arriving) = arriving_in(&account, None);
        filler.push(&bytes(0..60));
        assert!(account.fits(0, 140) && !account.fits(0, 141));
        let mut slow = Body::arriving(arriving.read(Span::WHOLE).unwrap());
        let stored = filler.complete().unwrap();
        stored.enter_store();
        assert_eq!(account.loose(), 0, "the store counts them");
        stored.leave_store();
        drop(stored);
        assert_eq!(account.loose(), 60, "a reader of them is left");
        let chunk = slow.frame().await.unwrap().unwrap().into_data().unwrap();
        drop((slow, arriving));
        assert_eq!((account.loose(), chunk.len()), (60, 60));
        drop(chunk);
        assert_eq!(account.loose(), 0);

        let (filler, arriving) = arriving_in(&account, Some(200));
        let slow = arriving.read(Span::WHOLE).unwrap();
        filler.push(&bytes(0..60));
        assert!(!account.fits(0, 1), "there is room for all that was announced, and for no more");
        drop(filler);
        assert!(account.fits(0, 140), "a reader of what came is left");
        drop((slow, arriving));
        assert_eq!(account.loose(), 0);
    }
}
