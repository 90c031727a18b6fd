//! What the tests stand on: a gateway, and what other crates' tests stand on as well.

use std::{convert::Infallible, net::SocketAddr};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use larder_gateway::{
    Server, ServerConfig,
    downstream::{http1::ReaderBody, server::Stopped},
    upstream::{Upstream, UpstreamConfig},
};
pub(crate) use larder_test_support::{
    answer::{field, lossless, status},
    certificate::Certificate,
    eventually::{PATIENCE, eventually, until},
    nginx::Nginx,
    origin::Origin,
    program,
    wire::Wire,
};
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;
use tower::{Service, service_fn};

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type AnyBody = UnsyncBoxBody<Bytes, BoxError>;

/// A gateway on a port of its own. Dropping it ends it.
pub(crate) struct Gate {
    pub(crate) address: SocketAddr,
    pub(crate) stop: CancellationToken,
    task: Option<JoinHandle<Stopped>>,
}

impl Gate {
    pub(crate) fn serving<S, B>(config: ServerConfig, service: S) -> Gate
    where
        S: Service<Request<ReaderBody>, Response = Response<B>, Error = Infallible>,
        S: Clone + Send + 'static,
        S::Future: Send,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let server = Server::bind(([127, 0, 0, 1], 0).into(), config).unwrap();
        let address = server.address();
        let stop = CancellationToken::new();
        let task = tokio::spawn(server.serve(service, stop.clone()));
        Gate { address, stop, task: Some(task) }
    }

    /// Before an origin, with nothing in between.
    pub(crate) fn before(origin: SocketAddr) -> Gate {
        Gate::with(ServerConfig::default(), upstream(origin, UpstreamConfig::default()))
    }

    pub(crate) fn with(config: ServerConfig, upstream: Upstream) -> Gate {
        Gate::serving(config, service_fn(move |request| pass(upstream.clone(), request)))
    }

    /// A gateway that answers each request with what came.
    pub(crate) fn echoing() -> Gate {
        Gate::serving(ServerConfig::default(), service_fn(echo))
    }

    pub(crate) async fn connect(&self) -> Wire {
        Wire::connect(self.address).await
    }

    /// Sends `bytes` on a connection of its own, and brings all that comes until it is closed.
    pub(crate) async fn say(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut wire = self.connect().await;
        wire.send(bytes).await;
        wire.rest().await
    }

    pub(crate) async fn stopped(mut self) -> Stopped {
        self.stop.cancel();
        let task = self.task.take().unwrap();
        timeout(PATIENCE, task).await.expect("the gateway does not stop").unwrap()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

pub(crate) fn upstream(origin: SocketAddr, config: UpstreamConfig) -> Upstream {
    Upstream::new(format!("http://{origin}").parse().unwrap(), config)
}

/// The smallest service there is between a reader and an origin.
pub(crate) async fn pass(
    mut upstream: Upstream,
    request: Request<ReaderBody>,
) -> Result<Response<AnyBody>, Infallible> {
    Ok(match upstream.call(request).await {
        Ok(response) => response.map(|body| body.map_err(Into::into).boxed_unsync()),
        Err(error) => error.to_problem().to_response().map(whole),
    })
}

/// Answers with the request line as the service saw it, the fields, and the body.
pub(crate) async fn echo(request: Request<ReaderBody>) -> Result<Response<AnyBody>, Infallible> {
    let (parts, body) = request.into_parts();
    let mut text = format!("{} {} {:?}\n", parts.method, parts.uri, parts.version).into_bytes();
    for (name, value) in &parts.headers {
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.push(b'\n');
    }
    text.push(b'\n');
    match body.collect().await {
        Ok(body) => text.extend_from_slice(&body.to_bytes()),
        Err(error) => text.extend_from_slice(error.to_string().as_bytes()),
    }
    Ok(Response::new(whole(Bytes::from(text))))
}

pub(crate) fn whole(bytes: Bytes) -> AnyBody {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}
