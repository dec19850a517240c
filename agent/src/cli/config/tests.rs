//! Options from all places together.

use std::{collections::BTreeSet, time::Duration};

use clap::Parser;
use log::LevelFilter;

use super::*;
use crate::{
    cli::flags::{
        CaptureFlags, CommonFlags, FilterFlags, KubernetesFlags, LinkFlags, NameFlags, OtlpFlags, RedactFlags,
        SampleFlags, ServeFlags, ViewFlags,
    },
    control::StatusRange,
};

#[derive(Parser)]
struct All {
    #[command(flatten)]
    common: CommonFlags,
    #[command(flatten)]
    filter: FilterFlags,
    #[command(flatten)]
    names: NameFlags,
    #[command(flatten)]
    kubernetes: KubernetesFlags,
    #[command(flatten)]
    capture: CaptureFlags,
    #[command(flatten)]
    redact: RedactFlags,
    #[command(flatten)]
    link: LinkFlags,
    #[command(flatten)]
    otlp: OtlpFlags,
    #[command(flatten)]
    sample: SampleFlags,
    #[command(flatten)]
    view: ViewFlags,
    #[command(flatten)]
    serve: ServeFlags,
}

impl All {
    fn flags(&self) -> [&dyn Flags; 11] {
        let Self { common, filter, names, kubernetes, capture, redact, link, otlp, sample, view, serve } = self;
        [common, filter, names, kubernetes, capture, redact, link, otlp, sample, view, serve]
    }
}

/// Resolves a command line, variables and a file's text.
fn resolve(flags: &str, variables: &[(&str, &str)], file: &str) -> Result<Options, String> {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("netspan.toml");
    std::fs::write(&path, file).expect("a file");
    let all =
        All::try_parse_from(["netspan"].into_iter().chain(flags.split_whitespace())).map_err(|e| e.to_string())?;
    let variables: Vec<_> = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Options::resolve(all.common.config.as_deref(), &all.flags(), &variables, &path)
        .map_err(|error| error.to_string().replace(&path.display().to_string(), "FILE"))
}

#[test]
fn nothing_given_means_the_defaults() {
    let options = resolve("", &[], "").expect("the defaults");
    assert_eq!(options, Options::default());
    assert_eq!((options.min_confidence, options.log, options.capture.ring_bytes), (0.95, LevelFilter::Info, 2 << 20));
}

#[test]
fn a_flag_beats_the_environment_and_that_the_file() {
    let file = "[link]\nmin_confidence = 0.1\n[filter]\nport = [1, 2]\n";
    let variables = [("NETSPAN_LINK_MIN_CONFIDENCE", "0.2"), ("NETSPAN_FILTER_PORT", "3,4")];
    let read = |flags, variables: &[_], file| {
        let options = resolve(flags, variables, file).expect("sound options");
        (options.min_confidence, options.filter.include.ports.keys().copied().collect::<Vec<_>>())
    };
    assert_eq!(read("", &[], file), (0.1, vec![1, 2]));
    assert_eq!(read("", &variables, file), (0.2, vec![3, 4]), "a list replaces, it isn't joined");
    assert_eq!(read("--min-confidence 0.3 --port 5 --port 6", &variables, file), (0.3, vec![5, 6]));
    assert_eq!(read("--port 5", &[], file), (0.1, vec![5]));
}

/// A value for each option that is not its default.
fn sample(spec: &Spec) -> &'static str {
    match spec.key.rsplit('.').next().expect("a key") {
        "pid" | "port" | "local_port" | "remote_port" => "7",
        "comm" => "nginx",
        "exe" | "cgroup" | "path" | "dir" => "/x",
        "container" => "abcd",
        "family" => "syscall",
        "hook" => "kprobe",
        "ring_size" => "64KiB",
        "connections" => "4096",
        "nice" => "-5",
        "goroutines" => "off",
        "propagate" => "tcp-option",
        "keep_query" | "well_known_labels" | "keep_capabilities" | "off" | "no_metrics" => "true",
        "header" => "x-team",
        "metadata" => "on",
        "node" => "node-a",
        "label" => "example.com/team",
        "min_confidence" => "0.5",
        "rule" if spec.key == "service.rule" => "comm:nginx=edge",
        "rule" | "span_rule" => "0.75",
        "template" => "/users/{id}",
        "ratio" => "0.25",
        "incoming" => "respect",
        "errors" => "chance",
        "slow" => "2s",
        "delay" => "3s",
        "slow_factor" => "1.5",
        "rare" | "cap" => "9",
        "store" => "kept",
        "metrics_interval" => "15s",
        "url" => "http://localhost:4317",
        "protocol" => "grpc",
        "status" => "5xx",
        "min_duration" => "5ms",
        "service" => "shop",
        "bytes" => "64MiB",
        "age" => "2h",
        "listen" => "none",
        "token" => "0123456789abcdef",
        "level" => "trace",
        other => panic!("{other} has no sample"),
    }
}

