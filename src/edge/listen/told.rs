//! Whom somebody else is to wake, told once.

use std::task::Waker;

/// The waker that was told of last. To tell of it again at each look costs more (two locked operations) than to see that
/// it is known.
#[derive(Debug, Default)]
pub(super) struct Told(Option<Waker>);

impl Told {
    /// Lets `tell` know of a waker, unless the last one wakes the same task.
    pub(super) fn of(&mut self, waker: &Waker, tell: impl FnOnce(&Waker)) {
        if self.0.as_ref().is_none_or(|last| !last.will_wake(waker)) {
            tell(waker);
            self.0 = Some(waker.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Wake;

    use super::*;

    struct Nobody;
    impl Wake for Nobody {
        fn wake(self: Arc<Self>) {}
    }

    #[test]
    fn a_waker_is_told_of_once_and_another_one_again() {
        let (one, other) = (Waker::from(Arc::new(Nobody)), Waker::from(Arc::new(Nobody)));
        let (mut told, mut heard) = (Told::default(), 0);
        for (waker, want) in [(&one, 1), (&one, 1), (&other, 2), (&other, 2), (&one, 3)] {
            told.of(waker, |_| heard += 1);
            assert_eq!(heard, want);
        }
    }
}
