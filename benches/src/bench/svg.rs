//! A ramp as a picture: three panels over the packets that subscribers got.

use core::fmt::Write;

use super::ramp::{LATENCY_US_MAX, LOSS_MAX, Step};

/// One curve.
struct Curve<'a> {
    name: &'a str,
    colour: &'a str,
    value: fn(&Step) -> f64,
}

/// Curves with one scale.
struct Panel<'a> {
    title: &'a str,
    curves: &'a [Curve<'a>],
    /// The scale ends here, or above if values do.
    top: f64,
    /// A line across: what is too much.
    limit: Option<f64>,
}

/// The picture of `steps` as an SVG document; `title` says what was measured.
pub fn svg(title: &str, steps: &[Step]) -> String {
    let mut steps: Vec<&Step> = steps.iter().collect();
    steps.sort_by(|a, b| a.figures.packets_out.total_cmp(&b.figures.packets_out));
    let right = steps.last().map_or(1.0, |step| step.figures.packets_out);
    let axis = round_up(right.max(1.0));
    let height = TOP + PANELS.len() as f64 * (PANEL_HEIGHT + GAP);
    // Writing to a String cannot fail.
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"22\" font-size=\"15\">{}</text>\n",
        escaped(title)
    );
    for (index, panel) in PANELS.iter().enumerate() {
        let top = TOP + index as f64 * (PANEL_HEIGHT + GAP);
        draw_panel(&mut out, panel, &steps, axis, top);
    }
    let _ = writeln!(
        out,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">packets/s at the subscribers</text>\n</svg>",
        LEFT + PLOT_WIDTH,
        height - 8.0
    );
    out
}

/// Where a panel stands, and what its edges mean.
#[derive(Clone, Copy)]
struct Frame {
    top: f64,
    /// At the right edge, packets/s.
    axis: f64,
    /// At the upper edge.
    scale: f64,
}

impl Frame {
    fn x(self, value: f64) -> f64 {
        LEFT + value / self.axis * PLOT_WIDTH
    }

    fn y(self, value: f64) -> f64 {
        self.top + PANEL_HEIGHT - value / self.scale * PANEL_HEIGHT
    }
}

fn draw_panel(out: &mut String, panel: &Panel<'_>, steps: &[&Step], axis: f64, top: f64) {
    let values = steps.iter().flat_map(|step| {
        let curves = panel.curves.iter();
        curves.map(|curve| (curve.value)(step))
    });
    let highest = values.fold(panel.top, f64::max);
    let scale = if highest > panel.top {
        round_up(highest)
    } else {
        panel.top
    };
    let frame = Frame { top, axis, scale };
    draw_axes(out, panel, frame);
    for (line, curve) in panel.curves.iter().rev().enumerate() {
        draw_curve(out, curve, steps, frame);
        let _ = writeln!(
            out,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\" fill=\"{}\">{}</text>",
            LEFT + PLOT_WIDTH,
            top - 5.0 - 13.0 * line as f64,
            curve.colour,
            curve.name
        );
    }
}

fn draw_axes(out: &mut String, panel: &Panel<'_>, frame: Frame) {
    let top = frame.top;
    let _ = writeln!(
        out,
        "<text x=\"{LEFT}\" y=\"{}\">{}</text>\n<rect x=\"{LEFT}\" y=\"{top}\" \
         width=\"{PLOT_WIDTH}\" height=\"{PANEL_HEIGHT}\" fill=\"none\" stroke=\"#999\"/>",
        top - 5.0,
        panel.title
    );
    for part in [0.0, 0.25, 0.5, 0.75, 1.0] {
        let _ = writeln!(
            out,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\" fill=\"#555\">{}</text>\n\
             <text x=\"{}\" y=\"{}\" text-anchor=\"middle\" fill=\"#555\">{}</text>",
            LEFT - 5.0,
            frame.y(frame.scale * part) + 4.0,
            short(frame.scale * part),
            frame.x(frame.axis * part),
            top + PANEL_HEIGHT + 14.0,
            short(frame.axis * part)
        );
    }
    if let Some(limit) = panel.limit {
        let _ = writeln!(
            out,
            "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{1}\" y2=\"{1}\" stroke=\"#c00\" \
             stroke-dasharray=\"4 3\"/>",
            LEFT + PLOT_WIDTH,
            frame.y(limit)
        );
    }
}

