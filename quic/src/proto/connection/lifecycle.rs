//! From open to forgotten: closing and draining (RFC 9000 §10.2).

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Connection;
use crate::error::ConnectionError;
use crate::packet::{Level, MIN_DATAGRAM_SIZE, TransportError, TransportErrorCode as Code};
use crate::proto::Tombstone;
use crate::wire::VarInt;
use crate::wire::frame::{CloseError, ConnectionClose};

/// Where a connection stands between open and forgotten.
#[derive(Debug, Default)]
pub enum Lifecycle {
    /// Packets flow.
    #[default]
    Open,
    /// It ended here, or the peer said so and we answer once.
    Ended {
        /// What to tell the peer; `None` when there is nobody to tell.
        close: Option<CloseError>,
        /// For people, with `close`.
        reason: Bytes,
        /// The CONNECTION_CLOSE is not in a packet yet.
        to_send: bool,
        /// We only swallow what still arrives.
        draining: bool,
        /// The sealed datagram that said it.
        sealed: Option<Bytes>,
        /// When the last trace may go.
        until: Instant,
    },
}

impl Lifecycle {
    /// True until the connection is closed by either end, reset or timed out.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Open)
    }

    /// True if it was not this end that ended it.
    pub fn is_draining(&self) -> bool {
        matches!(self, Self::Ended { draining: true, .. })
    }

    /// True if a CONNECTION_CLOSE waits to be sent.
    pub fn close_to_send(&self) -> bool {
        matches!(self, Self::Ended { to_send: true, .. })
    }

    /// The frame that ends the connection, as it may be told at `level`.
    ///
    /// Handshake packets must not show what the application says (RFC 9000 §10.2.3).
    pub fn close_frame(&self, level: Level) -> Option<ConnectionClose> {
        let Self::Ended { close: Some(error), reason, .. } = self else { return None };
        if matches!(level, Level::OneRtt | Level::ZeroRtt) || !matches!(error, CloseError::Application { .. })
        {
            return Some(ConnectionClose { error: *error, reason: reason.clone() });
        }
        let error = CloseError::Transport { code: Code::APPLICATION_ERROR, frame_type: None };
        Some(ConnectionClose { error, reason: Bytes::new() })
    }

    /// The CONNECTION_CLOSE left in this datagram.
    pub fn close_sent(&mut self, datagram: &[u8]) {
        if let Self::Ended { to_send, sealed, draining, .. } = self {
            *to_send = false;
            if !*draining && !datagram.is_empty() {
                *sealed = Some(Bytes::copy_from_slice(datagram));
            }
        }
    }
}

impl Connection {
    /// Closes the connection with a code and reason of the application (RFC 9000 §10.2).
    ///
    /// Data that was not acknowledged is abandoned. Does nothing if the connection is over already.
    pub fn close(&mut self, now: Instant, code: VarInt, reason: Bytes) {
        let close = Some(CloseError::Application { code });
        self.end(now, close, reason, false, ConnectionError::LocallyClosed);
    }

    /// Gives the connection up without telling the peer.
    pub fn abort(&mut self, now: Instant, error: ConnectionError) {
        self.vanish(now, error);
    }

    /// Ends a handshake that costs more than this server has to spare (RFC 9000 §20.1).
    pub fn refuse(&mut self, now: Instant) {
        self.fail(now, TransportError::new(Code::CONNECTION_REFUSED, "too many handshakes"));
    }

    /// What the peer has sent in its handshake and is kept: packets before their keys, and TLS messages, bytes.
    #[must_use]
    pub fn handshake_bytes(&self) -> usize {
        self.parked.bytes() + self.handshake.held()
    }

    /// Closes the connection for an error that this end found.
    pub(in crate::proto) fn fail(&mut self, now: Instant, error: TransportError) {
        let close = Some(CloseError::Transport { code: error.code, frame_type: error.frame_type });
        let reason = Bytes::copy_from_slice(error.reason.as_bytes());
        self.end(now, close, reason, false, ConnectionError::local(error));
    }

    /// Ends without a word: there is nobody to tell, or telling makes no sense.
    pub(in crate::proto) fn vanish(&mut self, now: Instant, error: ConnectionError) {
        self.end(now, None, Bytes::new(), true, error);
    }

    /// The peer closed: answer once, so that it need not wait, and drain.
    pub(in crate::proto) fn on_connection_close(&mut self, now: Instant, frame: &ConnectionClose) {
        let error = match &frame.error {
            CloseError::Application { code } => {
                ConnectionError::Application { code: *code, reason: frame.reason.clone() }
            }
            CloseError::Transport { code, frame_type } => {
                let reason = String::from_utf8_lossy(&frame.reason).into_owned();
                let mut error = TransportError::new(*code, reason);
                error.frame_type = *frame_type;
                ConnectionError::peer(error)
            }
        };
        // A peer that refused keeps nothing that an answer could reach.
        let answer = CloseError::Transport { code: Code::NO_ERROR, frame_type: None };
        let answer = self.handshake.is_complete().then_some(answer);
        self.end(now, answer, Bytes::new(), true, error);
    }

    fn end(
        &mut self,
        now: Instant,
        close: Option<CloseError>,
        reason: Bytes,
        draining: bool,
        error: ConnectionError,
    ) {
        if !self.lifecycle.is_open() {
            return;
        }
        let until = now + 3 * self.pto();
        let to_send = close.is_some();
        self.lifecycle = Lifecycle::Ended { close, reason, to_send, draining, sealed: None, until };
        self.unroute_tokens();
        self.outbox.closed = Some(error);
    }

    /// What must be kept after the end, so that late datagrams of the peer are answered or swallowed.
    ///
    /// `None` while the connection is open, and when nothing of it needs to be remembered.
    pub fn tombstone(&self) -> Option<Tombstone> {
        let Lifecycle::Ended { sealed, until, .. } = &self.lifecycle else { return None };
        // A validated address has brought a full datagram at least: that of its first Initial.
        let path = &self.paths.active;
        let credit = path.amplification_budget().min(3 * MIN_DATAGRAM_SIZE as u64);
        Some(Tombstone { close: sealed.clone(), path: path.tuple, credit, until: *until })
    }

    /// The probe timeout of application data, without backoff.
    pub(in crate::proto) fn pto(&self) -> Duration {
        self.paths.active.cc.rtt.pto() + self.recovery.ack_requests.max_ack_delay()
    }
}
