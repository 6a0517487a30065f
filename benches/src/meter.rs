//! Wall clock and CPU time of a measured stretch of work.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, Timespec, clock_gettime};

/// What a stretch of work took.
#[derive(Debug, Copy, Clone, Default)]
pub struct Cost {
    /// Wall-clock time.
    pub wall: Duration,
    /// User and system time of the whole process: both sides.
    pub cpu: Duration,
    /// The part of it that the client's thread took; what is left is the server's.
    pub client_cpu: Duration,
}

/// Runs from `start` to `stop`, both called on the client's thread.
#[derive(Debug)]
pub struct Meter {
    wall: Instant,
    process: Duration,
    thread: Duration,
}

impl Meter {
    /// Starts measuring.
    #[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
    pub fn start() -> Self {
        Self {
            process: cpu(ClockId::ProcessCPUTime),
            thread: cpu(ClockId::ThreadCPUTime),
            wall: Instant::now(),
        }
    }

    /// What it took since `start`.
    pub fn stop(&self) -> Cost {
        let wall = self.wall.elapsed();
        Cost {
            wall,
            cpu: cpu(ClockId::ProcessCPUTime) - self.process,
            client_cpu: cpu(ClockId::ThreadCPUTime) - self.thread,
        }
    }
}

fn cpu(clock: ClockId) -> Duration {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(clock);
    Duration::new(tv_sec.unsigned_abs(), u32::try_from(tv_nsec).unwrap_or_default())
}
