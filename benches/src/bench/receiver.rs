//! A subscriber that costs little: its socket is read in batches, each packet is counted by its
//! header, and a sample is decrypted by `webrtc-srtp` and checked bit for bit.

use core::time::Duration;
use std::net::UdpSocket;
use std::time::Instant;

use rtcp::packet::Packet;
use rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtcp::receiver_report::ReceiverReport;
use rtcp::reception_report::ReceptionReport;
use webrtc_srtp::context::Context;
use webrtc_util::marshal::{MarshalSize, Unmarshal};

use super::arrivals::Arrivals;
use super::sys::ReceiveBatch;
use super::tally::{Tally, TallyCounts};
use crate::error::LoadError;
use crate::ice::IceAgent;
use crate::media::{Kind, check};
use crate::peer::{Protocol, seal_rtcp};
use crate::report::Latencies;

/// One subscriber's end of a session, or of the floor.
#[derive(Debug)]
pub struct Lane {
    socket: UdpSocket,
    session: Option<Session>,
    tracks: Vec<Tally>,
    /// Where the last packet's track stands: the next one is of the same, mostly.
    last: usize,
    /// Payload types that were negotiated.
    payload_types: Vec<(u8, Kind)>,
    keep_alive_due: Instant,
    first_media: Option<Instant>,
    others: u64,
}

/// What keeps a session alive and opens its packets; the floor has none.
pub struct Session {
    /// Makes binding requests.
    pub ice: IceAgent,
    /// Opens RTP.
    pub incoming: Context,
    /// Seals RTCP.
    pub outgoing: Context,
    /// What is told of when packets came, if anything is.
    pub arrivals: Option<Arrivals>,
    /// Payload types of retransmissions, which probes come as: they are no media.
    pub repeat_types: Vec<u8>,
}

impl core::fmt::Debug for Session {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

/// What all lanes of one thread count together.
#[derive(Clone, Debug, Default)]
pub struct Received {
    /// Media packets.
    pub packets: u64,
    /// Bytes of UDP payload.
    pub bytes: u64,
    /// Messages that the kernel handed over: runs, with GRO.
    pub messages: u64,
    /// From the publisher's stamp to the check, microseconds, of the checked packets.
    pub latencies: Latencies,
}

/// What one lane saw.
#[derive(Clone, Copy, Debug, Default)]
pub struct LaneReport {
    /// Of all its tracks.
    pub counts: TallyCounts,
    /// Tracks that sent enough to be known.
    pub settled: usize,
    /// RTP packets that were not offered, and what is no RTP, RTCP, STUN or DTLS.
    pub others: u64,
    /// When the first packet was checked.
    pub first_media: Option<Instant>,
}

impl Lane {
    /// Takes a socket over. `early` are datagrams that came before.
    pub fn new(
        socket: UdpSocket,
        session: Option<Session>,
        payload_types: Vec<(u8, Kind)>,
        now: Instant,
    ) -> Self {
        Self {
            socket,
            session,
            tracks: Vec::new(),
            last: 0,
            payload_types,
            keep_alive_due: now,
            first_media: None,
            others: 0,
        }
    }

    /// Its socket.
    pub fn socket(&self) -> &UdpSocket {
        &self.socket
    }

    /// Takes one batch; whether there was anything. `clock` is the beginning of the run.
    pub fn receive(
        &mut self,
        batch: &mut ReceiveBatch,
        clock: Instant,
        received: &mut Received,
    ) -> bool {
        if batch.receive(&self.socket) == 0 {
            return false;
        }
        if let Some(arrivals) = self.arrivals() {
            arrivals.set_now(clock.elapsed());
        }
        for (bytes, segment) in batch.messages() {
            received.messages += 1;
            for datagram in bytes.chunks(segment) {
                self.handle(datagram, clock, received);
            }
        }
        true
    }

    /// Takes one datagram.
    pub fn handle(&mut self, datagram: &[u8], clock: Instant, received: &mut Received) {
        match Protocol::of(datagram) {
            Protocol::Rtp => self.handle_rtp(datagram, clock, received),
            Protocol::Rtcp | Protocol::Stun | Protocol::Dtls => {}
            Protocol::Unknown => self.others += 1,
        }
    }

