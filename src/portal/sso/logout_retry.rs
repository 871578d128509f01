//! Telling providers of log-outs again that they could not be told of (D19).
//!
//! What ended here has ended, whether its provider knows or not. It is told for a day, ever less often, and not in a
//! browser, which is elsewhere by now: the ID token says which session is meant. A restart in between changes nothing.

use futures_util::future::join_all;

use super::super::Portal;
use crate::base::UnixTime;
use crate::idp::ProviderFault;
use crate::sso::{Audience, ProviderSettings};
use crate::store::{QueuedLogout, StoreFault};

/// How many are told at a time.
const BATCH: u32 = 20;
/// The first pause, in seconds; each further one is twice as long.
const PAUSE_SECONDS: u64 = 60;
/// The longest pause, in seconds.
const PAUSE_SECONDS_MAX: u64 = 3600;

impl Portal {
    /// Tells providers what they are to be told by now.
    pub async fn retry_provider_logouts(&self, now: UnixTime) -> Result<(), StoreFault> {
        let due = self.store.due_provider_logouts(now, BATCH).await?;
        // Side by side: a provider that hangs holds up its own.
        let told = join_all(due.iter().map(|queued| self.tell_again(queued))).await;
        for (queued, told) in due.iter().zip(told) {
            match told? {
                Ok(()) => self.store.provider_logout_done(queued.session).await?,
                Err(fault) => {
                    tracing::info!(%fault, session = %queued.session, "its provider was not told of a log-out yet");
                    let again_at = now.plus_seconds(pause_seconds(queued.attempts));
                    self.store.provider_logout_failed(queued.session, again_at).await?;
                }
            }
        }
        Ok(())
    }

    /// `Ok(Ok)` also where nothing will come of telling it: the provider is another one now, or has no address for it.
    async fn tell_again(&self, queued: &QueuedLogout) -> Result<Result<(), ProviderFault>, StoreFault> {
        let settings = self.settings_now(queued).await?;
        let settings = settings.filter(|settings| settings.logout && settings.issuer == queued.provider.issuer);
        let (Some(settings), Some(hint)) = (settings, &queued.provider.id_token) else { return Ok(Ok(())) };
        Ok(self.providers.end_session(&settings, hint).await.map(|_| ()))
    }

    async fn settings_now(&self, queued: &QueuedLogout) -> Result<Option<ProviderSettings>, StoreFault> {
        match queued.provider.audience {
            Audience::Tenant => Ok(self.store.provider(queued.tenant).await?.map(|provider| provider.settings)),
            Audience::Suite => Ok(self.settings.suite.as_ref().map(|suite| suite.settings.clone())),
        }
    }
}

fn pause_seconds(attempts: u64) -> u64 {
    let doubled = u32::try_from(attempts).ok().and_then(|attempts| PAUSE_SECONDS.checked_shl(attempts.min(16)));
    doubled.unwrap_or(PAUSE_SECONDS_MAX).min(PAUSE_SECONDS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d19_pauses_grow_to_an_hour_and_no_further() {
        let pauses: Vec<_> = [0, 1, 2, 5, 6, 60, u64::MAX].map(pause_seconds).into();
        assert_eq!(pauses, [60, 120, 240, 1920, 3600, 3600, 3600]);
    }
}
