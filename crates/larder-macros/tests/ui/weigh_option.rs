#[derive(larder::Weigh)]
struct Unknown(#[weigh(skipped)] u8);

#[derive(larder::Weigh)]
struct Twice(#[weigh(skip, with = drop)] u8);

#[derive(larder::Weigh)]
struct NoFunction(#[weigh(with)] u8);

#[derive(larder::Weigh)]
struct Silent(#[weigh] u8);

#[derive(larder::Weigh)]
enum Misplaced {
    #[weigh(skip)]
    _Variant(u8),
}

fn main() {}
