//! Short cuts: what is read at a glance is what the whole way finds.

use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use larder_policy::{
    fields::{FieldBlock, FieldLine, Fields},
    forward::{self, Admission, ForwardedFields, Hop, HopName, LineFate},
    key::RequestKey,
    range::{ByteRange, part_fields, part_lines},
    scheme::Scheme,
};
use proptest::{collection::vec, prelude::*, sample::select as one_of};

/// Every name that means something to a hop or to an answer, and some that do not.
const NAMES: [&str; 45] = [
    "accept",
    "cache-control",
    "cdn-loop",
    "connection",
    "content-digest",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-md5",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "etag",
    "expires",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "last-modified",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "repr-digest",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-forwarded-for",
    "x-forwarded-odd",
    "x-real-ip",
    "api_key",
    "cdn_loop",
    "content_length",
    "http2_settings",
    "keep_alive",
    "proxy_connection",
    "transfer_encoding",
    "x-forwarded-client_cert",
    "x_forwarded_host",
    "x_forwards",
    "x_real_ip",
];

fn lines() -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
    let value = one_of(vec!["keep-alive", "close", "te, x-one", "1", "\"a\"", "", "Keep-Alive"]);
    vec((one_of(NAMES.to_vec()), value), 0..8)
}

fn believed() -> impl Strategy<Value = Option<ForwardedFields>> {
    one_of(vec![None, Some(ForwardedFields::XForwarded), Some(ForwardedFields::Forwarded)])
}

fn map_of(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    map
}

fn map_of_lines<'a>(lines: impl Iterator<Item = FieldLine<'a>>) -> HeaderMap {
    Fields::of_lines(&lines.collect::<Vec<_>>()).to_map()
}

proptest! {
    #[test]
    fn lines_that_decide_nothing_leave_what_the_whole_admission_leaves(
        lines in lines(), believed in believed(), shout: bool,
    ) {
        let fates: Vec<LineFate> = lines
            .iter()
            .map(|(name, value)| {
                let name = if shout { name.to_uppercase() } else { (*name).to_owned() };
                forward::fate(name.as_bytes(), value.as_bytes(), believed)
            })
            .collect();
        if fates.contains(&LineFate::Decides) {
            return Ok(());
        }
        let stays = lines.iter().zip(&fates).filter(|(_, fate)| **fate == LineFate::Stays);
        let stays: Vec<_> = stays.map(|(line, _)| *line).collect();
        let name = HopName::new("larder").unwrap();
        let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let hop = Hop { name: &name, version: Version::HTTP_11, peer: Some(peer), believed };
        let mut whole = map_of(&lines);
        prop_assert_eq!(forward::admit(&Method::GET, &mut whole, hop), Admission::Granted);
        prop_assert_eq!(map_of(&stays), whole);
    }

    #[test]
    fn the_key_of_what_is_plainly_written_is_the_key_of_its_uri(
        is_encrypted: bool,
        host in "[a-z0-9.-]{1,9}(:[0-9]{1,5}|:80|:443)?|[A-Z.\\[\\]:@]{0,6}",
        target in "/[!-~]{0,12}|/[a-z0-9/]{0,9}(%[0-9a-fA-F]{2}){0,3}(\\?[a-z&=%0-9?]{0,9})?|[!-~]{0,6}",
    ) {
        let scheme = if is_encrypted { Scheme::Https } else { Scheme::Http };
        let mut out = b"what was here before".to_vec();
        let written = RequestKey::write(scheme, host.as_bytes(), target.as_bytes(), &mut out);
        if let Some(written) = written {
            let uri = format!("{}://{host}{target}", scheme.as_str()).parse();
            let key = uri.ok().and_then(|uri| RequestKey::of_uri(&uri)).expect("a URI with a key");
            prop_assert_eq!(written, key.as_str());
        }
    }

    #[test]
    fn fields_written_line_by_line_are_those_of_the_whole_answer(lines in lines()) {
        let map = map_of(&lines);
        let block = FieldBlock::from(&map);
        let range = ByteRange::new(3, 9).unwrap();
        let mut part = map_of_lines(part_lines(&block));
        part.insert("content-length", HeaderValue::from(7));
        part.insert("content-range", range.content_range(Some(10)));
        prop_assert_eq!(part, part_fields(&map, range, Some(10)));
    }
}

#[test]
fn what_is_written_in_the_common_way_is_read_at_a_glance() {
    let mut key = Vec::new();
    for (host, target, is_plain) in [
        ("example.org:443", "/", true),
        ("example.org", "/", true),
        ("example.org:8080", "/a/b.css?v=1&x=%7E", true),
        // Its answers lie apart.
        ("example.org", "/a?x=%7e", false),
        ("127.0.0.1:65535", "/posts/1", true),
        ("example.org:80", "/", false),
        ("example.org:65536", "/", false),
        ("Example.org", "/", false),
        ("[::1]", "/", false),
        ("user@example.org", "/", false),
        ("example.org", "http://example.org/", false),
        ("example.org", "/a#b", false),
        ("", "/", false),
    ] {
        let read = RequestKey::write(Scheme::Http, host.as_bytes(), target.as_bytes(), &mut key);
        assert_eq!(read.is_some(), is_plain, "{host} {target}");
    }
    let written = RequestKey::write(Scheme::Http, b"example.org", b"/a%7Eb%2F?c", &mut key);
    assert_eq!(written, Some("http://example.org/a~b%2F?c"));
    let mut write =
        |host| RequestKey::write(Scheme::Https, host, b"/", &mut key).map(str::to_owned);
    assert_eq!(write(b"example.org:80").as_deref(), Some("https://example.org:80/"));
    assert_eq!(write(b"example.org:443"), None);
}
