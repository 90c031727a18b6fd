//! Exchange: one request over HTTP/2 and its answer. Dropping it before its end resets its stream.

use std::{
    error::Error,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, client::ResponseFuture};
use http::{
    HeaderMap, Request, Response, Uri, Version, header,
    request::Parts,
    uri::{Authority, PathAndQuery, Scheme},
};
use http_body::{Body, Frame};

use super::Slot;
use crate::upstream::{
    broken::Broken,
    outgoing::{Outgoing, Progress},
};

/// A request that is sent, until its answer begins.
pub(in crate::upstream) struct Exchange {
    response: ResponseFuture,
    sending: Option<Sending>,
    /// The request's head, should it have to be sent once more.
    parts: Box<Parts>,
    has_heard: bool,
}

/// So much of a request's content is kept until its answer begins, should it have to be sent once more: an origin that
/// closes a connection in order names the requests that it has not looked at, and has read their content all the same.
const MAX_KEPT: usize = 64 << 10;

/// A request's content on its way.
struct Sending {
    stream: SendStream<Bytes>,
    body: Outgoing,
    /// Taken from the body, and not by the origin.
    waiting: Bytes,
    progress: Arc<Progress>,
    is_over: bool,
    /// What was taken from the body, while that can be kept.
    kept: Option<Kept>,
}

#[derive(Default)]
struct Kept {
    pieces: Vec<Bytes>,
    bytes: usize,
}

/// An answer's body as it comes.
pub(in crate::upstream) struct Receiving {
    stream: RecvStream,
    sending: Option<Sending>,
    /// What is left of the length that was said.
    left: Option<u64>,
    has_data_ended: bool,
}

/// Why no answer begins.
pub(in crate::upstream) enum Rejected {
    /// The origin has not looked at the request, and says so, or cannot have (RFC 9113 §8.7). `is_leaving`: that is because
    /// the whole connection ends.
    Unseen { again: Box<Request<Outgoing>>, is_leaving: bool },
    /// The connection broke, most likely before the origin read the request, which may be sent twice.
    Lost(Box<Request<Outgoing>>),
    /// The origin may have acted on it.
    Broken(Broken),
}

impl Slot {
    /// Sends a request. An error: nothing of it was sent.
    pub(in crate::upstream) fn begin(
        &self,
        request: Request<Outgoing>,
        scheme: Scheme,
        progress: &Arc<Progress>,
    ) -> Result<Exchange, Rejected> {
        let (parts, body) = request.into_parts();
        let Some(head) = head(&parts, scheme) else {
            let what = "the host that it asks for cannot be one of HTTP/2";
            return Err(Rejected::Broken(Broken::Upload(what.into())));
        };
        let is_whole = body.is_end_stream();
        match self.connection.sender.clone().send_request(head, is_whole) {
            Ok((response, stream)) => {
                let sending = (!is_whole).then(|| Sending {
                    stream,
                    body,
                    waiting: Bytes::new(),
                    progress: Arc::clone(progress),
                    is_over: false,
                    kept: Some(Kept::default()),
                });
                Ok(Exchange { response, sending, parts: Box::new(parts), has_heard: false })
            }
            // The connection is over, or its numbers are used up.
            Err(error) => {
                tracing::debug!("a request goes over another connection: {error}");
                let again = Box::new(Request::from_parts(parts, body));
                Err(Rejected::Unseen { again, is_leaving: true })
            }
        }
    }
}

