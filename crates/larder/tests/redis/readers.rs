//! Readers: who is counted when a purge is to hold for all.

use std::time::{Duration, Instant};

use larder::{
    Cache,
    codec::Text,
    lower::{Forget, Forgotten, Holds, LowerError, LowerTier, Position, Reader, Readers},
    redis::Redis,
};
use larder_test_support::{
    eventually::{eventually, until},
    redis::Redis as Server,
};

use crate::control::{Instance, all_keep_up, purge, reader, tell, tier, tier_for};

/// With the margin that is waited beyond it, a server settles within two seconds and this.
const SHORT: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_purge_holds_once_all_have_said_that_they_have_read_it() {
    let server = Server::start().await;
    let mut one = Instance::new(tier_for(&server, SHORT), 1);
    let mut other = Instance::new(tier_for(&server, SHORT), 2);
    all_keep_up(&mut [&mut one, &mut other]).await;
    let position = one.tier.append(&[purge(1)]).await.unwrap();
    one.try_to_keep_up().await.unwrap();
    let holds = one.tier.holds(position, Duration::from_secs(4)).await.unwrap();
    assert_eq!(holds, Holds { by: 1, of: 2, missing: vec!["reader 2".into()] });
    let began = Instant::now();
    let (holds, _) = tokio::join!(one.tier.holds(position, LONG), other.try_to_keep_up());
    assert_eq!(holds.unwrap(), Holds { by: 2, of: 2, missing: vec![] });
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    // Whoever has read nothing yet counts as well, until he goes.
    one.tier.renew(&reader(3), None).await.unwrap();
    let holds = other.tier.holds(position, Duration::ZERO).await.unwrap();
    assert_eq!((holds.by, holds.of, &*holds.missing), (2, 3, &["reader 3".to_owned()][..]));
    one.tier.leave(&reader(3)).await.unwrap();
    assert_eq!(other.tier.holds(position, Duration::ZERO).await.unwrap().of, 2);
}

#[tokio::test]
async fn nothing_holds_while_others_may_not_have_heard_of_a_new_server() {
    let server = Server::start().await;
    let mut one = Instance::new(tier_for(&server, SHORT), 1);
    let began = Instant::now();
    let position = one.try_to_keep_up().await.unwrap();
    let early = one.tier.holds(position, Duration::ZERO).await;
    assert!(matches!(early, Err(LowerError::Reconciling)), "{early:?}");
    let holds = one.tier.holds(position, LONG).await.unwrap();
    assert_eq!(holds.missing, Vec::<String>::new());
    let waited = began.elapsed();
    assert!(waited >= SHORT + Duration::from_secs(2) && waited < LONG, "{waited:?}");
    tell::<()>(&server, &["FLUSHALL"]).await;
    let another = one.try_to_keep_up().await.unwrap();
    assert_ne!(another.generation, position.generation);
    let early = one.tier.holds(position, Duration::from_millis(500)).await;
    assert!(matches!(early, Err(LowerError::Reconciling)), "{early:?}");
    // What was said of the log before holds for whoever has begun the later one.
    let holds = one.tier.holds(position, LONG).await.unwrap();
    assert_eq!((holds.by, holds.of), (1, 1));
}

#[tokio::test]
async fn who_was_silent_for_an_hour_is_forgotten_when_somebody_new_comes() {
    let server = Server::start().await;
    let one = tier(&server);
    one.renew(&reader(1), None).await.unwrap();
    let readers = "{larder:larder}:readers";
    let now: (u64, u64) = tell(&server, &["TIME"]).await;
    let said = |age: u64| format!("- 0 {} gone", (now.0 - age) * 1000);
    tell::<u64>(&server, &["HSET", readers, "7", &said(3590), "8", &said(3610)]).await;
    one.renew(&reader(1), None).await.unwrap();
    let known = async || -> Vec<String> {
        let mut known: Vec<String> = tell(&server, &["HKEYS", readers]).await;
        known.sort();
        known
    };
    assert_eq!(known().await, ["1", "7", "8"]);
    one.renew(&reader(2), None).await.unwrap();
    assert_eq!(known().await, ["1", "2", "7"]);
}

