//! The line that `fetch` ends with.

use std::{collections::BTreeMap, fmt, time::Duration};

use http::StatusCode;

/// What came of all requests.
#[derive(Debug, Default)]
pub struct Summary {
    statuses: BTreeMap<StatusCode, u64>,
    bytes: u64,
    /// From the first request to the end of the last body.
    pub time: Duration,
    /// What connecting took, all connections together.
    pub handshake: Duration,
}

impl Summary {
    /// A response with this status and so many bytes of content.
    pub fn add(&mut self, status: StatusCode, bytes: u64) {
        *self.statuses.entry(status).or_default() += 1;
        self.bytes += bytes;
    }

    /// The first status, of those there are, that is no success.
    pub fn failure(&self) -> Option<StatusCode> {
        self.statuses.keys().find(|status| !status.is_success()).copied()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (status, count) in &self.statuses {
            match count {
                1 => write!(f, "{status}, ")?,
                _ => write!(f, "{count} x {status}, ")?,
            }
        }
        let seconds = self.time.as_secs_f64();
        let rate = self.bytes as f64 * 8e-6 / seconds.max(1e-9);
        write!(f, "{} bytes in {seconds:.3} s ({rate:.1} Mbit/s", self.bytes)?;
        let count: u64 = self.statuses.values().sum();
        if count > 1 {
            write!(f, ", {:.0} responses/s", count as f64 / seconds.max(1e-9))?;
        }
        write!(f, "), HTTP/3, handshake {:.1} ms", self.handshake.as_secs_f64() * 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_tells_status_bytes_time_protocol_and_handshake() {
        let mut summary = Summary {
            time: Duration::from_millis(500),
            handshake: Duration::from_micros(1500),
            ..Summary::default()
        };
        summary.add(StatusCode::OK, 1_000_000);
        let line = "200 OK, 1000000 bytes in 0.500 s (16.0 Mbit/s), HTTP/3, handshake 1.5 ms";
        assert_eq!((summary.to_string().as_str(), summary.failure()), (line, None));
        summary.add(StatusCode::OK, 0);
        summary.add(StatusCode::NOT_FOUND, 0);
        assert!(summary.to_string().starts_with("2 x 200 OK, 404 Not Found, 1000000 bytes in"), "{summary}");
        assert_eq!(summary.failure(), Some(StatusCode::NOT_FOUND));
    }
}
