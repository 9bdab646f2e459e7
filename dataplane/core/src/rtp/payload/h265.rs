//! H.265 payloads (RFC 7798), as far as key frames need it.

/// Whether `payload` starts a key frame: it holds a video or sequence parameter set, or the
/// beginning of the first slice segment of an IRAP picture (RFC 7798 §4.4).
///
/// More than one packet of a key frame can say yes, since parameter sets may travel in packets of
/// their own. The first of them is the one that counts.
pub fn starts_keyframe(payload: &[u8]) -> bool {
    let Some((&[first, _], rest)) = payload.split_first_chunk::<2>() else {
        return false;
    };
    match nal_type(first) {
        AGGREGATION => units(rest).any(unit_starts),
        FRAGMENTATION => rest
            .split_first()
            .is_some_and(|(&header, data)| header & FU_START != 0 && starts(header & 0x3f, data)),
        kind => starts(kind, rest),
    }
}

fn unit_starts(unit: &[u8]) -> bool {
    unit.split_first_chunk::<2>()
        .is_some_and(|(&[first, _], data)| starts(nal_type(first), data))
}

/// Whether a unit of this type with this data (or the beginning of it) starts a key frame.
fn starts(kind: u8, data: &[u8]) -> bool {
    match (kind, data.first()) {
        (NAL_VPS | NAL_SPS, Some(_)) => true,
        // first_slice_segment_in_pic_flag (H.265 §7.3.6.1).
        (IRAP_FIRST..=IRAP_LAST, Some(slice)) => slice & 0x80 != 0,
        _ => false,
    }
}

/// The units of an aggregation packet; a size that lies ends the iteration. Decoding order numbers
/// are not looked for: they need `sprop-max-don-diff`, which browsers do not offer.
fn units(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    core::iter::from_fn(move || {
        let (size, after) = rest.split_first_chunk::<2>()?;
        let (unit, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*size)))?;
        rest = after;
        Some(unit)
    })
}

const fn nal_type(first: u8) -> u8 {
    first >> 1 & 0x3f
}

const IRAP_FIRST: u8 = 16;
const IRAP_LAST: u8 = 23;
const NAL_VPS: u8 = 32;
const NAL_SPS: u8 = 33;
const AGGREGATION: u8 = 48;
const FRAGMENTATION: u8 = 49;
const FU_START: u8 = 0x80;

#[cfg(test)]
mod tests {
    use super::*;

    const fn unit(kind: u8) -> u8 {
        kind << 1
    }

    #[test]
    fn parameter_sets_start_a_key_frame() {
        for kind in [NAL_VPS, NAL_SPS] {
            assert!(starts_keyframe(&[unit(kind), 1, 0x0c]));
        }
    }

    #[test]
    fn the_first_segment_of_every_irap_picture_starts_a_key_frame() {
        for kind in 16..=23 {
            assert!(starts_keyframe(&[unit(kind), 1, 0x80]));
            assert!(!starts_keyframe(&[unit(kind), 1, 0x40]));
        }
    }

    #[test]
    fn other_pictures_start_nothing() {
        for kind in [0, 1, 9, 15, 24, 34, 39] {
            assert!(!starts_keyframe(&[unit(kind), 1, 0x80]));
        }
    }

    #[test]
    fn a_parameter_set_in_an_aggregate_is_found() {
        let first = unit(AGGREGATION);
        assert!(starts_keyframe(&[
            first,
            1,
            0,
            3,
            0x46,
            1,
            0x10,
            0,
            3,
            unit(NAL_VPS),
            1,
            0x0c
        ]));
        assert!(!starts_keyframe(&[
            first,
            1,
            0,
            3,
            0x46,
            1,
            0x10,
            0,
            3,
            unit(1),
            1,
            0x80
        ]));
    }

    #[test]
    fn only_the_first_fragment_of_an_irap_slice_starts_a_key_frame() {
        let first = unit(FRAGMENTATION);
        assert!(starts_keyframe(&[first, 1, 0x80 | 19, 0x80]));
        assert!(!starts_keyframe(&[first, 1, 19, 0x80]));
        assert!(!starts_keyframe(&[first, 1, 0x80 | 1, 0x80]));
    }

    #[test]
    fn a_payload_cut_before_its_first_data_byte_starts_nothing() {
        let aggregate = [unit(AGGREGATION), 1, 0, 3, unit(NAL_SPS), 1, 0x0c];
        let fragment = [unit(FRAGMENTATION), 1, 0x80 | 19, 0x80];
        for whole in [&aggregate[..], &fragment, &[unit(NAL_SPS), 1, 0x0c]] {
            assert!(starts_keyframe(whole));
            for length in 0..whole.len() {
                assert!(!starts_keyframe(&whole[..length]), "{:?}", &whole[..length]);
            }
        }
    }
}
