//! Logs, and the figures for Prometheus.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use shared::counters::{Counter, Counters, DropReason, Gauge, Histogram, Unit};
use tracing_subscriber::EnvFilter;

use crate::engine::{Engine, Plane};
use crate::registry::Registry;

/// Of the Prometheus text format, version 0.0.4.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Sends logs to standard error. `filter` has been checked by the settings.
pub fn start_logging(filter: &str) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let started = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .try_init();
    assert!(started.is_ok(), "logging is started once");
}

/// What HTTP counts, by method, route and status.
#[derive(Debug, Default)]
pub struct HttpFigures {
    calls: Mutex<BTreeMap<CallKey, CallFigures>>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct CallKey {
    method: String,
    route: String,
    status: u16,
}

#[derive(Clone, Debug, Default)]
struct CallFigures {
    count: u64,
    seconds: f64,
    /// For each of [`BUCKETS`], the calls that took no longer.
    buckets: [u64; BUCKETS.len()],
}

impl HttpFigures {
    /// Counts one call. `route` is the pattern that matched, never the path itself: there are few
    /// patterns and countless paths.
    pub fn record(&self, method: &str, route: &str, status: u16, took: Duration) {
        let key = CallKey {
            method: method.to_owned(),
            route: route.to_owned(),
            status,
        };
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let figures = calls.entry(key).or_default();
        figures.count += 1;
        figures.seconds += took.as_secs_f64();
        for (count, (bound, _)) in figures.buckets.iter_mut().zip(BUCKETS) {
            *count += u64::from(took <= *bound);
        }
    }

    fn render(&self, text: &mut Page) {
        let calls = self
            .calls
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let name = "http_request_duration_seconds";
        text.head(
            name,
            "histogram",
            "HTTP requests by route and status, and how long they took.",
        );
        for (
            CallKey {
                method,
                route,
                status,
            },
            figures,
        ) in &calls
        {
            let labels = format!("method=\"{method}\",route=\"{route}\",status=\"{status}\"");
            let bounds = BUCKETS.iter().map(|(_, bound)| bound);
            let buckets = bounds.zip(figures.buckets);
            text.histogram(name, &labels, buckets, figures.count, figures.seconds);
        }
    }
}

/// The page for Prometheus.
pub fn render(engine: &Engine, registry: &Registry, http: &HttpFigures) -> String {
    let mut text = Page::default();
    let plane = engine.plane();
    text.head("up", "gauge", "Whether a data plane is attached.");
    text.line("up", "", u8::from(plane.is_some()));
    text.head(
        "registry_sessions",
        "gauge",
        "Sessions that the control plane knows.",
    );
    text.line("registry_sessions", "", registry.len());
    if let Some(plane) = plane {
        render_plane(&plane, &mut text);
    }
    http.render(&mut text);
    text.text
}

fn render_plane(plane: &Plane, text: &mut Page) {
    let shards: Vec<Counters> = plane.counters().collect();
    let each = |text: &mut Page, name: &str, labels: &str, value: &dyn Fn(&Counters) -> u64| {
        for (index, counters) in shards.iter().enumerate() {
            let comma = if labels.is_empty() { "" } else { "," };
            text.line(
                name,
                &format!("shard=\"{index}\"{comma}{labels}"),
                value(counters),
            );
        }
    };
    for counter in Counter::ALL {
        let name = format!("{}_total", counter.name());
        text.head(&name, "counter", counter.help());
        each(text, &name, "", &|counters| counters.counter(*counter));
    }
    for gauge in Gauge::ALL {
        text.head(gauge.name(), "gauge", gauge.help());
        each(text, gauge.name(), "", &|counters| counters.gauge(*gauge));
    }
    text.head(
        "packets_dropped_total",
        "counter",
        "Packets that went no further, by reason.",
    );
    for reason in DropReason::ALL {
        let labels = format!("reason=\"{}\"", reason.name());
        each(text, "packets_dropped_total", &labels, &|counters| {
            counters.drops(*reason)
        });
    }
    for histogram in Histogram::ALL {
        render_histogram(*histogram, &shards, text);
    }
    text.head(
        "heartbeat_age_seconds",
        "gauge",
        "How long ago the shard's loop turned last.",
    );
    for (index, age) in plane.heartbeat_ages().enumerate() {
        text.line(
            "heartbeat_age_seconds",
            &format!("shard=\"{index}\""),
            age.as_secs_f64(),
        );
    }
}

fn render_histogram(histogram: Histogram, shards: &[Counters], text: &mut Page) {
    let name = histogram.name();
    text.head(name, "histogram", histogram.help());
    for (index, counters) in shards.iter().enumerate() {
        let recorded = counters.distribution(histogram);
        let bounds = histogram
            .bounds()
            .map(|bound| shown(bound, histogram.unit()));
        let cumulative = recorded.buckets.iter().scan(0_u64, |below, bucket| {
            *below = below.wrapping_add(*bucket);
            Some(*below)
        });
        text.histogram(
            name,
            &format!("shard=\"{index}\""),
            bounds.zip(cumulative),
            recorded.count(),
            shown(recorded.sum, histogram.unit()),
        );
    }
}

/// A value in the base unit that Prometheus wants. A sum beyond 2^53 loses its last digits.
fn shown(value: u64, unit: Unit) -> f64 {
    match unit {
        Unit::Nanoseconds => value as f64 / 1e9,
        Unit::Count | Unit::BitsPerSecond => value as f64,
    }
}

/// Text in the Prometheus format; every name gets our prefix.
#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "# HELP {PREFIX}{name} {help}");
        let _ = writeln!(self.text, "# TYPE {PREFIX}{name} {kind}");
    }

    /// One histogram; `buckets` are upper bounds, each with the number of values up to it.
    fn histogram(
        &mut self,
        name: &str,
        labels: &str,
        buckets: impl Iterator<Item = (impl Display, u64)>,
        count: u64,
        sum: f64,
    ) {
        let bucket = format!("{name}_bucket");
        for (bound, up_to_it) in buckets {
            self.line(&bucket, &format!("{labels},le=\"{bound}\""), up_to_it);
        }
        self.line(&bucket, &format!("{labels},le=\"+Inf\""), count);
        self.line(&format!("{name}_sum"), labels, sum);
        self.line(&format!("{name}_count"), labels, count);
    }

    fn line(&mut self, name: &str, labels: &str, value: impl Display) {
        let _ = if labels.is_empty() {
            writeln!(self.text, "{PREFIX}{name} {value}")
        } else {
            writeln!(self.text, "{PREFIX}{name}{{{labels}}} {value}")
        };
    }
}

