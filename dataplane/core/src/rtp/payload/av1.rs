//! The aggregation header of AV1 payloads (RTP Payload Format for AV1 §4.4), as far as key frames
//! need it.

/// Whether `payload` is the first packet of a coded video sequence: N is 1, and Z is 0, since a
/// sequence never starts in the middle of an OBU (§4.4).
pub fn starts_keyframe(payload: &[u8]) -> bool {
    let [header, _, ..] = payload else {
        return false;
    };
    header & N_BIT != 0 && header & Z_BIT == 0
}

const Z_BIT: u8 = 0x80;
const N_BIT: u8 = 0x08;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_coded_video_sequence_starts_a_key_frame() {
        assert!(starts_keyframe(&[0x18, 0x0a]));
    }

    #[test]
    fn a_packet_without_the_n_bit_starts_nothing() {
        assert!(!starts_keyframe(&[0x10, 0x0a]));
    }

    #[test]
    fn a_packet_that_goes_on_with_an_obu_starts_nothing() {
        assert!(!starts_keyframe(&[0x98, 0x0a]));
    }

    #[test]
    fn a_header_without_data_starts_nothing() {
        assert!(!starts_keyframe(&[0x18]));
    }
}
