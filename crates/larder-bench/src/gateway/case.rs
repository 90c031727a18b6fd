//! Case: what is asked over and over, and what must come back.

use anyhow::ensure;

use super::{
    client::{Answer, Client, get_each},
    contestant::{Contestant, Who},
    echo::Socket,
    limit::Baked,
    origin::{ETAG, Link},
    slow,
};

/// A page as it is found in the middle of the web.
pub(crate) const PAGE: Baked = Baked { status: 200, body_bytes: 2304 };

#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) id: &'static str,
    pub(crate) label: String,
    /// Without the number that ends it, where there are many keys.
    pub(crate) path: &'static str,
    pub(crate) fields: &'static [(&'static str, &'static str)],
    pub(crate) answer: Baked,
    pub(crate) connections: usize,
    pub(crate) keys: Option<usize>,
    pub(crate) protocol: Protocol,
    pub(crate) exchange: Exchange,
    /// How the origin is asked.
    pub(crate) link: Link,
    /// Whether the origin must not be asked.
    pub(crate) is_hit: bool,
    /// How many readers hang on meanwhile with an answer they hardly read.
    pub(crate) slow_clients: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
    /// HTTP/1.1 over TLS.
    Tls,
}

/// What goes to and fro.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exchange {
    /// A request without content, and its answer.
    Get,
    /// A request with so many bytes of content, and its answer.
    Upload(usize),
    /// A message over a WebSocket, and its echo.
    Echo,
}

/// Longer than a server holds in memory unasked.
const UPLOAD_BYTES: usize = 1 << 20;

/// All cases whose figure is CPU time per request, and for which nobody is started in another way.
pub(crate) fn all(keys: usize, slow_clients: usize) -> Vec<Case> {
    let hit = |id, label: &str, path, answer| Case {
        id,
        label: label.to_owned(),
        path,
        fields: &[],
        answer,
        connections: 64,
        keys: None,
        protocol: Protocol::Http1,
        exchange: Exchange::Get,
        link: Link::Plain,
        is_hit: true,
        slow_clients: 0,
    };
    let whole = |body_bytes| Baked { status: 200, body_bytes };
    // With large bodies, few connections fill the core, and what is under way at the end stays little.
    let large = |case| Case { connections: 8, ..case };
    vec![
        hit("hit-512", "hit, 512 B", "/fixed/512/a", whole(512)),
        hit("hit-2k", "hit, 2.25 kB", "/fixed/2304/a", PAGE),
        hit("hit-16k", "hit, 16 kB", "/fixed/16384/a", whole(16384)),
        large(hit("hit-256k", "hit, 256 kB", "/fixed/262144/a", whole(262_144))),
        large(hit("hit-1m", "hit, 1 MB", "/fixed/1048576/a", whole(1_048_576))),
        Case {
            keys: Some(keys),
            ..hit("keys", &format!("hit, 2.25 kB, {} keys", thousands(keys)), "/fixed/2304/k", PAGE)
        },
        Case {
            fields: &[("Accept-Encoding", "gzip")],
            ..hit("vary", "hit, 2.25 kB, Vary", "/vary/2304/a", PAGE)
        },
        Case {
            fields: &[("Range", "bytes=0-1023")],
            ..hit(
                "range",
                "range, 1 kB of 16 kB",
                "/fixed/16384/r",
                Baked { status: 206, body_bytes: 1024 },
            )
        },
        Case {
            fields: &[("If-None-Match", ETAG)],
            ..hit(
                "not-modified",
                "304 by ETag",
                "/fixed/2304/n",
                Baked { status: 304, body_bytes: 0 },
            )
        },
        Case { is_hit: false, ..hit("pass", "pass, 2.25 kB", "/nostore/2304/a", PAGE) },
        Case {
            slow_clients,
            ..hit(
                "slow-clients",
                &format!("hit, 2.25 kB, {slow_clients} slow clients"),
                "/fixed/2304/s",
                PAGE,
            )
        },
        Case {
            protocol: Protocol::Http2,
            ..hit("http2", "hit, 2.25 kB, HTTP/2", "/fixed/2304/h", PAGE)
        },
        // The origin tells how many bytes have come.
        large(Case {
            exchange: Exchange::Upload(UPLOAD_BYTES),
            is_hit: false,
            ..hit("upload-1m", "pass, upload of 1 MB", "/upload/a", whole(7))
        }),
        Case {
            exchange: Exchange::Echo,
            is_hit: false,
            ..hit("websocket", "WebSocket echo, 125 B", "/echo/a", whole(0))
        },
    ]
}

/// The cases in which all are started with another way to the origin. What it costs to make a connection is not in
/// them: they are kept.
pub(crate) fn over_other_links() -> [Case; 2] {
    let pass =
        all(1, 0).into_iter().find(|case| case.id == "pass").expect("it is one of the cases");
    let over = |link, id, label: &str| Case { id, label: label.to_owned(), link, ..pass.clone() };
    [
        over(Link::Tls, "origin-tls", "pass, 2.25 kB, TLS to the origin"),
        over(Link::Http2, "origin-http2", "pass, 2.25 kB, HTTP/2 to the origin"),
    ]
}

