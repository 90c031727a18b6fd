//! Body: what an answer's reader reads: stored bytes, bytes on their way into the cache, or the origin's own.

pub(crate) mod account;
pub(crate) mod arriving;
pub(crate) mod readers;
pub(crate) mod stored;

mod counted;
mod list;

use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};

use self::{
    account::{Account, Piece},
    arriving::BodyReader,
    counted::Counted,
    readers::{CutOff, Loan, Seat, Source},
    stored::{Span, StoredBody, Unread},
};
use super::error::{BoxError, BrokenOff};

pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The body of an answer: stored, on its way into the cache, or passed through.
#[derive(Default)]
pub struct Body(Kind);

#[derive(Default)]
enum Kind {
    #[default]
    Empty,
    Stored(Unread),
    /// The same where it is more than is given at once: its reader may be told to go.
    Seated(Arc<Seat>),
    Arriving(BodyReader),
    /// The same, whose reader can go on by itself.
    Resumable(Box<Resumable>),
    /// Pieces made up for this answer (the parts of a multipart answer).
    Made {
        pieces: VecDeque<Bytes>,
        left: u64,
        /// What they are parts of, where that is known.
        of: Weak<Piece>,
    },
    Passing(UnsyncBoxBody<Bytes, BoxError>),
    /// The same on its way out, and counted.
    Counted(Box<Counted>),
    /// A body from elsewhere, between bytes that are here.
    Between {
        before: VecDeque<Bytes>,
        middle: UnsyncBoxBody<Bytes, BoxError>,
        /// So many bytes of it are left out.
        skip: u64,
        has_ended: bool,
        after: VecDeque<Bytes>,
    },
}

impl Body {
    /// No bytes.
    pub const fn empty() -> Body {
        Body(Kind::Empty)
    }

    /// A body from elsewhere, as it is.
    pub fn passing<B>(body: B) -> Body
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Body(Kind::Passing(body.map_err(Into::into).boxed_unsync()))
    }

    /// All of this body, if it is no longer than `max`.
    ///
    /// # Errors
    ///
    /// The body's own, if it breaks off.
    pub(crate) async fn read_up_to(mut self, max: usize) -> Result<UpTo, BoxError> {
        let mut beginning = VecDeque::new();
        let mut len = 0;
        while let Some(frame) = self.frame().await {
            let Ok(chunk) = frame?.into_data() else { continue };
            len += chunk.len();
            beginning.push_back(chunk);
            if len > max {
                return Ok(UpTo::More(self.between(beginning, 0, VecDeque::new())));
            }
        }
        Ok(UpTo::All(beginning.into()))
    }

    pub(crate) fn stored(body: StoredBody, span: Span) -> Body {
        Body(Kind::Stored(body.read(span)))
    }

    /// Whether it is a body on its way that others read as well, or may, and is longer than this, or may be.
    pub(crate) fn may_be_left_behind(&self, least: u64) -> bool {
        match &self.0 {
            Kind::Arriving(reader) => reader.left().is_none_or(|left| left > least),
            _ => false,
        }
    }

    /// Where its reader is left behind, it goes on like this.
    pub(crate) fn resume_by(&mut self, resume: Resume) {
        self.0 = match std::mem::take(&mut self.0) {
            Kind::Arriving(mut reader) => {
                reader.can_resume();
                let (left, way_on) = (reader.left(), WayOn::Shared(reader, Some(resume)));
                Kind::Resumable(Box::new(Resumable { way_on, left }))
            }
            other => other,
        };
    }

    /// The same body, whose large pieces count while they are on their way out, if it is from elsewhere.
    pub(crate) fn counted(self, account: &Arc<Account>) -> Body {
        Body(match self.0 {
            Kind::Passing(body) => Kind::Counted(Box::new(Counted::new(body, account))),
            other => other,
        })
    }

    /// What a connection holds of it that sends it to a reader: a connection waits for that as well while its
    /// reader does not take what was given out.
    pub fn loan(&self) -> Loan {
        match &self.0 {
            Kind::Stored(unread) => Loan::of_piece_if(unread.last()),
            Kind::Seated(seat) => Loan::of_seat(seat),
            Kind::Arriving(reader) => reader.loan(),
            Kind::Resumable(body) => body.loan(),
            Kind::Made { of, .. } => Loan::of_piece_if(of.upgrade()),
            Kind::Counted(body) => Loan::of_seat(body.seat()),
            Kind::Empty | Kind::Passing(_) | Kind::Between { .. } => Loan::default(),
        }
    }

    pub(crate) fn arriving(reader: BodyReader) -> Body {
        Body(Kind::Arriving(reader))
    }

    /// The same with these bytes before and after it, and without the first `skip` of its own.
    pub(crate) fn between(
        self,
        before: impl Into<VecDeque<Bytes>>,
        skip: u64,
        after: impl Into<VecDeque<Bytes>>,
    ) -> Body {
        let middle = self.map_err(Into::into).boxed_unsync();
        let (before, after) = (before.into(), after.into());
        Body(Kind::Between { before, middle, skip, has_ended: false, after })
    }

    /// The same, which breaks off where it is longer or shorter than this.
    pub(crate) fn of_length(self, len: u64) -> Body {
        Body::passing(OfLength { body: self, left: len, is_over: false })
    }

    pub(crate) fn made(pieces: impl IntoIterator<Item = Bytes>) -> Body {
        let pieces: VecDeque<_> = pieces.into_iter().filter(|piece| !piece.is_empty()).collect();
        let left = pieces.iter().map(|piece| piece.len() as u64).sum();
        Body(Kind::Made { pieces, left, of: Weak::new() })
    }

    /// The same, of which most are parts of `body`.
    pub(crate) fn made_of(body: &StoredBody, pieces: impl IntoIterator<Item = Bytes>) -> Body {
        let mut made = Body::made(pieces);
        if let (Kind::Made { of, .. }, Some(piece)) = (&mut made.0, body.piece()) {
            *of = Arc::downgrade(piece);
        }
        made
    }
}

