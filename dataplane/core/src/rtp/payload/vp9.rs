//! The start of a VP9 payload descriptor (RFC 9628 §4.2), as far as key frames need it.

/// Whether `payload` is the first packet of a key picture: it starts a frame (B), the frame is not
/// predicted from an earlier picture (P is 0), and it is the lowest spatial layer (SID 0).
///
/// Upper layers of a key picture have P 0 too, but cannot be decoded alone.
pub fn starts_keyframe(payload: &[u8]) -> bool {
    let Some((&first, mut rest)) = payload.split_first() else {
        return false;
    };
    if first & P_BIT != 0 || first & B_BIT == 0 {
        return false;
    }
    if first & I_BIT != 0 {
        let Some((&id, after)) = rest.split_first() else {
            return false;
        };
        let long = id & M_BIT != 0;
        let Some(after) = after.get(usize::from(long)..) else {
            return false;
        };
        rest = after;
    }
    if first & L_BIT == 0 {
        return !rest.is_empty();
    }
    // TID (3 bits), U, SID (3 bits), D.
    let Some((&layer, rest)) = rest.split_first() else {
        return false;
    };
    // Without flexible mode, TL0PICIDX follows.
    let after_layer = usize::from(first & F_BIT == 0);
    layer >> 1 & 0x07 == 0 && rest.len() > after_layer
}

const I_BIT: u8 = 0x80;
const P_BIT: u8 = 0x40;
const L_BIT: u8 = 0x20;
const F_BIT: u8 = 0x10;
const B_BIT: u8 = 0x08;
const M_BIT: u8 = 0x80;

#[cfg(test)]
mod tests {
    use super::*;

    /// Flexible mode, 15-bit picture id, layer indices, scalability structure, data.
    const KEY: [u8; 7] = [0xba, 0x81, 0x23, 0x00, 0x18, 0x00, 0x82];

    #[test]
    fn the_first_packet_of_a_key_picture_starts_a_key_frame() {
        assert!(starts_keyframe(&KEY));
    }

    #[test]
    fn without_layers_and_picture_id_the_flags_decide() {
        assert!(starts_keyframe(&[0x08, 0x82]));
        assert!(!starts_keyframe(&[0x48, 0x82]));
        assert!(!starts_keyframe(&[0x00, 0x82]));
    }

    #[test]
    fn an_upper_spatial_layer_starts_nothing() {
        let mut packet = KEY;
        packet[3] = 0x03;
        assert!(!starts_keyframe(&packet));
    }

    #[test]
    fn an_upper_temporal_layer_number_does_not_matter() {
        let mut packet = KEY;
        packet[3] = 0x30;
        assert!(starts_keyframe(&packet));
    }

    #[test]
    fn without_flexible_mode_the_base_layer_index_is_skipped() {
        assert!(starts_keyframe(&[0xa8, 0x23, 0x00, 0x07, 0x82]));
        assert!(!starts_keyframe(&[0xa8, 0x23, 0x00, 0x07]));
    }

    #[test]
    fn a_descriptor_without_data_starts_nothing() {
        for length in 0..=4 {
            assert!(!starts_keyframe(&KEY[..length]), "{length}");
        }
    }
}
