use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::packet::{ConnectionId, Level};

fn hex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn bytes(case: &Value, name: &str) -> Vec<u8> {
    hex(case[name].as_str().unwrap())
}

fn cid(bytes: &[u8]) -> ConnectionId {
    ConnectionId::try_from(bytes).unwrap()
}

/// The samples of RFC 9001 and RFC 9369, with their versions.
fn samples() -> [(u32, Value); 2] {
    let rfc9001 = include_str!("../../../testdata/rfc9001-appendix-a.json");
    let rfc9369 = include_str!("../../../testdata/rfc9369-appendix-a.json");
    [(VERSION_1, rfc9001), (VERSION_2, rfc9369)]
        .map(|(version, text)| (version, serde_json::from_str(text).unwrap()))
}

/// Packet number and its length, as a test case gives them.
fn number(case: &Value) -> (u64, usize) {
    let len = usize::try_from(case["packet_number_length"].as_u64().unwrap()).unwrap();
    (case["packet_number"].as_u64().unwrap(), len)
}

/// Writes the header, makes the buffer as long as the packet, and sets Length.
fn written(header: &LongHeader<'_>, pn: u64, pn_len: usize, packet_len: usize) -> (Vec<u8>, Layout) {
    // What is in the buffer already is another packet of the datagram.
    let mut out = vec![0xaa; 3];
    let layout = header.encode(&mut out, pn, pn_len);
    assert_eq!((layout.start, layout.payload()), (3, out.len()));
    let end = out.len();
    out.resize(3 + packet_len, 0);
    layout.fill_length(&mut out);
    out.truncate(end);
    (out.split_off(3), layout)
}

// covers: R9000-17.2-08
#[test]
fn initials_of_the_rfcs() {
    for (version, vectors) in samples() {
        let client_dcid = cid(&bytes(&vectors, "dcid"));
        let server_scid = cid(&hex("f067a5502a4262b5"));
        for (name, dcid, scid) in [
            ("client_initial", client_dcid, ConnectionId::EMPTY),
            ("server_initial", ConnectionId::EMPTY, server_scid),
        ] {
            let case = &vectors[name];
            let packet = bytes(case, "packet");
            let (pn, pn_len) = number(case);
            let header = LongHeader { ty: LongType::Initial, version, dcid, scid, token: &[] };
            let (header, layout) = written(&header, pn, pn_len, packet.len());
            assert_eq!(header, bytes(case, "header"), "{name}");

            let parsed = parse(&packet, 0).unwrap();
            assert_eq!((parsed.pn_offset, parsed.len), (layout.pn - 3, packet.len()));
            let ProtectedHeader::Initial { token, .. } = parsed.header.clone() else { panic!("{parsed:?}") };
            assert!(token.is_empty());
            assert_eq!((parsed.header.dcid(), parsed.header.scid()), (&dcid, Some(&scid)));
            assert_eq!(
                (parsed.header.version(), parsed.header.level()),
                (Some(version), Some(Level::Initial))
            );
        }
    }
}

#[test]
fn retries_of_the_rfcs() {
    for (version, vectors) in samples() {
        let packet = bytes(&vectors["retry"], "packet");
        let scid = cid(&hex("f067a5502a4262b5"));
        let mut out = Vec::new();
        encode_retry(&mut out, version, &ConnectionId::EMPTY, &scid, b"token");
        let tag: [u8; RETRY_TAG_LEN] = bytes(&vectors["retry"], "tag").try_into().unwrap();
        let mut pseudo = bytes(&vectors["retry"], "original_dcid");
        pseudo.insert(0, u8::try_from(pseudo.len()).unwrap());
        pseudo.extend_from_slice(&out);
        assert_eq!(pseudo, bytes(&vectors["retry"], "pseudo_packet"));
        out.extend_from_slice(&tag);
        assert_eq!(out, packet);

        let parsed = parse(&packet, 8).unwrap();
        assert_eq!((parsed.pn_offset, parsed.len), (packet.len(), packet.len()));
        let token = packet.len() - 21..packet.len() - 16;
        let header = ProtectedHeader::Retry { version, dcid: ConnectionId::EMPTY, scid, token, tag };
        assert_eq!(parsed.header, header);
    }
}

