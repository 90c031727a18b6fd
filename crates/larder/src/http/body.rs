//! Body: what an answer's reader reads: stored bytes, bytes on their way into the cache, or the origin's own.

pub(crate) mod arriving;
pub(crate) mod stored;

use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};

use self::{
    arriving::BodyReader,
    stored::{Span, StoredBody, Unread},
};
use super::error::BoxError;

/// The body of an answer: stored, on its way into the cache, or passed through.
#[derive(Default)]
pub struct Body(Kind);

#[derive(Default)]
enum Kind {
    #[default]
    Empty,
    Stored(Unread),
    Arriving(BodyReader),
    /// Pieces made up for this answer (the parts of a multipart answer).
    Made {
        pieces: VecDeque<Bytes>,
        left: u64,
    },
    Passing(UnsyncBoxBody<Bytes, BoxError>),
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

    pub(crate) fn made(pieces: impl IntoIterator<Item = Bytes>) -> Body {
        let pieces: VecDeque<_> = pieces.into_iter().filter(|piece| !piece.is_empty()).collect();
        let left = pieces.iter().map(|piece| piece.len() as u64).sum();
        Body(Kind::Made { pieces, left })
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
        let kind = &mut self.get_mut().0;
        match kind {
            Kind::Empty => Poll::Ready(None),
            Kind::Stored(unread) => Poll::Ready(unread.next().map(|slice| Ok(Frame::data(slice)))),
            Kind::Arriving(reader) => {
                reader.poll_chunk(context).map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)))
            }
            Kind::Made { pieces, left } => Poll::Ready(pieces.pop_front().map(|piece| {
                *left -= piece.len() as u64;
                Ok(Frame::data(piece))
            })),
            Kind::Passing(body) => Pin::new(body).poll_frame(context),
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

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Empty => true,
            Kind::Stored(unread) => unread.len() == 0,
            Kind::Made { left, .. } => *left == 0,
            Kind::Arriving(reader) => reader.left() == Some(0),
            Kind::Passing(body) => body.is_end_stream(),
            Kind::Between { before, middle, has_ended, after, .. } => {
                before.is_empty() && after.is_empty() && (*has_ended || middle.is_end_stream())
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Stored(unread) => SizeHint::with_exact(unread.len()),
            Kind::Made { left, .. } => SizeHint::with_exact(*left),
            Kind::Arriving(reader) => {
                reader.left().map_or_else(SizeHint::default, SizeHint::with_exact)
            }
            Kind::Passing(body) => body.size_hint(),
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

/// A frame without what of it is still to be left out.
fn without_first(frame: Frame<Bytes>, skip: &mut u64) -> Frame<Bytes> {
    frame.map_data(|mut bytes| {
        let left_out = usize::try_from(*skip).map_or(bytes.len(), |skip| skip.min(bytes.len()));
        *skip -= left_out as u64;
        bytes.split_off(left_out)
    })
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.0 {
            Kind::Empty => "Empty",
            Kind::Stored(_) => "Stored",
            Kind::Arriving(_) => "Arriving",
            Kind::Made { .. } => "Made",
            Kind::Passing(_) => "Passing",
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
