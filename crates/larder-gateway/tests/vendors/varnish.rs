//! Varnish: a real one, with the VCL of the manual.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use larder::Mode;
use larder_test_support::{
    eventually::eventually, origin::Origin, port::free_port, process::Process, program::curl,
};
use tokio::net::TcpStream;

use crate::{
    client::{End, settle},
    double::{Double, Mishap, Reply, Seen, Vendor},
    setups::{everything, host, prefix, tags, url, varnish},
};

/// The manual's VCL, but for what needs a module that is not in every Varnish.
async fn running(folder: &Path, origin: &Origin) -> (Process, u16) {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cdn.md");
    let page = fs::read_to_string(page).unwrap();
    // The whole one: there are parts of others.
    let mut blocks = page.split("```vcl\n").filter_map(|rest| Some(rest.split_once("```")?.0));
    let text = blocks.find(|block| block.starts_with("vcl 4")).unwrap();
    let without_xkey: String = text
        .lines()
        .filter(|line| !line.contains("xkey"))
        .map(|line| line.replace("\"8080\"", &format!("\"{}\"", origin.address.port())) + "\n")
        .collect();
    let port = free_port();
    let file = folder.join("default.vcl");
    fs::write(&file, without_xkey).unwrap();
    // Debian keeps it where a user's PATH does not lead.
    let kept = Path::new("/usr/sbin/varnishd");
    let mut command = Command::new(if kept.exists() { kept } else { Path::new("varnishd") });
    let listen = format!("127.0.0.1:{port}");
    command.args(["-F", "-j", "none", "-a", &listen, "-s", "malloc,16m", "-n"]);
    command.arg(folder.join("work")).arg("-f").arg(&file);
    let mut process = Process::start(command.stdout(Stdio::null()).stderr(Stdio::piped()));
    eventually("varnishd to listen", async || {
        if let Some(status) = process.ended() {
            panic!("varnishd ended with {status}: {}", process.log.all());
        }
        TcpStream::connect(("127.0.0.1", port)).await.ok()
    })
    .await;
    (process, port)
}

#[tokio::test]
async fn a_real_one_lets_go_what_is_wished_and_nothing_else() {
    let origin = Origin::saying(
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncache-control: max-age=600\r\n\r\na",
    )
    .await;
    let folder = tempfile::tempdir().unwrap();
    let (_varnish, port) = running(folder.path(), &origin).await;
    let at = format!("http://127.0.0.1:{port}");
    let driver = varnish(&at);
    let all = ["a.example/x", "a.example/x?q", "a.example/y/1", "a.example/y.1", "b.example/x"];
    // How many of them it had.
    let kept = async || {
        let mut kept = Vec::new();
        for name in all {
            let (host, path) = name.split_once('/').unwrap();
            let told = curl(&["-i", "-H", &format!("host: {host}"), &format!("{at}/{path}")]).await;
            let age = told.lines().find_map(|line| line.strip_prefix("X-Varnish: "));
            if age.is_some_and(|numbers| numbers.trim().contains(' ')) {
                kept.push(name);
            }
        }
        kept
    };
    assert!(kept().await.is_empty());
    for (wish, left) in [
        (url("https://a.example/x", Mode::Hard), &all[1..]),
        (
            prefix("https://a.example/y/"),
            &["a.example/x", "a.example/x?q", "a.example/y.1", "b.example/x"],
        ),
        (host("a.example"), &["b.example/x"]),
        (everything(Mode::Hard), &[]),
    ] {
        assert_eq!(kept().await, all, "all is there before {wish:?}");
        let told = settle(&driver, std::slice::from_ref(&wish), "p").await;
        assert_eq!(told.ends, [Some(End::Done)], "{wish:?}");
        assert_eq!(kept().await, left, "{wish:?}");
    }
}

#[derive(Default)]
struct Xkey {
    soft: Vec<String>,
    hard: Vec<String>,
}

impl Vendor for Xkey {
    fn answer(&mut self, seen: &Seen) -> Reply {
        let longest = seen.fields.values().map(|value| value.len()).max().unwrap_or(0);
        if longest > 8 * 1024 || seen.method.as_str() != "PURGE" {
            return Reply::of(400, "");
        }
        let names = |field: &str| seen.field(field).split_whitespace().map(str::to_owned);
        self.soft.extend(names("xkey-softpurge").collect::<Vec<_>>());
        self.hard.extend(names("xkey-purge").collect::<Vec<_>>());
        Reply::of(200, "Invalidated 3 objects")
    }

    fn too_many(&self) -> Reply {
        Reply::of(429, "")
    }
}

#[tokio::test]
async fn tags_go_in_fields_that_it_takes() {
    let double = Double::of(Xkey::default(), &[Mishap::None, Mishap::Half, Mishap::Unwell]).await;
    let driver = varnish(&double.api());
    let mut wishes = tags(2_000, Mode::Soft);
    wishes.extend(tags(10, Mode::Hard));
    let told = settle(&driver, &wishes, "p").await;
    assert!(told.ends.iter().all(|end| *end == Some(End::Done)));
    double.look(|vendor| {
        vendor.soft.sort_unstable();
        vendor.soft.dedup();
        assert_eq!((vendor.soft.len(), vendor.hard.len() >= 10), (2_000, true));
    });
}
