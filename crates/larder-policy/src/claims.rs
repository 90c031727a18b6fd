//! Claims: what a trusted peer says of a request that it hands on: for whom, for which host, and how it came (RFC 7239).

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue, header, uri::Authority};

use crate::{
    list::{self, Backslash},
    scheme::Scheme,
};

pub(crate) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(crate) const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(crate) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The fields in which a trusted peer is believed.
///
/// Never both: a proxy that writes the ones hands the others on as they came, and those are anybody's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardedFields {
    /// `X-Forwarded-For`, `-Proto`, `-Host` and their like, which nearly all proxies write.
    #[default]
    XForwarded,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// What a request is said to have been for, where it came first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// How it came there. What is neither http nor https is as if not said.
    pub scheme: Option<Scheme>,
    /// The host, with a port or without. What is none is as if not said.
    pub host: Option<Authority>,
}

/// Takes `X-Forwarded-Proto` and `X-Forwarded-Host` out of the fields that [`admit`](crate::forward::admit) has left of a
/// trusted peer's request, where what `Forwarded` says of both is as well. Of several in a list the first counts: the
/// one next to the client. A client may have written it itself, and gets what it could have asked for without.
pub fn take_named(fields: &mut HeaderMap) -> Named {
    let first = |fields: &HeaderMap, name: &HeaderName| {
        let value = fields.get(name)?.as_bytes();
        let first = value.split(|byte| *byte == b',').next().unwrap_or_default();
        Some(list::trimmed(first).to_vec())
    };
    let mut named = Named::default();
    if let Some(proto) = first(fields, &X_FORWARDED_PROTO) {
        fields.remove(X_FORWARDED_PROTO);
        named.scheme = scheme(&proto);
    }
    if let Some(host) = first(fields, &X_FORWARDED_HOST) {
        fields.remove(X_FORWARDED_HOST);
        named.host = authority(&host);
    }
    named
}

/// What one line of a trusted peer's request says of where it came first, as [`take_named`] reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineClaim<'a> {
    /// Nothing.
    Nothing,
    /// How it came there.
    Scheme(Scheme),
    /// The host.
    Host(&'a [u8]),
    /// Something that takes more than this line: the request has to go the whole way.
    Decides,
}