#[test]
fn every_option_can_be_given_in_all_three_places_and_means_the_same() {
    let (mut keys, mut flags) = (BTreeSet::new(), BTreeSet::new());
    for spec in Spec::ALL {
        assert!(keys.insert(spec.key) && flags.insert(spec.flag), "{} is there twice", spec.key);
        let value = sample(spec);
        let flag = match spec.shape {
            Shape::Switch => format!("--{}", spec.flag),
            Shape::One | Shape::List => format!("--{} {value}", spec.flag),
        };
        let quoted = if spec.shape == Shape::Switch { value.to_owned() } else { format!("{value:?}") };
        let file = resolve("", &[], &format!("{} = {quoted}", spec.key)).expect("a sound file");
        // Only the export knows by its place who wins; compare what it resolves to.
        let resolved = |options: &Options| {
            let otlp = options.otlp.resolve(|_| None).expect("a sound endpoint");
            format!("{:?} {otlp:?}", Options { otlp: OtlpOptions::default(), ..options.clone() })
        };
        let by_flag = resolve(&flag, &[], "").expect("a sound flag");
        let variable = spec.variable();
        let by_variable = resolve("", &[(variable.as_str(), value)], "").expect("a sound variable");
        assert_eq!(resolved(&by_flag), resolved(&file), "{}", spec.key);
        assert_eq!(resolved(&by_flag), resolved(&by_variable), "{}", spec.key);
        assert_ne!(by_flag, Options::default(), "{} has an effect", spec.key);
    }
}

#[test]
fn values_are_read_with_their_units() {
    let options =
        resolve("--ring-size 1MiB --status >=400 --status error --min-duration 1.5s --service-rule exe:/a=b", &[], "");
    let options = options.expect("sound options");
    assert_eq!(options.capture.ring_bytes, 1 << 20);
    assert_eq!(options.view.statuses, [StatusRange::Codes(400, 999), StatusRange::Error]);
    assert_eq!(options.view.min_duration, Some(Duration::from_millis(1500)));
    assert_eq!(options.services.len(), 1);
    for (text, bytes) in [("65536", 64 << 10), ("128K", 128 << 10), ("256 MiB", 256 << 20)] {
        assert_eq!(resolve("", &[("NETSPAN_CAPTURE_RING_SIZE", text)], "").expect(text).capture.ring_bytes, bytes);
    }
}

#[test]
fn a_wrong_value_is_one_line_that_says_where_what_and_what_to_give() {
    for (flags, variables, file, expected) in [
        (
            "--port 0",
            &[][..],
            "",
            "--port \"0\": not a port: give a number from 1 to 65535, or a range such as 8000-8010",
        ),
        (
            "",
            &[("NETSPAN_FILTER_EXCLUDE_PID", "1,x")],
            "",
            "NETSPAN_FILTER_EXCLUDE_PID \"x\": not a process id: give a number from 1 to 4194304",
        ),
        (
            "",
            &[],
            "[capture]\n\nring_size = 5000",
            "FILE: line 3: capture.ring_size \"5000\": not a ring size: give a power of two from 64KiB to 256MiB, such as 4MiB",
        ),
        (
            "--ring-size 8GiB",
            &[],
            "",
            "--ring-size \"8GiB\": not a ring size: give a power of two from 64KiB to 256MiB, such as 4MiB",
        ),
        (
            "--min-confidence 1.1",
            &[],
            "",
            "--min-confidence \"1.1\": not a confidence: give a number from 0 to 1, such as 0.95",
        ),
        (
            "--min-confidence NaN",
            &[],
            "",
            "--min-confidence \"NaN\": not a confidence: give a number from 0 to 1, such as 0.95",
        ),
        ("--family x", &[], "", "--family \"x\": not a family of hooks: give auto, syscall or socket"),
        ("--kubernetes maybe", &[], "", "--kubernetes \"maybe\": neither auto nor on nor off: give one of the three"),
        (
            "--node-name a&watch=x",
            &[],
            "",
            "--node-name \"a&watch=x\": not a node's name: give small letters, digits, - and ., such as node-1.example.com",
        ),
        (
            "",
            &[("NETSPAN_KUBERNETES_LABEL", "team,a b")],
            "",
            "NETSPAN_KUBERNETES_LABEL \"a b\": not a label's key: give one such as team or example.com/team",
        ),
        ("--hook x", &[], "", "--hook \"x\": not a kind of hook: give auto, fentry or kprobe"),
        ("--log loud", &[], "", "--log \"loud\": not a log level: give off, error, warn, info, debug or trace"),
        (
            "--otlp-protocol http/xml",
            &[],
            "",
            "--otlp-protocol \"http/xml\": not a protocol: give grpc, http/protobuf or http/json",
        ),
        (
            "--min-duration 5",
            &[],
            "",
            "--min-duration \"5\": not a duration: give a number with a unit, such as 250ms; the units are ns, us, ms, s, m, h, d",
        ),
        (
            "",
            &[("NETSPAN_REDACT_KEEP_QUERY", "maybe")],
            "",
            "NETSPAN_REDACT_KEEP_QUERY \"maybe\": not a switch: give true or false",
        ),
    ] {
        assert_eq!(resolve(flags, variables, file).expect_err("a wrong value"), expected);
    }
    let credential = resolve("--header Authorization", &[], "").expect_err("a credential");
    assert!(credential.contains("is never kept"), "{credential}");
}

