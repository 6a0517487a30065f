//! Transport parameters that are missing, doubled, forbidden, impossible, or that contradict the handshake.

use super::{MS, varint as number};
use crate::error::{ClosedBy, ConnectionError};
use crate::packet::TransportErrorCode as Code;
use crate::proto::tests::pair::{Pair, Setup};
use crate::wire::VarInt;

type Params = Vec<(u64, Vec<u8>)>;

/// Makes other parameters of what an end would send.
type Change = fn(Vec<u8>) -> Vec<u8>;

fn edit(mut params: &[u8], change: impl FnOnce(&mut Params)) -> Vec<u8> {
    let mut list = Params::new();
    while !params.is_empty() {
        let id = VarInt::decode(&mut params).unwrap().into_inner();
        let len = VarInt::decode(&mut params).unwrap().into_inner() as usize;
        let (value, rest) = params.split_at(len);
        list.push((id, value.to_vec()));
        params = rest;
    }
    change(&mut list);
    let mut out = Vec::new();
    for (id, value) in list {
        out.extend(number(id));
        out.extend(number(value.len() as u64));
        out.extend(value);
    }
    out
}

fn set(params: &mut Params, id: u64, value: &[u8]) {
    params.retain(|(old, _)| *old != id);
    params.push((id, value.to_vec()));
}

fn preferred_address(cid: &[u8], token: usize) -> Vec<u8> {
    [&[127, 0, 0, 1, 0x11, 0x51][..], &[0; 18], &[cid.len() as u8], cid, &[9; 16][..token]].concat()
}

