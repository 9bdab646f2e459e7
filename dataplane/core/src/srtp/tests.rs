//! Our side against `webrtc-srtp`, an implementation that shares no code with ours.

use shared::counters::DropReason;
use shared::protocol::DtlsRole;
use webrtc_srtp::context::Context;
use webrtc_srtp::protection_profile::ProtectionProfile;

use super::{
    RTCP_OVERHEAD_MAX, RTP_OVERHEAD_MAX, SSRCS_MAX, SessionKeys, SrtpProfile, SrtpReceiver,
    SrtpSender,
};
use crate::rtp::header::RtpHeader;

#[test]
fn the_peer_opens_every_rtp_packet_that_we_seal() {
    each_profile(|ends| {
        for (number, plain) in packets_of_all_shapes().enumerate() {
            let header = RtpHeader::parse(&plain).unwrap();
            let index = u64::from(header.sequence_number);
            let payload = &plain[header.len()..];

            let mut sealed = vec![0xee; plain.len() + RTP_OVERHEAD_MAX];
            sealed[..header.len()].copy_from_slice(&plain[..header.len()]);
            let length =
                ends.sender
                    .seal_rtp(header.ssrc, index, header.len(), payload, &mut sealed);
            sealed.truncate(length.unwrap());
            assert_eq!(
                ends.peer_decrypts.decrypt_rtp(&sealed).unwrap(),
                plain,
                "packet {number}"
            );

            let mut in_place = plain.clone();
            in_place.resize(plain.len() + RTP_OVERHEAD_MAX, 0xee);
            let length = ends.sender.seal_rtp_in_place(
                header.ssrc,
                index,
                header.len(),
                plain.len(),
                &mut in_place,
            );
            in_place.truncate(length.unwrap());
            assert_eq!(
                in_place, sealed,
                "packet {number}: in place is like out of place"
            );
        }
    });
}

#[test]
fn we_open_every_rtp_packet_that_the_peer_seals() {
    each_profile(|ends| {
        for (number, plain) in packets_of_all_shapes().enumerate() {
            let mut packet = ends.peer_encrypts.encrypt_rtp(&plain).unwrap().to_vec();
            let header = RtpHeader::parse(&packet).unwrap();
            let length = ends.receiver.open_rtp(&header, &mut packet).unwrap();
            assert_eq!(packet[..length], plain, "packet {number}");
        }
    });
}

#[test]
fn the_peer_opens_every_rtcp_packet_that_we_seal() {
    each_profile(|ends| {
        for plain in rtcp_of_all_lengths() {
            let mut packet = plain.clone();
            packet.resize(plain.len() + RTCP_OVERHEAD_MAX, 0xee);
            let length = ends.sender.seal_rtcp(plain.len(), &mut packet).unwrap();
            let opened = ends.peer_decrypts.decrypt_rtcp(&packet[..length]).unwrap();
            assert_eq!(opened, plain, "{} bytes", plain.len());
        }
    });
}

#[test]
fn we_open_every_rtcp_packet_that_the_peer_seals() {
    each_profile(|ends| {
        for plain in rtcp_of_all_lengths() {
            let mut packet = ends.peer_encrypts.encrypt_rtcp(&plain).unwrap().to_vec();
            let length = ends.receiver.open_rtcp(&mut packet).unwrap();
            assert_eq!(packet[..length], plain, "{} bytes", plain.len());
        }
    });
}

