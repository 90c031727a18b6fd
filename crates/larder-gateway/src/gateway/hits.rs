//! Plain hits, as they lie in the buffer of their connection.

use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderName, HeaderValue, header};
use larder::http::{
    BorrowedRequest, Client, HitResponse,
    policy::{
        cookies::Left,
        fields::Fields,
        forward::{self, LineClaim, LineFate},
        scheme::Scheme,
    },
};

use super::{
    Gateway,
    client::{ASKS_FOR_OTHERS, LARDER_EXPLAIN, ListenerRules, X_FORWARDED_FOR},
    own_writes,
    rate::Rates,
};
use crate::{
    downstream::{
        Peer,
        http1::{FastPath, FieldLines, PeekedRequest},
    },
    ledger::Row,
    routes::Way,
    sample::Sample,
    traces::{TRACEPARENT, Traces},
};

impl FastPath for Gateway {
    #[inline]
    fn hit(
        &self,
        request: PeekedRequest<'_, '_>,
        peer: Peer,
        head: &mut Vec<u8>,
    ) -> Option<HitResponse> {
        self.plain_hit::<true>(request, peer, head)
    }

    fn client(&self, lines: &FieldLines<'_>, peer: &Peer) -> Option<IpAddr> {
        let settings = self.common.settings.load();
        client_by(settings.config.rules(peer.listener), lines, peer)
    }

    fn is_crowded(&self) -> bool {
        self.store.is_crowded()
    }
}

/// A gateway that keeps no accounts of its plain hits: nothing counts them for their routes, and none has an id. Only to
/// measure what that costs.
#[doc(hidden)]
#[derive(Clone)]
pub struct Unaccounted(pub Gateway);

impl FastPath for Unaccounted {
    #[inline]
    fn hit(
        &self,
        request: PeekedRequest<'_, '_>,
        peer: Peer,
        head: &mut Vec<u8>,
    ) -> Option<HitResponse> {
        self.0.plain_hit::<false>(request, peer, head)
    }
}

impl Gateway {
    /// `ACCOUNTS`: its route counts it, and it may be chosen to have an id.
    #[inline]
    fn plain_hit<const ACCOUNTS: bool>(
        &self,
        request: PeekedRequest<'_, '_>,
        peer: Peer,
        head: &mut Vec<u8>,
    ) -> Option<HitResponse> {
        // Only the whole way has a line in the log for each request.
        if tracing::enabled!(tracing::Level::DEBUG) {
            return None;
        }
        let settings = self.common.settings.load();
        let rules = settings.config.rules(peer.listener);
        let believed = rules.believed(&peer);
        let client = || {
            let client = client_by(rules, request.lines, &peer);
            Client(client.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)))
        };
        // The lines that tell are taken out before it is known whether it is asked for.
        let client = settings.asks_for_clients.then(client);
        let PeekedRequest { method, mut scheme, mut host, target, lines } = request;
        if believed.is_some() {
            let named = take_named(lines)?;
            scheme = named.scheme.unwrap_or(scheme);
            host = named.host.unwrap_or(host);
        }
        if rules.redirect_to_https.is_some() && scheme == Scheme::Http {
            return None;
        }
        let (way, place) = settings.ways.borrowed(method, host, target, lines)?;
        let Way { is_cached: true, .. } = way else {
            return None;
        };
        let policy = settings.rules_for(way, client);
        // Tags are written on the whole way: whoever may know them is a cache, and asks once.
        if believed.is_some() && policy.says_outside().tells_tags() {
            return None;
        }
        let ignored_cookies = policy.ignored_cookies();
        let has_fences = settings.config.read_your_writes.is_some();
        let traces = self.common.traces.get();
        let honours_parents = traces.is_some_and(|traces| traces.honours(believed.is_some()));
        let mut parent = None;
        let mut shows_key = peer.is_on_this_machine();
        let mut decides = false;
        lines.retain(|line| {
            let is = |name: &HeaderName| line.name.eq_ignore_ascii_case(name.as_str().as_bytes());
            match line.name.len() {
                14 if is(&LARDER_EXPLAIN) => decides = true,
                12 if has_fences && is(&own_writes::LARDER_FENCE) => decides = true,
                6 if has_fences && is(&header::COOKIE) && own_writes::is_in(line.value) => {
                    decides = true;
                }
                6 if !ignored_cookies.is_empty() && is(&header::COOKIE) => {
                    match ignored_cookies.left_of(line.value) {
                        Left::All => {}
                        Left::Some(_) => decides = true,
                        Left::Nothing => return false,
                    }
                }
                11 if honours_parents && is(&TRACEPARENT) => {
                    decides |= parent.is_some();
                    parent = Traces::is_told(line.value);
                }
                3 | 9 | 15 => shows_key &= !ASKS_FOR_OTHERS.iter().any(is),
                _ => {}
            }
            let fate = forward::fate(line.name, line.value, believed);
            decides |= fate == LineFate::Decides;
            fate == LineFate::Stays
        });
        if decides {
            return None;
        }
        // Where nobody before has decided over it, chance does. What is traced goes the whole way, as does what has an id.
        let by_chance = traces.filter(|_| parent.is_none());
        if parent == Some(true) || by_chance.is_some_and(Traces::is_due) {
            return None;
        }
        let ids = settings.sampled_hits.filter(|_| ACCOUNTS);
        if ids.is_some_and(Sample::is_due) {
            return None;
        }
        // Whoever watches single requests sees it on the whole way.
        if ACCOUNTS && self.common.past.onlookers.wants_hit() && settings.config.request_ids {
            return None;
        }
        let (fields, target) = (Fields::of_lines(lines), target.as_bytes());
        let policy = Some(&**policy);
        let request = BorrowedRequest { method, scheme, host, target, fields, shows_key, policy };
        let row = &settings.rows[place];
        // Who may not ask is told so on the whole way, and what is no hit counts there.
        let Some(client) = client else {
            let served = counted::<ACCOUNTS>(row, || self.store.fast_hit(request, head));
            count(&served, by_chance, ids);
            return served;
        };
        let of_route = settings.bounds[place].as_ref().and_then(|bounds| bounds.rates());
        let mut taken: [Option<&Rates>; 2] = [None; 2];
        let of_all = settings.rates(Some(peer.listener));
        let rates = of_all.into_iter().chain(of_route);
        let may_ask = { rates }.zip(&mut taken).all(|(rates, taken)| {
            rates.take(client).is_ok_and(|()| taken.replace(rates).is_none())
        });
        let look = || if may_ask { self.store.fast_hit(request, head) } else { None };
        let served = counted::<ACCOUNTS>(row, look);
        if served.is_none() {
            taken.into_iter().flatten().for_each(|rates| rates.give_back(client));
        }
        count(&served, by_chance, ids);
        served
    }
}

