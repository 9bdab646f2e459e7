//! Raises the rate until it is too much, then looks for the highest that is not.

use core::time::Duration;

use serde::Serialize;

use super::measure::{Figures, measure};
use super::options::Rate;
use super::stage::Stage;
use crate::error::LoadError;

/// All steps of a ramp, in the order they were taken.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Ramp {
    /// With what came out.
    pub steps: Vec<Step>,
}

/// One rate.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// What was measured.
    pub figures: Figures,
    /// Why it was too much; None if it was not.
    pub fault: Option<Fault>,
}

/// Why a rate is too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Packets were lost, [`LOSS_MAX`] or more.
    Loss,
    /// They took [`LATENCY_US_MAX`] or longer, at the 99th percentile.
    Latency,
    /// The load generator could not send or receive as fast: this says nothing about the server.
    LoadGenerator,
}

impl Fault {
    /// In a word or two.
    pub fn name(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Latency => "latency",
            Self::LoadGenerator => "load generator",
        }
    }
}

impl Ramp {
    /// The highest rate that was not too much.
    pub fn best(&self) -> Option<&Step> {
        let good = self.steps.iter().filter(|step| step.fault.is_none());
        good.max_by(|a, b| a.figures.rate.total_cmp(&b.figures.rate))
    }
}

/// Takes the steps; each lasts `time`, beside the time that it takes to get quiet. `tell` hears of
/// every one.
///
/// # Errors
///
/// [`LoadError`] if the server or the load generator fails.
pub async fn ramp(
    stage: &mut Stage,
    time: Duration,
    tell: &dyn Fn(&str),
) -> Result<Ramp, LoadError> {
    let mut ramp = Ramp::default();
    let mut search = Search::new(stage.scenario.packets_per_second(Rate::Natural) * FIRST_FACTOR);
    while let Some(rate) = search.next() {
        let figures = measure(stage, Rate::Packets(rate), time).await?;
        let fault = judge(&figures);
        search.tell(rate, fault.is_none());
        tell(&in_words(&figures, fault));
        ramp.steps.push(Step { figures, fault });
    }
    Ok(ramp)
}

fn in_words(figures: &Figures, fault: Option<Fault>) -> String {
    let drops = figures
        .drops
        .first()
        .map(|(reason, count)| format!(", {count} dropped: {reason}"));
    let fault = fault.map(|fault| format!(": too much ({})", fault.name()));
    format!(
        "  {:.0}/s: {:.0} packets/s out, {:.3} % lost, p99 {:.1} ms{}{}",
        figures.rate,
        figures.packets_out,
        figures.loss * 100.0,
        figures.latency_us.p99 / 1e3,
        drops.unwrap_or_default(),
        fault.unwrap_or_default()
    )
}

/// What is wrong with a step.
pub fn judge(figures: &Figures) -> Option<Fault> {
    let lossy = figures.loss >= LOSS_MAX;
    if figures.packets_in < figures.rate_in * SENT_MIN || (lossy && figures.load.socket_drops > 0) {
        Some(Fault::LoadGenerator)
    } else if lossy {
        Some(Fault::Loss)
    } else if figures.latency_us.p99 >= LATENCY_US_MAX {
        Some(Fault::Latency)
    } else {
        None
    }
}

/// Doubles until a rate is bad, then halves the gap between the best good and the worst bad rate.
#[derive(Clone, Copy, Debug)]
struct Search {
    next: f64,
    good: f64,
    bad: Option<f64>,
    left: u32,
    refined: u32,
}

impl Search {
    fn new(first: f64) -> Self {
        Self {
            next: first,
            good: 0.0,
            bad: None,
            left: STEPS_MAX,
            refined: 0,
        }
    }

    fn next(&mut self) -> Option<f64> {
        self.left = self.left.checked_sub(1)?;
        (self.refined <= REFINEMENTS).then_some(self.next)
    }

    fn tell(&mut self, rate: f64, is_good: bool) {
        if is_good {
            self.good = rate;
        } else {
            self.bad = Some(rate);
        }
        self.next = match self.bad {
            None => rate * 2.0,
            Some(bad) => {
                self.refined += 1;
                f64::midpoint(self.good, bad)
            }
        };
    }
}

/// Part of the packets.
pub const LOSS_MAX: f64 = 0.001;

/// 50 ms.
pub const LATENCY_US_MAX: f64 = 50_000.0;

/// Part of the packets that the publishers must have sent in time.
const SENT_MIN: f64 = 0.98;

/// The first step, as a multiple of the natural rate.
const FIRST_FACTOR: f64 = 4.0;

const STEPS_MAX: u32 = 16;

/// Steps between the last good and the first bad one.
const REFINEMENTS: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    /// The rates that a server is tried with that takes up to `limit`.
    fn tried(first: f64, limit: f64) -> Vec<f64> {
        let mut search = Search::new(first);
        let mut rates = Vec::new();
        while let Some(rate) = search.next() {
            search.tell(rate, rate <= limit);
            rates.push(rate);
        }
        rates
    }

    #[test]
    fn a_search_doubles_and_then_closes_in() {
        let rates = tried(1_000.0, 5_300.0);
        let expected = [
            1_000.0, 2_000.0, 4_000.0, 8_000.0, 6_000.0, 5_000.0, 5_500.0, 5_250.0,
        ];
        assert_eq!(rates, expected);
    }

    #[test]
    fn a_search_ends_though_everything_is_good_or_bad() {
        assert_eq!(tried(1.0, f64::INFINITY).len(), 16);
        assert_eq!(tried(1_000.0, 0.0).len(), 5);
    }

    #[test]
    fn a_step_is_judged_by_loss_and_latency_and_by_who_was_too_slow() {
        let good = Figures {
            rate_in: 1_000.0,
            packets_in: 999.0,
            loss: 0.000_9,
            ..Figures::default()
        };
        assert_eq!(judge(&good), None);
        let mut slow = good.clone();
        slow.latency_us.p99 = 50_000.0;
        assert_eq!(judge(&slow), Some(Fault::Latency));
        let mut lossy = good.clone();
        lossy.loss = 0.001;
        assert_eq!(judge(&lossy), Some(Fault::Loss));
        lossy.load.socket_drops = 1;
        assert_eq!(judge(&lossy), Some(Fault::LoadGenerator));
        let mut late = good;
        late.packets_in = 900.0;
        assert_eq!(judge(&late), Some(Fault::LoadGenerator));
    }

    #[test]
    fn the_best_step_is_the_fastest_good_one() {
        let step = |rate, fault| Step {
            figures: Figures {
                rate,
                ..Figures::default()
            },
            fault,
        };
        let steps = vec![
            step(1.0, None),
            step(4.0, Some(Fault::Loss)),
            step(3.0, None),
        ];
        assert_eq!(
            Ramp { steps }.best().map(|step| step.figures.rate),
            Some(3.0)
        );
        assert!(Ramp::default().best().is_none());
    }
}
