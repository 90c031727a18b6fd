#[larder::cached(key = "key")]
async fn post<T>() -> u64 {
    1
}

fn main() {}
