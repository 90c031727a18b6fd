//! URIs: references resolved, equal ones written alike, origins compared (RFC 3986 §5 and §6,
//! RFC 9110 §4.2 and §4.3.1).

use std::{borrow::Cow, fmt::Write, net::Ipv6Addr};

use http::Uri;

use crate::scheme::Scheme;

/// Resolves a reference, such as a `Location`, against an absolute URI (RFC 3986 §5.2). The fragment
/// is dropped. `None` if that is no absolute URI with an authority, or if it has user information,
/// which has no place in HTTP (RFC 9110 §4.2.4).
///
/// Lenient: bytes that a URI cannot contain (spaces inside, umlauts) are percent-encoded where browsers
/// do it.
pub fn resolve(base: &Uri, reference: &[u8]) -> Option<Uri> {
    let encoded = encoded(reference);
    let reference = encoded.split('#').next().unwrap_or_default();
    let (base_scheme, base_authority) = (base.scheme_str()?, base.authority()?.as_str());
    let (rest, query) = match reference.split_once('?') {
        Some((rest, query)) => (rest, Some(query)),
        None => (reference, None),
    };
    let (scheme, rest) = match split_scheme(rest) {
        Some((scheme, rest)) => (Some(scheme), rest),
        None => (None, rest),
    };
    let (authority, path) = match rest.strip_prefix("//") {
        Some(rest) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            (Some(authority), path)
        }
        None => (None, rest),
    };
    let (path, query) = match (scheme, authority, path) {
        // An absolute URI without an authority is a URN or a mail address: nothing that is cached.
        (Some(_), None, _) => return None,
        (_, Some(_), path) => (without_dots(path), query),
        (None, None, "") => (base.path().to_owned(), query.or(base.query())),
        (None, None, path) if path.starts_with('/') => (without_dots(path), query),
        (None, None, path) => {
            let folder = base.path().rfind('/').map_or("/", |slash| &base.path()[..=slash]);
            (without_dots(&format!("{folder}{path}")), query)
        }
    };
    let authority = authority.unwrap_or(base_authority);
    if authority.is_empty() || authority.contains('@') {
        return None;
    }
    let path = if path.is_empty() { "/" } else { &path };
    let mut uri = format!("{}://{authority}{path}", scheme.unwrap_or(base_scheme));
    if let Some(query) = query {
        uri.push('?');
        uri.push_str(query);
    }
    uri.parse().ok()
}

/// Whether two URIs have the same origin: scheme, host and port (RFC 9110 §4.3.1).
pub fn same_origin(one: &Uri, other: &Uri) -> bool {
    match (origin(one), origin(other)) {
        (Some(one), Some(other)) => one == other,
        _ => false,
    }
}

/// `scheme://host[:port]`, in small letters, without a dot behind the host, an address of IPv6 as RFC 5952 has it, and
/// without the port that goes without saying (RFC 9110 §4.2.3). `None` if scheme or host are missing, or if there is user
/// information or a port that is none.
pub fn origin(uri: &Uri) -> Option<String> {
    let mut out = String::new();
    push_origin(uri, &mut out)?;
    Some(out)
}

/// The URI in the one way that all equivalent ones are written (RFC 3986 §6.2.2): its [`origin`], then path
/// and query with the hex digits of percent-encodings in capitals, unreserved characters as they are, and
/// an empty path as `/`. Bytes beyond ASCII, which no URI has, are percent-encoded.
///
/// What only some origins take for the same stays apart. Dot segments stay: origins do tell `/a/../b` from
/// `/b`. A `{` is not written as `%7B`. With a percent sign that encodes nothing, path and query stay as
/// they are: in `%%61%30` two decoded characters would become one encoded byte.
pub fn normal(uri: &Uri) -> Option<String> {
    let length = |text: Option<&str>| text.map_or(0, str::len);
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    if target.starts_with('*') {
        return None;
    }
    let authority = uri.authority().map(|authority| authority.as_str());
    // With room for "://" and "/": one allocation, unless something has to be encoded.
    let capacity = length(uri.scheme_str()) + length(authority) + target.len() + 4;
    let mut out = String::with_capacity(capacity);
    push_origin(uri, &mut out)?;
    if !target.starts_with('/') {
        out.push('/');
    }
    push_normal_to(target, &mut out);
    Some(out)
}

