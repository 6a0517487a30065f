//! What `serve` answers: files, and two ways to look at a body that was sent.

use anyhow::Result;
use bytes::{Buf, Bytes};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body;
use http_body_util::BodyExt;

use crate::{
    body::{self, BoxBody, BoxError},
    content_type,
    root::Root,
};

/// The answer to a request: GET and HEAD name files of the root, `POST /echo` is given its body back while it still
/// arrives, `POST /count` is told how long it was.
pub async fn respond<B>(root: Root, request: Request<B>) -> Response<BoxBody>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let answer = match (request.method(), request.uri().path()) {
        (&Method::POST, "/echo") => Ok(echo(request)),
        (&Method::POST, "/count") => count(request.into_body()).await,
        (&Method::GET | &Method::HEAD, path) => file(root, path.to_owned(), request.method()).await,
        _ => Ok(short(StatusCode::METHOD_NOT_ALLOWED, "try GET, HEAD, POST /echo or POST /count\n")),
    };
    answer.unwrap_or_else(|error| {
        tracing::warn!(%error, "request failed");
        short(StatusCode::INTERNAL_SERVER_ERROR, "something went wrong here\n")
    })
}

async fn file(root: Root, path: String, method: &Method) -> Result<Response<BoxBody>> {
    let Some(path) = tokio::task::spawn_blocking(move || root.find(&path)).await? else {
        let body = if method == Method::HEAD { "" } else { "not found\n" };
        return Ok(short(StatusCode::NOT_FOUND, body));
    };
    let (content, length) = body::file(&path).await?;
    let content = if method == Method::HEAD { body::empty() } else { content };
    let mut response = Response::new(content);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, length.into());
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type::of(&path)));
    Ok(response)
}

fn echo<B>(request: Request<B>) -> Response<BoxBody>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let (parts, body) = request.into_parts();
    let mut response = Response::new(body.map_err(Into::into).boxed_unsync());
    for name in [header::CONTENT_LENGTH, header::CONTENT_TYPE] {
        if let Some(value) = parts.headers.get(&name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    response
}

async fn count<B>(body: B) -> Result<Response<BoxBody>>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send,
{
    let mut body = std::pin::pin!(body);
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => bytes += frame.data_ref().map_or(0, Buf::remaining),
            Err(error) => return Err(anyhow::Error::from_boxed(error.into())),
        }
    }
    Ok(short(StatusCode::OK, format!("{bytes}\n")))
}

fn short(status: StatusCode, text: impl Into<Bytes>) -> Response<BoxBody> {
    let text = text.into();
    let mut response = Response::new(body::empty());
    *response.status_mut() = status;
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, POST"));
    }
    if !text.is_empty() {
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, plain);
        response.headers_mut().insert(header::CONTENT_LENGTH, text.len().into());
        *response.body_mut() = body::full(text);
    }
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    async fn ask(method: Method, path: &str, body: &'static [u8]) -> (Response<()>, Bytes) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("page.html"), vec![b'x'; 600_000]).unwrap();
        let root = Root::new(folder.path()).unwrap();
        let request = Request::builder().method(method).uri(path);
        let request =
            request.header(header::CONTENT_LENGTH, body.len()).body(Full::new(Bytes::from_static(body)));
        let (parts, body) = respond(root, request.unwrap()).await.into_parts();
        (Response::from_parts(parts, ()), body.collect().await.unwrap().to_bytes())
    }

    #[tokio::test]
    async fn a_file_comes_with_its_type_and_length_and_head_without_content() {
        for method in [Method::GET, Method::HEAD] {
            let (response, body) = ask(method.clone(), "/page.html?query", b"").await;
            assert_eq!(response.status(), 200);
            assert_eq!(response.headers()[header::CONTENT_LENGTH], "600000");
            assert_eq!(response.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8");
            assert_eq!(body.len(), if method == Method::GET { 600_000 } else { 0 });
        }
    }

    #[tokio::test]
    async fn what_is_not_there_is_404_and_what_cannot_be_done_405() {
        assert_eq!(ask(Method::GET, "/missing", b"").await.0.status(), 404);
        assert_eq!(ask(Method::HEAD, "/../page.html", b"").await.0.status(), 404);
        assert_eq!(ask(Method::DELETE, "/page.html", b"").await.0.status(), 405);
        assert_eq!(ask(Method::POST, "/page.html", b"").await.0.status(), 405);
    }

    #[tokio::test]
    async fn bodies_come_back_or_are_counted() {
        let (response, body) = ask(Method::POST, "/echo", b"hello").await;
        assert_eq!(
            (response.headers()[header::CONTENT_LENGTH].as_bytes(), &body[..]),
            (&b"5"[..], &b"hello"[..])
        );
        assert_eq!(&ask(Method::POST, "/count", b"hello").await.1[..], b"5\n");
    }
}
