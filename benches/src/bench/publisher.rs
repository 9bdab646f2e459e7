//! A publisher that costs little: paced by the clock, sealed by [`Sealer`], sent in runs.

use core::time::Duration;
use std::net::UdpSocket;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtcp::sender_report::SenderReport;
use webrtc_srtp::context::Context;

use super::number::round_down;
use super::pacer::{Pace, Pacer};
use super::seal::Sealer;
use super::sys::{Outgoing, ReceiveBatch, SendBatch};
use crate::error::LoadError;
use crate::ice::IceAgent;
use crate::media::{Kind, Part, Picture, Stamp, audio_payload, video_payload};
use crate::peer::{Protocol, open_rtcp, seal_rtcp};
use crate::publisher::{RtpHeader, ntp_now};

/// A publisher that has joined.
pub struct Publisher {
    socket: UdpSocket,
    sealer: Sealer,
    incoming: Context,
    outgoing: Context,
    ice: IceAgent,
    index: u8,
    tracks: Vec<PacedTrack>,
    transport_sequence_number: u16,
    picture: Picture,
    key_frame_wanted: bool,
    second_due: Instant,
    feedback_due: Instant,
    run: Vec<u8>,
}

/// What a publisher is made of.
pub struct PublisherParts {
    /// Connected to the server, not blocking.
    pub socket: UdpSocket,
    /// For RTP.
    pub sealer: Sealer,
    /// Opens RTCP.
    pub incoming: Context,
    /// Seals RTCP.
    pub outgoing: Context,
    /// Makes binding requests.
    pub ice: IceAgent,
    /// Which publisher, as in its stamps.
    pub index: u8,
    /// What it sends.
    pub tracks: Vec<RtpHeader>,
}

/// What is sent of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Demand {
    /// Of audio tracks.
    pub audio: Option<Pace>,
    /// Of video tracks.
    pub video: Option<Pace>,
}

impl Demand {
    fn of(&self, kind: Kind) -> Option<Pace> {
        match kind {
            Kind::Audio => self.audio,
            Kind::Video => self.video,
        }
    }
}

/// What publishers did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Packets.
    pub packets: u64,
    /// The longest time that a burst left too late: the load generator was busy.
    pub late_us_max: u64,
}

#[derive(Debug)]
struct PacedTrack {
    header: RtpHeader,
    number: u32,
    octets: u32,
    /// Roll-over counter and sequence number.
    index: u64,
    /// In ticks since the first packet; real rates need fractions.
    time: f64,
    pacer: Option<Pacer>,
}

impl core::fmt::Debug for Publisher {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Publisher")
            .field("index", &self.index)
            .field("tracks", &self.tracks)
            .finish_non_exhaustive()
    }
}

impl core::fmt::Debug for PublisherParts {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("PublisherParts")
            .field("index", &self.index)
            .finish_non_exhaustive()
    }
}

impl Publisher {
    /// Sends nothing until there is a demand.
    pub fn new(parts: PublisherParts, now: Instant) -> Self {
        let tracks = parts.tracks.into_iter().map(|header| PacedTrack {
            index: header.first_sequence_number().into(),
            header,
            number: 0,
            octets: 0,
            time: 0.0,
            pacer: None,
        });
        Self {
            tracks: tracks.collect(),
            socket: parts.socket,
            sealer: parts.sealer,
            incoming: parts.incoming,
            outgoing: parts.outgoing,
            ice: parts.ice,
            index: parts.index,
            transport_sequence_number: 65_000,
            picture: Picture {
                id: 0x7f00,
                tl0_index: 250,
                key_index: 30,
            },
            key_frame_wanted: true,
            second_due: now,
            feedback_due: now,
            run: Vec::with_capacity(RUN_BYTES_MAX),
        }
    }

    /// From now on sends `demand`, or nothing.
    pub fn publish(&mut self, demand: Option<Demand>, now: Instant) {
        for track in &mut self.tracks {
            let pace = demand.and_then(|demand| demand.of(track.header.kind));
            // Publishers do not start at the same moment: each a part of an interval later.
            track.pacer = pace.map(|pace| {
                let phase = pace.interval.mul_f64(f64::from(self.index) / PHASES);
                Pacer::new(pace, now + phase)
            });
        }
    }

    /// When it has something to do.
    pub fn next_due(&self) -> Option<Instant> {
        let pacers = self.tracks.iter().filter_map(|track| track.pacer.as_ref());
        pacers.map(Pacer::next).min()
    }

    /// Sends what is due. `clock` is the beginning of the run.
    ///
    /// # Errors
    ///
    /// [`LoadError`] if SRTP refuses.
    pub fn work(
        &mut self,
        now: Instant,
        clock: Instant,
        batch: &mut SendBatch,
        sent: &mut Sent,
    ) -> Result<(), LoadError> {
        for position in 0..self.tracks.len() {
            let Some(pacer) = self.tracks.get_mut(position).and_then(|t| t.pacer.as_mut()) else {
                continue;
            };
            if pacer.next() > now {
                continue;
            }
            let late = now.saturating_duration_since(pacer.next()).as_micros();
            sent.late_us_max = sent
                .late_us_max
                .max(u64::try_from(late).unwrap_or(u64::MAX));
            let due = pacer.take_due(now);
            self.send_packets(position, due, clock, batch)?;
            sent.packets += due;
        }
        Ok(())
    }

