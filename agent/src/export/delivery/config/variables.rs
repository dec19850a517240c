//! The `OTEL_*` variables that concern the exporter. It takes them from a function, and never shows a value that may be a
//! secret.

use std::{borrow::Cow, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{ConfigError, Names, PROTOCOLS, Protocol, Signal, TlsFiles};
use crate::{
    export::delivery::compress::Compression,
    span::{Attribute, Value},
};

/// Longest interval between metrics, in milliseconds: a day.
const INTERVAL_MAX_MS: u64 = 86_400_000;
/// Default of the specification.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The variables of a setting by the end of their names.
macro_rules! names {
    ($end:literal) => {
        Names {
            traces: concat!("OTEL_EXPORTER_OTLP_TRACES_", $end),
            metrics: concat!("OTEL_EXPORTER_OTLP_METRICS_", $end),
            general: concat!("OTEL_EXPORTER_OTLP_", $end),
        }
    };
}

/// The endpoint: that of a signal is a whole URL, the general one a base.
pub const ENDPOINT: Names = names!("ENDPOINT");
/// How requests travel.
pub const PROTOCOL: Names = names!("PROTOCOL");
const HEADERS: Names = names!("HEADERS");
const TIMEOUTS: Names = names!("TIMEOUT");
const COMPRESSION: Names = names!("COMPRESSION");
const AUTHORITIES: Names = names!("CERTIFICATE");
const CERTIFICATE: Names = names!("CLIENT_CERTIFICATE");
const KEY: Names = names!("CLIENT_KEY");
const RESOURCE: [&str; 1] = ["OTEL_RESOURCE_ATTRIBUTES"];
const EXPORTERS: [&str; 1] = ["OTEL_METRICS_EXPORTER"];
const INTERVAL: [&str; 1] = ["OTEL_METRIC_EXPORT_INTERVAL"];
const TEMPORALITY: [&str; 1] = ["OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"];

/// Headers that are part of the protocol.
const RESERVED: [&str; 8] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "te",
    "transfer-encoding",
    "grpc-encoding",
];

/// A header of every request. The reason why it can't be one does not show its value, which may be a secret.
pub fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), &'static str> {
    let name: HeaderName = name.parse().map_err(|_| "has a name that no header can have")?;
    if RESERVED.contains(&name.as_str()) {
        return Err("names a header that the exporter sets itself");
    }
    let mut value: HeaderValue = value.parse().map_err(|_| "has a value that no header can have")?;
    value.set_sensitive(true);
    Ok((name, value))
}

/// The environment, for one signal.
pub struct Variables<'a, F>(pub &'a F, pub Signal);