    fn handle_rtp(&mut self, sealed: &[u8], clock: Instant, received: &mut Received) {
        let Some((fixed, _)) = sealed.split_first_chunk::<12>() else {
            return;
        };
        let [_, second, n0, n1, _, _, _, _, s0, s1, s2, s3] = *fixed;
        if self.take_note(sealed, second & 0x7f) {
            return;
        }
        let sequence_number = u16::from_be_bytes([n0, n1]);
        let ssrc = u32::from_be_bytes([s0, s1, s2, s3]);
        let Some(position) = self.position_of(ssrc, second & 0x7f, sequence_number) else {
            self.others += 1;
            return;
        };
        let Some(track) = self.tracks.get_mut(position) else {
            return;
        };
        if !track.arrived(sequence_number) {
            return;
        }
        received.packets += 1;
        received.bytes += sealed.len() as u64;
        if let Some(session) = &mut self.session
            && track.wants_check()
        {
            if let Some(sent_us) = verify(track, &mut session.incoming, sealed) {
                let now_us = u64::try_from(clock.elapsed().as_micros()).unwrap_or(u64::MAX);
                received.latencies.add(now_us.saturating_sub(sent_us));
            }
            self.first_media.get_or_insert_with(Instant::now);
        }
    }

    fn arrivals(&mut self) -> Option<&mut Arrivals> {
        self.session.as_mut()?.arrivals.as_mut()
    }

    /// Notes when a packet came; whether that is all, since it is no media.
    fn take_note(&mut self, sealed: &[u8], payload_type: u8) -> bool {
        let Some(session) = &mut self.session else {
            return false;
        };
        if let Some(arrivals) = &mut session.arrivals {
            arrivals.record(sealed);
        }
        session.repeat_types.contains(&payload_type)
    }

    /// Tells when packets came, if it is time.
    ///
    /// # Errors
    ///
    /// [`LoadError`] if a message cannot be made.
    pub fn tell_arrivals(&mut self, now: Duration) -> Result<(), LoadError> {
        let Some(arrivals) = self.arrivals() else {
            return Ok(());
        };
        match arrivals.message(now)? {
            Some(message) => self.send_rtcp(&[message]),
            None => Ok(()),
        }
    }

    /// A full socket loses it; the next one comes soon.
    fn send_rtcp(&mut self, packets: &[Box<dyn Packet + Send + Sync>]) -> Result<(), LoadError> {
        let Some(session) = &mut self.session else {
            return Ok(());
        };
        let sealed = seal_rtcp(&mut session.outgoing, packets)?;
        let _ = self.socket.send(&sealed);
        Ok(())
    }

    fn position_of(&mut self, ssrc: u32, payload_type: u8, first: u16) -> Option<usize> {
        if self
            .tracks
            .get(self.last)
            .is_some_and(|track| track.ssrc == ssrc)
        {
            return Some(self.last);
        }
        let known = self.tracks.iter().position(|track| track.ssrc == ssrc);
        self.last = match known {
            Some(position) => position,
            None => {
                let mut types = self.payload_types.iter();
                let (_, kind) = types.find(|(number, _)| *number == payload_type)?;
                self.tracks.push(Tally::new(*kind, ssrc, first));
                self.tracks.len() - 1
            }
        };
        Some(self.last)
    }

