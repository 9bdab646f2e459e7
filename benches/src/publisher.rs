//! A publisher: pushes its tracks and sends them on time.

use core::time::Duration;
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use rtcp::packet::Packet;
use rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtcp::sender_report::SenderReport;
use rtcp::transport_feedbacks::transport_layer_nack::TransportLayerNack;
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::api::Track;
use crate::description::{
    Local, MID_URI, OfferedTrack, Remote, TRANSPORT_CC_URI, payload_type, publisher_offer,
};
use crate::error::LoadError;
use crate::ice::Credentials;
use crate::media::{
    DELTA_FRAME_PACKETS, KEY_FRAME_PACKETS, Kind, Part, Picture, Stamp, audio_payload,
    video_payload,
};
use crate::peer::{DATAGRAM_BYTES_MAX, Peer, Protocol, open_rtcp};
use crate::run::Shared;

/// A publisher that has joined.
#[derive(Debug)]
pub struct Publisher {
    peer: Peer,
    index: u8,
    /// What subscribers pull: session and track names.
    pub tracks: Vec<Track>,
    audio: Option<SentTrack>,
    video: Option<SentTrack>,
    transport_sequence_number: u16,
    picture: Picture,
    key_frame_wanted: bool,
    totals: PublisherTotals,
}

/// What one publisher did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PublisherTotals {
    /// Audio packets, those sent again not counted.
    pub audio_packets: u64,
    /// Video packets, those sent again not counted.
    pub video_packets: u64,
    /// Of the video.
    pub key_frames: u64,
    /// Key frames that the server asked for.
    pub key_frame_requests: u64,
    /// Packets that the server asked for again.
    pub retransmissions_asked: u64,
    /// Of those, sent again.
    pub retransmitted: u64,
}

impl PublisherTotals {
    /// Packets of one kind.
    pub fn packets(&self, kind: Kind) -> u64 {
        match kind {
            Kind::Audio => self.audio_packets,
            Kind::Video => self.video_packets,
        }
    }
}

impl Publisher {
    /// Makes a session, pushes the tracks and connects.
    ///
    /// # Errors
    ///
    /// [`LoadError`] if the server refuses or does not answer.
    pub async fn join(shared: &Shared, index: u8) -> Result<Self, LoadError> {
        let local = Local {
            ice: Credentials::random(),
            fingerprint: shared.identity.fingerprint.clone(),
        };
        let offered: Vec<OfferedTrack> = shared
            .kinds
            .iter()
            .zip(0_u32..)
            .map(|(kind, position)| OfferedTrack {
                mid: position.to_string(),
                kind: *kind,
                ssrc: 1_000 + u32::from(index) * 10 + position,
            })
            .collect();
        let session = shared.api.new_session().await?;
        let local_tracks: Vec<Track> = offered
            .iter()
            .map(|track| Track {
                location: Some("local".to_owned()),
                mid: Some(track.mid.clone()),
                track_name: Some(track.kind.name().to_owned()),
                ..Track::default()
            })
            .collect();
        let offer = publisher_offer(&local, &offered);
        let answer = Remote::parse(&shared.api.push(&session, &local_tracks, &offer).await?)?;
        let (preferred, choice) = (shared.api_address, shared.options.profile);
        let peer = Peer::connect(&local, &answer, preferred, &shared.identity, choice).await?;

        let sent = |kind| {
            let track = offered.iter().find(|track| track.kind == kind)?;
            Some(SentTrack::new(RtpHeader::new(track, &answer)))
        };
        let tracks = local_tracks
            .into_iter()
            .map(|track| Track {
                location: Some("remote".to_owned()),
                session_id: Some(session.clone()),
                mid: None,
                ..track
            })
            .collect();
        Ok(Self {
            audio: sent(Kind::Audio),
            video: sent(Kind::Video),
            peer,
            index,
            tracks,
            transport_sequence_number: 65_000,
            picture: Picture {
                id: 0x7f00,
                tl0_index: 250,
                key_index: 30,
            },
            key_frame_wanted: true,
            totals: PublisherTotals::default(),
        })
    }

