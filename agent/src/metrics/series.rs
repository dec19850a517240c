//! A metric with its series: one for each set of attributes, bounded in number.

use rustc_hash::FxHashMap;

use crate::span::{Text, Value};

/// Series of a metric, at most; what comes later goes under [`OVERFLOW`].
pub const SERIES_MAX: usize = 2000;
/// The attribute of the series that holds what found no place (OpenTelemetry, `Metrics SDK`, cardinality limits).
pub const OVERFLOW: &str = "otel.metric.overflow";

/// Attributes, in the order of the metric's table; those that are not known are left out.
pub type Attributes = Vec<(&'static str, Label)>;

/// Value of a series' attribute.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Label {
    /// Text.
    Text(String),
    /// Integer.
    Int(i64),
    /// Truth value.
    Bool(bool),
}

impl From<&Value> for Label {
    fn from(value: &Value) -> Self {
        match value {
            Value::Text(text) => Self::Text(Text::clone(text).into_owned()),
            Value::Int(number) => Self::Int(*number),
            Value::Bool(truth) => Self::Bool(*truth),
            Value::Float(number) => Self::Text(number.to_string()),
            Value::List(texts) => Self::Text(texts.join(",")),
        }
    }
}

/// What a series belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// `service.name`; empty for what found no place.
    pub service: String,
    /// Its attributes.
    pub attributes: Attributes,
}

/// The series of a metric, by what they belong to.
#[derive(Clone, Debug)]
pub struct Series<T> {
    all: FxHashMap<Key, T>,
    overflow: u64,
}

impl<T> Default for Series<T> {
    fn default() -> Self {
        Self { all: FxHashMap::default(), overflow: 0 }
    }
}

impl<T: Default> Series<T> {
    /// The series of a key; with too many, that of what found no place.
    pub fn of(&mut self, mut key: Key) -> &mut T {
        if self.all.len() >= SERIES_MAX && !self.all.contains_key(&key) {
            self.overflow += 1;
            key = Key { service: String::new(), attributes: vec![(OVERFLOW, Label::Bool(true))] };
        }
        self.all.entry(key).or_default()
    }

    /// All series, sorted.
    pub fn sorted(&self) -> Vec<(&Key, &T)> {
        let mut sorted: Vec<_> = self.all.iter().collect();
        sorted.sort_by_key(|(key, _)| *key);
        sorted
    }

    /// What found no place.
    pub const fn overflow(&self) -> u64 {
        self.overflow
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_series_is_bounded() {
        let mut series = Series::<u64>::default();
        for n in 0..SERIES_MAX + 500 {
            let attributes = vec![("http.route", Label::Text(format!("/{n}")))];
            *series.of(Key { service: "shop".to_owned(), attributes }) += 1;
        }
        assert_eq!((series.sorted().len(), series.overflow()), (SERIES_MAX + 1, 500));
        let (key, count) = series.sorted()[0];
        assert_eq!((key.attributes[0].0, *count), (OVERFLOW, 500));
    }
}
