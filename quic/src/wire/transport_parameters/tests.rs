use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::packet::{Rng, Side};
use crate::wire::varint;

fn cid(bytes: &[u8]) -> ConnectionId {
    ConnectionId::try_from(bytes).unwrap()
}

fn parameter(id: u64, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    varint::encode(id, &mut out);
    varint::encode(value.len() as u64, &mut out);
    out.extend_from_slice(value);
    out
}

fn integer(id: u64, value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    varint::encode(value, &mut bytes);
    parameter(id, &bytes)
}

/// What no side may leave out.
fn required(from: Side) -> Vec<u8> {
    let mut out = parameter(INITIAL_SOURCE_CONNECTION_ID, &[1; 8]);
    if from.is_server() {
        out.extend(parameter(ORIGINAL_DESTINATION_CONNECTION_ID, &[2; 8]));
    }
    out
}

fn with(from: Side, more: &[u8]) -> Result<TransportParameters, TransportError> {
    let parameters = TransportParameters::decode(from, &[&required(from), more].concat());
    if let Err(error) = &parameters {
        assert_eq!(error.code, TransportErrorCode::TRANSPORT_PARAMETER_ERROR);
        assert!(error.reason.contains("transport parameter"), "{error}");
    }
    parameters
}

fn preferred() -> PreferredAddress {
    PreferredAddress {
        ipv4: Some(SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 443)),
        ipv6: Some(SocketAddrV6::new(Ipv6Addr::LOCALHOST, 4433, 0, 0)),
        connection_id: cid(&[5; 20]),
        stateless_reset_token: ResetToken([6; 16]),
    }
}

/// Everything different from the defaults.
fn full() -> TransportParameters {
    TransportParameters {
        original_destination_connection_id: Some(cid(&[1; 8])),
        max_idle_timeout: Some(Duration::from_secs(30)),
        stateless_reset_token: Some(ResetToken([2; 16])),
        max_udp_payload_size: 1472,
        initial_max_data: 1 << 30,
        initial_max_stream_data_bidi_local: 1 << 20,
        initial_max_stream_data_bidi_remote: (1 << 20) + 1,
        initial_max_stream_data_uni: (1 << 20) + 2,
        initial_max_streams_bidi: 1 << 60,
        initial_max_streams_uni: 3,
        ack_delay_exponent: 20,
        max_ack_delay: Duration::from_millis((1 << 14) - 1),
        disable_active_migration: true,
        preferred_address: Some(preferred()),
        active_connection_id_limit: 8,
        initial_source_connection_id: Some(cid(&[3; 20])),
        retry_source_connection_id: Some(cid(&[])),
        max_datagram_frame_size: 65_535,
        grease_quic_bit: true,
        reset_stream_at: true,
        version_information: Some(VersionInformation {
            chosen: 1,
            available: vec![0x6b33_43cf, 1, 0x2a4a_6a8a],
        }),
        min_ack_delay: Some(Duration::from_micros(1_234_567)),
    }
}

fn encoded(parameters: &TransportParameters, side: Side, seed: u64) -> Vec<u8> {
    let mut out = Vec::new();
    parameters.encode(side, &mut Rng::from_u64(seed), &mut out);
    out
}

// covers: R9000-7.4-02, R9000-7.4.2-01, R9000-18.2-01, R9000-18.2-09
#[test]
fn what_is_sent_is_received() {
    let client = TransportParameters {
        original_destination_connection_id: None,
        stateless_reset_token: None,
        preferred_address: None,
        retry_source_connection_id: None,
        ..full()
    };
    let mut reserved = 0;
    for seed in 0..200 {
        let bytes = encoded(&full(), Side::Server, seed);
        assert_eq!(TransportParameters::decode(Side::Server, &bytes).unwrap(), full());
        // A client keeps to itself what only servers send.
        let bytes = encoded(&full(), Side::Client, seed);
        assert_eq!(TransportParameters::decode(Side::Client, &bytes).unwrap(), client);
        let mut input = &bytes[..];
        while !input.is_empty() {
            let id = varint::decode(&mut input).unwrap();
            let len = usize::try_from(varint::decode(&mut input).unwrap()).unwrap();
            reserved += usize::from(id % 31 == 27);
            input = &input[len..];
        }
    }
    assert_eq!(reserved, 200);
    assert_ne!(encoded(&full(), Side::Server, 1), encoded(&full(), Side::Server, 2));
    assert_eq!(encoded(&full(), Side::Server, 1), encoded(&full(), Side::Server, 1));
}

