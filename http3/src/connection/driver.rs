//! The part of a connection that no exchange does: our critical streams, and the peer's unidirectional ones.

use std::future::pending;
use std::hash::{BuildHasher, RandomState};
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use gannet::{RecvStream, SendStream};

use super::Shared;
use crate::body::stopped;
use crate::error::{Code, ConnectionError, Violation};
use crate::proto::connection::{CRITICAL_STREAM_CLOSED, ControlEvent, ControlReader, PeerStreams};
use crate::proto::frame::{encode_goaway, encode_reserved, encode_settings};
use crate::proto::stream_type::StreamType;
use crate::proto::varint::PartialVarInt;
use crate::qpack::decoder::Decoder;
use crate::qpack::encoder::Encoder;

/// Bytes taken from a stream at once.
const CHUNK: usize = 64 << 10;

/// How long the peer has for its last acknowledgements.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a stream of the driver is done: the connection is failed for a violation, and has ended otherwise.
enum Stop {
    Violation(Violation),
    Ended(gannet::ConnectionError),
}

impl From<Violation> for Stop {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

impl From<gannet::ConnectionError> for Stop {
    fn from(error: gannet::ConnectionError) -> Self {
        Self::Ended(error)
    }
}

/// Runs until the connection has ended, and tells why. The peer's breaches of the protocol are answered by then.
pub(crate) async fn drive(shared: &Shared) -> ConnectionError {
    // They end with this function, when the connection is closed already: the end of a critical stream is an error.
    let (own, peer) = (std::pin::pin!(own_streams(shared)), std::pin::pin!(peer_streams(shared)));
    let stop = tokio::select! {
        biased;
        stop = own => stop,
        stop = peer => stop,
        error = shared.quic.closed() => Stop::Ended(error),
    };
    match stop {
        Stop::Violation(violation) => shared.fail(violation),
        Stop::Ended(error) => shared.ended(error),
    }
}

/// Ends the connection when nothing is left to be done on it but to have the last messages acknowledged.
pub(crate) async fn close(shared: &Shared) {
    shared.quic.close_gracefully(Code::H3_NO_ERROR.into(), b"", PATIENCE).await;
}

/// Opens our critical streams and watches over them. Those that were opened early are opened again if the server did not
/// take them.
async fn own_streams(shared: &Shared) -> Stop {
    let opened = std::pin::pin!(try_own_streams(shared));
    let result = tokio::select! {
        biased;
        () = shared.early_rejected() => try_own_streams(shared).await,
        result = opened => match result {
            Err(gannet::WriteError::ZeroRttRejected) => {
                shared.early_rejected().await;
                try_own_streams(shared).await
            }
            result => result,
        },
    };
    match result {
        Err(gannet::WriteError::Connection(error)) => Stop::Ended(error),
        // The peer stopped one of them (RFC 9114 §6.2.1).
        Err(_) => CRITICAL_STREAM_CLOSED.into(),
        Ok(never) => match never {},
    }
}

async fn try_own_streams(shared: &Shared) -> Result<std::convert::Infallible, gannet::WriteError> {
    let mut goaways = shared.goaways();
    let mut control = open(shared, StreamType::Control, |out| {
        encode_settings(&shared.config.settings(), random(), out);
        if shared.config.grease {
            encode_reserved(random(), out);
        }
    })
    .await?;
    let encoder = open(shared, StreamType::QpackEncoder, |_| {}).await?;
    let decoder = open(shared, StreamType::QpackDecoder, |_| {}).await?;
    let watch = async {
        loop {
            let changed = tokio::select! {
                biased;
                changed = goaways.changed() => changed,
                stopped = stopped(&control) => return Err(stopped),
            };
            if changed.is_err() {
                return pending().await;
            }
            let mut frame = Vec::with_capacity(16);
            encode_goaway(*goaways.borrow_and_update(), &mut frame);
            control.write_chunk(frame.into()).await?;
        }
    };
    tokio::select! {
        biased;
        result = watch => result,
        error = stopped(&encoder) => Err(error),
        error = stopped(&decoder) => Err(error),
        never = grease_stream(shared) => match never {},
    }
}

/// Opens a critical stream. Peers have to permit at least three (RFC 9114 §6.2).
async fn open(
    shared: &Shared,
    ty: StreamType,
    content: impl FnOnce(&mut Vec<u8>),
) -> Result<SendStream, gannet::WriteError> {
    let mut stream = shared.quic.open_uni().await?;
    // A new stream takes any priority. What concerns all exchanges is little, and must not wait for their content.
    let _ = stream.set_priority(i32::MAX);
    let mut start = Vec::with_capacity(64);
    ty.encode(&mut start);
    content(&mut start);
    stream.write_chunk(start.into()).await?;
    Ok(stream)
}

/// A stream of a reserved type, so that peers keep ignoring what they do not know (RFC 9114 §6.2.3). It comes last: a
/// peer may permit no more than the critical streams.
async fn grease_stream(shared: &Shared) -> std::convert::Infallible {
    if shared.config.grease
        && let Ok(mut stream) = shared.quic.open_uni().await
    {
        let mut content = Vec::with_capacity(16);
        StreamType::reserved(random()).encode(&mut content);
        content.extend_from_slice(b"gannet");
        if stream.write_chunk(content.into()).await.is_ok() {
            drop(stream.finish());
        }
    }
    pending().await
}

/// Accepts the peer's unidirectional streams and reads them.
async fn peer_streams(shared: &Shared) -> Stop {
    let registry = Mutex::new(PeerStreams::new(shared.side));
    let mut streams = FuturesUnordered::new();
    loop {
        tokio::select! {
            // Streams that were accepted wait no longer for it than the peer may open more.
            biased;
            accepted = shared.quic.accept_uni() => match accepted {
                Ok(stream) => streams.push(peer_stream(shared, &registry, stream)),
                Err(error) => return error.into(),
            },
            Some(done) = streams.next() => if let Err(stop) = done {
                return stop;
            },
        }
    }
}

/// Reads one of the peer's streams to its end.
async fn peer_stream(
    shared: &Shared,
    registry: &Mutex<PeerStreams>,
    mut stream: RecvStream,
) -> Result<(), Stop> {
    let mut ty = PartialVarInt::default();
    let mut input = Bytes::new();
    let ty = loop {
        if let Some(ty) = ty.read(&mut input) {
            break StreamType::from(ty);
        }
        // A stream that ends before its type is known is nothing to complain about (RFC 9114 §6.2).
        match stream.read_chunk(CHUNK).await {
            Ok(Some(chunk)) => input = chunk,
            Ok(None) | Err(gannet::ReadError::Reset(_)) => return Ok(()),
            Err(error) => return Err(read_failed(error)),
        }
    };
    registry.lock().unwrap_or_else(std::sync::PoisonError::into_inner).open(ty)?;
    match ty {
        StreamType::Control => {
            let mut control = ControlReader::new(shared.side);
            read_critical(stream, input, |mut input| {
                while let Some(event) = control.next(&mut input)? {
                    match event {
                        ControlEvent::Settings(settings) => shared.peer_settings(&settings),
                        ControlEvent::GoAway(id) => shared.peer_goes_away(id),
                    }
                }
                Ok(())
            })
            .await
        }
        StreamType::QpackEncoder => {
            let mut decoder = Decoder::default();
            read_critical(stream, input, |input| decoder.on_encoder_stream(&input)).await
        }
        StreamType::QpackDecoder => {
            let mut encoder = Encoder::default();
            read_critical(stream, input, |input| encoder.on_decoder_stream(&input)).await
        }
        // Push streams were refused above.
        StreamType::Push | StreamType::Unknown(_) => {
            let _ = stream.stop(Code::H3_STREAM_CREATION_ERROR.into());
            Ok(())
        }
    }
}

/// Reads a stream whose end is the end of the connection.
async fn read_critical(
    mut stream: RecvStream,
    mut input: Bytes,
    mut read: impl FnMut(Bytes) -> Result<(), Violation>,
) -> Result<(), Stop> {
    loop {
        if !input.is_empty() {
            read(std::mem::take(&mut input))?;
        }
        match stream.read_chunk(CHUNK).await {
            Ok(Some(chunk)) => input = chunk,
            Ok(None) => return Err(CRITICAL_STREAM_CLOSED.into()),
            Err(error) => return Err(read_failed(error)),
        }
    }
}

fn read_failed(error: gannet::ReadError) -> Stop {
    match error {
        gannet::ReadError::Connection(error) => error.into(),
        _ => CRITICAL_STREAM_CLOSED.into(),
    }
}

/// For reserved values, which need not be hard to guess. Nothing that is made of it varies in length, so that a run over a
/// virtual network repeats.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(0) | 7
}
