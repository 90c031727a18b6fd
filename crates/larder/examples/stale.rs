//! Stale on purpose: served at once while it is refreshed, and when the origin is down.
//! `cargo run -p larder --example stale`

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use larder::{Cache, ManualClock};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    // A clock that moves when told to, so that nobody has to wait for the example.
    let clock = ManualClock::new();
    let cache = Cache::<String>::builder()
        .ttl(Duration::from_secs(60))
        .stale_while_revalidate(Duration::from_secs(30))
        .stale_if_error(Duration::from_secs(3600))
        .clock(clock.clock())
        .build();
    let is_up = Arc::new(AtomicBool::new(true));

    for (minutes, is_up_now) in [(0, true), (0, true), (1, true), (5, false), (90, false)] {
        clock.advance(Duration::from_secs(60 * minutes));
        is_up.store(is_up_now, Ordering::SeqCst);
        let is_up = Arc::clone(&is_up);
        let fetch = async move || {
            if is_up.load(Ordering::SeqCst) {
                Ok("the news".to_owned())
            } else {
                Err("origin down")
            }
        };
        match cache.answer("news", fetch).await {
            Ok(answer) => println!("+{minutes} min: {:?}, {}", answer.value, answer.reason()),
            Err(error) => println!("+{minutes} min: {error}"),
        }
        // Lets the refresh behind the reader's back end before the clock moves on.
        tokio::task::yield_now().await;
    }
}
