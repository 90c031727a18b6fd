use std::rc::Rc;

/// Neither `Debug` nor `Display`.
struct Bare(u64);

struct Silent;

#[larder::cached]
async fn has_no_key(id: Bare) -> u64 {
    id.0
}

#[larder::cached(key = "{id}")]
async fn has_no_text(id: Bare) -> u64 {
    id.0
}

#[larder::cached]
async fn stays_on_its_thread(id: Rc<u64>) -> u64 {
    *id
}

#[larder::cached]
async fn says_nothing(id: u64) -> Result<u64, Silent> {
    Ok(id)
}

fn main() {}
