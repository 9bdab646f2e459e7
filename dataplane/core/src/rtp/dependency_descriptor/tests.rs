//! What a browser sends, what a writer of our own sends, and what an attacker may.

use proptest::collection::vec;
use proptest::prelude::*;

use super::testing::{DescriptorSpec, StructureSpec, TemplateSpec};
use super::*;

/// The structure of Chromium's `L3T3_KEY`, as captured from its traffic.
const L3T3_KEY: &str = "c1017280081485214eafffaaaa863cf0430c10c302afc0aaa0063c00430010c002a000a80006\
    000040001d954926e082b04a0941b820ac1282503157f974000ca864330e222222eca8655304224230eca87753007700\
    4200ef008601df010d";

fn bytes(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text.chars().map(|c| c.to_digit(16).unwrap()).collect();
    digits
        .chunks(2)
        .map(|pair| u8::try_from(pair[0] << 4 | pair[1]).unwrap())
        .collect()
}

/// The structure above, and the descriptor that brought it.
fn captured() -> (Descriptor, Option<Box<Structure>>) {
    let mut structure = None;
    let descriptor = Descriptor::parse(&bytes(L3T3_KEY), &mut structure).unwrap();
    (descriptor, structure)
}

#[test]
fn the_structure_of_a_browser_is_read() {
    let (descriptor, structure) = captured();
    let structure = structure.unwrap();
    assert!(descriptor.starts_frame && descriptor.ends_frame && descriptor.has_structure);
    assert!(brings_structure(&bytes(L3T3_KEY)));
    assert_eq!(descriptor.frame_number, 0x172);
    assert_eq!(descriptor.active_targets, Some(0x1ff));
    assert_eq!(structure.target_count(), 9);
    assert_eq!(structure.chain_count(), 3);
    let targets: Vec<_> = structure
        .decode_targets()
        .iter()
        .map(|target| (target.spatial, target.temporal, target.chain))
        .collect();
    let expected: Vec<_> = (0..3)
        .flat_map(|s| (0..3).map(move |t| (s, t, Some(s))))
        .collect();
    assert_eq!(targets, expected);
    let size = |spatial| structure.resolution(spatial).map(|r| (r.width, r.height));
    assert_eq!(size(0), Some((120, 67)));
    assert_eq!(size(1), Some((240, 135)));
    assert_eq!(size(2), Some((480, 270)));
    assert_eq!(size(3), None);
}

#[test]
fn a_key_frame_of_a_browser_lets_one_switch_to_every_target() {
    let (descriptor, _) = captured();
    let indications = descriptor.dependencies.indications;
    for target in 0..9 {
        assert_eq!(indications.of(target), Indication::Switch, "{target}");
    }
    assert!(descriptor.dependencies.frame_diffs.is_empty());
}

#[test]
fn descriptors_of_a_browser_point_into_the_structure() {
    let (_, mut structure) = captured();
    // Template id 6, the first packet; a mask of the six targets below the top.
    let first = Descriptor::parse(&bytes("86017340fc"), &mut structure).unwrap();
    assert!(first.starts_frame && !first.ends_frame && !first.has_structure);
    assert!(!brings_structure(&bytes("86017340fc")));
    assert_eq!(first.frame_number, 0x173);
    assert_eq!(first.active_targets, Some(0x3f));
    assert_eq!((first.spatial, first.temporal), (1, 0));
    assert_eq!(first.dependencies.frame_diffs[..], [1]);
    let last = Descriptor::parse(&bytes("460173"), &mut structure).unwrap();
    assert!(!last.starts_frame && last.ends_frame);
    assert_eq!(last.active_targets, None);
    assert_eq!(last.dependencies, first.dependencies);
}

#[test]
fn without_a_structure_nothing_can_be_read() {
    assert_eq!(
        Descriptor::parse(&bytes("460173"), &mut None),
        Err(DescriptorError::UnknownTemplate)
    );
}

#[test]
fn an_id_of_another_structure_is_told() {
    let (_, mut structure) = captured();
    let before = structure.clone();
    assert_eq!(
        Descriptor::parse(&bytes("bf0173"), &mut structure),
        Err(DescriptorError::UnknownTemplate)
    );
    assert_eq!(structure, before);
}

