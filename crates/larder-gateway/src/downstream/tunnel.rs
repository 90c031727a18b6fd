//! Tunnel: a connection that has switched protocols: bytes both ways, until both sides have ended.
//!
//! Neither direction waits for the other: a side that takes nothing holds up what is sent to it, and a few KiB are
//! all that waits for it here. While nothing waits, nothing is held.

use std::{
    future::poll_fn,
    io,
    mem::MaybeUninit,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;

use super::counters::{Counters, TunnelEnd};
use crate::{timer::Timer, upgrade::OriginStream};

/// Read at once. It lies on the stack, and what the other side does not take of it is kept.
const READ: usize = 16 << 10;
/// The most bytes of one direction in one turn of the event loop: then other connections have theirs.
const TURN: usize = 256 << 10;
/// A tunnel that is to end does so at the first pause that is as long as this.
const PAUSE: Duration = Duration::from_millis(100);

/// For how long a tunnel goes on.
pub(super) struct Limits<'a> {
    /// Without a byte in either direction, or with bytes that the other side does not take.
    pub(super) idle: Duration,
    /// Without a byte, once one side has ended.
    pub(super) half_closed: Duration,
    /// Once it is to end, however much moves.
    pub(super) stopping: Duration,
    /// Cancelled when it is to end.
    pub(super) drain: &'a CancellationToken,
    pub(super) counters: &'a Counters,
}

/// Goes on until both sides have ended, or it takes too long. Each side has been told of the other's end then; where
/// the tunnel broke off, neither has. `read`: what the reader has sent already.
pub(super) async fn run<IO: AsyncRead + AsyncWrite + Unpin>(
    reader: &mut IO,
    read: Bytes,
    origin: OriginStream,
    limits: Limits<'_>,
) -> TunnelEnd {
    let Limits { idle, half_closed, stopping, drain, counters } = limits;
    let open = counters.open_tunnel();
    let OriginStream { io: mut origin, read: read_of_origin } = origin;
    let (mut up, mut down) = (Direction::new(read), Direction::new(read_of_origin));
    let (mut quiet, mut last) = (Timer::default(), Timer::default());
    let mut drained = pin!(drain.cancelled());
    let mut is_draining = false;
    let end = poll_fn(|cx| {
        let moved = (up.moved, down.moved);
        let polled = (
            up.poll(&mut *reader, &mut origin, idle, cx),
            down.poll(&mut origin, &mut *reader, idle, cx),
        );
        let ended = match polled {
            (Poll::Ready(Err(end)), _) | (_, Poll::Ready(Err(end))) => Some(end),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Some(TunnelEnd::Closed),
            _ => None,
        };
        if let Some(end) = ended {
            return Poll::Ready(end);
        }
        if moved != (up.moved, down.moved) {
            quiet.clear();
        }
        if !is_draining && drained.as_mut().poll(cx).is_ready() {
            is_draining = true;
            quiet.clear();
            last.ensure(stopping);
        }
        let is_half_closed = polled.0.is_ready() || polled.1.is_ready();
        quiet.ensure(match (is_draining, is_half_closed) {
            (true, _) => PAUSE,
            (false, true) => half_closed.min(idle),
            (false, false) => idle,
        });
        let is_over = last.poll_passed(cx).is_ready();
        if quiet.poll_passed(cx).is_pending() && !is_over {
            return Poll::Pending;
        }
        Poll::Ready(match (is_draining, is_half_closed) {
            (true, _) => TunnelEnd::Stopped,
            (false, true) => TunnelEnd::HalfClosed,
            (false, false) => TunnelEnd::Idle,
        })
    })
    .await;
    open.ended(end, up.moved, down.moved);
    end
}

/// What goes from one side to the other.
struct Direction {
    /// Read, and not taken yet by the other side.
    waiting: Bytes,
    /// Since when none of that is taken.
    stuck: Timer,
    state: State,
    moved: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// One side has ended, and the other is to be told.
    Ending,
    Ended,
}

