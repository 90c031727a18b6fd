//! One configuration for all that real applications speak: a chat, calls, an event stream and a repository, each behind a
//! route of its own, on one port.

use std::net::SocketAddr;

use larder_test_support::answer::{field, status};

use crate::{
    git::{GitServer, git},
    streams::telling,
    support::{
        Process,
        larder::Larder,
        program,
        python::{port, script},
    },
    websocket,
};

#[tokio::test]
async fn a_chat_calls_events_and_a_clone_go_through_one_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let chat = websocket::Server::start().await;
    let repository = GitServer::start(root).await;
    let (events, tells, _leaves) = telling().await;
    let mut calls = Process::read(&mut script("grpc_server.py"));
    let calls_at = SocketAddr::from(([127, 0, 0, 1], port(&mut calls).await));
    // Whatever pauses where it may not is cut.
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\nmin_rate_period = \"1s\"\nbody_timeout = \"1s\"\n\
         [admin]\nlisten = \"127.0.0.1:0\"\n\
         [upstream.chat]\nurl = \"http://{}\"\n\
         [upstream.calls]\nurl = \"h2c://{calls_at}\"\nfirst_byte_timeout = \"1s\"\nidle_body_timeout = \"1s\"\n\
         [upstream.events]\nurl = \"http://{}\"\nfirst_byte_timeout = \"1s\"\nidle_body_timeout = \"1s\"\n\
         [upstream.git]\nurl = \"http://{}\"\n\
         [[route]]\npath = \"/test.Test/**\"\nupstream = \"calls\"\nstream = true\n\
         [[route]]\npath = \"/events/**\"\nupstream = \"events\"\nstream = true\n\
         [[route]]\npath = \"/site.git/**\"\nupstream = \"git\"\ncache = false\n\
         [defaults]\nupstream = \"chat\"\n",
        chat.address, events.address, repository.nginx.address
    );
    std::fs::write(root.join("larder.toml"), text).unwrap();
    let larder = Larder::in_folder(root, &["serve"], &[]).await;

    let listening = async {
        let mut wire = larder.connect().await;
        wire.send("GET /events/all HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let head = wire.head().await;
        assert_eq!((status(&head), field(&head, "content-type")), (200, Some("text/event-stream")));
        // The next is said only when this one is here.
        for number in 0..20 {
            tells.send(format!("data: {number}\n\n")).unwrap();
            let mut said = Vec::new();
            while !String::from_utf8_lossy(&said).contains(&format!("data: {number}\n\n")) {
                said.extend(wire.some().await);
            }
        }
    };
    let chatting = async {
        let mut client = script("websocket_client.py");
        let said = program::run(client.arg(format!("ws://{}", larder.address))).await.stdout;
        assert_eq!(String::from_utf8(said).unwrap(), "9 cases\n");
    };
    let calling = async {
        let mut client = script("grpc_client.py");
        client.args([larder.address.to_string(), "2.5".to_owned()]);
        let said = program::run(&mut client).await.stdout;
        assert_eq!(String::from_utf8(said).unwrap(), "all right\n");
    };
    let cloning = async {
        let url = larder.url("/site.git");
        git(root, &["clone", "--quiet", &url, "one"]).await;
        let one = root.join("one");
        std::fs::write(one.join("file"), "a\n".repeat(100_000)).unwrap();
        git(&one, &["add", "."]).await;
        git(&one, &["commit", "--quiet", "-m", "file"]).await;
        git(&one, &["push", "--quiet", "origin", "HEAD:main"]).await;
        git(root, &["clone", "--quiet", &url, "two"]).await;
        assert_eq!(std::fs::read(root.join("two/file")).unwrap().len(), 200_000);
    };
    // All at once, as on a busy day.
    tokio::join!(listening, chatting, calling, cloning);
}
