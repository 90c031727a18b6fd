//! Line: one request as the access log tells it, in either format.

use std::{
    cell::RefCell,
    net::{IpAddr, Ipv6Addr},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use larder::http::policy::fields::write_number;

use super::{
    config::{AccessLogConfig, Addresses, Format},
    escape::{write_text, write_uri},
    note::Verdict,
};
use crate::downstream::TlsFacts;

/// What there is to tell of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    pub(super) at: SystemTime,
    pub(super) client: Option<IpAddr>,
    /// The name of the listener that it came to.
    pub(super) listener: &'a str,
    pub(super) tls: Option<TlsFacts>,
    pub(super) asked: Asked<'a>,
    pub(super) status: u16,
    /// Of the content, not of the head.
    pub(super) bytes: u64,
    pub(super) cache: Verdict,
    pub(super) age: Option<u64>,
    pub(super) upstream: Option<&'a str>,
    pub(super) total: Duration,
    pub(super) first_byte: Option<Duration>,
    pub(super) origin: Option<Duration>,
    pub(super) ended: Ended,
}

/// What was asked. A request that was refused before it was understood has none of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asked<'a> {
    pub(super) method: &'a [u8],
    pub(super) scheme: &'a str,
    pub(super) host: &'a [u8],
    /// The path, with its query.
    pub(super) target: &'a [u8],
    pub(super) protocol: &'static str,
    pub(super) referer: &'a [u8],
    pub(super) user_agent: &'a [u8],
}

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// All of it was sent.
    Whole,
    /// Not all of it.
    Cut,
    /// No service saw the request, for this reason.
    Refused(&'static str),
}

/// Adds the line to `out`.
pub(super) fn write(line: &Line<'_>, config: &AccessLogConfig, out: &mut Vec<u8>) {
    match config.format {
        Format::Json => write_json(line, config, out),
        Format::Combined => write_combined(line, config, out),
    }
    out.push(b'\n');
}

fn write_json(line: &Line<'_>, config: &AccessLogConfig, out: &mut Vec<u8>) {
    let put = |text: &str, out: &mut Vec<u8>| out.extend_from_slice(text.as_bytes());
    let text = |name: &str, text: &[u8], out: &mut Vec<u8>| {
        if !text.is_empty() {
            put(name, out);
            write_text(text, Format::Json, out);
            out.push(b'"');
        }
    };
    put("{\"time\":\"", out);
    with_second(line.at, |second, millis| {
        put(&second.iso, out);
        out.extend_from_slice(&[
            b'.',
            b'0' + (millis / 100) as u8,
            b'0' + (millis / 10 % 10) as u8,
            b'0' + (millis % 10) as u8,
        ]);
        out.push(b'Z');
    });
    out.push(b'"');
    if let Some(client) = client(line.client, config.addresses) {
        put(",\"client\":\"", out);
        write_address(client, out);
        out.push(b'"');
    }
    let asked = &line.asked;
    text(",\"method\":\"", asked.method, out);
    text(",\"scheme\":\"", asked.scheme.as_bytes(), out);
    text(",\"host\":\"", asked.host, out);
    if !asked.target.is_empty() {
        put(",\"path\":\"", out);
        write_uri(asked.target, config.query, Format::Json, out);
        out.push(b'"');
    }
    text(",\"protocol\":\"", asked.protocol.as_bytes(), out);
    text(",\"listener\":\"", line.listener.as_bytes(), out);
    if let Some(tls) = line.tls {
        text(",\"tls\":\"", tls.version().as_bytes(), out);
        text(",\"cipher\":\"", tls.cipher().as_bytes(), out);
    }
    put(",\"status\":", out);
    write_number(line.status.into(), out);
    put(",\"bytes\":", out);
    write_number(line.bytes, out);
    text(",\"cache\":\"", line.cache.word.as_bytes(), out);
    text(",\"reason\":\"", line.cache.reason.as_bytes(), out);
    text(",\"tier\":\"", line.cache.tier().as_bytes(), out);
    if let Some(age) = line.age {
        put(",\"age\":", out);
        write_number(age, out);
    }
    text(",\"upstream\":\"", line.upstream.unwrap_or_default().as_bytes(), out);
    put(",\"total_ms\":", out);
    write_thousandths(line.total.as_micros(), out);
    if let Some(first_byte) = line.first_byte {
        put(",\"first_byte_ms\":", out);
        write_thousandths(first_byte.as_micros(), out);
    }
    if let Some(origin) = line.origin {
        put(",\"origin_ms\":", out);
        write_thousandths(origin.as_micros(), out);
    }
    match line.ended {
        Ended::Whole => put(",\"ended\":\"whole\"", out),
        Ended::Cut => put(",\"ended\":\"cut\"", out),
        Ended::Refused(why) => {
            put(",\"ended\":\"refused\"", out);
            text(",\"refused\":\"", why.as_bytes(), out);
        }
    }
    if !asked.referer.is_empty() {
        put(",\"referer\":\"", out);
        write_uri(asked.referer, config.query, Format::Json, out);
        out.push(b'"');
    }
    text(",\"user_agent\":\"", asked.user_agent, out);
    out.push(b'}');
}

