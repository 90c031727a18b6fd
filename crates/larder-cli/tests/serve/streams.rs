//! Answers and requests that pause: event streams, long polls, calls that go both ways.

use std::time::Duration;

use larder_test_support::answer::{field, status};
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::support::{Wire, eventually, larder::Larder, origin::Origin};

/// Longer than any limit in these files.
const PAUSE: Duration = Duration::from_millis(2500);

/// A service whose table cuts what pauses for a second, before a route that does not.
async fn larder(origin: &Origin) -> (Larder, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\nmin_rate_period = \"1s\"\nbody_timeout = \"1s\"\n\
         [admin]\nlisten = \"127.0.0.1:0\"\n\
         [upstream.app]\nurl = \"http://{}\"\nfirst_byte_timeout = \"1s\"\nidle_body_timeout = \"1s\"\n\
         [defaults]\nttl = \"1h\"\n\
         [[route]]\npath = \"/stream/**\"\nstream = true\n\
         [[route]]\npath = \"/patient\"\nfirst_byte_timeout = \"1m\"\nidle_body_timeout = \"1m\"\n\
         [[route]]\npath = \"/short\"\nwhole_timeout = \"1s\"\n",
        origin.address
    );
    std::fs::write(folder.path().join("larder.toml"), text).unwrap();
    (Larder::in_folder(folder.path(), &["serve"], &[]).await, folder)
}

const EVENTS: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: max-age=60\r\n\
    Transfer-Encoding: chunked\r\n\r\n";

/// Says a piece whenever it is told to, on each connection.
pub(crate) async fn telling() -> (Origin, mpsc::UnboundedSender<String>, mpsc::UnboundedReceiver<()>)
{
    let (tells, told) = mpsc::unbounded_channel::<String>();
    let told = std::sync::Arc::new(tokio::sync::Mutex::new(told));
    let (left, leaves) = mpsc::unbounded_channel();
    let origin = Origin::playing(move |mut visit| {
        let (told, left) = (told.clone(), left.clone());
        async move {
            visit.request().await;
            visit.send(EVENTS).await;
            let mut wire = visit.into_wire();
            loop {
                let mut told = told.lock().await;
                tokio::select! {
                    piece = told.recv() => {
                        let piece = piece.unwrap_or_default();
                        let chunk = format!("{:x}\r\n{piece}\r\n", piece.len());
                        if wire.try_send(chunk).await.is_err() {
                            break;
                        }
                    }
                    _ = wire.has_more() => break,
                }
            }
            left.send(()).ok();
        }
    })
    .await;
    (origin, tells, leaves)
}

