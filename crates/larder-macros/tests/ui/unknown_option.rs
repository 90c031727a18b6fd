#[larder::cached(key = "{id}", tll = "5m")]
async fn post(id: u64) -> u64 {
    id
}

fn main() {}
