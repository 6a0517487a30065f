//! Frames (RFC 9114 §7): a type, a length, a payload.
//!
//! | type | frame | request stream | control stream |
//! |---|---|---|---|
//! | 0x00 | DATA | handed on as it arrives | no |
//! | 0x01 | HEADERS | collected, bounded | no |
//! | 0x03 | CANCEL_PUSH | no | yes |
//! | 0x04 | SETTINGS | no | first, and only there |
//! | 0x05 | PUSH_PROMISE | no: we allow no push | no |
//! | 0x07 | GOAWAY | no | yes |
//! | 0x0d | MAX_PUSH_ID | no | from clients |
//! | 0x02, 0x06, 0x08, 0x09 | of HTTP/2 | no | no |
//! | others | unknown, reserved | skipped as they arrive | skipped as they arrive |
//!
//! A frame that is not permitted is refused when its header has arrived, before any of its payload. The order of HEADERS
//! and DATA is the business of the request.

use bytes::{Buf, Bytes, BytesMut};
use gannet::Side;

use super::settings::Settings;
use super::varint::{self, PartialVarInt};
use crate::error::{Code, Violation};

const DATA: u64 = 0x00;
const HEADERS: u64 = 0x01;
const CANCEL_PUSH: u64 = 0x03;
const SETTINGS: u64 = 0x04;
const PUSH_PROMISE: u64 = 0x05;
const GOAWAY: u64 = 0x07;
const MAX_PUSH_ID: u64 = 0x0d;

/// The longest SETTINGS payload we take, in bytes; ordinary ones have a few dozen.
const MAX_SETTINGS_LEN: u64 = 4096;

/// What a frame decoder hands over.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// The next piece of a DATA payload, empty only for an empty frame.
    Data(Bytes),
    /// A whole encoded field section.
    Headers(Bytes),
    /// The header of a HEADERS frame over the bound; its payload is skipped as it arrives.
    OversizedHeaders {
        /// Bytes that its header announces.
        length: u64,
    },
    /// The peer's settings.
    Settings(Settings),
    /// The peer gives up the push with this ID.
    CancelPush(u64),
    /// No request (from a server) or push (from a client) with this ID or above will be processed.
    GoAway(u64),
    /// Pushes up to this ID are permitted.
    MaxPushId(u64),
    /// The header of a frame of an unknown or reserved type; its payload is skipped as it arrives.
    Unknown {
        /// The type.
        kind: u64,
        /// Bytes that its header announces.
        length: u64,
    },
}

/// Takes the bytes of one stream apart into frames, wherever they are cut.
#[derive(Debug)]
pub(crate) struct FrameDecoder {
    stream: Stream,
    /// The side that receives.
    side: Side,
    state: State,
    varint: PartialVarInt,
}

#[derive(Debug)]
enum Stream {
    Request { max_section_len: u64 },
    Control { settings_seen: bool },
}

#[derive(Debug)]
enum State {
    Kind,
    Length { kind: u64 },
    Data { remaining: u64 },
    Skip { remaining: u64 },
    Collect { kind: u64, length: u64, collected: BytesMut },
}

impl FrameDecoder {
    /// For a request stream, read by `side`. HEADERS of more than `max_section_len` encoded bytes are not collected.
    pub(crate) fn request(side: Side, max_section_len: u64) -> Self {
        Self::new(Stream::Request { max_section_len }, side)
    }

    /// For the peer's control stream behind its stream type, read by `side`.
    pub(crate) fn control(side: Side) -> Self {
        Self::new(Stream::Control { settings_seen: false }, side)
    }

    fn new(stream: Stream, side: Side) -> Self {
        Self { stream, side, state: State::Kind, varint: PartialVarInt::default() }
    }

