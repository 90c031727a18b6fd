//! A purge that has been acknowledged is not undone by the tier below memory.

use larder::{
    AnswerSource, Cache, Fetched, Freshness, Lifetime, Mode, Purge, PurgeError, Receipt, Scope,
    Tier, TierState,
    codec::Text,
    lower::{Call, LowerPurge, LowerTier, Point, PurgeId, Reader, Settings},
};

use crate::{
    below::Cluster,
    purge::{Form, HARD, SOFT},
    support::{MINUTE, secs, settle},
};

fn tagged(value: &str) -> Fetched<String> {
    let lifetime = Lifetime::fresh_for(MINUTE).stale_if_error(MINUTE);
    Fetched::new(value.to_owned()).tags(["other", "tag"]).lifetime(lifetime)
}

fn all_forms() -> impl Iterator<Item = (&'static str, Form)> {
    HARD.into_iter().chain(SOFT)
}

impl Cluster {
    /// A cache that has fetched `key`, tagged `tag`.
    async fn tagged(&self) -> Cache<String> {
        let cache = self.cache();
        self.fetch(&cache, "old").await;
        cache
    }

    async fn fetch(&self, cache: &Cache<String>, value: &str) {
        let reader = self.origin.ask(cache, "key");
        settle().await;
        self.origin.reply(Ok(tagged(value)));
        assert_eq!(reader.await.unwrap().unwrap().value, value);
        settle().await;
    }

    /// A reader of `cache` is given what the origin has, and so is everybody later.
    async fn is_fetched_anew(&self, cache: &Cache<String>, name: &str) {
        let calls = self.origin.calls();
        let reader = self.origin.ask(cache, "key");
        settle().await;
        assert_eq!(self.origin.calls(), calls + 1, "{name}: it was not asked");
        self.origin.reply(Ok(tagged("new")));
        assert_eq!(reader.await.unwrap().unwrap().value, "new", "{name}");
        assert_eq!(cache.get("key").as_deref(), Some("new"), "{name}");
    }
}

async fn purged(cache: &Cache<String>, purge: Purge) -> Receipt {
    cache.purge(purge.wait(Tier::Shared)).await.unwrap()
}

fn shared(receipt: &Receipt) -> &TierState {
    let [memory, shared] = &receipt.tiers[..] else { panic!("{receipt}") };
    assert_eq!((memory.tier, shared.tier), (Tier::Memory, Tier::Shared));
    &shared.state
}

fn scopes() -> [Scope; 4] {
    let (key, prefix, tag) = ("key".to_owned(), "ke".to_owned(), "tag".to_owned());
    [Scope::Key(key), Scope::Prefix(prefix), Scope::Tag(tag), Scope::Everything]
}