const PREFIX: &str = "jackfield_";
const BUCKETS: &[(Duration, &str)] = &[
    (Duration::from_millis(1), "0.001"),
    (Duration::from_millis(5), "0.005"),
    (Duration::from_millis(20), "0.02"),
    (Duration::from_millis(100), "0.1"),
    (Duration::from_millis(500), "0.5"),
    (Duration::from_millis(2_000), "2"),
    (Duration::from_millis(10_000), "10"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_falls_into_every_bucket_that_is_long_enough() {
        let figures = HttpFigures::default();
        figures.record("GET", "/healthz", 200, Duration::from_millis(30));
        let mut page = Page::default();
        figures.render(&mut page);
        let labels = "method=\"GET\",route=\"/healthz\",status=\"200\"";
        for (bound, count) in [("0.02", 0), ("0.1", 1), ("+Inf", 1)] {
            let line = format!(
                "jackfield_http_request_duration_seconds_bucket{{{labels},le=\"{bound}\"}} {count}\n"
            );
            assert!(page.text.contains(&line), "{line} in {}", page.text);
        }
    }

    #[test]
    fn a_histogram_is_shown_by_cumulative_buckets_and_its_sum_in_seconds() {
        let mut counters = Counters::default();
        counters.record(Histogram::Residence, 4_000, 2);
        counters.record(Histogram::Residence, 5_120, 1);
        counters.record(Histogram::Residence, 200_000_000, 4);
        let mut page = Page::default();
        render_histogram(Histogram::Residence, &[counters], &mut page);
        let mut lines = page.text.lines();
        let name = "jackfield_residence_seconds";
        assert!(
            lines
                .next()
                .unwrap()
                .starts_with(&format!("# HELP {name} How long"))
        );
        assert_eq!(
            lines.next(),
            Some("# TYPE jackfield_residence_seconds histogram")
        );
        for expected in [
            r#"_bucket{shard="0",le="0.000004096"} 2"#,
            r#"_bucket{shard="0",le="0.00000512"} 3"#,
            r#"_bucket{shard="0",le="0.000006144"} 3"#,
        ] {
            assert_eq!(lines.next(), Some(format!("{name}{expected}").as_str()));
        }
        for expected in [
            r#"_bucket{shard="0",le="0.134217728"} 3"#,
            r#"_bucket{shard="0",le="+Inf"} 7"#,
            r#"_sum{shard="0"} 0.80001312"#,
            r#"_count{shard="0"} 7"#,
        ] {
            let found = lines.find(|line| line.ends_with(expected));
            assert!(found.is_some(), "{expected} in {}", page.text);
        }
        assert_eq!(lines.next(), None);
    }

    #[test]
    fn a_histogram_of_counts_is_shown_in_whole_numbers() {
        let mut counters = Counters::default();
        counters.record(Histogram::SendRunSegments, 16, 3);
        let mut page = Page::default();
        render_histogram(Histogram::SendRunSegments, &[counters], &mut page);
        for expected in [
            "jackfield_send_run_segments_bucket{shard=\"0\",le=\"15\"} 0\n",
            "jackfield_send_run_segments_bucket{shard=\"0\",le=\"16\"} 3\n",
            "jackfield_send_run_segments_sum{shard=\"0\"} 48\n",
        ] {
            assert!(page.text.contains(expected), "{expected} in {}", page.text);
        }
    }

    #[tokio::test]
    async fn every_counter_gauge_drop_reason_and_histogram_of_every_shard_is_there() {
        let fake = crate::engine::fake::FakeDataPlane::start(2);
        let (notices, _heard) = tokio::sync::mpsc::unbounded_channel();
        let engine = Engine::new(notices);
        engine.adopt(fake.attachment()).unwrap();
        let text = render(&engine, &Registry::new(), &HttpFigures::default());
        for shard in 0..2 {
            for counter in Counter::ALL {
                let line = format!("jackfield_{}_total{{shard=\"{shard}\"}} ", counter.name());
                assert!(text.contains(&line), "{line}");
            }
            for gauge in Gauge::ALL {
                let line = format!("jackfield_{}{{shard=\"{shard}\"}} ", gauge.name());
                assert!(text.contains(&line), "{line}");
            }
            for reason in DropReason::ALL {
                let labels = format!("{{shard=\"{shard}\",reason=\"{}\"}} ", reason.name());
                assert!(text.contains(&format!("jackfield_packets_dropped_total{labels}")));
            }
            for histogram in Histogram::ALL {
                let line = format!("jackfield_{}_count{{shard=\"{shard}\"}} ", histogram.name());
                assert!(text.contains(&line), "{line}");
            }
        }
    }
}
