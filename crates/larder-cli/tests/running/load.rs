//! Load: readers of several kinds, each of which wants every one of its requests answered.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use http::Request;
use tokio::{
    net::{TcpStream, UnixStream},
    task::JoinHandle,
};

use crate::support::Wire;

/// Readers that go on until they are told that it is over.
pub(crate) struct Load {
    is_over: Arc<AtomicBool>,
    readers: Vec<(&'static str, JoinHandle<()>, Arc<AtomicU64>)>,
}

const KEPT: &str = "GET /a HTTP/1.1\r\nhost: larder.test\r\n\r\n";
const HANDSHAKE: &str = "GET /chat HTTP/1.1\r\nhost: larder.test\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
    sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const ALONE: &str = "GET /a HTTP/1.1\r\nhost: larder.test\r\nconnection: close\r\n\r\n";

impl Load {
    pub(crate) fn new() -> Load {
        Load { is_over: Arc::default(), readers: Vec::new() }
    }

    /// `read` counts what was answered, and panics where one was not.
    fn reader<F: Future<Output = ()> + Send + 'static>(
        &mut self,
        kind: &'static str,
        read: impl FnOnce(Turn) -> F,
    ) {
        let answered = Arc::new(AtomicU64::new(0));
        let turn = Turn { is_over: Arc::clone(&self.is_over), answered: Arc::clone(&answered) };
        self.readers.push((kind, tokio::spawn(read(turn)), answered));
    }

    /// One connection for many requests, and another one where an answer says that it is the last.
    pub(crate) fn kept(&mut self, address: SocketAddr) {
        self.reader("kept", move |turn| async move {
            while !turn.is_over() {
                let mut wire = Wire::connect(address).await;
                loop {
                    wire.send(KEPT).await;
                    let answer = wire.try_answer().await.expect("an answer");
                    turn.answered(answer.status());
                    if answer.field("connection") == Some("close") || turn.is_over() {
                        break;
                    }
                }
            }
        });
    }

    /// A connection for each request.
    pub(crate) fn alone(&mut self, address: SocketAddr) {
        self.reader("alone", move |turn| async move {
            while !turn.is_over() {
                let mut wire = Wire::connect(address).await;
                wire.send(ALONE).await;
                turn.answered(wire.try_answer().await.expect("an answer").status());
            }
        });
    }

