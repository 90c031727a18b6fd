//! nginx: its configuration as a `larder.toml`.
//!
//! 1. `files` reads the file with all that it includes; `syntax` takes the texts apart.
//! 2. `servers` finds out which `server` blocks can stand in one file, and for which hosts each is; `listeners` where they
//!    listen.
//! 3. `locations` brings the locations of each into the order in which the first that fits is the one that nginx takes.
//! 4. `routes` says who answers each (`services`), and what is stored of the answers (`caching`).
//! 5. `scope` has kept what became of each directive; `fates` tells of those that nothing has looked at.
//!
//! What nginx keeps closed stays closed: a location that is guarded, or that nginx answers by itself, is a route to a service
//! that nobody is.

mod bounds;
mod caching;
mod fates;
mod files;
mod listeners;
mod locations;
mod purging;
mod routes;
mod scope;
mod servers;
mod services;
mod syntax;
mod units;

use std::{env, path::Path};

pub(crate) use self::syntax::Wrong;
use self::{
    scope::{Ledger, Scope},
    services::{NOWHERE, Services},
    syntax::Directive,
};
use super::{
    Imported,
    written::{Table, comment_lines, quoted},
};

/// Reads a file, and what it includes.
///
/// # Errors
///
/// Where the file cannot be read, or is no configuration by its syntax.
pub(super) fn import(file: &Path) -> Result<Imported, Wrong> {
    let (directives, missing) = files::read(file)?;
    let folder = file.parent().unwrap_or(Path::new(""));
    let folder = env::current_dir().map_or_else(|_| folder.to_owned(), |here| here.join(folder));
    Ok(of(&directives, missing, file, &folder))
}

fn of(directives: &[Directive], missing: files::Missing, file: &Path, folder: &Path) -> Imported {
    let mut ledger = Ledger::default();
    for one in directives {
        of_include(one, &missing, &mut ledger);
    }
    // A file of sites-enabled is what stands in `http`.
    let top = Scope(vec![directives]);
    let http =
        directives.iter().find(|one| one.name == "http").map(|http| top.within(http.block()));
    let http = http.unwrap_or(top);
    let servers = servers::of(&http, &mut ledger);
    let servers = servers::one_group(servers, &mut ledger);
    let mut tables = listeners::tables(&servers, &http, folder, &mut ledger);
    let serving: Vec<_> = servers.into_iter().filter(|server| server.redirect.is_none()).collect();
    let mut services = Services::new(&http, folder, &mut ledger);
    let mut routes = Vec::new();
    let mut has_rest = serving.is_empty();
    for (host, server) in servers::by_host(&serving, &mut ledger) {
        let (own, is_closed) =
            routes::of(server, host.as_deref(), &http, &mut services, &mut ledger);
        routes.extend(own);
        has_rest |= host.is_none() && is_closed;
    }
    services.unused(&mut ledger);
    tables.extend(caching::memory(&http, &mut ledger));
    tables.extend(purging::table(http.own(), &mut ledger));
    fates::of_the_rest(directives, &mut ledger);
    let notes = ledger.notes();

    tables.extend(services.tables().cloned());
    tables.push(services::nowhere());
    let mut defaults = Table::new("[defaults]");
    let rest = if has_rest { NOWHERE } else { services.first().unwrap_or(NOWHERE) };
    defaults.row("upstream", quoted(rest));
    defaults.comment("nginx hands on no upgrade of a connection but where it is said.");
    defaults.row("upgrades", "[]");
    tables.push(defaults);
    let mut toml = format!("# From {}, by `larder import nginx`.\n", file.display())
        .replace(|c: char| c.is_control() && c != '\n', "?");
    comment_lines(HEAD, &mut toml);
    if !notes.is_empty() {
        comment_lines("\nNot as it was, by file and line:", &mut toml);
        for note in &notes {
            comment_lines(&format!("- {note}"), &mut toml);
        }
    }
    for table in tables.iter().chain(&routes) {
        table.write(&mut toml);
    }
    Imported { toml, notes }
}

const HEAD: &str = "\
Look through it before it runs: docs/from-nginx.md says what is otherwise here. Of the paths, /api/** is /api as well.";

