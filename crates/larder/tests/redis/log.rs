//! Log: what is appended, and what is told of it.

use std::time::{Duration, Instant};

use larder::{
    Mode, Scope,
    lower::{Folded, FoldedScope, LowerPurge, LowerTier, Position, Readers, bucket},
};
use larder_test_support::redis::Redis as Server;

use crate::control::{id, purge, tell, tier, told};

const LOG: &str = "{larder:larder}:log";

#[tokio::test]
async fn a_purge_is_told_to_whoever_asks_for_what_came_after_an_earlier_position() {
    let server = Server::start().await;
    let (one, other) = (tier(&server), tier(&server));
    let empty = one.tail(None).await.unwrap();
    assert!(empty.purges.is_empty() && empty.folded.is_empty());
    let scopes = vec![
        Scope::Key("a".into()),
        Scope::Prefix("p/".into()),
        Scope::Tag("ü \0".into()),
        Scope::Everything,
    ];
    let all = LowerPurge { id: id(1), scopes, mode: Mode::Soft };
    let position = one.append(&[all.clone(), purge(2)]).await.unwrap();
    assert_eq!(position.number, empty.position.number + 2);
    let tail = other.tail(Some(empty.position)).await.unwrap();
    assert_eq!((tail.whole_since, tail.position), (empty.position.number, position));
    assert_eq!(tail.purges[0].purge, all);
    assert_eq!(told(&tail), [1, 2]);
    assert_eq!(tail.purges[1].number, position.number);
    assert!(tail.purges[0].age < Duration::from_secs(5));
    // Whoever knows nothing is told all there is.
    assert_eq!(told(&other.tail(None).await.unwrap()), [1, 2]);
    let elsewhere = Position { generation: 1, number: u64::MAX };
    assert_eq!(told(&other.tail(Some(elsewhere)).await.unwrap()), [1, 2]);
    assert!(other.tail(Some(position)).await.unwrap().purges.is_empty());
}

#[tokio::test]
async fn a_purge_that_is_sent_again_has_the_number_that_it_had() {
    let server = Server::start().await;
    let (one, other) = (tier(&server), tier(&server));
    let first = one.append(&[purge(1)]).await.unwrap();
    let second = one.append(&[purge(2)]).await.unwrap();
    assert_eq!(one.append(&[purge(1)]).await.unwrap(), first);
    assert_eq!(other.append(&[purge(2), purge(1)]).await.unwrap(), second);
    let mixed = other.append(&[purge(1), purge(3)]).await.unwrap();
    assert_eq!(mixed.number, second.number + 1);
    assert_eq!(told(&one.tail(None).await.unwrap()), [1, 2, 3]);
    assert_eq!(one.append(&[]).await.unwrap(), mixed, "nothing is appended at the log's end");
}

#[tokio::test]
async fn a_script_that_the_server_has_forgotten_is_sent_again() {
    let server = Server::start().await;
    let one = tier(&server);
    let first = one.append(&[purge(1)]).await.unwrap();
    tell::<()>(&server, &["SCRIPT", "FLUSH"]).await;
    let second = one.append(&[purge(2)]).await.unwrap();
    assert_eq!(second, Position { number: first.number + 1, ..first });
}

#[tokio::test]
async fn who_follows_learns_of_a_purge_as_soon_as_it_is_there() {
    let server = Server::start().await;
    let (one, other) = (tier(&server), tier(&server));
    let since = one.tail(None).await.unwrap().position;
    let began = Instant::now();
    let nothing = other.follow(since, Duration::from_millis(50)).await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(40) && nothing.purges.is_empty());
    let long = Duration::from_secs(20);
    let (tail, _) = tokio::join!(other.follow(since, long), async {
        // It waits there before the purge comes.
        let is_blocked = async || {
            let clients: String = tell(&server, &["INFO", "clients"]).await;
            clients.contains("blocked_clients:1").then_some(())
        };
        larder_test_support::eventually::eventually("a reader that waits", is_blocked).await;
        one.append(&[purge(1)]).await.unwrap();
    });
    assert_eq!(told(&tail.unwrap()), [1]);
    assert!(began.elapsed() < long);
}

