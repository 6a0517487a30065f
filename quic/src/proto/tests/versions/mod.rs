//! Versions, and how two ends come to use one of them (RFC 9368, RFC 9369).

mod compatible;
mod early;
mod incompatible;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::pair::{Pair, Setup, bytes};
use crate::config::{ClientVersions, ServerVersions, Version};
use crate::error::{ClosedBy, ConnectionError};
use crate::packet::{Dir, Level, Side, StreamId, TransportErrorCode as Code};
use crate::proto::Event;
use crate::wire::{VarInt, header};

const MS: Duration = Duration::from_millis(1);

/// Levels and versions of long headers, in the order in which they were sent.
pub type Seen = Arc<Mutex<Vec<(Level, u32)>>>;

pub fn note(seen: &Seen, datagram: &[u8]) {
    let mut rest = datagram;
    while let Ok(packet) = header::parse_greased(rest, 8) {
        if let (Some(level), Some(version)) = (packet.header.level(), packet.header.version()) {
            seen.lock().unwrap().push((level, version));
        }
        rest = &rest[packet.len..];
    }
}

/// Notes what either end sends.
pub fn watch(pair: &mut Pair) -> [Seen; 2] {
    let seen = [Seen::default(), Seen::default()];
    let [client, server] = seen.clone();
    pair.to_server = Box::new(move |_, datagram| {
        note(&client, datagram);
        true
    });
    pair.to_client = Box::new(move |_, datagram| {
        note(&server, datagram);
        true
    });
    seen
}

pub fn versions(seen: &Seen, level: Level) -> Vec<u32> {
    let mut versions: Vec<u32> =
        seen.lock().unwrap().iter().filter(|packet| packet.0 == level).map(|packet| packet.1).collect();
    versions.dedup();
    versions
}

pub fn client(preferred: &[Version], first: Version) -> ClientVersions {
    ClientVersions::new(preferred).unwrap().first(first).unwrap()
}

pub fn server(versions: &[Version]) -> ServerVersions {
    ServerVersions::new(versions).unwrap()
}

pub fn setup(versions: (ClientVersions, ServerVersions)) -> Setup {
    Setup { versions, ..Setup::default() }
}

pub fn assert_works(pair: &mut Pair, version: u32) {
    assert_eq!(pair.client.closed(), None);
    assert!(pair.client.confirmed() && pair.server().confirmed());
    assert_eq!((pair.client.connection.version(), pair.server().connection.version()), (version, version));
    let id = StreamId::new(Side::Client, Dir::Bi, 0);
    pair.client.connection.streams().write(id, bytes(100_000));
    pair.client.connection.streams().finish(id);
    pair.run_for(1000 * MS);
    assert!(pair.server().received[0].1 == bytes(100_000) && pair.server().received[0].2);
    for stats in [pair.client.connection.stats(), pair.server().connection.stats()] {
        assert_eq!(stats.authentication_failures, 0);
    }
}

pub fn version_information(params: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), params);
    let mut value = None;
    while !rest.is_empty() {
        let start = rest;
        let id = VarInt::decode(&mut rest).unwrap().into_inner();
        let len = VarInt::decode(&mut rest).unwrap().into_inner() as usize;
        let (content, after) = rest.split_at(len);
        rest = after;
        if id == 0x11 {
            value = Some(content.to_vec());
        } else {
            out.extend_from_slice(&start[..start.len() - rest.len()]);
        }
    }
    let mut value = value.expect("no version information");
    change(&mut value);
    if !value.is_empty() {
        out.extend([0x11, u8::try_from(value.len()).unwrap()]);
        out.extend(value);
    }
    out
}

pub fn failed(pair: &Pair, side: Side) -> Option<Code> {
    let peer = if side.is_client() { &pair.client } else { pair.server.as_ref().unwrap() };
    match peer.closed() {
        Some(ConnectionError::Transport { by: ClosedBy::Local, error }) => Some(error.code),
        _ => None,
    }
}