#[test]
fn defaults_are_not_sent() {
    let id = Some(cid(&[1; 8]));
    let least = TransportParameters { initial_source_connection_id: id, ..TransportParameters::default() };
    let bytes = encoded(&least, Side::Client, 0);
    assert!(bytes.len() <= 10 + 8 + 1 + 16);
    assert_eq!(TransportParameters::decode(Side::Client, &bytes), Ok(least));
    let only = TransportParameters::decode(Side::Client, &required(Side::Client)).unwrap();
    assert_eq!((only.max_udp_payload_size, only.ack_delay_exponent), (65_527, 3));
    assert_eq!((only.max_ack_delay, only.active_connection_id_limit), (Duration::from_millis(25), 2));
    assert_eq!((only.initial_max_data, only.max_datagram_frame_size, only.max_idle_timeout), (0, 0, None));
}

#[test]
fn parameters_of_rfc_9001() {
    let vectors: Value =
        serde_json::from_str(include_str!("../../../testdata/rfc9001-appendix-a.json")).unwrap();
    let frame = vectors["client_initial"]["crypto_frame"].as_str().unwrap();
    // The extension is the last one of the ClientHello: type 57, length 50.
    let extension = &frame[frame.find("00390032").unwrap() + 8..];
    let bytes: Vec<u8> = (0..extension.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&extension[at..at + 2], 16).unwrap())
        .collect();
    assert_eq!(bytes.len(), 50);
    let parameters = TransportParameters::decode(Side::Client, &bytes).unwrap();
    let expected = TransportParameters {
        max_idle_timeout: Some(Duration::from_secs(30)),
        initial_max_data: (1 << 62) - 1,
        initial_max_stream_data_bidi_local: 65_535,
        initial_max_stream_data_bidi_remote: 65_535,
        initial_max_stream_data_uni: 65_535,
        initial_max_streams_bidi: 16,
        initial_max_streams_uni: 16,
        initial_source_connection_id: Some(cid(&[0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08])),
        ..TransportParameters::default()
    };
    assert_eq!(parameters, expected);
}

// covers: R9000-7.4-03
#[test]
fn duplicates_are_refused() {
    for seed in 0..20 {
        let bytes = encoded(&full(), Side::Server, seed);
        let mut input = &bytes[..];
        while !input.is_empty() {
            let before = input;
            varint::decode(&mut input).unwrap();
            let len = usize::try_from(varint::decode(&mut input).unwrap()).unwrap();
            input = &input[len..];
            let one = &before[..before.len() - input.len()];
            let twice = [&bytes[..], one].concat();
            let error = TransportParameters::decode(Side::Server, &twice).unwrap_err();
            assert_eq!(error.code, TransportErrorCode::TRANSPORT_PARAMETER_ERROR);
            assert!(error.reason.ends_with("is given twice"), "{error}");
        }
    }
}

// covers: R9000-7.4.2-01
#[test]
fn any_number_of_unknown_parameters_is_ignored() {
    let unknown: Vec<u8> = (1000..6000_u64).flat_map(|id| parameter(id, &[0; 3])).collect();
    assert!(with(Side::Client, &unknown).is_ok());
    let known_after_them =
        [unknown, parameter(GREASE_QUIC_BIT, &[]), parameter(GREASE_QUIC_BIT, &[])].concat();
    assert!(with(Side::Client, &known_after_them).is_err());
}

// covers: R9000-18.2-01, R9000-18.2-10
#[test]
fn clients_do_not_send_what_servers_send() {
    for (id, value) in [
        (ORIGINAL_DESTINATION_CONNECTION_ID, vec![1; 8]),
        (STATELESS_RESET_TOKEN, vec![1; 16]),
        (RETRY_SOURCE_CONNECTION_ID, vec![1; 8]),
        (PREFERRED_ADDRESS, preferred_bytes(8)),
    ] {
        assert!(with(Side::Client, &parameter(id, &value)).is_err(), "{id}");
        let from_server = parameter(id, &value);
        assert!(id == ORIGINAL_DESTINATION_CONNECTION_ID || with(Side::Server, &from_server).is_ok(), "{id}");
    }
}

