//! The ordered bytes of TLS at one encryption level (RFC 9000 §7.5).

use std::ops::Range;

use crate::packet::{TransportError, TransportErrorCode as Code};
use crate::proto::range_set::RangeSet;

/// More gaps than any honest peer makes.
const MAX_RANGES: usize = 256;

/// CRYPTO data on its way to the peer.
#[derive(Debug, Default)]
pub struct CryptoSend {
    data: Vec<u8>,
    /// What must be sent, or sent again.
    to_send: RangeSet,
    /// What the peer has.
    acked: RangeSet,
}

impl CryptoSend {
    /// Queues what TLS wrote.
    pub fn push(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            let start = self.data.len() as u64;
            self.data.extend_from_slice(bytes);
            self.to_send.insert(start..self.data.len() as u64);
        }
    }

    /// How many bytes there are, sent or not.
    #[cfg(test)]
    pub fn end(&self) -> u64 {
        self.data.len() as u64
    }

    /// True if something waits to be sent.
    pub fn wants_to_send(&self) -> bool {
        !self.to_send.is_empty()
    }

    /// The first piece to send: its offset and its bytes.
    pub fn next(&self) -> Option<(u64, &[u8])> {
        let range = self.to_send.first()?;
        let bytes = self.data.get(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?)?;
        Some((range.start, bytes))
    }

    /// The first `len` bytes of that piece are in a packet.
    pub fn sent(&mut self, len: usize) {
        if let Some(range) = self.to_send.first() {
            self.to_send.remove(range.start..range.start + len as u64);
        }
    }

    /// Queues again all that the peer is not known to have.
    pub fn repeat(&mut self) {
        self.on_lost(0..self.data.len() as u64);
    }

    /// The peer has this piece.
    pub fn on_acked(&mut self, piece: Range<u64>) {
        self.to_send.remove(piece.clone());
        self.acked.insert(piece);
    }

    /// The packet with this piece was lost.
    pub fn on_lost(&mut self, piece: Range<u64>) {
        self.to_send.insert(piece.clone());
        self.acked.overlapping(piece).for_each(|acked| self.to_send.remove(acked));
    }
}

/// CRYPTO data from the peer.
#[derive(Debug, Default)]
pub struct CryptoRecv {
    /// Offset of the first byte of `data`: everything before it was read.
    base: u64,
    data: Vec<u8>,
    /// What of `data` has arrived, in stream offsets.
    arrived: RangeSet,
}

impl CryptoRecv {
    /// Stores a piece, at most `limit` bytes ahead of what was read.
    ///
    /// # Errors
    /// CRYPTO_BUFFER_EXCEEDED beyond the limit, or for an absurd number of gaps.
    pub fn insert(&mut self, offset: u64, bytes: &[u8], limit: usize) -> Result<(), TransportError> {
        let end = offset + bytes.len() as u64;
        if end > self.base + limit as u64 {
            return Err(TransportError::new(Code::CRYPTO_BUFFER_EXCEEDED, "too much TLS data out of order"));
        }
        let skip = self.base.saturating_sub(offset).min(bytes.len() as u64);
        let (Ok(skip_len), Ok(at)) =
            (usize::try_from(skip), usize::try_from((offset + skip).saturating_sub(self.base)))
        else {
            return Ok(());
        };
        let fresh = bytes.get(skip_len..).unwrap_or_default();
        if fresh.is_empty() {
            return Ok(());
        }
        if self.data.len() < at + fresh.len() {
            self.data.resize(at + fresh.len(), 0);
        }
        if let Some(target) = self.data.get_mut(at..at + fresh.len()) {
            target.copy_from_slice(fresh);
        }
        self.arrived.insert(offset + skip..end);
        if self.arrived.len() > MAX_RANGES {
            return Err(TransportError::new(Code::CRYPTO_BUFFER_EXCEEDED, "too many gaps in TLS data"));
        }
        Ok(())
    }

    /// Takes what is in order.
    pub fn read(&mut self) -> Option<Vec<u8>> {
        let first = self.arrived.first().filter(|first| first.start == self.base)?;
        let len = usize::try_from(first.end - first.start).ok()?.min(self.data.len());
        let rest = self.data.split_off(len);
        self.arrived.pop_first();
        self.base = first.end;
        Some(std::mem::replace(&mut self.data, rest))
    }

    /// Everything from the start that is in order, without taking it; for looking at a ClientHello.
    pub fn peek(&self) -> &[u8] {
        let len =
            self.arrived.first().filter(|first| first.start == self.base).map(|first| first.end - self.base);
        len.and_then(|len| self.data.get(..usize::try_from(len).ok()?)).unwrap_or_default()
    }

    /// True if bytes arrived that were not read.
    pub fn has_unread(&self) -> bool {
        !self.arrived.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_in_any_order_come_out_once_and_in_order() {
        let message: Vec<u8> = (0..=255).collect();
        let mut recv = CryptoRecv::default();
        for offset in [200, 100, 0, 50, 150, 100] {
            let piece = &message[offset..(offset + 60).min(256)];
            recv.insert(offset as u64, piece, 4096).unwrap();
        }
        assert_eq!(recv.peek(), message);
        assert_eq!(recv.read().unwrap(), message);
        assert!(recv.read().is_none() && !recv.has_unread());
        recv.insert(10, &message[10..20], 4096).unwrap();
        assert!(!recv.has_unread(), "old bytes are dropped");
        recv.insert(250, &[250, 251, 252, 253, 254, 255, 0, 1], 4096).unwrap();
        assert_eq!(recv.read().unwrap(), [0, 1]);
    }

    // covers: R9000-7.5-02
    #[test]
    fn data_beyond_the_limit_is_refused() {
        let mut recv = CryptoRecv::default();
        recv.insert(4000, &[0; 96], 4096).unwrap();
        assert_eq!(recv.insert(4001, &[0; 96], 4096).unwrap_err().code, Code::CRYPTO_BUFFER_EXCEEDED);
        assert_eq!(recv.insert(1 << 61, &[0], 4096).unwrap_err().code, Code::CRYPTO_BUFFER_EXCEEDED);
        let mut recv = CryptoRecv::default();
        let many = (0..2000).try_for_each(|i| recv.insert(i * 2 + 1, &[0], 4096));
        assert_eq!(many.unwrap_err().code, Code::CRYPTO_BUFFER_EXCEEDED);
    }

    #[test]
    fn lost_pieces_go_out_again_and_acknowledged_ones_do_not() {
        let mut send = CryptoSend::default();
        send.push(&[1; 100]);
        send.sent(40);
        send.sent(60);
        assert!(!send.wants_to_send());
        send.on_acked(10..30);
        send.on_lost(0..40);
        assert_eq!(send.next().unwrap(), (0, &[1; 10][..]));
        send.sent(10);
        assert_eq!(send.next().unwrap().0, 30);
        send.on_acked(0..100);
        assert!(!send.wants_to_send());
        send.on_lost(0..100);
        assert!(!send.wants_to_send());
    }
}
