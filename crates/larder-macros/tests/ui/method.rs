use larder::{Cache, Fetched};

struct Posts {
    cache: Cache<u64>,
}

impl Posts {
    #[larder::cached]
    async fn without_a_key(&self, id: u64) -> u64 {
        id
    }

    #[larder::cached(key = "{id}")]
    async fn without_itself(&self, id: u64) -> u64 {
        id
    }

    #[larder::cached(cache = self.cache, key = "{id}")]
    async fn changes(&mut self, id: u64) -> u64 {
        id
    }

    #[larder::cached(cache = self.cache, key = "{a}:{b}")]
    async fn takes_apart(&self, (a, b): (u64, u64)) -> u64 {
        a + b
    }

    #[larder::cached(cache = self.cache, key = "{id}", tags("all", "of {self}"))]
    async fn tagged(&self, id: u64) -> u64 {
        id
    }

    #[larder::cached(cache = self.cache, key = "{id}")]
    async fn is_not_clone(&self, id: u64) -> Fetched<u64> {
        Fetched::new(id)
    }
}

fn main() {}
