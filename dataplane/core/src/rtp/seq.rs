//! Numbers that wrap: sequence numbers (16 bits), RTP timestamps (32 bits), picture ids (15 bits).

/// Turns 16-bit sequence numbers into 64-bit ones that never wrap (RFC 3550 appendix A.1).
///
/// The first number `n` becomes [`SequenceExtender::FIRST_CYCLE`]` + n`, so that packets that were
/// sent before it and come after it still have a number above zero. The lower 16 bits of an
/// extended number are always the number on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SequenceExtender {
    highest: Option<u64>,
}

impl SequenceExtender {
    /// What is added to the first number. Whoever counts cycles from zero (the roll-over counter of
    /// RFC 3711 §3.3.1, the report block of RFC 3550 §6.4.1) takes this away again.
    pub const FIRST_CYCLE: u64 = 1 << 16;

    /// Nothing seen yet.
    pub const fn new() -> Self {
        Self { highest: None }
    }

    /// The extended number of `sequence_number`, which becomes the highest if it is ahead of it.
    pub fn extend(&mut self, sequence_number: u16) -> u64 {
        let extended = self.peek(sequence_number);
        self.highest = self.highest.max(Some(extended));
        extended
    }

    /// The extended number of `sequence_number`; nothing is remembered.
    pub fn peek(&self, sequence_number: u16) -> u64 {
        let low = u64::from(sequence_number);
        self.highest.map_or(Self::FIRST_CYCLE + low, |highest| {
            nearest::<16>(highest, low)
        })
    }

    /// The highest extended number so far.
    pub const fn highest(&self) -> Option<u64> {
        self.highest
    }
}

/// Whether `a` comes after `b`, both modulo 2^16. Of two numbers that are 2^15 apart, neither is
/// newer.
pub const fn is_newer(a: u16, b: u16) -> bool {
    distance(b, a) > 0
}

/// How far `to` is ahead of `from`, modulo 2^16; negative if it is behind.
pub const fn distance(from: u16, to: u16) -> i16 {
    to.wrapping_sub(from).cast_signed()
}

/// Whether the RTP timestamp `a` comes after `b`, both modulo 2^32.
pub const fn timestamp_is_newer(a: u32, b: u32) -> bool {
    timestamp_distance(b, a) > 0
}

/// How far the RTP timestamp `to` is ahead of `from`, modulo 2^32; negative if it is behind.
pub const fn timestamp_distance(from: u32, to: u32) -> i32 {
    to.wrapping_sub(from).cast_signed()
}

/// The number nearest to `reference` whose lower `BITS` bits are those of `value`; the earlier one
/// if two are equally near. Where the earlier one would be below zero, the later one.
///
/// `BITS` is 16 for sequence numbers, 32 for RTP timestamps, 15 for picture ids.
pub const fn nearest<const BITS: u32>(reference: u64, value: u64) -> u64 {
    const { assert!(BITS > 0 && BITS < 63) };
    let cycle = 1 << BITS;
    let ahead = value.wrapping_sub(reference) & (cycle - 1);
    let behind = cycle - ahead;
    if ahead >= cycle / 2 && reference >= behind {
        reference - behind
    } else {
        reference + ahead
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_number_starts_in_the_second_cycle() {
        assert_eq!(SequenceExtender::new().extend(7), (1 << 16) + 7);
    }

    #[test]
    fn a_wrap_goes_on_upwards() {
        let mut extender = SequenceExtender::new();
        assert_eq!(extender.extend(65_535), (1 << 16) + 65_535);
        assert_eq!(extender.extend(0), 2 << 16);
        assert_eq!(extender.highest(), Some(2 << 16));
    }

    #[test]
    fn a_late_packet_does_not_move_the_highest() {
        let mut extender = SequenceExtender::new();
        extender.extend(3);
        assert_eq!(extender.extend(65_534), 65_534);
        assert_eq!(extender.highest(), Some((1 << 16) + 3));
    }

    #[test]
    fn looking_does_not_move_the_highest() {
        let mut extender = SequenceExtender::new();
        extender.extend(3);
        assert_eq!(extender.peek(9), (1 << 16) + 9);
        assert_eq!(extender.highest(), Some((1 << 16) + 3));
    }

    #[test]
    fn numbers_half_a_cycle_apart_are_not_newer() {
        assert!(!is_newer(0, 0x8000));
        assert!(!is_newer(0x8000, 0));
        assert!(is_newer(0x7fff, 0));
        assert!(is_newer(2, 65_530));
    }

    #[test]
    fn timestamps_compare_over_the_wrap() {
        assert!(timestamp_is_newer(5, u32::MAX - 5));
        assert_eq!(timestamp_distance(u32::MAX, 1), 2);
        assert_eq!(timestamp_distance(1, u32::MAX), -2);
    }

    #[test]
    fn picture_ids_wrap_after_15_bits() {
        assert_eq!(nearest::<15>(0x7fff, 0), 0x8000);
        assert_eq!(nearest::<15>(0x8000, 0x7fff), 0x7fff);
    }

    #[test]
    fn nothing_is_nearer_than_zero_below() {
        assert_eq!(nearest::<16>(3, 65_535), 65_535);
    }

    proptest! {
        #[test]
        fn the_nearest_number_keeps_its_lower_bits_and_is_near(
            reference in (1_u64 << 16)..(1 << 48),
            value: u16,
        ) {
            let found = nearest::<16>(reference, u64::from(value));
            prop_assert_eq!(found & 0xffff, u64::from(value));
            prop_assert!(found.abs_diff(reference) <= 1 << 15);
        }

        #[test]
        fn an_ordered_stream_with_gaps_extends_to_itself(
            start: u16,
            gaps in proptest::collection::vec(1_u64..0x7fff, 1..200),
        ) {
            let mut extender = SequenceExtender::new();
            let mut truth = (1 << 16) + u64::from(start);
            extender.extend(start);
            for gap in gaps {
                truth += gap;
                let wire = u16::try_from(truth & 0xffff).unwrap();
                prop_assert_eq!(extender.extend(wire), truth);
            }
        }
    }
}
