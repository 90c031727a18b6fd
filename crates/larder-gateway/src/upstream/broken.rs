//! Broken: what ended an exchange before its end.

use std::{error::Error, fmt};

/// Told by whichever version of HTTP it was, or by the request's own content.
#[derive(Debug)]
pub(super) enum Broken {
    Http1(hyper::Error),
    Http2(h2::Error),
    Upload(Box<dyn Error + Send + Sync>),
}

impl Broken {
    /// As the source of another error.
    pub(super) fn into_source(self) -> Box<dyn Error + Send + Sync> {
        match self {
            Broken::Http1(error) => error.into(),
            Broken::Http2(error) => error.into(),
            Broken::Upload(error) => error,
        }
    }

    /// What is said of the request's content by its sender.
    pub(super) fn is_upload(&self) -> bool {
        match self {
            Broken::Http1(error) => error.is_user(),
            Broken::Http2(_) => false,
            Broken::Upload(_) => true,
        }
    }

    /// The origin does not keep to HTTP.
    pub(super) fn is_protocol(&self) -> bool {
        match self {
            Broken::Http1(error) => error.is_parse(),
            Broken::Http2(error) => error.is_library(),
            Broken::Upload(_) => false,
        }
    }

    /// The origin has reset the request's stream, and said nothing else.
    pub(super) fn is_reset(&self) -> bool {
        matches!(self, Broken::Http2(error) if error.is_reset() && error.is_remote())
    }

    /// A head is larger than it may be.
    pub(super) fn is_too_large(&self) -> bool {
        matches!(self, Broken::Http1(error) if error.is_parse_too_large())
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Broken::Http1(error) => error.fmt(f),
            Broken::Http2(error) => error.fmt(f),
            Broken::Upload(error) => error.fmt(f),
        }
    }
}