/// A body that breaks off where it has another length than was said.
struct OfLength {
    body: Body,
    left: u64,
    is_over: bool,
}

impl HttpBody for OfLength {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if this.is_over {
            return Poll::Ready(None);
        }
        let frame = ready!(this.body.poll_next(context));
        let len = match &frame {
            Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len) as u64,
            Some(Err(_)) | None => 0,
        };
        let is_wrong = match &frame {
            None => this.left > 0,
            Some(_) => len > this.left,
        };
        this.left = this.left.saturating_sub(len);
        this.is_over = is_wrong || !matches!(frame, Some(Ok(_)));
        Poll::Ready(match is_wrong {
            true => Some(Err("it has another length than it says".into())),
            false => frame,
        })
    }
}

/// What reading a body up to a bound brought.
pub(crate) enum UpTo {
    /// All of it.
    All(Vec<Bytes>),
    /// There is more: the same body, from its beginning on.
    More(Body),
}
impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Body::made([bytes])
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.get_mut().poll_next(context)
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Empty => true,
            Kind::Stored(unread) => unread.len() == 0,
            Kind::Seated(seat) => seat.left() == Some(0),
            Kind::Made { left, .. } => *left == 0,
            Kind::Arriving(reader) => reader.left() == Some(0),
            Kind::Resumable(body) => body.left == Some(0),
            Kind::Passing(body) => body.is_end_stream(),
            Kind::Counted(body) => body.inner().is_end_stream(),
            Kind::Between { before, middle, has_ended, after, .. } => {
                before.is_empty() && after.is_empty() && (*has_ended || middle.is_end_stream())
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Stored(unread) => SizeHint::with_exact(unread.len()),
            Kind::Seated(seat) => seat.left().map_or_else(SizeHint::default, SizeHint::with_exact),
            Kind::Made { left, .. } => SizeHint::with_exact(*left),
            Kind::Arriving(reader) => {
                reader.left().map_or_else(SizeHint::default, SizeHint::with_exact)
            }
            Kind::Resumable(body) => body.left.map_or_else(SizeHint::default, SizeHint::with_exact),
            Kind::Passing(body) => body.size_hint(),
            Kind::Counted(body) => body.inner().size_hint(),
            Kind::Between { before, middle, skip, after, .. } => {
                let here = before.iter().chain(after).map(|chunk| chunk.len() as u64).sum::<u64>();
                let hint = middle.size_hint();
                let of_all = |middle: u64| middle.saturating_sub(*skip).checked_add(here);
                let mut whole = SizeHint::new();
                whole.set_lower(of_all(hint.lower()).unwrap_or(u64::MAX));
                if let Some(upper) = hint.upper().and_then(of_all) {
                    whole.set_upper(upper);
                }
                whole
            }
        }
    }
}

/// How a reader of a body on its way goes on by itself, from this byte on. `None` of it: it cannot.
pub(crate) type Resume = Box<dyn FnOnce(u64) -> BoxFuture<Option<Body>> + Send>;

/// A body on its way, whose reader goes on by itself where the others leave it behind.
struct Resumable {
    way_on: WayOn,
    /// Bytes that are still to come, where that is known.
    left: Option<u64>,
}

/// Where the next bytes come from.
enum WayOn {
    /// From the body that others read as well.
    Shared(BodyReader, Option<Resume>),
    /// The rest was asked for.
    Asks(BoxFuture<Option<Body>>),
    /// It comes.
    Own(Body),
}

