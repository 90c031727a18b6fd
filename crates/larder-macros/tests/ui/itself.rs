struct Post;

impl Post {
    #[larder::cached(key = "{id}")]
    async fn one_cache_for_all(id: u32) -> Option<Self> {
        (id > 0).then_some(Post)
    }
}

#[larder::cached(key = "{Self}:{id}")]
async fn no_self_to_name(id: u32) -> u32 {
    id
}

fn main() {}
