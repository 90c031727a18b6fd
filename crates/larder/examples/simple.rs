//! The cache of a tutorial: three lines. `cargo run -p larder --example simple`

use std::time::Duration;

use larder::Cache;

fn main() {
    let cache = Cache::<String>::builder().ttl(Duration::from_secs(300)).build();
    cache.insert("greeting", "good morning".to_owned());
    println!("{:?}", cache.get("greeting"));

    cache.clear();
    println!("{:?}", cache.get("greeting"));
}
