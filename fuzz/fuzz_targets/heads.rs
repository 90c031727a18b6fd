//! Whole heads: a request and responses go through everything there is.
#![no_main]

use std::net::{IpAddr, Ipv4Addr};

use http::Version;
use larder_fuzz::{exchange, heads, now};
use larder_policy::{
    fields::Fields,
    forward::{self, Hop, HopName, Onward},
    invalidate::invalidates,
    key::RequestKey,
    part::{Part, combine},
    range::select,
    request::flight,
    response::storability,
    reuse::{Variant, decide, may_share},
    settings::Policy,
    validate::{conditional, freshen, freshened_by, head_says, not_modified, precondition},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((request, responses)) = heads(data) else { return };
    let request = request.head();
    if let Some(key) = RequestKey::of(request, Some(&[0])) {
        let again = key.uri().parse().ok().and_then(|uri| RequestKey::of_uri(&uri));
        assert_eq!(again.as_ref().map(RequestKey::as_str), Some(key.uri()), "not its own key");
    }
    let name = HopName::new("larder").expect("a name");
    let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let hop = Hop { name: &name, version: Version::HTTP_11, peer: Some(peer), believed: None };
    if let Onward::Forward(headers) = forward::request(request, hop) {
        let mut again = headers.clone();
        forward::strip(&mut again);
        assert_eq!(again, headers, "stripped more the second time");
    }

    for policy in [Policy::standard(), Policy::guarded()] {
        let _ = flight(&policy, request);
        let mut stored = Vec::new();
        for response in &responses {
            let response = response.head();
            let _ = invalidates(request, response);
            let _ = precondition(request, response, now());
            let _ = not_modified(response.headers);
            let _ = select(request, response, 10);
            let Ok(head) = storability(&policy, request, response, exchange()) else { continue };
            let _ = may_share(&policy, &head, request, now());
            stored.push(head);
        }
        let variants: Vec<Variant<'_>> = stored.iter().map(Variant::from).collect();
        let _ = decide(&policy, &variants, request, now());
        let fields: Vec<Fields<'_>> = stored.iter().map(|head| head.fields()).collect();
        let _ = conditional(fields.iter().copied());
        for update in &responses {
            let update = update.head();
            let update = update.headers.to_map();
            for place in freshened_by(&update, &fields) {
                let merged = freshen(fields[place], &update);
                let _ = stored[place].freshened(&policy, request, merged, exchange());
            }
        }
    }
    if let [one, other, ..] = &responses[..] {
        let (one, other) = (one.head(), other.head());
        let _ = head_says(one, Some(10), other);
        if let (Some(stored), Some(newer)) = (Part::of(one, 5), Part::of(other, 5)) {
            let _ = combine((one.headers, &stored), (other.headers, &newer));
        }
    }
});
