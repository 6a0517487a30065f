//! Accepting connections and answering their requests.

use gannet::{Endpoint, Incoming};
use gannet_http3::{RecvBody, server};
use http::{Request, Response};

use crate::{body::BoxBody, root::Root, service::respond};

/// Serves the files of `root` on all connections that come in, each in a task of its own, until the endpoint is closed.
pub async fn run(endpoint: &Endpoint, root: &Root) {
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(serve(incoming, root.clone()));
    }
}

async fn serve(incoming: Incoming, root: Root) {
    let client = incoming.remote_address();
    // Files can be had before the handshake is complete, where the configuration takes early data: handing one out twice
    // does no harm. Other requests wait by themselves.
    let Ok((connection, _)) = incoming.accept().into_0rtt() else {
        tracing::info!(%client, "no connection");
        return;
    };
    let service = server::service_fn(move |request| answer(root.clone(), request));
    if let Err(error) = server::serve(connection, service).await {
        tracing::info!(%client, %error, "the connection ended");
    }
}

async fn answer(
    root: Root,
    request: Request<RecvBody>,
) -> Result<Response<BoxBody>, std::convert::Infallible> {
    let asked = format!("{} {}", request.method(), request.uri().path());
    let response = respond(root, request).await;
    tracing::info!(asked, status = response.status().as_u16(), "answered");
    Ok(response)
}
