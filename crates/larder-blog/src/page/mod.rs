//! The page: static files, where to find the others, and a crowd on demand.

mod assets;
mod crowd;

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, State},
    routing::{get, post},
};
use serde::Serialize;

use crate::{page::crowd::Crowds, posts::Delay, settings::BaseUrl};

pub(crate) struct PageSettings {
    /// The backend as this process reaches it.
    pub(crate) backend: BaseUrl,
    /// The ports as a browser on this machine reaches them.
    pub(crate) backend_port: u16,
    pub(crate) console_port: u16,
    pub(crate) posts_delay: Delay,
    pub(crate) cache_enabled: bool,
    /// What a browser may call this page.
    pub(crate) origins: Vec<String>,
}

/// What the page must know before its first question.
#[derive(Clone, Debug, Serialize)]
struct Config {
    backend_port: u16,
    console_port: u16,
    posts_delay_ms: Delay,
    cache_enabled: bool,
}

const MAX_BODY_BYTES: usize = 4 << 10;

pub(crate) fn router(settings: PageSettings) -> Router {
    let config = Config {
        backend_port: settings.backend_port,
        console_port: settings.console_port,
        posts_delay_ms: settings.posts_delay,
        cache_enabled: settings.cache_enabled,
    };
    let policy = assets::Policy::new(&settings.origins);
    let crowds = Arc::new(Crowds::new(settings.backend, settings.origins));
    Router::new()
        .route("/config.json", get(async |State(config): State<Config>| Json(config)))
        .with_state(config)
        .route("/crowd", post(crowd::crowd).layer(DefaultBodyLimit::max(MAX_BODY_BYTES)))
        .with_state(crowds)
        .route(
            "/health",
            get(async || Json(serde_json::json!({"status": "healthy", "service": "page"}))),
        )
        .fallback(assets::serve)
        .with_state(policy)
}
