type DbResult<T> = Result<T, String>;
type Maybe<T> = Option<T>;

#[larder::cached]
async fn result(id: u64) -> DbResult<u64> {
    Ok(id)
}

#[larder::cached(static FOUND)]
async fn option(id: u64) -> Maybe<u64> {
    Some(id)
}

fn main() {}
