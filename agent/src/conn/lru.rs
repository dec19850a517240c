//! A map of bounded size that knows which entry was used longest ago. It must not decide what to do with an entry that
//! falls out: it hands it back.

use rustc_hash::FxHashMap;

const NONE: u32 = u32::MAX;

/// Map from connection ids to `V`, in the order of last use.
pub(crate) struct Lru<V> {
    places: FxHashMap<u64, u32>,
    slots: Vec<Slot<V>>,
    free: Vec<u32>,
    oldest: u32,
    newest: u32,
    capacity: usize,
}

struct Slot<V> {
    key: u64,
    value: Option<V>,
    older: u32,
    newer: u32,
}

impl<V> Lru<V> {
    /// At least one entry, at most `u32::MAX - 1`.
    pub(crate) fn new(capacity: usize) -> Self {
        let capacity = capacity.clamp(1, NONE as usize - 1);
        Self { places: FxHashMap::default(), slots: Vec::new(), free: Vec::new(), oldest: NONE, newest: NONE, capacity }
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    pub(crate) fn contains(&self, key: u64) -> bool {
        self.places.contains_key(&key)
    }

    /// The entry.
    pub(crate) fn get(&self, key: u64) -> Option<&V> {
        self.slots[*self.places.get(&key)? as usize].value.as_ref()
    }

    /// The entry, which becomes the one used last.
    pub(crate) fn touch(&mut self, key: u64) -> Option<&mut V> {
        let at = *self.places.get(&key)?;
        if self.newest != at {
            self.unlink(at);
            self.link_newest(at);
        }
        self.slots[at as usize].value.as_mut()
    }

    /// Puts a new entry in, as the one used last; a full map hands back its oldest. The key must not be there yet.
    pub(crate) fn insert(&mut self, key: u64, value: V) -> Option<(u64, V)> {
        let fallen = if self.places.len() >= self.capacity { self.pop_oldest() } else { None };
        let slot = Slot { key, value: Some(value), older: NONE, newer: NONE };
        let at = if let Some(at) = self.free.pop() {
            self.slots[at as usize] = slot;
            at
        } else {
            self.slots.push(slot);
            self.slots.len() as u32 - 1
        };
        self.places.insert(key, at);
        self.link_newest(at);
        fallen
    }

    pub(crate) fn remove(&mut self, key: u64) -> Option<V> {
        let at = self.places.remove(&key)?;
        self.unlink(at);
        self.free.push(at);
        self.slots[at as usize].value.take()
    }

    /// The entry used longest ago.
    pub(crate) fn oldest(&self) -> Option<(u64, &V)> {
        let slot = self.slots.get(self.oldest as usize)?;
        slot.value.as_ref().map(|value| (slot.key, value))
    }

    pub(crate) fn pop_oldest(&mut self) -> Option<(u64, V)> {
        let key = self.slots.get(self.oldest as usize)?.key;
        self.remove(key).map(|value| (key, value))
    }

    /// Every entry, from the oldest to the newest, without touching any.
    pub(crate) fn for_each(&mut self, mut act: impl FnMut(u64, &mut V)) {
        let mut at = self.oldest;
        while let Some(slot) = self.slots.get_mut(at as usize) {
            at = slot.newer;
            if let Some(value) = &mut slot.value {
                act(slot.key, value);
            }
        }
    }

    fn unlink(&mut self, at: u32) {
        let Slot { older, newer, .. } = self.slots[at as usize];
        match older {
            NONE => self.oldest = newer,
            _ => self.slots[older as usize].newer = newer,
        }
        match newer {
            NONE => self.newest = older,
            _ => self.slots[newer as usize].older = older,
        }
    }

    fn link_newest(&mut self, at: u32) {
        self.slots[at as usize].older = self.newest;
        self.slots[at as usize].newer = NONE;
        match self.newest {
            NONE => self.oldest = at,
            newest => self.slots[newest as usize].newer = at,
        }
        self.newest = at;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_map_hands_back_the_entry_used_longest_ago() {
        let mut map = Lru::new(2);
        assert_eq!(map.insert(1, 'a'), None);
        assert_eq!(map.insert(2, 'b'), None);
        assert_eq!(map.touch(1), Some(&mut 'a'));
        assert_eq!(map.insert(3, 'c'), Some((2, 'b')));
        assert_eq!(map.insert(4, 'd'), Some((1, 'a')));
        assert_eq!(map.oldest(), Some((3, &'c')));
        assert_eq!(map.len(), 2);
    }

    #[test]
    fn removed_entries_leave_the_order_of_the_others() {
        let mut map = Lru::new(8);
        for key in 0..5 {
            map.insert(key, key);
        }
        for key in [2, 0, 4] {
            assert_eq!(map.remove(key), Some(key));
        }
        map.insert(9, 9);
        map.touch(1);
        let mut seen = Vec::new();
        map.for_each(|key, _| seen.push(key));
        assert_eq!(seen, [3, 9, 1]);
        while map.pop_oldest().is_some() {}
        assert_eq!((map.len(), map.oldest()), (0, None));
    }
}
