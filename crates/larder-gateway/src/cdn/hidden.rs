//! Hidden: a vendor's words and names without what proves who asks. Some say a credential back that they do not take, and what
//! they say stands in receipts and logs.

use super::driver::{Call, Said, Shown};

/// Shorter pieces are no secrets, but words.
const LEAST: usize = 6;
const INSTEAD: &str = "…";
/// What a vendor calls a purge is no longer than this, as it is shown.
const LONGEST_NAME: usize = 200;

/// What it has said, without what its call proved itself by.
pub(super) fn said(call: &Call, said: Said) -> Said {
    let hide = |text: String| without(call, text);
    match said {
        Said::Done { id } => Said::Done { id: id.map(|id| name(call, &id)) },
        Said::Working { id, after } => match name(call, &id) == id {
            true => Said::Working { id, after },
            // It is asked for by that name, as it was said.
            false => {
                Said::Refused { why: "what it calls the purge is no name to ask for".to_owned() }
            }
        },
        Said::Partly { id, not } => {
            let not = not.into_iter().map(|(wish, why)| (wish, hide(why))).collect();
            Said::Partly { id: id.map(|id| name(call, &id)), not }
        }
        Said::Later { after, why } => Said::Later { after, why: hide(why) },
        Said::Refused { why } => Said::Refused { why: hide(why) },
    }
}

/// What it calls a purge, as it may stand in a line.
pub(super) fn name(call: &Call, name: &str) -> String {
    let plain = name.chars().filter(|character| !character.is_control());
    without(call, plain.take(LONGEST_NAME).collect())
}

/// The same of a probe.
pub(super) fn shown(call: &Call, shown: Shown) -> Shown {
    let hide = |text: String| without(call, text);
    match shown {
        Shown::WrongCredentials { why } => Shown::WrongCredentials { why: hide(why) },
        Shown::UnknownName { what, why } => Shown::UnknownName { what, why: hide(why) },
        Shown::Unclear { why } => Shown::Unclear { why: hide(why) },
        shown @ (Shown::Good | Shown::Next | Shown::CredentialsAlone { .. }) => shown,
    }
}

/// What a call proves itself by stands in fields that are marked so: whole, and in pieces, as `Bearer token` and
/// `client_token=…;access_token=…` have them.
fn without(call: &Call, mut text: String) -> String {
    let values = call.head.headers.values().filter(|value| value.is_sensitive());
    for value in values.filter_map(|value| value.to_str().ok()) {
        let (_, behind_scheme) = value.split_once(' ').unwrap_or(("", value));
        let pieces = behind_scheme.split([' ', ';', ',']);
        let named = pieces.clone().filter_map(|piece| Some(piece.split_once('=')?.1));
        let pieces = [value, behind_scheme].into_iter().chain(pieces).chain(named);
        let all: Vec<String> = pieces.flat_map(ways_to_write).collect();
        for piece in all.iter().filter(|piece| piece.len() >= LEAST) {
            text = without_piece(text, piece);
        }
        // Of a vendor's words the end is cut off.
        for piece in &all {
            text = without_beginning(text, piece);
        }
    }
    text
}

/// As it is, and as it stands in URLs, in HTML and in JSON.
fn ways_to_write(secret: &str) -> Vec<String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
    let each = |write: &dyn Fn(char) -> Option<String>| -> String {
        secret.chars().map(|c| write(c).unwrap_or_else(|| c.into())).collect()
    };
    let escaped = |c: char| format!("%{:02X}", u32::from(c));
    let html = |quote: &'static str, apostrophe: &'static str| {
        each(&|c| {
            let name = match c {
                '&' => "&amp;",
                '<' => "&lt;",
                '>' => "&gt;",
                '"' => quote,
                '\'' => apostrophe,
                _ => return None,
            };
            Some(name.to_owned())
        })
    };
    let json = |slash: Option<&'static str>| {
        each(&|c| match c {
            '"' | '\\' => Some(format!("\\{c}")),
            '/' => slash.map(str::to_owned),
            _ => None,
        })
    };
    let mut ways = vec![
        secret.to_owned(),
        each(&|c| (!is_plain(c)).then(|| escaped(c))),
        // What may stand in a path.
        each(&|c| (!is_plain(c) && !"!$&'()*+,;=:@/".contains(c)).then(|| escaped(c))),
        html("&quot;", "&#39;"),
        html("&#34;", "&#x27;"),
        json(None),
        json(Some("\\/")),
    ];
    ways.dedup();
    ways
}

