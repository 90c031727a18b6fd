struct Posts;

impl Posts {
    #[larder::cached(key = "{id}")]
    async fn post(&self, id: u64) -> u64 {
        id
    }
}

fn main() {}
