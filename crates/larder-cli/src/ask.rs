//! Ask: one question to the admin API of a gateway that runs.

use std::{path::PathBuf, time::Duration};

use bytes::Bytes;
use clap::Args;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use larder_gateway::{
    config::address,
    upstream::{
        Origin, OriginTls, OriginTlsError, OriginTlsOptions, Scheme, Upstream, UpstreamConfig,
        UpstreamError,
    },
};
use serde_json::Value;
use tokio::{runtime::Builder, time::timeout};
use tower::Service;

/// Longer answers are none of the admin API's.
const MAX_BODY_BYTES: usize = 16 << 20;

/// What was asked is no question, or nothing that can be done.
const NOT_UNDERSTOOD: [StatusCode; 2] = [StatusCode::BAD_REQUEST, StatusCode::UNPROCESSABLE_ENTITY];

/// Where the admin API is, and what it asks for.
#[derive(Debug, Args)]
pub(crate) struct Where {
    /// Where the admin API is: an address, or a URL (https://host:9191)
    #[arg(long, value_name = "ADDRESS", env = "LARDER_ADMIN", default_value = "127.0.0.1:9191", value_parser = admin)]
    admin: Origin,
    /// A file with the token in its first line, where the admin API asks for one; or the variable LARDER_ADMIN_TOKEN
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// For https:// with a certificate of one's own: a PEM file with those that vouch for it
    #[arg(long, visible_alias = "cacert", value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error("cannot read the token in {}", file.display())]
    Token { file: PathBuf, source: std::io::Error },
    #[error("the token can be no header: it is one line of text")]
    TokenText,
    #[error("TLS cannot be spoken to {admin}")]
    Tls { admin: Origin, source: Box<OriginTlsError> },
    #[error(
        "no gateway answers at {admin}: `larder serve` does if it runs with --admin, or with [admin] in its file"
    )]
    NoAdmin { admin: Origin, source: Box<UpstreamError> },
    #[error("{admin} gave no answer")]
    NoAnswer { admin: Origin, source: Box<UpstreamError> },
    #[error("{admin} gave no answer within {within:?}")]
    Timeout { admin: Origin, within: Duration },
    #[error("{admin} wants a token: say --token-file, or set LARDER_ADMIN_TOKEN ({detail})")]
    NoToken { admin: Origin, detail: String },
    #[error("{admin} refuses: {detail} ({status})")]
    Refused { admin: Origin, status: StatusCode, detail: String },
    #[error("what answers at {admin} is no admin API of Larder ({status})")]
    Foreign { admin: Origin, status: StatusCode },
    #[error("cannot ask")]
    Start(#[source] std::io::Error),
}

impl AskError {
    /// 2: it was asked for wrongly. 1: it is not done, or nobody could tell.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            AskError::Token { .. } | AskError::TokenText | AskError::Tls { .. } => 2,
            AskError::Refused { status, .. } if NOT_UNDERSTOOD.contains(status) => 2,
            _ => 1,
        }
    }
}

/// An address of this machine's network in the open, or the URL of one.
pub(crate) fn admin(text: &str) -> Result<Origin, String> {
    if text.contains("://") {
        let origin =
            text.trim_end_matches('/').parse::<Origin>().map_err(|error| error.to_string())?;
        return match origin.scheme() {
            Scheme::Http | Scheme::Https => Ok(origin),
            _ => Err("say http:// or https://".to_owned()),
        };
    }
    let address = address::listen(text)?;
    // Without the zone that an IPv6 address may have here: no URL has one.
    let url = format!("http://{}", std::net::SocketAddr::new(address.ip(), address.port()));
    url.parse().map_err(|error| format!("{error}"))
}

impl Where {
    /// Who is asked.
    pub(crate) fn place(&self) -> &Origin {
        &self.admin
    }

    /// It answers, and says nothing that this understands.
    pub(crate) fn foreign(&self) -> AskError {
        AskError::Foreign { admin: self.admin.clone(), status: StatusCode::OK }
    }

    /// The answer to `body`, or to a GET without one.
    pub(crate) fn ask(
        &self,
        path: &str,
        body: Option<&Value>,
        within: Duration,
    ) -> Result<Value, AskError> {
        let token = self.token()?;
        let (admin, ca_file) = (self.admin.clone(), self.ca_file.clone());
        let tls = match admin.scheme() {
            Scheme::Https => {
                let options = OriginTlsOptions { ca_file, ..OriginTlsOptions::default() };
                let tls = OriginTls::new(&options);
                let failed =
                    |source| AskError::Tls { admin: admin.clone(), source: Box::new(source) };
                Some(tls.map_err(failed)?)
            }
            _ => None,
        };
        let mut request = Request::new(Full::new(Bytes::new()));
        *request.uri_mut() = format!("{admin}{path}").parse().expect("an origin and a path");
        if let Some(body) = body {
            *request.method_mut() = Method::POST;
            *request.body_mut() = Full::new(body.to_string().into());
            let json = HeaderValue::from_static("application/json");
            request.headers_mut().insert(header::CONTENT_TYPE, json);
        }
        if let Some(token) = token {
            let field = HeaderValue::try_from(format!("Bearer {token}"));
            let mut field = field.map_err(|_| AskError::TokenText)?;
            field.set_sensitive(true);
            request.headers_mut().insert(header::AUTHORIZATION, field);
        }
        let runtime =
            Builder::new_current_thread().enable_all().build().map_err(AskError::Start)?;
        let config = UpstreamConfig { tls, ..UpstreamConfig::default() };
        let upstream = Upstream::new(admin.clone(), config);
        let asking = async { timeout(within, told(upstream, request, &admin)).await };
        let asked = runtime.block_on(asking);
        asked.unwrap_or(Err(AskError::Timeout { admin, within }))
    }

    fn token(&self) -> Result<Option<String>, AskError> {
        let Some(file) = &self.token_file else {
            let said = std::env::var("LARDER_ADMIN_TOKEN").ok();
            return Ok(said.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty()));
        };
        let text = std::fs::read_to_string(file);
        let text = text.map_err(|source| AskError::Token { file: file.clone(), source })?;
        Ok(text.lines().next().map(|line| line.trim().to_owned()))
    }
}

async fn told(
    mut upstream: Upstream,
    request: Request<Full<Bytes>>,
    admin: &Origin,
) -> Result<Value, AskError> {
    let answer = upstream.call(request).await.map_err(|error| {
        let (admin, source) = (admin.clone(), Box::new(error));
        match source.is_before_sending() {
            true => AskError::NoAdmin { admin, source },
            false => AskError::NoAnswer { admin, source },
        }
    })?;
    let status = answer.status();
    let foreign = || AskError::Foreign { admin: admin.clone(), status };
    let body = Limited::new(answer.into_body(), MAX_BODY_BYTES).collect().await;
    let body = body.map_err(|_| foreign())?.to_bytes();
    let said: Value = serde_json::from_slice(&body).map_err(|_| foreign())?;
    if status.is_success() {
        return Ok(said);
    }
    let admin = admin.clone();
    let detail = said["detail"].as_str().unwrap_or_default().to_owned();
    Err(match status {
        StatusCode::UNAUTHORIZED => AskError::NoToken { admin, detail },
        _ => AskError::Refused { admin, status, detail },
    })
}
