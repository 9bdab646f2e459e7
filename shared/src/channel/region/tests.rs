use std::fs::File;
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

use super::*;
use crate::counters::{Counter, DropReason, Gauge};

/// A region of one shard, and a mapping of its own for the other side.
fn both_sides() -> (Region, Region) {
    let ours = Region::create(2, 7).expect("a region");
    let theirs = Region::attach(ours.fd.try_clone().expect("a descriptor")).expect("attached");
    (ours, theirs)
}

fn shard(region: &Region, index: u16) -> ShardMemory {
    region.shard(ShardIndex(index)).expect("such a shard")
}

/// A sealed memfd with these words at its start.
fn forged(header: [u64; 4], bytes: u64) -> OwnedFd {
    let fd = memfd_create("t", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).expect("memfd");
    let file = File::from(fd);
    file.set_len(bytes).expect("sized");
    if bytes >= 32 {
        file.write_all_at(header.map(u64::to_le_bytes).as_flattened(), 0)
            .expect("written");
    }
    fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW).expect("sealed");
    file.into()
}

fn good_header() -> [u64; 4] {
    [MAGIC, u64::from(LAYOUT_VERSION), 7, 1]
}

fn good_size() -> u64 {
    bytes_of(HEADER_WORDS + SHARD_WORDS)
}

#[test]
fn both_sides_see_one_region() {
    let (ours, theirs) = both_sides();
    assert_eq!((theirs.generation(), theirs.shard_count()), (7, 2));
    assert_eq!(theirs.shards().count(), 2);
    assert!(theirs.shard(ShardIndex(2)).is_none());
    let mut producer = shard(&theirs, 1).command_producer().expect("a producer");
    let mut consumer = shard(&ours, 1).command_consumer().expect("a consumer");
    producer.push(b"command").expect("room");
    assert_eq!(consumer.pop(), Ok(Some(&b"command"[..])));
}

#[test]
fn the_rings_of_shards_and_directions_are_apart() {
    let (ours, theirs) = both_sides();
    for index in 0..2_u8 {
        let memory = shard(&theirs, u16::from(index));
        memory
            .command_producer()
            .expect("a producer")
            .push(&[index, 0])
            .expect("room");
        let memory = shard(&ours, u16::from(index));
        memory
            .reply_producer()
            .expect("a producer")
            .push(&[index, 1])
            .expect("room");
    }
    for index in 0..2_u8 {
        let mut commands = shard(&ours, u16::from(index))
            .command_consumer()
            .expect("a consumer");
        assert_eq!(commands.pop(), Ok(Some(&[index, 0][..])));
        assert_eq!(commands.pop(), Ok(None));
        let mut replies = shard(&theirs, u16::from(index))
            .reply_consumer()
            .expect("a consumer");
        assert_eq!(replies.pop(), Ok(Some(&[index, 1][..])));
        assert_eq!(replies.pop(), Ok(None));
    }
}

#[test]
fn a_ring_of_a_region_takes_four_of_the_largest_records() {
    let (ours, theirs) = both_sides();
    let mut producer = shard(&ours, 0).reply_producer().expect("a producer");
    let mut consumer = shard(&theirs, 0).reply_consumer().expect("a consumer");
    let largest = vec![0x5a; RECORD_BYTES_MAX];
    for _ in 0..4 {
        producer.push(&largest).expect("room");
    }
    assert_eq!(
        producer.push(&largest),
        Err(crate::channel::PushError::Full)
    );
    for _ in 0..4 {
        assert_eq!(consumer.pop(), Ok(Some(&largest[..])));
    }
}

#[test]
fn counters_are_read_as_they_were_published() {
    let (ours, theirs) = both_sides();
    let mut counters = Counters::default();
    counters.add(Counter::BytesReceived, u64::MAX);
    counters.set(Gauge::Sessions, 3);
    counters.dropped(DropReason::ALL[DropReason::COUNT - 1]);
    shard(&ours, 1).publish_counters(&counters);
    assert_eq!(shard(&theirs, 1).read_counters().words(), counters.words());
    assert_eq!(
        shard(&theirs, 0).read_counters().words(),
        &[0; counters::WORDS]
    );
}

#[test]
fn each_shard_has_a_heartbeat() {
    let (ours, theirs) = both_sides();
    shard(&ours, 0).store_heartbeat(12);
    assert_eq!(shard(&theirs, 0).load_heartbeat(), 12);
    assert_eq!(shard(&theirs, 1).load_heartbeat(), 0);
}

#[test]
fn a_new_control_plane_finds_the_rings_empty() {
    let (ours, theirs) = both_sides();
    let memory = shard(&theirs, 0);
    memory
        .command_producer()
        .expect("a producer")
        .push(b"old")
        .expect("room");
    let memory = shard(&ours, 0);
    memory
        .reply_producer()
        .expect("a producer")
        .push(b"old")
        .expect("room");
    memory.reset_rings();
    assert_eq!(
        memory.command_consumer().expect("a consumer").pop(),
        Ok(None)
    );
    let mut replies = shard(&theirs, 0).reply_consumer().expect("a consumer");
    assert_eq!(replies.pop(), Ok(None));
}

#[test]
fn corrupt_rings_are_mended_by_a_reset() {
    let (ours, theirs) = both_sides();
    let memory = shard(&theirs, 0);
    memory.ring(COMMANDS_START).as_ref()[16].store(u64::MAX, Ordering::Relaxed);
    let memory = shard(&ours, 0);
    assert_eq!(memory.command_consumer().err(), Some(RingError::Corrupt));
    memory.reset_rings();
    assert!(memory.command_consumer().is_ok());
}