fn write_combined(line: &Line<'_>, config: &AccessLogConfig, out: &mut Vec<u8>) {
    let put = |text: &str, out: &mut Vec<u8>| out.extend_from_slice(text.as_bytes());
    let named = |name: &str, text: &str, out: &mut Vec<u8>| {
        put(name, out);
        put(if text.is_empty() { "-" } else { text }, out);
    };
    match client(line.client, config.addresses) {
        Some(client) => write_address(client, out),
        None => out.push(b'-'),
    }
    put(" - - [", out);
    with_second(line.at, |second, _| put(&second.clf, out));
    put("] \"", out);
    let asked = &line.asked;
    if asked.method.is_empty() {
        out.push(b'-');
    } else {
        write_text(asked.method, Format::Combined, out);
        out.push(b' ');
        write_uri(asked.target, config.query, Format::Combined, out);
        out.push(b' ');
        put(asked.protocol, out);
    }
    put("\" ", out);
    write_number(line.status.into(), out);
    out.push(b' ');
    write_number(line.bytes, out);
    put(" \"", out);
    match asked.referer {
        [] => out.push(b'-'),
        referer => write_uri(referer, config.query, Format::Combined, out),
    }
    put("\" \"", out);
    match asked.user_agent {
        [] => out.push(b'-'),
        agent => write_text(agent, Format::Combined, out),
    }
    put("\" host=\"", out);
    write_text(asked.host, Format::Combined, out);
    out.push(b'"');
    named(" scheme=", asked.scheme, out);
    put(" listener=\"", out);
    write_text(line.listener.as_bytes(), Format::Combined, out);
    out.push(b'"');
    named(" tls=", line.tls.as_ref().map_or("", TlsFacts::version), out);
    named(" cipher=", line.tls.as_ref().map_or("", TlsFacts::cipher), out);
    named(" cache=", line.cache.word, out);
    named(" reason=", line.cache.reason, out);
    named(" tier=", line.cache.tier(), out);
    put(" age=", out);
    match line.age {
        Some(age) => write_number(age, out),
        None => out.push(b'-'),
    }
    // Names of services are the operator's own, and may hold spaces.
    put(" upstream=\"", out);
    write_text(line.upstream.unwrap_or("-").as_bytes(), Format::Combined, out);
    put("\" total_ms=", out);
    write_thousandths(line.total.as_micros(), out);
    for (name, took) in [(" first_byte_ms=", line.first_byte), (" origin_ms=", line.origin)] {
        put(name, out);
        match took {
            Some(took) => write_thousandths(took.as_micros(), out),
            None => out.push(b'-'),
        }
    }
    match line.ended {
        Ended::Whole => put(" ended=whole", out),
        Ended::Cut => put(" ended=cut", out),
        Ended::Refused(why) => {
            put(" ended=refused refused=\"", out);
            write_text(why.as_bytes(), Format::Combined, out);
            out.push(b'"');
        }
    }
}

fn write_thousandths(number: u128, out: &mut Vec<u8>) {
    let number = u64::try_from(number).unwrap_or(u64::MAX);
    write_number(number / 1000, out);
    let rest = (number % 1000) as u16;
    let digit = |of: u16| b'0' + (of % 10) as u8;
    out.extend_from_slice(&[b'.', digit(rest / 100), digit(rest / 10), digit(rest)]);
}

/// What of an address is told.
fn client(client: Option<IpAddr>, addresses: Addresses) -> Option<IpAddr> {
    let client = client?.to_canonical();
    match (addresses, client) {
        (Addresses::Drop, _) => None,
        (Addresses::Keep, client) => Some(client),
        (Addresses::Mask, IpAddr::V4(client)) => {
            let [a, b, c, _] = client.octets();
            Some(IpAddr::from([a, b, c, 0]))
        }
        (Addresses::Mask, IpAddr::V6(client)) => {
            Some(Ipv6Addr::from_bits(client.to_bits() & (u128::MAX << 80)).into())
        }
    }
}

fn write_address(address: IpAddr, out: &mut Vec<u8>) {
    use std::io::Write;
    match address {
        IpAddr::V4(address) => {
            for (index, octet) in address.octets().into_iter().enumerate() {
                if index > 0 {
                    out.push(b'.');
                }
                write_number(octet.into(), out);
            }
        }
        // A vector takes all.
        IpAddr::V6(address) => write!(out, "{address}").unwrap_or_default(),
    }
}

/// A second, written once for all lines of a thread.
struct Second {
    since_epoch: u64,
    /// `2026-11-30T06:19:25`, which a fraction and `Z` follow.
    iso: String,
    /// `30/Nov/2026:06:19:25 +0000`
    clf: String,
}

fn with_second<T>(at: SystemTime, use_it: impl FnOnce(&Second, u32) -> T) -> T {
    thread_local! {
        static NOW: RefCell<Option<Second>> = const { RefCell::new(None) };
    }
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    NOW.with_borrow_mut(|now| {
        let is_known = now.as_ref().is_some_and(|now| now.since_epoch == since.as_secs());
        let second = match now {
            Some(second) if is_known => second,
            now => now.insert(second_of(since.as_secs())),
        };
        use_it(second, since.subsec_millis())
    })
}

