//! Bodies of any size pass with bounded memory. In a process of its own, because the memory of a
//! process is what is looked at.

#![expect(clippy::unwrap_used, reason = "in a test, an unwrap that fails is the failed test")]

use std::{convert::Infallible, fs, net::SocketAddr};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use larder_gateway::{
    Server, ServerConfig,
    downstream::http1::ReaderBody,
    upstream::{Upstream, UpstreamConfig},
};
use larder_test_support::memory::memory_kib;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;
use tower::{Service, service_fn};

const PIECE: usize = 50_000;
const PIECES: usize = 2_000;
const BODY: usize = PIECE * PIECES;

/// What all of it together may take at most beyond what was there before: the reader, the gateway
/// and the origin are all in this process.
const BOUND: usize = 24 << 20;

fn bytes_of(kind: &str) -> usize {
    usize::try_from(memory_kib(std::process::id(), kind)).unwrap() << 10
}

/// How much more memory was resident at the worst moment of `work` than before it.
async fn growth(work: impl Future<Output = ()>) -> usize {
    // Makes the high-water mark what is resident now.
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = bytes_of("VmRSS");
    work.await;
    bytes_of("VmHWM").saturating_sub(before)
}

fn piece(number: usize) -> Vec<u8> {
    vec![(number % 251) as u8; PIECE]
}

async fn send_body(stream: &mut TcpStream, is_chunked: bool) {
    for number in 0..PIECES {
        if is_chunked {
            stream.write_all(format!("{PIECE:x}\r\n").as_bytes()).await.unwrap();
        }
        stream.write_all(&piece(number)).await.unwrap();
        if is_chunked {
            stream.write_all(b"\r\n").await.unwrap();
        }
    }
    if is_chunked {
        stream.write_all(b"0\r\n\r\n").await.unwrap();
    }
}

/// Reads bytes up to the end of a head.
async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// Reads a body of known length and compares each byte.
async fn check_body(stream: &mut TcpStream) {
    let mut read = vec![0; PIECE];
    for number in 0..PIECES {
        stream.read_exact(&mut read).await.unwrap();
        assert!(read == piece(number), "another body in piece {number}");
    }
}

/// Sends or takes a large body, as the path says.
async fn origin(listener: TcpListener) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let head = read_head(&mut stream).await;
            if head.starts_with("POST") {
                check_body(&mut stream).await;
                stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
                return;
            }
            let is_chunked = head.starts_with("GET /chunked");
            let framing = if is_chunked {
                "Transfer-Encoding: chunked".into()
            } else {
                format!("Content-Length: {BODY}")
            };
            let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n{framing}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            send_body(&mut stream, is_chunked).await;
        });
    }
}

async fn pass(
    mut upstream: Upstream,
    request: Request<ReaderBody>,
) -> Result<Response<UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>>, Infallible> {
    Ok(match upstream.call(request).await {
        Ok(response) => response.map(|body| body.map_err(Into::into).boxed_unsync()),
        Err(error) => error
            .to_problem()
            .to_response()
            .map(|body| Full::new(body).map_err(|never| match never {}).boxed_unsync()),
    })
}

async fn ask(gate: SocketAddr, head: &str) -> TcpStream {
    let mut stream = TcpStream::connect(gate).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn a_hundred_megabytes_pass_in_and_out_with_bounded_memory() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(origin(listener));
    let upstream =
        Upstream::new(format!("http://{address}").parse().unwrap(), UpstreamConfig::default());
    let server = Server::bind(([127, 0, 0, 1], 0).into(), ServerConfig::default()).unwrap();
    let gate = server.address();
    let service = service_fn(move |request| pass(upstream.clone(), request));
    tokio::spawn(server.serve(service, CancellationToken::new()));

    let length = growth(async {
        let mut stream = ask(gate, "GET /length HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(read_head(&mut stream).await.contains(&format!("content-length: {BODY}")));
        check_body(&mut stream).await;
    })
    .await;
    // To a reader of HTTP/1.0, so that its body comes as it is.
    let chunked = growth(async {
        let mut stream = ask(gate, "GET /chunked HTTP/1.0\r\n\r\n").await;
        read_head(&mut stream).await;
        check_body(&mut stream).await;
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    })
    .await;
    let upload = growth(async {
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {BODY}\r\n\r\n");
        let mut stream = ask(gate, &head).await;
        send_body(&mut stream, false).await;
        assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 204 "));
    })
    .await;
    // A reader that does not read stops the origin, and gets all of it when it does.
    let stalled = growth(async {
        let mut stream = ask(gate, "GET /length HTTP/1.1\r\nHost: a\r\n\r\n").await;
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        read_head(&mut stream).await;
        check_body(&mut stream).await;
    })
    .await;
    for (what, growth) in
        [("length", length), ("chunked", chunked), ("upload", upload), ("stalled", stalled)]
    {
        println!("{what}: {} KiB", growth >> 10);
        assert!(growth < BOUND, "{what}: {growth} bytes more than before");
    }
}