    /// Sends until `stop` says so.
    ///
    /// # Errors
    ///
    /// [`LoadError`] if SRTP or the socket fails.
    pub async fn run(
        mut self,
        shared: &Shared,
        mut stop: watch::Receiver<bool>,
    ) -> Result<PublisherTotals, LoadError> {
        let start = Instant::now();
        let (mut next_audio, mut next_video, mut next_second) = (start, start, start);
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        while !*stop.borrow() {
            let now = Instant::now();
            while self.audio.is_some() && next_audio <= now {
                self.send_audio(shared)?;
                next_audio += AUDIO_INTERVAL;
            }
            while self.video.is_some() && next_video <= now {
                self.send_frame(shared)?;
                next_video += FRAME_INTERVAL;
            }
            if next_second <= now {
                self.peer.keep_alive()?;
                self.send_reports()?;
                next_second += REPORT_INTERVAL;
            }
            let next_audio = if self.audio.is_some() {
                next_audio
            } else {
                next_second
            };
            let next_video = if self.video.is_some() {
                next_video
            } else {
                next_second
            };
            let socket = std::sync::Arc::clone(&self.peer.socket);
            tokio::select! {
                () = sleep_until(next_audio.min(next_video).min(next_second)) => {}
                received = socket.recv(&mut buffer) => {
                    let length = received?;
                    self.handle(buffer.get(..length).unwrap_or_default());
                }
                _ = stop.changed() => {}
            }
        }
        let totals = self.totals;
        // The session must live until the last packet has been forwarded.
        tokio::time::sleep(LINGER).await;
        self.peer.close().await;
        Ok(totals)
    }

    fn send_audio(&mut self, shared: &Shared) -> Result<(), LoadError> {
        let Some(track) = &mut self.audio else {
            return Ok(());
        };
        let stamp = track.stamp(self.index, Part::Rest, shared.elapsed_us());
        let payload = audio_payload(&stamp);
        track.send(
            &mut self.peer,
            &mut self.transport_sequence_number,
            false,
            &payload,
        )?;
        track.next_time();
        self.totals.audio_packets += 1;
        shared.sent.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn send_frame(&mut self, shared: &Shared) -> Result<(), LoadError> {
        let Some(track) = &mut self.video else {
            return Ok(());
        };
        let key = core::mem::take(&mut self.key_frame_wanted);
        let (first, packets) = if key {
            self.totals.key_frames += 1;
            self.picture.key_index = (self.picture.key_index + 1) % 32;
            (Part::KeyFrameStart, KEY_FRAME_PACKETS)
        } else {
            (Part::DeltaFrameStart, DELTA_FRAME_PACKETS)
        };
        for position in 0..packets {
            let part = if position == 0 { first } else { Part::Rest };
            let marker = position + 1 == packets;
            let stamp = track.stamp(self.index, part, shared.elapsed_us());
            let payload = video_payload(&stamp, self.picture);
            track.send(
                &mut self.peer,
                &mut self.transport_sequence_number,
                marker,
                &payload,
            )?;
        }
        track.next_time();
        self.picture.id = (self.picture.id + 1) % (1 << 15);
        self.picture.tl0_index = self.picture.tl0_index.wrapping_add(1);
        self.totals.video_packets += u64::from(packets);
        shared.sent.fetch_add(packets.into(), Ordering::Relaxed);
        Ok(())
    }

    /// RFC 3550 §6.4.1: where RTP time and wall-clock time meet.
    fn send_reports(&mut self) -> Result<(), LoadError> {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        for track in [&self.audio, &self.video].into_iter().flatten() {
            let report = SenderReport {
                ssrc: track.header.ssrc,
                ntp_time: ntp_now(since_epoch),
                rtp_time: track.header.timestamp(track.time),
                packet_count: track.number,
                octet_count: track.octets,
                ..SenderReport::default()
            };
            self.peer.send_rtcp(&[Box::new(report)])?;
        }
        Ok(())
    }

    fn handle(&mut self, datagram: &[u8]) {
        let protocol = Protocol::of(datagram);
        if protocol != Protocol::Rtcp {
            self.peer.handle_control(protocol, datagram);
            return;
        }
        for packet in open_rtcp(&mut self.peer.secured.incoming, datagram).unwrap_or_default() {
            self.handle_feedback(packet.as_ref());
        }
    }

    fn handle_feedback(&mut self, packet: &(dyn Packet + Send + Sync)) {
        let packet = packet.as_any();
        if packet.is::<PictureLossIndication>() || packet.is::<FullIntraRequest>() {
            self.totals.key_frame_requests += 1;
            self.key_frame_wanted = true;
        } else if let Some(nack) = packet.downcast_ref::<TransportLayerNack>() {
            let track = [&self.audio, &self.video]
                .into_iter()
                .flatten()
                .find(|track| track.header.ssrc == nack.media_ssrc);
            for number in nack.nacks.iter().flat_map(|pair| pair.packet_list()) {
                self.totals.retransmissions_asked += 1;
                // The very bytes that were sent: sealing anew would use an IV twice.
                if let Some(sealed) = track.and_then(|track| track.history(number)) {
                    let _ = self.peer.socket.try_send(sealed);
                    self.totals.retransmitted += 1;
                }
            }
        }
    }
}

/// A track that is being sent.
#[derive(Debug)]
struct SentTrack {
    header: RtpHeader,
    /// Packets so far.
    number: u32,
    octets: u32,
    sequence_number: u16,
    /// In ticks since the first packet.
    time: u32,
    /// The last packets, sealed.
    history: VecDeque<(u16, Bytes)>,
}

impl SentTrack {
    fn new(header: RtpHeader) -> Self {
        Self {
            number: 0,
            octets: 0,
            sequence_number: header.first_sequence_number(),
            time: 0,
            history: VecDeque::with_capacity(HISTORY_MAX),
            header,
        }
    }

