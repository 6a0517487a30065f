//! A message on its way in: its head for the client or server, its content for the application.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use gannet::{RecvStream, Side};
use http_body::{Body, Frame, SizeHint};
use tokio::task::AbortHandle;

use crate::connection::Lease;
use crate::error::{Code, Malformed, StreamError};
use crate::proto::headers::{self, SectionError};
use crate::proto::request::{Content, Event, Fault, MessageReader};

/// Bytes taken from the stream at once.
const CHUNK: usize = 64 << 10;

/// What the body of a request and its response have to tell each other. Exists only for requests with content.
#[derive(Clone)]
pub(crate) struct Link(Arc<LinkState>);

struct LinkState {
    malformed: OnceLock<Malformed>,
    /// Whether the application wants content for which the client awaits a 100 (Continue).
    wanted: AtomicBool,
    answer: AtomicWaker,
}

impl Link {
    pub(crate) fn new() -> Self {
        let state = LinkState {
            malformed: OnceLock::new(),
            wanted: AtomicBool::new(false),
            answer: AtomicWaker::new(),
        };
        Self(Arc::new(state))
    }

    /// What is wrong with the request, as far as is known.
    pub(crate) fn malformed(&self) -> Option<Malformed> {
        self.0.malformed.get().copied()
    }

    /// True, once, when the application wants content for which the client awaits a 100 (Continue); `cx` is told.
    pub(crate) fn take_wanted(&self, cx: &Context<'_>) -> bool {
        self.0.answer.register(cx.waker());
        self.0.wanted.swap(false, Ordering::AcqRel)
    }
}

/// One message, as it arrives on a request stream.
pub(crate) struct RecvMessage {
    stream: RecvStream,
    reader: MessageReader,
    lease: Lease,
    /// Whether the stream goes on: dropping the message then stops it.
    open: bool,
    /// The answer of the server that receives this request.
    link: Option<Link>,
    /// Whether the client waits for a 100 (Continue) before it sends content (RFC 9110 §10.1.1).
    awaits_continue: bool,
    /// The task that still sends the request to which this is the response.
    upload: Option<AbortHandle>,
}

impl RecvMessage {
    pub(crate) fn new(stream: RecvStream, lease: Lease) -> Self {
        // Encoded sections are smaller than what they stand for, unless an encoder means no good.
        let reader = MessageReader::new(lease.side, lease.config.max_field_section_size);
        Self { stream, reader, lease, open: true, link: None, awaits_continue: false, upload: None }
    }

    /// The encoded field section of the next head.
    pub(crate) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, StreamError>> {
        match ready!(self.poll_event(cx))? {
            Event::Head(section) => Poll::Ready(Ok(section)),
            // Only after `head_done`.
            Event::Data(_) | Event::Trailers(_) | Event::End => Poll::Ready(Err(StreamError::Closed)),
        }
    }

    /// The head was that of an interim response.
    pub(crate) fn interim(&mut self) -> Result<(), StreamError> {
        self.reader.interim().map_err(|fault| self.fault(fault))
    }

    /// Decodes a field section.
    pub(crate) fn decode<T>(
        &mut self,
        section: &[u8],
        decode: impl FnOnce(&[u8], u64) -> Result<T, SectionError>,
    ) -> Result<T, StreamError> {
        decode(section, self.lease.config.max_field_section_size).map_err(|error| self.fault(error.into()))
    }

    /// The head was that of a request or a final response: the rest is for the application.
    ///
    /// What has arrived by now is looked at, so that a message without content is known as such.
    pub(crate) fn into_body(
        mut self,
        content: Content,
        cx: &mut Context<'_>,
    ) -> Result<RecvBody, StreamError> {
        self.reader.head_done(content);
        loop {
            match self.reader.peek() {
                Ok(Some(Event::End)) => {
                    self.open = false;
                    return Ok(RecvBody { message: None });
                }
                Ok(Some(_)) => break,
                Ok(None) => match self.poll_read(cx) {
                    Poll::Ready(read) => read?,
                    Poll::Pending => break,
                },
                Err(fault) => return Err(self.fault(fault)),
            }
        }
        Ok(RecvBody { message: Some(self) })
    }

