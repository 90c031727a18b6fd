//! Programs of others: curl, Python's httpx and a browser before it, nginx and the blog's posts
//! service behind it.

use std::{
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
};

use crate::support::{
    Certificate, Process,
    answer::{field, status},
    larder::{Larder, request, tls_flags},
    nginx::Nginx,
    origin::{Origin, ok},
    program::{self, curl},
};

/// What a program writes.
async fn output(program: &str, arguments: &[&str]) -> Vec<u8> {
    program::run(Command::new(program).args(arguments)).await.stdout
}

fn letters(count: usize) -> String {
    (0..count).map(|n| char::from(b'a' + u8::try_from(n % 23).unwrap())).collect()
}

#[tokio::test]
async fn curl_gets_parts_heads_conditions_and_continues() {
    let body = letters(5000);
    let origin = Origin::saying(ok("cache-control: max-age=60\r\netag: \"1\"\r\n", &body)).await;
    let larder = Larder::before(origin.address).await;
    let url = larder.url("/a");
    // Two requests on one connection: the second finds the first one's answer.
    let written = ["--write-out", "\n%{http_code} %{num_connects}\n"];
    let twice = curl(&[&written[..], &[&url, &url]].concat()).await;
    assert_eq!(twice, format!("{body}\n200 1\n{body}\n200 0\n"));
    assert_eq!(curl(&["--range", "10-19", &url]).await, body[10..20]);
    assert_eq!(curl(&["--range", "-10", &url]).await, body[4990..]);
    let parts = curl(&["--range", "0-1,100-101", &url]).await;
    assert!(parts.contains(&body[100..102]) && parts.ends_with("--\r\n"), "{parts}");
    let head = curl(&["--head", &url]).await;
    assert_eq!((status(&head), field(&head, "content-length")), (200, Some("5000")));
    let unchanged = ["--header", "if-none-match: \"1\"", &url];
    assert_eq!(curl(&[&written[..], &unchanged].concat()).await, "\n304 1\n");
    assert_eq!(origin.requests().len(), 1);

    let folder = tempfile::tempdir().unwrap();
    let half = folder.path().join("half");
    std::fs::write(&half, &body[..2500]).unwrap();
    curl(&["--continue-at", "-", "--output", half.to_str().unwrap(), &url]).await;
    assert_eq!(std::fs::read_to_string(&half).unwrap(), body);
    assert_eq!(origin.requests().len(), 1);

    // curl waits for 100 (Continue) before a body of this size.
    let upload = folder.path().join("upload");
    std::fs::write(&upload, letters(2 << 20)).unwrap();
    let upload = format!("@{}", upload.display());
    let sent = curl(&["--data-binary", &upload, "--header", "expect: 100-continue", &url]).await;
    assert_eq!(sent, body);
}

#[tokio::test]
async fn curl_comes_over_tls_with_either_protocol_and_the_origin_hears_of_it() {
    let body = letters(100_000);
    let origin = Origin::saying(ok("cache-control: max-age=60\r\n", &body)).await;
    let certificate = Certificate::new();
    let flags = tls_flags(&certificate);
    let larder = Larder::with(origin.address, &flags.each_ref().map(String::as_str)).await;
    let log = larder.log();
    let listening = format!("listening on https://{}", larder.address);
    assert!(log.lines().any(|line| line.ends_with(&listening)), "{log}");
    let url = larder.url("/a");
    let file = certificate.file();
    let trusting = ["--cacert", file.to_str().unwrap()];
    let written = ["--write-out", "\n%{http_version} %{ssl_verify_result}"];
    for (protocol, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        for tls in [&["--tlsv1.3"][..], &["--tlsv1.2", "--tls-max", "1.2"]] {
            let said = curl(&[&trusting, &written, tls, &[protocol, &url]].concat()).await;
            assert_eq!(said, format!("{body}\n{version} 0"));
        }
    }
    let requests = origin.requests();
    assert_eq!(requests.len(), 1, "{requests:?}");
    assert!(requests[0].contains("x-forwarded-proto: https\r\n"), "{}", requests[0]);
    // That it speaks only HTTP/1.0 it says in the handshake, too.
    assert_eq!(curl(&[&trusting[..], &["--http1.0", &url]].concat()).await, body);
}