impl<'a> LineClaim<'a> {
    /// What the line `name: value` says.
    pub fn of(name: &[u8], value: &'a [u8]) -> LineClaim<'a> {
        let is = |known: &HeaderName| name.eq_ignore_ascii_case(known.as_str().as_bytes());
        match name.len() {
            17 if is(&X_FORWARDED_PROTO) => {
                scheme(value).map_or(LineClaim::Decides, LineClaim::Scheme)
            }
            16 if is(&X_FORWARDED_HOST) && value.contains(&b',') => LineClaim::Decides,
            16 if is(&X_FORWARDED_HOST) => LineClaim::Host(value),
            _ => LineClaim::Nothing,
        }
    }
}

/// `wss` is how a proxy calls what came encrypted and is to become a WebSocket.
fn scheme(word: &[u8]) -> Option<Scheme> {
    let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
    match () {
        () if is("https") || is("wss") => Some(Scheme::Https),
        () if is("http") || is("ws") => Some(Scheme::Http),
        () => None,
    }
}

/// A host and perhaps a port, which may be empty (RFC 3986 §3.2.3), and nothing else that `http` takes for an authority.
fn authority(text: &[u8]) -> Option<Authority> {
    let authority = Authority::try_from(text).ok()?;
    let port = &authority.as_str()[authority.host().len()..];
    let has_port = matches!(port, "" | ":") || authority.port_u16().is_some();
    (has_port && !authority.host().is_empty() && !authority.as_str().contains('@'))
        .then_some(authority)
}

/// For whom a trusted peer asks, by the fields that [`admit`](crate::forward::admit) has left: the last that no trusted
/// peer has said of itself. What stands before it, anybody may have written. `None`: nobody says, or nobody can tell
/// (`unknown`, `_hidden`).
pub fn client(
    fields: &HeaderMap,
    believed: ForwardedFields,
    trusts: impl Fn(IpAddr) -> bool,
) -> Option<IpAddr> {
    let untrusted = |address: &IpAddr| !trusts(*address);
    match believed {
        ForwardedFields::XForwarded => {
            let lines = fields.get_all(X_FORWARDED_FOR).iter().rev();
            let elements = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
            elements.map_while(address).find(untrusted)
        }
        ForwardedFields::Forwarded => {
            let asked_for: Vec<_> =
                list::members(fields, header::FORWARDED.as_str()).map(asked_for).collect();
            asked_for.into_iter().rev().map_while(|address| address).find(untrusted)
        }
    }
}

/// The address behind `for` in one element of `Forwarded`.
fn asked_for(element: &[u8]) -> Option<IpAddr> {
    list::split(element, b';', Backslash::Escapes).find_map(|pair| {
        let (name, written) = str::from_utf8(pair).ok()?.split_once('=')?;
        name.eq_ignore_ascii_case("for").then(|| address(unquoted(written)?.as_bytes()))
    })?
}

/// An address, in brackets or not, with a port or without.
fn address(element: &[u8]) -> Option<IpAddr> {
    let element = str::from_utf8(element).ok()?.trim();
    let bare = || element.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || Some(element.parse::<SocketAddr>().ok()?.ip());
    element.parse().ok().or_else(with_port).or_else(bare).map(|ip: IpAddr| ip.to_canonical())
}

/// Leaves in `Forwarded`, which only the request of a peer has that is believed in it, who asked. For which host and
/// scheme is moved to `X-Forwarded-Host` and `-Proto`: by these answers are kept apart. By the whole field they could
/// not be, since it names each client. What cannot be read goes.
pub(crate) fn settle_forwarded(fields: &mut HeaderMap) {
    if !fields.contains_key(header::FORWARDED) {
        return;
    }
    let told = Forwarded::read(fields);
    fields.remove(header::FORWARDED);
    let Some(Forwarded { who, host, proto }) = told else { return };
    let who = Some(who).filter(|who| !who.is_empty());
    for (name, said) in
        [(header::FORWARDED, who), (X_FORWARDED_HOST, host), (X_FORWARDED_PROTO, proto)]
    {
        if let Some(Ok(value)) = said.map(HeaderValue::try_from) {
            fields.insert(name, value);
        }
    }
}

/// What `Forwarded` says.
#[derive(Default)]
struct Forwarded {
    /// `for` and `by` of each element, as they were written.
    who: String,
    /// Those of the first element that names them: the one next to the client.
    host: Option<String>,
    proto: Option<String>,
}

impl Forwarded {
    /// `None` if any part of it is not what RFC 7239 §4 allows.
    fn read(fields: &HeaderMap) -> Option<Forwarded> {
        let mut told = Forwarded::default();
        for element in list::members(fields, header::FORWARDED.as_str()) {
            let mut separator = if told.who.is_empty() { "" } else { ", " };
            for pair in list::split(element, b';', Backslash::Escapes) {
                let pair = std::str::from_utf8(pair).ok()?;
                let (name, written) = pair.split_once('=')?;
                let value = unquoted(written)?;
                match &*name.to_ascii_lowercase() {
                    "for" | "by" => {
                        told.who.extend([separator, pair]);
                        separator = ";";
                    }
                    "host" => told.host = told.host.or(Some(value)),
                    "proto" => told.proto = told.proto.or(Some(value)),
                    _ => {}
                }
            }
        }
        Some(told)
    }
}

/// The value of a token or a quoted string (RFC 9110 §5.6.4); `None` if it is neither.
fn unquoted(written: &str) -> Option<String> {
    let Some(quoted) = written.strip_prefix('"') else {
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\"\\,;=".contains(&byte);
        return written.bytes().all(is_plain).then(|| written.to_owned());
    };
    let mut value = String::with_capacity(quoted.len());
    let mut rest = quoted.chars();
    loop {
        match rest.next()? {
            '"' => return rest.as_str().is_empty().then_some(value),
            '\\' => value.push(rest.next()?),
            plain => value.push(plain),
        }
    }
}
