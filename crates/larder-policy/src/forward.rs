//! Forwarding: what of a head goes on to the next hop, and what the hop adds (RFC 9110 §7.6,
//! RFC 8586, RFC 7239).

use std::net::IpAddr;

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Uri, Version,
    header::{self, Entry},
};

use crate::{
    claims::{X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO, settle_forwarded},
    fields::{push_number, read_number},
    head::RequestHead,
    list::{self, Backslash},
};

pub use crate::claims::{ForwardedFields, LineClaim, Named, client, take_named};

/// The name under which a hop signs `Via` and `CDN-Loop`: a token, or a host with or without port.
///
/// A hop refuses what it has seen. One that is told apart by its name alone ([`new`](HopName::new)) takes every
/// message that a hop of that name has signed for one of its own: instances that stand one behind the other need different
/// names then. One with a number of its own ([`numbered`](HopName::numbered)) does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HopName {
    /// As a field's value: every message is signed with it.
    name: HeaderValue,
    /// What `Via` says of a message that came as HTTP/1.1. Most do, so it is written once.
    via: HeaderValue,
    /// What `CDN-Loop` says.
    cdn_loop: HeaderValue,
    /// What tells this hop apart from others of its name.
    number: Option<String>,
}

/// How often hops of one name may sign a request, each with another number. There are some tiers at most, and what goes
/// round among many gateways of one tier is to end soon.
const MAX_PASSES: usize = 8;

impl HopName {
    /// Checks the name.
    pub fn new(name: impl Into<String>) -> Option<HopName> {
        HopName::of(name.into(), None)
    }

    /// The same, for a hop that is told apart from others of its name by a number, which it adds in `CDN-Loop` as a
    /// parameter (RFC 8586 §2). `Via` shows the name alone.
    pub fn numbered(name: impl Into<String>, number: u64) -> Option<HopName> {
        HopName::of(name.into(), Some(format!("{number:016x}")))
    }

    fn of(name: String, number: Option<String>) -> Option<HopName> {
        let (host, port) = match name.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (name.as_str(), None),
        };
        let port_fits = port.is_none_or(|port| port.parse::<u16>().is_ok());
        if !list::is_token(host.as_bytes()) || !port_fits {
            return None;
        }
        let via = [protocol(Version::HTTP_11), &name].join(" ");
        let cdn_loop = match &number {
            None => name.clone(),
            Some(number) => format!("{name};hop={number}"),
        };
        // A token fits into a field.
        let (via, cdn_loop) = (via.try_into().ok()?, cdn_loop.try_into().ok()?);
        Some(HopName { via, cdn_loop, name: name.try_into().ok()?, number })
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        self.name.to_str().expect("a token is ASCII")
    }
}

/// A hop that receives a message, and from whom.
#[derive(Clone, Copy, Debug)]
pub struct Hop<'a> {
    /// This hop's own name.
    pub name: &'a HopName,
    /// The version in which the message came in.
    pub version: Version,
    /// Who sent the request; none if no address is known, as on a Unix socket.
    pub peer: Option<IpAddr>,
    /// In which fields the peer's word about those before it is believed; none if it is not trusted.
    pub believed: Option<ForwardedFields>,
}

/// What becomes of a request at this hop.
#[derive(Clone, Debug)]
pub enum Onward {
    /// It goes on, with these fields.
    Forward(HeaderMap),
    /// It has been here before: 508 and `proxy_loop_detected` (RFC 8586 §2).
    Loop,
    /// It was to go no further (`Max-Forwards: 0`): this hop answers it (RFC 9110 §7.6.2).
    Final,
}

/// What becomes of a request whose URI is absolute, and the fields that go on with it: [`admit`] and
/// [`sign`] in one.
pub fn request(request: RequestHead<'_>, hop: Hop<'_>) -> Onward {
    let mut fields = request.headers.to_map();
    match admit(request.method, &mut fields, hop) {
        Admission::Granted => {
            sign(request.uri, &mut fields, hop, None);
            Onward::Forward(fields)
        }
        Admission::Loop => Onward::Loop,
        Admission::Final => Onward::Final,
    }
}