#[test]
fn a_descriptor_cut_at_any_byte_changes_nothing() {
    let whole = bytes(L3T3_KEY);
    for cut in 0..whole.len() {
        let mut structure = None;
        assert!(Descriptor::parse(&whole[..cut], &mut structure).is_err());
        assert_eq!(structure, None);
    }
}

#[test]
fn more_layers_than_anyone_sends_are_refused() {
    let template = |spatial| TemplateSpec {
        spatial,
        temporal: 0,
        indications: "S".to_owned(),
        frame_diffs: Vec::new(),
        chain_diffs: Vec::new(),
    };
    let spec = StructureSpec {
        template_id_offset: 0,
        templates: (0..5).map(template).collect(),
        chains: Vec::new(),
        chain_count: 0,
        resolutions: Vec::new(),
    };
    let key = DescriptorSpec {
        attaches_structure: true,
        ..DescriptorSpec::default()
    };
    assert_eq!(
        Descriptor::parse(&key.bytes(&spec), &mut None),
        Err(DescriptorError::Unsupported)
    );
}

#[test]
fn a_mask_is_added_to_a_descriptor_of_three_bytes() {
    let (_, mut structure) = captured();
    let old = bytes("460173");
    let place = Descriptor::parse(&old, &mut structure).unwrap().mask_place;
    let mut out = [0xee; 8];
    assert_eq!(write_active_targets(&old, place, 0x3f, &mut out), Some(5));
    assert_eq!(out[..5], bytes("46017340fc"));
}

#[test]
fn a_mask_takes_the_place_of_another() {
    let (_, mut structure) = captured();
    let old = bytes("86017340fc");
    let place = Descriptor::parse(&old, &mut structure).unwrap().mask_place;
    let mut out = [0xee; 8];
    assert_eq!(write_active_targets(&old, place, 0x07, &mut out), Some(5));
    assert_eq!(out[..5], bytes("860173401c"));
}

#[test]
fn a_buffer_too_small_for_the_mask_is_told() {
    let (_, mut structure) = captured();
    let old = bytes("460173");
    let place = Descriptor::parse(&old, &mut structure).unwrap().mask_place;
    for length in 0..5 {
        let mut out = [0; 5];
        let out = &mut out[..length];
        assert_eq!(write_active_targets(&old, place, 1, out), None);
    }
}

fn indications(targets: usize) -> impl Strategy<Value = String> {
    proptest::string::string_regex(&format!("[-DSR]{{{targets}}}")).unwrap()
}

fn structure() -> impl Strategy<Value = StructureSpec> {
    (1_usize..=32, 0_u8..=32).prop_flat_map(|(targets, chains)| {
        let chains = chains.min(u8::try_from(targets).unwrap());
        let template = (
            indications(targets),
            vec(1_u16..=16, 0..4),
            vec(0_u8..16, usize::from(chains)),
        );
        let protecting = vec(0..chains.max(1), targets);
        let layers = vec(0_u8..3, 0..12);
        (
            0_u8..64,
            vec(template, 13),
            layers,
            protecting,
            any::<bool>(),
        )
            .prop_map(move |(offset, templates, steps, protecting, sizes)| {
                spec(offset, templates, &steps, protecting, chains, sizes)
            })
    })
}

type Parts = (String, Vec<u16>, Vec<u8>);

fn spec(
    template_id_offset: u8,
    parts: Vec<Parts>,
    steps: &[u8],
    chains: Vec<u8>,
    chain_count: u8,
    sizes: bool,
) -> StructureSpec {
    let (mut spatial, mut temporal) = (0, 0);
    let mut templates = Vec::new();
    for ((indications, frame_diffs, chain_diffs), step) in
        parts.into_iter().zip([0].iter().chain(steps))
    {
        match step {
            1 if temporal < 7 => temporal += 1,
            2 if spatial < 3 => (spatial, temporal) = (spatial + 1, 0),
            _ => {}
        }
        templates.push(TemplateSpec {
            spatial,
            temporal,
            indications,
            frame_diffs,
            chain_diffs,
        });
    }
    let count = if sizes { u32::from(spatial) + 1 } else { 0 };
    StructureSpec {
        template_id_offset,
        templates,
        chains,
        chain_count,
        resolutions: (0..count).map(|s| (320 << s, 180 << s)).collect(),
    }
}

