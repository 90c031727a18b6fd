#[larder::cached(key = "{id}")]
fn post(id: u64) -> u64 {
    id
}

fn main() {}
