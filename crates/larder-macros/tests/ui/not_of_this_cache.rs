use std::sync::LazyLock;

static POSTS: LazyLock<larder::Cache<u64>> = LazyLock::new(|| larder::Cache::builder().build());

#[larder::cached(cache = POSTS, key = "{id}", stale_if_error = "1h")]
async fn window(id: u64) -> Result<u64, String> {
    Ok(id)
}

#[larder::cached(cache = POSTS, key = "{id}", negative_ttl = "5s")]
async fn error(id: u64) -> Result<u64, String> {
    Ok(id)
}

#[larder::cached(key = "{id}", negative_ttl = "5s")]
async fn nothing(id: u64) -> u64 {
    id
}

#[larder::cached(static MORE, cache = POSTS, key = "{id}")]
async fn two(id: u64) -> u64 {
    id
}

fn main() {}
