//! Dry run: it says what the next reader gets, and changes nothing.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use larder::{
    AnswerSource, Cache, Failure, FailureSource, Fetched, ReadBelow, ReadStep, Reason,
    RefreshOutlook,
};
use proptest::{collection::vec, prelude::*};

use crate::support::{MINUTE, Origin, Shape, secs, settle, shapes};

/// What happens between two readers, or that one comes.
#[derive(Clone, Copy, Debug)]
enum Step {
    Read {
        key: u8,
        fetch_fails: bool,
    },
    Insert(u8),
    Later(u64),
    PurgeTag {
        soft: bool,
    },
    Remove {
        key: u8,
        soft: bool,
    },
    /// Memory forgets what the tier below keeps.
    ForgetMemory,
    ServeStale(bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = 0_u8..2;
    let read = (key.clone(), any::<bool>());
    vec(
        prop_oneof![
            6 => read.prop_map(|(key, fetch_fails)| Step::Read { key, fetch_fails }),
            1 => key.clone().prop_map(Step::Insert),
            4 => (1_u64..70).prop_map(Step::Later),
            1 => any::<bool>().prop_map(|soft| Step::PurgeTag { soft }),
            1 => (key, any::<bool>()).prop_map(|(key, soft)| Step::Remove { key, soft }),
            1 => Just(Step::ForgetMemory),
            1 => any::<bool>().prop_map(Step::ServeStale),
        ],
        1..40,
    )
}

/// Reads `key` and checks what came of it against what was foretold.
async fn read(cache: &Cache<String>, key: &str, fetch_fails: bool) -> Result<(), TestCaseError> {
    let counted = |cache: &Cache<String>| {
        let stats = cache.stats();
        (stats.hits, stats.misses, stats.fetches, stats.refreshes, stats.refreshes_held_back)
    };
    let before = counted(cache);
    let told = cache.dry_run(key).await;
    let again = cache.dry_run(key).await;
    prop_assert_eq!((told.step, told.reason), (again.step, again.reason));
    prop_assert_eq!(counted(cache), before, "a dry run counts nothing");

    let calls = Arc::new(AtomicUsize::new(0));
    let fetch = {
        let calls = Arc::clone(&calls);
        move || async move {
            calls.fetch_add(1, Ordering::SeqCst);
            match fetch_fails {
                true => Err("the origin is down"),
                false => Ok(Fetched::new("new".to_owned()).tags(["tag"])),
            }
        }
    };
    let answer = cache.answer(key, fetch).await;
    settle().await;
    let calls = calls.load(Ordering::SeqCst);
    let source = answer.as_ref().map(|answer| answer.source);
    let is_as_told = match told.step {
        ReadStep::Serve => source.is_ok_and(|source| source == AnswerSource::Hit) && calls == 0,
        ReadStep::ServeAndRefresh(outlook) => {
            let is_served = match source {
                Ok(AnswerSource::Hit) => told.reason == Reason::Hit,
                Ok(AnswerSource::Stale(reason)) => told.reason == reason,
                _ => false,
            };
            is_served && calls == usize::from(outlook == RefreshOutlook::Begins)
        }
        ReadStep::Rescue => {
            source.is_ok_and(|source| source == AnswerSource::Stale(Reason::StaleIfError))
                && calls == 0
        }
        ReadStep::Fail => {
            matches!(answer, Err(Failure { source: FailureSource::Remembered, .. })) && calls == 0
        }
        ReadStep::ServeFromBelow => {
            source.is_ok_and(|source| source == AnswerSource::Lower) && calls == 0
        }
        ReadStep::Fetch { may_rescue } => match (fetch_fails, &answer) {
            (false, Ok(answer)) => {
                answer.source == AnswerSource::Fetched(told.reason) && calls == 1
            }
            (true, Ok(answer)) => {
                may_rescue
                    && answer.source == AnswerSource::Stale(Reason::StaleIfError)
                    && calls == 1
            }
            (true, Err(_)) => !may_rescue && calls == 1,
            (false, Err(_)) => false,
        },
        ReadStep::Wait => false,
    };
    prop_assert!(is_as_told, "{told:?}, then {:?} with {calls} calls", source.ok());
    Ok(())
}

async fn walk(shape: Shape, steps: &[Step]) -> Result<(), TestCaseError> {
    let cache = { shape.builder }
        .stale_while_revalidate(secs(20))
        .stale_if_error(secs(40))
        .negative_ttl(secs(5))
        .refresh_ahead(0.8)
        .build();
    for step in steps {
        let name = |key: u8| format!("key {key}");
        match *step {
            Step::Read { key, fetch_fails } => read(&cache, &name(key), fetch_fails).await?,
            Step::Insert(key) => drop(cache.insert(name(key), "old".to_owned())),
            Step::Later(seconds) => shape.clock.advance(secs(seconds)),
            Step::PurgeTag { soft: true } => cache.soft_purge_tag("tag"),
            Step::PurgeTag { soft: false } => cache.purge_tag("tag"),
            Step::Remove { key, soft: true } => drop(cache.soft_remove(name(key))),
            Step::Remove { key, soft: false } => drop(cache.remove(name(key))),
            Step::ForgetMemory => drop(cache.retain_local(|_, _| false)),
            Step::ServeStale(on) => cache.serve_stale_while_revalidate(on),
        }
        settle().await;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn what_is_foretold_is_what_the_next_reader_gets(steps in steps()) {
        for shape in shapes() {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .start_paused(true)
                .build()
                .expect("a runtime");
            let name = shape.name;
            let walked = runtime.block_on(walk(shape, &steps));
            prop_assert!(walked.is_ok(), "{}: {:?}", name, walked);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_fetch_under_way_is_told_and_not_joined() {
    for shape in shapes() {
        let cache = shape.builder.build();
        let origin = Origin::new();
        let asked = origin.ask(&cache, "key");
        settle().await;
        let told = cache.dry_run("key").await;
        assert_eq!(told.step, ReadStep::Wait, "{}", shape.name);
        assert!(told.under_way_for.is_some() && told.held.is_none(), "{}", shape.name);
        origin.answer("new");
        asked.await.unwrap().unwrap();
        let told = cache.dry_run("key").await;
        assert_eq!((told.step, told.under_way_for), (ReadStep::Serve, None), "{}", shape.name);
        assert_eq!(cache.stats().collapsed, 0, "{}", shape.name);
    }
}

#[tokio::test(start_paused = true)]
async fn what_lies_below_alone_is_told_with_its_freshness() {
    let Some(shape) = shapes().last() else { return };
    let cache = shape.builder.build();
    assert_eq!(cache.dry_run("key").await.below, ReadBelow::Nothing);
    Origin::new().fill(&cache, "key", "value").await;
    settle().await;
    cache.retain_local(|_, _| false);
    let told = cache.dry_run("key").await;
    assert_eq!((told.step, told.reason), (ReadStep::ServeFromBelow, Reason::Shared));
    let ReadBelow::Holds { freshness, .. } = told.below else { panic!("{told:?}") };
    assert_eq!(freshness, larder::Freshness::Fresh { left: MINUTE });
    assert!(cache.get("key").is_none(), "nothing is brought up by it");
}
