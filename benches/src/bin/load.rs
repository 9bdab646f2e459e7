//! `load`: see `load --help`.

use std::process::ExitCode;

use benches::options::Options;
use benches::report::Summary;
use benches::run;
use clap::Parser;

fn main() -> ExitCode {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(options.threads.into())
        .enable_all()
        .build();
    let summary = match runtime {
        Ok(runtime) => runtime.block_on(run::run(options.clone())),
        Err(error) => Err(error.into()),
    };
    match summary {
        Ok(summary) => {
            print(&summary, &options);
            judge(&summary, &options)
        }
        Err(error) => {
            complain(&format!("load: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn judge(summary: &Summary, options: &Options) -> ExitCode {
    if !summary.is_complete() {
        complain("load: not everybody received everything that was published");
        return ExitCode::FAILURE;
    }
    if options.expect_lossless && !summary.is_lossless() {
        complain("load: packets were lost, doubled or changed");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

#[expect(clippy::print_stdout, reason = "the result of a command-line tool")]
fn print(summary: &Summary, options: &Options) {
    if options.json {
        println!(
            "{}",
            serde_json::to_string_pretty(summary).unwrap_or_default()
        );
    } else {
        print!("{summary}");
    }
}

#[expect(clippy::print_stderr, reason = "the complaints of a command-line tool")]
fn complain(text: &str) {
    eprintln!("{text}");
}
