//! Forks: servers that have lost what they had acknowledged, and how they get it back.

use std::time::{Duration, Instant};

use larder::{
    Replication, Scope,
    lower::{LowerError, LowerPurge, LowerTier, Position, Readers},
};
use larder_test_support::{eventually::eventually, redis::Redis as Server};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

use crate::{
    control::{Instance, all_keep_up, answer, numbers, purge, tell, tier_for, told},
    copies::copies,
};

/// Who does not sign within this and two seconds is not waited for.
const SHORT: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(10);

/// Keeps all that it has acknowledged.
const DURABLE: [&str; 6] = ["--save", "", "--appendonly", "yes", "--appendfsync", "always"];

fn instance(server: &Server, number: u64, max_incoherence: Duration) -> Instance {
    Instance::new(tier_for(server, max_incoherence), number)
}

fn only_grow(numbers: &[u64]) -> bool {
    numbers.is_sorted_by(|one, next| one < next)
}

#[tokio::test]
async fn a_server_that_was_emptied_has_another_log() {
    let server = Server::start().await;
    let mut one = instance(&server, 1, LONG);
    let mut other = instance(&server, 2, LONG);
    one.tier.append(&[purge(1)]).await.unwrap();
    let before = all_keep_up(&mut [&mut one, &mut other]).await;
    tell::<()>(&server, &["FLUSHALL"]).await;
    let after = one.tier.append(&[purge(2)]).await.unwrap();
    assert_ne!(after.generation, before.generation);
    assert_eq!(all_keep_up(&mut [&mut one, &mut other]).await, after);
    assert_eq!((&*other.told, other.gaps), (&[1, 2][..], 1));
    // So has one that has lost its memory of it alone.
    tell::<u64>(&server, &["DEL", "{larder:larder}:ctl"]).await;
    let third = other.tier.append(&[purge(3)]).await.unwrap();
    assert!(![before.generation, after.generation].contains(&third.generation));
    assert_eq!(told(&one.tier.tail(None).await.unwrap()), [3]);
}

#[tokio::test]
async fn a_log_whose_state_is_damaged_ends() {
    let server = Server::start().await;
    let mut one = instance(&server, 1, LONG);
    let mut before = all_keep_up(&mut [&mut one]).await;
    let damages = [
        ("gen", "somebody's"),
        ("state", "shut"),
        ("seq", "-1"),
        ("seq", "99999999999999999999"),
        ("last", "x"),
        ("floor", ""),
        ("restored", "1.5"),
        ("forks", "-1"),
        ("changed", "today"),
    ];
    for (field, value) in damages {
        tell::<u64>(&server, &["HSET", "{larder:larder}:ctl", field, value]).await;
        let after = one.tier.append(&[purge(before.number)]).await;
        let after = after.unwrap_or_else(|error| panic!("{field} {value}: {error:?}"));
        assert_ne!(after.generation, before.generation, "{field} {value}");
        before = all_keep_up(&mut [&mut one]).await;
    }
    let log = "{larder:larder}:log";
    for words in [&["SET", log, "text"][..], &["XADD", log, "9999999999999999999-0", "a", "b"]] {
        tell::<String>(&server, words).await;
        let after = one.tier.append(&[purge(before.number)]).await.unwrap();
        assert_ne!(after.generation, before.generation, "{words:?}");
        before = all_keep_up(&mut [&mut one]).await;
    }
}

#[tokio::test]
async fn a_server_that_comes_back_with_all_it_had_has_the_same_log_and_nobody_has_a_gap() {
    let mut server = Server::start_with(&DURABLE).await;
    let mut one = instance(&server, 1, LONG);
    let mut other = instance(&server, 2, LONG);
    one.tier.append(&[purge(1), purge(2)]).await.unwrap();
    let before = all_keep_up(&mut [&mut one, &mut other]).await;
    for restart in 0..3 {
        server.kill().await;
        server.start_again().await;
        let began = Instant::now();
        let after = all_keep_up(&mut [&mut one, &mut other]).await;
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        assert_eq!(after.generation, before.generation, "{restart}");
        assert!(after.number > before.number);
        answer(async || one.tier.append(&[purge(3 + restart)]).await).await.unwrap();
    }
    all_keep_up(&mut [&mut one, &mut other]).await;
    assert_eq!((&*other.told, other.gaps), (&[1, 2, 3, 4, 5][..], 0));
    assert_eq!((&*one.told, one.gaps), (&[1, 2, 3, 4, 5][..], 0));
    assert!(only_grow(&numbers(&server).await));
}

