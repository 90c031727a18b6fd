//! Guard: what a hit, a 304, a miss and a pass cost, one after the other, for callgrind to count; and a hit by a
//! configuration with many routes, or with a tier below memory as well, beside the same request without any; and a hit while
//! as many consoles are open as may be, and one that nothing accounts for.
//!
//! ```text
//! make test-guard
//! ```
//!
//! `larder-guard CASE COUNT` serves one connection, read from memory, until COUNT requests are answered. The
//! gateway, its cache and its connection to the origin are those of `larder serve`, on one thread. The
//! origin is this program as a second process, in which callgrind counts nothing. `tools/guard` calls
//! it with two COUNTs, so that starting and filling the cache are not counted. What consoles take has a thread of its own, as
//! those who ask the admin API have: of that case the thread that serves is counted.

#![expect(clippy::unwrap_used, reason = "a bench is no library")]

use std::{
    env,
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    pin::Pin,
    process::{Child, Command, Stdio},
    sync::mpsc,
    task::{Context, Poll},
    thread,
};

use http_body_util::BodyExt;
use larder::{
    Cache, Clock,
    http::{HttpCache, Policy, Variants},
    lower::InProcess,
};
use larder_admin::Admin;
use larder_gateway::{
    Gateway, GatewayConfig, config,
    downstream::{
        Ended,
        http1::{Http1Config, serve_connection_with_hits},
    },
    gateway::Unaccounted,
    routes::Ways,
    upstream::{Upstream, UpstreamConfig},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    runtime::Builder,
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// That of `larder serve`: the system's own would make the counts the system's, too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A kind of request, and by what its answers are known.
struct Case {
    name: &'static str,
    /// Eight digits follow it: the number of the request where each asks for another page.
    path: &'static str,
    is_each_new: bool,
    fields: &'static str,
    status_line: &'static str,
    verdict: &'static str,
    ending: &'static str,
    by: By,
    beside: Beside,
}

/// What goes on beside the requests, or does not.
#[derive(Clone, Copy, PartialEq)]
enum Beside {
    Nothing,
    /// As many consoles are open as may be.
    Consoles,
    /// Not even accounts of the hits are kept.
    NoAccounts,
}

/// What a gateway goes by.
#[derive(Clone, Copy, PartialEq)]
enum By {
    /// The rules of its cache, and no routes.
    Nothing,
    /// A hundred routes.
    Routes,
    /// Those, by which queries are filtered and sorted, and cookies do not matter.
    Recipes,
    /// Those, and there is a tier below memory.
    Everything,
}

const CASES: [Case; 12] = [
    Case { name: "hit", ..PAGE },
    Case { name: "hit-unaccounted", beside: Beside::NoAccounts, ..PAGE },
    Case { name: "hit-watched", beside: Beside::Consoles, ..PAGE },
    // The same bytes, of which a route is to be found: what matching costs.
    Case { name: "hit-matched", by: By::Routes, ..PAGE },
    // With all that a plain hit may have to pass on its way.
    Case { name: "hit-everything", by: By::Everything, ..PAGE },
    // The same bytes with a configuration and without: so what the configuration costs is told apart from what it costs to
    // read a longer request.
    Case { name: "hit-unrouted", by: By::Nothing, ..SHOP },
    Case { name: "hit-routed", by: By::Recipes, ..SHOP },
    // Each request has another number in a parameter that does not matter, as the links of advertisements have: nothing
    // that was written for one target is of use for the next.
    Case {
        name: "hit-tracked",
        by: By::Recipes,
        is_each_new: true,
        path: "/shop/99/items?utm_source=guard&size=2&colour=3&page=1&gclid=",
        ..SHOP
    },
    // As many bytes without a configuration. Its number stays the same: without a recipe another would be another page.
    Case {
        name: "hit-tracked-unrouted",
        path: "/shop/99/items?utm_source=guard&size=2&colour=3&page=1&gclid=",
        ..SHOP
    },
    Case {
        name: "not-modified",
        path: "/page/",
        is_each_new: false,
        fields: "If-None-Match: \"1\"\r\n",
        status_line: "HTTP/1.1 304 Not Modified\r\n",
        verdict: "Larder;hit;",
        ending: "\r\n\r\n",
        by: By::Nothing,
        beside: Beside::Nothing,
    },
    Case {
        name: "miss",
        path: "/page/",
        is_each_new: true,
        fields: "",
        status_line: "HTTP/1.1 200 OK\r\n",
        verdict: "Larder;fwd=uri-miss;fwd-status=200;stored;",
        ending: END_OF_PAGE,
        by: By::Nothing,
        beside: Beside::Nothing,
    },
    Case {
        name: "pass",
        path: PRIVATE,
        is_each_new: false,
        fields: "",
        status_line: "HTTP/1.1 200 OK\r\n",
        verdict: "Larder;fwd=uri-miss;fwd-status=200;detail=no-store",
        ending: END_OF_PAGE,
        by: By::Nothing,
        beside: Beside::Nothing,
    },
];

/// A short request, as most are.
const PAGE: Case = Case {
    name: "",
    path: "/page/",
    is_each_new: false,
    fields: "",
    status_line: "HTTP/1.1 200 OK\r\n",
    verdict: "Larder;hit;",
    ending: END_OF_PAGE,
    by: By::Nothing,
    beside: Beside::Nothing,
};

/// A request that gives a configuration all to do that it can have: to find the last but one of a hundred routes, to filter
/// and sort a query, to ignore cookies. Its answer is public, so that it is a hit without any of that as well.
const SHOP: Case = Case {
    name: "",
    path: "/shop/99/items?utm_source=guard&size=2&colour=3&gclid=4&page=",
    is_each_new: false,
    fields: "Cookie: _ga=GA1.2.3.4; _gid=GA1.2.5.6\r\n",
    status_line: "HTTP/1.1 200 OK\r\n",
    verdict: "Larder;hit;",
    ending: END_OF_PAGE,
    by: By::Nothing,
    beside: Beside::Nothing,
};

/// More event streams than this are not opened to anybody.
const CONSOLES: usize = 32;

const PAGE_BYTES: usize = 2304;
const END_OF_PAGE: &str = "</html>\n";
/// What the origin lets nobody store.
const PRIVATE: &str = "/private/";
/// What it says is for everybody, whoever asked.
const PUBLIC: &str = "/shop/";

fn main() {
    let words: Vec<_> = env::args().skip(1).collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["origin"] => be_origin(),
        [name, count] => {
            let case = CASES.into_iter().find(|case| case.name == name).expect("a case's name");
            serve(case, count.parse().expect("a number of requests"));
        }
        _ => println!("tools/guard counts with this: make test-guard"),
    }
}

