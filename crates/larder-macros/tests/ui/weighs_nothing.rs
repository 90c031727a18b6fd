#[derive(Clone)]
struct Post {
    _title: String,
}

#[larder::cached]
async fn post(id: u64) -> Post {
    Post { _title: id.to_string() }
}

fn main() {
    let _ = larder::Cache::<Post>::builder().build();
    let _ = larder::Cache::<Vec<Post>>::builder().build();
}
