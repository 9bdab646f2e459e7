use super::*;
use crate::ingress::testing::{Packet, info};

fn packet(sequence_number: u64, length: usize) -> Vec<u8> {
    let number = u16::try_from(sequence_number & 0xffff).unwrap();
    let fill = number.to_be_bytes()[1];
    Packet::new(1000, number, 0, &vec![fill; length]).bytes()
}

fn insert(cache: &mut PacketCache, sequence_number: u64, length: usize) -> bool {
    let bytes = packet(sequence_number, length);
    cache.insert(sequence_number, info(&bytes), &bytes)
}

#[test]
fn an_unused_cache_owns_no_memory() {
    let cache = PacketCache::new(MediaKind::Video);
    assert_eq!(cache.bytes.capacity() + cache.slots.capacity(), 0);
    assert!(cache.packet(1).is_none());
}

#[test]
fn a_packet_is_found_as_it_was_put_in() {
    let mut cache = PacketCache::new(MediaKind::Video);
    assert!(insert(&mut cache, 65_540, 100));
    assert_eq!(cache.packet(65_540).unwrap().bytes, packet(65_540, 100));
    assert!(cache.packet(4).is_none(), "another cycle");
}

#[test]
fn a_slot_taken_by_a_later_packet_forgets_the_earlier_one() {
    let mut cache = PacketCache::new(MediaKind::Audio);
    insert(&mut cache, 5, 10);
    insert(&mut cache, 5 + AUDIO_PACKETS, 10);
    assert!(cache.packet(5).is_none());
    assert!(!cache.contains(5));
    assert!(cache.packet(5 + AUDIO_PACKETS).is_some());
}

#[test]
fn a_packet_whose_bytes_are_overwritten_is_gone_but_not_unknown() {
    let mut cache = PacketCache::new(MediaKind::Video);
    insert(&mut cache, 0, 1_000);
    let mut last_seen = 0;
    for number in 1..1_000 {
        insert(&mut cache, number, 1_000);
        if cache.packet(0).is_some() {
            last_seen = number;
        }
    }
    // 1014 bytes each with room for padding: 517 packets fill the ring, the 518th overwrites the
    // first.
    assert_eq!(last_seen, 516);
    assert!(cache.contains(0));
}

#[test]
fn what_is_found_is_always_whole() {
    let mut cache = PacketCache::new(MediaKind::Video);
    for number in 0..20_000_u64 {
        let length = usize::try_from(number * 7_919 % 1_400).unwrap();
        insert(&mut cache, number, length);
        for old in (number.saturating_sub(1_100)..=number).step_by(13) {
            if let Some(found) = cache.packet(old) {
                let length = usize::try_from(old * 7_919 % 1_400).unwrap();
                assert_eq!(found.bytes, packet(old, length), "{old} after {number}");
            }
        }
    }
}

#[test]
fn memory_does_not_grow() {
    let mut cache = PacketCache::new(MediaKind::Video);
    insert(&mut cache, 0, 10);
    let before = (cache.bytes.as_ptr(), cache.slots.as_ptr());
    for number in 1..5_000 {
        insert(&mut cache, number, 1_200);
    }
    assert_eq!((cache.bytes.as_ptr(), cache.slots.as_ptr()), before);
    assert_eq!(cache.bytes.len(), VIDEO_BYTES);
}

#[test]
fn a_packet_larger_than_any_datagram_is_not_kept() {
    let mut cache = PacketCache::new(MediaKind::Audio);
    let length = PACKET_BYTES_MAX + 1;
    let bytes = packet(9, length);
    assert!(!cache.insert(9, info(&bytes), &bytes));
    assert!(!cache.contains(9));
}

#[test]
fn padding_is_cut_off_and_no_longer_announced() {
    let mut cache = PacketCache::new(MediaKind::Video);
    let padded = Packet::new(1000, 7, 0, &[1, 2, 3]).padded(200).bytes();
    cache.insert(7, info(&padded), &padded);
    let found = cache.packet(7).unwrap();
    assert_eq!(found.bytes, Packet::new(1000, 7, 0, &[1, 2, 3]).bytes());
    assert_eq!(found.payload(), [1, 2, 3]);
}

#[test]
fn our_own_padding_follows_the_payload_and_counts_itself() {
    // RFC 3550 §5.1.
    for (padding, expected) in [(1, vec![7, 7, 1]), (2, vec![7, 7, 0, 2])] {
        let mut cache = PacketCache::new(MediaKind::Video);
        insert(&mut cache, 7, 2);
        insert(&mut cache, 8, 2);
        cache.pad(7, padding);
        let found = cache.packet(7).unwrap();
        assert_eq!(found.padded_payload(), expected);
        assert_eq!(found.bytes, packet(7, 2), "what goes to other shards");
        let next = cache.packet(8).unwrap();
        assert_eq!(next.padded_payload(), [8, 8]);
        assert!(found.is_padded() && !next.is_padded());
    }
}

#[test]
fn more_padding_than_there_is_room_for_is_not_put_on() {
    let mut cache = PacketCache::new(MediaKind::Video);
    insert(&mut cache, 7, 2);
    cache.pad(7, 3);
    assert_eq!(cache.packet(7).unwrap().padded_payload(), [7, 7]);
}
