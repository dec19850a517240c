//! What a process says of itself in its environment: `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`, and nothing
//! else. Other variables are never copied out of the buffer that was read.

/// Attributes that are kept of one process at most.
pub(super) const DECLARED_MAX: usize = 32;
/// Bytes of an attribute's name at most.
const NAME_MAX: usize = 64;
/// Bytes of an attribute's value, or of a service name, at most.
const VALUE_MAX: usize = 256;

/// What a process declares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Declared {
    /// Its service name.
    pub(super) service: Option<String>,
    /// Its other resource attributes, in their order; the last of equal names wins.
    pub(super) attributes: Vec<(String, String)>,
    /// Attributes left out because a bound was reached.
    pub(super) cut: u64,
}

impl Declared {
    /// Reads the two variables out of `/proc/PID/environ`.
    pub(super) fn of(environ: &[u8]) -> Self {
        let value = |name: &[u8]| {
            let entry = environ.split(|byte| *byte == 0).find_map(|entry| entry.strip_prefix(name))?;
            std::str::from_utf8(entry).ok()
        };
        let mut declared = Self::default();
        if let Some(list) = value(b"OTEL_RESOURCE_ATTRIBUTES=") {
            declared.add_all(list);
        }
        if let Some(name) = value(b"OTEL_SERVICE_NAME=").map(str::trim).filter(|name| fits(name, VALUE_MAX)) {
            declared.service = Some(name.to_owned());
        }
        declared
    }

    /// The list is `key=value` pairs with commas between, values percent-encoded (OpenTelemetry, resource SDK).
    fn add_all(&mut self, list: &str) {
        for pair in list.split(',').filter(|pair| !pair.trim().is_empty()) {
            let Some((name, value)) = pair.split_once('=') else { continue };
            let (name, value) = (name.trim(), percent_decode(value.trim()));
            if !fits(name, NAME_MAX) || !fits(&value, VALUE_MAX) {
                self.cut += 1;
                continue;
            }
            if name == "service.name" {
                self.service = Some(value);
                continue;
            }
            self.attributes.retain(|(present, _)| present != name);
            if self.attributes.len() == DECLARED_MAX {
                self.cut += 1;
                continue;
            }
            self.attributes.push((name.to_owned(), value));
        }
    }
}

/// Whether a text is none of: empty, longer than `max` bytes, with control characters.
pub(super) fn fits(text: &str, max: usize) -> bool {
    !text.is_empty() && text.len() <= max && !text.contains(char::is_control)
}

fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let digits =
            bytes.get(at + 1..at + 3).filter(|digits| byte == b'%' && digits.iter().all(u8::is_ascii_hexdigit));
        let code = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        if let Some(code) = code.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            decoded.push(code);
            at += 3;
        } else {
            decoded.push(byte);
            at += 1;
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(declared: &Declared) -> Vec<(&str, &str)> {
        declared.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    #[test]
    fn only_the_two_variables_are_read() {
        let declared = Declared::of(
            b"PATH=/bin\0AWS_SECRET_ACCESS_KEY=hunter2\0OTEL_SERVICE_NAME=shop\0\
              OTEL_RESOURCE_ATTRIBUTES=service.version=1.2,deployment.environment.name=prod%2Ceu\0X_OTEL_SERVICE_NAME=no\0",
        );
        assert_eq!(declared.service.as_deref(), Some("shop"));
        assert_eq!(pairs(&declared), [("service.version", "1.2"), ("deployment.environment.name", "prod,eu")]);
        assert!(!format!("{declared:?}").contains("hunter2"));
    }

    #[test]
    fn the_variable_of_its_own_wins_over_the_attribute() {
        let both = b"OTEL_SERVICE_NAME=a\0OTEL_RESOURCE_ATTRIBUTES=service.name=b\0";
        assert_eq!(Declared::of(both).service.as_deref(), Some("a"));
        let one = b"OTEL_SERVICE_NAME=\0OTEL_RESOURCE_ATTRIBUTES=service.name=b\0";
        assert_eq!(Declared::of(one).service.as_deref(), Some("b"), "an empty variable counts as unset");
    }

    #[test]
    fn broken_lists_and_spoiled_environments_yield_what_is_sound() {
        let odd = Declared::of(b"OTEL_RESOURCE_ATTRIBUTES=,novalue, a = 1 ,=x,b=%zz%+1,a=2,c=\x1b[31m");
        assert_eq!(pairs(&odd), [("b", "%zz%+1"), ("a", "2")]);
        assert_eq!(odd.cut, 2, "a nameless attribute and one with control characters");
        assert_eq!(Declared::of(b"nginx: worker process\0\0\0"), Declared::default());
        assert_eq!(Declared::of(b"OTEL_SERVICE_NAME=\xff\xfe\0"), Declared::default());
        assert_eq!(Declared::of(b""), Declared::default());
    }

    #[test]
    fn more_attributes_than_the_bound_are_counted() {
        let list: Vec<String> = (0..DECLARED_MAX + 3).map(|n| format!("k{n}=v")).collect();
        let declared = Declared::of(format!("OTEL_RESOURCE_ATTRIBUTES={}", list.join(",")).as_bytes());
        assert_eq!((declared.attributes.len(), declared.cut), (DECLARED_MAX, 3));
    }
}