fn second_of(since_epoch: u64) -> Second {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let at = UNIX_EPOCH + Duration::from_secs(since_epoch);
    let iso = humantime::format_rfc3339_seconds(at).to_string();
    let iso = iso.trim_end_matches('Z').to_owned();
    let (date, time) = iso.split_once('T').unwrap_or((&iso, ""));
    let mut parts = date.split('-');
    let (year, month, day) = (parts.next(), parts.next(), parts.next());
    let month = month.and_then(|month| month.parse::<usize>().ok()).unwrap_or(1);
    let month = MONTHS.get(month.saturating_sub(1)).unwrap_or(&MONTHS[0]);
    let (day, year) = (day.unwrap_or_default(), year.unwrap_or_default());
    let clf = format!("{day}/{month}/{year}:{time} +0000");
    Second { since_epoch, iso, clf }
}

#[cfg(test)]
mod tests {
    use super::{super::config::Destination, *};

    fn line() -> Line<'static> {
        Line {
            at: UNIX_EPOCH + Duration::from_millis(1_700_000_000_007),
            client: Some([203, 0, 113, 7].into()),
            listener: "public",
            tls: TlsFacts::of(rustls::CipherSuite::TLS13_AES_256_GCM_SHA384),
            asked: Asked {
                method: b"GET",
                scheme: "https",
                host: b"example.org",
                target: b"/a?q=1",
                protocol: "HTTP/1.1",
                referer: b"https://example.org/?token=1",
                user_agent: b"curl \"8\"",
            },
            status: 200,
            bytes: 1234,
            cache: Verdict::HIT,
            age: Some(12),
            upstream: Some("blog"),
            total: Duration::from_micros(1021),
            first_byte: Some(Duration::from_micros(20)),
            origin: None,
            ended: Ended::Whole,
        }
    }

    fn written(line: &Line<'_>, config: &AccessLogConfig) -> String {
        let mut out = Vec::new();
        write(line, config, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_tells_who_asked_what_and_what_came_of_it() {
        let json = AccessLogConfig::to(Destination::Stdout);
        let text = written(&line(), &json);
        let expected = concat!(
            r#"{"time":"2023-11-14T22:13:20.007Z","client":"203.0.113.7","method":"GET","#,
            r#""scheme":"https","host":"example.org","path":"/a?q=*","protocol":"HTTP/1.1","#,
            r#""listener":"public","tls":"TLSv1.3","cipher":"TLS13_AES_256_GCM_SHA384","#,
            r#""status":200,"bytes":1234,"cache":"hit","reason":"hit","tier":"memory","age":12,"#,
            r#""upstream":"blog","total_ms":1.021,"first_byte_ms":0.020,"ended":"whole","#,
            r#""referer":"https://example.org/?token=*","user_agent":"curl \"8\""}"#,
            "\n"
        );
        assert_eq!(text, expected);
        serde_json::from_str::<serde_json::Value>(&text).unwrap();
        let combined = AccessLogConfig { format: Format::Combined, ..json };
        let expected = concat!(
            r#"203.0.113.7 - - [14/Nov/2023:22:13:20 +0000] "GET /a?q=* HTTP/1.1" 200 1234 "#,
            r#""https://example.org/?token=*" "curl \x228\x22" host="example.org" scheme=https "#,
            r#"listener="public" tls=TLSv1.3 cipher=TLS13_AES_256_GCM_SHA384 "#,
            r#"cache=hit reason=hit tier=memory age=12 upstream="blog" total_ms=1.021 "#,
            "first_byte_ms=0.020 origin_ms=- ended=whole\n"
        );
        assert_eq!(written(&line(), &combined), expected);
    }

    #[test]
    fn a_request_that_was_not_understood_has_a_line_all_the_same() {
        let refused = Line {
            asked: Asked::default(),
            cache: Verdict::default(),
            ended: Ended::Refused("there is no Host"),
            status: 400,
            ..line()
        };
        let json = AccessLogConfig::to(Destination::Stdout);
        let text = written(&refused, &json);
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&read["status"], &read["refused"]), (&400.into(), &"there is no Host".into()));
        let combined = AccessLogConfig { format: Format::Combined, ..json };
        assert!(written(&refused, &combined).contains("\"-\" 400 1234 \"-\" \"-\""));
    }

    #[test]
    fn of_an_address_is_told_what_may_be() {
        let rows = [
            ("203.0.113.7", "203.0.113.0"),
            ("::ffff:203.0.113.7", "203.0.113.0"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1::"),
        ];
        for (address, masked) in rows {
            let address: IpAddr = address.parse().unwrap();
            let told = |addresses| client(Some(address), addresses).map(|ip| ip.to_string());
            assert_eq!(told(Addresses::Mask).as_deref(), Some(masked));
            assert_eq!(told(Addresses::Keep), Some(address.to_canonical().to_string()));
            assert_eq!(told(Addresses::Drop), None);
        }
    }
}
