//! Origin: a scripted service behind every contestant. The path says what is answered and after how
//! long, and every call is counted. It is reached in the open, over TLS, and by HTTP/2.
//!
//! | path | answer |
//! | --- | --- |
//! | `/fixed/BYTES/…` | cacheable for a day |
//! | `/vary/BYTES/…` | likewise, and varies by `Accept-Encoding` |
//! | `/nostore/BYTES/…` | `no-store` |
//! | `/slow/MS/BYTES/…` | cacheable, after that time |
//! | `/slow-nostore/MS/BYTES/…` | `no-store`, after that time |
//! | `/upload/…` | how many bytes have come, and `no-store` |
//! | `/echo/…` | a WebSocket, on which each message comes back |
//! | `/calls` | how often something was asked in all |
//! | `/calls/PATH` | how often that path was asked |

use std::{cell::RefCell, collections::HashMap, net::Ipv4Addr, path::Path, rc::Rc, time::Duration};

use anyhow::{Context, ensure};
use bytes::Bytes;
use h2::server::SendResponse;
use http::{Request, Response};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    task::LocalSet,
};
use tokio_rustls::TlsAcceptor;

use super::{certificate, echo};

pub(crate) const ETAG: &str = "\"5f3c6a1b-900\"";

#[derive(Default)]
struct Calls {
    total: u64,
    by_path: HashMap<String, u64>,
}

/// What a path asks for.
#[derive(Debug, PartialEq, Eq)]
struct Script {
    delay: Duration,
    body_bytes: usize,
    fields: &'static str,
}

/// Answers until it is killed. Says where, in a line each: in the open and, where a certificate lies in the folder, over
/// TLS and by HTTP/2 in the open.
pub(crate) async fn serve(folder: Option<&Path>) -> anyhow::Result<()> {
    let calls = Rc::new(RefCell::new(Calls::default()));
    let mut doors = vec![(listen()?, Door::Plain)];
    if let Some(folder) = folder {
        doors.push((listen()?, Door::Tls(certificate::acceptor(folder)?)));
        doors.push((listen()?, Door::Http2));
    }
    for (listener, _) in &doors {
        println!("{}", listener.local_addr()?);
    }
    let each = async |(listener, door): (TcpListener, Door)| -> anyhow::Result<()> {
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let (calls, door) = (Rc::clone(&calls), door.clone());
            // A contestant that hangs up has nobody left to be told.
            tokio::task::spawn_local(async move { door.answer_all(stream, &calls).await.ok() });
        }
    };
    let all = futures_util::future::try_join_all(doors.into_iter().map(each));
    LocalSet::new().run_until(all).await?;
    Ok(())
}

/// How the origin is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    Plain,
    Tls,
    /// In the open.
    Http2,
}

fn listen() -> anyhow::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    Ok(socket.listen(4096)?)
}

/// Where connections come in.
#[derive(Clone)]
enum Door {
    Plain,
    Tls(TlsAcceptor),
    Http2,
}

impl Door {
    async fn answer_all(
        &self,
        stream: TcpStream,
        calls: &Rc<RefCell<Calls>>,
    ) -> anyhow::Result<()> {
        match self {
            Door::Plain => answer_all(stream, calls).await,
            Door::Tls(acceptor) => answer_all(acceptor.accept(stream).await?, calls).await,
            Door::Http2 => {
                let mut connection = h2::server::handshake(stream).await?;
                while let Some(asked) = connection.accept().await {
                    let (request, respond) = asked?;
                    let calls = Rc::clone(calls);
                    tokio::task::spawn_local(async move {
                        answer_stream(&request, respond, &calls).await.ok();
                    });
                }
                Ok(())
            }
        }
    }
}

async fn answer_stream<B>(
    request: &Request<B>,
    mut respond: SendResponse<Bytes>,
    calls: &RefCell<Calls>,
) -> anyhow::Result<()> {
    let path = request.uri().path();
    calls.borrow_mut().count(path);
    let Some(script) = script(path) else {
        respond.send_response(Response::builder().status(404).body(())?, true)?;
        return Ok(());
    };
    tokio::time::sleep(script.delay).await;
    let answer = script.fields();
    let fields = answer.lines().filter_map(|line| line.split_once(": "));
    let head = fields.fold(Response::builder(), |head, (name, value)| head.header(name, value));
    let mut body = respond.send_response(head.body(())?, false)?;
    body.send_data(vec![b'x'; script.body_bytes].into(), true)?;
    Ok(())
}

async fn answer_all(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    calls: &RefCell<Calls>,
) -> anyhow::Result<()> {
    let mut arrived = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = memchr::memmem::find(&arrived, b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut arrived).await? == 0 {
                return Ok(());
            }
        };
        let head = String::from_utf8_lossy(&arrived[..end]).into_owned();
        arrived.drain(..end);
        let path = head.split(' ').nth(1).unwrap_or_default();
        if let Some(path) = path.strip_prefix("/calls") {
            let count = calls.borrow().of(path);
            stream.write_all(&told(count)).await?;
            continue;
        }
        calls.borrow_mut().count(path);
        if path.starts_with("/echo/") {
            stream.write_all(echo::SWITCHED.as_bytes()).await?;
            return echo::answer_all(stream, arrived).await;
        }
        if path.starts_with("/upload/") {
            let length = length_of(&head)?;
            take(&mut stream, &mut arrived, length).await?;
            stream.write_all(&told(length as u64)).await?;
            continue;
        }
        let answer = match script(path) {
            Some(script) => {
                if !script.delay.is_zero() {
                    tokio::time::sleep(script.delay).await;
                }
                script.answer()
            }
            None => b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec(),
        };
        stream.write_all(&answer).await?;
    }
}

