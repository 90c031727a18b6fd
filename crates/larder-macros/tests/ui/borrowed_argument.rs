#[larder::cached(key = "{name}")]
async fn post(name: &str) -> usize {
    name.len()
}

fn main() {}
