//! Removed: what a hook of a cache of responses is told, and may do.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use larder::{
    RemovalCause,
    http::{Policy, Settings},
};

use crate::support::{Shape, Site, get_with, ok, over_each_shape};

fn asks(lang: &str) -> http::Request<larder::http::Body> {
    get_with("/a", &[("x-lang", lang)])
}

fn in_lang(body: &str) -> http::Response<larder::http::Body> {
    ok(&[("cache-control", "max-age=60"), ("vary", "X-Lang")], body.to_owned())
}

over_each_shape!(a_hook_may_wait_for_another_variant_of_its_key);
async fn a_hook_may_wait_for_another_variant_of_its_key(shape: Shape) {
    let (handle, answered) = (Arc::new(OnceLock::<Site>::new()), Arc::new(AtomicUsize::new(0)));
    let (site_of_hook, count) = (Arc::clone(&handle), Arc::clone(&answered));
    let is_first = AtomicUsize::new(0);
    let hook = move |key: &str, _: &_, cause| {
        if is_first.fetch_add(1, Ordering::SeqCst) > 0 {
            return;
        }
        assert_eq!((key, cause), ("http://example.org/a", RemovalCause::Replaced));
        let site = site_of_hook.get().unwrap().clone();
        let (done, ended) = mpsc::channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let answer = runtime.unwrap().block_on(site.answered(asks("fr"), in_lang("fr")));
            _ = done.send(answer.text() == "fr");
        });
        // It would wait for a lock that is held until the hook returns.
        if ended.recv_timeout(Duration::from_secs(20)) == Ok(true) {
            count.fetch_add(1, Ordering::SeqCst);
        }
    };
    let site = Site::with(shape, Policy::standard(), Settings::default(), |builder| {
        builder.on_removed(hook)
    });
    assert!(handle.set(site.clone()).is_ok());
    site.answered(asks("de"), in_lang("de")).await;
    site.answered(asks("it"), in_lang("it")).await;
    assert_eq!(answered.load(Ordering::SeqCst), 1);
    for lang in ["de", "it", "fr"] {
        assert_eq!(site.send(asks(lang)).await.text(), lang);
    }
    assert_eq!(site.origin.calls(), 3);
}
