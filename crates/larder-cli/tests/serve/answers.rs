//! What readers get, byte for byte: misses, hits, stale answers, parts, interim answers.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::Notify;

use crate::support::{
    answer::{Answer, field, status},
    eventually,
    larder::{Larder, request, run},
    origin::{Origin, ok},
};

/// Every byte there is, some of them often.
fn any_bytes() -> Vec<u8> {
    (0..100_000_u32).map(|n| (n ^ (n >> 7)).to_le_bytes()[0]).collect()
}

/// The lines of a head but those in which two answers may differ: what tells of this delivery.
fn lasting_lines(answer: &Answer) -> Vec<&str> {
    const OF_A_DELIVERY: [&str; 6] =
        ["age", "cache-status", "connection", "date", "larder-request", "server-timing"];
    let name = |line: &&str| line.split(':').next().unwrap().to_ascii_lowercase();
    let lines = answer.head.lines().filter(|line| !line.is_empty());
    let mut lines: Vec<_> =
        lines.filter(|line| !OF_A_DELIVERY.contains(&name(line).as_str())).collect();
    lines.sort_unstable();
    lines
}

#[tokio::test]
async fn a_hit_is_byte_for_byte_the_miss_before_it_and_needs_no_origin() {
    let fields = "cache-control: max-age=60\r\netag: \"1\"\r\nx-twice: a\r\nx-twice: b\r\nX-Odd: \u{e9}, \"q\"\r\n";
    let body = any_bytes();
    let origin = Origin::saying(ok(fields, &body)).await;
    let larder = Larder::before(origin.address).await;
    let miss = larder.get("/a?b=c").await;
    assert_eq!((miss.status(), miss.handling(), miss.field("age")), (200, "uri-miss", None));
    assert_eq!(miss.body, body);
    let hit = larder.get("/a?b=c").await;
    assert_eq!((hit.handling(), hit.field("age")), ("hit", Some("0")));
    assert_eq!(hit.body, body);
    assert_eq!(lasting_lines(&hit), lasting_lines(&miss));
    let requests = origin.requests();
    assert_eq!(requests.len(), 1);
    assert!(requests[0].starts_with("GET /a?b=c HTTP/1.1\r\n"), "{}", requests[0]);
}

#[tokio::test]
async fn an_answer_that_varies_by_who_asked_is_for_nobody_else() {
    let fields = "cache-control: public, max-age=60\r\nvary: X-Forwarded-For\r\n";
    let origin = Origin::saying(ok(fields, "for you")).await;
    let larder = Larder::before(origin.address).await;
    for _ in 0..2 {
        let answer = larder.get("/").await;
        assert_eq!(answer.text(), "for you");
        let said = answer.field("cache-status").unwrap();
        assert!(said.ends_with(";detail=vary-star"), "{said}");
    }
    let requests = origin.requests();
    assert_eq!(requests.len(), 2);
    assert!(requests[0].contains("x-forwarded-for: 127.0.0.1\r\n"), "{}", requests[0]);
}

#[tokio::test]
async fn a_chunked_answer_of_unknown_length_is_stored_and_loses_its_trailers() {
    let origin = Origin::saying(
        "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ntransfer-encoding: chunked\r\n\
         trailer: x-sum\r\n\r\n5;ext=1\r\nhello\r\n6\r\n world\r\n0\r\nx-sum: 1\r\n\r\n",
    )
    .await;
    let larder = Larder::before(origin.address).await;
    for handling in ["uri-miss", "hit"] {
        let answer = larder.get("/").await;
        assert_eq!((answer.text(), answer.handling()), ("hello world", handling));
        assert!(!answer.head.contains("x-sum: 1"), "{}", answer.head);
    }
    assert_eq!(origin.requests().len(), 1);
}

#[tokio::test]
async fn a_stale_answer_goes_out_as_it_was_stored_but_for_its_time_and_is_refreshed_behind() {
    let origin = Origin::saying(ok(
        "cache-control: public, max-age=100, stale-while-revalidate=1000\r\nage: 100\r\n",
        any_bytes(),
    ))
    .await;
    let larder = Larder::before(origin.address).await;
    let miss = larder.get("/").await;
    let stale = larder.get("/").await;
    assert_eq!((stale.handling(), &stale.body), ("hit", &miss.body));
    assert!(stale.field("cache-status").unwrap().contains("stale-while-revalidate"));
    // No cache outside is to take it for fresh.
    assert_eq!(stale.field("cache-control"), Some("public, max-age=0"));
    let lines = |answer| {
        let mut lines = lasting_lines(answer);
        lines.retain(|line| !line.starts_with("cache-control"));
        lines
    };
    assert_eq!(lines(&stale), lines(&miss));
    eventually("a refresh", async || (origin.requests().len() == 2).then_some(())).await;
}

