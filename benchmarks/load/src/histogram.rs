//! Latencies in nanoseconds, counted in buckets that are never wider than one part in 128 of what they hold.
//!
//! Not here: clocks. INVARIANT: a quantile is the upper end of its bucket, so that it never flatters.

const SUB_BITS: u32 = 7;
const SUB_COUNT: usize = 1 << SUB_BITS;
const BUCKET_COUNT: usize = (64 - SUB_BITS as usize + 1) * SUB_COUNT;

pub const QUANTILES: [(&str, f64); 5] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99_9", 0.999), ("p99_99", 0.9999)];

pub struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    sum: u128,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram { buckets: vec![0; BUCKET_COUNT], count: 0, sum: 0, max: 0 }
    }
}

fn bucket_of(value: u64) -> usize {
    if value < SUB_COUNT as u64 {
        return value as usize;
    }
    let shift = 63 - value.leading_zeros() - SUB_BITS;
    (shift as usize + 1) * SUB_COUNT + ((value >> shift) as usize & (SUB_COUNT - 1))
}

/// The largest value that falls into a bucket.
fn upper_end(bucket: usize) -> u64 {
    if bucket < SUB_COUNT {
        return bucket as u64;
    }
    let shift = bucket / SUB_COUNT - 1;
    let low = ((SUB_COUNT + bucket % SUB_COUNT) as u64) << shift;
    low + ((1u64 << shift) - 1)
}

impl Histogram {
    pub fn record(&mut self, value: u64) {
        self.buckets[bucket_of(value)] += 1;
        self.count += 1;
        self.sum += u128::from(value);
        self.max = self.max.max(value);
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    /// The value below or at which the given part of all values lies; 0 when there is none.
    pub fn quantile(&self, part: f64) -> u64 {
        let wanted = ((self.count as f64 * part).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return upper_end(bucket).min(self.max);
            }
        }
        self.max
    }

    /// `{"count":..,"mean_us":..,"p50_us":..,...,"max_us":..}`
    pub fn json(&self) -> String {
        let mean = if self.count == 0 { 0.0 } else { self.sum as f64 / self.count as f64 };
        let mut out = format!("{{\"count\":{},\"mean_us\":{:.3}", self.count, mean / 1e3);
        for (name, part) in QUANTILES {
            out.push_str(&format!(",\"{name}_us\":{:.3}", self.quantile(part) as f64 / 1e3));
        }
        out.push_str(&format!(",\"max_us\":{:.3}}}", self.max as f64 / 1e3));
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_its_bucket_and_the_bucket_is_narrow() {
        for value in
            (0..4096).chain((12..64).flat_map(|bits| [(1 << bits) - 1, 1 << bits, (1 << bits) + 12_345 % (1 << bits)]))
        {
            let end = upper_end(bucket_of(value));
            assert!(end >= value, "{value} above its bucket's end {end}");
            assert!(end - value <= value / 64, "{value} in a bucket that ends at {end}");
            assert!(value == 0 || bucket_of(value - 1) <= bucket_of(value));
        }
        assert!(bucket_of(u64::MAX) < BUCKET_COUNT);
    }

    #[test]
    fn quantiles_are_those_of_the_sorted_values() {
        let mut histogram = Histogram::default();
        for value in 1..=100 {
            histogram.record(value);
        }
        assert_eq!((histogram.quantile(0.5), histogram.quantile(0.99), histogram.quantile(1.0)), (50, 99, 100));
        assert_eq!(Histogram::default().quantile(0.99), 0);
    }
}
