//! Wire: one end of a connection, and answers read from it byte by byte.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::PATIENCE;

const READ_BYTES: usize = 64 << 10;

pub(crate) struct Wire {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream) -> Wire {
        Wire { stream, read: Vec::new() }
    }

    pub(crate) async fn connect(address: SocketAddr) -> Wire {
        Wire::new(TcpStream::connect(address).await.unwrap())
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).await.unwrap();
    }

    pub(crate) async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref()).await
    }

    /// Reads on; 0 at the end.
    async fn more(&mut self) -> io::Result<usize> {
        self.read.reserve(READ_BYTES);
        let reading = self.stream.read_buf(&mut self.read);
        timeout(PATIENCE, reading).await.expect("something comes, or an end")
    }

    /// Whether another byte comes before the end.
    pub(crate) async fn has_more(&mut self) -> bool {
        !self.read.is_empty() || matches!(self.more().await, Ok(1..))
    }

    /// All up to and with the first `end`.
    async fn until(&mut self, end: &str) -> String {
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

    fn take(&mut self, length: usize) -> Vec<u8> {
        let rest = self.read.split_off(length);
        std::mem::replace(&mut self.read, rest)
    }

    /// A head with its blank line.
    pub(crate) async fn head(&mut self) -> String {
        self.until("\r\n\r\n").await
    }

    pub(crate) async fn exactly(&mut self, length: usize) -> Vec<u8> {
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

    /// The body that a head announces; `None` if the other side ends before it does.
    pub(crate) async fn body(&mut self, head: &str) -> Option<Vec<u8>> {
        match (field(head, "transfer-encoding"), field(head, "content-length")) {
            (Some(_), _) => self.chunked().await,
            (None, Some(length)) => self.try_exactly(length.parse().unwrap()).await,
            (None, None) => Some(Vec::new()),
        }
    }

    /// What has come since, at least a byte of it unless that was the end.
    pub(crate) async fn some(&mut self) -> Vec<u8> {
        if self.read.is_empty() {
            self.more().await.unwrap();
        }
        std::mem::take(&mut self.read)
    }

    /// A whole answer to a request with any method but HEAD.
    pub(crate) async fn answer(&mut self) -> Answer {
        let head = self.head().await;
        let body = match status(&head) {
            204 | 304 => Vec::new(),
            _ => self.body(&head).await.unwrap_or_else(|| panic!("its body ends early: {head}")),
        };
        Answer { head, body }
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
    pub(crate) async fn rest(&mut self) -> String {
        while self.more().await.unwrap() > 0 {}
        lossless(&std::mem::take(&mut self.read))
    }

    /// All until the other side resets the connection.
    pub(crate) async fn until_reset(&mut self) -> String {
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

    pub(crate) fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }
}

/// An answer that has arrived whole.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        status(&self.head)
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }

    pub(crate) fn text(&self) -> &str {
        str::from_utf8(&self.body).unwrap()
    }

    /// What the cache says it did: `hit`, `collapsed`, or why the request went forward.
    #[track_caller]
    pub(crate) fn handling(&self) -> &str {
        let status = self.field("cache-status").unwrap_or_else(|| panic!("{}", self.head));
        let parameters: Vec<_> = status.split(';').skip(1).collect();
        ["hit", "collapsed"]
            .into_iter()
            .find(|word| parameters.contains(word))
            .or_else(|| parameters.iter().find_map(|parameter| parameter.strip_prefix("fwd=")))
            .unwrap_or_else(|| panic!("says nothing: {status}"))
    }
}

/// The three digits of a status line.
pub(crate) fn status(answer: &str) -> u16 {
    let digits = answer.split(' ').nth(1).unwrap_or_default();
    digits.parse().unwrap_or_else(|_| panic!("no status: {answer:?}"))
}

/// The first value of a field in a head.
pub(crate) fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// Each byte as the character of the same number.
fn lossless(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}