#[test]
fn the_roll_over_counter_follows_through_loss_and_reordering() {
    each_profile(|ends| {
        // Three times round. The peer seals in order; what arrives is neither complete nor ordered.
        let mut random = Random(7);
        let mut in_flight: Vec<(u64, Vec<u8>)> = Vec::new();
        let mut opened = 0;
        for index in (40_000_u64..220_000).step_by(3) {
            let plain = packet(9, low_bits(index), &index.to_be_bytes());
            let sealed = ends.peer_encrypts.encrypt_rtp(&plain).unwrap().to_vec();
            if random.below(10) == 0 {
                continue;
            }
            in_flight.push((index, sealed));
            if in_flight.len() > 40 {
                let (index, mut sealed) = in_flight.swap_remove(random.below(40));
                let header = RtpHeader::parse(&sealed).unwrap();
                match ends.receiver.open_rtp(&header, &mut sealed) {
                    Ok(length) => {
                        assert_eq!(sealed[header.len()..length], index.to_be_bytes());
                        opened += 1;
                    }
                    Err(reason) => assert_eq!(reason, DropReason::RtpReplayed, "index {index}"),
                }
            }
        }
        assert!(
            opened > 50_000,
            "only {opened} of about 54,000 were in the window"
        );
    });
}

#[test]
fn the_peer_follows_our_index_round_the_wrap() {
    each_profile(|ends| {
        for index in 65_000..66_100 {
            let plain = packet(9, low_bits(index), b"round");
            let sealed = seal(&ends.sender, index, &plain);
            assert_eq!(
                ends.peer_decrypts.decrypt_rtp(&sealed).unwrap(),
                plain,
                "index {index}"
            );
        }
    });
}

#[test]
fn a_late_packet_from_before_the_wrap_still_opens() {
    each_profile(|ends| {
        for index in [65_533, 65_534, 65_536, 65_535, 65_540, 65_532] {
            let sealed = seal(
                &ends.peer_sender,
                index,
                &packet(1, low_bits(index), b"late"),
            );
            assert_eq!(
                ends.open_rtp(&sealed).as_deref(),
                Ok(&b"late"[..]),
                "index {index}"
            );
        }
    });
}

#[test]
fn a_replayed_rtp_packet_is_dropped() {
    each_profile(|ends| {
        let sealed = ends
            .peer_encrypts
            .encrypt_rtp(&packet(1, 5, b"once"))
            .unwrap();
        assert_eq!(ends.open_rtp(&sealed).as_deref(), Ok(&b"once"[..]));
        assert_eq!(ends.open_rtp(&sealed), Err(DropReason::RtpReplayed));
    });
}

#[test]
fn an_rtp_packet_from_before_the_replay_window_is_dropped() {
    each_profile(|ends| {
        let old = seal(&ends.peer_sender, 1000, &packet(1, 1000, b"old"));
        let new = seal(&ends.peer_sender, 2000, &packet(1, 2000, b"new"));
        assert!(ends.open_rtp(&new).is_ok());
        assert_eq!(ends.open_rtp(&old), Err(DropReason::RtpReplayed));
    });
}

#[test]
fn a_replayed_rtcp_packet_is_dropped() {
    each_profile(|ends| {
        let sealed = ends
            .peer_encrypts
            .encrypt_rtcp(&receiver_report(4))
            .unwrap();
        assert!(ends.receiver.open_rtcp(&mut sealed.to_vec()).is_ok());
        let replayed = ends.receiver.open_rtcp(&mut sealed.to_vec());
        assert_eq!(replayed, Err(DropReason::RtcpReplayed));
    });
}

#[test]
fn a_change_of_any_bit_of_an_rtp_packet_is_noticed_and_changes_nothing() {
    each_profile(|ends| {
        let genuine = ends
            .peer_encrypts
            .encrypt_rtp(&packet(1, 5, b"genuine"))
            .unwrap();
        for bit in 0..genuine.len() * 8 {
            let mut forged = genuine.to_vec();
            forged[bit / 8] ^= 1 << (bit % 8);
            if RtpHeader::parse(&forged).is_ok() {
                let opened = ends.open_rtp(&forged);
                assert_eq!(opened, Err(DropReason::RtpUnauthenticated), "bit {bit}");
            }
        }
        assert_eq!(ends.receiver.rtp_ssrcs(), 0);
        assert_eq!(ends.open_rtp(&genuine).as_deref(), Ok(&b"genuine"[..]));
    });
}

