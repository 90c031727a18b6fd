//! Origin: a scripted service behind every contestant. The path says what is answered and after how
//! long, and every call is counted.
//!
//! | path | answer |
//! | --- | --- |
//! | `/fixed/BYTES/…` | cacheable for a day |
//! | `/vary/BYTES/…` | likewise, and varies by `Accept-Encoding` |
//! | `/nostore/BYTES/…` | `no-store` |
//! | `/slow/MS/BYTES/…` | cacheable, after that time |
//! | `/slow-nostore/MS/BYTES/…` | `no-store`, after that time |
//! | `/calls` | how often something was asked in all |
//! | `/calls/PATH` | how often that path was asked |

use std::{cell::RefCell, collections::HashMap, net::Ipv4Addr, rc::Rc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    task::LocalSet,
};

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

/// Answers until it is killed; says its address in a line.
pub(crate) async fn serve() -> anyhow::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    let listener = socket.listen(4096)?;
    println!("{}", listener.local_addr()?);
    let calls = Rc::new(RefCell::new(Calls::default()));
    LocalSet::new()
        .run_until(async {
            loop {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                let calls = calls.clone();
                // A contestant that hangs up has nobody left to be told.
                tokio::task::spawn_local(async move { answer_all(stream, &calls).await.ok() });
            }
        })
        .await
}

async fn answer_all(mut stream: TcpStream, calls: &RefCell<Calls>) -> anyhow::Result<()> {
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
        let answer = match path.strip_prefix("/calls") {
            Some(path) => {
                let calls = calls.borrow();
                let count = match path {
                    "" => calls.total,
                    path => calls.by_path.get(path).copied().unwrap_or_default(),
                };
                let count = count.to_string();
                format!("HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: {}\r\n\r\n{count}", count.len())
                    .into_bytes()
            }
            None => {
                {
                    let mut calls = calls.borrow_mut();
                    calls.total += 1;
                    *calls.by_path.entry(path.to_owned()).or_default() += 1;
                }
                match script(path) {
                    Some(script) => {
                        if !script.delay.is_zero() {
                            tokio::time::sleep(script.delay).await;
                        }
                        script.answer()
                    }
                    None => b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec(),
                }
            }
        };
        stream.write_all(&answer).await?;
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
    fn answer(&self) -> Vec<u8> {
        let date = httpdate::fmt_http_date(std::time::SystemTime::now());
        let mut answer = format!(
            "HTTP/1.1 200 OK\r\nDate: {date}\r\nServer: origin\r\nContent-Type: text/html; charset=utf-8\r\n\
             Content-Length: {}\r\n{}ETag: {ETAG}\r\nLast-Modified: Tue, 03 Mar 2026 10:00:00 GMT\r\n\
             X-Content-Type-Options: nosniff\r\n\r\n",
            self.body_bytes, self.fields
        )
        .into_bytes();
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
}
