//! Several keys in one call: one fetch for those that are missing, joined to the flights of those that are not.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use larder::{Cache, FetchError, Fetched, Lifetime, lower::Call};
use tokio::{sync::oneshot, task::JoinHandle};

use crate::{
    below::Cluster,
    support::{MINUTE, Origin, secs, settle, shapes},
};

type Reply = Result<&'static str, &'static str>;
/// The keys that a call asks for, and where its answer goes.
type Waiting = (String, oneshot::Sender<Reply>);
type Asked = JoinHandle<Result<BTreeMap<String, String>, FetchError<&'static str>>>;

/// An origin that is asked for several keys at once, and answers each call when the test says so: `"a=1 b=2"`.
#[derive(Clone, Default)]
struct Batches {
    calls: Arc<AtomicUsize>,
    waiting: Arc<Mutex<VecDeque<Waiting>>>,
}

impl Batches {
    fn ask(&self, cache: &Cache<String>, keys: &'static str) -> Asked {
        let (cache, batches) = (cache.clone(), self.clone());
        tokio::spawn(async move {
            let fetch = move |missing| batches.call(missing);
            let found = cache.try_get_many_or_fetch(keys.split(' '), fetch).await?;
            Ok(found.into_iter().map(|(key, value)| (key.to_string(), value)).collect())
        })
    }

