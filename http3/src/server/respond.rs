//! Responses out.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderValue};
use http::{HeaderMap, Method, Response, StatusCode, response};
use http_body::Body;

use crate::body::{COPY, SendMessage, content_length_of, stopped};
use crate::error::{BoxError, Code, StreamError, Unsendable};
use crate::proto::headers::encode_response;

/// What about a request matters to the content of its response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Ordinary,
    /// To HEAD: the headers of the response to GET, without its content.
    HeadersOnly,
    /// To CONNECT.
    Tunnel,
}

impl Answer {
    pub(super) fn to(method: &Method) -> Self {
        match *method {
            Method::HEAD => Self::HeadersOnly,
            Method::CONNECT => Self::Tunnel,
            _ => Self::Ordinary,
        }
    }
}

/// Answers a request, once, after any number of interim responses.
///
/// Dropped without an answer it resets the stream with [`Code::H3_REQUEST_CANCELLED`].
#[must_use = "a request that is not answered is cancelled"]
pub struct SendResponse {
    message: SendMessage,
    answer: Answer,
    /// Whether the final response, once it is encoded, has content.
    sends_content: bool,
}

impl SendResponse {
    pub(super) fn new(message: SendMessage, answer: Answer) -> Self {
        Self { message, answer, sends_content: false }
    }

    /// The ID of the request stream.
    pub fn stream_id(&self) -> gannet::StreamId {
        self.message.stream().id()
    }

    /// Sends an interim response, such as 103 (Early Hints).
    ///
    /// # Errors
    /// Its status is not one of 1xx, or 101; or the stream or connection has ended.
    ///
    /// # Cancel safety
    /// If it was polled at all, the response is sent, at the latest with what comes next.
    pub async fn send_informational(&mut self, response: Response<()>) -> Result<(), StreamError> {
        if !response.status().is_informational() {
            return Err(Unsendable::Status.into());
        }
        self.push_informational(&response.into_parts().0)?;
        self.message.flush().await
    }

    /// Sends a whole response. A content-length is added if the body knows its length, and is checked against the body
    /// otherwise. Of responses that have no content (to HEAD, 204, 304) the body is not used.
    ///
    /// Resolves when everything was handed to the transport, which sees to it that it arrives.
    ///
    /// # Errors
    /// The response cannot be sent, its body fails, the client has stopped the stream, or the connection has ended. The
    /// stream is reset unless it was the client that ended it.
    ///
    /// # Cancel safety
    /// Dropping the future resets the stream.
    pub async fn send_response<B>(mut self, response: Response<B>) -> Result<(), StreamError>
    where
        B: Body,
        B::Error: Into<BoxError>,
    {
        let (head, body) = response.into_parts();
        let mut body = std::pin::pin!(body);
        self.begin(head, &*body)?;
        poll_fn(|cx| self.poll_send(cx, body.as_mut())).await
    }

    /// Prepares a whole response, whose body then goes to [`poll_send`](Self::poll_send).
    pub(super) fn begin(&mut self, mut head: response::Parts, body: &impl Body) -> Result<(), StreamError> {
        let exact = body.size_hint().exact();
        let has_content = self.has_content(head.status);
        if self.answer != Answer::Tunnel
            && has_content | (self.answer == Answer::HeadersOnly)
            && !head.headers.contains_key(CONTENT_LENGTH)
            && let Some(length) = exact
            && (has_content || length > 0)
        {
            head.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        self.encode(head, exact.unwrap_or_default())?;
        if has_content { self.message.begin_body(exact) } else { Ok(()) }
    }

    /// Sends the body of a response, and the end of the stream.
    pub(super) fn poll_send<B>(
        &mut self,
        cx: &mut Context<'_>,
        body: Pin<&mut B>,
    ) -> Poll<Result<(), StreamError>>
    where
        B: Body,
        B::Error: Into<BoxError>,
    {
        let sent = ready!(if self.sends_content {
            self.message.poll_body(cx, body)
        } else {
            self.message.poll_finish(cx)
        });
        if sent.is_err() {
            // Void if the end came from the client.
            self.message.reset(Code::H3_INTERNAL_ERROR);
        }
        Poll::Ready(sent)
    }

    /// Begins a response whose content is sent piece by piece. Its content-length, if it has one, is binding.
    ///
    /// The head goes out with the first content, or with [`SendBody::flush`].
    ///
    /// # Errors
    /// The response cannot be sent.
    pub fn send_head(mut self, response: Response<()>) -> Result<SendBody, StreamError> {
        let (head, ()) = response.into_parts();
        self.encode(head, 0)?;
        Ok(SendBody { message: self.message, has_content: self.sends_content })
    }

    /// Resolves when the client is not interested in the response any more, or the connection has ended.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn stopped(&self) -> StreamError {
        let error = stopped(self.message.stream()).await;
        self.message.lease().write_failed(error)
    }

    /// Gives the request up.
    pub fn reset(mut self, code: Code) {
        self.message.reset(code);
    }

    /// The service failed.
    pub(super) fn abort(&mut self) {
        self.message.reset(Code::H3_INTERNAL_ERROR);
    }

