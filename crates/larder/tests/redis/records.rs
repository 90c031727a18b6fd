//! Records: what is written is read by others, what is replaced goes, and what is not as it was written is a miss.

use std::time::{Duration, Instant};

use ::redis::cmd;
use bytes::Bytes;
use larder::{
    Lifetime,
    lower::{Body, BodyId, Commit, Head, LogPart, LowerError, LowerTier, Piece, Position, Record},
    redis::Redis,
};
use larder_test_support::{eventually::eventually, redis::Redis as Server};

use crate::control::{ask, tell, tier};

const MINUTE: Duration = Duration::from_secs(60);
const FENCE: Position = Position { generation: 1, number: 2 };

fn head(variant: &str, body: Body) -> Head {
    Head {
        variant: variant.to_owned(),
        fence: FENCE,
        lifetime: Lifetime::fresh_for(MINUTE),
        cost: Duration::from_millis(7),
        tags: vec!["one".to_owned(), "zwei".to_owned()],
        format: "utf-8".to_owned(),
        extra: Bytes::from_static(b"extra"),
        body,
    }
}

fn small(variant: &str, text: &'static str) -> Head {
    head(variant, Body::Whole(Bytes::from_static(text.as_bytes())))
}

async fn commit(tier: &Redis, key: &str, head: Head) -> Commit {
    commit_of(tier, key, head, Duration::ZERO, 8).await
}

async fn commit_of(tier: &Redis, key: &str, head: Head, age: Duration, most: usize) -> Commit {
    tier.commit(key, Record { head, age }, most).await.unwrap()
}

/// A body in so many pieces, as a head names it.
async fn written(tier: &Redis, pieces: u32) -> (BodyId, Body) {
    let id = BodyId(u128::from(pieces) << 64 | 0xabc);
    for index in 0..pieces {
        let bytes = piece(index);
        tier.write(Piece { body: id, index, bytes, keep: MINUTE }).await.unwrap();
    }
    let begin = Bytes::from_static(b"so it begins");
    let bytes = begin.len() as u64 + u64::from(pieces) * 100_000;
    (id, Body::Pieces { id, begin, pieces, bytes })
}

fn piece(index: u32) -> Bytes {
    (0..100_000_u32).map(|place| (place / 7 * 31 + place + index) as u8).collect()
}

async fn variants(tier: &Redis, key: &str) -> Vec<String> {
    let heads = tier.heads(key, LogPart::Nothing).await.unwrap();
    assert_eq!(heads.unreadable, 0);
    let mut variants: Vec<_> =
        heads.records.into_iter().map(|record| record.head.variant).collect();
    variants.sort();
    variants
}

async fn unreadable(tier: &Redis, key: &str) -> u64 {
    let heads = tier.heads(key, LogPart::Nothing).await.unwrap();
    assert!(heads.records.is_empty(), "{heads:?}");
    heads.unreadable
}

async fn is_gone(tier: &Redis, id: BodyId, pieces: u32) -> bool {
    for index in 0..pieces {
        if !matches!(tier.piece(id, index).await, Err(LowerError::Gone)) {
            return false;
        }
    }
    true
}

#[tokio::test]
async fn what_one_writes_another_reads_with_its_age() {
    let server = Server::start().await;
    let (one, other) = (tier(&server), tier(&server));
    let began = Instant::now();
    let (_, body) = written(&one, 3).await;
    let written = [small("", "text"), small("variant \u{fc}", ""), head("long", body)];
    let age = Duration::from_secs(20);
    for head in &written {
        assert_eq!(commit_of(&one, "key", head.clone(), age, 8).await, Commit::Stored);
    }
    let mut records = other.heads("key", LogPart::Nothing).await.unwrap().records;
    records.sort_by_key(|record| written.iter().position(|head| *head == record.head));
    assert!(records.iter().map(|record| &record.head).eq(&written), "{records:?}");
    for record in records {
        let most = age + began.elapsed() + Duration::from_millis(100);
        assert!(record.age >= age && record.age <= most, "{:?}", record.age);
    }
    assert!(variants(&other, "other key").await.is_empty());
}

