//! Behaviours: what was asked for, and what nobody asks for because it goes without saying.

use std::time::Duration;

use larder_test_support::eventually::{eventually, within};

use crate::{
    origin::Says,
    running::{CACHED, LARDER, MOKA, POST, Read, Reader, Running, SERVICES, Service},
};

/// Nothing expires while a test runs.
const AS_EVER: Duration = Duration::from_secs(1);
/// Five of them are over soon, and a minute is not.
const SHORTER: Duration = Duration::from_millis(200);
/// A minute is over soon, and an hour is not.
const SHORT: Duration = Duration::from_millis(10);
/// An hour is over soon.
const VERY_SHORT: Duration = Duration::from_millis(1);

const FEW: usize = 10;

/// For these, and for no others.
async fn holds_for(
    services: &[Service],
    second: Duration,
    behaviour: impl AsyncFn(Running) -> bool,
) {
    let expected = SERVICES.map(|service| services.contains(&service));
    let tried = async |service| behaviour(Running::start(service, second).await).await;
    let seen = tokio::join!(tried(LARDER), tried(MOKA), tried(CACHED));
    assert_eq!(<[bool; 3]>::from(seen), expected, "with larder, moka, cached");
}

/// `name: services, second, |running| whether it holds`
macro_rules! behaviours {
    ($($name:ident: [$($service:ident),*], $second:expr, |$running:ident| $behaviour:block)*) => {
        /// Each as a sentence, and for which services it holds.
        pub(crate) const ALL: &[(&str, &[Service])] =
            &[$((stringify!($name), &[$($service),*])),*];

        $(
            #[tokio::test]
            async fn $name() {
                holds_for(&[$($service),*], $second, async |$running: Running| $behaviour).await;
            }
        )*
    };
}