// covers: R9000-17.3.1-02
#[test]
fn short_headers_of_the_rfcs() {
    for (_, vectors) in samples() {
        let case = &vectors["chacha20_short_header"];
        let (pn, pn_len) = number(case);
        let header = ShortHeader { dcid: ConnectionId::EMPTY, spin: false, key_phase: false };
        let mut out = Vec::new();
        let layout = header.encode(&mut out, pn, pn_len);
        assert_eq!(out, bytes(case, "header"));
        assert_eq!((layout.pn, layout.payload()), (1, out.len()));

        let packet = bytes(case, "packet");
        let parsed = parse(&packet, 0).unwrap();
        let header = ProtectedHeader::Short { dcid: ConnectionId::EMPTY, spin: false };
        assert_eq!(parsed, PartialPacket { header, pn_offset: 1, len: packet.len() });
    }
}

/// RFC 9369 §3.2: the same types, and other bits.
#[test]
fn the_types_of_long_headers_go_round_in_each_version() {
    let types = [LongType::Initial, LongType::ZeroRtt, LongType::Handshake].map(TypeBits::Numbered);
    for (version, bits) in [(VERSION_1, [0, 1, 2, 3]), (VERSION_2, [1, 2, 3, 0])] {
        for (ty, bits) in types.into_iter().chain([TypeBits::Retry]).zip(bits) {
            assert_eq!(type_to_bits(version, ty), bits);
            assert_eq!(type_from_bits(version, bits), Some(ty));
        }
    }
    assert_eq!(type_from_bits(0x0a0a_0a0a, 0), None);
}

#[test]
fn headers_of_the_derived_vectors() {
    let vectors: Value =
        serde_json::from_str(include_str!("../../../testdata/derived-packet-protection.json")).unwrap();
    let mut seen = 0;
    for case in vectors["cases"].as_array().unwrap() {
        for packet in case["packets"].as_array().unwrap() {
            let (pn, pn_len) = number(packet);
            let (header, protected) = (bytes(packet, "header"), bytes(packet, "packet"));
            let key_phase = packet["key_phase"] == 1;
            if packet["kind"] == "short" {
                let dcid = cid(&header[1..9]);
                let mut out = Vec::new();
                ShortHeader { dcid, spin: false, key_phase }.encode(&mut out, pn, pn_len);
                assert_eq!(out, header);
                let parsed = parse(&protected, 8).unwrap();
                assert_eq!((parsed.header.dcid(), parsed.pn_offset, parsed.len), (&dcid, 9, protected.len()));
            } else {
                assert_eq!(packet["kind"], "handshake");
                // The vector writes Length in one byte; ours has two.
                let parsed = parse(&protected, 8).unwrap();
                let ProtectedHeader::Handshake { version, dcid, scid } = parsed.header else {
                    panic!("{parsed:?}")
                };
                assert_eq!((parsed.pn_offset, parsed.len), (header.len() - pn_len, protected.len()));
                let long = LongHeader { ty: LongType::Handshake, version, dcid, scid, token: &[] };
                let (out, layout) = written(&long, pn, pn_len, protected.len() + 1);
                let length_at = layout.length.unwrap() - 3;
                assert_eq!(out[..length_at], header[..length_at]);
                assert_eq!(out[length_at..], [&[0x40][..], &header[length_at..]].concat());
            }
            seen += 1;
        }
    }
    assert_eq!(seen, 30);
}

fn long(ty: LongType, token: &[u8], payload: usize) -> Vec<u8> {
    let header =
        LongHeader { ty, version: 1, dcid: cid(&[1, 2, 3, 4, 5, 6, 7, 8]), scid: cid(&[9; 20]), token };
    let mut out = Vec::new();
    let layout = header.encode(&mut out, 7, 2);
    out.resize(out.len() + payload, 0x55);
    layout.fill_length(&mut out);
    out
}

// covers: R9000-12.2-01
#[test]
fn coalesced_packets_are_found_one_after_the_other() {
    let mut datagram = long(LongType::Initial, b"tok", 100);
    datagram.extend(long(LongType::ZeroRtt, b"not for 0-RTT", 60));
    datagram.extend(long(LongType::Handshake, &[], 30));
    let end = datagram.len();
    ShortHeader { dcid: cid(&[1, 2, 3, 4, 5, 6, 7, 8]), spin: true, key_phase: true }.encode(
        &mut datagram,
        9,
        1,
    );
    datagram.resize(end + 50, 0);

    let mut rest = &datagram[..];
    let mut levels = Vec::new();
    while !rest.is_empty() {
        let packet = parse(rest, 8).unwrap();
        if let ProtectedHeader::Initial { token, .. } = &packet.header {
            assert_eq!(&rest[token.clone()], b"tok");
        }
        if let ProtectedHeader::Short { spin, .. } = packet.header {
            assert!(spin && rest[0] & KEY_PHASE != 0);
        }
        assert_eq!(packet.header.dcid().as_slice(), [1, 2, 3, 4, 5, 6, 7, 8]);
        levels.push(packet.header.level().unwrap());
        rest = &rest[packet.len..];
    }
    assert_eq!(levels, [Level::Initial, Level::ZeroRtt, Level::Handshake, Level::OneRtt]);
}