    /// Answers a breach of the rules.
    pub(crate) fn fault(&mut self, fault: Fault) -> StreamError {
        match fault {
            Fault::Connection(violation) => {
                self.open = false;
                self.lease.fail(violation).into()
            }
            Fault::Malformed(malformed) => {
                if let Some(link) = &self.link {
                    let _ = link.0.malformed.set(malformed);
                }
                self.stop(Code::H3_MESSAGE_ERROR);
                malformed.into()
            }
            // There is nothing left to be stopped.
            Fault::Incomplete => StreamError::Incomplete,
            // The message can still be answered (431); dropping it stops it.
            Fault::SectionTooLarge => {
                StreamError::TooLarge { limit: self.lease.config.max_field_section_size }
            }
        }
    }

    /// Takes no more of the message; a request to which it is the response is given up, too.
    pub(crate) fn stop(&mut self, code: Code) {
        if std::mem::replace(&mut self.open, false) {
            let _ = self.stream.stop(code.into());
            self.abort_upload();
        }
    }

    fn abort_upload(&mut self) {
        if let Some(upload) = self.upload.take() {
            upload.abort();
        }
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, StreamError>> {
        loop {
            match self.reader.next() {
                Ok(Some(event)) => return Poll::Ready(Ok(event)),
                Ok(None) => ready!(self.poll_read(cx))?,
                Err(fault) => return Poll::Ready(Err(self.fault(fault))),
            }
        }
    }

    /// Feeds the reader.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        match ready!(self.stream.poll_read_chunk(cx, CHUNK)) {
            Ok(Some(chunk)) => self.reader.push(chunk),
            Ok(None) => self.reader.finish(),
            Err(error) => {
                self.open = false;
                self.abort_upload();
                return Poll::Ready(Err(self.lease.read_failed(error)));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for RecvMessage {
    fn drop(&mut self) {
        self.stop(match self.lease.side {
            // The response is of no interest any more, so the request is not either (RFC 9114 §4.1.1).
            Side::Client => Code::H3_REQUEST_CANCELLED,
            // The answer does not need the rest of the request (RFC 9114 §4.1).
            Side::Server => Code::H3_NO_ERROR,
        });
    }
}

/// The content of a message of the peer, and its trailers.
///
/// Use it as an [`http_body::Body`], for example with `BodyExt` of `http-body-util`. Its data are the DATA frames as they
/// arrive, without a copy. As long as they are not taken, flow control holds the peer back.
///
/// If the message announced its length, the content is checked against it: the body ends with an error
/// ([`StreamError::Malformed`]) if it is shorter or longer (RFC 9114 §4.1.2).
///
/// # Dropping
/// Dropping a response before its end cancels the exchange: the server is told to stop sending
/// ([`Code::H3_REQUEST_CANCELLED`]), and a request that is still being sent is reset. Dropping a request before its end
/// tells the client that the rest of it is not needed ([`Code::H3_NO_ERROR`]); the response can still be sent.
#[must_use = "dropping a body before its end stops the stream"]
pub struct RecvBody {
    /// `None` after the end or an error.
    message: Option<RecvMessage>,
}

impl RecvBody {
    /// Connects the body of a request with what answers it; `None` if there is no content.
    pub(crate) fn link(&mut self, awaits_continue: bool) -> Option<Link> {
        let message = self.message.as_mut()?;
        message.awaits_continue = awaits_continue;
        Some(message.link.insert(Link::new()).clone())
    }

    /// This is the response to a request that is still being sent.
    pub(crate) fn set_upload(&mut self, upload: AbortHandle) {
        if let Some(message) = &mut self.message {
            message.upload = Some(upload);
        }
    }
}

impl Body for RecvBody {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        let Some(message) = &mut self.message else { return Poll::Ready(None) };
        if std::mem::replace(&mut message.awaits_continue, false)
            && let Some(link) = &message.link
        {
            link.0.wanted.store(true, Ordering::Release);
            link.0.answer.wake();
        }
        let frame = match ready!(message.poll_event(cx)) {
            Ok(Event::Data(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
            Ok(Event::Trailers(section)) => match message.decode(&section, headers::trailers) {
                Ok(trailers) => return Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
                Err(error) => Some(Err(error)),
            },
            // Another head is refused by the reader.
            Ok(Event::Head(_) | Event::End) => {
                message.open = false;
                None
            }
            Err(error) => Some(Err(error)),
        };
        self.message = None;
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.message.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.message {
            None => SizeHint::with_exact(0),
            Some(message) => message.reader.remaining().map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}

impl fmt::Debug for RecvBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvBody")
            .field("is_end_stream", &self.is_end_stream())
            .field("remaining", &self.size_hint().exact())
            .finish_non_exhaustive()
    }
}