#[tokio::test]
async fn curl_and_httpx_get_the_encoding_they_ask_for() {
    let body = letters(5000);
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("plain");
    std::fs::write(&plain, &body).unwrap();
    let zipped = output("gzip", &["--stdout", plain.to_str().unwrap()]).await;
    let fields = "cache-control: max-age=60\r\nvary: accept-encoding\r\n";
    let answers = (ok(fields, &body), ok(&format!("{fields}content-encoding: gzip\r\n"), zipped));
    let origin = Origin::answering(move |head| {
        let takes_gzip = field(head, "accept-encoding").is_some_and(|list| list.contains("gzip"));
        if takes_gzip { answers.1.clone() } else { answers.0.clone() }
    })
    .await;
    let larder = Larder::before(origin.address).await;
    let url = larder.url("/a");
    for _ in 0..2 {
        assert_eq!(curl(&[&url]).await, body);
        assert_eq!(curl(&["--compressed", &url]).await, body);
    }
    assert_eq!(origin.requests().len(), 2);

    let script = r#"
import httpx, sys
url = sys.argv[1]
with httpx.Client(trust_env=False, timeout=60) as client:
    for headers in ({"accept-encoding": "identity"}, {}):
        answer = client.get(url, headers=headers)
        print(answer.status_code, answer.headers.get("content-encoding"), len(answer.text))
    with client.stream("GET", url, headers={"accept-encoding": "identity"}) as answer:
        print(sum(len(piece) for piece in answer.iter_bytes()))
    answer = client.get(url, headers={"accept-encoding": "identity", "range": "bytes=1-3"})
    print(answer.status_code, answer.text)
    print(client.head(url).headers["cache-status"].split(";")[1])
    print(client.post(url, content=(bytes(10) for _ in range(10))).status_code)
"#;
    let said = output("/usr/bin/python3", &["-c", script, &url]).await;
    let said = String::from_utf8(said).unwrap();
    assert_eq!(said, "200 None 5000\n200 gzip 5000\n5000\n206 bcd\nhit\n200\n");
}

#[tokio::test]
async fn a_browser_loads_a_page_and_what_it_needs() {
    const PAGE: &str = "<!doctype html><title>a</title><link rel=stylesheet href=/style>\
        <p id=said></p><script src=/script></script>";
    const SCRIPT: &str = "fetch('/data').then((answer) => answer.text()).then((text) => {\
        const width = getComputedStyle(document.querySelector('#said')).width;\
        document.querySelector('#said').textContent = `${text}, ${width} wide`; });";
    let origin = Origin::answering(|head| {
        let of_kind = |kind: &str| format!("cache-control: max-age=60\r\ncontent-type: {kind}\r\n");
        match head.split(' ').nth(1) {
            Some("/") => ok(&of_kind("text/html"), PAGE),
            Some("/style") => ok(&of_kind("text/css"), "#said { width: 123px }"),
            Some("/script") => ok(&of_kind("text/javascript"), SCRIPT),
            Some("/data") => ok(&of_kind("text/plain"), "fetched"),
            _ => ok("", ""),
        }
    })
    .await;
    let larder = Larder::before(origin.address).await;
    let chromium = std::env::var("CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".to_owned());
    for _ in 0..2 {
        // A profile of its own: what the browser had before is gone.
        let profile = tempfile::tempdir().unwrap();
        let profile = format!("--user-data-dir={}", profile.path().display());
        let flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", &profile];
        let quiet = ["--disable-background-networking", "--disable-component-update"];
        let ask = ["--virtual-time-budget=20000", "--dump-dom", &larder.url("/")];
        let page = output(&chromium, &[&flags[..], &quiet, &ask].concat()).await;
        let page = String::from_utf8(page).unwrap();
        assert!(page.contains("fetched, 123px wide"), "{page}");
    }
    let mut asked: Vec<_> = origin.requests();
    asked.retain(|head| !head.contains("favicon"));
    assert_eq!(asked.len(), 4, "{asked:?}");
}

/// nginx with a folder of files, and a log of what it was asked.
struct Files(Nginx);

impl Files {
    async fn start() -> Files {
        let settings = "
            log_format short '$status $request_uri $http_range';
            access_log log short;
            gzip on; gzip_proxied any; gzip_types text/plain; gzip_vary on;";
        let server = "
            root files;
            default_type text/plain;
            location / { expires 1h; }
            location /checked/ { add_header cache-control no-cache; }";
        let nginx = Nginx::start(settings, server).await;
        std::fs::create_dir_all(nginx.folder().join("files/checked")).unwrap();
        Files(nginx)
    }

    fn address(&self) -> SocketAddr {
        self.0.address
    }

    fn file(&self, name: &str, content: &str) {
        std::fs::write(self.0.folder().join("files").join(name), content).unwrap();
    }

    /// One line for each request.
    fn log(&self) -> String {
        std::fs::read_to_string(self.0.folder().join("log")).unwrap()
    }
}

