//! Starting: what the settings do, what is refused with which exit code, and what it says.

use std::{net::TcpListener, time::Duration};

use futures_util::future::join_all;
use http::Method;
use rustix::process::Signal;
use tokio::net::TcpStream;

use crate::support::{
    Exit,
    blog::Setup,
    eventually, free_port,
    origin::{Act, Origin},
    reader::{answer, ask, get, get_all, try_answer},
};

const VARIABLES: [&str; 22] = [
    "FRONTEND_PORT",
    "BACKEND_PORT",
    "POSTS_SERVICE_PORT",
    "CONSOLE_PORT",
    "BIND_ADDRESS",
    "FRONTEND_ORIGIN",
    "BACKEND_URL",
    "POSTS_SERVICE_URL",
    "DATABASE_URL",
    "DATABASE_WAIT_SECONDS",
    "BLOG_DATA_DIR",
    "POSTS_DELAY_MS",
    "CACHE_ENABLED",
    "CACHE_TTL_SECONDS",
    "CACHE_NEGATIVE_TTL_SECONDS",
    "CACHE_STALE_WHILE_REVALIDATE_SECONDS",
    "CACHE_STALE_IF_ERROR_SECONDS",
    "CACHE_MAX_BYTES",
    "REDIS_URL",
    "REDIS_PASSWORD_FILE",
    "REDIS_NAMESPACE",
    "RUST_LOG",
];

/// Exit code 2, every one of `texts` in the message, nothing on standard output, nothing made.
#[track_caller]
fn assert_refused(setup: &Setup, exit: &Exit, texts: &[&str]) {
    assert_eq!((exit.code, exit.out.as_str()), (Some(2), ""), "{}", exit.log);
    for text in texts {
        assert!(exit.log.contains(text), "{text} is missing in: {}", exit.log);
    }
    assert!(!setup.folder().join("data").exists(), "a refused start leaves nothing behind");
}

#[tokio::test]
async fn a_start_tells_where_everything_is() {
    let setup = Setup::run();
    let blog = setup.start().await;
    let (posts, backend) = (blog.posts(""), blog.backend(""));
    let expected = format!(
        "posts     {posts:<23} reads SQLite at data/blog.sqlite, takes 20 ms for each query\n\
         backend   {backend:<23} asks {posts}, remembers answers for 300 s \
         (stale ones: 0 s while it asks again, 3600 s if that fails)\n\
         console   {console:<23} shows and purges the backend's cache\n\
         page      {page:<23} shows the posts of {backend}\n\
         open http://localhost:{port}",
        console = blog.console(""),
        page = blog.page(""),
        port = blog.port("page"),
    );
    assert_eq!(blog.out(), expected);
    assert!(setup.folder().join("data/blog.sqlite").exists());
}

#[tokio::test]
async fn a_start_tells_how_long_stale_answers_are_given() {
    let rows = [
        ("3", "", "", "3 s (stale ones: 0 s while it asks again, 3600 s if that fails)"),
        ("3", "60", "0", "3 s (stale ones: 60 s while it asks again, 0 s if that fails)"),
        ("0", "60", "60", "0 s (stale ones: 0 s while it asks again, 0 s if that fails)"),
    ];
    for (ttl, revalidate, error, expected) in rows {
        let setup = Setup::part("backend")
            .set("CACHE_TTL_SECONDS", ttl)
            .set("CACHE_STALE_WHILE_REVALIDATE_SECONDS", revalidate)
            .set("CACHE_STALE_IF_ERROR_SECONDS", error);
        let out = setup.start().await.out();
        assert!(out.contains(&format!("remembers answers for {expected}")), "{out}");
    }
}

#[tokio::test]
async fn a_start_tells_that_the_cache_is_off() {
    let blog = Setup::run().set("CACHE_ENABLED", "FALSE").start().await;
    let asks = format!("asks {} every time: the cache is off", blog.posts(""));
    assert!(blog.out().contains(&asks), "{}", blog.out());
}

