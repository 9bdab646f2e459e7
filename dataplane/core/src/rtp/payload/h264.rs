//! H.264 payloads (RFC 6184), as far as key frames need it.

mod sps;

/// Whether `payload` starts a key frame: it holds a sequence parameter set, or the beginning of the
/// first slice of an IDR picture (RFC 6184 §5.4 to §5.8).
///
/// Two packets of a key frame can say yes: an encoder may send SPS, PPS and slices each in a packet
/// of its own. The first of them is the one that counts.
pub fn starts_keyframe(payload: &[u8]) -> bool {
    let Some((&indicator, rest)) = payload.split_first() else {
        return false;
    };
    match nal_type(indicator) {
        STAP_A | STAP_B => aggregated(payload).any(unit_starts),
        FU_A | FU_B => match rest.split_first() {
            // FU-B has a decoding order number of 16 bits between its header and the data.
            Some((&header, data)) if header & FU_START != 0 => {
                let skipped = if nal_type(indicator) == FU_B { 2 } else { 0 };
                data.get(skipped..)
                    .is_some_and(|data| starts(nal_type(header), data))
            }
            _ => false,
        },
        kind => starts(kind, rest),
    }
}

/// The height in pixels that `payload` says of the pictures from here on; None if it holds no whole
/// sequence parameter set.
pub fn keyframe_height(payload: &[u8]) -> Option<u16> {
    let unit_height = |unit: &[u8]| {
        let (&header, data) = unit.split_first()?;
        (nal_type(header) == NAL_SPS)
            .then(|| sps::height(data))
            .flatten()
    };
    match nal_type(*payload.first()?) {
        STAP_A | STAP_B => aggregated(payload).find_map(unit_height),
        _ => unit_height(payload),
    }
}

fn unit_starts(unit: &[u8]) -> bool {
    unit.split_first()
        .is_some_and(|(&header, data)| starts(nal_type(header), data))
}

/// Whether a unit of this type with this data (or the beginning of it) starts a key frame.
fn starts(kind: u8, data: &[u8]) -> bool {
    match (kind, data.first()) {
        (NAL_SPS, Some(_)) => true,
        // first_mb_in_slice is 0, whose Exp-Golomb code is a single 1 (H.264 §7.3.3, §9.1).
        (NAL_IDR, Some(slice)) => slice & 0x80 != 0,
        _ => false,
    }
}

/// The units of an aggregation packet; a size that lies ends the iteration.
fn aggregated(payload: &[u8]) -> impl Iterator<Item = &[u8]> {
    // STAP-B has a decoding order number of 16 bits before its first unit.
    let skipped = match payload.first() {
        Some(indicator) if nal_type(*indicator) == STAP_B => 3,
        _ => 1,
    };
    let mut rest = payload.get(skipped..).unwrap_or_default();
    core::iter::from_fn(move || {
        let (size, after) = rest.split_first_chunk::<2>()?;
        let (unit, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*size)))?;
        rest = after;
        Some(unit)
    })
}

const fn nal_type(header: u8) -> u8 {
    header & 0x1f
}

const NAL_IDR: u8 = 5;
const NAL_SPS: u8 = 7;
const STAP_A: u8 = 24;
const STAP_B: u8 = 25;
const FU_A: u8 = 28;
const FU_B: u8 = 29;
const FU_START: u8 = 0x80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_set_alone_starts_a_key_frame() {
        assert!(starts_keyframe(&[0x67, 0x42, 0xc0, 0x1f]));
    }

    #[test]
    fn an_idr_slice_alone_starts_a_key_frame() {
        assert!(starts_keyframe(&[0x65, 0x88, 0x84]));
    }

    #[test]
    fn a_later_slice_of_an_idr_picture_starts_nothing() {
        assert!(!starts_keyframe(&[0x65, 0x48, 0x84]));
    }

    #[test]
    fn a_delta_slice_starts_nothing() {
        assert!(!starts_keyframe(&[0x41, 0x9a, 0x02]));
    }

    #[test]
    fn a_parameter_set_behind_another_unit_of_an_aggregate_is_found() {
        assert!(starts_keyframe(&[
            0x78, 0, 2, 0x09, 0xf0, 0, 3, 0x67, 0x42, 0xc0
        ]));
    }

    #[test]
    fn an_aggregate_of_delta_slices_starts_nothing() {
        assert!(!starts_keyframe(&[
            0x78, 0, 2, 0x41, 0x9a, 0, 2, 0x41, 0x9a
        ]));
    }

    #[test]
    fn only_the_first_fragment_of_an_idr_slice_starts_a_key_frame() {
        assert!(starts_keyframe(&[0x7c, 0x85, 0x88]));
        assert!(!starts_keyframe(&[0x7c, 0x05, 0x88]));
        assert!(!starts_keyframe(&[0x7c, 0x45, 0x88]));
    }

    #[test]
    fn interleaved_packets_are_read_behind_their_decoding_order_number() {
        assert!(starts_keyframe(&[0x79, 0, 1, 0, 2, 0x67, 0x42]));
        assert!(starts_keyframe(&[0x7d, 0x85, 0, 1, 0x88]));
    }

    #[test]
    fn a_unit_longer_than_the_aggregate_is_not_looked_at() {
        assert!(!starts_keyframe(&[0x78, 0, 9, 0x67, 0x42]));
    }

    /// A sequence parameter set of pictures of 1280 by 720.
    const SPS: [u8; 12] = [
        0x67, 0x42, 0xc0, 0x1f, 0xd9, 0x00, 0x50, 0x05, 0xba, 0x10, 0x00, 0x00,
    ];

    #[test]
    fn a_parameter_set_tells_the_height_alone_or_in_an_aggregate() {
        let size = [0, 12];
        let delimiter = [0, 2, 0x09, 0xf0];
        let stap_a = [&[0x78][..], &delimiter, &size, &SPS].concat();
        let stap_b = [&[0x79, 0, 1][..], &size, &SPS].concat();
        for payload in [&SPS[..], &stap_a, &stap_b] {
            assert_eq!(keyframe_height(payload), Some(720), "{payload:?}");
        }
    }

    #[test]
    fn without_a_parameter_set_there_is_no_height() {
        let slice = [&[0x65][..], &SPS[1..]].concat();
        let lying = [&[0x78, 0, 13][..], &SPS].concat();
        for payload in [&[][..], &[0x67], &slice, &lying] {
            assert_eq!(keyframe_height(payload), None, "{payload:?}");
        }
    }

    #[test]
    fn a_payload_cut_before_its_first_data_byte_starts_nothing() {
        for whole in [
            &[0x78, 0, 2, 0x67, 0x42][..],
            &[0x7c, 0x85, 0x88],
            &[0x67, 0x42],
        ] {
            assert!(starts_keyframe(whole));
            for length in 0..whole.len() {
                assert!(!starts_keyframe(&whole[..length]), "{:?}", &whole[..length]);
            }
        }
    }
}
