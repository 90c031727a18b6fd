//! Proto: spans as the bytes of an `ExportTraceServiceRequest` of OTLP 1.x, in protobuf: numbers are little-endian base 128,
//! and what has parts has its length before it.

use bytes::Bytes;

use super::span::{Span, Value};

/// What is said of whoever sends the spans: the bytes of a `Resource`.
pub(super) fn resource(service_name: &str) -> Vec<u8> {
    let mut resource = Message::default();
    let version = env!("CARGO_PKG_VERSION");
    for (key, value) in [
        ("service.name", service_name),
        ("service.version", version),
        ("telemetry.sdk.name", "larder"),
        ("telemetry.sdk.language", "rust"),
        ("telemetry.sdk.version", version),
    ] {
        resource.part(1, &attribute(key, &Value::Text(value.to_owned())));
    }
    resource.0
}

/// One request with these spans, of whoever `resource` says.
pub(super) fn request(resource: &[u8], spans: &[Span]) -> Bytes {
    let mut of_scope = Message::default();
    let mut scope = Message::default();
    scope.bytes(1, b"larder");
    scope.bytes(2, env!("CARGO_PKG_VERSION").as_bytes());
    of_scope.part(1, &scope);
    for one in spans {
        of_scope.part(2, &span(one));
    }
    let mut of_resource = Message::default();
    of_resource.bytes(1, resource);
    of_resource.part(2, &of_scope);
    let mut request = Message::default();
    request.part(1, &of_resource);
    request.0.into()
}

fn span(span: &Span) -> Message {
    let mut message = Message::default();
    message.bytes(1, &span.place.trace.0);
    message.bytes(2, &span.place.span.0);
    if let Some(parent) = &span.parent {
        message.bytes(4, &parent.0);
    }
    message.bytes(5, span.name.as_bytes());
    message.number(6, span.kind as u64);
    message.fixed(7, span.began);
    message.fixed(8, span.ended);
    for (key, value) in &span.attributes {
        message.part(9, &attribute(key, value));
    }
    for link in &span.links {
        let mut to = Message::default();
        to.bytes(1, &link.trace.0);
        to.bytes(2, &link.span.0);
        message.part(13, &to);
    }
    if span.is_error {
        const ERROR: u64 = 2;
        let mut status = Message::default();
        status.number(3, ERROR);
        message.part(15, &status);
    }
    message
}

fn attribute(key: &str, value: &Value) -> Message {
    let mut said = Message::default();
    match value {
        // As a whole number of 64 bits is: below zero it has all ten bytes.
        Value::Number(number) => said.number(3, number.cast_unsigned()),
        text => said.bytes(1, text.text().unwrap_or_default().as_bytes()),
    }
    let mut attribute = Message::default();
    attribute.bytes(1, key.as_bytes());
    attribute.part(2, &said);
    attribute
}

/// The bytes of a message, field by field.
#[derive(Default)]
struct Message(Vec<u8>);

/// How a field's value is written.
enum Wire {
    Number = 0,
    Fixed = 1,
    Bytes = 2,
}

impl Message {
    fn varint(&mut self, mut number: u64) {
        while number > 0x7f {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn tag(&mut self, field: u64, wire: Wire) {
        self.varint(field << 3 | wire as u64);
    }

    fn number(&mut self, field: u64, number: u64) {
        self.tag(field, Wire::Number);
        self.varint(number);
    }

    fn fixed(&mut self, field: u64, number: u64) {
        self.tag(field, Wire::Fixed);
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.tag(field, Wire::Bytes);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn part(&mut self, field: u64, part: &Message) {
        self.bytes(field, &part.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traces::{
        ids::{Place, SpanId, TraceId},
        span::Kind,
    };

    #[test]
    fn numbers_take_as_many_bytes_as_they_need() {
        for (number, bytes) in [
            (0, vec![0]),
            (127, vec![127]),
            (128, vec![0x80, 1]),
            (300, vec![0xac, 2]),
            (u64::MAX, [vec![0xff; 9], vec![1]].concat()),
        ] {
            let mut message = Message::default();
            message.varint(number);
            assert_eq!(message.0, bytes, "{number}");
        }
    }

    /// What the classes that others have generated from the published `.proto` files write is the same, byte for byte.
    #[test]
    fn a_span_is_written_as_others_read_it() {
        let place = Place { trace: TraceId([0x11; 16]), span: SpanId([0x22; 8]) };
        let one = Span {
            place,
            parent: Some(SpanId([0x33; 8])),
            name: "GET".into(),
            kind: Kind::Server,
            began: 1,
            ended: 2,
            attributes: vec![("a", Value::Word("b")), ("n", Value::Number(200))],
            links: vec![place],
            is_error: true,
        };
        let mut expected = vec![0x0a, 16];
        expected.extend([0x11; 16]);
        expected.extend([0x12, 8]);
        expected.extend([0x22; 8]);
        expected.extend([0x22, 8]);
        expected.extend([0x33; 8]);
        expected.extend(b"\x2a\x03GET\x30\x02");
        expected.extend(b"\x39\x01\0\0\0\0\0\0\0\x41\x02\0\0\0\0\0\0\0");
        expected.extend(b"\x4a\x08\x0a\x01a\x12\x03\x0a\x01b");
        expected.extend(b"\x4a\x08\x0a\x01n\x12\x03\x18\xc8\x01");
        expected.extend([0x6a, 28, 0x0a, 16]);
        expected.extend([0x11; 16]);
        expected.extend([0x12, 8]);
        expected.extend([0x22; 8]);
        expected.extend([0x7a, 2, 0x18, 2]);
        assert_eq!(span(&one).0, expected);
    }
}