impl Exchange {
    /// Sends what the origin takes, and looks for the answer. `interim` is told what comes before it, and says whether it
    /// wants more of that.
    pub(in crate::upstream) fn poll(
        &mut self,
        mut interim: impl FnMut(Response<()>) -> bool,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<RecvStream>, Broken>> {
        while let Poll::Ready(Some(Ok(answer))) = self.response.poll_informational(cx) {
            self.has_heard = true;
            if !interim(answer) {
                return Poll::Pending;
            }
        }
        if let Err(error) = poll_sending(&mut self.sending, cx) {
            return Poll::Ready(Err(Broken::Upload(error)));
        }
        Pin::new(&mut self.response).poll(cx).map_err(Broken::Http2)
    }

    /// What is to be done about a request that failed so. `may_repeat`: it may be sent twice.
    pub(in crate::upstream) fn rejected(self, broken: Broken, may_repeat: bool) -> Rejected {
        let Broken::Http2(error) = &broken else { return Rejected::Broken(broken) };
        // Whoever has said something about a request has looked at it.
        let is_unseen = error.is_remote()
            && !self.has_heard
            && (error.is_go_away() || error.reason() == Some(Reason::REFUSED_STREAM));
        let is_lost = error.is_io() && may_repeat && !self.has_heard;
        if !is_unseen && !is_lost {
            return Rejected::Broken(broken);
        }
        let body = match self.sending {
            None => Some(Outgoing::Empty),
            Some(sending) => sending.once_more(),
        };
        // Some of it is gone otherwise, and cannot be had again.
        let Some(body) = body else { return Rejected::Broken(broken) };
        let is_leaving = error.is_go_away();
        let again = Box::new(Request::from_parts(*self.parts, body));
        match is_unseen {
            true => Rejected::Unseen { again, is_leaving },
            false => Rejected::Lost(again),
        }
    }

    /// The answer has begun: what is left of both is in its body.
    pub(in crate::upstream) fn receive(
        self,
        response: Response<RecvStream>,
    ) -> Response<Receiving> {
        let left = length(response.headers());
        let sending = self.sending.filter(|sending| !sending.is_over).map(|mut sending| {
            sending.kept = None;
            sending
        });
        response.map(|stream| {
            let left = if stream.is_end_stream() { Some(0) } else { left };
            Receiving { stream, sending, left, has_data_ended: false }
        })
    }
}

impl Receiving {
    pub(in crate::upstream) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        // Both ways at once: the origin may wait for more of the request before it goes on with its answer.
        if let Err(error) = poll_sending(&mut self.sending, cx) {
            return Poll::Ready(Some(Err(Broken::Upload(error))));
        }
        while !self.has_data_ended {
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(data)) => {
                    // Whoever takes it counts it from now on. h2 forgets what is given back too late.
                    self.stream.flow_control().release_capacity(data.len()).ok();
                    if data.is_empty() {
                        continue;
                    }
                    self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(Broken::Http2(error)))),
                None => self.has_data_ended = true,
            }
        }
        match ready!(self.stream.poll_trailers(cx)) {
            Ok(trailers) => Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers)))),
            Err(error) => Poll::Ready(Some(Err(Broken::Http2(error)))),
        }
    }

    pub(in crate::upstream) fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    /// How much is still to come, if that was said.
    pub(in crate::upstream) fn left(&self) -> Option<u64> {
        self.left
    }
}

/// Sends as much of a request's content as the origin takes. An error is the content's own.
fn poll_sending(
    sending: &mut Option<Sending>,
    cx: &mut Context<'_>,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let Some(under_way) = sending else { return Ok(()) };
    if under_way.is_over {
        return Ok(());
    }
    match under_way.poll(cx) {
        Poll::Pending => Ok(()),
        Poll::Ready(Ok(())) => {
            under_way.is_over = true;
            Ok(())
        }
        Poll::Ready(Err(error)) => {
            under_way.stream.send_reset(Reason::CANCEL);
            under_way.is_over = true;
            Err(error)
        }
    }
}

impl Kept {
    /// The same with one more piece, if there is room for that.
    fn with(mut self, piece: &Bytes) -> Option<Kept> {
        self.bytes += piece.len();
        (self.bytes <= MAX_KEPT).then(|| {
            self.pieces.push(piece.clone());
            self
        })
    }
}

impl Sending {
    /// All of the content, if what was sent of it was kept.
    fn once_more(self) -> Option<Outgoing> {
        let pieces = self.kept?.pieces.into();
        Some(Outgoing::Again { pieces, rest: Box::new(self.body) })
    }

    /// Ready when all was sent, or the origin wants no more of it: what it answers says why.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Box<dyn Error + Send + Sync>>> {
        loop {
            if !self.waiting.is_empty() {
                self.stream.reserve_capacity(self.waiting.len());
                let Some(Ok(capacity)) = ready!(self.stream.poll_capacity(cx)) else {
                    return Poll::Ready(Ok(()));
                };
                let part = self.waiting.split_to(capacity.min(self.waiting.len()));
                let taken = part.len();
                let is_last = self.waiting.is_empty() && self.body.is_end_stream();
                let sent = self.stream.send_data(part, is_last);
                self.progress.wrote(taken, self.waiting.len());
                if sent.is_err() || is_last {
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            // An origin that resets the stream meanwhile wakes this task by its answer.
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        self.kept = self.kept.take().and_then(|kept| kept.with(&data));
                        self.waiting = data;
                    }
                    Err(other) => {
                        self.kept = None;
                        let trailers = other.into_trailers().unwrap_or_default();
                        self.stream.send_trailers(trailers).ok();
                        return Poll::Ready(Ok(()));
                    }
                },
                Some(Err(error)) => return Poll::Ready(Err(error)),
                None => {
                    self.stream.send_data(Bytes::new(), true).ok();
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

/// The head as HTTP/2 has it (RFC 9113 §8.3.1). `None`: its host cannot be an authority.
fn head(parts: &Parts, scheme: Scheme) -> Option<Request<()>> {
    let host = parts.headers.get(header::HOST)?;
    let authority = Authority::try_from(host.as_bytes()).ok()?;
    let path = parts.uri.path_and_query().cloned();
    let path = path.unwrap_or(PathAndQuery::from_static("/"));
    let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(path);
    let mut head = Request::new(());
    *head.method_mut() = parts.method.clone();
    *head.uri_mut() = uri.build().ok()?;
    *head.version_mut() = Version::HTTP_2;
    let mut headers = parts.headers.clone();
    for name in [header::HOST, header::CONNECTION, header::TRANSFER_ENCODING] {
        headers.remove(name);
    }
    *head.headers_mut() = headers;
    Some(head)
}

/// h2 has seen to it that there is one at most, and that it is right.
fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