/// The URI that an origin means by this one if it takes dot segments out (RFC 3986 §6.2.2.3), if that is
/// another.
pub(crate) fn without_dot_segments(uri: &Uri) -> Option<Uri> {
    const BEGINNINGS: [&str; 3] = ["/.", "/%2E", "/%2e"];
    if !BEGINNINGS.iter().any(|dot| uri.path().contains(dot)) {
        return None;
    }
    let normal = normal(uri)?;
    resolve(uri, normal.as_bytes()).filter(|short| short.path() != uri.path())
}

/// The path of a URI as patterns of paths are compared with it: [`normal`], without dot segments, and
/// [as services read it](as_read). As it is where the URI is not whole.
pub fn path_as_read(uri: &Uri) -> String {
    let resolved = normal(uri).and_then(|normal| resolve(uri, normal.as_bytes()));
    as_read(resolved.as_ref().unwrap_or(uri).path()).into_owned()
}

/// A [`normal`] path, or a part of one, with each character in the one spelling that services do not tell from others: what
/// may stand in a path is not encoded (`@` and not `%40`), and what no URI has is (`%7B` and not `{`). What would end a part
/// or a path stays as it is (`%2F`, `%5C`, `%3B`, `%3F`, `%23`): services do not agree on that.
pub fn as_read(path: &str) -> Cow<'_, str> {
    const DECODED: &[u8] = b"!$&'()*+,=:@";
    const ENCODED: &[u8] = b"\"<>[]^`{|}";
    if !path.bytes().any(|byte| byte == b'%' || ENCODED.contains(&byte)) {
        return Cow::Borrowed(path);
    }
    let mut out = String::with_capacity(path.len() + 8);
    let mut rest = path;
    while let Some(char) = rest.chars().next() {
        let decoded = match rest.as_bytes() {
            [b'%', high, low, ..] => hex(*high, *low).filter(|byte| DECODED.contains(byte)),
            _ => None,
        };
        if let Some(byte) = decoded {
            out.push(char::from(byte));
            rest = &rest[3..];
            continue;
        }
        match u8::try_from(char) {
            Ok(byte) if ENCODED.contains(&byte) => push_encoded(byte, &mut out),
            _ => out.push(char),
        }
        rest = &rest[char.len_utf8()..];
    }
    Cow::Owned(out)
}

/// Whether a [`normal`] URI, or its target, has a part in its path that is `.` or `..` (RFC 3986 §3.3).
pub fn has_dot_segments(normal: &str) -> bool {
    let path = normal.split_once('?').map_or(normal, |(path, _)| path);
    path.contains("/.") && path.split('/').any(|part| matches!(part, "." | ".."))
}

/// Whether a URI is written just like this [`normal`] one.
pub fn is_written_as(uri: &Uri, normal: &str) -> bool {
    let rest = || {
        let rest = normal.strip_prefix(uri.scheme_str()?)?.strip_prefix("://")?;
        rest.strip_prefix(uri.authority()?.as_str())
    };
    rest().is_some_and(|rest| uri.path_and_query().is_some_and(|path| path.as_str() == rest))
}

/// Whether a URI is written as this [`normal`] one, but with small letters wherever a percent-encoding has letters: as
/// many programs write all theirs (RFC 3986 §2.1 takes both for the same).
pub fn is_written_in_small_hex(uri: &Uri, normal: &str) -> bool {
    let Some(target) = uri.path_and_query().map(|target| target.as_str()) else { return false };
    let Some(begin) = normal.len().checked_sub(target.len()) else { return false };
    let is_begun = || {
        let rest = normal.get(..begin)?.strip_prefix(uri.scheme_str()?)?.strip_prefix("://")?;
        Some(rest == uri.authority()?.as_str())
    };
    // A letter follows a percent sign as the first or as the second digit.
    let is_digit = |at: usize| {
        let sign = |back: usize| at.checked_sub(back).map(|at| target.as_bytes()[at]);
        sign(1) == Some(b'%') || (sign(2) == Some(b'%') && sign(1) != Some(b'%'))
    };
    let mut has_small = false;
    let is_same = target.bytes().zip(normal.bytes().skip(begin)).enumerate().all(|(at, pair)| {
        let (written, normal) = pair;
        let is_hex_letter = normal.is_ascii_uppercase() && is_digit(at);
        has_small |= is_hex_letter;
        written == if is_hex_letter { normal.to_ascii_lowercase() } else { normal }
    });
    is_same && has_small && is_begun() == Some(true)
}

