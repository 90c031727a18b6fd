//! Reload: another file while all kinds of readers are served.

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use rustix::process::Signal;

use crate::{
    load::Load,
    site::Site,
    support::{
        Certificate, eventually, free_port,
        origin::{Origin, ok},
    },
};

const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
    sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
const EVENTS: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-store\r\n\
    transfer-encoding: chunked\r\n\r\n";

/// Pages, uploads, a chat and a stream of events.
async fn everything() -> Origin {
    Origin::playing(|mut visit| async move {
        while let Some(head) = visit.request().await {
            if head.starts_with("GET /chat ") {
                visit.send(SWITCHING).await;
                let mut wire = visit.into_wire();
                while let Ok(bytes) = wire.try_some().await {
                    if bytes.is_empty() || wire.try_send(bytes).await.is_err() {
                        break;
                    }
                }
                return;
            }
            if head.starts_with("GET /events ") {
                visit.send(EVENTS).await;
                while visit.send("c\r\ndata: news\n\n\r\n").await {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                return;
            }
            let fields =
                if head.starts_with("GET /a") { "cache-control: max-age=60\r\n" } else { "" };
            visit.send(ok(fields, "a")).await;
        }
    })
    .await
}

/// What stands in the file at the nth change: another service, another certificate, and other rules each time.
fn text(
    round: usize,
    (origins, certificates): (&[Origin; 2], &[Certificate; 2]),
    addresses: [SocketAddr; 3],
) -> String {
    let [address, tls, admin] = addresses;
    let (origin, certificate) = (&origins[round % 2], &certificates[round / 2 % 2]);
    format!(
        "include = [\"routes/*.toml\"]\n[upstream.app]\nurl = \"http://{}\"\nfirst_byte_timeout = \"{}s\"\n\
         [admin]\nlisten = \"{admin}\"\n[server]\nlisten = \"{address}\"\nreload = \"on-change\"\n\
         [[listener]]\nlisten = \"{tls}\"\n[listener.tls]\ncertificate = \"{}\"\nkey = \"{}\"\n\
         [defaults]\nttl = \"{}s\"\n",
        origin.address,
        30 + round,
        certificate.file().display(),
        certificate.key().display(),
        100 + round,
    )
}

fn write_route(folder: &Path, round: usize) {
    let text = format!(
        "[[route]]\npath = \"/events\"\nstream = true\n[[route]]\npath = \"/a\"\nttl = \"{round}s\"\n"
    );
    fs::write(folder.join("routes/one.toml"), text).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_file_cuts_and_fails_nothing_of_what_is_under_way() {
    let origins = [everything().await, everything().await];
    let certificates =
        [Certificate::for_names(&["localhost"]), Certificate::for_names(&["localhost"])];
    let folder = tempfile::tempdir().unwrap();
    let both = certificates.each_ref().map(|one| fs::read_to_string(one.file()).unwrap()).concat();
    let trusted = folder.path().join("both.pem");
    fs::write(&trusted, both).unwrap();
    fs::create_dir(folder.path().join("routes")).unwrap();
    write_route(folder.path(), 1);
    let addresses = [(); 3].map(|()| SocketAddr::from(([127, 0, 0, 1], free_port())));
    let [address, tls, admin] = addresses;
    let of = (&origins, &certificates);
    let site = Site::by(folder, address, &text(0, of, addresses), &[]).await;
    let mut load = Load::new();
    for _ in 0..2 {
        load.kept(address);
        load.alone(address);
        load.uploads(address);
        load.websocket(address);
        load.events(address);
    }
    load.http2(address);
    load.tls(tls, trusted.clone(), "--http2");
    load.tls(tls, trusted, "--http1.1");
    load.asks_whether_ready(admin);
    let name = |outcome: &str| format!("larder_config_reloads_total{{outcome=\"{outcome}\"}}");
    let (applied, refused) = (name("applied"), name("refused"));
    let more_than = async |name: &str, before: f64| {
        eventually(name, async || (site.larder.metric(name).await > before).then_some(())).await;
    };
    let main = site.path("larder.toml");
    for round in 1..=12 {
        load.goes_on(5).await;
        let before = site.larder.metric(&refused).await;
        fs::write(&main, "[").unwrap();
        site.signal(Signal::HUP);
        more_than(&refused, before).await;
        let before = site.larder.metric(&applied).await;
        write_route(site.folder.path(), round);
        fs::write(&main, text(round, of, addresses)).unwrap();
        site.signal(Signal::HUP);
        more_than(&applied, before).await;
        load.goes_on(5).await;
    }
    // By itself, because a file that is included has changed.
    let before = site.larder.metric(&applied).await;
    write_route(site.folder.path(), 1000);
    more_than(&applied, before).await;
    load.goes_on(20).await;
    let answered = load.over().await;
    assert!(answered > 1000, "{answered}");
    assert!(origins.iter().all(|origin| !origin.requests().is_empty()));
    assert_eq!(site.count(" cut off"), 0);
}
