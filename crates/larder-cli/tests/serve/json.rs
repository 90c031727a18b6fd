//! What the commands print with `--json`: the fields that `docs/cli.md` names, no other, and errors as well.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use serde_json::Value;

use crate::support::{
    larder::{Larder, run},
    origin::{Origin, ok},
};

/// Of each command, the fields that the page names.
fn named_on_the_page() -> BTreeMap<String, BTreeSet<String>> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md");
    let page = fs::read_to_string(page).unwrap();
    let commands = page.split("\n## `").skip(1);
    let fields = commands.filter_map(|text| {
        let (name, rest) = text.split_once('`')?;
        let (_, table) = rest.split_once("| field | what it is |\n| --- | --- |\n")?;
        let rows = table.lines().map_while(|line| line.strip_prefix("| `"));
        let fields = rows.filter_map(|row| Some(row.split_once('`')?.0.to_owned()));
        Some((name.to_owned(), fields.collect()))
    });
    fields.collect()
}

fn fields(said: &str) -> BTreeSet<String> {
    let said: Value = serde_json::from_str(said).unwrap_or_else(|error| panic!("{error}: {said}"));
    said.as_object().unwrap().keys().cloned().collect()
}

#[tokio::test]
async fn each_command_prints_the_fields_that_its_page_names() {
    let tagged = "cache-control: max-age=60\r\nsurrogate-key: post:1\r\n";
    let origin = Origin::saying(ok(tagged, "a")).await;
    let larder = Larder::before(origin.address).await;
    let admin = larder.admin().to_string();
    larder.get("/a").await;
    let folder = tempfile::tempdir().unwrap();
    let nginx = folder.path().join("nginx.conf");
    fs::write(
        &nginx,
        "http { server { listen 8080; location / { proxy_pass http://127.0.0.1:1; odd on; } } }",
    )
    .unwrap();
    let file = folder.path().join("larder.toml");
    fs::write(&file, "[upstream.app]\nurl = \"http://127.0.0.1:1\"\n").unwrap();
    let named = named_on_the_page();
    let url = format!("http://{}/a", larder.address);
    let asked: &[(&str, &[&str])] = &[
        ("larder check", &["check", file.to_str().unwrap()]),
        ("larder import nginx", &["import", "nginx", nginx.to_str().unwrap()]),
        ("larder health", &["health", "--admin", &admin]),
        ("larder purge", &["purge", "--tag", "post:1", "--admin", &admin]),
        ("larder purges", &["purges", "--admin", &admin]),
        ("larder stats", &["stats", "--admin", &admin]),
        ("larder entries", &["entries", "--admin", &admin]),
        ("larder explain", &["explain", &url, "--admin", &admin]),
        ("larder top", &["top", "--every", "100ms", "--count", "1", "--admin", &admin]),
        ("larder version", &["version"]),
    ];
    for (command, arguments) in asked {
        let exit = run(&[arguments, &["--json"][..]].concat()).await;
        assert_eq!(exit.code, Some(0), "{command}: {}", exit.log);
        assert_eq!(fields(&exit.out), named[*command], "{command}: {}", exit.out);
    }
    let told: BTreeSet<_> = asked.iter().map(|(command, _)| (*command).to_owned()).collect();
    assert_eq!(named.into_keys().collect::<BTreeSet<_>>(), told);
}

#[tokio::test]
async fn an_error_is_json_as_well_and_the_exit_code_is_the_same() {
    let nobody = ["--admin", "127.0.0.1:1", "--json"];
    for (arguments, code) in [
        (&["stats"][..], 1),
        (&["entries"], 1),
        (&["purges"], 1),
        (&["purge", "--all"], 1),
        (&["explain", "http://a.example/"], 1),
        (&["top", "--count", "1"], 1),
        (&["health"], 1),
        (&["purge", "--all", "--token-file", "nowhere"], 2),
    ] {
        let exit = run(&[arguments, &nobody].concat()).await;
        assert_eq!(exit.code, Some(code), "{arguments:?}: {}", exit.log);
        let told: Value = serde_json::from_str(exit.log.trim()).unwrap();
        assert!(told["error"].as_str().is_some_and(|error| !error.is_empty()), "{told}");
        assert!(told["because"].is_array() && told["exit_code"] == code, "{told}");
        match arguments[0] {
            "health" => assert!(exit.out.contains("\"is_ready\":false"), "{}", exit.out),
            _ => assert_eq!(exit.out, "", "{arguments:?}"),
        }
    }
    let exit = run(&["import", "nginx", "nowhere.conf", "--json"]).await;
    assert_eq!((exit.code, exit.log.starts_with('{')), (Some(2), true), "{}", exit.log);
}
