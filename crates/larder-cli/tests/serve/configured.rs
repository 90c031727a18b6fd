//! `larder.toml`: what is printed runs, what goes before what, and what is explained is what happens.

use std::{fs, path::Path};

use tempfile::TempDir;
use tokio::task::{JoinSet, LocalSet};

use crate::support::{
    larder::{Larder, run_in, run_in_with},
    origin::{Origin, ok},
    program,
    python::script,
};

const LISTENERS: &str = "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n";

/// A folder with this `larder.toml`.
fn folder_with(text: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("larder.toml"), text).unwrap();
    folder
}

fn upstream(name: &str, origin: &Origin) -> String {
    format!("[upstream.{name}]\nurl = \"http://{}\"\n", origin.address)
}

async fn serving(folder: &TempDir) -> Larder {
    Larder::in_folder(folder.path(), &["serve"], &[]).await
}

/// What `larder check --explain` says of the rule `name` for `path`.
async fn explained(folder: &Path, path: &str, name: &str) -> String {
    let url = format!("http://larder.test{path}");
    let exit = run_in(folder, &["check", "larder.toml", "--explain", &url]).await;
    assert_eq!(exit.code, Some(0), "{}", exit.log);
    let name = format!("  {name} ");
    let line = exit.out.lines().find(|line| line.starts_with(&name)).unwrap().to_owned();
    line.trim_start_matches(&name).trim().to_owned()
}

#[tokio::test]
async fn what_init_prints_is_fine_and_runs() {
    let origin = Origin::saying(ok("cache-control: max-age=60\r\n", "a")).await;
    let folder = tempfile::tempdir().unwrap();
    let printed = run_in(folder.path(), &["init"]).await;
    assert_eq!(printed.code, Some(0));
    // The ports are another's here; all else is as it was printed.
    let port = origin.address.port().to_string();
    let text = printed
        .out
        .replace("8001", &port)
        .replace(":8080\" ", ":0\" ")
        .replace(":9191\" ", ":0\" ");
    fs::write(folder.path().join("larder.toml"), &text).unwrap();
    let checked = run_in(folder.path(), &["check", "larder.toml"]).await;
    assert_eq!((checked.code, checked.log.as_str()), (Some(0), ""), "{}", checked.log);
    assert!(checked.out.starts_with("larder.toml is fine\n"), "{}", checked.out);
    let larder = serving(&folder).await;
    assert!(larder.log().contains("settings from larder.toml"), "{}", larder.log());
    for then in ["uri-miss", "hit"] {
        assert_eq!(larder.get("/static/a").await.handling(), then);
    }
}

#[tokio::test]
async fn check_lists_each_route_by_all_that_its_requests_have_in_common() {
    let folder = folder_with(
        "[upstream.app]\nurl = \"http://127.0.0.1:1\"\n\
         [[route]]\npath = \"/a/*\"\nmethods = [\"GET\", \"HEAD\"]\n\
         [[route]]\npath_regex = \"^/(de|fr)/\"\n\
         [[route]]\nhost = \"b.test\"\nheader = { X-Beta = \"1\", X-Old = false }\n\
         [[route]]\nquery = { preview = true }\n\
         [[route]]\nttl = \"1m\"\n",
    );
    let check = run_in(folder.path(), &["check", "larder.toml"]).await;
    assert_eq!(check.code, Some(0), "{}", check.log);
    for words in [
        "1. GET,HEAD /a/*\n",
        "2. /^/(de|fr)//\n",
        "3. b.test/** header x-beta = \"1\" header x-old = false\n",
        "4. query preview = true\n",
        "5. /**",
    ] {
        assert!(check.out.contains(words), "{words}{}", check.out);
    }
}

