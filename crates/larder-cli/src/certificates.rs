//! Certificates: looked after while the gateway runs: read again when their files change, and told of before they end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use larder_admin::figures::{Family, Figures};
use larder_gateway::{
    Tls, TlsError,
    config::Listener,
    downstream::tls::{CertificateFacts, Renewal},
};
use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep},
};

use crate::metrics::{counter, gauge};

/// How often their files are looked at: a look is a few calls of the system.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How often it is told that one ends soon.
const TELL_EVERY: Duration = Duration::from_secs(86_400);
/// So long before its end it is told. Those that are renewed by themselves are, by then.
const SOON: Duration = Duration::from_secs(14 * 86_400);

/// The certificates of all listeners. Clones share them.
#[derive(Clone)]
pub(crate) struct Certificates(Arc<Watched>);

struct Watched {
    /// With the listeners' names.
    listeners: Vec<(String, Tls)>,
    renewed: AtomicU64,
    refused: AtomicU64,
}

impl Certificates {
    /// Those of `listeners`, and that of the admin API.
    pub(crate) fn of(listeners: &[Listener], admin: Option<Tls>) -> Certificates {
        let listeners = listeners
            .iter()
            .filter_map(|listener| Some((listener.name.clone(), listener.config.tls.clone()?)))
            .chain(admin.map(|tls| ("admin".to_owned(), tls)));
        Certificates(Arc::new(Watched {
            listeners: listeners.collect(),
            renewed: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }))
    }

    /// Looks after them until it is dropped.
    pub(crate) async fn look_after(self) {
        if self.0.listeners.is_empty() {
            return;
        }
        let mut told = Instant::now();
        loop {
            sleep(LOOK_EVERY).await;
            let Certificates(watched) = self.clone();
            // A disk that hangs, hangs beside. If it broke, that was told, and the next look is another one.
            spawn_blocking(move || watched.look()).await.ok();
            if told.elapsed() >= TELL_EVERY {
                told = Instant::now();
                self.0.tell_ending(SystemTime::now());
            }
        }
    }
}

impl Watched {
    fn look(&self) {
        for (name, tls) in &self.listeners {
            match tls.renew() {
                Ok(Renewal::Unchanged) => {}
                Ok(Renewal::Renewed) => {
                    self.renewed.fetch_add(1, Relaxed);
                    tracing::info!("the certificates of {name} were read again, and are in use");
                }
                Err(error) => {
                    self.refused.fetch_add(1, Relaxed);
                    let why = causes(&error);
                    tracing::error!(
                        "the certificates of {name} stay as they are, what their files hold now is refused: {why}"
                    );
                }
            }
        }
    }

    fn tell_ending(&self, now: SystemTime) {
        for (_, tls) in &self.listeners {
            for CertificateFacts { file, expires_at, .. } in tls.certificates() {
                if expires_at < now + SOON {
                    let at = humantime::format_rfc3339_seconds(expires_at);
                    tracing::warn!("the certificate in {} ends at {at}: renew it", file.display());
                }
            }
        }
    }
}

fn causes(error: &TlsError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

impl Figures for Certificates {
    fn families(&self) -> Vec<Family> {
        let Watched { listeners, renewed, refused } = &*self.0;
        let expiring = listeners.iter().flat_map(|(name, tls)| {
            tls.certificates().into_iter().enumerate().map(move |(index, facts)| {
                let label = match index {
                    0 => name.clone(),
                    more => format!("{name}.more{more}"),
                };
                let at = facts.expires_at.duration_since(UNIX_EPOCH).unwrap_or_default();
                (label, at.as_secs())
            })
        });
        vec![
            Family {
                label: "certificate",
                ..gauge(
                    "tls_certificate_expires_timestamp_seconds",
                    "When a certificate ends, in seconds since 1970",
                    expiring.collect(),
                )
            },
            counter(
                "tls_certificate_reloads",
                "How often a listener's certificates were read again, by what came of it",
                "outcome",
                vec![("applied", renewed.load(Relaxed)), ("refused", refused.load(Relaxed))],
            ),
        ]
    }
}
