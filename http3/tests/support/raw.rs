//! A peer that speaks QUIC properly and HTTP/3 as it likes.

use gannet::{Connection, ConnectionError, ReadError, RecvStream, SendStream, VarInt};
use gannet_http3::Code;

use super::soon;

/// GET https://a/
pub const GET: &[u8] = b"\x01\x08\x00\x00\xd1\xd7\x50\x01a\xc1";
/// POST https://a/ with a content-length of 5.
pub const POST_5: &[u8] = b"\x01\x0b\x00\x00\xd4\xd7\x50\x01a\xc1\x54\x015";
/// 200
pub const OK: &[u8] = b"\x01\x03\x00\x00\xd9";
/// 200 with a content-length of 5.
pub const OK_5: &[u8] = b"\x01\x06\x00\x00\xd9\x54\x015";
/// A control stream with empty SETTINGS.
pub const CONTROL: &[u8] = b"\x00\x04\x00";

/// Opens a unidirectional stream that begins like this, and keeps it open.
pub async fn uni(quic: &Connection, bytes: &'static [u8]) -> SendStream {
    let mut stream = quic.open_uni().await.unwrap();
    stream.write_chunk(bytes.into()).await.unwrap();
    stream
}

/// Sends a request, and the end of the stream if wanted.
pub async fn request(quic: &Connection, bytes: &'static [u8], whole: bool) -> (SendStream, RecvStream) {
    let (mut send, recv) = quic.open_bi().await.unwrap();
    if !bytes.is_empty() {
        send.write_chunk(bytes.into()).await.unwrap();
    }
    if whole {
        fin(&mut send);
    }
    (send, recv)
}

/// Ends a stream.
pub fn fin(stream: &mut SendStream) {
    drop(stream.finish());
}

/// What comes back on a stream, or the code it is reset with.
pub async fn answer(recv: &mut RecvStream) -> Result<Vec<u8>, Code> {
    let mut bytes = Vec::new();
    loop {
        match soon(recv.read_chunk(1 << 16)).await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => return Ok(bytes),
            Err(ReadError::Reset(code)) => return Err(code.into()),
            Err(error) => panic!("{error}"),
        }
    }
}

/// The code with which the peer stops a stream.
pub async fn stopped(send: &SendStream) -> Code {
    match soon(send.stopped()).await {
        Ok(Some(code)) => code.into(),
        other => panic!("{other:?}"),
    }
}

/// The code with which the peer closes the connection.
pub async fn closed(quic: &Connection) -> Code {
    match soon(quic.closed()).await {
        ConnectionError::Application { code, .. } => code.into(),
        error => panic!("{error}"),
    }
}

/// A round trip: in a runtime of one thread either end has done by then what it had to do before.
pub async fn round_trip(quic: &Connection) {
    // Streams of reserved types are stopped.
    let stream = uni(quic, b"\x21").await;
    assert_eq!(stopped(&stream).await, Code::H3_STREAM_CREATION_ERROR);
}

/// Gives the peer time to do something wrong, and makes sure that it has not.
pub async fn still_open(quic: &Connection) {
    round_trip(quic).await;
    assert_eq!(quic.close_reason(), None);
}

pub fn varint(code: Code) -> VarInt {
    code.as_varint()
}
