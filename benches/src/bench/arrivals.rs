//! When packets came, told to the server as browsers do: transport-wide feedback
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01).

use core::time::Duration;

use rtcp::packet::Packet;
use rtcp::raw_packet::RawPacket;
use rtcp::transport_feedbacks::transport_layer_cc::{
    PacketStatusChunk, RecvDelta, StatusChunkTypeTcc, StatusVectorChunk, SymbolSizeTypeTcc,
    SymbolTypeTcc, TransportLayerCc,
};
use webrtc_util::marshal::Marshal;

use crate::error::LoadError;

/// The arrivals of one transport that were not told of yet.
#[derive(Debug)]
pub struct Arrivals {
    numbering: Numbering,
    /// The number of the first entry; none before the first packet.
    base: Option<u16>,
    /// In ticks since the beginning of the run; none for what has not come.
    pending: Vec<Option<i64>>,
    /// Of the batch that is being read.
    now: Duration,
    told_at: Duration,
    count: u8,
}

/// Where the numbers come from that the feedback is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbering {
    /// From the header extension with this negotiated id.
    Extension(u8),
    /// Packets have none, and are counted as they come: nobody reads what is told of them.
    Unread {
        /// Of the next packet.
        next: u16,
    },
}

impl Arrivals {
    /// Of packets that are numbered so.
    pub fn new(numbering: Numbering) -> Self {
        Self {
            numbering,
            base: None,
            pending: Vec::with_capacity(STATUSES_MAX),
            now: Duration::ZERO,
            told_at: Duration::ZERO,
            count: 0,
        }
    }

    /// The packets that follow came then, since the beginning of the run.
    pub fn set_now(&mut self, now: Duration) {
        self.now = now;
    }

    /// A packet came; its header is in the clear.
    pub fn record(&mut self, packet: &[u8]) {
        let number = match &mut self.numbering {
            Numbering::Extension(id) => transport_wide_number(packet, *id),
            Numbering::Unread { next } => {
                let number = *next;
                *next = number.wrapping_add(1);
                Some(number)
            }
        };
        let Some(number) = number else {
            return;
        };
        let base = *self.base.get_or_insert(number);
        let place = usize::from(number.wrapping_sub(base));
        // What was told of as lost and comes after all stays lost.
        if place >= STATUSES_MAX {
            return;
        }
        if self.pending.len() <= place {
            self.pending.resize(place + 1, None);
        }
        let ticks = i64::try_from(self.now.as_micros()).unwrap_or(i64::MAX) / TICK_MICROS;
        if let Some(entry) = self.pending.get_mut(place) {
            entry.get_or_insert(ticks);
        }
    }

    /// What to send, if it is time. What nobody reads is feedback in all but its packet type, so that
    /// it takes as many bytes.
    ///
    /// # Errors
    ///
    /// [`LoadError::Srtp`] if it cannot be written.
    pub fn message(
        &mut self,
        now: Duration,
    ) -> Result<Option<Box<dyn Packet + Send + Sync>>, LoadError> {
        let Some(feedback) = self.poll(now) else {
            return Ok(None);
        };
        if let Numbering::Extension(_) = self.numbering {
            return Ok(Some(Box::new(feedback)));
        }
        let written = feedback.marshal();
        let mut bytes = Vec::from(written.map_err(|error| LoadError::Srtp(error.to_string()))?);
        if let Some(packet_type) = bytes.get_mut(1) {
            *packet_type = APPLICATION_DEFINED;
        }
        Ok(Some(Box::new(RawPacket(bytes.into()))))
    }

    /// What to tell, if it is time: after an interval, or when a packet is full.
    fn poll(&mut self, now: Duration) -> Option<TransportLayerCc> {
        let is_full = self.pending.len() >= STATUSES_MAX / 2;
        if self.pending.is_empty() || !is_full && now < self.told_at + INTERVAL {
            return None;
        }
        self.told_at = now;
        let base = self.base?;
        let first = self.pending.iter().flatten().next().copied()?;
        let reference = first / TICKS_IN_REFERENCE;
        let mut at = reference * TICKS_IN_REFERENCE;
        let mut deltas = Vec::with_capacity(self.pending.len());
        let symbols: Vec<SymbolTypeTcc> = self
            .pending
            .iter()
            .map(|entry| {
                let Some(ticks) = *entry else {
                    return SymbolTypeTcc::PacketNotReceived;
                };
                let symbol = if (0..256).contains(&(ticks - at)) {
                    SymbolTypeTcc::PacketReceivedSmallDelta
                } else {
                    SymbolTypeTcc::PacketReceivedLargeDelta
                };
                deltas.push(RecvDelta {
                    type_tcc_packet: symbol,
                    delta: (ticks - at) * TICK_MICROS,
                });
                at = ticks;
                symbol
            })
            .collect();
        let told = u16::try_from(symbols.len()).unwrap_or(u16::MAX);
        self.base = Some(base.wrapping_add(told));
        self.pending.clear();
        self.count = self.count.wrapping_add(1);
        Some(TransportLayerCc {
            sender_ssrc: 1,
            media_ssrc: 0,
            base_sequence_number: base,
            packet_status_count: told,
            reference_time: u32::try_from(reference & 0xff_ffff).unwrap_or_default(),
            fb_pkt_count: self.count,
            packet_chunks: symbols.chunks(SYMBOLS_IN_CHUNK).map(chunk).collect(),
            recv_deltas: deltas,
        })
    }
}

