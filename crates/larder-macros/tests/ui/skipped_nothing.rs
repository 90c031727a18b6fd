#[larder::cached(key = "{id}", skip(lang))]
async fn skipped_nothing(id: u32) -> u32 {
    id
}

#[larder::cached(key = "{id}", skip(id))]
async fn skipped_and_named(id: u32) -> u32 {
    id
}

#[larder::cached(skip(id, id))]
async fn skipped_twice(id: u32) -> u32 {
    id
}

#[larder::cached(cache = CACHE, key = "{T}", skip(T))]
async fn type_skipped_and_named<T>() -> u32 {
    1
}

#[larder::cached(skip(self))]
async fn skipped_itself(id: u32) -> u32 {
    id
}

fn main() {}
