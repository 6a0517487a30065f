//! A message on its way out: its head, its content from any body, its trailers.
//!
//! What is at hand is written as one piece: a head, a short body and the end of the stream go into one packet.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use gannet::SendStream;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body::Body;
use tokio::io::AsyncWrite;

use super::Link;
use crate::connection::Lease;
use crate::error::{BoxError, Code, StreamError, Unsendable};
use crate::proto::frame::encode_data_header;
use crate::proto::headers::{encode_trailers, parse_content_length};

/// Pieces of content up to this size are copied behind what goes before them, larger ones are sent as they are.
pub(crate) const COPY: usize = 2 << 10;

/// How much is gathered before it is written.
const GATHER: usize = 16 << 10;

/// Content of known length is one DATA frame, however many pieces the body gives it in.
#[derive(Debug, Clone, Copy)]
enum SingleFrame {
    No,
    Wanted,
    /// The header of the frame was written.
    Begun,
}

/// One message, as it is written to a request stream.
pub(crate) struct SendMessage {
    stream: SendStream,
    lease: Lease,
    /// What the stream has not taken yet, in this order. It outlives a cancelled call, so that no frame is cut.
    writing: Bytes,
    queue: VecDeque<Bytes>,
    gathered: Vec<u8>,
    /// What the content-length says.
    declared: Option<u64>,
    sent: u64,
    single_frame: SingleFrame,
    /// Whether the body has given its last frame.
    body_ended: bool,
    /// Whether the stream was finished, or reset.
    closed: bool,
    /// With which code the stream is reset if this is dropped before its end.
    abandoned: Code,
    /// The request that this answers, if it has content.
    link: Option<Link>,
}

impl SendMessage {
    /// `abandoned` is the code for an end that comes too early.
    pub(crate) fn new(stream: SendStream, lease: Lease, abandoned: Code) -> Self {
        Self {
            stream,
            lease,
            writing: Bytes::new(),
            queue: VecDeque::new(),
            gathered: Vec::new(),
            declared: None,
            sent: 0,
            single_frame: SingleFrame::No,
            body_ended: false,
            closed: false,
            abandoned,
            link: None,
        }
    }

    pub(crate) fn stream(&self) -> &SendStream {
        &self.stream
    }

    pub(crate) fn lease(&self) -> &Lease {
        &self.lease
    }

    /// This answers the request to which the link belongs.
    pub(crate) fn set_link(&mut self, link: Option<Link>) {
        self.link = link;
    }

    pub(crate) fn link(&self) -> Option<&Link> {
        self.link.as_ref()
    }

    /// The code for an end that comes too early from now on.
    pub(crate) fn set_abandoned(&mut self, code: Code) {
        self.abandoned = code;
    }

    /// Resets the stream; with the code for malformed messages if this answers one.
    pub(crate) fn reset(&mut self, code: Code) {
        if !std::mem::replace(&mut self.closed, true) {
            let malformed = self.link.as_ref().and_then(Link::malformed).is_some();
            let code = if malformed { Code::H3_MESSAGE_ERROR } else { code };
            let _ = self.stream.reset(code.into());
        }
    }

    /// Puts an encoded HEADERS frame before what is to come. `declared` is the content-length, where it is binding.
    pub(crate) fn head(&mut self, frame: Vec<u8>, declared: Option<u64>) {
        if self.gathered.is_empty() {
            self.gathered = frame;
        } else {
            self.gathered.extend_from_slice(&frame);
        }
        self.declared = declared;
    }

    /// Sends a whole body: its data, its trailers and the end of the stream.
    ///
    /// Cancelling it resets the stream as soon as this is dropped.
    pub(crate) async fn body<B>(&mut self, mut body: Pin<&mut B>) -> Result<(), StreamError>
    where
        B: Body,
        B::Error: Into<BoxError>,
    {
        self.begin_body(body.size_hint().exact())?;
        poll_fn(|cx| self.poll_body(cx, body.as_mut())).await
    }

