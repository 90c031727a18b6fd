#[larder::cached(key = "{id}", ttl = "5 minutes")]
async fn post(id: u64) -> u64 {
    id
}

fn main() {}
