//! Live: whether what a configuration names answers: each service, the shared tier, each CDN to its credentials. Nothing is
//! changed there.

use std::{fmt::Write, future::Future, io, time::Duration};

use larder::{
    lower::{LeaseAnswer, LogPart, LowerTier},
    redis::Redis,
};
use larder_gateway::{
    cdn::{CdnConfig, Probed},
    upstream::Origin,
};
use tokio::{
    net::{TcpStream, UnixStream},
    time::{sleep, timeout},
};

use crate::configured::Configured;

/// One question takes no longer.
const PATIENCE: Duration = Duration::from_secs(5);
/// What is asked for in a shared tier, and what nobody fetches.
const KEY: &str = "larder check --live";
const LEASE: Duration = Duration::from_secs(1);
/// So long the right has to get back to the server before this process ends.
const GIVEN_BACK: Duration = Duration::from_millis(100);

/// What came of all questions.
pub(crate) struct Live {
    /// A line for each.
    pub(crate) text: String,
    /// How many have failed, …
    pub(crate) failed: usize,
    /// … of so many.
    pub(crate) asked: usize,
}

enum Answer {
    Yes(String),
    No(String),
}

/// Asks one after the other.
///
/// # Errors
///
/// There is no runtime to ask from.
pub(crate) fn ask(configured: &Configured) -> io::Result<Live> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(ask_all(configured)))
}

async fn ask_all(configured: &Configured) -> Live {
    let mut live = Live { text: String::new(), failed: 0, asked: 0 };
    for named in &configured.settings.upstreams {
        for address in &named.addresses {
            let what = format!("upstream {} at {}", named.name, address.origin);
            live.note(&what, within(connect(&address.origin)).await);
        }
    }
    if let Some(shared) = &configured.shared {
        let what = format!("shared tier, Redis at {}", shared.tier);
        live.note(&what, within(try_shared(&shared.tier)).await);
    }
    for cdn in &configured.settings.cdns {
        let what = format!("cdn {}, {}", cdn.name, cdn.driver.vendor());
        live.note(&what, probe(cdn).await);
    }
    live
}

impl Live {
    fn note(&mut self, what: &str, answer: Answer) {
        self.asked += 1;
        let (word, says) = match answer {
            Answer::Yes(says) => ("ok", says),
            Answer::No(why) => {
                self.failed += 1;
                ("FAILED", why)
            }
        };
        writeln!(self.text, "  {word:<8}{what}: {says}").expect("a text takes what is written");
    }
}

async fn within(asking: impl Future<Output = Result<String, String>>) -> Answer {
    match timeout(PATIENCE, asking).await {
        Ok(Ok(says)) => Answer::Yes(says),
        Ok(Err(why)) => Answer::No(why),
        Err(_) => Answer::No(format!("no answer within {}", humantime::format_duration(PATIENCE))),
    }
}

async fn connect(origin: &Origin) -> Result<String, String> {
    let connected = match origin.socket() {
        Some(path) => UnixStream::connect(path).await.map(drop),
        None => TcpStream::connect((origin.host(), origin.port())).await.map(drop),
    };
    connected.map(|()| "takes connections".to_owned()).map_err(|error| error.to_string())
}

/// Reads, takes a right that nobody else wants, and gives it back: by that the user may do all that a gateway does.
async fn try_shared(tier: &Redis) -> Result<String, String> {
    let causes = |error: larder::lower::LowerError| {
        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        text
    };
    tier.heads(KEY, LogPart::Nothing).await.map_err(causes)?;
    let lease = tier.lease(KEY, "", LogPart::Nothing, LEASE).await.map_err(causes)?;
    if let LeaseAnswer::Granted { lease, .. } = lease {
        drop(lease);
        sleep(GIVEN_BACK).await;
    }
    Ok("answers, and its user may read, write and run scripts".to_owned())
}

async fn probe(cdn: &CdnConfig) -> Answer {
    match cdn.probe().await {
        Probed::Answered => Answer::Yes("its credentials are good".to_owned()),
        Probed::NoSuchCall => {
            Answer::Yes("not asked: it has no call that changes nothing".to_owned())
        }
        Probed::CredentialsAlone(unseen) => {
            Answer::Yes(format!("its credentials are good; {unseen}"))
        }
        Probed::WrongCredentials(why) => {
            Answer::No(format!("it does not take these credentials: {why}"))
        }
        Probed::UnknownName { what, why } => Answer::No(format!("it does not know {what}: {why}")),
        Probed::Unclear(why) => Answer::No(format!("it answers, and not as it should: {why}")),
        Probed::NoAnswer(why) => Answer::No(format!("it does not answer: {why}")),
    }
}
