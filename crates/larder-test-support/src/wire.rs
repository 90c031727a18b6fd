//! Wire: one end of a connection, and answers read from it byte by byte.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    answer::{Answer, field, lossless, status},
    eventually::PATIENCE,
};

const READ_BYTES: usize = 64 << 10;

/// One end of a connection. What waits for the other side panics where nothing comes for
/// [`PATIENCE`]. Dropping it closes the connection.
#[derive(Debug)]
pub struct Wire<IO = TcpStream> {
    /// What it is read from and written to. What was read and not yet asked for is no longer in it.
    pub stream: IO,
    read: Vec<u8>,
}

impl Wire {
    /// A connection of its own.
    ///
    /// # Panics
    ///
    /// Where nobody listens.
    pub async fn connect(address: SocketAddr) -> Wire {
        Wire::try_connect(address).await.unwrap()
    }

    /// The same where perhaps nobody listens.
    ///
    /// # Errors
    ///
    /// Nobody does.
    pub async fn try_connect(address: SocketAddr) -> io::Result<Wire> {
        TcpStream::connect(address).await.map(Wire::new)
    }

    /// Ends the connection by a reset instead of in order.
    pub fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Wire<IO> {
    /// Over a connection that is there.
    pub fn new(stream: IO) -> Wire<IO> {
        Wire { stream, read: Vec::new() }
    }

    /// Sends these bytes as they stand.
    ///
    /// # Panics
    ///
    /// Where nobody takes them.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).await.unwrap();
    }

    /// As [`send`](Wire::send), where the other side may be gone.
    ///
    /// # Errors
    ///
    /// Where it is.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref()).await
    }

    /// Whether another byte comes before the end, for which it waits as long as that takes.
    pub async fn has_more(&mut self) -> bool {
        !self.read.is_empty() || matches!(self.stream.read_buf(&mut self.read).await, Ok(1..))
    }

    /// All up to and with the first `end`.
    ///
    /// # Panics
    ///
    /// Where the other side ends before that.
    pub async fn until(&mut self, end: &str) -> String {
        let found = self.try_until(end).await;
        found.unwrap_or_else(|| panic!("no {end:?} after {:?}", lossless(&self.read)))
    }

    async fn try_until(&mut self, end: &str) -> Option<String> {
        loop {
            if let Some(at) = memchr::memmem::find(&self.read, end.as_bytes()) {
                return Some(lossless(&self.take(at + end.len())));
            }
            if !matches!(self.more().await, Ok(1..)) {
                return None;
            }
        }
    }

    /// A head with its blank line.
    ///
    /// # Panics
    ///
    /// Where the other side ends before that.
    pub async fn head(&mut self) -> String {
        self.until("\r\n\r\n").await
    }

    /// So many bytes.
    ///
    /// # Panics
    ///
    /// Where the other side ends before that.
    pub async fn exactly(&mut self, length: usize) -> Vec<u8> {
        let found = self.try_exactly(length).await;
        found.unwrap_or_else(|| panic!("only {} of {length}", self.read.len()))
    }

    async fn try_exactly(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.read.len() < length {
            if !matches!(self.more().await, Ok(1..)) {
                return None;
            }
        }
        Some(self.take(length))
    }

    /// What has come since, at least a byte of it unless that was the end.
    ///
    /// # Panics
    ///
    /// Where the connection breaks.
    pub async fn some(&mut self) -> Vec<u8> {
        self.try_some().await.unwrap()
    }

    /// As [`some`](Wire::some), where the connection may break.
    ///
    /// # Errors
    ///
    /// It has.
    pub async fn try_some(&mut self) -> io::Result<Vec<u8>> {
        if self.read.is_empty() {
            self.more().await?;
        }
        Ok(std::mem::take(&mut self.read))
    }

    /// The body that a head announces; `None` if the other side ends before it does.
    ///
    /// # Panics
    ///
    /// Where chunks end with a trailer.
    pub async fn body(&mut self, head: &str) -> Option<Vec<u8>> {
        match (field(head, "transfer-encoding"), field(head, "content-length")) {
            (Some(_), _) => self.chunked().await,
            (None, Some(length)) => self.try_exactly(length.parse().unwrap()).await,
            (None, None) => Some(Vec::new()),
        }
    }

    /// A whole answer to a request with any method but HEAD.
    ///
    /// # Panics
    ///
    /// Where it ends early.
    pub async fn answer(&mut self) -> Answer {
        let head = self.head().await;
        let body = match status(&head) {
            204 | 304 => Vec::new(),
            _ => self.body(&head).await.unwrap_or_else(|| panic!("its body ends early: {head}")),
        };
        Answer { head, body }
    }

    /// The same where the other side may be killed meanwhile: then there is none.
    ///
    /// # Panics
    ///
    /// Where nothing comes, and no end either.
    pub async fn try_answer(&mut self) -> Option<Answer> {
        let head = self.try_until("\r\n\r\n").await?;
        let body = match status(&head) {
            204 | 304 => Vec::new(),
            _ => self.body(&head).await?,
        };
        Some(Answer { head, body })
    }

    async fn chunked(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.try_until("\r\n").await?;
            let length = usize::from_str_radix(line.trim_end(), 16).unwrap();
            body.extend(self.try_exactly(length).await?);
            assert_eq!(self.try_exactly(2).await?, b"\r\n", "the end of a chunk, and no trailer");
            if length == 0 {
                return Some(body);
            }
        }
    }

    /// All until the other side closes in order.
    ///
    /// # Panics
    ///
    /// Where it resets the connection.
    pub async fn rest(&mut self) -> String {
        while self.more().await.unwrap() > 0 {}
        lossless(&std::mem::take(&mut self.read))
    }

    /// All until the other side resets the connection.
    ///
    /// # Panics
    ///
    /// Where it closes in order.
    pub async fn until_reset(&mut self) -> String {
        loop {
            match self.more().await {
                Ok(0) => panic!("closed in order after {:?}", lossless(&self.read)),
                Ok(_) => {}
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
                    return lossless(&std::mem::take(&mut self.read));
                }
            }
        }
    }

    /// Reads on; 0 at the end.
    async fn more(&mut self) -> io::Result<usize> {
        self.read.reserve(READ_BYTES);
        let reading = self.stream.read_buf(&mut self.read);
        timeout(PATIENCE, reading).await.expect("something comes, or an end")
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        let rest = self.read.split_off(length);
        std::mem::replace(&mut self.read, rest)
    }
}
