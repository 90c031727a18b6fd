//! The stage's acts: where they are offered, to whom, within which bounds, and how each ends.

#![expect(clippy::unwrap_used, reason = "in a test, an unwrap that fails is the failed test")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::{Router, body::Body};
use futures_util::FutureExt;
use http::{Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use larder_admin::{
    Admin, Problem,
    access::Token,
    stage::{Crowd, CrowdAnswer, CrowdOffer, Crowds, SentCrowd, Stage, Verdict},
};
use serde_json::{Value, json};
use tokio::{sync::Semaphore, task::yield_now, time::Instant};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// Sends crowds to nowhere: the first request of each is a miss, the others wait for it. Each answer takes a permit.
#[derive(Clone)]
struct Hall {
    answers: Arc<Semaphore>,
    /// Requests on their way.
    on_their_way: Arc<AtomicUsize>,
    most: usize,
    counts_calls: bool,
}

impl Hall {
    fn open() -> Hall {
        let hall = Hall::closed();
        hall.answers.add_permits(100_000);
        hall
    }

    /// Nobody is answered.
    fn closed() -> Hall {
        let (answers, on_their_way) = (Arc::new(Semaphore::new(0)), Arc::default());
        Hall { answers, on_their_way, most: 1000, counts_calls: true }
    }

    async fn until_on_their_way(&self, count: usize) {
        while self.on_their_way.load(Relaxed) != count {
            yield_now().await;
        }
    }
}

struct OnItsWay(Arc<AtomicUsize>);

impl Drop for OnItsWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Crowds for Hall {
    fn offer(&self) -> CrowdOffer {
        let (at, path) = ("http://127.0.0.1:8080".to_owned(), "/".to_owned());
        CrowdOffer { at, path, takes_host: false, most: self.most }
    }

    fn send(&self, crowd: &Crowd) -> Result<SentCrowd, Problem> {
        if crowd.path == "/closed" {
            let detail = "nobody is let in yet";
            return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "Not open", detail));
        }
        let answer = |number: usize| {
            self.on_their_way.fetch_add(1, Relaxed);
            let (answers, on_its_way) =
                (Arc::clone(&self.answers), OnItsWay(Arc::clone(&self.on_their_way)));
            let verdict = if number == 0 { Verdict::Miss } else { Verdict::Collapsed };
            async move {
                answers.acquire().await.ok()?.forget();
                drop(on_its_way);
                // Who is unlucky gets nothing.
                (number != 13).then_some(CrowdAnswer { verdict, status: StatusCode::OK })
            }
            .boxed()
        };
        let calls = Box::new(|| 7);
        Ok(SentCrowd {
            answers: (0..crowd.requests).map(answer).collect(),
            origin_calls: if self.counts_calls { Some(calls) } else { None },
        })
    }
}

fn router(stage: Stage) -> Router {
    Admin::new().stage(stage).router()
}

fn request(path: &str, body: Option<&str>) -> Request<Body> {
    let request = Request::builder().uri(path).header(header::HOST, "127.0.0.1:9191");
    match body {
        None => request.body(Body::empty()).unwrap(),
        Some(body) => request
            .method("POST")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_owned()))
            .unwrap(),
    }
}

async fn post(router: &Router, path: &str, body: &str) -> Response<Body> {
    router.clone().oneshot(request(path, Some(body))).await.unwrap()
}

async fn json_of(response: Response<Body>) -> Value {
    serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
}

async fn acts(router: &Router) -> Value {
    let response = router.clone().oneshot(request("/v1/stage", None)).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    json_of(response).await["acts"].clone()
}