/// What these readers have said, and when anybody last said something, is so many seconds ago.
async fn a_while_ago(server: &Server, seconds: u64, ids: &[&str]) {
    let (now, _): (u64, u64) = tell(server, &["TIME"]).await;
    let then = ((now - seconds) * 1000).to_string();
    tell::<u64>(server, &["HSET", "{larder:larder}:ctl", "beat", &then]).await;
    for id in ids {
        let said = format!("- 0 {then} somebody");
        tell::<u64>(server, &["HSET", "{larder:larder}:readers", id, &said]).await;
    }
}

#[tokio::test]
async fn a_step_of_the_servers_clock_makes_nobody_silent() {
    let server = Server::start().await;
    let one = tier(&server);
    one.renew(&reader(1), None).await.unwrap();
    // As if it had been set two hours forward since the last renewal of anybody.
    a_while_ago(&server, 7200, &["7"]).await;
    one.renew(&reader(2), None).await.unwrap();
    let readers = "{larder:larder}:readers";
    assert!(tell::<bool>(&server, &["HEXISTS", readers, "7"]).await);
    // By the same clock it is silent for an hour yet.
    one.renew(&reader(3), None).await.unwrap();
    assert!(tell::<bool>(&server, &["HEXISTS", readers, "7"]).await);
}

#[tokio::test]
async fn who_is_silent_for_an_hour_is_forgotten_though_nobody_new_comes() {
    let server = Server::start().await;
    let one = tier(&server);
    one.renew(&reader(1), None).await.unwrap();
    let (now, _): (u64, u64) = tell(&server, &["TIME"]).await;
    let said = format!("- 0 {} gone", (now - 3610) * 1000);
    let readers = "{larder:larder}:readers";
    tell::<u64>(&server, &["HSET", readers, "7", &said]).await;
    // It is looked for once a minute: the last time was one ago.
    let minute_ago = ((now - 61) * 1000).to_string();
    tell::<u64>(&server, &["HSET", "{larder:larder}:ctl", "swept", &minute_ago]).await;
    one.renew(&reader(1), None).await.unwrap();
    assert!(!tell::<bool>(&server, &["HEXISTS", readers, "7"]).await);
}

#[tokio::test]
async fn of_those_who_were_forgotten_nothing_is_known_an_hour_later() {
    let server = Server::start().await;
    let one = tier(&server);
    one.renew(&reader(1), None).await.unwrap();
    let ctl = "{larder:larder}:ctl";
    let (now, _): (u64, u64) = tell(&server, &["TIME"]).await;
    let forget = async |count: usize, seconds: u64| {
        let at = ((now - seconds) * 1000).to_string();
        let names: Vec<_> = (0..count).map(|id| format!("forgot:{id}-{seconds}")).collect();
        for names in names.chunks(1000) {
            let fields = names.iter().flat_map(|name| [&**name, &*at]);
            let words: Vec<_> = ["HSET", ctl].into_iter().chain(fields).collect();
            tell::<u64>(&server, &words).await;
        }
    };
    let known = async || -> usize {
        let fields: Vec<String> = tell(&server, &["HKEYS", ctl]).await;
        fields.iter().filter(|field| field.starts_with("forgot:")).count()
    };
    // More than Lua takes at once. Whoever was forgotten of late stays so over another log.
    forget(5000, 60).await;
    tell::<u64>(&server, &["HDEL", ctl, "gen"]).await;
    one.renew(&reader(1), None).await.unwrap();
    assert_eq!(known().await, 5000);
    forget(5000, 3610).await;
    tell::<u64>(&server, &["HSET", ctl, "swept", &((now - 61) * 1000).to_string()]).await;
    one.renew(&reader(1), None).await.unwrap();
    assert_eq!(known().await, 5000);
}