    /// A body follows, of a length that may be known.
    pub(crate) fn begin_body(&mut self, exact: Option<u64>) -> Result<(), StreamError> {
        if let Some(actual) = exact
            && *self.declared.get_or_insert(actual) != actual
        {
            return Err(self.wrong_length(actual));
        }
        self.single_frame = if exact.is_some() { SingleFrame::Wanted } else { SingleFrame::No };
        Ok(())
    }

    /// Sends a body, after [`begin_body`](Self::begin_body).
    pub(crate) fn poll_body<B>(
        &mut self,
        cx: &mut Context<'_>,
        mut body: Pin<&mut B>,
    ) -> Poll<Result<(), StreamError>>
    where
        B: Body,
        B::Error: Into<BoxError>,
    {
        while !self.body_ended && !body.is_end_stream() {
            if self.gathered.len() >= GATHER || !self.queue.is_empty() || !self.writing.is_empty() {
                ready!(self.poll_flush(cx))?;
            }
            match body.as_mut().poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => self.push_data(data)?,
                    Err(frame) => {
                        if let Ok(trailers) = frame.into_trailers() {
                            self.push_trailers(&trailers)?;
                            self.body_ended = true;
                        }
                    }
                },
                Poll::Ready(None) => self.body_ended = true,
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(StreamError::Body(error.into()))),
                Poll::Pending => {
                    // What there is goes out. A body may be silent for long; that its receiver has gone must be noticed
                    // nevertheless.
                    if let Poll::Ready(Err(error)) = self.poll_flush(cx) {
                        return Poll::Ready(Err(error));
                    }
                    return Poll::Ready(Err(ready!(self.poll_stopped(cx))));
                }
            }
        }
        self.poll_finish(cx)
    }

    /// Resolves when the peer takes no more of the stream.
    pub(crate) fn poll_stopped(&mut self, cx: &mut Context<'_>) -> Poll<StreamError> {
        match ready!(self.stream.poll_stopped(cx)) {
            Ok(Some(code)) => Poll::Ready(self.write_failed(gannet::WriteError::Stopped(code))),
            // Everything was acknowledged: nothing is left to be stopped.
            Ok(None) => Poll::Pending,
            Err(error) => Poll::Ready(self.lease.ended(error).into()),
        }
    }

    /// Takes content that is to be sent.
    pub(crate) fn push_data(&mut self, mut data: impl Buf) -> Result<(), StreamError> {
        let len = data.remaining();
        if len == 0 {
            return Ok(());
        }
        if self.closed {
            return Err(StreamError::Closed);
        }
        self.check_link()?;
        self.sent += len as u64;
        if let Some(declared) = self.declared
            && self.sent > declared
        {
            return Err(self.wrong_length(self.sent));
        }
        match (self.single_frame, self.declared) {
            (SingleFrame::Begun, _) => {}
            (SingleFrame::Wanted, Some(all)) => {
                self.single_frame = SingleFrame::Begun;
                encode_data_header(all, &mut self.gathered);
            }
            _ => encode_data_header(len as u64, &mut self.gathered),
        }
        if len <= COPY {
            while data.has_remaining() {
                let chunk = data.chunk();
                self.gathered.extend_from_slice(chunk);
                let len = chunk.len();
                data.advance(len);
            }
        } else {
            if !self.gathered.is_empty() {
                self.queue.push_back(std::mem::take(&mut self.gathered).into());
            }
            self.queue.push_back(data.copy_to_bytes(len));
        }
        Ok(())
    }

    /// Takes trailers that are to be sent, behind all content.
    pub(crate) fn push_trailers(&mut self, trailers: &HeaderMap) -> Result<(), StreamError> {
        if self.closed {
            return Err(StreamError::Closed);
        }
        self.check_length()?;
        encode_trailers(trailers, self.lease.peer_max_field_section_size(), &mut self.gathered)?;
        Ok(())
    }

    /// Sends the end of the stream.
    pub(crate) async fn finish(&mut self) -> Result<(), StreamError> {
        poll_fn(|cx| self.poll_finish(cx)).await
    }

    pub(crate) fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        if self.closed {
            return Poll::Ready(Err(StreamError::Closed));
        }
        self.check_length()?;
        self.check_link()?;
        while self.next_piece() {
            let last = self.queue.is_empty() && self.gathered.is_empty();
            let written = if last {
                self.stream.poll_write_last(cx, &mut self.writing)
            } else {
                self.stream.poll_write_chunk(cx, &mut self.writing)
            };
            if let Err(error) = ready!(written) {
                return Poll::Ready(Err(self.write_failed(error)));
            }
            self.closed = last && self.writing.is_empty();
        }
        if !self.closed {
            // Everything was taken before.
            if let Err(error) = ready!(Pin::new(&mut self.stream).poll_shutdown(cx)) {
                return Poll::Ready(Err(match error.downcast() {
                    Ok(error) => self.write_failed(error),
                    Err(_) => StreamError::Closed,
                }));
            }
            self.closed = true;
        }
        self.lease.message_sent();
        Poll::Ready(Ok(()))
    }

    /// Hands to the stream what it has not taken yet.
    pub(crate) async fn flush(&mut self) -> Result<(), StreamError> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        while self.next_piece() {
            if let Err(error) = ready!(self.stream.poll_write_chunk(cx, &mut self.writing)) {
                return Poll::Ready(Err(self.write_failed(error)));
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Makes `writing` what comes next; false if there is nothing.
    fn next_piece(&mut self) -> bool {
        if self.writing.is_empty() {
            self.writing = match self.queue.pop_front() {
                Some(next) => next,
                None => std::mem::take(&mut self.gathered).into(),
            };
        }
        !self.writing.is_empty()
    }

    fn write_failed(&mut self, error: gannet::WriteError) -> StreamError {
        let first = !std::mem::replace(&mut self.closed, true);
        if first && matches!(error, gannet::WriteError::Stopped(_)) {
            self.lease.exchange_cancelled();
        }
        self.lease.write_failed(error)
    }

    /// All content was sent: is it what the content-length says?
    fn check_length(&mut self) -> Result<(), StreamError> {
        match self.declared {
            Some(declared) if self.sent != declared => Err(self.wrong_length(self.sent)),
            _ => Ok(()),
        }
    }

    fn wrong_length(&mut self, actual: u64) -> StreamError {
        self.reset(Code::H3_INTERNAL_ERROR);
        StreamError::BodyLength { declared: self.declared.unwrap_or_default(), actual }
    }

    /// A malformed request is not answered any further.
    fn check_link(&mut self) -> Result<(), StreamError> {
        match self.link.as_ref().and_then(Link::malformed) {
            Some(malformed) => {
                self.reset(Code::H3_MESSAGE_ERROR);
                Err(malformed.into())
            }
            None => Ok(()),
        }
    }
}

impl Drop for SendMessage {
    fn drop(&mut self) {
        self.reset(if std::thread::panicking() { Code::H3_INTERNAL_ERROR } else { self.abandoned });
    }
}

/// Resolves when the peer takes no more of the stream.
pub(crate) async fn stopped(stream: &SendStream) -> gannet::WriteError {
    match stream.stopped().await {
        Ok(Some(code)) => gannet::WriteError::Stopped(code),
        // Everything was acknowledged: nothing is left to be stopped.
        Ok(None) => std::future::pending().await,
        Err(error) => error.into(),
    }
}

/// The content-length of a message to be sent, if it has one.
pub(crate) fn content_length_of(headers: &HeaderMap) -> Result<Option<u64>, StreamError> {
    let mut values = headers.get_all(CONTENT_LENGTH).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let length = parse_content_length(value.as_bytes()).ok();
    match (length, values.next()) {
        (Some(length), None) => Ok(Some(length)),
        _ => Err(Unsendable::ContentLength.into()),
    }
}
