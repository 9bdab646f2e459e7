//! Whether what a client publishes can be played together: the sender reports of all legs must put
//! the media of one publisher on one time line (RFC 3550 §6.4.1).

use std::collections::BTreeMap;

use dataplane_core::time::NtpTime;

use super::Checker;
use crate::content::Ledger;
use crate::peer::Client;

/// For every leg: how much later than the truth its last report puts its last packet. All legs of
/// one publishing client must agree.
pub fn check_lip_sync(
    clients: &[Client],
    ledger: &Ledger,
    ntp_origin: NtpTime,
    checker: &mut Checker,
) -> usize {
    // Publisher's client -> (shift in seconds, leg).
    let mut shifts: BTreeMap<u32, Vec<(f64, u32)>> = BTreeMap::new();
    for track in clients.iter().flat_map(|client| &client.subscriptions) {
        let Some(report) = track.reports.last() else {
            continue;
        };
        let Some(packet) = track
            .received
            .values()
            .rfind(|packet| packet.at <= report.at)
        else {
            continue;
        };
        let published = ledger.get(packet.content).expect("checked when it came");
        let ticks = packet.timestamp.wrapping_sub(report.rtp_timestamp) as i32;
        let reported = (report.ntp.wrapping_sub(ntp_origin.to_bits())) as f64 / 2_f64.powi(32);
        let seconds = reported + f64::from(ticks) / f64::from(track.codec.clock_rate());
        let shift = seconds - published.captured_at.as_nanos() as f64 / 1e9;
        if !(-0.005..SHIFT_MAX).contains(&shift) {
            checker.fault(format!(
                "leg {:x}: media is put {shift} s too late",
                track.ssrc
            ));
        }
        shifts
            .entry(packet.content.track >> 8)
            .or_default()
            .push((shift, track.ssrc));
    }
    for (client, shifts) in &shifts {
        let earliest = shifts
            .iter()
            .map(|(shift, _)| *shift)
            .fold(f64::MAX, f64::min);
        for (shift, leg) in shifts {
            if shift - earliest > TOLERANCE {
                checker.fault(format!(
                    "what client {client} publishes is {} s apart at leg {leg:x}",
                    shift - earliest
                ));
            }
        }
    }
    shifts.values().map(Vec::len).sum()
}

/// The longest way up that a report can have taken.
const SHIFT_MAX: f64 = 1.2;

/// Rounding to ticks of 48 and 90 kHz, a few times over; people notice 20 ms and more.
const TOLERANCE: f64 = 0.002;
