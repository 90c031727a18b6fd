//! Door: how many connections a server has, how long each may take for a step, and which make room.
//!
//! `axum::serve` bounds none of it. Here a connection has [`STEP`] for its next head, and [`PIECE`] for the next
//! bytes of a body. Where as many are open as may be, the next one waits, and the oldest are told to leave: one that has
//! no request under way, and sends or takes nothing for [`LITTLE`], is closed. So a request for `/health` is
//! answered soon, whatever the others do.

use std::{
    collections::VecDeque,
    io,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::Router;
use http::Request;
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tower_http::timeout::TimeoutBody;

/// A next head has so long to come, idle time before it included. Longer than the backend and the page keep
/// connections to each other: the side that asks should be the one that closes.
pub(crate) const STEP: Duration = Duration::from_secs(10);
/// Connections of a server: a crowd has one for each of its users.
pub(crate) const MAX_CONNECTIONS: usize = 4096;

/// The next bytes of a request's body have so long to come. Bodies are small here.
const PIECE: Duration = Duration::from_secs(3);
/// How long a connection that is to leave may do nothing.
const LITTLE: Duration = Duration::from_millis(500);
/// How many are told to leave first. Each time it is not enough, twice as many are.
const FEW: usize = 16;
/// How long they have before more are told.
const NOTICE: Duration = Duration::from_millis(50);
/// How long to wait when no connection can be accepted, for want of file descriptors mostly.
const BREATHER: Duration = Duration::from_millis(50);

/// Serves until `stop` is cancelled, and then until the requests under way are answered. Dropping it closes
/// all connections.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    max_connections: usize,
    stop: CancellationToken,
) {
    let room = Arc::new(Semaphore::new(max_connections));
    let mut let_in = VecDeque::new();
    let mut connections = JoinSet::new();
    let letting_in = async {
        loop {
            let stream = accept(&listener).await;
            let permit = find_room(&room, &mut let_in).await;
            let leave = stop.child_token();
            let_in.push_back(leave.clone());
            connections.spawn(live(stream, router.clone(), leave, permit));
            while connections.try_join_next().is_some() {}
            if let_in.len() > 2 * connections.len() + FEW {
                let_in.retain(|connection| !connection.is_cancelled());
            }
        }
    };
    stop.run_until_cancelled(letting_in).await;
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                if let Err(error) = stream.set_nodelay(true) {
                    // Answers still arrive, only up to 40 ms later.
                    tracing::debug!("cannot set TCP_NODELAY: {error}");
                }
                return stream;
            }
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                sleep(BREATHER).await;
            }
        }
    }
}

async fn find_room(
    room: &Arc<Semaphore>,
    let_in: &mut VecDeque<CancellationToken>,
) -> OwnedSemaphorePermit {
    let mut many = FEW;
    let mut wait = Duration::ZERO;
    loop {
        if let Ok(permit) = timeout(wait, Arc::clone(room).acquire_owned()).await {
            return permit.expect("the semaphore is never closed");
        }
        for connection in let_in.drain(..many.min(let_in.len())) {
            connection.cancel();
        }
        (many, wait) = (many.saturating_mul(2), NOTICE);
    }
}

/// A connection's whole life. It ends between two requests once `leave` is cancelled, which it is in any case
/// when it has ended.
async fn live<IO: AsyncRead + AsyncWrite + Unpin>(
    io: IO,
    router: Router,
    leave: CancellationToken,
    permit: OwnedSemaphorePermit,
) {
    let activity = Arc::new(Activity::default());
    let io = TokioIo::new(Watched { io, activity: Arc::clone(&activity) });
    let service = service_fn(|request: Request<Incoming>| {
        let request = request.map(|body| TimeoutBody::new(PIECE, body));
        let (answering, busy) =
            (TowerToHyperService::new(router.clone()).call(request), activity.begin());
        async move {
            let answer = answering.await;
            drop(busy);
            answer
        }
    });
    let mut http1 = http1::Builder::new();
    let serving = http1.timer(TokioTimer::new()).header_read_timeout(STEP);
    let mut serving = pin!(serving.serve_connection(io, service));
    let ended = tokio::select! {
        biased;
        ended = serving.as_mut() => Some(ended),
        () = leave.cancelled() => {
            serving.as_mut().graceful_shutdown();
            loop {
                let before = activity.moved.load(Relaxed);
                match timeout(LITTLE, serving.as_mut()).await {
                    Ok(ended) => break Some(ended),
                    Err(_) if activity.is_still(before) => break None,
                    Err(_) => {}
                }
            }
        }
    };
    match ended {
        Some(Ok(())) => {}
        // Readers do such things.
        Some(Err(error)) => tracing::debug!("a connection ended: {error}"),
        None => tracing::debug!("a connection on which nothing moved made room"),
    }
    leave.cancel();
    drop(permit);
}

/// What a connection does.
#[derive(Debug, Default)]
struct Activity {
    /// How often something was read or written.
    moved: AtomicUsize,
    /// Requests whose answers are being made.
    under_way: AtomicUsize,
}

