//! Crowds: many readers of one cold key.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{sync::watch, task::JoinSet};

use crate::support::{
    eventually,
    larder::{Larder, request},
    origin::{Origin, ok},
};

const CROWD: usize = 1000;

/// An origin that answers only once it is told to.
async fn held_back<B: AsRef<[u8]> + Send>(
    respond: impl Fn(usize) -> B + Send + Sync + 'static,
) -> (Origin, watch::Sender<bool>) {
    let (release, released) = watch::channel(false);
    let (respond, answered) = (Arc::new(respond), Arc::new(AtomicUsize::new(0)));
    let origin = Origin::playing(move |mut visit| {
        let (respond, answered) = (Arc::clone(&respond), Arc::clone(&answered));
        let mut released = released.clone();
        async move {
            while visit.request().await.is_some() {
                released.wait_for(|released| *released).await.unwrap();
                let answer = respond(answered.fetch_add(1, Ordering::SeqCst));
                visit.send(answer).await;
            }
        }
    })
    .await;
    (origin, release)
}

#[tokio::test]
async fn a_thousand_readers_of_one_cold_key_cost_one_request_and_all_get_the_whole() {
    // Each is a connection here, and one in the gateway.
    rlimit::increase_nofile_limit(4 * CROWD as u64).unwrap();
    let body: Arc<[u8]> = (0..50_000_u32).flat_map(u32::to_le_bytes).collect();
    let answer = ok("cache-control: max-age=600\r\n", &body);
    let (origin, release) = held_back(move |_| answer.clone()).await;
    let larder = Larder::before(origin.address).await;
    let mut readers = Vec::new();
    for _ in 0..CROWD {
        let mut reader = larder.connect().await;
        reader.send(request("GET", "/cold", "")).await;
        readers.push(reader);
    }
    release.send_replace(true);
    let mut reading = JoinSet::new();
    for mut reader in readers {
        reading.spawn(async move { reader.answer().await });
    }
    let mut handlings = BTreeSet::new();
    while let Some(answer) = reading.join_next().await {
        let answer = answer.unwrap();
        assert_eq!(answer.status(), 200, "{}", larder.log());
        assert!(answer.body[..] == body[..], "{} bytes, or others", answer.body.len());
        handlings.insert(answer.handling().to_owned());
    }
    assert!(handlings.contains("collapsed"), "{handlings:?}");
    assert_eq!(origin.requests().len(), 1);
}

#[tokio::test]
async fn readers_of_a_path_that_hangs_keep_nobody_from_the_others_and_leave_nothing_behind() {
    const HANGING: usize = 1100;
    rlimit::increase_nofile_limit(4 * HANGING as u64).unwrap();
    let (begun, given_up) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counts = (Arc::clone(&begun), Arc::clone(&given_up));
    let origin = Origin::playing(move |mut visit| {
        let (begun, given_up) = (Arc::clone(&counts.0), Arc::clone(&counts.1));
        async move {
            while let Some(head) = visit.request().await {
                if !head.starts_with("GET /hang") {
                    visit.send(ok("cache-control: max-age=60\r\n", "here")).await;
                    continue;
                }
                begun.fetch_add(1, Ordering::SeqCst);
                // Nothing more is said until the connection is closed.
                assert!(visit.request().await.is_none());
                given_up.fetch_add(1, Ordering::SeqCst);
            }
        }
    })
    .await;
    let larder = Larder::before(origin.address).await;
    let mut readers = Vec::new();
    for number in 0..HANGING {
        let mut reader = larder.connect().await;
        reader.send(request("GET", &format!("/hang?{number}"), "")).await;
        readers.push(reader);
    }
    let all = |count: &Arc<AtomicUsize>| (count.load(Ordering::SeqCst) == HANGING).then_some(());
    eventually("all to hang", async || all(&begun)).await;
    assert_eq!(larder.get("/while-they-wait").await.text(), "here");
    for reader in readers {
        reader.reset();
    }
    eventually("all to be given up", async || all(&given_up)).await;
    assert_eq!(larder.get("/when-they-have-left").await.text(), "here");
    assert!(!larder.log().contains(" 503"), "{}", larder.log());
}

