//! The previous value: a fetch is handed what it is to replace, and may say that it has not changed.

use std::sync::{Arc, Mutex};

use larder::{AnswerSource, Cache, Fetched, Previous, reason::Reason};
use tokio::task::JoinHandle;

use crate::{
    below::Cluster,
    support::{MINUTE, Origin, secs, settle, shapes},
};

/// What a fetch was handed last: the value and its age in seconds.
type Handed = Arc<Mutex<Option<(String, u64)>>>;

/// A reader in a task of its own, whose fetch answers "unchanged" where the origin says so.
fn ask(origin: &Origin, cache: &Cache<String>, key: &str, handed: &Handed) -> JoinHandle<String> {
    let (cache, origin, key, handed) =
        (cache.clone(), origin.clone(), key.to_owned(), Arc::clone(handed));
    let fetch = async move |previous: Option<Previous<String>>| {
        *handed.lock().unwrap() =
            previous.as_ref().map(|it| (String::clone(it), it.age().as_secs()));
        let fetched = origin.call().await?;
        Ok::<_, &str>(match previous {
            Some(previous) if is_unchanged(&fetched) => previous.not_modified(),
            _ => fetched,
        })
    };
    tokio::spawn(async move { cache.read(key).fetch_with(fetch).await.unwrap() })
}

fn is_unchanged(fetched: &Fetched<String>) -> bool {
    format!("{fetched:?}").contains("unchanged")
}

fn handed(handed: &Handed) -> Option<(String, u64)> {
    handed.lock().unwrap().take()
}

