//! HTTP/1.1 towards readers: one connection, from its first byte to its last.
//!
//! hyper's server cannot pass interim answers on and builds every head anew, so this is a loop of our
//! own. [`serve_connection`] holds the order of steps.

pub(crate) mod answer;
mod body_reader;
mod config;
mod connection;
mod exchange;
mod fast_hit;
pub(crate) mod framing;
mod head;
pub(in crate::downstream) mod outbox;
pub(crate) mod refusal;
pub(crate) mod target;
pub(crate) mod upload;

use std::{convert::Infallible, error::Error};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tower::Service;

pub use self::{
    config::Http1Config,
    fast_hit::{FastPath, FieldLines, PeekedRequest},
    upload::{ReaderBody, ReaderBodyError},
};
use self::{
    connection::{Connection, Next},
    exchange::AfterExchange,
};
use super::{ended::Ended, peer::Peer};
pub(crate) use config::FIELDS_LIMIT;

/// Serves the requests of one connection, one after the other, until it ends.
///
/// Each request reaches `service` with an absolute URI (but `OPTIONS *`), its fields as they were
/// sent, and in its extensions the [`Peer`] and, if its reader understands interim answers, an
/// [`Interim`](crate::interim::Interim). Requests that two readers might read differently never
/// reach it: they are answered 400 and the like, and the connection ends.
///
/// The service's future is dropped when the reader resets the connection before the answer is there. One
/// that closes its side may still read: what it asked before is answered if the answer begins within
/// [`Http1Config::half_closed_timeout`], and what it did not ask to the end is refused. A body of the
/// answer that ends in an error, or earlier than its `Content-Length`, cuts the connection.
///
/// Once `stop` is cancelled, the answer under way is the last; between requests the connection ends
/// at once, and a head that is under way has to be there within [`Http1Config::linger_timeout`]. Dropping the future drops the service's, and leaves the stream in the middle of whatever
/// it was: treat it as [`Ended::Cut`].
pub async fn serve_connection<IO, S, B>(
    io: &mut IO,
    peer: Peer,
    config: &Http1Config,
    service: S,
    stop: CancellationToken,
) -> Ended
where
    IO: AsyncRead + AsyncWrite + Unpin,
    S: Service<Request<ReaderBody>, Response = Response<B>, Error = Infallible>,
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    serve_connection_with_hits(io, peer, config, &(), service, stop).await
}

/// The same, but that `hits` is asked first, of each request that has no content and asks nothing of
/// the connection: what it answers the service does not see.
pub async fn serve_connection_with_hits<IO, H, S, B>(
    io: &mut IO,
    peer: Peer,
    config: &Http1Config,
    hits: &H,
    mut service: S,
    stop: CancellationToken,
) -> Ended
where
    IO: AsyncRead + AsyncWrite + Unpin,
    H: FastPath,
    S: Service<Request<ReaderBody>, Response = Response<B>, Error = Infallible>,
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let mut connection = Connection::new(io, config, stop);
    loop {
        let head = match connection.next_head(peer, hits).await {
            Next::Head(head) => head,
            Next::Refused(refusal) => {
                connection.refuse_unread(refusal, &peer);
                break;
            }
            Next::Http2(bytes) => return Ended::Http2(bytes),
            Next::Over => return connection.shut().await,
            Next::Gone => return Ended::Cut,
        };
        // On the heap, so that connections that wait are no larger for it.
        match Box::pin(connection.exchange(head, peer, hits, &mut service)).await {
            AfterExchange::Next => {}
            AfterExchange::Close => break,
            AfterExchange::Cut => return Ended::Cut,
        }
    }
    connection.close().await
}