    /// Takes the next frame, or the next piece of DATA, off the front of `input`, which continues where the last one
    /// ended. `None`: all of `input` is used up.
    pub(crate) fn next(&mut self, input: &mut Bytes) -> Result<Option<Frame>, Violation> {
        loop {
            match &mut self.state {
                State::Kind => {
                    let Some(kind) = self.varint.read(input) else { return Ok(None) };
                    self.permit(kind)?;
                    self.state = State::Length { kind };
                }
                State::Length { kind } => {
                    let kind = *kind;
                    let Some(length) = self.varint.read(input) else { return Ok(None) };
                    if let Some(frame) = self.enter(kind, length)? {
                        return Ok(Some(frame));
                    }
                }
                State::Data { remaining } => {
                    let piece = take(input, remaining);
                    if *remaining == 0 {
                        self.state = State::Kind;
                    }
                    return Ok(if piece.is_empty() { None } else { Some(Frame::Data(piece)) });
                }
                State::Skip { remaining } => {
                    take(input, remaining);
                    if *remaining > 0 {
                        return Ok(None);
                    }
                    self.state = State::Kind;
                }
                State::Collect { kind, length, collected } => {
                    let mut missing = *length - collected.len() as u64;
                    let piece = take(input, &mut missing);
                    let payload = if missing > 0 {
                        collected.extend_from_slice(&piece);
                        return Ok(None);
                    } else if collected.is_empty() {
                        piece
                    } else {
                        collected.extend_from_slice(&piece);
                        std::mem::take(collected).freeze()
                    };
                    let kind = *kind;
                    self.state = State::Kind;
                    return parse(kind, payload).map(Some);
                }
            }
        }
    }

    /// Whether nothing of an unfinished frame is held: the only place where the stream may end. A stream that ends
    /// elsewhere has a truncated frame (RFC 9114 §7.1).
    pub(crate) fn finish(&self) -> Result<(), Violation> {
        if matches!(self.state, State::Kind) && self.varint.is_empty() {
            Ok(())
        } else {
            Err(Violation::new(Code::H3_FRAME_ERROR, "the stream ends inside a frame"))
        }
    }

    /// Whether a frame of this type may stand here.
    fn permit(&self, kind: u64) -> Result<(), Violation> {
        let unexpected = |reason| Err(Violation::new(Code::H3_FRAME_UNEXPECTED, reason));
        if matches!(self.stream, Stream::Control { settings_seen: false }) && kind != SETTINGS {
            return Err(Violation::new(
                Code::H3_MISSING_SETTINGS,
                "the control stream does not begin with SETTINGS",
            ));
        }
        // left over from HTTP/2 (RFC 9114 §7.2.8)
        if matches!(kind, 0x02 | 0x06 | 0x08 | 0x09) {
            return unexpected("a frame type of HTTP/2");
        }
        match self.stream {
            Stream::Request { .. } => match kind {
                // we never send MAX_PUSH_ID, so any push ID is above the limit (RFC 9114 §7.2.5)
                PUSH_PROMISE if self.side == Side::Client => {
                    Err(Violation::new(Code::H3_ID_ERROR, "a push that was not permitted"))
                }
                PUSH_PROMISE => unexpected("PUSH_PROMISE from a client"),
                CANCEL_PUSH | SETTINGS | GOAWAY | MAX_PUSH_ID => {
                    unexpected("a frame of the control stream on a request stream")
                }
                _ => Ok(()),
            },
            Stream::Control { settings_seen } => match kind {
                SETTINGS if settings_seen => unexpected("a second SETTINGS"),
                DATA | HEADERS | PUSH_PROMISE => unexpected("a frame of a request on the control stream"),
                MAX_PUSH_ID if self.side == Side::Client => unexpected("MAX_PUSH_ID from a server"),
                _ => Ok(()),
            },
        }
    }

    /// Acts on a whole frame header; the frame, if there is something to tell already.
    fn enter(&mut self, kind: u64, length: u64) -> Result<Option<Frame>, Violation> {
        self.state = match kind {
            DATA if length == 0 => {
                self.state = State::Kind;
                return Ok(Some(Frame::Data(Bytes::new())));
            }
            DATA => State::Data { remaining: length },
            HEADERS => match self.stream {
                Stream::Request { max_section_len } if length > max_section_len => {
                    self.state = State::Skip { remaining: length };
                    return Ok(Some(Frame::OversizedHeaders { length }));
                }
                _ => State::Collect { kind, length, collected: BytesMut::new() },
            },
            SETTINGS if length > MAX_SETTINGS_LEN => {
                return Err(Violation::new(Code::H3_EXCESSIVE_LOAD, "SETTINGS of an unreasonable size"));
            }
            SETTINGS => {
                self.stream = Stream::Control { settings_seen: true };
                State::Collect { kind, length, collected: BytesMut::new() }
            }
            // their payload is one varint
            CANCEL_PUSH | GOAWAY | MAX_PUSH_ID if !(1..=8).contains(&length) => return Err(wrong_size()),
            CANCEL_PUSH | GOAWAY | MAX_PUSH_ID => State::Collect { kind, length, collected: BytesMut::new() },
            _ => {
                self.state = State::Skip { remaining: length };
                return Ok(Some(Frame::Unknown { kind, length }));
            }
        };
        Ok(None)
    }
}

