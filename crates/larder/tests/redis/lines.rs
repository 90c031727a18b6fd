//! Lines: connections that break are opened again, and who gives up a call takes nothing from others.

use std::{
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use larder::{
    Cache,
    codec::Text,
    lower::{BodyId, LogPart, LowerError, LowerTier, Piece, Readers},
    redis::Redis,
};
use larder_test_support::{
    certificate::Certificate, eventually::eventually, port::free_port, redis::Redis as Server,
};
use tokio::{net::TcpListener, task::JoinSet, time::timeout};

use crate::control::{purge, reader, tell, tier, told};

const MINUTE: Duration = Duration::from_secs(60);

async fn works(tier: &Redis) -> Option<()> {
    tier.heads("key", LogPart::Nothing).await.ok().map(|_| ())
}

#[tokio::test]
async fn a_server_that_comes_back_is_found_again() {
    let mut server = Server::start().await;
    let one = tier(&server);
    works(&one).await.unwrap();
    server.kill().await;
    for _ in 0..20 {
        assert!(works(&one).await.is_none());
    }
    server.start_again().await;
    eventually("an answer", async || works(&one).await).await;
}

#[tokio::test]
async fn a_connection_that_the_server_closes_is_opened_again() {
    let server = Server::start().await;
    let one = tier(&server);
    works(&one).await.unwrap();
    tell::<u64>(&server, &["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
    eventually("an answer", async || works(&one).await).await;
}

#[tokio::test]
async fn the_first_question_after_a_restart_is_answered_whichever_it_is() {
    let mut server = Server::start_with(&["--save", "3600 1"]).await;
    let bytes = Bytes::from_static(b"piece");
    let piece = Piece { body: BodyId(1), index: 0, bytes, keep: MINUTE };
    let said = reader(1);
    let ask = async |one: &Redis, question| match question {
        0 => one.write(piece.clone()).await,
        1 => one.append(&[purge(1)]).await.map(|_| ()),
        2 => one.heads("key", LogPart::Nothing).await.map(|_| ()),
        3 => one.heads("key", LogPart::After(None)).await.map(|_| ()),
        4 => one.piece(BodyId(1), 0).await.map(|found| assert_eq!(found, piece.bytes)),
        5 => one.tail(None).await.map(|tail| assert_eq!(told(&tail), [1])),
        _ => one.renew(&said, None).await.map(|_| ()),
    };
    let all = 7;
    for first in 0..all {
        let one = tier(&server);
        for question in 0..all {
            ask(&one, question).await.unwrap();
        }
        server.stop().await;
        server.start_again().await;
        for question in (first..all).chain(0..first) {
            let answer = ask(&one, question).await;
            answer.unwrap_or_else(|error| panic!("{first}, {question}: {error:?}"));
        }
    }
}

#[tokio::test]
async fn a_line_that_breaks_soon_again_and_again_rests() {
    let server = Server::start().await;
    let one = tier(&server);
    let (mut killed, mut lost) = (0, 0);
    for _ in 0..10 {
        lost += u32::from(works(&one).await.is_none());
        killed +=
            tell::<u32>(&server, &["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
    }
    assert!(killed > 1 && lost > 0, "{killed} {lost}");
}

#[tokio::test]
async fn who_follows_on_a_line_that_breaks_is_told_what_there_is() {
    let server = Server::start().await;
    let one = tier(&server);
    let since = one.append(&[purge(1)]).await.unwrap();
    let following = tokio::spawn({
        let one = one.clone();
        async move { one.follow(since, MINUTE).await }
    });
    eventually("one who waits", async || {
        let clients: String = tell(&server, &["CLIENT", "LIST"]).await;
        clients.contains("cmd=xread").then_some(())
    })
    .await;
    tell::<u64>(&server, &["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
    let tail = timeout(MINUTE / 4, following).await.unwrap().unwrap().unwrap();
    assert_eq!((tail.position, told(&tail)), (since, Vec::new()));
}

#[test]
fn a_tier_outlives_the_runtime_that_opened_its_connections() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().unwrap()
    };
    let first = runtime();
    let server = first.block_on(Server::start());
    let one = tier(&server);
    first.block_on(works(&one)).unwrap();
    drop(first);
    let second = runtime();
    second.block_on(eventually("an answer", async || works(&one).await));
}

#[tokio::test]
async fn a_server_that_fails_is_not_asked_at_each_call() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let one = Redis::connect(&format!("redis://{}", listener.local_addr().unwrap())).unwrap();
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&accepted);
    let closing = tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            drop(connection);
        }
    });
    let began = Instant::now();
    for _ in 0..10_000 {
        assert!(works(&one).await.is_none());
    }
    // The shortest rest is ten milliseconds.
    let most = 1 + began.elapsed().as_millis() as usize / 10;
    let accepted = accepted.load(Ordering::Relaxed);
    assert!((1..=most.min(1000)).contains(&accepted), "{accepted} of {most}");
    closing.abort();
}

