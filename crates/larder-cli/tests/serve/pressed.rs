//! The whole process stays below what it may take, whatever its readers do, and answers again once they have left.

use std::{fs, net::SocketAddr};

use tokio::task::JoinSet;

use crate::support::{
    Wire, eventually,
    larder::{Larder, request},
    origin::{Origin, ok},
};

const PROCESS_MIB: u64 = 96;
const BODY_BYTES: usize = 1 << 20;

/// `memory` are whole lines of [memory].
async fn larder(origin: SocketAddr, memory: &str) -> Larder {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "[server]\nlisten = 0\n[admin]\nlisten = 0\n[memory]\n{memory}\n\
         [upstream.app]\nurl = \"http://{origin}\"\n"
    );
    fs::write(folder.path().join("larder.toml"), text).unwrap();
    Larder::in_folder(folder.path(), &["serve"], &[]).await
}

/// `/small` has little to say, all else a megabyte.
async fn large() -> Origin {
    let (large, small) = (vec![b'x'; BODY_BYTES], b"small");
    Origin::answering(move |head| {
        let body = if head.starts_with("GET /small ") { &small[..] } else { &large };
        ok("cache-control: max-age=600\r\n", body)
    })
    .await
}

/// All that is asked for is stored, were there room for it.
#[tokio::test]
async fn the_cache_shrinks_to_what_the_process_may_take() {
    let origin = large().await;
    let larder =
        larder(origin.address, &format!("size = \"90MiB\"\nprocess = \"{PROCESS_MIB}MiB\"")).await;
    let mut answered = 0;
    for number in 0..150 {
        let answer = larder.get(&format!("/{number}")).await;
        match answer.status() {
            200 => answered += 1,
            503 => assert!(answer.field("retry-after").is_some(), "{}", answer.head),
            other => panic!("{other}: {}", answer.head),
        }
    }
    let most = larder.memory_kib("VmHWM");
    println!("{answered} of 150, {most} KiB");
    assert!(most <= PROCESS_MIB * 1024, "{most} KiB");
    assert!(answered > 100, "{answered}");
    assert!(larder.metric("larder_memory_pressure_began_total{level=\"tight\"}").await > 0.0);
    assert_eq!(
        larder.metric("larder_process_memory_bound_bytes").await,
        (PROCESS_MIB << 20) as f64
    );
    assert_eq!(larder.told("the cache shrinks").await.min(1), 1);
}

/// A frame of HTTP/2 (RFC 9113 §4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A hundred requests on one connection, whose reader takes nothing of any answer.
async fn streams_without_a_window(larder: &Larder, from: usize) -> Option<Wire> {
    let mut reader = larder.connect().await;
    let no_window = frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]);
    reader.try_send([b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &no_window[..]].concat()).await.ok()?;
    for number in 0..100 {
        let path = format!("/stream/{}", from + number);
        let length = u8::try_from(path.len()).unwrap();
        let block = [b"\x82\x86\x41\x01a\x04", &[length][..], path.as_bytes()].concat();
        let stream = 2 * u32::try_from(number).unwrap() + 1;
        reader.try_send(frame(1, 5, stream, &block)).await.ok()?;
    }
    Some(reader)
}

/// Readers who do not read, each of another body; uploads that do not end; streams without a window.
async fn attacked(process_mib: u64, readers: usize, uploads: usize, connections: usize) {
    let origin = large().await;
    let larder =
        larder(origin.address, &format!("size = \"48MiB\"\nprocess = \"{process_mib}MiB\"")).await;
    assert_eq!(larder.get("/small").await.status(), 200);
    let mut attackers = Vec::new();
    for number in 0..readers.max(uploads) {
        if number < readers {
            let mut reader = larder.connect().await;
            reader.try_send(request("GET", &format!("/{number}"), "")).await.ok();
            attackers.push(reader);
        }
        if number < uploads {
            let mut sender = larder.connect().await;
            let head = request("POST", "/upload", "content-length: 100000000\r\n");
            sender.try_send(head).await.ok();
            sender.try_send(vec![b'u'; 64 << 10]).await.ok();
            attackers.push(sender);
        }
        if number < connections {
            attackers.extend(streams_without_a_window(&larder, number * 100).await);
        }
    }
    // What is stored is answered while they are there, and what is not is answered or told when to come back.
    let mut readers = JoinSet::new();
    for number in 0..20 {
        let address = larder.address;
        readers.spawn(async move {
            let mut reader = Wire::connect(address).await;
            let path =
                if number % 2 == 0 { "/small".to_owned() } else { format!("/late/{number}") };
            reader.send(request("GET", &path, "")).await;
            let answer = reader.answer().await;
            let is_told = answer.status() == 503 && answer.field("retry-after").is_some();
            assert!(answer.status() == 200 || is_told, "{path}: {}", answer.head);
        });
    }
    while let Some(reader) = readers.join_next().await {
        reader.unwrap();
    }
    let most = larder.memory_kib("VmHWM");
    println!("{} attackers: {most} KiB", attackers.len());
    assert!(most <= process_mib * 1024, "{most} KiB");
    drop(attackers);
    // Once they have left, all is answered.
    eventually("an answer", async || (larder.get("/after").await.status() == 200).then_some(()))
        .await;
    let most = larder.memory_kib("VmHWM");
    assert!(most <= process_mib * 1024, "{most} KiB");
}

#[tokio::test]
async fn an_attack_stays_below_what_the_process_may_take() {
    attacked(PROCESS_MIB, 150, 100, 2).await;
}

#[tokio::test]
#[ignore = "gigabytes pass"]
async fn thousands_of_attackers_stay_below_what_the_process_may_take() {
    attacked(2 * PROCESS_MIB, 3000, 2000, 20).await;
}

/// A process that is told to take less than it does with nothing to do: what is stored is all that it answers, and what
/// is not is refused with the time to come back.
#[tokio::test]
async fn where_nothing_is_left_requests_are_told_when_to_come_back() {
    let origin = large().await;
    let larder = larder(origin.address, "size = \"16MiB\"\nprocess = \"32MiB\"").await;
    let resting = larder.memory_kib("VmRSS");
    println!("with nothing to do: {resting} KiB");
    // Bodies that nobody takes, of which the store has none to give back: until it is full.
    let mut readers = Vec::new();
    let mut number = 0;
    let refused = loop {
        let mut reader = larder.connect().await;
        reader.send(request("GET", &format!("/{number}"), "")).await;
        if larder.metric("larder_memory_refused_total").await > 0.0 {
            break reader.answer().await;
        }
        readers.push(reader);
        number += 1;
        assert!(number < 300, "it is never full");
    };
    println!("full with {number}: {}", refused.head);
    assert!(larder.metric("larder_memory_pressure_began_total{level=\"full\"}").await > 0.0);
    assert_eq!(larder.told("only what is stored is answered").await.min(1), 1);
}
