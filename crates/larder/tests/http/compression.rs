//! Compression: coded forms of stored text, as readers, their conditions and the origin see them.

use std::{collections::HashMap, io::Read, time::Duration};

use allocation_counter::measure;
use bytes::Bytes;
use http::Response;
use larder::http::{
    Body, Policy, Settings,
    policy::{coding::Coding, compression::Compression, etag::EntityTag},
};
use proptest::prelude::*;

use crate::{
    fast_hit::{fast_hit, parsed},
    support::{Answer, Shape, Site, get_with, headers, ok, over_each_shape, request, secs, settle},
};

const ALL: &str = "gzip, deflate, br, zstd";
const SINCE: &str = "Mon, 01 Jan 2024 00:00:00 GMT";

/// Text that codings make much shorter, another for each version.
fn text(version: u32) -> Bytes {
    (0..300).map(|line| format!("{version}: this is line {line}\n")).collect::<String>().into()
}

fn policy() -> Policy {
    Policy::standard().compress(Compression::of(Coding::ALL))
}

fn site_of(shape: Shape, policy: Policy) -> Site {
    let shape = shape.holding(64 << 10);
    Site::with(shape, policy, Settings::default(), |builder| builder)
}

fn site(shape: Shape) -> Site {
    site_of(shape, policy())
}

fn page(version: u32, fields: &[(&str, &str)]) -> Response<Body> {
    let usual = [("cache-control", "max-age=60"), ("content-type", "text/html; charset=utf-8")];
    ok(&[&usual[..], fields].concat(), text(version))
}

/// What an answer's bytes are, its coding undone.
fn plain(answer: &Answer) -> Vec<u8> {
    assert!(answer.is_whole);
    decoded(&answer.field("content-encoding"), &answer.body)
}

fn decoded(coding: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    match coding {
        "" => bytes.extend_from_slice(body),
        "gzip" => drop(flate2::read::GzDecoder::new(body).read_to_end(&mut bytes).unwrap()),
        "br" => drop(brotli::Decompressor::new(body, 4096).read_to_end(&mut bytes).unwrap()),
        "zstd" => bytes = zstd::decode_all(body).unwrap(),
        other => panic!("nobody asked for {other}"),
    }
    bytes
}