#[tokio::test]
async fn a_server_that_reloads_what_it_has_goes_on() {
    let server = Server::start().await;
    let mut one = instance(&server, 1, LONG);
    one.tier.append(&[purge(1)]).await.unwrap();
    let before = all_keep_up(&mut [&mut one]).await;
    tell::<()>(&server, &["DEBUG", "RELOAD"]).await;
    let after = one.tier.append(&[purge(2)]).await.unwrap();
    assert_eq!(after, Position { number: before.number + 1, ..before });
}

#[tokio::test]
async fn a_server_that_keeps_nothing_has_another_log_after_each_start() {
    let mut server = Server::start().await;
    let mut one = instance(&server, 1, LONG);
    let before = all_keep_up(&mut [&mut one]).await;
    server.kill().await;
    server.start_again().await;
    let after = all_keep_up(&mut [&mut one]).await;
    assert_ne!(after.generation, before.generation);
    assert_eq!(one.gaps, 1);
}

#[tokio::test]
async fn what_a_server_has_lost_its_readers_tell_it() {
    let mut server = Server::start().await;
    let mut one = instance(&server, 1, LONG);
    let mut other = instance(&server, 2, LONG);
    one.tier.append(&[purge(1)]).await.unwrap();
    all_keep_up(&mut [&mut one, &mut other]).await;
    tell::<()>(&server, &["SAVE"]).await;
    // One purge all have read, one of each only its writer.
    one.tier.append(&[purge(2)]).await.unwrap();
    let before = all_keep_up(&mut [&mut one, &mut other]).await;
    one.tier.append(&[purge(3)]).await.unwrap();
    other.tier.append(&[purge(4)]).await.unwrap();
    server.kill().await;
    server.start_again().await;
    // Nothing is told before both have signed.
    let alone = answer(async || one.tier.tail(one.read).await).await;
    assert!(matches!(alone, Err(LowerError::Reconciling)), "{alone:?}");
    let refused = answer(async || one.tier.append(&[purge(9)]).await).await;
    assert!(matches!(refused, Err(LowerError::Reconciling)), "{refused:?}");
    let after = all_keep_up(&mut [&mut one, &mut other]).await;
    assert_eq!(after.generation, before.generation);
    let mut newcomer = instance(&server, 3, LONG);
    all_keep_up(&mut [&mut one, &mut other, &mut newcomer]).await;
    newcomer.told.sort_unstable();
    assert_eq!(newcomer.told, [1, 2, 3, 4], "each once");
    for instance in [&mut one, &mut other] {
        instance.told.sort_unstable();
        instance.told.dedup();
        assert_eq!((&*instance.told, instance.gaps), (&[1, 2, 3, 4][..], 0));
    }
    let numbers = numbers(&server).await;
    assert_eq!(numbers.len(), 4);
    assert!(only_grow(&numbers) && numbers[1] > before.number + 2, "{numbers:?} {before:?}");
}

#[tokio::test]
async fn if_one_who_may_have_known_more_does_not_come_another_log_begins() {
    let mut server = Server::start().await;
    let mut one = instance(&server, 1, SHORT);
    let mut gone = instance(&server, 2, SHORT);
    all_keep_up(&mut [&mut one, &mut gone]).await;
    tell::<()>(&server, &["SAVE"]).await;
    let before = all_keep_up(&mut [&mut one, &mut gone]).await;
    server.kill().await;
    server.start_again().await;
    drop(gone);
    let began = Instant::now();
    let first = answer(async || one.tier.tail(one.read).await).await;
    assert!(matches!(first, Err(LowerError::Reconciling)), "{first:?}");
    let after = all_keep_up(&mut [&mut one]).await;
    assert!(began.elapsed() >= SHORT + Duration::from_millis(1990), "{:?}", began.elapsed());
    assert_ne!(after.generation, before.generation);
    assert_eq!(one.gaps, 1);
}

