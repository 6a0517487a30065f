//! One request and its response.

use std::path::Path;

use anyhow::{Context, Result};
use bytes::Bytes;
use futures::FutureExt as _;
use gannet_examples::body::{self, BoxBody};
use gannet_http3::client::SendRequest;
use http::{Method, Request, StatusCode, Uri, header};
use http_body::Body;
use http_body_util::BodyExt;

use crate::{options::Options, output::Output};

/// What is asked of whom.
#[derive(Copy, Clone)]
pub struct Exchange<'a> {
    /// Method, header fields and body.
    pub options: &'a Options,
    /// What is asked for.
    pub url: &'a Uri,
    /// The connection.
    pub requests: &'a SendRequest,
}

impl Exchange<'_> {
    /// Sends the request and takes the response in. Returns its status and the length of its body.
    pub async fn run(self, mut output: Output) -> Result<(StatusCode, u64)> {
        self.try_run(&mut output).await.with_context(|| self.url.to_string())
    }

    async fn try_run(self, output: &mut Output) -> Result<(StatusCode, u64)> {
        let response = self.requests.send_request(self.request().await?).await?;
        let (head, mut body) = response.into_parts();
        // A response to HEAD tells the length of what it does not bring.
        let length = body.size_hint().exact().filter(|_| self.options.method() != Method::HEAD);
        let bar = output.progress(length);
        let mut bytes = 0;
        loop {
            let frame = match body.frame().now_or_never() {
                Some(frame) => frame,
                None => {
                    // Nothing more for now: what has come is shown, as far as it goes.
                    output.flush().await?;
                    body.frame().await
                }
            };
            let Some(frame) = frame else { break };
            if let Ok(data) = frame?.into_data() {
                bytes += data.len() as u64;
                output.write(&data).await?;
                bar.set_position(bytes);
            }
        }
        output.flush().await?;
        bar.finish_and_clear();
        Ok((head.status, bytes))
    }

    async fn request(self) -> Result<Request<BoxBody>> {
        let mut request = Request::builder().method(self.options.method()).uri(self.url.clone());
        let body = match self.options.data.as_deref().map(|data| data.strip_prefix('@').ok_or(data)) {
            None => body::empty(),
            Some(Err(text)) => body::full(Bytes::copy_from_slice(text.as_bytes())),
            Some(Ok(path)) => {
                let (body, length) = body::file(Path::new(path)).await?;
                request = request.header(header::CONTENT_LENGTH, length);
                body
            }
        };
        for (name, value) in &self.options.headers {
            request = request.header(name, value);
        }
        Ok(request.body(body)?)
    }
}
