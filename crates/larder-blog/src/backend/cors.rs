//! CORS: the page's origin, and no other, may read the backend from a browser.

use std::time::Duration;

use axum::{
    Router,
    extract::{Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use crate::replies::method_not_allowed;

const EXPOSED: [HeaderName; 3] = [
    HeaderName::from_static("cache-status"),
    header::AGE,
    HeaderName::from_static("server-timing"),
];
const MAX_AGE: Duration = Duration::from_secs(600);

/// Puts the rules around `router`, whose paths a browser may ask with `methods`.
pub(crate) fn allow<const N: usize>(
    router: Router,
    page_origins: &[String],
    methods: [Method; N],
) -> Router {
    let origins: Vec<HeaderValue> =
        page_origins.iter().filter_map(|origin| origin.parse().ok()).collect();
    let cors = CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins.clone()))
        .allow_methods(methods)
        .allow_headers(AllowHeaders::mirror_request())
        .allow_credentials(true)
        .expose_headers(EXPOSED)
        .max_age(MAX_AGE)
        .vary([header::ORIGIN]);
    router.layer(cors).layer(middleware::from_fn_with_state(origins, screen))
}

/// The layer within answers every OPTIONS with 200. A preflight from elsewhere is refused here, and
/// an OPTIONS that is no preflight is a method like others.
async fn screen(State(origins): State<Vec<HeaderValue>>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let asks_for = headers.get(header::ACCESS_CONTROL_REQUEST_METHOD);
    match (request.method(), headers.get(header::ORIGIN), asks_for) {
        (&Method::OPTIONS, Some(origin), Some(_)) if !origins.contains(origin) => {
            (StatusCode::BAD_REQUEST, "Disallowed CORS origin").into_response()
        }
        (&Method::OPTIONS, None, _) | (&Method::OPTIONS, _, None) => method_not_allowed(),
        _ => next.run(request).await,
    }
}
