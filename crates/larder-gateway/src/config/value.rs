//! Values: what stands behind a key of `larder.toml` and is more than a number or a text.
//!
//! Each is a type that knows how it is written, so that a wrong one is told with the form that is wanted, where it
//! stands. The same parsers take what stands behind a flag of `larder serve`.

use std::{
    borrow::Cow,
    fmt,
    net::SocketAddr,
    num::{NonZeroU16, NonZeroUsize},
};

use http::{HeaderValue, Method, uri::Authority};
use larder::http::policy::forward::HopName;
pub use larder::http::policy::text::value::{
    CookieName, Field, FieldValue, MediaType, OneCookie, Parameter, Part, Size, StatusText, Time,
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, Visitor},
};

use super::{
    address,
    amount::{self, Portion},
};
use crate::{
    downstream::{ListenAddress, NoPeer, TrustedPeer},
    routes::Condition,
    upgrade,
    upstream::Origin,
};

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
    /// Where to listen: `"127.0.0.1:8080"`, or a port of 127.0.0.1.
    Listen(SocketAddr): address::listen, SocketAddr::to_string, TextOrNumber,
        "an address and a port, in quotes: \"127.0.0.1:8080\"";
    /// Where to listen: an address and a port, or the path of a Unix socket: `"unix:/run/larder.sock"`.
    ListenAt(ListenAddress): address::place, ListenAddress::to_string, TextOrNumber,
        "an address and a port, or a path, in quotes: \"unix:/run/larder.sock\"";
    /// Who may open a file, as `chmod` writes it: `"0660"`.
    Mode(u32): mode, |mode| format!("{mode:04o}"), Text, "a mode as chmod has it, in quotes: \"0660\"";
    /// A port, which is never 0.
    Port(NonZeroU16): port, NonZeroU16::to_string, TextOrNumber, "a port, without quotes: 443";
    /// A service: `"http://127.0.0.1:8001"`, `"localhost:8001"`, or a port of 127.0.0.1.
    Service(Origin): address::upstream, Origin::to_string, TextOrNumber,
        "the address of a service, in quotes: \"http://127.0.0.1:8001\"";
    /// What a request may say in `Host`: `"app.internal"`, with a port where that is told, too.
    HostName(Authority): host, Authority::to_string, Text, "a host, in quotes: \"app.internal\"";
    /// A name that a gateway signs with: `"edge-1"`.
    HopWord(HopName): hop, |name| name.as_str().to_owned(), Text, "a name, in quotes: \"edge-1\"";
    /// A peer that may be trusted: `"192.0.2.1"`, `"10.0.0.0/8"`, `"unix"`.
    Peer(TrustedPeer): peer, TrustedPeer::to_string, Text,
        "an address or a network, in quotes: \"10.0.0.0/8\"";
    /// A method of HTTP: `"GET"`.
    Verb(Method): verb, Method::to_string, Text, "a method, in quotes: \"GET\"";
    /// How much of a whole: `"64MiB"`, `"20%"`.
    Share(Portion): amount::portion, Portion::to_string, TextOrNumber,
        "a size or a share, in quotes: \"64MiB\", \"20%\"";
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

fn peer(text: &str) -> Result<TrustedPeer, String> {
    text.parse().map_err(|error: NoPeer| error.to_string())
}

fn mode(text: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777);
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    mode.filter(|_| is_plain)
        .ok_or_else(|| "say who may open it as chmod does: \"0660\"".to_owned())
}

fn port(text: &str) -> Result<NonZeroU16, String> {
    text.parse().map_err(|_| "ports are numbers from 1 to 65535".to_owned())
}

fn host(text: &str) -> Result<Authority, String> {
    let wanted =
        || "say a host, perhaps with a port: \"app.internal\", \"app.internal:8443\"".to_owned();
    let host: Authority = text.parse().map_err(|_| wanted())?;
    if is_one_host(&host) { Ok(host) } else { Err(wanted()) }
}

/// Whether it is a host, with a port that there is or without one.
pub(super) fn is_one_host(authority: &Authority) -> bool {
    let text = authority.as_str();
    let has_port = text.len() > authority.host().len();
    let is_port = authority.port_u16().is_some_and(|port| port > 0);
    !text.contains('@') && !authority.host().is_empty() && (!has_port || is_port)
}

fn hop(text: &str) -> Result<HopName, String> {
    HopName::new(text).ok_or_else(|| {
        "say a word, or a host with or without a port, without spaces: \"edge-1\"".to_owned()
    })
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
    if text.contains('*') {
        let what = "a star stands for no protocol here: name each that connections may go on in";
        return Err(what.to_owned());
    }
    let value = HeaderValue::from_str(text).ok();
    let value = value.filter(|_| upgrade::is_protocol(text.as_bytes()));
    value.ok_or_else(|| {
        "say the name of one protocol, as readers write it in Upgrade: \"websocket\"".to_owned()
    })
}

/// What is asked of a field or of a parameter: `"1"`, in which `*` stands for any characters; `true`, it is there; `false`,
/// it is not.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted(pub Condition);

impl<'de> Deserialize<'de> for Wanted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrBool).map(Wanted)
    }
}

struct TextOrBool;

impl Visitor<'_> for TextOrBool {
    type Value = Condition;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text in quotes, true for whatever is there, or false for none")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Condition, E> {
        Ok(Condition::Fits(text.into()))
    }

    fn visit_bool<E: Error>(self, is_there: bool) -> Result<Condition, E> {
        Ok(if is_there { Condition::Present } else { Condition::Absent })
    }
}
