//! The check of the admin API: where it may be, and who is let in.

use std::path::PathBuf;

use larder_admin::access::Token;

use super::{
    Secrets,
    check::{Check, first_line},
};
use crate::{
    Tls,
    config::{mistake::Mistake, parts::AdminPart},
};

/// Who is let in to the admin API, and how it is spoken to.
#[derive(Clone, Debug, Default)]
pub struct AdminAccess {
    /// What those who read show.
    pub read: Option<Token>,
    /// What those who change anything show.
    pub write: Option<Token>,
    /// By which names it may be called.
    pub hosts: Vec<String>,
    /// In the open without.
    pub tls: Option<Tls>,
    /// Whether crowds may be sent by it.
    pub stage: bool,
}

impl Check<'_> {
    pub(super) fn admin(&mut self, part: &AdminPart, secrets: &Secrets) -> AdminAccess {
        let read = self.token(
            "admin.read_token_file",
            part.read_token_file.as_ref(),
            secrets.admin_read_token.as_deref(),
        );
        let write = self.token(
            "admin.write_token_file",
            part.write_token_file.as_ref(),
            secrets.admin_write_token.as_deref(),
        );
        if let (Some(read), Some(write)) = (&read, &write)
            && read == write
        {
            let what =
                "the tokens for reading and for writing are the same: who may read may change all";
            let place = self.places.of("admin.write_token_file").cloned();
            self.doubts.push(Mistake::new(place, what));
        }
        let is_encrypted = part.tls.certificate.is_some() || part.tls.key.is_some();
        let tls = is_encrypted.then(|| self.pair("admin.tls", &part.tls)).flatten();
        let tls = tls.and_then(|pair| Tls::from_pem_files(&pair.certificate, &pair.key).ok());
        let is_host = |host: &str| !host.is_empty() && !host.contains([':', '/', '*', ' ', '[']);
        if let Some(host) = part.allowed_hosts.iter().find(|host| !is_host(host)) {
            let what = format!("{host:?}: say names alone, without scheme, port or star");
            self.note("admin.allowed_hosts", what);
        }
        let mut hosts = part.allowed_hosts.clone();
        if let Some(address) = part.listen.as_ref().map(|listen| listen.0) {
            if !address.ip().is_loopback() {
                self.beyond_loopback(part, [&read, &write].map(Option::is_some), is_encrypted);
            }
            if !address.ip().is_unspecified() {
                hosts.push(address.ip().to_string());
            }
        }
        AdminAccess { read, write, hosts, tls, stage: part.stage }
    }

    fn token(&mut self, path: &str, file: Option<&PathBuf>, said: Option<&str>) -> Option<Token> {
        let of_file = file.and_then(|file| {
            let read = first_line(&self.places.resolve(path, file));
            read.map_err(|what| self.note(path, what)).ok()
        });
        let token = said.filter(|token| !token.is_empty()).or(of_file.as_deref());
        self.doubt_of_token(path, token);
        token.and_then(Token::new)
    }

    /// Other machines can reach it.
    fn beyond_loopback(&mut self, part: &AdminPart, has_tokens: [bool; 2], is_encrypted: bool) {
        let address = part.listen.as_ref().map(|listen| listen.0.to_string()).unwrap_or_default();
        let listen = format!("{} {address}", self.places.name("admin.listen"));
        if has_tokens != [true, true] {
            let what = format!(
                "{listen} is not a loopback address: set read_token_file and write_token_file, or use 127.0.0.1"
            );
            self.note("admin.listen", what);
        }
        if !is_encrypted && !part.insecure {
            let what = format!(
                "{listen} would have tokens go over the network in the open: set [admin.tls], say insecure = true, \
                 or use 127.0.0.1"
            );
            self.note("admin.listen", what);
        }
    }
}
