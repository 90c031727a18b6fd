//! Double: a server on the loopback that plays a vendor, and now and then what goes wrong with one.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use larder_test_support::{origin::Origin, wire::Wire};
use serde_json::Value;
use tokio::time::sleep;

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    /// As in the request line: path and query.
    pub(crate) target: Uri,
    pub(crate) fields: HeaderMap,
    pub(crate) body: Bytes,
}

impl Seen {
    pub(crate) fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The body, which has to be JSON and say so.
    pub(crate) fn json(&self) -> Result<Value, Reply> {
        if self.field("content-type") != "application/json" {
            return Err(Reply::of(415, "{\"message\":\"not JSON\"}"));
        }
        serde_json::from_slice(&self.body).map_err(|_| Reply::of(400, "{\"message\":\"no JSON\"}"))
    }
}

/// What is answered.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(&'static str, String)>,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn of(status: u16, body: impl Into<String>) -> Reply {
        Reply { status, fields: Vec::new(), body: body.into() }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Reply {
        self.fields.push((name, value.into()));
        self
    }
}

/// A vendor: what it does with a request.
pub(crate) trait Vendor: Send + 'static {
    fn answer(&mut self, seen: &Seen) -> Reply;

    /// What it says to one call too many.
    fn too_many(&self) -> Reply;
}

/// What befalls a call, beside what the vendor says to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mishap {
    None,
    /// It is refused for being one too many.
    TooMany,
    /// The service is unwell.
    Unwell,
    /// It is, and says for how long it wants to be left alone: [`RESTS`].
    Resting,
    /// It is done, and its answer comes after [`SLOW`].
    Slow,
    /// It is done, and its answer is lost on its way.
    Lost,
    /// It is done, and its answer breaks off.
    Half,
    /// It is done, and what stands between has cut the answer's text in an orderly way.
    Cut,
}

/// Seconds.
pub(crate) const RESTS: u64 = 3;
pub(crate) const SLOW: Duration = Duration::from_millis(700);

/// A running double. The mishaps come one after the other, and again from the first.
pub(crate) struct Double<V> {
    pub(crate) vendor: Arc<Mutex<V>>,
    origin: Origin,
    calls: Arc<Mutex<usize>>,
}

impl<V: Vendor> Double<V> {
    pub(crate) async fn of(vendor: V, mishaps: &'static [Mishap]) -> Double<V> {
        let vendor = Arc::new(Mutex::new(vendor));
        let calls = Arc::new(Mutex::new(0));
        let (playing, counted) = (Arc::clone(&vendor), Arc::clone(&calls));
        let origin = Origin::playing(move |wire, _| {
            play(wire, Arc::clone(&playing), Arc::clone(&counted), mishaps)
        })
        .await;
        Double { vendor, origin, calls }
    }

    pub(crate) fn api(&self) -> String {
        format!("http://{}", self.origin.address)
    }

    /// How many requests came.
    pub(crate) fn calls(&self) -> usize {
        *self.calls.lock().unwrap()
    }

    pub(crate) fn look<T>(&self, at: impl FnOnce(&mut V) -> T) -> T {
        at(&mut self.vendor.lock().unwrap())
    }
}

async fn play<V: Vendor>(
    mut wire: Wire,
    vendor: Arc<Mutex<V>>,
    calls: Arc<Mutex<usize>>,
    mishaps: &'static [Mishap],
) {
    while wire.has_more().await {
        let head = wire.head().await;
        let Some(body) = wire.body(&head).await else { return };
        let seen = read(&head, body);
        let mishap = {
            let mut calls = calls.lock().unwrap();
            let mishap = mishaps.get(*calls % mishaps.len().max(1));
            *calls += 1;
            mishap.copied().unwrap_or(Mishap::None)
        };
        let reply = match mishap {
            Mishap::TooMany => vendor.lock().unwrap().too_many(),
            Mishap::Unwell => Reply::of(503, "<html>unavailable</html>"),
            Mishap::Resting => Reply::of(503, "{}").with("retry-after", RESTS.to_string()),
            _ => vendor.lock().unwrap().answer(&seen),
        };
        if mishap == Mishap::Slow {
            sleep(SLOW).await;
        }
        let mut body = reply.body.clone();
        if mishap == Mishap::Cut && reply.status < 300 {
            body.truncate(body.len() / 2);
        }
        let mut text = format!("HTTP/1.1 {} x\r\ncontent-length: {}\r\n", reply.status, body.len());
        for (name, value) in &reply.fields {
            text += &format!("{name}: {value}\r\n");
        }
        text += "\r\n";
        match mishap {
            Mishap::Lost => return,
            Mishap::Half => {
                text += &body;
                let half = text.len() / 2;
                drop(wire.try_send(&text[..half]).await);
                return;
            }
            // Whoever has waited too long has left.
            _ => {
                if wire.try_send(text + &body).await.is_err() {
                    return;
                }
            }
        }
    }
}

fn read(head: &str, body: Vec<u8>) -> Seen {
    let mut lines = head.trim_end().split("\r\n");
    let mut line = lines.next().unwrap().split(' ');
    let method = line.next().unwrap().parse().unwrap();
    let target = line.next().unwrap().parse().unwrap();
    let mut fields = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(':').unwrap();
        fields.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_str(value.trim()).unwrap(),
        );
    }
    Seen { method, target, fields, body: body.into() }
}