    fn stamp(&self, publisher: u8, part: Part, sent_us: u64) -> Stamp {
        Stamp {
            kind: self.header.kind,
            publisher,
            part,
            number: self.number,
            timestamp: self.time,
            sent_us,
        }
    }

    fn next_time(&mut self) {
        self.time = self.time.wrapping_add(self.header.kind.timestamp_step());
    }

    fn send(
        &mut self,
        peer: &mut Peer,
        transport_sequence_number: &mut u16,
        marker: bool,
        payload: &[u8],
    ) -> Result<(), LoadError> {
        let (number, time) = (self.sequence_number, self.time);
        let mut packet = self
            .header
            .write(number, time, marker, *transport_sequence_number);
        *transport_sequence_number = transport_sequence_number.wrapping_add(1);
        packet.extend(payload);
        let sealed = peer
            .secured
            .outgoing
            .encrypt_rtp(&packet)
            .map_err(|error| LoadError::Srtp(error.to_string()))?;
        // A full socket is a loss like any other: the server will ask again.
        let _ = peer.socket.try_send(&sealed);
        if self.history.len() == HISTORY_MAX {
            self.history.pop_front();
        }
        self.history.push_back((self.sequence_number, sealed));
        self.sequence_number = self.sequence_number.wrapping_add(1);
        self.number += 1;
        self.octets = self
            .octets
            .wrapping_add(u32::try_from(payload.len()).unwrap_or_default());
        Ok(())
    }

    fn history(&self, number: u16) -> Option<&Bytes> {
        self.history
            .iter()
            .rev()
            .find(|(sent, _)| *sent == number)
            .map(|(_, sealed)| sealed)
    }
}

/// What the RTP headers of a track have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RtpHeader {
    /// Audio or video.
    pub kind: Kind,
    /// What it is sent with.
    pub ssrc: u32,
    /// Of the media section.
    pub mid: String,
    /// The id of the mid's header extension, if that was negotiated.
    pub mid_extension: Option<u8>,
    /// The same of the transport-wide sequence number.
    pub transport_extension: Option<u8>,
}

impl RtpHeader {
    /// Of a track that was offered, as the server's `answer` wants it.
    pub fn new(track: &OfferedTrack, answer: &Remote) -> Self {
        let mut sections = answer.sections.iter();
        let section = sections.find(|section| section.mid == track.mid);
        let extension = |uri| section.and_then(|section| section.extension(uri));
        Self {
            kind: track.kind,
            ssrc: track.ssrc,
            mid: track.mid.clone(),
            mid_extension: extension(MID_URI),
            transport_extension: extension(TRANSPORT_CC_URI),
        }
    }

