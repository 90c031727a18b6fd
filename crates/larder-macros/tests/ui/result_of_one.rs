#[larder::cached(key = "{id}")]
async fn post(id: u64) -> std::fmt::Result {
    Ok(())
}

fn main() {}