fn serve(case: Case, count: usize) {
    let origin = Origin::start();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let (by, beside) = (case.by, case.beside);
    let mut reader = Reader::new(case, count);
    let ended = runtime.block_on(async {
        let store = Cache::<Variants>::builder().max_bytes(64 << 20);
        let store = match by {
            By::Everything => store.lower_http(InProcess::new(Clock::system())),
            _ => store,
        };
        let cache = HttpCache::new(store.build(), Policy::guarded());
        let upstream = format!("http://{}", origin.address).parse().unwrap();
        let upstream = Upstream::new(upstream, UpstreamConfig::default());
        let gateway = match by {
            By::Nothing => Gateway::new(&cache, upstream, GatewayConfig::default()),
            _ => Gateway::with_ways(
                &cache,
                vec![upstream.into()],
                ways(by),
                GatewayConfig::default(),
            ),
        };
        // A reader on this machine would be told the keys as well.
        let peer = ([192, 0, 2, 1], 4711).into();
        let (config, stop) = (Http1Config::default(), CancellationToken::new());
        let (hits, io) = (gateway.clone(), &mut reader);
        if beside == Beside::NoAccounts {
            let hits = Unaccounted(hits);
            return serve_connection_with_hits(io, peer, &config, &hits, gateway, stop).await;
        }
        let consoles = (beside == Beside::Consoles).then(|| Consoles::open(&cache, &gateway));
        let ended = serve_connection_with_hits(io, peer, &config, &hits, gateway, stop).await;
        drop(consoles);
        ended
    });
    assert_eq!(ended, Ended::Closed);
    reader.check();
}

/// The thread of consoles that are open. Dropping it closes them.
struct Consoles {
    close: CancellationToken,
    thread: Option<thread::JoinHandle<()>>,
}

impl Consoles {
    /// As many as there may be. Each was told something once this returns.
    fn open(cache: &HttpCache, gateway: &Gateway) -> Consoles {
        let table = gateway.clone();
        let counted = gateway.clone();
        let admin = Admin::new().http_cache(cache).key_routes(gateway.clone());
        let admin = admin.route_table(move || table.route_table());
        let admin = admin.explain_with(gateway.clone()).traffic(move || counted.traffic());
        let close = CancellationToken::new();
        let (closed, (opened, open)) = (close.clone(), mpsc::channel());
        let thread = thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            let mut consoles = JoinSet::new();
            runtime.block_on(closed.run_until_cancelled(async {
                let router = admin.router();
                for _ in 0..CONSOLES {
                    consoles.spawn(listen(router.clone(), opened.clone()));
                }
                while consoles.join_next().await.is_some() {}
            }));
        });
        open.into_iter().take(CONSOLES).for_each(drop);
        Consoles { close, thread: Some(thread) }
    }
}

impl Drop for Consoles {
    fn drop(&mut self) {
        self.close.cancel();
        self.thread.take().map(thread::JoinHandle::join).unwrap().unwrap();
    }
}

/// Reads all that a console is told, and says when that begins.
async fn listen(router: axum::Router, opened: mpsc::Sender<()>) {
    let asked = http::Request::get("/v1/events?only=stats,second,purge");
    let asked = asked.header("host", "localhost").body(axum::body::Body::empty()).unwrap();
    let mut told = router.oneshot(asked).await.unwrap().into_body();
    told.frame().await.unwrap().unwrap();
    opened.send(()).unwrap();
    while told.frame().await.is_some() {}
}

