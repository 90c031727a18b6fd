//! The `Proxy-Status` response field: why a gateway answers in the origin's place (RFC 9209).

use http::{HeaderMap, HeaderName, StatusCode};
use sfv::{KeyRef, ListSerializer, StringRef, TokenRef};

use crate::{cache_status::CACHE_NAME, list};

/// What went wrong, in the words of RFC 9209 §2.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProxyError {
    /// Looking up the origin's name took too long.
    DnsTimeout,
    /// The origin's name could not be looked up.
    DnsError,
    /// No origin is known for this request.
    DestinationNotFound,
    /// The origin is known to be down.
    DestinationUnavailable,
    /// The origin's address cannot be reached.
    DestinationIpUnroutable,
    /// The origin refused the connection.
    ConnectionRefused,
    /// The connection ended before the answer did.
    ConnectionTerminated,
    /// The connection took too long to come about.
    ConnectionTimeout,
    /// Nothing came from the origin for too long.
    ConnectionReadTimeout,
    /// The origin took nothing for too long.
    ConnectionWriteTimeout,
    /// No further connection may be opened.
    ConnectionLimitReached,
    /// TLS failed.
    TlsProtocolError,
    /// The origin's certificate was not accepted.
    TlsCertificateError,
    /// The origin ended TLS with an alert.
    TlsAlertReceived,
    /// The request itself is at fault; the status is one of 4xx.
    HttpRequestError,
    /// The request is not permitted here.
    HttpRequestDenied,
    /// The origin's answer was incomplete.
    HttpResponseIncomplete,
    /// The head of the origin's answer was too large.
    HttpResponseHeaderSectionSize,
    /// The origin's answer was in a transfer coding that nobody knows.
    HttpResponseTransferCoding,
    /// The origin took too long for its whole answer.
    HttpResponseTimeout,
    /// The origin switched protocols, or did not, against what was asked.
    HttpUpgradeFailed,
    /// The origin does not speak HTTP as it should.
    HttpProtocolError,
    /// The gateway answers on its own, and nothing is wrong.
    ProxyInternalResponse,
    /// The gateway itself is at fault.
    ProxyInternalError,
    /// The gateway is not configured well.
    ProxyConfigurationError,
    /// The request has been here before.
    ProxyLoopDetected,
}

impl ProxyError {
    /// The registered name.
    pub const fn as_str(self) -> &'static str {
        self.entry().0
    }

    /// The status that RFC 9209 recommends with it. For [`HttpRequestError`](Self::HttpRequestError)
    /// and [`ProxyInternalResponse`](Self::ProxyInternalResponse) that is whatever fits; what is given
    /// here is the most general.
    ///
    /// A loop is answered with 508, which says exactly that, and not with the 502 recommended.
    pub fn status(self) -> StatusCode {
        self.entry().1
    }

    const fn entry(self) -> (&'static str, StatusCode) {
        const INTERNAL: StatusCode = StatusCode::INTERNAL_SERVER_ERROR;
        const BAD: StatusCode = StatusCode::BAD_GATEWAY;
        const UNAVAILABLE: StatusCode = StatusCode::SERVICE_UNAVAILABLE;
        const TIMEOUT: StatusCode = StatusCode::GATEWAY_TIMEOUT;
        match self {
            ProxyError::DnsTimeout => ("dns_timeout", TIMEOUT),
            ProxyError::DnsError => ("dns_error", BAD),
            ProxyError::DestinationNotFound => ("destination_not_found", INTERNAL),
            ProxyError::DestinationUnavailable => ("destination_unavailable", UNAVAILABLE),
            ProxyError::DestinationIpUnroutable => ("destination_ip_unroutable", BAD),
            ProxyError::ConnectionRefused => ("connection_refused", BAD),
            ProxyError::ConnectionTerminated => ("connection_terminated", BAD),
            ProxyError::ConnectionTimeout => ("connection_timeout", TIMEOUT),
            ProxyError::ConnectionReadTimeout => ("connection_read_timeout", TIMEOUT),
            ProxyError::ConnectionWriteTimeout => ("connection_write_timeout", TIMEOUT),
            ProxyError::ConnectionLimitReached => ("connection_limit_reached", UNAVAILABLE),
            ProxyError::TlsProtocolError => ("tls_protocol_error", BAD),
            ProxyError::TlsCertificateError => ("tls_certificate_error", BAD),
            ProxyError::TlsAlertReceived => ("tls_alert_received", BAD),
            ProxyError::HttpRequestError => ("http_request_error", StatusCode::BAD_REQUEST),
            ProxyError::HttpRequestDenied => ("http_request_denied", StatusCode::FORBIDDEN),
            ProxyError::HttpResponseIncomplete => ("http_response_incomplete", BAD),
            ProxyError::HttpResponseHeaderSectionSize => ("http_response_header_section_size", BAD),
            ProxyError::HttpResponseTransferCoding => ("http_response_transfer_coding", BAD),
            ProxyError::HttpResponseTimeout => ("http_response_timeout", TIMEOUT),
            ProxyError::HttpUpgradeFailed => ("http_upgrade_failed", BAD),
            ProxyError::HttpProtocolError => ("http_protocol_error", BAD),
            ProxyError::ProxyInternalResponse => ("proxy_internal_response", StatusCode::OK),
            ProxyError::ProxyInternalError => ("proxy_internal_error", INTERNAL),
            ProxyError::ProxyConfigurationError => ("proxy_configuration_error", INTERNAL),
            ProxyError::ProxyLoopDetected => ("proxy_loop_detected", StatusCode::LOOP_DETECTED),
        }
    }
}