/// One that goes on while another says nothing any more, for longer than trust lasts.
async fn goes_on_alone(one: &mut Instance) {
    let began = Instant::now();
    while began.elapsed() < SHORT + Duration::from_millis(2500) {
        one.tier.renew(&one.reader, one.read).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn who_was_gone_before_the_server_stopped_is_not_waited_for() {
    let mut server = Server::start_with(&DURABLE).await;
    let mut one = instance(&server, 1, SHORT);
    let mut gone = instance(&server, 2, SHORT);
    gone.tier.append(&[purge(1)]).await.unwrap();
    let before = all_keep_up(&mut [&mut one, &mut gone]).await;
    drop(gone);
    goes_on_alone(&mut one).await;
    server.kill().await;
    server.start_again().await;
    let after = all_keep_up(&mut [&mut one]).await;
    assert_eq!((after.generation, one.gaps), (before.generation, 0));
}

#[tokio::test]
async fn who_had_read_further_than_all_others_is_missed_however_long_it_was_gone() {
    let mut server = Server::start_with(&DURABLE).await;
    let mut one = instance(&server, 1, SHORT);
    let mut ahead = instance(&server, 2, SHORT);
    let before = all_keep_up(&mut [&mut one, &mut ahead]).await;
    ahead.tier.append(&[purge(1)]).await.unwrap();
    all_keep_up(&mut [&mut ahead]).await;
    drop(ahead);
    // It says that it is there, and reads nothing.
    goes_on_alone(&mut one).await;
    server.kill().await;
    server.start_again().await;
    let after = all_keep_up(&mut [&mut one]).await;
    assert_ne!(after.generation, before.generation);
}

#[tokio::test]
async fn who_has_forgotten_what_it_would_have_to_tell_says_so() {
    let mut server = Server::start().await;
    let mut one = instance(&server, 1, LONG);
    let before = all_keep_up(&mut [&mut one]).await;
    tell::<()>(&server, &["SAVE"]).await;
    let purges: Vec<_> = (1..=5000).map(purge).collect();
    for purges in purges.chunks(250) {
        one.tier.append(purges).await.unwrap();
    }
    server.kill().await;
    server.start_again().await;
    let began = Instant::now();
    let after = all_keep_up(&mut [&mut one]).await;
    assert_ne!(after.generation, before.generation);
    assert!(began.elapsed() < LONG, "it waits for nobody");
}

#[tokio::test]
async fn who_has_skipped_what_it_would_have_to_tell_says_so() {
    let mut server = Server::start().await;
    let mut one = instance(&server, 1, LONG);
    let before = all_keep_up(&mut [&mut one]).await;
    tell::<()>(&server, &["SAVE"]).await;
    // More prefixes than are remembered: of the first ones it is told that there were some.
    let other = tier_for(&server, LONG);
    let prefix = |number: u64| vec![Scope::Prefix(format!("{number}/"))];
    for number in 1..=300 {
        other.append(&[LowerPurge { scopes: prefix(number), ..purge(number) }]).await.unwrap();
    }
    let read = all_keep_up(&mut [&mut one]).await;
    assert_eq!((one.gaps, read.generation), (1, before.generation));
    assert!(one.told.len() < 300);
    server.kill().await;
    server.start_again().await;
    let after = all_keep_up(&mut [&mut one]).await;
    assert_ne!(after.generation, before.generation, "nobody has told it the first ones again");
}

#[tokio::test]
async fn who_joined_after_what_was_restored_tells_what_it_knows_when_it_comes() {
    let mut server = Server::start().await;
    let mut one = instance(&server, 1, LONG);
    all_keep_up(&mut [&mut one]).await;
    tell::<()>(&server, &["SAVE"]).await;
    let mut late = instance(&server, 2, LONG);
    let before = all_keep_up(&mut [&mut one, &mut late]).await;
    one.tier.renew(&one.reader, one.read).await.unwrap();
    late.tier.append(&[purge(1)]).await.unwrap();
    server.kill().await;
    server.start_again().await;
    // The restored server does not know it, but the other one does.
    let alone = answer(async || one.tier.tail(one.read).await).await;
    assert!(matches!(alone, Err(LowerError::Reconciling)), "{alone:?}");
    let open = all_keep_up(&mut [&mut one, &mut late]).await;
    assert_eq!(open.generation, before.generation);
    assert_eq!((&*one.told, one.gaps), (&[1][..], 0));
    assert_eq!(late.gaps, 0);
}

#[tokio::test]
async fn if_one_who_joined_after_what_was_restored_does_not_come_another_log_begins() {
    let mut server = Server::start().await;
    let mut one = instance(&server, 1, SHORT);
    all_keep_up(&mut [&mut one]).await;
    tell::<()>(&server, &["SAVE"]).await;
    let mut cut_off = instance(&server, 2, SHORT);
    let before = all_keep_up(&mut [&mut one, &mut cut_off]).await;
    one.tier.renew(&one.reader, one.read).await.unwrap();
    // Its receipt may say that this holds, twelve seconds later: nobody may go by a log without it until then.
    cut_off.tier.append(&[purge(1)]).await.unwrap();
    server.kill().await;
    server.start_again().await;
    let after = all_keep_up(&mut [&mut one]).await;
    assert_ne!(after.generation, before.generation);
    assert_eq!(one.gaps, 1);
}

#[tokio::test]
async fn a_server_that_forgets_without_another_start_is_found_out_by_who_has_read_more() {
    let server = Server::start().await;
    let mut one = instance(&server, 1, LONG);
    all_keep_up(&mut [&mut one]).await;
    tell::<()>(&server, &["SAVE"]).await;
    let lost = one.tier.append(&[purge(1), purge(2)]).await.unwrap();
    tell::<()>(&server, &["DEBUG", "RELOAD", "NOSAVE"]).await;
    let next = one.tier.append(&[purge(3)]).await.unwrap();
    assert_eq!(next.generation, lost.generation);
    assert!(next.number > lost.number);
    assert_eq!(told(&one.tier.tail(None).await.unwrap()), [1, 2, 3]);
}

#[tokio::test]
async fn a_log_that_has_ended_does_not_come_back_with_an_older_copy() {
    let mut server = Server::start().await;
    let mut one = instance(&server, 1, LONG);
    let first = all_keep_up(&mut [&mut one]).await;
    tell::<()>(&server, &["SAVE"]).await;
    tell::<()>(&server, &["FLUSHALL"]).await;
    // Emptied, it has saved that as well: what it had is put back.
    let copy = server.folder().join("dump.rdb");
    let kept = std::fs::read(&copy).unwrap();
    let second = all_keep_up(&mut [&mut one]).await;
    assert_ne!(second.generation, first.generation);
    server.kill().await;
    std::fs::write(&copy, kept).unwrap();
    server.start_again().await;
    let third = all_keep_up(&mut [&mut one]).await;
    assert!(![first.generation, second.generation].contains(&third.generation));
    // The same without another start.
    tell::<()>(&server, &["DEBUG", "RELOAD", "NOSAVE"]).await;
    let fourth = all_keep_up(&mut [&mut one]).await;
    let known = [first.generation, second.generation, third.generation];
    assert!(!known.contains(&fourth.generation));
}

#[tokio::test]
async fn where_nobody_can_know_what_was_lost_another_log_begins_at_once() {
    let mut server = Server::start_with(&DURABLE).await;
    let mut one = instance(&server, 1, LONG);
    let before = all_keep_up(&mut [&mut one]).await;
    one.tier.leave(&one.reader).await.unwrap();
    server.kill().await;
    server.start_again().await;
    let mut other = instance(&server, 2, LONG);
    assert_ne!(all_keep_up(&mut [&mut other]).await.generation, before.generation);
}

/// A port behind which now the one server is, now the other.
struct Switch {
    port: u16,
    behind: watch::Sender<u16>,
}

impl Switch {
    async fn to(server: &Server) -> Switch {
        let (behind, seen) = watch::channel(server.port());
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut here, _)) = listener.accept().await {
                let mut seen = seen.clone();
                tokio::spawn(async move {
                    let port = *seen.borrow_and_update();
                    let Ok(mut there) = TcpStream::connect(("127.0.0.1", port)).await else {
                        return;
                    };
                    tokio::select! {
                        _ = copy_bidirectional(&mut here, &mut there) => {}
                        _ = seen.changed() => {}
                    }
                });
            }
        });
        Switch { port, behind }
    }

    fn turn_to(&self, server: &Server) {
        self.behind.send_replace(server.port());
    }

    fn instance(&self, number: u64) -> Instance {
        let url = format!("redis://127.0.0.1:{}", self.port);
        Instance::new(larder::redis::Redis::connect(&url).unwrap(), number)
    }
}

