//! The server's `/metrics`, in the Prometheus text format.

use std::collections::BTreeMap;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::error::LoadError;

/// All samples of one scrape.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    samples: Vec<Sample>,
}

#[derive(Clone, Debug, PartialEq)]
struct Sample {
    name: String,
    labels: String,
    value: f64,
}

impl Metrics {
    /// Fetches the page. `url` is `http://HOST:PORT`.
    ///
    /// # Errors
    ///
    /// [`LoadError`] if the server does not answer.
    pub async fn fetch(url: &str) -> Result<Self, LoadError> {
        let http = |error: &dyn core::fmt::Display| LoadError::Http(format!("/metrics: {error}"));
        let authority = url.strip_prefix("http://").unwrap_or(url);
        let stream = TcpStream::connect(authority).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| http(&error))?;
        let connection = tokio::spawn(connection);
        let request = Request::builder()
            .uri("/metrics")
            .header("host", authority)
            .body(Empty::<Bytes>::new())
            .map_err(|error| http(&error))?;
        let answer = sender.send_request(request).await;
        let body = answer
            .map_err(|error| http(&error))?
            .into_body()
            .collect()
            .await;
        connection.abort();
        let body = body.map_err(|error| http(&error))?.to_bytes();
        Ok(Self::parse(&String::from_utf8_lossy(&body)))
    }

    fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Self {
            samples: lines.filter_map(parse_line).collect(),
        }
    }

    /// The sum of a metric over all shards; None if there is none of that name.
    pub fn sum(&self, name: &str) -> Option<f64> {
        let values = self.samples.iter().filter(|sample| sample.name == name);
        values.map(|sample| sample.value).reduce(|a, b| a + b)
    }

    /// The difference of [`Metrics::sum`].
    pub fn increase(&self, before: &Self, name: &str) -> Option<f64> {
        Some(self.sum(name)? - before.sum(name).unwrap_or_default())
    }

    /// What a histogram counted since `before`, over all shards.
    pub fn histogram(&self, before: &Self, name: &str) -> Option<Histogram> {
        let bucket = format!("{name}_bucket");
        let mut buckets: BTreeMap<Bound, f64> = BTreeMap::new();
        for (samples, sign) in [(self, 1.0), (before, -1.0)] {
            for sample in samples
                .samples
                .iter()
                .filter(|sample| sample.name == bucket)
            {
                let Some(bound) = label(&sample.labels, "le").and_then(Bound::parse) else {
                    continue;
                };
                *buckets.entry(bound).or_default() += sign * sample.value;
            }
        }
        let count = *buckets.last_key_value()?.1;
        (count > 0.0).then(|| Histogram {
            buckets: buckets.into_iter().map(|(bound, n)| (bound.0, n)).collect(),
            count,
            sum: self
                .increase(before, &format!("{name}_sum"))
                .unwrap_or_default(),
        })
    }

    /// Reasons of dropped packets that grew since `before`, the most frequent first.
    pub fn drops(&self, before: &Self) -> Vec<(String, u64)> {
        let mut sums: BTreeMap<&str, f64> = BTreeMap::new();
        for (samples, sign) in [(self, 1.0), (before, -1.0)] {
            let of_drops = samples.samples.iter().filter(|sample| sample.name == DROPS);
            for sample in of_drops {
                if let Some(reason) = label(&sample.labels, "reason") {
                    *sums.entry(reason).or_default() += sign * sample.value;
                }
            }
        }
        let mut sums: Vec<(String, u64)> = sums
            .into_iter()
            .map(|(reason, count)| (reason.to_owned(), super::number::round_down(count)))
            .filter(|(_, count)| *count > 0)
            .collect();
        sums.sort_by_key(|(_, count)| core::cmp::Reverse(*count));
        sums
    }
}

/// A histogram.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// Upper bounds, with how many values were not above.
    buckets: Vec<(f64, f64)>,
    count: f64,
    sum: f64,
}

impl Histogram {
    /// The mean of all values.
    pub fn mean(&self) -> f64 {
        self.sum / self.count
    }

