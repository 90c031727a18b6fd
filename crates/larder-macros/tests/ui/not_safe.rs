#[larder::cached]
async unsafe fn not_safe(id: u32) -> u32 {
    id
}

fn main() {}