// covers: R9000-7.4-01, R9000-18.2-07, R9000-18.2-08
#[test]
fn bounds() {
    let max = (1 << 62) - 1;
    for (id, least, most) in [
        (MAX_IDLE_TIMEOUT, 0, max),
        (MAX_UDP_PAYLOAD_SIZE, 1200, max),
        (INITIAL_MAX_DATA, 0, max),
        (INITIAL_MAX_STREAM_DATA_BIDI_LOCAL, 0, max),
        (INITIAL_MAX_STREAM_DATA_BIDI_REMOTE, 0, max),
        (INITIAL_MAX_STREAM_DATA_UNI, 0, max),
        (INITIAL_MAX_STREAMS_BIDI, 0, 1 << 60),
        (INITIAL_MAX_STREAMS_UNI, 0, 1 << 60),
        (ACK_DELAY_EXPONENT, 0, 20),
        (MAX_ACK_DELAY, 0, (1 << 14) - 1),
        (ACTIVE_CONNECTION_ID_LIMIT, 2, max),
        (MAX_DATAGRAM_FRAME_SIZE, 0, max),
    ] {
        for from in [Side::Client, Side::Server] {
            assert!(
                with(from, &integer(id, least)).is_ok() && with(from, &integer(id, most)).is_ok(),
                "{id}"
            );
            assert!(least == 0 || with(from, &integer(id, least - 1)).is_err(), "{id}");
            assert!(most == max || with(from, &integer(id, most + 1)).is_err(), "{id}");
            // An integer fills its value exactly; its encoding need not be the shortest.
            assert!(with(from, &parameter(id, &[])).is_err());
            assert!(with(from, &parameter(id, &[0x44])).is_err());
            assert!(with(from, &parameter(id, &[0x44, 0xb0, 0])).is_err());
            let fits = (least..=most).contains(&10);
            assert_eq!(with(from, &parameter(id, &[0x80, 0, 0, 10])).is_ok(), fits);
        }
    }
}

// covers: D-ack-frequency-3-02
#[test]
fn the_least_delay_is_not_above_the_longest() {
    let (micros, ms) = (|n| integer(MIN_ACK_DELAY, n), |n| integer(MAX_ACK_DELAY, n));
    for from in [Side::Client, Side::Server] {
        for (params, ok) in [
            (micros(0), true),
            (micros(25_000), true),
            (micros(25_001), false),
            (micros((1 << 62) - 1), false),
            ([micros(1_000_000), ms(1_000)].concat(), true),
            ([ms(1_000), micros(1_000_001)].concat(), false),
            ([micros(1), ms(0)].concat(), false),
            (parameter(MIN_ACK_DELAY, &[]), false),
            ([micros(1), micros(1)].concat(), false),
        ] {
            assert_eq!(with(from, &params).is_ok(), ok, "{params:?}");
        }
        assert_eq!(with(from, &micros(7)).unwrap().min_ack_delay, Some(Duration::from_micros(7)));
        assert_eq!(with(from, &[]).unwrap().min_ack_delay, None);
    }
}

#[test]
fn times_are_whole_milliseconds_that_any_clock_can_add() {
    let idle = |ms| with(Side::Client, &integer(MAX_IDLE_TIMEOUT, ms)).unwrap().max_idle_timeout;
    assert_eq!((idle(0), idle(1)), (None, Some(Duration::from_millis(1))));
    assert_eq!(idle((1 << 62) - 1), Some(Duration::from_millis(1 << 40)));
    for (time, ms) in
        [(Duration::from_nanos(1), 1), (Duration::from_micros(1001), 2), (Duration::MAX, 1 << 40)]
    {
        let parameters = TransportParameters { max_idle_timeout: Some(time), ..full() };
        let bytes = encoded(&parameters, Side::Server, 0);
        let received = TransportParameters::decode(Side::Server, &bytes).unwrap();
        assert_eq!(received.max_idle_timeout, Some(Duration::from_millis(ms)));
    }
}

