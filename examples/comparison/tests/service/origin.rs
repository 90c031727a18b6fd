//! Origin: a posts service that says what the test tells it to, when the test lets it.

use std::sync::{Arc, Mutex};

use larder_test_support::{origin, wire::Wire};
use tokio::sync::watch;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Says {
    /// There is such a post, and this is its text.
    Post(&'static str),
    /// There is none.
    NoPost,
    /// Something is wrong with it.
    Failure,
}

/// A running posts service. A request is answered with what it was to say when the request came.
pub(crate) struct Origin {
    server: origin::Origin,
    state: Arc<State>,
}

struct State {
    says: Mutex<Says>,
    /// Which posts it was asked for, in order.
    asked: Mutex<Vec<u64>>,
    /// Which post it does not answer about for now.
    held: watch::Sender<Option<u64>>,
}

impl Origin {
    pub(crate) async fn start() -> Origin {
        let state = Arc::new(State {
            says: Mutex::new(Says::Post("first")),
            asked: Mutex::default(),
            held: watch::Sender::new(None),
        });
        let of_connections = Arc::clone(&state);
        let server =
            origin::Origin::playing(move |wire, _| Arc::clone(&of_connections).answer(wire)).await;
        Origin { server, state }
    }

    pub(crate) fn url(&self) -> String {
        self.server.url()
    }

    /// What it says to those who ask from now on.
    pub(crate) fn says(&self, says: Says) {
        *self.state.says.lock().unwrap() = says;
    }

    /// Who asks for this post waits until [`release`](Origin::release).
    pub(crate) fn hold(&self, id: u64) {
        self.state.held.send_replace(Some(id));
    }

    pub(crate) fn release(&self) {
        self.state.held.send_replace(None);
    }

    /// How often it was asked for this post.
    pub(crate) fn asked(&self, id: u64) -> usize {
        self.state.asked.lock().unwrap().iter().filter(|asked| **asked == id).count()
    }
}

impl State {
    async fn answer(self: Arc<State>, mut wire: Wire) {
        while wire.has_more().await {
            let head = wire.head().await;
            let path = head.split(' ').nth(1).and_then(|path| path.strip_prefix("/posts/"));
            let id = path
                .and_then(|id| id.parse().ok())
                .unwrap_or_else(|| panic!("who asks for {head}"));
            let says = *self.says.lock().unwrap();
            self.asked.lock().unwrap().push(id);
            self.held.subscribe().wait_for(|held| *held != Some(id)).await.unwrap();
            let (status, body) = match says {
                Says::Post(text) => ("200 OK", text),
                Says::NoPost => ("404 Not Found", ""),
                Says::Failure => ("500 Internal Server Error", ""),
            };
            let length = body.len();
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}");
            if wire.try_send(answer).await.is_err() {
                return;
            }
        }
    }
}