/// What either end may not send.
const BOTH: &[Change] = &[
    |p| edit(&p, |p| p.retain(|(id, _)| *id != 0x0f)),
    |p| edit(&p, |p| set(p, 0x0f, &[1; 8])),
    |p| edit(&p, |p| set(p, 0x0f, &[])),
    |p| edit(&p, |p| set(p, 0x0f, &[1; 21])),
    |p| edit(&p, |p| p.push(p[0].clone())),
    |p| edit(&p, |p| p.extend([(0x04, number(5)), (0x04, number(5))])),
    |p| edit(&p, |p| p.extend([(0x7777, number(5)), (0x7777, number(5))])),
    |p| edit(&p, |p| set(p, 0x03, &number(1199))),
    |p| edit(&p, |p| set(p, 0x08, &number((1 << 60) + 1))),
    |p| edit(&p, |p| set(p, 0x09, &number((1 << 60) + 1))),
    |p| edit(&p, |p| set(p, 0x0a, &number(21))),
    |p| edit(&p, |p| set(p, 0x0b, &number(1 << 14))),
    |p| edit(&p, |p| set(p, 0x0c, &[0])),
    |p| edit(&p, |p| set(p, 0x0e, &number(1))),
    |p| edit(&p, |p| set(p, 0x04, &[0x40])),
    |p| edit(&p, |p| set(p, 0x04, &[1, 2])),
    |p| edit(&p, |p| set(p, 0x04, &[])),
    |mut p| {
        p.pop();
        p
    },
    |mut p| {
        p.extend([0x05, 0x08, 1]);
        p
    },
    |mut p| {
        p.push(0x40);
        p
    },
    |mut p| {
        p.extend([0x05, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        p
    },
    |_| Vec::new(),
];

/// What clients may not send.
const CLIENT: &[Change] = &[
    |p| edit(&p, |p| set(p, 0x00, &[1; 8])),
    |p| edit(&p, |p| set(p, 0x02, &[1; 16])),
    |p| edit(&p, |p| set(p, 0x0d, &preferred_address(&[1; 8], 16))),
    |p| edit(&p, |p| set(p, 0x10, &[1; 8])),
];

/// What servers may not send, without a Retry.
const SERVER: &[Change] = &[
    |p| edit(&p, |p| p.retain(|(id, _)| *id != 0x00)),
    |p| edit(&p, |p| set(p, 0x00, &[1; 8])),
    |p| edit(&p, |p| set(p, 0x10, &[1; 8])),
    |p| edit(&p, |p| set(p, 0x02, &[1; 15])),
    |p| edit(&p, |p| set(p, 0x0d, &preferred_address(&[], 16))),
    |p| edit(&p, |p| set(p, 0x0d, &preferred_address(&[1; 21], 16))),
    |p| edit(&p, |p| set(p, 0x0d, &preferred_address(&[1; 8], 15))),
    |p| edit(&p, |p| set(p, 0x0d, &[])),
];

#[track_caller]
fn assert_refused(by: Option<&ConnectionError>, told: Option<&ConnectionError>, code: Code, context: &str) {
    match (by, told) {
        (
            Some(ConnectionError::Transport { by: ClosedBy::Local, error: found }),
            Some(ConnectionError::Transport { by: ClosedBy::Peer, error: heard }),
        ) => {
            assert_eq!((found.code, found.frame_type), (code, Some(0x06)), "{context}");
            assert_eq!((heard.code, heard.frame_type), (code, Some(0x06)), "{context}");
        }
        other => panic!("{context}: {other:?}"),
    }
}

// covers: R9000-7.3-01 R9000-7.3-02 R9000-7.3-03 R9000-7.4-01 R9000-7.4-03 R9000-18.2-08 R9000-18.2-10 R9000-4.6-01
#[test]
fn a_server_refuses_what_a_client_may_not_send() {
    for (n, change) in BOTH.iter().chain(CLIENT).enumerate() {
        let mut pair = Pair::new(Setup { client_params: *change, ..Setup::default() });
        pair.run_for(100 * MS);
        let server = pair.server.as_ref().unwrap();
        let code = Code::TRANSPORT_PARAMETER_ERROR;
        assert_refused(server.closed(), pair.client.closed(), code, &format!("case {n}"));
    }
}

// covers: R9000-7.3-01 R9000-7.3-02 R9000-7.3-03 R9000-7.3-04 R9000-7.4-01 R9000-7.4-03 R9000-18.2-06 R9000-18.2-08
#[test]
fn a_client_refuses_what_a_server_may_not_send() {
    for (n, change) in BOTH.iter().chain(SERVER).enumerate() {
        let mut pair = Pair::new(Setup { server_params: *change, ..Setup::default() });
        pair.run_for(100 * MS);
        let server = pair.server.as_ref().unwrap();
        let code = Code::TRANSPORT_PARAMETER_ERROR;
        assert_refused(pair.client.closed(), server.closed(), code, &format!("case {n}"));
    }
}

/// After a Retry the server has to tell its source ID, and the first destination ID.
// covers: R9000-7.3-03 R9000-7.3-04
#[test]
fn after_a_retry_the_server_must_name_it() {
    let cases: &[Change] = &[
        |p| edit(&p, |p| p.retain(|(id, _)| *id != 0x10)),
        |p| edit(&p, |p| set(p, 0x10, &[1; 8])),
        |p| edit(&p, |p| set(p, 0x10, &[])),
        |p| edit(&p, |p| set(p, 0x00, &[1; 8])),
        |p| {
            edit(&p, |p| {
                let retry = p.iter().find(|(id, _)| *id == 0x10).unwrap().1.clone();
                set(p, 0x00, &retry);
            })
        },
    ];
    for (n, change) in cases.iter().enumerate() {
        let mut pair = Pair::new(Setup { retry: true, server_params: *change, ..Setup::default() });
        pair.run_for(150 * MS);
        let server = pair.server.as_ref().unwrap();
        let code = Code::TRANSPORT_PARAMETER_ERROR;
        assert_refused(pair.client.closed(), server.closed(), code, &format!("case {n}"));
    }
}

/// Extremes that are allowed: the connection works with them.
// covers: R9000-7.4.2-01
#[test]
fn the_largest_and_the_smallest_values_are_fine() {
    let cases: &[Change] = &[
        |p| {
            edit(&p, |p| {
                for id in [0x01, 0x03, 0x04, 0x05, 0x06, 0x07] {
                    set(p, id, &number((1 << 62) - 1));
                }
                set(p, 0x08, &number(1 << 60));
                set(p, 0x09, &number(1 << 60));
                set(p, 0x0a, &number(20));
                set(p, 0x0b, &number((1 << 14) - 1));
                set(p, 0x0c, &[]);
            })
        },
        |p| edit(&p, |p| p.retain(|(id, _)| [0x00, 0x0f].contains(id))),
        |p| {
            edit(&p, |p| {
                for id in [0x01, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b] {
                    set(p, id, &number(0));
                }
            })
        },
        |p| edit(&p, |p| p.extend((0..100).map(|n| (31 * n + 27 + 31 * 500, vec![7; 3])))),
    ];
    for (n, change) in cases.iter().enumerate() {
        for server in [false, true] {
            let mut setup = Setup::default();
            // It would be above a max_ack_delay of 0.
            (setup.client.min_ack_delay, setup.server.min_ack_delay) = (None, None);
            *(if server { &mut setup.server_params } else { &mut setup.client_params }) = *change;
            let mut pair = Pair::new(setup);
            pair.run_for(300 * MS);
            assert!(
                pair.client.confirmed() && pair.server().confirmed(),
                "case {n}: {:?}",
                pair.client.closed()
            );
            pair.run_for(40_000 * MS);
        }
    }
}

/// The ID of a preferred address is number 1 and counts, although we do not move there.
// covers: R9000-5.1.1-05
#[test]
fn the_id_of_a_preferred_address_is_number_one() {
    let setup = Setup {
        server_params: |p| edit(&p, |p| set(p, 0x0d, &preferred_address(&[0xab; 8], 16))),
        ..Setup::default()
    };
    let mut pair = Pair::new(setup);
    pair.run_for(200 * MS);
    // This server goes on to use number 1 for another ID.
    match pair.client.closed() {
        Some(ConnectionError::Transport { by: ClosedBy::Local, error }) => {
            assert_eq!((error.code, error.frame_type), (Code::PROTOCOL_VIOLATION, Some(0x18)));
        }
        other => panic!("{other:?}"),
    }
}
