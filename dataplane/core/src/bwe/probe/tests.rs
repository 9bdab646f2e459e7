//! When probes are sent, at which rate, and what their results do.

use super::*;
use crate::ingress::testing::ms;

fn situation(estimate: u64) -> Situation {
    Situation {
        estimate,
        underused: true,
        queue_is_empty: false,
        calm: true,
    }
}

fn wanting(demand: u64) -> ProbeController {
    let mut probes = ProbeController::default();
    probes.set_demand(demand);
    probes
}

/// Sends all of a probe and returns its rate over the time that it took, and that time in
/// milliseconds.
fn send_all(probes: &mut ProbeController, from: u64) -> (u64, u64) {
    let (mut bytes, mut last, mut at) = (0, 0, from);
    while probes.cluster.is_some() {
        while let Some(packet) = probes.wanted(ms(at)) {
            assert_ne!(probes.sent(ms(at), packet.bytes), 0);
            bytes += u64::from(packet.bytes);
            last = u64::from(packet.bytes);
        }
        at += 1;
    }
    let took = at - 1 - from;
    ((bytes - last) * 8 * 1000 / took / 1000, took)
}

fn result(probes: &ProbeController, rate: u64, saturated: bool) -> ProbeResult {
    ProbeResult {
        cluster: probes.last_id,
        rate,
        saturated,
    }
}

/// Sends what is planned and lets it come through whole.
fn come_through(probes: &mut ProbeController, at: u64, estimate: u64) -> Option<u64> {
    probes.update(ms(at), &situation(estimate))?;
    let rate = probes.cluster.as_ref()?.rate;
    send_all(probes, at);
    probes.judge(&result(probes, rate, false), &situation(estimate))
}

#[test]
fn without_demand_nothing_is_probed() {
    let mut probes = wanting(0);
    assert_eq!(probes.update(ms(0), &situation(300_000)), None);
    assert_eq!(probes.next_packet_at(ms(0)), None);
}

#[test]
fn an_estimate_with_room_for_the_demand_is_not_probed() {
    let mut probes = wanting(1_000_000);
    assert_eq!(probes.update(ms(0), &situation(1_400_000)), None);
    assert!(probes.update(ms(0), &situation(1_300_000)).is_some());
}

#[test]
fn the_first_probe_is_three_times_the_start_and_lasts_25_ms() {
    let mut probes = wanting(4_000_000);
    let begun = probes.update(ms(0), &situation(300_000)).unwrap();
    assert_eq!((begun.packets_min, begun.bytes_min), (5, 2812));
    let (kilobits, took) = send_all(&mut probes, 0);
    assert!((850..=1100).contains(&kilobits), "{kilobits}");
    assert!((20..=26).contains(&took), "{took}");
}

#[test]
fn a_probe_is_done_within_a_second_beside_what_takes_more_than_its_rate() {
    let mut probes = wanting(4_000_000);
    probes.update(ms(0), &situation(5_000)).unwrap();
    let mut packets = 0;
    for at in 0..1_000 {
        while probes.wanted(ms(at)).is_some() {
            packets += 1;
            // A packet of the probe, and what left before it without numbers.
            probes.sent(ms(at), 200 + 5_000);
        }
        probes.update(ms(at), &situation(5_000));
    }
    assert_eq!(packets, 5);
    assert!(probes.cluster.is_none() && probes.awaited_until.is_some());
}

#[test]
fn what_comes_through_is_doubled_until_it_is_enough() {
    let mut probes = wanting(4_000_000);
    let mut estimate = 300_000;
    let mut rates = Vec::new();
    for step in 0..5 {
        if let Some(raised) = come_through(&mut probes, 100 * step, estimate) {
            estimate = raised;
            rates.push(raised);
        }
    }
    assert_eq!(rates, [900_000, 1_800_000, 3_600_000, 5_600_000]);
}

#[test]
fn a_probe_that_the_link_slows_raises_nothing_until_one_comes_through() {
    let mut probes = wanting(4_000_000);
    probes.update(ms(0), &situation(300_000));
    send_all(&mut probes, 0);
    let slowed = result(&probes, 500_000, true);
    assert_eq!(probes.judge(&slowed, &situation(300_000)), None);
    // Another one, at what the link seems to carry.
    assert_eq!(come_through(&mut probes, 100, 300_000), Some(500_000));
}

#[test]
fn a_probe_that_the_link_slows_lowers_an_estimate_that_is_not_in_use() {
    let mut probes = wanting(4_000_000);
    probes.update(ms(0), &situation(1_000_000));
    send_all(&mut probes, 0);
    let slowed = result(&probes, 700_000, true);
    let mut in_use = situation(1_000_000);
    in_use.underused = false;
    assert_eq!(probes.judge(&slowed, &in_use), None);
    assert_eq!(probes.judge(&slowed, &situation(1_000_000)), Some(665_000));
}

#[test]
fn nothing_is_probed_while_a_queue_fills_or_drains() {
    let mut probes = wanting(4_000_000);
    let mut busy = situation(300_000);
    busy.calm = false;
    assert_eq!(probes.update(ms(0), &busy), None);
    assert_eq!(probes.next_packet_at(ms(0)), None);
}

#[test]
fn while_the_demand_is_not_met_it_probes_every_five_seconds() {
    let mut probes = wanting(4_000_000);
    let mut begun = Vec::new();
    for at in (0..16_000).step_by(20) {
        if probes.update(ms(at), &situation(1_000_000)).is_some() {
            begun.push(at / 1000);
            send_all(&mut probes, at);
            let slowed = result(&probes, 1_000_000, true);
            probes.judge(&slowed, &situation(1_000_000));
        }
    }
    assert_eq!(begun, [0, 5, 10, 15]);
}

