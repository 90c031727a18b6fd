//! Counter: stands before a real posts service, and counts its calls by itself.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicUsize, Ordering},
};

use axum::{Router, extract::State, response::IntoResponse};
use http::{StatusCode, Uri, header};
use tokio::{net::TcpListener, task::AbortHandle};

use super::blog::{Blog, Setup};

/// A running counter. Dropping it closes its port.
pub(crate) struct Counter {
    url: String,
    shared: Arc<Shared>,
    serving: AbortHandle,
}

struct Shared {
    client: reqwest::Client,
    /// Known only when it has started, which needs the address of the counter.
    before: OnceLock<String>,
    calls: AtomicUsize,
}

/// A blog whose calls of the posts service are counted on the way.
pub(crate) async fn counted(setup: Setup) -> (Blog, Counter) {
    let counter = Counter::start().await;
    let blog = setup.set("POSTS_SERVICE_URL", &counter.url).start().await;
    counter.shared.before.set(blog.posts("")).expect("said once");
    (blog, counter)
}

impl Counter {
    async fn start() -> Counter {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let client = reqwest::Client::builder().no_proxy().build().expect("nothing can fail");
        let shared =
            Arc::new(Shared { client, before: OnceLock::new(), calls: AtomicUsize::new(0) });
        let router = Router::new().fallback(pass_on).with_state(Arc::clone(&shared));
        let serving = tokio::spawn(axum::serve(listener, router).into_future()).abort_handle();
        Counter { url, shared, serving }
    }

    pub(crate) fn calls(&self) -> usize {
        self.shared.calls.load(Ordering::SeqCst)
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn pass_on(State(shared): State<Arc<Shared>>, uri: Uri) -> impl IntoResponse {
    shared.calls.fetch_add(1, Ordering::SeqCst);
    let base = shared.before.get().expect("known before the first call");
    let passed = async {
        let response = shared.client.get(format!("{base}{uri}")).send().await?;
        let kind = response.headers().get(header::CONTENT_TYPE).cloned();
        let kind = kind.expect("every answer of the posts service has a type");
        Ok::<_, reqwest::Error>((response.status(), kind, response.bytes().await?))
    };
    let (status, kind, body) = passed.await.map_err(|error| {
        (StatusCode::BAD_GATEWAY, format!("the posts service behind the counter: {error}"))
    })?;
    Ok::<_, (StatusCode, String)>((status, [(header::CONTENT_TYPE, kind)], body))
}