#[tokio::test]
async fn files_of_nginx_are_served_whole_in_parts_zipped_and_confirmed() {
    let nginx = Files::start().await;
    let body = letters(200_000);
    nginx.file("a", &body);
    nginx.file("checked/b", &body);
    let larder = Larder::before(nginx.address()).await;

    let miss = larder.get("/a").await;
    assert_eq!((miss.handling(), miss.text()), ("uri-miss", body.as_str()));
    let hit = larder.get("/a").await;
    assert_eq!((hit.handling(), hit.text()), ("hit", body.as_str()));
    let part = larder.get_with("/a", "range: bytes=1000-1999\r\n").await;
    assert_eq!((part.status(), part.text()), (206, &body[1000..2000]));
    let tag = hit.field("etag").unwrap().to_owned();
    let unchanged = larder.get_with("/a", &format!("if-none-match: {tag}\r\n")).await;
    assert_eq!((unchanged.status(), unchanged.handling()), (304, "hit"));
    assert_eq!(nginx.log(), "200 /a -\n");

    // Another encoding is another variant, with a length of its own.
    for handling in ["vary-miss", "hit"] {
        let mut reader = larder.connect().await;
        reader.send(request("GET", "/a", "accept-encoding: gzip\r\n")).await;
        let zipped = reader.answer().await;
        assert_eq!((zipped.handling(), zipped.field("content-encoding")), (handling, Some("gzip")));
        assert!(zipped.body.len() < body.len());
    }
    assert_eq!(larder.get("/a").await.text(), body);

    // What has to be confirmed is, and costs no second transfer.
    for handling in ["uri-miss", "stale", "stale"] {
        let answer = larder.get("/checked/b").await;
        assert_eq!((answer.handling(), answer.text()), (handling, body.as_str()));
    }
    let log = nginx.log();
    let confirmed: Vec<_> = log.lines().filter(|line| line.contains("/checked/b")).collect();
    assert_eq!(confirmed, ["200 /checked/b -", "304 /checked/b -", "304 /checked/b -"]);
    nginx.file("checked/b", "changed");
    assert_eq!(larder.get("/checked/b").await.text(), "changed");
}

#[tokio::test]
async fn parts_of_a_file_of_nginx_are_stored_and_joined() {
    let nginx = Files::start().await;
    let body = letters(10_000);
    nginx.file("a", &body);
    let larder = Larder::before(nginx.address()).await;
    for (range, expected) in [("0-4999", &body[..5000]), ("5000-", &body[5000..])] {
        let part = larder.get_with("/a", &format!("range: bytes={range}\r\n")).await;
        assert_eq!((part.status(), part.text()), (206, expected), "{range}");
    }
    let log = nginx.log();
    let whole = larder.get("/a").await;
    assert_eq!((whole.status(), whole.text()), (200, body.as_str()));
    assert_eq!(whole.handling(), "hit");
    assert_eq!(nginx.log(), log);
}

#[tokio::test]
async fn the_slow_posts_service_of_the_blog_is_asked_once() {
    // Built with all of the workspace, next to this crate's own command.
    let blog = Path::new(env!("CARGO_BIN_EXE_larder")).with_file_name("blog");
    assert!(blog.exists(), "cargo build -p larder-blog comes first");
    let folder = tempfile::tempdir().unwrap();
    let mut posts = Process::start(
        Command::new(blog)
            .arg("posts")
            .env_clear()
            .env("POSTS_SERVICE_PORT", "0")
            .env("POSTS_DELAY_MS", "100")
            .current_dir(folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null()),
    );
    let listens = |posts: &Process| -> Option<SocketAddr> {
        let text = posts.out.text();
        let url = text.lines().find_map(|line| line.split_once("http://")?.1.split(' ').next());
        url.map(|address| address.trim_end_matches('/').parse().unwrap())
    };
    let address = posts.until("the posts service", listens).await;

    let larder = Larder::with(address, &["--ttl", "5m"]).await;
    let miss = larder.get("/posts/1").await;
    assert_eq!((miss.status(), miss.handling()), (200, "uri-miss"));
    assert!(miss.text().contains("The Dialectics of Nature"), "{}", miss.text());
    let hit = larder.get("/posts/1").await;
    assert_eq!((hit.handling(), hit.text()), ("hit", miss.text()));
    let unknown = larder.get("/posts/9999").await;
    assert_eq!(
        (unknown.status(), unknown.text()),
        (404, r#"{"detail":"Post with ID 9999 not found"}"#)
    );
}
