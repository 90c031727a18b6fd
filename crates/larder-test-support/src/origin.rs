//! Origin: a server that plays a script on each connection.

use std::{
    future::Future,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    net::TcpListener,
    task::{JoinHandle, JoinSet},
};

use crate::wire::Wire;

/// A running origin. Dropping it closes its port and its connections.
#[derive(Debug)]
pub struct Origin {
    /// Where it listens: a port of its own on the loopback.
    pub address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    serving: JoinHandle<()>,
}

impl Origin {
    /// Plays `script` on each connection, which is told how many came before it.
    ///
    /// # Panics
    ///
    /// Where there is no port left, or no connection.
    pub async fn playing<F, P>(script: F) -> Origin
    where
        F: Fn(Wire, usize) -> P + Send + 'static,
        P: Future<Output = ()> + Send + 'static,
    {
        Origin::playing_at(([127, 0, 0, 1], 0).into(), script).await
    }

    /// The same at a port where nobody listens.
    ///
    /// # Panics
    ///
    /// Where somebody does.
    pub async fn playing_at<F, P>(address: SocketAddr, script: F) -> Origin
    where
        F: Fn(Wire, usize) -> P + Send + 'static,
        P: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&accepted);
        let serving = tokio::spawn(async move {
            let mut playing = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let number = count.fetch_add(1, Ordering::SeqCst);
                playing.spawn(script(Wire::new(stream), number));
            }
        });
        Origin { address, accepted, serving }
    }

    /// Answers each request on each connection with the same bytes. Requests have no bodies.
    pub async fn saying(answer: impl AsRef<[u8]>) -> Origin {
        let answer: Arc<[u8]> = answer.as_ref().into();
        Origin::playing(move |mut wire, _| {
            let answer = Arc::clone(&answer);
            async move {
                while wire.has_more().await {
                    wire.head().await;
                    wire.send(&answer).await;
                }
            }
        })
        .await
    }

    /// Answers the first request on each connection, and closes it.
    pub async fn saying_once(answer: impl AsRef<[u8]>) -> Origin {
        let answer: Arc<[u8]> = answer.as_ref().into();
        Origin::playing(move |mut wire, _| {
            let answer = Arc::clone(&answer);
            async move {
                wire.head().await;
                wire.send(&answer).await;
            }
        })
        .await
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// `http://` and its address.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