// covers: R9000-17.2-01, R9000-17.3.1-01, R9287-3-02
#[test]
fn the_quic_bit_is_required_unless_it_is_greased() {
    let mut short = vec![QUIC_BIT; 40];
    for packet in [&mut long(LongType::Initial, b"", 40), &mut short] {
        assert!(parse(packet, 8).is_ok());
        packet[0] &= !QUIC_BIT;
        assert_eq!(parse(packet, 8), Err(HeaderError::QuicBitUnset));
        assert!(parse_greased(packet, 8).is_ok());
    }
}

// covers: R9000-17.2-02, R9000-17.2-03, R9000-17.2-05, R9000-17.2-06
#[test]
fn version_1_has_no_long_connection_ids() {
    for at_dcid in [true, false] {
        let (dcid, scid) = if at_dcid { (vec![1; 21], vec![]) } else { (vec![], vec![1; 21]) };
        let mut packet = vec![0xc0, 0, 0, 0, 1];
        for id in [dcid, scid] {
            packet.push(u8::try_from(id.len()).unwrap());
            packet.extend(id);
        }
        packet.extend([0, 20]);
        packet.resize(packet.len() + 20, 0);
        assert_eq!(parse(&packet, 8), Err(HeaderError::CidTooLong));
    }
    assert_eq!(parse(&[0x40; 64], 21), Err(HeaderError::CidTooLong));
}

// covers: R9000-17.2-04, R9000-17.2-07, R9000-17.2.1-06
#[test]
fn unknown_versions_are_read_as_far_as_rfc_8999_goes() {
    let (dcid, scid) = ([3; 255], [4; 255]);
    // The first byte below 0x80 is the version's own affair.
    for first in 0x80..=0xff {
        let mut packet = vec![first, 0x1a, 0x2a, 0x3a, 0x4a, 255];
        packet.extend(dcid);
        packet.push(255);
        packet.extend(scid);
        let expected = HeaderError::UnsupportedVersion { version: 0x1a2a_3a4a, dcid: 6..261, scid: 262..517 };
        assert_eq!(parse(&packet, 8), Err(expected));
        packet.pop();
        assert_eq!(parse(&packet, 8), Err(HeaderError::Truncated));
    }
}

// covers: R9000-17.2.1-01, R9000-17.2.1-02, R9000-17.2.1-03, R8999-6-01
#[test]
fn version_negotiation_round_trip() {
    for unused in [0, 0x3f, 0x7f, 0xff] {
        let mut out = Vec::new();
        encode_version_negotiation(&mut out, unused, &[1; 20], &[2; 8], [1, 0x1a2a_3a4a]);
        assert_eq!(out[0] & 0xc0, 0xc0);
        assert_eq!(out[1..5], [0; 4]);
        for first in [out[0], 0x80] {
            out[0] = first;
            let packet = parse(&out, 20).unwrap();
            assert_eq!(packet.header.versions(&out).collect::<Vec<_>>(), [1, 0x1a2a_3a4a]);
            assert_eq!(packet.header.dcid(), &cid(&[1; 20]));
            assert_eq!(packet.header.scid(), Some(&cid(&[2; 8])));
            assert_eq!((packet.header.version(), packet.header.level(), packet.len), (None, None, out.len()));
        }
    }
    // A server answers whatever IDs the other version has.
    let mut out = Vec::new();
    encode_version_negotiation(&mut out, 0, &[1; 255], &[2; 255], [1]);
    assert_eq!((out[5], out[261], out.len()), (255, 255, 1 + 4 + 256 + 256 + 4));
}

// covers: R8999-6-02
#[test]
fn version_negotiation_needs_whole_versions() {
    for versions in 0..12 {
        let mut packet = vec![0xc0, 0, 0, 0, 0, 1, 7, 0];
        packet.resize(8 + versions, 1);
        let parsed = parse(&packet, 1);
        assert_eq!(parsed.is_ok(), versions > 0 && versions % 4 == 0, "{parsed:?}");
    }
}

