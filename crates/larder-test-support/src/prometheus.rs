//! Prometheus: the real one, which scrapes what a test has started.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
};

use tempfile::TempDir;

use crate::{eventually::eventually, port::free_port, process::Process, program::curl};

/// A running Prometheus (Debian's package of that name). Dropping it ends it and removes its folder.
#[derive(Debug)]
pub struct Prometheus {
    address: SocketAddr,
    // The process goes first.
    process: Process,
    _folder: TempDir,
}

impl Prometheus {
    /// Starts it with these settings, beside which the files of `rules` stand under their own names, and waits until it is
    /// ready.
    ///
    /// # Panics
    ///
    /// Where there is no Prometheus, and where it does not like its settings.
    pub async fn start(settings: &str, rules: &[&Path]) -> Prometheus {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("prometheus.yml");
        fs::write(&file, settings).unwrap();
        for rule in rules {
            let name = rule.file_name().expect("a file");
            fs::copy(rule, folder.path().join(name)).unwrap();
        }
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--enable-feature=exemplar-storage")
            .arg("--log.level=warn");
        let process = Process::start(command.stdout(Stdio::null()).stderr(Stdio::piped()));
        let mut prometheus = Prometheus { address, process, _folder: folder };
        prometheus.ready().await;
        prometheus
    }

    async fn ready(&mut self) {
        let url = format!("http://{}/-/ready", self.address);
        eventually("Prometheus to be ready", async || {
            if let Some(status) = self.process.ended() {
                panic!("Prometheus ended with {status}: {}", self.process.log.all());
            }
            let asked = Command::new("curl")
                .args(["--silent", "--fail", "--max-time", "5", "--output", "/dev/null", &url])
                .status();
            asked.is_ok_and(|status| status.success()).then_some(())
        })
        .await;
    }

    /// What its HTTP API answers at `path`, with this parameter if there is one, as JSON.
    pub async fn ask(&self, path: &str, parameter: Option<&str>) -> serde_json::Value {
        let url = format!("http://{}{path}", self.address);
        let mut arguments = vec!["--get", &url];
        if let Some(parameter) = parameter {
            arguments.extend(["--data-urlencode", parameter]);
        }
        serde_json::from_str(&curl(&arguments).await).expect("JSON")
    }

    /// The value of an expression that has one, now.
    pub async fn value(&self, expression: &str) -> Option<f64> {
        let answer = self.ask("/api/v1/query", Some(&format!("query={expression}"))).await;
        answer["data"]["result"][0]["value"][1].as_str()?.parse().ok()
    }
}
