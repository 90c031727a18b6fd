//! Retry: whether a request may be sent to another address. Pure.

use http::StatusCode;

use super::{
    config::{Cause, RetryConfig},
    failure::Failure,
};

/// What is known once an address has failed a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome {
    pub(super) failure: Failure,
    /// If there was an answer.
    pub(super) status: Option<StatusCode>,
    /// The address got it twice already, because a kept connection was closed: a third time does not help.
    pub(super) was_repeated: bool,
    /// It went there to find out whether the address is back.
    pub(super) was_probe: bool,
    /// So often it was sent.
    pub(super) attempts: u32,
    /// Its whole time is over.
    pub(super) is_late: bool,
    pub(super) request: Nature,
}

/// What a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Nature {
    /// Idempotent and without content: an address may have done what it asks for, and no harm comes of it.
    pub(super) can_repeat: bool,
    /// None of its content was read.
    pub(super) is_untouched: bool,
    /// Its reader was sent an interim answer.
    pub(super) was_answered: bool,
}

/// Whether it may, as far as the request and what has happened are concerned.
pub(super) fn may_retry(outcome: &Outcome, config: &RetryConfig) -> bool {
    let Outcome { failure, request, .. } = *outcome;
    if outcome.attempts >= config.attempts || outcome.is_late || request.was_answered {
        return false;
    }
    let is_wanted = |cause| config.on.has(cause) || outcome.was_probe;
    match failure {
        Failure::Connect => request.is_untouched && is_wanted(Cause::Connect),
        Failure::Reset => request.can_repeat && !outcome.was_repeated && is_wanted(Cause::Reset),
        Failure::Timeout => request.can_repeat && is_wanted(Cause::Timeout),
        Failure::Status => {
            let is_wanted = outcome.status.is_some_and(|status| config.on.status(status));
            request.can_repeat && (is_wanted || outcome.was_probe)
        }
        Failure::Protocol | Failure::Body => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: Nature = Nature { can_repeat: true, is_untouched: true, was_answered: false };
    const POST: Nature = Nature { can_repeat: false, ..GET };
    const POST_BEGUN: Nature = Nature { is_untouched: false, ..POST };

    fn after(failure: Failure, request: Nature) -> Outcome {
        let status = (failure == Failure::Status).then_some(StatusCode::SERVICE_UNAVAILABLE);
        Outcome {
            failure,
            status,
            was_repeated: false,
            was_probe: false,
            attempts: 1,
            is_late: false,
            request,
        }
    }

    #[test]
    fn what_may_have_been_done_is_sent_again_only_where_that_does_no_harm() {
        let on = [Cause::Timeout, Cause::Unavailable];
        let usual = RetryConfig::default();
        let more =
            RetryConfig { on: on.into_iter().fold(usual.on, |on, cause| on.with(cause)), ..usual };
        for (failure, config, get, post, post_begun) in [
            (Failure::Connect, usual, true, true, false),
            (Failure::Reset, usual, true, false, false),
            (Failure::Timeout, usual, false, false, false),
            (Failure::Timeout, more, true, false, false),
            (Failure::Status, usual, false, false, false),
            (Failure::Status, more, true, false, false),
            (Failure::Protocol, more, false, false, false),
            (Failure::Body, more, false, false, false),
        ] {
            for (request, may) in [(GET, get), (POST, post), (POST_BEGUN, post_begun)] {
                let outcome = after(failure, request);
                assert_eq!(may_retry(&outcome, &config), may, "{outcome:?}");
            }
        }
    }

    #[test]
    fn nothing_is_sent_again_once_its_reader_has_a_byte_or_its_time_is_over_or_it_was_often_enough()
    {
        let config = RetryConfig::default();
        let fine = after(Failure::Reset, GET);
        assert!(may_retry(&fine, &config));
        let answered = Nature { was_answered: true, ..GET };
        for outcome in [
            Outcome { request: answered, ..fine },
            Outcome { is_late: true, ..fine },
            Outcome { attempts: 3, ..fine },
            Outcome { was_repeated: true, ..fine },
        ] {
            assert!(!may_retry(&outcome, &config), "{outcome:?}");
        }
    }

    #[test]
    fn a_request_that_only_tried_an_address_goes_elsewhere_whatever_came_of_it() {
        let config = RetryConfig::default();
        for failure in [Failure::Connect, Failure::Reset, Failure::Timeout, Failure::Status] {
            assert!(may_retry(&Outcome { was_probe: true, ..after(failure, GET) }, &config));
        }
    }
}
