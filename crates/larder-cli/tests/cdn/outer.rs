//! Outer: caches of others in front of a gateway.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
};

use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::support::{Process, eventually, free_port};

/// A running varnishd with xkey, before a gateway at this port.
pub(crate) struct Varnish {
    pub(crate) address: SocketAddr,
    _process: Process,
    _folder: TempDir,
}

const VCL: &str = r#"
vcl 4.1;
import xkey;
import std;
backend default { .host = "127.0.0.1"; .port = "BACKEND"; }
acl purgers { "127.0.0.1"; }
sub vcl_recv {
    if (req.method == "PURGE" || req.method == "BAN") {
        if (client.ip !~ purgers) { return (synth(405)); }
        if (req.http.xkey-purge) { return (synth(200, "purged " + xkey.purge(req.http.xkey-purge))); }
        if (req.http.xkey-softpurge) { return (synth(200, "purged " + xkey.softpurge(req.http.xkey-softpurge))); }
        if (req.method == "BAN") {
            ban("obj.http.x-host ~ " + req.http.x-ban-host + " && obj.http.x-url ~ " + req.http.x-ban-url);
            return (synth(200));
        }
        return (purge);
    }
}
sub vcl_backend_response {
    set beresp.http.x-host = bereq.http.host;
    set beresp.http.x-url = bereq.url;
    set beresp.http.xkey = beresp.http.surrogate-key;
    set beresp.grace = GRACE;
}
"#;

impl Varnish {
    pub(crate) async fn before(port: u16) -> Varnish {
        Varnish::with_grace(port, "0s").await
    }

    /// For so long it serves what is over while it asks for it again.
    pub(crate) async fn with_grace(port: u16, grace: &str) -> Varnish {
        let folder = tempfile::tempdir().unwrap();
        let own = free_port();
        let file = folder.path().join("default.vcl");
        let text = VCL.replace("BACKEND", &port.to_string()).replace("GRACE", grace);
        fs::write(&file, text).unwrap();
        // Debian keeps it where a user's PATH does not lead.
        let kept = Path::new("/usr/sbin/varnishd");
        let mut command = Command::new(if kept.exists() { kept } else { Path::new("varnishd") });
        command.args(["-F", "-j", "none", "-a", &format!("127.0.0.1:{own}"), "-s", "malloc,16m"]);
        command.arg("-n").arg(folder.path().join("work")).arg("-f").arg(&file);
        let mut process = Process::start(command.stdout(Stdio::null()).stderr(Stdio::piped()));
        eventually("varnishd to listen", async || {
            if let Some(status) = process.ended() {
                panic!("varnishd ended with {status}: {}", process.log.all());
            }
            TcpStream::connect(("127.0.0.1", own)).await.ok()
        })
        .await;
        let address = ([127, 0, 0, 1], own).into();
        Varnish { address, _process: process, _folder: folder }
    }
}