#[tokio::test]
async fn followers_get_the_first_byte_when_the_leader_does() {
    let (go_on, may_go_on) = watch::channel(false);
    let origin = Origin::playing(move |mut visit| {
        let mut may_go_on = may_go_on.clone();
        async move {
            visit.request().await;
            visit
                .send("HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ncontent-length: 9\r\n\r\n")
                .await;
            may_go_on.wait_for(|may| *may).await.unwrap();
            visit.send("first").await;
            // Nobody has the rest before everybody has the beginning.
            may_go_on.wait_for(|may| !may).await.unwrap();
            visit.send("last").await;
        }
    })
    .await;
    let larder = Larder::before(origin.address).await;
    let mut readers = Vec::new();
    for _ in 0..10 {
        let mut reader = larder.connect().await;
        reader.send(request("GET", "/", "")).await;
        assert!(reader.head().await.starts_with("HTTP/1.1 200 "));
        readers.push(reader);
    }
    let mut reading = JoinSet::new();
    for mut reader in readers {
        reading.spawn(async move {
            assert_eq!(reader.exactly(5).await, b"first");
            (Instant::now(), reader)
        });
    }
    go_on.send_replace(true);
    let (times, readers): (Vec<_>, Vec<_>) = reading.join_all().await.into_iter().unzip();
    let spread = *times.iter().max().unwrap() - *times.iter().min().unwrap();
    // 5 ms on an idle machine; this one may be busy.
    assert!(spread < Duration::from_secs(1), "{spread:?}");
    go_on.send_replace(false);
    for mut reader in readers {
        assert_eq!(reader.exactly(4).await, b"last");
    }
    assert_eq!(origin.requests().len(), 1);
}

#[tokio::test]
async fn a_part_is_cut_from_a_body_that_is_still_arriving() {
    let (finish, finished) = watch::channel(false);
    let origin = Origin::playing(move |mut visit| {
        let mut finished = finished.clone();
        async move {
            visit.request().await;
            let fields = "cache-control: max-age=60\r\ncontent-length: 10\r\n";
            visit.send(format!("HTTP/1.1 200 OK\r\n{fields}\r\n01234")).await;
            finished.wait_for(|finished| *finished).await.unwrap();
            visit.send("56789").await;
        }
    })
    .await;
    let larder = Larder::before(origin.address).await;
    let mut whole = larder.connect().await;
    whole.send(request("GET", "/", "")).await;
    whole.head().await;
    assert_eq!(whole.exactly(5).await, b"01234");
    let here = larder.get_with("/", "range: bytes=1-3\r\n").await;
    assert_eq!((here.status(), here.text()), (206, "123"));
    let mut to_come = larder.connect().await;
    to_come.send(request("GET", "/", "range: bytes=4-6\r\n")).await;
    to_come.head().await;
    assert_eq!(to_come.exactly(1).await, b"4");
    finish.send_replace(true);
    assert_eq!(to_come.exactly(2).await, b"56");
    assert_eq!(whole.exactly(5).await, b"56789");
    assert_eq!(origin.requests().len(), 1);
}

#[tokio::test]
async fn followers_never_see_what_was_for_the_leader() {
    for personal in ["set-cookie: id=NUMBER\r\n", "cache-control: private, max-age=60\r\n"] {
        let fields = format!("cache-control: max-age=60\r\n{personal}");
        let respond = move |number: usize| {
            ok(&fields.replace("NUMBER", &number.to_string()), format!("for number {number}"))
        };
        let (origin, release) = held_back(respond).await;
        let larder = Larder::before(origin.address).await;
        let mut readers = Vec::new();
        for _ in 0..20 {
            let mut reader = larder.connect().await;
            reader.send(request("GET", "/", "")).await;
            readers.push(reader);
        }
        eventually("a request", async || (!origin.requests().is_empty()).then_some(())).await;
        release.send_replace(true);
        let mut bodies = BTreeSet::new();
        for mut reader in readers {
            let answer = reader.answer().await;
            let number = answer.text().strip_prefix("for number ").unwrap().to_owned();
            if let Some(cookie) = answer.field("set-cookie") {
                assert_eq!(cookie, format!("id={number}"));
            }
            assert!(bodies.insert(number), "twice: {}", answer.text());
        }
        assert_eq!(origin.requests().len(), 20, "{personal}");
    }
}

#[tokio::test]
async fn a_reader_who_leaves_takes_nothing_from_those_who_wait() {
    let (origin, release) = held_back(|_| ok("cache-control: max-age=60\r\n", "the answer")).await;
    let larder = Larder::before(origin.address).await;
    let mut leader = larder.connect().await;
    leader.send(request("GET", "/", "")).await;
    eventually("a request", async || (!origin.requests().is_empty()).then_some(())).await;
    assert_eq!(larder.metric("larder_turns_taken").await, 1.0);
    let mut follower = larder.connect().await;
    follower.send(request("GET", "/", "")).await;
    leader.reset();
    release.send_replace(true);
    assert_eq!(follower.answer().await.text(), "the answer");
    // If the leader's end was noticed before the follower came, it cost a second request.
    assert!(origin.requests().len() <= 2);
}
