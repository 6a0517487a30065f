//! Windows, limits and timers of a connection.

use std::time::Duration;

use super::{AckFrequency, ConfigError, check};
use crate::packet::{CongestionControl, DatagramPolicy, MIN_DATAGRAM_SIZE, TxBatch};
use crate::wire::VarInt;

/// How a connection behaves, whichever end opened it.
///
/// ```
/// use std::time::Duration;
/// use gannet::config::TransportConfig;
///
/// let transport = TransportConfig::builder()
///     .max_idle_timeout(Some(Duration::from_secs(60)))
///     .keep_alive_interval(Some(Duration::from_secs(20)))
///     .build()?;
/// # Ok::<(), gannet::config::ConfigError>(())
/// ```
#[derive(Debug, Clone)]
pub struct TransportConfig {
    pub(crate) stream_receive_window: u64,
    pub(crate) max_stream_receive_window: u64,
    pub(crate) receive_window: u64,
    pub(crate) max_receive_window: u64,
    pub(crate) max_concurrent_bidi_streams: u64,
    pub(crate) max_concurrent_uni_streams: u64,
    pub(crate) stream_send_budget: u64,
    pub(crate) send_budget: u64,
    pub(crate) max_idle_timeout: Option<Duration>,
    pub(crate) handshake_timeout: Duration,
    pub(crate) keep_alive_interval: Option<Duration>,
    pub(crate) initial_rtt: Duration,
    pub(crate) max_ack_delay: Duration,
    pub(crate) ack_delay_exponent: u8,
    pub(crate) min_ack_delay: Option<Duration>,
    pub(crate) ack_frequency: AckFrequency,
    pub(crate) initial_mtu: u16,
    pub(crate) mtu_upper_bound: Option<u16>,
    pub(crate) loopback_mtu_upper_bound: u16,
    pub(crate) congestion_control: CongestionControl,
    pub(crate) initial_congestion_window: Option<u64>,
    pub(crate) active_connection_id_limit: u64,
    pub(crate) crypto_buffer_size: usize,
    pub(crate) max_resets_per_second: u32,
    pub(crate) max_idle_frames_per_second: u32,
    pub(crate) max_connection_ids_per_second: u32,
    pub(crate) max_new_paths_per_second: u32,
    pub(crate) ecn: bool,
    pub(crate) grease_quic_bit: bool,
    pub(crate) reset_stream_at: bool,
    pub(crate) key_update_interval: Option<u64>,
    pub(crate) spin_bit: bool,
    pub(crate) migration: bool,
    pub(crate) use_preferred_address: bool,
    pub(crate) max_datagram_frame_size: u64,
    pub(crate) datagram_receive_buffer_size: usize,
    pub(crate) datagram_receive_policy: DatagramPolicy,
    pub(crate) datagram_send_buffer_size: usize,
    pub(crate) datagram_send_policy: DatagramPolicy,
}

impl TransportConfig {
    /// Starts from the defaults.
    pub fn builder() -> TransportConfigBuilder {
        TransportConfigBuilder(Self::default())
    }

    /// What the peer is told of the datagrams that we take: the largest frame, or 0 for none (RFC 9221 §3).
    pub(crate) fn announced_datagram_frame_size(&self) -> u64 {
        if self.datagram_receive_buffer_size == 0 { 0 } else { self.max_datagram_frame_size }
    }

    /// What the peer is told: no more than the longest delay.
    pub(crate) fn told_min_ack_delay(&self) -> Option<Duration> {
        self.min_ack_delay.map(|min| min.min(self.max_ack_delay))
    }
}

