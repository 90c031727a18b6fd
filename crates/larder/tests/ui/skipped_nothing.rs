#[larder::cached(key = "{id}", skip(lang))]
async fn skipped_nothing(id: u32) -> u32 {
    id
}

#[larder::cached(key = "{id}", skip(id))]
async fn skipped_and_named(id: u32) -> u32 {
    id
}

fn main() {}