#[tokio::test]
async fn a_body_is_read_piece_by_piece() {
    let server = Server::start().await;
    let (one, other) = (tier(&server), tier(&server));
    let (id, body) = written(&one, 3).await;
    commit(&one, "key", head("", body)).await;
    for index in [2, 0, 1] {
        assert_eq!(other.piece(id, index).await.unwrap(), piece(index));
    }
    assert!(matches!(other.piece(id, 3).await, Err(LowerError::Gone)));
}

#[tokio::test]
async fn an_age_is_never_less_than_it_is() {
    let server = Server::start().await;
    for _ in 0..20 {
        // Each of them has to ask for the time.
        let (one, other) = (tier(&server), tier(&server));
        let fetched = Instant::now();
        let record = Record { head: small("", "text"), age: fetched.elapsed() };
        one.commit("key", record, 1).await.unwrap();
        let heads = other.heads("key", LogPart::Nothing).await.unwrap();
        let least = fetched.elapsed();
        let again = other.heads("key", LogPart::Nothing).await.unwrap();
        assert!(heads.records[0].age <= again.records[0].age);
        assert!(again.records[0].age >= least, "{:?} < {least:?}", again.records[0].age);
    }
}

#[tokio::test]
async fn all_data_has_a_time_to_live_and_pieces_outlive_their_head() {
    let server = Server::start().await;
    let one = tier(&server);
    let (_, body) = written(&one, 2).await;
    commit_of(&one, "key", head("", body), MINUTE / 2, 8).await;
    let lease = one.lease("key", "", LogPart::Nothing, MINUTE).await.unwrap();
    let (mut heads, mut pieces) = (Vec::new(), Vec::new());
    let keys: Vec<String> = tell(&server, &["KEYS", "*"]).await;
    for key in keys.iter().filter(|key| !key.starts_with("{larder:")) {
        let left: i64 = tell(&server, &["PTTL", key]).await;
        assert!((1..=100_000).contains(&left), "{key}: {left}");
        match key {
            key if key.starts_with("larder1:larder:h:") => heads.push(left),
            key if key.starts_with("larder1:larder:b:") => pieces.push(left),
            key => assert!(key.starts_with("larder:larder:l:"), "{key}"),
        }
    }
    assert_eq!((heads.len(), pieces.len()), (1, 2));
    assert!((20_000..=30_000).contains(&heads[0]), "what is left of its lifetime: {heads:?}");
    assert!(pieces.iter().all(|left| *left > heads[0]));
    drop(lease);
}

#[tokio::test]
async fn of_a_keys_records_the_last_to_be_committed_stay() {
    let server = Server::start().await;
    let one = tier(&server);
    for variant in ["a", "b", "c", "a", "d"] {
        let head = small(variant, "text");
        assert_eq!(commit_of(&one, "key", head, Duration::ZERO, 3).await, Commit::Stored);
    }
    assert_eq!(variants(&one, "key").await, ["a", "c", "d"]);
    commit_of(&one, "key", small("e", "text"), Duration::ZERO, 1).await;
    assert_eq!(variants(&one, "key").await, ["e"]);
}

#[tokio::test]
async fn the_body_of_a_replaced_record_goes_and_that_of_a_confirmed_one_stays() {
    let server = Server::start().await;
    let one = tier(&server);
    let (id, body) = written(&one, 2).await;
    commit(&one, "key", head("", body.clone())).await;
    let confirmed = Head { cost: Duration::from_secs(1), ..head("", body) };
    commit(&one, "key", confirmed.clone()).await;
    let records = one.heads("key", LogPart::Nothing).await.unwrap().records;
    assert_eq!(records.into_iter().map(|record| record.head).collect::<Vec<_>>(), [confirmed]);
    assert_eq!(one.piece(id, 1).await.unwrap(), piece(1));
    commit(&one, "key", small("", "another")).await;
    assert!(is_gone(&one, id, 2).await);
}

