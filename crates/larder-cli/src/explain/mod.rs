//! `larder explain`: why a gateway that runs answers a request as it does.

mod curl;
mod tree;

use std::{
    fs,
    io::{self, IsTerminal, stdout},
    net::IpAddr,
    path::PathBuf,
    time::Duration,
};

use clap::Args;
use http::{HeaderName, HeaderValue, Method};
use serde_json::{Value, json};

use self::{
    curl::Pasted,
    tree::{Colours, comparison, past, tree},
};
use crate::{
    ask::{AskError, Where},
    check::field,
};

/// A shared tier may be asked, and all that is stored looked at.
const BUDGET: Duration = Duration::from_secs(15);

/// Tells what would become of a request, by way of the admin API.
#[derive(Debug, Args)]
#[command(after_help = "\
Nothing changes by it: no service is asked, nothing counts as read, nothing is refreshed.

Exit codes: 0 it has answered, 1 it has not, 2 wrong usage, or a policy file with mistakes.

Examples, with a gateway that was started with --admin 127.0.0.1:9191:
  larder explain https://example.org/posts/1
  larder explain https://example.org/posts/1 -H 'accept-encoding: br' -H 'cookie: lang=de'
  larder explain https://example.org/posts/1 --policy-file new.toml    what it would be by that file
  larder explain -- curl -H 'accept: text/html' https://example.org/   a line as a browser copies it
  larder explain --request 9f86d081884c7d659a2feaa0c55ad015            of the past: its answer's Larder-Request")]
pub(crate) struct Explain {
    /// The whole URL, as readers ask for it
    #[arg(required_unless_present_any = ["curl", "request"], conflicts_with_all = ["curl", "request"])]
    url: Option<String>,
    /// A header field of the request, as often as there are some
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = field, conflicts_with_all = ["curl", "request"])]
    fields: Vec<(HeaderName, HeaderValue)>,
    /// The method of the request: usually GET
    #[arg(short = 'X', long, value_name = "METHOD", conflicts_with_all = ["curl", "request"])]
    method: Option<Method>,
    /// The address of who asks, where trusted_readers tells readers apart
    #[arg(long, value_name = "ADDRESS")]
    client: Option<IpAddr>,
    /// Another larder.toml: what would become of the same request by its routes and rules. Nothing that it names is opened
    #[arg(long, value_name = "FILE", conflicts_with = "request")]
    policy_file: Option<PathBuf>,
    /// What has become of the request whose answer had this id in Larder-Request
    #[arg(long, value_name = "ID", conflicts_with = "curl")]
    request: Option<String>,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: Where,
    /// A line for curl, as browsers copy it: URL, fields, method and cookies are taken from it
    #[arg(last = true, value_name = "curl ...")]
    curl: Vec<String>,
}

/// Why nothing is explained.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExplainError {
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error("cannot read {}", file.display())]
    Policy { file: PathBuf, source: io::Error },
    #[error("{0}")]
    Curl(String),
}

impl ExplainError {
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            ExplainError::Ask(error) => error.exit_code(),
            ExplainError::Policy { .. } | ExplainError::Curl(_) => 2,
        }
    }
}

impl Explain {
    /// What to print.
    pub(crate) fn run(self) -> Result<String, ExplainError> {
        let colours = Colours::on(stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none());
        if let Some(id) = &self.request {
            // What can be no id is none, and stays one part of a path.
            let id: String = id.chars().filter(char::is_ascii_alphanumeric).collect();
            let said = self.admin.ask(&format!("/v1/requests/{id}"), None, BUDGET)?;
            return Ok(if self.json { format!("{said}\n") } else { past(&said, colours) });
        }
        let policy_file = self.policy_file.clone();
        let (question, admin, is_json) = self.question()?;
        let mut said = admin.ask("/v1/explain", Some(&question), BUDGET)?;
        if is_json {
            return Ok(format!("{said}\n"));
        }
        let mut text = tree(&said, colours);
        if let Some(file) = policy_file {
            let name = file.display().to_string();
            named(&mut said["with_policy"], &name);
            text += &comparison(&said, &name, colours);
        }
        Ok(text)
    }

    /// What to ask, and of whom.
    fn question(self) -> Result<(Value, Where, bool), ExplainError> {
        let Explain {
            url, fields, method, client, policy_file, json: is_json, admin, curl, ..
        } = self;
        let Pasted { url, method, fields, left_out } = match url {
            Some(url) => {
                let fields = fields.iter().map(|(name, value)| {
                    (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
                });
                let method = method.as_ref().map_or("GET", Method::as_str).to_owned();
                Pasted { url, method, fields: fields.collect(), left_out: Vec::new() }
            }
            None => curl::read(curl).map_err(ExplainError::Curl)?,
        };
        for what in left_out {
            eprintln!("larder: not looked at: {what}");
        }
        let mut question = json!({ "url": url, "method": method, "headers": fields });
        if let Some(client) = client {
            question["client"] = client.to_string().into();
        }
        if let Some(file) = policy_file {
            let text = fs::read_to_string(&file);
            let text = text.map_err(|source| ExplainError::Policy { file, source })?;
            question["policy"] = text.into();
        }
        Ok((question, admin, is_json))
    }
}

/// Lines of the other file have its name: the gateway was sent its text alone.
fn named(told: &mut Value, file: &str) {
    let name = |line: &mut Value| {
        if let Some(number) = line.as_str().and_then(|line| line.strip_prefix("policy:")) {
            *line = format!("{file}:{number}").into();
        }
    };
    let Some(route) = told.get_mut("route") else { return };
    route.get_mut("line").into_iter().for_each(name);
    let rules = route.get_mut("rules").and_then(Value::as_array_mut).into_iter().flatten();
    rules.filter_map(|rule| rule.get_mut("line")).for_each(name);
}