#[test]
fn a_forged_sequence_number_does_not_move_the_window() {
    each_profile(|ends| {
        let first = seal(&ends.peer_sender, 5, &packet(1, 5, b"first"));
        assert!(ends.open_rtp(&first).is_ok());
        for sequence_number in [6, 1000, 30_000, 32_000] {
            let mut forged = seal(&ends.peer_sender, 6, &packet(1, 6, b"forged"));
            forged[2..4].copy_from_slice(&u16::to_be_bytes(sequence_number));
            forged.pop();
            assert_eq!(ends.open_rtp(&forged), Err(DropReason::RtpUnauthenticated));
        }
        let second = seal(&ends.peer_sender, 6, &packet(1, 6, b"second"));
        assert_eq!(ends.open_rtp(&second).as_deref(), Ok(&b"second"[..]));
    });
}

#[test]
fn a_change_of_any_bit_of_an_rtcp_packet_is_noticed_and_changes_nothing() {
    each_profile(|ends| {
        let genuine = ends
            .peer_encrypts
            .encrypt_rtcp(&receiver_report(2))
            .unwrap();
        for bit in 0..genuine.len() * 8 {
            let mut forged = genuine.to_vec();
            forged[bit / 8] ^= 1 << (bit % 8);
            let opened = ends.receiver.open_rtcp(&mut forged);
            assert_eq!(opened, Err(DropReason::RtcpUnauthenticated), "bit {bit}");
        }
        assert!(ends.receiver.open_rtcp(&mut genuine.to_vec()).is_ok());
    });
}

#[test]
fn a_truncated_packet_is_unauthenticated() {
    each_profile(|ends| {
        let rtp = ends.peer_encrypts.encrypt_rtp(&packet(1, 5, b"")).unwrap();
        for length in 12..rtp.len() {
            assert_eq!(
                ends.open_rtp(&rtp[..length]),
                Err(DropReason::RtpUnauthenticated)
            );
        }
        let rtcp = ends
            .peer_encrypts
            .encrypt_rtcp(&receiver_report(0))
            .unwrap();
        for length in 0..rtcp.len() {
            let opened = ends.receiver.open_rtcp(&mut rtcp[..length].to_vec());
            assert_eq!(
                opened,
                Err(DropReason::RtcpUnauthenticated),
                "{length} bytes"
            );
        }
    });
}

#[test]
fn keys_of_another_session_open_nothing() {
    each_profile(|ends| {
        let material = vec![0x5a; ends.profile.exporter_len()];
        let keys = SessionKeys::from_exporter(ends.profile, DtlsRole::Server, &material).unwrap();
        let sealed = seal(&SrtpSender::new(&keys), 5, &packet(1, 5, b"other"));
        assert_eq!(ends.open_rtp(&sealed), Err(DropReason::RtpUnauthenticated));
    });
}

#[test]
fn what_we_send_does_not_open_when_it_is_reflected_to_us() {
    each_profile(|ends| {
        let sealed = seal(&ends.sender, 5, &packet(1, 5, b"mirror"));
        assert_eq!(ends.open_rtp(&sealed), Err(DropReason::RtpUnauthenticated));
    });
}

#[test]
fn a_flood_of_ssrcs_forgets_the_one_not_heard_for_longest() {
    each_profile(|ends| {
        let send = |ssrc, index| {
            seal(
                &ends.peer_sender,
                index,
                &packet(ssrc, low_bits(index), b"x"),
            )
        };
        let first: Vec<_> = (0..512).map(|ssrc| send(ssrc, 5)).collect();
        let (again, one_more) = (send(0, 6), send(1000, 5));
        assert_eq!(first.len(), SSRCS_MAX);
        for sealed in first.iter().chain([&again, &one_more]) {
            assert!(ends.open_rtp(sealed).is_ok());
        }
        assert_eq!(ends.receiver.rtp_ssrcs(), SSRCS_MAX);
        // SSRC 0 was heard after SSRC 1, so 1 had to go.
        assert_eq!(ends.open_rtp(&first[0]), Err(DropReason::RtpReplayed));
        assert!(ends.open_rtp(&first[1]).is_ok());
    });
}