#[test]
fn ring_ends_outlive_their_region() {
    let (ours, theirs) = both_sides();
    let mut producer = shard(&theirs, 0).command_producer().expect("a producer");
    let mut consumer = shard(&ours, 0).command_consumer().expect("a consumer");
    drop((ours, theirs));
    std::thread::spawn(move || producer.push(b"late").expect("room"))
        .join()
        .expect("pushed");
    assert_eq!(consumer.pop(), Ok(Some(&b"late"[..])));
}

#[test]
fn a_forged_region_that_is_right_is_accepted() {
    // Proves that the refusals below are for the reasons that they name.
    assert!(Region::attach(forged(good_header(), good_size())).is_ok());
}

#[test]
fn a_region_without_seals_is_refused() {
    let fd = memfd_create("t", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).expect("memfd");
    rustix::fs::ftruncate(&fd, good_size()).expect("sized");
    assert!(matches!(Region::attach(fd), Err(RegionError::NotSealed)));
    let file = File::open("/dev/null").expect("a file that is no memfd");
    assert!(matches!(
        Region::attach(file.into()),
        Err(RegionError::NotSealed)
    ));
}

#[test]
fn a_region_can_neither_shrink_nor_grow() {
    let (ours, _) = both_sides();
    assert_eq!(
        rustix::fs::ftruncate(&ours.fd, 0),
        Err(rustix::io::Errno::PERM)
    );
    assert_eq!(
        rustix::fs::ftruncate(&ours.fd, 1 << 30),
        Err(rustix::io::Errno::PERM)
    );
}

#[test]
fn a_region_of_another_kind_or_version_is_refused() {
    let header = [MAGIC + 1, u64::from(LAYOUT_VERSION), 7, 1];
    assert!(matches!(
        Region::attach(forged(header, good_size())),
        Err(RegionError::Magic)
    ));
    let header = [MAGIC, u64::from(LAYOUT_VERSION) + 1, 7, 1];
    assert!(matches!(
        Region::attach(forged(header, good_size())),
        Err(RegionError::Version { found }) if found == u64::from(LAYOUT_VERSION) + 1
    ));
}

#[test]
fn a_region_with_too_many_or_no_shards_is_refused() {
    for count in [0, SHARDS_MAX as u64 + 1, u64::from(u16::MAX) + 2, u64::MAX] {
        let header = [MAGIC, u64::from(LAYOUT_VERSION), 7, count];
        assert!(matches!(
            Region::attach(forged(header, good_size())),
            Err(RegionError::ShardCount { found }) if found == count
        ));
    }
    assert!(matches!(
        Region::create(0, 7),
        Err(RegionError::ShardCount { found: 0 })
    ));
    assert!(matches!(
        Region::create(257, 7),
        Err(RegionError::ShardCount { found: 257 })
    ));
}

#[test]
fn a_region_of_the_wrong_size_is_refused() {
    for bytes in [
        0,
        4095,
        4096,
        good_size() - 1,
        good_size() + 1,
        2 * good_size(),
    ] {
        assert!(
            matches!(
                Region::attach(forged(good_header(), bytes)),
                Err(RegionError::Size { found, .. }) if found == bytes
            ),
            "{bytes}"
        );
    }
}

/// The other half of the test below: a process of its own that echoes commands as replies. It finds
/// the region as its standard input.
#[test]
#[ignore = "two_processes_talk_through_a_region runs it, in a process of its own"]
fn echo_process() {
    let fd = io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .expect("a descriptor");
    let region = Region::attach(fd).expect("attached");
    let memory = shard(&region, 0);
    let mut commands = memory.command_consumer().expect("a consumer");
    let mut replies = memory.reply_producer().expect("a producer");
    let mut left = ECHOES;
    while left > 0 {
        let Some(record) = commands.pop().expect("not corrupt") else {
            std::thread::yield_now();
            continue;
        };
        while replies.push(record).is_err() {
            std::thread::yield_now();
        }
        left -= 1;
    }
}

#[test]
fn two_processes_talk_through_a_region() {
    let region = Region::create(1, 9).expect("a region");
    let fd = region.fd.try_clone().expect("a descriptor");
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args([
            "channel::region::tests::echo_process",
            "--exact",
            "--ignored",
        ])
        .stdin(fd)
        .stdout(Stdio::null())
        .spawn()
        .expect("started");
    let memory = shard(&region, 0);
    let mut commands = memory.command_producer().expect("a producer");
    let mut replies = memory.reply_consumer().expect("a consumer");
    let record = |number: u32| number.to_le_bytes().repeat(1 + number as usize % 700);
    let (mut sent, mut received) = (0, 0);
    let started = std::time::Instant::now();
    while received < ECHOES {
        assert!(
            started.elapsed().as_secs() < 30,
            "stuck at {sent} sent, {received} received"
        );
        if sent < ECHOES && commands.push(&record(sent)).is_ok() {
            sent += 1;
        }
        if let Some(reply) = replies.pop().expect("not corrupt") {
            assert_eq!(reply, record(received));
            received += 1;
        } else {
            std::thread::yield_now();
        }
    }
    assert!(child.wait().expect("ended").success());
}

const ECHOES: u32 = 20_000;
