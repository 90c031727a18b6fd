//! Limit: what one core can do at best. An epoll loop that looks for the blank line of each request and
//! sends bytes that were made beforehand: one `recv` and one `send` for a hit, and nothing else.

use std::{
    fmt,
    io::{self, ErrorKind, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    str::FromStr,
};

use anyhow::{Context, bail};
use rustix::{buffer::spare_capacity, event::epoll};

/// An answer that is always the same: `200:2304` is a 200 with 2304 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Baked {
    pub(crate) status: u16,
    pub(crate) body_bytes: usize,
}

impl fmt::Display for Baked {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.status, self.body_bytes)
    }
}

impl FromStr for Baked {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Baked> {
        let (status, body_bytes) = text.split_once(':').context("an answer is STATUS:BYTES")?;
        Ok(Baked { status: status.parse()?, body_bytes: body_bytes.parse()? })
    }
}

impl Baked {
    /// The fields are those of a cache's answer, so that as many bytes go out.
    fn bytes(self) -> anyhow::Result<Vec<u8>> {
        let Baked { status, body_bytes } = self;
        let (reason, length) = match status {
            200 => ("OK", format!("Content-Length: {body_bytes}\r\n")),
            206 => (
                "Partial Content",
                format!(
                    "Content-Length: {body_bytes}\r\nContent-Range: bytes 0-{}/16384\r\n",
                    body_bytes - 1
                ),
            ),
            304 => ("Not Modified", String::new()),
            _ => bail!("no answer with status {status} is known"),
        };
        let mut bytes = format!(
            "HTTP/1.1 {status} {reason}\r\nServer: origin\r\nContent-Type: text/html; charset=utf-8\r\n{length}\
             Cache-Control: public, max-age=86400\r\nETag: \"5f3c6a1b-900\"\r\n\
             Last-Modified: Tue, 03 Mar 2026 10:00:00 GMT\r\nX-Content-Type-Options: nosniff\r\n\
             Date: Tue, 03 Mar 2026 12:00:00 GMT\r\nAge: 12\r\nCache-Status: limit; hit; ttl=86388\r\n\r\n"
        )
        .into_bytes();
        bytes.extend(std::iter::repeat_n(b'x', body_bytes));
        Ok(bytes)
    }
}

/// Answers until it is killed. Says the address of each answer, a line each, in the given order.
pub(crate) fn serve(answers: &[Baked]) -> anyhow::Result<()> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut doors = Vec::new();
    for (number, answer) in answers.iter().enumerate() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        epoll::add(&epoll, &listener, data(number), epoll::EventFlags::IN)?;
        println!("{}", listener.local_addr()?);
        doors.push((listener, answer.bytes()?));
    }
    let mut readers: Vec<Option<Reader>> = Vec::new();
    let mut free: Vec<usize> = Vec::new();
    let mut events = Vec::with_capacity(256);
    loop {
        match epoll::wait(&epoll, spare_capacity(&mut events), None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in events.drain(..) {
            let number = usize::try_from(event.data.u64())?;
            let Some(slot) = number.checked_sub(doors.len()) else {
                while let Ok((stream, _)) = doors[number].0.accept() {
                    stream.set_nonblocking(true)?;
                    stream.set_nodelay(true)?;
                    let slot = free.pop().unwrap_or_else(|| {
                        readers.push(None);
                        readers.len() - 1
                    });
                    epoll::add(&epoll, &stream, data(doors.len() + slot), epoll::EventFlags::IN)?;
                    readers[slot] = Some(Reader { stream, door: number, matched: 0, owed: 0 });
                }
                continue;
            };
            let Some(reader) = &mut readers[slot] else { continue };
            let answer = &doors[reader.door].1;
            let was_owing = reader.owed > 0;
            if reader.go_on(answer).is_err() {
                readers[slot] = None;
                free.push(slot);
            } else if was_owing != (reader.owed > 0) {
                let waits_for =
                    if reader.owed > 0 { epoll::EventFlags::OUT } else { epoll::EventFlags::IN };
                epoll::modify(&epoll, &reader.stream, data(doors.len() + slot), waits_for)?;
            }
        }
    }
}

fn data(number: usize) -> epoll::EventData {
    epoll::EventData::new_u64(number as u64)
}

struct Reader {
    stream: TcpStream,
    door: usize,
    /// How much of the blank line has come.
    matched: usize,
    /// What has still to be sent, in all answers.
    owed: usize,
}

impl Reader {
    /// An error is the connection's end.
    fn go_on(&mut self, answer: &[u8]) -> io::Result<()> {
        if self.owed == 0 {
            let mut arrived = [0; 8192];
            let count = match self.stream.read(&mut arrived) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            self.owed = answer.len() * self.requests(&arrived[..count]);
        }
        while self.owed > 0 {
            let rest = self.owed % answer.len();
            let rest = if rest == 0 { answer } else { &answer[answer.len() - rest..] };
            match self.stream.write(rest) {
                Ok(count) => self.owed -= count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// How many requests end in what has arrived.
    fn requests(&mut self, arrived: &[u8]) -> usize {
        // The usual case: one whole request.
        let end = memchr::memmem::find(arrived, b"\r\n\r\n").map(|at| at + 4);
        if self.matched == 0 && end == Some(arrived.len()) {
            return 1;
        }
        let mut requests = 0;
        for &byte in arrived {
            self.matched = match (byte, self.matched) {
                (b'\r', 0 | 2) | (b'\n', 1 | 3) => self.matched + 1,
                (b'\r', _) => 1,
                _ => 0,
            };
            if self.matched == 4 {
                requests += 1;
                self.matched = 0;
            }
        }
        requests
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader() -> Reader {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        Reader { stream, door: 0, matched: 0, owed: 0 }
    }

    #[test]
    fn a_request_counts_once_however_it_arrives() {
        let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        for cut in 0..request.len() {
            let mut reader = reader();
            let counted =
                reader.requests(&request[..cut.max(1)]) + reader.requests(&request[cut.max(1)..]);
            assert_eq!(counted, 1, "cut after {cut}");
        }
        assert_eq!(reader().requests(&request.repeat(3)), 3);
    }

    #[test]
    fn an_answer_is_read_as_it_is_written() {
        let baked = Baked { status: 206, body_bytes: 1024 };
        assert_eq!(baked.to_string().parse::<Baked>().unwrap(), baked);
        assert!(baked.bytes().unwrap().ends_with(&[b'x'; 1024]));
    }
}
