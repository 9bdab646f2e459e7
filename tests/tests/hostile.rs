//! Bad input is dropped, counted by its reason, and changes nothing.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking, and makes its own numbers"
)]

use core::net::SocketAddr;

use rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use shared::counters::{Counter, DropReason};
use shared::id::PublicationId;
use tests::World;
use tests::checker::Completeness;
use tests::peer::ClientOptions;
use tests::peer::ice::Nominates;
use tests::publisher::{Flow, Repair, TrackSpec};
use tests::rng::Rng;
use tests::subscriber::SubscriptionSpec;
use tests::world::WorldOptions;
use webrtc_util::marshal::Marshal;

/// A call that goes on while it is attacked, and a second audio track that only the attacker sends.
struct Attack {
    world: World,
    publisher: usize,
    subscriber: usize,
    target: PublicationId,
}

const ATTACKER: ([u8; 4], u16) = ([192, 0, 2, 66], 666);

impl Attack {
    fn new(seed: u64) -> Self {
        let mut world = World::new(WorldOptions::new(seed));
        let publisher = world.join(0, ClientOptions::default());
        let subscriber = world.join(0, ClientOptions::default());
        let video = world.publish(publisher, TrackSpec::video());
        world.subscribe(subscriber, video, SubscriptionSpec::default());
        let spec = TrackSpec {
            repair: Repair::None,
            ..TrackSpec::audio()
        };
        let target = world.publish(publisher, spec);
        world.track_mut(target).flow = Flow::Paused;
        world.run_for_ms(2_000);
        world.assert_connected(subscriber);
        Self {
            world,
            publisher,
            subscriber,
            target,
        }
    }

    /// Lets what was sent arrive, and tells how many datagrams were dropped for this reason by it.
    fn dropped(&mut self, reason: DropReason, attack: impl FnOnce(&mut Self)) -> u64 {
        let before = self.world.drops(0, reason);
        attack(self);
        self.world.run_for_ms(100);
        self.world.drops(0, reason) - before
    }

    /// The call must not have suffered.
    fn end(mut self) {
        self.world.run_for_ms(2_000);
        let summaries = self.world.settle(Completeness::Complete);
        let packets = summaries[self.subscriber][0].packets;
        assert!(packets > 300, "{packets}");
        self.world.close_all();
    }
}

#[test]
fn forged_and_truncated_srtp_is_dropped() {
    let mut attack = Attack::new(1);
    let dropped = attack.dropped(DropReason::RtpUnauthenticated, |attack| {
        for number in 0..50 {
            let plain = attack.world.plain_packet(attack.target, 1_000 + number);
            let mut sealed = attack
                .world
                .srtp_of(attack.publisher)
                .protect_plain_rtp(&plain);
            // Bits of the header (where it stays readable), the payload and the tag.
            let at = [1, 2, 5, 9, 20, sealed.len() - 1][usize::from(number) % 6];
            sealed[at] ^= 0x01;
            attack.world.send(attack.publisher, sealed);
        }
    });
    assert_eq!(dropped, 50);
    let dropped = attack.dropped(DropReason::RtpUnauthenticated, |attack| {
        for length in 12..40 {
            let plain = attack.world.plain_packet(attack.target, 2_000 + length);
            let mut sealed = attack
                .world
                .srtp_of(attack.publisher)
                .protect_plain_rtp(&plain);
            sealed.truncate(usize::from(length));
            attack.world.send(attack.publisher, sealed);
        }
    });
    assert_eq!(dropped, 28);
    attack.end();
}

