//! A gateway, readers that say exactly what they mean, and origins that do as they are told.

use std::{
    convert::Infallible,
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use larder_gateway::{
    Server, ServerConfig,
    downstream::{http1::ReaderBody, server::Stopped},
    upstream::{Upstream, UpstreamConfig},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tower::{Service, service_fn};

/// A test that waits for longer hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type AnyBody = UnsyncBoxBody<Bytes, BoxError>;

/// A gateway on a port of its own. Dropping it ends it.
pub(crate) struct Gate {
    pub(crate) address: SocketAddr,
    pub(crate) stop: CancellationToken,
    task: Option<JoinHandle<Stopped>>,
}

impl Gate {
    pub(crate) fn serving<S, B>(config: ServerConfig, service: S) -> Gate
    where
        S: Service<Request<ReaderBody>, Response = Response<B>, Error = Infallible>,
        S: Clone + Send + 'static,
        S::Future: Send,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let server = Server::bind(([127, 0, 0, 1], 0).into(), config).unwrap();
        let address = server.address();
        let stop = CancellationToken::new();
        let task = tokio::spawn(server.serve(service, stop.clone()));
        Gate { address, stop, task: Some(task) }
    }

    /// Before an origin, with nothing in between.
    pub(crate) fn before(origin: SocketAddr) -> Gate {
        Gate::with(ServerConfig::default(), upstream(origin, UpstreamConfig::default()))
    }

    pub(crate) fn with(config: ServerConfig, upstream: Upstream) -> Gate {
        Gate::serving(config, service_fn(move |request| pass(upstream.clone(), request)))
    }

    /// A gateway that answers each request with what came.
    pub(crate) fn echoing() -> Gate {
        Gate::serving(ServerConfig::default(), service_fn(echo))
    }

    pub(crate) async fn connect(&self) -> Wire {
        Wire::connect(self.address).await
    }

    /// Sends `bytes` on a connection of its own, and brings all that comes until it is closed.
    pub(crate) async fn say(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut wire = self.connect().await;
        wire.send(bytes).await;
        wire.rest().await
    }

    pub(crate) async fn stopped(mut self) -> Stopped {
        self.stop.cancel();
        let task = self.task.take().unwrap();
        timeout(PATIENCE, task).await.expect("the gateway does not stop").unwrap()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

pub(crate) fn upstream(origin: SocketAddr, config: UpstreamConfig) -> Upstream {
    Upstream::new(format!("http://{origin}").parse().unwrap(), config)
}

/// The smallest service there is between a reader and an origin.
pub(crate) async fn pass(
    mut upstream: Upstream,
    request: Request<ReaderBody>,
) -> Result<Response<AnyBody>, Infallible> {
    Ok(match upstream.call(request).await {
        Ok(response) => response.map(|body| body.map_err(Into::into).boxed_unsync()),
        Err(error) => error.to_problem().to_response().map(whole),
    })
}

/// Answers with the request line as the service saw it, the fields, and the body.
pub(crate) async fn echo(request: Request<ReaderBody>) -> Result<Response<AnyBody>, Infallible> {
    let (parts, body) = request.into_parts();
    let mut text = format!("{} {} {:?}\n", parts.method, parts.uri, parts.version).into_bytes();
    for (name, value) in &parts.headers {
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.push(b'\n');
    }
    text.push(b'\n');
    match body.collect().await {
        Ok(body) => text.extend_from_slice(&body.to_bytes()),
        Err(error) => text.extend_from_slice(error.to_string().as_bytes()),
    }
    Ok(Response::new(whole(Bytes::from(text))))
}

pub(crate) fn whole(bytes: Bytes) -> AnyBody {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// One end of a connection.
pub(crate) struct Wire<IO = TcpStream> {
    pub(crate) stream: IO,
    read: Vec<u8>,
}

impl Wire {
    pub(crate) async fn connect(address: SocketAddr) -> Wire {
        Wire::new(TcpStream::connect(address).await.unwrap())
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Wire<IO> {
    pub(crate) fn new(stream: IO) -> Wire<IO> {
        Wire { stream, read: Vec::new() }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Reads on; 0 at the end.
    async fn more(&mut self) -> io::Result<usize> {
        let mut buffer = [0; 16 << 10];
        let read = self.stream.read(&mut buffer);
        let count = timeout(PATIENCE, read).await.expect("nothing comes")?;
        self.read.extend_from_slice(&buffer[..count]);
        Ok(count)
    }

    /// All up to and with the first `end`.
    pub(crate) async fn until(&mut self, end: &str) -> String {
        loop {
            if let Some(at) = memchr::memmem::find(&self.read, end.as_bytes()) {
                let rest = self.read.split_off(at + end.len());
                return lossless(&std::mem::replace(&mut self.read, rest));
            }
            let so_far = lossless(&self.read);
            assert_ne!(self.more().await.unwrap(), 0, "no {end:?} after {so_far:?}");
        }
    }

    /// A head with its blank line.
    pub(crate) async fn head(&mut self) -> String {
        self.until("\r\n\r\n").await
    }

    /// A head and the body that its `content-length` announces.
    pub(crate) async fn answer(&mut self) -> (String, String) {
        let head = self.head().await;
        let length = field(&head, "content-length").map_or(0, |length| length.parse().unwrap());
        let body = self.exactly(length).await;
        (head, body)
    }

    pub(crate) async fn exactly(&mut self, length: usize) -> String {
        while self.read.len() < length {
            assert_ne!(self.more().await.unwrap(), 0, "only {} of {length}", self.read.len());
        }
        let rest = self.read.split_off(length);
        lossless(&std::mem::replace(&mut self.read, rest))
    }

    /// All until the other side closes in order.
    pub(crate) async fn rest(&mut self) -> String {
        while self.more().await.unwrap() > 0 {}
        lossless(&std::mem::take(&mut self.read))
    }

    /// All until the other side resets the connection.
    pub(crate) async fn until_reset(&mut self) -> String {
        loop {
            match self.more().await {
                Ok(0) => panic!("closed in order after {:?}", lossless(&self.read)),
                Ok(_) => {}
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
                    return lossless(&std::mem::take(&mut self.read));
                }
            }
        }
    }
}

/// Each byte as the character of the same number.
pub(crate) fn lossless(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// The first value of a field in a head.
pub(crate) fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// The three digits of a status line.
pub(crate) fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or(answer)
}

/// An origin that plays a script on each connection.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

type Playing = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Origin {
    pub(crate) async fn playing<F, P>(script: F) -> Origin
    where
        F: Fn(Wire, usize) -> P + Send + 'static,
        P: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&accepted);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let number = count.fetch_add(1, Ordering::SeqCst);
                let playing: Playing = Box::pin(script(Wire::new(stream), number));
                tokio::spawn(playing);
            }
        });
        Origin { address, accepted, task }
    }

    /// Answers each request on each connection with the same bytes.
    pub(crate) async fn saying(answer: impl AsRef<[u8]>) -> Origin {
        let answer = Bytes::copy_from_slice(answer.as_ref());
        Origin::playing(move |mut wire, _| {
            let answer = answer.clone();
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
    pub(crate) async fn saying_once(answer: impl AsRef<[u8]>) -> Origin {
        let answer = Bytes::copy_from_slice(answer.as_ref());
        Origin::playing(move |mut wire, _| {
            let answer = answer.clone();
            async move {
                wire.head().await;
                wire.send(&answer).await;
            }
        })
        .await
    }

    /// Connections so far.
    pub(crate) fn connections(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

impl Wire {
    /// Whether another byte comes before the end.
    pub(crate) async fn has_more(&mut self) -> bool {
        !self.read.is_empty() || matches!(self.stream.read_buf(&mut self.read).await, Ok(1..))
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.task.abort();
    }
}
