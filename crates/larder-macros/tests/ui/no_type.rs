#[larder::cached(key = "{id}")]
async fn no_type(id: impl std::fmt::Display + Send + 'static) -> String {
    format!("{id} of {}", size_of_val(&id))
}

fn main() {}
