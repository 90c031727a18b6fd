//! What a hit allocates: a fixed number of small pieces, however large the body is.

use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
};

use allocation_counter::{AllocationInfo, measure};
use larder::http::CacheService;
use tower_service::Service;

use crate::support::{Origin, Shape, Site, get, ok, over_each_shape};

/// A hit, from the request to the end of the body.
fn hit(service: &mut CacheService<Origin>, request: http::Request<larder::http::Body>) -> usize {
    use http_body::Body;

    let mut context = Context::from_waker(Waker::noop());
    let Poll::Ready(Ok(answer)) = pin!(service.call(request)).poll(&mut context) else {
        panic!("a hit waits for nothing");
    };
    let mut body = pin!(answer.into_body());
    let mut read = 0;
    while let Poll::Ready(Some(Ok(frame))) = body.as_mut().poll_frame(&mut context) {
        read += frame.into_data().unwrap().len();
    }
    read
}

async fn allocated(shape: Shape, body_bytes: usize) -> AllocationInfo {
    let site = Site::new(shape.holding(body_bytes));
    let fields = [
        ("cache-control", "max-age=60"),
        ("content-type", "text/html"),
        ("etag", "\"1\""),
        ("last-modified", "Mon, 01 Jan 2024 00:00:00 GMT"),
        ("vary", "accept-encoding"),
        ("surrogate-key", "a b c"),
    ];
    site.fill("/posts/1", ok(&fields, vec![7; body_bytes])).await;
    let mut service = site.service();
    // The first look of a thread sets up what it counts with.
    assert_eq!(hit(&mut service, get("/posts/1")), body_bytes);
    let request = get("/posts/1");
    let mut read = 0;
    let counted = measure(|| read = hit(&mut service, request));
    assert_eq!(read, body_bytes);
    assert_eq!(site.origin.calls(), 1);
    counted
}

over_each_shape!(a_hit_allocates_little_and_nothing_like_its_body);
async fn a_hit_allocates_little_and_nothing_like_its_body(shape: Shape) {
    let (small, large) = (allocated(shape, 2 << 10).await, allocated(shape, 8 << 20).await);
    // A handle for each 256 KiB that are given out, and what tells a reader that it is too slow.
    assert!(large.count_total <= small.count_total + (8 << 20) / (256 << 10) + 8, "{large:?}");
    assert!(large.bytes_total <= small.bytes_total + 4096, "{small:?}, {large:?}");
    assert!(small.count_total <= 18, "{small:?}");
    assert!(small.bytes_total <= 4096, "{small:?}");
}
