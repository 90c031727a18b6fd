#[derive(larder::Weigh)]
struct Post {
    _title: String,
    _pool: Pool,
}

struct Pool;

fn main() {}