#[tokio::test]
async fn the_body_of_a_record_that_is_one_too_many_goes() {
    let server = Server::start().await;
    let one = tier(&server);
    let (id, body) = written(&one, 2).await;
    commit(&one, "key", head("first", body)).await;
    commit_of(&one, "key", small("second", "text"), Duration::ZERO, 1).await;
    assert!(is_gone(&one, id, 2).await);
}

#[tokio::test]
async fn a_head_without_all_of_its_pieces_is_refused() {
    let server = Server::start().await;
    let one = tier(&server);
    let (id, body) = written(&one, 2).await;
    let Body::Pieces { begin, bytes, .. } = body else { unreachable!() };
    let more = head("", Body::Pieces { id, begin, pieces: 3, bytes });
    assert_eq!(commit(&one, "key", more).await, Commit::Refused);
    assert!(variants(&one, "key").await.is_empty());
    one.discard(id, 2).await.unwrap();
    assert!(is_gone(&one, id, 2).await);
}

#[tokio::test]
async fn a_record_ends_with_its_lifetime_beside_one_that_lives_longer() {
    let server = Server::start().await;
    let one = tier(&server);
    let short = Head { lifetime: Lifetime::fresh_for(MINUTE / 2), ..small("short", "text") };
    commit_of(&one, "key", short.clone(), MINUTE / 2 - Duration::from_millis(50), 8).await;
    commit(&one, "key", small("long", "text")).await;
    eventually("the end of a record", async || {
        (variants(&one, "key").await == ["long"]).then_some(())
    })
    .await;
    assert_eq!(commit_of(&one, "key", short, MINUTE, 8).await, Commit::Refused, "it is over");
    // It is still there until a commit takes it out. The server is surer of the time than its readers.
    eventually("one record, and the note", async || {
        commit(&one, "key", small("long", "text")).await;
        let fields: u64 = tell(&server, &["HLEN", "larder1:larder:h:key"]).await;
        (fields == 2).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_is_not_as_it_was_written_is_counted_and_left_out() {
    let server = Server::start().await;
    let one = tier(&server);
    commit(&one, "key", small("", "text")).await;
    let name = "larder1:larder:h:key";
    let bytes: Vec<u8> = ask(&server, cmd("HGET").arg(name).arg("")).await;
    let put = async |key: &str, field: &[u8], bytes: &[u8]| {
        let mut command = cmd("HSET");
        command.arg(format!("larder1:larder:h:{key}")).arg(field).arg(bytes);
        ask::<u64>(&server, &command).await;
    };
    put("whole", b"", &bytes).await;
    assert_eq!(unreadable(&one, "whole").await, 1, "it was written under another key");
    put("field", b"variant", &bytes).await;
    assert_eq!(unreadable(&one, "field").await, 1);
    put("foreign", b"\xf0\x00", b"rubbish").await;
    assert_eq!(unreadable(&one, "foreign").await, 1);
    put("key", b"", &bytes[..bytes.len() - 1]).await;
    assert_eq!(unreadable(&one, "key").await, 1, "cut");
    tell::<()>(&server, &["SET", "larder1:larder:h:string", "no hash"]).await;
    assert_eq!(unreadable(&one, "string").await, 1);
    // All of that is replaced by the next to write.
    for key in ["foreign", "key", "string"] {
        assert_eq!(commit(&one, key, small("", "anew")).await, Commit::Stored);
        assert_eq!(variants(&one, key).await, [""], "{key}");
    }
}

#[tokio::test]
async fn a_hash_that_somebody_has_filled_is_not_read_and_is_replaced_by_the_next_to_write() {
    const FILL: &str = "for field = 1, ARGV[1] do
            redis.call('HSET', KEYS[1], 'field ' .. field, string.rep('x', 100))
        end
        return redis.status_reply('OK')";
    let server = Server::start().await;
    let one = tier(&server);
    let key = "larder1:larder:h:key";
    for fields in ["1", "100000"] {
        let (id, body) = written(&one, 2).await;
        assert_eq!(commit(&one, "key", head("", body)).await, Commit::Stored);
        assert_eq!(server.tell(&["EVAL", FILL, "1", key, fields]).await, "+OK");
        let heads = one.heads("key", LogPart::Nothing).await.unwrap();
        let read = if fields == "1" { 1 } else { 0 };
        assert_eq!((heads.records.len(), heads.unreadable), (read, 1), "{fields}");
        assert_eq!(commit(&one, "key", small("b", "text")).await, Commit::Stored);
        assert_eq!(variants(&one, "key").await, ["b"], "{fields}");
        let left: u64 = tell(&server, &["HLEN", key]).await;
        assert_eq!(left, 2, "the record and its note");
        assert!(matches!(one.piece(id, 0).await, Err(LowerError::Gone)), "{fields}");
    }
}

#[tokio::test]
async fn a_note_that_is_not_as_it_was_written_hinders_nobody() {
    let server = Server::start().await;
    let one = tier(&server);
    for note in [&b"rubbish"[..], b"\x91\x91\xa1a", b"\x01", b""] {
        commit(&one, "key", small("a", "text")).await;
        let mut command = cmd("HSET");
        command.arg("larder1:larder:h:key").arg(b"\xff").arg(note);
        ask::<u64>(&server, &command).await;
        assert_eq!(commit(&one, "key", small("b", "text")).await, Commit::Stored, "{note:?}");
        assert_eq!(variants(&one, "key").await, ["b"], "{note:?}");
    }
}

#[tokio::test]
async fn a_piece_that_is_not_as_it_was_written_is_unreadable() {
    let server = Server::start().await;
    let one = tier(&server);
    let (id, _) = written(&one, 2).await;
    let name = |index: u32| format!("larder1:larder:b:{:032x}:{index}", id.0);
    tell::<()>(&server, &["COPY", &name(0), &name(1), "REPLACE"]).await;
    assert_eq!(one.piece(id, 0).await.unwrap(), piece(0));
    assert!(matches!(one.piece(id, 1).await, Err(LowerError::Unreadable)), "another piece");
    tell::<()>(&server, &["SET", &name(0), "rubbish"]).await;
    assert!(matches!(one.piece(id, 0).await, Err(LowerError::Unreadable)));
    tell::<u64>(&server, &["DEL", &name(0)]).await;
    tell::<u64>(&server, &["HSET", &name(0), "a", "hash"]).await;
    assert!(matches!(one.piece(id, 0).await, Err(LowerError::Unreadable)));
}

#[tokio::test]
async fn who_has_a_key_believes_only_what_was_signed_with_it() {
    let server = Server::start().await;
    let signed = |key: u8| Redis::options(&server.url()).key([key; 32]).connect().unwrap();
    commit(&tier(&server), "unsigned", small("", "text")).await;
    commit(&signed(1), "signed", small("", "text")).await;
    assert_eq!(variants(&signed(1), "signed").await, [""]);
    assert_eq!(unreadable(&signed(1), "unsigned").await, 1);
    assert_eq!(unreadable(&signed(2), "signed").await, 1);
    assert_eq!(unreadable(&tier(&server), "signed").await, 1);
}

#[tokio::test]
async fn name_spaces_know_nothing_of_each_other() {
    let server = Server::start().await;
    let in_space = |name: &str| Redis::options(&server.url()).namespace(name).connect().unwrap();
    commit(&in_space("one"), "key", small("", "text")).await;
    assert!(variants(&in_space("other"), "key").await.is_empty());
    assert_eq!(variants(&in_space("one"), "key").await, [""]);
    // Not even if their bytes are moved.
    tell::<()>(&server, &["COPY", "larder1:one:h:key", "larder1:other:h:key"]).await;
    assert_eq!(unreadable(&in_space("other"), "key").await, 1);
}

#[tokio::test]
async fn a_read_brings_the_part_of_the_log_that_is_asked_for() {
    let server = Server::start().await;
    let one = tier(&server);
    let since = one.tail(None).await.unwrap().position;
    commit(&one, "key", small("", "text")).await;
    let position = one.append(&[crate::control::purge(1)]).await.unwrap();
    let heads = one.heads("key", LogPart::After(Some(since))).await.unwrap();
    let tail = heads.tail.unwrap();
    assert_eq!((heads.records.len(), tail.position), (1, position));
    assert_eq!(crate::control::told(&tail), [1]);
}