/// Whether a purge with this number, made by `one`, holds for `of` and nobody else.
async fn holds_for(one: &Instance, number: u64, of: usize) -> bool {
    let position = one.tier.append(&[purge(number)]).await.unwrap();
    let holds = one.tier.holds(position, Duration::ZERO).await;
    matches!(holds, Ok(holds) if holds.of == of)
}

#[tokio::test]
async fn one_that_was_killed_is_forgotten_by_its_name_and_the_living_of_that_name_are_not() {
    let server = Server::start().await;
    let mut one = Instance::new(tier_for(&server, SHORT), 1);
    let position = all_keep_up(&mut [&mut one]).await;
    let killed = reader(7);
    one.tier.renew(&killed, None).await.unwrap();
    let by_name = async |name: &str| one.tier.forget(name, Forget::IfSilent).await.unwrap();
    assert_eq!(by_name("nobody").await, Forgotten::Unknown);
    assert!(matches!(by_name("reader 7").await, Forgotten::Alive(_)));
    // It has been silent for longer than it may trust, and somebody else goes by its name now.
    let forgotten = eventually("it to be silent", async || {
        let renamed = Reader { id: 8, name: "reader 7".into() };
        one.tier.renew(&renamed, None).await.unwrap();
        match by_name("reader 7").await {
            Forgotten::Alive(_) => None,
            forgotten => Some(forgotten),
        }
    })
    .await;
    assert_eq!(forgotten, Forgotten::Readers(1));
    assert!(holds_for(&one, 1, 2).await, "the one that is alive is counted");
    assert!(matches!(by_name("reader 7").await, Forgotten::Alive(_)));
    // It was not dead.
    one.tier.renew(&killed, Some(position)).await.unwrap();
    assert!(holds_for(&one, 2, 3).await);
}

#[tokio::test]
async fn one_that_is_alive_and_forgotten_all_the_same_is_waited_for_in_time() {
    let server = Server::start().await;
    let mut one = Instance::new(tier_for(&server, SHORT), 1);
    let mut other = Instance::new(tier_for(&server, SHORT), 2);
    let position = all_keep_up(&mut [&mut one, &mut other]).await;
    one.tier.holds(position, LONG).await.unwrap();
    all_keep_up(&mut [&mut one, &mut other]).await;
    let forgotten = one.tier.forget("reader 2", Forget::InAnyCase).await.unwrap();
    assert_eq!(forgotten, Forgotten::Readers(1));
    // It may serve for as long as it trusts.
    let position = one.tier.append(&[purge(1)]).await.unwrap();
    one.try_to_keep_up().await.unwrap();
    let began = Instant::now();
    let early = one.tier.holds(position, Duration::ZERO).await;
    assert!(matches!(early, Err(LowerError::Reconciling)), "{early:?}");
    let holds = one.tier.holds(position, LONG).await.unwrap();
    assert_eq!((holds.by, holds.of), (1, 1));
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    all_keep_up(&mut [&mut one, &mut other]).await;
    assert!(holds_for(&one, 2, 2).await);
}