#[tokio::test]
async fn a_call_that_was_given_up_while_it_waits_holds_up_no_other() {
    let server = Server::start().await;
    let one = tier(&server);
    let since = one.tail(None).await.unwrap().position;
    let long = Duration::from_secs(60);
    for _ in 0..3 {
        let given_up = tokio::time::timeout(Duration::from_millis(20), one.follow(since, long));
        assert!(given_up.await.is_err());
    }
    one.append(&[purge(1)]).await.unwrap();
    let began = Instant::now();
    assert_eq!(told(&one.follow(since, long).await.unwrap()), [1]);
    // Two who follow at once do not wait for each other either.
    let end = one.tail(None).await.unwrap().position;
    let (waits, told_at_once) =
        tokio::join!(one.follow(end, Duration::from_millis(300)), one.follow(since, long));
    assert_eq!((told(&waits.unwrap()), told(&told_at_once.unwrap())), (vec![], vec![1]));
    assert!(began.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn what_the_log_has_lost_is_told_by_what_it_named() {
    let server = Server::start().await;
    let one = tier(&server);
    let start = one.tail(None).await.unwrap().position.number;
    let soft = |number, scope| LowerPurge { id: id(number), scopes: vec![scope], mode: Mode::Soft };
    let purges = [
        soft(1, Scope::Key("a".into())),
        soft(2, Scope::Key("a".into())),
        purge(3),
        soft(4, Scope::Prefix("p/".into())),
        soft(5, Scope::Everything),
        purge(6),
        purge(7),
    ];
    let position = one.append(&purges).await.unwrap();
    tell::<u64>(&server, &["XTRIM", LOG, "MAXLEN", "2"]).await;
    // Who has read as far as the log still reaches has no gap.
    let at = |number| Some(Position { number: start + number, ..position });
    let tail = one.tail(at(5)).await.unwrap();
    assert_eq!((told(&tail), tail.folded), (vec![6, 7], vec![]));
    let tail = one.tail(at(3)).await.unwrap();
    let numbers = |folded: &Folded| {
        let soft: Vec<_> = folded.soft.iter().map(|(number, _)| number - start).collect();
        (folded.hard.saturating_sub(start), soft)
    };
    let find = |scope| tail.folded.iter().find(|folded| folded.scope == scope).map(numbers);
    let tags = |number: u64| FoldedScope::Tags(bucket(&format!("tag {number}")));
    assert_eq!(find(FoldedScope::Prefix("p/".into())), Some((0, vec![4])));
    assert_eq!(find(FoldedScope::Everything), Some((0, vec![5])));
    assert_eq!((find(tags(6)), find(tags(7))), (Some((6, vec![])), Some((7, vec![]))));
    assert_eq!(find(tags(3)), None, "it was known");
    assert_eq!((tail.whole_since, tail.position), (start + 3, position));
    let tail = one.tail(None).await.unwrap();
    let key = tail.folded.iter().find(|it| it.scope == FoldedScope::Keys(bucket("a"))).unwrap();
    assert_eq!(numbers(key), (0, vec![1, 2]));
    assert_eq!(tail.whole_since, start);
}

#[tokio::test]
async fn an_entry_missing_in_the_middle_or_at_the_end_is_a_gap() {
    let server = Server::start().await;
    let one = tier(&server);
    let start = one.tail(None).await.unwrap().position;
    for lost in [2, 3, 1] {
        let purges = [purge(10 * lost + 1), purge(10 * lost + 2), purge(10 * lost + 3)];
        let last = one.append(&purges).await.unwrap();
        let number = last.number - 3 + lost;
        tell::<u64>(&server, &["XDEL", LOG, &format!("{number}-0")]).await;
        let since = Position { number: last.number - 3, ..start };
        let tail = one.tail(Some(since)).await.unwrap();
        assert_eq!(tail.folded.len(), 3, "{lost}: {tail:?}");
        assert_eq!((tail.whole_since, tail.position), (since.number, last));
    }
}

#[tokio::test]
async fn of_many_prefixes_the_oldest_are_forgotten_and_that_is_said() {
    let server = Server::start().await;
    let one = tier(&server);
    let start = one.tail(None).await.unwrap().position.number;
    let prefix = |number: u64| LowerPurge {
        id: id(number),
        scopes: vec![Scope::Prefix(format!("{number}/"))],
        mode: Mode::Soft,
    };
    let purges: Vec<_> = (1..=300).map(prefix).collect();
    for purges in purges.chunks(100) {
        one.append(purges).await.unwrap();
    }
    tell::<u64>(&server, &["XTRIM", LOG, "MAXLEN", "0"]).await;
    let tail = one.tail(None).await.unwrap();
    assert_eq!((tail.whole_since, tail.folded.len()), (start + 44, 256));
    assert!(tail.folded.iter().all(|folded| folded.newest() > start + 44));
}

#[tokio::test]
async fn more_than_can_be_told_one_by_one_is_told_by_what_it_named() {
    let server = Server::start().await;
    let one = tier(&server);
    let since = one.tail(None).await.unwrap().position;
    let purges: Vec<_> = (1..=5000).map(purge).collect();
    for purges in purges.chunks(256) {
        one.append(purges).await.unwrap();
    }
    let tail = one.tail(Some(since)).await.unwrap();
    assert_eq!((tail.whole_since, tail.purges.len()), (since.number, 0));
    let is_told = |number| {
        let scope = FoldedScope::Tags(bucket(&format!("tag {number}")));
        tail.folded.iter().any(|it| it.scope == scope && it.hard >= since.number + number)
    };
    assert!((1..=5000).all(is_told));
    let later = Position { number: since.number + 4000, ..since };
    assert_eq!(one.tail(Some(later)).await.unwrap().purges.len(), 1000);
}

#[tokio::test]
async fn what_another_version_has_written_means_everything_hard() {
    let server = Server::start().await;
    let one = tier(&server);
    let since = one.append(&[purge(1)]).await.unwrap();
    // As that version does it: the number, what it names, and the entry.
    let number = (since.number + 1).to_string();
    let (ctl, fences) = ("{larder:larder}:ctl", "{larder:larder}:fences");
    let entry = [&*format!("{number}-0"), "p", &since.number.to_string(), "i", "new", "t", "0"];
    tell::<()>(&server, &[&["XADD", LOG][..], &entry, &["d", "\u{9}…"]].concat()).await;
    tell::<u64>(&server, &["HSET", fences, "x:new", &format!("{number};")]).await;
    tell::<u64>(&server, &["HSET", ctl, "seq", &number, "last", &number]).await;
    let tail = one.tail(Some(since)).await.unwrap();
    let purge = &tail.purges[0].purge;
    assert_eq!((&purge.scopes[..], purge.mode), (&[Scope::Everything][..], Mode::Hard));
    tell::<u64>(&server, &["XTRIM", LOG, "MAXLEN", "0"]).await;
    let tail = one.tail(Some(since)).await.unwrap();
    let everything =
        Folded { scope: FoldedScope::Everything, hard: since.number + 1, soft: Vec::new() };
    assert_eq!(tail.folded, [everything]);
}

#[tokio::test]
async fn of_many_soft_purges_of_one_thing_the_oldest_count_as_one_and_a_hard_one_as_all() {
    let server = Server::start().await;
    let one = tier(&server);
    let start = one.tail(None).await.unwrap().position.number;
    let key =
        |number, mode| LowerPurge { id: id(number), scopes: vec![Scope::Key("a".into())], mode };
    one.append(&[key(1, Mode::Soft)]).await.unwrap();
    let pause = Duration::from_millis(100);
    tokio::time::sleep(pause).await;
    let later: Vec<_> = (2..=7).map(|number| key(number, Mode::Soft)).collect();
    one.append(&later).await.unwrap();
    tell::<u64>(&server, &["XTRIM", LOG, "MAXLEN", "0"]).await;
    let folded = one.tail(None).await.unwrap().folded.remove(0);
    let numbers: Vec<_> = folded.soft.iter().map(|(number, _)| number - start).collect();
    assert_eq!(numbers, [4, 5, 6, 7], "with the later number of each two");
    let [first, second, ..] = folded.soft[..] else { unreachable!("four") };
    assert!(first.1 >= second.1 + pause / 2, "and the earlier time: {folded:?}");
    one.append(&[key(8, Mode::Hard)]).await.unwrap();
    tell::<u64>(&server, &["XTRIM", LOG, "MAXLEN", "0"]).await;
    let folded = one.tail(None).await.unwrap().folded.remove(0);
    assert_eq!((folded.hard - start, folded.soft), (8, vec![]));
}

#[tokio::test]
async fn a_purge_that_is_told_again_after_a_loss_is_as_old_as_it_was() {
    let mut server = Server::start().await;
    let one = tier(&server);
    one.renew(&crate::control::reader(1), None).await.unwrap();
    tell::<()>(&server, &["SAVE"]).await;
    one.append(&[purge(1)]).await.unwrap();
    let pause = Duration::from_millis(300);
    tokio::time::sleep(pause).await;
    server.kill().await;
    server.start_again().await;
    let tail = crate::control::answer(async || one.tail(None).await).await.unwrap();
    assert_eq!(told(&tail), [1]);
    assert!(tail.purges[0].age >= pause, "{tail:?}");
}

#[tokio::test]
async fn a_log_of_long_purges_stays_small() {
    let server = Server::start().await;
    let one = tier(&server);
    let long = |number: u64| {
        let scopes = vec![Scope::Key(format!("{number}{}", "x".repeat(8 << 10)))];
        LowerPurge { scopes, ..purge(number) }
    };
    let mut position = None;
    for call in 0..64 {
        let purges: Vec<_> = (call * 256..(call + 1) * 256).map(long).collect();
        position = Some(one.append(&purges).await.unwrap());
    }
    // Those that were appended have 128 MiB.
    let bytes: u64 = tell(&server, &["MEMORY", "USAGE", LOG, "SAMPLES", "0"]).await;
    assert!(bytes < 64 << 20, "{bytes}");
    assert!(tell::<u64>(&server, &["XLEN", LOG]).await >= 1024);
    // Of the first ones it is told what is remembered.
    let tail = tier(&server).tail(None).await.unwrap();
    assert_eq!(Some(tail.position), position);
    assert!(!tail.folded.is_empty());
    // Short ones are kept as before.
    for call in 100..140 {
        let purges: Vec<_> = (call * 256..(call + 1) * 256).map(purge).collect();
        one.append(&purges).await.unwrap();
    }
    assert!(tell::<u64>(&server, &["XLEN", LOG]).await >= 10_240);
}
