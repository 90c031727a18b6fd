#[derive(larder::Weigh)]
union Either {
    _one: u8,
    _other: u16,
}

fn main() {}
