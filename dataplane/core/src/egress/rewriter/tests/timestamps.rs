//! Timestamps that go on over switches and pauses.

use super::*;
use crate::ingress::report::ClockMapping;
use crate::rtp::seq::timestamp_is_newer;
use crate::time::NtpTime;

#[test]
fn the_first_source_keeps_its_timestamps() {
    let mut rewriter = Rewriter::new(FIRST);
    assert_eq!(rewriter.start(A, 1, &at(77, 0)).timestamp, 77);
    assert_eq!(rewriter.map(A, 2, &at(80, 0)).unwrap().timestamp, 80);
}

#[test]
fn timestamps_go_on_by_the_time_that_passed() {
    let mut rewriter = Rewriter::new(FIRST);
    rewriter.start(A, 1, &at(u32::MAX - 10, 1_000));
    let switched = rewriter.start(B, 1, &at(123, 1_100));
    assert_eq!(switched.timestamp, (u32::MAX - 10).wrapping_add(9_000));
    let next = rewriter.map(B, 2, &at(123 + 3_000, 1_133)).unwrap();
    assert_eq!(next.timestamp, switched.timestamp + 3_000);
}

#[test]
fn timestamps_of_a_new_source_are_always_ahead() {
    let mut rewriter = Rewriter::new(FIRST);
    rewriter.start(A, 1, &at(1_000, 1_000));
    assert_eq!(rewriter.start(B, 1, &at(9, 1_000)).timestamp, 1_001);
    assert_eq!(rewriter.start(A, 5, &at(u32::MAX, 900)).timestamp, 1_002);
}

#[test]
fn a_source_that_begins_again_after_a_pause_keeps_its_timestamps() {
    let mut rewriter = Rewriter::new(FIRST);
    rewriter.start(B, 1, &at(7, 1_000));
    let before = rewriter.start(A, 1, &at(90_000, 1_100)).timestamp;
    // A second of media, which came late: 100 ms before the next.
    rewriter.map(A, 2, &at(91_000, 2_100));
    rewriter.interrupt();
    let after = rewriter.start(A, 90, &at(180_000, 2_200)).timestamp;
    assert_eq!(after.wrapping_sub(before), 90_000);
    // But time never goes back.
    rewriter.interrupt();
    let again = rewriter.start(A, 91, &at(170_000, 2_300)).timestamp;
    assert_eq!(again.wrapping_sub(after), 9_000);
}

#[test]
fn a_long_pause_is_no_step_back() {
    let mut rewriter = Rewriter::new(FIRST);
    let before = rewriter.start(A, 1, &at(1_000, 0)).timestamp;
    let after = rewriter.start(B, 1, &at(1_000, 40_000_000)).timestamp;
    assert!(timestamp_is_newer(after, before));
}

/// Sources whose timestamps are these at one time.
fn clock(rtp_timestamp: u32) -> ClockMapping {
    ClockMapping {
        ntp: NtpTime::from_bits(9 << 32),
        rtp_timestamp,
    }
}

/// A packet with this timestamp by that clock, received at that many milliseconds.
fn captured(timestamp: u32, millis: u64, clock: ClockMapping) -> PacketInfo {
    let mut info = at(timestamp, millis);
    info.captured_at = Some(clock.ntp_of(timestamp, 90_000));
    info
}

#[test]
fn timestamps_go_on_by_the_time_of_capture_where_it_is_known() {
    let (a, b) = (clock(5_000), clock(800_000));
    let mut rewriter = Rewriter::new(FIRST);
    rewriter.start(A, 1, &captured(5_000, 1_000, a));
    // Captured 50 ms later, but received 130 ms later: key frames take long.
    assert_eq!(
        rewriter.start(B, 1, &captured(804_500, 1_130, b)).timestamp,
        9_500
    );
    // Captured 50 ms before: its path is longer. It follows as soon as it can.
    assert_eq!(
        rewriter.start(A, 9, &captured(5_000, 1_140, a)).timestamp,
        9_501
    );
    // A clock that says that time went far ahead, or far back, is not believed.
    let far = captured(800_000 + 90_000 * 60, 1_150, b);
    assert_eq!(rewriter.start(B, 9, &far).timestamp, 10_401);
    assert_eq!(
        rewriter.start(A, 10, &captured(5_000, 1_160, a)).timestamp,
        11_301
    );
}

#[test]
fn timestamps_go_on_by_the_time_of_capture_after_a_frame_that_a_repair_brought_late() {
    let (a, b) = (clock(5_000), clock(800_000));
    let mut rewriter = Rewriter::new(FIRST);
    // Two seconds after it was captured.
    rewriter.start(A, 1, &captured(5_000, 3_000, a));
    let next = captured(800_000 + 90_000 * 5, 6_000, b);
    assert_eq!(
        rewriter.start(B, 1, &next).timestamp,
        5_000 + 90_000 * 5,
        "captured five seconds later, though it came three later"
    );
}

#[test]
fn the_timestamp_of_the_newest_frame_is_that_of_the_source() {
    let mut rewriter = Rewriter::new(FIRST);
    assert_eq!(rewriter.newest_timestamp(), None);
    rewriter.start(A, 1_000, &at(9_000, 100));
    rewriter.start(B, 70_000, &at(77, 200));
    assert_eq!(rewriter.newest_timestamp(), Some(77));
}
