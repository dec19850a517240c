//! Which three bytes follow each other anywhere in the texts of a block that are searched with wildcards: what is nowhere in them is
//! ruled out by eight kilobytes, where a search would read each text.

/// Bits of the map, one for each hash. It is stored, as the hash is: neither must ever change.
const BITS: usize = 1 << 16;
/// Bytes that follow each other.
const LENGTH: usize = 3;

/// A map in the making.
#[derive(Debug)]
pub(super) struct Grams(Vec<u8>);

impl Grams {
    pub(super) fn new() -> Self {
        Self(vec![0; BITS / 8])
    }

    /// Takes a text.
    pub(super) fn add(&mut self, text: &str) {
        for gram in text.as_bytes().windows(LENGTH) {
            let bit = bit(gram);
            self.0[bit / 8] |= 1 << (bit % 8);
        }
    }

    pub(super) fn bits(&self) -> &[u8] {
        &self.0
    }
}

/// Whether one of the texts may contain this one.
pub fn may_contain(bits: &[u8], text: &str) -> bool {
    let is_set = |bit: usize| bits.get(bit / 8).is_none_or(|byte| byte & (1 << (bit % 8)) != 0);
    text.as_bytes().windows(LENGTH).all(|gram| is_set(bit(gram)))
}

fn bit(gram: &[u8]) -> usize {
    let number = gram.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
    (number.wrapping_mul(0x9e37_79b1) >> 16) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_text_contains_may_be_there_and_what_none_contains_is_not() {
        let mut grams = Grams::new();
        for n in 0..5000 {
            grams.add(&format!("/api/items/{n}"));
        }
        grams.add("ü");
        for text in ["/api", "items/4711", "4999", "i/it", "/a", "", "ü"] {
            assert!(may_contain(grams.bits(), text), "{text}");
        }
        for text in ["nowhere", "/api/users", "items/x"] {
            assert!(!may_contain(grams.bits(), text), "{text}");
        }
        assert!(may_contain(&[], "nowhere"), "a map that is cut rules nothing out");
    }
}
