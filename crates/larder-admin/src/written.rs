//! Written: URLs as people write them, with the hosts that they are asked for by.

use std::borrow::Cow;

/// A URL, its beginning or a pattern of some, with its host in ASCII as browsers send it (UTS #46): `http://münchen.example/a` is
/// `http://xn--mnchen-3ya.example/a`. What has no such host stays as it is, and so does what no host can be.
pub fn with_ascii_host(text: &str) -> Cow<'_, str> {
    let begin = match text.split_once("://") {
        Some((scheme, _)) if !scheme.contains('/') => scheme.len() + "://".len(),
        _ if text.starts_with("//") => "//".len(),
        _ => 0,
    };
    let (scheme, rest) = text.split_at(begin);
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let may_be_host = |c: char| !c.is_ascii() || c.is_ascii_alphanumeric() || ".-_*:".contains(c);
    if authority.is_ascii() || !authority.chars().all(may_be_host) {
        return Cow::Borrowed(text);
    }
    let is_port = |port: &&str| port.bytes().all(|byte| byte.is_ascii_digit());
    let (host, port) = match authority.rsplit_once(':').filter(|(_, port)| is_port(port)) {
        Some((host, _)) => authority.split_at(host.len()),
        None => (authority, ""),
    };
    match idna::domain_to_ascii(host) {
        Ok(host) => Cow::Owned(format!("{scheme}{host}{port}{path}")),
        Err(_) => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_written_as_it_is_asked_for() {
        for (written, sent) in [
            ("http://münchen.example/ä", "http://xn--mnchen-3ya.example/ä"),
            ("//MÜNCHEN.example:8080", "//xn--mnchen-3ya.example:8080"),
            ("münchen.example/x?y", "xn--mnchen-3ya.example/x?y"),
            ("https://*.münchen.example/*", "https://*.xn--mnchen-3ya.example/*"),
            ("http://a.example/ä", "http://a.example/ä"),
            ("/ä", "/ä"),
            ("tag ü b", "tag ü b"),
            ("", ""),
        ] {
            assert_eq!(with_ascii_host(written), sent);
        }
    }
}
