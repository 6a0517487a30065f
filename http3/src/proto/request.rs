//! One message as it arrives on a request stream: the order of its frames, and its content against its content-length
//! (RFC 9114 §4.1, §4.1.2).
//!
//! The same machine reads requests (on a server) and responses (on a client). It does not decode field sections: it
//! hands [`Event::Head`] out and is then told what that meant, because decoding may have to wait for the QPACK encoder
//! stream.
//!
//! ```text
//! Head --head_done(..)--> Content --trailers--> Trailed --end--> Ended
//!  ^ |                      |                                     ^
//!  +-+ interim()            +------------------end----------------+
//! ```

use bytes::Bytes;
use gannet::Side;
use http::{Method, StatusCode};

use super::frame::{Frame, FrameDecoder};
use super::headers::{Malformed, SectionError};
use crate::error::{Code, Violation};

/// Frames without effect that are let pass between two pieces of content.
const MAX_IDLE_FRAMES: u32 = 1000;

/// What has arrived.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The encoded field section of a request, an interim or a final response. To be answered with
    /// [`MessageReader::interim`] or [`MessageReader::head_done`].
    Head(Bytes),
    /// Content; never empty.
    Data(Bytes),
    /// The encoded field section of the trailers.
    Trailers(Bytes),
    /// The end of the message, its length being what was announced. Repeats.
    End,
}

/// What follows the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// Anything up to the end of the stream.
    Unknown,
    /// As many bytes as the content-length says.
    Exactly(u64),
    /// None, whatever the content-length says: responses to HEAD, 204 and 304 (RFC 9110 §6.4.1).
    Forbidden,
    /// The bytes of a CONNECT tunnel: DATA frames and nothing else (RFC 9114 §4.4).
    Tunnel,
}

impl Content {
    /// What follows a request.
    pub(crate) fn of_request(method: &Method, content_length: Option<u64>) -> Self {
        if method == Method::CONNECT { Self::Tunnel } else { Self::announced(content_length) }
    }

    /// What follows a final response to a request with this method.
    pub(crate) fn of_response(method: &Method, status: StatusCode, content_length: Option<u64>) -> Self {
        if method == Method::CONNECT && status.is_success() {
            Self::Tunnel
        } else if method == Method::HEAD
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
        {
            Self::Forbidden
        } else {
            Self::announced(content_length)
        }
    }

    fn announced(content_length: Option<u64>) -> Self {
        content_length.map_or(Self::Unknown, Self::Exactly)
    }
}

/// What a peer did wrong, and how far the damage goes (RFC 9114 §8).
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The connection has to be closed.
    Connection(Violation),
    /// The message is malformed: a stream error of type H3_MESSAGE_ERROR (RFC 9114 §4.1.2).
    Malformed(Malformed),
    /// The stream of a request ended before the request was whole: H3_REQUEST_INCOMPLETE.
    Incomplete,
    /// A field section is larger than we take.
    SectionTooLarge,
}

impl Fault {
    const fn unexpected(reason: &'static str) -> Self {
        Self::Connection(Violation::new(Code::H3_FRAME_UNEXPECTED, reason))
    }
}

impl From<Violation> for Fault {
    fn from(violation: Violation) -> Self {
        Self::Connection(violation)
    }
}

