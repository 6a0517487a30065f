//! Two ends of a QUIC connection over loopback, and services to talk to.
#![allow(dead_code, reason = "each test uses a part of it")]

pub mod raw;

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use gannet::Endpoint;
use gannet::config::{ClientConfig, ServerConfig};
use gannet_http3::{RecvBody, StreamError, client, server};
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use rustls::RootCertStore;
use rustls::pki_types::PrivateKeyDer;

/// The client's and the server's end.
pub async fn quic() -> (gannet::Connection, gannet::Connection) {
    let made = rcgen::generate_simple_self_signed(["localhost".into()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let config = ServerConfig::with_single_cert(vec![made.cert.into()], key, &[b"h3"]).unwrap();
    let server = Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap();
    let client = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    client.set_client_config(ClientConfig::with_roots(roots, &[b"h3"]).unwrap());
    let connecting = client.connect(server.local_addr().unwrap(), "localhost").unwrap();
    let accepting = async { server.accept().await.unwrap().accept().await };
    let (ours, theirs) = soon(async { tokio::join!(connecting, accepting) }).await;
    (ours.unwrap(), theirs.unwrap())
}

pub type AnyBody = BoxBody<Bytes, StreamError>;

pub fn empty() -> Empty<Bytes> {
    Empty::new()
}

pub fn full(data: impl Into<Bytes>) -> AnyBody {
    Full::new(data.into()).map_err(|never: Infallible| match never {}).boxed()
}

pub fn get(path: &str) -> Request<Empty<Bytes>> {
    Request::get(format!("https://localhost{path}")).body(empty()).unwrap()
}

/// A client of a server that answers with this function.
pub async fn serve<F, R>(function: F) -> client::SendRequest
where
    F: Fn(Request<RecvBody>) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Response<AnyBody>, StreamError>> + Send + 'static,
{
    let (ours, theirs) = quic().await;
    tokio::spawn(server::serve(theirs, server::service_fn(function)));
    let (requests, connection) = client::handshake(ours).await.unwrap();
    tokio::spawn(connection);
    requests
}

/// Fails rather than hang.
pub async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(10), future).await.expect("takes too long")
}

pub async fn text(response: Response<RecvBody>) -> String {
    let body = soon(response.into_body().collect()).await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}
