//! The check of one service.

use std::{
    error::Error,
    path::{Path, PathBuf},
};

use http::HeaderValue;

use super::{
    Named,
    check::{Check, bytes},
};
use crate::{
    config::{
        mistake::Mistake,
        parts::{ProtocolWord, TlsVersionWord, UpstreamPart, UpstreamTlsPart},
        value::{Count, Size, Time},
    },
    origins::Address,
    pem::PemError,
    upstream::{
        Origin, OriginTls, OriginTlsError, OriginTlsOptions, Protocol, Scheme, UpstreamConfig,
    },
};

/// Less is less than one frame, and more is more than any way between two machines holds.
const WINDOWS: std::ops::RangeInclusive<u64> = 16 << 10..=64 << 20;

/// As long as the name of a host may be: many are called by theirs.
const LONGEST_NAME: usize = 253;

impl Check<'_> {
    pub(super) fn upstream(&mut self, name: &str, part: &UpstreamPart) -> Option<Named> {
        let path = |key: &str| format!("upstream.{name}.{key}");
        self.name_of_upstream(name);
        let addresses = self.addresses(name, part);
        let origins = self.origins(name, part, addresses.as_ref().map_or(0, Vec::len));
        let usual = UpstreamConfig::default();
        let mut time = |key: &str, said: &Option<Time>| self.time(&path(key), said.as_ref());
        let connect = time("connect_timeout", &part.connect_timeout);
        let first_byte = time("first_byte_timeout", &part.first_byte_timeout);
        let idle_body = time("idle_body_timeout", &part.idle_body_timeout);
        let whole_timeout = time("whole_timeout", &part.whole_timeout);
        let wait = time("wait_timeout", &part.wait_timeout);
        let idle = time("idle_timeout", &part.idle_timeout);
        let resolve_every = time("resolve_every", &part.resolve_every);
        let ping_every = time("ping_every", &part.ping_every);
        for (key, part_of_it) in [
            ("connect_timeout", connect),
            ("first_byte_timeout", first_byte),
            ("idle_body_timeout", idle_body),
            ("wait_timeout", wait),
        ] {
            if let (Some(part_of_it), Some(whole)) = (part_of_it, whole_timeout)
                && part_of_it > whole
            {
                let shown = humantime::format_duration;
                let what = format!(
                    "{key} ({}) is above whole_timeout ({}), which ends it before",
                    shown(part_of_it),
                    shown(whole)
                );
                self.note(&path(key), what);
            }
        }
        let count = |said: Option<Count>, usual| said.map_or(usual, |count| count.0.get());
        let max_fields = count(part.max_fields, usual.max_fields);
        if max_fields > 10_000 {
            self.note(&path("max_fields"), "the most is 10000");
        }
        let config = UpstreamConfig {
            connect_timeout: connect.unwrap_or(usual.connect_timeout),
            first_byte_timeout: first_byte.unwrap_or(usual.first_byte_timeout),
            idle_body_timeout: idle_body.unwrap_or(usual.idle_body_timeout),
            whole_timeout: whole_timeout.or(usual.whole_timeout),
            wait_timeout: wait.unwrap_or(usual.wait_timeout),
            max_connections: count(part.max_connections, usual.max_connections),
            max_waiting: count(part.max_waiting, usual.max_waiting),
            max_idle: count(part.max_idle, usual.max_idle),
            idle_timeout: idle.unwrap_or(usual.idle_timeout),
            max_head_bytes: self.head(
                &path("max_head"),
                part.max_head.as_ref(),
                usual.max_head_bytes,
            ),
            max_fields,
            max_streams: count(part.max_streams, usual.max_streams),
            max_requests_per_connection: count(
                part.max_requests_per_connection,
                usual.max_requests_per_connection,
            ),
            stream_window_bytes: self.window(&path("stream_window"), part.stream_window.as_ref()),
            resolve_every: resolve_every.unwrap_or(usual.resolve_every),
            ping_every: ping_every.unwrap_or(usual.ping_every),
            host: part.host.as_ref().map(|host| {
                HeaderValue::from_str(host.0.as_str()).expect("an authority fits into a field")
            }),
            ..usual
        };
        let mut addresses = addresses?;
        for (address, place) in &mut addresses {
            address.origin = self.socket(place, address.origin.clone())?;
        }
        self.same_schemes(&addresses)?;
        let origin = addresses[0].0.origin.clone();
        let protocol = self.protocol(&path("protocol"), &origin, part.protocol);
        let tls = self.tls_of_origin(name, &origin, &part.tls, protocol);
        let config = UpstreamConfig { protocol, tls, ..config };
        let addresses = addresses.into_iter().map(|(address, _)| address).collect();
        Some(Named { name: name.to_owned(), addresses, config, origins })
    }

    /// It stands in figures and in the log.
    fn name_of_upstream(&mut self, name: &str) {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        if name.is_empty() || name.len() > LONGEST_NAME || !name.bytes().all(is_plain) {
            let what = format!(
                "[upstream.{name:?}]: a name has up to {LONGEST_NAME} letters, digits, and _ - . between them"
            );
            let place = self.places.of(&format!("upstream.{name}")).cloned();
            let mistake = Mistake::new(place, what).with_right_of("upstream");
            self.mistakes.push(mistake.at_path(&format!("upstream.{name}")));
        }
    }

    /// One set of settings holds for all addresses, and TLS is part of it.
    fn same_schemes(&mut self, addresses: &[(Address, String)]) -> Option<()> {
        let [(first, _), others @ ..] = addresses else { return None };
        let other = others.iter().find(|(other, _)| {
            (other.origin.scheme() == Scheme::Https) != (first.origin.scheme() == Scheme::Https)
        });
        let Some((other, place)) = other else { return Some(()) };
        let what = format!(
            "{} and {} are asked by one set of settings: over TLS both, or none",
            first.origin, other.origin
        );
        self.note(place, what);
        None
    }

    /// The path of a socket counts from the folder of the file in which it stands.
    fn socket(&mut self, path: &str, origin: Origin) -> Option<Origin> {
        let folder = self.places.resolve(path, Path::new(""));
        origin.within(&folder).map_err(|error| self.note(path, error.to_string())).ok()
    }

    fn window(&mut self, path: &str, said: Option<&Size>) -> u32 {
        let usual = UpstreamConfig::default().stream_window_bytes;
        let Some(size) = said else { return usual };
        if !WINDOWS.contains(&size.0.as_u64()) {
            self.note(path, "say something from 16KiB to 64MiB");
        }
        u32::try_from(bytes(size)).unwrap_or(usual)
    }

    fn protocol(&mut self, path: &str, origin: &Origin, said: Option<ProtocolWord>) -> Protocol {
        match said {
            None | Some(ProtocolWord::Auto) => Protocol::Auto,
            Some(ProtocolWord::Http2) => Protocol::Http2,
            Some(ProtocolWord::Http1) => {
                if origin.scheme() == Scheme::H2c {
                    let what =
                        format!("{origin} is HTTP/2 by its scheme: say http:// for HTTP/1.1");
                    self.note(path, what);
                }
                Protocol::Http1
            }
        }
    }

    fn tls_of_origin(
        &mut self,
        name: &str,
        origin: &Origin,
        part: &UpstreamTlsPart,
        protocol: Protocol,
    ) -> Option<OriginTls> {
        let path = |key: &str| format!("upstream.{name}.tls.{key}");
        let UpstreamTlsPart {
            ca_file,
            server_name,
            client_certificate,
            client_key,
            min_version,
            verify,
        } = part;
        if origin.scheme() != Scheme::Https {
            let said = [
                ("ca_file", ca_file.is_some()),
                ("server_name", server_name.is_some()),
                ("client_certificate", client_certificate.is_some()),
                ("client_key", client_key.is_some()),
                ("min_version", min_version.is_some()),
                ("verify", verify.is_some()),
            ];
            if let Some((key, _)) = said.iter().find(|(_, is_said)| *is_said) {
                let what = format!("{key} says nothing of {origin}: there is TLS at https:// only");
                self.note(&path(key), what);
            }
            return None;
        }
        let verify = verify.unwrap_or(true);
        if !verify {
            if ca_file.is_some() {
                self.note(&path("ca_file"), "ca_file says nothing where verify = false");
            }
            let what = format!(
                "verify = false: anybody between here and {origin} can read and change what passes. Name what vouches \
                 for it instead (ca_file)"
            );
            let place = self.places.of(&path("verify")).cloned();
            self.doubts.push(Mistake::new(place, what));
        }
        let client = match (client_certificate, client_key) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some((
                self.places.resolve(&path("client_certificate"), certificate),
                self.places.resolve(&path("client_key"), key),
            )),
            (Some(_), None) => {
                let what = "client_certificate is of no use without client_key";
                self.note(&path("client_certificate"), what);
                return None;
            }
            (None, Some(_)) => {
                let what = "client_key is of no use without client_certificate";
                self.note(&path("client_key"), what);
                return None;
            }
        };
        let ca_file = ca_file.as_ref().map(|file| self.places.resolve(&path("ca_file"), file));
        let options = OriginTlsOptions {
            ca_file,
            client,
            server_name: server_name.clone(),
            only_tls13: *min_version == Some(TlsVersionWord::Tls13),
            verify,
            protocol,
        };
        let tls = OriginTls::new(&options);
        let noted = tls.map_err(|error| {
            let is_of = |file: Option<&PathBuf>, error: &PemError| {
                file.is_some_and(|file| file == error.file())
            };
            let client = options.client.as_ref();
            let key = match &error {
                OriginTlsError::ServerName(_) => "server_name",
                OriginTlsError::Pem(error) if is_of(client.map(|(file, _)| file), error) => {
                    "client_certificate"
                }
                OriginTlsError::Pem(error) if is_of(client.map(|(_, key)| key), error) => {
                    "client_key"
                }
                OriginTlsError::Client { .. } => "client_certificate",
                _ => "ca_file",
            };
            let mut what = error.to_string();
            let mut cause = error.source();
            while let Some(error) = cause {
                what += &format!("\n  because: {error}");
                cause = error.source();
            }
            self.note(&path(key), what);
        });
        noted.ok()
    }
}
