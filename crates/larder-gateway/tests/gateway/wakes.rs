//! Wake-ups: a task that asks the origin is polled again when the origin has sent something, and not for what
//! its own poll has done.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use bytes::Bytes;
use http::Request;
use http_body::Body;
use http_body_util::{BodyExt, Empty};
use larder_gateway::upstream::{Asking, Upstream, UpstreamConfig};
use tokio::sync::{Mutex, mpsc};
use tower::Service;

use crate::support::{Origin, upstream};

/// A task, as far as it is woken.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Wakes {
    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    fn poll<T>(self: &Arc<Self>, poll: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Option<T> {
        let waker = Waker::from(Arc::clone(self));
        match poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }

    async fn reach(&self, count: usize) {
        while self.count() < count {
            tokio::task::yield_now().await;
        }
    }
}

fn ask(upstream: &mut Upstream) -> Asking {
    upstream.call(Request::get("http://a/").body(Empty::<Bytes>::new()).unwrap())
}

#[tokio::test]
async fn a_task_is_woken_by_what_the_origin_sends_and_by_nothing_else() {
    let (say, said) = mpsc::unbounded_channel::<&str>();
    let said = Arc::new(Mutex::new(said));
    let origin = Origin::playing(move |mut wire, _| {
        let said = Arc::clone(&said);
        async move {
            while let Some(piece) = said.lock().await.recv().await {
                wire.send(piece).await;
            }
        }
    })
    .await;
    let mut upstream = upstream(origin.address, UpstreamConfig::default());
    // On a new connection, the connecting wakes as well.
    say.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine").unwrap();
    ask(&mut upstream).await.unwrap().into_body().collect().await.unwrap();
    let mut last: Arc<Wakes> = Arc::default();
    for (head, content) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine", &[][..]),
        ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", &["fi", "ne"][..]),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            &["4\r\nfine\r\n", "0\r\n\r\n"][..],
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", &[][..]),
        ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine", &[][..]),
    ] {
        let before = last.count();
        let wakes: Arc<Wakes> = Arc::default();
        let mut asking = ask(&mut upstream);
        assert!(wakes.poll(|cx| asking.as_mut().poll(cx)).is_none());
        assert_eq!(wakes.count(), 0, "{head:?}: it has only sent a request");
        assert_eq!(last.count(), before, "{head:?}: the request before is over");
        say.send(head).unwrap();
        wakes.reach(1).await;
        let answer = wakes.poll(|cx| asking.as_mut().poll(cx)).unwrap().unwrap();
        let (mut body, mut read) = (answer.into_body(), Vec::new());
        let mut pieces = content.iter();
        let mut sent = 1;
        while !body.is_end_stream() {
            match wakes.poll(|cx| Pin::new(&mut body).poll_frame(cx)) {
                Some(Some(frame)) => read.extend(frame.unwrap().into_data().unwrap()),
                Some(None) => break,
                None => {
                    assert_eq!(wakes.count(), sent, "{head:?} {read:?}");
                    say.send(pieces.next().unwrap()).unwrap();
                    sent += 1;
                    wakes.reach(sent).await;
                }
            }
        }
        assert_eq!(wakes.count(), sent, "{head:?}");
        assert_eq!(read, if head.contains(": 0") { &b""[..] } else { b"fine" });
        last = wakes;
    }
    assert_eq!(origin.connections(), 1);
}
