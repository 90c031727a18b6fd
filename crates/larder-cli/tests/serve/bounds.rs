//! Bounds of requests and of the connections that they come on, each at 0, at 1, and at its edge; and the page that
//! lists all bounds.

use std::{collections::BTreeSet, fs, net::SocketAddr, path::Path};

use larder_gateway::config;

use crate::support::{
    eventually,
    larder::Larder,
    origin::{Origin, Visit, ok},
};

async fn larder(origin: SocketAddr, server: &str) -> Larder {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "[server]\nlisten = 0\n{server}\n[admin]\nlisten = 0\n[access_log]\nto = \"stdout\"\n\
         [upstream.app]\nurl = \"http://{origin}\"\n"
    );
    fs::write(folder.path().join("larder.toml"), text).unwrap();
    Larder::in_folder(folder.path(), &["serve"], &[]).await
}

async fn small() -> Origin {
    Origin::saying(ok("cache-control: max-age=600\r\n", "hello")).await
}

/// What it is answered, and whether the connection ends with that.
async fn sent(larder: &Larder, text: &str) -> u16 {
    let mut wire = larder.connect().await;
    wire.send(text).await;
    wire.answer().await.status()
}

#[tokio::test]
async fn more_content_than_allowed_is_answered_413_however_its_length_is_told() {
    for most in [0, 1, 5] {
        let origin = small().await;
        let larder = larder(origin.address, &format!("max_request_body = {most}")).await;
        let lengths = [(0, true), (most, true), (most + 1, false), (100_000, false)];
        for (case, (length, is_taken)) in lengths.into_iter().enumerate() {
            let body = "x".repeat(length);
            let head = "POST /a HTTP/1.1\r\nhost: larder.test\r\nconnection: close\r\n";
            let expected = if is_taken { 200 } else { 413 };
            let what = format!("{length} of {most}");
            // By a name of its own: of a request whose length is not told the head has gone on, and may arrive late.
            let plain = format!("{head}x-case: {case}\r\ncontent-length: {length}\r\n\r\n{body}");
            assert_eq!(sent(&larder, &plain).await, expected, "{what}");
            let named = format!("x-case: {case}\r\n");
            let arrived = origin.requests().iter().filter(|head| head.contains(&named)).count();
            assert_eq!(arrived, usize::from(is_taken), "{what}");
            // Nobody has to send what is not taken.
            if !is_taken {
                let asks =
                    format!("{head}expect: 100-continue\r\ncontent-length: {length}\r\n\r\n");
                assert_eq!(sent(&larder, &asks).await, 413, "{what}");
            }
            let chunk =
                if length == 0 { String::new() } else { format!("{length:x}\r\n{body}\r\n") };
            let chunked = format!("{head}transfer-encoding: chunked\r\n\r\n{chunk}0\r\n\r\n");
            assert_eq!(sent(&larder, &chunked).await, expected, "{what}, chunked");
            if length > most + 1 {
                continue;
            }
            // HTTP/2, by hand: the length told, and not.
            let told = length.to_string();
            let told = [&[0x5c, told.len() as u8], told.as_bytes()].concat();
            for told in [&told[..], &[]] {
                let head = [b"\x83\x86\x84\x41\x01a", told].concat();
                let mut wire = larder.connect().await;
                wire.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
                wire.send(frame(4, 0, 0, &[])).await;
                wire.send(frame(1, 4, 1, &head)).await;
                wire.send(frame(0, 1, 1, body.as_bytes())).await;
                let mut said = Vec::new();
                let block = loop {
                    said.extend(wire.some().await);
                    let answer = frames(&said).into_iter().find(|(kind, _)| *kind == 1);
                    if let Some((_, block)) = answer {
                        break block.to_vec();
                    }
                };
                // 0x88 is 200 in the table that all know.
                assert_eq!(block[0] == 0x88, is_taken, "{what}, HTTP/2");
            }
        }
        let refused = "larder_refusals_total{reason=\"the content is larger than allowed\"}";
        assert!(larder.metric(refused).await >= 8.0);
    }
}