#[tokio::test]
async fn all_mistakes_are_told_at_once_with_2_by_check_and_by_serve() {
    let folder = folder_with(
        "[server]\nlisen = 8080\nthreads = 0\n[shared]\nurl = \"redis://user:hidden@127.0.0.1\"\n\
         max_incoherence = \"1ms\"\n[log]\nlevels = \"loud\"\n[upstream.app]\nurl = \"ftp://a\"\n",
    );
    let check = run_in(folder.path(), &["check", "larder.toml"]).await;
    let serve = run_in(folder.path(), &["serve"]).await;
    let named = run_in(folder.path(), &["serve", "--config", "larder.toml"]).await;
    assert_eq!([&check, &serve, &named].map(|exit| exit.code), [Some(2); 3], "{}", check.log);
    assert_eq!([&serve.log, &named.log], [&check.log; 2]);
    assert_eq!(check.out, "");
    for words in [
        "larder.toml:2:1: there is no key \"lisen\" in [server]: did you mean \"listen\"?",
        "larder.toml:3:1: threads: say a whole number from 1 on",
        "larder.toml:5:1: shared.url has a password in it, and whoever is shown this file",
        "larder.toml:6:1: shared.max_incoherence is from 1s to 30m",
        "larder.toml:8:1: ",
        "larder.toml:10:1: url: only http://, https://, h2c:// and unix: origins",
        "6 mistakes",
    ] {
        assert!(check.log.contains(words), "{words}:\n{}", check.log);
    }
    assert!(!check.log.contains("hidden"), "{}", check.log);
}

#[tokio::test]
async fn mistakes_of_variables_and_flags_are_told_beside_those_of_the_file() {
    let folder = folder_with("[upstream.app]\nurl = 9\n[server]\nlisen = 8080\n");
    let flags = ["--max-connections", "5", "--max-connections-per-address", "9"];
    let names = ["LARDER_MAX_CONNECTIONS", "LARDER_MAX_CONNECTIONS_PER_ADDRESS"];
    for [command, file] in [["check", ""], ["serve", "--config"]] {
        let arguments: Vec<_> =
            [command, file, "larder.toml"].into_iter().filter(|one| !one.is_empty()).collect();
        let by_flags = run_in(folder.path(), &[&arguments[..], &flags].concat()).await;
        let by_variables =
            run_in_with(folder.path(), &arguments, &[(names[0], "5"), (names[1], "9")]).await;
        for exit in [by_flags, by_variables] {
            assert_eq!(exit.code, Some(2), "{}", exit.log);
            for words in [
                "larder.toml:4:1: there is no key \"lisen\"",
                "--max-connections-per-address 9 is above --max-connections 5",
                "2 mistakes",
            ] {
                assert!(exit.log.contains(words), "{command}: {words}\n{}", exit.log);
            }
        }
    }
}

#[tokio::test]
async fn check_says_what_serve_would_say_in_the_same_environment() {
    let admin = "[upstream.app]\nurl = 9\n[admin]\nlisten = \"0.0.0.0:0\"\ninsecure = true\n";
    let purge = "[upstream.app]\nurl = 9\n[purge]\nmode = \"hard\"\n";
    let tokens = [
        ("LARDER_ADMIN_READ_TOKEN", "0123456789abcdef"),
        ("LARDER_ADMIN_WRITE_TOKEN", "fedcba9876543210"),
    ];
    let read = ["--admin-read-token", tokens[0].1, "--admin-write-token", tokens[1].1];
    let of_purges = [("LARDER_PURGE_TOKEN", "0123456789abcdef")];
    let none: [(&str, &str); 0] = [];
    let (no_flags, no_variables): (&[&str], &[(&str, &str)]) = (&[], &none);
    for (text, flags, variables, code, words) in [
        (admin, no_flags, no_variables, 2, "is not a loopback address"),
        (admin, no_flags, &tokens[..1], 2, "is not a loopback address"),
        (admin, no_flags, &tokens[..], 0, ""),
        (admin, &read[..], no_variables, 0, ""),
        (purge, no_flags, no_variables, 0, "nobody may"),
        (purge, no_flags, &of_purges[..], 0, "anybody with the token"),
        ("", no_flags, &[("LARDER_UPSTREAM", "9")], 0, "upstreams   service: http://127.0.0.1:9"),
        ("", no_flags, &[("LARDER_UPSTREAM", "9"), ("LARDER_TTL", "5")], 2, "--ttl"),
        (
            "",
            &["--upstream", "9", "--admin", "9191"],
            no_variables,
            0,
            "admin on    http://127.0.0.1:9191",
        ),
    ] {
        let folder = folder_with(text);
        let arguments = [&["check", "larder.toml"][..], flags].concat();
        let exit = run_in_with(folder.path(), &arguments, variables).await;
        assert_eq!(exit.code, Some(code), "{text}{variables:?}\n{}", exit.log);
        let said = exit.out + &exit.log;
        assert!(said.contains(words), "{text}{variables:?}: {words}\n{said}");
        for (_, secret) in tokens {
            assert!(!said.contains(secret), "{said}");
        }
    }
}