/// Until no form is to be made any more.
async fn made(site: &Site) {
    let all = async {
        while site.cache.compression().under_way > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(secs(3600), all).await.expect("they are made");
}

/// Asks for each form of a path, until all are there.
async fn make_all(site: &Site, path: &str) {
    for coding in Coding::ALL {
        site.send(get_with(path, &[("accept-encoding", coding.as_str())])).await;
        made(site).await;
    }
}

over_each_shape!(a_form_is_made_behind_the_first_hit_that_wants_it_and_served_from_then_on);
async fn a_form_is_made_behind_the_first_hit_that_wants_it_and_served_from_then_on(shape: Shape) {
    let site = site(shape);
    for (path, accepts, coding) in [
        ("/a", ALL, "zstd"),
        ("/b", "gzip, deflate, br", "br"),
        ("/c", "gzip", "gzip"),
        ("/d", "gzip, br;q=0.5, zstd;q=0.4", "gzip"),
    ] {
        let asked = || get_with(path, &[("accept-encoding", accepts)]);
        let first = site.answered(asked(), page(1, &[("etag", "\"v1\"")])).await;
        let second = site.send(asked()).await;
        assert!(second.is_hit());
        for answer in [&first, &second] {
            assert_eq!((answer.field("content-encoding"), &answer.body), ("".into(), &text(1)));
            assert_eq!(
                (answer.field("etag"), answer.field("vary")),
                ("\"v1\"".into(), "accept-encoding".into())
            );
        }
        made(&site).await;
        let third = site.send(asked()).await;
        assert!(third.is_hit());
        assert_eq!(third.field("content-encoding"), coding, "{path}");
        assert_eq!(plain(&third), text(1));
        assert_eq!(third.field("content-length"), third.body.len().to_string());
        assert_eq!(third.field("vary"), "accept-encoding");
        assert!(third.field("etag").starts_with(&format!("\"v1-larder-{coding}-")), "{third:?}");
        let of_head = site.send(request("HEAD", path, &[("accept-encoding", accepts)])).await;
        for name in ["content-encoding", "content-length", "etag", "vary", "content-type"] {
            assert_eq!(of_head.field(name), third.field(name), "{name}");
        }
        let plain = site.send(get_with(path, &[])).await;
        assert_eq!(plain.field("vary"), "accept-encoding");
        assert_eq!((plain.field("content-encoding"), plain.body), (String::new(), text(1)));
    }
    let stats = site.cache.compression();
    assert_eq!((stats.made, stats.not_worth_it, stats.turned_away), (4, 0, 0));
    assert_eq!(stats.plain_bytes, 4 * text(1).len() as u64);
    assert!(stats.coded_bytes < stats.plain_bytes / 4);
}

over_each_shape!(what_is_no_text_or_forbids_it_or_would_not_be_shorter_stays_as_it_is);
async fn what_is_no_text_or_forbids_it_or_would_not_be_shorter_stays_as_it_is(shape: Shape) {
    let site = site(shape);
    // What no coding finds anything in.
    let mut state = 1_u64;
    let noise: Bytes = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    })
    .take(4000)
    .collect();
    let html = ("content-type", "text/html");
    let fresh = ("cache-control", "max-age=60");
    for (path, fields, body, says_vary) in [
        ("/png", &[fresh, ("content-type", "image/png")][..], text(1), false),
        ("/no", &[("cache-control", "max-age=60, no-transform"), html], text(1), false),
        ("/gzip", &[fresh, html, ("content-encoding", "gzip")], text(1), false),
        ("/cookie", &[fresh, html, ("set-cookie", "a=b")], text(1), false),
        ("/short", &[fresh, html], text(1).slice(..1023), false),
        ("/noise", &[fresh, html], noise, true),
    ] {
        let asked = || get_with(path, &[("accept-encoding", ALL)]);
        site.answered(asked(), ok(fields, body.clone())).await;
        for _ in 0..3 {
            let answer = site.send(asked()).await;
            made(&site).await;
            assert!(answer.is_hit(), "{path}");
            assert_eq!(answer.body, body);
            assert_eq!(!answer.field("vary").is_empty(), says_vary, "{path}");
        }
    }
    let stats = site.cache.compression();
    assert_eq!((stats.made, stats.not_worth_it), (0, 1), "the noise was tried once");
    // What its own reader forbids.
    site.answered(get_with("/a", &[]), page(1, &[])).await;
    make_all(&site, "/a").await;
    let forbids = [("accept-encoding", ALL), ("cache-control", "no-transform")];
    let answer = site.send(get_with("/a", &forbids)).await;
    assert!(answer.is_hit());
    assert_eq!((answer.field("content-encoding"), answer.body), (String::new(), text(1)));
}

