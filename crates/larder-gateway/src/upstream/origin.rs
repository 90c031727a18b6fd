//! Origin: where an upstream's requests go, and in which protocol.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use http::{HeaderValue, Uri, uri::Authority};

/// Scheme and place of an origin: `http://host:port`, `https://host:port`, `h2c://host:port` (HTTP/2 without TLS), or
/// `unix:/path/to/socket` (HTTP over a Unix socket).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    scheme: Scheme,
    place: Place,
}

/// How an origin is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scheme {
    /// In the open. HTTP/1.1, unless HTTP/2 is asked for.
    Http,
    /// Over TLS, in the protocol that both sides agree on.
    Https,
    /// HTTP/2 in the open, which the origin is known to speak (RFC 9113 §3.3).
    H2c,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum Place {
    Host(Authority),
    /// `Host` says `localhost` where a request says nothing: a path cannot stand there.
    Socket(PathBuf, Authority),
}

/// Why something is no origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseOriginError {
    /// Not `http://host[:port]`.
    #[error("not of the form http://host:port")]
    Malformed,
    /// A scheme that no origin is spoken to in.
    #[error("only http://, https://, h2c:// and unix: origins are supported")]
    Scheme,
    /// A path, a query or user information, which an origin has none of.
    #[error("an origin has neither path nor query nor user")]
    Path,
    /// `unix:` without a path, or with one that no socket can have.
    #[error("not of the form unix:/path/to/socket, with a path of at most 107 bytes")]
    Socket,
}

/// What the system has room for in the address of a Unix socket, without the zero at its end.
const MAX_SOCKET_PATH: usize = 107;

impl Origin {
    /// The host to look up: a name, or an address without brackets; `localhost` where it is a Unix socket.
    pub fn host(&self) -> &str {
        let host = self.authority().host();
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
    }

    /// Where none is named: 443 for `https`, 80 otherwise.
    pub fn port(&self) -> u16 {
        let usual = if self.scheme == Scheme::Https { 443 } else { 80 };
        self.authority().port_u16().unwrap_or(usual)
    }

    /// The path of its Unix socket, if that is what it is.
    pub fn socket(&self) -> Option<&Path> {
        match &self.place {
            Place::Socket(path, _) => Some(path),
            Place::Host(_) => None,
        }
    }

    /// How it is spoken to.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The same one, with the relative path of a Unix socket counted from `folder`.
    ///
    /// # Errors
    ///
    /// The path is too long then.
    pub fn within(self, folder: &Path) -> Result<Origin, ParseOriginError> {
        match self.place {
            Place::Socket(path, host) => {
                let path = folder.join(path);
                if path.as_os_str().len() > MAX_SOCKET_PATH {
                    return Err(ParseOriginError::Socket);
                }
                Ok(Origin { place: Place::Socket(path, host), ..self })
            }
            Place::Host(_) => Ok(self),
        }
    }

    /// What `Host` says when the request does not.
    pub(crate) fn as_host(&self) -> HeaderValue {
        HeaderValue::from_str(self.authority().as_str())
            .expect("an authority has no control characters")
    }

    fn authority(&self) -> &Authority {
        match &self.place {
            Place::Host(authority) | Place::Socket(_, authority) => authority,
        }
    }
}

impl FromStr for Origin {
    type Err = ParseOriginError;

    fn from_str(text: &str) -> Result<Self, ParseOriginError> {
        if let Some(path) = after_scheme(text, "unix:") {
            // Some write it as a URL, with an empty host.
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() || path.len() > MAX_SOCKET_PATH || path.contains('\0') {
                return Err(ParseOriginError::Socket);
            }
            let place = Place::Socket(path.into(), Authority::from_static("localhost"));
            return Ok(Origin { scheme: Scheme::Http, place });
        }
        // The parser drops what comes behind.
        if text.contains('#') {
            return Err(ParseOriginError::Path);
        }
        let uri: Uri = text.parse().map_err(|_| ParseOriginError::Malformed)?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(ParseOriginError::Malformed);
        };
        let scheme = match scheme {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            "h2c" => Scheme::H2c,
            _ => return Err(ParseOriginError::Scheme),
        };
        let has_path = uri.path_and_query().is_some_and(|path| path.as_str() != "/");
        if has_path || authority.as_str().contains('@') {
            return Err(ParseOriginError::Path);
        }
        if authority.host().is_empty()
            || (authority.port().is_none() && authority.as_str() != authority.host())
            || authority.port_u16() == Some(0)
        {
            return Err(ParseOriginError::Malformed);
        }
        Ok(Origin { scheme, place: Place::Host(authority.clone()) })
    }
}