impl Default for TransportConfig {
    fn default() -> Self {
        Self {
            stream_receive_window: 512 << 10,
            // Twice what 500 Mbit/s keep under way in 100 ms, and room for credit that is told in quarters.
            max_stream_receive_window: 16 << 20,
            receive_window: 1 << 20,
            max_receive_window: 24 << 20,
            max_concurrent_bidi_streams: 100,
            max_concurrent_uni_streams: 100,
            stream_send_budget: 32 << 20,
            send_budget: 32 << 20,
            max_idle_timeout: Some(Duration::from_secs(30)),
            handshake_timeout: Duration::from_secs(10),
            keep_alive_interval: None,
            initial_rtt: Duration::from_millis(333),
            max_ack_delay: Duration::from_millis(25),
            ack_delay_exponent: 3,
            min_ack_delay: Some(Duration::from_millis(1)),
            ack_frequency: AckFrequency::Adaptive,
            initial_mtu: MIN_DATAGRAM_SIZE as u16,
            mtu_upper_bound: Some(1452),
            loopback_mtu_upper_bound: 65_488,
            congestion_control: CongestionControl::Cubic,
            initial_congestion_window: None,
            active_connection_id_limit: 4,
            crypto_buffer_size: 64 << 10,
            max_resets_per_second: 1000,
            max_idle_frames_per_second: 10_000,
            max_connection_ids_per_second: 100,
            max_new_paths_per_second: 16,
            ecn: true,
            grease_quic_bit: true,
            reset_stream_at: true,
            key_update_interval: None,
            spin_bit: true,
            migration: true,
            use_preferred_address: true,
            max_datagram_frame_size: 65_535,
            datagram_receive_buffer_size: 1 << 20,
            datagram_receive_policy: DatagramPolicy::DropOldest,
            datagram_send_buffer_size: 1 << 20,
            datagram_send_policy: DatagramPolicy::DropOldest,
        }
    }
}

/// Builds a [`TransportConfig`].
#[derive(Debug, Clone)]
#[must_use]
pub struct TransportConfigBuilder(TransportConfig);

impl TransportConfigBuilder {
    /// How many bytes of one stream the peer may send before the application reads them: always the same, where windows
    /// tune themselves otherwise.
    ///
    /// At most this much data per round trip arrives on a stream. Memory is taken for what arrives, however large the window
    /// and however far ahead in the stream that lies.
    pub fn stream_receive_window(self, bytes: u64) -> Self {
        self.initial_stream_receive_window(bytes).max_stream_receive_window(bytes)
    }

    /// The same at the beginning of a stream. Default 512 KiB.
    ///
    /// From there the window doubles whenever a quarter of it has arrived and been read within a round trip.
    pub fn initial_stream_receive_window(mut self, bytes: u64) -> Self {
        self.0.stream_receive_window = bytes;
        self
    }

    /// Up to which size the window of a stream grows, bytes. Default 16 MiB.
    pub fn max_stream_receive_window(mut self, bytes: u64) -> Self {
        self.0.max_stream_receive_window = bytes;
        self
    }

    /// How many bytes of all streams together the peer may send before the application reads them: always the same, where
    /// windows tune themselves otherwise.
    ///
    /// It bounds the memory that a peer can make this connection hold.
    pub fn receive_window(self, bytes: u64) -> Self {
        self.initial_receive_window(bytes).max_receive_window(bytes)
    }

    /// The same at the beginning of a connection. Default 1 MiB.
    ///
    /// From there the window grows like that of a stream, as far as the memory budget of the endpoint allows.
    pub fn initial_receive_window(mut self, bytes: u64) -> Self {
        self.0.receive_window = bytes;
        self
    }

    /// Up to which size the window of a connection grows, bytes. Default 24 MiB.
    pub fn max_receive_window(mut self, bytes: u64) -> Self {
        self.0.max_receive_window = bytes;
        self
    }

    /// How many bidirectional streams the peer may have open at once. Default 100.
    pub fn max_concurrent_bidi_streams(mut self, streams: u64) -> Self {
        self.0.max_concurrent_bidi_streams = streams;
        self
    }

    /// How many unidirectional streams the peer may have open at once. Default 100; HTTP/3 needs at least 3.
    pub fn max_concurrent_uni_streams(mut self, streams: u64) -> Self {
        self.0.max_concurrent_uni_streams = streams;
        self
    }

    /// How many bytes of one stream are accepted from the application before the peer acknowledges them.
    /// Default 32 MiB: as much as the connection takes.
    pub fn stream_send_budget(mut self, bytes: u64) -> Self {
        self.0.stream_send_budget = bytes;
        self
    }

    /// The same for all streams of the connection together: an upper bound, the budget in force is twice the congestion
    /// window, and not below 256 KiB. Default 32 MiB. Beyond it each stream has room for 4 KiB.
    pub fn send_budget(mut self, bytes: u64) -> Self {
        self.0.send_budget = bytes;
        self
    }

