use std::sync::LazyLock;

static CACHE: LazyLock<larder::Cache<String>> = LazyLock::new(|| larder::Cache::builder().build());

#[larder::cached(cache = CACHE, key = "{id}")]
async fn generic_left_out<T: std::fmt::Display + Default + Send + 'static>(id: u32) -> String {
    format!("{id} {}", T::default())
}

fn main() {}
