struct PostId(u64);

fn main() {
    let posts = larder::Cache::<String>::builder().build();
    let id = PostId(17);
    posts.get(&id);
    posts.get(("post", &id));
    posts.get(("post", id.0));
}
