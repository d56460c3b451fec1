//! Small caches in front of the database, so that a pull asks it once.
//!
//! The front is the only process that writes these rows, so an entry is true until this process
//! changes it. A reader that was overtaken by a change must not put back what it read before:
//! it says which *generation* it started in, and is ignored when a change came in between.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A map that forgets everything when it is full: cheaper than keeping order, and a registry's
/// hot set is far smaller than the limit.
pub(crate) struct Cache<K, V> {
    inner: Mutex<Inner<K, V>>,
    capacity: usize,
}

struct Inner<K, V> {
    entries: HashMap<K, V>,
    generation: u64,
}

impl<K: Eq + Hash, V: Clone> Cache<K, V> {
    /// Returns an empty cache of at most `capacity` entries.
    pub(crate) fn new(capacity: usize) -> Self {
        let inner = Inner {
            entries: HashMap::new(),
            generation: 0,
        };
        Self {
            inner: Mutex::new(inner),
            capacity,
        }
    }

    /// Returns an entry, or the generation to give to [`Cache::fill`].
    pub(crate) fn get(&self, key: &K) -> Result<V, u64> {
        let inner = self.lock();
        inner.entries.get(key).cloned().ok_or(inner.generation)
    }

    /// Remembers what was read, unless something changed since `generation`.
    pub(crate) fn fill(&self, generation: u64, key: K, value: V) {
        let mut inner = self.lock();
        if inner.generation != generation {
            return;
        }
        if inner.entries.len() >= self.capacity {
            inner.entries.clear();
        }
        inner.entries.insert(key, value);
    }

    /// Forgets the entries that `stale` names. To be called after the change is committed and
    /// before it is acknowledged.
    pub(crate) fn forget(&self, stale: impl Fn(&K) -> bool) {
        let mut inner = self.lock();
        inner.generation += 1;
        inner.entries.retain(|key, _| !stale(key));
    }

    fn lock(&self) -> MutexGuard<'_, Inner<K, V>> {
        // Every change to the map is one step, so a panic elsewhere leaves it whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overtaken_reader_does_not_bring_back_the_old_value() {
        let cache = Cache::new(4);
        let Err(generation) = cache.get(&"tag") else {
            panic!("the cache starts empty");
        };
        cache.forget(|key| *key == "tag");
        cache.fill(generation, "tag", "old");
        assert!(cache.get(&"tag").is_err());
    }

    #[test]
    fn a_full_cache_starts_over() {
        let cache = Cache::new(2);
        for key in 0..3 {
            let generation = cache.get(&key).unwrap_err();
            cache.fill(generation, key, key);
        }
        assert!(cache.get(&0).is_err());
        assert_eq!(cache.get(&2), Ok(2));
    }
}
