//! What the flags ask for, case after case.

use core::time::Duration;

use serde::Serialize;

use super::case::{Case, Mode};
use super::cores::Cores;
use super::header::Header;
use super::measure::{Figures, measure, measure_floor};
use super::number::round_down;
use super::options::Options;
use super::ramp::{Ramp, ramp};
use super::stage::{Joins, Stage};
use super::storm::{ChurnPoint, Storm, churn, storm};
use crate::error::LoadError;

/// The result of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// Where and when.
    pub header: Header,
    /// What was measured.
    pub cases: Vec<CaseOutcome>,
    /// What a storm of joins did.
    pub storm: Option<Storm>,
    /// The memory while sessions came and went.
    pub churn: Vec<ChurnPoint>,
}

/// One case: the run in the middle.
#[derive(Clone, Debug, Serialize)]
pub struct CaseOutcome {
    /// What was measured.
    pub name: String,
    /// How the subscribers joined.
    pub joins: Joins,
    /// What came out; of a ramp, its best step.
    pub figures: Figures,
    /// All steps of a ramp.
    pub ramp: Option<Ramp>,
    /// Of every run, what they are ordered by: nanoseconds a packet, or a ramp's packets a second.
    pub runs: Vec<f64>,
}

/// Carries out what `options` say; `tell` hears how it goes.
///
/// # Errors
///
/// [`LoadError`] says what failed.
pub async fn run(options: &Options, tell: &dyn Fn(&str)) -> Result<Outcome, LoadError> {
    let cores = &Cores::divide(options.server_cores)?;
    let mut outcome = Outcome {
        header: Header::new(cores.clone()),
        cases: Vec::new(),
        storm: None,
        churn: Vec::new(),
    };
    let cases = Case::all(options);
    if let Some(case) = cases.first()
        && (options.joins.is_some() || options.churn.is_some() || options.suite)
    {
        if let Some(count) = options
            .joins
            .or_else(|| options.suite.then_some(SUITE_JOINS))
        {
            let mut stage = Stage::set(options, cores, case).await?;
            tell(&format!("{count} joins, {} a second", options.join_rate));
            outcome.storm = Some(storm(&mut stage, count, options.join_rate).await?);
        }
        if let Some(count) = options.churn {
            let mut stage = Stage::set(options, cores, case).await?;
            tell(&format!("{count} sessions come and go"));
            outcome.churn = churn(&mut stage, count, options.join_rate).await?;
        }
    }
    if options.joins.is_none() && options.churn.is_none() {
        outcome.cases = run_cases(options, cores, &cases, tell).await?;
    }
    Ok(outcome)
}

/// Each case once, then each case again: what changes on the machine meanwhile hits them alike.
async fn run_cases(
    options: &Options,
    cores: &Cores,
    cases: &[Case],
    tell: &dyn Fn(&str),
) -> Result<Vec<CaseOutcome>, LoadError> {
    let mut runs: Vec<Vec<CaseOutcome>> = vec![Vec::new(); cases.len()];
    for round in 1..=options.repeat {
        for (case, runs) in cases.iter().zip(&mut runs) {
            tell(&format!("{} ({round} of {})", case.name(), options.repeat));
            runs.push(run_case(options, cores, case, tell).await?);
        }
    }
    Ok(runs.into_iter().filter_map(middle).collect())
}

async fn run_case(
    options: &Options,
    cores: &Cores,
    case: &Case,
    tell: &dyn Fn(&str),
) -> Result<CaseOutcome, LoadError> {
    let mut stage = Stage::set(options, cores, case).await?;
    let (mut figures, ramp, order) = match case.mode {
        Mode::Hold(rate) => {
            let time = Duration::from_secs(options.seconds.unwrap_or(HOLD_SECONDS));
            let figures = measure(&mut stage, rate, time).await?;
            let order = figures.shard.ns_per_packet;
            (figures, None, order)
        }
        Mode::Ramp => {
            let time = Duration::from_secs(options.seconds.unwrap_or(STEP_SECONDS));
            let ramp = ramp(&mut stage, time, tell).await?;
            let figures = ramp
                .best()
                .map(|step| step.figures.clone())
                .unwrap_or_default();
            let order = figures.packets_out;
            (figures, Some(ramp), order)
        }
    };
    if !options.no_floor {
        let seen = round_down(figures.run_length.round()).clamp(1, RUN_MAX);
        let run = if ramp.is_some() { RUN_MAX } else { seen };
        let run = options.floor_run.unwrap_or(run);
        figures.floor = Some(measure_floor(&mut stage, case, run).await?);
    }
    Ok(CaseOutcome {
        name: case.name(),
        joins: stage.joins.clone(),
        figures,
        ramp,
        runs: vec![order],
    })
}

/// The run in the middle, which then knows of all.
fn middle(mut runs: Vec<CaseOutcome>) -> Option<CaseOutcome> {
    let order = |run: &CaseOutcome| run.runs.first().copied().unwrap_or_default();
    let all: Vec<f64> = runs.iter().map(order).collect();
    runs.sort_by(|a, b| order(a).total_cmp(&order(b)));
    let half = runs.len().checked_sub(1)? / 2;
    let mut run = runs.into_iter().nth(half)?;
    run.runs = all;
    Some(run)
}

const HOLD_SECONDS: u64 = 5;
const STEP_SECONDS: u64 = 3;

/// Segments of one message, in the server and so in the floor.
const RUN_MAX: u64 = 16;

/// Joins in the storm of the suite.
const SUITE_JOINS: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    fn run_of(order: f64) -> CaseOutcome {
        CaseOutcome {
            name: String::new(),
            joins: Joins::default(),
            figures: Figures {
                packets_out: order,
                ..Figures::default()
            },
            ramp: None,
            runs: vec![order],
        }
    }

    #[test]
    fn the_run_in_the_middle_counts_and_knows_of_all() {
        let run = middle([5.0, 1.0, 2.0].map(run_of).to_vec()).unwrap();
        assert_eq!(
            (run.figures.packets_out, run.runs),
            (2.0, vec![5.0, 1.0, 2.0])
        );
        assert!(middle(Vec::new()).is_none());
    }
}