#[tokio::test]
async fn check_without_a_file_looks_at_what_serve_would_run_by() {
    let folder = folder_with("[upstream.app]\nurl = 9\n");
    fs::write(folder.path().join("other.toml"), "[upstream.other]\nurl = 9\n").unwrap();
    for (flags, variables, said) in [
        (&[][..], &[][..], "larder.toml is fine"),
        (&[], &[("LARDER_CONFIG", "other.toml")], "other.toml is fine"),
        (&["--config", "other.toml"], &[], "other.toml is fine"),
        (&["larder.toml"], &[("LARDER_CONFIG", "other.toml")], "larder.toml is fine"),
        (&["--upstream", "9"], &[], "what is said without a file is fine"),
    ] {
        let exit = run_in_with(folder.path(), &[&["check"][..], flags].concat(), variables).await;
        assert_eq!(exit.code, Some(0), "{}", exit.log);
        assert!(exit.out.starts_with(said), "{said}\n{}", exit.out);
    }
    let empty = tempfile::tempdir().unwrap();
    let exit = run_in(empty.path(), &["check"]).await;
    assert_eq!(exit.code, Some(2));
    assert!(exit.log.contains("larder init > larder.toml"), "{}", exit.log);
}

/// The files of the gateway's own table, each with all that is said of it.
#[tokio::test]
async fn check_says_of_each_wrong_file_what_is_wrong_and_ends_with_2() {
    let table = include_str!("../../../larder-gateway/tests/config/wrong.txt");
    let files: Vec<_> = table.trim_end().split("\n======\n").collect();
    assert!(files.len() >= 60, "{}", files.len());
    let check_all = async {
        let mut under_way = JoinSet::new();
        for file in files {
            if under_way.len() == 8 {
                under_way.join_next().await.unwrap().unwrap();
            }
            under_way.spawn_local(is_told(file));
        }
        under_way.join_all().await;
    };
    LocalSet::new().run_until(check_all).await;
}

async fn is_told(file: &'static str) {
    let (text, said) = file.split_once("\n------\n").unwrap();
    let folder = folder_with(text);
    // Some name it where something else is wanted.
    fs::write(folder.path().join("Cargo.toml"), "[package]\n").unwrap();
    // One takes its token from a variable that is there.
    let exit = run_in_with(folder.path(), &["check", "larder.toml"], &[("PATH", "/bin")]).await;
    assert_eq!(exit.code, Some(2), "{text}\n{}", exit.log);
    for line in said.lines().filter(|line| line.starts_with("larder.toml:")) {
        assert!(exit.log.contains(line), "{text}\n{line} is not among\n{}", exit.log);
    }
}

#[tokio::test]
async fn a_flag_goes_before_a_variable_and_that_before_the_file_and_that_before_the_default() {
    let origin = Origin::saying(ok("", "a")).await;
    let text = upstream("app", &origin)
        + LISTENERS
        + "[memory]\nsize = \"32MiB\"\n[defaults]\nttl = \"1m\"\n";
    let folder = folder_with(&text);
    let variables = [("LARDER_MEMORY", "48MiB"), ("LARDER_TTL", "2m")];
    for (flags, variables, ttl, memory) in [
        (&["serve", "--memory", "64MiB"][..], &variables[..], "2m", "64.0 MiB"),
        (&["serve"], &variables, "2m", "48.0 MiB"),
        (&["serve"], &[], "1m", "32.0 MiB"),
    ] {
        let larder = Larder::in_folder(folder.path(), flags, variables).await;
        let said = format!("{ttl} where they do not say for how long, up to {memory}");
        assert!(larder.log().contains(&said), "{said}: {}", larder.log());
    }
    let larder = Larder::before(origin.address).await;
    assert!(larder.log().contains("up to 256.0 MiB"), "{}", larder.log());
}

#[tokio::test]
async fn the_file_of_the_folder_is_not_read_where_the_service_is_said_otherwise() {
    let origin = Origin::saying(ok("", "a")).await;
    let folder = folder_with("this is no TOML");
    let address = format!("http://{}", origin.address);
    let flags = ["serve", "--upstream", &address, "--listen", "0", "--admin", "0"];
    let larder = Larder::in_folder(folder.path(), &flags, &[]).await;
    assert_eq!(larder.get("/").await.status(), 200);
    assert!(!larder.log().contains("settings from"), "{}", larder.log());
}