impl Activity {
    fn begin(self: &Arc<Self>) -> Busy {
        self.under_way.fetch_add(1, Relaxed);
        Busy(Arc::clone(self))
    }

    fn is_still(&self, since: usize) -> bool {
        self.under_way.load(Relaxed) == 0 && self.moved.load(Relaxed) == since
    }
}

/// A request whose answer is being made, until it is dropped.
struct Busy(Arc<Activity>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Relaxed);
    }
}

/// A stream that notes what moves on it.
struct Watched<IO> {
    io: IO,
    activity: Arc<Activity>,
}

impl<IO: AsyncRead + Unpin> AsyncRead for Watched<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.io).poll_read(cx, buffer))?;
        self.activity.moved.fetch_add(1, Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Watched<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, bytes))?;
        self.activity.moved.fetch_add(1, Relaxed);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, slices))?;
        self.activity.moved.fetch_add(1, Relaxed);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::{get, post};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
        task::JoinHandle,
        time::Instant,
    };

    use super::*;

    fn router() -> Router {
        Router::new()
            .route("/health", get(async || "fine"))
            .route("/slow", get(async || sleep(STEP * 3).await))
            .route("/echo", post(async |body: String| body))
    }

    struct Client {
        wire: DuplexStream,
        leave: CancellationToken,
        living: JoinHandle<()>,
    }

    impl Client {
        async fn saying(text: &str) -> Client {
            let (mut wire, io) = duplex(1 << 10);
            let leave = CancellationToken::new();
            let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
            let living = tokio::spawn(live(io, router(), leave.clone(), permit));
            wire.write_all(text.as_bytes()).await.unwrap();
            Client { wire, leave, living }
        }

        /// What comes until the end, and after how many seconds that is.
        async fn rest(mut self) -> (String, u64) {
            let (began, mut heard) = (Instant::now(), String::new());
            self.wire.read_to_string(&mut heard).await.unwrap();
            self.living.await.unwrap();
            (heard, began.elapsed().as_secs())
        }
    }

    const KEPT: &str = "GET /health HTTP/1.1\r\nhost: a\r\n\r\n";
    const SLOW: &str = "GET /slow HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    const UPLOAD: &str =
        "POST /echo HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 9\r\n\r\nabc";

    #[tokio::test(start_paused = true)]
    async fn whoever_does_not_go_on_is_closed_after_a_step() {
        for (said, limit) in [("", STEP), ("GET / HT", STEP), (KEPT, STEP), (UPLOAD, PIECE)] {
            let (_, seconds) = Client::saying(said).await.rest().await;
            assert_eq!(seconds, limit.as_secs(), "{said}");
        }
        let (heard, _) = Client::saying(SLOW).await.rest().await;
        assert!(heard.starts_with("HTTP/1.1 200 "), "whoever waits for us may: {heard}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_to_leave_does_so_soon_unless_it_is_being_answered() {
        for (said, seconds) in [("", 0), ("GET / HT", 0), (KEPT, 0), (UPLOAD, 3), (SLOW, 30)] {
            let client = Client::saying(said).await;
            tokio::task::yield_now().await;
            client.leave.cancel();
            let (heard, took) = client.rest().await;
            assert_eq!(took, seconds, "{said}");
            assert_eq!(heard.contains(" 200 "), [KEPT, SLOW].contains(&said), "{said}: {heard}");
        }
    }

    #[tokio::test]
    async fn a_full_house_keeps_nobody_away_who_goes_on() {
        for said in ["", "GET / HT", KEPT] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let stop = CancellationToken::new();
            let serving = tokio::spawn(serve(listener, router(), 4, stop.clone()));
            let mut house = Vec::new();
            for _ in 0..4 {
                let mut wire = TcpStream::connect(address).await.unwrap();
                wire.write_all(said.as_bytes()).await.unwrap();
                house.push(wire);
            }
            for _ in 0..3 {
                let began = Instant::now();
                let mut wire = TcpStream::connect(address).await.unwrap();
                wire.write_all(KEPT.as_bytes()).await.unwrap();
                let mut heard = [0; 12];
                wire.read_exact(&mut heard).await.unwrap();
                assert_eq!(&heard, b"HTTP/1.1 200");
                assert!(began.elapsed() < LITTLE * 4, "{said}: {:?}", began.elapsed());
                house.push(wire);
            }
            stop.cancel();
            timeout(STEP / 2, serving).await.expect("it does not end").unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_upload_that_goes_on_is_not_cut() {
        let mut client = Client::saying(UPLOAD).await;
        tokio::task::yield_now().await;
        client.leave.cancel();
        for _ in 0..6 {
            sleep(PIECE / 2).await;
            client.wire.write_all(b"x").await.unwrap();
        }
        let (heard, _) = client.rest().await;
        assert!(heard.ends_with("\r\n\r\nabcxxxxxx"), "{heard}");
    }
}