#[tokio::test]
async fn a_stale_answer_stands_in_for_an_origin_that_fails_if_it_may() {
    let fails = Arc::new(AtomicBool::new(false));
    let failing = Arc::clone(&fails);
    let origin = Origin::playing(move |mut visit| {
        let fails = Arc::clone(&failing);
        async move {
            while let Some(head) = visit.request().await {
                if fails.load(Ordering::SeqCst) {
                    return;
                }
                let terms = match head.contains("/strict") {
                    true => "must-revalidate",
                    false => "stale-if-error=1000",
                };
                let terms = format!("cache-control: max-age=100, {terms}\r\nage: 100\r\n");
                visit.send(ok(&terms, "the answer")).await;
            }
        }
    })
    .await;
    let larder = Larder::before(origin.address).await;
    larder.get("/").await;
    larder.get("/strict").await;
    fails.store(true, Ordering::SeqCst);
    let stale = larder.get("/").await;
    assert_eq!((stale.status(), stale.text()), (200, "the answer"));
    assert!(stale.field("cache-status").unwrap().contains("stale-if-error"));
    let refused = larder.get("/strict").await;
    assert_eq!(refused.status(), 502);
    assert_eq!(refused.field("content-type"), Some("application/problem+json"));
    assert!(refused.field("proxy-status").is_some(), "{}", refused.head);
}

#[tokio::test]
async fn parts_of_a_stored_answer_are_cut_from_it() {
    let body = any_bytes();
    let origin = Origin::saying(ok("cache-control: max-age=60\r\netag: \"1\"\r\n", &body)).await;
    let larder = Larder::before(origin.address).await;
    larder.get("/").await;
    for (range, first, end) in [
        ("bytes=0-0", 0, 1),
        ("bytes=65535-65537", 65_535, 65_538),
        ("bytes=99990-", 99_990, 100_000),
        ("bytes=-7", 99_993, 100_000),
        ("bytes=99999-200000", 99_999, 100_000),
    ] {
        let part = larder.get_with("/", &format!("range: {range}\r\n")).await;
        assert_eq!((part.status(), part.handling()), (206, "hit"), "{range}");
        assert_eq!(part.body, &body[first..end], "{range}");
        let place = format!("bytes {first}-{}/100000", end - 1);
        assert_eq!(part.field("content-range"), Some(place.as_str()));
    }
    let beyond = larder.get_with("/", "range: bytes=100000-\r\n").await;
    assert_eq!(beyond.status(), 416);
    assert_eq!(beyond.field("content-range"), Some("bytes */100000"));
    let same = larder.get_with("/", "range: bytes=0-1\r\nif-range: \"1\"\r\n").await;
    assert_eq!(same.status(), 206);
    let other = larder.get_with("/", "range: bytes=0-1\r\nif-range: \"2\"\r\n").await;
    assert_eq!((other.status(), other.body.len()), (200, body.len()));
    assert_eq!(origin.requests().len(), 1);
}

#[tokio::test]
async fn several_parts_come_as_multipart_in_the_order_asked_for() {
    let body = any_bytes();
    let fields = "cache-control: max-age=60\r\ncontent-type: text/plain\r\n";
    let origin = Origin::saying(ok(fields, &body)).await;
    let larder = Larder::before(origin.address).await;
    larder.get("/").await;
    let answer = larder.get_with("/", "range: bytes=10-19, 90000-90009\r\n").await;
    assert_eq!(answer.status(), 206);
    let kind = answer.field("content-type").unwrap();
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=").unwrap();
    let boundary = boundary.trim_matches('"');
    let part = |first: usize, last: usize| {
        let head = format!(
            "--{boundary}\r\ncontent-type: text/plain\r\n\
             content-range: bytes {first}-{last}/100000\r\n\r\n"
        );
        [head.as_bytes(), &body[first..=last], b"\r\n"].concat()
    };
    let mut expected = [part(10, 19), part(90_000, 90_009)].concat();
    expected.extend_from_slice(format!("--{boundary}--").as_bytes());
    let (found, wanted) = (lower(&answer.body), lower(&expected));
    assert_eq!(found.trim_ascii(), wanted.trim_ascii());
    assert_eq!(origin.requests().len(), 1);
}

/// Names of fields in the parts' heads may be written in any case; no part of this body minds.
fn lower(bytes: &[u8]) -> Vec<u8> {
    bytes.to_ascii_lowercase()
}

