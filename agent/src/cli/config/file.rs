//! Options in a TOML file. Every key has to be an option; a mistake is told with its line.

use std::{fs, ops::Range, path::Path};

use toml::de::{DeTable, DeValue};

use super::{
    ConfigError, Given, Layer, Origin, Shape, Spec,
    destination::{self, Destination},
    similar::nearest,
};

/// Bytes of a file at most.
const FILE_MAX: u64 = 1 << 20;

/// The key of destinations, which only a file can have several of.
const EXPORT: &str = "export";

/// What a file says.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// Its options.
    pub layer: Layer,
    /// Its destinations.
    pub destinations: Vec<Destination>,
}

/// The options of a file.
pub(super) fn contents(path: &Path) -> Result<Contents, ConfigError> {
    let failed = |why: String| ConfigError::Read { path: path.to_owned(), why };
    let size = fs::metadata(path).map_err(|error| failed(error.to_string()))?.len();
    if size > FILE_MAX {
        return Err(failed(format!("it has {size} bytes, at most {FILE_MAX} are read")));
    }
    let text = fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    parse(path, &text)
}

fn parse(path: &Path, text: &str) -> Result<Contents, ConfigError> {
    let file = File { path, text };
    let table = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
        path: path.to_owned(),
        line: error.span().map_or(1, |span| file.line(span)),
        why: error.message().replace('\n', " "),
    })?;
    let mut contents = Contents::default();
    file.read(table.get_ref(), "", &mut contents.layer)?;
    contents.destinations = file.destinations(table.get_ref())?;
    Ok(contents)
}

struct File<'a> {
    path: &'a Path,
    text: &'a str,
}

impl File<'_> {
    fn line(&self, span: Range<usize>) -> usize {
        self.text.get(..span.start).map_or(1, |before| before.matches('\n').count() + 1)
    }

    fn destinations(&self, table: &DeTable<'_>) -> Result<Vec<Destination>, ConfigError> {
        let Some((name, value)) = table.get_key_value(EXPORT) else { return Ok(Vec::new()) };
        let wanted = "tables that begin with [[export]]";
        let DeValue::Array(all) = value.get_ref() else {
            return Err(self.kind(self.line(name.span()), EXPORT, value.get_ref(), wanted));
        };
        let mut read = Vec::new();
        for one in all {
            let line = self.line(one.span());
            let DeValue::Table(table) = one.get_ref() else {
                return Err(self.kind(line, EXPORT, one.get_ref(), wanted));
            };
            let table = destination::Table { path: self.path, line, entries: table, line_of: &|span| self.line(span) };
            read.push((line, table.read()?));
        }
        destination::distinct(self.path, &read)?;
        Ok(read.into_iter().map(|(_, destination)| destination).collect())
    }

    fn read(&self, table: &DeTable<'_>, above: &str, layer: &mut Layer) -> Result<(), ConfigError> {
        for (name, value) in table {
            let key = if above.is_empty() { name.get_ref().to_string() } else { format!("{above}.{}", name.get_ref()) };
            let line = self.line(name.span());
            if key == EXPORT {
                continue;
            }
            let is_group =
                Spec::ALL.iter().any(|spec| spec.key.strip_prefix(&key).is_some_and(|rest| rest.starts_with('.')));
            match (Spec::by_key(&key), value.get_ref()) {
                (Some(spec), value) => {
                    let values = self.values(spec, value, line)?;
                    layer.push(Given { key: spec.key, values, origin: Origin::File(self.path.to_owned(), line, key) });
                }
                (None, DeValue::Table(table)) if is_group => self.read(table, &key, layer)?,
                (None, value) if is_group => return Err(self.kind(line, &key, value, "a table")),
                (None, _) => return Err(self.unknown(line, key)),
            }
        }
        Ok(())
    }

    fn values(&self, spec: &Spec, value: &DeValue<'_>, line: usize) -> Result<Vec<String>, ConfigError> {
        let wanted = match spec.shape {
            Shape::One => "a single value",
            Shape::Switch => "true or false",
            Shape::List => "a value or a list of values",
        };
        let refused = || self.kind(line, spec.key, value, wanted);
        match (spec.shape, value) {
            (Shape::Switch, DeValue::Boolean(value)) => Ok(vec![value.to_string()]),
            (Shape::Switch, _) => Err(refused()),
            (Shape::List, DeValue::Array(values)) => {
                values.iter().map(|value| scalar(value.get_ref()).ok_or_else(refused)).collect()
            }
            (Shape::One | Shape::List, value) => Ok(vec![scalar(value).ok_or_else(refused)?]),
        }
    }

    fn kind(&self, line: usize, key: &str, value: &DeValue<'_>, wanted: &'static str) -> ConfigError {
        let found = match value {
            DeValue::Table(_) => "a table",
            DeValue::Array(_) => "a list",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::String(_) => "a text",
            DeValue::Integer(_) | DeValue::Float(_) => "a number",
        };
        ConfigError::Kind { path: self.path.to_owned(), line, key: key.to_owned(), found, wanted }
    }

    fn unknown(&self, line: usize, key: String) -> ConfigError {
        let groups = Spec::ALL.iter().filter_map(|spec| Some(spec.key.split_once('.')?.0));
        let meant = nearest(&key, Spec::ALL.iter().map(|spec| spec.key).chain(groups).chain([EXPORT]));
        let advice = meant.map_or_else(
            || "remove it, or see `netspan run --help` for the options".to_owned(),
            |meant| format!("did you mean {meant}?"),
        );
        ConfigError::UnknownKey { path: self.path.to_owned(), line, key, advice }
    }
}

