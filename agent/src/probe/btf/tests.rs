//! Type information made by hand, and that of the kernel this runs on.

use super::*;

/// Makes BTF.
#[derive(Default)]
struct Maker {
    types: Vec<u32>,
    count: u32,
    strings: Vec<u8>,
}

impl Maker {
    fn new() -> Self {
        Self { strings: vec![0], ..Self::default() }
    }

    fn string(&mut self, text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        let at = self.strings.len() as u32;
        self.strings.extend(text.as_bytes());
        self.strings.push(0);
        at
    }

    fn add(&mut self, name: &str, kind: u8, flag: bool, members: u32, size_or_type: u32, tail: &[u32]) -> u32 {
        let name = self.string(name);
        self.types.extend([name, u32::from(flag) << 31 | u32::from(kind) << 24 | members, size_or_type]);
        self.types.extend(tail);
        self.count += 1;
        self.count
    }

    fn int(&mut self, name: &str, size: u32) -> u32 {
        self.add(name, 1, false, 0, size, &[size * 8])
    }

    fn aggregate(&mut self, name: &str, kind: u8, flag: bool, size: u32, members: &[(&str, u32, u32)]) -> u32 {
        let tail: Vec<u32> = members.iter().flat_map(|(name, id, bit)| [self.string(name), *id, *bit]).collect();
        self.add(name, kind, flag, members.len() as u32, size, &tail)
    }

