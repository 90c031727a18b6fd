//! Plain hits, as they lie in the buffer of their connection.

use std::net::SocketAddr;

use http::{HeaderName, header};
use larder::http::{
    BorrowedRequest, HitResponse,
    policy::{
        cookies::Left,
        fields::Fields,
        forward::{self, LineFate},
    },
};

use super::{
    Gateway,
    client::{ASKS_FOR_OTHERS, LARDER_EXPLAIN},
};
use crate::{
    downstream::http1::{FastPath, PeekedRequest},
    routes::Way,
};

impl FastPath for Gateway {
    fn hit(
        &self,
        request: PeekedRequest<'_, '_>,
        peer: SocketAddr,
        head: &mut Vec<u8>,
    ) -> Option<HitResponse> {
        // Only the whole way has a line in the log for each request.
        if tracing::enabled!(tracing::Level::DEBUG) {
            return None;
        }
        let peer = peer.ip().to_canonical();
        let settings = self.common.settings.load();
        let peer_is_trusted = settings.config.trusts(peer);
        let PeekedRequest { method, scheme, host, target, lines } = request;
        let way = settings.ways.borrowed(method, host, target, lines)?;
        let Way { policy, is_cached: true, .. } = way else {
            return None;
        };
        let ignored_cookies = policy.ignored_cookies();
        let mut shows_key = peer.is_loopback();
        let mut decides = false;
        lines.retain(|line| {
            let is = |name: &HeaderName| line.name.eq_ignore_ascii_case(name.as_str().as_bytes());
            match line.name.len() {
                14 if is(&LARDER_EXPLAIN) => decides = true,
                6 if !ignored_cookies.is_empty() && is(&header::COOKIE) => {
                    match ignored_cookies.left_of(line.value) {
                        Left::All => {}
                        Left::Some(_) => decides = true,
                        Left::Nothing => return false,
                    }
                }
                3 | 9 | 15 => shows_key &= !ASKS_FOR_OTHERS.iter().any(is),
                _ => {}
            }
            let fate = forward::fate(line.name, line.value, peer_is_trusted);
            decides |= fate == LineFate::Decides;
            fate == LineFate::Stays
        });
        if decides {
            return None;
        }
        let fields = Fields::of_lines(lines);
        let policy = Some(&**policy);
        let request = BorrowedRequest { method, scheme, host, target, fields, shows_key, policy };
        self.store.fast_hit(request, head)
    }

    fn is_crowded(&self) -> bool {
        self.store.is_crowded()
    }
}
