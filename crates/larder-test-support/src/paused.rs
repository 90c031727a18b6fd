//! Paused: a clock that stands still while anything can run (`#[tokio::test(start_paused = true)]`).

use std::time::Duration;

/// So many seconds.
pub const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Lets everything run that can, and returns when all wait. Time is paused, so the runtime moves it
/// only when it has nothing else to do.
pub async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}