#[tokio::test]
async fn head_and_conditions_are_answered_from_what_is_stored() {
    let body = any_bytes();
    let origin = Origin::saying(ok("cache-control: max-age=60\r\netag: \"1\"\r\n", &body)).await;
    let larder = Larder::before(origin.address).await;
    larder.get("/").await;
    let head = larder.say(request("HEAD", "/", "")).await;
    assert_eq!(status(&head), 200);
    assert_eq!(field(&head, "content-length"), Some("100000"));
    assert!(head.ends_with("\r\n\r\n"), "no body after {head}");
    let unchanged = larder.get_with("/", "if-none-match: \"0\", W/\"1\"\r\n").await;
    assert_eq!((unchanged.status(), unchanged.field("etag")), (304, Some("\"1\"")));
    assert_eq!(larder.get_with("/", "if-none-match: \"2\"\r\n").await.status(), 200);
    assert_eq!(origin.requests().len(), 1);
}

#[tokio::test]
async fn an_interim_answer_passes_before_the_final_one_is_there() {
    let arrived = Arc::new(Notify::new());
    let script = Arc::clone(&arrived);
    let origin = Origin::playing(move |mut visit| {
        let arrived = Arc::clone(&script);
        async move {
            visit.request().await;
            visit.send("HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n").await;
            arrived.notified().await;
            visit.send(ok("cache-control: max-age=60\r\n", "the answer")).await;
        }
    })
    .await;
    let larder = Larder::before(origin.address).await;
    let mut reader = larder.connect().await;
    reader.send(request("GET", "/", "")).await;
    let hints = reader.head().await;
    assert_eq!(status(&hints), 103);
    assert_eq!(field(&hints, "link"), Some("</a.css>; rel=preload"));
    arrived.notify_one();
    let answer = reader.answer().await;
    assert_eq!((answer.status(), answer.text()), (200, "the answer"));
    assert_eq!(answer.field("link"), None);
    // Interim answers are not stored.
    let hit = larder.get("/").await;
    assert_eq!((hit.status(), hit.handling(), hit.field("link")), (200, "hit", None));
}

