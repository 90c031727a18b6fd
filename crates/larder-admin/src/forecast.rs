//! Forecast: what a purge would touch, without making it.

use std::{sync::Arc, time::SystemTime};

use larder::Scope;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{console::Console, managed::Managed, problem::Problem};

/// What a purge would touch.
#[derive(Serialize, ToSchema)]
pub(crate) struct Forecast {
    /// Always true: nothing was changed.
    dry_run: bool,
    would: ForecastTotals,
    /// When that was found out.
    #[schema(format = DateTime)]
    dated: String,
}

/// Entries that can still be served.
#[derive(Serialize, ToSchema)]
pub(crate) struct ForecastTotals {
    entries: u64,
    bytes: u64,
}

impl Forecast {
    /// Found out by looking at everything, or at the keys that are named.
    pub(crate) async fn of(
        console: &Console,
        caches: Vec<Arc<dyn Managed>>,
        scopes: Vec<Scope>,
    ) -> Result<Forecast, Problem> {
        let look = move || {
            let touched = caches.iter().map(|cache| cache.would_touch(&scopes));
            touched.fold((0, 0), |sum, touched| (sum.0 + touched.entries, sum.1 + touched.bytes))
        };
        let dated = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        let (entries, bytes) = console.snapshots.alone(look).await?;
        Ok(Forecast { dry_run: true, would: ForecastTotals { entries, bytes }, dated })
    }
}