/// What each act takes.
const ACTS: [(&str, &str); 3] = [
    ("/v1/stage/crowd", r#"{"path":"/"}"#),
    ("/v1/stage/break_shared", r#"{"on":true}"#),
    ("/v1/stage/slow_origin", r#"{"ms":1}"#),
];

#[tokio::test]
async fn what_is_not_offered_is_not_there() {
    let none = Admin::new().router();
    let empty = router(Stage::new());
    for (path, body) in ACTS {
        for router in [&none, &empty] {
            let response = post(router, path, body).await;
            assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
            assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        }
    }
    let told = none.oneshot(request("/v1/stage", None)).await.unwrap();
    assert_eq!(told.status(), StatusCode::NOT_FOUND);
    assert_eq!(acts(&empty).await, json!([]));
    let crowds = router(Stage::new().crowds(Hall::open()));
    for (path, body) in [ACTS[1], ACTS[2], ("/v1/stage/set_fire", "{}")] {
        assert_eq!(post(&crowds, path, body).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn acts_ask_for_the_token_that_changes_ask_for() {
    let admin = Admin::new()
        .stage(Stage::new().crowds(Hall::open()))
        .read_token(Token::new("reads").unwrap())
        .write_token(Token::new("writes").unwrap());
    let router = admin.router();
    for (path, body, token, status) in [
        ("/v1/stage", None, "", 401),
        ("/v1/stage", None, "reads", 200),
        ("/v1/stage/crowd", Some(r#"{"path":"/"}"#), "", 401),
        ("/v1/stage/crowd", Some(r#"{"path":"/"}"#), "reads", 401),
        ("/v1/stage/crowd", Some(r#"{"path":"/"}"#), "writes", 200),
        ("/v1/stage/break_shared", Some(r#"{"on":true}"#), "reads", 401),
        ("/v1/stage/slow_origin", Some(r#"{"ms":1}"#), "reads", 401),
    ] {
        let mut request = request(path, body);
        if !token.is_empty() {
            let shown = format!("Bearer {token}").parse().unwrap();
            request.headers_mut().insert(header::AUTHORIZATION, shown);
        }
        let response = router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{path} with {token:?}");
    }
}

#[tokio::test]
async fn a_crowd_is_counted_by_what_its_requests_were() {
    let crowds = router(Stage::new().crowds(Hall::open()));
    let report = post(&crowds, "/v1/stage/crowd", r#"{"path":"/a?b","requests":200}"#).await;
    let mut report = json_of(report).await;
    assert!(report["took_ms"].as_f64().unwrap() >= 0.0, "{report}");
    report["took_ms"] = json!(0);
    let expected = json!({
        "requests": 200,
        "origin_calls": 7,
        "took_ms": 0,
        "by_verdict": {"hit": 0, "stale": 0, "miss": 1, "collapsed": 198, "pass": 0, "refused": 0},
        "by_status": {"200": 199},
        "unanswered": 1,
    });
    assert_eq!(report, expected);
    let scrape = crowds.clone().oneshot(request("/metrics", None)).await.unwrap();
    let scrape = scrape.into_body().collect().await.unwrap().to_bytes();
    let scrape = String::from_utf8_lossy(&scrape);
    for line in ["larder_admin_crowds_total 1", "larder_admin_crowd_requests_total 200"] {
        assert!(scrape.lines().any(|told| told.starts_with(line)), "{line} in {scrape}");
    }
    let hall = Hall { counts_calls: false, ..Hall::open() };
    let router = router(Stage::new().crowds(hall));
    let report = json_of(post(&router, "/v1/stage/crowd", r#"{"path":"/a"}"#).await).await;
    assert_eq!((&report["requests"], &report["origin_calls"]), (&json!(200), &json!(1)));
}

#[tokio::test]
async fn a_crowd_keeps_within_its_bounds() {
    let hall = Hall { most: 500, ..Hall::open() };
    let router = router(Stage::new().crowds(hall.clone()));
    for (body, status) in [
        (r#"{"path":"/","requests":0}"#, 422),
        (r#"{"path":"/","requests":1}"#, 200),
        (r#"{"path":"/","requests":500}"#, 200),
        (r#"{"path":"/","requests":501}"#, 422),
        (r#"{"path":"/","requests":18446744073709551616}"#, 422),
        (r#"{"path":"/","requests":-1}"#, 422),
        (r#"{"path":"/","requests":1.5}"#, 422),
        (r#"{"path":"/","requests":null}"#, 200),
        (r#"{"path":"//evil.example/"}"#, 422),
        (r#"{"path":"http://evil.example/"}"#, 422),
        (r#"{"path":"/","host":"evil.example"}"#, 422),
        (r#"{"path":""}"#, 422),
        (r#"{"path":"/","more":1}"#, 422),
        (r#"["/",null,1]"#, 422),
        (r#"{"requests":1}"#, 422),
        (r#"{"path":"/closed"}"#, 503),
        ("", 400),
    ] {
        let response = post(&router, "/v1/stage/crowd", body).await;
        assert_eq!(response.status().as_u16(), status, "{body}");
    }
    let mut untyped = request("/v1/stage/crowd", Some(r#"{"path":"/"}"#));
    untyped.headers_mut().remove(header::CONTENT_TYPE);
    let refused = router.clone().oneshot(untyped).await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(hall.on_their_way.load(Relaxed), 0);
}

#[tokio::test]
async fn there_is_one_crowd_at_a_time() {
    let hall = Hall::closed();
    let router = router(Stage::new().crowds(hall.clone()));
    let (path, body) = ACTS[0];
    let first = tokio::spawn(router.clone().oneshot(request(path, Some(body))));
    hall.until_on_their_way(200).await;
    assert_eq!(acts(&router).await[0]["is_under_way"], true);
    assert_eq!(post(&router, path, body).await.status(), StatusCode::CONFLICT);
    assert_eq!(hall.on_their_way.load(Relaxed), 200, "the second sends nothing");
    hall.answers.add_permits(400);
    assert_eq!(first.await.unwrap().unwrap().status(), StatusCode::OK);
    assert_eq!(acts(&router).await[0]["is_under_way"], false);
    assert_eq!(post(&router, path, body).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn who_leaves_ends_the_crowd_and_makes_room_for_another() {
    let hall = Hall::closed();
    let router = router(Stage::new().crowds(hall.clone()));
    let (path, body) = ACTS[0];
    let first = tokio::spawn(router.clone().oneshot(request(path, Some(body))));
    hall.until_on_their_way(200).await;
    first.abort();
    hall.until_on_their_way(0).await;
    hall.answers.add_permits(200);
    assert_eq!(post(&router, path, body).await.status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_answered_in_time_is_given_up_and_told() {
    let hall = Hall::closed();
    hall.answers.add_permits(5);
    let router = router(Stage::new().crowds(hall.clone()));
    let began = Instant::now();
    let report = json_of(post(&router, "/v1/stage/crowd", r#"{"path":"/"}"#).await).await;
    assert_eq!((&report["unanswered"], &report["requests"]), (&json!(195), &json!(200)));
    assert_eq!(began.elapsed().as_secs(), 30);
    assert_eq!(hall.on_their_way.load(Relaxed), 0);
}

#[tokio::test]
async fn a_crowd_ends_with_the_process() {
    let (hall, stop) = (Hall::closed(), CancellationToken::new());
    let stage = Stage::new().crowds(hall.clone());
    let router = Admin::new().stage(stage).stop_with(stop.clone()).router();
    let (path, body) = ACTS[0];
    let crowd = tokio::spawn(router.oneshot(request(path, Some(body))));
    hall.until_on_their_way(200).await;
    stop.cancel();
    assert_eq!(crowd.await.unwrap().unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(hall.on_their_way.load(Relaxed), 0);
}

fn breaking() -> (Router, Arc<AtomicBool>) {
    let is_cut_off = Arc::new(AtomicBool::new(false));
    let (told, set) = (Arc::clone(&is_cut_off), Arc::clone(&is_cut_off));
    let stage = Stage::new().break_shared(
        "Redis at 127.0.0.1:6379",
        move || told.load(Relaxed),
        move |on| set.store(on, Relaxed),
    );
    (router(stage), is_cut_off)
}

#[tokio::test]
async fn a_shared_tier_is_cut_off_and_mended_and_says_which_it_is() {
    let (router, is_cut_off) = breaking();
    for on in [true, true, false, false] {
        let body = json!({ "on": on }).to_string();
        let told = json_of(post(&router, "/v1/stage/break_shared", &body).await).await;
        let act = json!({"name": "break_shared", "place": "Redis at 127.0.0.1:6379", "on": on});
        assert_eq!((told, is_cut_off.load(Relaxed)), (act.clone(), on));
        assert_eq!(acts(&router).await, json!([act]));
    }
    for body in ["{}", r#"{"on":"true"}"#, r#"{"on":1}"#, "[true]", r#"{"on":true,"off":true}"#] {
        let refused = post(&router, "/v1/stage/break_shared", body).await;
        assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY, "{body}");
    }
    assert!(!is_cut_off.load(Relaxed));
}

fn slow(usual_ms: u64) -> Router {
    let delay = Arc::new(AtomicU64::new(usual_ms));
    let told = Arc::clone(&delay);
    router(Stage::new().slow_origin(
        "Told beside it.",
        move || Duration::from_millis(told.load(Relaxed)),
        move |set| delay.store(u64::try_from(set.as_millis()).unwrap(), Relaxed),
    ))
}

#[tokio::test]
async fn an_origin_is_slow_within_bounds_and_what_was_usual_stays_possible() {
    let ask = async |router: &Router, body: &str| {
        let response = post(router, "/v1/stage/slow_origin", body).await;
        (response.status().as_u16(), acts(router).await[0]["ms"].as_u64().unwrap())
    };
    let router = slow(2000);
    for (body, status, is_then) in [
        (r#"{"ms":0}"#, 200, 0),
        (r#"{"ms":10000}"#, 200, 10_000),
        (r#"{"ms":10001}"#, 422, 10_000),
        (r#"{"ms":18446744073709551615}"#, 422, 10_000),
        (r#"{"ms":-1}"#, 422, 10_000),
        (r#"{"ms":0.5}"#, 422, 10_000),
        (r#"{"ms":"0"}"#, 422, 10_000),
        ("[0]", 422, 10_000),
        (r#"{"ms":2000}"#, 200, 2000),
    ] {
        assert_eq!(ask(&router, body).await, (status, is_then), "{body}");
    }
    let told = &acts(&router).await[0];
    let bounds = json!({
        "name": "slow_origin", "ms": 2000, "usual_ms": 2000, "most_ms": 10_000, "says": "Told beside it.",
    });
    assert_eq!(told, &bounds);
    // Who was slower from the start may be so again.
    let slower = slow(60_000);
    assert_eq!(ask(&slower, r#"{"ms":0}"#).await, (200, 0));
    assert_eq!(ask(&slower, r#"{"ms":60000}"#).await, (200, 60_000));
    assert_eq!(ask(&slower, r#"{"ms":60001}"#).await, (422, 60_000));
}
