#[larder::cached(key = "{ident}")]
async fn post() -> u64 {
    1
}

fn main() {}
