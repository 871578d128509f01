//! Attempts on one name take turns.
//!
//! Otherwise a person whose eight right log-ins arrive at once would be told that the account is locked, because seven
//! of them hold an attempt each. Who waits is bounded twice: over all names, and on each, so that whoever floods one
//! does not use up the room of all.

use tokio::sync::{Mutex, MutexGuard, Semaphore, SemaphorePermit};

use crate::store::BudgetKey;

/// How many attempts wait for their turn at most, over all names.
const WAITING_MAX: usize = 4096;
/// How many of them on one name: whoever floods one must not use up the room of all.
const WAITING_PER_TURN_MAX: usize = 128;
/// Names share turns by hash: a fixed number of locks cannot be filled up by inventing names.
const TURNS: usize = 1024;

/// The turns.
#[derive(Debug)]
pub(super) struct Turns {
    turns: Vec<Turn>,
    waiting: Semaphore,
}

/// One of the places where attempts on the same name queue.
#[derive(Debug)]
struct Turn {
    lock: Mutex<()>,
    room: Semaphore,
}

impl Turn {
    fn new() -> Self {
        Self { lock: Mutex::default(), room: Semaphore::new(WAITING_PER_TURN_MAX) }
    }
}

/// A turn that is held, with the room it takes.
pub(super) struct Held<'a> {
    _among_all: SemaphorePermit<'a>,
    _among_these: SemaphorePermit<'a>,
    _lock: MutexGuard<'a, ()>,
}

impl Turns {
    pub(super) fn new() -> Self {
        let turns = std::iter::repeat_with(Turn::new).take(TURNS).collect();
        Self { turns, waiting: Semaphore::new(WAITING_MAX) }
    }

    /// Waits until nobody else tries this name; `None` when too many wait already.
    pub(super) async fn take(&self, key: BudgetKey) -> Option<Held<'_>> {
        // Ids and keyed hashes are uniform, and nobody outside can choose them.
        let [a, b, ..] = match key {
            BudgetKey::User(user) => *user.as_bytes(),
            BudgetKey::Shadow(subject) => subject,
        };
        let turn = self.turns.get(usize::from(u16::from_le_bytes([a, b])) % TURNS)?;
        let (among_these, among_all) = (turn.room.try_acquire().ok()?, self.waiting.try_acquire().ok()?);
        Some(Held { _among_all: among_all, _among_these: among_these, _lock: turn.lock.lock().await })
    }
}
