//! Packets of one layer that leave together are made equally long, so that the kernel takes them as
//! one message: segmentation offload (udp(7), `UDP_SEGMENT`) wants segments of one size, of which
//! only the last may be shorter.

use arrayvec::ArrayVec;

use super::fan_out::{BATCH_MAX, Pending};
use crate::ingress::Publication;
use crate::ingress::cache::PADDING_MAX;

/// Pads those packets of a batch that a neighbour is a little longer than. `batch` is of
/// `publication`, in the order in which the packets will leave.
///
/// Only packets that are ahead of all before them are padded. One that fills a hole has a number with
/// each subscriber already, so it may have been asked for, and sent again, earlier in this turn. Padded
/// afterwards it would be another content under the same SRTP index (RFC 3711 §9.1).
pub(super) fn equalize(publication: &mut Publication, batch: &[Pending]) {
    for index in 0..publication.layers().len() {
        let Some(layer) = u8::try_from(index)
            .ok()
            .and_then(|layer| publication.layer_mut(layer))
        else {
            continue;
        };
        let packets: ArrayVec<Unsent, BATCH_MAX> = batch
            .iter()
            .filter(|packet| usize::from(packet.layer) == index && packet.newest)
            .filter_map(|packet| {
                let cached = layer.packet(packet.sequence_number)?;
                Some(Unsent {
                    sequence_number: packet.sequence_number,
                    length: cached.extensions_len() + cached.payload().len(),
                })
            })
            .take(BATCH_MAX)
            .collect();
        let mut rest = packets.as_slice();
        while let Some((run, after)) = split_run(rest) {
            rest = after;
            for (sequence_number, padding) in paddings(run) {
                layer.pad(sequence_number, padding);
            }
        }
    }
}

/// A packet of one layer that waits to leave.
#[derive(Clone, Copy, Debug)]
struct Unsent {
    sequence_number: u64,
    /// Bytes, as far as packets of the layer differ in them.
    length: usize,
}

/// Cuts off the packets that can leave as one message once they are padded: the lengths are no more
/// than [`PADDING_MAX`] apart, and a shorter one may follow as the last.
fn split_run(packets: &[Unsent]) -> Option<(&[Unsent], &[Unsent])> {
    let Unsent { length, .. } = *packets.first()?;
    let (mut shortest, mut longest) = (length, length);
    let mut count = 1;
    for Unsent { length, .. } in packets.iter().skip(1).take(RUN_MAX - 1) {
        let fits = longest.max(*length) - shortest.min(*length) <= PADDING_MAX;
        if !fits && *length > shortest {
            break;
        }
        count += 1;
        if !fits {
            break;
        }
        shortest = shortest.min(*length);
        longest = longest.max(*length);
    }
    packets.split_at_checked(count)
}

/// What each packet of a run needs to be as long as the longest. The last one needs nothing.
fn paddings(run: &[Unsent]) -> impl Iterator<Item = (u64, u8)> + '_ {
    let longest = run.iter().map(|packet| packet.length).max().unwrap_or(0);
    let but_the_last = run.split_last().map_or(run, |(_, equal)| equal);
    but_the_last.iter().filter_map(move |packet| {
        let padding = u8::try_from(longest - packet.length).ok()?;
        (padding > 0).then_some((packet.sequence_number, padding))
    })
}

/// Packets of one message: the shell sends no longer ones.
const RUN_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The lengths of each run after padding.
    fn padded(lengths: &[usize]) -> Vec<Vec<usize>> {
        let packets: Vec<_> = (0..)
            .zip(lengths)
            .map(|(sequence_number, length)| Unsent {
                sequence_number,
                length: *length,
            })
            .collect();
        let mut rest = packets.as_slice();
        let mut runs = Vec::new();
        while let Some((run, after)) = split_run(rest) {
            rest = after;
            let mut lengths: Vec<_> = run.iter().map(|packet| packet.length).collect();
            let first = run[0].sequence_number;
            for (number, padding) in paddings(run) {
                lengths[usize::try_from(number - first).unwrap()] += usize::from(padding);
            }
            runs.push(lengths);
        }
        runs
    }

    #[test]
    fn packets_that_differ_by_a_byte_become_one_run() {
        assert_eq!(
            padded(&[1100, 1101, 1100, 1100]),
            [[1101, 1101, 1101, 1100]]
        );
    }

    #[test]
    fn a_short_last_packet_rides_along_unpadded() {
        assert_eq!(padded(&[1100, 1101, 300]), [[1101, 1101, 300]]);
    }

    #[test]
    fn a_longer_packet_starts_the_next_run() {
        assert_eq!(padded(&[300, 1100, 1101]), [vec![300], vec![1101, 1101]]);
    }

    #[test]
    fn packets_that_are_equal_stay_as_they_are() {
        assert_eq!(padded(&[900; 3]), [[900; 3]]);
    }

    #[test]
    fn a_run_has_at_most_sixteen_packets() {
        let counts: Vec<_> = padded(&[900; 33]).iter().map(Vec::len).collect();
        assert_eq!(counts, [16, 16, 1]);
    }

    proptest! {
        #[test]
        fn every_run_can_leave_as_one_message_and_padding_stays_small(
            lengths in prop::collection::vec(1_usize..12, 0..80)
        ) {
            let runs = padded(&lengths);
            let after: Vec<_> = runs.iter().flatten().copied().collect();
            prop_assert_eq!(after.len(), lengths.len());
            for (before, after) in lengths.iter().zip(&after) {
                prop_assert!((*before..=before + PADDING_MAX).contains(after));
            }
            for run in &runs {
                let (last, equal) = run.split_last().unwrap();
                prop_assert!(equal.iter().all(|length| *length == run[0]) && *last <= run[0]);
            }
        }
    }
}