// covers: R9287-3-01, D-reset-stream-at-3-01
#[test]
fn flags_have_no_value() {
    for id in [DISABLE_ACTIVE_MIGRATION, GREASE_QUIC_BIT, RESET_STREAM_AT] {
        let set = with(Side::Client, &parameter(id, &[])).unwrap();
        assert_eq!(set.disable_active_migration, id == DISABLE_ACTIVE_MIGRATION);
        assert_eq!(set.grease_quic_bit, id == GREASE_QUIC_BIT);
        assert_eq!(set.reset_stream_at, id == RESET_STREAM_AT);
        assert!(with(Side::Client, &parameter(id, &[0])).is_err());
    }
}

#[test]
fn ids_and_tokens_have_their_lengths() {
    for id in [INITIAL_SOURCE_CONNECTION_ID, ORIGINAL_DESTINATION_CONNECTION_ID, RETRY_SOURCE_CONNECTION_ID] {
        for len in [0, 1, 20, 21, 255] {
            // Each of the three once.
            let mut bytes = parameter(id, &vec![7; len]);
            for other in [INITIAL_SOURCE_CONNECTION_ID, ORIGINAL_DESTINATION_CONNECTION_ID] {
                if other != id {
                    bytes.extend(parameter(other, &[1; 8]));
                }
            }
            assert_eq!(TransportParameters::decode(Side::Server, &bytes).is_ok(), len <= 20);
        }
    }
    for len in 0..40 {
        assert_eq!(with(Side::Server, &parameter(STATELESS_RESET_TOKEN, &vec![0; len])).is_ok(), len == 16);
    }
}

// covers: R9000-7.3-03
#[test]
fn connection_ids_are_not_left_out() {
    for from in [Side::Client, Side::Server] {
        assert!(TransportParameters::decode(from, &[]).is_err());
    }
    assert!(TransportParameters::decode(Side::Server, &required(Side::Client)).is_err());
    let original = parameter(ORIGINAL_DESTINATION_CONNECTION_ID, &[1; 8]);
    assert!(TransportParameters::decode(Side::Server, &original).is_err());
}

// covers: R9000-7.3-01, R9000-7.3-02, R9000-7.3-04
#[test]
fn connection_ids_are_those_of_the_handshake() {
    let (a, b, c, x) = (cid(&[1; 8]), cid(&[2; 8]), cid(&[3; 8]), cid(&[4; 8]));
    let mut parameters = TransportParameters {
        initial_source_connection_id: Some(a),
        original_destination_connection_id: Some(b),
        ..TransportParameters::default()
    };
    assert!(parameters.check_client_ids(&a).is_ok() && parameters.check_client_ids(&x).is_err());
    assert!(parameters.check_server_ids(&a, &b, None).is_ok());
    assert!(parameters.check_server_ids(&x, &b, None).is_err());
    assert!(parameters.check_server_ids(&a, &x, None).is_err());
    assert!(parameters.check_server_ids(&a, &b, Some(&c)).is_err(), "there was a Retry");
    parameters.retry_source_connection_id = Some(c);
    assert!(parameters.check_server_ids(&a, &b, None).is_err(), "there was none");
    assert!(parameters.check_server_ids(&a, &b, Some(&c)).is_ok());
    let error = parameters.check_server_ids(&a, &b, Some(&x)).unwrap_err();
    assert_eq!(error.code, TransportErrorCode::TRANSPORT_PARAMETER_ERROR);
}

