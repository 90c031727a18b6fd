//! Client: makes a driver's calls over a real connection, again where they fail, until each wish has ended.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use larder_gateway::cdn::driver::{Answer, Call, Driver, Said, Wish};
use tokio::net::TcpStream;

/// How a wish has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Done,
    Not(String),
}

/// What was seen on the way.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Of each wish.
    pub(crate) ends: Vec<Option<End>>,
    /// For how long to wait, as often as that was said.
    pub(crate) waits: Vec<Duration>,
    /// What the vendor has called what it did.
    pub(crate) ids: Vec<String>,
}

/// One call and its answer. `None`: there was no whole answer.
pub(crate) async fn send(call: &Call) -> Option<Answer> {
    let host = call.head.uri.authority().unwrap().as_str();
    let stream = TcpStream::connect(host).await.unwrap();
    let opened = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = opened.unwrap();
    let driving = tokio::spawn(connection);
    let mut head = call.head.clone();
    head.uri = Uri::from(head.uri.path_and_query().unwrap().clone());
    let request = Request::from_parts(head, Full::new(call.body.clone()));
    let answer = async {
        let answer = sender.send_request(request).await.ok()?;
        let (head, body) = answer.into_parts();
        let body: Bytes = body.collect().await.ok()?.to_bytes();
        Some(Answer { head, body })
    };
    let answer = answer.await;
    driving.abort();
    answer
}

/// Makes all calls for these wishes. Who is told to wait does not wait here: doubles count calls, not time.
pub(crate) async fn settle(driver: &dyn Driver, wishes: &[Wish], id: &str) -> Told {
    let mut told = Told { ends: vec![None; wishes.len()], ..Told::default() };
    let now = SystemTime::now();
    let mut calls: VecDeque<(Call, usize)> =
        driver.calls(wishes, id, now).into_iter().map(|call| (call, 0)).collect();
    // By their addresses, what the vendor calls what they are about.
    let mut asks: HashMap<Uri, String> = HashMap::new();
    while let Some((call, times)) = calls.pop_front() {
        assert!(times < 50, "it never ends: {:?}", call.head.uri);
        // What failed on its way is made anew: what proves who asks is good for one time. Questions are asked again.
        let again = |call: &Call| {
            if let Some(id) = asks.get(&call.head.uri) {
                return driver.question(id, call.wishes.clone(), SystemTime::now()).unwrap();
            }
            let fresh = driver.calls(wishes, id, SystemTime::now());
            fresh.into_iter().find(|other| other.wishes == call.wishes).unwrap_or(call.clone())
        };
        let Some(answer) = send(&call).await else {
            calls.push_back((again(&call), times + 1));
            continue;
        };
        let mut end = |places: &[usize], end: &End| {
            for &place in places {
                told.ends[place] = Some(end.clone());
            }
        };
        match driver.said(&call, &answer, SystemTime::now()) {
            Said::Done { id } => {
                end(&call.wishes, &End::Done);
                told.ids.extend(id);
            }
            Said::Partly { id, not } => {
                end(&call.wishes, &End::Done);
                for (place, why) in not {
                    end(&[place], &End::Not(why));
                }
                told.ids.extend(id);
            }
            Said::Working { id, after } => {
                assert!(!after.is_zero());
                let ask = driver.question(&id, call.wishes.clone(), SystemTime::now()).unwrap();
                assert_eq!(ask.wishes, call.wishes, "the question is about the same");
                asks.insert(ask.head.uri.clone(), id.clone());
                told.ids.push(id);
                calls.push_back((ask, times + 1));
            }
            Said::Later { after, why } => {
                assert!(!why.is_empty());
                told.waits.extend(after);
                calls.push_back((again(&call), times + 1));
            }
            Said::Refused { why } => end(&call.wishes, &End::Not(why)),
        }
    }
    told
}