over_each_shape!(each_form_has_its_own_tag_and_its_own_ranges);
async fn each_form_has_its_own_tag_and_its_own_ranges(shape: Shape) {
    for own in [Some("\"v1\""), Some("W/\"v1\""), None] {
        let site = site(shape);
        let mut fields = vec![("last-modified", SINCE), ("repr-digest", "sha-256=:AAAA:")];
        fields.extend(own.map(|own| ("etag", own)));
        site.answered(get_with("/a", &[]), page(1, &fields)).await;
        make_all(&site, "/a").await;
        let is_weak = own.is_some_and(|own| own.starts_with('W'));
        let mut tags = Vec::new();
        for coding in ["zstd", "br", "gzip"] {
            let accepts = ("accept-encoding", coding);
            let whole = site.send(get_with("/a", &[accepts])).await;
            assert_eq!(whole.field("content-encoding"), coding);
            assert_eq!(whole.field("repr-digest"), "");
            let tag = whole.field("etag");
            if is_weak {
                assert_eq!(tag, "W/\"v1\"");
            } else {
                assert!(!tags.contains(&tag));
            }
            for method in ["GET", "HEAD"] {
                let asked = |fields: &[(&str, &str)]| {
                    request(method, "/a", &[&[accepts][..], fields].concat())
                };
                let same = site.send(asked(&[("if-none-match", &tag)])).await;
                assert_eq!(
                    (same.status, same.field("etag"), same.body.len()),
                    (304, tag.clone(), 0)
                );
                assert_eq!(
                    (same.field("vary"), same.field("content-encoding")),
                    ("accept-encoding".into(), String::new())
                );
                let other = site.send(asked(&[("if-none-match", "\"other\"")])).await;
                assert_eq!(
                    (other.status, other.field("content-encoding")),
                    (200, coding.to_owned())
                );
                let since = site.send(asked(&[("if-modified-since", SINCE)])).await;
                assert_eq!(since.status, 304);
            }
            // The rest of what was begun.
            let rest = [accepts, ("range", "bytes=10-"), ("if-range", &tag)];
            let rest = site.send(get_with("/a", &rest)).await;
            if is_weak {
                assert_eq!(rest.status, 200, "a weak tag tells nothing of bytes");
                continue;
            }
            assert_eq!((rest.status, rest.field("etag")), (206, tag.clone()));
            assert_eq!(rest.field("content-encoding"), coding);
            assert_eq!([&whole.body[..10], &rest.body].concat(), whole.body);
            tags.push(tag);
        }
        // A range without a tag is always of the plain bytes, and so is one by date or by the origin's tag.
        let mut conditions = vec![vec![], vec![("if-range", SINCE)]];
        conditions.extend(own.filter(|_| !is_weak).map(|own| vec![("if-range", own)]));
        for condition in conditions {
            let part =
                [&[("accept-encoding", ALL), ("range", "bytes=5-9")][..], &condition].concat();
            let part = site.send(get_with("/a", &part)).await;
            assert_eq!((part.status, &part.body[..]), (206, &text(1)[5..10]), "{condition:?}");
            assert_eq!(part.field("content-encoding"), "");
            assert_eq!(part.field("vary"), "accept-encoding");
        }
        // Who refuses plain bytes gets none.
        let part = [("accept-encoding", "identity;q=0, br"), ("range", "bytes=5-9")];
        let part = site.send(get_with("/a", &part)).await;
        assert_eq!((part.status, part.field("content-encoding")), (206, "br".to_owned()));
        // A form that is not there: the whole of what is.
        let gone = "\"v1-larder-br-0000000000000000\"";
        let gone = [("accept-encoding", "br"), ("range", "bytes=5-9"), ("if-range", gone)];
        let whole = site.send(get_with("/a", &gone)).await;
        assert_eq!((whole.status, plain(&whole)), (200, text(1).to_vec()));
    }
}

over_each_shape!(a_form_that_is_not_there_any_more_is_still_current_if_its_version_is);
async fn a_form_that_is_not_there_any_more_is_still_current_if_its_version_is(shape: Shape) {
    let site = site(shape);
    let known = "\"v1-larder-br-0123456789abcdef\"";
    let asked = |coding| get_with("/a", &[("accept-encoding", coding), ("if-none-match", known)]);
    // On a miss, which asks for all of it, and on a hit before the form is made.
    let on_miss = site.answered(asked("gzip, br"), page(1, &[("etag", "\"v1\"")])).await;
    let on_hit = site.send(asked("gzip, br")).await;
    for answer in [&on_miss, &on_hit] {
        assert_eq!((answer.status, answer.field("etag")), (304, known.to_owned()), "{answer:?}");
    }
    // Who does not take the form any more cannot be told that it is current.
    assert_eq!(site.send(asked("gzip")).await.status, 200);
    made(&site).await;
    assert_eq!(site.send(asked("gzip, br")).await.field("etag"), known);
    // Another version.
    site.store().clear();
    let changed = site.answered(asked("gzip, br"), page(2, &[("etag", "\"v2\"")])).await;
    assert_eq!((changed.status, changed.body), (200, text(2)));
}

