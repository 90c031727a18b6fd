//! What a cache may answer, and how it says so: data in, verdict out.
//!
//! Nothing here opens a socket, reads a clock or waits. `now` never appears as a call, only as an
//! argument, so every verdict can be repeated in a unit test.
//!
//! | module | job | source |
//! | --- | --- | --- |
//! | [`reuse`] | **[`decide`](reuse::decide)**: may what is stored answer this request | RFC 9111 §4 |
//! | [`response`] | **[`storability`](response::storability)**: may this response be stored, and how long is it good for | §3, §4.2 |
//! | [`stored`] | a stored head, with all that reuse needs to know of it digested | §4.2.3 |
//! | [`request`] | what the reader allows, and whether a request may share a fetch | §5.2.1 |
//! | [`settings`] | what a cache was told to do, beyond what messages say | – |
//! | `directives`, `vary` | `Cache-Control` and its targeted kin · which variant fits | §5.2, RFC 9213 · §4.1 |
//! | [`freshness`] | how long an entry is good for, and what it is good for at one age | §4.2, RFC 5861 |
//! | [`cookies`] | which cookies do not matter | RFC 6265 §4.2 |
//! | [`credentials`] | which fields beside `Authorization` show who asks | – |
//! | [`reason`] | the closed vocabulary of why an answer came about | – |
//! | [`head`] | what the rules read of requests and responses | RFC 9110 §6 |
//! | [`fields`] | field lines, however they are held | RFC 9110 §5 |
//! | [`key`] | under which name a response is stored | RFC 9111 §2, RFC 3986 §6 |
//! | [`key_parts`] | what of a request is in its key, and what was left out | – |
//! | [`nearness`] | in what a stored response differs that nearly fits | – |
//! | [`collapse_key`] | which of the requests for one URI may wait for the same answer | RFC 9111 §4 |
//! | [`no_vary_search`] | which parts of a query do not matter | draft-ietf-httpbis-no-vary-search |
//! | [`validate`] | conditional requests out, 304 and HEAD merged in, readers' conditions | RFC 9111 §4.3, RFC 9110 §13 |
//! | [`etag`] | entity tags and their two comparisons | RFC 9110 §8.8.3 |
//! | [`coding`] | which content codings a request takes | §8.4, §12.5.3 |
//! | [`compression`] | which stored responses are coded, and which form answers | RFC 9111 §5.2.2.6 |
//! | [`coded`] | the head of a coded form, and its entity tag | RFC 9110 §8.8.3 |
//! | [`range`] | which bytes of a complete body a request asks for | RFC 9110 §14 |
//! | [`multipart`] | several ranges in one answer | RFC 9110 §14.6 |
//! | [`part`] | stored 206 answers: what they serve, and which join | RFC 9111 §3.3, §3.4 |
//! | [`invalidate`] | what an unsafe request makes stale | RFC 9111 §4.4, RFC 9875 |
//! | [`query`] | which parameters of a query matter to a policy | – |
//! | [`path`] | patterns of paths, and the names in them | – |
//! | [`path_tags`] | tags that a policy gives | – |
//! | `text` (feature `text`) | a policy as it is written in a file | – |
//! | [`ttl`] | how long a policy keeps an answer fresh | RFC 9111 §4.2 |
//! | [`answer_fields`] | fields that a policy sets on answers, or removes | – |
//! | [`tags`] | the names under which an origin purges | – |
//! | [`outgoing`] | what answers say to caches outside | RFC 9213 |
//! | [`tags_out`] | tags in a form that all caches outside take | – |
//! | [`own_tag`] | entity tags where an origin gives none | RFC 9110 §8.8.3 |
//! | [`record`] | a stored head as bytes, and back | – |
//! | [`forward`] | what goes on to the next hop | RFC 9110 §7.6, RFC 8586, RFC 7239 |
//! | [`scheme`] | in the open, or encrypted | RFC 9110 §4.2 |
//! | [`uri`] | references resolved, equal URIs written alike, origins compared | RFC 3986 §5, §6 |
//! | [`date`] | dates as HTTP reads and writes them | RFC 9110 §5.6.7 |
//! | [`class`] | by which number what is stored is accounted for | – |
//! | [`cache_status`] | the `Cache-Status` field | RFC 9211 |
//! | [`proxy_status`] | the `Proxy-Status` field | RFC 9209 |

#[cfg(feature = "http")]
pub mod answer_fields;
#[cfg(feature = "http")]
pub mod cache_status;
#[cfg(feature = "http")]
mod claims;
pub mod class;
#[cfg(feature = "http")]
pub mod coded;
#[cfg(feature = "http")]
pub mod coding;
#[cfg(feature = "http")]
pub mod collapse_key;
#[cfg(feature = "http")]
pub mod compression;
#[cfg(feature = "http")]
pub mod cookies;
#[cfg(feature = "http")]
pub mod credentials;
#[cfg(feature = "http")]
pub mod date;
#[cfg(feature = "http")]
mod directives;
#[cfg(feature = "http")]
pub mod etag;
#[cfg(feature = "http")]
pub mod fields;
#[cfg(feature = "http")]
pub mod forward;
pub mod freshness;
#[cfg(feature = "http")]
pub mod glob;
#[cfg(feature = "http")]
pub mod head;
#[cfg(feature = "http")]
pub mod invalidate;
#[cfg(feature = "http")]
pub mod key;
#[cfg(feature = "http")]
pub mod key_parts;
#[cfg(feature = "http")]
mod list;
#[cfg(feature = "http")]
pub mod multipart;
#[cfg(feature = "http")]
mod names;
#[cfg(feature = "http")]
pub mod nearness;
#[cfg(feature = "http")]
pub mod no_vary_search;
#[cfg(feature = "http")]
pub mod outgoing;
#[cfg(feature = "http")]
pub mod own_tag;
#[cfg(feature = "http")]
pub mod part;
#[cfg(feature = "http")]
pub mod path;
#[cfg(feature = "http")]
pub mod path_tags;
#[cfg(feature = "http")]
pub mod path_type;
#[cfg(feature = "http")]
pub mod proxy_status;
#[cfg(feature = "http")]
pub mod query;
#[cfg(feature = "http")]
pub mod range;
pub mod reason;
#[cfg(feature = "http")]
pub mod record;
#[cfg(feature = "http")]
pub mod request;
#[cfg(feature = "http")]
pub mod response;
#[cfg(feature = "http")]
pub mod reuse;
#[cfg(feature = "http")]
pub mod scheme;
#[cfg(feature = "http")]
pub mod settings;
#[cfg(feature = "http")]
pub mod stored;
#[cfg(feature = "http")]
pub mod tags;
#[cfg(feature = "http")]
pub mod tags_out;
#[cfg(feature = "text")]
pub mod text;
#[cfg(feature = "http")]
pub mod ttl;
#[cfg(feature = "http")]
pub mod uri;
#[cfg(feature = "http")]
pub mod validate;
#[cfg(feature = "http")]
mod vary;
