//! What a receiver says that it can take at the most (REMB, draft-alvestrand-rmcat-remb-03).

use core::time::Duration;

use super::ESTIMATE_MIN;
use crate::time::Timestamp;

/// The last REMB.
#[derive(Debug, Default)]
pub(super) struct RembCap {
    last: Option<(Timestamp, u64)>,
}

impl RembCap {
    /// One came; bits a second.
    pub(super) fn set(&mut self, now: Timestamp, bit_rate: u64) {
        self.last = Some((now, bit_rate.max(ESTIMATE_MIN)));
    }

    /// Bits a second; no limit if there was none lately.
    pub(super) fn limit(&self, now: Timestamp) -> u64 {
        let last = self.last.filter(|(at, _)| now.since(*at) < AGE_MAX);
        last.map_or(u64::MAX, |(_, bit_rate)| bit_rate)
    }
}

/// Who sends it repeats it at least once in a second (draft §2.3); who has ceased to does not mean
/// it any more.
const AGE_MAX: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingress::testing::ms;

    #[test]
    fn it_holds_for_a_while_and_never_stops_everything() {
        let mut cap = RembCap::default();
        assert_eq!(cap.limit(ms(0)), u64::MAX);
        cap.set(ms(0), 700_000);
        assert_eq!(cap.limit(ms(4999)), 700_000);
        assert_eq!(cap.limit(ms(5000)), u64::MAX);
        cap.set(ms(6000), 0);
        assert_eq!(cap.limit(ms(6000)), ESTIMATE_MIN);
    }
}