over_each_shape!(no_origin_sees_the_tag_of_a_form);
async fn no_origin_sees_the_tag_of_a_form(shape: Shape) {
    let site = site(shape);
    let form = "\"v1-larder-br-0123456789abcdef\"";
    site.origin.answers(|seen| {
        let is_known = |name| seen.field(name) == "\"v1\"";
        match &*seen.method {
            "PUT" if is_known("if-match") => Ok(ok(&[], "")),
            "PUT" => Ok(crate::support::answer(412, &[], "")),
            _ if is_known("if-none-match") => {
                Ok(crate::support::answer(304, &[("etag", "\"v1\"")], ""))
            }
            _ => Ok(page(1, &[("etag", "\"v1\""), ("cache-control", "private")])),
        }
    });
    let accepts = ("accept-encoding", "gzip, br");
    // A change by who has read the form is one by who has read the version.
    let put = site.send(request("PUT", "/a", &[("if-match", form)])).await;
    assert_eq!((put.status, site.origin.last().field("if-match")), (200, "\"v1\""));
    for _ in 0..3 {
        let answer = site.send(get_with("/a", &[accepts, ("if-none-match", form)])).await;
        assert_eq!(answer.status, 304);
        assert_eq!(answer.field("etag"), form);
    }
    let ranged = [accepts, ("if-match", form), ("range", "bytes=1-5")];
    let answer = site.send(get_with("/a", &ranged)).await;
    assert_eq!((answer.status, answer.body), (200, text(1)), "no range of other bytes");
    let ranged = [accepts, ("if-range", form), ("range", "bytes=1-5")];
    let answer = site.send(get_with("/a", &ranged)).await;
    assert_eq!((answer.status, answer.body), (200, text(1)));
    for index in 0..site.origin.calls() {
        let seen = site.origin.call(index).unwrap();
        for value in seen.headers.values() {
            assert!(!value.to_str().unwrap().contains("-larder-"), "{seen:?}");
        }
    }
}

over_each_shape!(the_origin_is_asked_for_plain_bytes_where_they_are_for_all);
async fn the_origin_is_asked_for_plain_bytes_where_they_are_for_all(shape: Shape) {
    let site = site_of(shape, Policy::guarded().compress(Compression::of(Coding::ALL)));
    let accepts = ("accept-encoding", ALL);
    let varies = ("vary", "Accept-Encoding, X-Tenant");
    site.answered(get_with("/a", &[accepts]), page(1, &[varies])).await;
    assert_eq!(site.origin.last().field("accept-encoding"), "identity");
    // It says that it would have coded the answer. One copy is for all, all the same.
    for other in ["gzip", "br;q=0.2", "identity", ""] {
        let answer = site.send(get_with("/a", &[("accept-encoding", other)])).await;
        assert!(answer.is_hit(), "{other}");
        assert_eq!(answer.field("vary"), varies.1);
    }
    // The other field is still obeyed.
    let tenant = get_with("/a", &[accepts, ("x-tenant", "1")]);
    assert!(!site.answered(tenant, page(2, &[varies])).await.is_hit());
    // What is somebody's own comes as he wants it.
    let own = get_with("/own", &[accepts, ("authorization", "Basic YTpi")]);
    site.answered(own, page(1, &[])).await;
    assert_eq!(site.origin.last().field("accept-encoding"), ALL);
    let post = site.answered(request("POST", "/a", &[accepts]), page(1, &[])).await;
    assert_eq!((post.status, site.origin.last().field("accept-encoding")), (200, ALL));
    // One that codes in spite of that is taken at its word: it varies.
    let coded = [("vary", "accept-encoding"), ("content-encoding", "gzip")];
    site.answered(get_with("/b", &[("accept-encoding", "gzip")]), page(1, &coded)).await;
    assert!(site.send(get_with("/b", &[("accept-encoding", "gzip")])).await.is_hit());
    let other = site.answered(get_with("/b", &[("accept-encoding", "br")]), page(1, &[])).await;
    assert!(!other.is_hit());
}