/// Whether a request goes on from this hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It does.
    Granted,
    /// It has been here before: 508 and `proxy_loop_detected` (RFC 8586 §2).
    Loop,
    /// It was to go no further (`Max-Forwards: 0`): this hop answers it (RFC 9110 §7.6.2).
    Final,
}

/// Takes out of a request's fields what is not for the next hop, or not to be believed. What is left
/// is what a cache at this hop may go by.
///
/// A name with underscores that with hyphens would be one of those goes as well, whoever the peer is:
/// servers that hand fields on as environment variables read both as the same, and no proxy writes it.
pub fn admit(method: &Method, fields: &mut HeaderMap, hop: Hop<'_>) -> Admission {
    if has_passed(fields, hop.name) {
        return Admission::Loop;
    }
    if matches!(*method, Method::OPTIONS | Method::TRACE)
        && let Some(left) = list::single(&*fields, header::MAX_FORWARDS.as_str())
        && let Some(left) = read_number(left)
    {
        match left.checked_sub(1) {
            Some(left) => fields.insert(header::MAX_FORWARDS, HeaderValue::from(left)),
            None => return Admission::Final,
        };
    }
    strip(fields);
    drop_claims(fields, hop.believed);
    settle_forwarded(fields);
    Admission::Granted
}

/// What becomes of one line of a request's fields where nothing is made of the request because the
/// answer is at hand: the same as by [`admit`], line by line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineFate {
    /// The cache may go by it.
    Stays,
    /// It is not for the next hop, or not to be believed.
    Goes,
    /// It may concern more than its own line: the request has to go the whole way.
    Decides,
}

/// The fate of the line `name: value`, sent by a peer that is believed in these fields, or in none.
pub fn fate(name: &[u8], value: &[u8], believed: Option<ForwardedFields>) -> LineFate {
    let is = |known: &HeaderName| name.eq_ignore_ascii_case(known.as_str().as_bytes());
    let is_spelt = |known: &HeaderName| is_spelt(name, known.as_str().as_bytes());
    match (name.len(), name.first().map(u8::to_ascii_lowercase)) {
        // What `Connection` lists besides goes with it.
        (10, Some(b'c')) if is(&header::CONNECTION) => {
            match value.eq_ignore_ascii_case(b"keep-alive") {
                true => LineFate::Goes,
                false => LineFate::Decides,
            }
        }
        (8, Some(b'c')) if is(&CDN_LOOP) => LineFate::Decides,
        (8, Some(b'c')) if is_spelt(&CDN_LOOP) => LineFate::Goes,
        (14, Some(b'c')) if is_spelt(&header::CONTENT_LENGTH) && name[7] == b'_' => LineFate::Goes,
        // What it says of the target is moved to other fields.
        (9, Some(b'f')) if is(&header::FORWARDED) => match believed {
            Some(ForwardedFields::Forwarded) => LineFate::Decides,
            _ => LineFate::Goes,
        },
        (12.., Some(b'x')) if begins_as_forwarded(name) => claim(name, believed),
        (9 | 11 | 13 | 14 | 16 | 18 | 19 | 24, Some(b'c' | b'f' | b't' | b'x'))
            if names_the_client(name) =>
        {
            claim(name, believed)
        }
        // Without `User-Agent` and others that nearly all requests have.
        (2 | 7, Some(b't' | b'u')) | (10, Some(b'k')) | (14.., Some(b'h' | b'p' | b't'))
            if FOR_ONE_HOP.iter().any(|known| self::is_spelt(name, known.as_bytes())) =>
        {
            LineFate::Goes
        }
        _ => LineFate::Stays,
    }
}

/// Whether a field tells, in any spelling, the address of who is behind a proxy, as proxies and those who sell them name it
/// beside `X-Forwarded-For`. Services count and lock out by it, so it is nobody's but a trusted proxy's.
pub fn names_the_client(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 13] = [
        b"cf-connecting-ip",
        b"cf-connecting-ipv6",
        b"client-ip",
        b"fastly-client-ip",
        b"true-client-ip",
        b"x-azure-clientip",
        b"x-client-ip",
        b"x-cluster-client-ip",
        b"x-envoy-external-address",
        b"x-original-forwarded-for",
        b"x-real-ip",
        b"x-remote-addr",
        b"x-remote-ip",
    ];
    NAMES.iter().any(|known| is_spelt(name, known))
}

