struct Parsed<'a>(&'a str);

#[larder::cached(key = "{names:?}")]
async fn within(names: Vec<&str>) -> usize {
    names.len()
}

#[larder::cached(key = "{names:?}")]
async fn twice(names: &[&str]) -> usize {
    names.len()
}

#[larder::cached(key = "all", skip(parsed))]
async fn by_lifetime(parsed: Parsed<'_>) -> usize {
    parsed.0.len()
}

#[larder::cached(key = "{list:?}")]
async fn changed(list: &mut Vec<u8>) -> usize {
    list.len()
}

#[larder::cached]
async fn taken_apart((a, b): &(u8, u8)) -> u8 {
    a + b
}

struct NotClone;

#[larder::cached(key = "all", skip(it))]
async fn not_to_be_copied(it: &NotClone) -> u8 {
    let _ = it;
    1
}

fn main() {}
