//! Files: what is printed of realistic ones, and that all of it passes `larder check`.

use std::{env, fs, path::Path};

use crate::support::larder::run_in;

const FILES: [&str; 11] = [
    "api",
    "bounds",
    "compose",
    "cookies",
    "includes",
    "maps",
    "micro",
    "pool",
    "spa",
    "tls",
    "wordpress",
];

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/moving/nginx")
}

#[tokio::test]
async fn each_file_becomes_one_that_passes_and_all_else_is_listed() {
    let mut wrong = Vec::new();
    for name in FILES {
        let file = format!("{name}.conf");
        let told = run_in(&folder(), &["import", "nginx", &file]).await;
        assert_eq!(told.code, Some(0), "{name}: {}", told.log);
        let checked = tempfile::tempdir().unwrap();
        fs::write(checked.path().join("larder.toml"), &told.out).unwrap();
        let passed = run_in(checked.path(), &["check", "larder.toml"]).await;
        assert_eq!(passed.code, Some(0), "{name}: {}\n{}", passed.log, told.out);
        // Routes that are never found would be what nginx answered otherwise.
        assert!(!passed.out.contains("is never found"), "{name}: {}\n{}", passed.out, told.out);
        for line in told.log.lines() {
            assert!(told.out.contains(line), "{name}: {line} is in the file as well");
        }
        let expected = folder().join(format!("{name}.txt"));
        if env::var_os("LARDER_BLESS").is_some() {
            fs::write(&expected, &told.out).unwrap();
        }
        if fs::read_to_string(&expected).unwrap_or_default() != told.out {
            wrong.push(format!("{name}:\n{}", told.out));
        }
    }
    assert!(wrong.is_empty(), "LARDER_BLESS=1 writes these anew:\n{}", wrong.join("\n"));
}

#[tokio::test]
async fn no_directive_is_dropped_without_a_word() {
    // What is a whole table of its own is told as one.
    let text = "events {}\nhttp {\n  frobnicate on;\n  server {\n    listen 127.0.0.1:8080;\n    gzip on;\n    \
                location / {\n      proxy_pass http://127.0.0.1:8001;\n      sub_filter a b;\n      \
                if ($a) { rewrite ^ /b; }\n    }\n  }\n}\nstream { server { listen 1; } }\n";
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("nginx.conf"), text).unwrap();
    let told = run_in(folder.path(), &["import", "nginx", "nginx.conf"]).await;
    let lines: Vec<_> =
        told.log.lines().filter_map(|line| line.strip_prefix("nginx.conf:")).collect();
    for begins in [
        "3: frobnicate on: ",
        "6: gzip on: ",
        "9: sub_filter a b: ",
        "10: if ($a): ",
        "10: rewrite ^ /b: ",
        "14: stream: ",
    ] {
        assert!(lines.iter().any(|line| line.starts_with(begins)), "{begins} in {lines:#?}");
    }
    assert_eq!(lines.len(), 6, "{lines:#?}");
}

#[tokio::test]
async fn what_cannot_be_read_is_told_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("nginx.conf"), "http {\n  server {\n    listen 80\n  }\n}\n")
        .unwrap();
    let told = run_in(folder.path(), &["import", "nginx", "nginx.conf"]).await;
    assert_eq!(told.code, Some(2));
    assert_eq!(told.log, "larder: nginx.conf:4: listen of line 3 does not end: ; is missing");
    assert!(told.out.is_empty(), "{}", told.out);
    let told = run_in(folder.path(), &["import", "nginx", "none.conf"]).await;
    assert_eq!(told.code, Some(2));
    assert!(told.log.starts_with("larder: none.conf: cannot be read"), "{}", told.log);
}