impl Direction {
    fn new(waiting: Bytes) -> Direction {
        Direction { waiting, stuck: Timer::default(), state: State::Open, moved: 0 }
    }

    /// Ready once `from` has ended and `to` was told, or something is wrong.
    fn poll<F, T>(
        &mut self,
        from: &mut F,
        to: &mut T,
        patience: Duration,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), TunnelEnd>>
    where
        F: AsyncRead + Unpin,
        T: AsyncWrite + Unpin,
    {
        let before = self.moved;
        match self.poll_move(from, to, cx) {
            Poll::Ready(moved) => Poll::Ready(moved.map_err(|_| TunnelEnd::Broken)),
            Poll::Pending => {
                if self.waiting.is_empty() || self.moved != before {
                    self.stuck.clear();
                }
                if !self.waiting.is_empty() {
                    self.stuck.ensure(patience);
                }
                self.stuck.poll_passed(cx).map(|()| Err(TunnelEnd::Stuck))
            }
        }
    }

    fn poll_move<F, T>(
        &mut self,
        from: &mut F,
        to: &mut T,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>>
    where
        F: AsyncRead + Unpin,
        T: AsyncWrite + Unpin,
    {
        let mut room = TURN;
        loop {
            while !self.waiting.is_empty() {
                let written = ready!(Pin::new(&mut *to).poll_write(cx, &self.waiting))?;
                self.took(written)?;
                self.waiting.advance(written);
            }
            // What is left of it would keep all that it was read with.
            self.waiting = Bytes::new();
            match self.state {
                State::Open if room == 0 => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                State::Open => {
                    let mut stack = [MaybeUninit::uninit(); READ];
                    let mut read = ReadBuf::uninit(&mut stack);
                    if Pin::new(&mut *from).poll_read(cx, &mut read)?.is_pending() {
                        ready!(Pin::new(&mut *to).poll_flush(cx))?;
                        return Poll::Pending;
                    }
                    let read = read.filled();
                    if read.is_empty() {
                        self.state = State::Ending;
                        continue;
                    }
                    room = room.saturating_sub(read.len());
                    let taken = match Pin::new(&mut *to).poll_write(cx, read)? {
                        Poll::Ready(taken) => {
                            self.took(taken)?;
                            taken
                        }
                        Poll::Pending => 0,
                    };
                    self.waiting = Bytes::copy_from_slice(&read[taken..]);
                }
                State::Ending => {
                    ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                    self.state = State::Ended;
                }
                State::Ended => return Poll::Ready(Ok(())),
            }
        }
    }

    fn took(&mut self, bytes: usize) -> io::Result<()> {
        self.moved += bytes as u64;
        if bytes == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    /// What a side holds before it makes the other wait.
    const PIPE: usize = 4 << 10;

    struct Ends {
        reader: DuplexStream,
        origin: DuplexStream,
        drain: CancellationToken,
        end: tokio::task::JoinHandle<TunnelEnd>,
    }

    fn tunnel(read: &'static [u8], read_of_origin: &'static [u8]) -> Ends {
        let ((reader, mut of_reader), (origin, of_origin)) = (duplex(PIPE), duplex(PIPE));
        let drain = CancellationToken::new();
        let token = drain.clone();
        let end = tokio::spawn(async move {
            let counters = Counters::default();
            let limits = Limits {
                idle: Duration::from_secs(60),
                half_closed: Duration::from_secs(10),
                stopping: Duration::from_secs(3),
                drain: &token,
                counters: &counters,
            };
            let read_of_origin = Bytes::from_static(read_of_origin);
            let stream = OriginStream { io: Box::new(of_origin), read: read_of_origin };
            run(&mut of_reader, Bytes::from_static(read), stream, limits).await
        });
        Ends { reader, origin, drain, end }
    }

    #[tokio::test(start_paused = true)]
    async fn what_came_early_goes_first_and_each_side_hears_of_the_others_end() {
        let Ends { mut reader, mut origin, end, .. } = tunnel(b"early ", b"soon ");
        reader.write_all(b"late").await.unwrap();
        reader.shutdown().await.unwrap();
        let mut heard = String::new();
        origin.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "early late");
        origin.write_all(b"after all").await.unwrap();
        origin.shutdown().await.unwrap();
        let mut heard = String::new();
        reader.read_to_string(&mut heard).await.unwrap();
        assert_eq!((heard.as_str(), end.await.unwrap()), ("soon after all", TunnelEnd::Closed));
    }

    #[tokio::test(start_paused = true)]
    async fn a_side_that_takes_nothing_holds_up_what_is_sent_to_it_and_nothing_else() {
        let Ends { mut reader, mut origin, end, .. } = tunnel(b"", b"");
        let chunk = [7; 1 << 10];
        let mut sent = 0;
        while let Ok(wrote) =
            tokio::time::timeout(Duration::from_millis(10), origin.write(&chunk)).await
        {
            sent += wrote.unwrap();
            assert!(sent <= 2 * PIPE + READ, "{sent}");
        }
        for round in 0..100_u8 {
            reader.write_all(&[round]).await.unwrap();
            assert_eq!(origin.read_u8().await.unwrap(), round);
            tokio::time::advance(Duration::from_millis(100)).await;
        }
        let mut taken = vec![0; sent];
        reader.read_exact(&mut taken).await.unwrap();
        assert!(taken.iter().all(|byte| *byte == 7) && !end.is_finished());
    }

    #[tokio::test(start_paused = true)]
    async fn a_side_that_never_takes_anything_does_not_live_from_what_it_sends() {
        let Ends { mut reader, mut origin, end, .. } = tunnel(b"", b"");
        let flood = tokio::spawn(async move {
            let chunk = [7; 1 << 10];
            while origin.write_all(&chunk).await.is_ok() {}
        });
        while !end.is_finished() {
            reader.write_all(b"ping").await.ok();
            tokio::time::advance(Duration::from_secs(1)).await;
            tokio::task::yield_now().await;
        }
        assert_eq!(end.await.unwrap(), TunnelEnd::Stuck);
        flood.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_it_sooner_once_one_side_has_ended() {
        let began = tokio::time::Instant::now();
        let Ends { reader, origin, end, .. } = tunnel(b"", b"");
        assert_eq!((end.await.unwrap(), began.elapsed().as_secs()), (TunnelEnd::Idle, 60));
        drop((reader, origin));
        let began = tokio::time::Instant::now();
        let Ends { reader: _reader, mut origin, end, .. } = tunnel(b"", b"");
        origin.shutdown().await.unwrap();
        assert_eq!((end.await.unwrap(), began.elapsed().as_secs()), (TunnelEnd::HalfClosed, 10));
    }

    #[tokio::test(start_paused = true)]
    async fn a_tunnel_that_is_to_end_lets_a_message_under_way_end_but_not_for_long() {
        let Ends { mut reader, mut origin, drain, end } = tunnel(b"", b"");
        reader.write_all(b"half a ").await.unwrap();
        drain.cancel();
        tokio::time::sleep(PAUSE / 2).await;
        reader.write_all(b"message").await.unwrap();
        assert_eq!(end.await.unwrap(), TunnelEnd::Stopped);
        let mut heard = String::new();
        origin.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "half a message");

        let began = tokio::time::Instant::now();
        let Ends { mut reader, mut origin, drain, end } = tunnel(b"", b"");
        drain.cancel();
        while !end.is_finished() {
            reader.write_all(b"on").await.ok();
            let mut heard = [0; 2];
            origin.read_exact(&mut heard).await.ok();
            tokio::time::sleep(PAUSE / 2).await;
        }
        assert_eq!((end.await.unwrap(), began.elapsed().as_secs()), (TunnelEnd::Stopped, 3));
    }
}
