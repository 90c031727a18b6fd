//! Tags: one step purges whatever carries one. `cargo run -p larder --example tags`

use std::time::Duration;

use larder::{Cache, Lifetime};

fn main() {
    let cache = Cache::<String>::builder().build();
    let hour = Lifetime::fresh_for(Duration::from_secs(3600));
    cache.insert_with("/posts/1", "first".to_owned(), hour, ["posts", "post:1", "author:ada"]);
    cache.insert_with("/posts/2", "second".to_owned(), hour, ["posts", "post:2", "author:ada"]);
    cache.insert_with("/posts/3", "third".to_owned(), hour, ["posts", "post:3", "author:lin"]);

    cache.purge_tag("author:ada");
    for key in ["/posts/1", "/posts/2", "/posts/3"] {
        println!("{key}: {:?}", cache.get(key));
    }
}
