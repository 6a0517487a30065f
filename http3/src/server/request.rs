//! From a new stream to a request.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use gannet::{RecvStream, SendStream};
use http::header::EXPECT;
use http::{Request, Response, StatusCode};

use super::early::EarlyData;
use super::respond::{Answer, SendResponse};
use crate::body::{RecvBody, RecvMessage, SendMessage};
use crate::connection::{Lease, Shared};
use crate::error::{Code, StreamError};
use crate::proto::headers::{self, encode_response};
use crate::proto::request::Content;

/// Waits for the headers of a request. `None`: there will be no request, and the client has been told why.
pub(super) struct ReadRequest {
    /// Until the request is handed out.
    send: Option<SendMessage>,
    /// Until the headers are complete.
    recv: Option<RecvMessage>,
    /// Of a request that came before the handshake, until that is dealt with.
    early: Option<gannet::Connection>,
    /// The headers, until the request is handed out.
    held: Option<Held>,
}

/// Headers, and the handshake if they wait for it.
struct Held {
    head: Result<Head, StreamError>,
    handshake: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Held {
    /// An early request may be a replay. One with a safe method is marked, others wait until the handshake is complete
    /// (RFC 8470 §3).
    fn new(mut head: Result<Head, StreamError>, early: Option<gannet::Connection>) -> Self {
        let mut handshake = None;
        if let (Ok(head), Some(quic)) = (&mut head, early.filter(|quic| !quic.is_handshake_complete())) {
            if head.message.method().is_safe() {
                head.message.extensions_mut().insert(EarlyData { quic });
            } else {
                let completed = async move {
                    // If the connection ends instead, the exchange finds that out.
                    let _ = quic.handshake_completed().await;
                };
                handshake = Some(Box::pin(completed) as _);
            }
        }
        Self { head, handshake }
    }
}

impl ReadRequest {
    pub(super) fn new(shared: &Arc<Shared>, send: SendStream, recv: RecvStream) -> Self {
        let lease = Lease::exchange(shared);
        let early = recv.is_early().then(|| shared.quic.clone());
        // As long as the request was not handed out, nothing of it was processed (RFC 9114 §4.1.1).
        let send = SendMessage::new(send, lease.clone(), Code::H3_REQUEST_REJECTED);
        Self { send: Some(send), recv: Some(RecvMessage::new(recv, lease)), early, held: None }
    }
}

impl Future for ReadRequest {
    type Output = Option<(Request<RecvBody>, SendResponse)>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { send: sending, recv: receiving, early, held } = &mut *self;
        if let Some(recv) = receiving {
            if held.is_none() {
                *held = Some(Held::new(ready!(poll_head(recv, cx)), early.take()));
            }
            if let Some(Held { handshake: Some(handshake), .. }) = held {
                ready!(handshake.as_mut().poll(cx));
            }
            let Some(Held { head, .. }) = held.take() else { return Poll::Ready(None) };
            let (Some(mut send), Some(recv)) = (sending.take(), receiving.take()) else {
                return Poll::Ready(None);
            };
            match head.and_then(|head| hand_out(head, &mut send, recv, cx)) {
                Ok((request, answer)) => {
                    return Poll::Ready(Some((request, SendResponse::new(send, answer))));
                }
                Err(StreamError::TooLarge { .. }) if too_large(&mut send) => *sending = Some(send),
                Err(error) => give_up(&mut send, &error),
            }
        }
        if let Some(send) = sending {
            let _ = ready!(send.poll_finish(cx));
            *sending = None;
        }
        Poll::Ready(None)
    }
}

type Head = headers::Received<Request<()>>;

fn poll_head(recv: &mut RecvMessage, cx: &mut Context<'_>) -> Poll<Result<Head, StreamError>> {
    let section = ready!(recv.poll_head(cx))?;
    Poll::Ready(recv.decode(&section, headers::request))
}

/// The headers are complete: what remains is the content, which may be absent or wrong.
fn hand_out(
    head: Head,
    send: &mut SendMessage,
    recv: RecvMessage,
    cx: &mut Context<'_>,
) -> Result<(Request<RecvBody>, Answer), StreamError> {
    let request = head.message;
    let content = Content::of_request(request.method(), head.content_length);
    let mut body = recv.into_body(content, cx)?;
    let awaits_continue = request
        .headers()
        .get(EXPECT)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    send.set_link(body.link(awaits_continue));
    send.set_abandoned(Code::H3_REQUEST_CANCELLED);
    let answer = Answer::to(request.method());
    Ok((request.map(|()| body), answer))
}

/// The header section is larger than we take: prepares 431 (RFC 9114 §4.2.2).
fn too_large(send: &mut SendMessage) -> bool {
    let (head, ()) = Response::builder()
        .status(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)
        .body(())
        .unwrap_or_default()
        .into_parts();
    let mut frame = Vec::with_capacity(16);
    let encoded = encode_response(&head, send.lease().peer_max_field_section_size(), &mut frame).is_ok();
    send.head(frame, None);
    encoded
}

/// Ends an exchange that will not be one.
fn give_up(send: &mut SendMessage, error: &StreamError) {
    tracing::debug!(%error, "no request");
    if let StreamError::Reset(_) = error {
        send.lease().exchange_cancelled();
    }
    if let StreamError::Malformed(_) | StreamError::Incomplete = error
        && let Some(code) = error.code()
    {
        send.reset(code);
    }
}
