//! Interim responses, for those who want them.

use std::fmt;
use std::sync::Arc;

use http::{Request, Response};

type Callback = dyn Fn(Response<()>) + Send + Sync;

/// What a request wants to be done with interim responses; an extension of the request.
#[derive(Clone)]
pub(super) struct OnInformational(Arc<Callback>);

impl OnInformational {
    pub(super) fn call(&self, response: Response<()>) {
        (self.0)(response);
    }
}

impl fmt::Debug for OnInformational {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnInformational")
    }
}

/// Calls `callback` for each interim response (1xx) to this request, in their order and before the final one
/// (RFC 9110 §15.2). Without it they are read and dropped.
///
/// The callback runs within the future of the request, and should be quick.
///
/// ```
/// let mut request = http::Request::get("https://example.com/").body(())?;
/// gannet_http3::client::on_informational(&mut request, |interim| {
///     if interim.status() == 103 {
///         println!("hints: {:?}", interim.headers().get_all("link"));
///     }
/// });
/// # Ok::<(), http::Error>(())
/// ```
pub fn on_informational<B>(
    request: &mut Request<B>,
    callback: impl Fn(Response<()>) + Send + Sync + 'static,
) {
    request.extensions_mut().insert(OnInformational(Arc::new(callback)));
}
