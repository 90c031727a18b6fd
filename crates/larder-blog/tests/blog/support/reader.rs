//! Reader: somebody who asks, each time over a new connection, and follows no redirects.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderMap, Method};
use larder_test_support::cache_status::handling;
use reqwest::RequestBuilder;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// More than any answer takes; a reader who waits longer has found a hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// An answer that has arrived whole.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) took: Duration,
}

pub(crate) async fn get(url: &str) -> Answer {
    answer(ask(Method::GET, url)).await
}

/// All at once.
pub(crate) async fn get_all(urls: impl IntoIterator<Item = String>) -> Vec<Answer> {
    join_all(urls.into_iter().map(async |url| get(&url).await)).await
}

/// A request to add to and then to hand to [`answer`].
pub(crate) fn ask(method: Method, url: &str) -> RequestBuilder {
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(PATIENCE)
        .build()
        .expect("nothing in it can fail");
    client.request(method, url)
}

pub(crate) async fn answer(request: RequestBuilder) -> Answer {
    try_answer(request).await.unwrap_or_else(|error| panic!("no answer: {error:?}"))
}

pub(crate) async fn try_answer(request: RequestBuilder) -> reqwest::Result<Answer> {
    let began = Instant::now();
    let response = request.send().await?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = response.bytes().await?;
    Ok(Answer { status, headers, body, took: began.elapsed() })
}

/// Sends `text` as it stands, and returns everything that comes back until the end. Ask for
/// `connection: close`.
pub(crate) async fn exchange(address: &str, text: &str) -> String {
    let mut connection = TcpStream::connect(address).await.expect("somebody listens");
    connection.write_all(text.as_bytes()).await.expect("an open connection");
    let mut answer = Vec::new();
    let reading = connection.read_to_end(&mut answer);
    let read = tokio::time::timeout(PATIENCE, reading).await.expect("an end of the answer");
    read.expect("an open connection");
    String::from_utf8_lossy(&answer).into_owned()
}

impl Answer {
    /// All values of a header.
    pub(crate) fn fields(&self, name: &str) -> Vec<&str> {
        let values = self.headers.get_all(name).iter();
        values.map(|value| value.to_str().expect("printable")).collect()
    }

    /// The value of a header that must not come twice.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let fields = self.fields(name);
        assert!(fields.len() <= 1, "{name} came more than once: {fields:?}");
        fields.first().copied()
    }

    pub(crate) fn text(&self) -> &str {
        str::from_utf8(&self.body).expect("UTF-8")
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }

    /// What the cache says it did, in a word of `Cache-Status`: `hit`, `collapsed`, or why the
    /// request went forward.
    #[track_caller]
    pub(crate) fn handling(&self) -> &str {
        let field = self.field("cache-status").unwrap_or_else(|| panic!("no status: {self:?}"));
        handling(field)
    }

    /// Fails unless this is that error in the form of the contract.
    #[track_caller]
    pub(crate) fn assert_detail(&self, status: u16, detail: &str) {
        let body = serde_json::json!({ "detail": detail }).to_string();
        assert_eq!((self.status, self.text()), (status, body.as_str()), "{self:?}");
        assert_eq!(self.field("content-type"), Some("application/json"));
    }
}
