//! Own answers: what the answers get that no service made, and that leave before it is known which route their request fits.

use std::sync::Arc;

use arc_swap::ArcSwap;
use http::HeaderMap;
use larder::http::policy::answer_fields::AnswerFields;

/// The fields that they get, or lose. Clones share them. Nothing by default.
#[derive(Clone, Debug, Default)]
pub struct OwnAnswers(Arc<ArcSwap<AnswerFields>>);

impl OwnAnswers {
    /// From now on it is these.
    pub(crate) fn go_by(&self, fields: &AnswerFields) {
        self.0.store(Arc::new(fields.clone()));
    }

    pub(crate) fn change(&self, headers: &mut HeaderMap) {
        self.0.load().change_own(headers);
    }
}
