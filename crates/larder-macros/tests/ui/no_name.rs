#[larder::cached(key = "post:{}")]
async fn no_name(id: u32) -> u32 {
    id
}

fn main() {}