fn chunk(symbols: &[SymbolTypeTcc]) -> PacketStatusChunk {
    let mut symbol_list = symbols.to_vec();
    symbol_list.resize(SYMBOLS_IN_CHUNK, SymbolTypeTcc::PacketNotReceived);
    PacketStatusChunk::StatusVectorChunk(StatusVectorChunk {
        type_tcc: StatusChunkTypeTcc::StatusVectorChunk,
        symbol_size: SymbolSizeTypeTcc::TwoBit,
        symbol_list,
    })
}

/// From the one-byte header extensions (RFC 8285 §4.2) of an RTP packet.
fn transport_wide_number(packet: &[u8], id: u8) -> Option<u16> {
    let first = *packet.first()?;
    if first & EXTENSION_BIT == 0 {
        return None;
    }
    let extension = packet.get(12 + 4 * usize::from(first & 0x0f)..)?;
    let (&[0xbe, 0xde, high, low], rest) = extension.split_first_chunk::<4>()? else {
        return None;
    };
    let words = usize::from(u16::from_be_bytes([high, low]));
    let mut elements = rest.get(..4 * words)?;
    while let Some((&head, rest)) = elements.split_first() {
        // A byte of padding has no length.
        let length = if head == 0 {
            0
        } else {
            usize::from(head & 0x0f) + 1
        };
        let value = rest.get(..length)?;
        if head >> 4 == id && head != 0 {
            return Some(u16::from_be_bytes(value.try_into().ok()?));
        }
        elements = rest.get(length..)?;
    }
    None
}

/// RFC 3550 §6.7.
const APPLICATION_DEFINED: u8 = 204;

const EXTENSION_BIT: u8 = 0x10;

const SYMBOLS_IN_CHUNK: usize = 7;

/// As browsers do at some Mb/s.
const INTERVAL: Duration = Duration::from_millis(50);

/// With its deltas, so many fit one datagram.
const STATUSES_MAX: usize = 600;

const TICK_MICROS: i64 = 250;

/// 64 ms.
const TICKS_IN_REFERENCE: i64 = 256;

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet with two header extensions and padding between them.
    fn packet(number: u16) -> Vec<u8> {
        let [high, low] = number.to_be_bytes();
        let mut packet = vec![0x90, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 5];
        packet.extend([0xbe, 0xde, 0, 2, 0x40, b'0', 0, 0x31, high, low, 0, 0]);
        packet
    }

    #[test]
    fn the_number_is_found_among_other_extensions() {
        assert_eq!(transport_wide_number(&packet(0x1234), 3), Some(0x1234));
        assert_eq!(transport_wide_number(&packet(0x1234), 5), None);
        assert_eq!(transport_wide_number(&packet(1)[..14], 3), None);
    }

    #[test]
    fn what_is_missing_is_told_and_what_came_has_its_time() {
        let mut arrivals = Arrivals::new(Numbering::Extension(3));
        for (number, millis) in [(0xffff, 70), (0, 71), (2, 400)] {
            arrivals.set_now(Duration::from_millis(millis));
            arrivals.record(&packet(number));
        }
        let told = arrivals.poll(Duration::from_millis(400)).unwrap();
        assert_eq!(
            (told.base_sequence_number, told.packet_status_count),
            (0xffff, 4)
        );
        let deltas = told.recv_deltas.iter().map(|delta| delta.delta);
        // The reference is at 64 ms.
        assert_eq!(deltas.collect::<Vec<_>>(), [6_000, 1_000, 329_000]);
        assert_eq!(told.reference_time, 1);
        assert!(arrivals.poll(Duration::from_secs(9)).is_none());
        arrivals.record(&packet(3));
        let next = arrivals.poll(Duration::from_secs(9)).unwrap();
        assert_eq!(next.base_sequence_number, 3);
    }

    #[test]
    fn nothing_is_told_before_it_is_time() {
        let mut arrivals = Arrivals::new(Numbering::Extension(3));
        arrivals.told_at = Duration::from_millis(10);
        arrivals.record(&packet(1));
        assert!(arrivals.poll(Duration::from_millis(59)).is_none());
        assert!(arrivals.poll(Duration::from_millis(60)).is_some());
    }

    #[test]
    fn what_nobody_reads_differs_from_feedback_in_its_packet_type_alone() {
        let [read, unread] = [Numbering::Extension(3), Numbering::Unread { next: 7 }].map(|from| {
            let mut arrivals = Arrivals::new(from);
            for number in 7..20 {
                arrivals.record(&packet(number));
            }
            let told = arrivals.message(Duration::from_secs(1)).unwrap().unwrap();
            Vec::from(told.marshal().unwrap())
        });
        assert_eq!((read[1], unread[1]), (205, 204));
        assert_eq!((&read[2..], read[0]), (&unread[2..], unread[0]));
    }
}
