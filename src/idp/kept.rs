//! Something of a provider's that is kept: fetched once by however many ask, believed for an hour, and for a day more when
//! the provider does not give it anew.
//!
//! *Is what is a day old still sound?* Metadata: an endpoint that has moved does not answer, and one that answers has the
//! certificate of a configured host; nothing wrong can come of them. Keys: a key that the provider has withdrawn in the
//! meantime could sign on. An ID token comes from the token endpoint, over TLS that was verified, so whoever holds such a
//! key would have to hold the provider's host as well, and keep us from its keys for the whole time. A log-out token comes
//! from anybody; there the worst is somebody logged out. Against that stands that nobody of the tenant could log in while a
//! part of the provider rests. Keys that *are* given anew replace the old ones at once and wholly.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use tokio::runtime::Handle;

use super::fault::ProviderFault;
use crate::machine::Clock;

/// How long something is believed without asking again, in seconds.
const FRESH_SECONDS: u64 = 3600;
/// How long it is used when asking again fails.
const USABLE_SECONDS: u64 = 24 * 3600;
/// The shortest time between two fetches that fail while something usable is there, and between two that strangers cause.
pub(super) const PAUSE_SECONDS: u64 = 60;

/// A fetch under way, for all who wait for it.
pub(super) type Coming<T> = Shared<BoxFuture<'static, Result<Arc<T>, ProviderFault>>>;

/// What is kept of one thing. All times are those of [`Clock::elapsed`].
pub(super) struct Kept<T> {
    clock: Arc<Clock>,
    /// Where fetches run. Not where it is asked from: a request thread does no TLS with providers, and whoever asks may
    /// go away.
    runtime: Handle,
    state: Mutex<State<T>>,
}

struct State<T> {
    value: Option<(Arc<T>, u64)>,
    /// How and when a fetch last failed, since one did not.
    failed: Option<(ProviderFault, u64)>,
    /// When a fetch was last begun though the value was fresh.
    renewed_at: Option<u64>,
    coming: Option<Coming<T>>,
}