#[test]
fn rtp_is_refused_when_the_master_key_has_served_2_to_the_48_packets() {
    each_profile(|ends| {
        let mut out = packet(1, 0xffff, b"last");
        out.resize(100, 0);
        let last = (1 << 48) - 1;
        assert!(
            ends.sender
                .seal_rtp_in_place(1, last, 12, 16, &mut out)
                .is_some()
        );
        assert_eq!(
            ends.sender.seal_rtp_in_place(1, last + 1, 12, 16, &mut out),
            None
        );
        assert_eq!(
            ends.sender.seal_rtp(1, last + 1, 12, b"last", &mut out),
            None
        );
    });
}

#[test]
fn rtcp_is_refused_when_the_master_key_has_served_2_to_the_31_packets() {
    each_profile(|ends| {
        let plain = receiver_report(0);
        let mut out = vec![0; plain.len() + RTCP_OVERHEAD_MAX];
        out[..plain.len()].copy_from_slice(&plain);
        ends.sender.skip_rtcp_to((1 << 31) - 1);
        assert!(ends.sender.seal_rtcp(plain.len(), &mut out).is_some());
        assert_eq!(ends.sender.seal_rtcp(plain.len(), &mut out), None);
    });
}

#[test]
fn sealing_into_too_little_room_is_refused() {
    each_profile(|ends| {
        let plain = packet(1, 5, b"payload");
        let needed = plain.len() + ends.profile.tag_len();
        for room in 0..needed {
            let mut out = plain.clone();
            out.resize(room, 0);
            assert_eq!(ends.sender.seal_rtp(1, 5, 12, b"payload", &mut out), None);
            assert_eq!(
                ends.sender
                    .seal_rtp_in_place(1, 5, 12, plain.len(), &mut out),
                None
            );
        }
        let report = receiver_report(0);
        let mut out = report.clone();
        out.resize(report.len() + ends.profile.tag_len() + 3, 0);
        assert_eq!(ends.sender.seal_rtcp(report.len(), &mut out), None);
        assert_eq!(
            ends.sender.seal_rtcp(7, &mut out),
            None,
            "too short for RTCP"
        );
    });
}

#[test]
fn debug_shows_no_key() {
    each_profile(|ends| {
        assert_eq!(
            format!("{:?}", ends.sender),
            "SrtpSender { next_rtcp_index: 0, .. }"
        );
        let receiver = format!("{:?}", ends.receiver);
        assert_eq!(
            receiver,
            "SrtpReceiver { rtp_streams: 0, rtcp_streams: 0, .. }"
        );
    });
}

/// We are the DTLS client; the peer is the server, once as ours and once as `webrtc-srtp`.
struct Ends {
    profile: SrtpProfile,
    sender: SrtpSender,
    receiver: SrtpReceiver,
    peer_sender: SrtpSender,
    peer_encrypts: Context,
    peer_decrypts: Context,
}

impl Ends {
    fn new(profile: SrtpProfile) -> Self {
        let material: Vec<u8> = (0..profile.exporter_len())
            .map(|i| u8::try_from(i * 37 % 251).unwrap())
            .collect();
        let ours = SessionKeys::from_exporter(profile, DtlsRole::Client, &material).unwrap();
        let peers = SessionKeys::from_exporter(profile, DtlsRole::Server, &material).unwrap();
        let (key, salt) = (profile.key_len(), profile.salt_len());
        let (keys, salts) = material.split_at(2 * key);
        let theirs = match profile {
            SrtpProfile::Aes128CmHmacSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
            SrtpProfile::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
            SrtpProfile::AeadAes256Gcm => ProtectionProfile::AeadAes256Gcm,
        };
        let context = |key, salt| Context::new(key, salt, theirs, None, None).unwrap();
        Self {
            profile,
            sender: SrtpSender::new(&ours),
            receiver: SrtpReceiver::new(&ours),
            peer_sender: SrtpSender::new(&peers),
            peer_encrypts: context(&keys[key..], &salts[salt..]),
            peer_decrypts: context(&keys[..key], &salts[..salt]),
        }
    }

