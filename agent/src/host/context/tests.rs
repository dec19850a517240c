//! Contexts as programs publish them, and as they should not.

use std::cell::{Cell, RefCell};

use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, KeyValue, any_value},
    resource::v1::Resource,
};
use prost::Message as _;

use super::{payload::Wire, *};

const AT: u64 = 0x7000;
const PAYLOAD_AT: u64 = 0x9000;

fn pair(name: &str, value: &str) -> KeyValue {
    let value = any_value::Value::StringValue(value.to_owned());
    KeyValue { key: name.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

/// A payload.
fn encoded(resource: &[(&str, &str)], others: &[(&str, &str)]) -> Vec<u8> {
    let pairs = |list: &[(&str, &str)]| list.iter().map(|(name, value)| pair(name, value)).collect();
    let resource = Resource { attributes: pairs(resource), ..Resource::default() };
    Wire { resource: Some(resource), attributes: pairs(others) }.encode_to_vec()
}

/// A header.
fn header(version: u32, size: u32, published_ns: u64, payload: u64) -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    bytes.extend(version.to_ne_bytes());
    bytes.extend(size.to_ne_bytes());
    bytes.extend(published_ns.to_ne_bytes());
    bytes.extend(payload.to_ne_bytes());
    bytes
}

/// Memory with a header and a payload, which may change whenever the payload is read.
struct Made {
    header: RefCell<Vec<u8>>,
    payload: Vec<u8>,
    updates: Cell<usize>,
}

impl Made {
    fn new(header: Vec<u8>, payload: Vec<u8>) -> Self {
        Self { header: RefCell::new(header), payload, updates: Cell::new(0) }
    }

    fn sound(payload: Vec<u8>) -> Self {
        let size = u32::try_from(payload.len()).expect("short");
        Self::new(header(VERSION, size, 5, PAYLOAD_AT), payload)
    }
}

impl Memory for Made {
    fn read(&self, address: u64, into: &mut [u8]) -> bool {
        let header = self.header.borrow().clone();
        let (from, bytes) = if address >= PAYLOAD_AT { (PAYLOAD_AT, &self.payload) } else { (AT, &header) };
        if from == PAYLOAD_AT && self.updates.get() > 0 {
            self.updates.set(self.updates.get() - 1);
            let mut header = self.header.borrow_mut();
            header[16] = header[16].wrapping_add(1);
        }
        let Some(offset) = address.checked_sub(from).and_then(|offset| usize::try_from(offset).ok()) else {
            return false;
        };
        match bytes.get(offset..).and_then(|rest| rest.get(..into.len())) {
            Some(found) => {
                into.copy_from_slice(found);
                true
            }
            None => false,
        }
    }
}

#[test]
fn what_is_published_is_read_and_what_is_not_on_the_list_is_dropped() {
    let resource = [
        ("service.name", "cart"),
        ("service.version", "1.2"),
        ("deployment.environment.name", "prod"),
        ("api.key", "hunter2"),
        ("service.namespace", "a\u{1b}[31m"),
        ("service.version", "1.3"),
    ];
    let memory = Made::sound(encoded(&resource, &[("threadlocal.schema_version", "tlsdesc_v1_dev"), ("x", "y")]));
    let context = read(&memory, AT).expect("sound");
    assert_eq!(context.service.as_deref(), Some("cart"));
    assert_eq!((context.address, context.published_ns), (AT, 5));
    assert_eq!(context.threads.as_deref(), Some("tlsdesc_v1_dev"));
    let of = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(context.attributes, [of("deployment.environment.name", "prod"), of("service.version", "1.3")]);
    assert!(!format!("{context:?}").contains("hunter2"));
}

#[test]
fn nonsense_is_refused_by_its_reason() {
    let payload = encoded(&[("service.name", "cart")], &[]);
    let size = u32::try_from(payload.len()).expect("short");
    for (header, expected) in [
        (header(3, size, 5, PAYLOAD_AT), Refusal::Header),
        (vec![0; 32], Refusal::Header),
        (b"OTEL_CTX".to_vec(), Refusal::Unreadable),
        (header(VERSION, 0, 5, PAYLOAD_AT), Refusal::Size),
        (header(VERSION, PAYLOAD_MAX + 1, 5, PAYLOAD_AT), Refusal::Size),
        (header(VERSION, u32::MAX, 5, PAYLOAD_AT), Refusal::Size),
        (header(VERSION, size + 1, 5, PAYLOAD_AT), Refusal::Unreadable),
        (header(VERSION, size, 5, u64::MAX), Refusal::Unreadable),
        (header(VERSION, size, 0, PAYLOAD_AT), Refusal::Torn),
        (header(VERSION, size - 1, 5, PAYLOAD_AT), Refusal::Payload),
    ] {
        assert_eq!(read(&Made::new(header, payload.clone()), AT), Err(expected));
    }
    let names: Vec<u64> = [Refusal::Unreadable, Refusal::Header, Refusal::Size, Refusal::Torn, Refusal::Payload]
        .map(|why| {
            let mut counts = ContextCounts::default();
            assert_eq!(counts.count(Found::Refused(why)), None);
            counts.named().iter().map(|(_, count)| count).sum()
        })
        .to_vec();
    assert_eq!(names, [2; 5], "each is counted as a look and by its reason");
}

#[test]
fn one_that_is_updated_while_it_is_read_is_read_anew_or_refused() {
    let memory = Made::sound(encoded(&[("service.name", "cart")], &[]));
    memory.updates.set(ATTEMPTS - 1);
    assert_eq!(read(&memory, AT).map(|context| context.published_ns), Ok(4 + ATTEMPTS as u64));
    memory.updates.set(ATTEMPTS);
    assert_eq!(read(&memory, AT), Err(Refusal::Torn));
}

#[test]
fn garbage_is_no_message_and_never_a_panic() {
    let sound = encoded(&[("service.name", "cart"), ("service.version", "1")], &[("threadlocal.schema_version", "x")]);
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for _ in 0..5000 {
        let mut bytes = sound.clone();
        for _ in 0..=next() % 4 {
            let at = usize::try_from(next()).expect("64 bits") % bytes.len();
            bytes[at] = next().to_ne_bytes()[0];
        }
        if let Some(context) = payload::decode(&bytes) {
            assert!(context.attributes.len() <= 4 && context.service.is_none_or(|name| name.len() <= 256));
        }
    }
    assert_eq!(payload::decode(b"\xff\xff\xff"), None);
}

mod published {
    //! In a tree of files: what a process publishes becomes its name.

    use super::{super::super::fake::*, *};
    use crate::host::{Identities as _, NameSource, Processes};

    const SECOND: u64 = 1_000_000_000;

    /// Lets a process publish: `mem` is a file, which ends behind the payload.
    fn publish(fake: &Fake, published_ns: u64, resource: &[(&str, &str)]) {
        let payload = encoded(resource, &[]);
        let size = u32::try_from(payload.len()).expect("short");
        let mut memory = vec![0; usize::try_from(AT).expect("small")];
        memory.extend(header(VERSION, size, published_ns, AT + Header::LEN as u64));
        memory.extend(payload);
        fake.write("proc/7/mem", memory);
        fake.write("proc/7/maps", "7000-8000 rw-s 00000000 00:01 9   /memfd:OTEL_CTX (deleted)\n");
    }

    fn started() -> (Fake, Processes) {
        let fake = Fake::new();
        fake.start(&Process {
            pid: 7,
            exe: Some("/usr/bin/prog"),
            args: "prog",
            environ: "OTEL_SERVICE_NAME=declared OTEL_RESOURCE_ATTRIBUTES=service.version=0,team=a",
            ..Process::default()
        });
        let mut processes = Processes::new(fake.root(), Vec::new());
        processes.read_contexts();
        (fake, processes)
    }

    #[test]
    fn a_process_that_publishes_later_is_named_later_and_anew_when_it_says_something_else() {
        let (fake, mut processes) = started();
        fake.write("proc/7/maps", "");
        assert_eq!(processes.identity(7, SECOND).service, "declared");
        publish(&fake, 5, &[("service.name", "cart"), ("service.version", "2")]);
        assert_eq!(processes.identity(7, SECOND + 1).service, "declared", "no look is due");
        let identity = processes.identity(7, 3 * SECOND);
        assert_eq!((identity.service.as_str(), identity.service_from), ("cart", NameSource::ProcessContext));
        let of = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(identity.declared, [of("team", "a"), of("service.version", "2")]);
        publish(&fake, 6, &[("service.name", "basket")]);
        assert_eq!(processes.identity(7, 4 * SECOND).service, "cart", "it is not checked at each question");
        assert_eq!(processes.identity(7, 20 * SECOND).service, "basket");
        let counts = processes.counts().contexts;
        assert_eq!((counts.looks, counts.read), (3, 2));
    }

    #[test]
    fn looks_in_vain_end() {
        let (fake, mut processes) = started();
        fake.write("proc/7/maps", "");
        for second in 1..5000 {
            processes.identity(7, second * SECOND);
        }
        assert_eq!(processes.counts().contexts.looks, 7, "the first, and one after each pause");
    }

    #[test]
    fn a_rule_of_the_operator_has_the_last_word() {
        let (fake, _) = started();
        publish(&fake, 5, &[("service.name", "cart"), ("service.instance.id", "i-1")]);
        let rules = vec!["exe:/usr/bin/prog=ours".parse().expect("a rule")];
        let mut processes = Processes::new(fake.root(), rules);
        processes.read_contexts();
        assert_eq!(processes.identity(7, SECOND).service, "ours");
        let resource = processes.resource(7, SECOND);
        assert!(resource.attributes.iter().any(|(name, value)| {
            name == "service.instance.id" && matches!(value, crate::span::Value::Text(text) if &**text == "i-1")
        }));
    }

    #[test]
    fn an_answer_about_a_program_that_is_no_longer_run_is_dropped() {
        let (fake, mut processes) = started();
        publish(&fake, 5, &[("service.name", "cart")]);
        processes.watch_contexts().expect("a thread");
        let since_ns = processes.identity(7, SECOND).since_ns;
        fake.start(&Process {
            pid: 7,
            start_ticks: 900,
            exe: Some("/usr/bin/other"),
            args: "other",
            ..Process::default()
        });
        // The id is found to mean another process, whose own look finds nothing.
        assert_eq!(processes.identity(7, 20 * SECOND).service, "other");
        assert!(processes.identity(7, 20 * SECOND).since_ns != since_ns);
        for _ in 0..500 {
            if processes.counts().contexts.looks >= 2 {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
            processes.identity(7, 20 * SECOND);
        }
        assert_eq!(processes.counts().contexts.looks, 2);
        assert_eq!(processes.identity(7, 20 * SECOND).service, "other");
    }
}