#[tokio::test]
async fn a_start_nobody_listens_to_serves_all_the_same() {
    let port = free_port();
    let _blog = Setup::run().set("BACKEND_PORT", port).start_unheard();
    let health = format!("http://127.0.0.1:{port}/health");
    eventually("a backend", async || {
        let health = try_answer(ask(Method::GET, &health)).await.ok()?;
        (health.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn each_part_runs_alone_and_finds_the_others_by_their_addresses() {
    let posts = Setup::part("posts").start().await;
    let backend = Setup::part("backend").set("POSTS_SERVICE_URL", posts.posts("")).start().await;
    let page = Setup::part("page").set("BACKEND_URL", backend.backend("")).start().await;

    assert_eq!(posts.out().lines().count(), 1);
    assert_eq!(backend.out().lines().count(), 2);
    assert_eq!(page.out().lines().count(), 2);
    let post = get(&backend.backend("/api/posts/1")).await;
    assert_eq!(post.body, get(&posts.posts("/posts/1")).await.body);
    let crowd = ask(Method::POST, &page.page("/crowd")).json(&serde_json::json!({
        "post_id": 1, "users": 3,
    }));
    assert_eq!(answer(crowd).await.json()["hits"], 3);
}

#[tokio::test]
async fn a_port_in_use_is_named_with_its_variable() {
    for variable in ["FRONTEND_PORT", "BACKEND_PORT", "POSTS_SERVICE_PORT", "CONSOLE_PORT"] {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let setup = Setup::run().set(variable, port);

        let exit = setup.end().await;

        let names = format!("port {port} ({variable}) is in use");
        assert_refused(&setup, &exit, &[&names]);
    }
}

#[tokio::test]
async fn two_parts_cannot_have_one_port() {
    for (one, other) in [
        ("BACKEND_PORT", "FRONTEND_PORT"),
        ("POSTS_SERVICE_PORT", "BACKEND_PORT"),
        ("BACKEND_PORT", "CONSOLE_PORT"),
        ("CONSOLE_PORT", "FRONTEND_PORT"),
    ] {
        let port = free_port();
        let setup = Setup::run().set(one, port).set(other, port);
        let names = format!("{one} and {other} are both {port}");
        assert_refused(&setup, &setup.end().await, &[&names]);
    }
}

/// Each part asks the next one where it listens, and a browser there may read and send a crowd.
#[tokio::test]
async fn another_address_of_this_machine_will_do() {
    let blog = Setup::run().set("BIND_ADDRESS", "127.0.0.2").start().await;
    for service in ["posts", "backend", "page"] {
        assert!(blog.address(service).starts_with("127.0.0.2:"), "{}", blog.out());
    }
    let page = blog.page("");
    assert!(blog.out().ends_with(&format!("open {page}")), "{}", blog.out());

    let post = ask(Method::GET, &blog.backend("/api/posts/1")).header("origin", &page);
    let post = answer(post).await;
    assert_eq!((post.status, post.field("access-control-allow-origin")), (200, Some(&*page)));
    let crowd = ask(Method::POST, &blog.page("/crowd")).header("origin", &page);
    let crowd = crowd.json(&serde_json::json!({ "post_id": 1, "users": 3 }));
    assert_eq!(answer(crowd).await.json()["hits"], 3);
}

/// The address is one of a block that is for documentation only.
#[tokio::test]
async fn an_address_that_is_not_of_this_machine_is_refused() {
    let setup = Setup::run().set("BIND_ADDRESS", "192.0.2.1");
    assert_refused(&setup, &setup.end().await, &["192.0.2.1", "POSTS_SERVICE_PORT"]);
}

#[tokio::test]
async fn all_wrong_settings_are_told_at_once() {
    let wrong = [
        ("FRONTEND_PORT", "65536"),
        ("BACKEND_PORT", "eighty"),
        ("BIND_ADDRESS", "localhost"),
        ("FRONTEND_ORIGIN", "localhost:3000"),
        ("BACKEND_URL", "https://backend"),
        ("POSTS_SERVICE_URL", "posts:8001"),
        ("DATABASE_URL", "mysql://user:vErY-sEcReT@localhost/blog"),
        ("REDIS_URL", "http://:vErY-sEcReT@localhost"),
        ("POSTS_DELAY_MS", "2s"),
        ("CACHE_ENABLED", "maybe"),
        ("CACHE_TTL_SECONDS", "-1"),
        ("CACHE_NEGATIVE_TTL_SECONDS", "1.5"),
        ("CACHE_STALE_WHILE_REVALIDATE_SECONDS", "1m"),
        ("CACHE_STALE_IF_ERROR_SECONDS", "forever"),
        ("CACHE_MAX_BYTES", "64MiB"),
    ];
    let setup = wrong.iter().fold(Setup::run(), |setup, (name, value)| setup.set(name, value));

    let exit = setup.end().await;

    let told = wrong.map(|(variable, value)| match variable {
        "DATABASE_URL" => "DATABASE_URL=mysql…: ".to_owned(),
        "REDIS_URL" => "REDIS_URL=http…: ".to_owned(),
        _ => format!("{variable}={value}: "),
    });
    assert_refused(&setup, &exit, &told.each_ref().map(String::as_str));
    assert!(!exit.log.contains("vErY"), "{}", exit.log);
}

#[tokio::test]
async fn log_levels_that_are_none_are_refused() {
    let setup = Setup::run().set("RUST_LOG", "no=such=level");
    assert_refused(&setup, &setup.end().await, &["RUST_LOG", "no=such=level"]);
}

#[tokio::test]
async fn the_log_says_what_it_was_asked_to_say() {
    let setup = Setup::run().set("RUST_LOG", "warn").set("REDIS_URL", "redis://127.0.0.1:1");
    let blog = setup.start().await;
    assert_eq!(get(&blog.backend("/api/posts/1")).await.status, 200);
    let warned = async || blog.log().contains("Redis at 127.0.0.1:1 does not answer").then_some(());
    eventually("a warning", warned).await;
    assert_eq!(blog.log().lines().count(), 1, "{}", blog.log());
}

#[tokio::test]
async fn an_empty_variable_counts_as_unset() {
    // The ports are the exception: their defaults may be in use here.
    let setup = VARIABLES.iter().filter(|name| !name.ends_with("_PORT"));
    let setup = setup.fold(Setup::run(), |setup, variable| setup.set(variable, ""));
    let blog = setup.set("BIND_ADDRESS", "  ").start().await;
    let out = blog.out();
    assert!(out.contains("reads SQLite at data/blog.sqlite, takes 2000 ms"), "{out}");
    assert!(out.contains("remembers answers for 300 s"), "{out}");
}

#[tokio::test]
async fn a_dotenv_file_in_the_working_directory_is_read() {
    let setup = Setup::run().set("CACHE_NEGATIVE_TTL_SECONDS", "");
    let setup = setup.file(
        ".env",
        "# Comment\n\nCACHE_TTL_SECONDS=77\nexport CACHE_NEGATIVE_TTL_SECONDS='33'\n",
    );
    let blog = setup.start().await;
    assert!(blog.out().contains("remembers answers for 77 s"), "{}", blog.out());
    let unknown = get(&blog.backend("/api/posts/99999")).await;
    assert!(unknown.field("cache-status").unwrap().contains(";ttl=33;"), "{unknown:?}");
}

#[tokio::test]
async fn the_environment_goes_before_the_dotenv_file() {
    let setup = Setup::run().file(".env", "CACHE_TTL_SECONDS=77\nPOSTS_DELAY_MS=nonsense\n");
    let blog = setup.set("CACHE_TTL_SECONDS", 88).start().await;
    assert!(blog.out().contains("remembers answers for 88 s"), "{}", blog.out());
}

#[tokio::test]
async fn a_dotenv_file_elsewhere_is_not_read() {
    let setup = Setup::run().file(".env", "CACHE_TTL_SECONDS=77\n");
    let blog = setup.within("a/folder/below").start().await;
    assert!(blog.out().contains("remembers answers for 300 s"), "{}", blog.out());
}

#[tokio::test]
async fn a_wrong_setting_in_the_dotenv_file_is_told_like_any() {
    let setup = Setup::run().file(".env", "CACHE_TTL_SECONDS=soon\n");
    assert_refused(&setup, &setup.end().await, &["CACHE_TTL_SECONDS=soon", ".env"]);
}

#[tokio::test]
async fn a_dotenv_file_that_cannot_be_read_is_refused_without_its_secrets() {
    let malformed = "CACHE_TTL_SECONDS=77\nDATABASE_URL=postgres://blog:vErY-sEcReT @db/blog\n";
    let setup = Setup::run().file(".env", malformed);
    let exit = setup.end().await;
    assert_refused(&setup, &exit, &["cannot read .env"]);
    assert!(!exit.log.contains("sEcReT"), "{}", exit.log);
}

#[tokio::test]
async fn help_lists_every_variable() {
    for arguments in [
        &["--help"][..],
        &["run", "--help"],
        &["posts", "--help"],
        &["backend", "--help"],
        &["page", "--help"],
    ] {
        let exit = Setup::bare(arguments).end().await;
        assert_eq!(exit.code, Some(0));
        for variable in VARIABLES {
            let row = exit.out.lines().find(|line| line.trim_start().starts_with(variable));
            let row = row.unwrap_or_else(|| panic!("{variable} is missing in: {}", exit.out));
            assert!(row.contains("[default: "), "{row}");
        }
    }
}

#[tokio::test]
async fn a_wrong_command_is_refused() {
    for arguments in [&["fly"][..], &["run", "--port", "80"], &["health", "a b"]] {
        let setup = Setup::bare(arguments);
        assert_refused(&setup, &setup.end().await, &["--help"]);
    }
}

#[tokio::test]
async fn health_is_0_for_a_part_that_is_well_and_1_for_any_other() {
    let blog = Setup::run().start().await;
    let unwell = Origin::start(Act::answer(503, "{}")).await;
    let silent = Origin::start(Act::SendAndStall(Vec::new())).await;
    let cases = [
        (blog.backend("/health"), 0),
        (blog.posts("/health"), 0),
        (blog.page("/health"), 0),
        (blog.console("/livez"), 0),
        (blog.backend("/nothing"), 1),
        (unwell.url(), 1),
        (silent.url(), 1),
        ("http://127.0.0.1:1/health".to_owned(), 1),
    ];
    let exits =
        join_all(cases.iter().map(async |(url, _)| Setup::bare(&["health", url]).end().await));
    for (exit, (url, code)) in exits.await.into_iter().zip(cases) {
        assert_eq!((exit.code, exit.out.as_str()), (Some(code), ""), "{url}: {}", exit.log);
        assert_eq!(exit.log.is_empty(), code == 0, "{}", exit.log);
        let says = code == 0 || (exit.log.contains(&url) && exit.log.contains("is not well"));
        assert!(says, "{}", exit.log);
    }
}

#[tokio::test]
async fn health_without_an_address_is_that_of_the_parts_that_run_here() {
    let ports = [free_port(), free_port(), free_port()];
    let on_ports = |arguments: &[&str]| {
        let setup = Setup::bare(arguments).set("FRONTEND_PORT", ports[0]);
        setup.set("BACKEND_PORT", ports[1]).set("POSTS_SERVICE_PORT", ports[2])
    };
    let health = async || on_ports(&["health"]).end().await;
    let nothing = health().await;
    assert_eq!(nothing.code, Some(1));
    assert!(nothing.log.contains(&format!("no part of the blog listens on {}", ports[0])));

    let posts = on_ports(&["posts"]).start().await;
    let only_posts = health().await;
    assert_eq!((only_posts.code, only_posts.log.as_str()), (Some(0), ""));
    drop(posts);

    let whole = on_ports(&["run"]).set("CONSOLE_PORT", 0).start().await;
    assert_eq!(health().await.code, Some(0));
    drop(whole);

    let unwell = Origin::start(Act::answer(503, "{}")).await;
    let port = unwell.url().rsplit_once(':').unwrap().1.to_owned();
    let exit = on_ports(&["health"]).set("BACKEND_PORT", port).end().await;
    assert_eq!(exit.code, Some(1));
    assert!(exit.log.contains("is not well: 503"), "{}", exit.log);
}

#[tokio::test]
async fn the_console_listens_on_this_machine_only() {
    let blog = Setup::run().set("BIND_ADDRESS", "0.0.0.0").start().await;
    assert_eq!(blog.address("backend"), format!("0.0.0.0:{}", blog.port("backend")));
    assert_eq!(blog.address("console"), format!("127.0.0.1:{}", blog.port("console")));
    let posts = format!("http://127.0.0.1:{}/api/posts", blog.port("backend"));
    assert_eq!(get(&posts).await.status, 200);
}

#[tokio::test]
async fn an_idle_blog_needs_less_than_40_megabytes() {
    let blog = Setup::run().start().await;
    for _ in 0..3 {
        let ids = (1..=10).map(|id| blog.backend(&format!("/api/posts/{id}")));
        get_all(ids.chain([blog.backend("/api/posts"), blog.page("/")])).await;
    }
    let kilobytes = blog.memory_kib("VmRSS");
    assert!((1000..40_000).contains(&kilobytes), "{kilobytes} kB");
}

/// Connections that nobody accepts: the system queues them while the process stands still.
#[tokio::test]
async fn a_crowd_that_comes_at_once_is_queued_and_not_turned_away() {
    let blog = Setup::run().start().await;
    blog.signal(Signal::STOP);
    let address = blog.address("backend");
    let arrivals = join_all((0..500).map(|_| TcpStream::connect(&address)));

    let queued = tokio::time::timeout(Duration::from_secs(10), arrivals).await;

    blog.signal(Signal::CONT);
    let queued = queued.expect("room for 500 in the queue");
    assert!(queued.iter().all(Result::is_ok));
}