over_each_shape!(forms_outlive_a_confirmation_and_nothing_else);
async fn forms_outlive_a_confirmation_and_nothing_else(shape: Shape) {
    let site = site(shape);
    let tag = ("etag", "\"v1\"");
    let asked = || get_with("/a", &[("accept-encoding", "br")]);
    site.answered(asked(), page(1, &[tag])).await;
    make_all(&site, "/a").await;
    let before = site.send(asked()).await;
    site.clock.advance(secs(61));
    let confirmed = [("cache-control", "max-age=60"), tag, ("x-new", "1")];
    site.answered(asked(), crate::support::answer(304, &confirmed, "")).await;
    let after = site.send(asked()).await;
    assert!(after.is_hit());
    assert_eq!(after.field("x-new"), "1");
    for name in ["etag", "content-encoding", "content-length", "vary"] {
        assert_eq!(after.field(name), before.field(name));
    }
    assert_eq!(after.body, before.body);
    assert_eq!(site.cache.compression().made, 3, "none was made anew");
    // From now on it is not to be changed.
    site.clock.advance(secs(61));
    let confirmed = [("cache-control", "max-age=60, no-transform"), tag];
    site.answered(asked(), crate::support::answer(304, &confirmed, "")).await;
    assert_eq!(site.send(asked()).await.field("content-encoding"), "");
    // Another version.
    site.clock.advance(secs(61));
    site.answered(asked(), page(2, &[("etag", "\"v2\"")])).await;
    assert_eq!(site.send(asked()).await.body, text(2));
    made(&site).await;
    assert_eq!(plain(&site.send(asked()).await), text(2));
    // Marked stale, it is served coded while it is asked about; purged, it is gone.
    site.cache.remove("http://example.org/a");
    let anew = site.answered(asked(), page(3, &[])).await;
    assert_eq!((anew.is_hit(), anew.body), (false, text(3)));
}