    /// Whether it is ready, on a connection for two questions each.
    pub(crate) fn asks_whether_ready(&mut self, admin: SocketAddr) {
        self.reader("ready", move |turn| async move {
            while !turn.is_over() {
                let mut wire = Wire::connect(admin).await;
                for _ in 0..2 {
                    wire.send("GET /readyz HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
                    let answer = wire.try_answer().await.expect("an answer");
                    turn.answered(answer.status());
                    if answer.field("connection") == Some("close") {
                        break;
                    }
                }
            }
        });
    }

    /// The same at a Unix socket.
    pub(crate) fn local(&mut self, path: &Path) {
        let path = path.to_owned();
        self.reader("local", move |turn| async move {
            while !turn.is_over() {
                let mut wire = Wire::new(UnixStream::connect(&path).await.expect("a socket"));
                wire.send(ALONE).await;
                turn.answered(wire.try_answer().await.expect("an answer").status());
            }
        });
    }

    /// Several requests at once on a connection of HTTP/2, and another one after GOAWAY.
    pub(crate) fn http2(&mut self, address: SocketAddr) {
        self.reader("http2", move |turn| async move {
            while !turn.is_over() {
                let stream = TcpStream::connect(address).await.expect("a connection");
                let (mut send, connection) = h2::client::handshake(stream).await.unwrap();
                let driving = tokio::spawn(connection);
                while !turn.is_over() {
                    // No more of them here: it has said GOAWAY.
                    let Ok(ready) = send.ready().await else { break };
                    send = ready;
                    let request = Request::get("http://larder.test/a").body(()).unwrap();
                    let Ok((answer, _)) = send.send_request(request, true) else { break };
                    match answer.await {
                        Ok(answer) => {
                            let status = answer.status().as_u16();
                            let mut body = answer.into_body();
                            while let Some(part) = body.data().await {
                                part.expect("the whole body");
                            }
                            turn.answered(status);
                        }
                        // It was told that this one was not seen, and may be sent elsewhere (RFC 9113 §6.8).
                        Err(error)
                            if error.is_go_away()
                                && error.reason() == Some(h2::Reason::NO_ERROR) =>
                        {
                            break;
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
                driving.abort();
            }
        });
    }

    /// Over TLS, by curl: many requests on each connection, of HTTP/2 or not.
    pub(crate) fn tls(&mut self, address: SocketAddr, ca: PathBuf, version: &'static str) {
        self.reader("tls", move |turn| async move {
            let url = format!("https://localhost:{}/a?[1-20]", address.port());
            let ca = ca.to_str().unwrap().to_owned();
            while !turn.is_over() {
                let said = curl(&[
                    version,
                    "--cacert",
                    &ca,
                    "-o",
                    "/dev/null",
                    "-w",
                    "%{http_code} ",
                    &url,
                ])
                .await;
                let statuses: Vec<u16> =
                    said.split(' ').filter_map(|one| one.parse().ok()).collect();
                assert_eq!(statuses.len(), 20, "{said}");
                statuses.into_iter().for_each(|status| turn.answered(status));
            }
        });
    }

    /// Sends much, a piece at a time, and another request on the same connection as long as that may be.
    pub(crate) fn uploads(&mut self, address: SocketAddr) {
        self.reader("upload", move |turn| async move {
            let piece = [b'x'; 16 << 10];
            let head = format!(
                "POST /up HTTP/1.1\r\nhost: larder.test\r\ncontent-length: {}\r\n\r\n",
                16 * piece.len()
            );
            while !turn.is_over() {
                let mut wire = Wire::connect(address).await;
                loop {
                    wire.send(&head).await;
                    for _ in 0..16 {
                        wire.send(piece).await;
                    }
                    let answer = wire.try_answer().await.expect("an answer");
                    turn.answered(answer.status());
                    if answer.field("connection") == Some("close") || turn.is_over() {
                        break;
                    }
                }
            }
        });
    }

    /// One WebSocket that lasts all the time: what is sent comes back.
    pub(crate) fn websocket(&mut self, address: SocketAddr) {
        self.reader("websocket", move |turn| async move {
            let mut wire = Wire::connect(address).await;
            wire.send(HANDSHAKE).await;
            let head = wire.head().await;
            assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
            while !turn.is_over() {
                wire.send("a message").await;
                assert_eq!(wire.exactly(9).await, b"a message");
                turn.answered(200);
            }
        });
    }

    /// One stream of events that lasts all the time.
    pub(crate) fn events(&mut self, address: SocketAddr) {
        self.reader("events", move |turn| async move {
            let mut wire = Wire::connect(address).await;
            wire.send("GET /events HTTP/1.1\r\nhost: larder.test\r\n\r\n").await;
            let head = wire.head().await;
            assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
            while !turn.is_over() {
                wire.until("data: news\n\n").await;
                turn.answered(200);
            }
        });
    }

    /// Waits until each reader has had so many more answers.
    pub(crate) async fn goes_on(&self, more: u64) {
        let before: Vec<_> =
            self.readers.iter().map(|(.., answered)| answered.load(Relaxed)).collect();
        for ((kind, reader, answered), before) in self.readers.iter().zip(before) {
            crate::support::eventually(&format!("further answers for {kind}"), async || {
                assert!(!reader.is_finished(), "a reader of kind {kind} has failed");
                (answered.load(Relaxed) >= before + more).then_some(())
            })
            .await;
        }
    }

    /// How many were answered. None was not.
    pub(crate) async fn over(self) -> u64 {
        self.is_over.store(true, Relaxed);
        let mut all = 0;
        for (kind, reader, answered) in self.readers {
            reader.await.unwrap_or_else(|error| panic!("{kind}: {error}"));
            all += answered.load(Relaxed);
        }
        all
    }
}

struct Turn {
    is_over: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
}

impl Turn {
    fn is_over(&self) -> bool {
        self.is_over.load(Relaxed)
    }

    fn answered(&self, status: u16) {
        assert_eq!(status, 200);
        self.answered.fetch_add(1, Relaxed);
    }
}

/// What curl writes. On a thread of its own, so that whoever waits for it can be a task anywhere.
pub(crate) async fn curl(arguments: &[&str]) -> String {
    let mut command = std::process::Command::new("curl");
    command.args(["--silent", "--show-error", "--max-time", "60"]).args(arguments);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {complaints}", output.status);
    String::from_utf8(output.stdout).unwrap()
}
