//! Client: one kept connection that asks and reads whole answers, for all that is not load.

use std::{net::SocketAddr, ops::Range, time::Duration};

use anyhow::{Context, bail, ensure};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::certificate::{Certificate, HOST};

/// Longer than any answer of the bench takes.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Client {
    stream: Box<dyn Stream>,
    arrived: Vec<u8>,
}

/// In the open, or over TLS.
trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<IO: AsyncRead + AsyncWrite + Unpin> Stream for IO {}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// What a head says about the bytes after it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) head_bytes: usize,
    pub(crate) body_bytes: usize,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> anyhow::Result<Client> {
        Ok(Client::on(connect(address).await?))
    }

    pub(crate) async fn connect_over_tls(
        address: SocketAddr,
        certificate: &Certificate,
    ) -> anyhow::Result<Client> {
        Ok(Client::on(certificate.greet(connect(address).await?).await?))
    }

    fn on(stream: impl Stream + 'static) -> Client {
        Client { stream: Box::new(stream), arrived: Vec::new() }
    }

    /// Dropped before its end, it leaves the connection unusable.
    pub(crate) async fn get(
        &mut self,
        path: &str,
        fields: &[(&str, &str)],
    ) -> anyhow::Result<Answer> {
        self.exchange(request(path, fields).as_bytes()).await
    }

    /// Sends so many bytes. Dropped before its end, it leaves the connection unusable.
    pub(crate) async fn post(&mut self, path: &str, bytes: usize) -> anyhow::Result<Answer> {
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {bytes}\r\n\r\n");
        self.exchange(&[head.as_bytes(), &vec![b'x'; bytes]].concat()).await
    }

    async fn exchange(&mut self, request: &[u8]) -> anyhow::Result<Answer> {
        timeout(PATIENCE, self.exchange_at_once(request))
            .await
            .context("no answer within a minute")?
    }

    async fn exchange_at_once(&mut self, request: &[u8]) -> anyhow::Result<Answer> {
        self.stream.write_all(request).await?;
        let head = loop {
            if let Some(head) = head(&self.arrived)? {
                break head;
            }
            ensure!(self.stream.read_buf(&mut self.arrived).await? > 0, "closed before an answer");
        };
        let end = head.head_bytes + head.body_bytes;
        while self.arrived.len() < end {
            ensure!(self.stream.read_buf(&mut self.arrived).await? > 0, "closed within an answer");
        }
        let body = self.arrived[head.head_bytes..end].to_vec();
        self.arrived.drain(..end);
        Ok(Answer { status: head.status, body })
    }
}

async fn connect(address: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

pub(crate) fn request(path: &str, fields: &[(&str, &str)]) -> String {
    let mut request = format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n");
    for (name, value) in fields {
        request += &format!("{name}: {value}\r\n");
    }
    request + "\r\n"
}

/// None as long as the head has not come whole.
pub(crate) fn head(arrived: &[u8]) -> anyhow::Result<Option<Head>> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(head_bytes) = response.parse(arrived)? else {
        return Ok(None);
    };
    let status = response.code.context("an answer without a status")?;
    let length =
        response.headers.iter().find(|field| field.name.eq_ignore_ascii_case("content-length"));
    let body_bytes = match length {
        _ if status == 304 => 0,
        Some(length) => std::str::from_utf8(length.value)?.trim().parse()?,
        None => bail!("an answer without Content-Length"),
    };
    Ok(Some(Head { status, head_bytes, body_bytes }))
}

/// Asks for a path for each number, each once, over some connections at a time.
pub(crate) async fn get_each(
    address: SocketAddr,
    numbers: Range<usize>,
    path: impl Fn(usize) -> String,
) -> anyhow::Result<()> {
    const CONNECTIONS: usize = 32;
    let one = async |first: usize| {
        let mut client = Client::connect(address).await?;
        for number in numbers.clone().skip(first).step_by(CONNECTIONS) {
            let answer = client.get(&path(number), &[]).await?;
            ensure!(answer.status == 200, "{}: status {}", path(number), answer.status);
        }
        anyhow::Ok(())
    };
    futures_util::future::try_join_all((0..CONNECTIONS).map(one)).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_says_how_long_its_body_is() {
        let answer = b"HTTP/1.1 206 Partial Content\r\nAge: 1\r\ncontent-length: 12\r\n\r\nabc";
        let head_bytes = answer.len() - 3;
        assert_eq!(head(answer).unwrap(), Some(Head { status: 206, head_bytes, body_bytes: 12 }));
        assert_eq!(head(&answer[..20]).unwrap(), None);
        assert!(head(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }

    #[test]
    fn a_304_has_no_body_whatever_its_length_field_says() {
        let answer = b"HTTP/1.1 304 Not Modified\r\nContent-Length: 12\r\n\r\n";
        assert_eq!(head(answer).unwrap().unwrap().body_bytes, 0);
    }
}