    /// The payload.
    fn open_rtp(&mut self, sealed: &[u8]) -> Result<Vec<u8>, DropReason> {
        let mut packet = sealed.to_vec();
        let header = RtpHeader::parse(&packet).unwrap();
        let length = self.receiver.open_rtp(&header, &mut packet)?;
        Ok(packet[header.len()..length].to_vec())
    }
}

#[expect(
    clippy::print_stdout,
    reason = "a failed test shows its output: which profile it was"
)]
fn each_profile(mut test: impl FnMut(&mut Ends)) {
    for profile in [
        SrtpProfile::Aes128CmHmacSha1_80,
        SrtpProfile::AeadAes128Gcm,
        SrtpProfile::AeadAes256Gcm,
    ] {
        println!("{profile:?}");
        test(&mut Ends::new(profile));
    }
}

fn seal(sender: &SrtpSender, index: u64, plain: &[u8]) -> Vec<u8> {
    let header = RtpHeader::parse(plain).unwrap();
    let mut out = plain.to_vec();
    out.resize(plain.len() + RTP_OVERHEAD_MAX, 0);
    let length = sender
        .seal_rtp_in_place(header.ssrc, index, header.len(), plain.len(), &mut out)
        .unwrap();
    out.truncate(length);
    out
}

/// Payloads of 0 to 1400 bytes behind headers plain, with CSRCs, with an extension block, with
/// both; sequence numbers go up by one.
fn packets_of_all_shapes() -> impl Iterator<Item = Vec<u8>> {
    (0..=1400_u16).map(|length| {
        let payload: Vec<u8> = (0..length)
            .map(|i| (i * 7 + length).to_be_bytes()[1])
            .collect();
        let mut plain = packet(0xcafe_babe, 20_000 + length, &[]);
        if length % 4 >= 2 {
            let csrcs = 1 + length % 15;
            plain[0] |= csrcs.to_be_bytes()[1];
            plain.extend((0..csrcs * 4).map(|i| i.to_be_bytes()[1]));
        }
        if length % 2 == 1 {
            plain[0] |= 0x10;
            plain.extend([0xbe, 0xde, 0, 2, 0x10, 0xaa, 0x22, 1, 2, 3, 0, 0]);
        }
        plain.extend(payload);
        plain
    })
}

fn rtcp_of_all_lengths() -> impl Iterator<Item = Vec<u8>> {
    (0..=31).map(receiver_report)
}

/// A receiver report with so many blocks (RFC 3550 §6.4.2).
fn receiver_report(blocks: u8) -> Vec<u8> {
    let mut packet = vec![
        0x80 | blocks,
        201,
        0,
        1 + 6 * blocks,
        0xde,
        0xad,
        0xbe,
        0xef,
    ];
    packet.extend((0..blocks).flat_map(|block| [block; 24]));
    packet
}

fn packet(ssrc: u32, sequence_number: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, 96];
    packet.extend(sequence_number.to_be_bytes());
    packet.extend([1, 2, 3, 4]);
    packet.extend(ssrc.to_be_bytes());
    packet.extend(payload);
    packet
}

fn low_bits(index: u64) -> u16 {
    u16::try_from(index % 65_536).unwrap()
}

/// A small generator (splitmix64): the same numbers on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % u64::try_from(bound).unwrap()).unwrap()
    }
}

pub(super) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}
