//! Who gets a slot. Pure: the caller holds the user's entry while it asks and acts (R87).

use std::num::NonZeroU8;

use super::Class;
use crate::base::SessionId;
use crate::directory::Slots;

impl Slots {
    /// The limit of one class.
    pub const fn of(self, class: Class) -> NonZeroU8 {
        match class {
            Class::Web => self.web,
            Class::Mobile => self.mobile,
        }
    }
}

/// A session that holds a slot: live, or about to be (reserved while the store commits).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Held {
    /// Which session.
    pub id: SessionId,
    /// Which slots it counts against.
    pub class: Class,
}

/// Whether one more session of a class may begin.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Admission {
    /// It may.
    Admitted,
    /// All slots of the class are held.
    Full,
}

/// Decides over one more session of `class`.
///
/// `held`: the user's live and reserved sessions of every class, ended ones already left out. `leaving`: the
/// sessions that end when this one begins (the same browser's old one, R88; the one chosen at the limit page,
/// R83); they count only while they are still held, and only once.
pub fn admit(
    class: Class,
    held: impl IntoIterator<Item = Held>,
    leaving: &[SessionId],
    slots: Slots,
) -> Admission {
    let staying = held.into_iter().filter(|held| held.class == class && !leaving.contains(&held.id)).count();
    if staying < usize::from(slots.of(class).get()) { Admission::Admitted } else { Admission::Full }
}
