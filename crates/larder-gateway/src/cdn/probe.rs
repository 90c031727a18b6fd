//! Probe: whether a CDN takes the credentials and knows the names of a configuration, by calls that change nothing.

use std::time::{Duration, SystemTime};

use super::{
    client::Client,
    driver::{Driver, Shown},
    hidden,
};
use crate::upstream::OriginTls;

/// What came of asking a CDN something that changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probed {
    /// It has answered as it does to who may ask, and knows what it was asked about.
    Answered,
    /// It takes the credentials; what else a purge needs no call shows, and which this is.
    CredentialsAlone(String),
    /// Its vendor has no such call.
    NoSuchCall,
    /// It does not take these credentials: its words.
    WrongCredentials(String),
    /// It does not know this service, zone or other name: which, and its words.
    UnknownName {
        /// `service SU1Z`.
        what: String,
        /// The vendor's words.
        why: String,
    },
    /// It answers, and not as it should: perhaps it is something else, or is unwell.
    Unclear(String),
    /// There was no answer.
    NoAnswer(String),
}

/// Asks one question after the other until one has shown it.
pub(super) async fn probe(
    driver: &dyn Driver,
    tls: Option<OriginTls>,
    timeout: Duration,
) -> Probed {
    let client = Client::new(tls, timeout);
    let questions = driver.probes(SystemTime::now());
    let mut shown = None;
    for (nth, question) in questions.iter().enumerate() {
        let answer = match client.send(question).await {
            Ok(answer) => answer,
            Err(why) => return Probed::NoAnswer(why),
        };
        match hidden::shown(question, driver.shown(nth, &answer)) {
            Shown::Next => {}
            last => {
                shown = Some(last);
                break;
            }
        }
    }
    match shown {
        None if questions.is_empty() => Probed::NoSuchCall,
        None | Some(Shown::Good | Shown::Next) => Probed::Answered,
        Some(Shown::CredentialsAlone { unseen }) => Probed::CredentialsAlone(unseen),
        Some(Shown::WrongCredentials { why }) => Probed::WrongCredentials(why),
        Some(Shown::UnknownName { what, why }) => Probed::UnknownName { what, why },
        Some(Shown::Unclear { why }) => Probed::Unclear(why),
    }
}