impl Resumable {
    fn loan(&self) -> Loan {
        match &self.way_on {
            WayOn::Shared(reader, _) => reader.loan(),
            WayOn::Asks(_) => Loan::default(),
            WayOn::Own(body) => body.loan(),
        }
    }

    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BoxError>>> {
        if self.left == Some(0) {
            return Poll::Ready(None);
        }
        if let WayOn::Shared(reader, resume) = &mut self.way_on {
            let polled = reader.poll_chunk(context);
            self.left = reader.left();
            let left_behind_at = if polled.is_pending() { reader.left_behind_at() } else { None };
            let Some(at) = left_behind_at else { return polled };
            let Some(resume) = resume.take() else {
                return Poll::Ready(Some(Err(Box::new(CutOff))));
            };
            // What it held of the body is let go.
            self.way_on = WayOn::Asks(resume(at));
        }
        if let WayOn::Asks(asking) = &mut self.way_on {
            match ready!(asking.as_mut().poll(context)) {
                Some(body) => self.way_on = WayOn::Own(body),
                None => return Poll::Ready(Some(Err(Box::new(CutOff)))),
            }
        }
        let WayOn::Own(body) = &mut self.way_on else { return Poll::Pending };
        loop {
            let Some(frame) = ready!(body.poll_next(context)) else {
                let is_whole = self.left.is_none_or(|left| left == 0);
                return Poll::Ready((!is_whole).then(|| Err(Box::new(BrokenOff) as BoxError)));
            };
            // Trailers are of the one answer.
            let Ok(mut bytes) = frame?.into_data() else { continue };
            if let Some(left) = &mut self.left {
                bytes.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= bytes.len() as u64;
            }
            if !bytes.is_empty() {
                return Poll::Ready(Some(Ok(bytes)));
            }
        }
    }
}

/// A frame without what of it is still to be left out.
fn without_first(frame: Frame<Bytes>, skip: &mut u64) -> Frame<Bytes> {
    frame.map_data(|mut bytes| {
        let left_out = usize::try_from(*skip).map_or(bytes.len(), |skip| skip.min(bytes.len()));
        *skip -= left_out as u64;
        bytes.split_off(left_out)
    })
}

impl Body {
    fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.0 {
            Kind::Empty => Poll::Ready(None),
            Kind::Stored(unread) if unread.is_one_frame() => {
                Poll::Ready(unread.next().map(|slice| Ok(Frame::data(slice))))
            }
            Kind::Stored(_) => {
                self.take_seat();
                self.poll_next(context)
            }
            Kind::Seated(seat) => {
                let next = seat.next_stored();
                Poll::Ready(next.map(|next| next.map(Frame::data).map_err(Into::into)))
            }
            Kind::Arriving(reader) => {
                reader.poll_chunk(context).map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)))
            }
            Kind::Resumable(body) => {
                body.poll_chunk(context).map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)))
            }
            Kind::Made { pieces, left, .. } => Poll::Ready(pieces.pop_front().map(|piece| {
                *left -= piece.len() as u64;
                Ok(Frame::data(piece))
            })),
            Kind::Passing(body) => Pin::new(body).poll_frame(context),
            Kind::Counted(body) => body.poll_frame(context),
            Kind::Between { before, middle, skip, has_ended, after } => {
                if let Some(chunk) = before.pop_front() {
                    return Poll::Ready(Some(Ok(Frame::data(chunk))));
                }
                while !*has_ended
                    && let Some(frame) = ready!(Pin::new(&mut *middle).poll_frame(context))
                {
                    let frame = frame.map(|frame| without_first(frame, skip));
                    if !matches!(&frame, Ok(frame) if frame.data_ref().is_some_and(Bytes::is_empty))
                    {
                        return Poll::Ready(Some(frame));
                    }
                }
                *has_ended = true;
                Poll::Ready(after.pop_front().map(|chunk| Ok(Frame::data(chunk))))
            }
        }
    }

    /// What is given in several pieces, its reader may be told to read faster or go.
    fn take_seat(&mut self) {
        if let Kind::Stored(unread) = &self.0
            && let Some(account) = unread.account().cloned()
            && let Kind::Stored(unread) = std::mem::take(&mut self.0)
        {
            self.0 = Kind::Seated(Seat::new(&account, Source::Stored(unread), Weak::new()));
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.0 {
            Kind::Empty => "Empty",
            Kind::Stored(_) | Kind::Seated(_) => "Stored",
            Kind::Arriving(_) | Kind::Resumable(_) => "Arriving",
            Kind::Made { .. } => "Made",
            Kind::Passing(_) | Kind::Counted(_) => "Passing",
            Kind::Between { .. } => "Between",
        };
        f.debug_tuple("Body").field(&kind).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(range: std::ops::Range<usize>) -> Bytes {
        range.map(|place| (place % 251) as u8).collect()
    }

    #[tokio::test]
    async fn a_body_that_is_longer_than_the_bound_goes_on_from_its_beginning() {
        let chunks = || Body::passing(Body::made([bytes(0..10), bytes(10..20), bytes(20..30)]));
        let UpTo::All(all) = chunks().read_up_to(30).await.unwrap() else { panic!() };
        assert_eq!(all.concat(), bytes(0..30));
        let UpTo::More(body) = chunks().read_up_to(15).await.unwrap() else { panic!() };
        assert_eq!(body.size_hint().exact(), Some(30));
        assert_eq!(body.collect().await.unwrap().to_bytes(), bytes(0..30));
    }
}
