#[larder::cached(key = "{name:>8}")]
async fn padded(name: String) -> String {
    name
}

fn main() {}
