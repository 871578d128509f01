//! The waker that somebody else was given last, so that each is given once.

use std::task::Waker;

/// The waker that was registered last. To register it again at each poll costs more (two locked operations) than to see
/// that it is registered.
#[derive(Debug, Default)]
pub(super) struct LastWaker(Option<Waker>);

impl LastWaker {
    /// Has `register` take a waker, unless the last one wakes the same task.
    pub(super) fn renew(&mut self, waker: &Waker, register: impl FnOnce(&Waker)) {
        if self.0.as_ref().is_none_or(|last| !last.will_wake(waker)) {
            register(waker);
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
    fn a_waker_is_registered_once_and_another_one_again() {
        let (one, other) = (Waker::from(Arc::new(Nobody)), Waker::from(Arc::new(Nobody)));
        let (mut last, mut registered) = (LastWaker::default(), 0);
        for (waker, want) in [(&one, 1), (&one, 1), (&other, 2), (&other, 2), (&one, 3)] {
            last.renew(waker, |_| registered += 1);
            assert_eq!(registered, want);
        }
    }
}
