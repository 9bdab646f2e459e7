//! `bench`: see `bench --help`.

use std::process::ExitCode;

use benches::bench::options::Options;
use benches::bench::run::{Outcome, run};
use benches::bench::svg::svg;
use benches::error::LoadError;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(run_or_stop(&options)),
        Err(error) => Err(error.into()),
    };
    let drawn = outcome.and_then(|outcome| {
        draw(&outcome, &options)?;
        Ok(outcome)
    });
    match drawn {
        Ok(outcome) => {
            print(&outcome, &options);
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(&format!("bench: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// A signal drops the run, and with it the server.
async fn run_or_stop(options: &Options) -> Result<Outcome, LoadError> {
    let (mut interrupt, mut terminate) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    tokio::select! {
        outcome = run(options, &complain) => outcome,
        _ = interrupt.recv() => Err(std::io::Error::other("interrupted").into()),
        _ = terminate.recv() => Err(std::io::Error::other("terminated").into()),
    }
}

fn draw(outcome: &Outcome, options: &Options) -> Result<(), LoadError> {
    let ramp = outcome.cases.iter().find_map(|case| {
        let ramp = case.ramp.as_ref()?;
        Some((&case.name, ramp))
    });
    match (&options.svg, ramp) {
        (Some(path), Some((name, ramp))) => Ok(std::fs::write(path, svg(name, &ramp.steps))?),
        (Some(_), None) => {
            complain("bench: there is no ramp to draw; ask for one with --ramp");
            Ok(())
        }
        (None, _) => Ok(()),
    }
}

#[expect(clippy::print_stdout, reason = "the result of a command-line tool")]
fn print(outcome: &Outcome, options: &Options) {
    if options.json {
        println!(
            "{}",
            serde_json::to_string_pretty(outcome).unwrap_or_default()
        );
    } else {
        print!("{outcome}");
    }
}

#[expect(clippy::print_stderr, reason = "the complaints of a command-line tool")]
fn complain(text: &str) {
    eprintln!("{text}");
}