#[tokio::test(start_paused = true)]
async fn what_is_purged_does_not_come_back_from_below_though_the_tier_has_not_heard_of_it() {
    for (name, purge) in all_forms() {
        for is_away in [true, false] {
            let cluster = Cluster::new();
            let cache = cluster.tagged().await;
            if is_away {
                cluster.tier.go_away();
                purge(&cache);
                settle().await;
                cluster.tier.come_back();
            }
            cluster.tier.hold(Call::Append, Point::Request);
            if !is_away {
                purge(&cache);
            }
            assert_eq!(cluster.tier.records(), 1);
            cluster.is_fetched_anew(&cache, name).await;
            cluster.tier.release_all();
            tokio::time::sleep(secs(2)).await;
            assert_eq!(cache.stats().lower.purges_outstanding, 0, "{name}");
            cluster.is_fetched_anew(&cluster.cache(), name).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_comes_late_undoes_no_purge() {
    for point in [Point::Request, Point::Answer] {
        for (name, purge) in all_forms() {
            let cluster = Cluster::new();
            let cache = cluster.cache();
            cluster.tier.hold(Call::Commit, point);
            cluster.fetch(&cache, "old").await;
            assert_eq!(cluster.tier.held(), 1);
            purge(&cache);
            settle().await;
            assert_eq!(cache.stats().lower.purges_outstanding, 0, "{name}: it is acknowledged");
            cluster.tier.release_all();
            settle().await;
            let refused = u64::from(point == Point::Request);
            assert_eq!(cache.stats().lower.writes_refused, refused, "{name}");
            cluster.is_fetched_anew(&cluster.cache(), name).await;
            settle().await;
            assert_eq!(cluster.found(&cache, "key").await.value, "new", "{name}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_purge_of_another_that_is_learnt_while_a_value_is_written_is_not_undone() {
    for scope in scopes() {
        let cluster = Cluster::new();
        let (one, other) = (cluster.cache(), cluster.cache());
        cluster.tier.hold(Call::Write, Point::Request);
        // In pieces, of which the first is under way.
        cluster.fetch(&one, &"old".repeat(10_000)).await;
        assert_eq!(cluster.tier.held(), 1);
        let purge =
            Purge { scope: scope.clone(), mode: Mode::Hard, wait: Tier::Shared, asked: None };
        purged(&other, purge).await;
        one.catch_up().await.unwrap();
        cluster.tier.release_all();
        settle().await;
        assert_eq!(cluster.tier.records(), 0, "{scope}");
        cluster.is_fetched_anew(&other, &scope.to_string()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_began_before_a_purge_is_not_written_after_it() {
    for (name, purge) in all_forms() {
        let cluster = Cluster::new();
        let cache = cluster.cache();
        let reader = cluster.origin.ask(&cache, "key");
        settle().await;
        cluster.tier.hold(Call::Append, Point::Request);
        purge(&cache);
        cluster.origin.reply(Ok(tagged("old")));
        reader.await.unwrap().unwrap();
        settle().await;
        assert_eq!(cluster.tier.records(), 0, "{name}");
        cluster.tier.release_all();
        settle().await;
        cluster.is_fetched_anew(&cluster.cache(), name).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_that_is_answered_late_undoes_no_purge() {
    for (name, purge) in all_forms() {
        let cluster = Cluster::new();
        cluster.tagged().await;
        let cache = cluster.cache();
        cluster.tier.hold(Call::Heads, Point::Answer);
        let before = cluster.origin.ask(&cache, "key");
        settle().await;
        purge(&cache);
        settle().await;
        assert_eq!(cache.stats().lower.purges_outstanding, 0, "{name}: it is acknowledged");
        let after = cluster.origin.ask(&cache, "key");
        cluster.tier.release_all();
        settle().await;
        assert_eq!(cluster.origin.calls(), 2, "{name}: one fetch for both");
        cluster.origin.reply(Ok(tagged("new")));
        for reader in [before, after] {
            assert_eq!(reader.await.unwrap().unwrap().value, "new", "{name}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn answers_in_another_order_undo_no_purge() {
    for scope in scopes() {
        let cluster = Cluster::new();
        cluster.tagged().await;
        let (one, other) = (cluster.cache(), cluster.cache());
        cluster.tier.hold(Call::Heads, Point::Answer);
        // This one's answer has no purge yet; that of the next has.
        let late = cluster.origin.ask(&other, "key");
        settle().await;
        let purge =
            Purge { scope: scope.clone(), mode: Mode::Hard, wait: Tier::Shared, asked: None };
        assert_eq!(shared(&purged(&one, purge).await), &TierState::Applied { by: 1, of: 1 });
        let early = cluster.origin.ask(&other, "elsewhere");
        settle().await;
        cluster.tier.release(1);
        settle().await;
        cluster.origin.answer("elsewhere");
        early.await.unwrap().unwrap();
        cluster.tier.release_all();
        settle().await;
        assert_eq!(cluster.origin.calls(), 3, "{scope}");
        cluster.origin.answer("new");
        assert_eq!(late.await.unwrap().unwrap().value, "new", "{scope}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_purge_of_one_cache_holds_in_another_that_has_read_the_log() {
    for mode in [Mode::Soft, Mode::Hard] {
        for scope in scopes() {
            for catches_up in [true, false] {
                let cluster = Cluster::new();
                let one = cluster.tagged().await;
                let other = cluster.cache();
                cluster.found(&other, "key").await;
                assert!(other.get("key").is_some());
                purged(&one, Purge { scope: scope.clone(), mode, wait: Tier::Memory, asked: None })
                    .await;
                match catches_up {
                    true => other.catch_up().await.unwrap(),
                    // What misses learns of it as well.
                    false => cluster.origin.fill(&other, "elsewhere", "value").await,
                }
                assert_eq!(other.get("key"), None, "{scope}, {mode}");
                let stale =
                    other.entry("key").is_some_and(|entry| entry.freshness != Freshness::Expired);
                assert_eq!(stale, mode == Mode::Soft, "{scope}, {mode}");
                assert_eq!(other.stats().lower.purges_learnt, 1);
                cluster.is_fetched_anew(&other, &scope.to_string()).await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_own_purge_that_comes_back_purges_nothing_that_is_newer() {
    let cluster = Cluster::new();
    let cache = cluster.tagged().await;
    purged(&cache, Purge::tag("tag").hard()).await;
    cluster.fetch(&cache, "new").await;
    cache.catch_up().await.unwrap();
    assert_eq!(cache.get("key").as_deref(), Some("new"));
    assert_eq!((cache.stats().purges, cache.stats().lower.purges_learnt), (1, 0));
    // It was fetched after the purge was acknowledged, and lies below.
    assert_eq!(cluster.found(&cluster.cache(), "key").await.value, "new");
}

#[tokio::test(start_paused = true)]
async fn what_a_soft_purge_named_below_is_a_rescue_and_its_window_began_with_the_purge() {
    let cluster = Cluster::new();
    let one = cluster.tagged().await;
    purged(&one, Purge::tag("tag")).await;
    for (age, serves) in [(50, true), (61, false)] {
        let other = cluster.cache();
        let since = secs(if age == 50 { 50 } else { 11 });
        cluster.clock.advance(since);
        let reader = cluster.origin.ask(&other, "key");
        settle().await;
        cluster.origin.fail("down");
        let answer = reader.await.unwrap();
        assert_eq!(answer.is_ok(), serves, "{age} s after the purge");
        if let Ok(answer) = answer {
            assert!(matches!(answer.source, AnswerSource::Stale(_)));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_inserted_is_not_undone_by_what_lies_below() {
    let cluster = Cluster::new();
    let one = cluster.tagged().await;
    cluster.tier.hold(Call::Append, Point::Request);
    one.insert("key", "inserted".to_owned());
    // It leaves memory without a purge.
    one.resize(0);
    one.resize(1 << 20);
    cluster.is_fetched_anew(&one, "not acknowledged").await;
    cluster.tier.release_all();
    settle().await;
    cluster.is_fetched_anew(&cluster.cache(), "acknowledged").await;
}

#[tokio::test(start_paused = true)]
async fn too_many_outstanding_purges_become_one_of_everything() {
    let cluster = Cluster::new();
    let settings = Settings { max_outstanding: 3, ..Settings::default() };
    let builder = cluster.builder().lower_with(cluster.tier.clone(), Text, settings);
    cluster.filled("elsewhere", "old").await;
    let (cache, other) = (builder.build(), cluster.cache());
    cluster.tier.hold(Call::Append, Point::Request);
    let waiting = tokio::spawn({
        let cache = cache.clone();
        async move { purged(&cache, Purge::key("first")).await }
    });
    settle().await;
    for number in 0..3 {
        cache.remove(format!("{number}"));
    }
    let stats = cache.stats().lower;
    assert_eq!((stats.overflows, stats.purges_outstanding), (1, 1));
    // Nobody has purged this key, but nobody can tell any more.
    cluster.origin.fill(&cache, "elsewhere", "new").await;
    cluster.tier.release_all();
    tokio::time::sleep(secs(1)).await;
    assert_eq!(shared(&waiting.await.unwrap()), &TierState::Applied { by: 1, of: 1 });
    assert_eq!(cache.stats().lower.purges_outstanding, 0);
    cluster.origin.fill(&other, "elsewhere", "newer").await;
    settle().await;
    cache.resize(0);
    cache.resize(1 << 20);
    assert_eq!(cluster.found(&cache, "elsewhere").await.value, "newer", "it is used again");
}

#[tokio::test(start_paused = true)]
async fn a_tier_that_lost_its_log_serves_nothing_of_before_and_memory_lets_go() {
    let cluster = Cluster::new();
    let one = cluster.tagged().await;
    let other = cluster.cache();
    cluster.found(&other, "key").await;
    // Another process purges, and then the tier is set up again from a copy.
    purged(&cluster.cache(), Purge::key("key").hard()).await;
    cluster.fetch(&cluster.cache(), "old").await;
    cluster.tier.begin_another_log();
    assert_eq!(cluster.tier.records(), 1);
    for cache in [&one, &other] {
        cache.catch_up().await.unwrap();
        assert_eq!((cache.get("key"), cache.stats().lower.gaps), (None, 1));
    }
    cluster.is_fetched_anew(&one, "the record is of another log").await;
    settle().await;
    assert_eq!(cluster.found(&other, "key").await.value, "new", "this one is of this log");
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_a_log_that_has_ended_meanwhile_is_of_no_use() {
    for knows_the_log in [true, false] {
        let cluster = Cluster::new();
        cluster.tagged().await;
        let cache = cluster.cache();
        if knows_the_log {
            cache.catch_up().await.unwrap();
        }
        cluster.tier.hold(Call::Heads, Point::Answer);
        let before = cluster.origin.ask(&cache, "key");
        settle().await;
        cluster.tier.begin_another_log();
        let receipt = purged(&cache, Purge::key("key").hard()).await;
        assert_eq!(shared(&receipt), &TierState::Applied { by: 1, of: 1 });
        cluster.tier.release_all();
        settle().await;
        assert_eq!(cluster.origin.calls(), 2, "the log was known: {knows_the_log}");
        cluster.origin.answer("new");
        assert_eq!(before.await.unwrap().unwrap().value, "new");
    }
}

#[tokio::test(start_paused = true)]
async fn a_purge_under_way_is_made_again_where_the_tier_lost_its_log() {
    for point in [Point::Request, Point::Answer] {
        let cluster = Cluster::new();
        let one = cluster.tagged().await;
        cluster.tier.hold(Call::Append, point);
        let purging = tokio::spawn({
            let one = one.clone();
            async move { purged(&one, Purge::key("key").hard()).await }
        });
        settle().await;
        cluster.tier.begin_another_log();
        cluster.tier.release_all();
        assert_eq!(shared(&purging.await.unwrap()), &TierState::Applied { by: 1, of: 1 });
        // One that was acknowledged in the log that ended need not be in this one: nothing of before is used.
        let purges = cluster.tier.tail(None).await.unwrap().purges.len();
        assert_eq!(purges, usize::from(point == Point::Request));
        cluster.is_fetched_anew(&one, "another log").await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_was_away_while_the_log_was_trimmed_lets_all_go() {
    let cluster = Cluster::new();
    let one = cluster.tagged().await;
    let other = cluster.cache();
    cluster.found(&other, "key").await;
    for number in 0..10 {
        purged(&one, Purge::key(format!("{number}"))).await;
    }
    purged(&one, Purge::key("key").hard()).await;
    cluster.tier.trim_log(0);
    other.catch_up().await.unwrap();
    assert_eq!((other.get("key"), other.stats().lower.gaps), (None, 1));
    cluster.is_fetched_anew(&other, "trimmed").await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_makes_no_second_purge() {
    let cluster = Cluster::new();
    let cache = cluster.tagged().await;
    cluster.tier.lose_answers(true);
    let purging = tokio::spawn({
        let cache = cache.clone();
        async move { purged(&cache, Purge::key("key").hard()).await }
    });
    settle().await;
    cluster.tier.lose_answers(false);
    assert_eq!(shared(&purging.await.unwrap()), &TierState::Applied { by: 1, of: 1 });
    assert_eq!(cluster.tier.tail(None).await.unwrap().purges.len(), 1);
    assert!(cluster.tier.calls(Call::Append) >= 1);
}

#[tokio::test(start_paused = true)]
async fn a_receipt_says_how_far_the_tier_is() {
    let cluster = Cluster::new();
    let cache = cluster.tagged().await;
    let receipt = cache.purge(Purge::key("key")).await.unwrap();
    assert_eq!((shared(&receipt), receipt.number), (&TierState::Queued, 1));
    let receipt = purged(&cache, Purge::key("key")).await;
    assert_eq!(shared(&receipt), &TierState::Applied { by: 1, of: 1 });
    cluster.tier.go_away();
    let began = tokio::time::Instant::now();
    let receipt = purged(&cache, Purge::key("key")).await;
    let TierState::Failed { reason } = shared(&receipt) else { panic!("{receipt}") };
    assert!(reason.contains("lower tier"), "{reason}");
    assert_eq!(began.elapsed(), secs(5), "it is waited for no longer");
    cluster.tier.come_back();
    tokio::time::sleep(secs(2)).await;
    assert_eq!(cache.stats().lower.purges_outstanding, 0, "it was sent in the end");
    let refused = cache.purge(Purge::key("key").wait(Tier::Cdn)).await;
    assert_eq!(refused, Err(PurgeError::NoTier { tier: Tier::Cdn }));
}

#[tokio::test(start_paused = true)]
async fn a_purge_is_sent_though_nobody_waits_for_it() {
    let cluster = Cluster::new();
    let cache = cluster.tagged().await;
    cluster.tier.hold(Call::Append, Point::Request);
    let purging = tokio::spawn({
        let cache = cache.clone();
        async move { purged(&cache, Purge::key("key").hard()).await }
    });
    settle().await;
    purging.abort();
    settle().await;
    cluster.tier.release_all();
    settle().await;
    assert_eq!(cache.stats().lower.purges_outstanding, 0);
    assert_eq!(cluster.tier.tail(None).await.unwrap().purges.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_shut_down_waits_until_purges_are_acknowledged() {
    let cluster = Cluster::new();
    let cache = cluster.tagged().await;
    cluster.tier.go_away();
    cache.remove("key");
    let shut_down = tokio::spawn({
        let cache = cache.clone();
        async move { cache.shut_down(MINUTE).await }
    });
    tokio::time::sleep(secs(10)).await;
    assert!(!shut_down.is_finished());
    cluster.tier.come_back();
    assert!(shut_down.await.unwrap());
    assert_eq!(cluster.tier.tail(None).await.unwrap().purges.len(), 1);
    // Whoever waits for it sends a later one himself.
    let receipt = purged(&cache, Purge::key("key")).await;
    assert_eq!(shared(&receipt), &TierState::Applied { by: 1, of: 1 });
}

#[tokio::test(start_paused = true)]
async fn who_asks_a_cache_that_no_purge_waits_for_shares_no_fetch_that_began_before() {
    let cluster = Cluster::new();
    let _ = cluster.tier.clone().with_readers();
    cluster.tier.go_away();
    let cache = cluster.cache();
    let first = cluster.origin.ask(&cache, "key");
    settle().await;
    // Another process may have purged the key meanwhile, and was told that nobody has what is older.
    let others = [cluster.origin.ask(&cache, "key"), cluster.origin.ask(&cache, "key")];
    settle().await;
    assert_eq!(cluster.origin.calls(), 1);
    cluster.origin.answer("old");
    assert_eq!(first.await.unwrap().unwrap().value, "old");
    settle().await;
    assert_eq!(cluster.origin.calls(), 2, "one for both of them");
    cluster.origin.answer("new");
    for other in others {
        assert_eq!(other.await.unwrap().unwrap().value, "new");
    }
    assert_eq!(cluster.origin.calls(), 2);

    cluster.tier.come_back();
    tokio::time::sleep(secs(3)).await;
    assert!(cache.stats().lower.is_trusted);
    let readers = [cluster.origin.ask(&cache, "other"), cluster.origin.ask(&cache, "other")];
    settle().await;
    cluster.origin.answer("shared");
    for reader in readers {
        assert_eq!(reader.await.unwrap().unwrap().value, "shared");
    }
    assert_eq!(cluster.origin.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn who_has_read_a_log_that_ended_holds_nothing_of_the_next() {
    let cluster = Cluster::new();
    let tier = cluster.tier.clone().with_readers();
    let readers = tier.readers().unwrap();
    let reader = Reader { id: 1, name: "it".to_owned() };
    let end = readers.renew(&reader, None).await.unwrap();
    readers.renew(&reader, Some(end)).await.unwrap();
    assert!(readers.holds(end, secs(0)).await.unwrap().missing.is_empty());
    tier.begin_another_log();
    let purge = LowerPurge {
        id: PurgeId { source: 2, number: 1 },
        scopes: vec![Scope::Everything],
        mode: Mode::Hard,
    };
    let next = tier.append(&[purge]).await.unwrap();
    assert_eq!(readers.holds(next, secs(1)).await.unwrap().missing, ["it"]);
    readers.renew(&reader, Some(next)).await.unwrap();
    assert!(readers.holds(next, secs(0)).await.unwrap().missing.is_empty());
    assert!(readers.holds(end, secs(0)).await.unwrap().missing.is_empty(), "and of that before");
}