/// Writes [`normal`] of `scheme` `://` `host` `target`. `None`: not everything in them is as nearly all
/// write it: a host in small letters, without a port that goes without saying, and a target that
/// begins with a slash and has nothing in it that a URI cannot have, nor a percent sign that encodes
/// nothing.
pub(crate) fn write_normal<'a>(
    scheme: Scheme,
    host: &[u8],
    target: &[u8],
    out: &'a mut Vec<u8>,
) -> Option<&'a str> {
    let of_target = kinds(target);
    let is_common = is_common_host(host, scheme.default_port())
        && target.first() == Some(&b'/')
        && of_target & NO_TARGET == 0;
    if !is_common {
        return None;
    }
    out.clear();
    match scheme {
        Scheme::Http => out.extend_from_slice(b"http://"),
        Scheme::Https => out.extend_from_slice(b"https://"),
    }
    out.extend_from_slice(host);
    if of_target & PERCENT != 0 {
        push_normal(target, |byte| out.push(byte)).ok()?;
        // Another spelling, whose answers lie apart.
        if has_small_hex(target) {
            return None;
        }
    } else {
        out.extend_from_slice(target);
    }
    std::str::from_utf8(out).ok()
}

/// Whether a percent-encoding has a small letter.
fn has_small_hex(target: &[u8]) -> bool {
    memchr::memchr_iter(b'%', target).any(|at| {
        let digits = target.get(at + 1..).unwrap_or_default();
        digits.iter().take(2).any(u8::is_ascii_lowercase)
    })
}

/// Whether this is a name in small letters, without a port or with one that does not go without saying.
fn is_common_host(host: &[u8], default_port: u16) -> bool {
    if kinds(host) & NO_HOST == 0 {
        return !matches!(host, [] | [.., b'.']);
    }
    let name_end = host.iter().position(|byte| *byte == b':').unwrap_or(host.len());
    let (name, port) = host.split_at(name_end);
    let is_name = !matches!(name, [] | [.., b'.']) && kinds(name) & NO_HOST == 0;
    is_name && is_other_port(port, default_port)
}

/// The kinds of all of these bytes.
fn kinds(bytes: &[u8]) -> u8 {
    // Without a way out of the loop: nearly always all are looked at.
    bytes.iter().fold(0, |kinds, byte| kinds | KINDS[usize::from(*byte)])
}

/// Whether this, behind a host, is nothing, or a colon and a port other than `default`, written without
/// zeros before it.
fn is_other_port(rest: &[u8], default: u16) -> bool {
    match rest {
        [] => true,
        [b':', digits @ ..] => {
            let is_number = matches!(digits, [b'1'..=b'9', ..])
                && digits.len() <= 5
                && digits.iter().all(u8::is_ascii_digit);
            let number = || {
                digits.iter().fold(0, |number: u32, digit| number * 10 + u32::from(digit - b'0'))
            };
            is_number && number() != u32::from(default) && number() <= u32::from(u16::MAX)
        }
        _ => false,
    }
}

/// Not in a host's name in small letters.
const NO_HOST: u8 = 1;
/// Not in a path or a query.
const NO_TARGET: u8 = 2;
const PERCENT: u8 = 4;

/// Where each byte does not stand in most URIs (RFC 3986 §2): what is for the scheme, an address or a
/// fragment alone (`#`, `[`, `]`) stands nowhere.
const KINDS: [u8; 256] = {
    let mut kinds = [NO_HOST | NO_TARGET; 256];
    let mut byte: u8 = b'!';
    while byte <= b'~' {
        if matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-') {
            kinds[byte as usize] &= !NO_HOST;
        }
        if byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')')
            || matches!(byte, b'*' | b'+' | b',' | b';' | b'=' | b':' | b'@' | b'/' | b'?' | b'%')
        {
            kinds[byte as usize] &= !NO_TARGET;
        }
        byte += 1;
    }
    kinds[b'%' as usize] |= PERCENT;
    kinds
};

fn push_origin(uri: &Uri, out: &mut String) -> Option<()> {
    let scheme = uri.scheme_str()?;
    let authority = uri.authority()?;
    let host = authority.host();
    let port = match authority.as_str().strip_prefix(host)?.strip_prefix(':') {
        None | Some("") => None,
        Some(port) => Some(port.parse::<u16>().ok()?),
    };
    // A final dot says that a name is whole (RFC 1034 §3.1), as all are here.
    let host = host.trim_end_matches('.');
    if host.is_empty() {
        return None;
    }
    push_lowercase(scheme, out);
    out.push_str("://");
    match address(host) {
        Some(address) => write!(out, "[{address}]").expect("a string takes all"),
        None => push_lowercase(host, out),
    }
    if let Some(port) = port.filter(|port| default_port(scheme) != Some(*port)) {
        write!(out, ":{port}").expect("a string takes all");
    }
    Some(())
}