/// The case in which all are started with a certificate. What it costs to make a connection is not in it:
/// they are kept.
pub(crate) fn over_tls() -> Case {
    let page = all(1, 0).into_iter().find(|case| case.id == "hit-2k");
    let page = page.expect("it is one of the cases");
    Case { id: "tls", label: "hit, 2.25 kB, TLS".to_owned(), protocol: Protocol::Tls, ..page }
}

fn thousands(count: usize) -> String {
    if count.is_multiple_of(1000) { format!("{}k", count / 1000) } else { count.to_string() }
}

impl Case {
    /// Who takes part. Nobody is beside the limit who asks an origin, or speaks HTTP/2 or TLS. Varnish
    /// leaves TLS and HTTP/2 to the origin to others, and switched connections to what one writes for them. nginx asks by
    /// HTTP/1.1 only.
    pub(crate) fn has(&self, who: Who) -> bool {
        match who {
            Who::Limit => self.is_hit && self.protocol == Protocol::Http1,
            Who::NginxUncached => !self.is_hit && self.link != Link::Http2,
            Who::Varnish => {
                self.protocol != Protocol::Tls
                    && self.exchange != Exchange::Echo
                    && self.link == Link::Plain
            }
            // What shares no answer would wait for its lock in vain; as a plain proxy it is at its best.
            Who::Nginx | Who::NginxSendfile => self.is_hit,
            Who::Larder | Who::Haproxy => true,
        }
    }

    fn path_of(&self, number: usize) -> String {
        match self.keys {
            None => self.path.to_owned(),
            Some(_) => format!("{}{number}", self.path),
        }
    }

    /// Brings the answers into the cache, and sees that they come as they must, from where they must.
    ///
    /// # Errors
    ///
    /// What it does instead: it takes no part in this case then.
    pub(crate) async fn prepare(
        &self,
        contestant: &Contestant,
        origin: &mut Client,
    ) -> anyhow::Result<()> {
        let address = contestant.address(self.answer);
        if self.exchange == Exchange::Echo {
            return Socket::open(address, self.path).await?.exchange().await;
        }
        let mut client = contestant.connect(self.answer).await?;
        if contestant.who != Who::Limit {
            match self.keys {
                Some(keys) => get_each(address, 0..keys, |number| self.path_of(number)).await?,
                // The whole answer, which its parts are made from.
                None => ensure!(self.ask(&mut client, &[]).await?.status == 200, "no answer"),
            }
        }
        if self.slow_clients > 0 {
            let large =
                Case { path: slow::PATH, fields: &[], answer: slow::ANSWER, ..self.clone() };
            let mut client = Client::connect(contestant.address(slow::ANSWER)).await?;
            large.settle(contestant, &mut client, origin, slow::PATH).await?;
        }
        let samples = self.keys.map_or(1, |keys| keys.min(100));
        for sample in 0..samples {
            let path = self.path_of(sample * self.keys.unwrap_or(1) / samples);
            self.settle(contestant, &mut client, origin, &path).await?;
        }
        Ok(())
    }

    /// An answer may be stored a moment after it was given.
    async fn settle(
        &self,
        contestant: &Contestant,
        client: &mut Client,
        origin: &mut Client,
        path: &str,
    ) -> anyhow::Result<()> {
        const ATTEMPTS: usize = 10;
        for _ in 0..ATTEMPTS {
            let before = calls(origin, path).await?;
            let answer = match self.exchange {
                Exchange::Upload(_) => self.ask(client, self.fields).await?,
                _ => client.get(path, self.fields).await?,
            };
            let asked = calls(origin, path).await? - before;
            let Baked { status, body_bytes } = self.answer;
            ensure!(answer.status == status, "answers {} where {status} is due", answer.status);
            ensure!(
                answer.body.len() == body_bytes,
                "sends {} B of {body_bytes}",
                answer.body.len()
            );
            if let Exchange::Upload(sent) = self.exchange {
                let told = String::from_utf8_lossy(&answer.body);
                ensure!(told == sent.to_string(), "the origin has {told} B of {sent}");
            }
            if contestant.who == Who::Limit || (asked == 0) == self.is_hit {
                return Ok(());
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        ensure!(!self.is_hit, "asks the origin each time");
        anyhow::bail!("does not ask the origin")
    }
}

impl Case {
    /// Its own request.
    async fn ask(&self, client: &mut Client, fields: &[(&str, &str)]) -> anyhow::Result<Answer> {
        match self.exchange {
            Exchange::Upload(bytes) => client.post(self.path, bytes).await,
            Exchange::Get | Exchange::Echo => client.get(self.path, fields).await,
        }
    }
}

/// How often the origin was asked for a path, or in all.
pub(crate) async fn calls(origin: &mut Client, path: &str) -> anyhow::Result<u64> {
    let answer = origin.get(&format!("/calls{path}"), &[]).await?;
    Ok(std::str::from_utf8(&answer.body)?.parse()?)
}