impl<F: Fn(&str) -> Option<String>> Variables<'_, F> {
    /// The first of the variables that is set, with its name.
    pub fn first(&self, names: &[&'static str]) -> Option<(&'static str, String)> {
        names.iter().find_map(|&name| {
            let value = (self.0)(name)?;
            let value = value.trim();
            (!value.is_empty()).then(|| (name, value.to_owned()))
        })
    }

    /// How requests travel, if that is said.
    pub fn protocol(&self) -> Result<Option<Protocol>, ConfigError> {
        let Some((name, value)) = self.first(&PROTOCOL.of(self.1)) else { return Ok(None) };
        let protocol = Protocol::named(&value);
        protocol.map(Some).ok_or(ConfigError::Value { name, value, allowed: PROTOCOLS })
    }

    /// Longest time of one attempt.
    pub fn timeout(&self) -> Result<Duration, ConfigError> {
        let Some((name, value)) = self.first(&TIMEOUTS.of(self.1)) else { return Ok(TIMEOUT) };
        match value.parse() {
            Ok(milliseconds @ 1..=3_600_000) => Ok(Duration::from_millis(milliseconds)),
            _ => Err(ConfigError::Value { name, value, allowed: "1 to 3600000 (milliseconds)" }),
        }
    }

    /// How requests are compressed.
    pub fn compression(&self) -> Result<Compression, ConfigError> {
        let Some((name, value)) = self.first(&COMPRESSION.of(self.1)) else { return Ok(Compression::None) };
        let compression = Compression::named(&value);
        compression.ok_or(ConfigError::Value { name, value, allowed: "gzip, zstd or none" })
    }

    /// Files for `https`.
    pub fn tls(&self) -> Result<TlsFiles, ConfigError> {
        let authorities = self.first(&AUTHORITIES.of(self.1)).map(|(_, path)| path.into());
        let identity = match (self.first(&CERTIFICATE.of(self.1)), self.first(&KEY.of(self.1))) {
            (Some((_, certificate)), Some((_, key))) => Some((certificate.into(), key.into())),
            (None, None) => None,
            (Some((name, _)), None) => return Err(ConfigError::Pair { name, other: KEY.general }),
            (None, Some((name, _))) => return Err(ConfigError::Pair { name, other: CERTIFICATE.general }),
        };
        Ok(TlsFiles { authorities, identity })
    }

    /// Headers of every request.
    pub fn headers(&self) -> Result<HeaderMap, ConfigError> {
        let mut headers = HeaderMap::new();
        for (name, entry, key, value) in self.list(&HEADERS.of(self.1))? {
            let (key, value) = header(&key, &value).map_err(|reason| ConfigError::List { name, entry, reason })?;
            headers.append(key, value);
        }
        Ok(headers)
    }

    /// Attributes for every resource. The agent's own describe where it runs, and so hold for every process that it sees; its
    /// service name does not.
    pub fn resource(&self) -> Result<Vec<Attribute>, ConfigError> {
        let list = self.list(&RESOURCE)?;
        let of_the_agent = |key: &str| key.starts_with("service.") || key.starts_with("process.");
        let given = list.into_iter().filter(|(_, _, key, _)| !of_the_agent(key));
        let given = given.map(|(_, _, key, value)| (Cow::Owned(key), Value::Text(value.into())));
        let own = [
            ("telemetry.sdk.name", env!("CARGO_PKG_NAME")),
            ("telemetry.sdk.language", "rust"),
            ("telemetry.sdk.version", env!("CARGO_PKG_VERSION")),
        ];
        Ok(given.chain(own.map(|(key, value)| (key.into(), Value::Text(value.into())))).collect())
    }

    /// Whether metrics are to be sent by OTLP at all: `OTEL_METRICS_EXPORTER` names the exporters, `none` for none.
    pub fn wants_metrics(&self) -> bool {
        self.first(&EXPORTERS).is_none_or(|(_, all)| all.split(',').any(|one| one.trim() == "otlp"))
    }

    /// How often metrics are sent, if that is said.
    pub fn interval(&self) -> Result<Option<Duration>, ConfigError> {
        let Some((name, value)) = self.first(&INTERVAL) else { return Ok(None) };
        match value.parse() {
            Ok(milliseconds @ 1..=INTERVAL_MAX_MS) => Ok(Some(Duration::from_millis(milliseconds))),
            _ => Err(ConfigError::Value { name, value, allowed: "1 to 86400000 (milliseconds)" }),
        }
    }

    /// Which temporality of metrics is asked for that is not the one that there is.
    pub fn other_temporality(&self) -> Option<String> {
        self.first(&TEMPORALITY).map(|(_, value)| value).filter(|value| !value.eq_ignore_ascii_case("cumulative"))
    }

    /// Entries of a list as W3C Baggage writes it: variable, ordinal, key, decoded value.
    fn list(&self, names: &[&'static str]) -> Result<Vec<(&'static str, usize, String, String)>, ConfigError> {
        let Some((name, text)) = self.first(names) else { return Ok(Vec::new()) };
        let entries = text.split(',').enumerate().filter(|(_, entry)| !entry.trim().is_empty());
        entries
            .map(|(index, text)| {
                let error = |reason| ConfigError::List { name, entry: index + 1, reason };
                let (key, value) = text.split_once('=').ok_or_else(|| error("has no ="))?;
                let key = key.trim();
                if key.is_empty() {
                    return Err(error("has no name"));
                }
                let value = percent_decoded(value.trim()).ok_or_else(|| error("has a malformed %XX"))?;
                Ok((name, index + 1, key.to_owned(), value))
            })
            .collect()
    }
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (pair, tail) = tail.split_at_checked(2)?;
        let digits = std::str::from_utf8(pair).ok().filter(|pair| !pair.starts_with('+'))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = tail;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::delivery::{Config, config::Endpoint};

    fn resolve(url: Option<&str>, env: &[(&str, &str)]) -> Result<Option<Config>, ConfigError> {
        Config::resolve(url, |name| env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    fn endpoint(mut config: Config) -> Endpoint {
        config.endpoint_mut().expect("an endpoint").clone()
    }

    #[test]
    fn headers_are_decoded_and_never_printed() {
        let env = [("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer%20abc, x-tenant = me=you,")];
        let config = resolve(Some("http://a:4317"), &env).expect("valid").expect("an endpoint");
        assert!(!format!("{config:?}").contains("abc"));
        let headers = endpoint(config).headers;
        assert_eq!(headers["authorization"], "Bearer abc");
        assert_eq!(headers["x-tenant"], "me=you");
    }

    #[test]
    fn a_malformed_header_is_named_by_its_place_only() {
        for (bad, reason) in [
            ("a=1,secret", "no ="),
            ("a=1,=secret", "no name"),
            ("a=1,b=%5secret", "%XX"),
            ("a=1,b c=secret", "name that"),
            ("a=1,b=%0Asecret", "value that"),
            ("a=1,Host=secret", "sets itself"),
        ] {
            let error =
                resolve(Some("http://a:4317"), &[("OTEL_EXPORTER_OTLP_HEADERS", bad)]).expect_err(bad).to_string();
            assert!(error.contains("entry 2") && error.contains(reason) && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn other_variables_are_checked() {
        let set = |name, value| resolve(Some("http://a:4317"), &[(name, value)]);
        let config = |name, value| set(name, value).expect("valid").expect("an endpoint");
        assert_eq!(endpoint(config("OTEL_EXPORTER_OTLP_TIMEOUT", "1500")).timeout, Duration::from_millis(1500));
        assert_eq!(config("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "gzip").compression, Compression::Gzip);
        assert_eq!(config("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd").compression, Compression::Zstd);
        assert_eq!(endpoint(config("OTEL_EXPORTER_OTLP_CERTIFICATE", "/x")).tls.authorities, Some("/x".into()));
        assert_eq!(endpoint(config("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")).protocol, Protocol::Json);
        for (name, bad) in [
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "0"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "br"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/xml"),
            ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/key"),
            ("OTEL_RESOURCE_ATTRIBUTES", "x"),
        ] {
            assert!(set(name, bad).expect_err(bad).to_string().starts_with(name));
        }
    }

    #[test]
    fn the_agents_resource_attributes_hold_for_all_but_its_name_does_not() {
        let env = [("OTEL_RESOURCE_ATTRIBUTES", "service.name=agent,deployment.environment.name=a%2Cb")];
        let config = resolve(Some("http://a:4317"), &env).expect("valid").expect("an endpoint");
        let names: Vec<_> = config.resource.iter().map(|(name, _)| name.as_ref()).collect();
        assert_eq!(names[0], "deployment.environment.name");
        assert!(!names.contains(&"service.name"));
        assert_eq!(config.resource[0].1, Value::Text("a,b".into()));
    }
}
