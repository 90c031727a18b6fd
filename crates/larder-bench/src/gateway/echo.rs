//! Echo: WebSockets on which a message goes out and comes back (RFC 6455), one after the other.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::certificate::HOST;

/// The longest for which a frame tells the length in its second byte.
pub(crate) const MESSAGE_BYTES: usize = 125;

/// The key and what follows from it are those of the standard's own example (RFC 6455 §1.3): nobody between the two ends
/// asks for others.
pub(crate) const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLBMTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

const PATIENCE: Duration = Duration::from_secs(10);

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
/// A whole message of bytes, in one frame.
const BINARY: u8 = 0x82;
const IS_MASKED: u8 = 0x80;

/// As a client sends it: what it says is masked.
fn message() -> Vec<u8> {
    let mut frame = vec![BINARY, IS_MASKED | MESSAGE_BYTES as u8];
    frame.extend(MASK);
    frame.extend((0..MESSAGE_BYTES).map(|at| b'x' ^ MASK[at % 4]));
    frame
}

/// As it comes back.
fn echoed() -> Vec<u8> {
    let mut frame = vec![BINARY, MESSAGE_BYTES as u8];
    frame.extend([b'x'; MESSAGE_BYTES]);
    frame
}

/// The origin's side, from behind its answer to the end. `arrived`: what came with the request.
pub(crate) async fn answer_all(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    mut arrived: Vec<u8>,
) -> anyhow::Result<()> {
    loop {
        while let Some((answer, length)) = answer(&arrived)? {
            arrived.drain(..length);
            stream.write_all(&answer).await?;
        }
        if stream.read_buf(&mut arrived).await? == 0 {
            return Ok(());
        }
    }
}

/// What comes back for the message at the front, and how long that is. `None`: it is not all there.
fn answer(arrived: &[u8]) -> anyhow::Result<Option<(Vec<u8>, usize)>> {
    let [BINARY, length, rest @ ..] = arrived else {
        ensure!(arrived.len() < 2, "another frame than a short message");
        return Ok(None);
    };
    let bytes = usize::from(length ^ IS_MASKED);
    ensure!(bytes <= MESSAGE_BYTES, "a long message, or one without a mask");
    let Some((mask, rest)) = rest.split_first_chunk::<4>() else { return Ok(None) };
    let Some(masked) = rest.get(..bytes) else { return Ok(None) };
    let mut answer = vec![BINARY, length ^ IS_MASKED];
    answer.extend(masked.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    Ok(Some((answer, 2 + 4 + bytes)))
}

/// One connection of a client, switched.
pub(crate) struct Socket {
    stream: TcpStream,
    message: Vec<u8>,
    expected: Vec<u8>,
    room: Vec<u8>,
}

impl Socket {
    pub(crate) async fn open(address: SocketAddr, path: &str) -> anyhow::Result<Socket> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let expected = echoed();
        let room = vec![0; expected.len()];
        let mut socket = Socket { stream, message: message(), expected, room };
        timeout(PATIENCE, socket.switch(path)).await.context("no answer to an upgrade")??;
        Ok(socket)
    }

    async fn switch(&mut self, path: &str) -> anyhow::Result<()> {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        self.stream.write_all(request.as_bytes()).await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            // Byte by byte: what follows is no part of it.
            head.push(self.stream.read_u8().await.context("closed before an answer")?);
        }
        ensure!(head.starts_with(b"HTTP/1.1 101 "), "answers an upgrade otherwise");
        Ok(())
    }

    /// A message there and back.
    pub(crate) async fn exchange(&mut self) -> anyhow::Result<()> {
        self.stream.write_all(&self.message).await?;
        self.stream.read_exact(&mut self.room).await.context("closed before an echo")?;
        ensure!(self.room == self.expected, "another message came back");
        Ok(())
    }
}

/// As many messages as so many connections exchange for a while.
pub(crate) async fn run(
    address: SocketAddr,
    path: &str,
    connections: usize,
    slice: Duration,
) -> anyhow::Result<u64> {
    let open = (0..connections).map(|_| Socket::open(address, path));
    let sockets = futures_util::future::try_join_all(open).await?;
    let end = Instant::now() + slice;
    let one = async |mut socket: Socket| {
        let mut count = 0_u64;
        while Instant::now() < end {
            socket.exchange().await?;
            count += 1;
        }
        anyhow::Ok(count)
    };
    let all = futures_util::future::try_join_all(sockets.into_iter().map(one));
    let counts = timeout(slice + PATIENCE, all).await.context("an echo does not come")??;
    Ok(counts.into_iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_comes_back_as_it_was_said_whenever_it_is_all_there() {
        let sent = message();
        for end in 0..sent.len() {
            assert!(answer(&sent[..end]).unwrap().is_none(), "{end}");
        }
        let (back, length) = answer(&[&sent[..], &sent[..1]].concat()).unwrap().unwrap();
        assert_eq!((back, length), (echoed(), sent.len()));
        assert!(answer(&[0x88, 0x80]).is_err(), "a farewell");
        assert!(answer(&[BINARY, 5, 0]).is_err(), "without a mask");
    }
}