/// Without it, in whichever letters it is written: hex digits have two spellings, and some APIs write all in capitals.
fn without_piece(text: String, piece: &str) -> String {
    let (low, piece) = (text.to_ascii_lowercase(), piece.to_ascii_lowercase());
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for (at, found) in low.match_indices(&piece) {
        out.push_str(&text[from..at]);
        out.push_str(INSTEAD);
        from = at + found.len();
    }
    out.push_str(&text[from..]);
    out
}

/// Without what the words end with of a secret that was cut off there.
fn without_beginning(mut text: String, secret: &str) -> String {
    let cut = secret.char_indices().map(|(at, _)| &secret[..at]).rev();
    if let Some(beginning) =
        cut.filter(|piece| piece.len() >= LEAST).find(|piece| text.ends_with(*piece))
    {
        text.truncate(text.len() - beginning.len());
        text.push_str(INSTEAD);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderValue;

    use super::*;

    fn call(value: &'static str) -> Call {
        let mut request = http::Request::post("https://api.example.com/").body(()).unwrap();
        let mut value = HeaderValue::from_static(value);
        value.set_sensitive(true);
        request.headers_mut().insert("authorization", value);
        request.headers_mut().insert("accept", HeaderValue::from_static("application/json"));
        let (head, ()) = request.into_parts();
        Call { head, body: bytes::Bytes::new(), wishes: Vec::new() }
    }

    #[test]
    fn a_vendor_s_name_for_a_purge_is_short_on_one_line_and_no_credential() {
        let call = call("Bearer s3cret-token==");
        for (name, shown) in [
            ("purge-17", "purge-17"),
            ("x s3cret-token==", "x …"),
            ("a\x1b[31m\r\nb", "a[31mb"),
            (&"n".repeat(900_000), &"n".repeat(200)),
        ] {
            let shown = Some(shown.to_owned());
            let Said::Done { id } = said(&call, Said::Done { id: Some(name.to_owned()) }) else {
                panic!("done")
            };
            assert_eq!(id, shown);
            let partly = Said::Partly { id: Some(name.to_owned()), not: Vec::new() };
            let Said::Partly { id, .. } = said(&call, partly) else { panic!("partly") };
            assert_eq!(id, shown);
            let working = Said::Working { id: name.to_owned(), after: Duration::ZERO };
            let is_asked_for = matches!(said(&call, working), Said::Working { .. });
            assert_eq!(is_asked_for, shown.as_deref() == Some(name));
        }
    }

    #[test]
    fn what_a_vendor_says_back_of_a_credential_is_taken_out() {
        let bearer = "Bearer s3cret-token==";
        let grid =
            "EG1-HMAC-SHA256 client_token=akab-client;access_token=akab-access;signature=c2ln";
        for (value, words, expected) in [
            (bearer, "401: no such token: s3cret-token==", "401: no such token: …"),
            (bearer, "401: Bearer token is wrong", "401: Bearer token is wrong"),
            (bearer, "401: you sent Bearer s3cret-token==.", "401: you sent …."),
            (bearer, "401: you sent s3cret-to", "401: you sent …"),
            (bearer, "404: no json in application/json", "404: no json in application/json"),
            (grid, "401: no client akab-client", "401: no client …"),
            (grid, "401: akab-access, akab-client", "401: …, …"),
            (grid, "401: no access_token akab-acc", "401: no access_token …"),
            ("plain-key", "401: plain-key", "401: …"),
            ("key", "401: no key", "401: no key"),
            ("ab/cd+ef=gh", "400: token ab%2Fcd%2Bef%3Dgh bad", "400: token … bad"),
            ("ab/cd+ef=gh", "400: token ab%2fcd%2bef%3dgh bad", "400: token … bad"),
            ("a&\"b/c\\d", "400: a&amp;&quot;b/c\\d", "400: …"),
            ("a&\"b/c\\d", "400: a&\\\"b\\/c\\\\d", "400: …"),
            ("Sec-ret-9", "400: SEC-RET-9", "400: …"),
        ] {
            assert_eq!(without(&call(value), words.to_owned()), expected, "{value}");
        }
    }
}
