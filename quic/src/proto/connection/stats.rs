//! Counters.

use std::time::Duration;

/// What a connection did so far.
#[derive(Debug, Default, Copy, Clone)]
#[non_exhaustive]
pub struct ConnectionStats {
    /// Datagrams received.
    pub datagrams_received: u64,
    /// Bytes of UDP payload received.
    pub bytes_received: u64,
    /// Datagrams sent.
    pub datagrams_sent: u64,
    /// Bytes of UDP payload sent.
    pub bytes_sent: u64,
    /// Packets sent.
    pub packets_sent: u64,
    /// Packets received, authenticated and not duplicates.
    pub packets_received: u64,
    /// Packets sent before the handshake (0-RTT).
    pub early_packets_sent: u64,
    /// Packets received that were sent before the handshake (0-RTT).
    pub early_packets_received: u64,
    /// Datagrams dropped because more arrived than were looked at in time.
    pub datagrams_overflowed: u64,
    /// Packets dropped: duplicates, not for us, or not to be opened.
    pub packets_dropped: u64,
    /// Packets that failed authentication.
    pub authentication_failures: u64,
    /// Key updates, by either end (RFC 9001 §6).
    pub key_updates: u64,
    /// Packets declared lost.
    pub packets_lost: u64,
    /// Bytes in packets declared lost.
    pub bytes_lost: u64,
    /// Packets acknowledged after they had been declared lost: they were late.
    pub spurious_losses: u64,
    /// Episodes of losses of which every packet was late, so that the reduction of the congestion window was taken back.
    pub spurious_congestions: u64,
    /// How often everything sent over a long time was lost (RFC 9002 §7.6).
    pub persistent_congestions: u64,
    /// Probe timeouts that expired.
    pub probe_timeouts: u64,
    /// Episodes of losses or marks, one in a round trip at most, in which CUBIC and NewReno reduce the congestion window.
    pub congestion_events: u64,
    /// The congestion window, bytes.
    pub congestion_window: u64,
    /// Bytes sent and neither acknowledged nor lost.
    pub bytes_in_flight: u64,
    /// The path is known to carry ECN marks.
    pub ecn_capable: bool,
    /// Probe timeouts that expired since the peer last acknowledged something.
    pub pto_count: u32,
    /// The smoothed round-trip time.
    pub rtt: Duration,
    /// The size of the largest datagrams we send, bytes of UDP payload.
    pub mtu: usize,
    /// Probes for larger datagrams that were sent; their loss counts in no other figure.
    pub mtu_probes_sent: u64,
    /// Those of them that were declared lost.
    pub mtu_probes_lost: u64,
    /// How often the path stopped carrying the size of datagrams that was in use.
    pub mtu_black_holes: u64,
    /// How often the connection turned to another path: the peer moved, we did, or one of us went back.
    pub path_changes: u64,
    /// PATH_CHALLENGE frames that were not answered: too many waited, or nothing can be sent to where they came from.
    pub path_challenges_dropped: u64,
    /// DATAGRAM frames sent (RFC 9221).
    pub datagram_frames_sent: u64,
    /// DATAGRAM frames received.
    pub datagram_frames_received: u64,
    /// Datagrams of the application that were dropped before they were sent: there was no room for them, or they became too
    /// large for the path.
    pub datagrams_unsent: u64,
    /// Datagrams of the application that were too old before they could be sent.
    pub datagrams_expired: u64,
    /// Datagrams that were received, and dropped since the application reads too slowly.
    pub datagrams_unread: u64,
    /// Packets from addresses that were not made paths, because there were too many new ones
    /// ([`max_new_paths_per_second`](crate::config::TransportConfigBuilder::max_new_paths_per_second)).
    pub paths_refused: u64,
    /// Streams that the peer opened and gave up: with RESET_STREAM or RESET_STREAM_AT that nobody asked for, or STOP_SENDING.
    pub resets_received: u64,
    /// Frames received that changed nothing, PADDING aside: PING, acknowledgments of what was acknowledged, limits that
    /// are no higher, challenges, small pieces of data that were there.
    pub idle_frames_received: u64,
    /// Packets sent that ask for an acknowledgment.
    pub ack_eliciting_packets_sent: u64,
    /// Frames sent.
    pub frames_sent: u64,
    /// Frames received.
    pub frames_received: u64,
}
