//! Scheme: whether a request came in the open or encrypted (RFC 9110 §4.2).

/// The scheme of a connection, and so of every request on it. What came encrypted is never stored
/// under the name of what came in the open, nor the other way round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// In the open.
    #[default]
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// As a URI has it, in small letters.
    pub const fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    /// The port that goes without saying.
    pub(crate) const fn default_port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }
}

impl From<Scheme> for http::uri::Scheme {
    fn from(scheme: Scheme) -> Self {
        match scheme {
            Scheme::Http => http::uri::Scheme::HTTP,
            Scheme::Https => http::uri::Scheme::HTTPS,
        }
    }
}
