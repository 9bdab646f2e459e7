//! Any bytes as the dependency descriptors of one stream; each that can be read is written again
//! with another mask.
#![no_main]

use dataplane_core::rtp::dependency_descriptor::{
    Descriptor, MASK_BYTES_MAX, write_active_targets,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u32, Vec<Vec<u8>>)| {
    let (mask, packets) = input;
    let mut structure = None;
    for packet in &packets {
        // As long as a header extension can be.
        let packet = packet.get(..255).unwrap_or(packet);
        let before = structure.clone();
        let Ok(old) = Descriptor::parse(packet, &mut structure) else {
            assert_eq!(structure, before);
            continue;
        };
        let known = structure.as_deref().expect("it points into one");
        assert!(usize::from(old.template_index) < known.templates().len());
        let mask = mask & known.all_targets();
        let mut out = [0xee; 255 + MASK_BYTES_MAX];
        let length = write_active_targets(packet, old.mask_place, mask, &mut out);
        let written = &out[..length.expect("there is room")];
        assert!(written.len() <= packet.len() + MASK_BYTES_MAX);
        let new = Descriptor::parse(written, &mut structure.clone()).expect("our own descriptor");
        assert_eq!(new.active_targets, Some(mask));
        assert_eq!(new.frame_number, old.frame_number);
        assert_eq!(new.template_index, old.template_index);
        assert_eq!(new.has_structure, old.has_structure);
        assert_eq!(new.dependencies, old.dependencies);
    }
});
