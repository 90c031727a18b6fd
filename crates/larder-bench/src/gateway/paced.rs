//! Paced: requests at a fixed rate, whether or not the last ones were answered. Latency counts from the
//! moment at which a request was due, so that a server that stalls pays for all it kept waiting, not only
//! for those it had taken in (coordinated omission).

use std::{
    collections::VecDeque,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use hdrhistogram::Histogram;
use rustix::{buffer::spare_capacity, event::epoll};

use super::client::head;

const CONNECTIONS: usize = 64;
/// What the last answers may take once nothing more is asked.
const DRAIN: Duration = Duration::from_secs(2);

/// Latencies in microseconds.
#[derive(Debug)]
pub(crate) struct Latencies {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
}

struct Connection {
    stream: TcpStream,
    arrived: Vec<u8>,
    /// When the request under way was due.
    due: Option<Instant>,
}

/// Keeps the core it runs on busy: it never sleeps, for a timer is coarser than what is measured.
pub(crate) fn run(
    address: SocketAddr,
    request: &[u8],
    per_second: u32,
    slice: Duration,
) -> anyhow::Result<Latencies> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut connections = Vec::with_capacity(CONNECTIONS);
    for number in 0..CONNECTIONS {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        epoll::add(
            &epoll,
            &stream,
            epoll::EventData::new_u64(number as u64),
            epoll::EventFlags::IN,
        )?;
        connections.push(Connection { stream, arrived: Vec::new(), due: None });
    }
    let mut free: VecDeque<usize> = (0..CONNECTIONS).collect();
    let mut histogram = Histogram::<u64>::new(3)?;
    let mut events = Vec::with_capacity(CONNECTIONS);
    let mut part = vec![0; 1 << 14];

    let due = |number: u32| Duration::from_secs(1) * number / per_second;
    let all = u32::try_from(u128::from(per_second) * slice.as_nanos() / 1_000_000_000)?;
    let (mut asked, mut answered) = (0, 0);
    // The connections are warm once the first requests are through; those do not count.
    let began = Instant::now() + Duration::from_millis(20);
    while answered < all {
        let now = Instant::now();
        if now > began + slice + DRAIN {
            // Whoever has no answer yet has waited for this long at least.
            let under_way = connections.iter().filter_map(|connection| connection.due);
            for due in under_way.chain((asked..all).map(|number| began + due(number))) {
                histogram.record(u64::try_from((now - due).as_nanos())?)?;
            }
            break;
        }
        while asked < all && began + due(asked) <= now {
            let Some(number) = free.pop_front() else { break };
            let connection = &mut connections[number];
            connection.due = Some(began + due(asked));
            // A request is smaller than any socket's buffer.
            connection.stream.write_all(request)?;
            asked += 1;
        }
        match epoll::wait(
            &epoll,
            spare_capacity(&mut events),
            Some(&rustix::time::Timespec::default()),
        ) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in events.drain(..) {
            let number = usize::try_from(event.data.u64())?;
            let connection = &mut connections[number];
            if !connection.receive(&mut part)? {
                continue;
            }
            let due = connection.due.take().context("an answer that nobody asked for")?;
            histogram.record(u64::try_from(due.elapsed().as_nanos())?)?;
            answered += 1;
            free.push_back(number);
        }
    }
    let at = |share| histogram.value_at_quantile(share) as f64 / 1000.0;
    Ok(Latencies { p50: at(0.5), p99: at(0.99), p999: at(0.999) })
}

impl Connection {
    /// Whether an answer has come whole. What is read into is lent, for it is dear to make.
    fn receive(&mut self, part: &mut [u8]) -> anyhow::Result<bool> {
        let part = match self.stream.read(part) {
            Ok(0) => bail!("closed under load"),
            Ok(count) => &part[..count],
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        // Nearly always an answer comes in one piece, and need not be kept.
        let arrived = if self.arrived.is_empty() {
            part
        } else {
            self.arrived.extend_from_slice(part);
            &self.arrived
        };
        let head = head(arrived)?;
        if let Some(head) = head.filter(|head| arrived.len() >= head.head_bytes + head.body_bytes) {
            ensure!(head.status == 200, "status {}", head.status);
            self.arrived.clear();
            return Ok(true);
        }
        if self.arrived.is_empty() {
            self.arrived.extend_from_slice(part);
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread};

    use super::*;

    #[test]
    fn who_is_never_answered_has_waited_to_the_end() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen =
            run(address, b"GET / HTTP/1.1\r\n\r\n", 1000, Duration::from_millis(100)).unwrap();
        assert!(seen.p50 >= DRAIN.as_secs_f64() * 1e6, "{seen:?}");
    }

    #[test]
    fn a_server_that_stalls_pays_for_all_it_kept_waiting() {
        let stall = Duration::from_millis(200);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let mut streams: Vec<_> =
                (0..CONNECTIONS).map(|_| listener.accept().unwrap().0).collect();
            for stream in &streams {
                stream.set_nonblocking(true).unwrap();
            }
            let mut answered = 0;
            loop {
                for stream in &mut streams {
                    if matches!(stream.read(&mut [0; 1024]), Ok(1..)) {
                        answered += 1;
                        if answered == 100 {
                            thread::sleep(stall);
                        }
                        if stream
                            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                            .is_err()
                        {
                            return;
                        }
                    } else if matches!(stream.peek(&mut [0]), Ok(0)) {
                        return;
                    }
                }
            }
        });
        let request = b"GET / HTTP/1.1\r\n\r\n";
        let seen = run(address, request, 1000, Duration::from_millis(500)).unwrap();
        // 200 of 500 were due while it stalled, though only 64 could be under way.
        let stall = stall.as_secs_f64() * 1e6;
        assert!(seen.p99 > stall * 0.8, "{seen:?}");
    }
}