impl<T: Send + Sync + 'static> Kept<T> {
    pub(super) fn new(clock: Arc<Clock>, runtime: Handle) -> Self {
        let state = State { value: None, failed: None, renewed_at: None, coming: None };
        Self { clock, runtime, state: Mutex::new(state) }
    }

    /// What is kept, fetched by `fetch` if it must be. A fetch that failed is not tried again in the same second: whoever
    /// posts log-out tokens would otherwise make of us a client that asks as fast as it is refused (O14).
    pub(super) async fn get<F>(self: &Arc<Self>, fetch: F) -> Result<Arc<T>, ProviderFault>
    where
        F: Future<Output = Result<T, ProviderFault>> + Send + 'static,
    {
        let coming = {
            let mut state = self.state();
            let now = self.clock.elapsed();
            if let Some(value) = state.usable(now) {
                return Ok(value);
            }
            if let Some((fault, failed_at)) = &state.failed
                && *failed_at == now
            {
                return Err(fault.clone());
            }
            self.join(&mut state, fetch)
        };
        coming.await
    }

    /// Something newer than `old`, which was not good enough; `None` when it is not time to ask for it yet: strangers can
    /// make the old one look bad as often as they like (O7).
    pub(super) async fn newer<F>(self: &Arc<Self>, old: &Arc<T>, fetch: F) -> Result<Option<Arc<T>>, ProviderFault>
    where
        F: Future<Output = Result<T, ProviderFault>> + Send + 'static,
    {
        let coming = {
            let mut state = self.state();
            let now = self.clock.elapsed();
            let replaced = state.value.as_ref().map(|(value, _)| value).filter(|value| !Arc::ptr_eq(value, old));
            if let Some(value) = replaced {
                return Ok(Some(Arc::clone(value)));
            }
            if state.coming.is_none() {
                if is_within(state.renewed_at, now) {
                    return Ok(None);
                }
                state.renewed_at = Some(now);
            }
            self.join(&mut state, fetch)
        };
        coming.await.map(Some)
    }

    /// Waits for the fetch that is under way, or begins one.
    fn join<F>(self: &Arc<Self>, state: &mut State<T>, fetch: F) -> Coming<T>
    where
        F: Future<Output = Result<T, ProviderFault>> + Send + 'static,
    {
        if let Some(coming) = &state.coming {
            return coming.clone();
        }
        let kept = Arc::clone(self);
        let task = self.runtime.spawn(async move {
            let arrives = Arrives(&kept);
            let outcome = fetch.await;
            arrives.with(outcome)
        });
        let coming = async move { task.await.unwrap_or(Err(ProviderFault::Stopped)) }.boxed().shared();
        state.coming = Some(coming.clone());
        coming
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a fetch's time as the one under way, also when it is torn down: the next who asks must not wait for it.
struct Arrives<'a, T: Send + Sync + 'static>(&'a Kept<T>);

impl<T: Send + Sync + 'static> Arrives<'_, T> {
    /// Keeps what came. What is then to be used: if nothing came, what there was, while it may be.
    fn with(self, outcome: Result<T, ProviderFault>) -> Result<Arc<T>, ProviderFault> {
        let now = self.0.clock.elapsed();
        let mut state = self.0.state();
        match outcome {
            Ok(value) => {
                let value = Arc::new(value);
                state.value = Some((Arc::clone(&value), now));
                state.failed = None;
                Ok(value)
            }
            Err(fault) => {
                state.failed = Some((fault.clone(), now));
                let value = state.usable(now).ok_or_else(|| fault.clone())?;
                tracing::warn!(%fault, "an identity provider does not give what it gave before; the last is used");
                Ok(value)
            }
        }
    }
}

impl<T: Send + Sync + 'static> Drop for Arrives<'_, T> {
    fn drop(&mut self) {
        self.0.state().coming = None;
    }
}

impl<T> State<T> {
    /// What may be used without asking.
    fn usable(&self, now: u64) -> Option<Arc<T>> {
        let (value, fetched_at) = self.value.as_ref()?;
        let age = now.saturating_sub(*fetched_at);
        let resting =
            age < USABLE_SECONDS && is_within(self.failed.as_ref().map(|(_, failed_at)| *failed_at), now);
        (age < FRESH_SECONDS || resting).then(|| Arc::clone(value))
    }
}

/// Whether the pause after `begun` is not over.
fn is_within(begun: Option<u64>, now: u64) -> bool {
    begun.is_some_and(|begun| now.saturating_sub(begun) < PAUSE_SECONDS)
}

#[cfg(test)]
mod tests {
    use std::future::ready;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::idp::Step;

    /// A provider that gives numbers, or faults, and counts how often it is asked.
    struct Source {
        kept: Arc<Kept<u32>>,
        asked: Arc<AtomicU32>,
        up: bool,
    }

    const DOWN: ProviderFault = ProviderFault::Slow { step: Step::Keys };

    impl Source {
        fn new() -> Self {
            let kept = Kept::new(Arc::new(Clock::new()), Handle::current());
            Self { kept: Arc::new(kept), asked: Arc::default(), up: true }
        }

        fn fetch(&self) -> impl Future<Output = Result<u32, ProviderFault>> + Send + use<> {
            let (asked, up) = (Arc::clone(&self.asked), self.up);
            async move {
                let count = asked.fetch_add(1, Ordering::SeqCst) + 1;
                if up { Ok(count) } else { Err(DOWN) }
            }
        }

        async fn get(&self, now: u64) -> Result<u32, ProviderFault> {
            self.kept.clock.pretend_elapsed(now);
            self.kept.get(self.fetch()).await.map(|value| *value)
        }

        async fn newer(&self, now: u64, old: &Arc<u32>) -> Result<Option<u32>, ProviderFault> {
            self.kept.clock.pretend_elapsed(now);
            Ok(self.kept.newer(old, self.fetch()).await?.map(|value| *value))
        }

        fn asked(&self) -> u32 {
            self.asked.load(Ordering::SeqCst)
        }
    }

    #[tokio::test]
    async fn what_is_fresh_is_not_fetched_and_what_is_not_is_fetched_once() {
        let source = Source::new();
        for (now, want) in [(5, 1), (5 + 3599, 1), (5 + 3600, 2), (5 + 3600 + 3599, 2), (5 + 7200, 3)] {
            assert_eq!(source.get(now).await, Ok(want), "{now}");
        }
        assert_eq!(source.asked(), 3);
    }

    #[tokio::test]
    async fn a_provider_that_rests_is_asked_once_a_minute_and_believed_for_a_day() {
        let mut source = Source::new();
        assert_eq!(source.get(0).await, Ok(1));
        source.up = false;
        assert_eq!(source.get(3600).await, Ok(1));
        assert_eq!(source.get(3659).await, Ok(1));
        assert_eq!(source.asked(), 2);
        assert_eq!(source.get(3660).await, Ok(1));
        assert_eq!(source.asked(), 3);
        assert_eq!(source.get(24 * 3600 - 1).await, Ok(1));
        assert_eq!(source.get(24 * 3600).await, Err(DOWN));
        source.up = true;
        assert_eq!(source.get(24 * 3600 + 1).await, Ok(6));
    }

    #[tokio::test]
    async fn o14_what_never_came_is_asked_for_once_a_second() {
        let mut source = Source::new();
        source.up = false;
        for now in [0, 0, 0, 1, 1] {
            assert_eq!(source.get(now).await, Err(DOWN));
        }
        assert_eq!(source.asked(), 2);
        source.up = true;
        assert_eq!(source.get(1).await, Err(DOWN));
        assert_eq!(source.get(2).await, Ok(3));
    }

    #[tokio::test]
    async fn o7_something_newer_is_asked_for_once_a_minute() {
        let source = Source::new();
        assert_eq!(source.get(0).await, Ok(1));
        let old = source.kept.get(ready(Err(DOWN))).await.unwrap();
        assert_eq!(source.newer(1, &old).await, Ok(Some(2)));
        // Whoever still has the old one gets the newer without a fetch.
        assert_eq!(source.newer(1, &old).await, Ok(Some(2)));
        let old = source.kept.get(ready(Err(DOWN))).await.unwrap();
        for now in [1, 30, 60] {
            assert_eq!(source.newer(now, &old).await, Ok(None), "{now}");
        }
        assert_eq!(source.asked(), 2);
        assert_eq!(source.newer(61, &old).await, Ok(Some(3)));
    }

    #[tokio::test]
    async fn all_who_ask_at_once_share_one_fetch_and_its_outcome() {
        for outcome in [Err(DOWN), Ok(7)] {
            let kept: Arc<Kept<u32>> = Arc::new(Kept::new(Arc::new(Clock::new()), Handle::current()));
            let (give, take) = tokio::sync::oneshot::channel();
            let first = tokio::spawn({
                let kept = Arc::clone(&kept);
                async move { kept.get(async { take.await.unwrap() }).await.map(|value| *value) }
            });
            while kept.state().coming.is_none() {
                tokio::task::yield_now().await;
            }
            let others: Vec<_> = (0..50)
                .map(|_| {
                    let kept = Arc::clone(&kept);
                    let second = async { panic!("a second fetch") };
                    tokio::spawn(async move { kept.get(second).await.map(|value| *value) })
                })
                .collect();
            tokio::task::yield_now().await;
            give.send(outcome.clone()).unwrap();
            assert_eq!(first.await.unwrap(), outcome);
            for other in others {
                assert_eq!(other.await.unwrap(), outcome);
            }
        }
    }

    #[tokio::test]
    async fn a_fetch_goes_on_when_whoever_asked_is_gone_and_one_that_is_torn_down_holds_nobody_up() {
        let kept: Arc<Kept<u32>> = Arc::new(Kept::new(Arc::new(Clock::new()), Handle::current()));
        let (give, take) = tokio::sync::oneshot::channel();
        let mut asks = Box::pin(kept.get(async { take.await.unwrap() }));
        assert!(futures_util::poll!(&mut asks).is_pending());
        drop(asks);
        give.send(Ok(7)).unwrap();
        while kept.state().coming.is_some() {
            tokio::task::yield_now().await;
        }
        assert_eq!(kept.get(ready(Err(DOWN))).await.as_deref(), Ok(&7));

        let kept: Arc<Kept<u32>> = Arc::new(Kept::new(Arc::new(Clock::new()), Handle::current()));
        assert_eq!(kept.get(async { panic!("torn down") }).await, Err(ProviderFault::Stopped));
        assert_eq!(kept.get(ready(Ok(8))).await.as_deref(), Ok(&8));
    }
}
