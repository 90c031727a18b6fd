//! The bounds of requests, one by one, as a file says them: what is sent, what it is answered, and what has counted it.

use std::{fs, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

use crate::support::{
    answer::status,
    eventually,
    larder::{Larder, request},
    origin::{Origin, ok},
};

async fn larder(origin: SocketAddr, server: &str, upstream: &str) -> Larder {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "[server]\nlisten = 0\n{server}\n[admin]\nlisten = 0\n[upstream.app]\nurl = \"http://{origin}\"\n{upstream}"
    );
    fs::write(folder.path().join("larder.toml"), text).unwrap();
    Larder::in_folder(folder.path(), &["serve"], &[]).await
}

/// Never answers.
async fn silent() -> Origin {
    Origin::playing(|mut visit| async move {
        while visit.request().await.is_some() {
            std::future::pending::<()>().await;
        }
    })
    .await
}

#[tokio::test]
async fn each_bound_of_a_head_and_of_content_holds_as_the_file_says_and_is_counted() {
    let origin = Origin::saying(ok("cache-control: max-age=600\r\n", "hello")).await;
    let refusals = |why: &str| format!("larder_refusals_total{{reason=\"{why}\"}}");
    let timeouts = |kind: &str| format!("larder_timeouts_total{{kind=\"{kind}\"}}");
    let get = |path: usize, field: usize| {
        request("GET", &format!("/{}", "a".repeat(path)), &format!("x: {}\r\n", "b".repeat(field)))
    };
    let fields = |count: usize| {
        let fields: String = (0..count).map(|number| format!("x-{number}: 1\r\n")).collect();
        request("GET", "/", &fields)
    };
    let content = |bytes: usize| {
        request("POST", "/", &format!("content-length: {bytes}\r\n\r\n{}", "c".repeat(bytes)))
    };
    // The key, what still goes, what does not, the status of that (or that it is closed without a word), and its counter.
    let rows = [
        (
            "max_request_line = 64",
            get(40, 1),
            get(80, 1),
            Some(414),
            refusals("the request line is too long"),
        ),
        (
            "max_head = \"1KiB\"",
            get(1, 500),
            get(1, 1100),
            Some(431),
            refusals("the header fields are too large"),
        ),
        // Beside `Host` and `Connection`.
        (
            "max_fields = 6",
            fields(4),
            fields(5),
            Some(431),
            refusals("there are too many header fields"),
        ),
        (
            "max_request_body = 3",
            content(3),
            content(4),
            Some(413),
            refusals("the content is larger than allowed"),
        ),
        (
            "head_timeout = \"1s\"",
            get(1, 1),
            "GET / HTTP/1.1\r\nhost".to_owned(),
            Some(408),
            timeouts("head"),
        ),
        (
            "body_timeout = \"1s\"",
            content(1),
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nc".to_owned(),
            Some(408),
            timeouts("body"),
        ),
        ("idle_timeout = \"1s\"", get(1, 1), String::new(), None, timeouts("idle")),
    ];
    for (key, goes, does_not, expected, counter) in rows {
        let larder = larder(origin.address, key, "").await;
        let answer = larder.say(&goes).await;
        assert_eq!(status(&answer), 200, "{key}: {answer}");
        assert_eq!(counted(&larder, &counter).await, 0.0, "{key}");
        let answer = larder.say(&does_not).await;
        let said = (!answer.is_empty()).then(|| status(&answer));
        assert_eq!(said, expected, "{key}: {answer}");
        eventually("it to be counted", async || {
            (counted(&larder, &counter).await == 1.0).then_some(())
        })
        .await;
    }
}

/// What was never counted has no line.
async fn counted(larder: &Larder, counter: &str) -> f64 {
    let figures = larder.get_from_admin("/metrics").await;
    let line =
        figures.text().lines().find_map(|line| line.strip_prefix(counter)?.strip_prefix(' '));
    line.map_or(0.0, |count| count.parse().unwrap())
}

