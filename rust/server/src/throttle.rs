//! What goes slowly on purpose: so many bytes a second, and whoever spent them waits until more may follow.

use std::time::{Duration, Instant};

/// So many bytes a second, and no more.
pub struct Throttle {
    bytes_per_s: f64,
    free_at: Instant,
}

/// Time that was not used is not saved up for longer than this.
const CREDIT: Duration = Duration::from_millis(200);

impl Throttle {
    pub fn new(bytes_per_s: f64) -> Throttle {
        Throttle { bytes_per_s: bytes_per_s.max(1.0), free_at: Instant::now() }
    }

    /// This one at another rate, from now on.
    pub fn at(&mut self, bytes_per_s: f64) -> &mut Throttle {
        if self.bytes_per_s != bytes_per_s.max(1.0) {
            *self = Throttle::new(bytes_per_s);
        }
        self
    }

    /// When the next bytes may follow.
    pub fn spend(&mut self, bytes: usize) -> Instant {
        let cost = Duration::try_from_secs_f64(bytes as f64 / self.bytes_per_s).unwrap_or(Duration::from_secs(3600));
        let earliest = Instant::now().checked_sub(CREDIT);
        self.free_at = earliest.map_or(self.free_at, |earliest| self.free_at.max(earliest)) + cost;
        self.free_at
    }
}

/// Lets everything through.
impl Default for Throttle {
    fn default() -> Throttle {
        Throttle::new(f64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_throttle_lets_through_what_it_may_and_saves_little_up() {
        let mut throttle = Throttle::new(1000.0);
        let start = Instant::now();
        (0..10).for_each(|_| {
            throttle.spend(1000);
        });
        let took = throttle.spend(0) - start;
        assert!(took >= Duration::from_secs(10) - CREDIT, "{took:?}");
        let mut unbounded = Throttle::new(f64::MAX);
        assert!(unbounded.spend(usize::MAX) <= Instant::now() + CREDIT);
    }

    #[test]
    fn what_was_spent_at_one_rate_is_not_owed_at_another() {
        let mut throttle = Throttle::default();
        let owed = throttle.at(1.0).spend(1000);
        assert!(owed > Instant::now() + Duration::from_secs(900));
        assert_eq!(throttle.at(1.0).spend(0), owed, "the same rate goes on");
        assert!(throttle.at(2.0).spend(0) <= Instant::now());
    }
}
