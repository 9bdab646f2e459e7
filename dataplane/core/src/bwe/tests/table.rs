//! How well the estimate does, as a table for the README:
//!
//! `cargo test -p dataplane-core --lib bwe::tests::table -- --ignored --nocapture`
#![expect(clippy::print_stdout, reason = "the table is what it is for")]

use super::cases::CASES;

#[test]
#[ignore = "prints a table, and repeats what other tests show"]
fn all_cases_keep_their_bounds() {
    println!("| case | utilisation | lost in the queue | queue p50, p95 | bounds |");
    println!("|---|---|---|---|---|");
    let mut runs = Vec::new();
    for case in CASES {
        let outcomes = case.run();
        let figures = case.figures(&outcomes);
        let mut bounds = vec![format!("{:.0} %", case.bounds.utilisation * 100.0)];
        bounds.extend(
            case.bounds
                .loss
                .map(|loss| format!("{:.0} %", loss * 100.0)),
        );
        bounds.extend(case.bounds.queue_p95.map(|queue| format!("{queue} ms")));
        println!(
            "| {} | {:.0} % | {:.1} % | {}, {} ms | {} |",
            case.name,
            figures.utilisation * 100.0,
            figures.loss * 100.0,
            figures.queue_p50,
            figures.queue_p95,
            bounds.join(", "),
        );
        runs.push((case, outcomes));
    }
    for (case, outcomes) in runs {
        case.holds(&outcomes);
    }
}