impl From<SectionError> for Fault {
    fn from(error: SectionError) -> Self {
        match error {
            SectionError::Qpack(violation) => Self::Connection(violation),
            SectionError::Malformed(malformed) => Self::Malformed(malformed),
            SectionError::TooLarge => Self::SectionTooLarge,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// A head is due.
    Head,
    /// The caller is decoding a head.
    Decoding,
    Content(Content),
    Trailed,
    Ended,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct MessageReader {
    /// What has arrived and was not read yet.
    input: Bytes,
    finished: bool,
    /// What [`peek`](Self::peek) has found.
    peeked: Option<Event>,
    frames: FrameDecoder,
    /// The side that reads: a server reads a request.
    side: Side,
    phase: Phase,
    /// Bytes of content so far.
    received: u64,
    idle_frames: u32,
}

impl MessageReader {
    /// For the side that reads; `max_section` bounds the encoded size of a field section.
    pub(crate) fn new(side: Side, max_section: u64) -> Self {
        Self {
            input: Bytes::new(),
            finished: false,
            peeked: None,
            frames: FrameDecoder::request(side, max_section),
            side,
            phase: Phase::Head,
            received: 0,
            idle_frames: 0,
        }
    }

    /// The next bytes of the stream, once [`next`](Self::next) has answered `None`.
    pub(crate) fn push(&mut self, data: Bytes) {
        debug_assert!(self.input.is_empty() && !self.finished);
        self.input = data;
    }

    /// The stream has ended cleanly.
    pub(crate) fn finish(&mut self) {
        self.finished = true;
    }

    /// The head was that of an interim response; another one follows.
    pub(crate) fn interim(&mut self) -> Result<(), Fault> {
        self.phase = Phase::Head;
        self.idle()
    }

    /// The head was that of the request or of the final response.
    pub(crate) fn head_done(&mut self, content: Content) {
        self.phase = Phase::Content(content);
    }

    /// Bytes of content not yet handed out, where that is known.
    pub(crate) fn remaining(&self) -> Option<u64> {
        let peeked = if let Some(Event::Data(data)) = &self.peeked { data.len() as u64 } else { 0 };
        match self.phase {
            Phase::Content(Content::Exactly(length)) => Some(length.saturating_sub(self.received) + peeked),
            Phase::Content(Content::Forbidden) | Phase::Trailed | Phase::Ended => Some(peeked),
            _ => None,
        }
    }

    /// Looks at the next event without taking it; `None` if more bytes are needed.
    pub(crate) fn peek(&mut self) -> Result<Option<&Event>, Fault> {
        if self.peeked.is_none() {
            self.peeked = self.read()?;
        }
        Ok(self.peeked.as_ref())
    }

    /// The next event; `None` if more bytes are needed.
    pub(crate) fn next(&mut self) -> Result<Option<Event>, Fault> {
        match self.peeked.take() {
            Some(event) => Ok(Some(event)),
            None => self.read(),
        }
    }

    fn read(&mut self) -> Result<Option<Event>, Fault> {
        while self.phase != Phase::Ended {
            let Some(frame) = self.frames.next(&mut self.input)? else {
                if !self.finished {
                    return Ok(None);
                }
                self.end()?;
                continue;
            };
            let event = match frame {
                Frame::Data(data) => self.data(data)?,
                Frame::Headers(section) => Some(self.section(section)?),
                Frame::OversizedHeaders { .. } => return Err(Fault::SectionTooLarge),
                Frame::Unknown { .. } => {
                    self.idle()?;
                    None
                }
                Frame::Settings(_) | Frame::CancelPush(_) | Frame::GoAway(_) | Frame::MaxPushId(_) => {
                    return Err(Fault::unexpected("a frame of the control stream on a request stream"));
                }
            };
            if event.is_some() {
                return Ok(event);
            }
        }
        Ok(Some(Event::End))
    }

    fn data(&mut self, data: Bytes) -> Result<Option<Event>, Fault> {
        let Phase::Content(content) = self.phase else {
            return Err(Fault::unexpected(match self.phase {
                Phase::Head => "DATA before the head",
                _ => "DATA after the trailers",
            }));
        };
        if data.is_empty() {
            self.idle()?;
            return Ok(None);
        }
        self.idle_frames = 0;
        self.received += data.len() as u64;
        match content {
            Content::Exactly(expected) if self.received > expected => {
                Err(Fault::Malformed(Malformed::ContentLengthMismatch))
            }
            Content::Forbidden => Err(Fault::Malformed(Malformed::UnexpectedContent)),
            _ => Ok(Some(Event::Data(data))),
        }
    }

    fn section(&mut self, section: Bytes) -> Result<Event, Fault> {
        match self.phase {
            Phase::Head => {
                self.phase = Phase::Decoding;
                Ok(Event::Head(section))
            }
            Phase::Content(Content::Tunnel) => Err(Fault::unexpected("HEADERS in a tunnel")),
            Phase::Content(_) => {
                self.content_done()?;
                self.phase = Phase::Trailed;
                Ok(Event::Trailers(section))
            }
            Phase::Decoding | Phase::Trailed | Phase::Ended => {
                Err(Fault::unexpected("HEADERS after the trailers"))
            }
        }
    }

    /// The stream ended. That this can be a FIN without data is what makes the check matter: a message cut short would
    /// otherwise pass as whole, and the next hop would take what follows for the rest of it.
    fn end(&mut self) -> Result<(), Fault> {
        self.frames.finish()?;
        match (self.phase, self.side) {
            (Phase::Head | Phase::Decoding, Side::Server) => return Err(Fault::Incomplete),
            (Phase::Head | Phase::Decoding, Side::Client) => {
                return Err(Fault::Malformed(Malformed::NoResponse));
            }
            _ => self.content_done()?,
        }
        self.phase = Phase::Ended;
        Ok(())
    }

    /// No more content follows.
    fn content_done(&self) -> Result<(), Fault> {
        match self.phase {
            Phase::Content(Content::Exactly(expected)) if self.received < expected => {
                Err(Fault::Malformed(Malformed::ContentLengthMismatch))
            }
            _ => Ok(()),
        }
    }

    /// Counts a frame that costs work and brings nothing (RFC 9114 §10.5).
    fn idle(&mut self) -> Result<(), Fault> {
        self.idle_frames += 1;
        if self.idle_frames > MAX_IDLE_FRAMES {
            return Err(Violation::new(Code::H3_EXCESSIVE_LOAD, "too many frames without effect").into());
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