fn claim(name: &[u8], believed: Option<ForwardedFields>) -> LineFate {
    let is_believed = believed == Some(ForwardedFields::XForwarded) && !name.contains(&b'_');
    if is_believed { LineFate::Stays } else { LineFate::Goes }
}

/// Whether `name` is `known` (in small letters), in any case and with underscores for hyphens or without.
pub(crate) fn is_spelt(name: &[u8], known: &[u8]) -> bool {
    name.len() == known.len()
        && name.iter().zip(known).all(|(byte, known)| {
            byte.to_ascii_lowercase() == *known || (*byte == b'_' && *known == b'-')
        })
}

/// Whether a field tells the origin for which host and URI a proxy forwards, in any spelling.
pub(crate) fn names_the_target(name: &[u8]) -> bool {
    const TARGET: [&[u8]; 9] =
        [b"host", b"path", b"port", b"prefix", b"proto", b"scheme", b"server", b"ssl", b"uri"];
    begins_as_forwarded(name) && TARGET.iter().any(|known| is_spelt(&name[12..], known))
}

fn begins_as_forwarded(name: &[u8]) -> bool {
    name.get(..12).is_some_and(|begins| is_spelt(begins, b"x-forwarded-"))
}

/// Whether a request field tells origins to answer for another method, host, scheme or URI than the
/// request names, or by another way of theirs: some servers and frameworks obey these, and no key has them.
///
/// Those that begin with `X-Forwarded-` are not among them: proxies send them, and [`admit`] leaves only
/// those of proxies that are trusted. Answers to requests with different ones are kept apart
/// ([`storability`](crate::response::storability)).
pub fn steers(name: &HeaderName) -> bool {
    const STEERING: [&str; 35] = [
        // The host and the scheme.
        "forwarded-host",
        "forwarded-proto",
        "front-end-https",
        "x-backend-host",
        "x-forwarded",
        "x-forward-host",
        "x-host",
        "x-http-host-override",
        "x-original-host",
        "x-scheme",
        "x-url-scheme",
        // The path.
        "script-name",
        "x-envoy-original-path",
        "x-http-path-override",
        "x-original-uri",
        "x-original-url",
        "x-override-url",
        "x-proxy-url",
        "x-request-uri",
        "x-rewrite-uri",
        "x-rewrite-url",
        "x-script-name",
        // The way the server itself takes: the proxy of a CGI script, files that the hop before is to
        // send, what routers of frameworks tell themselves.
        "proxy",
        "x-accel-mapping",
        "x-invoke-error",
        "x-invoke-output",
        "x-invoke-path",
        "x-invoke-query",
        "x-invoke-status",
        "x-matched-path",
        "x-middleware-prefetch",
        "x-middleware-rewrite",
        "x-middleware-subrequest",
        "x-now-route-matches",
        "x-sendfile-type",
    ];
    let text = name.as_str().as_bytes();
    matches!(text, [b'f' | b'p' | b's' | b'x', ..])
        && (stands_for_the_method(name)
            || STEERING.iter().any(|known| is_spelt(text, known.as_bytes())))
}

/// Whether a request field tells origins to take another method for the request's: what its own method
/// promises (RFC 9110 §9.2) does not hold then.
pub fn stands_for_the_method(name: &HeaderName) -> bool {
    const METHOD: [&str; 4] =
        ["x-http-method", "x-http-method-override", "x-method-override", "x-original-method"];
    let name = name.as_str().as_bytes();
    name.first() == Some(&b'x') && METHOD.iter().any(|known| is_spelt(name, known.as_bytes()))
}

