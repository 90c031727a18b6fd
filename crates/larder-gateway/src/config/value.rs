//! Values: what stands behind a key of `larder.toml` and is more than a number or a text.
//!
//! Each is a type that knows how it is written, so that a wrong one is told with the form that is wanted, where it
//! stands. The same parsers take what stands behind a flag of `larder serve`.

use std::{
    borrow::Cow,
    fmt,
    net::{IpAddr, SocketAddr},
    num::NonZeroUsize,
    time::Duration,
};

use bytesize::ByteSize;
use http::{HeaderName, HeaderValue, Method};
use larder::http::policy::cookies::IgnoredCookies;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, Visitor},
};

use super::{address, amount};
use crate::{upgrade, upstream::Origin};

/// One row a type: what it wraps, how it is read, how it is shown, what a file may write (a text, or a number as
/// well), and a text that is right.
macro_rules! written {
    ($($(#[$doc:meta])* $name:ident($inner:ty): $read:expr, $show:expr, $form:ident, $expects:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name(pub $inner);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let form = Form { read: $read, takes_numbers: Kind::$form == Kind::TextOrNumber, expects: $expects };
                deserializer.deserialize_any(form).map($name)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let show: fn(&$inner) -> String = $show;
                serializer.serialize_str(&show(&self.0))
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                match Kind::$form {
                    Kind::Text => json_schema!({ "type": "string" }),
                    Kind::TextOrNumber => json_schema!({ "type": ["string", "integer"] }),
                }
            }
        }
    )*};
}

#[derive(PartialEq)]
enum Kind {
    Text,
    TextOrNumber,
}

written! {
    /// A length of time: `"30s"`.
    Time(Duration): amount::duration, |time| humantime::format_duration(*time).to_string(), Text,
        "a time with its unit, in quotes: \"30s\"";
    /// A number of bytes: `"64MiB"`, or a number.
    Size(ByteSize): amount::size, |size| shown(*size), TextOrNumber, "a size with its unit, in quotes: \"64MiB\"";
    /// Where to listen: `"127.0.0.1:8080"`, or a port of 127.0.0.1.
    Listen(SocketAddr): address::listen, SocketAddr::to_string, TextOrNumber,
        "an address and a port, in quotes: \"127.0.0.1:8080\"";
    /// A service: `"http://127.0.0.1:8001"`, `"localhost:8001"`, or a port of 127.0.0.1.
    Service(Origin): address::upstream, Origin::to_string, TextOrNumber,
        "the address of a service, in quotes: \"http://127.0.0.1:8001\"";
    /// The address of a machine: `"192.0.2.1"`.
    Peer(IpAddr): peer, IpAddr::to_string, Text, "an address without a port, in quotes: \"192.0.2.1\"";
    /// The name of a cookie, in which `*` stands for any characters; or `analytics`.
    CookieName(String): cookie, String::clone, Text, "the name of a cookie, in quotes: \"_ga*\"";
    /// The name of a header field: `"X-Tenant"`.
    Field(HeaderName): field, HeaderName::to_string, Text, "the name of a header field, in quotes: \"X-Tenant\"";
    /// A media type, in which `*` stands for any characters: `"text/*"`.
    MediaType(String): media_type, String::clone, Text, "a media type, in quotes: \"text/*\"";
    /// A method of HTTP: `"GET"`.
    Verb(Method): verb, Method::to_string, Text, "a method, in quotes: \"GET\"";
    /// A protocol that a connection may go on in: `"websocket"`.
    Protocol(HeaderValue): protocol, |name| name.to_str().unwrap_or_default().to_owned(), Text,
        "the name of a protocol, in quotes: \"websocket\"";
}

/// How many, and not none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Count(pub NonZeroUsize);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Whole).map(Count)
    }
}

struct Whole;

impl Visitor<'_> for Whole {
    type Value = NonZeroUsize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number from 1 on, without quotes")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<NonZeroUsize, E> {
        amount::count(&number.to_string()).map_err(E::custom)
    }
}

/// Reads a text by its form.
struct Form<T> {
    read: fn(&str) -> Result<T, String>,
    takes_numbers: bool,
    expects: &'static str,
}

impl<T> Visitor<'_> for Form<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expects)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.read)(text).map_err(E::custom)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        match self.takes_numbers {
            true => self.visit_str(&number.to_string()),
            false => Err(E::custom(format!("say {}", self.expects))),
        }
    }
}

/// As it would be written: `ByteSize` itself says `256.0 MiB`.
fn shown(size: ByteSize) -> String {
    let bytes = size.as_u64();
    let unit = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let whole = unit.iter().find(|(power, _)| bytes > 0 && bytes.trailing_zeros() >= *power);
    whole.map_or_else(|| bytes.to_string(), |(power, unit)| format!("{}{unit}", bytes >> power))
}

fn peer(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| match text.parse::<SocketAddr>() {
        Ok(address) => format!("without the port: \"{}\"", address.ip()),
        Err(_) => "say the address of a machine: \"192.0.2.1\", \"2001:db8::1\"".to_owned(),
    })
}

fn cookie(text: &str) -> Result<String, String> {
    if text.contains(',') {
        return Err("each name stands in quotes of its own: [\"a\", \"b\"]".to_owned());
    }
    text.parse::<IgnoredCookies>().map_err(|error| error.to_string())?;
    if text.trim().is_empty() { Err("a name is missing".to_owned()) } else { Ok(text.to_owned()) }
}

fn field(text: &str) -> Result<HeaderName, String> {
    text.parse().map_err(|_| "this cannot be the name of a header field: \"X-Tenant\"".to_owned())
}

fn media_type(text: &str) -> Result<String, String> {
    const WRONG: &str = "say a media type without parameters: \"application/json\", \"text/*\"";
    let is_token = |part: &str| {
        let may_be = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&^_.+-*".contains(&byte);
        !part.is_empty() && part.bytes().all(may_be)
    };
    let is_one = text.split_once('/').is_some_and(|(kind, name)| is_token(kind) && is_token(name));
    match text.matches('*').count() {
        _ if !is_one && text != "*" => Err(WRONG.to_owned()),
        0 | 1 => Ok(text.to_owned()),
        _ if text == "*/*" => Ok("*".to_owned()),
        _ => Err("one * is enough: \"application/*+json\"".to_owned()),
    }
}

/// Methods are told apart by case (RFC 9110 §9.1), and none that is in use has small letters.
fn verb(text: &str) -> Result<Method, String> {
    if text.bytes().any(|byte| byte.is_ascii_lowercase()) {
        return Err(format!("methods are written in capitals: \"{}\"", text.to_ascii_uppercase()));
    }
    text.parse().map_err(|_| "this cannot be a method: \"GET\"".to_owned())
}

fn protocol(text: &str) -> Result<HeaderValue, String> {
    if upgrade::is_about_http(text.as_bytes()) {
        let what = "with this readers would speak HTTP with the service, past the cache";
        return Err(what.to_owned());
    }
    let value = HeaderValue::from_str(text).ok();
    let value = value.filter(|_| upgrade::is_protocol(text.as_bytes()));
    value.ok_or_else(|| {
        "say the name of one protocol, as readers write it in Upgrade: \"websocket\"".to_owned()
    })
}
