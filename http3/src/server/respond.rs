//! Responses out.

use std::fmt;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderValue};
use http::{HeaderMap, Method, Response, StatusCode};
use http_body::Body;

use crate::body::{SendMessage, content_length_of, stopped};
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
}

impl SendResponse {
    pub(super) fn new(message: SendMessage, answer: Answer) -> Self {
        Self { message, answer }
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
        let (head, ()) = response.into_parts();
        let mut frame = Vec::with_capacity(64);
        encode_response(&head, self.message.lease().peer_max_field_section_size(), &mut frame)?;
        self.message.head(frame, None);
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
    pub async fn send_response<B>(self, response: Response<B>) -> Result<(), StreamError>
    where
        B: Body,
        B::Error: Into<BoxError>,
    {
        let (mut head, body) = response.into_parts();
        let has_content = self.has_content(head.status);
        if self.answer != Answer::Tunnel
            && has_content | (self.answer == Answer::HeadersOnly)
            && !head.headers.contains_key(CONTENT_LENGTH)
            && let Some(length) = body.size_hint().exact()
            && (has_content || length > 0)
        {
            head.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        let mut message = self.into_message(head)?;
        let sent = if has_content {
            let mut body = std::pin::pin!(body);
            message.body(body.as_mut()).await
        } else {
            message.finish().await
        };
        if sent.is_err() {
            // Unless the end came from the client, which makes this void.
            message.reset(Code::H3_INTERNAL_ERROR);
        }
        sent
    }

    /// Begins a response whose content is sent piece by piece. Its content-length, if it has one, is binding.
    ///
    /// The head goes out with the first content, or with [`SendBody::flush`].
    ///
    /// # Errors
    /// The response cannot be sent.
    pub fn send_head(self, response: Response<()>) -> Result<SendBody, StreamError> {
        let (head, ()) = response.into_parts();
        let has_content = self.has_content(head.status);
        Ok(SendBody { message: self.into_message(head)?, has_content })
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

    /// Resolves when the application wants content of the request that the client does not send before 100 (Continue).
    pub(super) async fn continue_wanted(&self) {
        match self.message.link() {
            Some(link) => link.wanted().await,
            None => std::future::pending().await,
        }
    }

    /// Whether a final response with this status has content (RFC 9110 §6.4.1).
    fn has_content(&self, status: StatusCode) -> bool {
        let without = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        self.answer != Answer::HeadersOnly && !without
    }

    fn into_message(self, mut head: http::response::Parts) -> Result<SendMessage, StreamError> {
        let has_content = self.has_content(head.status);
        let Self { mut message, answer } = self;
        if head.status.is_informational() {
            message.reset(Code::H3_INTERNAL_ERROR);
            return Err(Unsendable::Status.into());
        }
        let tunnel = answer == Answer::Tunnel && head.status.is_success();
        if tunnel || head.status == StatusCode::NO_CONTENT {
            // RFC 9110 §8.6
            head.headers.remove(CONTENT_LENGTH);
        }
        let mut frame = Vec::with_capacity(256);
        let encoded = content_length_of(&head.headers).and_then(|declared| {
            encode_response(&head, message.lease().peer_max_field_section_size(), &mut frame)?;
            Ok(declared)
        });
        match encoded {
            Ok(declared) => {
                message.head(frame, declared.filter(|_| has_content));
                Ok(message)
            }
            Err(error) => {
                message.reset(Code::H3_INTERNAL_ERROR);
                Err(error)
            }
        }
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
            self.message.push_data(data.into(), None)?;
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
        self.message.trailers(&trailers).await
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
