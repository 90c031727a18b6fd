//! Body: what an answer's reader reads: stored bytes, bytes on their way into the cache, or the origin's own.

pub(crate) mod arriving;
pub(crate) mod stored;

use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    task::{Context, Poll},
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
    /// A body from elsewhere whose beginning has been read already.
    Resumed {
        beginning: VecDeque<Bytes>,
        rest: UnsyncBoxBody<Bytes, BoxError>,
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
                let rest = self.map_err(Into::into).boxed_unsync();
                return Ok(UpTo::More(Body(Kind::Resumed { beginning, rest })));
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
            Kind::Resumed { beginning, rest } => match beginning.pop_front() {
                Some(chunk) => Poll::Ready(Some(Ok(Frame::data(chunk)))),
                None => Pin::new(rest).poll_frame(context),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Empty => true,
            Kind::Stored(unread) => unread.len() == 0,
            Kind::Made { left, .. } => *left == 0,
            Kind::Arriving(reader) => reader.left() == Some(0),
            Kind::Passing(body) => body.is_end_stream(),
            Kind::Resumed { beginning, rest } => beginning.is_empty() && rest.is_end_stream(),
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
            Kind::Resumed { beginning, rest } => {
                let begun = beginning.iter().map(|chunk| chunk.len() as u64).sum::<u64>();
                let hint = rest.size_hint();
                let mut whole = SizeHint::new();
                whole.set_lower(hint.lower().saturating_add(begun));
                if let Some(upper) = hint.upper().and_then(|upper| upper.checked_add(begun)) {
                    whole.set_upper(upper);
                }
                whole
            }
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.0 {
            Kind::Empty => "Empty",
            Kind::Stored(_) => "Stored",
            Kind::Arriving(_) => "Arriving",
            Kind::Made { .. } => "Made",
            Kind::Passing(_) => "Passing",
            Kind::Resumed { .. } => "Resumed",
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
