//! As much of a sequence parameter set (H.264 §7.3.2.1.1) as tells how high its pictures are.

use arrayvec::ArrayVec;

use crate::rtp::bits::{BitReader, OutOfBits};

/// The height in pixels of what is shown of a picture. `data` is the unit without its header. None if
/// it ends too early, or such a picture is not possible.
pub(super) fn height(data: &[u8]) -> Option<u16> {
    let data = unescaped(data);
    let height = read(&mut BitReader::new(&data, 0)).ok()?;
    u16::try_from(height).ok().filter(|height| *height > 0)
}

fn read(reader: &mut BitReader<'_>) -> Result<u64, OutOfBits> {
    let profile = reader.byte(8)?;
    reader.bits(16)?; // the constraint_set flags, level_idc
    reader.exp_golomb()?; // seq_parameter_set_id
    let chroma_lines = if HIGH_PROFILES.contains(&profile) {
        chroma_lines(reader)?
    } else {
        2
    };
    reader.exp_golomb()?; // log2_max_frame_num_minus4
    skip_picture_order(reader)?;
    reader.exp_golomb()?; // max_num_ref_frames
    reader.flag()?; // gaps_in_frame_num_value_allowed_flag
    reader.exp_golomb()?; // pic_width_in_mbs_minus1
    let map_units = u64::from(reader.exp_golomb()?) + 1;
    // frame_mbs_only_flag: else two fields make a frame.
    let fields = if reader.flag()? { 1 } else { 2 };
    if fields == 2 {
        reader.flag()?; // mb_adaptive_frame_field_flag
    }
    reader.flag()?; // direct_8x8_inference_flag
    let mut cropped = 0;
    if reader.flag()? {
        reader.exp_golomb()?; // frame_crop_left_offset
        reader.exp_golomb()?; // frame_crop_right_offset
        cropped = u64::from(reader.exp_golomb()?) + u64::from(reader.exp_golomb()?);
    }
    let whole = map_units * fields * MACROBLOCK_LINES;
    Ok(whole.saturating_sub(cropped * fields * chroma_lines))
}

/// What high profiles say of chroma and of scaling: how many lines of the picture one of chroma is
/// for, or 1 without chroma (`CropUnitY` for frames, H.264 §7.4.2.1.1).
fn chroma_lines(reader: &mut BitReader<'_>) -> Result<u64, OutOfBits> {
    let format = reader.exp_golomb()?;
    if format == FORMAT_444 {
        reader.flag()?; // separate_colour_plane_flag
    }
    reader.exp_golomb()?; // bit_depth_luma_minus8
    reader.exp_golomb()?; // bit_depth_chroma_minus8
    reader.flag()?; // qpprime_y_zero_transform_bypass_flag
    if reader.flag()? {
        let lists = if format == FORMAT_444 { 12 } else { 8 };
        for list in 0..lists {
            if reader.flag()? {
                skip_scaling_list(reader, if list < 6 { 16 } else { 64 })?;
            }
        }
    }
    Ok(if format == FORMAT_420 { 2 } else { 1 })
}

/// `scaling_list()` (H.264 §7.3.2.1.1.1).
fn skip_scaling_list(reader: &mut BitReader<'_>, size: u8) -> Result<(), OutOfBits> {
    let (mut last, mut next) = (8_i64, 8_i64);
    for _ in 0..size {
        if next != 0 {
            next = (last + signed(reader)?).rem_euclid(256);
        }
        if next != 0 {
            last = next;
        }
    }
    Ok(())
}

/// What follows `pic_order_cnt_type`.
fn skip_picture_order(reader: &mut BitReader<'_>) -> Result<(), OutOfBits> {
    match reader.exp_golomb()? {
        0 => {
            reader.exp_golomb()?; // log2_max_pic_order_cnt_lsb_minus4
        }
        1 => {
            reader.flag()?; // delta_pic_order_always_zero_flag
            reader.exp_golomb()?; // offset_for_non_ref_pic
            reader.exp_golomb()?; // offset_for_top_to_bottom_field
            for _ in 0..reader.exp_golomb()? {
                reader.exp_golomb()?; // offset_for_ref_frame
            }
        }
        _ => {}
    }
    Ok(())
}

/// `se(v)`: 0, 1, -1, 2, -2 and so on (H.264 §9.1.1).
fn signed(reader: &mut BitReader<'_>) -> Result<i64, OutOfBits> {
    let code = i64::from(reader.exp_golomb()?);
    Ok(if code % 2 == 1 {
        (code + 1) / 2
    } else {
        -(code / 2)
    })
}