#[tokio::test]
async fn an_upstream_that_is_said_goes_before_the_only_one_of_a_file_and_not_before_several() {
    let [one, other] =
        [Origin::saying(ok("", "of the file")).await, Origin::saying(ok("", "of the flag")).await];
    let folder = folder_with(&(upstream("app", &one) + LISTENERS));
    let address = format!("http://{}", other.address);
    let flags = ["serve", "--config", "larder.toml", "--upstream", &address];
    let larder = Larder::in_folder(folder.path(), &flags, &[]).await;
    assert_eq!(larder.get("/").await.text(), "of the flag");
    let two =
        upstream("app", &one) + &upstream("other", &other) + "[defaults]\nupstream = \"app\"\n";
    fs::write(folder.path().join("larder.toml"), two).unwrap();
    let exit = run_in(folder.path(), &flags).await;
    assert_eq!(exit.code, Some(2), "{}", exit.log);
    assert!(exit.log.contains("--upstream names one service, and the file has 2"), "{}", exit.log);
}

#[tokio::test]
async fn files_that_are_named_count_from_the_folder_of_the_configuration() {
    let folder = folder_with("[upstream.app]\nurl = 9\n[server]\nexplain_token_file = \"token\"\n");
    let file = folder.path().join("larder.toml");
    let check = ["check", file.to_str().unwrap()];
    let elsewhere = tempfile::tempdir().unwrap();
    let exit = run_in(elsewhere.path(), &check).await;
    assert_eq!(exit.code, Some(2));
    let missing = format!("cannot read {}", folder.path().join("token").display());
    assert!(exit.log.contains(&missing), "{}", exit.log);
    fs::write(folder.path().join("token"), "open sesame\n").unwrap();
    let exit = run_in(elsewhere.path(), &check).await;
    assert_eq!(exit.code, Some(0), "{}", exit.log);
}

#[tokio::test]
async fn the_schema_is_one_that_editors_read() {
    let folder = tempfile::tempdir().unwrap();
    let exit = run_in(folder.path(), &["schema"]).await;
    assert_eq!(exit.code, Some(0));
    let schema: serde_json::Value = serde_json::from_str(&exit.out).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["additionalProperties"], false);
}

#[tokio::test]
async fn what_is_explained_is_what_happens_to_the_next_request() {
    let pages = Origin::answering(|head| match head.contains("/dated") {
        true => ok("cache-control: max-age=60\r\n", "pages"),
        false => ok("", "pages"),
    })
    .await;
    let files = Origin::saying(ok("", "files")).await;
    let text = upstream("pages", &pages)
        + &upstream("files", &files)
        + LISTENERS
        + "[defaults]\nupstream = \"pages\"\n\
           [[route]]\npath = \"/files/**\"\nupstream = \"files\"\nttl = \"5m\"\n\
           [[route]]\npath = \"/me/{part}\"\ncache = false\n\
           [[route]]\nhost = \"elsewhere.test\"\nttl = \"1m\"\n\
           [[route]]\npath = \"/{kind}/kept\"\nttl = \"2m\"\ncookies_matter = false\n";
    let folder = folder_with(&text);
    let larder = serving(&folder).await;
    for path in [
        "/",
        "/dated",
        "/files",
        "/files/a",
        "/files/a/b?c=d",
        "/filesystem",
        "/me/1",
        "/me/1/2",
        "/%6De/1",
        "/a/../me/dated",
        "/me/dated",
        "/x/kept",
        "/files/kept",
        "/elsewhere.test",
        "/x/kept?me",
    ] {
        let upstream = explained(folder.path(), path, "upstream").await;
        let is_cached = explained(folder.path(), path, "cache").await.starts_with("true");
        let ttl = explained(folder.path(), path, "ttl").await;
        let first = larder.get(path).await;
        assert!(upstream.starts_with(first.text()), "{path}: {upstream}, {}", first.text());
        let second = larder.get(path).await;
        let expected = match (is_cached, path.contains("dated") || !ttl.starts_with("not set")) {
            (false, _) => "bypass",
            (true, true) => "hit",
            (true, false) => "uri-miss",
        };
        assert_eq!(second.handling(), expected, "{path}: {ttl}");
        // One that asks for nothing else may be answered where it lies in the buffer.
        let mut wire = larder.connect().await;
        wire.send(format!("GET {path} HTTP/1.1\r\nhost: larder.test\r\n\r\n")).await;
        assert_eq!(wire.answer().await.handling(), expected, "{path}: {ttl}");
    }
}

