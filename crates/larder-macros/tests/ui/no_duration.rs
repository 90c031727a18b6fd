use std::time::Duration;

const SECONDS: u64 = 5;
const TTL: Duration = Duration::from_secs(SECONDS);

#[larder::cached(key = "{id}", ttl = "5 minutes")]
async fn unknown_unit(id: u64) -> u64 {
    id
}

#[larder::cached(key = "{id}", ttl = 300)]
async fn number(id: u64) -> u64 {
    id
}

#[larder::cached(key = "{id}", ttl = SECONDS)]
async fn no_duration(id: u64) -> u64 {
    id
}

#[larder::cached(key = "{id}", ttl = TTL, stale_if_error = SECONDS)]
async fn no_window(id: u64) -> u64 {
    id
}

fn main() {}
