//! Switch: an origin's connection goes on in another protocol, and belongs to a reader from then on.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use http::{Response, header};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::OwnedSemaphorePermit,
};

use super::{
    body::{Incoming, UpstreamBody},
    error::UpstreamError,
    pool::{Carrier, Lease},
    socket::Socket,
};
use crate::upgrade::{OriginStream, Upgrade};

/// Hands a connection over that has answered 101. It counts among the origin's streams until it is closed.
pub(super) fn receive(
    response: Response<Incoming>,
    mut lease: Lease,
    asked: Option<Upgrade>,
) -> Result<Response<UpstreamBody>, UpstreamError> {
    let origin = lease.pool.origin.clone();
    let Some(upgrade) = asked.filter(|asked| is_answered(asked, &response)) else {
        return Err(UpstreamError::Switched { origin });
    };
    // hyper notices that its part is over. What it was told goes no further: it writes nothing more.
    if let Carrier::Http1(link) = &mut lease.carrier {
        link.drive(&mut Context::from_waker(Waker::noop()));
    }
    let max = lease.pool.config.max_streams;
    let Some((link, permit)) = lease.into_stream() else {
        return Err(UpstreamError::TooManyStreams { origin, max });
    };
    let (socket, read) = link.into_stream();
    upgrade.switch(OriginStream { io: Box::new(Leased { socket, _permit: permit }), read });
    Ok(response.map(UpstreamBody::over))
}

/// Whether the origin has switched to what it was asked for (RFC 9110 §7.8).
fn is_answered(asked: &Upgrade, response: &Response<Incoming>) -> bool {
    let Some(protocol) = asked.protocol() else { return false };
    let mut lines = response.headers().get_all(header::UPGRADE).iter();
    let (Some(said), None) = (lines.next(), lines.next()) else { return false };
    said.as_bytes().trim_ascii().eq_ignore_ascii_case(protocol.as_bytes())
}

/// A connection, and the right to have it. Dropping it closes the connection.
struct Leased {
    socket: Socket,
    _permit: OwnedSemaphorePermit,
}

impl AsyncRead for Leased {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Leased {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
