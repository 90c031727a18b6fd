//! `#[cached]`: a cache around async functions and methods. `cargo run -p larder --example macro`

use std::time::{Duration, Instant};

use larder::{Cache, cached};

const SLOW: Duration = Duration::from_secs(1);

/// Kept for five minutes, or for an hour where the next fetch fails; that there is no such post, for five seconds.
#[cached(
    static POSTS,
    key = "post:{slug}",
    ttl = "5m",
    stale_if_error = "1h",
    negative_ttl = "5s",
    tags("posts", "post:{slug}"),
)]
async fn post(slug: &str) -> std::io::Result<Option<String>> {
    tokio::time::sleep(SLOW).await;
    Ok((slug != "none").then(|| format!("the post {slug}")))
}

/// A service has its caches in it.
#[derive(Clone)]
struct Blog {
    language: &'static str,
    titles: Cache<String>,
}

impl Blog {
    #[cached(cache = self.titles, key = "{slug}")]
    async fn title(&self, slug: &str) -> String {
        tokio::time::sleep(SLOW).await;
        format!("the title of {slug} in {}", self.language)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    for slug in ["a", "a", "none", "none"] {
        let began = Instant::now();
        let post = post(slug).await?;
        println!("{post:?} in {:?}", began.elapsed());
    }
    POSTS.purge_tag("post:a");
    let began = Instant::now();
    post("a").await?;
    println!("after a purge in {:?}", began.elapsed());

    let blog = Blog { language: "French", titles: Cache::builder().build() };
    for _ in 0..2 {
        let began = Instant::now();
        println!("{} in {:?}", blog.title("a").await, began.elapsed());
    }
    Ok(())
}
