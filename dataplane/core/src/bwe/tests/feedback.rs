//! Feedback as bytes, written by our own writer, which is checked against the `rtcp` crate.

use crate::rtcp::{FeedbackHeader, Packet, RtcpWriter, TransportFeedback, packets};

/// One RTCP packet.
#[derive(Debug)]
pub(crate) struct FeedbackBytes {
    bytes: Vec<u8>,
    pub(crate) covered: usize,
}

impl FeedbackBytes {
    /// About the packets from `base` on; arrivals in ticks of 250 µs.
    pub(crate) fn new(base: u16, arrivals: &[Option<u64>]) -> Self {
        let mut bytes = vec![0; 1400];
        let mut writer = RtcpWriter::new(&mut bytes);
        let header = FeedbackHeader {
            sender: 1,
            media: 2,
            base_sequence_number: base,
            feedback_count: 0,
        };
        let covered = writer.transport_feedback(&header, arrivals.iter().copied());
        let len = writer.len();
        bytes.truncate(len);
        Self { bytes, covered }
    }

    pub(crate) fn parse(&self) -> TransportFeedback<'_> {
        match packets(&self.bytes).next() {
            Some(Ok(Packet::TransportFeedback(feedback))) => feedback,
            other => panic!("{other:?}"),
        }
    }
}
