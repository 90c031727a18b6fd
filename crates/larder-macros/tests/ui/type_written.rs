use std::sync::LazyLock;

static CACHE: LazyLock<larder::Cache<u32>> = LazyLock::new(|| larder::Cache::builder().build());

#[larder::cached(cache = CACHE, key = "{T:?}")]
async fn type_written<T>() -> u32 {
    1
}

fn main() {}
