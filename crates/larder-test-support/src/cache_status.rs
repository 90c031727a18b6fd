//! Cache status: what a cache says it did (RFC 9211), in a word.

/// The one word of a field's value that tells it: `hit`, `collapsed`, or why the request went forward.
///
/// # Panics
///
/// Where it says none of these.
#[track_caller]
pub fn handling(field: &str) -> &str {
    let parameters: Vec<_> = field.split(';').skip(1).collect();
    let forward = parameters.iter().find_map(|parameter| parameter.strip_prefix("fwd="));
    ["hit", "collapsed"]
        .into_iter()
        .find(|word| parameters.contains(word))
        .or(forward)
        .unwrap_or_else(|| panic!("says nothing: {field}"))
}