#[test]
fn replays_are_dropped() {
    let mut attack = Attack::new(2);
    let target = attack.world.plain_packet(attack.target, 1_000);
    let sealed = attack
        .world
        .srtp_of(attack.publisher)
        .protect_plain_rtp(&target);
    let dropped = attack.dropped(DropReason::RtpReplayed, |attack| {
        for _ in 0..20 {
            attack.world.send(attack.publisher, sealed.clone());
        }
    });
    assert_eq!(dropped, 19);
    // Much later too, behind the window.
    for number in 0..2_000 {
        let plain = attack.world.plain_packet(attack.target, 1_001 + number);
        attack.world.send_rtp(attack.publisher, &plain);
    }
    attack.world.run_for_ms(1_000);
    let dropped = attack.dropped(DropReason::RtpReplayed, |attack| {
        attack.world.send(attack.publisher, sealed.clone());
    });
    assert_eq!(dropped, 1);
    let report = [0x80, 201, 0, 1, 0, 0, 0, 9];
    let sealed = attack.world.srtp_of(attack.publisher).protect_rtcp(&report);
    let dropped = attack.dropped(DropReason::RtcpReplayed, |attack| {
        for _ in 0..5 {
            attack.world.send(attack.publisher, sealed.clone());
        }
    });
    assert_eq!(dropped, 4);
    attack.end();
}

#[test]
fn lengths_that_lie_are_dropped() {
    let mut attack = Attack::new(3);
    let dropped = attack.dropped(DropReason::RtpPadding, |attack| {
        for (number, padding) in (1_000..).zip([0, 41, 100, 255]) {
            let mut plain = attack.world.plain_packet(attack.target, number);
            plain[0] |= 0x20;
            *plain.last_mut().unwrap() = padding;
            attack.world.send_rtp(attack.publisher, &plain);
        }
    });
    assert_eq!(dropped, 4);
    let dropped = attack.dropped(DropReason::RtpMalformed, |attack| {
        // An extension block that is said to be longer than the packet, and too many CSRCs.
        let mut plain = attack.world.plain_packet(attack.target, 2_000);
        plain[0] |= 0x10;
        plain[12..16].copy_from_slice(&[0xbe, 0xde, 0xff, 0xff]);
        attack.world.send(attack.publisher, plain);
        let mut plain = attack.world.plain_packet(attack.target, 2_001);
        plain.truncate(30);
        plain[0] |= 0x0f;
        attack.world.send(attack.publisher, plain);
        attack.world.send(attack.publisher, vec![0x80, 111, 1]);
    });
    assert_eq!(dropped, 3);
    attack.end();
}

#[test]
fn extension_elements_that_lie_are_not_read() {
    let mut attack = Attack::new(4);
    let before = attack.world.counter(0, Counter::RtpPacketsReceived);
    for (number, element) in (3_000..).zip([0x1f, 0x4f, 0xff, 0x0f, 0x5e]) {
        let mut plain = attack.world.plain_packet(attack.target, number);
        plain[0] |= 0x10;
        plain.splice(
            12..12,
            [0xbe, 0xde, 0, 1, element, element, element, element],
        );
        attack.world.send_rtp(attack.publisher, &plain);
    }
    attack.world.run_for_ms(50);
    assert!(attack.world.counter(0, Counter::RtpPacketsReceived) >= before + 5);
    attack.end();
}

#[test]
fn checks_without_the_password_are_dropped() {
    let mut attack = Attack::new(5);
    attack.world.clients[attack.subscriber].ice.nominates = Nominates::Yes;
    let remote: SocketAddr = ATTACKER.into();
    let dropped = attack.dropped(DropReason::StunUnauthenticated, |attack| {
        let check = attack
            .world
            .check_of(attack.subscriber, "not the password, not at all");
        attack.world.inject(0, remote, check);
        // Without its FINGERPRINT, then without its MESSAGE-INTEGRITY.
        let password = attack.world.clients[attack.subscriber]
            .ice
            .server
            .password
            .clone();
        let mut check = attack.world.check_of(attack.subscriber, &password);
        check.truncate(check.len() - 8 - 24);
        let length = (check.len() - 20) as u16;
        check[2..4].copy_from_slice(&length.to_be_bytes());
        attack.world.inject(0, remote, check);
    });
    assert_eq!(dropped, 2);
    let dropped = attack.dropped(DropReason::StunUnknownUser, |attack| {
        let before = attack.world.clients[attack.subscriber]
            .ice
            .server
            .ufrag
            .clone();
        "nobody".clone_into(&mut attack.world.clients[attack.subscriber].ice.server.ufrag);
        let check = attack.world.check_of(attack.subscriber, "whatever");
        attack.world.clients[attack.subscriber].ice.server.ufrag = before;
        attack.world.inject(0, remote, check);
    });
    assert_eq!(dropped, 1);
    let dropped = attack.dropped(DropReason::StunMalformed, |attack| {
        attack.world.inject(0, remote, vec![0; 19]);
        attack.world.inject(0, remote, vec![1; 64]);
    });
    assert_eq!(dropped, 2);
    assert!(attack.world.stray.is_empty(), "an attacker gets no answer");
    assert_eq!(attack.world.counter(0, Counter::AddressChanges), 0);
    attack.end();
}

