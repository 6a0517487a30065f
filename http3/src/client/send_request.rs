//! Requests out, responses in.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::header::{CONTENT_LENGTH, HeaderValue};
use http::{Method, Request, Response};
use http_body::Body;

use super::informational::OnInformational;
use crate::body::{RecvBody, RecvMessage, SendMessage, content_length_of};
use crate::connection::{Lease, Shared};
use crate::error::{BoxError, Code, StreamError};
use crate::proto::headers::{self, encode_request};
use crate::proto::request::Content;

/// Sends requests on a connection. Clones send on the same one; when all are dropped and all exchanges are done, the
/// connection is closed.
#[derive(Clone)]
pub struct SendRequest {
    lease: Lease,
}

impl SendRequest {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        Self { lease: Lease::handle(shared) }
    }

    /// Whether no new request can be sent: the server has announced its end, or the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.lease.is_peer_going_away() || self.lease.quic.close_reason().is_some()
    }

    /// The QUIC connection.
    pub fn quic(&self) -> &gannet::Connection {
        &self.lease.quic
    }

    /// Sends a request and resolves with the head of its response.
    ///
    /// The URI needs an authority, or the request a host field. A content-length is added if the body knows its length,
    /// and is checked against the body otherwise. Any number of requests can be under way at once; while the server's
    /// stream limit is reached, further ones wait in the order of their first poll.
    ///
    /// The body is sent while the response is waited for. If the response comes first, a task goes on sending; it ends
    /// when the server does not want the rest, and when the response body is dropped before its end.
    ///
    /// # Errors
    /// See [`StreamError`]. After one for which [`is_unprocessed`](StreamError::is_unprocessed) holds, any request may be
    /// sent again on another connection.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the request: the stream is reset and stopped with [`Code::H3_REQUEST_CANCELLED`]. The
    /// connection and other requests go on.
    pub fn send_request<B>(
        &self,
        request: Request<B>,
    ) -> impl Future<Output = Result<Response<RecvBody>, StreamError>> + Send + 'static + use<B>
    where
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        exchange(self.lease.begin(), request)
    }
}

impl fmt::Debug for SendRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendRequest").field("is_closed", &self.is_closed()).finish_non_exhaustive()
    }
}

async fn exchange<B>(lease: Lease, request: Request<B>) -> Result<Response<RecvBody>, StreamError>
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let (mut head, body) = request.into_parts();
    let declared = declare_length(&mut head, &body)?;
    let mut frame = Vec::with_capacity(256);
    encode_request(&head, lease.peer_max_field_section_size(), &mut frame)?;

    if lease.is_peer_going_away() {
        return Err(StreamError::GoingAway);
    }
    let (send, recv) = tokio::select! {
        biased;
        opened = lease.quic.open_bi() => opened.map_err(|error| lease.ended(error))?,
        () = lease.peer_going_away() => return Err(StreamError::GoingAway),
    };
    let id = send.id();
    let mut send = SendMessage::new(send, lease.clone(), Code::H3_REQUEST_CANCELLED);
    let recv = RecvMessage::new(recv, lease.clone());
    send.head(frame, declared);

    let informational = head.extensions.remove::<OnInformational>();
    let mut response = ReadResponse { recv: Some(recv), method: head.method, informational };
    let unprocessed = lease.request_unprocessed(id.as_u64());
    if body.is_end_stream() {
        // The ordinary case, without anything on the heap.
        accept_stop(send.finish().await)?;
        drop(send);
        tokio::select! {
            biased;
            response = poll_fn(|cx| response.poll(cx, &mut None)) => response,
            () = unprocessed => Err(StreamError::GoingAway),
        }
    } else {
        let mut upload: Upload = Some(Box::pin(async move {
            let mut body = std::pin::pin!(body);
            send.body(body.as_mut()).await
        }));
        tokio::select! {
            biased;
            response = poll_fn(|cx| response.poll(cx, &mut upload)) => response,
            () = unprocessed => Err(StreamError::GoingAway),
        }
    }
}

/// A request that is being sent.
type Upload = Option<Pin<Box<dyn Future<Output = Result<(), StreamError>> + Send>>>;

/// Reads up to the final response, and meanwhile sends the request.
struct ReadResponse {
    recv: Option<RecvMessage>,
    method: Method,
    informational: Option<OnInformational>,
}

impl ReadResponse {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        upload: &mut Upload,
    ) -> Poll<Result<Response<RecvBody>, StreamError>> {
        if let Some(sending) = upload
            && let Poll::Ready(sent) = sending.as_mut().poll(cx)
        {
            *upload = None;
            accept_stop(sent)?;
        }
        let Some(recv) = &mut self.recv else { return Poll::Ready(Err(StreamError::Closed)) };
        loop {
            let section = ready!(recv.poll_head(cx))?;
            let received = recv.decode(&section, headers::response)?;
            let response = received.message;
            if response.status().is_informational() {
                recv.interim()?;
                if let Some(informational) = &self.informational {
                    informational.call(response);
                }
                continue;
            }
            let content = Content::of_response(&self.method, response.status(), received.content_length);
            let recv = self.recv.take().ok_or(StreamError::Closed)?;
            let mut body = recv.into_body(content, cx)?;
            if let Some(sending) = upload.take() {
                let task = tokio::spawn(async move {
                    if let Err(error) = sending.await {
                        tracing::debug!(%error, "the rest of the request was not sent");
                    }
                });
                body.set_upload(task.abort_handle());
            }
            return Poll::Ready(Ok(response.map(|()| body)));
        }
    }
}

/// A server that does not want the rest of the request can answer it all the same (RFC 9114 §4.1); if it does not, the
/// response will tell.
fn accept_stop(sent: Result<(), StreamError>) -> Result<(), StreamError> {
    match sent {
        Err(StreamError::Stopped(_)) => Ok(()),
        sent => sent,
    }
}

/// The content-length of a request, which is added if the body knows it. A tunnel has none.
fn declare_length(head: &mut http::request::Parts, body: &impl Body) -> Result<Option<u64>, StreamError> {
    if head.method == Method::CONNECT {
        return Ok(None);
    }
    if let Some(declared) = content_length_of(&head.headers)? {
        return Ok(Some(declared));
    }
    let exact = body.size_hint().exact();
    // A request without content needs to say so only if its method has a use for content (RFC 9110 §8.6).
    let says_zero = matches!(head.method, Method::POST | Method::PUT | Method::PATCH);
    if let Some(length) = exact
        && (length > 0 || says_zero)
    {
        head.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    Ok(exact)
}