/// Adds what this hop has to say to the next: that the request came through here, and from whom. Where the peer asks
/// for another (`client`), the fields that do not say so yet begin with that.
///
/// A cache at this hop has not seen it; so an answer that varies by who asks must not be stored there
/// ([`varies_by_peer`]).
pub fn sign(uri: &Uri, fields: &mut HeaderMap, hop: Hop<'_>, client: Option<IpAddr>) {
    fields.reserve(SIGNED);
    append(fields, &header::VIA, via(hop.version, hop.name));
    append(fields, &CDN_LOOP, hop.name.cdn_loop.clone());
    name_the_peer(fields, uri, hop.peer, client.filter(|client| Some(*client) != hop.peer));
}

/// Whether an answer depends on what [`sign`] says of the peer: it is for nobody else then.
pub fn varies_by_peer(answer: &HeaderMap) -> bool {
    let by_peer = [X_FORWARDED_FOR, header::FORWARDED, header::VIA];
    let mut names = members(answer, header::VARY);
    names.any(|member| {
        by_peer.iter().any(|name| member.eq_ignore_ascii_case(name.as_str().as_bytes()))
    })
}

/// The fields of a response that go on to the reader, or into the cache, with this hop in `Via`.
pub fn response(mut fields: HeaderMap, hop: &HopName, version: Version) -> HeaderMap {
    strip(&mut fields);
    append(&mut fields, &header::VIA, via(version, hop));
    fields
}

/// Whether the sender of a request takes trailers (RFC 9110 §10.1.4).
pub fn takes_trailers(request: &HeaderMap) -> bool {
    members(request, header::TE).any(|member| {
        let coding = member.split(|&byte| byte == b';').next().unwrap_or_default();
        list::trimmed(coding).eq_ignore_ascii_case(b"trailers")
    })
}

/// Removes from trailers what may not be there: whatever frames, routes, secures or changes the meaning of a message
/// has to come before its content (RFC 9110 §6.5.1). Some programs take trailers for fields like others: those would
/// be told there what was refused them before.
pub fn trailers(fields: &mut HeaderMap) {
    const TOO_LATE: [&str; 9] = [
        "content-security-policy",
        "expect",
        "max-forwards",
        "origin",
        "referer",
        "retry-after",
        "strict-transport-security",
        "warning",
        "www-authenticate",
    ];
    let is_refused = |name: &&HeaderName| {
        is_for_one_hop(name)
            || (is_for_all(name) && **name != header::ETAG)
            || claimed_in(name).is_some()
            || steers(name)
            || stands_for_what_is_dropped(name)
            || TOO_LATE.contains(&name.as_str())
    };
    let refused: Vec<HeaderName> = fields.keys().filter(is_refused).cloned().collect();
    for name in refused {
        fields.remove(name);
    }
}

/// Removes what is meant for this hop only: the fields that `Connection` lists, `Connection` itself,
/// and those that are known to be (RFC 9110 §7.6.1).
///
/// Strict: fields on which a decision rests, for all recipients by their definition, are not removed
/// because somebody lists them. §7.6.1 forbids to list them, and obeying would hide a `private` from
/// this cache, or a cookie from the origin behind it.
pub fn strip(fields: &mut HeaderMap) {
    // `Connection` is one of them: without it nothing is listed. Most heads have none, and looking through
    // the few names there are costs less than looking each of those up.
    if !fields.keys().any(is_for_one_hop) {
        return;
    }
    let listed: Vec<HeaderName> = members(fields, header::CONNECTION)
        .filter_map(|option| HeaderName::from_bytes(option).ok())
        .filter(|name| !is_for_all(name))
        .collect();
    let found = fields.keys().filter(|name| is_for_one_hop(name)).cloned();
    for name in listed.into_iter().chain(found.collect::<Vec<_>>()) {
        fields.remove(name);
    }
}

/// Whether a field is never stored and never updated: for one hop only, or about one client's proxy
/// (RFC 9111 §3.1).
pub(crate) fn is_never_stored(name: &HeaderName) -> bool {
    is_for_one_hop(name)
}

/// `TE` and `Trailer` are among them: trailers are kept with no answer that is stored, so who asks for one need not ask
/// for them. A gateway demands no authentication as a proxy, so what speaks of it was meant for another.
const FOR_ONE_HOP: [&str; 11] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
];

