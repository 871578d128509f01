//! A large hash table that is locked in parts, of items that know their own keys.
//!
//! *Why not a map?* A map stores a key beside each value, and needs room for both in the places that are empty, which
//! are a third to a half of all. A session knows its key and a user's entry its user: of ten million sessions the keys
//! alone would be a gigabyte.

use std::ops::Range;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use hashbrown::HashTable;

/// How many parts a table is locked in. Whoever walks through it holds one part at a time: a thousandth of the items.
pub(super) const SHARDS: usize = 1024;

/// Items by hash. Whoever asks brings the hash, and says which of the items that have it is meant.
#[derive(Debug)]
pub(super) struct Sharded<T>(Box<[Shard<T>]>);

/// One part, on a cache line of its own: threads that lock neighbours do not wait for each other.
#[derive(Debug)]
#[repr(align(64))]
struct Shard<T>(RwLock<HashTable<T>>);

impl<T> Default for Sharded<T> {
    fn default() -> Self {
        Self((0..SHARDS).map(|_| Shard(RwLock::new(HashTable::new()))).collect())
    }
}

impl<T> Sharded<T> {
    /// The part in which items of this hash are, to read. Never to be held across an await.
    pub(super) fn read(&self, hash: u64) -> RwLockReadGuard<'_, HashTable<T>> {
        read(self.shard(hash))
    }

    /// The part in which items of this hash are, to change. Never to be held across an await.
    pub(super) fn write(&self, hash: u64) -> RwLockWriteGuard<'_, HashTable<T>> {
        write(self.shard(hash))
    }

    fn shard(&self, hash: u64) -> &Shard<T> {
        // The table within a part goes by the lowest bits and the seven highest.
        let at = (hash >> 40) as usize % SHARDS;
        #[expect(clippy::indexing_slicing, reason = "there are as many parts as it is a remainder of")]
        &self.0[at]
    }

    /// Looks at every item, one part after the other.
    #[cfg(test)]
    pub(super) fn for_each(&self, look: impl FnMut(&T)) {
        self.for_each_in(0..SHARDS, look);
    }

    /// The parts from number `first` on that hold `most` items together, or a little more, or all there are behind it.
    pub(super) fn stretch(&self, first: usize, most: usize) -> Range<usize> {
        let mut items = 0;
        let within = self.in_range(first..SHARDS).take_while(|shard| {
            let goes_on = items < most;
            items += read(shard).len();
            goes_on
        });
        first..first + within.count()
    }

    /// Looks at every item of some parts.
    pub(super) fn for_each_in(&self, parts: Range<usize>, mut look: impl FnMut(&T)) {
        self.in_range(parts).for_each(|shard| read(shard).iter().for_each(&mut look));
    }

    /// Keeps of some parts the items that `keep` says yes to.
    pub(super) fn retain_in(&self, parts: Range<usize>, mut keep: impl FnMut(&mut T) -> bool) {
        self.in_range(parts).for_each(|shard| write(shard).retain(&mut keep));
    }

    fn in_range(&self, parts: Range<usize>) -> impl Iterator<Item = &Shard<T>> {
        self.0.get(parts).unwrap_or_default().iter()
    }

    /// How many items there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.iter().map(|shard| read(shard).len()).sum()
    }
}

/// What is behind these locks is whole between two statements, so a panic elsewhere does not spoil it.
fn read<T>(shard: &Shard<T>) -> RwLockReadGuard<'_, HashTable<T>> {
    shard.0.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(shard: &Shard<T>) -> RwLockWriteGuard<'_, HashTable<T>> {
    shard.0.write().unwrap_or_else(PoisonError::into_inner)
}
