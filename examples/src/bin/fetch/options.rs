//! The command line of `fetch`.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{ArgGroup, Parser};
use gannet::config::CertificatePin;
use gannet_examples::{congestion::Cc, tls::Trust};
use http::{HeaderName, HeaderValue, Method, Uri};

/// Requests URLs over HTTP/3.
///
/// The body goes to standard output or to a file, one summary line to standard error. Exit status 0 if every response
/// was a 2xx, else 1.
#[derive(Debug, Parser)]
#[command(version, group(ArgGroup::new("trust").args(["ca", "insecure"])))]
pub struct Options {
    /// Trust the authorities in this PEM file instead of the system's.
    #[arg(long, value_name = "PEM")]
    ca: Option<PathBuf>,
    /// Do not ask whose certificate the server shows.
    #[arg(long)]
    insecure: bool,
    /// Want this of the server's certificate: `sha256//` and the base64 of its key's SHA-256, or the hexadecimal SHA-256 of
    /// the certificate. One of them, if given several times. With --insecure it is all that counts.
    #[arg(long = "pin", value_name = "PIN")]
    pub pins: Vec<CertificatePin>,
    /// The request's method; GET if not given, or POST with -d.
    #[arg(short = 'X', value_name = "METHOD")]
    method: Option<Method>,
    /// A header field to send; may be given several times.
    #[arg(short = 'H', value_name = "NAME: VALUE", value_parser = header)]
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// A body to send: @FILE for the content of a file, else the text itself.
    #[arg(short = 'd', value_name = "@FILE")]
    pub data: Option<String>,
    /// Where the body goes; with several URLs one for each, in their order.
    #[arg(short = 'o', value_name = "FILE")]
    pub output: Vec<PathBuf>,
    /// How often each URL is requested. The first response's body is written, the others are counted.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub repeat: u32,
    /// How many of these requests are under way at a time.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub concurrency: u32,
    /// Connect twice to each server, and send the requests of the second connection before its handshake (0-RTT), if
    /// the server allows it: those without a body, and GET or HEAD. The first connection only brings the session.
    #[arg(long = "0rtt")]
    pub early: bool,
    /// The congestion controller for what is sent.
    #[arg(long, value_enum, default_value_t)]
    pub cc: Cc,
    /// What to request: `https://HOST:PORT/PATH`, the port 443 if not given
    #[arg(required = true, value_name = "URL", value_parser = url)]
    pub urls: Vec<Uri>,
}

impl Options {
    /// Reads the command line; ends the program if it makes no sense.
    pub fn read() -> Self {
        let options = Self::parse();
        if options.output.len() > options.urls.len() {
            let problem = clap::error::ErrorKind::TooManyValues;
            <Self as clap::CommandFactory>::command().error(problem, "more -o than URLs").exit();
        }
        options
    }

    /// Whom to believe.
    pub fn trust(&self) -> Trust<'_> {
        match &self.ca {
            _ if self.insecure => Trust::Anybody,
            Some(file) => Trust::File(file),
            None => Trust::System,
        }
    }

    /// The method of all requests.
    pub fn method(&self) -> Method {
        let default = if self.data.is_some() { Method::POST } else { Method::GET };
        self.method.clone().unwrap_or(default)
    }
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue)> {
    let (name, value) = text.split_once(':').context("a header field is `name: value`")?;
    Ok((name.trim().parse()?, value.trim().parse()?))
}

fn url(text: &str) -> Result<Uri> {
    let uri: Uri = text.parse()?;
    if uri.scheme_str() != Some("https") || uri.host().is_none_or(str::is_empty) {
        bail!("a URL is https://HOST[:PORT]/PATH");
    }
    Ok(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &str) -> Result<Options, clap::Error> {
        Options::try_parse_from(std::iter::once("fetch").chain(arguments.split(' ')))
    }

    #[test]
    fn a_body_makes_it_a_post_unless_told_otherwise() {
        assert_eq!(read("https://a/").unwrap().method(), Method::GET);
        assert_eq!(read("-d @x https://a/").unwrap().method(), Method::POST);
        assert_eq!(read("-X PUT -d @x https://a/").unwrap().method(), Method::PUT);
    }

    #[test]
    fn congestion_controllers_have_names() {
        assert_eq!(read("https://a/").unwrap().cc, Cc::Cubic);
        assert_eq!(read("--cc bbr https://a/").unwrap().cc, Cc::Bbr);
        assert!(read("--cc vegas https://a/").is_err());
    }

    #[test]
    fn fields_are_split_at_the_first_colon() {
        let options = read("-H a:b:c https://a/").unwrap();
        assert_eq!(options.headers, [(HeaderName::from_static("a"), HeaderValue::from_static("b:c"))]);
        assert!(read("-H nothing https://a/").is_err());
    }

    #[test]
    fn pins_are_those_of_curl_and_openssl() {
        let key = "sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        let options = read(&format!("--insecure --pin {key} --pin {} https://a/", "ab".repeat(32))).unwrap();
        assert_eq!(options.pins[1], CertificatePin::Certificate([0xab; 32]));
        assert_eq!(options.pins[0].to_string(), key);
        assert!(read("--pin 1234 https://a/").is_err());
    }

    #[test]
    fn only_https_urls_with_a_host_are_taken() {
        for bad in [
            "http://a/",
            "https:///path",
            "/path",
            "a",
            "--ca x --insecure https://a/",
            "--repeat 0 https://a/",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert_eq!(read("https://[::1]:4433/x?y").unwrap().urls[0].host(), Some("[::1]"));
    }
}
