#[larder::cached(key = "{name:>8}")]
async fn padded(name: String) -> String {
    name
}

#[larder::cached(key = "{name:08}")]
async fn zeros_before_a_text(name: String) -> String {
    name
}

#[larder::cached(key = "{id:08?}")]
async fn zeros_before_no_number(id: Option<u32>) -> Option<u32> {
    id
}

#[larder::cached(key = "{id:p}")]
async fn address(id: Box<u32>) -> u32 {
    *id
}

#[larder::cached(key = "{id:08}/{n:#06x}/{x:09}/{r:03}")]
async fn zeros_before_numbers(id: u64, n: std::num::NonZeroI8, x: f64, r: &'static u8) -> bool {
    id > 0 && n.get() > 0 && x > 0.0 && *r > 0
}

fn main() {}
