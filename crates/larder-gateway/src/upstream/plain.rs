//! Plain: a connection as the kernel has it, over TCP or a Unix socket, that is read while we can still look at it.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use rustix::net::{RecvFlags, recv};
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::{TcpStream, UnixStream},
};

/// hyper makes its buffers as large as what comes at once, and keeps them while a reader does not read.
const READ_AT_ONCE: usize = 32 << 10;

/// Clones are the same connection. One of them reads and writes.
#[derive(Clone, Debug)]
pub(super) struct Plain(Arc<Stream>);

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// The same of either kind.
macro_rules! of_either {
    ($plain:expr, $stream:ident => $result:expr) => {
        match &*$plain.0 {
            Stream::Tcp($stream) => $result,
            Stream::Unix($stream) => $result,
        }
    };
}

impl From<TcpStream> for Plain {
    fn from(stream: TcpStream) -> Plain {
        Plain(Arc::new(Stream::Tcp(stream)))
    }
}

impl From<UnixStream> for Plain {
    fn from(stream: UnixStream) -> Plain {
        Plain(Arc::new(Stream::Unix(stream)))
    }
}

impl Plain {
    /// Whether the other side has neither closed nor said anything: asked of the kernel, because the
    /// event loop may not have heard yet.
    pub(super) fn is_quiet(&self) -> bool {
        let peeked = recv(self.fd(), &mut [0; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT);
        matches!(peeked, Err(rustix::io::Errno::AGAIN))
    }

    fn fd(&self) -> BorrowedFd<'_> {
        of_either!(self, stream => stream.as_fd())
    }

    fn poll_write_with(
        &self,
        cx: &mut Context<'_>,
        write: impl Fn() -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(of_either!(self, stream => stream.poll_write_ready(cx)))?;
            match write() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }
}

impl AsyncRead for Plain {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        of_either!(self, stream => loop {
            ready!(stream.poll_read_ready(cx))?;
            let (mut read, room) = (0, buffer.remaining().min(READ_AT_ONCE));
            let tried = stream.try_io(Interest::READABLE, || {
                if room == buffer.remaining() {
                    read = stream.try_read_buf(buffer)?;
                } else {
                    read = stream.try_read(buffer.initialize_unfilled_to(room))?;
                    buffer.advance(read);
                }
                // Less than there was room for is all there was. The stream is told so, and the next
                // reading waits to hear of more instead of asking the kernel, which would say no.
                match room - read {
                    0 => Ok(()),
                    _ if read == 0 => Ok(()),
                    _ => Err(io::ErrorKind::WouldBlock.into()),
                }
            });
            match tried {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && read == 0 => {}
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                    return Poll::Ready(Err(error));
                }
                Ok(()) | Err(_) => return Poll::Ready(Ok(())),
            }
        })
    }
}

impl AsyncWrite for Plain {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let write = || of_either!(self, stream => stream.try_write(bytes));
        self.poll_write_with(cx, write)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let write = || of_either!(self, stream => stream.try_write_vectored(slices));
        self.poll_write_with(cx, write)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = rustix::net::shutdown(self.fd(), rustix::net::Shutdown::Write);
        Poll::Ready(result.map_err(io::Error::from))
    }
}
