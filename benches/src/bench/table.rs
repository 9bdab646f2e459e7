//! Figures as a table for people.

use super::measure::{Figures, Tail};

/// All lines, each with its name and its values under their headings.
pub fn table(lines: &[(String, &Figures)]) -> String {
    let mut rows: Vec<Vec<String>> = vec![HEADINGS.map(str::to_owned).to_vec()];
    rows.extend(lines.iter().map(|(name, figures)| row(name, figures)));
    let columns = HEADINGS.len();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let cell = if column == 0 {
                format!("{cell:<width$}")
            } else {
                format!("  {cell:>width$}")
            };
            text.push_str(&cell);
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

fn row(name: &str, figures: &Figures) -> Vec<String> {
    let floor = figures.floor;
    let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let run_mark = if figures.run_length_by_server {
        ""
    } else {
        "~"
    };
    vec![
        name.to_owned(),
        grouped(figures.packets_in),
        grouped(figures.packets_out),
        format!("{:.3}", figures.loss * 100.0),
        format!("{:.0}", figures.shard.busy * 100.0),
        format!("{:.0}", figures.shard.ns_per_packet),
        format!(
            "{:.0}/{:.0}",
            figures.shard.user_ns, figures.shard.system_ns
        ),
        format!("{:.0}", figures.dataplane.ns_per_packet),
        grouped(figures.packets_per_core),
        or_dash(floor.map(|floor| format!("{:.0}", floor.ns_per_packet))),
        or_dash(floor.map(|floor| {
            format!(
                "{:.2}",
                floor.ns_per_packet / figures.shard.ns_per_packet.max(1.0)
            )
        })),
        format!("{run_mark}{:.1}", figures.run_length),
        or_dash(figures.residence_us.map(tail)),
        tail(figures.latency_us),
        format!("{:.0}", figures.load.busy * 100.0),
        figures.load.late_us_max.to_string(),
        figures.load.socket_drops.to_string(),
        format!("{}/{}", figures.counts.faults(), figures.counts.checked),
    ]
}

fn tail(tail: Tail) -> String {
    format!("{:.0}/{:.0}/{:.0}", tail.p50, tail.p99, tail.p999)
}

/// With a comma between thousands.
pub fn grouped(value: f64) -> String {
    let digits = super::number::round_down(value.round()).to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// What the columns mean.
pub const LEGEND: &str = "\
ns, user/system: CPU time of the shards for each packet that a subscriber got; all ns: of the whole
data plane. per core: packets/s of one core that is busy all the time. floor ns: sealing and sending
alone, with as many keys and runs as long (~: run length as it arrived). residence: in the server;
end to end: from the publisher's stamp to the subscriber's check, polling included; both p50/p99/p99.9.
load %, late, drops: how busy the load generator was, its latest burst (us), what its sockets lost.
faults: doubled, changed or renumbered packets, of those that were checked bit for bit.
";

const HEADINGS: [&str; 18] = [
    "",
    "in/s",
    "out/s",
    "loss %",
    "core %",
    "ns",
    "user/system",
    "all ns",
    "per core",
    "floor ns",
    "floor/ns",
    "run",
    "residence us",
    "end to end us",
    "load %",
    "late",
    "drops",
    "faults",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        let cases = [
            (0.0, "0"),
            (999.4, "999"),
            (1_000.0, "1,000"),
            (1_234_567.0, "1,234,567"),
        ];
        for (value, text) in cases {
            assert_eq!(grouped(value), text);
        }
    }

    #[test]
    fn every_line_has_a_value_under_every_heading() {
        let figures = Figures::default();
        assert_eq!(row("", &figures).len(), HEADINGS.len());
        let text = table(&[("video".to_owned(), &figures)]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].trim_start().starts_with("in/s"));
        assert!(lines[1].starts_with("video"));
        assert_eq!(
            lines[0].find("in/s").unwrap() + 3,
            lines[1].find(" 0 ").unwrap() + 1
        );
    }
}
