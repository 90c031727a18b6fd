//! Receipt: what has been done about a purge, as it is told in JSON.

use larder::{Doubt, Receipt, Replication, Tier, TierReceipt, TierState, lower::Position};
use serde::Serialize;
use utoipa::ToSchema;

/// A [`Receipt`] as it is told.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ReceiptView {
    cache: String,
    what: String,
    mode: &'static str,
    number: u64,
    /// RFC 3339, to the millisecond.
    at: String,
    tiers: Vec<TierView>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct TierView {
    tier: &'static str,
    state: &'static str,
    /// What is purged there, where that is more than was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    what: Option<String>,
    /// In so many of the tier's parts it holds …
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<usize>,
    /// … and there are so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    of: Option<usize>,
    /// The names of parts in which it has not been said to hold; of many, some.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missing: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Where it is in the log of a shared tier that has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<PositionView>,
    /// Whether a replica of its server has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    replication: Option<&'static str>,
    /// What its server may do to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<&'static str>,
    /// Whether what is not sent yet is on disk here.
    #[serde(skip_serializing_if = "Option::is_none")]
    outbox: Option<String>,
}

/// A place in the log of purges that gateways share: whoever has done all up to there has done the purge.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct PositionView {
    /// Which log: 32 hexadecimal digits. After a loss of its end it goes on, or another one begins.
    generation: String,
    /// The number there of this purge, or of the last that was sent with it.
    number: u64,
}

impl PositionView {
    fn of(position: Position) -> Self {
        let Position { generation, number } = position;
        PositionView { generation: format!("{generation:032x}"), number }
    }
}

impl ReceiptView {
    /// What `receipt` says of a purge of the cache with this name.
    pub fn of(cache: &str, receipt: &Receipt) -> Self {
        ReceiptView {
            cache: cache.to_owned(),
            what: receipt.scope.to_string(),
            mode: receipt.mode.as_str(),
            number: receipt.number,
            at: humantime::format_rfc3339_millis(receipt.at).to_string(),
            tiers: receipt.tiers.iter().map(TierView::of).collect(),
        }
    }
}

impl TierView {
    pub(crate) fn of(receipt: &TierReceipt) -> Self {
        TierView {
            what: receipt.scope.as_ref().map(ToString::to_string),
            position: receipt.position.map(PositionView::of),
            replication: receipt.replication.map(Replication::as_str),
            server: receipt.doubt.map(Doubt::as_str),
            outbox: receipt.outbox.as_ref().map(ToString::to_string),
            ..TierView::of_state(receipt.tier, &receipt.state)
        }
    }

    /// One of which there is no more to say.
    pub(crate) fn of_state(tier: Tier, state: &TierState) -> Self {
        let view = TierView {
            tier: tier.as_str(),
            state: state.as_str(),
            what: None,
            by: None,
            of: None,
            missing: Vec::new(),
            reason: None,
            position: None,
            replication: None,
            server: None,
            outbox: None,
        };
        match state {
            TierState::Applied { by, of } => TierView { by: Some(*by), of: Some(*of), ..view },
            TierState::Lapsed { by, of, missing } => {
                let missing = missing.clone();
                TierView { by: Some(*by), of: Some(*of), missing, ..view }
            }
            TierState::Failed { reason } => TierView { reason: Some(reason.clone()), ..view },
            _ => view,
        }
    }
}
