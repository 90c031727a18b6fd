//! The check of what is told of single requests, and who is told.

use http::uri::PathAndQuery;

use super::check::Check;
use crate::{
    config::parts::TracingPart,
    traces::TracesConfig,
    upstream::{Origin, OriginTls, OriginTlsOptions, Scheme},
};

/// So many spans lie in memory, and take some KiB each where paths are long.
const LARGEST_BUFFER: usize = 1 << 16;
const BUFFER: usize = 2048;
const SAMPLE: f64 = 0.01;
/// Letters of a name.
const LONGEST_NAME: usize = 255;
/// Where spans are taken, behind whatever the endpoint says.
const PATH: &str = "/v1/traces";

impl Check<'_> {
    /// `is_built`: this program can trace requests.
    pub(super) fn tracing(&mut self, part: &TracingPart, is_built: bool) -> Option<TracesConfig> {
        let TracingPart { endpoint, sample, service_name, parents, buffer } = part;
        let sample = self.share("tracing.sample", *sample, SAMPLE);
        let service_name = service_name.as_deref().unwrap_or("larder");
        if service_name.is_empty() || service_name.len() > LONGEST_NAME {
            self.note("tracing.service_name", "a name is up to 255 bytes, and one at least");
        }
        let buffer = buffer.as_ref().map_or(BUFFER, |count| count.0.get());
        if buffer > LARGEST_BUFFER {
            self.note("tracing.buffer", "they lie in memory: at most 65536");
        }
        let Some(endpoint) = endpoint else {
            let others = [
                ("sample", part.sample.is_some()),
                ("service_name", part.service_name.is_some()),
                ("parents", parents.is_some()),
                ("buffer", part.buffer.is_some()),
            ];
            if let Some((key, _)) = others.into_iter().find(|(_, is_said)| *is_said) {
                let what = "nothing is traced until endpoint says who takes spans";
                self.note(&format!("tracing.{key}"), what);
            }
            return None;
        };
        if !is_built {
            let what = "this program was built without traces: build it with the feature otel \
                        (cargo build -p larder-cli --features otel), or leave [tracing] out";
            self.note("tracing.endpoint", what);
            return None;
        }
        let Some((endpoint, path)) = place(endpoint) else {
            let what = "say the address of a collector: \"http://127.0.0.1:4318\"";
            self.note("tracing.endpoint", what);
            return None;
        };
        let tls = match endpoint.scheme() {
            Scheme::Https => {
                let tls = OriginTls::new(&OriginTlsOptions::default());
                tls.map_err(|error| self.note("tracing.endpoint", error.to_string())).ok()
            }
            _ => None,
        };
        let service_name = service_name.to_owned();
        let parents = parents.unwrap_or_default().into();
        Some(TracesConfig { endpoint, path, tls, service_name, sample, parents, buffer })
    }
}

/// Where spans go, and under which path. A path of the endpoint stands before the usual one.
fn place(said: &str) -> Option<(Origin, PathAndQuery)> {
    let (scheme, rest) = said.split_once("://")?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if !matches!(scheme, "http" | "https") || path.contains(['?', '#']) {
        return None;
    }
    let endpoint = format!("{scheme}://{authority}").parse().ok()?;
    let path = path.trim_end_matches('/');
    let path = if path.ends_with(PATH) { path.to_owned() } else { format!("{path}{PATH}") };
    Some((endpoint, path.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Places;

    #[test]
    fn an_endpoint_is_an_address_and_perhaps_a_path() {
        for (said, endpoint, path) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318", "/v1/traces"),
            ("http://collector:4318/", "http://collector:4318", "/v1/traces"),
            ("https://otlp.example/tenant/", "https://otlp.example", "/tenant/v1/traces"),
            ("https://otlp.example/v1/traces", "https://otlp.example", "/v1/traces"),
        ] {
            let (at, under) = place(said).unwrap();
            assert_eq!((at.to_string().as_str(), under.as_str()), (endpoint, path), "{said}");
        }
        for said in [
            "",
            "127.0.0.1:4318",
            "grpc://a:4317",
            "http://",
            "http://a:0",
            "http://user:secret@a",
            "http://a/b?c",
            "http://a/b c",
        ] {
            assert!(place(said).is_none(), "{said}");
        }
    }

    #[test]
    fn a_program_without_traces_says_how_to_have_them() {
        let endpoint = Some("http://127.0.0.1:4318".to_owned());
        let part = TracingPart { endpoint, ..TracingPart::default() };
        let places = Places::default();
        let mut check = Check { places: &places, mistakes: Vec::new(), doubts: Vec::new() };
        assert!(check.tracing(&TracingPart::default(), false).is_none());
        assert!(check.mistakes.is_empty(), "what is not asked for is no mistake");
        assert!(check.tracing(&part, false).is_none());
        assert!(check.mistakes[0].to_string().contains("--features otel"), "{:?}", check.mistakes);
        assert!(check.tracing(&part, true).is_some_and(|traces| traces.buffer == BUFFER));
        assert_eq!(check.mistakes.len(), 1);
    }
}
