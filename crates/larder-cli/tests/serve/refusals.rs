//! Requests that two readers could read differently: refused, and the origin never hears of them.

use crate::support::{
    answer::status,
    larder::Larder,
    origin::{Origin, ok},
};

const PROBES: &[(u16, &str, &str)] = &[
    (
        400,
        "CL.TE",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
    ),
    (
        400,
        "TE.CL",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\nGET /admin HTTP/1.1\r\n\r\n0\r\n\r\n",
    ),
    (
        400,
        "TE.TE twice",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        501,
        "TE.TE hidden",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    ),
    (501, "TE identity", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n"),
    (
        400,
        "space before the colon",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        400,
        "two lengths",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    ),
    (400, "lengths in a list", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 4\r\n\r\nabcd"),
    (400, "a signed length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc"),
    (400, "a hexadecimal length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x3\r\n\r\nabc"),
    (
        400,
        "a length beyond 64 bits",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551616\r\n\r\n",
    ),
    (400, "no Host", "GET / HTTP/1.1\r\n\r\n"),
    (400, "two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    (400, "a Host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    (400, "a Host with credentials", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"),
    (400, "obs-fold", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n Transfer-Encoding: chunked\r\n\r\n"),
    (400, "a folded first field", "GET / HTTP/1.1\r\n Host: a\r\nHost: a\r\n\r\n"),
    (400, "bare CR in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\rY: 2\r\n\r\n"),
    (400, "bare CR before a name", "GET / HTTP/1.1\r\nHost: a\r\n\rX: 1\r\n\r\n"),
    (400, "NUL in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\0\r\n\r\n"),
    (400, "NUL in a name", "GET / HTTP/1.1\r\nHost: a\r\nX\0: 1\r\n\r\n"),
    (400, "no name", "GET / HTTP/1.1\r\nHost: a\r\n: 1\r\n\r\n"),
    (400, "no colon", "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n"),
    (
        400,
        "rubbish for a chunk's size",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n",
    ),
    (
        400,
        "a signed chunk's size",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
    ),
    (
        400,
        "a chunk longer than its size",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
    ),
    (
        400,
        "a chunk's size beyond 64 bits",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000000\r\n",
    ),
    (400, "a space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, "no version", "GET /\r\nHost: a\r\n\r\n"),
];

#[tokio::test]
async fn ambiguous_requests_are_refused_and_what_follows_them_is_not_read() {
    let origin = Origin::saying(ok("", "a")).await;
    let larder = Larder::before(origin.address).await;
    for (code, name, probe) in PROBES {
        let heard = larder.say(format!("{probe}GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        assert_eq!(status(&heard), *code, "{name}: {heard}");
        assert_eq!(heard.matches("HTTP/1.1 ").count(), 1, "{name}: {heard}");
    }
    let asked = origin.requests();
    assert!(asked.iter().all(|head| !head.contains("smuggled")), "{asked:?}");
    // A body that turns out to be rubbish was under way; a head that is refused never is.
    assert!(asked.iter().all(|head| head.starts_with("POST / ")), "{asked:?}");
    assert_eq!(larder.get("/").await.status(), 200, "others are not disturbed");
}

#[tokio::test]
async fn the_absolute_form_outweighs_host() {
    let origin = Origin::saying(ok("cache-control: max-age=60\r\n", "a")).await;
    let larder = Larder::before(origin.address).await;
    let ask = "GET http://b.test/x HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
    let heard = larder.say(ask).await;
    assert_eq!(status(&heard), 200, "{heard}");
    assert!(heard.contains("key=\"http://b.test/x\""), "{heard}");
    assert!(origin.requests()[0].to_ascii_lowercase().contains("\r\nhost: b.test\r\n"));
}

#[tokio::test]
async fn trace_is_offered_to_nobody() {
    let origin = Origin::saying(ok("cache-control: no-store\r\n", "a")).await;
    let larder = Larder::before(origin.address).await;
    for fields in ["", "max-forwards: 0\r\n"] {
        let mut wire = larder.connect().await;
        let request = format!(
            "TRACE / HTTP/1.1\r\nhost: a\r\ncookie: a=1\r\n{fields}connection: close\r\n\r\n"
        );
        wire.send(request).await;
        let answer = wire.answer().await;
        assert_eq!(answer.status(), 405, "{fields}");
        assert!(
            answer.field("allow").is_some_and(|allow| allow.contains("GET")),
            "{}",
            answer.head
        );
        assert!(!answer.text().contains("a=1"), "{}", answer.text());
    }
    assert_eq!(origin.requests().len(), 0);
}