#[tokio::test]
async fn requests_of_a_route_with_cookies_that_do_not_matter_share_an_answer() {
    let origin = Origin::saying(ok("cache-control: max-age=60\r\n", "a")).await;
    let text = upstream("app", &origin)
        + LISTENERS
        + "[[route]]\npath = \"/static/**\"\nignore_cookies = [\"theme\"]\n";
    let larder = serving(&folder_with(&text)).await;
    for (path, cookie, then) in [
        ("/static/a", "theme=dark", "uri-miss"),
        ("/static/a", "theme=light", "hit"),
        ("/static/a", "theme=light; session=1", "cookie"),
        ("/b", "theme=dark", "cookie"),
    ] {
        let answer = larder.get_with(path, &format!("cookie: {cookie}\r\n")).await;
        let said = answer.field("cache-status").unwrap_or_default().to_owned();
        assert!(said.contains(then), "{path} {cookie}: {said}");
    }
}

/// What a validator of JSON Schema says of each of these texts: nothing if it takes it.
async fn said_by_schema(texts: &[String]) -> Vec<Option<String>> {
    let folder = tempfile::tempdir().unwrap();
    let printed = run_in(folder.path(), &["schema"]).await;
    fs::write(folder.path().join("schema.json"), printed.out).unwrap();
    let files = folder.path().join("files");
    fs::create_dir(&files).unwrap();
    for (number, text) in texts.iter().enumerate() {
        fs::write(files.join(format!("{number:04}")), text).unwrap();
    }
    let mut validator = script("schema.py");
    validator.arg(folder.path().join("schema.json")).arg(&files);
    let said = String::from_utf8(program::run(&mut validator).await.stdout).unwrap();
    let said = said.lines().map(|line| line.split_once(": ").unwrap().1);
    let said: Vec<_> = said.map(|said| (said != "fine").then(|| said.to_owned())).collect();
    assert_eq!(said.len(), texts.len());
    said
}

/// The texts between these marks, which stand in what people read.
fn examples_in(page: &str) -> impl Iterator<Item = String> {
    let parts = page.split("```toml\n").skip(1);
    parts.map(|part| part.split("```").next().unwrap().to_owned())
}

#[tokio::test]
async fn an_editor_with_the_schema_takes_what_is_right() {
    let mut texts = vec![larder_gateway::config::EXAMPLE.to_owned()];
    for page in [
        include_str!("../../../../docs/config.md"),
        include_str!("../../../../docs/cdn.md"),
        include_str!("../../../../docs/compression.md"),
        include_str!("../../../../docs/from-souin.md"),
        include_str!("../../../../docs/from-varnish.md"),
        include_str!("../../../../docs/running.md"),
    ] {
        texts.extend(examples_in(page));
    }
    for key in larder_gateway::config::keys() {
        let list = if key.table.contains("listener.") { "[[listener]]\n" } else { "" };
        texts.push(format!("{list}{}\n{}\n", key.table, key.example));
    }
    assert!(texts.len() > 200, "{}", texts.len());
    for (text, said) in texts.iter().zip(said_by_schema(&texts).await) {
        assert_eq!(said, None, "{text}");
    }
}

/// Of what is no key and no word, and what has another type, an editor says so while it is typed. What depends on other keys
/// it cannot see.
#[tokio::test]
async fn an_editor_with_the_schema_refuses_what_it_can_see_to_be_wrong() {
    let table = include_str!("../../../larder-gateway/tests/config/wrong.txt");
    let files =
        table.trim_end().split("\n======\n").map(|file| file.split_once("\n------\n").unwrap());
    // The keys of response_headers are told with it, and its schema is any table.
    let can_be_seen =
        |said: &str| said.contains(": there is no key ") && !said.contains("response_headers");
    let (texts, said): (Vec<_>, Vec<_>) = files
        .filter(|(_, said)| can_be_seen(said))
        .map(|(text, said)| (text.to_owned(), said))
        .unzip();
    assert!(texts.len() > 20, "{}", texts.len());
    for ((text, said), by_schema) in texts.iter().zip(said).zip(said_by_schema(&texts).await) {
        assert!(by_schema.is_some(), "{text}\n{said}");
    }
}
