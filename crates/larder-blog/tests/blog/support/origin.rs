//! Origin: a posts service that does what a test tells it to, down to the bytes.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{AbortHandle, JoinSet},
};

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
    address: SocketAddr,
    stage: Arc<Stage>,
    serving: AbortHandle,
}

struct Stage {
    act: Mutex<Act>,
    /// The paths that were asked for.
    calls: Mutex<Vec<String>>,
    released: watch::Sender<bool>,
}

impl Origin {
    pub(crate) async fn start(act: Act) -> Origin {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let stage = Arc::new(Stage {
            act: Mutex::new(act),
            calls: Mutex::default(),
            released: watch::Sender::new(false),
        });
        let serving = tokio::spawn(serve(listener, Arc::clone(&stage))).abort_handle();
        Origin { address, stage, serving }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
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

impl Drop for Origin {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, stage: Arc<Stage>) {
    // Aborted together with this task.
    let mut connections = JoinSet::new();
    loop {
        let (connection, _) = listener.accept().await.expect("a listener that stays open");
        connections.spawn(play(connection, Arc::clone(&stage)));
    }
}

/// One connection to its end; what goes wrong here goes wrong because the reader has left.
async fn play(mut connection: TcpStream, stage: Arc<Stage>) -> Option<()> {
    loop {
        let path = request(&mut connection).await?;
        stage.calls.lock().unwrap_or_else(PoisonError::into_inner).push(path);
        let act = stage.act.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match act {
            Act::Send(bytes) => connection.write_all(&bytes).await.ok()?,
            Act::SendAndClose(bytes) => return connection.write_all(&bytes).await.ok(),
            Act::SendAndReset(bytes) => {
                connection.write_all(&bytes).await.ok()?;
                return connection.set_zero_linger().ok();
            }
            Act::SendAndStall(bytes) => {
                connection.write_all(&bytes).await.ok()?;
                until_left(&mut connection).await;
                return None;
            }
            Act::SendOnRelease(bytes) => {
                let mut released = stage.released.subscribe();
                released.wait_for(|&is_released| is_released).await.ok()?;
                connection.write_all(&bytes).await.ok()?;
            }
        }
    }
}

/// Reads one request without a body, and returns its path.
async fn request(connection: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(connection.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?;
    head.split(' ').nth(1).map(ToOwned::to_owned)
}

async fn until_left(connection: &mut TcpStream) {
    let mut ignored = [0; 64];
    while connection.read(&mut ignored).await.is_ok_and(|read| read > 0) {}
}
