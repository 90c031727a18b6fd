//! gRPC: calls of all kinds by Python's grpcio, before and behind.

use std::net::SocketAddr;

use crate::support::{
    Certificate, Process,
    larder::{Larder, tls_flags},
    program,
    python::{port, script},
};

#[tokio::test]
async fn calls_of_all_kinds_go_both_ways_in_the_open_and_over_tls() {
    let mut server = Process::read(&mut script("grpc_server.py"));
    let origin = SocketAddr::from(([127, 0, 0, 1], port(&mut server).await));
    let certificate = Certificate::new();
    for tls in [None, Some(&certificate)] {
        let folder = tempfile::tempdir().unwrap();
        // Whatever pauses elsewhere is cut.
        let text = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\nmin_rate_period = \"1s\"\nbody_timeout = \"1s\"\n\
             [admin]\nlisten = \"127.0.0.1:0\"\n\
             [upstream.app]\nurl = \"h2c://{origin}\"\nfirst_byte_timeout = \"1s\"\nidle_body_timeout = \"1s\"\n\
             [[route]]\npath = \"/test.Test/**\"\nstream = true\n"
        );
        std::fs::write(folder.path().join("larder.toml"), text).unwrap();
        let flags = tls.map(tls_flags);
        let flags = flags.iter().flatten().map(String::as_str);
        let arguments: Vec<_> = ["serve"].into_iter().chain(flags).collect();
        let larder = Larder::in_folder(folder.path(), &arguments, &[]).await;
        let mut client = script("grpc_client.py");
        client.args([larder.address.to_string(), "2.5".to_owned()]);
        if let Some(certificate) = tls {
            client.arg(certificate.file());
        }
        let said = program::run(&mut client).await.stdout;
        assert_eq!(String::from_utf8(said).unwrap(), "all right\n");
    }
}