#[tokio::test]
async fn a_reader_that_takes_nothing_of_its_answer_is_cut_off() {
    let large = ok("cache-control: no-store\r\n", vec![b'x'; 32 << 20]);
    let origin = Origin::saying(large).await;
    let larder = larder(origin.address, "write_timeout = \"1s\"", "").await;
    let mut reader = TcpStream::connect(larder.address).await.unwrap();
    reader.write_all(request("GET", "/", "").as_bytes()).await.unwrap();
    eventually("it to be cut off", async || {
        (larder.metric("larder_timeouts_total{kind=\"write\"}").await == 1.0).then_some(())
    })
    .await;
    drop(reader);
}

#[tokio::test]
async fn a_reader_that_has_closed_its_side_waits_for_no_longer_than_it_may() {
    let origin = silent().await;
    let larder = larder(origin.address, "half_closed_timeout = \"1s\"", "").await;
    let mut reader = TcpStream::connect(larder.address).await.unwrap();
    reader.write_all(request("GET", "/", "").as_bytes()).await.unwrap();
    eventually("the service to be asked", async || (origin.requests().len() == 1).then_some(()))
        .await;
    reader.shutdown().await.unwrap();
    let mut said = Vec::new();
    // It ends, by a reset or in order, and long before the service's time is over.
    reader.read_to_end(&mut said).await.ok();
    assert_eq!(said, b"");
    assert_eq!(larder.metric("larder_connections_reset_total").await, 1.0);
}

#[tokio::test]
async fn of_those_that_wait_for_a_connection_one_too_many_is_turned_away() {
    let origin = silent().await;
    let upstream = "max_connections = 1\nmax_waiting = 1\n";
    let larder = larder(origin.address, "", upstream).await;
    let mut readers = Vec::new();
    for path in ["/using", "/waiting"] {
        let mut reader = larder.connect().await;
        reader.send(request("POST", path, "content-length: 0\r\n")).await;
        readers.push(reader);
    }
    eventually("one to wait", async || {
        let is_asked = origin.requests().len() == 1;
        (is_asked && larder.metric("larder_upstream_waiting").await == 1.0).then_some(())
    })
    .await;
    let answer = larder.say(request("POST", "/third", "content-length: 0\r\n")).await;
    assert_eq!(status(&answer), 503, "{answer}");
    let counter = "larder_upstream_refused_total{reason=\"too_many_waiting\"}";
    assert_eq!(larder.metric(counter).await, 1.0);
}

#[tokio::test]
async fn who_waits_for_a_turn_waits_for_no_longer_than_the_file_says() {
    let (origin, folder) = (silent().await, tempfile::tempdir().unwrap());
    let text = format!(
        "[server]\nlisten = 0\nturn_wait = \"200ms\"\n[admin]\nlisten = 0\n[upstream.app]\nurl = \"http://{}\"\n",
        origin.address
    );
    let file = folder.path().join("larder.toml");
    fs::write(&file, text).unwrap();
    let words = ["serve", "--config", file.to_str().unwrap()];
    let larder = Larder::within("ulimit -n 128", &words).await;
    let mut asking = JoinSet::new();
    for number in 0..40 {
        let address = larder.address;
        asking.spawn(async move {
            let mut reader = TcpStream::connect(address).await.unwrap();
            let path = format!("/{number}");
            let asks = request("POST", &path, "content-length: 0\r\n");
            reader.write_all(asks.as_bytes()).await.unwrap();
            let mut said = String::new();
            reader.read_to_string(&mut said).await.ok();
            said
        });
    }
    // Those that have a turn are not answered.
    let answer = asking.join_next().await.unwrap().unwrap();
    assert_eq!(status(&answer), 503, "{answer}");
    // As long as it has waited, in whole seconds: by default that would be 5.
    assert!(answer.to_lowercase().contains("retry-after: 1\r\n"), "{answer}");
    assert!(origin.requests().len() < 40);
}
