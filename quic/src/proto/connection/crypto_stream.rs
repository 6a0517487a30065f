//! The ordered bytes of TLS at one encryption level (RFC 9000 §7.5).

use std::collections::BTreeMap;
use std::ops::Range;

use crate::packet::{TransportError, TransportErrorCode as Code};
use crate::proto::range_set::RangeSet;

/// More pieces out of order than any honest peer makes.
const MAX_PIECES: usize = 256;

/// CRYPTO data on its way to the peer.
#[derive(Debug, Default)]
pub struct CryptoSend {
    /// Where the data begin: the peer has everything before.
    start: u64,
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
            let start = self.end();
            self.data.extend_from_slice(bytes);
            self.to_send.insert(start..self.end());
        }
    }

    /// How many bytes there are, sent or not.
    pub fn end(&self) -> u64 {
        self.start + self.data.len() as u64
    }

    /// True if something waits to be sent.
    pub fn wants_to_send(&self) -> bool {
        !self.to_send.is_empty()
    }

    /// The first piece to send: its offset and its bytes.
    pub fn next(&self) -> Option<(u64, &[u8])> {
        let range = self.to_send.first()?;
        let bytes = self.piece(&range)?;
        Some((range.start, bytes))
    }

    /// The first `len` bytes of that piece are in a packet.
    pub fn sent(&mut self, len: usize) {
        if let Some(range) = self.to_send.first() {
            self.to_send.remove(range.start..range.start + len as u64);
        }
    }

    /// All bytes so far, sent or not, that the peer is not known to have.
    pub fn bytes(&self) -> &[u8] {
        &self.data
    }

    /// A piece, wherever it is.
    pub fn piece(&self, piece: &Range<u64>) -> Option<&[u8]> {
        let at = |offset: u64| usize::try_from(offset.checked_sub(self.start)?).ok();
        self.data.get(at(piece.start)?..at(piece.end)?)
    }

    /// That piece is in a packet.
    pub fn sent_piece(&mut self, piece: Range<u64>) {
        self.to_send.remove(piece);
    }

    /// Queues again all that the peer is not known to have.
    pub fn repeat(&mut self) {
        self.on_lost(self.start..self.end());
    }

    /// The peer has this piece.
    pub fn on_acked(&mut self, piece: Range<u64>) {
        let (piece, end) = (piece.start.max(self.start)..piece.end, self.end());
        if piece.is_empty() {
            return;
        }
        self.to_send.remove(piece.clone());
        self.acked.insert(piece);
        if self.acked.first() == Some(self.start..end) {
            // Nothing of it will be sent again, and a connection may live long.
            *self = Self { start: end, ..Self::default() };
        }
    }

    /// The packet with this piece was lost.
    pub fn on_lost(&mut self, piece: Range<u64>) {
        let piece = piece.start.max(self.start)..piece.end;
        if piece.is_empty() {
            return;
        }
        self.to_send.insert(piece.clone());
        self.acked.overlapping(piece).for_each(|acked| self.to_send.remove(acked));
    }
}

/// CRYPTO data from the peer. Memory is taken for what arrived, however far ahead that lies.
#[derive(Debug, Default)]
pub struct CryptoRecv {
    /// Offset of the first byte of `ready`: everything before it was read.
    base: u64,
    /// What is in order.
    ready: Vec<u8>,
    /// What is not, by offset; the pieces do not overlap.
    later: BTreeMap<u64, Vec<u8>>,
}

impl CryptoRecv {
    /// True for a piece of which every byte is in order already.
    pub fn knows(&self, offset: u64, bytes: &[u8]) -> bool {
        offset + bytes.len() as u64 <= self.ready_end()
    }

    /// Stores a piece, at most `limit` bytes ahead of what was read.
    ///
    /// # Errors
    /// CRYPTO_BUFFER_EXCEEDED beyond the limit, or for an absurd number of pieces out of order.
    pub fn insert(&mut self, offset: u64, bytes: &[u8], limit: usize) -> Result<(), TransportError> {
        let end = offset + bytes.len() as u64;
        if end > self.base + limit as u64 {
            return Err(TransportError::new(Code::CRYPTO_BUFFER_EXCEEDED, "too much TLS data out of order"));
        }
        let mut at = offset.max(self.ready_end());
        while at < end {
            let before = self.later.range(..=at).next_back();
            if let Some(known) = before.map(|(start, piece)| start + piece.len() as u64).filter(|to| *to > at)
            {
                at = known;
                continue;
            }
            let upto = self.later.range(at..).next().map_or(end, |(start, _)| end.min(*start));
            let (Ok(from), Ok(to)) = (usize::try_from(at - offset), usize::try_from(upto - offset)) else {
                return Ok(());
            };
            self.add(at, bytes.get(from..to).unwrap_or_default());
            // Pieces that it reaches are in order now.
            at = upto.max(self.ready_end());
        }
        if self.later.len() > MAX_PIECES {
            return Err(TransportError::new(Code::CRYPTO_BUFFER_EXCEEDED, "too many gaps in TLS data"));
        }
        Ok(())
    }