// covers: R9000-17.2.5.2-04
#[test]
fn a_retry_has_a_token_and_a_tag() {
    let mut packet = Vec::new();
    encode_retry(&mut packet, 1, &cid(&[1; 8]), &cid(&[2; 8]), &[]);
    packet.extend([0; 15]);
    assert_eq!(parse(&packet, 8), Err(HeaderError::Truncated));
    packet.push(0);
    assert_eq!(parse(&packet, 8), Err(HeaderError::EmptyToken));
    packet.push(0);
    assert!(matches!(parse(&packet, 8).unwrap().header, ProtectedHeader::Retry { .. }));
}

// covers: R9000-17.2.5-01
#[test]
fn the_unused_bits_of_a_retry_mean_nothing() {
    let mut packet = Vec::new();
    encode_retry(&mut packet, 1, &cid(&[1; 8]), &cid(&[2; 8]), b"token");
    packet.extend([9; 16]);
    for unused in 0..16 {
        packet[0] = packet[0] & 0xf0 | unused;
        assert!(matches!(parse(&packet, 8).unwrap().header, ProtectedHeader::Retry { .. }));
    }
}

#[test]
fn every_truncation_is_an_error() {
    for ty in [LongType::Initial, LongType::ZeroRtt, LongType::Handshake] {
        let packet = long(ty, &[5; 70], 40);
        assert_eq!(parse(&packet, 8).unwrap().len, packet.len());
        for len in 0..packet.len() {
            assert_eq!(parse(&packet[..len], 8), Err(HeaderError::Truncated), "{ty:?} {len}");
        }
    }
    for len in 0..9 {
        assert_eq!(parse(&[0x40; 9][..len], 8), Err(HeaderError::Truncated));
    }
}

#[test]
fn lengths_of_62_bits_are_only_too_long() {
    let mut packet = vec![0xc0, 0, 0, 0, 1, 0, 0];
    packet.extend([0xff; 8]);
    packet.extend([0; 40]);
    assert_eq!(parse(&packet, 8), Err(HeaderError::Truncated));
    packet[0] = 0xe0;
    assert_eq!(parse(&packet, 8), Err(HeaderError::Truncated));
}

proptest! {
    #[test]
    fn no_datagram_does_harm(
        first in any::<u8>(), version in prop_oneof![Just(0_u32), Just(1), any::<u32>()],
        rest in proptest::collection::vec(any::<u8>(), 0..600), cid_len in 0_usize..=20,
    ) {
        let mut datagram = vec![first];
        datagram.extend(version.to_be_bytes());
        datagram.extend(rest);
        for datagram in [&datagram[..], &datagram[5..]] {
            if let Ok(packet) = parse_greased(datagram, cid_len) {
                prop_assert!(packet.pn_offset <= packet.len && packet.len <= datagram.len());
                prop_assert!(packet.len > 0);
                prop_assert!(packet.header.versions(datagram).count() <= datagram.len() / 4);
            }
        }
    }

    #[test]
    fn long_headers_survive(
        ty in prop_oneof![Just(LongType::Initial), Just(LongType::ZeroRtt), Just(LongType::Handshake)],
        dcid in proptest::collection::vec(any::<u8>(), 0..=20),
        scid in proptest::collection::vec(any::<u8>(), 0..=20),
        token in proptest::collection::vec(any::<u8>(), 0..300),
        pn in 0..1_u64 << 62, pn_len in 1_usize..=4, payload in 0_usize..2000,
    ) {
        let (dcid, scid) = (cid(&dcid), cid(&scid));
        let mut out = Vec::new();
        let layout = LongHeader { ty, version: 1, dcid, scid, token: &token }.encode(&mut out, pn, pn_len);
        out.resize(out.len() + payload, 0);
        layout.fill_length(&mut out);
        let packet = parse(&out, 3).unwrap();
        prop_assert_eq!((packet.pn_offset, packet.len), (layout.pn, out.len()));
        prop_assert_eq!((packet.header.dcid(), packet.header.scid()), (&dcid, Some(&scid)));
        let level = match ty {
            LongType::Initial => Level::Initial,
            LongType::ZeroRtt => Level::ZeroRtt,
            LongType::Handshake => Level::Handshake,
        };
        prop_assert_eq!(packet.header.level(), Some(level));
        if let ProtectedHeader::Initial { token: range, .. } = packet.header {
            prop_assert_eq!(&out[range], &token[..]);
        }
    }
}
