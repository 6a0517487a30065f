//! What concerns a connection as a whole: which unidirectional streams the peer may open, what it may say on its control
//! stream, and up to which request it goes on (RFC 9114 §5.2, §6.2, §7.2).

use bytes::Bytes;
use gannet::Side;

use super::frame::{Frame, FrameDecoder};
use super::settings::Settings;
use super::stream_type::StreamType;
use crate::error::{Code, Violation};

/// The largest GOAWAY of a server: nothing is refused yet, but no new requests are wanted (RFC 9114 §5.2).
pub(crate) const GOAWAY_ALL: u64 = (1 << 62) - 4;

/// A stream that the connection cannot do without was closed by the peer (RFC 9114 §6.2.1, RFC 9204 §4.2).
pub(crate) const CRITICAL_STREAM_CLOSED: Violation =
    Violation::new(Code::H3_CLOSED_CRITICAL_STREAM, "a stream that the connection needs was closed");

/// Which of the streams that exist once the peer has opened.
#[derive(Debug)]
pub(crate) struct PeerStreams {
    /// The side that accepts.
    side: Side,
    control: bool,
    encoder: bool,
    decoder: bool,
}

impl PeerStreams {
    pub(crate) const fn new(side: Side) -> Self {
        Self { side, control: false, encoder: false, decoder: false }
    }

    /// The peer opened a stream of this type. Unknown types are fine, and for the caller to turn away.
    pub(crate) fn open(&mut self, ty: StreamType) -> Result<(), Violation> {
        let opened = match ty {
            StreamType::Control => &mut self.control,
            StreamType::QpackEncoder => &mut self.encoder,
            StreamType::QpackDecoder => &mut self.decoder,
            StreamType::Push => {
                return Err(match self.side {
                    Side::Server => {
                        Violation::new(Code::H3_STREAM_CREATION_ERROR, "a push stream from a client")
                    }
                    // We never send MAX_PUSH_ID.
                    Side::Client => Violation::new(Code::H3_ID_ERROR, "a push that was not permitted"),
                });
            }
            StreamType::Unknown(_) => return Ok(()),
        };
        if std::mem::replace(opened, true) {
            return Err(Violation::new(
                Code::H3_STREAM_CREATION_ERROR,
                "a second stream of a type that exists once",
            ));
        }
        Ok(())
    }
}

/// What the peer said on its control stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ControlEvent {
    /// Once, first.
    Settings(Settings),
    /// Requests (from a server) or pushes (from a client) with this ID or above will not be processed.
    GoAway(u64),
}

/// Reads the peer's control stream behind its stream type.
#[derive(Debug)]
pub(crate) struct ControlReader {
    /// The side that reads.
    side: Side,
    frames: FrameDecoder,
    goaway: Option<u64>,
    max_push_id: Option<u64>,
}

impl ControlReader {
    pub(crate) fn new(side: Side) -> Self {
        Self { side, frames: FrameDecoder::control(side), goaway: None, max_push_id: None }
    }

    /// The next thing said; `None` once `input` is used up.
    pub(crate) fn next(&mut self, input: &mut Bytes) -> Result<Option<ControlEvent>, Violation> {
        while let Some(frame) = self.frames.next(input)? {
            match frame {
                Frame::Settings(settings) => return Ok(Some(ControlEvent::Settings(settings))),
                Frame::GoAway(id) => {
                    self.goaway(id)?;
                    return Ok(Some(ControlEvent::GoAway(id)));
                }
                Frame::MaxPushId(id) => {
                    if self.max_push_id.is_some_and(|max| id < max) {
                        return Err(Violation::new(Code::H3_ID_ERROR, "MAX_PUSH_ID was reduced"));
                    }
                    self.max_push_id = Some(id);
                }
                // No push is ever permitted by our client, or promised by our server.
                Frame::CancelPush(_) => {
                    return Err(Violation::new(Code::H3_ID_ERROR, "a push that does not exist"));
                }
                Frame::Unknown { .. } => {}
                Frame::Data(_) | Frame::Headers(_) | Frame::OversizedHeaders { .. } => {
                    return Err(Violation::new(
                        Code::H3_FRAME_UNEXPECTED,
                        "a frame of a request on the control stream",
                    ));
                }
            }
        }
        Ok(None)
    }

