#[larder::cached(key = "{id}", skip(Self))]
async fn no_self_to_skip(id: u32) -> u32 {
    id
}

fn main() {}