#[test]
fn only_a_wrong_flag_is_a_wrong_call() {
    let error = |origin| ConfigError::Value { origin, value: String::new(), why: String::new() };
    assert!(error(Origin::Flag("port")).is_usage());
    assert!(!error(Origin::Variable("NETSPAN_FILTER_PORT".into())).is_usage());
}

#[test]
fn the_file_named_by_flag_or_variable_replaces_the_default_one() {
    let dir = tempfile::tempdir().expect("a directory");
    let write = |name: &str, level: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, format!("log.level = '{level}'")).expect("a file");
        path
    };
    let (default, by_variable, by_flag) = (write("d", "warn"), write("v", "error"), write("f", "debug"));
    let variables = [(FILE_VARIABLE.to_owned(), by_variable.display().to_string())];
    let log = |config: Option<&Path>, variables: &[_], default: &Path| {
        Options::resolve(config, &[], variables, default).map(|options| options.log)
    };
    assert_eq!(log(None, &[], &default), Ok(LevelFilter::Warn));
    assert_eq!(log(None, &variables, &default), Ok(LevelFilter::Error));
    assert_eq!(log(Some(&by_flag), &variables, &default), Ok(LevelFilter::Debug));
    assert_eq!(log(None, &[], &dir.path().join("none")), Ok(LevelFilter::Info));
    let missing = log(Some(&dir.path().join("none")), &[], &default).expect_err("no such file");
    assert!(matches!(missing, ConfigError::Read { .. }));
}

#[test]
fn sampling_and_routes_come_from_a_file_with_their_rules() {
    let file = "[route]\ntemplate = ['/health', 'shop* /api/{version}/users/{id}']\n[sampling]\n\
                ratio = 0.01\nheader = 'X-Debug'\nslow = '2s'\nslow_factor = 2\nrare = 3\ncap = 10\nstore = 'kept'\n\
                rule = ['route=/health drop', 'service=shop status=2xx 0.1']\nspan_rule = 'kind=client 0.5'\n";
    let options = resolve("", &[], file).expect("sound");
    let sampling = &options.sampling;
    assert_eq!((sampling.header.as_deref(), &options.headers[..]), (Some("x-debug"), &["x-debug".to_owned()][..]));
    assert!(sampling.is_on() && !Options::default().sampling.is_on());
    assert_eq!((options.templates.len(), sampling.rules.len(), sampling.span_rules.len()), (2, 2, 1));
    assert_eq!((sampling.rare, sampling.cap, sampling.store), (3, Some(10), crate::sample::Store::Kept));
    assert_eq!(sampling.slow, Some(Duration::from_secs(2)));
    for (flags, file, expected) in [
        (
            "",
            "[sampling]\nratio = 2",
            "FILE: line 2: sampling.ratio \"2\": not a probability: give a number from 0 to 1, such as 0.01",
        ),
        (
            "",
            "[sampling]\nrule = ['servce=shop keep']",
            "FILE: line 2: sampling.rule \"servce=shop keep\": \"servce=shop\" is no condition: give WORD=VALUE, such as \
             service=shop, route=/api/*, method=GET or status=5xx",
        ),
        (
            "",
            "[route]\ntemplate = 'users/{id}'",
            "FILE: line 2: route.template \"users/{id}\": not a route: give a path such as /users/{id}, after a service and a \
             space if it is one service's",
        ),
        (
            "--sample-header cookie",
            "",
            "--sample-header \"cookie\": header `cookie` carries credentials and is never kept; remove it from the list of \
             captured headers",
        ),
        (
            "",
            "[sampling]\nheader = 'X-Request-Id'",
            "FILE: line 2: sampling.header \"X-Request-Id\": this header means something else: give one of your own, such as \
             x-debug",
        ),
        ("", "[sampling]\nrato = 1", "FILE: line 2: sampling.rato: no such option: did you mean sampling.ratio?"),
    ] {
        assert_eq!(resolve(flags, &[], file).expect_err("a mistake"), expected);
    }
}
