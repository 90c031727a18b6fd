#[larder::cached(key = "{ident}")]
async fn post(id: u64) -> u64 {
    id
}

fn main() {}
