//! Cancellation: a reader can be dropped at every await, and nobody else notices.
//!
//! The reader's future is polled so many times and then dropped, for every number until it completes,
//! and the origin answers from any of these polls on or only when the reader is gone.

use std::{future::Future, pin::Pin, time::Duration};

use larder::{Cache, Fetched, ManualClock};

use crate::support::{Asked, MINUTE, Origin, Shape, secs, settle, shapes};

type Reader = Pin<Box<dyn Future<Output = ()>>>;

/// What a reader meets.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Situation {
    NothingThere,
    /// Another reader's fetch is under way.
    AnothersFlight,
    /// … but began before a purge of what it will bring, so that its value does not count.
    AnothersFlightFromBeforeAPurge,
    /// As many fetches run as may.
    NoTurnLeft,
    StaleAtHand,
    /// … and given to the reader while the fetch goes on.
    StaleAtHandSoon,
    StaleWhileRevalidating,
    LimitedFetch,
}

const SITUATIONS: [Situation; 8] = [
    Situation::NothingThere,
    Situation::AnothersFlight,
    Situation::AnothersFlightFromBeforeAPurge,
    Situation::NoTurnLeft,
    Situation::StaleAtHand,
    Situation::StaleAtHandSoon,
    Situation::StaleWhileRevalidating,
    Situation::LimitedFetch,
];

const SOFT_TIMEOUT: Duration = Duration::from_millis(10);

struct World {
    cache: Cache<String>,
    origin: Origin,
    others: Vec<Asked>,
    clock: ManualClock,
    successes: u64,
}

impl World {
    async fn new(situation: Situation, shape: Shape) -> World {
        let builder = match situation {
            Situation::NoTurnLeft => shape.builder.max_concurrent_fetches(1),
            Situation::StaleAtHand => shape.builder.stale_if_error(MINUTE),
            Situation::StaleAtHandSoon => {
                shape.builder.stale_if_error(MINUTE).soft_timeout(SOFT_TIMEOUT)
            }
            Situation::StaleWhileRevalidating => shape.builder.stale_while_revalidate(MINUTE),
            Situation::LimitedFetch => shape.builder.hard_timeout(secs(3)),
            _ => shape.builder,
        };
        let (cache, origin) = (builder.build(), Origin::new());
        let clock = shape.clock;
        let mut world = World { cache, origin, others: Vec::new(), clock, successes: 0 };
        match situation {
            Situation::NothingThere | Situation::LimitedFetch => {}
            Situation::AnothersFlight => world.another_asks("key").await,
            Situation::AnothersFlightFromBeforeAPurge => {
                world.another_asks("key").await;
                world.cache.purge_tag("tag");
            }
            Situation::NoTurnLeft => world.another_asks("another").await,
            Situation::StaleAtHand
            | Situation::StaleAtHandSoon
            | Situation::StaleWhileRevalidating => {
                world.cache.insert("key", "stale".to_owned());
                world.clock.advance(MINUTE);
            }
        }
        world
    }

    async fn another_asks(&mut self, key: &str) {
        self.others.push(self.origin.ask(&self.cache, key));
        settle().await;
    }

    /// One reader for each function that can wait.
    fn reader(&self, function: usize) -> Reader {
        let (cache, origin) = (self.cache.clone(), self.origin.clone());
        match function {
            0 => Box::pin(async move { _ = cache.answer("key", move || origin.call()).await }),
            1 => Box::pin(async move {
                _ = cache.try_get_or_fetch("key", move || origin.call()).await;
            }),
            _ => Box::pin(async move {
                _ = cache.get_or_fetch("key", async move || origin.call().await.unwrap()).await;
            }),
        }
    }

    /// Every call that waits is answered, those that follow from it too.
    async fn answer_all(&mut self, fails: bool) {
        settle().await;
        while self.origin.waiting() > 0 {
            if fails {
                self.origin.fail("down");
            } else {
                self.successes += 1;
                self.origin.reply(Ok(Fetched::new("value".to_owned()).tags(["tag"])));
            }
            settle().await;
        }
    }
}

/// True if the reader was answered before it could be dropped.
async fn drop_after(
    polls: usize,
    answered_after: usize,
    fails: bool,
    function: usize,
    mut world: World,
) -> bool {
    let mut reader = world.reader(function);
    let mut is_done = false;
    for poll in 1..=polls {
        is_done = futures_util::poll!(reader.as_mut()).is_ready();
        if is_done {
            break;
        }
        if poll >= answered_after {
            world.answer_all(fails).await;
        } else {
            // A soft timeout passes, a hard one does not, nor is anybody out of turn yet.
            tokio::time::sleep(SOFT_TIMEOUT).await;
        }
    }
    drop(reader);
    world.answer_all(fails).await;
    for other in world.others.drain(..) {
        assert_eq!(other.await.unwrap().is_err(), fails, "the other readers are answered");
    }
    // Long enough that no failed refresh holds the next one back.
    world.clock.advance(secs(2));
    let next = world.origin.ask(&world.cache, "key");
    world.answer_all(false).await;
    let next = next.await.unwrap().unwrap().value;
    assert!(next == "value" || next == "stale");
    assert_eq!(world.cache.get("key").as_deref(), Some("value"), "fetched at last");
    assert_eq!(world.origin.most_at_once(), 1);
    let stats = world.cache.stats();
    assert_eq!(stats.fetches, world.origin.calls() as u64);
    assert_eq!(stats.fetch_failures, stats.fetches - world.successes);
    is_done
}

#[tokio::test(start_paused = true)]
async fn a_reader_can_leave_at_every_await_and_nobody_else_notices() {
    const NEVER: usize = usize::MAX;
    for situation in SITUATIONS {
        let mut most_polls = 0;
        for answered_after in [1, 2, 3, NEVER] {
            for fails in [false, true] {
                // `get_or_fetch` takes fetches that cannot fail nor take too long.
                let can_fail = fails || situation == Situation::LimitedFetch;
                for function in 0..if can_fail { 2 } else { 3 } {
                    for polls in 0.. {
                        assert!(polls < 20, "{situation:?}: the reader is never answered");
                        let mut all_done = true;
                        for shape in shapes() {
                            let world = World::new(situation, shape).await;
                            all_done &=
                                drop_after(polls, answered_after, fails, function, world).await;
                        }
                        most_polls = most_polls.max(polls);
                        // Where nobody answers, it waits for ever.
                        if all_done || polls > 4 && answered_after == NEVER {
                            break;
                        }
                    }
                }
            }
        }
        let is_answered_at_once = situation == Situation::StaleWhileRevalidating;
        assert_eq!(most_polls == 1, is_answered_at_once, "{situation:?}: it never waits");
    }
}
