//! How many stateless answers may leave.

use std::time::Instant;

use super::shared::endpoint::{Counters, Endpoint};

use crate::driver::sync::Mutex;

/// How many stateless answers may leave: a bucket of one second's worth.
/// All sockets of an endpoint have one.
#[derive(Debug)]
pub struct Allowance {
    per_second: f64,
    bucket: Mutex<Bucket>,
}

#[derive(Debug)]
struct Bucket {
    left: f64,
    filled: Instant,
}

impl Allowance {
    /// A full bucket.
    pub fn new(now: Instant, per_second: u32) -> Self {
        let per_second = f64::from(per_second);
        Self { per_second, bucket: Mutex::new(Bucket { left: per_second, filled: now }) }
    }

    /// True if one more answer may leave; if not, that is counted.
    pub fn take(&self, now: Instant, endpoint: &Endpoint) -> bool {
        let mut bucket = super::lock(&self.bucket);
        let elapsed = now.saturating_duration_since(bucket.filled).as_secs_f64();
        bucket.filled = bucket.filled.max(now);
        bucket.left = (bucket.left + elapsed * self.per_second).min(self.per_second);
        let granted = bucket.left >= 1.0;
        if granted {
            bucket.left -= 1.0;
        } else {
            Counters::count(&endpoint.counters.unanswered);
        }
        granted
    }
}
