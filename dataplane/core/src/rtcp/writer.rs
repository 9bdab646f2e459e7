//! Writes compound packets, one packet behind the other.

use super::cursor::Cursor;
use super::feedback::{FORMAT_FULL_INTRA, FORMAT_PICTURE_LOSS, write_lost_numbers};
use super::packet::{
    BYE, COUNT_MASK, FORMAT_NACK, FORMAT_TRANSPORT_WIDE, PADDING_BIT, PAYLOAD_FEEDBACK,
    RECEIVER_REPORT, SENDER_REPORT, SOURCE_DESCRIPTION, TRANSPORT_LAYER_FEEDBACK, VERSION,
};
use super::report::{ReportBlock, SenderInfo};
use super::transport_feedback::{FeedbackHeader, write_feedback};

/// Puts packets into a buffer until it is full. Each method writes one whole packet, or nothing if
/// there is no room for it.
///
/// A compound packet that is not reduced in size (RFC 5506) begins with a sender or receiver report
/// and has a CNAME (RFC 3550 §6.1): the caller sees to that.
#[derive(Debug)]
pub struct RtcpWriter<'a> {
    out: &'a mut [u8],
    length: usize,
}

impl<'a> RtcpWriter<'a> {
    /// Writes at the start of `out`.
    pub const fn new(out: &'a mut [u8]) -> Self {
        Self { out, length: 0 }
    }

    /// Bytes written so far.
    pub const fn len(&self) -> usize {
        self.length
    }

    /// Whether nothing was written.
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// SR (RFC 3550 §6.4.1). Returns false if there is no room, or for more than
    /// [`RtcpWriter::COUNT_MAX`] blocks.
    pub fn sender_report(&mut self, ssrc: u32, info: &SenderInfo, blocks: &[ReportBlock]) -> bool {
        self.packet(SENDER_REPORT, blocks.len(), |cursor| {
            cursor.u32(ssrc)?;
            cursor.put(&info.ntp.to_bits().to_be_bytes())?;
            cursor.u32(info.rtp_timestamp)?;
            cursor.u32(info.packets)?;
            cursor.u32(info.octets)?;
            blocks.iter().try_for_each(|block| block.write(cursor))
        })
    }

    /// RR (RFC 3550 §6.4.2). Returns false if there is no room, or for more than
    /// [`RtcpWriter::COUNT_MAX`] blocks.
    pub fn receiver_report(&mut self, sender: u32, blocks: &[ReportBlock]) -> bool {
        self.packet(RECEIVER_REPORT, blocks.len(), |cursor| {
            cursor.u32(sender)?;
            blocks.iter().try_for_each(|block| block.write(cursor))
        })
    }

    /// SDES with nothing but a CNAME (RFC 3550 §6.5.1). Returns false if there is no room, or if
    /// `name` is longer than 255 bytes.
    pub fn cname(&mut self, ssrc: u32, name: &str) -> bool {
        self.packet(SOURCE_DESCRIPTION, 1, |cursor| {
            cursor.u32(ssrc)?;
            cursor.put(&[ITEM_CNAME, u8::try_from(name.len()).ok()?])?;
            cursor.put(name.as_bytes())?;
            // The list of items ends with one to four bytes of zero, on a word.
            let end = 4 - cursor.at % 4;
            cursor.put([0; 4].get(..end)?)
        })
    }

    /// Generic NACK (RFC 4585 §6.2.1) for `numbers`, which ascend modulo 2^16. Returns false if
    /// there is no room.
    pub fn nack(&mut self, sender: u32, media: u32, numbers: &[u16]) -> bool {
        self.packet(TRANSPORT_LAYER_FEEDBACK, FORMAT_NACK.into(), |cursor| {
            cursor.u32(sender)?;
            cursor.u32(media)?;
            write_lost_numbers(numbers, cursor)
        })
    }