over_each_shape!(forms_weigh_in_their_entry_and_go_with_it);
async fn forms_weigh_in_their_entry_and_go_with_it(shape: Shape) {
    let site = site(shape);
    site.answered(get_with("/a", &[]), page(1, &[("etag", "\"v1\"")])).await;
    let alone = site.store().stats().bytes;
    let mut forms = 0_u64;
    for coding in Coding::ALL {
        let asked = || get_with("/a", &[("accept-encoding", coding.as_str())]);
        site.send(asked()).await;
        made(&site).await;
        forms += site.send(asked()).await.body.len() as u64;
        let stats = site.store().stats();
        assert!(stats.bytes >= alone + forms, "{} of {alone} and {forms}", stats.bytes);
        assert!(stats.bytes <= alone + forms + 3 * 1000, "{} of {alone} and {forms}", stats.bytes);
        assert_eq!((stats.entries, site.cache.arriving_bytes()), (1, 0));
    }
    if shape.has_lower_tier() {
        // In these tests that is in this process, and keeps what it was given.
        return;
    }
    // Who reads one keeps it, and only that.
    let (_, read) =
        fast_hit(&site, &http::Method::GET, "/a", &[("accept-encoding", "br")], false).unwrap();
    let bytes = read.content_from(0);
    site.store().clear();
    site.store().sweep();
    drop(read);
    assert_eq!(site.store().stats().entries, 0);
    assert_eq!(site.cache.arriving_bytes(), bytes.len());
    drop(bytes);
    assert_eq!(site.cache.arriving_bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_beside_its_response_is_tried_once() {
    // Its forms would make it larger than an entry may be.
    let site = Site::with(Shape::SMALL_LRU.holding(8 << 10), policy(), Settings::default(), |b| {
        b.max_entry_bytes(text(1).len() + 1000)
    });
    let asked = || get_with("/a", &[("accept-encoding", "gzip")]);
    site.answered(asked(), page(1, &[])).await;
    for _ in 0..3 {
        let answer = site.send(asked()).await;
        made(&site).await;
        assert!(answer.is_hit());
        assert_eq!(answer.body, text(1));
    }
    assert_eq!(site.cache.compression().made, 0);
}

#[tokio::test(start_paused = true)]
async fn what_waits_to_be_made_is_bounded_and_asked_for_again() {
    let site = site_of(Shape::LRU, policy());
    let paths: Vec<_> = (0..200).map(|page| format!("/{page}")).collect();
    for path in &paths {
        site.answered(get_with(path, &[]), page(1, &[])).await;
    }
    // Nobody else has a turn until all have asked, twice.
    for path in paths.iter().chain(&paths) {
        let answer = site.send(get_with(path, &[("accept-encoding", "gzip")])).await;
        assert_eq!(answer.body, text(1));
    }
    let stats = site.cache.compression();
    assert_eq!((stats.under_way, stats.turned_away), (64, 2 * (200 - 64)));
    for _ in 0..4 {
        made(&site).await;
        for path in &paths {
            site.send(get_with(path, &[("accept-encoding", "gzip")])).await;
        }
    }
    made(&site).await;
    assert_eq!(site.cache.compression().made, 200);
}

over_each_shape!(at_a_glance_and_by_the_whole_way_the_same_form_answers);
async fn at_a_glance_and_by_the_whole_way_the_same_form_answers(shape: Shape) {
    for own in [Some("\"v1\""), Some("W/\"v1\""), None] {
        let site = site(shape);
        let mut fields = vec![("last-modified", SINCE)];
        fields.extend(own.map(|own| ("etag", own)));
        site.answered(get_with("/a", &[]), page(1, &fields)).await;
        let mut tags = vec![
            own.unwrap_or("\"none\"").to_owned(),
            "\"v1-larder-br-0123456789abcdef\"".to_owned(),
        ];
        let mut glances = 0;
        for are_made in [false, true] {
            if are_made {
                make_all(&site, "/a").await;
                for coding in Coding::ALL {
                    let whole =
                        site.send(get_with("/a", &[("accept-encoding", coding.as_str())])).await;
                    tags.push(whole.field("etag"));
                }
            }
            for accepts in ["", "gzip", ALL, "identity;q=0", "identity;q=0, br", "*;q=0", "*"] {
                let mut conditions = vec![vec![], vec![("if-modified-since", SINCE)]];
                for tag in tags.iter().filter(|tag| !tag.is_empty()) {
                    conditions.push(vec![("if-none-match", tag.as_str())]);
                    conditions
                        .push(vec![("if-none-match", tag.as_str()), ("if-modified-since", SINCE)]);
                    conditions.push(vec![("if-match", tag.as_str())]);
                    conditions.push(vec![("if-range", tag.as_str()), ("range", "bytes=1-5")]);
                }
                conditions.push(vec![("range", "bytes=1-5")]);
                conditions.push(vec![("if-none-match", "*")]);
                conditions.push(vec![("cache-control", "no-transform")]);
                for condition in &conditions {
                    for method in ["GET", "HEAD"] {
                        let fields = [&[("accept-encoding", accepts)][..], condition].concat();
                        let asked = || request(method, "/a", &fields);
                        let glance =
                            fast_hit(&site, &method.parse().unwrap(), "/a", &fields, false);
                        let Some((head, served)) = glance else { continue };
                        glances += 1;
                        let mut whole = site.send(asked()).await;
                        whole.headers.remove("server-timing");
                        assert_eq!(parsed(&head), (whole.status, whole.headers), "{fields:?}");
                        assert_eq!(served.content(), whole.body);
                    }
                }
            }
        }
        assert!(glances > 50, "{glances}");
        made(&site).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_hit_of_a_form_allocates_nothing() {
    let site = site(Shape::S3_FIFO);
    site.answered(get_with("/a", &[]), page(1, &[("etag", "\"v1\"")])).await;
    make_all(&site, "/a").await;
    let fields = [("accept-encoding", ALL)];
    let lines = headers(&fields);
    assert_eq!(lines.len(), 1);
    let read = || fast_hit(&site, &http::Method::GET, "/a", &fields, false).unwrap();
    read();
    let plain = measure(|| drop(fast_hit(&site, &http::Method::GET, "/a", &[], false).unwrap()));
    let coded = measure(|| drop(read()));
    // What the test itself allocates.
    assert_eq!(coded.count_total, plain.count_total + 1, "a line more");
}

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    Get { accepts: usize, condition: usize, range: Option<(u64, u64)> },
    PurgeSoft,
    PurgeHard,
    Change,
    Later,
    Wait,
}

const ACCEPTS: [&str; 8] =
    ["", "gzip", "br", "zstd", ALL, "identity;q=0, gzip", "gzip;q=0.1, br", "*;q=0"];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let range = prop::option::weighted(0.3, (0_u64..60, 0_u64..3000));
    let get = (0..ACCEPTS.len(), 0_usize..4, range)
        .prop_map(|(accepts, condition, range)| Step::Get { accepts, condition, range });
    let step = prop_oneof![
        8 => get,
        1 => Just(Step::PurgeSoft),
        1 => Just(Step::PurgeHard),
        1 => Just(Step::Change),
        1 => Just(Step::Later),
        3 => Just(Step::Wait),
    ];
    prop::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// Whatever happens: what a reader decodes is the origin's text of some version that may answer it, what a range
    /// gives is a part of what its tag names, and the same strong tag never stands for other bytes.
    #[test]
    fn the_same_strong_tag_is_always_the_same_bytes(steps in steps(), kind in 0_usize..3) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(walk(steps, kind));
    }
}

async fn walk(steps: Vec<Step>, kind: usize) {
    let site = site(Shape::LRU);
    let version = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(1));
    let current = std::sync::Arc::clone(&version);
    site.origin.answers(move |seen| {
        let version = current.load(std::sync::atomic::Ordering::Relaxed);
        let strong = format!("\"v{version}\"");
        let tag = match kind {
            0 => Some(strong),
            1 => Some(format!("W/{strong}")),
            _ => None,
        };
        for (name, value) in &seen.headers {
            // Of what it gave no tag to, nobody can name the version.
            let is_unknown = name == "if-match" && kind == 2;
            assert!(is_unknown || !value.to_str().unwrap().contains("-larder-"), "{seen:?}");
        }
        let mut fields = vec![("cache-control", "max-age=60"), ("content-type", "text/plain")];
        fields.extend(tag.as_deref().map(|tag| ("etag", tag)));
        if tag.is_some() && seen.field("if-none-match") == tag.clone().unwrap() {
            return Ok(crate::support::answer(304, &fields, ""));
        }
        Ok(ok(&fields, text(version)))
    });
    let mut by_tag: HashMap<String, Vec<u8>> = HashMap::new();
    let mut last_tag: HashMap<usize, String> = HashMap::new();
    for step in steps {
        match step {
            Step::Get { accepts, condition, range } => {
                let known = last_tag.get(&accepts).cloned().unwrap_or("\"none\"".to_owned());
                let mut fields = vec![("accept-encoding", ACCEPTS[accepts])];
                fields.extend(match condition {
                    1 => Some(("if-none-match", &*known)),
                    2 => Some(("if-match", &*known)),
                    3 => Some(("if-range", &*known)),
                    _ => None,
                });
                let bytes = range.map(|(first, len)| format!("bytes={first}-{}", first + len));
                fields.extend(bytes.as_deref().map(|bytes| ("range", bytes)));
                let answer = site.send(get_with("/a", &fields)).await;
                let tag = answer.field("etag");
                let parsed = EntityTag::parse(tag.as_bytes());
                let is_strong = parsed.is_some_and(|tag| tag.is_strong());
                match answer.status {
                    200 => {
                        let text_now = plain(&answer);
                        assert!((1..40).any(|version| text_now == text(version)), "{answer:?}");
                        if is_strong {
                            let before = by_tag.entry(tag.clone()).or_insert(answer.body.to_vec());
                            assert_eq!(before, &answer.body, "{tag}");
                        }
                        last_tag.insert(accepts, tag);
                    }
                    206 => {
                        if let (Some(whole), true) = (by_tag.get(&tag), is_strong) {
                            let (first, _) = range.unwrap();
                            let part = &whole[first as usize..][..answer.body.len()];
                            assert_eq!(part, answer.body, "{tag}");
                        }
                    }
                    304 => assert_eq!(
                        tag,
                        if parsed.is_some() { known.clone() } else { String::new() }
                    ),
                    416 => {}
                    other => panic!("{other}"),
                }
            }
            Step::PurgeSoft => site.store().soft_clear(),
            Step::PurgeHard => _ = site.store().clear(),
            Step::Change => {
                version.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                site.store().clear();
            }
            Step::Later => site.clock.advance(secs(61)),
            Step::Wait => made(&site).await,
        }
        settle().await;
    }
    made(&site).await;
}