#[test]
fn a_link_that_is_in_full_use_is_probed_only_if_it_has_changed() {
    let mut probes = wanting(4_000_000);
    come_through(&mut probes, 0, 1_000_000);
    probes.next_rate = None;
    let mut in_use = situation(1_000_000);
    in_use.underused = false;
    assert_eq!(probes.update(ms(30_000), &in_use), None);
    probes.capacity_exceeded();
    assert!(probes.update(ms(30_000), &in_use).is_some());
}

#[test]
fn a_link_in_full_use_whose_queue_is_empty_may_carry_more() {
    let mut probes = wanting(4_000_000);
    come_through(&mut probes, 0, 1_000_000);
    probes.next_rate = None;
    let mut in_use = situation(1_000_000);
    in_use.underused = false;
    in_use.queue_is_empty = true;
    assert!(probes.update(ms(30_000), &in_use).is_some());
}

#[test]
fn far_below_the_demand_it_probes_more_often() {
    let mut probes = wanting(4_000_000);
    come_through(&mut probes, 0, 900_000);
    probes.next_rate = None;
    assert_eq!(probes.update(ms(1999), &situation(900_000)), None);
    assert_eq!(probes.update(ms(2000), &situation(1_000_000)), None);
    assert!(probes.update(ms(2000), &situation(900_000)).is_some());
}

#[test]
fn a_demand_that_rises_is_probed_for_at_once() {
    let mut probes = wanting(1_000_000);
    come_through(&mut probes, 0, 1_000_000);
    assert_eq!(probes.update(ms(500), &situation(1_400_000)), None);
    probes.set_demand(1_050_000);
    assert_eq!(probes.update(ms(500), &situation(1_400_000)), None);
    probes.set_demand(3_000_000);
    assert!(probes.update(ms(500), &situation(1_400_000)).is_some());
    assert_eq!(probes.cluster.as_ref().unwrap().rate, 2_800_000);
}

#[test]
fn after_a_large_drop_most_of_what_was_is_tried_again() {
    let mut probes = wanting(4_000_000);
    come_through(&mut probes, 0, 1_000_000);
    probes.next_rate = None;
    probes.lowered(ms(1000), 1_000_000, 700_000);
    probes.lowered(ms(1200), 700_000, 600_000);
    assert_eq!(probes.update(ms(1300), &situation(600_000)), None);
    assert!(probes.update(ms(1700), &situation(600_000)).is_some());
    assert_eq!(probes.cluster.as_ref().unwrap().rate, 850_000);
}

#[test]
fn a_small_drop_is_no_reason_to_probe() {
    let mut probes = wanting(4_000_000);
    come_through(&mut probes, 0, 1_000_000);
    probes.next_rate = None;
    probes.lowered(ms(1000), 2_000_000, 1_400_000);
    assert_eq!(probes.update(ms(2000), &situation(1_400_000)), None);
}

#[test]
fn media_counts_as_part_of_a_probe() {
    let mut probes = wanting(1_000_000);
    let begun = probes.update(ms(0), &situation(300_000)).unwrap();
    for at in 0..5 {
        assert_eq!(probes.sent(ms(at), 1200), begun.id);
    }
    assert_eq!(probes.sent(ms(6), 1200), 0);
    assert_eq!(probes.wanted(ms(6)), None);
}

#[test]
fn a_probe_that_falls_behind_does_not_end_in_a_burst() {
    let mut probes = wanting(4_000_000);
    probes.update(ms(0), &situation(1_000_000));
    let mut largest = 0;
    for at in (0..200).step_by(20) {
        let mut packets = 0;
        while let Some(packet) = probes.wanted(ms(at)) {
            probes.sent(ms(at), packet.bytes);
            packets += 1;
        }
        largest = largest.max(packets);
    }
    assert!(largest <= 2, "{largest}");
}

#[test]
fn a_probe_that_cannot_be_sent_is_given_up() {
    let mut probes = wanting(4_000_000);
    probes.update(ms(0), &situation(300_000));
    assert!(probes.wanted(ms(999)).is_some());
    probes.update(ms(1000), &situation(300_000));
    assert_eq!(probes.wanted(ms(1000)), None);
}

#[test]
fn it_knows_when_a_packet_of_a_probe_is_due() {
    let mut probes = wanting(4_000_000);
    let calm = situation(1_000_000);
    assert_eq!(probes.next_packet_at(ms(7)), None);
    probes.update(ms(7), &calm);
    assert_eq!(probes.next_packet_at(ms(7)), Some(ms(7)));
    let packet = probes.wanted(ms(7)).unwrap();
    probes.sent(ms(7), packet.bytes);
    let next = probes.next_packet_at(ms(7)).unwrap();
    assert_eq!(probes.wanted(ms(7)), None);
    assert!(next > ms(10) && probes.wanted(next).is_some());
    send_all(&mut probes, 12);
    assert_eq!(probes.next_packet_at(ms(50)), None);
}

#[test]
fn the_next_probe_waits_for_its_time() {
    let mut probes = wanting(4_000_000);
    let calm = situation(1_000_000);
    probes.update(ms(7), &calm);
    send_all(&mut probes, 7);
    let begins = (8..10_000).find(|at| probes.update(ms(*at), &calm).is_some());
    assert_eq!(begins, Some(5_007));
}