/// Without the bytes that keep a start code from appearing (H.264 §7.3.1), as far as there is room.
fn unescaped(data: &[u8]) -> ArrayVec<u8, BYTES_MAX> {
    let mut bytes = ArrayVec::new();
    let mut zeros = 0_u16;
    for byte in data {
        if *byte == 3 && zeros >= 2 {
            zeros = 0;
            continue;
        }
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        if bytes.try_push(*byte).is_err() {
            break;
        }
    }
    bytes
}

/// Before the height there are some 16 bytes, or a few hundred with every scaling list.
const BYTES_MAX: usize = 512;

/// Profiles that tell of chroma and scaling.
const HIGH_PROFILES: [u8; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];

/// `chroma_format_idc`.
const FORMAT_420: u32 = 1;
const FORMAT_444: u32 = 3;

const MACROBLOCK_LINES: u64 = 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rtp::dependency_descriptor::testing::Bits;

    fn bytes(text: &str) -> Vec<u8> {
        let pairs = (0..text.len()).step_by(2);
        pairs
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
            .collect()
    }

    #[test]
    fn what_an_encoder_writes_is_read() {
        for (unit, expected) in [
            // Baseline, 1280 by 720.
            ("42c01fd9005005ba10000003001000000303c0f1832480", 720),
            // High, 1920 by 1080: cropped by 8 lines.
            ("640028acd940780227e584000003000400000300f03c60c658", 1080),
            // High in fields, 640 by 360: cropped by 24 lines.
            ("64001eacd940a063f3c2000003000200000300783e28532c", 360),
            // High 4:4:4, 320 by 180.
            ("f4000d919b282833f1b080000003008000001e078a14cb", 180),
        ] {
            assert_eq!(height(&bytes(unit)), Some(expected), "{unit}");
        }
    }

    /// `ue(v)`.
    fn put_exp_golomb(bits: &mut Bits, value: u32) {
        let width = 32 - (value + 1).leading_zeros();
        bits.put(0, width - 1);
        bits.put(value + 1, width);
    }

    #[test]
    fn scaling_lists_and_cycles_of_picture_order_are_passed_over() {
        let mut bits = Bits::default();
        bits.put(100, 8);
        bits.put(31, 16);
        for value in [0, 1, 0, 0] {
            put_exp_golomb(&mut bits, value);
        }
        bits.put(0b01, 2);
        // The first list ends with its second element (a difference of -8 and -1), the seventh is
        // whole; the others are not there.
        bits.put(1, 1);
        put_exp_golomb(&mut bits, 0);
        put_exp_golomb(&mut bits, 16);
        bits.put(0, 5);
        bits.put(1, 1);
        for _ in 0..64 {
            put_exp_golomb(&mut bits, 1);
        }
        bits.put(0, 1);
        // log2_max_frame_num_minus4, then a cycle of two.
        for value in [0, 1] {
            put_exp_golomb(&mut bits, value);
        }
        bits.put(1, 1);
        for value in [3, 4, 2, 5, 6] {
            put_exp_golomb(&mut bits, value);
        }
        // One reference frame, no gaps, 40 by 30 macroblocks, frames only, no crop.
        put_exp_golomb(&mut bits, 1);
        bits.put(0, 1);
        put_exp_golomb(&mut bits, 39);
        put_exp_golomb(&mut bits, 29);
        bits.put(0b110, 3);
        bits.put(0, 8);
        assert_eq!(height(&bits.bytes()), Some(480));
    }

    #[test]
    fn a_set_that_is_cut_before_its_crop_has_no_height() {
        let whole = bytes("640028acd940780227e584");
        assert_eq!(height(&whole), Some(1080));
        for cut in 0..10 {
            assert_eq!(height(&whole[..cut]), None, "{cut}");
        }
    }

    #[test]
    fn a_picture_of_which_nothing_is_left_has_no_height() {
        // One row of macroblocks, cropped by 8 lines of chroma.
        let mut bits = Bits::default();
        bits.put(66, 8);
        bits.put(0, 16);
        for value in [0, 0, 0, 0, 1] {
            put_exp_golomb(&mut bits, value);
        }
        bits.put(0, 1);
        put_exp_golomb(&mut bits, 0);
        put_exp_golomb(&mut bits, 0);
        bits.put(0b111, 3);
        for value in [0, 0, 4, 4] {
            put_exp_golomb(&mut bits, value);
        }
        bits.put(0, 8);
        assert_eq!(height(&bits.bytes()), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_within_their_bounds(
            data in proptest::collection::vec(any::<u8>(), 0..700),
        ) {
            prop_assert!(height(&data).is_none_or(|height| height > 0));
        }
    }
}