#[inline]
fn counted<const ACCOUNTS: bool>(
    row: &Row,
    look: impl FnOnce() -> Option<HitResponse>,
) -> Option<HitResponse> {
    if ACCOUNTS { row.plain_hit(look) } else { look() }
}

/// What is answered here is not traced, and has no id. What is not counts where it is answered.
fn count(served: &Option<HitResponse>, by_chance: Option<&Traces>, ids: Option<Sample>) {
    if served.is_none() {
        return;
    }
    if let Some(traces) = by_chance {
        traces.pass_over();
    }
    if let Some(ids) = ids {
        ids.take();
    }
}

/// Who asks: the peer, or whom a trusted one asks for.
fn client_by(rules: &ListenerRules, lines: &FieldLines<'_>, peer: &Peer) -> Option<IpAddr> {
    let asked_for = rules.believed(peer).and_then(|believed| {
        let claims = lines.iter().filter_map(|line| {
            let name = HeaderName::from_bytes(line.name).ok()?;
            let is_claim = name == header::FORWARDED || name == X_FORWARDED_FOR;
            is_claim.then_some((name, HeaderValue::from_bytes(line.value).ok()?))
        });
        let trusts = |ip| rules.trusted_peers.contains(ip);
        forward::client(&claims.collect(), believed, trusts)
    });
    asked_for.or(peer.ip())
}

/// Where a request came first, by a trusted peer's word.
struct Named<'a> {
    scheme: Option<Scheme>,
    host: Option<&'a [u8]>,
}

/// Takes the lines out that say so; the host that they name is then what `Host` says. `None`: it takes more than a look
/// at each line.
fn take_named<'a>(lines: &mut FieldLines<'a>) -> Option<Named<'a>> {
    let (mut named, mut is_plain) = (Named { scheme: None, host: None }, true);
    lines.retain(|line| match LineClaim::of(line.name, line.value) {
        LineClaim::Nothing => true,
        LineClaim::Scheme(scheme) => {
            is_plain &= named.scheme.replace(scheme).is_none();
            false
        }
        LineClaim::Host(host) => {
            is_plain &= named.host.replace(host).is_none();
            false
        }
        LineClaim::Decides => {
            is_plain = false;
            true
        }
    });
    if let Some(named) = named.host {
        let host = lines.iter_mut().find(|line| line.name.eq_ignore_ascii_case(b"host"))?;
        host.value = named;
    }
    is_plain.then_some(named)
}