#[tokio::test]
async fn a_purge_makes_the_next_request_a_miss() {
    let fields = "cache-control: max-age=60\r\nsurrogate-key: posts post-1\r\n";
    let origin = Origin::saying(ok(fields, "a")).await;
    let larder = Larder::before(origin.address).await;
    let key = "http://larder.test/posts/1";
    let key_of = |answer: &Answer| {
        let status = answer.field("cache-status").unwrap();
        status.contains(&format!("key=\"{key}\"")).then_some(()).expect("the key, for loopback")
    };
    for (asked, path) in [
        (r#"{"tags":["post-1"],"mode":"hard"}"#.to_owned(), "/posts/1"),
        (format!(r#"{{"keys":["{key}"],"mode":"hard"}}"#), "/posts/1"),
        (r#"{"prefix":"http://larder.test/posts/","mode":"hard"}"#.to_owned(), "/posts/1"),
        (r#"{"keys":["HTTP://Larder.test:80/posts/1"]}"#.to_owned(), "/posts/1"),
        (r#"{"prefix":"HTTP://Larder.test:80/"}"#.to_owned(), "/posts/1"),
        (r#"{"all":true,"mode":"hard"}"#.to_owned(), "/posts/1"),
    ] {
        larder.get(path).await;
        let hit = larder.get(path).await;
        assert_eq!(hit.handling(), "hit");
        key_of(&hit);
        let purged = larder.post_to_admin("/v1/purge", &asked).await;
        assert_eq!(purged.status(), 200, "{asked}: {}", purged.text());
        let before = origin.requests().len();
        assert_ne!(larder.get(path).await.handling(), "hit", "{asked}");
        assert_eq!(origin.requests().len(), before + 1, "{asked}");
    }
}

#[tokio::test]
async fn an_unsafe_request_makes_what_it_changes_a_miss() {
    let origin = Origin::saying(ok("cache-control: max-age=60\r\n", "a")).await;
    let larder = Larder::before(origin.address).await;
    larder.get("/").await;
    assert_eq!(larder.get("/").await.handling(), "hit");
    let mut reader = larder.connect().await;
    reader.send(request("POST", "/", "content-length: 3\r\n") + "abc").await;
    assert_eq!(reader.answer().await.handling(), "method");
    assert_ne!(larder.get("/").await.handling(), "hit");
    assert_eq!(origin.requests().len(), 3);
}

#[tokio::test]
async fn a_request_that_was_here_before_is_refused() {
    let origin = Origin::saying(ok("", "a")).await;
    let larder = Larder::before(origin.address).await;
    assert_eq!(larder.get_with("/", "cdn-loop: other\r\n").await.status(), 200);
    let passed = origin.requests();
    let cdn_loop = field(&passed[0], "cdn-loop").unwrap();
    let own = cdn_loop.strip_prefix("other, ").unwrap();
    assert!(own.starts_with("larder;hop="), "{own}");
    assert_eq!(field(&passed[0], "via"), Some("1.1 larder"));
    for seen in [own.to_owned(), format!("other; a=1, {own}; b=2")] {
        let refused = larder.get_with("/", &format!("cdn-loop: {seen}\r\n")).await;
        assert_eq!(refused.status(), 508, "{}", refused.head);
    }
    // Another gateway, that stands before this one.
    assert_eq!(larder.get_with("/", "cdn-loop: larder\r\n").await.status(), 200);
    assert_eq!(origin.requests().len(), 2);
}

#[tokio::test]
async fn fields_of_one_hop_stay_on_it_both_ways() {
    let origin =
        Origin::saying(ok("connection: x-mine\r\nx-mine: 1\r\nkeep-alive: 1\r\n", "a")).await;
    let larder = Larder::before(origin.address).await;
    let mut reader = larder.connect().await;
    reader
        .send("GET / HTTP/1.1\r\nhost: a\r\nconnection: close, x-yours\r\nx-yours: 1\r\nte: trailers\r\n\r\n")
        .await;
    let answer = reader.answer().await;
    for name in ["x-mine", "keep-alive"] {
        assert_eq!(answer.field(name), None, "{name}");
    }
    let asked = &origin.requests()[0];
    for name in ["x-yours", "te"] {
        assert_eq!(field(asked, name), None, "{name}");
    }
}

#[tokio::test]
async fn for_which_host_a_trusted_peer_asks_tells_answers_apart_and_nothing_else_that_it_hands_on()
{
    let origin = Origin::saying(ok("cache-control: max-age=60\r\n", "for that host")).await;
    let larder = Larder::with(origin.address, &["--trusted-peers", "127.0.0.0/8"]).await;
    for said in [
        "",
        "x-forwarded-host: other.example\r\n",
        "x-forwarded-proto: https\r\n",
        "x-forwarded-host: other.example\r\nx-forwarded-proto: https\r\n",
    ] {
        let answer = larder.get_with("/", said).await;
        assert_ne!(answer.handling(), "hit", "{said}");
        assert_eq!(larder.get_with("/", said).await.handling(), "hit", "{said}");
        // A list takes the whole way, to the same.
        let listed = said.replace("https", "https, http").replace("example", "example, evil");
        assert_eq!(larder.get_with("/", &listed).await.handling(), "hit", "{listed}");
    }
    // Who asks does not, nor what the peer may have got from a client as it is.
    for said in ["x-forwarded-for: 192.0.2.7\r\n", "forwarded: host=pub.example;proto=https\r\n"] {
        assert_eq!(larder.get_with("/", said).await.handling(), "hit", "{said}");
    }
}

#[tokio::test]
async fn only_a_trusted_peer_is_believed_in_whom_it_asks_for() {
    for (flags, is_believed) in
        [(&[][..], false), (&["--trusted-peers", "192.0.2.1,127.0.0.1"], true)]
    {
        let origin = Origin::saying(ok("", "an answer")).await;
        let larder = Larder::with(origin.address, flags).await;
        larder.get_with("/", "x-forwarded-for: 198.51.100.7\r\n").await;
        let head = origin.requests().pop().unwrap();
        assert_eq!(head.contains("198.51.100.7"), is_believed, "{head}");
    }
    let wrong =
        run(&["serve", "--upstream", "http://127.0.0.1:9", "--trusted-peers", "balancer"]).await;
    assert_eq!(wrong.code, Some(2), "{}", wrong.log);
}

#[tokio::test]
async fn a_page_under_the_name_of_a_style_sheet_is_nobody_else_s() {
    let fields = "cache-control: max-age=60\r\ncontent-type: text/html\r\n";
    let origin = Origin::saying(ok(fields, "your account")).await;
    let larder = Larder::before(origin.address).await;
    for count in 1..=2 {
        let answer = larder.get("/account/x.css").await;
        let said = answer.field("cache-status").unwrap();
        assert!(said.contains("fwd=") && said.ends_with(";detail=path-type"), "{said}");
        assert_eq!(origin.requests().len(), count);
    }
    larder.get("/account").await;
    assert_eq!(larder.get("/account").await.handling(), "hit");
}