#[tokio::test]
async fn many_who_come_at_once_open_one_connection() {
    let server = Server::start().await;
    let one = tier(&server);
    let mut calls = JoinSet::new();
    for _ in 0..50 {
        let one = one.clone();
        calls.spawn(async move { works(&one).await.unwrap() });
    }
    calls.join_all().await;
    let clients: String = tell(&server, &["CLIENT", "LIST"]).await;
    assert_eq!(clients.lines().count(), 2, "the test's own is the other:\n{clients}");
}

#[tokio::test]
async fn a_call_that_is_given_up_leaves_others_their_answers() {
    let server = Server::start().await;
    let one = tier(&server);
    let piece = |index| Piece {
        body: BodyId(1),
        index,
        bytes: Bytes::from(vec![index as u8; 1000]),
        keep: MINUTE,
    };
    for index in 0..8 {
        one.write(piece(index)).await.unwrap();
    }
    server.pause();
    for index in 0..8 {
        let given_up = timeout(Duration::from_millis(10), one.piece(BodyId(1), index)).await;
        assert!(given_up.is_err());
    }
    server.go_on();
    for index in (0..8).rev() {
        assert_eq!(one.piece(BodyId(1), index).await.unwrap(), piece(index).bytes);
    }
    let clients: String = tell(&server, &["CLIENT", "LIST"]).await;
    assert!(clients.lines().count() <= 3, "the same connections as before:\n{clients}");
}

#[tokio::test]
async fn what_is_no_server_of_redis_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let one = Redis::connect(&format!("redis://{}", listener.local_addr().unwrap())).unwrap();
    let answering = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        while let Ok((mut connection, _)) = listener.accept().await {
            connection.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.ok();
        }
    });
    let answer = timeout(MINUTE / 4, one.heads("key", LogPart::Nothing)).await.unwrap();
    assert!(matches!(answer, Err(LowerError::Failed(_))));
    answering.abort();
}

#[tokio::test]
async fn a_server_is_reached_over_tls_by_a_user_with_a_password() {
    // Valkey's from PyPI was built without TLS. Debian's Redis has it.
    if std::env::var_os("LARDER_REDIS_SERVER").is_some() {
        println!("left out over LARDER_REDIS_SERVER, which may have been built without TLS");
        return;
    }
    let certificate = Certificate::new();
    let tls_port = free_port();
    let (port, file, key) = (
        tls_port.to_string(),
        certificate.file().display().to_string(),
        certificate.key().display().to_string(),
    );
    let server = Server::start_with(&[
        "--tls-port",
        &port,
        "--tls-cert-file",
        &file,
        "--tls-key-file",
        &key,
        "--tls-auth-clients",
        "no",
    ])
    .await;
    tell::<()>(&server, &["ACL", "SETUSER", "larder", "on", ">secret", "allkeys", "+@all"]).await;
    let url = format!("rediss://localhost:{tls_port}");
    let pem = std::fs::read(certificate.file()).unwrap();
    let known = Redis::options(&url).ca_certificate(pem).username("larder");
    works(&known.clone().password("secret").connect().unwrap()).await.unwrap();
    let wrong = known.password("wrong").connect().unwrap();
    let refused = wrong.heads("key", LogPart::Nothing).await.unwrap_err();
    let said = format!("{refused:?}");
    assert!(said.contains("WRONGPASS") || said.contains("AuthenticationFailed"), "{said}");
    // Nobody has vouched for its certificate.
    let strange = Redis::options(&url).username("larder").password("secret").connect().unwrap();
    let refused = strange.heads("key", LogPart::Nothing).await.unwrap_err();
    assert!(format!("{refused:?}").contains("UnknownIssuer"), "{refused:?}");
}

/// Where nothing but the future itself runs.
fn drive<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let (mut context, mut future) = (std::task::Context::from_waker(&waker), pin!(future));
    loop {
        if let std::task::Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        std::thread::park();
    }
}

type Fetching = Pin<Box<dyn Future<Output = String> + Send>>;

#[test]
fn where_no_connection_can_be_opened_values_are_fetched() {
    type Run = fn(Fetching) -> String;
    let ways: [(&str, Run); 3] = [
        ("no runtime", |fetching| drive(fetching)),
        ("a runtime without timers and sockets", |fetching| {
            tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(fetching)
        }),
        ("a runtime without sockets", |fetching| {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            builder.enable_time().build().unwrap().block_on(fetching)
        }),
    ];
    // Each in a thread of its own, which may never end.
    for (name, run) in ways {
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            let tier = Redis::connect("redis://127.0.0.1:1").unwrap();
            let cache = Cache::<String>::builder().lower(tier, Text).build();
            let fetch = async || "value".to_owned();
            let fetching = Box::pin(async move { cache.get_or_fetch("key", fetch).await });
            tell.send(run(fetching)).ok();
        });
        let told = told.recv_timeout(Duration::from_secs(10));
        assert_eq!(told.as_deref(), Ok("value"), "{name}");
    }
}
