//! Naming: what a wish names, in the parts that vendors ask for.

use http::{Uri, uri::PathAndQuery};

use crate::cdn::driver::{What, Wish};
use larder::Mode;

/// Longer URLs are in no vendor's cache; where one is to go all the same, what is around it goes.
pub(super) const LONGEST_URL: usize = 8_000;

/// A wish for the same in another width.
pub(super) fn instead(wish: &Wish, what: What) -> Wish {
    Wish { what, mode: wish.mode }
}

/// A wish for all, which nobody can do softly.
pub(super) fn everything() -> Wish {
    Wish { what: What::Everything, mode: Mode::Hard }
}

/// The same without soft, where a vendor knows none.
pub(super) fn hard(wish: &Wish) -> Wish {
    Wish { mode: Mode::Hard, ..wish.clone() }
}

/// The host of a URL, its path and its query. `None`: it has no host, or is too long for any cache.
pub(super) fn parts(url: &Uri) -> Option<(&str, &str)> {
    let host = url.authority()?.as_str();
    let path = url.path_and_query().map_or("/", PathAndQuery::as_str);
    let is_plain = !host.is_empty() && !host.contains('@') && path.starts_with('/');
    (is_plain && host.len() + path.len() <= LONGEST_URL).then_some((host, path))
}

/// A URL whole, in visible ASCII. `None` as in [`parts`].
pub(super) fn whole(url: &Uri) -> Option<String> {
    let (host, path) = parts(url)?;
    let text = format!("{}://{host}{path}", url.scheme_str()?);
    is_visible(&text).then_some(text)
}

/// The host of a prefix, and with which text paths begin. `None`: it is none.
pub(super) fn prefix(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    let is_http = matches!(scheme, "http" | "https");
    let at = rest.find('/').unwrap_or(rest.len());
    let (host, path) = rest.split_at(at);
    let path = if path.is_empty() { "/" } else { path };
    let is_one = is_http && is_host(host) && is_visible(path) && text.len() <= LONGEST_URL;
    is_one.then_some((host, path))
}

/// Whether these are the same but for their schemes.
pub(super) fn are_same_but_for_schemes(one: &What, other: &What) -> bool {
    match (one, other) {
        (What::Url(one), What::Url(other)) => parts(one) == parts(other),
        (What::Prefix(one), What::Prefix(other)) => prefix(one) == prefix(other),
        (one, other) => one == other,
    }
}

/// Whether it can stand for a host in any request.
pub(super) fn is_host(text: &str) -> bool {
    let is_of = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    !text.is_empty() && text.len() <= 260 && text.bytes().all(is_of)
}

/// A host without its port.
pub(super) fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Whether a tag may stand in a vendor's field: visible ASCII that separates nothing, so long at most. What cannot was
/// never sent out, and so nothing carries it.
pub(super) fn tag(text: &str, longest: usize) -> Result<(), String> {
    let is_one = !text.is_empty() && is_visible(text) && !text.contains([',', '"']);
    match is_one && text.len() <= longest {
        true => Ok(()),
        false => Err(format!(
            "no field carries such a tag: visible ASCII without commas and quotation marks, {longest} bytes at most"
        )),
    }
}

fn is_visible(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'!'..=b'~'))
}