// covers: R9368-4-03, R9368-4-04, R9368-4-05, R9368-4-06, R9368-3-02
#[test]
fn version_information_is_whole_and_names_no_version_0() {
    let versions = |versions: &[u32]| -> Vec<u8> { versions.iter().flat_map(|v| v.to_be_bytes()).collect() };
    for from in [Side::Client, Side::Server] {
        let read = |value: &[u8]| with(from, &parameter(0x11, value)).map(|p| p.version_information);
        for len in 0..4 {
            assert!(read(&[1; 12][..len]).is_err());
            assert_eq!(read(&[1; 12][..8 + len]).is_err(), len > 0, "{len}");
        }
        assert!(read(&versions(&[0, 1])).is_err());
        assert!(read(&versions(&[1, 1, 0])).is_err());
        let information = VersionInformation { chosen: 1, available: vec![2, 1] };
        assert_eq!(read(&versions(&[1, 2, 1])), Ok(Some(information)));
        // A server may be about to give up what it has chosen.
        assert_eq!(read(&versions(&[1])).is_ok(), from.is_server());
        assert_eq!(read(&versions(&[1, 2, 3])).is_ok(), from.is_server());
        assert_eq!(read(&versions(&[1; 4000])).unwrap().unwrap().available.len(), 3999);
    }
}

fn preferred_bytes(id_len: u8) -> Vec<u8> {
    let mut value = vec![192, 0, 2, 1, 1, 187];
    value.extend([0x20; 16]);
    value.extend([0, 80, id_len]);
    value.resize(value.len() + usize::from(id_len) + 16, 9);
    value
}

// covers: R9000-18.2-04, R9000-18.2-05, R9000-18.2-06
#[test]
fn preferred_addresses_are_checked() {
    for id_len in 0..=30 {
        let value = preferred_bytes(id_len);
        let parsed = with(Side::Server, &parameter(PREFERRED_ADDRESS, &value));
        assert_eq!(parsed.is_ok(), (1..=20).contains(&id_len));
        for len in 0..value.len() {
            assert!(with(Side::Server, &parameter(PREFERRED_ADDRESS, &value[..len])).is_err());
        }
        assert!(with(Side::Server, &parameter(PREFERRED_ADDRESS, &[&value[..], &[0]].concat())).is_err());
    }
    let mut bytes = parameter(INITIAL_SOURCE_CONNECTION_ID, &[]);
    bytes.extend(parameter(ORIGINAL_DESTINATION_CONNECTION_ID, &[1; 8]));
    assert!(TransportParameters::decode(Side::Server, &bytes).is_ok());
    bytes.extend(parameter(PREFERRED_ADDRESS, &preferred_bytes(8)));
    assert!(TransportParameters::decode(Side::Server, &bytes).is_err());
}

#[test]
fn a_preferred_address_may_have_one_family_only() {
    for address in
        [PreferredAddress { ipv4: None, ..preferred() }, PreferredAddress { ipv6: None, ..preferred() }]
    {
        let parameters = TransportParameters { preferred_address: Some(address), ..full() };
        let bytes = encoded(&parameters, Side::Server, 3);
        assert_eq!(TransportParameters::decode(Side::Server, &bytes), Ok(parameters));
    }
}

#[test]
fn every_truncation_is_refused_or_leaves_whole_parameters() {
    let bytes = encoded(&full(), Side::Server, 11);
    let mut ends = vec![0];
    let mut input = &bytes[..];
    while !input.is_empty() {
        varint::decode(&mut input).unwrap();
        let len = usize::try_from(varint::decode(&mut input).unwrap()).unwrap();
        input = &input[len..];
        ends.push(bytes.len() - input.len());
    }
    for len in 0..bytes.len() {
        if let Err(error) = TransportParameters::decode(Side::Server, &bytes[..len]) {
            let is_cut = error.reason.ends_with("cut off");
            assert_eq!(is_cut, !ends.contains(&len), "{error}");
        } else {
            assert!(ends.contains(&len));
        }
    }
}

proptest! {
    #[test]
    fn no_extension_does_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200), server: bool) {
        let from = if server { Side::Server } else { Side::Client };
        let _ = TransportParameters::decode(from, &bytes);
        let _ = TransportParameters::decode(from, &[required(from), bytes].concat());
    }

    #[test]
    fn a_wrong_byte_does_no_harm(seed: u64, at in any::<prop::sample::Index>(), byte: u8, server: bool) {
        let from = if server { Side::Server } else { Side::Client };
        let mut bytes = encoded(&full(), from, seed);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(parameters) = TransportParameters::decode(from, &bytes) {
            let again = encoded(&parameters, from, seed);
            prop_assert_eq!(TransportParameters::decode(from, &again), Ok(parameters));
        }
    }
}
