//! Arriving: bytes on their way from the origin to any number of readers, and into the cache.
//!
//! ```text
//! origin ──push──▶ Filler ─▶ chunk chunk chunk … ─┬─▶ reader A (at the third)
//!                    │                            └─▶ reader B (at the first)
//!                    └─ complete ─▶ StoredBody
//! ```
//!
//! While what arrives may still be stored, all of it is kept, and whoever joins begins at the first
//! byte. Once it may not (it grew too large), what every reader has had is let go, and the origin is
//! read no faster than the slowest of them reads. One that does not read at all, while others wait for
//! it, is left behind after a while.
//!
//! What all bodies under way hold is counted in their [`Room`]; once a body is stored, its readers go
//! on reading the stored bytes, and it holds none of its own.
//!
//! Wakers are the code of whoever polls, and bytes may be the origin's own: neither is woken, cloned or
//! dropped under the lock ([`Changed`]).

use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use slab::Slab;
use tokio::time::{Instant, timeout};

use super::{
    super::error::{BoxError, BrokenOff},
    stored::{Span, StoredBody},
};

/// What is not stored is held for its readers up to so many bytes.
const WINDOW_BYTES: usize = 256 << 10;
/// How long the readers of a body that is not stored wait for the one among them that does not read.
const PATIENCE: Duration = Duration::from_secs(10);

/// What all bodies under way may hold together. Those that are kept while it is full are kept no
/// longer; what their readers wait for is held all the same, a window each.
#[derive(Debug)]
pub(crate) struct Room {
    held: AtomicUsize,
    max: usize,
}

impl Room {
    pub(crate) fn new(max: usize) -> Arc<Room> {
        Arc::new(Room { held: AtomicUsize::new(0), max })
    }

    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Whether so many bytes more would go in.
    pub(crate) fn fits(&self, bytes: u64) -> bool {
        usize::try_from(bytes).is_ok_and(|bytes| self.held().saturating_add(bytes) <= self.max)
    }

    fn take(&self, bytes: usize) {
        self.held.fetch_add(bytes, Ordering::Relaxed);
    }

