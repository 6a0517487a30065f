//! The locks and atomics of what handles and tasks share: those of the standard library, or with `--cfg gannet_loom` those of
//! loom, which tries all orders in which threads can take their steps (`models`, beside this file).

#[cfg(not(gannet_loom))]
pub use std::sync::{
    Mutex, MutexGuard, OnceLock,
    atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize},
};

#[cfg(gannet_loom)]
pub use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize},
};

#[cfg(gannet_loom)]
pub use once_lock::OnceLock;

/// Between a sequentially consistent write and a read of the same kind. The accesses themselves see to their order; loom takes
/// them for weaker ones than they are, and a fence for what it is.
#[inline]
pub fn seq_cst() {
    #[cfg(gannet_loom)]
    loom::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
}

#[cfg(gannet_loom)]
mod once_lock {
    use std::sync::atomic::Ordering;

    /// A cell that is set once; loom has none.
    #[derive(Debug)]
    pub struct OnceLock<T> {
        is_set: loom::sync::atomic::AtomicBool,
        value: std::sync::OnceLock<T>,
    }

    impl<T> OnceLock<T> {
        /// An empty one.
        pub fn new() -> Self {
            Self { is_set: loom::sync::atomic::AtomicBool::new(false), value: std::sync::OnceLock::new() }
        }

        /// The value, once it is set.
        pub fn get(&self) -> Option<&T> {
            self.is_set.load(Ordering::Acquire).then(|| self.value.get()).flatten()
        }

        /// Sets it, or gives the value back.
        pub fn set(&self, value: T) -> Result<(), T> {
            let set = self.value.set(value);
            self.is_set.store(true, Ordering::Release);
            set
        }
    }
}