    /// After how long without a packet from the peer the connection is given up (RFC 9000 §10.1). Default 30 s;
    /// `None` leaves it to the peer. The smaller value of the two ends counts.
    pub fn max_idle_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.0.max_idle_timeout = timeout;
        self
    }

    /// How long the handshake may take. Default 10 s.
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.0.handshake_timeout = timeout;
        self
    }

    /// Sends a PING after this time of silence, so that the connection does not become idle. Default off.
    ///
    /// One end that does so is enough. Keep it below half of the idle timeout.
    pub fn keep_alive_interval(mut self, interval: Option<Duration>) -> Self {
        self.0.keep_alive_interval = interval;
        self
    }

    /// The round-trip time assumed before the first sample (RFC 9002 §6.2.2). Default 333 ms.
    pub fn initial_rtt(mut self, rtt: Duration) -> Self {
        self.0.initial_rtt = rtt;
        self
    }

    /// How long an acknowledgement may be held back (RFC 9000 §18.2). Default 25 ms, below 2^14 ms.
    pub fn max_ack_delay(mut self, delay: Duration) -> Self {
        self.0.max_ack_delay = delay;
        self
    }

    /// Unit of the delays in our ACK frames: 2 to this power, microseconds (RFC 9000 §18.2). Default 3, at most 20.
    pub fn ack_delay_exponent(mut self, exponent: u8) -> Self {
        self.0.ack_delay_exponent = exponent;
        self
    }

    /// Lets the peer say how often it wants acknowledgments, and names the shortest delay that it may ask for, in
    /// microseconds (min_ack_delay of draft-ietf-quic-ack-frequency-12 §3). Default 1 ms, what timers can do; `None` takes
    /// no requests. What is above [`max_ack_delay`](Self::max_ack_delay) counts as that.
    ///
    /// A peer can have up to 16 seconds of delay, or an acknowledgment for each packet; it gets no more than one for each
    /// batch of packets that arrive together.
    pub fn min_ack_delay(mut self, delay: Option<Duration>) -> Self {
        self.0.min_ack_delay = delay;
        self
    }

    /// What the peer is asked about its acknowledgments, if it takes requests. Default [`AckFrequency::Adaptive`].
    pub fn ack_frequency(mut self, frequency: AckFrequency) -> Self {
        self.0.ack_frequency = frequency;
        self
    }

    /// Size of the first datagrams, bytes of UDP payload. Default 1200, the least that every path must carry
    /// (RFC 9000 §14); more only where the path is known.
    pub fn initial_mtu(mut self, bytes: u16) -> Self {
        self.0.initial_mtu = bytes;
        self
    }

    /// Up to which size larger datagrams are tried, bytes of UDP payload (RFC 9000 §14.3, RFC 8899). Default 1452: what
    /// fits Ethernet. `None` keeps to the initial size.
    ///
    /// Single datagrams of padding show what a path carries; their loss does not slow anything down. If a path stops
    /// carrying what it used to, datagrams shrink to 1200 bytes, and grow again later.
    pub fn mtu_upper_bound(mut self, bytes: Option<u16>) -> Self {
        self.0.mtu_upper_bound = bytes;
        self
    }

    /// The same where the peer's address is a loopback address. Default 65,488: what
    /// an interface of 65,536 bytes carries, whichever the version of IP. Has
    /// no effect if [`mtu_upper_bound`](Self::mtu_upper_bound) is `None`.
    pub fn loopback_mtu_upper_bound(mut self, bytes: u16) -> Self {
        self.0.loopback_mtu_upper_bound = bytes;
        self
    }

    /// The algorithm of congestion control, for what this end sends. Default [`CongestionControl::Cubic`].
    ///
    /// It may differ from connection to connection: a client gives `Endpoint::connect_with` a configuration, a server
    /// `Incoming::accept_with`, once it has seen who comes and what for.
    ///
    /// ```
    /// use gannet::config::{CongestionControl, TransportConfig};
    ///
    /// let bulk = TransportConfig::builder().congestion_control(CongestionControl::Bbr).build()?;
    /// # Ok::<(), gannet::config::ConfigError>(())
    /// ```
    pub fn congestion_control(mut self, algorithm: CongestionControl) -> Self {
        self.0.congestion_control = algorithm;
        self
    }

    /// The congestion window at the start, bytes. The default is that of RFC 9002 §7.2: ten packets.
    pub fn initial_congestion_window(mut self, bytes: Option<u64>) -> Self {
        self.0.initial_congestion_window = bytes;
        self
    }

    /// How many connection IDs of the peer are stored (RFC 9000 §18.2). Default 4, at least 2.
    pub fn active_connection_id_limit(mut self, ids: u64) -> Self {
        self.0.active_connection_id_limit = ids;
        self
    }

    /// How many bytes of TLS messages may arrive ahead of their turn (RFC 9000 §7.5). Default 64 KiB, at least 4096.
    pub fn crypto_buffer_size(mut self, bytes: usize) -> Self {
        self.0.crypto_buffer_size = bytes;
        self
    }

    /// How many of the streams that it has opened the peer may give up per second: with RESET_STREAM, RESET_STREAM_AT,
    /// STOP_SENDING, or several of them, as a cancelled request of HTTP/3 does. Default 1000; twice as many may come at
    /// once, and `u32::MAX` means any number. Frames that say it again, or of streams that are over, are idle:
    /// [`TransportConfigBuilder::max_idle_frames_per_second`].
    ///
    /// More end the connection with PROTOCOL_VIOLATION: a stream that is opened and given up at once costs its peer little
    /// and us much.
    pub fn max_resets_per_second(mut self, streams: u32) -> Self {
        self.0.max_resets_per_second = streams;
        self
    }

    /// How many frames the peer may send per second that change nothing (RFC 9000 §21.9): PING, empty STREAM and CRYPTO
    /// frames, small pieces of data that were there before, limits that are no higher, ends of streams that have ended,
    /// BLOCKED frames, challenges, acknowledgments of what was acknowledged, wishes for acknowledgments (IMMEDIATE_ACK,
    /// ACK_FREQUENCY). Default 10,000; twice as many may come at once, and `u32::MAX` means any number.
    ///
    /// For each packet of ours that asks for an acknowledgment, answers to challenges aside, one more is allowed; a few in
    /// a packet that also has other frames do not count. More end the connection with PROTOCOL_VIOLATION.
    pub fn max_idle_frames_per_second(mut self, frames: u32) -> Self {
        self.0.max_idle_frames_per_second = frames;
        self
    }

    /// How many connection IDs the peer may issue and retire per second. Default 100; twice as many may come at once, and
    /// `u32::MAX` means any number. More end the connection with PROTOCOL_VIOLATION.
    pub fn max_connection_ids_per_second(mut self, ids: u32) -> Self {
        self.0.max_connection_ids_per_second = ids;
        self
    }

    /// To how many new addresses of a client a server looks per second. Default 16; twice as many may come at once, and
    /// `u32::MAX` means any number. What comes from others is taken, but the client is not followed there.
    pub fn max_new_paths_per_second(mut self, paths: u32) -> Self {
        self.0.max_new_paths_per_second = paths;
        self
    }

    /// Whether packets are marked ECT(0), so that routers can tell of congestion without loss (RFC 9000 §13.4).
    /// Default on.
    pub fn ecn(mut self, on: bool) -> Self {
        self.0.ecn = on;
        self
    }

    /// Whether the peer is told that it may clear the QUIC bit, and the bit is cleared at random once the peer has said the
    /// same (RFC 9287). Default on.
    ///
    /// With it the second bit of a packet does not tell QUIC from other protocols any more: switch it off where they share
    /// a port.
    pub fn grease_quic_bit(mut self, on: bool) -> Self {
        self.0.grease_quic_bit = on;
        self
    }

    /// Whether the peer may reset streams but for their beginning (RESET_STREAM_AT,
    /// draft-ietf-quic-reliable-stream-reset-10). Default on.
    ///
    /// Whether this end may do so is up to the peer: see `SendStream::reset_at`.
    pub fn reset_stream_at(mut self, on: bool) -> Self {
        self.0.reset_stream_at = on;
        self
    }

    /// After how many packets sealed with one key it is replaced, if the peer is ready for that (RFC 9001 §6). The
    /// default, `None`, is half of what the cipher may protect: 2^22 packets with AES-GCM, never with ChaCha20-Poly1305.
    ///
    /// A value beyond that changes nothing: no key is used for more than its cipher allows.
    pub fn key_update_interval(mut self, packets: Option<u64>) -> Self {
        self.0.key_update_interval = packets;
        self
    }

    /// Whether observers on the network may see the round-trip time in the spin bit (RFC 9000 §17.4). Default on; one
    /// path in eight, at random, keeps it to itself all the same.
    pub fn spin_bit(mut self, on: bool) -> Self {
        self.0.spin_bit = on;
        self
    }

    /// Whether a server lets its clients move to other addresses. Default on.
    ///
    /// Off, it tells them so, and drops what comes from another address than the handshake; a client whose NAT gives
    /// it another port is cut off then. At a client it has no effect.
    pub fn migration(mut self, on: bool) -> Self {
        self.0.migration = on;
        self
    }

    /// Whether a client moves to the address that the server prefers, if it names one (RFC 9000 §9.6). Default on.
    pub fn use_preferred_address(mut self, on: bool) -> Self {
        self.0.use_preferred_address = on;
        self
    }

    /// The largest DATAGRAM frame that the peer may send, bytes of type, length and message (RFC 9221 §3). Default and
    /// most 65,535: whatever fits a packet. 0 for none.
    pub fn max_datagram_frame_size(mut self, bytes: u64) -> Self {
        self.0.max_datagram_frame_size = bytes;
        self
    }

    /// How much of datagrams that were received may wait for the application to read them, bytes; 64 are counted for each
    /// besides its own. Default 1 MiB. With 0 none are taken, and the peer is told so.
    ///
    /// It bounds the memory that a peer can make this connection hold with datagrams; nothing slows the peer down. While
    /// they change hands, up to twice as much may be held.
    pub fn datagram_receive_buffer_size(mut self, bytes: usize) -> Self {
        self.0.datagram_receive_buffer_size = bytes;
        self
    }

    /// What is dropped when that is full. Default [`DatagramPolicy::DropOldest`].
    pub fn datagram_receive_policy(mut self, policy: DatagramPolicy) -> Self {
        self.0.datagram_receive_policy = policy;
        self
    }

    /// How much of datagrams may wait to be sent, bytes; 64 are counted for each besides its own. Default 1 MiB. With 0 none
    /// can be sent.
    pub fn datagram_send_buffer_size(mut self, bytes: usize) -> Self {
        self.0.datagram_send_buffer_size = bytes;
        self
    }

    /// What is dropped when that is full, unless a call says otherwise. Default [`DatagramPolicy::DropOldest`].
    pub fn datagram_send_policy(mut self, policy: DatagramPolicy) -> Self {
        self.0.datagram_send_policy = policy;
        self
    }

    /// Checks the values.
    ///
    /// # Errors
    /// The first setting that cannot work.
    pub fn build(self) -> Result<TransportConfig, ConfigError> {
        let c = &self.0;
        let fits = |value: u64| value <= VarInt::MAX.into_inner();
        let fits_ms = |time: Duration| u64::try_from(time.as_millis()).is_ok_and(fits);
        check(fits(c.stream_receive_window), "stream_receive_window", "is 2^62 or more")?;
        check(c.stream_receive_window > 0, "stream_receive_window", "is 0")?;
        check(
            (c.stream_receive_window..1 << 62).contains(&c.max_stream_receive_window),
            "max_stream_receive_window",
            "is below the initial window, or 2^62 or more",
        )?;
        check(fits(c.receive_window), "receive_window", "is 2^62 or more")?;
        check(c.receive_window > 0, "receive_window", "is 0")?;
        check(
            (c.receive_window..1 << 62).contains(&c.max_receive_window),
            "max_receive_window",
            "is below the initial window, or 2^62 or more",
        )?;
        check(c.max_concurrent_bidi_streams <= 1 << 60, "max_concurrent_bidi_streams", "is above 2^60")?;
        check(c.max_concurrent_uni_streams <= 1 << 60, "max_concurrent_uni_streams", "is above 2^60")?;
        check(c.stream_send_budget > 0, "stream_send_budget", "is 0")?;
        check(c.send_budget > 0, "send_budget", "is 0")?;
        check(c.max_idle_timeout.is_none_or(fits_ms), "max_idle_timeout", "is 2^62 ms or more")?;
        check(
            c.max_idle_timeout.is_none_or(|timeout| timeout >= Duration::from_millis(1)),
            "max_idle_timeout",
            "is below 1 ms; use None for no timeout",
        )?;
        check(!c.handshake_timeout.is_zero(), "handshake_timeout", "is 0")?;
        check(c.keep_alive_interval.is_none_or(|t| !t.is_zero()), "keep_alive_interval", "is 0")?;
        check(!c.initial_rtt.is_zero(), "initial_rtt", "is 0")?;
        check(c.max_ack_delay.as_millis() < 1 << 14, "max_ack_delay", "is 2^14 ms or more")?;
        check(c.ack_delay_exponent <= 20, "ack_delay_exponent", "is above 20")?;
        if let AckFrequency::Fixed { max_ack_delay: Some(delay), .. } = c.ack_frequency {
            check(delay.as_millis() < 1 << 14, "ack_frequency", "asks for 2^14 ms or more")?;
        }
        check(usize::from(c.initial_mtu) >= MIN_DATAGRAM_SIZE, "initial_mtu", "is below 1200")?;
        check(c.initial_mtu <= 65_527, "initial_mtu", "is above 65527")?;
        let bounds = [Some(c.loopback_mtu_upper_bound), c.mtu_upper_bound];
        for (bound, setting) in bounds.into_iter().zip(["loopback_mtu_upper_bound", "mtu_upper_bound"]) {
            check(
                bound.is_none_or(|bytes| usize::from(bytes) >= MIN_DATAGRAM_SIZE),
                setting,
                "is below 1200",
            )?;
            check(
                bound.is_none_or(|bytes| usize::from(bytes) <= TxBatch::MAX_BYTES),
                setting,
                "is above 65507",
            )?;
        }
        let least = 2 * u64::from(c.initial_mtu);
        check(
            c.initial_congestion_window.is_none_or(|window| window >= least),
            "initial_congestion_window",
            "is below two datagrams",
        )?;
        check(c.active_connection_id_limit >= 2, "active_connection_id_limit", "is below 2")?;
        check(c.active_connection_id_limit <= 64, "active_connection_id_limit", "is above 64")?;
        check(c.crypto_buffer_size >= 4096, "crypto_buffer_size", "is below 4096")?;
        let rates = [
            (c.max_resets_per_second, "max_resets_per_second"),
            (c.max_idle_frames_per_second, "max_idle_frames_per_second"),
            (c.max_connection_ids_per_second, "max_connection_ids_per_second"),
            (c.max_new_paths_per_second, "max_new_paths_per_second"),
        ];
        for (rate, setting) in rates {
            check(rate > 0, setting, "is 0")?;
        }
        check(c.key_update_interval.is_none_or(|packets| packets > 0), "key_update_interval", "is 0")?;
        check(c.max_datagram_frame_size <= 65_535, "max_datagram_frame_size", "is above 65535")?;
        Ok(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_pass_their_own_checks() {
        TransportConfig::builder().build().unwrap();
    }

    #[test]
    fn what_cannot_work_is_named() {
        let setting = |builder: TransportConfigBuilder| builder.build().unwrap_err().setting;
        let new = TransportConfig::builder;
        assert_eq!(setting(new().initial_mtu(1199)), "initial_mtu");
        assert_eq!(setting(new().ack_delay_exponent(21)), "ack_delay_exponent");
        assert_eq!(setting(new().max_ack_delay(Duration::from_millis(1 << 14))), "max_ack_delay");
        assert_eq!(setting(new().receive_window(1 << 62)), "receive_window");
        assert_eq!(setting(new().max_receive_window(1000)), "max_receive_window");
        assert_eq!(setting(new().initial_stream_receive_window(1 << 30)), "max_stream_receive_window");
        assert_eq!(setting(new().max_concurrent_uni_streams((1 << 60) + 1)), "max_concurrent_uni_streams");
        assert_eq!(setting(new().active_connection_id_limit(1)), "active_connection_id_limit");
        assert_eq!(setting(new().max_idle_timeout(Some(Duration::ZERO))), "max_idle_timeout");
        let error = new().crypto_buffer_size(10).build().unwrap_err();
        assert_eq!(error.to_string(), "crypto_buffer_size is below 4096");
    }
}
