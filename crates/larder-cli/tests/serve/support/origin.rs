//! Origin: a service that plays a script on each connection, and remembers what it was asked.

use std::{
    future::Future,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use larder_test_support::origin;

use super::Wire;

/// A running origin. Dropping it closes its port and its connections.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    heads: Heads,
    _serving: origin::Origin,
}

type Heads = Arc<Mutex<Vec<String>>>;

/// One connection to it.
pub(crate) struct Visit {
    wire: Wire,
    heads: Heads,
}

impl Visit {
    /// The head of the next request, once its body is here; `None` at the end.
    pub(crate) async fn request(&mut self) -> Option<String> {
        if !self.wire.has_more().await {
            return None;
        }
        let head = self.wire.head().await;
        self.heads.lock().unwrap_or_else(PoisonError::into_inner).push(head.clone());
        self.wire.body(&head).await?;
        Some(head)
    }

    /// Whether anybody is still there to take it.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.wire.try_send(bytes).await.is_ok()
    }

    /// The connection itself, for what is no HTTP.
    pub(crate) fn into_wire(self) -> Wire {
        self.wire
    }

    pub(crate) fn reset(self) {
        self.wire.reset();
    }
}

impl Origin {
    pub(crate) async fn playing<F, P>(script: F) -> Origin
    where
        F: Fn(Visit) -> P + Send + 'static,
        P: Future<Output = ()> + Send + 'static,
    {
        Origin::playing_at(([127, 0, 0, 1], 0).into(), script).await
    }

    /// At a port where nobody listens.
    pub(crate) async fn playing_at<F, P>(address: SocketAddr, script: F) -> Origin
    where
        F: Fn(Visit) -> P + Send + 'static,
        P: Future<Output = ()> + Send + 'static,
    {
        let heads = Heads::default();
        let heard = Arc::clone(&heads);
        let play = move |wire, _| script(Visit { wire, heads: Arc::clone(&heard) });
        let serving = origin::Origin::playing_at(address, play).await;
        Origin { address: serving.address, heads, _serving: serving }
    }

    /// Answers each request with what `respond` makes of its head.
    pub(crate) async fn answering<F, B>(respond: F) -> Origin
    where
        F: Fn(&str) -> B + Send + Sync + 'static,
        B: AsRef<[u8]> + Send,
    {
        let respond = Arc::new(respond);
        Origin::playing(move |mut visit| {
            let respond = Arc::clone(&respond);
            async move {
                while let Some(head) = visit.request().await {
                    let answer = respond(&head);
                    visit.send(answer).await;
                }
            }
        })
        .await
    }

    /// Answers each request with the same bytes.
    pub(crate) async fn saying(answer: impl Into<Vec<u8>>) -> Origin {
        let answer: Arc<[u8]> = answer.into().into();
        Origin::answering(move |_| Arc::clone(&answer)).await
    }

    /// The same at a port where nobody listens.
    pub(crate) async fn saying_at(address: SocketAddr, answer: impl Into<Vec<u8>>) -> Origin {
        let answer: Arc<[u8]> = answer.into().into();
        Origin::playing_at(address, move |mut visit| {
            let answer = Arc::clone(&answer);
            async move { while visit.request().await.is_some() && visit.send(&answer).await {} }
        })
        .await
    }

    /// The heads of all requests so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A whole answer of 200; `fields` are whole lines.
pub(crate) fn ok(fields: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n{fields}\r\n", body.len());
    [head.as_bytes(), body].concat()
}