#[tokio::test]
async fn each_event_goes_on_at_once_a_pause_cuts_nothing_and_who_leaves_ends_it_at_the_origin() {
    let (origin, tells, mut leaves) = telling().await;
    let (larder, _folder) = larder(&origin).await;
    let mut wire = larder.connect().await;
    wire.send("GET /stream/events HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let head = wire.head().await;
    assert_eq!(
        (status(&head), field(&head, "transfer-encoding")),
        (200, Some("chunked")),
        "{head}"
    );
    assert!(field(&head, "cache-status").unwrap().contains("fwd=bypass"), "{head}");
    for number in 0..20 {
        // The next is said only when this one is here: were it held back, it would never come.
        tells.send(format!("data: {number}\n\n")).unwrap();
        wire.until(&format!("data: {number}\n\n\r\n")).await;
    }
    tokio::time::sleep(PAUSE).await;
    tells.send("data: after all\n\n".to_owned()).unwrap();
    wire.until("data: after all\n\n\r\n").await;
    assert_eq!(larder.metric("larder_upstream_connections{state=\"streaming\"}").await, 1.0);
    wire.reset();
    leaves.recv().await.unwrap();
    // Nothing of it was stored.
    let mut wire = larder.connect().await;
    wire.send("GET /stream/events HTTP/1.1\r\nHost: a\r\n\r\n").await;
    wire.head().await;
    assert_eq!(origin.requests().len(), 2);
}

/// Answers after a pause, and pauses once more in its body.
async fn hesitating() -> Origin {
    Origin::playing(|mut visit| async move {
        while let Some(head) = visit.request().await {
            if !head.contains("/short") {
                tokio::time::sleep(PAUSE).await;
            }
            visit
                .send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\nCache-Control: no-store\r\n\r\nabc")
                .await;
            tokio::time::sleep(PAUSE).await;
            visit.send("def").await;
        }
    })
    .await
}

#[tokio::test]
async fn a_route_says_how_long_its_service_may_take() {
    let origin = hesitating().await;
    let (larder, _folder) = larder(&origin).await;
    let ask = async |path: &str| {
        let mut wire = larder.connect().await;
        wire.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        let head = wire.head().await;
        let is_whole =
            wire.body(&head).await.is_some_and(|body| status(&head) != 200 || body == b"abcdef");
        (status(&head), is_whole)
    };
    let (other, stream, patient, short) =
        tokio::join!(ask("/other"), ask("/stream/poll"), ask("/patient"), ask("/short"));
    assert_eq!(other, (504, true));
    assert_eq!(stream, (200, true));
    assert_eq!(patient, (200, true));
    assert_eq!(short, (200, false));
}

#[tokio::test]
async fn a_request_may_pause_where_its_route_is_a_stream_and_is_answered_before_its_end() {
    // Answers at once, and echoes what comes of the request from then on.
    let origin = Origin::playing(|visit| async move {
        let mut wire: Wire = visit.into_wire();
        wire.head().await;
        wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        while let Ok(bytes) = wire.try_some().await {
            if bytes.is_empty() || wire.try_send(bytes).await.is_err() {
                return;
            }
        }
    })
    .await;
    let (larder, _folder) = larder(&origin).await;
    let begin = async |path: &str| {
        let mut wire = larder.connect().await;
        wire.send(format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n"
        ))
        .await;
        assert_eq!(status(&wire.head().await), 200);
        wire.until("1\r\na\r\n").await;
        wire
    };
    let mut wire = begin("/stream/call").await;
    tokio::time::sleep(PAUSE).await;
    wire.send("1\r\nb\r\n0\r\n\r\n").await;
    wire.until("1\r\nb\r\n0\r\n\r\n").await;
    // Elsewhere a sender that pauses is cut off.
    let mut wire = begin("/other").await;
    while wire.has_more().await {
        wire.some().await;
    }
    eventually("its count", async || {
        let slow = larder.metric("larder_below_min_rate_total{of=\"upload\"}").await
            + larder.metric("larder_timeouts_total{kind=\"body\"}").await;
        (slow == 1.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn trailers_go_on_where_they_are_wanted_and_never_what_may_not_be_there() {
    const ANSWER: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\
        X-Sum: 1\r\nContent-Length: 9\r\nSet-Cookie: a=b\r\nX-Forwarded-For: 192.0.2.1\r\nX-Sum: 2\r\n\r\n";
    let (heard, mut hears) = mpsc::unbounded_channel();
    let origin = Origin::playing(move |visit| {
        let heard = heard.clone();
        async move {
            let mut wire = visit.into_wire();
            while wire.has_more().await {
                let head = wire.head().await;
                let content = match field(&head, "transfer-encoding") {
                    Some(_) => wire.until("\r\n\r\n").await,
                    None => String::new(),
                };
                heard.send((head, content)).unwrap();
                wire.send(ANSWER).await;
            }
        }
    })
    .await;
    let (larder, _folder) = larder(&origin).await;
    let mut wire = larder.connect().await;
    let with = "POST /a HTTP/1.1\r\nHost: a\r\nTE: trailers, deflate;q=0.5\r\nConnection: TE\r\nTrailer: X-Mine, Cookie\r\n\
        Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Mine: 3\r\nCookie: c=d\r\nX-Other: 4\r\n\r\n";
    wire.send(with).await;
    let head = wire.head().await;
    assert_eq!(field(&head, "trailer"), None);
    assert_eq!(wire.until("\r\n\r\n").await, "3\r\nabc\r\n0\r\nx-sum: 1\r\nx-sum: 2\r\n\r\n");
    let (asked, content) = hears.recv().await.unwrap();
    assert_eq!((field(&asked, "te"), field(&asked, "connection")), (Some("trailers"), Some("te")));
    assert_eq!(content, "2\r\nhi\r\n0\r\nx-mine: 3\r\n\r\n");
    // On the same connection, by a reader that does not want them.
    wire.send("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").await;
    wire.head().await;
    assert_eq!(wire.until("\r\n\r\n").await, "3\r\nabc\r\n0\r\n\r\n");
    let (asked, _) = hears.recv().await.unwrap();
    assert_eq!((field(&asked, "te"), field(&asked, "connection")), (None, None));
    // What may be stored is kept without, and who asks for it asks for none.
    for _ in 0..2 {
        wire.send("GET /stored HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\n\r\n")
            .await;
        let head = wire.head().await;
        assert_eq!(wire.body(&head).await.unwrap(), b"abc");
    }
    let (asked, _) = hears.recv().await.unwrap();
    assert_eq!((field(&asked, "te"), hears.try_recv().is_err()), (None, true));
}

#[tokio::test]
async fn a_long_poll_that_ends_without_an_answer_is_no_mark_against_its_address() {
    let silent =
        || Origin::playing(|mut visit| async move { while visit.request().await.is_some() {} });
    let origins = [silent().await, silent().await];
    for some in [&origins[..1], &origins[..]] {
        let folder = tempfile::tempdir().unwrap();
        let urls: Vec<_> = some.iter().map(|one| format!("\"http://{}\"", one.address)).collect();
        let text = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
             [upstream.app]\nurls = [{}]\n[upstream.app.breaker]\nfailures = 1\n\
             [[route]]\npath = \"/poll\"\nstream = true\nfirst_byte_timeout = \"100ms\"\n\
             [[route]]\npath = \"/**\"\nfirst_byte_timeout = \"100ms\"\n",
            urls.join(", ")
        );
        std::fs::write(folder.path().join("larder.toml"), text).unwrap();
        let larder = Larder::in_folder(folder.path(), &["serve"], &[]).await;
        let left_alone = async || {
            let mut sum = 0.0;
            for one in some {
                let labels = format!("upstream=\"app\",address=\"http://{}\"", one.address);
                sum += larder.metric(&format!("larder_upstream_ejections_total{{{labels}}}")).await;
            }
            sum
        };
        for _ in 0..3 {
            assert_eq!(larder.get("/poll").await.status(), 504);
        }
        assert_eq!(left_alone().await, 0.0);
        // Of other requests one is enough.
        assert_eq!(larder.get("/a").await.status(), 504);
        assert_eq!(left_alone().await, 1.0);
    }
}