fn draw_curve(out: &mut String, curve: &Curve<'_>, steps: &[&Step], frame: Frame) {
    let points: Vec<(f64, f64, &Step)> = steps
        .iter()
        .map(|step| {
            let (x, y) = (step.figures.packets_out, (curve.value)(step));
            (frame.x(x), frame.y(y), *step)
        })
        .collect();
    let line: Vec<String> = points
        .iter()
        .map(|(x, y, _)| format!("{x:.1},{y:.1}"))
        .collect();
    let colour = curve.colour;
    let _ = writeln!(
        out,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
        line.join(" ")
    );
    for (x, y, step) in points {
        let fill = if step.fault.is_none() {
            colour
        } else {
            "white"
        };
        let _ = writeln!(
            out,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{fill}\" stroke=\"{colour}\"/>"
        );
    }
}

/// The next of 1, 2, 5, 10, 20, ... that is not below.
fn round_up(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0];
    let fits = steps
        .iter()
        .map(|step| step * power)
        .find(|step| *step >= value);
    fits.unwrap_or(value)
}

fn short(value: f64) -> String {
    if value >= 1e6 {
        format!("{} M", value / 1e6)
    } else if value >= 1e3 {
        format!("{} k", value / 1e3)
    } else {
        format!("{}", (value * 1e4).round() / 1e4)
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

const PANELS: [Panel<'static>; 3] = [
    Panel {
        title: "busy cores, %",
        curves: &[
            Curve {
                name: "shards",
                colour: "#06c",
                value: |step| step.figures.shard.busy * 100.0,
            },
            Curve {
                name: "load generator",
                colour: "#aaa",
                value: |step| step.figures.load.busy * 100.0,
            },
        ],
        top: 100.0,
        limit: None,
    },
    Panel {
        title: "loss, %",
        curves: &[Curve {
            name: "",
            colour: "#06c",
            value: |step| step.figures.loss * 100.0,
        }],
        top: 1.0,
        limit: Some(LOSS_MAX * 100.0),
    },
    Panel {
        title: "end to end p99, ms",
        curves: &[Curve {
            name: "",
            colour: "#06c",
            value: |step| step.figures.latency_us.p99 / 1e3,
        }],
        top: 100.0,
        limit: Some(LATENCY_US_MAX / 1e3),
    },
];

const WIDTH: f64 = 760.0;
const LEFT: f64 = 60.0;
const PLOT_WIDTH: f64 = 680.0;
const TOP: f64 = 62.0;
const PANEL_HEIGHT: f64 = 150.0;
const GAP: f64 = 44.0;

#[cfg(test)]
mod tests {
    use super::super::measure::Figures;
    use super::super::ramp::Fault;
    use super::*;

    fn step(packets_out: f64, fault: Option<Fault>) -> Step {
        Step {
            figures: Figures {
                packets_out,
                ..Figures::default()
            },
            fault,
        }
    }

    #[test]
    fn an_axis_ends_at_a_round_number() {
        for (value, end) in [(1.0, 1.0), (1.1, 2.0), (430.0, 500.0), (750_001.0, 1e6)] {
            assert_eq!(round_up(value), end);
        }
    }

    #[test]
    fn every_step_is_a_point_on_every_curve_and_bad_ones_are_hollow() {
        let steps = [step(2_000.0, Some(Fault::Loss)), step(1_000.0, None)];
        let picture = svg("1 < 2 & 3", &steps);
        assert_eq!(picture.matches("<circle").count(), 2 * 4);
        assert_eq!(picture.matches("fill=\"white\" stroke").count(), 4);
        assert!(picture.contains("1 &lt; 2 &amp; 3"));
        // In the order of their rates: the first at the middle of the axis.
        assert!(
            picture.contains("points=\"400.0,212.0 740.0,212.0\""),
            "{picture}"
        );
    }

    #[test]
    fn a_picture_of_nothing_is_still_one() {
        let picture = svg("", &[]);
        assert!(picture.starts_with("<svg") && picture.ends_with("</svg>\n"));
        assert!(!picture.contains("NaN"));
    }
}
