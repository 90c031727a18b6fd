//! Clients and origins that others wrote.

use std::{
    io::Write,
    net::SocketAddr,
    process::Command,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::Response;
use larder_gateway::{ServerConfig, upstream::UpstreamConfig};
use tower::service_fn;

use crate::support::{
    Gate, Nginx, Origin, Wire,
    program::{self, curl, run},
    status, upstream, whole,
};

#[tokio::test]
async fn curl_gets_posts_and_keeps_its_connection() {
    let gate = Gate::echoing();
    let url = |path: &str| format!("http://{}{path}", gate.address);
    let both = curl(&[&url("/a"), &url("/b"), "--write-out", "%{num_connects}\n"]).await;
    assert!(both.contains("GET http://127.0.0.1:"), "{both}");
    let connects: Vec<_> = both.lines().filter(|line| line.len() == 1).collect();
    assert_eq!(connects, ["1", "0"], "{both}");

    let posted = curl(&[&url("/"), "--data-binary", "hello"]).await;
    assert!(posted.starts_with("POST ") && posted.ends_with("\n\nhello"), "{posted}");
    let chunked =
        curl(&[&url("/"), "--data-binary", "hello", "--header", "Transfer-Encoding: chunked"])
            .await;
    assert!(chunked.ends_with("\n\nhello"), "{chunked}");
    let large = "x".repeat(100_000);
    // curl sends `Expect: 100-continue` if it is told to, and then waits for the answer to that.
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(large.as_bytes()).unwrap();
    let from_file = format!("@{}", file.path().display());
    let began = Instant::now();
    let expected = curl(&[
        &url("/"),
        "--data-binary",
        &from_file,
        "--header",
        "Expect: 100-continue",
        "--expect100-timeout",
        "15",
    ])
    .await;
    assert!(expected.ends_with(&large));
    assert!(began.elapsed() < Duration::from_secs(10), "curl was never told to continue");
    let head = curl(&["--head", &url("/")]).await;
    assert_eq!(status(&head), 200);
    let old = curl(&["--http1.0", &url("/")]).await;
    assert!(old.contains("HTTP/1.0\n"), "{old}");
    let proxied = curl(&["--proxy", &url(""), "http://real.example/x"]).await;
    assert!(proxied.starts_with("GET http://real.example/x HTTP/1.1\n"), "{proxied}");
}

#[tokio::test]
async fn curl_shows_early_hints_and_notices_a_broken_answer() {
    let origin = Origin::saying_once(
        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\n\
         Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    )
    .await;
    let gate = Gate::before(origin.address);
    let mut command = Command::new("curl");
    command.args(["--silent", "--include", "--max-time", "20"]);
    command.arg(format!("http://{}/", gate.address));
    let output = program::output(&mut command).await;
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.starts_with("HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\n")
    );
    // 18: a partial file; 56: the connection was reset.
    assert!(matches!(output.status.code(), Some(18 | 56)), "{:?}", output.status);
}

#[tokio::test]
async fn pythons_http_client_reads_what_was_meant() {
    let gate = Gate::serving(
        ServerConfig::default(),
        service_fn(
            async |request: http::Request<larder_gateway::downstream::http1::ReaderBody>| {
                let mut response = Response::new(whole(Bytes::from("body")));
                if request.uri().path() == "/304" {
                    *response.status_mut() = http::StatusCode::NOT_MODIFIED;
                }
                Ok(response)
            },
        ),
    );
    let script = r#"
import http.client, sys
connection = http.client.HTTPConnection(sys.argv[1], timeout=20)
def ask(method, path, body=None):
    connection.request(method, path, body)
    answer = connection.getresponse()
    return answer.status, answer.read()
for _ in range(3):
    assert ask("GET", "/") == (200, b"body")
    assert ask("HEAD", "/") == (200, b"")
    assert ask("GET", "/304") == (304, b"")
    assert ask("POST", "/", b"x" * 1000) == (200, b"body")
    assert ask("PUT", "/", iter([b"ab", b"c"])) == (200, b"body")
print("fine")
"#;
    let mut command = Command::new("python3");
    command.args(["-c", script, &gate.address.to_string()]);
    assert_eq!(run(&mut command).await.stdout, b"fine\n");
}

#[tokio::test]
async fn nginx_as_origin_is_passed_on_byte_for_byte() {
    let content: Vec<u8> = (0..3_000_000_u32).map(|n| (n.wrapping_mul(n) / 31) as u8).collect();
    let settings = "access_log off; client_max_body_size 1m;";
    let server =
        "root .; location /status { return 299 'odd'; } location /here { return 302 /there; }";
    let nginx = Nginx::start(settings, server).await;
    std::fs::write(nginx.folder().join("file.bin"), &content).unwrap();
    let client = upstream(nginx.address, UpstreamConfig::default());
    let gate = Gate::with(ServerConfig::default(), client.clone());
    let asked = async |address: SocketAddr, request: &str| {
        let mut wire = Wire::connect(address).await;
        wire.send(format!("{request} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")).await;
        wire.rest().await
    };
    for request in ["GET /file.bin", "HEAD /file.bin", "GET /status", "GET /here", "GET /none"] {
        let (direct, passed) =
            (asked(nginx.address, request).await, asked(gate.address, request).await);
        let (direct_head, direct_body) = direct.split_once("\r\n\r\n").unwrap();
        let (head, body) = passed.split_once("\r\n\r\n").unwrap();
        assert!(body == direct_body, "{request}: another body");
        let fields = |head: &str| {
            let mut lines: Vec<_> = head.lines().map(str::to_ascii_lowercase).collect();
            lines.retain(|line| !line.starts_with("connection:") && !line.starts_with("date:"));
            lines.sort();
            lines
        };
        assert_eq!(fields(head), fields(direct_head), "{request}");
    }
    assert_eq!(client.stats().connected, 1);
    let range =
        "GET /file.bin HTTP/1.1\r\nHost: a\r\nRange: bytes=10-19\r\nConnection: close\r\n\r\n";
    let part = gate.say(range).await;
    assert_eq!(status(&part), 206);
    let expected: String = content[10..20].iter().map(|byte| char::from(*byte)).collect();
    assert!(part.ends_with(&expected));
}