    fn goaway(&mut self, id: u64) -> Result<(), Violation> {
        // A server names a request, which is a bidirectional stream of the client.
        if self.side == Side::Client && !id.is_multiple_of(4) {
            return Err(Violation::new(
                Code::H3_ID_ERROR,
                "GOAWAY with the ID of something that is not a request",
            ));
        }
        if self.goaway.is_some_and(|last| id > last) {
            return Err(Violation::new(Code::H3_ID_ERROR, "GOAWAY was increased"));
        }
        self.goaway = Some(id);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::frame::{encode_goaway, encode_reserved, encode_settings};
    use crate::proto::varint;

    /// What is read of a control stream that begins with empty SETTINGS and goes on with `frames`.
    fn read(side: Side, frames: &[u8]) -> Result<Vec<ControlEvent>, Code> {
        let mut stream = Vec::new();
        encode_settings(&Settings::default(), 1, &mut stream);
        stream.extend_from_slice(frames);
        let mut events = read_raw(side, &stream)?;
        assert_eq!(events.remove(0), ControlEvent::Settings(Settings::default()));
        Ok(events)
    }

    fn read_raw(side: Side, stream: &[u8]) -> Result<Vec<ControlEvent>, Code> {
        let mut reader = ControlReader::new(side);
        let mut events = Vec::new();
        for byte in stream {
            let mut input = Bytes::copy_from_slice(&[*byte]);
            while let Some(event) = reader.next(&mut input).map_err(|violation| violation.code)? {
                events.push(event);
            }
        }
        Ok(events)
    }

    fn goaways(ids: &[u64]) -> Vec<u8> {
        let mut out = Vec::new();
        for id in ids {
            encode_goaway(*id, &mut out);
        }
        out
    }

    fn frame(kind: u64, value: u64) -> Vec<u8> {
        let mut out = Vec::new();
        varint::put(kind, &mut out);
        varint::put(varint::size(value) as u64, &mut out);
        varint::put(value, &mut out);
        out
    }

    #[test]
    fn settings_come_first() {
        // covers: R9114-6.2.1-02 R9114-9-03
        let mut reserved = Vec::new();
        encode_reserved(9, &mut reserved);
        for first in [goaways(&[0]), reserved, frame(0x0d, 1), frame(0x00, 1)] {
            assert_eq!(read_raw(Side::Server, &first), Err(Code::H3_MISSING_SETTINGS));
        }
        let mut again = Vec::new();
        encode_settings(&Settings::default(), 1, &mut again);
        // covers: R9114-7.2.4-02
        assert_eq!(read(Side::Server, &again), Err(Code::H3_FRAME_UNEXPECTED));
    }

    #[test]
    fn goaway_never_grows() {
        // covers: R9114-5.2-06
        let ids = [GOAWAY_ALL, 400, 400, 8, 0];
        assert_eq!(read(Side::Client, &goaways(&ids)), Ok(ids.map(ControlEvent::GoAway).into()));
        assert_eq!(read(Side::Client, &goaways(&[4, 8])), Err(Code::H3_ID_ERROR));
        assert_eq!(read(Side::Server, &goaways(&[1, 2])), Err(Code::H3_ID_ERROR));
    }

    #[test]
    fn goaway_of_a_server_names_a_request() {
        // covers: R9114-7.2.6-01
        for id in [1, 2, 3, 5] {
            assert_eq!(read(Side::Client, &goaways(&[id])), Err(Code::H3_ID_ERROR));
            assert_eq!(
                read(Side::Server, &goaways(&[id])),
                Ok(vec![ControlEvent::GoAway(id)]),
                "push IDs are any"
            );
        }
    }

    #[test]
    fn pushes_do_not_exist() {
        // covers: R9114-7.2.3-07 R9114-7.2.3-08
        for side in [Side::Client, Side::Server] {
            assert_eq!(read(side, &frame(0x03, 0)), Err(Code::H3_ID_ERROR));
        }
    }

    #[test]
    fn max_push_id_never_shrinks() {
        // covers: R9114-7.2.7-03 R9114-7.2.7-04
        assert_eq!(
            read(Side::Server, &[frame(0x0d, 5), frame(0x0d, 5), frame(0x0d, 7)].concat()),
            Ok(vec![])
        );
        assert_eq!(read(Side::Server, &[frame(0x0d, 5), frame(0x0d, 4)].concat()), Err(Code::H3_ID_ERROR));
        assert_eq!(read(Side::Client, &frame(0x0d, 5)), Err(Code::H3_FRAME_UNEXPECTED));
    }

    #[test]
    fn unknown_frames_are_ignored() {
        // covers: R9114-7.2.8-01 R9114-9-01
        let mut stream = Vec::new();
        for seed in 0..20 {
            encode_reserved(seed, &mut stream);
        }
        stream.extend(goaways(&[0]));
        assert_eq!(read(Side::Client, &stream), Ok(vec![ControlEvent::GoAway(0)]));
    }

    #[test]
    fn some_streams_exist_once() {
        // covers: R9114-6.2.1-03
        for side in [Side::Client, Side::Server] {
            let mut streams = PeerStreams::new(side);
            for ty in [StreamType::Control, StreamType::QpackEncoder, StreamType::QpackDecoder] {
                assert_eq!(streams.open(ty), Ok(()));
            }
            for ty in [StreamType::Control, StreamType::QpackEncoder, StreamType::QpackDecoder] {
                assert_eq!(streams.open(ty).map_err(|error| error.code), Err(Code::H3_STREAM_CREATION_ERROR));
            }
            for n in 0..9 {
                assert_eq!(streams.open(StreamType::reserved(n)), Ok(()));
            }
        }
    }

    #[test]
    fn push_streams_are_refused() {
        // covers: R9114-4.6-02 R9114-6.2.2-01
        for (side, code) in
            [(Side::Client, Code::H3_ID_ERROR), (Side::Server, Code::H3_STREAM_CREATION_ERROR)]
        {
            assert_eq!(PeerStreams::new(side).open(StreamType::Push).map_err(|error| error.code), Err(code));
        }
    }
}
