//! Host: which hosts a route is for.

use larder::http::policy::uri::normal_host;

/// Hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPattern {
    /// This one, in small letters.
    Literal(Box<str>),
    /// All that end so, with something before it: `.example.org`.
    Below(Box<str>),
}

impl HostPattern {
    /// # Errors
    ///
    /// What is wrong with it, for whom has written it.
    pub fn parse(text: &str) -> Result<HostPattern, String> {
        if text.contains("://") || text.contains('/') {
            return Err("say the host only, without a scheme or a path: \"example.org\"".to_owned());
        }
        let is_address = text.starts_with('[') && text.ends_with(']');
        if !is_address && text.contains(':') {
            return Err("say the host without its port: all ports count".to_owned());
        }
        let (below, name) = match text.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, text),
        };
        if name.contains('*') {
            return Err(
                "* stands at the front only, for all hosts below one: \"*.example.org\"".to_owned()
            );
        }
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if name.is_empty() || !is_address && !name.bytes().all(is_host) {
            return Err("this cannot be a host: \"example.org\"".to_owned());
        }
        let name = normal_host(name);
        Ok(match below {
            true => HostPattern::Below(format!(".{name}").into()),
            false => HostPattern::Literal(name.into()),
        })
    }

    /// `host` is in small letters, without a port.
    pub fn fits(&self, host: &[u8]) -> bool {
        match self {
            HostPattern::Literal(name) => name.as_bytes() == host,
            HostPattern::Below(end) => host.len() > end.len() && host.ends_with(end.as_bytes()),
        }
    }

    pub(super) fn covers(&self, other: &HostPattern) -> bool {
        match (self, other) {
            (_, HostPattern::Literal(name)) => self.fits(name.as_bytes()),
            (HostPattern::Below(ours), HostPattern::Below(theirs)) => theirs.ends_with(&**ours),
            (HostPattern::Literal(_), HostPattern::Below(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_one_or_all_below_one() {
        for (pattern, host, does_fit) in [
            ("Example.org", "example.org", true),
            ("example.org", "www.example.org", false),
            ("*.example.org", "www.example.org", true),
            ("*.example.org", "a.b.example.org", true),
            ("*.example.org", "example.org", false),
            ("*.example.org", "wwwexample.org", false),
            ("[::1]", "[::1]", true),
        ] {
            assert_eq!(
                HostPattern::parse(pattern).unwrap().fits(host.as_bytes()),
                does_fit,
                "{pattern} {host}"
            );
        }
    }
}
