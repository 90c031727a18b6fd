#[larder::cached(key = "n")]
async fn left_out(n: u32) -> u32 {
    n
}

#[larder::cached(key = "post:{id}")]
async fn one_left_out(id: u32, lang: String) -> String {
    format!("{id} {lang}")
}

fn main() {}