    fn give_back(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// A body under way.
pub(crate) struct Arriving {
    /// None of others' code runs while it is held.
    state: Mutex<State>,
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
    /// Where what is held is counted; `None` once it is the stored body's.
    room: Option<Arc<Room>>,
    /// Whether everything is kept, to be stored in the end.
    is_kept: bool,
    end: Option<End>,
    readers: Slab<Position>,
    /// Where the filler waits for its readers.
    filler: Option<Waiting>,
}

/// A filler that waits until nobody reads any more, or until there is room.
struct Waiting {
    for_room: bool,
    waker: Waker,
}

struct Chunk {
    begins: u64,
    bytes: Bytes,
}

impl Chunk {
    fn end(&self) -> u64 {
        self.begins + self.bytes.len() as u64
    }
}

/// Where a reader is; beyond everything once it has had what it is to be given.
struct Position {
    at: u64,
    /// The others have gone on without it.
    is_left_behind: bool,
    waker: Option<Waker>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Complete,
    Broken,
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

    /// Whether more may come; `None`: not yet. It may not if nobody wants it.
    fn has_room(&self) -> Option<bool> {
        let is_wanted = self.is_wanted();
        if self.is_kept || (self.held < WINDOW_BYTES && is_wanted) {
            return Some(true);
        }
        (!is_wanted).then_some(false)
    }

    fn is_wanted(&self) -> bool {
        // One that has had all it is to be given, or was left behind, wants nothing.
        self.readers.iter().any(|(_, place)| place.at != u64::MAX)
    }

    /// Goes on without those who have not read for long, if somebody waits for them.
    fn leave_behind(&mut self, changed: &mut Changed) {
        let (forgotten, arrived) = (self.forgotten, self.arrived());
        let begun = self.chunks.front().map_or(forgotten, Chunk::end);
        if self.readers.iter().all(|(_, place)| place.at != arrived) {
            return;
        }
        for (_, place) in &mut self.readers {
            if place.at < begun {
                place.at = u64::MAX;
                place.is_left_behind = true;
                if let Some(waker) = place.waker.take() {
                    changed.wakes_reader(waker);
                }
            }
        }
        self.forget(changed);
    }

    /// Lets go of what every reader has had.
    fn forget(&mut self, changed: &mut Changed) {
        if self.is_kept {
            return;
        }
        let needed = self.readers.iter().map(|(_, place)| place.at).min();
        let needed = needed.unwrap_or(u64::MAX);
        while let Some(chunk) = self.chunks.pop_front_if(|chunk| chunk.end() <= needed) {
            self.held -= chunk.bytes.len();
            self.forgotten = chunk.end();
            if let Some(room) = &self.room {
                room.give_back(chunk.bytes.len());
            }
            changed.let_go.push(chunk);
        }
        let has_room = self.has_room();
        let is_over = |filler: &mut Waiting| has_room.is_some_and(|room| !room || filler.for_room);
        if let Some(filler) = self.filler.take_if(is_over) {
            changed.filler = Some(filler.waker);
        }
    }

    /// The bytes from `at` on to the end of the chunk they are in.
    fn chunk_at(&self, at: u64) -> Option<Bytes> {
        let chunk = self.chunks.get(self.chunks.partition_point(|chunk| chunk.end() <= at))?;
        let skipped = usize::try_from(at.checked_sub(chunk.begins)?).ok()?;
        Some(chunk.bytes.slice(skipped..))
    }
}

impl Drop for State {
    fn drop(&mut self) {
        if let Some(room) = &self.room {
            room.give_back(self.held);
        }
    }
}

impl Arriving {
    /// `len`: what the origin said it will be, in bytes.
    pub(crate) fn new(len: Option<u64>, room: &Arc<Room>) -> (Filler, Arc<Arriving>) {
        let state = State {
            chunks: VecDeque::new(),
            forgotten: 0,
            held: 0,
            room: Some(Arc::clone(room)),
            is_kept: true,
            end: None,
            readers: Slab::new(),
            filler: None,
        };
        let arriving = Arc::new(Arriving {
            state: Mutex::new(state),
            announced_len: len,
            began: Instant::now(),
        });
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
        let id =
            state.readers.insert(Position { at: span.start, is_left_behind: false, waker: None });
        drop(state);
        let left = span.len.or(self.len().map(|len| len.saturating_sub(span.start)));
        Some(BodyReader { arriving: Arc::clone(self), id, left })
    }

    /// The bytes of `span`, shared with it. `None`: not all of them are here, not yet or not any more.
    pub(crate) fn slices(&self, span: Span) -> Option<Vec<Bytes>> {
        let state = self.lock();
        let (mut at, mut left) = (span.start, span.len?);
        let mut slices = Vec::new();
        while left > 0 {
            let mut slice = state.chunk_at(at)?;
            slice.truncate(usize::try_from(left).unwrap_or(usize::MAX));
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
    pub(crate) fn push(&self, chunk: Bytes) {
        if chunk.is_empty() {
            return;
        }
        self.arriving.change(|state, changed| {
            if let Some(room) = &state.room {
                room.take(chunk.len());
            }
            let begins = state.arrived();
            state.held += chunk.len();
            state.chunks.push_back(Chunk { begins, bytes: chunk });
            state.wake_readers(changed);
            state.forget(changed);
        });
    }

    /// How many bytes there were so far.
    pub(crate) fn arrived(&self) -> u64 {
        self.arriving.lock().arrived()
    }

    /// Whether anybody reads it.
    pub(crate) fn is_read(&self) -> bool {
        self.arriving.lock().is_wanted()
    }

    /// It will not be stored: from now on only what its readers have not had yet is held.
    pub(crate) fn keep_no_longer(&self) {
        self.arriving.change(|state, changed| {
            state.is_kept = false;
            state.forget(changed);
        });
    }

    /// Waits until there is room for more. False: nobody reads it any more, nor is it kept.
    ///
    /// # Panics
    ///
    /// If it has to wait on a runtime without timers.
    pub(crate) async fn room(&self) -> bool {
        let mut has_room = self.arriving.lock().has_room();
        while has_room.is_none() {
            match timeout(PATIENCE, self.readers()).await {
                Ok(()) => {}
                Err(_) => self.arriving.change(State::leave_behind),
            }
            has_room = self.arriving.lock().has_room();
        }
        has_room.unwrap_or_default()
    }

    /// Waits until readers have made room, or left.
    async fn readers(&self) {
        poll_fn(|context| self.poll_until(|has_room| has_room.is_some(), true, context)).await;
    }

    /// Waits until nobody reads any more what is no longer kept.
    pub(crate) async fn unwanted(&self) {
        poll_fn(|context| self.poll_until(|has_room| has_room == Some(false), false, context))
            .await;
    }

    fn poll_until(
        &self,
        is_over: impl Fn(Option<bool>) -> bool,
        for_room: bool,
        context: &Context<'_>,
    ) -> Poll<()> {
        if is_over(self.arriving.lock().has_room()) {
            return Poll::Ready(());
        }
        let waiting = Waiting { for_room, waker: context.waker().clone() };
        let (polled, other) = {
            let mut state = self.arriving.lock();
            // It may have changed in between.
            match is_over(state.has_room()) {
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
        let mut kept = None;
        self.arriving.change(|state, changed| {
            state.end = Some(End::Complete);
            state.wake_readers(changed);
            if state.is_kept {
                let chunks = state.chunks.iter().map(|chunk| chunk.bytes.clone()).collect();
                kept = Some((chunks, state.arrived()));
            }
        });
        // Copied outside the lock: nothing is added any more, and what is kept is not let go.
        let (chunks, len) = kept?;
        let stored = StoredBody::of(chunks, len);
        let mut begins = 0;
        let pieces = stored.pieces().iter().map(|piece| {
            let chunk = Chunk { begins, bytes: piece.clone() };
            begins = chunk.end();
            chunk
        });
        let mut pieces: VecDeque<_> = pieces.collect();
        self.arriving.change(|state, changed| {
            mem::swap(&mut state.chunks, &mut pieces);
            if let Some(room) = state.room.take() {
                room.give_back(state.held);
            }
            // From now on its readers let go of what they have had.
            state.is_kept = false;
            state.forget(changed);
        });
        Some(stored)
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        self.arriving.change(|state, changed| {
            state.end = Some(End::Broken);
            state.wake_readers(changed);
        });
    }
}

/// One reader of a body under way.
pub(crate) struct BodyReader {
    arriving: Arc<Arriving>,
    id: usize,
    /// Bytes it is still to be given, where that is known.
    left: Option<u64>,
}

impl BodyReader {
    /// How many bytes that is, where it is known.
    pub(super) fn left(&self) -> Option<u64> {
        self.left
    }

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
        let Position { at, is_left_behind, .. } = state.readers[self.id];
        if is_left_behind {
            return Poll::Ready(Some(Err(Box::new(LeftBehind))));
        }
        if let Some(mut chunk) = state.chunk_at(at) {
            if let Some(left) = &mut self.left {
                chunk.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= chunk.len() as u64;
            }
            let is_done = self.left == Some(0);
            // A reader that has had everything holds nothing back, even if it stays a while.
            state.readers[self.id].at = if is_done { u64::MAX } else { at + chunk.len() as u64 };
            let mut changed = Changed::default();
            state.forget(&mut changed);
            drop(state);
            changed.tell();
            return Poll::Ready(Some(Ok(chunk)));
        }
        match state.end {
            Some(End::Complete) => Poll::Ready(None),
            Some(End::Broken) => Poll::Ready(Some(Err(Box::new(BrokenOff)))),
            None => {
                if waker.is_some() {
                    // What was there is dropped when the lock is free, as everything passed in here is.
                    mem::swap(&mut waker, &mut state.readers[self.id].waker);
                }
                Poll::Pending
            }
        }
    }
}

impl Drop for BodyReader {
    fn drop(&mut self) {
        let mut place = None;
        self.arriving.change(|state, changed| {
            place = Some(state.readers.remove(self.id));
            state.forget(changed);
        });
    }
}
/// A reader that did not read while others waited for it.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("this answer was not read for {PATIENCE:?}, and others share it")]
struct LeftBehind;

#[cfg(test)]
mod tests {
    use std::pin::Pin;

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

    #[tokio::test(start_paused = true)]
    async fn no_code_of_others_runs_while_a_body_is_locked() {
        let (filler, arriving) = Arriving::new(None, &Room::new(usize::MAX));
        let others = Others::of(&arriving);
        let mut readers = [(); 3].map(|()| Body::arriving(arriving.read(Span::WHOLE).unwrap()));
        for body in &mut readers {
            // The second waker takes the first one's place.
            assert!(!polls(body, others.waker()) && !polls(body, others.waker()));
        }
        filler.push(others.bytes());
        others.check(3);
        filler.keep_no_longer();
        for body in &mut readers {
            // The last of them lets go of the bytes.
            assert!(polls(body, others.waker()) && !polls(body, others.waker()));
        }
        let [mut reading, idle, leaving] = readers;
        filler.push(bytes(0..WINDOW_BYTES));
        filler.push(others.bytes());
        others.check(3);
        while polls(&mut reading, others.waker()) {}
        let mut room = Box::pin(filler.room());
        for _ in 0..2 {
            let waker = others.waker();
            assert!(room.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
        drop(leaving);
        tokio::time::advance(PATIENCE).await;
        let waker = others.waker();
        // It leaves the idle one behind.
        assert!(room.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
        drop((room, idle));
        others.woken.store(0, Ordering::Relaxed);
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
            let (filler, arriving) = Arriving::new(None, &Room::new(usize::MAX));
            let others = Others::of(&arriving);
            let mut body = Body::arriving(arriving.read(Span::WHOLE).unwrap());
            filler.push(others.bytes());
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
        let (filler, arriving) = Arriving::new(None, &Room::new(usize::MAX));
        filler.push(bytes(0..10));
        let early = tokio::spawn(read_all(arriving.read(Span::WHOLE).unwrap()));
        tokio::task::yield_now().await;
        filler.push(bytes(10..30));
        let late = tokio::spawn(read_all(arriving.read(Span::WHOLE).unwrap()));
        filler.push(bytes(30..31));
        let stored = filler.complete().unwrap();
        assert_eq!(early.await.unwrap().unwrap(), bytes(0..31));
        assert_eq!(late.await.unwrap().unwrap(), bytes(0..31));
        assert_eq!(stored.slices(Span::WHOLE).concat(), bytes(0..31));
    }

    #[tokio::test]
    async fn a_filler_that_goes_away_leaves_an_error_and_no_end() {
        let (filler, arriving) = Arriving::new(Some(20), &Room::new(usize::MAX));
        filler.push(bytes(0..10));
        let mut body = Body::arriving(arriving.read(Span::WHOLE).unwrap());
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), bytes(0..10));
        drop(filler);
        assert!(body.frame().await.unwrap().is_err());
        assert!(arriving.is_broken());
        assert!(read_all(arriving.read(Span::WHOLE).unwrap()).await.is_err());
    }

    #[tokio::test]
    async fn a_part_is_whole_before_the_body_is() {
        let (filler, arriving) = Arriving::new(Some(100), &Room::new(usize::MAX));
        filler.push(bytes(0..60));
        let part = Span { start: 50, len: Some(20) };
        let part = tokio::spawn(read_all(arriving.read(part).unwrap()));
        filler.push(bytes(60..75));
        assert_eq!(part.await.unwrap().unwrap(), bytes(50..70));
        drop(filler);
    }

    #[tokio::test]
    async fn what_is_not_kept_waits_for_its_slowest_reader_and_is_let_go() {
        let (filler, arriving) = Arriving::new(None, &Room::new(usize::MAX));
        let mut slow = Body::arriving(arriving.read(Span::WHOLE).unwrap());
        let mut fast = Body::arriving(arriving.read(Span::WHOLE).unwrap());
        filler.keep_no_longer();
        filler.push(bytes(0..WINDOW_BYTES));
        fast.frame().await.unwrap().unwrap();
        let mut room = Box::pin(filler.room());
        assert!(futures_util::poll!(&mut room).is_pending());
        slow.frame().await.unwrap().unwrap();
        assert!(room.await);
        assert_eq!(arriving.lock().held, 0);
        assert!(arriving.read(Span::WHOLE).is_none(), "its first bytes are gone");
        drop((slow, fast));
        assert!(!filler.room().await, "nobody wants it");
        assert!(filler.complete().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_does_not_read_is_left_behind_but_only_if_others_wait() {
        let (filler, arriving) = Arriving::new(None, &Room::new(usize::MAX));
        let mut idle = Body::arriving(arriving.read(Span::WHOLE).unwrap());
        filler.keep_no_longer();
        filler.push(bytes(0..WINDOW_BYTES));
        // Alone, it takes all the time it wants.
        assert!(timeout(PATIENCE * 3, filler.room()).await.is_err());

        let (filler, arriving) = Arriving::new(None, &Room::new(usize::MAX));
        let mut reading = Body::arriving(arriving.read(Span::WHOLE).unwrap());
        let mut other = Body::arriving(arriving.read(Span::WHOLE).unwrap());
        filler.keep_no_longer();
        filler.push(bytes(0..WINDOW_BYTES));
        reading.frame().await.unwrap().unwrap();
        assert!(timeout(PATIENCE - Duration::from_secs(1), filler.room()).await.is_err());
        assert!(timeout(PATIENCE, filler.room()).await.unwrap());
        filler.push(bytes(0..10));
        assert_eq!(reading.frame().await.unwrap().unwrap().into_data().unwrap(), bytes(0..10));
        assert!(other.frame().await.unwrap().is_err());
        drop(filler);
        assert!(idle.frame().await.unwrap().is_ok(), "what came before is still there");
    }

    #[tokio::test]
    async fn a_reader_that_leaves_holds_nobody_up() {
        let (filler, arriving) = Arriving::new(None, &Room::new(usize::MAX));
        let slow = arriving.read(Span::WHOLE).unwrap();
        let mut fast = Body::arriving(arriving.read(Span::WHOLE).unwrap());
        filler.keep_no_longer();
        filler.push(bytes(0..WINDOW_BYTES));
        fast.frame().await.unwrap().unwrap();
        let mut room = Box::pin(filler.room());
        assert!(futures_util::poll!(&mut room).is_pending());
        drop(slow);
        assert!(room.await);
    }

    #[tokio::test]
    async fn a_reader_that_has_had_its_part_holds_nobody_up() {
        let (filler, arriving) = Arriving::new(None, &Room::new(usize::MAX));
        let part = Span { start: 0, len: Some(10) };
        let mut part = Body::arriving(arriving.read(part).unwrap());
        let mut whole = Body::arriving(arriving.read(Span::WHOLE).unwrap());
        filler.keep_no_longer();
        filler.push(bytes(0..WINDOW_BYTES));
        assert_eq!(part.frame().await.unwrap().unwrap().into_data().unwrap(), bytes(0..10));
        assert!(part.is_end_stream());
        whole.frame().await.unwrap().unwrap();
        assert!(filler.room().await);
        assert_eq!(arriving.lock().held, 0);
    }

    #[tokio::test]
    async fn a_body_that_was_announced_is_over_with_its_last_byte_however_it_ends() {
        let (filler, arriving) = Arriving::new(Some(10), &Room::new(usize::MAX));
        let mut body = Body::arriving(arriving.read(Span::WHOLE).unwrap());
        filler.push(bytes(0..12));
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), bytes(0..10));
        assert!(body.is_end_stream());
        drop(filler);
        assert!(body.frame().await.is_none());
    }

    #[tokio::test]
    async fn room_is_taken_while_bytes_are_held_and_given_back_with_them() {
        let room = Room::new(100);
        let (filler, arriving) = Arriving::new(None, &room);
        filler.push(bytes(0..60));
        assert!(room.fits(40) && !room.fits(41));
        let mut slow = Body::arriving(arriving.read(Span::WHOLE).unwrap());
        // What is stored is counted there, and its readers read it there.
        let stored = filler.complete().unwrap();
        assert_eq!(room.held(), 0);
        let chunk = slow.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(chunk.as_ptr(), stored.pieces()[0].as_ptr());

        let (filler, arriving) = Arriving::new(None, &room);
        let slow = arriving.read(Span::WHOLE).unwrap();
        filler.push(bytes(0..60));
        drop(filler);
        assert_eq!(room.held(), 60, "a reader of it is left");
        drop((slow, arriving));
        assert_eq!(room.held(), 0);
    }
}
