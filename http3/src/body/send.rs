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
use http_body::{Body, Frame};
use tokio::io::AsyncWrite;

use super::Link;
use crate::connection::Lease;
use crate::error::{BoxError, Code, StreamError, Unsendable};
use crate::proto::frame::encode_data_header;
use crate::proto::headers::encode_trailers;

/// Pieces of content up to this size are copied behind what goes before them, larger ones are sent as they are.
const COPY: usize = 2 << 10;

/// How much is gathered before it is written.
const GATHER: usize = 16 << 10;

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
    /// Whether one DATA frame holds all content, and its header was written.
    single_frame: bool,
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
            single_frame: false,
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
        let exact = body.size_hint().exact();
        if let Some(actual) = exact
            && *self.declared.get_or_insert(actual) != actual
        {
            return Err(self.wrong_length(actual));
        }
        while !body.is_end_stream() {
            let Some(frame) = self.next_frame(body.as_mut()).await? else { break };
            match frame.into_data() {
                Ok(data) => {
                    self.push_data(data, exact)?;
                    if self.gathered.len() >= GATHER || !self.queue.is_empty() {
                        self.flush().await?;
                    }
                }
                Err(frame) => {
                    if let Ok(trailers) = frame.into_trailers() {
                        return self.trailers(&trailers).await;
                    }
                }
            }
        }
        self.finish().await
    }

    /// The next frame of the body. What was gathered is written if the body is not ready.
    async fn next_frame<B>(&mut self, mut body: Pin<&mut B>) -> Result<Option<Frame<B::Data>>, StreamError>
    where
        B: Body,
        B::Error: Into<BoxError>,
    {
        let ready = poll_fn(|cx| match poll_frame(body.as_mut(), cx) {
            Poll::Ready(frame) => Poll::Ready(Some(frame)),
            Poll::Pending => Poll::Ready(None),
        });
        if let Some(frame) = ready.await {
            return frame;
        }
        self.flush().await?;
        // A body may be silent for long; that its receiver has gone must be noticed nevertheless.
        let stream = &self.stream;
        tokio::select! {
            biased;
            frame = poll_fn(|cx| poll_frame(body.as_mut(), cx)) => frame,
            error = stopped(stream) => {
                self.closed = true;
                Err(self.lease.write_failed(error))
            }
        }
    }

    /// Takes content that is to be sent. With `exact` known, it is all part of one DATA frame of that length.
    pub(crate) fn push_data(&mut self, mut data: impl Buf, exact: Option<u64>) -> Result<(), StreamError> {
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
        match exact {
            Some(_) if self.single_frame => {}
            Some(all) => {
                self.single_frame = true;
                encode_data_header(all, &mut self.gathered);
            }
            None => encode_data_header(len as u64, &mut self.gathered),
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

    /// Sends trailers and the end of the stream.
    pub(crate) async fn trailers(&mut self, trailers: &HeaderMap) -> Result<(), StreamError> {
        self.check_length()?;
        encode_trailers(trailers, self.lease.peer_max_field_section_size(), &mut self.gathered)?;
        self.finish().await
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
        ready!(self.poll_flush(cx))?;
        let finished = ready!(Pin::new(&mut self.stream).poll_shutdown(cx));
        self.closed = true;
        Poll::Ready(finished.map_err(|error| match error.downcast() {
            Ok(error) => self.lease.write_failed(error),
            Err(_) => StreamError::Closed,
        }))
    }

    /// Hands to the stream what it has not taken yet.
    pub(crate) async fn flush(&mut self) -> Result<(), StreamError> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        loop {
            while !self.writing.is_empty() {
                if let Err(error) = ready!(self.stream.poll_write_chunk(cx, &mut self.writing)) {
                    self.closed = true;
                    return Poll::Ready(Err(self.lease.write_failed(error)));
                }
            }
            if let Some(next) = self.queue.pop_front() {
                self.writing = next;
            } else if self.gathered.is_empty() {
                return Poll::Ready(Ok(()));
            } else {
                self.writing = std::mem::take(&mut self.gathered).into();
            }
        }
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

fn poll_frame<B>(body: Pin<&mut B>, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<B::Data>>, StreamError>>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    body.poll_frame(cx).map(|frame| frame.transpose().map_err(|error| StreamError::Body(error.into())))
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
    let length = value.to_str().ok().and_then(|value| value.parse().ok());
    match (length, values.next()) {
        (Some(length), None) => Ok(Some(length)),
        _ => Err(Unsendable::ContentLength.into()),
    }
}
