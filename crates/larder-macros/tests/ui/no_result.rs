/// What a search brings, under an unlucky name.
#[derive(Clone)]
struct Result(u32);

#[larder::cached(key = "{id}")]
async fn search(id: u32) -> Result {
    Result(id)
}

fn main() {}