behaviours! {
    a_post_is_fetched_once_while_it_is_fresh: [LARDER, MOKA, CACHED], AS_EVER, |running| {
        running.read(POST).await.is("first") && running.read(POST).await.is("first")
            && running.origin.asked(POST) == 1
    }

    a_post_is_fetched_anew_after_a_minute: [LARDER, MOKA, CACHED], SHORT, |running| {
        running.read(POST).await;
        running.origin.says(Says::Post("second"));
        eventually("the second", async || running.read(POST).await.is("second").then_some(true)).await
    }

    readers_of_one_post_share_one_fetch: [LARDER, MOKA, CACHED], AS_EVER, |running| {
        running.origin.hold(POST);
        let readers = few_who_wait(&running).await;
        running.origin.release();
        let answers = answers(readers).await;
        answers.iter().all(|answer| answer.is("first")) && running.origin.asked(POST) == 1
    }

    a_failing_origin_is_covered_up_with_what_is_stale: [LARDER, MOKA, CACHED], SHORT, |running| {
        running.read(POST).await;
        running.origin.says(Says::Failure);
        eventually("a few failures, or their end", async || {
            let is_served = running.read(POST).await.is("first");
            (!is_served || running.origin.asked(POST) > FEW).then_some(is_served)
        })
        .await
    }

    nothing_is_served_that_is_stale_for_more_than_an_hour: [LARDER, MOKA, CACHED], VERY_SHORT, |running| {
        running.read(POST).await;
        running.origin.says(Says::Failure);
        eventually("an end", async || (running.read(POST).await.status == 502).then_some(true)).await
    }

    a_404_is_remembered: [LARDER, MOKA, CACHED], AS_EVER, |running| {
        running.origin.says(Says::NoPost);
        let statuses = [running.read(POST).await.status, running.read(POST).await.status];
        statuses == [404, 404] && running.origin.asked(POST) == 1
    }

    a_404_is_forgotten_long_before_a_minute: [LARDER, MOKA, CACHED], SHORTER, |running| {
        running.origin.says(Says::NoPost);
        running.read(POST).await;
        running.origin.says(Says::Post("first"));
        let forgotten = async || running.read(POST).await.is("first").then_some(true);
        within(30 * SHORTER, "the post", forgotten).await
    }

    a_post_that_is_gone_does_not_come_back_when_the_origin_fails: [LARDER, MOKA, CACHED], SHORT, |running| {
        running.read(POST).await;
        running.origin.says(Says::NoPost);
        eventually("a 404", async || (running.read(POST).await.status == 404).then_some(())).await;
        running.origin.says(Says::Failure);
        eventually("something else", async || {
            let Read { status, .. } = running.read(POST).await;
            (status != 404).then_some(status == 502)
        })
        .await
    }

    what_is_purged_is_fetched_anew: [LARDER, MOKA, CACHED], AS_EVER, |running| {
        running.read(POST).await;
        running.origin.says(Says::Post("second"));
        running.purge(POST).await;
        running.read(POST).await.is("second")
    }

    what_is_purged_while_it_is_fetched_is_not_served_afterwards: [LARDER], AS_EVER, |running| {
        purge_while_fetching(&running, Says::Post("second")).await;
        running.read(POST).await.is("second")
    }

    what_is_purged_while_it_is_fetched_does_not_come_back_when_the_origin_fails: [LARDER], SHORT, |running| {
        purge_while_fetching(&running, Says::Failure).await;
        eventually("it is no longer fresh", async || {
            let Read { status, .. } = running.read(POST).await;
            (running.origin.asked(POST) > 1).then_some(status == 502)
        })
        .await
    }

    who_asks_after_a_purge_gets_nothing_fetched_before_it: [LARDER], AS_EVER, |running| {
        running.origin.hold(POST);
        let before = running.ask(POST).await;
        running.until_asked(POST, 1).await;
        running.origin.says(Says::Post("second"));
        running.purge(POST).await;
        let after = running.ask(POST).await;
        running.catch_up().await;
        running.origin.release();
        before.answer().await;
        after.answer().await.is("second")
    }

    a_failure_is_shared_by_all_who_wait_for_it: [LARDER, MOKA], AS_EVER, |running| {
        running.origin.says(Says::Failure);
        running.origin.hold(POST);
        let readers = few_who_wait(&running).await;
        running.origin.release();
        let answers = answers(readers).await;
        answers.iter().all(|answer| answer.status == 502) && running.origin.asked(POST) == 1
    }

    a_reader_who_leaves_takes_nothing_from_the_others: [LARDER], AS_EVER, |running| {
        running.origin.hold(POST);
        let impatient = running.ask(POST).await;
        running.until_asked(POST, 1).await;
        let patient = running.ask(POST).await;
        running.catch_up().await;
        drop(impatient);
        running.catch_up().await;
        running.origin.release();
        patient.answer().await.is("first") && running.origin.asked(POST) == 1
    }

    a_post_that_takes_long_delays_no_other: [LARDER, MOKA], AS_EVER, |running| {
        running.origin.hold(POST);
        let _waits = running.ask(POST).await;
        running.until_asked(POST, 1).await;
        for other in POST + 1..1000 {
            let answer = running.ask(other).await.answer_within(Duration::from_secs(3)).await;
            if answer.is_none() {
                return false;
            }
        }
        true
    }
}

/// Readers of one post that is held. The service has seen all of them.
async fn few_who_wait(running: &Running) -> Vec<Reader> {
    let mut readers = Vec::new();
    for _ in 0..FEW {
        readers.push(running.ask(POST).await);
    }
    running.until_asked(POST, 1).await;
    running.catch_up().await;
    readers
}

async fn answers(readers: Vec<Reader>) -> Vec<Read> {
    let mut answers = Vec::new();
    for reader in readers {
        answers.push(reader.answer().await);
    }
    answers
}

/// What the origin said at first is on its way, is purged, and then arrives.
async fn purge_while_fetching(running: &Running, then: Says) {
    running.origin.hold(POST);
    let reader = running.ask(POST).await;
    running.until_asked(POST, 1).await;
    running.origin.says(then);
    running.purge(POST).await;
    running.origin.release();
    reader.answer().await;
}
