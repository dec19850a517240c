//! The endpoint's URL, from the command line or a variable. It resolves no name and opens nothing.

use http::Uri;

use super::{ConfigError, Protocol};

/// What to do with an endpoint's path, for HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// It is the whole path.
    AsIs,
    /// It is a base, and this is to be appended.
    Append(&'static str),
    /// It is the whole path if there is one, else it is this.
    IfNone(&'static str),
}

/// Reads an endpoint, and which protocol is likely there. `origin` is where `value` is from, for the error.
pub fn parse(origin: &'static str, value: &str, path: Path) -> Result<(Uri, Protocol), ConfigError> {
    let error = |reason| {
        let shown = value.split_once('?').map_or(value, |(url, _)| url);
        let shown = shown.rsplit_once('@').map_or(shown, |(_, host)| host);
        ConfigError::Endpoint { origin, value: shown.to_owned(), reason }
    };
    let uri: Uri = value.trim().parse().map_err(|_| error("it is no URL"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(error("it does not begin with http:// or https://"));
    }
    let authority = uri.authority().filter(|authority| !authority.host().is_empty());
    let authority = authority.ok_or_else(|| error("it names no host"))?;
    if authority.as_str().contains('@') {
        return Err(error("credentials belong into OTEL_EXPORTER_OTLP_HEADERS"));
    }
    let port = authority.as_str().strip_prefix(authority.host()).and_then(|rest| rest.strip_prefix(':'));
    if port.is_some() && authority.port_u16().is_none_or(|port| port == 0) {
        return Err(error("its port is not within 1 to 65535"));
    }
    let likely = if authority.port_u16() == Some(4317) { Protocol::Grpc } else { Protocol::Http };
    let base = uri.path().trim_end_matches('/');
    let query = uri.query().map_or_else(String::new, |query| format!("?{query}"));
    let path = match path {
        Path::Append(own) => format!("{base}{own}{query}"),
        Path::IfNone(own) if base.is_empty() => format!("{own}{query}"),
        Path::AsIs | Path::IfNone(_) => uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
    };
    let mut parts = uri.into_parts();
    parts.path_and_query = Some(path.parse().map_err(|_| error("its path is malformed"))?);
    Ok((Uri::from_parts(parts).map_err(|_| error("it is no URL"))?, likely))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::delivery::Config;

    fn resolve(url: Option<&str>, env: &[(&str, &str)]) -> Result<Option<Config>, ConfigError> {
        Config::resolve(url, |name| env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    fn endpoint(url: Option<&str>, env: &[(&str, &str)]) -> (String, Protocol) {
        let mut config = resolve(url, env).expect("valid").expect("an endpoint");
        let endpoint = config.endpoint_mut().expect("an endpoint");
        (endpoint.uri.to_string(), endpoint.protocol)
    }

    #[test]
    fn the_command_line_wins_over_traces_variables_over_general_ones() {
        let general = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318/base/");
        let traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://b:4318/own");
        assert_eq!(endpoint(Some("http://a:4318"), &[traces, general]).0, "http://a:4318/v1/traces");
        assert_eq!(endpoint(None, &[traces, general]).0, "http://b:4318/own");
        assert_eq!(
            endpoint(None, &[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", " "), general]).0,
            "http://c:4318/base/v1/traces"
        );
        assert!(resolve(None, &[]).expect("valid").is_none());
    }

    fn metrics(url: Option<&str>, env: &[(&str, &str)]) -> Option<(String, Protocol)> {
        let read = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        let mut config = Config::resolve_metrics(url, read).expect("valid")?;
        let endpoint = config.endpoint_mut().expect("an endpoint");
        Some((endpoint.uri.to_string(), endpoint.protocol))
    }

    #[test]
    fn metrics_go_where_spans_go_unless_a_variable_says_otherwise() {
        let general = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318/base/");
        let own = ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://m:4318/own");
        let traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://b:4318/own");
        let http = |url: &str| Some((url.to_owned(), Protocol::Http));
        type Environment<'a> = &'a [(&'a str, &'a str)];
        let cases: [(Option<&str>, Environment<'_>, _); 11] = [
            (Some("http://a:4318"), &[], http("http://a:4318/v1/metrics")),
            (Some("http://a:4318/x/v1/traces?key=1"), &[], http("http://a:4318/x/v1/metrics?key=1")),
            (Some("http://a:4317"), &[], Some(("http://a:4317/v1/metrics".to_owned(), Protocol::Grpc))),
            (Some("http://a:4318"), &[own, general], http("http://a:4318/v1/metrics")),
            (Some("http://a:4318/spans"), &[], None),
            (Some("http://a:4318/spans"), &[own], http("http://m:4318/own")),
            (None, &[general], http("http://c:4318/base/v1/metrics")),
            (None, &[general, own], http("http://m:4318/own")),
            (None, &[traces], None),
            (None, &[general, ("OTEL_METRICS_EXPORTER", "none")], None),
            (None, &[general, ("OTEL_METRICS_EXPORTER", "console,otlp")], http("http://c:4318/base/v1/metrics")),
        ];
        for (url, env, expected) in cases {
            assert_eq!(metrics(url, env), expected, "{url:?} {env:?}");
        }
        let protocol = ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "grpc");
        assert_eq!(metrics(None, &[own, protocol]).map(|(_, protocol)| protocol), Some(Protocol::Grpc));
        assert_eq!(endpoint(None, &[general, protocol]).1, Protocol::Http);
        // gRPC has no paths: one of somebody's own does not matter.
        assert_eq!(metrics(Some("http://a:9/x"), &[protocol]), Some(("http://a:9/x".to_owned(), Protocol::Grpc)));
    }

    #[test]
    fn the_protocol_is_the_variables_or_that_of_the_port() {
        let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
        let http = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf");
        assert_eq!(endpoint(Some("http://a:4317"), &[]), ("http://a:4317/v1/traces".to_owned(), Protocol::Grpc));
        assert_eq!(endpoint(Some("https://a/x?key=1"), &[]), ("https://a/x?key=1".to_owned(), Protocol::Http));
        assert_eq!(endpoint(Some("http://a:4317"), &[grpc, http]).1, Protocol::Http);
        assert_eq!(endpoint(Some("http://[::1]:99/own"), &[grpc]), ("http://[::1]:99/own".to_owned(), Protocol::Grpc));
    }

    #[test]
    fn an_endpoint_that_cannot_be_used_is_one_clear_line() {
        for bad in ["", "localhost:4317", "ftp://a", "http://", "http://a b", "http://a:0", "http://a:99999", "/x"] {
            let error = resolve(Some(bad), &[]).expect_err(bad).to_string();
            assert!(error.starts_with("--otlp ") && error.contains("http://HOST:4317"), "{error}");
            assert!(!error.contains('\n'));
        }
    }

    #[test]
    fn a_password_in_an_endpoint_is_refused_and_not_repeated() {
        let error = resolve(Some("http://me:secret@host:4317"), &[]).expect_err("refused").to_string();
        assert!(!error.contains("secret") && error.contains("OTEL_EXPORTER_OTLP_HEADERS"), "{error}");
    }

    #[test]
    fn the_endpoint_is_shown_without_its_query() {
        assert_eq!(Config::to("http://a:9/x?key=secret").expect("valid").shown(), "http://a:9/x");
        assert_eq!(Config::to("http://a:4317").expect("valid").shown(), "http://a:4317");
    }
}
