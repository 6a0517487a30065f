//! SETTINGS (RFC 9114 §7.2.4): what one side tells the other about itself, once.

use gannet::VarInt;

use super::varint;
use crate::error::{Code, Violation};

/// The settings we know; an absent one has its default.
#[derive(Debug, Default, Copy, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    /// MAX_FIELD_SECTION_SIZE in bytes, counted as RFC 9114 §4.2.2 says; `None` is without limit.
    pub(crate) max_field_section_size: Option<u64>,
    /// QPACK_MAX_TABLE_CAPACITY in bytes.
    pub(crate) qpack_max_table_capacity: u64,
    /// QPACK_BLOCKED_STREAMS.
    pub(crate) qpack_blocked_streams: u64,
    /// ENABLE_CONNECT_PROTOCOL (RFC 9220).
    pub(crate) enable_connect_protocol: bool,
    /// H3_DATAGRAM (RFC 9297).
    pub(crate) h3_datagram: bool,
}

mod id {
    pub(super) const QPACK_MAX_TABLE_CAPACITY: u64 = 0x01;
    pub(super) const MAX_FIELD_SECTION_SIZE: u64 = 0x06;
    pub(super) const QPACK_BLOCKED_STREAMS: u64 = 0x07;
    pub(super) const ENABLE_CONNECT_PROTOCOL: u64 = 0x08;
    pub(super) const H3_DATAGRAM: u64 = 0x33;
}

impl Settings {
    /// Parses the payload of a SETTINGS frame. The caller bounds its length.
    pub(crate) fn decode(mut payload: &[u8]) -> Result<Self, Violation> {
        let mut settings = Self::default();
        let mut seen = Vec::new();
        while !payload.is_empty() {
            let (Some(id), Some(value)) = (VarInt::decode(&mut payload), VarInt::decode(&mut payload)) else {
                return Err(Violation::new(Code::H3_FRAME_ERROR, "SETTINGS ends inside a setting"));
            };
            let (id, value) = (id.into_inner(), value.into_inner());
            seen.push(id);
            match id {
                id::QPACK_MAX_TABLE_CAPACITY => settings.qpack_max_table_capacity = value,
                id::MAX_FIELD_SECTION_SIZE => settings.max_field_section_size = Some(value),
                id::QPACK_BLOCKED_STREAMS => settings.qpack_blocked_streams = value,
                id::ENABLE_CONNECT_PROTOCOL => settings.enable_connect_protocol = flag(value)?,
                id::H3_DATAGRAM => settings.h3_datagram = flag(value)?,
                // left over from HTTP/2 (RFC 9114 §7.2.4.1)
                0x00 | 0x02..=0x05 => {
                    return Err(Violation::new(Code::H3_SETTINGS_ERROR, "a setting of HTTP/2"));
                }
                _ => {}
            }
        }
        seen.sort_unstable();
        if seen.windows(2).any(|pair| matches!(pair, [a, b] if a == b)) {
            return Err(Violation::new(Code::H3_SETTINGS_ERROR, "the same setting twice"));
        }
        Ok(settings)
    }

    /// Appends the payload of a SETTINGS frame: what differs from the defaults, and a reserved setting drawn from
    /// `seed`, so that peers keep ignoring what they do not know.
    pub(crate) fn encode(&self, seed: Option<u64>, out: &mut Vec<u8>) {
        let mut setting = |id: u64, value: u64| {
            varint::put(id, out);
            varint::put(value, out);
        };
        if let Some(bytes) = self.max_field_section_size {
            setting(id::MAX_FIELD_SECTION_SIZE, bytes);
        }
        if self.qpack_max_table_capacity != 0 {
            setting(id::QPACK_MAX_TABLE_CAPACITY, self.qpack_max_table_capacity);
        }
        if self.qpack_blocked_streams != 0 {
            setting(id::QPACK_BLOCKED_STREAMS, self.qpack_blocked_streams);
        }
        if self.enable_connect_protocol {
            setting(id::ENABLE_CONNECT_PROTOCOL, 1);
        }
        if self.h3_datagram {
            setting(id::H3_DATAGRAM, 1);
        }
        if let Some(seed) = seed {
            setting(super::reserved(seed), seed >> 2);
        }
    }
}

