//! Durations as the library prints a histogram. Its own takes a lock for every value that is added.

use std::sync::Arc;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

use crate::telemetry::{BOUNDS_MICROS, Durations};

/// A histogram of durations, in seconds.
#[derive(Clone, Debug, Default)]
pub(super) struct Histogram(pub(super) Arc<Durations>);

impl TypedMetric for Histogram {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Histogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        // Precise to a second in 285,000 years of summed time.
        #[expect(clippy::cast_precision_loss, reason = "a sum of durations for people")]
        let seconds = |micros: u64| micros as f64 / 1e6;
        let bounds = BOUNDS_MICROS.iter().map(|bound| seconds(*bound)).chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(self.0.counts()).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        encoder.encode_histogram::<NoLabelSet>(seconds(self.0.sum_micros()), count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn long_durations_land_in_the_last_bucket_and_nothing_overflows() {
        let histogram = Histogram::default();
        histogram.0.observe(Duration::from_secs(3600));
        let mut registry = Registry::default();
        registry.register("took_seconds", "How long", histogram);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert!(text.contains(r#"took_seconds_bucket{le="10.0"} 0"#), "{text}");
        assert!(text.contains(r#"took_seconds_bucket{le="+Inf"} 1"#), "{text}");
        assert!(text.contains("took_seconds_sum 3600.0"), "{text}");
    }
}
