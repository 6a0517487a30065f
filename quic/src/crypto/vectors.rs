//! The published vectors, byte for byte: RFC 9001 appendix A, RFC 9369 appendix A, and cases derived by the same rules.

use ring::hkdf::{HKDF_SHA256, KeyType as _, Prk, Salt};
use serde_json::Value;

use super::hkdf::{Secret, expand_label, expand_label_array};
use super::version::constants;
use super::*;
use crate::packet::{ConnectionId, Side, VERSION_1, VERSION_2};

const RFC9001: &str = include_str!("../../testdata/rfc9001-appendix-a.json");
const RFC9369: &str = include_str!("../../testdata/rfc9369-appendix-a.json");
const DERIVED: &str = include_str!("../../testdata/derived-packet-protection.json");

fn hex(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    let text = text.strip_prefix("0x").unwrap_or(text);
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

fn version(value: &Value) -> u32 {
    u32::from_be_bytes(hex(value).try_into().unwrap())
}

fn cid(value: &Value) -> ConnectionId {
    ConnectionId::try_from(&hex(value)[..]).unwrap()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

fn for_each_rfc(test: impl Fn(u32, &Value)) {
    for (expected, text) in [(VERSION_1, RFC9001), (VERSION_2, RFC9369)] {
        let vectors: Value = serde_json::from_str(text).unwrap();
        assert_eq!(version(&vectors["version"]), expected);
        test(expected, &vectors);
    }
}

/// Seals, protects, unprotects and opens one packet of the vectors.
fn check_packet(keys: &DirectionKeys, vector: &Value) {
    let (header, payload) = (hex(&vector["header"]), hex(&vector["payload"]));
    let (pn, pn_len) = (number(&vector["packet_number"]), number(&vector["packet_number_length"]) as usize);
    let pn_offset = header.len() - pn_len;

    let mut packet = [&header[..], &payload, &[0; PacketKey::TAG_LEN]].concat();
    keys.packet.seal(pn, &mut packet, header.len());
    if vector["ciphertext"].is_string() {
        assert_eq!(packet[header.len()..], hex(&vector["ciphertext"]));
    }
    let sample: [u8; 16] = packet[pn_offset + 4..][..16].try_into().unwrap();
    assert_eq!(sample[..], hex(&vector["sample"]));
    assert_eq!(keys.header.mask(&sample)[..], hex(&vector["mask"]));
    keys.header.protect(&mut packet, pn_offset);
    assert_eq!(packet, hex(&vector["packet"]));

    let truncated = (pn & (u64::MAX >> (64 - 8 * pn_len))) as u32;
    assert_eq!(keys.header.unprotect(&mut packet, pn_offset), Some((header[0], truncated, pn_len)));
    assert_eq!(packet[..header.len()], header);
    let (got_header, sealed) = packet.split_at_mut(header.len());
    assert_eq!(keys.packet.open(pn, got_header, sealed), Some(payload.len()));
    assert_eq!(sealed[..payload.len()], payload);
}

/// The raw bytes that a secret expands to.
fn check_expansion(version: u32, suite: CipherSuite, secret: &[u8], vector: &Value) {
    let (labels, prk) = (constants(version), Prk::new_less_safe(suite.hkdf(), secret));
    let key = match suite.aead().key_len() {
        16 => expand_label_array::<16>(&prk, labels.key).to_vec(),
        _ => expand_label_array::<32>(&prk, labels.key).to_vec(),
    };
    let hp = match suite.aead().key_len() {
        16 => expand_label_array::<16>(&prk, labels.hp).to_vec(),
        _ => expand_label_array::<32>(&prk, labels.hp).to_vec(),
    };
    assert_eq!(key, hex(&vector["key"]));
    assert_eq!(hp, hex(&vector["hp"]));
    assert_eq!(expand_label_array::<12>(&prk, labels.iv)[..], hex(&vector["iv"]));
    for name in ["ku", "ku_secret"] {
        if vector[name].is_string() {
            let next = match suite.hkdf().len() {
                32 => expand_label_array::<32>(&prk, labels.ku).to_vec(),
                _ => expand_label_array::<48>(&prk, labels.ku).to_vec(),
            };
            assert_eq!(next, hex(&vector[name]));
        }
    }
}

// covers: R9001-5.2-02 R9001-9.6-01 R9001-9.6-02
#[test]
fn initial_secrets() {
    for_each_rfc(|version, vectors| {
        let salt = constants(version).initial_salt;
        assert_eq!(salt[..], hex(&vectors["initial_salt"]));
        let initial = Salt::new(HKDF_SHA256, &salt).extract(&hex(&vectors["dcid"]));
        let from_rfc = Prk::new_less_safe(HKDF_SHA256, &hex(&vectors["keys"]["initial_secret"]));
        for (label, side) in [(&b"client in"[..], "client"), (b"server in", "server")] {
            let vector = &vectors["keys"][side];
            let secret: [u8; 32] = expand_label_array(&initial, label);
            assert_eq!(secret[..], hex(&vector["secret"]));
            assert_eq!(secret, expand_label_array::<32>(&from_rfc, label));
            check_expansion(version, CipherSuite::Aes128Gcm, &secret, vector);
        }
    });
}

#[test]
fn initial_packets() {
    for_each_rfc(|version, vectors| {
        let dcid = cid(&vectors["dcid"]);
        let client = initial_keys(version, &dcid, Side::Client);
        let server = initial_keys(version, &dcid, Side::Server);
        check_packet(&client.local, &vectors["client_initial"]);
        check_packet(&server.remote, &vectors["client_initial"]);
        check_packet(&server.local, &vectors["server_initial"]);
        check_packet(&client.remote, &vectors["server_initial"]);
    });
}

// covers: R9000-17.2.5.2-03
#[test]
fn retry_tags() {
    for_each_rfc(|version, vectors| {
        let vector = &vectors["retry"];
        let (packet, odcid) = (hex(&vector["packet"]), cid(&vector["original_dcid"]));
        let (body, tag) = packet.split_last_chunk::<16>().unwrap();
        assert_eq!(retry_tag(version, &odcid, body)[..], hex(&vector["tag"]));
        assert!(verify_retry_tag(version, &odcid, body, tag));
        for bit in 0..128 {
            let mut wrong = *tag;
            wrong[bit / 8] ^= 1 << (bit % 8);
            assert!(!verify_retry_tag(version, &odcid, body, &wrong));
        }
        assert!(!verify_retry_tag(version, &ConnectionId::EMPTY, body, tag));
        assert!(!verify_retry_tag(version, &odcid, &body[1..], tag));
    });
}

#[test]
fn chacha20_short_header() {
    for_each_rfc(|version, vectors| {
        let vector = &vectors["chacha20_short_header"];
        let (suite, secret) = (CipherSuite::ChaCha20Poly1305, hex(&vector["secret"]));
        check_expansion(version, suite, &secret, vector);
        check_packet(&Secret::from_bytes(version, suite, &secret).keys(), vector);
    });
}

#[test]
fn derived_packets_of_all_suites_and_both_key_phases() {
    let vectors: Value = serde_json::from_str(DERIVED).unwrap();
    let cases = vectors["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 6);
    for case in cases {
        let version = version(&case["version"]);
        let suite = match case["aead"].as_str().unwrap() {
            "AES_128_GCM" => CipherSuite::Aes128Gcm,
            "AES_256_GCM" => CipherSuite::Aes256Gcm,
            "CHACHA20_POLY1305" => CipherSuite::ChaCha20Poly1305,
            other => panic!("{other}"),
        };
        let secret = hex(&case["secret"]);
        check_expansion(version, suite, &secret, case);

        let make = || Secret::from_bytes(version, suite, &secret);
        // Both directions have one secret here, so that either key of the pair can be checked.
        let mut secrets = OneRttSecrets::new(Side::Client, make(), make());
        let (remote, local) = (secrets.advance(), secrets.local_key());
        let phases = [
            [make().keys(), make().keys()],
            [local, remote].map(|packet| DirectionKeys { header: make().header_key(), packet }),
        ];
        for packet in case["packets"].as_array().unwrap() {
            for keys in &phases[number(&packet["key_phase"]) as usize] {
                check_packet(keys, packet);
            }
        }
    }
}

fn keys(suite: CipherSuite) -> DirectionKeys {
    Secret::from_bytes(VERSION_1, suite, &[7; 48][..suite.hkdf().len()]).keys()
}

const SUITES: [CipherSuite; 3] =
    [CipherSuite::Aes128Gcm, CipherSuite::Aes256Gcm, CipherSuite::ChaCha20Poly1305];

// covers: R9001-6.6-08 R9001-6.6-09
#[test]
fn limits_are_those_of_the_rfc() {
    let limits = SUITES.map(|suite| (suite.limits().confidentiality, suite.limits().integrity));
    assert_eq!(limits, [(1 << 23, 1 << 52), (1 << 23, 1 << 52), (u64::MAX, 1 << 36)]);
}

#[test]
fn anything_changed_does_not_open() {
    for suite in SUITES {
        let key = keys(suite).packet;
        let mut sealed = b"header and plaintext".to_vec();
        sealed.extend([0; 16]);
        key.seal(5, &mut sealed, 6);
        let open = |pn, sealed: &[u8]| {
            let mut sealed = sealed.to_vec();
            let (header, payload) = sealed.split_at_mut(6);
            let tag = payload[payload.len() - 16..].to_vec();
            let opened = key.open(pn, header, payload);
            assert_eq!(payload[payload.len() - 16..], tag);
            opened
        };
        assert_eq!(open(5, &sealed), Some(14));
        assert_eq!(open(6, &sealed), None);
        for i in 0..sealed.len() {
            sealed[i] ^= 1;
            assert_eq!(open(5, &sealed), None, "byte {i}");
            sealed[i] ^= 1;
        }
        for len in 0..16 {
            assert_eq!(key.open(5, b"header", &mut vec![0; len]), None);
        }
    }
}

// covers: R9001-5.4.2-01
#[test]
fn a_packet_too_short_to_be_sampled_is_left_alone() {
    for suite in SUITES {
        let key = keys(suite).header;
        for len in 0..32 {
            for pn_offset in 0..40 {
                let mut packet = vec![0x55; len];
                let done = key.unprotect(&mut packet, pn_offset);
                assert_eq!(done.is_some(), pn_offset > 0 && pn_offset + 20 <= len);
                assert!(done.is_some() || packet == vec![0x55; len]);
            }
        }
        assert_eq!(key.unprotect(&mut [0; 64], usize::MAX), None);
    }
}

#[test]
fn labels_are_encoded_as_in_the_rfc() {
    let prk = Prk::new_less_safe(HKDF_SHA256, &[1; 32]);
    for_each_rfc(|_, vectors| {
        for (label, info) in vectors["keys"]["hkdf_labels"].as_object().unwrap() {
            let info = hex(info);
            let len = usize::from(u16::from_be_bytes([info[0], info[1]]));
            struct Len(usize);
            impl ring::hkdf::KeyType for Len {
                fn len(&self) -> usize {
                    self.0
                }
            }
            let (mut ours, mut theirs) = (vec![0; len], vec![0; len]);
            expand_label(&prk, label.as_bytes(), Len(len), |okm| okm.fill(&mut ours)).unwrap();
            prk.expand(&[&info], Len(len)).unwrap().fill(&mut theirs).unwrap();
            assert_eq!(ours, theirs, "{label}");
        }
    });
}