/// A setting that is 0 or 1 (RFC 9220 §3, RFC 9297 §2.1.1).
fn flag(value: u64) -> Result<bool, Violation> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Violation::new(Code::H3_SETTINGS_ERROR, "a setting that must be 0 or 1 is neither")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(pairs: &[(u64, u64)]) -> Vec<u8> {
        let mut out = Vec::new();
        for (id, value) in pairs {
            varint::put(*id, &mut out);
            varint::put(*value, &mut out);
        }
        out
    }

    fn code(payload: &[u8]) -> Option<Code> {
        Settings::decode(payload).err().map(|violation| violation.code)
    }

    #[test]
    fn absent_settings_have_their_defaults() {
        assert_eq!(Settings::decode(&[]), Ok(Settings::default()));
    }

    #[test]
    fn unknown_and_reserved_settings_are_ignored() {
        // covers: R9114-7.2.4-06 R9114-7.2.4.1-02 R9114-9-01
        let payload = encoded(&[(0x21, 7), (0x09, 1), (0x2c7c_f000, 1), (0x06, 100), (0x40, 0)]);
        let settings = Settings { max_field_section_size: Some(100), ..Settings::default() };
        assert_eq!(Settings::decode(&payload), Ok(settings));
    }

    #[test]
    fn the_same_setting_twice_is_an_error() {
        // covers: R9114-7.2.4-05
        for pairs in [[(6, 1), (7, 0), (6, 1)], [(0x21, 1), (1, 0), (0x21, 2)]] {
            assert_eq!(code(&encoded(&pairs)), Some(Code::H3_SETTINGS_ERROR));
        }
    }

    #[test]
    fn settings_of_http2_are_an_error() {
        // covers: R9114-7.2.4.1-03
        for id in [0, 2, 3, 4, 5] {
            assert_eq!(code(&encoded(&[(id, 0)])), Some(Code::H3_SETTINGS_ERROR), "{id}");
        }
    }

    #[test]
    fn flags_are_zero_or_one() {
        for id in [0x08, 0x33] {
            assert_eq!(code(&encoded(&[(id, 0)])), None);
            assert_eq!(code(&encoded(&[(id, 1)])), None);
            assert_eq!(code(&encoded(&[(id, 2)])), Some(Code::H3_SETTINGS_ERROR));
        }
    }

    #[test]
    fn a_payload_cut_inside_a_setting_is_a_frame_error() {
        // covers: R9114-7.1-02 R9114-10.8-01
        let payload = encoded(&[(0x06, 1 << 40), (0x2c7c_f000, 1 << 20)]);
        for cut in 0..payload.len() {
            let expected = if cut == 0 || cut == 9 { None } else { Some(Code::H3_FRAME_ERROR) };
            assert_eq!(code(&payload[..cut]), expected, "cut at {cut}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            max in proptest::option::of(0..1_u64 << 62),
            capacity in 0..1_u64 << 62,
            blocked in 0..1_u64 << 62,
            connect: bool,
            datagram: bool,
            seed: u64,
        ) {
            // covers: R9114-7.2.4.1-01
            let settings = Settings {
                max_field_section_size: max,
                qpack_max_table_capacity: capacity,
                qpack_blocked_streams: blocked,
                enable_connect_protocol: connect,
                h3_datagram: datagram,
            };
            let mut out = Vec::new();
            settings.encode(Some(seed), &mut out);
            prop_assert!(!out.is_empty());
            prop_assert_eq!(Settings::decode(&out), Ok(settings));
        }

        #[test]
        fn any_payload_is_settings_or_an_error(payload: Vec<u8>) {
            let _ = Settings::decode(&payload);
        }
    }
}
