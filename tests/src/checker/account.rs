//! Packets that were published between two that came of one source: what became of each.

use core::time::Duration;

use dataplane_core::time::Timestamp;

use super::leg::{Known, Leg};
use crate::content::Content;

impl Leg<'_> {
    /// Every packet that was published between two that came, and did not come itself.
    pub(super) fn account(&mut self, a: Known<'_>, b: Known<'_>) {
        let ssrc = a.published.ssrc;
        let between = self
            .ledger
            .between(ssrc, a.published.index, b.published.index);
        let holes = b.index - a.index - 1;
        let published = b.published.index - a.published.index - 1;
        if holes > published {
            self.fault(&format!(
                "{holes} numbers for {published} packets before {}",
                b.index
            ));
        }
        // Without packets of padding between them, numbers and packets are one to one.
        let one_to_one = holes == published;
        for (index, content) in between {
            let up = self.up(ssrc, index);
            let out = a.index + (index - a.published.index);
            let down = self.down(out);
            let lost_on_the_way_down = one_to_one && down.sent > 0 && down.arrived == 0;
            let captured_at = self
                .ledger
                .get(content)
                .expect("from the ledger")
                .captured_at;
            let came_up_in_time = up
                .first_arrival
                .is_some_and(|at| self.is_in_time(a, b, at) && at.since(captured_at) < REPAIRS_END);
            if came_up_in_time && one_to_one && !lost_on_the_way_down {
                self.fault(&format!(
                    "{content:?} arrived ({up:?}) and was not sent ({down:?})"
                ));
            }
            let may_be_withheld = self.track.may_be_cut && self.is_upper(content);
            if !one_to_one && holes == 0 && came_up_in_time && !may_be_withheld {
                self.fault(&format!(
                    "{content:?} arrived and its number was given away"
                ));
            }
        }
    }

    /// Whether a packet is of an upper temporal layer.
    pub(super) fn is_upper(&self, content: Content) -> bool {
        let published = self.ledger.get(content).expect("from the ledger");
        let numbers = published.numbers;
        numbers.is_some_and(|numbers| numbers.temporal_layer > 0)
    }

    /// A packet that comes much later than its neighbours may be given up.
    fn is_in_time(&self, a: Known<'_>, b: Known<'_>, at: Timestamp) -> bool {
        let neighbours = [a, b].map(|known| self.up(known.published.ssrc, known.published.index));
        let first = neighbours
            .iter()
            .filter_map(|fates| fates.first_arrival)
            .min();
        first.is_some_and(|first| at.since(first).as_millis() < 300)
    }
}

/// Later than this, a repair may find that the cache has gone on: that of audio holds little more
/// than a second.
const REPAIRS_END: Duration = Duration::from_millis(800);
