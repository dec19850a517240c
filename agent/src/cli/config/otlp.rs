//! Options of the OTLP exporter, beside the standard `OTEL_EXPORTER_OTLP_*` variables, which the exporter reads itself.

use std::time::Duration;

use super::Origin;
use crate::{
    control::parse_duration,
    export::delivery::{
        Config, ConfigError, Protocol,
        config::{ENDPOINT, Names, PROTOCOL, PROTOCOLS, Signal},
        metrics::{INTERVAL, INTERVAL_MIN},
    },
};

/// Longest interval between metrics.
const INTERVAL_MAX: Duration = Duration::from_hours(24);

/// Where spans go by OTLP. The standard variables stand between netspan's own variables and the file: flag, `NETSPAN_OTLP_*`,
/// `OTEL_EXPORTER_OTLP_*`, file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OtlpOptions {
    url: Option<Setting<String>>,
    protocol: Option<Setting<String>>,
    /// Spans only go there.
    pub no_metrics: bool,
    interval: Option<Setting<Duration>>,
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

    pub(super) fn set_interval(&mut self, text: &str, origin: &Origin) -> Result<(), String> {
        let interval = parse_duration(text).ok().filter(|interval| (INTERVAL_MIN..=INTERVAL_MAX).contains(interval));
        let interval = interval.ok_or("not an interval: give 1s to 1440m, such as 15s or 1m")?;
        self.interval = Some(Setting::new(interval, origin));
        Ok(())
    }

    /// The exporter's configuration, with the standard variables read by `variable`; absent when nothing names an
    /// endpoint.
    pub fn resolve(&self, variable: impl Fn(&str) -> Option<String>) -> Result<Option<Config>, ConfigError> {
        let (url, protocol) = self.winners(Signal::Traces, &variable);
        Config::resolve(url, with_protocol(Signal::Traces, protocol, &variable))
    }

    /// The same for metrics.
    pub fn resolve_metrics(&self, variable: impl Fn(&str) -> Option<String>) -> Result<Option<Config>, ConfigError> {
        if self.no_metrics {
            return Ok(None);
        }
        let (url, protocol) = self.winners(Signal::Metrics, &variable);
        Config::resolve_metrics(url, with_protocol(Signal::Metrics, protocol, &variable))
    }

    /// How often metrics are sent, to all destinations.
    pub fn interval(&self, variable: impl Fn(&str) -> Option<String>) -> Result<Duration, ConfigError> {
        let standard = Config::metrics_interval(variable)?;
        let own = self.interval.as_ref().filter(|own| !(own.is_weak && standard.is_some())).map(|own| own.value);
        Ok(own.or(standard).unwrap_or(INTERVAL).max(INTERVAL_MIN))
    }

    /// The own settings that no standard variable wins over.
    fn winners(&self, signal: Signal, variable: &impl Fn(&str) -> Option<String>) -> (Option<&str>, Option<&str>) {
        let is_set = |names: Names| names.of(signal).iter().any(|name| variable(name).is_some_and(|v| !v.is_empty()));
        let wins = |own: &Option<Setting<String>>, names: Names| {
            own.as_ref().is_some_and(|own| !(own.is_weak && is_set(names)))
        };
        let url = self.url.as_ref().filter(|_| wins(&self.url, ENDPOINT));
        let protocol = self.protocol.as_ref().filter(|_| wins(&self.protocol, PROTOCOL));
        (url.map(|url| url.value.as_str()), protocol.map(|protocol| protocol.value.as_str()))
    }
}

/// The variables, with a protocol that wins over theirs.
fn with_protocol(
    signal: Signal,
    protocol: Option<&str>,
    variable: impl Fn(&str) -> Option<String>,
) -> impl Fn(&str) -> Option<String> {
    move |name| match protocol {
        Some(protocol) if name == PROTOCOL.of(signal)[0] => Some(protocol.to_owned()),
        _ => variable(name),
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
    fn the_interval_is_the_flags_the_standard_variables_or_the_files_and_has_a_bound() {
        let interval = |own: Option<(&str, Origin)>, standard: Option<&str>| {
            let mut options = OtlpOptions::default();
            if let Some((text, origin)) = own {
                options.set_interval(text, &origin).expect("an interval");
            }
            options.interval(|name| standard.filter(|_| name == "OTEL_METRIC_EXPORT_INTERVAL").map(str::to_owned))
        };
        let seconds = |number| Ok(Duration::from_secs(number));
        assert_eq!(interval(None, None), seconds(60));
        assert_eq!(interval(None, Some("5000")), seconds(5));
        assert_eq!(interval(None, Some("1")), seconds(1));
        assert_eq!(interval(Some(("15s", FLAG)), Some("5000")), seconds(15));
        assert_eq!(interval(Some(("15s", file())), Some("5000")), seconds(5));
        assert_eq!(interval(Some(("15s", file())), None), seconds(15));
        assert!(interval(None, Some("5s")).is_err());
        assert!(OtlpOptions::default().set_interval("10ms", &FLAG).is_err());
    }

    #[test]
    fn metrics_follow_the_same_rules_and_can_be_left_out() {
        let endpoint = |options: &OtlpOptions, variable: &dyn Fn(&str) -> Option<String>| {
            let mut config = options.resolve_metrics(variable).expect("sound")?;
            config.endpoint_mut().map(|endpoint| (endpoint.uri.to_string(), endpoint.protocol))
        };
        let own = Some(("http://own:4317/v1/metrics".to_owned(), Protocol::Http));
        assert_eq!(endpoint(&options(&FLAG), &standard), own);
        assert_eq!(
            endpoint(&options(&file()), &standard),
            Some(("http://standard:4317/v1/metrics".to_owned(), Protocol::Grpc))
        );
        let without = OtlpOptions { no_metrics: true, ..options(&FLAG) };
        assert_eq!(endpoint(&without, &standard), None);
    }

    #[test]
    fn what_is_no_endpoint_or_protocol_is_refused() {
        let mut options = OtlpOptions::default();
        assert!(options.set_url("ftp://x", &FLAG).is_err());
        assert!(options.set_protocol("http/xml", &FLAG).is_err());
        assert_eq!(options, OtlpOptions::default());
    }
}
