//! Requests out, responses in.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::header::{CONTENT_LENGTH, HeaderValue};
use http::{Method, Request, Response, StatusCode, request};
use http_body::Body;

use super::informational::OnInformational;
use crate::body::{RecvBody, RecvMessage, SendMessage, content_length_of};
use crate::connection::{Lease, Shared, random};
use crate::error::{BoxError, Code, StreamError};
use crate::proto::frame::encode_reserved;
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

    /// Whether a request can be sent; there is nothing to be waited for, this is for code that is used to hyper.
    ///
    /// # Errors
    /// The server has announced its end, or the connection has ended.
    ///
    /// # Cancel safety
    /// Safe.
    #[expect(clippy::unused_async, reason = "the shape of hyper's")]
    pub async fn ready(&self) -> Result<(), StreamError> {
        match self.lease.quic.close_reason() {
            Some(error) => Err(self.lease.ended(error).into()),
            None if self.lease.is_peer_going_away() => Err(StreamError::GoingAway),
            None => Ok(()),
        }
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
        let lease = self.lease.begin();
        let (head, body) = request.into_parts();
        // The head is encoded here and not carried along by the future.
        let prepared = prepare(&lease, head, &body);
        exchange(lease, prepared, body)
    }
}

impl fmt::Debug for SendRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendRequest").field("is_closed", &self.is_closed()).finish_non_exhaustive()
    }
}

/// A request whose head is encoded.
#[derive(Clone)]
struct Prepared {
    frame: Vec<u8>,
    /// The content-length.
    declared: Option<u64>,
    response: ReadResponse,
}

fn prepare(lease: &Lease, mut head: request::Parts, body: &impl Body) -> Result<Prepared, StreamError> {
    let declared = declare_length(&mut head, body)?;
    let mut frame = Vec::with_capacity(256);
    encode_request(&head, lease.peer_max_field_section_size(), &mut frame)?;
    let informational = head.extensions.remove::<OnInformational>();
    Ok(Prepared { frame, declared, response: ReadResponse { method: head.method, informational } })
}

async fn exchange<B>(
    lease: Lease,
    prepared: Result<Prepared, StreamError>,
    body: B,
) -> Result<Response<RecvBody>, StreamError>
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let mut prepared = prepared?;
    let empty = body.is_end_stream();
    if lease.is_early() {
        if empty && prepared.response.method.is_safe() {
            let again = prepared.clone();
            // Rare enough that the ordinary request does not carry its state along.
            match Box::pin(attempt::<B>(lease.clone(), prepared, None)).await {
                Err(StreamError::EarlyDataRejected) => {}
                Ok(response) if response.status() == StatusCode::TOO_EARLY => {}
                outcome => return outcome,
            }
            prepared = again;
        }
        lease.early_settled().await;
    }
    attempt(lease, prepared, (!empty).then_some(body)).await
}

/// Sends a request and waits for its response; `None` is a body without content.
async fn attempt<B>(
    lease: Lease,
    prepared: Prepared,
    body: Option<B>,
) -> Result<Response<RecvBody>, StreamError>
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let Prepared { mut frame, declared, mut response } = prepared;
    if lease.is_peer_going_away() {
        return Err(StreamError::GoingAway);
    }
    let (send, recv) = tokio::select! {
        biased;
        opened = lease.quic.open_bi() => opened.map_err(|error| lease.ended(error))?,
        () = lease.peer_going_away() => return Err(StreamError::GoingAway),
    };
    let id = send.id().as_u64();
    if id == 0 && lease.config.grease {
        // Once is enough to keep servers used to frames that they do not know (RFC 9114 §7.2.8).
        encode_reserved(random(), &mut frame);
    }
    let mut send = SendMessage::new(send, lease.clone(), Code::H3_REQUEST_CANCELLED);
    send.head(frame, declared);
    let mut upload = match body {
        // The ordinary case, without anything on the heap.
        None => Upload::Finishing(send),
        Some(body) => Upload::Sending(Box::pin(async move {
            let mut body = pin!(body);
            send.body(body.as_mut()).await
        })),
    };
    let mut recv = Some(RecvMessage::new(recv, lease.clone()));
    tokio::select! {
        biased;
        response = poll_fn(|cx| response.poll(&mut recv, &mut upload, cx)) => response,
        () = lease.request_unprocessed(id) => Err(StreamError::GoingAway),
    }
}

/// A request that is being sent.
#[expect(clippy::large_enum_variant, reason = "the large one is the ordinary one")]
enum Upload {
    Finishing(SendMessage),
    Sending(Pin<Box<dyn Future<Output = Result<(), StreamError>> + Send>>),
    Done,
}

impl Upload {
    fn poll(&mut self, cx: &mut Context<'_>) -> Result<(), StreamError> {
        let sent = match self {
            Self::Finishing(message) => message.poll_finish(cx),
            Self::Sending(sending) => sending.as_mut().poll(cx),
            Self::Done => return Ok(()),
        };
        let Poll::Ready(sent) = sent else { return Ok(()) };
        *self = Self::Done;
        accept_stop(sent)
    }

    /// Sends what is left when the response is already there.
    async fn rest(self) {
        let sent = match self {
            Self::Finishing(mut message) => message.finish().await,
            Self::Sending(sending) => sending.await,
            Self::Done => Ok(()),
        };
        if let Err(error) = sent {
            tracing::debug!(%error, "the rest of the request was not sent");
        }
    }
}

/// Reads up to the final response, and meanwhile sends the request.
#[derive(Clone)]
struct ReadResponse {
    method: Method,
    informational: Option<OnInformational>,
}

impl ReadResponse {
    fn poll(
        &mut self,
        receiving: &mut Option<RecvMessage>,
        upload: &mut Upload,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<RecvBody>, StreamError>> {
        upload.poll(cx)?;
        let Some(recv) = receiving else { return Poll::Ready(Err(StreamError::Closed)) };
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
            let recv = receiving.take().ok_or(StreamError::Closed)?;
            let mut body = recv.into_body(content, cx)?;
            let upload = std::mem::replace(upload, Upload::Done);
            if !matches!(upload, Upload::Done) {
                body.set_upload(tokio::spawn(upload.rest()).abort_handle());
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
fn declare_length(head: &mut request::Parts, body: &impl Body) -> Result<Option<u64>, StreamError> {
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
