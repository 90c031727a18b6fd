//! Relay: a port that passes on what is said to another one, or holds it up, or answers in its place.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::{JoinHandle, JoinSet},
    time::sleep,
};

/// So many pieces wait to be passed on, on each way of each connection.
const MAX_PIECES: usize = 1024;

/// What a relay does with what it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Passing {
    /// It goes on at once.
    AtOnce,
    /// It goes on so much later, on each way, and nothing is slower for it than that.
    Later(Duration),
    /// It goes on when the relay is told so: a line that is cut, and mended. New connections are accepted.
    Held,
    /// Whatever is said is answered by this, from nobody.
    Answered(&'static [u8]),
}

/// A running relay. Dropping it closes its port and its connections.
#[derive(Debug)]
pub struct Relay {
    /// Where it listens.
    pub address: SocketAddr,
    passing: watch::Sender<Passing>,
    target: Arc<watch::Sender<SocketAddr>>,
    breaking: watch::Sender<u64>,
    serving: JoinHandle<()>,
}

impl Relay {
    /// A relay to `target`, that passes on at once.
    ///
    /// # Panics
    ///
    /// Where there is no port left.
    pub async fn to(target: SocketAddr) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let passing = watch::channel(Passing::AtOnce).0;
        let target = Arc::new(watch::channel(target).0);
        let breaking = watch::channel(0).0;
        let serving = tokio::spawn({
            let (passing, breaking) = (passing.clone(), breaking.clone());
            let target = Arc::clone(&target);
            async move {
                let mut connections = JoinSet::new();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    stream.set_nodelay(true).unwrap();
                    let (passing, mut breaking) = (passing.subscribe(), breaking.subscribe());
                    breaking.borrow_and_update();
                    let target = target.subscribe();
                    connections.spawn(async move {
                        tokio::select! {
                            () = connection(stream, target, passing) => {}
                            _ = breaking.changed() => {}
                        }
                    });
                    while connections.try_join_next().is_some() {}
                }
            }
        });
        Relay { address, passing, target, breaking, serving }
    }

    /// From now on, also on connections that are there, and of what is held.
    pub fn pass(&self, passing: Passing) {
        self.passing.send_replace(passing);
    }

    /// New connections go there. Those that are there end.
    pub fn lead_to(&self, target: SocketAddr) {
        self.target.send_replace(target);
        self.break_all();
    }

    /// All connections that are there end, and what was under way on them is lost.
    pub fn break_all(&self) {
        self.breaking.send_modify(|times| *times += 1);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// One connection, until one of its ends closes it.
async fn connection(
    mut near: TcpStream,
    target: watch::Receiver<SocketAddr>,
    mut passing: watch::Receiver<Passing>,
) {
    // Who cannot be reached does not answer, whatever is at the other end.
    if passing.wait_for(|passing| *passing != Passing::Held).await.is_err() {
        return;
    }
    let target = *target.borrow();
    let Ok(mut far) = TcpStream::connect(target).await else { return };
    far.set_nodelay(true).ok();
    let ((near_read, mut near_write), (far_read, mut far_write)) = (near.split(), far.split());
    let (to_far, from_near) = mpsc::channel(MAX_PIECES);
    let (to_near, from_far) = mpsc::channel(MAX_PIECES);
    let to_near_too = to_near.clone();
    tokio::select! {
        () = take(near_read, &passing, to_far, Some(to_near_too)) => {}
        () = take(far_read, &passing, to_near, None) => {}
        () = bring(from_near, &mut far_write, passing.clone()) => {}
        () = bring(from_far, &mut near_write, passing.clone()) => {}
    }
}

type Piece = (Instant, Vec<u8>);

/// Reads until the end; `back` is where answers from nobody go.
async fn take(
    mut from: impl AsyncRead + Unpin,
    passing: &watch::Receiver<Passing>,
    onward: mpsc::Sender<Piece>,
    back: Option<mpsc::Sender<Piece>>,
) {
    loop {
        let mut bytes = Vec::with_capacity(64 << 10);
        if !matches!(from.read_buf(&mut bytes).await, Ok(1..)) {
            return;
        }
        let now = passing.borrow().clone();
        let sent = match (now, &back) {
            (Passing::Answered(answer), Some(back)) => {
                back.send((Instant::now(), answer.to_vec())).await
            }
            // What the other end still says is not heard.
            (Passing::Answered(_), None) => Ok(()),
            _ => onward.send((Instant::now(), bytes)).await,
        };
        if sent.is_err() {
            return;
        }
    }
}

/// Writes what was read, when it is due.
async fn bring(
    mut pieces: mpsc::Receiver<Piece>,
    to: &mut (impl AsyncWrite + Unpin),
    mut passing: watch::Receiver<Passing>,
) {
    while let Some((read, bytes)) = pieces.recv().await {
        let now =
            passing.wait_for(|passing| *passing != Passing::Held).await.map(|now| now.clone());
        match now {
            Ok(Passing::Later(delay)) => sleep(delay.saturating_sub(read.elapsed())).await,
            Ok(_) => {}
            Err(_) => return,
        }
        if to.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{origin::Origin, wire::Wire};

    async fn echo() -> Origin {
        Origin::playing(|mut wire, _| async move {
            loop {
                let bytes = wire.some().await;
                if bytes.is_empty() || wire.try_send(bytes).await.is_err() {
                    return;
                }
            }
        })
        .await
    }

    #[tokio::test]
    async fn what_is_held_comes_later_and_what_is_answered_comes_from_nobody() {
        let echo = echo().await;
        let relay = Relay::to(echo.address).await;
        let mut wire = Wire::connect(relay.address).await;
        wire.send("one").await;
        assert_eq!(wire.exactly(3).await, b"one");
        relay.pass(Passing::Held);
        wire.send("two").await;
        let waited = tokio::time::timeout(Duration::from_millis(50), wire.exactly(3)).await;
        assert!(waited.is_err());
        relay.pass(Passing::AtOnce);
        assert_eq!(wire.exactly(3).await, b"two");
        relay.pass(Passing::Answered(b"no"));
        wire.send("three").await;
        assert_eq!(wire.exactly(2).await, b"no");
        let delay = Duration::from_millis(30);
        relay.pass(Passing::Later(delay));
        let began = Instant::now();
        wire.send("four").await;
        assert_eq!(wire.exactly(4).await, b"four");
        assert!(began.elapsed() >= 2 * delay);
        relay.break_all();
        assert!(!wire.has_more().await);
    }
}