#[tokio::test]
async fn a_route_takes_more_or_less_content_than_the_others() {
    let origin = small().await;
    let keys = "max_request_body = 5\n\
                [[route]]\npath = \"/upload/**\"\nmax_request_body = \"1MiB\"\n\
                [[route]]\npath = \"/login\"\nmax_request_body = 0";
    let larder = larder(origin.address, keys).await;
    let rows = [
        ("/upload/a", 1 << 20, true),
        ("/upload/a", (1 << 20) + 1, false),
        ("/login", 0, true),
        ("/login", 1, false),
        ("/a", 5, true),
        ("/a", 6, false),
    ];
    for (case, (path, length, is_taken)) in rows.into_iter().enumerate() {
        let head = format!("POST {path} HTTP/1.1\r\nhost: larder.test\r\nconnection: close\r\n");
        let body = "x".repeat(length);
        let expected = if is_taken { 200 } else { 413 };
        let told = format!("{head}x-case: {case}\r\ncontent-length: {length}\r\n\r\n{body}");
        assert_eq!(sent(&larder, &told).await, expected, "{path} {length}");
        let named = format!("x-case: {case}\r\n");
        let arrived = origin.requests().iter().filter(|head| head.contains(&named)).count();
        assert_eq!(arrived, usize::from(is_taken), "{path} {length}");
        let chunk = if length == 0 { String::new() } else { format!("{length:x}\r\n{body}\r\n") };
        let chunked = format!("{head}transfer-encoding: chunked\r\n\r\n{chunk}0\r\n\r\n");
        assert_eq!(sent(&larder, &chunked).await, expected, "{path} {length}, chunked");
    }
    let refused = "larder_refusals_total{reason=\"the content is larger than allowed\"}";
    assert_eq!(larder.metric(refused).await, 6.0);
}

#[tokio::test]
async fn an_address_that_asks_too_often_is_told_when_to_ask_again_and_others_are_not() {
    let origin = small().await;
    let keys = "requests_per_address = 1\nrequests_burst = 3\ntrusted_peers = [\"127.0.0.1\"]";
    let larder = larder(origin.address, keys).await;
    let ask = |client: &str| {
        format!("GET /a HTTP/1.1\r\nhost: larder.test\r\nx-forwarded-for: {client}\r\n\r\n")
    };
    let mut refused = 0;
    for client in ["203.0.113.1", "203.0.113.2", "2001:db8::1"] {
        let mut wire = larder.connect().await;
        // All at once, so that next to none of them is earned by waiting.
        wire.send(ask(client).repeat(50)).await;
        let mut statuses = Vec::new();
        for _ in 0..50 {
            let answer = wire.answer().await;
            if answer.status() == 429 {
                assert_eq!(answer.field("retry-after"), Some("1"));
            }
            statuses.push(answer.status());
        }
        assert_eq!(statuses[..3], [200, 200, 200], "{client}");
        let of_it = statuses.iter().filter(|status| **status == 429).count();
        assert!(
            of_it > 0 && statuses.iter().all(|status| [200, 429].contains(status)),
            "{statuses:?}"
        );
        refused += of_it;
    }
    // The same /64, which has asked just now.
    let mut wire = larder.connect().await;
    wire.send(ask("2001:db8::2").repeat(10)).await;
    let mut of_it = 0;
    for _ in 0..10 {
        of_it += usize::from(wire.answer().await.status() == 429);
    }
    assert!(of_it > 0);
    let counted = larder.metric("larder_requests_limited_total").await;
    assert_eq!(counted, (refused + of_it) as f64);
}

fn frame(kind: u8, flags: u8, stream: u32, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).unwrap();
    [&[0, 0, length, kind, flags], &stream.to_be_bytes()[..], content].concat()
}

/// The kind and the content of each.
fn frames(mut bytes: &[u8]) -> Vec<(u8, &[u8])> {
    let mut all = Vec::new();
    while let [a, b, c, kind, _, _, _, _, _, rest @ ..] = bytes {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        if rest.len() < length {
            break;
        }
        all.push((*kind, &rest[..length]));
        bytes = &rest[length..];
    }
    all
}

#[tokio::test]
async fn no_more_streams_of_a_connection_are_open_than_may_be() {
    // It answers nothing.
    let origin = Origin::playing(async |mut visit: Visit| {
        visit.request().await;
        visit.into_wire().rest().await;
    })
    .await;
    for most in [1_u8, 2] {
        let larder = larder(origin.address, &format!("max_streams = {most}")).await;
        let mut wire = larder.connect().await;
        wire.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        wire.send(frame(4, 0, 0, &[])).await;
        // GET http /, of an authority in one letter, and no more of it to come.
        for stream in 0..=u32::from(most) {
            wire.send(frame(1, 5, 2 * stream + 1, b"\x82\x86\x84\x41\x01a")).await;
        }
        let mut said = Vec::new();
        let (told, refused) = loop {
            said.extend(wire.some().await);
            let find = |wanted: u8| frames(&said).into_iter().find(|(kind, _)| *kind == wanted);
            if let (Some((_, settings)), Some((_, reset))) = (find(4), find(3)) {
                break (settings.to_vec(), reset.to_vec());
            }
        };
        // SETTINGS_MAX_CONCURRENT_STREAMS, and REFUSED_STREAM (RFC 9113 §6.5.2, §7): the client may ask again elsewhere.
        assert!(told.chunks(6).any(|one| one == [0, 3, 0, 0, 0, most]), "{told:?}");
        assert_eq!(refused, [0, 0, 0, 7]);
    }
}