async fn replicates(replica: &Server) {
    eventually("a replica that keeps up", async || {
        let info: String = tell(replica, &["INFO", "replication"]).await;
        info.contains("master_link_status:up").then_some(())
    })
    .await;
}

async fn is_replica_of(replica: &Server, primary: &Server) {
    tell::<()>(replica, &["REPLICAOF", "127.0.0.1", &primary.port().to_string()]).await;
    replicates(replica).await;
}

#[tokio::test]
async fn a_replica_that_takes_over_is_told_what_it_did_not_get() {
    let (a, b) = (Server::start().await, Server::start().await);
    is_replica_of(&b, &a).await;
    let switch = Switch::to(&a).await;
    let (mut one, mut other) = (switch.instance(1), switch.instance(2));
    one.tier.append(&[purge(1)]).await.unwrap();
    let before = all_keep_up(&mut [&mut one, &mut other]).await;
    eventually("a replica that has said that it has it", async || {
        let said = copies(&one, 1).await.unwrap().replication;
        (said == Replication::Replicated).then_some(())
    })
    .await;
    b.pause();
    assert_eq!(copies(&one, 2).await.unwrap().replication, Replication::Unreplicated);
    b.go_on();
    tell::<()>(&b, &["REPLICAOF", "NO", "ONE"]).await;
    // The old one takes another, and one has read it.
    let lost = one.tier.append(&[purge(3)]).await.unwrap();
    one.try_to_keep_up().await.unwrap();
    is_replica_of(&a, &b).await;
    // A server that is no longer a primary is not believed, whatever it has.
    for _ in 0..3 {
        let answer = other.tier.tail(other.read).await;
        assert!(matches!(answer, Err(LowerError::Failed(_))), "{answer:?}");
    }
    switch.turn_to(&b);
    let after = all_keep_up(&mut [&mut one, &mut other]).await;
    assert_eq!(after.generation, before.generation);
    assert!(after.number > lost.number);
    for instance in [&mut one, &mut other] {
        instance.told.sort_unstable();
        instance.told.dedup();
        assert_eq!((&*instance.told, instance.gaps), (&[1, 2, 3][..], 0));
    }
    // And back, without a loss.
    tell::<()>(&a, &["REPLICAOF", "NO", "ONE"]).await;
    is_replica_of(&b, &a).await;
    switch.turn_to(&a);
    let back = all_keep_up(&mut [&mut one, &mut other]).await;
    assert_eq!((back.generation, one.gaps, other.gaps), (before.generation, 0, 0));
    assert!(back.number > after.number);
    let numbers = numbers(&a).await;
    assert_eq!(numbers.len(), 3);
    assert!(only_grow(&numbers));
}