    /// What there is to be done while the response is being made: sends 100 (Continue) if that is wanted; ready when the
    /// client is not interested any more.
    pub(super) fn poll_waiting(&mut self, cx: &mut Context<'_>) -> Poll<StreamError> {
        if self.message.link().is_some_and(|link| link.take_wanted(cx)) {
            let mut go_on = Response::new(());
            *go_on.status_mut() = StatusCode::CONTINUE;
            let (head, ()) = go_on.into_parts();
            if self.push_informational(&head).is_ok() {
                // What is not taken now goes with the response; if the stream is at its end, that is noticed below.
                let _ = self.message.poll_flush(cx);
            }
        }
        self.message.poll_stopped(cx)
    }

    fn push_informational(&mut self, head: &response::Parts) -> Result<(), StreamError> {
        let mut frame = Vec::with_capacity(64);
        encode_response(head, self.message.lease().peer_max_field_section_size(), &mut frame)?;
        self.message.head(frame, None);
        Ok(())
    }

    /// Whether a final response with this status has content (RFC 9110 §6.4.1).
    fn has_content(&self, status: StatusCode) -> bool {
        let without = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        self.answer != Answer::HeadersOnly && !without
    }

    /// Encodes the head of the final response, with room for a body of this size if that is small. An error resets the
    /// stream.
    fn encode(&mut self, head: response::Parts, body: u64) -> Result<(), StreamError> {
        let room = usize::try_from(body).unwrap_or(usize::MAX).min(COPY);
        let encoded = self.try_encode(head, Vec::with_capacity(256 + room));
        if encoded.is_err() {
            self.message.reset(Code::H3_INTERNAL_ERROR);
        }
        encoded
    }

    fn try_encode(&mut self, mut head: response::Parts, mut frame: Vec<u8>) -> Result<(), StreamError> {
        if head.status.is_informational() {
            return Err(Unsendable::Status.into());
        }
        self.sends_content = self.has_content(head.status);
        let tunnel = self.answer == Answer::Tunnel && head.status.is_success();
        if tunnel || head.status == StatusCode::NO_CONTENT {
            // RFC 9110 §8.6
            head.headers.remove(CONTENT_LENGTH);
        }
        let declared = content_length_of(&head.headers)?.filter(|_| self.sends_content);
        encode_response(&head, self.message.lease().peer_max_field_section_size(), &mut frame)?;
        self.message.head(frame, declared);
        Ok(())
    }
}

impl fmt::Debug for SendResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendResponse").field("stream_id", &self.stream_id()).finish_non_exhaustive()
    }
}

/// The content of a response, sent piece by piece.
///
/// Dropped before [`finish`](Self::finish) or [`send_trailers`](Self::send_trailers) it resets the stream with
/// [`Code::H3_REQUEST_CANCELLED`].
#[must_use = "a response that is not finished is reset"]
pub struct SendBody {
    message: SendMessage,
    has_content: bool,
}

impl SendBody {
    /// Sends content, and waits until the stream has room for more. Small pieces may be held back until more comes, see
    /// [`flush`](Self::flush). Of a response that has no content (to HEAD, 204, 304) it is dropped.
    ///
    /// # Errors
    /// There is more of it than the content-length says; the client has stopped the stream; or the connection has ended.
    ///
    /// # Cancel safety
    /// If it was polled at all, the data are sent, at the latest with what comes next. Do not hand them over again.
    pub async fn send_data(&mut self, data: impl Into<Bytes>) -> Result<(), StreamError> {
        if self.has_content {
            self.message.push_data(data.into())?;
            self.message.flush().await?;
        }
        Ok(())
    }

    /// Sends what was held back.
    ///
    /// # Errors
    /// As [`send_data`](Self::send_data).
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn flush(&mut self) -> Result<(), StreamError> {
        self.message.flush().await
    }

    /// Sends trailers and the end of the response.
    ///
    /// # Errors
    /// As [`finish`](Self::finish), or the trailers cannot be sent.
    ///
    /// # Cancel safety
    /// If it was polled at all, the trailers are sent by the next [`finish`](Self::finish).
    pub async fn send_trailers(&mut self, trailers: HeaderMap) -> Result<(), StreamError> {
        self.message.push_trailers(&trailers)?;
        self.message.finish().await
    }

    /// Sends the end of the response.
    ///
    /// # Errors
    /// There is less content than the content-length says; the client has stopped the stream; or the connection has
    /// ended.
    ///
    /// # Cancel safety
    /// Safe: call it again.
    pub async fn finish(&mut self) -> Result<(), StreamError> {
        self.message.finish().await
    }

    /// Resolves when the client is not interested in the response any more, or the connection has ended.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn stopped(&self) -> StreamError {
        let error = stopped(self.message.stream()).await;
        self.message.lease().write_failed(error)
    }

    /// Gives the response up.
    pub fn reset(mut self, code: Code) {
        self.message.reset(code);
    }
}

impl fmt::Debug for SendBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendBody").field("stream_id", &self.message.stream().id()).finish_non_exhaustive()
    }
}