    /// What `part` of the values do not exceed, as if values lay evenly in their bucket; the last
    /// finite bound if it lies beyond.
    pub fn quantile(&self, part: f64) -> f64 {
        let rank = part * self.count;
        let (mut lower, mut below) = (0.0, 0.0);
        for (bound, count) in &self.buckets {
            if *count >= rank {
                if bound.is_infinite() {
                    return lower;
                }
                let within = if *count > below {
                    (rank - below) / (count - below)
                } else {
                    1.0
                };
                // Rounding must not carry it out of its bucket.
                return (lower + (bound - lower) * within).min(*bound);
            }
            (lower, below) = (*bound, *count);
        }
        lower
    }
}

/// The upper bound of a bucket. Never NaN, so that there is an order.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Bound(f64);

impl Bound {
    fn parse(text: &str) -> Option<Self> {
        let bound: f64 = text.parse().ok()?;
        (!bound.is_nan()).then_some(Self(bound))
    }
}

impl Eq for Bound {}

impl PartialOrd for Bound {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Bound {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

fn parse_line(line: &str) -> Option<Sample> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = match series.split_once('{') {
        Some((name, labels)) => (name, labels.strip_suffix('}')?),
        None => (series, ""),
    };
    Some(Sample {
        name: name.to_owned(),
        labels: labels.to_owned(),
        value: value.parse().ok()?,
    })
}

fn label<'a>(labels: &'a str, name: &str) -> Option<&'a str> {
    labels.split(',').find_map(|label| {
        let value = label.strip_prefix(name)?.strip_prefix("=\"")?;
        value.strip_suffix('"')
    })
}

const DROPS: &str = "jackfield_packets_dropped_total";

#[cfg(test)]
mod tests {
    use super::*;

    fn page(counts: [u32; 3], sum: f64) -> Metrics {
        let [a, b, c] = counts;
        Metrics::parse(&format!(
            "# HELP x y\n# TYPE x histogram\nx_bucket{{shard=\"0\",le=\"0.001\"}} {a}\n\
             x_bucket{{shard=\"0\",le=\"0.01\"}} {b}\nx_bucket{{shard=\"0\",le=\"+Inf\"}} {c}\n\
             x_sum{{shard=\"0\"}} {sum}\njackfield_up 1\n\
             jackfield_packets_dropped_total{{shard=\"0\",reason=\"too_late\"}} {a}\n"
        ))
    }

    #[test]
    fn a_metric_is_summed_over_its_labels() {
        let metrics = Metrics::parse("a{shard=\"0\"} 1\na{shard=\"1\"} 2.5\nb 7\n");
        assert_eq!(metrics.sum("a"), Some(3.5));
        assert_eq!((metrics.sum("b"), metrics.sum("c")), (Some(7.0), None));
    }

    #[test]
    fn a_histogram_is_what_came_since_the_scrape_before() {
        let (before, after) = (page([10, 10, 10], 1.0), page([60, 109, 110], 2.0));
        let histogram = after.histogram(&before, "x").unwrap();
        assert!((histogram.quantile(0.25) - 0.000_5).abs() < 1e-9);
        assert!((histogram.quantile(0.5) - 0.001).abs() < 1e-9);
        assert!((histogram.quantile(0.99) - 0.01).abs() < 1e-9);
        assert_eq!(histogram.quantile(1.0), 0.01, "beyond the last bound");
        assert!((histogram.mean() - 0.01).abs() < 1e-9);
    }

    #[test]
    fn without_the_histogram_there_is_no_quantile() {
        let metrics = page([1, 1, 1], 1.0);
        assert_eq!(metrics.histogram(&Metrics::default(), "y"), None);
        assert_eq!(metrics.histogram(&metrics, "x"), None, "nothing came since");
    }

    #[test]
    fn drops_are_told_by_reason() {
        let (before, after) = (page([1, 1, 1], 0.0), page([4, 4, 4], 0.0));
        assert_eq!(after.drops(&before), [("too_late".to_owned(), 3)]);
        assert_eq!(after.drops(&after), []);
    }
}