fn of_include(one: &Directive, missing: &[(usize, String)], ledger: &mut Ledger) {
    if one.name == "include" {
        ledger.carry(one);
        for (_, why) in missing.iter().filter(|(number, _)| *number == one.number) {
            ledger.note(one, why.clone());
        }
    }
    one.block().iter().for_each(|inner| of_include(inner, missing, ledger));
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use larder_gateway::config::{self, Secrets, Settings};
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;

    fn imported(text: &str) -> Result<Imported, Wrong> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("nginx.conf");
        fs::write(&file, text).unwrap();
        import(&file)
    }

    /// What is wrong with it.
    fn mistakes(toml: &str) -> String {
        let read = config::read(Path::new("larder.toml"), toml);
        match read {
            Ok((config, places)) => match Settings::of(&config, &places, Secrets::default()) {
                Ok(_) => String::new(),
                Err(mistakes) => mistakes.iter().map(|mistake| format!("{mistake}\n")).collect(),
            },
            Err(mistakes) => mistakes.to_string(),
        }
    }

    const NAMES: &[&str] = &[
        "listen",
        "server_name",
        "proxy_pass",
        "proxy_cache",
        "proxy_cache_valid",
        "proxy_cache_key",
        "proxy_cache_bypass",
        "proxy_no_cache",
        "proxy_cache_use_stale",
        "proxy_cache_background_update",
        "proxy_ignore_headers",
        "proxy_hide_header",
        "add_header",
        "proxy_set_header",
        "proxy_connect_timeout",
        "proxy_read_timeout",
        "proxy_next_upstream",
        "proxy_next_upstream_tries",
        "gzip",
        "gzip_types",
        "gzip_min_length",
        "set_real_ip_from",
        "real_ip_header",
        "return",
        "ssl",
        "ssl_certificate",
        "ssl_certificate_key",
        "ssl_protocols",
        "set",
        "deny",
        "auth_basic",
        "try_files",
        "server",
        "keepalive",
        "least_conn",
        "default",
        "limit_except",
        "proxy_cache_path",
        "internal",
        "proxy_ssl_name",
        "proxy_ssl_trusted_certificate",
        "proxy_ssl_protocols",
        "client_max_body_size",
        "client_body_timeout",
        "keepalive_timeout",
        "keepalive_requests",
        "limit_conn",
        "limit_conn_zone",
        "limit_req",
        "limit_req_zone",
        "proxy_cache_purge",
        "if",
    ];

    const WORDS: &[&str] = &[
        "on",
        "off",
        "80",
        "443",
        "ssl",
        "[::]:80",
        "127.0.0.1:80",
        "9191",
        "unix:/run/a.sock",
        "proxy_protocol",
        "default_server",
        "a.test",
        "*.a.test",
        ".b.test",
        "_",
        "~^x$",
        "http://a:1",
        "http://b/",
        "https://a/v2/",
        "http://pool",
        "http://unix:/x:/y/",
        "http://$host",
        "http://a:99999",
        "pool",
        "zone",
        "any",
        "200",
        "404",
        "999",
        "10m",
        "0",
        "1s",
        "99y",
        "$uri",
        "$request_uri",
        "$cookie_a",
        "$arg_b",
        "$http_c",
        "$http_host",
        "$x",
        "$http_x_forwarded_for",
        "$http_connection",
        "updating",
        "error",
        "http_500",
        "timeout",
        "Set-Cookie",
        "Cache-Control",
        "Vary",
        "X-A",
        "Host",
        "Age",
        "\"quoted; {}\"",
        "text/css",
        "*",
        "10k",
        "99g",
        "10.0.0.0/8",
        "unix:",
        "301",
        "https://$host$request_uri",
        "TLSv1.3",
        "weight=5",
        "backup",
        "down",
        "max_fails=0",
        "fail_timeout=5s",
        "max_conns=0",
        "keys_zone=zone:1m",
        "inactive=0",
        "max_size=1m",
        "zone=zone:1m",
        "zone=zone",
        "rate=5r/s",
        "rate=99999999999r/s",
        "burst=4294967295",
        "$binary_remote_addr",
        "PURGE",
        "from",
        "0.0.0.0/0",
        "Upgrade",
        "$http_upgrade",
        "-1",
        "1",
        "\"\"",
        "@named",
        "~",
        "=",
        "^~",
        "/",
        "/a",
        "/a/",
        "/a/../b/",
        "'/{id}/'",
        "\\.php$",
        "(?!x)",
        "[",
        "GET",
        "HEAD",
        "get",
        "\u{1f4a9}",
        "a\u{7f}b",
    ];

    const PATHS: &[&str] = &[
        "/",
        "/a/",
        "/a",
        "= /a",
        "= /",
        "^~ /a/",
        "^~ /",
        "~ \\.php$",
        "~* ^/x",
        "/a/b/",
        "@named",
        "/*/",
        "'/a b/'",
        "~ (",
        "~ ^",
        "",
    ];

    fn lines(most: usize) -> impl Strategy<Value = String> {
        let line = (select(NAMES), vec(select(WORDS), 0..4), any::<bool>()).prop_map(
            |(name, words, has_block)| {
                let end = if name == "if" || (has_block && name == "limit_except") {
                    "{ deny all; set $x 1; }"
                } else {
                    ";"
                };
                format!("{name} {} {end}\n", words.join(" "))
            },
        );
        vec(line, 0..most).prop_map(|lines| lines.concat())
    }

    fn files() -> impl Strategy<Value = String> {
        let location = (select(PATHS), lines(8))
            .prop_map(|(path, lines)| format!("location {path} {{\n{lines}}}\n"));
        let passing = select(PATHS).prop_map(|path| {
            format!("location {path} {{ proxy_pass http://pool; proxy_cache zone; proxy_cache_valid 1m; }}\n")
        });
        let locations = vec(prop_oneof![location, passing], 0..6).prop_map(|all| all.concat());
        let server = (lines(6), locations)
            .prop_map(|(lines, locations)| format!("server {{\n{lines}{locations}}}\n"));
        let servers = vec(server, 0..4).prop_map(|all| all.concat());
        (lines(5), lines(5), servers).prop_map(|(http, pool, servers)| {
            format!("http {{\n{http}upstream pool {{\nserver 10.0.0.1;\n{pool}}}\n{servers}}}\n")
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_it_is_made_of_it_passes_and_each_line_is_told(text in files()) {
            let imported = imported(&text).unwrap();
            let mistakes = mistakes(&imported.toml);
            prop_assert!(mistakes.is_empty(), "{mistakes}\n{}\n{text}", imported.toml);
        }

        #[test]
        fn no_text_is_too_odd(text in "[a-z{};\"'\\\\$#\n \\PC]{0,200}") {
            if let Ok(imported) = imported(&text) {
                prop_assert_eq!(mistakes(&imported.toml), "");
            }
        }
    }
}
