//! Origin: a posts service that does what a test tells it to, down to the bytes.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use larder_test_support::{origin, wire::Wire};
use tokio::sync::watch;

/// What becomes of a request.
#[derive(Clone)]
pub(crate) enum Act {
    /// The bytes; then the connection waits for another request.
    Send(Vec<u8>),
    /// The bytes, then the end of the connection.
    SendAndClose(Vec<u8>),
    /// The bytes, then the connection breaks (RST).
    SendAndReset(Vec<u8>),
    /// The bytes, then nothing, for as long as the reader likes to wait.
    SendAndStall(Vec<u8>),
    /// The bytes, but not before [`Origin::release`].
    SendOnRelease(Vec<u8>),
}

impl Act {
    /// A whole answer with a JSON body.
    pub(crate) fn answer(status: u16, body: &str) -> Act {
        Act::Send(answer(status, body))
    }
}

/// A whole answer as bytes.
pub(crate) fn answer(status: u16, body: &str) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status} Some Reason\r\ncontent-length: {length}\r\n");
    format!("{head}content-type: application/json\r\n\r\n{body}").into_bytes()
}

/// A running origin. Dropping it closes its port and its connections.
pub(crate) struct Origin {
    serving: origin::Origin,
    stage: Arc<Stage>,
}

struct Stage {
    act: Mutex<Act>,
    /// The paths that were asked for.
    calls: Mutex<Vec<String>>,
    released: watch::Sender<bool>,
}

impl Origin {
    pub(crate) async fn start(act: Act) -> Origin {
        let stage = Arc::new(Stage {
            act: Mutex::new(act),
            calls: Mutex::default(),
            released: watch::Sender::new(false),
        });
        let played = Arc::clone(&stage);
        let play = move |mut wire, _| {
            let stage = Arc::clone(&played);
            // What goes wrong goes wrong because the reader has left.
            async move { play(&mut wire, &stage).await.unwrap_or_default() }
        };
        Origin { serving: origin::Origin::playing(play).await, stage }
    }

    pub(crate) fn url(&self) -> String {
        self.serving.url()
    }

    /// From now on.
    pub(crate) fn will(&self, act: Act) {
        *self.stage.act.lock().unwrap_or_else(PoisonError::into_inner) = act;
    }

    /// Lets go of all answers held back, and of those to come.
    pub(crate) fn release(&self) {
        self.stage.released.send_replace(true);
    }

    pub(crate) fn paths(&self) -> Vec<String> {
        self.stage.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn calls(&self) -> usize {
        self.paths().len()
    }
}

/// One connection to its end.
async fn play(wire: &mut Wire, stage: &Stage) -> io::Result<()> {
    while wire.has_more().await {
        let head = wire.head().await;
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        stage.calls.lock().unwrap_or_else(PoisonError::into_inner).push(path);
        let act = stage.act.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match act {
            Act::Send(bytes) => wire.try_send(bytes).await?,
            Act::SendAndClose(bytes) => return wire.try_send(bytes).await,
            Act::SendAndReset(bytes) => {
                wire.try_send(bytes).await?;
                return wire.stream.set_zero_linger();
            }
            Act::SendAndStall(bytes) => {
                wire.try_send(bytes).await?;
                while wire.has_more().await {
                    wire.some().await;
                }
                return Ok(());
            }
            Act::SendOnRelease(bytes) => {
                let mut released = stage.released.subscribe();
                // It is never dropped while the stage is there.
                released.wait_for(|&is_released| is_released).await.map_err(io::Error::other)?;
                wire.try_send(bytes).await?;
            }
        }
    }
    Ok(())
}