#[test]
fn dtls_from_an_address_that_ice_has_not_validated_is_dropped() {
    let mut attack = Attack::new(6);
    let dropped = attack.dropped(DropReason::UnknownAddress, |attack| {
        attack
            .world
            .inject(0, ATTACKER.into(), vec![22, 0xfe, 0xfd, 3]);
        attack.world.inject(0, ATTACKER.into(), vec![63; 100]);
    });
    assert_eq!(dropped, 2);
    let dropped = attack.dropped(DropReason::UnknownProtocol, |attack| {
        for first in [4, 19, 64, 127, 192, 255] {
            attack.world.inject(0, ATTACKER.into(), vec![first; 50]);
        }
        attack.world.inject(0, ATTACKER.into(), Vec::new());
        attack.world.inject(0, ATTACKER.into(), vec![0x80]);
    });
    assert_eq!(dropped, 8);
    attack.end();
}

#[test]
fn a_flood_of_a_hundred_thousand_ssrcs_changes_nothing() {
    let mut attack = Attack::new(7);
    let publisher = attack.publisher;
    let before = resident_bytes();
    let dropped = attack.dropped(DropReason::UnknownSsrc, |attack| {
        for ssrc in 0..100_000_u32 {
            let mut plain = attack.world.plain_packet(attack.target, 100);
            plain[1] = 77;
            plain[8..12].copy_from_slice(&ssrc.to_be_bytes());
            // A context of its own would be made for each SSRC by the independent side.
            let mut srtp = attack.world.clients[publisher].srtp.take().unwrap();
            let sealed = srtp.protect_plain_rtp(&plain);
            attack.world.clients[publisher].srtp = Some(srtp);
            let address = attack.world.clients[publisher].address;
            attack.world.inject(0, address, sealed);
            if ssrc % 1_000 == 0 {
                attack.world.run_for_ms(100);
            }
        }
    });
    assert_eq!(dropped, 100_000);
    // The fake peer itself remembers each SSRC; the server must not take more than that again.
    let growth = resident_bytes().saturating_sub(before);
    assert!(growth < 200 << 20, "{growth} bytes");
    attack.end();
}

#[test]
fn a_storm_of_nacks_is_answered_within_bounds() {
    let mut attack = Attack::new(8);
    let leg = attack.world.leg(attack.subscriber, 0);
    let ssrc = leg.ssrc;
    let last = *leg.received.keys().last().unwrap() as u16;
    let numbers: Vec<u16> = (0..16).map(|back| last.wrapping_sub(back)).collect();
    let before = attack.world.counter(0, Counter::RtpPacketsRetransmitted);
    for _ in 0..500 {
        attack.world.nack(attack.subscriber, ssrc, &numbers);
        attack.world.run_for_ms(1);
    }
    attack.world.run_for_ms(100);
    let repeated = attack.world.counter(0, Counter::RtpPacketsRetransmitted) - before;
    assert!((16..=160).contains(&repeated), "{repeated}");
    assert!(attack.world.drops(0, DropReason::RetransmissionBudget) > 7_000);
    // Numbers that were never used, and SSRCs of others.
    let dropped = attack.dropped(DropReason::RetransmissionMiss, |attack| {
        attack
            .world
            .nack(attack.subscriber, ssrc, &[last.wrapping_add(20_000)]);
    });
    assert_eq!(dropped, 1);
    let dropped = attack.dropped(DropReason::UnknownSsrc, |attack| {
        attack
            .world
            .nack(attack.subscriber, 0xdead_beef, &[1, 2, 3]);
    });
    assert_eq!(dropped, 3);
    attack.end();
}