#[tokio::test]
async fn a_server_that_is_restarted_does_not_wait_for_one_that_was_forgotten() {
    let mut server = Server::start_with(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let mut one = Instance::new(tier_for(&server, SHORT), 1);
    let mut killed = Instance::new(tier_for(&server, SHORT), 2);
    let before = all_keep_up(&mut [&mut one, &mut killed]).await;
    eventually("it to be silent", async || {
        one.try_to_keep_up().await.unwrap();
        let forgotten = one.tier.forget("reader 2", Forget::IfSilent).await.unwrap();
        (forgotten == Forgotten::Readers(1)).then_some(())
    })
    .await;
    one.try_to_keep_up().await.unwrap();
    server.kill().await;
    server.start_again().await;
    let after = all_keep_up(&mut [&mut one]).await;
    assert_eq!(after.generation, before.generation, "it has all who may know what it has lost");
    let holds = one.tier.holds(after, LONG).await.unwrap();
    assert_eq!((holds.by, holds.of), (1, 1));
    assert_eq!(one.tier.figures().forks, 1);
}

#[tokio::test]
async fn who_shares_is_counted_and_who_of_them_is_alive() {
    let server = Server::start().await;
    let mut one = Instance::new(tier_for(&server, SHORT), 1);
    let mut other = Instance::new(tier_for(&server, SHORT), 2);
    eventually("both to be there", async || {
        all_keep_up(&mut [&mut one, &mut other]).await;
        let figures = one.tier.figures();
        ((figures.readers, figures.readers_alive) == (2, 2)).then_some(())
    })
    .await;
    // They are counted every few seconds.
    eventually("the other to be silent", async || {
        one.try_to_keep_up().await.unwrap();
        (one.tier.figures().readers_alive == 1).then_some(())
    })
    .await;
    assert_eq!(one.tier.figures().readers, 2);
}

#[tokio::test]
async fn who_was_there_before_the_server_lost_all_is_waited_for_though_it_is_cut_off() {
    let server = Server::start().await;
    let mut one = Instance::new(tier_for(&server, SHORT), 1);
    let mut cut_off = Instance::new(tier_for(&server, SHORT), 2);
    all_keep_up(&mut [&mut one, &mut cut_off]).await;
    one.try_to_keep_up().await.unwrap();
    tell::<()>(&server, &["FLUSHALL"]).await;
    // It fetches and serves by itself, for it has been known; somebody else comes, and is not it.
    let mut new = Instance::new(tier_for(&server, SHORT), 3);
    all_keep_up(&mut [&mut new, &mut one]).await;
    let position = one.tier.append(&[purge(1)]).await.unwrap();
    all_keep_up(&mut [&mut one, &mut new]).await;
    let settled = Duration::from_secs(4);
    let holds = one.tier.holds(position, settled).await.unwrap();
    let missing = vec!["one that the server has forgotten".to_owned()];
    assert_eq!(holds, Holds { by: 2, of: 3, missing });
    // Back, it is one of them; and who goes in order is not waited for.
    all_keep_up(&mut [&mut one, &mut new, &mut cut_off]).await;
    let all = one.tier.holds(position, Duration::ZERO).await.unwrap();
    assert_eq!((all.by, all.of), (3, 3));
    cut_off.tier.leave(&cut_off.reader).await.unwrap();
    let all = one.tier.holds(position, Duration::ZERO).await.unwrap();
    assert_eq!((all.by, all.of), (2, 2));
}

#[tokio::test]
async fn who_has_not_come_back_is_waited_for_though_the_server_loses_all_once_more() {
    let server = Server::start().await;
    let mut one = Instance::new(tier_for(&server, SHORT), 1);
    let mut cut_off = Instance::new(tier_for(&server, SHORT), 2);
    all_keep_up(&mut [&mut one, &mut cut_off]).await;
    one.try_to_keep_up().await.unwrap();
    for _ in 0..2 {
        tell::<()>(&server, &["FLUSHALL"]).await;
        all_keep_up(&mut [&mut one]).await;
    }
    let position = one.tier.append(&[purge(1)]).await.unwrap();
    all_keep_up(&mut [&mut one]).await;
    let holds = one.tier.holds(position, Duration::from_secs(4)).await.unwrap();
    assert_eq!((holds.by, holds.of), (1, 2), "{holds:?}");
}

#[tokio::test]
async fn who_came_after_what_was_restored_is_waited_for_though_it_is_cut_off() {
    let mut server = Server::start().await;
    let mut one = Instance::new(tier_for(&server, SHORT), 1);
    all_keep_up(&mut [&mut one]).await;
    tell::<()>(&server, &["SAVE"]).await;
    let mut cut_off = Instance::new(tier_for(&server, SHORT), 2);
    all_keep_up(&mut [&mut one, &mut cut_off]).await;
    one.try_to_keep_up().await.unwrap();
    server.kill().await;
    server.start_again().await;
    let position = all_keep_up(&mut [&mut one]).await;
    let holds = one.tier.holds(position, Duration::from_secs(4)).await.unwrap();
    assert_eq!((holds.by, holds.of), (1, 2), "{holds:?}");
    all_keep_up(&mut [&mut one, &mut cut_off]).await;
    let holds = one.tier.holds(position, Duration::ZERO).await.unwrap();
    assert_eq!((holds.by, holds.of), (2, 2));
}

#[tokio::test]
async fn many_who_wait_for_one_purge_look_together() {
    let server = Server::start().await;
    let mut one = Instance::new(tier_for(&server, SHORT), 1);
    one.try_to_keep_up().await.unwrap();
    let position = one.tier.append(&[purge(1)]).await.unwrap();
    one.tier.holds(one.read.unwrap(), LONG).await.unwrap();
    let calls = async || -> u64 {
        let stats: String = tell(&server, &["INFO", "commandstats"]).await;
        let line = stats.lines().find(|line| line.starts_with("cmdstat_evalsha:")).unwrap();
        line.split(['=', ',']).nth(1).unwrap().parse().unwrap()
    };
    let before = calls().await;
    let began = Instant::now();
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let tier = one.tier.clone();
        waiting.spawn(async move { tier.holds(position, Duration::from_millis(300)).await });
    }
    while let Some(holds) = waiting.join_next().await {
        assert_eq!(holds.unwrap().unwrap().missing, ["reader 1"]);
    }
    let most = began.elapsed().as_millis() as u64 / 10 * 2 + 10;
    let made = calls().await - before;
    assert!((2..=most).contains(&made), "{made} calls, where {most} were expected at most");
}

