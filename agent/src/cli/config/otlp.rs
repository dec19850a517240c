//! Options of the OTLP exporter, beside the standard `OTEL_EXPORTER_OTLP_*` variables, which the exporter reads itself.

use super::Origin;
use crate::export::delivery::{Config, ConfigError, Protocol, config::PROTOCOLS};

const ENDPOINT: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
const PROTOCOL: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];

/// Where spans go by OTLP. The standard variables stand between netspan's own variables and the file: flag, `NETSPAN_OTLP_*`,
/// `OTEL_EXPORTER_OTLP_*`, file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OtlpOptions {
    url: Option<Setting<String>>,
    protocol: Option<Setting<String>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Setting<T> {
    value: T,
    /// Given in the file: the standard variables win.
    is_weak: bool,
}

impl<T> Setting<T> {
    fn new(value: T, origin: &Origin) -> Self {
        Self { value, is_weak: matches!(origin, Origin::File(..)) }
    }
}

impl OtlpOptions {
    pub(super) fn set_url(&mut self, url: &str, origin: &Origin) -> Result<(), String> {
        Config::to(url).map_err(|error| error.to_string())?;
        self.url = Some(Setting::new(url.to_owned(), origin));
        Ok(())
    }

    pub(super) fn set_protocol(&mut self, protocol: &str, origin: &Origin) -> Result<(), String> {
        Protocol::named(protocol).ok_or_else(|| format!("not a protocol: give {PROTOCOLS}"))?;
        self.protocol = Some(Setting::new(protocol.to_owned(), origin));
        Ok(())
    }

    /// The exporter's configuration, with the standard variables read by `variable`; absent when nothing names an
    /// endpoint.
    pub fn resolve(&self, variable: impl Fn(&str) -> Option<String>) -> Result<Option<Config>, ConfigError> {
        let is_set = |names: [&str; 2]| names.iter().any(|name| variable(name).is_some_and(|value| !value.is_empty()));
        let beaten = |names, is_weak: bool| is_weak && is_set(names);
        let url = self.url.as_ref().filter(|url| !beaten(ENDPOINT, url.is_weak));
        let protocol = self.protocol.as_ref().filter(|protocol| !beaten(PROTOCOL, protocol.is_weak));
        Config::resolve(url.map(|url| url.value.as_str()), |name| match protocol {
            Some(protocol) if name == PROTOCOL[0] => Some(protocol.value.clone()),
            _ => variable(name),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAG: Origin = Origin::Flag("otlp");

    fn file() -> Origin {
        Origin::File("f".into(), 1, "otlp.url".into())
    }

    fn options(origin: &Origin) -> OtlpOptions {
        let mut options = OtlpOptions::default();
        options.set_url("http://own:4317", origin).expect("a URL");
        options.set_protocol("http/protobuf", origin).expect("a protocol");
        options
    }

    fn standard(name: &str) -> Option<String> {
        match name {
            "OTEL_EXPORTER_OTLP_ENDPOINT" => Some("http://standard:4317".into()),
            "OTEL_EXPORTER_OTLP_PROTOCOL" => Some("grpc".into()),
            _ => None,
        }
    }

    fn resolved(options: &OtlpOptions, variable: impl Fn(&str) -> Option<String>) -> Option<(String, Protocol)> {
        let mut config = options.resolve(variable).expect("a sound configuration")?;
        let endpoint = config.endpoint_mut().expect("an endpoint");
        Some((endpoint.uri.host().expect("a host").to_owned(), endpoint.protocol))
    }

    #[test]
    fn the_standard_variables_stand_between_the_flag_and_the_file() {
        let own = Some(("own".to_owned(), Protocol::Http));
        let from_standard = Some(("standard".to_owned(), Protocol::Grpc));
        assert_eq!(resolved(&options(&FLAG), standard), own);
        assert_eq!(resolved(&options(&file()), standard), from_standard);
        assert_eq!(resolved(&options(&file()), |_| None), own);
        assert_eq!(resolved(&OtlpOptions::default(), standard), from_standard);
        assert_eq!(resolved(&OtlpOptions::default(), |_| None), None);
    }

    #[test]
    fn what_is_no_endpoint_or_protocol_is_refused() {
        let mut options = OtlpOptions::default();
        assert!(options.set_url("ftp://x", &FLAG).is_err());
        assert!(options.set_protocol("http/xml", &FLAG).is_err());
        assert_eq!(options, OtlpOptions::default());
    }
}