fn is_for_one_hop(name: &HeaderName) -> bool {
    FOR_ONE_HOP.contains(&name.as_str())
}

fn is_for_all(name: &HeaderName) -> bool {
    const FOR_ALL: [&str; 29] = [
        "age",
        "authorization",
        "cache-control",
        "cdn-cache-control",
        "cdn-loop",
        "content-encoding",
        "content-length",
        "content-location",
        "content-range",
        "content-type",
        "cookie",
        "date",
        "etag",
        "expires",
        "forwarded",
        "host",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "larder-cache-control",
        "last-modified",
        "location",
        "pragma",
        "range",
        "set-cookie",
        "surrogate-control",
        "vary",
        "via",
    ];
    FOR_ALL.contains(&name.as_str()) || name.as_str().starts_with("x-forwarded-")
}

/// Whether `CDN-Loop` shows that the request has been here (RFC 8586 §2). Names are compared without
/// regard to case, since they can be hosts.
fn has_passed(headers: &HeaderMap, hop: &HopName) -> bool {
    let mut passes = 0;
    members(headers, CDN_LOOP).any(|member| {
        let mut parts = member.split(|&byte| byte == b';').map(list::trimmed);
        let id = parts.next().unwrap_or_default();
        if !id.eq_ignore_ascii_case(hop.as_str().as_bytes()) {
            return false;
        }
        passes += 1;
        match &hop.number {
            None => true,
            Some(number) => {
                let is_ours = |part: &[u8]| part.strip_prefix(b"hop=") == Some(number.as_bytes());
                passes >= MAX_PASSES || parts.any(is_ours)
            }
        }
    })
}

/// Says who sent the request, in `X-Forwarded-*` and `Forwarded` (RFC 7239). What an untrusted peer
/// says about itself and others was dropped, so that the origin can believe what it reads.
fn name_the_peer(fields: &mut HeaderMap, uri: &Uri, peer: Option<IpAddr>, client: Option<IpAddr>) {
    if let Some(client) = client {
        insert_if_missing(fields, X_FORWARDED_FOR, &address(client));
        let mut element = String::new();
        push_for(Some(client), &mut element);
        insert_if_missing(fields, header::FORWARDED, &element);
    }
    let mut element = String::with_capacity(128);
    push_for(peer, &mut element);
    if let Some(peer) = peer {
        append_text(fields, &X_FORWARDED_FOR, address(peer));
    }
    if let Some(authority) = uri.authority() {
        // Host and port only: no quote or backslash can be in them.
        let host = authority.as_str().rsplit('@').next().unwrap_or_default();
        let host = said_or_inserted(fields, X_FORWARDED_HOST, host);
        element.extend([";host=\"", host, "\""]);
    }
    if let Some(scheme) = uri.scheme_str() {
        let scheme = said_or_inserted(fields, X_FORWARDED_PROTO, scheme);
        element.extend([";proto=", scheme]);
    }
    append_text(fields, &header::FORWARDED, element);
}

/// A node as RFC 7239 §6 writes it.
fn push_for(node: Option<IpAddr>, element: &mut String) {
    match node {
        Some(ip @ IpAddr::V4(_)) => element.extend(["for=", &address(ip)]),
        Some(ip @ IpAddr::V6(_)) => element.extend(["for=\"[", &address(ip), "]\""]),
        None => element.push_str("for=unknown"),
    }
}

/// What a peer that is trusted has said in this field, which tells answers apart: origins that read
/// `Forwarded` alone are to hear the same. Otherwise `known`, which is then in the field, or stands for what
/// takes more than a host's or a scheme's characters.
fn said_or_inserted<'a>(fields: &'a mut HeaderMap, name: HeaderName, known: &'a str) -> &'a str {
    match fields.entry(name) {
        Entry::Vacant(place) => {
            if let Ok(value) = HeaderValue::from_str(known) {
                place.insert(value);
            }
            known
        }
        Entry::Occupied(place) => {
            let said = place.into_mut().to_str().unwrap_or_default();
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-.:[]_".contains(&byte);
            if !said.is_empty() && said.bytes().all(is_plain) { said } else { known }
        }
    }
}