#[tokio::test]
async fn a_reader_that_was_cut_off_learns_what_it_has_missed() {
    let server = Server::start().await;
    let mut one = Instance::new(tier_for(&server, SHORT), 1);
    let mut other = Instance::new(tier_for(&server, SHORT), 2);
    all_keep_up(&mut [&mut one, &mut other]).await;
    let purges: Vec<_> = (1..=3).map(purge).collect();
    let position = one.tier.append(&purges).await.unwrap();
    server.pause();
    let cut_off = tokio::time::timeout(Duration::from_millis(100), other.try_to_keep_up());
    assert!(cut_off.await.is_err());
    server.go_on();
    all_keep_up(&mut [&mut one, &mut other]).await;
    assert_eq!((&*other.told, other.gaps), (&[1, 2, 3][..], 0));
    let later = one.tier.append(&[purge(4)]).await.unwrap();
    tell::<u64>(&server, &["XTRIM", "{larder:larder}:log", "MAXLEN", "0"]).await;
    all_keep_up(&mut [&mut one, &mut other]).await;
    assert_eq!((&*other.told, other.gaps), (&[1, 2, 3][..], 1));
    assert_eq!(later, Position { number: position.number + 1, ..position });
}

/// How many commands of each kind the server has had since it was asked to forget them.
async fn asked(server: &Server, command: &str) -> u64 {
    let stats: String = tell(server, &["INFO", "commandstats"]).await;
    let of_it = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:")));
    let calls = of_it.and_then(|it| it.strip_prefix("calls=")?.split(',').next());
    calls.map_or(0, |calls| calls.parse().unwrap())
}

#[tokio::test]
async fn a_cache_at_rest_asks_no_more_than_whether_there_is_something_new_and_where_the_log_ends() {
    let server = Server::start().await;
    let tier = Redis::connect(&server.url()).unwrap();
    let cache = Cache::<String>::builder().lower(tier, Text).build();
    until("it to follow the log", || cache.stats().lower.renewals >= 3).await;
    tell::<()>(&server, &["CONFIG", "RESETSTAT"]).await;
    let renewals = cache.stats().lower.renewals;
    until("it to rest", || cache.stats().lower.renewals >= renewals + 6).await;
    let renewed = cache.stats().lower.renewals - renewals;
    let (scripts, reads) = (asked(&server, "evalsha").await, asked(&server, "xread").await);
    // One may have been under way before, and one after that.
    assert!(scripts <= renewed + 2, "{scripts} scripts for {renewed} renewals, {reads} reads");
    assert!((renewed / 2..=renewed + 2).contains(&reads), "{reads} for {renewed}");
}