/// Cuts up to `remaining` bytes off the front of `input` and counts them down.
fn take(input: &mut Bytes, remaining: &mut u64) -> Bytes {
    let len = usize::try_from(*remaining).unwrap_or(usize::MAX).min(input.len());
    *remaining -= len as u64;
    input.split_to(len)
}

/// Parses the payload of a frame that was collected.
fn parse(kind: u64, payload: Bytes) -> Result<Frame, Violation> {
    Ok(match kind {
        HEADERS => Frame::Headers(payload),
        SETTINGS => Frame::Settings(Settings::decode(&payload)?),
        CANCEL_PUSH => Frame::CancelPush(only_varint(payload)?),
        GOAWAY => Frame::GoAway(only_varint(payload)?),
        _ => Frame::MaxPushId(only_varint(payload)?),
    })
}

/// The varint that is all of the payload.
fn only_varint(mut payload: Bytes) -> Result<u64, Violation> {
    let value = PartialVarInt::default().read(&mut payload).ok_or_else(wrong_size)?;
    if payload.has_remaining() { Err(wrong_size()) } else { Ok(value) }
}

fn wrong_size() -> Violation {
    Violation::new(Code::H3_FRAME_ERROR, "the length of the frame is not that of its content")
}

/// Appends the header of a DATA frame; `length` bytes of payload follow.
pub(crate) fn encode_data_header(length: u64, out: &mut Vec<u8>) {
    encode_header(DATA, length, out);
}

/// Appends a HEADERS frame around what `section` appends. An error leaves `out` as it was.
pub(crate) fn encode_headers<E>(
    out: &mut Vec<u8>,
    section: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    let start = out.len();
    // the length is not known yet: two bytes are kept for it, which all but huge sections need
    out.extend_from_slice(&[0x01, 0, 0]);
    let payload = out.len();
    if let Err(error) = section(out) {
        out.truncate(start);
        return Err(error);
    }
    let length = (out.len() - payload) as u64;
    let short = u16::try_from(length).ok().filter(|short| *short < 0x4000);
    if let (Some(short), Some(slot)) = (short, out.get_mut(payload - 2..payload)) {
        slot.copy_from_slice(&(0x4000 | short).to_be_bytes());
    } else {
        let mut bytes = Vec::with_capacity(8);
        varint::put(length, &mut bytes);
        out.splice(payload - 2..payload, bytes);
    }
    Ok(())
}

/// Appends a SETTINGS frame, with a reserved setting drawn from `seed`.
pub(crate) fn encode_settings(settings: &Settings, seed: u64, out: &mut Vec<u8>) {
    let mut payload = Vec::with_capacity(64);
    settings.encode(Some(seed), &mut payload);
    encode_header(SETTINGS, payload.len() as u64, out);
    out.extend_from_slice(&payload);
}

/// Appends a GOAWAY frame.
pub(crate) fn encode_goaway(id: u64, out: &mut Vec<u8>) {
    encode_header(GOAWAY, varint::size(id) as u64, out);
    varint::put(id, out);
}

/// Appends a frame of a reserved type with a payload of 0 to 7 bytes, both drawn from `seed`; peers skip it.
pub(crate) fn encode_reserved(seed: u64, out: &mut Vec<u8>) {
    let bytes = seed.to_be_bytes();
    let payload = bytes.get(..(seed % 8) as usize).unwrap_or_default();
    encode_header(super::reserved(seed), payload.len() as u64, out);
    out.extend_from_slice(payload);
}

fn encode_header(kind: u64, length: u64, out: &mut Vec<u8>) {
    varint::put(kind, out);
    varint::put(length, out);
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