/// As text. Nearly all are of the kind that is written quickly.
fn address(peer: IpAddr) -> String {
    let IpAddr::V4(peer) = peer else { return peer.to_string() };
    let mut text = String::with_capacity("255.255.255.255".len());
    for octet in peer.octets() {
        if !text.is_empty() {
            text.push('.');
        }
        push_number(octet.into(), &mut text);
    }
    text
}

/// What is not to be believed: claims of a peer that is not trusted, and of one that is in the fields that it may
/// have passed on as they came to it; and names that only look unlike those that are dropped.
fn drop_claims(fields: &mut HeaderMap, believed: Option<ForwardedFields>) {
    let is_dropped = |name: &&HeaderName| {
        claimed_in(name).is_some_and(|claimed_in| believed != Some(claimed_in))
            || stands_for_what_is_dropped(name)
    };
    let claims: Vec<HeaderName> = fields.keys().filter(is_dropped).cloned().collect();
    for name in claims {
        fields.remove(name);
    }
}

/// Which of the fields a name is of that say who is behind a peer; none if it is another.
fn claimed_in(name: &HeaderName) -> Option<ForwardedFields> {
    let name = name.as_str();
    match name {
        "forwarded" => Some(ForwardedFields::Forwarded),
        _ if name.starts_with("x-forwarded-") || names_the_client(name.as_bytes()) => {
            Some(ForwardedFields::XForwarded)
        }
        _ => None,
    }
}

/// Whether a name has underscores, and with hyphens would be that of a claim, of a field for one hop, or of
/// one that a hop writes itself.
fn stands_for_what_is_dropped(name: &HeaderName) -> bool {
    let name = name.as_str().as_bytes();
    if !name.contains(&b'_') {
        return false;
    }
    let is = |known: &str| is_spelt(name, known.as_bytes());
    begins_as_forwarded(name)
        || names_the_client(name)
        || [&CDN_LOOP, &header::CONTENT_LENGTH].iter().any(|known| is(known.as_str()))
        || FOR_ONE_HOP.iter().any(|known| is(known))
}

const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");

/// How many fields [`sign`] adds at most.
const SIGNED: usize = 6;

fn via(version: Version, hop: &HopName) -> HeaderValue {
    match version {
        Version::HTTP_11 => hop.via.clone(),
        _ => [protocol(version), hop.as_str()]
            .join(" ")
            .try_into()
            .expect("a number and a token fit into a field"),
    }
}

/// The version as `Via` writes it: without `HTTP/` (RFC 9110 §7.6.3).
fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "0.9",
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        Version::HTTP_3 => "3",
        _ => "1.1",
    }
}

/// The members of a field whose name need not be parsed first.
fn members(fields: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &[u8]> {
    let lines = fields.get_all(name).into_iter().map(HeaderValue::as_bytes);
    lines.flat_map(|line| list::split(line, b',', Backslash::Escapes))
}

fn append_text(fields: &mut HeaderMap, name: &HeaderName, member: String) {
    if let Ok(member) = member.try_into() {
        append(fields, name, member);
    }
}

/// Adds a member at the end of a list, in one line: some readers look at the first line only.
fn append(fields: &mut HeaderMap, name: &HeaderName, member: HeaderValue) {
    let there = match fields.entry(name) {
        Entry::Vacant(place) => {
            place.insert(member);
            return;
        }
        Entry::Occupied(there) => there,
    };
    let lines: Vec<_> = there.iter().map(HeaderValue::as_bytes).collect();
    let mut list = lines.join(&b", "[..]);
    if !list::trimmed(&list).is_empty() {
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(member.as_bytes());
    if let Ok(list) = HeaderValue::from_bytes(list::trimmed(&list)) {
        fields.insert(name, list);
    }
}

fn insert_if_missing(fields: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Entry::Vacant(place) = fields.entry(name)
        && let Ok(value) = HeaderValue::from_str(value)
    {
        place.insert(value);
    }
}