    /// Sequence numbers begin where they wrap soon, so that every run crosses it.
    pub fn first_sequence_number(&self) -> u16 {
        match self.kind {
            Kind::Audio => 65_300,
            Kind::Video => 64_000,
        }
    }

    /// The RTP timestamp, `ticks` after the first one; that one wraps soon too.
    pub fn timestamp(&self, ticks: u32) -> u32 {
        FIRST_TIMESTAMP.wrapping_add(ticks)
    }

    /// RFC 3550 §5.1 with one-byte header extensions (RFC 8285 §4.2).
    pub fn write(
        &self,
        sequence_number: u16,
        ticks: u32,
        marker: bool,
        transport_sequence_number: u16,
    ) -> Vec<u8> {
        let mut extensions = Vec::new();
        if let Some(id) = self.mid_extension {
            push_extension(&mut extensions, id, self.mid.as_bytes());
        }
        if let Some(id) = self.transport_extension {
            push_extension(
                &mut extensions,
                id,
                &transport_sequence_number.to_be_bytes(),
            );
        }
        extensions.resize(extensions.len().next_multiple_of(4), 0);
        let flags = if extensions.is_empty() { 0x80 } else { 0x90 };
        let mut header = vec![flags, u8::from(marker) << 7 | payload_type(self.kind)];
        header.extend(sequence_number.to_be_bytes());
        header.extend(self.timestamp(ticks).to_be_bytes());
        header.extend(self.ssrc.to_be_bytes());
        if !extensions.is_empty() {
            let words = u16::try_from(extensions.len() / 4).unwrap_or_default();
            header.extend([0xbe, 0xde]);
            header.extend(words.to_be_bytes());
            header.extend(extensions);
        }
        header
    }
}

/// RFC 3550 §4: a time since 1970 as NTP has it.
pub fn ntp_now(since_epoch: Duration) -> u64 {
    let seconds = since_epoch.as_secs() + NTP_UNIX_OFFSET;
    let fraction = (u64::from(since_epoch.subsec_nanos()) << 32) / 1_000_000_000;
    seconds << 32 | fraction
}

fn push_extension(out: &mut Vec<u8>, id: u8, data: &[u8]) {
    let length = u8::try_from(data.len().saturating_sub(1)).unwrap_or_default();
    out.push(id << 4 | length);
    out.extend(data);
}

const AUDIO_INTERVAL: Duration = Duration::from_millis(20);
const FRAME_INTERVAL: Duration = Duration::from_nanos(1_000_000_000 / 30);
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// How long a publisher stays after its last packet.
const LINGER: Duration = Duration::from_millis(500);

/// Packets that can be sent again: two seconds of video.
const HISTORY_MAX: usize = 1024;

/// Half a second of video before the wrap.
const FIRST_TIMESTAMP: u32 = u32::MAX - 45_000;

/// Seconds from 1900 to 1970.
const NTP_UNIX_OFFSET: u64 = 2_208_988_800;

#[cfg(test)]
mod tests {
    use rtp::header::Header;
    use webrtc_util::marshal::Unmarshal;

    use super::*;

    #[test]
    fn a_header_is_what_the_rtp_crate_reads() {
        let header = RtpHeader {
            kind: Kind::Video,
            ssrc: 77,
            mid: "1".to_owned(),
            mid_extension: Some(4),
            transport_extension: Some(3),
        };
        let written = header.write(64_000, 45_001, true, 0x1234);
        let read = Header::unmarshal(&mut written.as_slice()).unwrap();
        assert!(read.marker);
        assert_eq!(
            (read.payload_type, read.ssrc, read.sequence_number),
            (96, 77, 64_000)
        );
        assert_eq!(read.timestamp, 0, "it wraps half a second after the first");
        assert_eq!(read.get_extension(4).unwrap(), "1");
        assert_eq!(read.get_extension(3).unwrap(), vec![0x12, 0x34]);
        let plain = RtpHeader {
            mid_extension: None,
            transport_extension: None,
            ..header
        };
        assert_eq!(plain.write(0, 0, false, 0).len(), 12);
    }
}