#[test]
fn a_storm_of_key_frame_requests_reaches_the_publisher_spaced() {
    let mut attack = Attack::new(9);
    let media_ssrc = attack.world.leg(attack.subscriber, 0).ssrc;
    let video = attack.world.clients[attack.publisher].publications[0].id;
    let before = attack.world.track(video).layers[0].keyframe_requests;
    for _ in 0..1_000 {
        let pli = PictureLossIndication {
            sender_ssrc: 1,
            media_ssrc,
        };
        attack
            .world
            .send_rtcp(attack.subscriber, &pli.marshal().unwrap());
        attack.world.run_for_ms(2);
    }
    attack.world.run_for_ms(1_000);
    let asked = attack.world.track(video).layers[0].keyframe_requests - before;
    // Every 400 ms: the publisher itself checks the spacing, to the microsecond.
    assert!((3..=8).contains(&asked), "{asked}");
    attack.end();
}

#[test]
fn rtcp_garbage_is_dropped() {
    let mut attack = Attack::new(10);
    let mut rng = Rng::new(10);
    let before = attack.world.drops(0, DropReason::RtcpMalformed);
    for _ in 0..2_000 {
        // A header that looks right, then anything, sealed by a client that is who it says it is.
        let length = 8 + rng.below(100) as usize;
        let mut plain: Vec<u8> = (0..length).map(|_| rng.bits() as u8).collect();
        plain[0] = 0x80 | (plain[0] & 0x1f);
        plain[1] = 200 + (plain[1] % 8);
        let words = rng.below(40) as u16;
        plain[2..4].copy_from_slice(&words.to_be_bytes());
        let client = if rng.chance(0.5) {
            attack.publisher
        } else {
            attack.subscriber
        };
        attack.world.send_rtcp(client, &plain);
        attack.world.run_for_ms(1);
    }
    attack.world.run_for_ms(100);
    assert!(attack.world.drops(0, DropReason::RtcpMalformed) - before > 500);
    let dropped = attack.dropped(DropReason::RtcpUnauthenticated, |attack| {
        let report = [0x80, 201, 0, 1, 0, 0, 0, 9];
        let sealed = attack.world.srtp_of(attack.publisher).protect_rtcp(&report);
        for at in [1, 4, 8, sealed.len() - 1] {
            let mut forged = sealed.clone();
            forged[at] ^= 0x02;
            attack.world.send(attack.publisher, forged);
        }
        attack.world.send(attack.publisher, sealed[..20].to_vec());
    });
    assert_eq!(dropped, 5);
    attack.end();
}

#[test]
fn payload_types_that_were_not_negotiated_are_dropped() {
    let mut attack = Attack::new(11);
    let dropped = attack.dropped(DropReason::UnknownPayloadType, |attack| {
        for (number, kind) in (1_000..).zip([0_u8, 8, 97, 127]) {
            let mut plain = attack.world.plain_packet(attack.target, number);
            plain[1] = kind;
            attack.world.send_rtp(attack.publisher, &plain);
        }
    });
    assert_eq!(dropped, 4);
    attack.end();
}

#[test]
fn any_bytes_from_anywhere_are_counted_and_change_nothing() {
    let mut attack = Attack::new(12);
    let mut rng = Rng::new(12);
    for _ in 0..20_000 {
        let length = rng.below(120) as usize;
        let bytes: Vec<u8> = (0..length).map(|_| rng.bits() as u8).collect();
        let known = attack.world.clients[attack.publisher].address;
        let remote = if rng.chance(0.5) {
            ATTACKER.into()
        } else {
            known
        };
        attack.world.inject(0, remote, bytes);
        if rng.chance(0.05) {
            attack.world.run_for_ms(2);
        }
    }
    attack.end();
}

/// What the process has in memory.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = status.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}
