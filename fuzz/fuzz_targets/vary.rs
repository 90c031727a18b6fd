//! `Vary`: a request and the response to it; what was stored for a request answers that request.
#![no_main]

use larder_fuzz::{exchange, heads, now};
use larder_policy::{
    response::storability,
    reuse::{Variant, decide},
    settings::Policy,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((request, responses)) = heads(data) else { return };
    let policy = Policy::standard();
    let mut stored = Vec::new();
    for response in &responses {
        let varies_by_all = response.head().headers.lines("vary").any(|line| line.contains(&b'*'));
        if let Ok(head) = storability(&policy, request.head(), response.head(), exchange()) {
            assert!(
                varies_by_all || head.selects(request.head().headers),
                "not for its own request"
            );
            stored.push(head);
        }
    }
    let variants: Vec<Variant<'_>> = stored.iter().map(Variant::from).collect();
    let _ = decide(&policy, &variants, request.head(), now());
});