    async fn call(
        self,
        missing: Vec<Arc<str>>,
    ) -> Result<Vec<(&'static str, Fetched<String>)>, &'static str> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let (reply, replied) = oneshot::channel();
        self.waiting.lock().unwrap().push_back((missing.join(" "), reply));
        let pairs = replied.await.expect("the script answers every call it lets live")?;
        let pair = |pair: &'static str| {
            let (key, value) = pair.split_once('=').unwrap();
            (key, Fetched::new(value.to_owned()).tags([format!("tag of {key}")]))
        };
        Ok(pairs.split_whitespace().map(pair).collect())
    }

    /// Answers the oldest call that waits; tells what it asked for.
    fn reply(&self, reply: Reply) -> String {
        let (missing, call) = self.waiting.lock().unwrap().pop_front().expect("a call waits");
        assert!(call.send(reply).is_ok(), "the call no longer waits");
        missing
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

fn values(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

async fn found(asked: Asked) -> BTreeMap<String, String> {
    asked.await.unwrap().unwrap()
}

#[tokio::test(start_paused = true)]
async fn one_fetch_brings_all_that_are_missing_each_once_and_in_order() {
    for shape in shapes() {
        let (cache, batches) = (shape.builder.build(), Batches::default());
        cache.insert("b", "stored".to_owned());
        let asked = batches.ask(&cache, "c b a c a b");
        settle().await;
        assert_eq!(batches.reply(Ok("a=1 c=3")), "c a", "{}", shape.name);
        assert_eq!(found(asked).await, values(&[("a", "1"), ("b", "stored"), ("c", "3")]));
        assert_eq!(cache.get("a").as_deref(), Some("1"));
        let stats = cache.stats();
        assert_eq!((stats.fetches, stats.misses, stats.hits), (1, 2, 2), "{}", shape.name);
        assert_eq!(found(batches.ask(&cache, "a b c")).await.len(), 3);
        assert_eq!(batches.calls(), 1, "nothing is missing any more");
    }
}

#[tokio::test(start_paused = true)]
async fn no_keys_need_no_fetch() {
    for shape in shapes() {
        let cache = shape.builder.build();
        let fetch = async |_| -> Result<[(&str, String); 0], &str> { unreachable!() };
        assert!(cache.try_get_many_or_fetch([""; 0], fetch).await.unwrap().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_in_the_answer_is_not_in_the_result_and_what_was_not_asked_for_is_not_stored() {
    for shape in shapes() {
        let (cache, batches) = (shape.builder.build(), Batches::default());
        let asked = batches.ask(&cache, "a b");
        settle().await;
        batches.reply(Ok("a=first a=second other=value"));
        assert_eq!(found(asked).await, values(&[("a", "first")]), "{}", shape.name);
        assert!(cache.get("other").is_none());
        let again = batches.ask(&cache, "a b");
        settle().await;
        assert_eq!(batches.reply(Ok("b=2")), "b", "{}: it is asked for anew", shape.name);
        assert_eq!(found(again).await.len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_under_way_is_joined_and_what_it_fetches_is_joined_by_others() {
    for shape in shapes() {
        let (cache, batches, origin) = (shape.builder.build(), Batches::default(), Origin::new());
        let single = origin.ask(&cache, "a");
        settle().await;
        let several = batches.ask(&cache, "a b c");
        settle().await;
        let follower = origin.ask(&cache, "b");
        let others = batches.ask(&cache, "c a b");
        settle().await;
        assert_eq!(batches.reply(Ok("b=2 c=3")), "b c", "{}", shape.name);
        settle().await;
        assert_eq!(follower.await.unwrap().unwrap().value, "2", "it waits for its own key alone");
        assert!(!several.is_finished());
        origin.answer("1");
        let all = values(&[("a", "1"), ("b", "2"), ("c", "3")]);
        assert_eq!((found(several).await, found(others).await), (all.clone(), all));
        assert_eq!(single.await.unwrap().unwrap().value, "1");
        assert_eq!((origin.calls(), batches.calls()), (1, 1), "{}", shape.name);
    }
}

#[tokio::test(start_paused = true)]
async fn callers_whose_keys_overlap_in_any_order_all_end() {
    const ORDERS: [&str; 6] = ["a b c", "c b a", "b c d", "d a", "c a d", "d c b a"];
    for turns in [1, 2, 1024] {
        for shape in shapes() {
            let cache = shape.builder.max_concurrent_fetches(turns).build();
            let asked: Vec<_> = (0..60)
                .map(|nth| {
                    let (cache, keys) = (cache.clone(), ORDERS[nth % ORDERS.len()]);
                    tokio::spawn(async move {
                        let fetch = async move |missing: Vec<Arc<str>>| {
                            tokio::time::sleep(Duration::from_millis(nth as u64 % 7)).await;
                            Ok::<_, &str>(
                                missing.into_iter().map(|key| (key.clone(), key.to_string())),
                            )
                        };
                        let found = cache.try_get_many_or_fetch(keys.split(' '), fetch).await;
                        assert_eq!(found.unwrap().len(), keys.split(' ').count());
                    })
                })
                .collect();
            let all = async {
                for asked in asked {
                    asked.await.unwrap();
                }
            };
            let ended = tokio::time::timeout(secs(1), all).await;
            assert!(ended.is_ok(), "{}, {turns} turns", shape.name);
            assert!(cache.stats().fetches <= 4, "{}: at most one for each key", shape.name);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_strands_nobody_and_its_values_are_stored() {
    for shape in shapes() {
        let (cache, batches, origin) = (shape.builder.build(), Batches::default(), Origin::new());
        let leaves = batches.ask(&cache, "a b c");
        settle().await;
        let follower = origin.ask(&cache, "b");
        settle().await;
        leaves.abort();
        settle().await;
        batches.reply(Ok("a=1 b=2"));
        assert_eq!(follower.await.unwrap().unwrap().value, "2", "{}", shape.name);
        assert_eq!((cache.get("a").as_deref(), cache.get("c")), (Some("1"), None));
        origin.fill(&cache, "c", "3").await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_key_that_the_answer_leaves_out_fetches_it() {
    for shape in shapes() {
        let (cache, batches, origin) = (shape.builder.build(), Batches::default(), Origin::new());
        let several = batches.ask(&cache, "a b");
        settle().await;
        let follower = origin.ask(&cache, "b");
        settle().await;
        batches.reply(Ok("a=1"));
        assert_eq!(found(several).await, values(&[("a", "1")]));
        settle().await;
        origin.answer("2");
        assert_eq!(follower.await.unwrap().unwrap().value, "2", "{}", shape.name);
    }
}

#[tokio::test(start_paused = true)]
async fn a_purge_of_one_key_in_between_is_of_that_key_alone() {
    type Purge = fn(&Cache<String>);
    let purges: [Purge; 3] = [
        |cache| _ = cache.remove("b"),
        |cache| cache.purge_tag("tag of b"),
        |cache| _ = cache.insert("b", "inserted".to_owned()),
    ];
    for (nth, purge) in purges.into_iter().enumerate() {
        for shape in shapes() {
            let (cache, batches, origin) =
                (shape.builder.build(), Batches::default(), Origin::new());
            let several = batches.ask(&cache, "a b c");
            settle().await;
            purge(&cache);
            let later = origin.ask(&cache, "b");
            settle().await;
            batches.reply(Ok("a=1 b=old c=3"));
            let all = values(&[("a", "1"), ("b", "old"), ("c", "3")]);
            assert_eq!(found(several).await, all, "it asked before");
            assert_eq!(cache.get("a").as_deref(), Some("1"), "{}, {nth}", shape.name);
            assert_eq!(cache.get("c").as_deref(), Some("3"), "{}, {nth}", shape.name);
            assert_ne!(cache.get("b").as_deref(), Some("old"), "{}, {nth}", shape.name);
            settle().await;
            if origin.waiting() > 0 {
                origin.answer("new");
            }
            assert_ne!(later.await.unwrap().unwrap().value, "old", "{}, {nth}", shape.name);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_began_before_a_purge_by_tag_is_not_handed_to_who_asks_after_it() {
    for shape in shapes() {
        let (cache, batches) = (shape.builder.build(), Batches::default());
        let before = batches.ask(&cache, "a b");
        settle().await;
        cache.purge_tag("tag of a");
        let after = batches.ask(&cache, "a c");
        settle().await;
        batches.reply(Ok("a=old b=2"));
        assert_eq!(batches.reply(Ok("a=new c=3")), "a c", "{}", shape.name);
        assert_eq!(found(before).await["a"], "old");
        assert_eq!(found(after).await, values(&[("a", "new"), ("c", "3")]), "{}", shape.name);
        assert_eq!(cache.get("a").as_deref(), Some("new"));
    }
}

#[tokio::test(start_paused = true)]
async fn however_many_keys_it_is_for_a_fetch_takes_one_turn() {
    for shape in shapes() {
        let cache = shape.builder.max_concurrent_fetches(2).build();
        let (batches, origin) = (Batches::default(), Origin::new());
        let several = batches.ask(&cache, "a b c d");
        settle().await;
        let single = origin.ask(&cache, "e");
        settle().await;
        assert_eq!(origin.waiting(), 1, "{}: there is a second turn", shape.name);
        let waits = origin.ask(&cache, "f");
        settle().await;
        assert_eq!(origin.waiting(), 1, "{}: and no third", shape.name);
        batches.reply(Ok("a=1 c=3"));
        assert_eq!(found(several).await.len(), 2);
        settle().await;
        assert_eq!(origin.waiting(), 2);
        origin.answer("5");
        origin.answer("6");
        single.await.unwrap().unwrap();
        waits.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_lies_below_is_not_fetched_and_does_not_end_the_turn_of_what_is() {
    let cluster = Cluster::new();
    cluster.filled("b", "below").await;
    let other = cluster.builder().max_concurrent_fetches(1).build();
    let batches = Batches::default();
    let several = batches.ask(&other, "a b c");
    settle().await;
    let waits = cluster.origin.ask(&other, "d");
    settle().await;
    assert_eq!(cluster.origin.waiting(), 0, "there is but one turn");
    assert_eq!(other.get("b").as_deref(), Some("below"), "it waits for nobody");
    assert_eq!(batches.reply(Ok("a=1 c=3")), "a c");
    assert_eq!(found(several).await, values(&[("a", "1"), ("b", "below"), ("c", "3")]));
    settle().await;
    cluster.origin.answer("4");
    waits.await.unwrap().unwrap();
    settle().await;
    let third = cluster.cache();
    assert_eq!(found(batches.ask(&third, "c b a")).await.len(), 3);
    assert_eq!(batches.calls(), 1, "all were written");
}

#[tokio::test(start_paused = true)]
async fn two_processes_whose_keys_overlap_do_not_wait_for_each_others_rights() {
    let cluster = Cluster::new();
    let (one, other) = (cluster.cache(), cluster.cache());
    let batches = Batches::default();
    cluster.tier.hold(Call::Heads, larder::lower::Point::Answer);
    let first = batches.ask(&one, "a b");
    let second = batches.ask(&other, "b a");
    settle().await;
    cluster.tier.release_all();
    settle().await;
    assert_eq!(batches.calls(), 2);
    batches.reply(Ok("a=1 b=2"));
    batches.reply(Ok("a=1 b=2"));
    assert_eq!(found(first).await, found(second).await);
}

#[tokio::test(start_paused = true)]
async fn an_error_is_everybodys_who_waits_and_what_is_stale_stands_in_for_it() {
    for shape in shapes() {
        let cache = shape.builder.stale_if_error(MINUTE).build();
        let (batches, origin) = (Batches::default(), Origin::new());
        cache.insert("a", "stale".to_owned());
        shape.clock.advance(MINUTE);
        let some_new = batches.ask(&cache, "a b");
        let all_stale = batches.ask(&cache, "a");
        let single = origin.ask(&cache, "b");
        settle().await;
        assert_eq!(batches.reply(Err("down")), "a b");
        let failed = some_new.await.unwrap();
        assert!(matches!(failed, Err(FetchError::Failed(error)) if *error == "down"));
        assert!(
            matches!(single.await.unwrap(), Err(FetchError::Failed(error)) if *error == "down")
        );
        assert_eq!(found(all_stale).await, values(&[("a", "stale")]), "{}", shape.name);
        assert_eq!(cache.stats().fetch_failures, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_is_remembered_is_that_of_several_too() {
    for shape in shapes() {
        let cache = shape.builder.negative_ttl(secs(5)).build();
        let batches = Batches::default();
        let asked = batches.ask(&cache, "a b");
        settle().await;
        batches.reply(Err("down"));
        assert!(asked.await.unwrap().is_err());
        let again = batches.ask(&cache, "c b").await.unwrap();
        assert!(matches!(again, Err(FetchError::Failed(error)) if *error == "down"));
        assert_eq!((batches.calls(), cache.stats().negative_hits), (1, 1), "{}", shape.name);
    }
}

#[tokio::test(start_paused = true)]
async fn past_the_hard_timeout_all_are_told() {
    for shape in shapes() {
        let cache = shape.builder.hard_timeout(secs(1)).build();
        let (batches, origin) = (Batches::default(), Origin::new());
        let several = batches.ask(&cache, "a b");
        settle().await;
        let single = origin.ask(&cache, "b");
        let timed_out =
            |failed| matches!(failed, Err(FetchError::Timeout { limit }) if limit == secs(1));
        assert!(timed_out(several.await.unwrap().map(drop)), "{}", shape.name);
        assert!(timed_out(single.await.unwrap().map(drop)), "{}", shape.name);
    }
}

#[tokio::test(start_paused = true)]
async fn past_the_soft_timeout_all_are_served_stale_if_all_can_be() {
    for has_all in [true, false] {
        for shape in shapes() {
            let cache = shape.builder.stale_if_error(MINUTE).soft_timeout(secs(1)).build();
            let batches = Batches::default();
            cache.insert("a", "old".to_owned());
            if has_all {
                cache.insert("b", "old".to_owned());
            }
            shape.clock.advance(MINUTE);
            let asked = batches.ask(&cache, "a b");
            tokio::time::sleep(secs(2)).await;
            assert_eq!(asked.is_finished(), has_all, "{}", shape.name);
            batches.reply(Ok("a=new b=new"));
            let value = if has_all { "old" } else { "new" };
            assert_eq!(found(asked).await, values(&[("a", value), ("b", value)]));
            settle().await;
            assert_eq!(cache.get("b").as_deref(), Some("new"), "{}", shape.name);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_fetch_or_of_what_it_answers_is_told_to_all() {
    for in_answer in [false, true] {
        for shape in shapes() {
            let (cache, origin) = (shape.builder.build(), Origin::new());
            let several = cache.try_get_many_or_fetch(["a", "b"], async move |missing| {
                settle().await;
                assert!(in_answer, "a panic of the fetch");
                Ok::<_, &str>(
                    missing
                        .into_iter()
                        .map(|key: Arc<str>| -> (Arc<str>, String) { panic!("a panic at {key}") }),
                )
            });
            let single = origin.ask(&cache, "b");
            assert!(matches!(several.await, Err(FetchError::Panicked)), "{}", shape.name);
            settle().await;
            if origin.waiting() == 0 {
                assert!(matches!(single.await.unwrap(), Err(FetchError::Panicked)));
            } else {
                origin.answer("it came first");
            }
            origin.fill(&cache, "a", "1").await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn too_many_keys_are_refused_and_leave_nothing_behind() {
    const MOST: usize = 1024;
    for shape in shapes() {
        let cache = shape.builder.max_concurrent_fetches(1).build();
        let keys = |count: usize| (0..count).map(|nth| format!("key {nth}"));
        let fetch = async |missing: Vec<Arc<str>>| {
            Ok::<_, &str>(missing.into_iter().map(|key| (key, String::new())))
        };
        let refused = cache.try_get_many_or_fetch(keys(MOST + 1), fetch).await;
        assert!(matches!(refused, Err(FetchError::TooMany)), "{}", shape.name);
        let most = cache.try_get_many_or_fetch(keys(MOST), fetch).await;
        assert_eq!(most.unwrap().len(), MOST, "{}", shape.name);
    }
}

#[tokio::test(start_paused = true)]
async fn a_fetch_of_several_that_needs_one_of_them_is_told_so() {
    for shape in shapes() {
        let cache = shape.builder.build();
        let inner = cache.clone();
        let fetch = async move |_| {
            let again = inner
                .try_get_many_or_fetch(["c", "b"], async |_| Ok::<[(&str, String); 0], &str>([]));
            let said = match again.await {
                Err(FetchError::Recursive) => "recursive",
                _ => "something else",
            };
            Ok::<_, &str>([("a", said.to_owned())])
        };
        let found = cache.try_get_many_or_fetch(["a", "b"], fetch).await.unwrap();
        assert_eq!(found["a"], "recursive", "{}", shape.name);
    }
}

#[tokio::test(start_paused = true)]
async fn what_may_be_served_while_it_is_refreshed_is_and_one_fetch_refreshes_all() {
    for shape in shapes() {
        let cache = shape.builder.stale_while_revalidate(MINUTE).build();
        let batches = Batches::default();
        let lifetime = Lifetime::fresh_for(2 * MINUTE);
        cache.insert_with("fresh", "old".to_owned(), lifetime, [""; 0]);
        cache.insert("a", "old".to_owned());
        cache.insert("b", "old".to_owned());
        shape.clock.advance(MINUTE);
        let served = found(batches.ask(&cache, "a fresh b")).await;
        assert_eq!(served, values(&[("a", "old"), ("b", "old"), ("fresh", "old")]));
        settle().await;
        assert_eq!(found(batches.ask(&cache, "b a")).await.len(), 2, "it is under way");
        settle().await;
        assert_eq!(batches.reply(Ok("a=new b=new")), "a b", "{}", shape.name);
        settle().await;
        assert_eq!(cache.get("b").as_deref(), Some("new"), "{}", shape.name);
        assert_eq!((batches.calls(), cache.stats().refreshes), (1, 2));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_stale_is_fetched_along_where_something_is_missing() {
    for shape in shapes() {
        let cache = shape.builder.stale_while_revalidate(MINUTE).build();
        let batches = Batches::default();
        cache.insert("a", "old".to_owned());
        shape.clock.advance(MINUTE);
        let asked = batches.ask(&cache, "a b");
        settle().await;
        assert_eq!(batches.reply(Ok("a=new b=2")), "b a", "{}", shape.name);
        assert_eq!(found(asked).await, values(&[("a", "new"), ("b", "2")]), "{}", shape.name);
    }
}

#[tokio::test(start_paused = true)]
async fn who_waited_in_vain_fetches_if_it_has_not_and_else_says_so() {
    for has_fetched in [false, true] {
        for shape in shapes() {
            let (cache, batches) = (shape.builder.build(), Batches::default());
            let (reply, replied) = oneshot::channel::<()>();
            let other = tokio::spawn({
                let cache = cache.clone();
                let fetch = async move || {
                    replied.await.unwrap();
                    Err::<String, u32>(7)
                };
                async move { cache.try_get_or_fetch("a", fetch).await }
            });
            settle().await;
            let asked = batches.ask(&cache, if has_fetched { "a b" } else { "a" });
            settle().await;
            if has_fetched {
                batches.reply(Ok("b=2"));
            }
            settle().await;
            reply.send(()).unwrap();
            assert!(other.await.unwrap().is_err());
            settle().await;
            if has_fetched {
                // An error of another type, and the one fetch is over.
                assert!(
                    matches!(asked.await.unwrap(), Err(FetchError::Abandoned)),
                    "{}",
                    shape.name
                );
                assert_eq!(cache.get("b").as_deref(), Some("2"), "what could be fetched is stored");
            } else {
                batches.reply(Ok("a=1"));
                assert_eq!(found(asked).await, values(&[("a", "1")]), "{}", shape.name);
            }
        }
    }
}

#[test]
fn outside_a_runtime_it_is_fetched_in_its_callers_own_future() {
    for shape in shapes() {
        let cache = shape.builder.build();
        let asked = cache.try_get_many_or_fetch(["a", "b"], async |missing: Vec<Arc<str>>| {
            Ok::<_, &str>(missing.into_iter().map(|key| (key.clone(), key.to_string())))
        });
        let found = futures_util::FutureExt::now_or_never(asked).expect("it waits for nobody");
        assert_eq!(found.unwrap().len(), 2, "{}", shape.name);
    }
}
