//! A client and a server that talk QUIC over loopback, each in a thread of its own with a std socket and a loop that
//! blocks: [`gannet::proto`] without tokio.
//!
//! The client asks two questions on streams of their own and closes when it has both answers; the server ends when
//! nothing is left of the connection.
#![expect(clippy::print_stdout, reason = "a demonstration")]

mod host;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, anyhow, ensure};
use bytes::Bytes;
use gannet::config::{DevCertificate, RustlsClient, RustlsServer, default_provider};
use gannet::error::ConnectionError;
use gannet::proto::tls::ClientTls;
use gannet::proto::{Connection, Event, RecvChunk, StreamEvent};
use gannet::{Dir, Side, StreamId, VarInt};

use host::{Application, Host};

const ALPN: &[u8] = b"hello";

/// No question is longer.
const MAX_QUESTION: usize = 1_000;

/// The answer to "much": enough for windows, pacing and many acknowledgments.
const MUCH: usize = 3 << 20;

/// What was read of streams so far.
#[derive(Default)]
struct Inbox(HashMap<StreamId, Vec<u8>>);

impl Inbox {
    /// Reads what there is; the whole once it has ended. A stream that grows beyond `limit` is stopped.
    fn read(&mut self, connection: &mut Connection, id: StreamId, limit: usize) -> Option<Vec<u8>> {
        let streams = connection.streams();
        while let Some(chunk) = streams.read(id) {
            match chunk {
                RecvChunk::Data(bytes) => {
                    // Only this gives the peer credit for more.
                    streams.consumed(id, bytes.len() as u64);
                    let read = self.0.entry(id).or_default();
                    read.extend_from_slice(&bytes);
                    if read.len() > limit {
                        streams.stop(id, VarInt::from_u32(1));
                        self.0.remove(&id);
                        return None;
                    }
                }
                RecvChunk::Finished => {
                    streams.release(id);
                    return Some(self.0.remove(&id).unwrap_or_default());
                }
                RecvChunk::Reset(_) | RecvChunk::ResetAt(_) => {
                    streams.release(id);
                    self.0.remove(&id);
                }
            }
        }
        None
    }
}

/// Answers questions. Streams of several connections have the same numbers; this server is for one.
#[derive(Default)]
struct Answers {
    inbox: Inbox,
    ended: bool,
}

impl Application for Answers {
    fn on_event(&mut self, connection: &mut Connection, _now: Instant, event: Event) {
        match event {
            Event::Stream(StreamEvent::Readable(id)) => {
                if let Some(question) = self.inbox.read(connection, id, MAX_QUESTION) {
                    let answer = match &question[..] {
                        b"much" => vec![b'.'; MUCH],
                        name => [b"hello, ", name].concat(),
                    };
                    connection.streams().write(id, answer.into());
                    connection.streams().finish(id);
                }
            }
            Event::Closed(error) => {
                println!("server: {error}");
                self.ended = true;
            }
            _ => {}
        }
    }
}

/// Asks questions, and closes the connection when all are answered.
struct Questions {
    inbox: Inbox,
    unasked: Vec<&'static str>,
    open: usize,
    answers: Vec<Vec<u8>>,
    end: Option<ConnectionError>,
}

impl Application for Questions {
    fn on_event(&mut self, connection: &mut Connection, now: Instant, event: Event) {
        match event {
            Event::Connected => {
                println!("client: connected to {}", connection.path().remote);
                for (index, question) in (0..).zip(self.unasked.drain(..)) {
                    let id = StreamId::new(Side::Client, Dir::Bi, index);
                    connection.streams().write(id, Bytes::from_static(question.as_bytes()));
                    connection.streams().finish(id);
                    self.open += 1;
                }
            }
            Event::Stream(StreamEvent::Readable(id)) => {
                if let Some(answer) = self.inbox.read(connection, id, 2 * MUCH) {
                    println!("client: {} bytes on stream {id}", answer.len());
                    self.answers.push(answer);
                    self.open -= 1;
                    if self.open == 0 {
                        connection.close(now, VarInt::from_u32(0), Bytes::from_static(b"thanks"));
                    }
                }
            }
            Event::Closed(error) => self.end = Some(error),
            _ => {}
        }
    }
}

/// All randomness of a host comes from here: the core has none of its own.
fn seed() -> anyhow::Result<[u8; 32]> {
    let mut seed = [0; 32];
    default_provider().secure_random.fill(&mut seed).map_err(|_| anyhow!("no randomness"))?;
    Ok(seed)
}

/// The answers to "gannet" and "much".
fn run() -> anyhow::Result<Vec<Vec<u8>>> {
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let certificate = DevCertificate::new(["localhost"])?;
    let tls = RustlsServer::builder()
        .alpn(&[ALPN])
        .cert(vec![certificate.certificate().clone()], certificate.private_key())
        .build()?;
    let mut server = Host::bind(loopback, seed()?, Some(Box::new(tls)))?;
    let addr = server.local_addr()?;
    let serving = thread::spawn(move || {
        let mut answers = Answers::default();
        while !(answers.ended && server.is_idle()) {
            server.turn(&mut answers)?;
        }
        anyhow::Ok(())
    });

    let tls: Arc<dyn ClientTls> =
        Arc::new(RustlsClient::builder().alpn(&[ALPN]).roots(certificate.roots()?).build()?);
    let mut client = Host::bind(loopback, seed()?, None)?;
    let mut questions = Questions {
        inbox: Inbox::default(),
        unasked: vec!["gannet", "much"],
        open: 0,
        answers: Vec::new(),
        end: None,
    };
    client.connect(addr, "localhost", &tls, &mut questions)?;
    while !client.is_idle() {
        client.turn(&mut questions)?;
    }
    match questions.end.context("the connection never ended")? {
        ConnectionError::LocallyClosed => {}
        error => return Err(error.into()),
    }
    serving.join().map_err(|_| anyhow!("the server panicked"))??;
    Ok(questions.answers)
}

fn main() -> anyhow::Result<()> {
    let answers = run()?;
    ensure!(answers.iter().any(|answer| answer == b"hello, gannet"), "no greeting");
    ensure!(answers.iter().any(|answer| answer.len() == MUCH), "not much");
    println!("hello, gannet");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_questions_have_two_answers() {
        let mut answers = run().unwrap();
        answers.sort_by_key(Vec::len);
        assert_eq!(answers[0], b"hello, gannet");
        assert!(answers[1] == vec![b'.'; MUCH]);
    }
}
