#[larder::cached(key = "{id}", key = "{id}")]
async fn post(id: u64) -> u64 {
    id
}

fn main() {}
