#[larder::cached(key = "{a}{b}")]
async fn touching(a: u32, b: u32) -> u32 {
    a + b
}

fn main() {}
