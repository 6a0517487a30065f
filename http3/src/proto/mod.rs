//! HTTP/3 without I/O: bytes to frames and messages, and back. Everything here parses hostile input: no panic, and
//! memory follows what has arrived, within bounds.
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

pub(crate) mod connection;
pub(crate) mod frame;
pub(crate) mod headers;
pub(crate) mod request;
pub(crate) mod settings;
pub(crate) mod stream_type;
pub(crate) mod varint;

/// The `n`th (modulo their number) of the values that each registry of HTTP/3 keeps free to exercise that unknown
/// values are ignored (RFC 9114 §11.2): frame types, settings, stream types and error codes.
pub(crate) const fn reserved(n: u64) -> u64 {
    const COUNT: u64 = ((1 << 62) - 1 - 0x21) / 0x1f + 1;
    0x1f * (n % COUNT) + 0x21
}

#[cfg(test)]
mod tests {
    use super::reserved;

    #[test]
    fn reserved_values_have_their_form_and_fit_a_varint() {
        assert_eq!(reserved(0), 0x21);
        assert_eq!(reserved(1), 0x40);
        for n in [0, 1, 77, 0x0842_1084_2108_4210, u64::MAX] {
            let value = reserved(n);
            assert!(value < 1 << 62 && (value - 0x21).is_multiple_of(0x1f), "{value:#x}");
        }
    }
}