    /// Binding request, receiver report, and picture loss where a decoder would see one: each
    /// second, of every lane at another moment.
    ///
    /// # Errors
    ///
    /// [`LoadError`] if a message cannot be made.
    pub fn keep_alive(&mut self, now: Instant) -> Result<(), LoadError> {
        if now < self.keep_alive_due {
            return Ok(());
        }
        let Some(session) = &mut self.session else {
            return Ok(());
        };
        let lost: Vec<u32> = self
            .tracks
            .iter_mut()
            .filter_map(|track| track.take_picture_loss().then_some(track.ssrc))
            .collect();
        let waiting = self.tracks.iter().any(|track| !track.is_decodable());
        self.keep_alive_due = now + if waiting { IMPATIENCE } else { INTERVAL };
        // A full socket loses it; the next one comes soon.
        let _ = self.socket.send(&session.ice.binding_request()?);
        let mut packets: Vec<Box<dyn Packet + Send + Sync>> = vec![Box::new(ReceiverReport {
            ssrc: OUR_SSRC,
            reports: self
                .tracks
                .iter()
                .take(REPORTS_MAX)
                .map(report_on)
                .collect(),
            ..ReceiverReport::default()
        })];
        packets.extend(lost.into_iter().map(|media_ssrc| {
            let loss = PictureLossIndication {
                sender_ssrc: OUR_SSRC,
                media_ssrc,
            };
            Box::new(loss) as Box<dyn Packet + Send + Sync>
        }));
        self.send_rtcp(&packets)
    }

    /// What it saw so far.
    pub fn report(&self) -> LaneReport {
        let mut counts = TallyCounts::default();
        self.tracks
            .iter()
            .for_each(|track| counts.add(&track.counts()));
        LaneReport {
            counts,
            settled: self
                .tracks
                .iter()
                .filter(|track| track.is_settled())
                .count(),
            others: self.others,
            first_media: self.first_media,
        }
    }
}

/// Decrypts and checks a packet; when it was sent, if it is as it was sent.
fn verify(track: &mut Tally, context: &mut Context, sealed: &[u8]) -> Option<u64> {
    let opened = context.decrypt_rtp(sealed).ok();
    let parts = opened.as_ref().and_then(|packet| {
        let header = rtp::header::Header::unmarshal(&mut packet.as_ref()).ok()?;
        let mut payload = packet.get(header.marshal_size()..)?;
        if header.padding {
            let padding = usize::from(packet.last().copied()?);
            payload = payload.get(..payload.len().checked_sub(padding)?)?;
        }
        let stamp = check(track.kind, payload).ok()?;
        Some((header.sequence_number, header.timestamp, stamp))
    });
    let Some((sequence_number, timestamp, stamp)) = parts else {
        track.mismatched();
        return None;
    };
    track.verified(sequence_number, timestamp, &stamp);
    Some(stamp.sent_us)
}

/// RFC 3550 §6.4.2, without the times of sender reports: nobody here measures round trips.
fn report_on(track: &Tally) -> ReceptionReport {
    let missing = track.counts().missing;
    ReceptionReport {
        ssrc: track.ssrc,
        fraction_lost: u8::try_from(missing * 256 / track.expected().max(1)).unwrap_or(255),
        total_lost: u32::try_from(missing).unwrap_or_default() & 0x7f_ffff,
        last_sequence_number: track.highest_for_report(),
        ..ReceptionReport::default()
    }
}

/// Subscribers send no media, so any SSRC serves for their RTCP.
const OUR_SSRC: u32 = 1;

/// RFC 3550 §6.4.2: a report has at most 31 blocks.
const REPORTS_MAX: usize = 31;

const INTERVAL: Duration = Duration::from_secs(1);

/// As often as a browser asks that cannot decode.
const IMPATIENCE: Duration = Duration::from_millis(300);

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(payload_type: u8, sequence_number: u16) -> Vec<u8> {
        let [high, low] = sequence_number.to_be_bytes();
        vec![0x80, payload_type, high, low, 0, 0, 0, 0, 0, 0, 0, 5, 1, 2]
    }

    #[test]
    fn packets_are_counted_by_their_headers() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let now = Instant::now();
        let mut lane = Lane::new(socket, None, vec![(111, Kind::Audio)], now);
        let mut received = Received::default();
        for (payload_type, number) in [(111, 1), (111, 2), (111, 2), (111, 4), (96, 5)] {
            lane.handle(&packet(payload_type, number), now, &mut received);
        }
        // The packet of another type is of the same SSRC, so it counts as the track's.
        let report = lane.report();
        assert_eq!((received.packets, report.others), (4, 0));
        assert_eq!((report.counts.missing, report.counts.duplicates), (1, 1));
        lane.handle(
            &[0x80, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9],
            now,
            &mut received,
        );
        assert_eq!((received.packets, lane.report().others), (4, 1));
    }
}