/// One member of a `Proxy-Status` list.
///
/// ```
/// use larder_policy::proxy_status::{ProxyError, ProxyStatus};
///
/// let status = ProxyStatus::new(ProxyError::ConnectionRefused).next_hop("127.0.0.1:8001");
/// assert_eq!(
///     status.to_field(),
///     r#"Larder;error=connection_refused;next-hop="127.0.0.1:8001""#,
/// );
/// ```
#[derive(Clone, Debug)]
pub struct ProxyStatus<'a> {
    error: ProxyError,
    next_hop: Option<&'a str>,
    received_status: Option<StatusCode>,
    details: Option<&'a str>,
}

impl<'a> ProxyStatus<'a> {
    /// This went wrong.
    pub fn new(error: ProxyError) -> ProxyStatus<'a> {
        ProxyStatus { error, next_hop: None, received_status: None, details: None }
    }

    /// Whom the request was sent to. Left out if it is not printable ASCII, as `details` are:
    /// a structured-field string cannot carry it (RFC 9651 §3.3.3).
    pub fn next_hop(mut self, next_hop: &'a str) -> Self {
        self.next_hop = Some(next_hop);
        self
    }

    /// What was answered there.
    pub fn received_status(mut self, status: StatusCode) -> Self {
        self.received_status = Some(status);
        self
    }

    /// What else may help to find the cause; readers see it.
    pub fn details(mut self, details: &'a str) -> Self {
        self.details = Some(details);
        self
    }

    /// The field's value.
    pub fn to_field(&self) -> String {
        let mut list = ListSerializer::new();
        let mut member =
            list.bare_item(token(CACHE_NAME)).parameter(name("error"), token(self.error.as_str()));
        if let Some(Ok(next_hop)) = self.next_hop.map(StringRef::from_str) {
            member = member.parameter(name("next-hop"), next_hop);
        }
        if let Some(status) = self.received_status {
            member = member.parameter(name("received-status"), sfv::Integer::from(status.as_u16()));
        }
        if let Some(Ok(details)) = self.details.map(StringRef::from_str) {
            member.parameter(name("details"), details);
        }
        list.finish().expect("a list with one member is not empty")
    }

    /// Appends this hop to what those nearer to the origin have written (RFC 9209 §2).
    pub fn append_to(&self, headers: &mut HeaderMap) {
        list::append_member(headers, HeaderName::from_static("proxy-status"), self.to_field());
    }
}

fn token(word: &'static str) -> &'static TokenRef {
    TokenRef::from_str(word).expect("our own words are tokens")
}

fn name(word: &'static str) -> &'static KeyRef {
    KeyRef::from_str(word).expect("our own parameter names are keys")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_failure_says_whom_it_asked_and_what_came_back() {
        let status = ProxyStatus::new(ProxyError::HttpResponseIncomplete)
            .next_hop("origin:8001")
            .received_status(StatusCode::OK)
            .details(r#"12 of "20" bytes"#);
        assert_eq!(
            status.to_field(),
            r#"Larder;error=http_response_incomplete;next-hop="origin:8001";received-status=200;details="12 of \"20\" bytes""#
        );
    }

    #[test]
    fn what_a_string_cannot_carry_is_left_out() {
        let status = ProxyStatus::new(ProxyError::DnsError).next_hop("größe").details("\n");
        assert_eq!(status.to_field(), "Larder;error=dns_error");
    }

    #[test]
    fn those_nearer_to_the_origin_come_first() {
        let mut headers = HeaderMap::new();
        headers.insert("proxy-status", HeaderValue::from_static("Inner;error=dns_error"));
        ProxyStatus::new(ProxyError::ConnectionTimeout).append_to(&mut headers);
        let lines: Vec<_> = headers.get_all("proxy-status").iter().collect();
        assert_eq!(lines, ["Inner;error=dns_error", "Larder;error=connection_timeout"]);
    }

    #[test]
    fn a_list_that_nobody_can_read_or_that_is_empty_is_replaced() {
        for before in ["Inner;;;", "", " "] {
            let mut headers = HeaderMap::new();
            headers.insert("proxy-status", HeaderValue::from_static(before));
            ProxyStatus::new(ProxyError::ProxyLoopDetected).append_to(&mut headers);
            let lines: Vec<_> = headers.get_all("proxy-status").iter().collect();
            assert_eq!(lines, ["Larder;error=proxy_loop_detected"], "{before:?}");
        }
    }
}
