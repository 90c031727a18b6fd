//! Origin: where an upstream's requests go.

use std::{fmt, str::FromStr};

use http::{HeaderValue, Uri, uri::Authority};

/// Scheme, host and port of an origin. `http` only, for now.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    authority: Authority,
}

/// Why something is no origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseOriginError {
    /// Not `http://host[:port]`.
    #[error("not of the form http://host:port")]
    Malformed,
    /// Another scheme than `http`.
    #[error("only http:// origins are supported")]
    Scheme,
    /// A path, a query or user information, which an origin has none of.
    #[error("an origin has neither path nor query nor user")]
    Path,
}

impl Origin {
    /// The host to look up: a name, or an address without brackets.
    pub fn host(&self) -> &str {
        let host = self.authority.host();
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
    }

    /// 80 where none is named.
    pub fn port(&self) -> u16 {
        self.authority.port_u16().unwrap_or(80)
    }

    /// What `Host` says when the request does not.
    pub(crate) fn as_host(&self) -> HeaderValue {
        HeaderValue::from_str(self.authority.as_str())
            .expect("an authority has no control characters")
    }
}

impl FromStr for Origin {
    type Err = ParseOriginError;

    fn from_str(text: &str) -> Result<Self, ParseOriginError> {
        let uri: Uri = text.parse().map_err(|_| ParseOriginError::Malformed)?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(ParseOriginError::Malformed);
        };
        if scheme != "http" {
            return Err(ParseOriginError::Scheme);
        }
        let has_path = uri.path_and_query().is_some_and(|path| path.as_str() != "/");
        if has_path || authority.as_str().contains('@') {
            return Err(ParseOriginError::Path);
        }
        if authority.host().is_empty()
            || (authority.port().is_none() && authority.as_str() != authority.host())
        {
            return Err(ParseOriginError::Malformed);
        }
        Ok(Origin { authority: authority.clone() })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.authority)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Origin({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::{Origin, ParseOriginError};

    #[test]
    fn an_origin_is_a_scheme_a_host_and_a_port() {
        let origin: Origin = "http://127.0.0.1:8001".parse().unwrap();
        assert_eq!((origin.host(), origin.port()), ("127.0.0.1", 8001));
        let origin: Origin = "http://posts.example/".parse().unwrap();
        assert_eq!((origin.host(), origin.port()), ("posts.example", 80));
        let origin: Origin = "http://[::1]:81".parse().unwrap();
        assert_eq!((origin.host(), origin.port()), ("::1", 81));
    }

    #[test]
    fn what_is_more_or_less_than_an_origin_is_refused() {
        let refused = |text: &str| text.parse::<Origin>().unwrap_err();
        assert_eq!(refused("https://posts.example"), ParseOriginError::Scheme);
        assert_eq!(refused("http://posts.example/v1"), ParseOriginError::Path);
        assert_eq!(refused("http://posts.example/?a"), ParseOriginError::Path);
        assert_eq!(refused("http://me@posts.example"), ParseOriginError::Path);
        for text in ["", "posts.example", "/posts", "127.0.0.1:8001", "http://", "http://x:y"] {
            assert_eq!(refused(text), ParseOriginError::Malformed, "{text}");
        }
    }
}
