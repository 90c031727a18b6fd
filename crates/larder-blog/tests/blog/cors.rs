//! CORS: the page may read the backend from a browser, on errors too, and no other page may.

use http::{Method, header};

use crate::support::{
    blog::{Blog, Setup},
    origin::{Act, Origin},
    over_both_databases,
    reader::{Answer, answer, ask},
};

over_both_databases!(
    the_page_may_read_every_answer,
    another_page_may_read_nothing,
    a_preflight_of_the_page_is_answered_with_200,
    a_preflight_of_another_page_is_answered_with_400,
);

const FURTHER: &str = "http://localhost:5173, https://blog.example";

/// Whatever the page can meet: method, path, status.
const MEETINGS: [(Method, &str, u16); 10] = [
    (Method::GET, "/api/posts", 200),
    (Method::GET, "/api/posts/1", 200),
    (Method::GET, "/api/posts/1", 200),
    (Method::HEAD, "/api/posts/1", 200),
    (Method::GET, "/health", 200),
    (Method::GET, "/api/posts/", 307),
    (Method::GET, "/api/posts/99999", 404),
    (Method::GET, "/nothing", 404),
    (Method::DELETE, "/api/posts/1", 405),
    (Method::GET, "/api/posts/abc", 422),
];

fn foreign_pages(blog: &Blog) -> [String; 6] {
    let page = blog.page_origin();
    [
        "http://localhost:1".to_owned(),
        "null".to_owned(),
        "http://evil.example".to_owned(),
        page.replace("http:", "https:"),
        format!("{page}.evil.example"),
        page.to_uppercase(),
    ]
}

async fn asked_by(page: &str, method: Method, url: &str) -> Answer {
    answer(ask(method, url).header(header::ORIGIN, page)).await
}

#[track_caller]
fn assert_readable_by(page: &str, answer: &Answer) {
    assert_eq!(answer.field("access-control-allow-origin"), Some(page), "{answer:?}");
    assert_eq!(answer.field("access-control-allow-credentials"), Some("true"));
    let exposed = answer.field("access-control-expose-headers").expect("some are exposed");
    let mut exposed: Vec<_> = exposed.split(',').map(str::trim).collect();
    exposed.sort_unstable();
    assert_eq!(exposed, ["age", "cache-status", "server-timing"]);
    assert_varies_by_origin(answer);
}

/// Without that a shared cache would hand one page's answer to another page.
#[track_caller]
fn assert_varies_by_origin(answer: &Answer) {
    let vary = answer.fields("vary").join(",").to_lowercase();
    let times = vary.split(',').filter(|name| name.trim() == "origin").count();
    assert_eq!(times, 1, "vary: {vary}");
}

async fn the_page_may_read_every_answer(setup: Setup) {
    let blog = setup.set("FRONTEND_ORIGIN", FURTHER).start().await;
    let by_number = blog.page_origin().replace("localhost", "127.0.0.1");
    let further = ["http://localhost:5173".to_owned(), "https://blog.example".to_owned()];
    for page in [blog.page_origin(), by_number].into_iter().chain(further) {
        for (method, path, status) in MEETINGS {
            let answer = asked_by(&page, method.clone(), &blog.backend(path)).await;
            assert_eq!(answer.status, status, "{method} {path}");
            assert_readable_by(&page, &answer);
        }
    }
}

#[tokio::test]
async fn the_page_may_read_a_304() {
    let blog = Setup::run().start().await;
    let (page, url) = (blog.page_origin(), blog.backend("/api/posts/1"));
    let request = ask(Method::GET, &url).header(header::ORIGIN, &page);

    let answer = answer(request.header(header::IF_NONE_MATCH, "*")).await;

    assert_eq!(answer.status, 304);
    assert_readable_by(&page, &answer);
}

#[tokio::test]
async fn the_page_may_read_that_the_posts_service_failed() {
    let origin = Origin::start(Act::SendAndClose(Vec::new())).await;
    let setup = Setup::part("backend").set("POSTS_SERVICE_URL", origin.url());
    // The backend has no page in its process: it knows its port only from the setting.
    let blog = setup.set("FRONTEND_PORT", 3000).start().await;
    for page in ["http://localhost:3000", "http://127.0.0.1:3000"] {
        let answer = asked_by(page, Method::GET, &blog.backend("/api/posts/1")).await;
        answer.assert_detail(503, "Service communication error");
        assert_readable_by(page, &answer);
    }
}

async fn another_page_may_read_nothing(setup: Setup) {
    let blog = setup.start().await;
    for page in foreign_pages(&blog) {
        for (method, path, status) in MEETINGS {
            let answer = asked_by(&page, method.clone(), &blog.backend(path)).await;
            assert_eq!(answer.status, status, "{method} {path}");
            assert_eq!(answer.fields("access-control-allow-origin"), [""; 0], "{page} {path}");
            assert_varies_by_origin(&answer);
        }
    }
}

#[tokio::test]
async fn an_answer_to_no_page_varies_by_origin_as_well() {
    let blog = Setup::run().start().await;
    let answer = crate::support::reader::get(&blog.backend("/api/posts/1")).await;
    assert_eq!(answer.fields("access-control-allow-origin"), [""; 0]);
    assert_varies_by_origin(&answer);
}

async fn preflight(page: &str, url: &str) -> Answer {
    let request = ask(Method::OPTIONS, url)
        .header(header::ORIGIN, page)
        .header(header::ACCESS_CONTROL_REQUEST_METHOD, "GET")
        .header(header::ACCESS_CONTROL_REQUEST_HEADERS, "if-none-match,x-trace");
    answer(request).await
}

async fn a_preflight_of_the_page_is_answered_with_200(setup: Setup) {
    let blog = setup.set("FRONTEND_ORIGIN", FURTHER).start().await;
    for page in [blog.page_origin(), "https://blog.example".to_owned()] {
        for path in ["/api/posts", "/api/posts/1", "/api/posts/abc", "/health", "/nothing"] {
            let answer = preflight(&page, &blog.backend(path)).await;
            assert_eq!(answer.status, 200, "{path}");
            assert_eq!(answer.field("access-control-allow-origin"), Some(page.as_str()));
            assert_eq!(answer.field("access-control-allow-credentials"), Some("true"));
            assert_eq!(answer.field("access-control-max-age"), Some("600"));
            let methods = answer.field("access-control-allow-methods").expect("some are allowed");
            assert!(methods.split(',').any(|method| method.trim() == "GET"), "{methods}");
            let headers = answer.field("access-control-allow-headers");
            assert_eq!(headers, Some("if-none-match,x-trace"));
        }
    }
    assert_eq!(blog.stats().await["fetches"], 0, "a preflight asks nobody");
}

async fn a_preflight_of_another_page_is_answered_with_400(setup: Setup) {
    let blog = setup.start().await;
    for page in foreign_pages(&blog) {
        for path in ["/api/posts", "/api/posts/1", "/nothing"] {
            let answer = preflight(&page, &blog.backend(path)).await;
            assert_eq!(answer.status, 400, "{page} {path}");
            assert_eq!(answer.fields("access-control-allow-origin"), [""; 0]);
        }
    }
}