/// What `Content-Length` says, or nothing. Whoever sends a body in chunks cannot be compared here.
fn length_of(head: &str) -> anyhow::Result<usize> {
    let value = |name: &str| {
        head.lines().filter_map(|line| line.split_once(':')).find_map(|(own, value)| {
            own.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    };
    ensure!(value("transfer-encoding").is_none(), "an upload in chunks");
    value("content-length").map_or(Ok(0), |length| length.parse().context("a length"))
}

/// Takes so many bytes in, and keeps none.
async fn take(
    stream: &mut (impl AsyncRead + Unpin),
    arrived: &mut Vec<u8>,
    length: usize,
) -> anyhow::Result<()> {
    let mut left = length - length.min(arrived.len());
    arrived.drain(..length.min(arrived.len()));
    let mut room = vec![0; 64 << 10];
    while left > 0 {
        let most = left.min(room.len());
        let count = stream.read(&mut room[..most]).await?;
        ensure!(count > 0, "an upload that breaks off");
        left -= count;
    }
    Ok(())
}

/// An answer that tells a number.
fn told(number: u64) -> Vec<u8> {
    let number = number.to_string();
    format!(
        "HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: {}\r\n\r\n{number}",
        number.len()
    )
    .into_bytes()
}

impl Calls {
    fn count(&mut self, path: &str) {
        self.total += 1;
        *self.by_path.entry(path.to_owned()).or_default() += 1;
    }

    /// How often this path was asked, or anything.
    fn of(&self, path: &str) -> u64 {
        match path {
            "" => self.total,
            path => self.by_path.get(path).copied().unwrap_or_default(),
        }
    }
}

fn script(path: &str) -> Option<Script> {
    const CACHEABLE: &str = "Cache-Control: public, max-age=86400\r\n";
    const NO_STORE: &str = "Cache-Control: no-store\r\n";
    let mut parts = path.strip_prefix('/')?.split('/');
    let (is_slow, fields) = match parts.next()? {
        "fixed" => (false, CACHEABLE),
        "vary" => (false, "Cache-Control: public, max-age=86400\r\nVary: Accept-Encoding\r\n"),
        "nostore" => (false, NO_STORE),
        "slow" => (true, CACHEABLE),
        "slow-nostore" => (true, NO_STORE),
        _ => return None,
    };
    let delay = if is_slow { parts.next()?.parse().ok()? } else { 0 };
    let body_bytes = parts.next()?.parse().ok()?;
    Some(Script { delay: Duration::from_millis(delay), body_bytes, fields })
}

impl Script {
    /// As lines.
    fn fields(&self) -> String {
        let date = httpdate::fmt_http_date(std::time::SystemTime::now());
        format!(
            "Date: {date}\r\nServer: origin\r\nContent-Type: text/html; charset=utf-8\r\n\
             Content-Length: {}\r\n{}ETag: {ETAG}\r\nLast-Modified: Tue, 03 Mar 2026 10:00:00 GMT\r\n\
             X-Content-Type-Options: nosniff\r\n",
            self.body_bytes, self.fields
        )
    }

    fn answer(&self) -> Vec<u8> {
        let mut answer = format!("HTTP/1.1 200 OK\r\n{}\r\n", self.fields()).into_bytes();
        answer.extend(std::iter::repeat_n(b'x', self.body_bytes));
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_decides_what_is_answered() {
        let slow = script("/slow-nostore/2000/512/a").unwrap();
        assert_eq!((slow.delay.as_secs(), slow.body_bytes), (2, 512));
        assert!(slow.fields.contains("no-store"));
        assert!(script("/vary/9/b").unwrap().fields.contains("Vary"));
        assert_eq!(script("/else/9"), None);
        assert_eq!(script("/fixed/many"), None);
    }

    #[test]
    fn an_answer_has_the_body_it_announces() {
        let answer = script("/fixed/37/c").unwrap().answer();
        let head = memchr::memmem::find(&answer, b"\r\n\r\n").unwrap() + 4;
        assert_eq!(answer.len() - head, 37);
    }

    #[tokio::test]
    async fn an_upload_is_taken_to_its_end_and_no_further() {
        let head = "POST /upload/a HTTP/1.1\r\nHost: a\r\ncontent-length: 5\r\n\r\n";
        assert_eq!(length_of(head).unwrap(), 5);
        assert!(length_of("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
        let mut arrived = b"ab".to_vec();
        let mut stream = &b"cdeGET"[..];
        take(&mut stream, &mut arrived, 5).await.unwrap();
        assert_eq!((arrived.len(), stream), (0, &b"GET"[..]));
        let mut arrived = b"abcdeGET".to_vec();
        take(&mut stream, &mut arrived, 5).await.unwrap();
        assert_eq!(arrived, b"GET");
    }
}
