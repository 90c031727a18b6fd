//! Collector: takes spans over HTTP as collectors of OpenTelemetry do, and reads them (OTLP, in protobuf).

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use larder_test_support::origin::Origin;

use super::eventually;

/// A running collector. Dropping it closes its port.
pub(crate) struct Collector {
    pub(crate) address: SocketAddr,
    taken: Arc<Mutex<Taken>>,
    _serving: Origin,
}

#[derive(Default)]
struct Taken {
    spans: Vec<Span>,
    /// All that was sent, as it was.
    bytes: Vec<u8>,
    services: Vec<String>,
}

/// A span, as it was sent. Ids are in hexadecimal digits, and empty where there are none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Span {
    pub(crate) trace: String,
    pub(crate) id: String,
    pub(crate) parent: String,
    pub(crate) name: String,
    /// 1 internal, 2 server, 3 client.
    pub(crate) kind: u64,
    pub(crate) began: u64,
    pub(crate) ended: u64,
    pub(crate) attributes: BTreeMap<String, String>,
    /// Trace and span of each.
    pub(crate) links: Vec<(String, String)>,
    pub(crate) is_error: bool,
}

impl Span {
    /// What an attribute says; nothing where there is none of that name.
    pub(crate) fn says(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }

    pub(crate) fn place(&self) -> (String, String) {
        (self.trace.clone(), self.id.clone())
    }
}

impl Collector {
    pub(crate) async fn start() -> Collector {
        Collector::start_at(([127, 0, 0, 1], 0).into()).await
    }

    /// At a port where nobody listens.
    pub(crate) async fn start_at(address: SocketAddr) -> Collector {
        let taken = Arc::<Mutex<Taken>>::default();
        let takes = Arc::clone(&taken);
        let serving = Origin::playing_at(address, move |mut wire, _| {
            let takes = Arc::clone(&takes);
            async move {
                while wire.has_more().await {
                    let head = wire.head().await;
                    let Some(body) = wire.body(&head).await else { return };
                    assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
                    assert!(head.contains("content-type: application/x-protobuf\r\n"), "{head}");
                    takes.lock().unwrap_or_else(PoisonError::into_inner).take(&body);
                    wire.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
                }
            }
        })
        .await;
        Collector { address: serving.address, taken, _serving: serving }
    }

    /// What `larder.toml` says to send to it each span.
    pub(crate) fn settings(&self) -> String {
        format!("[tracing]\nendpoint = \"http://{}\"\nsample = 1\n", self.address)
    }

    pub(crate) fn spans(&self) -> Vec<Span> {
        self.taken().spans.clone()
    }

    /// Whether these bytes were in anything that was sent.
    pub(crate) fn has_seen(&self, bytes: &str) -> bool {
        self.taken().bytes.windows(bytes.len()).any(|window| window == bytes.as_bytes())
    }

    pub(crate) fn services(&self) -> Vec<String> {
        self.taken().services.clone()
    }

    /// Waits until so many spans of this name are there, and no more.
    pub(crate) async fn named(&self, name: &str, count: usize) -> Vec<Span> {
        eventually(&format!("{count} spans named {name}"), async || {
            let spans = self.spans();
            let named: Vec<_> = spans.into_iter().filter(|span| span.name == name).collect();
            assert!(named.len() <= count, "{named:#?}");
            (named.len() == count).then_some(named)
        })
        .await
    }

    fn taken(&self) -> std::sync::MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn take(&mut self, body: &[u8]) {
        self.bytes.extend_from_slice(body);
        for of_resource in parts(body, 1) {
            for resource in parts(of_resource, 1) {
                let said = attributes(resource, 1);
                self.services.extend(said.get("service.name").cloned());
            }
            for of_scope in parts(of_resource, 2) {
                self.spans.extend(parts(of_scope, 2).map(span));
            }
        }
    }
}

fn span(bytes: &[u8]) -> Span {
    let mut span = Span::default();
    for (field, value) in fields(bytes) {
        match (field, value) {
            (1, Value::Bytes(id)) => span.trace = hex(id),
            (2, Value::Bytes(id)) => span.id = hex(id),
            (4, Value::Bytes(id)) => span.parent = hex(id),
            (5, Value::Bytes(name)) => span.name = text(name),
            (6, Value::Number(kind)) => span.kind = kind,
            (7, Value::Number(began)) => span.began = began,
            (8, Value::Number(ended)) => span.ended = ended,
            (13, Value::Bytes(link)) => {
                let id = |field| parts(link, field).map(hex).next().unwrap_or_default();
                span.links.push((id(1), id(2)));
            }
            (15, Value::Bytes(status)) => {
                span.is_error = fields(status)
                    .any(|(field, value)| field == 3 && matches!(value, Value::Number(2)));
            }
            _ => {}
        }
    }
    span.attributes = attributes(bytes, 9);
    span
}

fn attributes(bytes: &[u8], field: u64) -> BTreeMap<String, String> {
    let each = parts(bytes, field).map(|attribute| {
        let key = parts(attribute, 1).map(text).next().unwrap();
        let value = parts(attribute, 2).next().unwrap();
        let said = fields(value).map(|(field, value)| match value {
            Value::Bytes(bytes) if field == 1 => text(bytes),
            Value::Number(number) if field == 3 => number.cast_signed().to_string(),
            _ => panic!("an attribute {key} of another kind"),
        });
        let said = said.collect::<Vec<_>>().concat();
        (key, said)
    });
    each.collect()
}

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The parts of a message that are in this field.
fn parts(bytes: &[u8], wanted: u64) -> impl Iterator<Item = &[u8]> {
    fields(bytes).filter_map(move |(field, value)| match value {
        Value::Bytes(bytes) if field == wanted => Some(bytes),
        _ => None,
    })
}

/// All fields of a message, in their order.
fn fields(mut bytes: &[u8]) -> impl Iterator<Item = (u64, Value<'_>)> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let tag = number(&mut bytes);
        let value = match tag & 7 {
            0 => Value::Number(number(&mut bytes)),
            1 => {
                let (fixed, rest) = bytes.split_at(8);
                bytes = rest;
                Value::Number(u64::from_le_bytes(fixed.try_into().unwrap()))
            }
            2 => {
                let length = usize::try_from(number(&mut bytes)).unwrap();
                let (part, rest) = bytes.split_at(length);
                bytes = rest;
                Value::Bytes(part)
            }
            other => panic!("a field of kind {other}"),
        };
        Some((tag >> 3, value))
    })
}

fn number(bytes: &mut &[u8]) -> u64 {
    let mut number = 0;
    for place in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().expect("a number that ends");
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << place;
        if byte & 0x80 == 0 {
            return number;
        }
    }
    panic!("a number of more than 64 bits")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