    fn bytes(&self) -> Vec<u8> {
        let types: Vec<u8> = self.types.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let mut bytes = MAGIC.to_ne_bytes().to_vec();
        bytes.extend([1, 0]);
        for word in [24, 0, types.len() as u32, types.len() as u32, self.strings.len() as u32] {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.extend(types);
        bytes.extend(&self.strings);
        bytes
    }

    fn btf(&self) -> Btf {
        Btf::parse(self.bytes()).expect("BTF")
    }
}

#[test]
fn members_of_anonymous_structures_and_unions_are_the_structures_own() {
    let mut maker = Maker::new();
    let int = maker.int("unsigned int", 4);
    let long = maker.int("unsigned long", 8);
    let pointer = maker.add("", PTR, false, 0, int, &[]);
    let inner = maker.aggregate("", STRUCT, false, 16, &[("iov", pointer, 0), ("count", long, 64)]);
    let either = maker.aggregate("", UNION, false, 16, &[("whole", long, 0), ("", inner, 0)]);
    maker.aggregate("iter", STRUCT, false, 24, &[("kind", int, 0), ("", either, 64)]);
    let btf = maker.btf();
    let offset = |path| btf.field("iter", path).and_then(|field| field.offset());
    assert_eq!(offset("kind"), Some(0));
    assert_eq!(offset("whole"), Some(8));
    assert_eq!(offset("iov"), Some(8));
    assert_eq!(offset("count"), Some(16));
    assert_eq!(btf.field("iter", "iov").map(|field| field.size), Some(8));
    assert_eq!(offset("none"), None);
    assert_eq!(btf.field("none", "kind"), None);
}

#[test]
fn typedefs_and_qualifiers_are_looked_through_and_paths_descend() {
    let mut maker = Maker::new();
    let int = maker.int("unsigned int", 4);
    let sample = maker.aggregate("sample", STRUCT, false, 8, &[("t", int, 0), ("v", int, 32)]);
    let array = maker.add("", ARRAY, false, 0, 0, &[sample, int, 3]);
    let minmax = maker.aggregate("minmax", STRUCT, false, 24, &[("s", array, 0)]);
    let constant = maker.add("", CONST, false, 0, minmax, &[]);
    let alias = maker.add("alias_t", TYPEDEF, false, 0, constant, &[]);
    let tagged = maker.add("user", TYPE_TAG, false, 0, alias, &[]);
    maker.aggregate("tcp", STRUCT, false, 40, &[("pad", int, 0), ("rtt", tagged, 64)]);
    let btf = maker.btf();
    let field = btf.field("tcp", "rtt.s[0].v").expect("a field");
    assert_eq!((field.offset(), field.size), (Some(12), 4));
    assert_eq!(btf.field("tcp", "rtt.s").map(|field| field.size), Some(24));
    assert_eq!(btf.field("tcp", "pad[0]"), None);
}

#[test]
fn bit_fields_have_a_place_but_no_offset() {
    let mut maker = Maker::new();
    let int = maker.int("unsigned int", 4);
    let fields = [("low", int, 3 << 24), ("high", int, 5 << 24 | 3), ("plain", int, 32)];
    maker.aggregate("flags", STRUCT, true, 8, &fields);
    let btf = maker.btf();
    let high = btf.field("flags", "high").expect("a field");
    assert_eq!((high.bit, high.bits, high.offset()), (3, 5, None));
    assert_eq!(btf.field("flags", "plain").and_then(|field| field.offset()), Some(4));
}

#[test]
fn enumerators_and_parameters_are_found_by_name() {
    let mut maker = Maker::new();
    let int = maker.int("int", 4);
    let (first, second) = (maker.string("ITER_UBUF"), maker.string("ITER_IOVEC"));
    maker.add("iter_type", ENUM, false, 2, 4, &[first, 0, second, 1]);
    let (big, flags) = (maker.string("BIG"), maker.string("flags"));
    maker.add("large", ENUM64, false, 1, 8, &[big, 7, 1]);
    let size = maker.string("size");
    let proto = maker.add("", FUNC_PROTO, false, 2, int, &[size, int, flags, int]);
    maker.add("tcp_recvmsg", FUNC, false, 1, proto, &[]);
    let btf = maker.btf();
    assert_eq!(btf.enumerator("iter_type", "ITER_IOVEC"), Some(1));
    assert_eq!(btf.enumerator("large", "BIG"), Some(7));
    assert_eq!(btf.enumerator("iter_type", "ITER_PIPE"), None);
    assert_eq!(btf.parameters("tcp_recvmsg"), Some(vec!["size", "flags"]));
    assert_eq!(btf.parameters("tcp_sendmsg"), None);
}

#[test]
fn a_name_with_several_structures_is_searched_through() {
    let mut maker = Maker::new();
    let int = maker.int("int", 4);
    maker.aggregate("socket", STRUCT, false, 4, &[("other", int, 0)]);
    maker.aggregate("socket", STRUCT, false, 8, &[("sk", int, 32)]);
    assert_eq!(maker.btf().field("socket", "sk").and_then(|field| field.offset()), Some(4));
}

#[test]
fn types_that_refer_to_themselves_end() {
    let mut maker = Maker::new();
    maker.add("loop_t", TYPEDEF, false, 0, 1, &[]);
    maker.aggregate("knot", STRUCT, false, 8, &[("", 2, 0), ("x", 1, 0)]);
    let btf = maker.btf();
    assert_eq!(btf.field("knot", "none"), None);
    assert_eq!(btf.field("knot", "x.y"), None);
}

#[test]
fn what_is_no_btf_is_refused_in_words_and_every_cut_is_survived() {
    assert!(Btf::parse(Vec::new()).is_err());
    let error = Btf::parse(vec![0; 64]).err().expect("an error").to_string();
    assert!(error.contains("0x0000, not 0xeb9f"), "{error}");
    let mut maker = Maker::new();
    let int = maker.int("int", 4);
    maker.aggregate("pair", STRUCT, false, 8, &[("a", int, 0), ("b", int, 32)]);
    let bytes = maker.bytes();
    for len in 0..bytes.len() {
        if let Ok(btf) = Btf::parse(bytes[..len].to_vec()) {
            let _ = btf.field("pair", "b");
        }
    }
    maker.add("new", 31, false, 0, 0, &[]);
    let error = Btf::parse(maker.bytes()).err().expect("an error").to_string();
    assert!(error.contains("kind 31"), "{error}");
}

#[test]
fn the_running_kernel_tells_its_sockets_layout() {
    let Ok(btf) = Btf::of_kernel() else { return };
    let offset = |structure, path| btf.field(structure, path).and_then(|field| field.offset());
    assert_eq!(offset("sock", "__sk_common"), Some(0));
    let (peer, local) = (offset("sock", "__sk_common.skc_daddr"), offset("sock", "__sk_common.skc_rcv_saddr"));
    assert_eq!((peer, local), (Some(0), Some(4)), "asserted by the kernel itself, in inet_hashtables.h");
    assert_eq!(btf.field("sock", "__sk_common.skc_family").map(|field| field.size), Some(2));
    assert_eq!(btf.parameters("tcp_sendmsg").map(|names| names.len()), Some(3));
    assert!(btf.parameters("tcp_recvmsg").is_some_and(|names| names.contains(&"flags")));
}
