//! Again: a request read back from what was written of it, to be sent once more.
//!
//! That is needed once in many thousand requests. To keep its bytes as they go to the socket costs less than a tenth of
//! a copy of the request.

use http::{HeaderName, HeaderValue, Method, Request, Uri};
use larder::http::policy::forward::stands_for_the_method;

use super::outgoing::Outgoing;

/// The request without content whose head this is, as hyper writes it: the first line, and `name: value`
/// for each field. `None`: it is no whole head, or may not be sent twice after all, because some origins
/// take a field's word for the method, and nothing is known of that.
pub(super) fn read(head: &[u8]) -> Option<Request<Outgoing>> {
    let mut lines = head.strip_suffix(b"\r\n\r\n")?.split(|byte| *byte == b'\n');
    let mut words = lines.next()?.split(|byte| *byte == b' ');
    let mut request = Request::new(Outgoing::Empty);
    *request.method_mut() = Method::from_bytes(words.next()?).ok()?;
    *request.uri_mut() = Uri::try_from(words.next()?).ok()?;
    for line in lines {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        // No name has a colon in it.
        let colon = memchr::memchr(b':', line)?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        let value = HeaderValue::from_bytes(line[colon + 1..].strip_prefix(b" ")?).ok()?;
        if stands_for_the_method(&name) {
            return None;
        }
        request.headers_mut().append(name, value);
    }
    Some(request)
}
