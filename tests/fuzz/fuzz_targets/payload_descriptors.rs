//! Any bytes as the payload of every codec, with the height of its pictures; descriptors of VP8 and
//! VP9 are written again with other numbers.
#![no_main]

use dataplane_core::rtp::payload::{h264, starts_keyframe, vp8, vp9};
use libfuzzer_sys::fuzz_target;
use shared::protocol::Codec;

fuzz_target!(|input: (u16, u8, u8, &[u8])| {
    let (picture_id, tl0_picture_index, key_index, payload) = input;
    for codec in [
        Codec::Opus,
        Codec::Vp8,
        Codec::Vp9,
        Codec::H264,
        Codec::H265,
        Codec::Av1,
    ] {
        let starts = starts_keyframe(codec, payload);
        assert!(!starts || !payload.is_empty());
    }

    let height = vp8::keyframe_height(payload);
    assert!(height.is_none() || vp8::starts_keyframe(payload));
    assert!(height.is_none_or(|height| (1..1 << 14).contains(&height)));
    let height = h264::keyframe_height(payload);
    assert!(height.is_none() || h264::starts_keyframe(payload));
    assert_ne!(height, Some(0));
    if let Some(structure) = vp9::Descriptor::parse(payload).and_then(|of| of.structure) {
        let sizes = structure.resolutions.len();
        assert!(sizes == 0 || sizes == usize::from(structure.spatial_count));
    }

    if let Some(old) = vp9::Descriptor::parse(payload) {
        let numbers = vp9::Numbers {
            picture_id: Some(picture_id),
            tl0_picture_index: Some(tl0_picture_index),
        };
        let mut written = payload.to_vec();
        vp9::rewrite(&mut written, &numbers).expect("its numbers are there");
        let new = vp9::Descriptor::parse(&written).expect("our own descriptor");
        let mask = if old.picture_id_is_long { 0x7fff } else { 0x7f };
        assert_eq!(new.picture_id, old.picture_id.map(|_| picture_id & mask));
        assert_eq!(
            new.tl0_picture_index,
            old.tl0_picture_index.map(|_| tl0_picture_index)
        );
        assert_eq!((new.layer, new.len()), (old.layer, old.len()));
        assert_eq!(new.picture_diffs, old.picture_diffs);
        assert_eq!(new.structure, old.structure);
    }

    let Some(old) = vp8::Descriptor::parse(payload) else {
        return;
    };
    assert!(old.len() < payload.len() && old.len() <= vp8::DESCRIPTOR_BYTES_MAX);
    let numbers = vp8::Numbers {
        picture_id,
        tl0_picture_index,
        key_index,
    };
    let mut out = [0; vp8::DESCRIPTOR_BYTES_MAX + 1];
    let length = vp8::rewrite(&old, &numbers, &mut out).expect("there is room");
    assert!(length <= old.len() + 1);
    let new = vp8::Descriptor::parse(&out[..=length]).expect("our own descriptor");
    assert_eq!(new.len(), length);
    assert_eq!(new.picture_id, old.picture_id.map(|_| picture_id & 0x7fff));
    assert_eq!(
        new.tl0_picture_index,
        old.tl0_picture_index.map(|_| tl0_picture_index)
    );
    assert_eq!(new.key_index, old.key_index.map(|_| key_index & 0x1f));
    assert_eq!(new.temporal_layer, old.temporal_layer);
    assert_eq!(new.layer_sync, old.layer_sync);
    assert_eq!(new.starts_frame(), old.starts_frame());
});