    /// PLI (RFC 4585 §6.3.1). Returns false if there is no room.
    pub fn picture_loss_indication(&mut self, sender: u32, media: u32) -> bool {
        self.packet(PAYLOAD_FEEDBACK, FORMAT_PICTURE_LOSS.into(), |cursor| {
            cursor.u32(sender)?;
            cursor.u32(media)
        })
    }

    /// FIR (RFC 5104 §4.3.1) for one source. `number` goes up by one with each new request and
    /// stays the same when one is repeated. Returns false if there is no room.
    pub fn full_intra_request(&mut self, sender: u32, media: u32, number: u8) -> bool {
        self.packet(PAYLOAD_FEEDBACK, FORMAT_FULL_INTRA.into(), |cursor| {
            cursor.u32(sender)?;
            // RFC 5104 §4.3.1.2: the media source of the header is not used and 0.
            cursor.u32(0)?;
            cursor.u32(media)?;
            cursor.put(&[number, 0, 0, 0])
        })
    }

    /// BYE (RFC 3550 §6.6) without a reason. Returns false if there is no room, or for more than
    /// [`RtcpWriter::COUNT_MAX`] sources.
    pub fn bye(&mut self, sources: &[u32]) -> bool {
        self.packet(BYE, sources.len(), |cursor| {
            sources.iter().try_for_each(|source| cursor.u32(*source))
        })
    }

    /// Transport-wide feedback about the packets that begin with
    /// [`FeedbackHeader::base_sequence_number`]. For each, `arrivals` says when it came, in ticks of
    /// 250 µs since an origin of the caller's choice, or None if it did not come.
    ///
    /// Returns how many packets the feedback covers. That can be fewer than there are: it ends
    /// before a packet that came more than 8.19 s before or after the one that came before it in
    /// the list, when there is no room for more, and after [`super::STATUSES_MAX`] packets; the rest
    /// goes into the next feedback. With no arrival among them nothing is written, and the number
    /// is 0.
    pub fn transport_feedback(
        &mut self,
        header: &FeedbackHeader,
        arrivals: impl IntoIterator<Item = Option<u64>>,
    ) -> usize {
        let mut covered = 0;
        let written = self.packet(
            TRANSPORT_LAYER_FEEDBACK,
            FORMAT_TRANSPORT_WIDE.into(),
            |cursor| {
                covered = write_feedback(header, arrivals.into_iter(), cursor)?;
                Some(())
            },
        );
        if written { covered } else { 0 }
    }

    /// Writes one packet with a body of `write`; what does not end on a word is padded.
    fn packet(
        &mut self,
        packet_type: u8,
        count: usize,
        write: impl FnOnce(&mut Cursor<'_>) -> Option<()>,
    ) -> bool {
        self.try_packet(packet_type, count, write).is_some()
    }

    fn try_packet(
        &mut self,
        packet_type: u8,
        count: usize,
        write: impl FnOnce(&mut Cursor<'_>) -> Option<()>,
    ) -> Option<()> {
        let count = u8::try_from(count)
            .ok()
            .filter(|count| *count <= COUNT_MASK)?;
        let (header, body) = self
            .out
            .get_mut(self.length..)?
            .split_first_chunk_mut::<4>()?;
        let mut cursor = Cursor { out: body, at: 0 };
        write(&mut cursor)?;
        let padding = cursor.at.next_multiple_of(4) - cursor.at;
        let mut flags = VERSION << 6 | count;
        if padding > 0 {
            flags |= PADDING_BIT;
            // The last byte counts the padding (RFC 3550 §6.4.1).
            let bytes = [0, 0, u8::try_from(padding).ok()?];
            cursor.put(bytes.get(bytes.len().checked_sub(padding)?..)?)?;
        }
        let [w0, w1] = u16::try_from(cursor.at / 4).ok()?.to_be_bytes();
        *header = [flags, packet_type, w0, w1];
        self.length += header.len() + cursor.at;
        Some(())
    }
}

impl RtcpWriter<'_> {
    /// Blocks or sources that one packet can have: its count has five bits.
    pub const COUNT_MAX: usize = COUNT_MASK as usize;
}

const ITEM_CNAME: u8 = 1;
