//! What theory says of CUBIC under random loss: RFC 9438's equations played round by round, with nothing of our code.

use crate::packet::Rng;

/// A flow alone on a path that never is the limit.
pub(super) struct Model {
    /// Probability that a packet is lost.
    pub(super) loss: f64,
    /// Seconds.
    pub(super) rtt: f64,
    pub(super) seconds: f64,
}

impl Model {
    /// Packets that arrive per second.
    pub(super) fn packets_per_second(&self, seed: u64) -> f64 {
        let mut rng = Rng::from_u64(seed);
        let (mut time, mut arrived) = (0.0, 0.0);
        let (mut window, mut threshold) = (10.0_f64, f64::INFINITY);
        // The plateau, the window before the last loss, Reno's window, and when the growth since that loss began.
        let (mut w_max, mut w_prior, mut w_est, mut began) = (0.0_f64, 0.0_f64, 0.0_f64, None);
        while time < self.seconds {
            let sent = window.floor().max(2.0);
            let lost =
                (0..sent as u32).filter(|_| (rng.below(1 << 30) as f64) < self.loss * (1 << 30) as f64);
            let lost = lost.count() as f64;
            arrived += sent - lost;
            time += self.rtt;
            if lost > 0.0 {
                w_max = if window < w_max { window * 0.85 } else { window };
                w_prior = window;
                window = (window * 0.7).max(2.0);
                (threshold, began) = (window, None);
                // What is sent until the loss is noticed and while it is repaired does not grow the window.
                arrived += window.floor();
                time += self.rtt;
            } else if window < threshold {
                window = (2.0 * window).min(threshold);
            } else {
                let start = *began.get_or_insert_with(|| {
                    w_est = window;
                    time - self.rtt
                });
                let top = w_max.max(window);
                let k = ((top - threshold.min(top)) / 0.4).cbrt();
                let cubic = |t: f64| 0.4 * (t - k).powi(3) + top;
                w_est += if w_est >= w_prior { 1.0 } else { 3.0 * 0.3 / 1.7 };
                let target = cubic(time - start + self.rtt).clamp(window, 1.5 * window);
                window = if cubic(time - start) < w_est { w_est.max(window) } else { target };
            }
        }
        arrived / time
    }
}

/// The average window of RFC 9438 §5.1, packets: the larger of the cubic's and of Reno's.
pub(super) fn average_window(loss: f64, rtt: f64) -> f64 {
    let reno = (1.5 / loss).sqrt();
    let cubic = (0.4 * 3.7 / (4.0 * 0.3_f64)).powf(0.25) * (rtt / loss).powf(0.75);
    reno.max(cubic)
}