#[tokio::test(start_paused = true)]
async fn a_fetch_is_handed_what_it_is_to_replace_and_may_renew_it() {
    for shape in shapes() {
        let (cache, origin, seen) = (shape.builder.build(), Origin::new(), Handed::default());
        let first = ask(&origin, &cache, "key", &seen);
        settle().await;
        origin.answer("value");
        assert_eq!((first.await.unwrap().as_str(), handed(&seen)), ("value", None));
        for _ in 0..3 {
            shape.clock.advance(MINUTE + secs(1));
            let next = ask(&origin, &cache, "key", &seen);
            settle().await;
            origin.answer("unchanged");
            assert_eq!(next.await.unwrap(), "value", "{}", shape.name);
            assert_eq!(handed(&seen), Some(("value".to_owned(), 61)), "{}", shape.name);
            let entry = cache.entry("key").unwrap();
            assert_eq!((entry.age, entry.lifetime.ttl()), (secs(0), MINUTE), "it lives anew");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_purged_is_not_handed_to_a_fetch_and_what_was_marked_stale_is() {
    type Purge = fn(&Cache<String>);
    let purges: [(Purge, bool); 8] = [
        (|cache| _ = cache.remove("key"), false),
        (|cache| cache.purge_tag("tag"), false),
        (|cache| _ = cache.purge_prefix("k"), false),
        (|cache| _ = cache.clear(), false),
        (|cache| _ = cache.soft_remove("key"), true),
        (|cache| cache.soft_purge_tag("tag"), true),
        (|cache| _ = cache.soft_purge_prefix("k"), true),
        (|cache| cache.soft_clear(), true),
    ];
    for (nth, (purge, is_handed)) in purges.into_iter().enumerate() {
        for shape in shapes() {
            let (cache, origin, seen) = (shape.builder.build(), Origin::new(), Handed::default());
            let first = ask(&origin, &cache, "key", &seen);
            settle().await;
            origin.reply(Ok(Fetched::new("value".to_owned()).tags(["tag"])));
            first.await.unwrap();
            shape.clock.advance(secs(1));
            purge(&cache);
            let next = ask(&origin, &cache, "key", &seen);
            settle().await;
            assert_eq!(handed(&seen).is_some(), is_handed, "{}: purge {nth}", shape.name);
            origin.answer("unchanged");
            let expected = if is_handed { "value" } else { "unchanged" };
            assert_eq!(next.await.unwrap(), expected);
            assert_eq!(cache.get("key").as_deref(), Some(expected), "fresh again");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_purge_comes_over_is_not_renewed() {
    type Purge = fn(&Cache<String>);
    let purges: [Purge; 4] = [
        |cache| _ = cache.remove("key"),
        |cache| cache.purge_tag("tag"),
        |cache| _ = cache.purge_prefix("k"),
        |cache| _ = cache.clear(),
    ];
    for (nth, purge) in purges.into_iter().enumerate() {
        for shape in shapes() {
            let (cache, origin, seen) = (shape.builder.build(), Origin::new(), Handed::default());
            let first = ask(&origin, &cache, "key", &seen);
            settle().await;
            origin.reply(Ok(Fetched::new("value".to_owned()).tags(["tag"])));
            first.await.unwrap();
            shape.clock.advance(MINUTE);
            let next = ask(&origin, &cache, "key", &seen);
            settle().await;
            purge(&cache);
            origin.answer("unchanged");
            next.await.unwrap();
            assert!(cache.get("key").is_none(), "{}: purge {nth}", shape.name);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_renewed_keeps_its_tags_unless_it_gets_others() {
    for renames in [false, true] {
        for shape in shapes() {
            let cache = shape.builder.build();
            let first = async |_: Option<Previous<String>>| {
                Ok::<_, &str>(Fetched::new("value".to_owned()).tags(["one", "two"]))
            };
            cache.read("key").fetch_with(first).await.unwrap();
            let renew = async move |previous: Option<Previous<String>>| {
                let renewed = previous.unwrap().not_modified().ttl(secs(5));
                Ok::<_, &str>(if renames { renewed.tags(["three"]) } else { renewed })
            };
            cache.read("key").force_refresh().fetch_with(renew).await.unwrap();
            let entry = cache.entry("key").unwrap();
            assert_eq!((entry.tags, entry.lifetime.ttl()), (if renames { 1 } else { 2 }, secs(5)));
            cache.purge_tag("two");
            assert_eq!(cache.get("key").is_some(), renames, "{}", shape.name);
            cache.purge_tag("three");
            assert!(cache.get("key").is_none());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_renewed_value_of_another_cache_is_not_kept_for_no_purge_would_find_it() {
    let (one, other) = (Cache::<String>::builder().build(), Cache::<String>::builder().build());
    one.insert_with("key", "value".to_owned(), larder::Lifetime::fresh_for(MINUTE), ["tag"]);
    let fetch = async move |previous: Option<Previous<String>>| {
        let smuggle = || async move { Ok::<_, &str>(previous.unwrap().not_modified()) };
        Ok::<_, &str>(other.answer("key", smuggle).await.unwrap())
    };
    let asked = one.read("key").force_refresh().fetch_with(async move |previous| {
        let answer = fetch(previous).await?;
        assert_eq!(answer.storage, larder::Storage::Not(Reason::NotStorable));
        Ok::<_, &str>(answer.value)
    });
    assert_eq!(asked.await.unwrap(), "value");
}

#[tokio::test(start_paused = true)]
async fn a_refresh_behind_a_readers_back_is_handed_the_previous_value_too() {
    for shape in shapes() {
        let builder = shape.builder.stale_while_revalidate(MINUTE);
        let (cache, origin, seen) = (builder.build(), Origin::new(), Handed::default());
        cache.insert("key", "value".to_owned());
        shape.clock.advance(MINUTE);
        assert_eq!(ask(&origin, &cache, "key", &seen).await.unwrap(), "value");
        settle().await;
        assert_eq!(handed(&seen), Some(("value".to_owned(), 60)), "{}", shape.name);
        origin.answer("unchanged");
        settle().await;
        assert_eq!(cache.get("key").as_deref(), Some("value"), "{}", shape.name);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_stale_below_is_handed_to_a_fetch_and_renewed_there() {
    for tags in [&[][..], &["tag"]] {
        let cluster = Cluster::new();
        let one = cluster.builder().stale_if_error(10 * MINUTE).build();
        let fetch = async move || {
            Ok::<_, &str>(Fetched::new("value".to_owned()).tags(tags.iter().copied()))
        };
        one.try_get_or_fetch("key", fetch).await.unwrap();
        settle().await;
        cluster.clock.advance(2 * MINUTE);
        let (other, seen) = (cluster.cache(), Handed::default());
        let asked = ask(&cluster.origin, &other, "key", &seen);
        settle().await;
        assert_eq!(handed(&seen), Some(("value".to_owned(), 120)));
        cluster.origin.answer("unchanged");
        assert_eq!(asked.await.unwrap(), "value");
        settle().await;
        // Below, tags have names, and memory does not know those any more.
        let third = cluster.cache();
        let asked = cluster.origin.ask(&third, "key");
        settle().await;
        if !tags.is_empty() {
            cluster.origin.answer("value");
        }
        let source = asked.await.unwrap().unwrap().source;
        assert_eq!(source == AnswerSource::Lower, tags.is_empty());
        other.purge_tag("tag");
        assert_eq!(other.get("key").is_none(), !tags.is_empty());
    }
}
