//! Cuts CRYPTO data into handshake messages (RFC 8446 §4).
//!
//! rustls would do that too, but keys may only change between messages, and rustls does not check it for QUIC.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

use std::borrow::Cow;
use std::mem;

use crate::crypto::tls::alert;
use crate::packet::TransportError;

/// Length of type and length field.
const HEADER_LEN: usize = 4;

/// The longest message that rustls takes, without its header.
const MAX_MESSAGE_LEN: usize = 0xffff;

/// Puts messages together that arrive in pieces.
#[derive(Default)]
pub(super) struct MessageReader {
    /// The front of a message whose end is missing.
    partial: Vec<u8>,
}

impl MessageReader {
    /// The next whole message, with its header. Where none is left, `input` is empty and its rest was kept.
    ///
    /// # Errors
    /// decode_error if a message would be too long.
    pub(super) fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Cow<'a, [u8]>>, TransportError> {
        if self.partial.is_empty()
            && let Some(len) = message_len(input)?
            && let Some((message, rest)) = input.split_at_checked(len)
        {
            *input = rest;
            return Ok(Some(Cow::Borrowed(message)));
        }
        // The header first, if it is incomplete, and then what it announces.
        loop {
            let (wanted, complete) = match message_len(&self.partial)? {
                Some(len) => (len, true),
                None => (HEADER_LEN, false),
            };
            let missing = wanted.saturating_sub(self.partial.len());
            let (taken, rest) = input.split_at_checked(missing).unwrap_or((*input, &[]));
            self.partial.extend_from_slice(taken);
            *input = rest;
            if taken.len() < missing {
                return Ok(None);
            }
            if complete {
                return Ok(Some(Cow::Owned(mem::take(&mut self.partial))));
            }
        }
    }

    /// True between messages.
    #[cfg(test)]
    pub(super) fn is_aligned(&self) -> bool {
        self.partial.is_empty()
    }
}

/// The length of the message that starts here, with its header; `None` while that is incomplete.
fn message_len(bytes: &[u8]) -> Result<Option<usize>, TransportError> {
    let Some([_, high, middle, low]) = bytes.first_chunk::<HEADER_LEN>() else { return Ok(None) };
    let len = u32::from_be_bytes([0, *high, *middle, *low]) as usize;
    if len > MAX_MESSAGE_LEN {
        const DECODE_ERROR: u8 = 50;
        return Err(alert::error(DECODE_ERROR, "handshake message too long"));
    }
    Ok(Some(HEADER_LEN + len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_whole_however_they_are_cut() {
        let stream = [&[1, 0, 0, 3, 7, 8, 9][..], &[2, 0, 0, 0], &[3, 0, 0, 1, 5]].concat();
        for cut in 0..=stream.len() {
            for second in cut..=stream.len() {
                let (mut reader, mut got) = (MessageReader::default(), Vec::new());
                for mut piece in [&stream[..cut], &stream[cut..second], &stream[second..]] {
                    while let Some(message) = reader.next(&mut piece).unwrap() {
                        got.push(message.into_owned());
                    }
                    assert!(piece.is_empty());
                }
                assert!(reader.is_aligned());
                assert_eq!(got, [&stream[..7], &stream[7..11], &stream[11..]]);
            }
        }
    }

    #[test]
    fn a_long_message_is_refused_by_its_header() {
        let mut reader = MessageReader::default();
        assert_eq!(reader.next(&mut &[1, 0, 0xff, 0xff, 0][..]).unwrap(), None);
        assert!(!reader.is_aligned());
        let mut reader = MessageReader::default();
        assert_eq!(reader.next(&mut &[1, 1][..]).unwrap(), None);
        let error = reader.next(&mut &[0, 0][..]).unwrap_err();
        assert_eq!(error.code.tls_alert(), Some(50));
    }
}