fn after_scheme<'a>(text: &'a str, scheme: &str) -> Option<&'a str> {
    let (begin, rest) = text.split_at_checked(scheme.len())?;
    begin.eq_ignore_ascii_case(scheme).then_some(rest)
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Host(authority) => {
                let scheme = match self.scheme {
                    Scheme::Http => "http",
                    Scheme::Https => "https",
                    Scheme::H2c => "h2c",
                };
                write!(f, "{scheme}://{authority}")
            }
            Place::Socket(path, _) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Origin({self})")
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Origin, ParseOriginError, Scheme};

    #[test]
    fn an_origin_is_a_scheme_a_host_and_a_port() {
        for (text, scheme, host, port) in [
            ("http://127.0.0.1:8001", Scheme::Http, "127.0.0.1", 8001),
            ("http://posts.example/", Scheme::Http, "posts.example", 80),
            ("http://[::1]:81", Scheme::Http, "::1", 81),
            ("https://posts.example", Scheme::Https, "posts.example", 443),
            ("HTTPS://posts.example:8443", Scheme::Https, "posts.example", 8443),
            ("h2c://posts.example:50051", Scheme::H2c, "posts.example", 50051),
            ("h2c://posts.example", Scheme::H2c, "posts.example", 80),
        ] {
            let origin: Origin = text.parse().unwrap();
            assert_eq!((origin.scheme(), origin.host(), origin.port()), (scheme, host, port));
            assert_eq!(origin.socket(), None);
        }
    }

    #[test]
    fn an_origin_may_be_a_unix_socket() {
        for text in ["unix:/run/app.sock", "unix:///run/app.sock", "UNIX:/run/app.sock"] {
            let origin: Origin = text.parse().unwrap();
            assert_eq!(origin.socket(), Some(Path::new("/run/app.sock")), "{text}");
            assert_eq!(origin.to_string(), "unix:/run/app.sock");
            assert_eq!(
                (origin.host(), origin.as_host().to_str().unwrap()),
                ("localhost", "localhost")
            );
        }
    }

    #[test]
    fn the_path_of_a_socket_counts_from_a_folder_and_is_not_too_long() {
        let origin: Origin = "unix:app.sock".parse().unwrap();
        let within = origin.clone().within(Path::new("/srv/larder")).unwrap();
        assert_eq!(within.socket(), Some(Path::new("/srv/larder/app.sock")));
        let absolute: Origin = "unix:/run/app.sock".parse().unwrap();
        assert_eq!(absolute.clone().within(Path::new("/srv")), Ok(absolute));
        let folder = format!("/{}", "a".repeat(98));
        assert_eq!(origin.clone().within(Path::new(&folder)), Err(ParseOriginError::Socket));
        assert!(origin.within(Path::new(&folder[..98])).is_ok());
    }

    #[test]
    fn what_is_more_or_less_than_an_origin_is_refused() {
        let refused = |text: &str| text.parse::<Origin>().unwrap_err();
        assert_eq!(refused("ftp://posts.example"), ParseOriginError::Scheme);
        for text in
            ["http://posts.example/v1", "https://posts.example/?a", "http://me@posts.example"]
        {
            assert_eq!(refused(text), ParseOriginError::Path, "{text}");
        }
        for text in ["", "posts.example", "/posts", "127.0.0.1:8001", "http://", "https://x:y"] {
            assert_eq!(refused(text), ParseOriginError::Malformed, "{text}");
        }
        let long = format!("unix:/{}", "a".repeat(107));
        for text in ["unix:", "unix://", "unix:/a\0b", &long] {
            assert_eq!(refused(text), ParseOriginError::Socket, "{text}");
        }
    }
}