/// An address of IPv6, which has many spellings, and one of them for all to write (RFC 5952).
fn address(host: &str) -> Option<Ipv6Addr> {
    host.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

/// A host as it stands in a [`normal`] URI.
pub fn normal_host(host: &str) -> String {
    let host = host.trim_end_matches('.');
    match address(host) {
        Some(address) => format!("[{address}]"),
        None => host.to_ascii_lowercase(),
    }
}

fn push_lowercase(text: &str, out: &mut String) {
    out.extend(text.chars().map(|letter| letter.to_ascii_lowercase()));
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        _ if scheme.eq_ignore_ascii_case("http") => Some(80),
        _ if scheme.eq_ignore_ascii_case("https") => Some(443),
        _ => None,
    }
}

/// A percent sign that encodes nothing.
pub(crate) struct StrayPercent;

/// Gives each byte of the component as it is written in a normal URI to `push`: ASCII only. After an error
/// what was given counts for nothing.
pub(crate) fn push_normal(component: &[u8], mut push: impl FnMut(u8)) -> Result<(), StrayPercent> {
    let mut bytes = component;
    while let [byte, rest @ ..] = bytes {
        bytes = rest;
        if *byte != b'%' {
            push_ascii(*byte, &mut push);
            continue;
        }
        let [high, low, after @ ..] = rest else { return Err(StrayPercent) };
        let byte = hex(*high, *low).ok_or(StrayPercent)?;
        bytes = after;
        if is_unreserved(byte) {
            push(byte);
        } else {
            encoded_as(byte).into_iter().for_each(&mut push);
        }
    }
    Ok(())
}

fn push_ascii(byte: u8, mut push: impl FnMut(u8)) {
    if byte.is_ascii_graphic() {
        push(byte);
    } else {
        encoded_as(byte).into_iter().for_each(push);
    }
}

/// RFC 3986 §2.1, in capitals.
fn encoded_as(byte: u8) -> [u8; 3] {
    const DIGITS: [u8; 16] = *b"0123456789ABCDEF";
    [b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]
}

fn push_normal_to(target: &str, out: &mut String) {
    if target.bytes().all(|byte| byte != b'%' && byte.is_ascii_graphic()) {
        return out.push_str(target);
    }
    let begin = out.len();
    if push_normal(target.as_bytes(), |byte| out.push(char::from(byte))).is_err() {
        out.truncate(begin);
        target.bytes().for_each(|byte| push_ascii(byte, |byte| out.push(char::from(byte))));
    }
}

/// The value that two hex digits write.
pub(crate) fn hex(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

pub(crate) fn push_encoded(byte: u8, out: &mut String) {
    out.extend(encoded_as(byte).map(char::from));
}

/// Whether a URI can contain this byte (RFC 3986 §2; a percent sign, too).
fn may_stand(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte)
}

/// RFC 3986 §2.3.
pub(crate) fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// How a URI is spelt whose percent-encodings are not in capitals, as the key has them.
pub const SMALL_HEX: &str = "percent-encodings in small letters (%c3)";

/// A URI or reference that somebody has written, as a browser sends it: what cannot stand there is percent-encoded.
pub fn as_sent(written: &str) -> String {
    encoded(written.as_bytes())
}

/// The reference as text, with everything encoded that browsers encode, and without the white space
/// around it: what a reader makes of it is the URI that counts. (They leave some bytes that a URI cannot
/// contain as they are, more of them in a query.)
fn encoded(reference: &[u8]) -> String {
    let mut out = String::with_capacity(reference.len());
    let mut is_query = false;
    for &byte in reference.trim_ascii() {
        is_query |= byte == b'?';
        let is_left = byte == b'|' || (is_query && b"\\^`{}".contains(&byte));
        if may_stand(byte) || is_left {
            out.push(char::from(byte));
        } else {
            push_encoded(byte, &mut out);
        }
    }
    out
}

/// RFC 3986 §3.1; a colon after anything else belongs to the path.
fn split_scheme(reference: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = reference.split_once(':')?;
    let first = scheme.bytes().next()?;
    let is_scheme = first.is_ascii_alphabetic()
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    is_scheme.then_some((scheme, rest))
}

/// Takes the `.` and `..` segments out of an absolute path (RFC 3986 §5.2.4).
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if is_last {
                    kept.push("");
                }
            }
            segment => kept.push(segment),
        }
    }
    let mut out = String::with_capacity(path.len());
    for segment in kept {
        out.push('/');
        out.push_str(segment);
    }
    out
}
