//! Framing: where a message's body ends (RFC 9112 §6).
//!
//! Requests are read strictly: an attacker who can make two programs disagree about a body's end can put words
//! into another's mouth. Answers of the service are trusted, but for what they contradict.

use http::{HeaderMap, HeaderName, Version, header};

use super::refusal::Refusal;

/// How a request's body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyFraming {
    None,
    /// Never 0.
    Length(u64),
    Chunked,
}

/// Whether a field of a request tells where its body ends, whether that is sent at once, or what comes
/// after it or after the answer's. Without any there is no body.
pub(crate) fn is_about_framing(name: &HeaderName) -> bool {
    matches!(name.as_str(), "connection" | "content-length" | "expect" | "te" | "transfer-encoding")
}

/// RFC 9112 §6.3, with every choice it leaves made for refusal.
pub(crate) fn of_request(version: Version, headers: &HeaderMap) -> Result<BodyFraming, Refusal> {
    let is_chunked = is_chunked(headers)?;
    let length = content_length(headers)?;
    match (is_chunked, length) {
        (true, _) if version == Version::HTTP_10 => {
            Err(Refusal::Malformed("HTTP/1.0 has no transfer codings"))
        }
        (true, Some(_)) => {
            Err(Refusal::Malformed("there are both Transfer-Encoding and Content-Length"))
        }
        (true, None) => Ok(BodyFraming::Chunked),
        (false, None | Some(0)) => Ok(BodyFraming::None),
        (false, Some(length)) => Ok(BodyFraming::Length(length)),
    }
}

/// Whether the body is chunked, and nothing else.
fn is_chunked(headers: &HeaderMap) -> Result<bool, Refusal> {
    let mut codings = 0;
    for value in headers.get_all(header::TRANSFER_ENCODING) {
        for coding in value.as_bytes().split(|byte| *byte == b',') {
            let coding = coding.trim_ascii();
            let name = coding.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
            if name.is_empty() {
                return Err(Refusal::Malformed("Transfer-Encoding is empty"));
            }
            if !name.eq_ignore_ascii_case(b"chunked") {
                return Err(Refusal::TransferCoding);
            }
            if name.len() != coding.len() {
                return Err(Refusal::Malformed("chunked has no parameters"));
            }
            codings += 1;
        }
    }
    if codings > 1 {
        return Err(Refusal::Malformed("the body is chunked more than once"));
    }
    Ok(codings == 1)
}

/// One number of digits. Even equal lengths are refused when repeated (RFC 9110 §8.6 allows it): a
/// sender that repeats itself there is one that something was merged into.
pub(crate) fn content_length(headers: &HeaderMap) -> Result<Option<u64>, Refusal> {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(length) = lengths.next() else { return Ok(None) };
    if lengths.next().is_some() {
        return Err(Refusal::Malformed("there is more than one Content-Length"));
    }
    digits(length.as_bytes()).map(Some).ok_or(Refusal::Malformed("Content-Length is not a number"))
}

/// The length an answer names, where it names one: the same number any number of times. Senders of
/// answers that repeat it exist.
pub(crate) fn length_of_answer(headers: &HeaderMap) -> Option<u64> {
    let mut length = None;
    for value in headers.get_all(header::CONTENT_LENGTH) {
        for number in value.as_bytes().split(|byte| *byte == b',') {
            let number = digits(number.trim_ascii())?;
            if length.is_some_and(|length| length != number) {
                return None;
            }
            length = Some(number);
        }
    }
    length
}

fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Whether the sender would use the connection again (RFC 9112 §9.3).
pub(crate) fn is_persistent(version: Version, headers: &HeaderMap) -> bool {
    let (mut close, mut keep_alive) = (false, false);
    for value in headers.get_all(header::CONNECTION) {
        for option in value.as_bytes().split(|byte| *byte == b',') {
            let option = option.trim_ascii();
            close |= option.eq_ignore_ascii_case(b"close");
            keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }
    !close && (keep_alive || is_persistent_by_itself(version))
}

/// The same of a sender who says nothing of it.
pub(crate) fn is_persistent_by_itself(version: Version) -> bool {
    version != Version::HTTP_10
}