/// A hundred routes. The last but one is that of a shop's requests, or of a page's.
fn ways(by: By) -> Ways {
    let shop_or_page = |number| match (by, number) {
        (By::Recipes, _) | (_, ..=98 | 100..) => format!("/shop/{number}/{{item}}"),
        (_, 99) => "/page/{item}".to_owned(),
    };
    let route = |number: usize| {
        let host = if number.is_multiple_of(2) { "host = \"other.test\"\n" } else { "" };
        let path = shop_or_page(number);
        format!("[[route]]\n{host}path = \"{path}\"\nttl = \"{number}s\"\n")
    };
    let routes: String = (1..=100).map(route).collect();
    let recipes = match by {
        By::Nothing | By::Routes => "",
        By::Recipes | By::Everything => {
            "query_deny = [\"tracking\"]\nquery_sort = true\nignore_cookies = [\"analytics\"]\n"
        }
    };
    let text = format!("[upstream.origin]\nurl = 1\n[defaults]\n{recipes}{routes}");
    let (config, places) = config::read("guard.toml".as_ref(), &text).unwrap();
    config::Settings::of(&config, &places, config::Secrets::default()).unwrap().ways
}

/// The other end of the connection: sends a request when the one before is answered, and closes when
/// there were enough.
struct Reader {
    case: Case,
    count: usize,
    sent: usize,
    request: Vec<u8>,
    /// What came since the last request.
    answer: Vec<u8>,
}

impl Reader {
    fn new(case: Case, count: usize) -> Self {
        let request = format!(
            "GET {}00000000 HTTP/1.1\r\nHost: example.org\r\nUser-Agent: guard\r\nAccept: */*\r\n\
             Accept-Encoding: gzip\r\n{}\r\n",
            case.path, case.fields
        );
        Reader { case, count, sent: 0, request: request.into(), answer: Vec::new() }
    }

    fn is_answered(&self) -> bool {
        self.sent == 0 || self.answer.ends_with(self.case.ending.as_bytes())
    }

    /// Another kind of answer would be counted as this one: each one's status is looked at as it comes,
    /// and the rest of it at the last.
    fn check(&self) {
        let answer = String::from_utf8_lossy(&self.answer);
        assert!(self.sent == self.count && self.is_answered(), "{}: {answer}", self.sent);
        let field = answer.lines().find(|line| line.to_lowercase().starts_with("cache-status:"));
        assert!(field.is_some_and(|line| line.contains(self.case.verdict)), "{answer}");
    }
}

impl AsyncRead for Reader {
    /// Wakes nobody: the answer that it waits for is written by the task that asks.
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let reader = self.get_mut();
        if !reader.is_answered() {
            return Poll::Pending;
        }
        if reader.sent < reader.count {
            if reader.case.is_each_new {
                let digits = "GET ".len() + reader.case.path.len();
                write!(&mut reader.request[digits..], "{:08}", reader.sent)?;
            }
            buffer.put_slice(&reader.request);
            reader.answer.clear();
            reader.sent += 1;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Reader {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let reader = self.get_mut();
        reader.answer.extend_from_slice(bytes);
        let expected = reader.case.status_line;
        assert!(reader.answer.starts_with(expected.as_bytes()), "no answer to {}", reader.sent);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The process that is the origin. Dropping it ends it.
struct Origin {
    address: SocketAddr,
    process: Child,
}

impl Origin {
    fn start() -> Self {
        let mut process = Command::new(env::current_exe().unwrap())
            .arg("origin")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut address = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Origin { address: address.trim().parse().unwrap(), process }
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        // Its standard input ends, and with that the process.
        self.process.wait().unwrap();
    }
}

/// Answers on a port of its own, which it prints, until its standard input ends: with the process that
/// started it, however that ends.
fn be_origin() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || answer_all(stream.unwrap()));
        }
    });
    io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

/// Each answer leaves in one write, so that the gateway reads as often in each run.
fn answer_all(mut stream: TcpStream) {
    stream.set_nodelay(true).unwrap();
    let page = "x".repeat(PAGE_BYTES - END_OF_PAGE.len()) + END_OF_PAGE;
    let saying = |fields: &str| {
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n{fields}ETag: \"1\"\r\n\
             Content-Length: {PAGE_BYTES}\r\n\r\n{page}"
        )
    };
    let cacheable = saying("Cache-Control: max-age=3600\r\n");
    let public = saying("Cache-Control: public, max-age=3600\r\n");
    let private = saying("Cache-Control: no-store\r\n");
    let mut bytes = [0; 4096];
    let mut length = 0;
    loop {
        let Ok(read @ 1..) = stream.read(&mut bytes[length..]) else { return };
        length += read;
        if bytes[..length].ends_with(b"\r\n\r\n") {
            let answer = match &bytes["GET ".len()..] {
                path if path.starts_with(PRIVATE.as_bytes()) => &private,
                path if path.starts_with(PUBLIC.as_bytes()) => &public,
                _ => &cacheable,
            };
            // A gateway that is gone is seen by the next reading.
            stream.write_all(answer.as_bytes()).ok();
            length = 0;
        }
    }
}