/// A structure, and a descriptor that uses it.
fn pair() -> impl Strategy<Value = (StructureSpec, DescriptorSpec)> {
    structure().prop_flat_map(|spec| {
        let targets = spec.templates[0].indications.len();
        let template = 0..u8::try_from(spec.templates.len()).unwrap();
        let mask = any::<u32>().prop_map(move |mask| mask >> (32 - targets));
        let own = (
            proptest::option::of(indications(targets)),
            proptest::option::of(vec(1_u16..=4_096, 0..8)),
            proptest::option::of(vec(any::<u8>(), usize::from(spec.chain_count))),
        );
        let flags = any::<(bool, bool, bool)>();
        (
            flags,
            template,
            any::<u16>(),
            proptest::option::of(mask),
            own,
        )
            .prop_map(
                move |(flags, template, frame_number, active_targets, own)| {
                    let descriptor = DescriptorSpec {
                        starts_frame: flags.0,
                        ends_frame: flags.1,
                        attaches_structure: flags.2,
                        template,
                        frame_number,
                        active_targets,
                        indications: own.0,
                        frame_diffs: own.1,
                        chain_diffs: own.2,
                    };
                    (spec.clone(), descriptor)
                },
            )
    })
}

/// The stream's structure, as read from a key frame.
fn known(spec: &StructureSpec) -> Option<Box<Structure>> {
    let key = DescriptorSpec {
        attaches_structure: true,
        ..DescriptorSpec::default()
    };
    let mut known = None;
    Descriptor::parse(&key.bytes(spec), &mut known).unwrap();
    known
}

proptest! {
    #[test]
    fn what_is_written_reads_back((spec, written) in pair()) {
        let mut structure = known(&spec);
        let read = Descriptor::parse(&written.bytes(&spec), &mut structure).unwrap();
        let structure = structure.unwrap();
        let all = structure.all_targets();
        let default_mask = written.attaches_structure.then_some(all);
        prop_assert_eq!(read.active_targets, written.active_targets.or(default_mask));
        prop_assert_eq!(read.starts_frame, written.starts_frame);
        prop_assert_eq!(read.ends_frame, written.ends_frame);
        prop_assert_eq!(read.frame_number, written.frame_number);
        let template = &spec.templates[usize::from(read.template_index)];
        prop_assert_eq!((read.spatial, read.temporal), (template.spatial, template.temporal));
        let read = read.dependencies;
        let indications = written.indications.as_ref().unwrap_or(&template.indications);
        for (target, sign) in (0..).zip(indications.chars()) {
            let expected = match sign {
                'D' => Indication::Discardable,
                'S' => Indication::Switch,
                'R' => Indication::Required,
                _ => Indication::NotPresent,
            };
            prop_assert_eq!(read.indications.of(target), expected);
        }
        let diffs = written.frame_diffs.as_ref().unwrap_or(&template.frame_diffs);
        prop_assert_eq!(&read.frame_diffs[..], &diffs[..]);
        let chains = written.chain_diffs.as_ref().unwrap_or(&template.chain_diffs);
        prop_assert_eq!(&read.chain_diffs[..], &chains[..]);
        let protecting: Vec<_> =
            structure.decode_targets().iter().filter_map(|target| target.chain).collect();
        prop_assert_eq!(protecting, if spec.chain_count > 0 { spec.chains } else { Vec::new() });
    }

    #[test]
    fn another_mask_changes_nothing_else((spec, written) in pair(), mask: u32) {
        let mut structure = known(&spec);
        let old = written.bytes(&spec);
        let before = Descriptor::parse(&old, &mut structure).unwrap();
        let mask = mask & structure.as_ref().unwrap().all_targets();
        let mut out = vec![0xee; old.len() + MASK_BYTES_MAX];
        let length = write_active_targets(&old, before.mask_place, mask, &mut out).unwrap();
        let expected = DescriptorSpec { active_targets: Some(mask), ..written };
        prop_assert_eq!(&out[..length], &expected.bytes(&spec)[..]);
    }

    #[test]
    fn any_bytes_are_read_within_their_bounds(packets in vec(vec(any::<u8>(), 0..64), 1..20)) {
        let (_, mut structure) = captured();
        for packet in &packets {
            if let Ok(descriptor) = Descriptor::parse(packet, &mut structure) {
                let count = structure.as_ref().unwrap().templates().len();
                prop_assert!(usize::from(descriptor.template_index) < count);
            }
        }
    }
}