    /// Adds bytes that are new.
    fn add(&mut self, at: u64, bytes: &[u8]) {
        if at == self.ready_end() {
            self.ready.extend_from_slice(bytes);
            while let Some(next) = self.later.remove(&self.ready_end()) {
                self.ready.extend_from_slice(&next);
            }
            return;
        }
        match self.later.range_mut(..at).next_back() {
            Some((start, piece)) if start + piece.len() as u64 == at => piece.extend_from_slice(bytes),
            _ => {
                self.later.insert(at, bytes.to_vec());
            }
        }
    }

    fn ready_end(&self) -> u64 {
        self.base + self.ready.len() as u64
    }

    /// Takes what is in order.
    pub fn read(&mut self) -> Option<Vec<u8>> {
        self.base = self.ready_end();
        Some(std::mem::take(&mut self.ready)).filter(|ready| !ready.is_empty())
    }

    /// Everything from the start that is in order, without taking it; for looking at a ClientHello.
    pub fn peek(&self) -> &[u8] {
        &self.ready
    }

    /// Bytes that are held here, or that TLS was given: it keeps what is no whole message yet.
    pub fn held(&self) -> usize {
        let later: usize = self.later.values().map(Vec::len).sum();
        usize::try_from(self.ready_end()).unwrap_or(usize::MAX).saturating_add(later)
    }

    /// True if bytes arrived that were not read.
    pub fn has_unread(&self) -> bool {
        !self.ready.is_empty() || !self.later.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
    fn memory_follows_what_arrives() {
        let mut recv = CryptoRecv::default();
        for offset in [60_000, 60_001, 10, 30_000] {
            recv.insert(offset, &[1], 1 << 16).unwrap();
        }
        let held: usize = recv.later.values().map(Vec::capacity).sum();
        assert!(recv.ready.capacity() == 0 && held < 100, "{held}");
        assert_eq!(recv.later.len(), 3, "neighbours are one piece");
        // What is already there is not kept twice.
        recv.insert(5, &[2; 10], 1 << 16).unwrap();
        recv.insert(0, &[3; 40], 1 << 16).unwrap();
        assert_eq!(recv.peek().len(), 40);
        assert_eq!((recv.peek()[4], recv.peek()[5], recv.peek()[10], recv.peek()[39]), (3, 2, 1, 3));
        assert_eq!(recv.later.len(), 2);
    }

    proptest! {
        #[test]
        fn whatever_the_pieces_are_the_bytes_come_out_in_order(
            pieces in prop::collection::vec((0_usize..300, 0_usize..60, any::<bool>()), 0..60),
        ) {
            let message: Vec<u8> = (0..400).map(|n| n as u8).collect();
            let (mut recv, mut read) = (CryptoRecv::default(), Vec::new());
            let mut arrived = vec![false; 400];
            for (offset, len, take) in pieces {
                recv.insert(offset as u64, &message[offset..offset + len], 4096).unwrap();
                arrived[offset..offset + len].fill(true);
                if take {
                    read.extend(recv.read().unwrap_or_default());
                }
                let in_order = arrived.iter().take_while(|there| **there).count();
                prop_assert_eq!(read.len() + recv.peek().len(), in_order);
                let all = arrived.iter().filter(|there| **there).count();
                prop_assert_eq!(recv.has_unread(), all > read.len());
            }
            read.extend(recv.read().unwrap_or_default());
            prop_assert_eq!(&read[..], &message[..read.len()]);
        }
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
        assert_eq!((send.data.capacity(), send.end()), (0, 100), "what the peer has is not kept");
        send.push(&[2; 10]);
        send.on_lost(90..100);
        assert_eq!(send.next().unwrap(), (100, &[2; 10][..]));
        // A repetition that arrived as well.
        send.on_acked(0..40);
        send.sent(10);
        send.on_acked(100..110);
        assert_eq!((send.data.capacity(), send.end()), (0, 110));
    }
}
