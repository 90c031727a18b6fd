//! `Cache-Control`: one line of a request, then lines of a response.
#![no_main]

use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode};
use larder_fuzz::{Request, Response, exchange, lines, now};
use larder_policy::{
    response::storability,
    reuse::{Variant, Verdict, decide},
    settings::Policy,
};
use libfuzzer_sys::fuzz_target;

/// Longer than any lifetime that can be written, window included.
const CENTURIES: Duration = Duration::from_secs(60 * 60 * 24 * 365 * 300);

fuzz_target!(|data: &[u8]| {
    let cut = data.iter().position(|&byte| byte == b'\n').unwrap_or(data.len());
    let (asked, said) = data.split_at(cut);
    let request = Request::get(lines(asked, "cache-control"));
    let plain = Request::get(HeaderMap::new());
    let said = lines(said.get(1..).unwrap_or_default(), "cache-control");
    let with = |directive: Option<&'static str>| {
        let mut headers = said.clone();
        if let Some(directive) = directive {
            headers.append("cache-control", HeaderValue::from_static(directive));
        }
        Response::new(StatusCode::OK, headers)
    };
    let understands = said.get_all("cache-control").iter().any(|line| {
        line.as_bytes().to_ascii_lowercase().windows(15).any(|it| it == b"must-understand")
    });

    for policy in [Policy::standard(), Policy::guarded()] {
        let store =
            |response: &Response| storability(&policy, plain.head(), response.head(), exchange());
        assert!(store(&with(Some("private"))).is_err(), "private on a line of its own was lost");
        assert!(understands || store(&with(Some("no-store"))).is_err(), "no-store was lost");
        let Ok(stored) = store(&with(None)) else { continue };
        let variants = [Variant::from(&stored)];
        let _ = decide(&policy, &variants, request.head(), now());
        let late = decide(&policy, &variants, plain.head(), now() + CENTURIES);
        assert!(
            !matches!(late, Verdict::Serve { .. } | Verdict::ServeAndRefresh { .. }),
            "served after centuries: {late:?}"
        );
    }
});
