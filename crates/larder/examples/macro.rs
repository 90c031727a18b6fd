//! `#[cached]`: a cache around an async function. `cargo run -p larder --example macro`

use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

use larder::{Cache, cached};

static POSTS: LazyLock<Cache<String>> = LazyLock::new(|| Cache::builder().name("posts").build());

#[cached(cache = POSTS, key = "post:{id}", ttl = "5m", tags("posts", "post:{id}"))]
async fn post(id: u64) -> Result<String, std::io::Error> {
    tokio::time::sleep(Duration::from_secs(1)).await;
    Ok(format!("post {id}"))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    for _ in 0..3 {
        let began = Instant::now();
        let post = post(1).await?;
        println!("{post} in {:?}", began.elapsed());
    }
    POSTS.purge_tag("post:1");
    let began = Instant::now();
    post(1).await?;
    println!("after a purge in {:?}", began.elapsed());
    Ok(())
}
