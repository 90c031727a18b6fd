#[larder::cached(key = "{name:.3}")]
async fn cut(name: String) -> String {
    name
}

fn main() {}