#[tokio::test]
async fn a_connection_ends_with_its_last_request_and_says_so() {
    for most in [1, 3] {
        let origin = small().await;
        let larder = larder(origin.address, &format!("max_requests_per_connection = {most}")).await;
        for _ in 0..2 {
            let mut wire = larder.connect().await;
            for number in 1..=most {
                wire.send("GET /a HTTP/1.1\r\nhost: larder.test\r\n\r\n").await;
                let answer = wire.answer().await;
                assert_eq!(answer.status(), 200);
                let closes = answer.field("connection") == Some("close");
                assert_eq!(closes, number == most, "{number} of {most}: {}", answer.head);
            }
            assert!(!wire.has_more().await, "it is closed");
        }
        // HTTP/2, by hand: its end is told before it comes, and what is asked is answered.
        let mut wire = larder.connect().await;
        wire.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        wire.send(frame(4, 0, 0, &[])).await;
        for number in 0..most {
            wire.send(frame(1, 5, 2 * number as u32 + 1, b"\x82\x86\x84\x41\x01a")).await;
        }
        let said: Vec<u8> = wire.rest().await.chars().map(|byte| byte as u8).collect();
        let frames = frames(&said);
        let answers = frames.iter().filter(|(kind, _)| *kind == 1).count();
        assert_eq!(answers, most, "{frames:?}");
        let farewell = frames.iter().find(|(kind, _)| *kind == 7).expect("GOAWAY");
        assert_eq!(farewell.1[4..], [0; 4], "no error");
        let retired = "larder_connections_retired_total{by=\"requests\"}";
        assert!(larder.metric(retired).await >= 3.0);
    }
}

#[tokio::test]
async fn a_connection_that_is_old_ends_with_an_answer() {
    let origin = small().await;
    let larder = larder(origin.address, "max_connection_age = \"200ms\"").await;
    let mut wire = larder.connect().await;
    eventually("the last answer", async || {
        wire.send("GET /a HTTP/1.1\r\nhost: larder.test\r\n\r\n").await;
        let answer = wire.answer().await;
        assert_eq!(answer.status(), 200);
        (answer.field("connection") == Some("close")).then_some(())
    })
    .await;
    assert!(!wire.has_more().await);
    assert_eq!(larder.metric("larder_connections_retired_total{by=\"age\"}").await, 1.0);
}

#[tokio::test]
async fn the_page_of_bounds_names_keys_and_metrics_that_there_are() {
    let origin = small().await;
    // Who tells no traces has no figures of them.
    let tracing = "[tracing]\nendpoint = \"http://127.0.0.1:9\"";
    let larder = larder(origin.address, tracing).await;
    let metrics = larder.get_from_admin("/metrics").await.text().to_owned();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/limits.md");
    let page = fs::read_to_string(page).unwrap();
    let known: BTreeSet<String> = config::keys()
        .iter()
        .map(|key| format!("{}.{}", key.table.trim_matches(['[', ']']), key.name))
        .collect();
    let mut listed = BTreeSet::new();
    for row in page.lines().filter(|line| line.starts_with("| ") && line.contains('`')) {
        for word in row.split('`').skip(1).step_by(2) {
            if word.starts_with("larder_") {
                let name = word.split('{').next().unwrap();
                assert!(metrics.contains(name.trim_end_matches("_total")), "no metric {word}");
            } else if word.starts_with("server.")
                || word.starts_with("upstream.")
                || word.contains('.')
            {
                assert!(known.contains(word), "no key {word}");
                listed.insert(word.to_owned());
            }
        }
    }
    // Whatever is called a bound is in the list.
    let bounds = known.iter().filter(|key| {
        let name = key.rsplit('.').next().unwrap();
        key.starts_with("server.") && (name.starts_with("max_") || name.ends_with("_timeout"))
    });
    let missing: Vec<_> = bounds.filter(|key| !listed.contains(*key)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
