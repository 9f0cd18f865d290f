//! The locks that event loops take: under each there is a write or less, and whoever wants it serves many others meanwhile.
//!
//! They are not parking_lot's: where that finds a lock taken, it gives its processor away several times before it sleeps, and on
//! a busy machine whoever gets it keeps it for a whole slice of milliseconds, although the lock is free again after microseconds.
//! These spin for a moment, then sleep until they are woken by whoever unlocks.
//!
//! INVARIANT: a panic under a lock does not lock everybody else out, just as with parking_lot's.

use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

#[derive(Default)]
pub struct Lock<T>(Mutex<T>);

impl<T> Lock<T> {
    pub fn new(value: T) -> Lock<T> {
        Lock(Mutex::new(value))
    }

    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of many at once for those who only read.
#[derive(Default)]
pub struct SharedLock<T>(RwLock<T>);

impl<T> SharedLock<T> {
    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;
    use std::thread;

    use super::*;

    #[test]
    fn one_after_the_other_is_let_in() {
        let counter = Arc::new(Lock::new(0));
        let count = |counter: Arc<Lock<u32>>| (0..10_000).for_each(|_| *counter.lock() += 1);
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let counter = counter.clone();
                thread::spawn(move || count(counter))
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(*counter.lock(), 40_000);
    }

    #[test]
    fn a_panic_under_it_locks_nobody_out() {
        let lock = Lock::new(7);
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _held = lock.lock();
            panic!("under the lock");
        }));
        assert!(panicked.is_err());
        assert_eq!(*lock.lock(), 7);
    }
}
