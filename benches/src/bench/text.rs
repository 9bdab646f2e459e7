//! An outcome in words and tables for people.

use core::fmt::{self, Display, Formatter};

use super::measure::Tail;
use super::ramp::Step;
use super::run::{CaseOutcome, Outcome};
use super::storm::{ChurnPoint, Storm};
use super::table::{LEGEND, table};

impl Display for Outcome {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.header)?;
        if let Some(storm) = &self.storm {
            write_storm(f, storm)?;
        }
        if !self.churn.is_empty() {
            write_churn(f, &self.churn)?;
        }
        if !self.cases.is_empty() {
            let lines = self
                .cases
                .iter()
                .map(|case| (case.name.clone(), &case.figures));
            writeln!(f, "{}\n{LEGEND}", table(&lines.collect::<Vec<_>>()))?;
        }
        self.cases.iter().try_for_each(|case| write_case(f, case))
    }
}

fn write_case(f: &mut Formatter<'_>, case: &CaseOutcome) -> fmt::Result {
    let joins = &case.joins;
    writeln!(
        f,
        "{}: {} joined ({} tried again) in {} ms, p99 {} ms; data plane {} KiB, of that {:.0} \
         (Pss {:.0}) for each subscriber",
        case.name,
        joins.joined,
        joins.retried,
        joins.connect_ms.p50,
        joins.connect_ms.p99,
        joins.rss_kib,
        joins.rss_kib_per_session,
        joins.pss_kib_per_session,
    )?;
    if case.runs.len() > 1 {
        let runs: Vec<String> = case.runs.iter().map(|run| format!("{run:.0}")).collect();
        writeln!(f, "  runs: {}", runs.join(", "))?;
    }
    for (reason, count) in &case.figures.drops {
        writeln!(f, "  the server dropped {count}: {reason}")?;
    }
    if let Some(floor) = case.figures.floor.filter(|floor| floor.lost > 0) {
        writeln!(f, "  {} packets of the floor did not arrive", floor.lost)?;
    }
    if let Some(ramp) = &case.ramp {
        let mut steps: Vec<&Step> = ramp.steps.iter().collect();
        steps.sort_by(|a, b| a.figures.rate.total_cmp(&b.figures.rate));
        let lines = steps.iter().map(|step| {
            let fault = step.fault.map_or("", |fault| fault.name());
            (
                format!("  {:.0}/s {fault}", step.figures.rate),
                &step.figures,
            )
        });
        writeln!(f, "\n{}", table(&lines.collect::<Vec<_>>()))?;
    }
    Ok(())
}

fn write_storm(f: &mut Formatter<'_>, storm: &Storm) -> fmt::Result {
    let mut row = |name: &str, value: &dyn Display| writeln!(f, "{name:<32} {value}");
    row(
        "joins",
        &format!("{} ({} tried again)", storm.joined, storm.retried),
    )?;
    row(
        "joins/s",
        &format!("{:.1} of {} begun", storm.joins_per_second, storm.rate),
    )?;
    for (name, times) in [
        ("to connected, ms p50/p99/max", storm.connect_ms),
        ("to first media, ms p50/p99/max", storm.first_media_ms),
    ] {
        row(name, &format!("{}/{}/{}", times.p50, times.p99, times.max))?;
    }
    row(
        "media before, us p50/p99/p99.9",
        &quantiles(Some(storm.media_before_us)),
    )?;
    row("media meanwhile", &quantiles(Some(storm.media_during_us)))?;
    row(
        "in the server before",
        &quantiles(storm.residence_before_us),
    )?;
    row(
        "in the server meanwhile",
        &quantiles(storm.residence_during_us),
    )?;
    row(
        "missing packets, %",
        &format!("{:.4}", storm.missing * 100.0),
    )?;
    let cost = storm.cost_us;
    row(
        "CPU us a join",
        &format!(
            "load generator {:.0}, control plane {:.0}, handshakes {:.0}, shards {:.0}; the \
             joiners' media included",
            cost.load_generator, cost.control_plane, cost.handshakes, cost.shards
        ),
    )?;
    row(
        "busy, %",
        &format!(
            "{:.0} load generator, control plane and handshakes together; {:.0} shards",
            storm.load_core_busy * 100.0,
            storm.shards_busy * 100.0
        ),
    )?;
    row(
        "KiB a session",
        &format!("{:.0}\n", storm.rss_kib_per_session),
    )
}

/// p50, p99 and p99.9.
fn quantiles(tail: Option<Tail>) -> String {
    tail.map_or_else(
        || "-".to_owned(),
        |Tail { p50, p99, p999 }| format!("{p50:.0}/{p99:.0}/{p999:.0}"),
    )
}

fn write_churn(f: &mut Formatter<'_>, points: &[ChurnPoint]) -> fmt::Result {
    writeln!(
        f,
        "{:>10}  {:>10}  {:>10}  {:>28}",
        "sessions", "Rss KiB", "Pss KiB", "in the server, us"
    )?;
    for point in points {
        let memory = point.memory;
        writeln!(
            f,
            "{:>10}  {:>10}  {:>10}  {:>28}",
            point.sessions,
            memory.rss,
            memory.pss,
            quantiles(point.residence_us)
        )?;
    }
    writeln!(f)
}