pub(super) fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok().map(|n| n.to_string()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        parse(Path::new("netspan.toml"), text).expect_err("a mistake").to_string()
    }

    #[test]
    fn tables_keys_and_values_become_options() {
        let text = "# a comment\n[filter]\nport = [80, '443', 0x50]\ncomm = 'nginx'\nexclude.pid = 7\n\n\
                    [link]\nmin_confidence = 0.5\n[redact]\nkeep_query = true\n[log]\nlevel = \"debug\"\n";
        let layer = parse(Path::new("f"), text).expect("a sound file").layer;
        let mut read: Vec<_> = layer.iter().map(|given| format!("{}={}", given.key, given.values.join("|"))).collect();
        read.sort();
        assert_eq!(
            read,
            [
                "filter.comm=nginx",
                "filter.exclude.pid=7",
                "filter.port=80|443|80",
                "link.min_confidence=0.5",
                "log.level=debug",
                "redact.keep_query=true"
            ]
        );
        let port = layer.iter().find(|given| given.key == "filter.port").expect("given");
        assert_eq!(port.origin.to_string(), "f: line 3: filter.port");
    }

    #[test]
    fn each_mistake_is_one_line_with_file_line_and_advice() {
        for (text, expected) in [
            ("[filter]\nprot = 80", "netspan.toml: line 2: filter.prot: no such option: did you mean filter.port?"),
            ("port = 80", "netspan.toml: line 1: port: no such option: did you mean filter.port?"),
            ("\n\n[filtr]\nport = 80", "netspan.toml: line 3: filtr: no such option: did you mean filter?"),
            (
                "colour = 'red'",
                "netspan.toml: line 1: colour: no such option: remove it, or see `netspan run --help` for the options",
            ),
            ("filter = 3", "netspan.toml: line 1: filter: a number can't be its value: give a table"),
            (
                "[redact]\nkeep_query = 'yes'",
                "netspan.toml: line 2: redact.keep_query: a text can't be its value: give true or false",
            ),
            ("[otlp]\nurl = ['a']", "netspan.toml: line 2: otlp.url: a list can't be its value: give a single value"),
            (
                "[filter]\nport = [[80]]",
                "netspan.toml: line 2: filter.port: a list can't be its value: give a value or a list of values",
            ),
            (
                "[export]\nkind = 'file'",
                "netspan.toml: line 1: export: a table can't be its value: give tables that begin with [[export]]",
            ),
            (
                "\n[[export]]\nurl = 'http://a:1'",
                "netspan.toml: line 2: export: it has no kind: give otlp-grpc, otlp-http, otlp-json, zipkin or file",
            ),
            (
                "[[export]]\nkind = 'otlp'",
                "netspan.toml: line 2: export.kind \"otlp\": not a kind of destination: give otlp-grpc, otlp-http, otlp-json, zipkin or file",
            ),
            (
                "[[export]]\nkind = 'zipkin'",
                "netspan.toml: line 1: export: it has no url: give one such as http://zipkin:9411",
            ),
            (
                "[[export]]\nkind = 'file'\npath = '/x'\nurl = 'http://a:1'",
                "netspan.toml: line 1: export: kind \"file\" has no url: remove it",
            ),
            (
                "[[export]]\nkind = 'zipkin'\nurl = 'http://a:1'\ncompresion = 'gzip'",
                "netspan.toml: line 4: export.compresion: no such option: did you mean compression?",
            ),
            (
                "[[export]]\nkind = 'zipkin'\nurl = 'http://a:1'\ncompression = 'br'",
                "netspan.toml: line 4: export.compression \"br\": not a compression: give none, gzip or zstd",
            ),
            (
                "[[export]]\nkind = 'otlp-http'\nurl = 'http://a:1'\nheaders = { 'a b' = 'secret' }",
                "netspan.toml: line 1: export: headers: \"a b\" has a name that no header can have",
            ),
            (
                "[[export]]\nkind = 'otlp-http'\nurl = 'https://a:1'\nclient_key = '/k'",
                "netspan.toml: line 1: export: client_certificate and client_key belong together: give both or none",
            ),
            (
                "[[export]]\nkind = 'file'\npath = '/a'\n[[export]]\nkind = 'file'\npath = '/b'",
                "netspan.toml: line 4: export: the name \"file\" is taken: give each destination a name of its own (otlp is that of --otlp)",
            ),
        ] {
            assert_eq!(error(text), expected);
        }
        let syntax = error("[filter]\nport = \n");
        assert!(syntax.starts_with("netspan.toml: line 2: not TOML: ") && !syntax.contains('\n'), "{syntax}");
    }

    #[test]
    fn metrics_go_where_spans_go_or_elsewhere_or_nowhere() {
        let metrics = |kind: &str, more: &str| {
            let text = format!("[[export]]\nkind = '{kind}'\n{more}\n");
            let read = parse(Path::new("f"), &text).map_err(|error| error.to_string())?.destinations.remove(0);
            Ok::<_, String>(read.metrics(&[]).map(|config| (config.shown(), config.queue.is_some())))
        };
        let to = |url: &str| Ok(Some((url.to_owned(), false)));
        for (kind, more, expected) in [
            ("otlp-http", "url = 'http://a:1'", to("http://a:1/v1/metrics")),
            ("otlp-grpc", "url = 'http://a:1'", to("http://a:1")),
            ("otlp-json", "url = 'http://a:1'\nmetrics = false", Ok(None)),
            ("otlp-http", "url = 'http://a:1/spans'", Ok(None)),
            ("otlp-http", "url = 'http://a:1/spans'\nmetrics_url = 'http://b:2'", to("http://b:2/v1/metrics")),
            ("zipkin", "url = 'http://a:1'", Ok(None)),
            ("file", "path = '/x'", Ok(None)),
        ] {
            assert_eq!(metrics(kind, more), expected, "{kind} {more}");
        }
        for (kind, more, why) in [
            ("otlp-http", "url = 'http://a:1/spans'\nmetrics = true", "give a metrics_url"),
            ("otlp-http", "url = 'http://a:1'\nmetrics = false\nmetrics_url = 'http://b:2'", "remove one"),
            ("zipkin", "url = 'http://a:1'\nmetrics = true", "has no metrics: remove it"),
            ("file", "path = '/x'\nmetrics = true", "has no metrics: remove it"),
        ] {
            let error = metrics(kind, more).expect_err(more);
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn destinations_are_read_with_all_that_they_may_have() {
        let text = "[[export]]\nkind = 'otlp-grpc'\nname = 'main'\nurl = 'https://c:4317'\ncompression = 'zstd'\n\
                    timeout = '5s'\ncertificate = '/ca'\nclient_certificate = '/c'\nclient_key = '/k'\n\
                    queue_bytes = '64MiB'\nqueue_age = '2h'\nheaders = { authorization = 'Bearer secret' }\n\
                    [[export]]\nkind = 'zipkin'\nurl = 'http://z:9411'\nqueue = false\n\
                    [[export]]\nkind = 'file'\npath = '/x'\nrotate_bytes = '1MiB'\nrotate_files = 3\n";
        let read = parse(Path::new("f"), text).expect("a sound file").destinations;
        let base = Path::new("/q");
        let queue = super::super::QueueOptions::default();
        let all: Vec<_> = read.iter().map(|one| one.resolve(&queue, Some(base), &[])).collect();
        let shown: Vec<_> = all.iter().map(|config| (config.name.as_str(), config.shown())).collect();
        let shown: Vec<_> = shown.iter().map(|(name, shown)| (*name, shown.as_str())).collect();
        assert_eq!(shown, [("main", "https://c:4317"), ("zipkin", "http://z:9411/api/v2/spans"), ("file", "/x")]);
        let dirs: Vec<_> =
            all.iter().map(|one| one.queue.as_ref().map(|queue| (queue.dir.clone(), queue.bytes))).collect();
        assert_eq!(dirs, [Some(("/q/main.otlp".into(), 64 << 20)), None, Some(("/q/file.lines".into(), 512 << 20))]);
        assert_eq!(all[0].limits.retry_age.as_secs(), 2 * 3600);
        assert!(!format!("{all:?}").contains("secret"));
    }

    #[test]
    fn a_file_that_is_not_there_is_said_so() {
        let error = contents(Path::new("/nowhere/netspan.toml")).expect_err("no file").to_string();
        assert!(error.starts_with("/nowhere/netspan.toml: can't be read: "), "{error}");
    }
}
