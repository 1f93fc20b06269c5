//! Values under keys that are never mistaken for those of an earlier value in the same place.

/// Where a value is. Stale after the value was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    /// As the number of a descriptor in the ready set, with a bit of the caller's.
    pub(super) fn token(self, flag: bool) -> u64 {
        u64::from(self.generation) << 32 | u64::from(flag) << 31 | u64::from(self.index)
    }

    /// What [`Self::token`] made.
    pub(super) fn of_token(token: u64) -> (Self, bool) {
        let low = u32::try_from(token & 0xFFFF_FFFF).unwrap_or(u32::MAX);
        let generation = u32::try_from(token >> 32).unwrap_or(u32::MAX);
        (Self { index: low & (u32::MAX >> 1), generation }, low >> 31 == 1)
    }
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

/// A growing array with a free list.
#[derive(Debug)]
pub(super) struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Inserts a value. `None` when two billion are in it.
    pub(super) fn insert(&mut self, value: T) -> Option<Key> {
        if let Some(index) = self.free.pop() {
            let slot = &mut self.slots[index as usize];
            slot.value = Some(value);
            return Some(Key { index, generation: slot.generation });
        }
        let index = u32::try_from(self.slots.len()).ok().filter(|index| index >> 31 == 0)?;
        self.slots.push(Slot { generation: 0, value: Some(value) });
        Some(Key { index, generation: 0 })
    }

    pub(super) fn get(&self, key: Key) -> Option<&T> {
        let slot = self.slots.get(key.index as usize)?;
        if slot.generation == key.generation { slot.value.as_ref() } else { None }
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.generation == key.generation { slot.value.as_mut() } else { None }
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<T> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.generation != key.generation {
            return None;
        }
        let value = slot.value.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(key.index);
        Some(value)
    }

    pub(super) fn keys(&self) -> Vec<Key> {
        let key = |(index, slot): (usize, &Slot<T>)| {
            slot.value.as_ref()?;
            Some(Key { index: u32::try_from(index).ok()?, generation: slot.generation })
        };
        self.slots.iter().enumerate().filter_map(key).collect()
    }
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_key_finds_nothing() {
        let mut slab = Slab::default();
        let first = slab.insert('a').expect("room");
        assert_eq!(slab.remove(first), Some('a'));
        let second = slab.insert('b').expect("room");
        assert_eq!(slab.get(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get(second), Some(&'b'));
        assert_eq!((slab.len(), slab.keys()), (1, vec![second]));
    }

    #[test]
    fn a_token_gives_its_key_back() {
        for key in [Key { index: 0, generation: 0 }, Key { index: u32::MAX >> 1, generation: u32::MAX }] {
            for flag in [false, true] {
                assert_eq!(Key::of_token(key.token(flag)), (key, flag));
            }
        }
    }
}