    fn send_packets(
        &mut self,
        track: usize,
        due: u64,
        clock: Instant,
        batch: &mut SendBatch,
    ) -> Result<(), LoadError> {
        let mut left = due;
        while left > 0 {
            let count = left.min(RUN_PACKETS_MAX);
            left -= count;
            self.run.clear();
            for _ in 0..count {
                self.append_packet(track, clock)?;
            }
            let segment = self.run.len() / usize::try_from(count).unwrap_or(1);
            let run = Outgoing {
                destination: None,
                bytes: &self.run,
                segment: u16::try_from(segment).unwrap_or(u16::MAX),
            };
            // A full socket is a loss like any other, and counts as one.
            batch.send(&self.socket, &[run]);
        }
        Ok(())
    }

    fn append_packet(&mut self, track: usize, clock: Instant) -> Result<(), LoadError> {
        let Some(track) = self.tracks.get_mut(track) else {
            return Ok(());
        };
        let (part, marker) = frame_place(track, &mut self.key_frame_wanted, &mut self.picture);
        let sent_us = u64::try_from(clock.elapsed().as_micros()).unwrap_or(u64::MAX);
        let stamp = track.stamp(self.index, part, sent_us);
        let payload = match track.header.kind {
            Kind::Audio => audio_payload(&stamp),
            Kind::Video => video_payload(&stamp, self.picture),
        };
        let [.., high, low] = track.index.to_be_bytes();
        let header = track.header.write(
            u16::from_be_bytes([high, low]),
            stamp.timestamp,
            marker,
            self.transport_sequence_number,
        );
        let (ssrc, index) = (track.header.ssrc, track.index);
        self.sealer
            .seal(ssrc, index, &header, &payload, &mut self.run)?;
        self.transport_sequence_number = self.transport_sequence_number.wrapping_add(1);
        track.number = track.number.wrapping_add(1);
        track.index += 1;
        let octets = u32::try_from(payload.len()).unwrap_or_default();
        track.octets = track.octets.wrapping_add(octets);
        Ok(())
    }

    /// Reports, consent, and what the server asks for.
    ///
    /// # Errors
    ///
    /// [`LoadError`] if a message cannot be made.
    pub fn keep_alive(&mut self, now: Instant, batch: &mut ReceiveBatch) -> Result<(), LoadError> {
        if now >= self.feedback_due {
            self.feedback_due = now + FEEDBACK_INTERVAL;
            self.take_feedback(batch);
        }
        if now >= self.second_due {
            self.second_due = now + Duration::from_secs(1);
            let _ = self.socket.send(&self.ice.binding_request()?);
            self.send_reports()?;
        }
        Ok(())
    }

    /// RFC 3550 §6.4.1: where RTP time and wall-clock time meet.
    fn send_reports(&mut self) -> Result<(), LoadError> {
        let ntp_time = ntp_now(
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default(),
        );
        for track in &self.tracks {
            let report = SenderReport {
                ssrc: track.header.ssrc,
                ntp_time,
                rtp_time: track.header.timestamp(track.ticks()),
                packet_count: track.number,
                octet_count: track.octets,
                ..SenderReport::default()
            };
            let sealed = seal_rtcp(&mut self.outgoing, &[Box::new(report)])?;
            let _ = self.socket.send(&sealed);
        }
        Ok(())
    }

    fn take_feedback(&mut self, batch: &mut ReceiveBatch) {
        while batch.receive(&self.socket) > 0 {
            for (bytes, segment) in batch.messages() {
                for datagram in bytes.chunks(segment) {
                    if Protocol::of(datagram) != Protocol::Rtcp {
                        continue;
                    }
                    let packets = open_rtcp(&mut self.incoming, datagram).unwrap_or_default();
                    self.key_frame_wanted |= packets.iter().any(|packet| {
                        let packet = packet.as_any();
                        packet.is::<PictureLossIndication>() || packet.is::<FullIntraRequest>()
                    });
                }
            }
            if !batch.is_full() {
                break;
            }
        }
    }
}

impl PacedTrack {
    fn ticks(&self) -> u32 {
        u32::try_from(round_down(self.time) % (1 << 32)).unwrap_or_default()
    }

    fn stamp(&self, publisher: u8, part: Part, sent_us: u64) -> Stamp {
        Stamp {
            kind: self.header.kind,
            publisher,
            part,
            number: self.number,
            timestamp: self.ticks(),
            sent_us,
        }
    }
}

/// Where the next packet of `track` stands in its frame; a frame has [`FRAME_PACKETS`] packets,
/// whether it is a key frame or not, so that the rate is what was asked for. Steps the time.
fn frame_place(track: &mut PacedTrack, wanted: &mut bool, picture: &mut Picture) -> (Part, bool) {
    let rate = track.pacer.map_or(1.0, |pacer| pacer.pace().rate);
    let clock_rate = f64::from(track.header.kind.clock_rate());
    if track.header.kind == Kind::Audio {
        track.time += clock_rate / rate;
        return (Part::Rest, false);
    }
    let place = track.number % FRAME_PACKETS;
    let marker = place + 1 == FRAME_PACKETS;
    if place != 0 {
        return (Part::Rest, marker);
    }
    track.time += clock_rate * f64::from(FRAME_PACKETS) / rate;
    picture.id = (picture.id + 1) % (1 << 15);
    picture.tl0_index = picture.tl0_index.wrapping_add(1);
    if core::mem::take(wanted) {
        picture.key_index = (picture.key_index + 1) % 32;
        (Part::KeyFrameStart, marker)
    } else {
        (Part::DeltaFrameStart, marker)
    }
}

/// Packets of a video frame.
pub const FRAME_PACKETS: u32 = 9;

/// Packets of one send: as many as the server itself puts into one.
const RUN_PACKETS_MAX: u64 = 16;

const RUN_BYTES_MAX: usize = 1 << 15;

/// How many publishers share an interval out among them.
const PHASES: f64 = 10.0;

const FEEDBACK_INTERVAL: Duration = Duration::from_millis(10);
