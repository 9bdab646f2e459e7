//! Random scenarios: a mix of everything that can happen in a call, each from a seed.
//!
//! `JACKFIELD_SEEDS=N` runs N of them (200), `JACKFIELD_SEED=S` the one of that seed.
#![expect(clippy::print_stderr, reason = "the seed of a failure must be seen")]

use std::panic::catch_unwind;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use tests::scenario::{self, Outcome};

#[test]
fn random_scenarios_leave_every_checker_satisfied() {
    let seeds: Vec<u64> = match number("JACKFIELD_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("JACKFIELD_SEEDS").unwrap_or(200)).collect(),
    };
    let outcomes = run(&seeds);
    let failed: Vec<_> = outcomes
        .iter()
        .filter(|(_, outcome)| outcome.is_none())
        .map(|(seed, _)| seed)
        .collect();
    assert!(
        failed.is_empty(),
        "failed: run with JACKFIELD_SEED={failed:?}"
    );
    // A run in which nothing happens proves nothing.
    let outcomes: Vec<_> = outcomes.into_iter().filter_map(|(_, of)| of).collect();
    let sum = |of: fn(&Outcome) -> usize| outcomes.iter().map(of).sum::<usize>();
    let (packets, switches) = (sum(|of| of.packets), sum(|of| of.switches));
    let (restarts, held_back) = (sum(|of| of.restarts), sum(|of| of.held_back));
    let calm_legs = sum(|of| of.calm_legs);
    let slowest = outcomes.iter().map(|of| of.recovery).max();
    let estimate = outcomes.iter().map(|of| of.highest_estimate).max();
    eprintln!(
        "{} seeds, {packets} packets, {switches} switches, {restarts} restarts, \
         {held_back} held back, {calm_legs} calm, slowest recovery {slowest:?}, highest estimate {estimate:?}",
        seeds.len()
    );
    if seeds.len() >= 20 {
        assert!(packets > seeds.len() * 500, "{packets}");
        assert!(switches > seeds.len() / 2, "{switches}");
        assert!(restarts > seeds.len() / 2, "{restarts}");
        assert!(held_back > seeds.len(), "{held_back}");
        assert!(calm_legs > seeds.len(), "{calm_legs}");
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in [1, 17, 4711] {
        assert_eq!(scenario::run(seed), scenario::run(seed), "seed {seed}");
    }
    assert_ne!(scenario::run(1).trace, scenario::run(2).trace);
}

/// On all cores; none for a seed that failed.
fn run(seeds: &[u64]) -> Vec<(u64, Option<Outcome>)> {
    let next = AtomicU64::new(0);
    let outcomes = Mutex::new(Vec::new());
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(seed) = usize::try_from(next.fetch_add(1, Ordering::Relaxed))
                    .ok()
                    .and_then(|position| seeds.get(position))
                {
                    let outcome = catch_unwind(|| scenario::run(*seed)).ok();
                    if outcome.is_none() {
                        eprintln!("JACKFIELD_SEED={seed} failed");
                    }
                    if let Ok(mut outcomes) = outcomes.lock() {
                        outcomes.push((*seed, outcome));
                    }
                }
            });
        }
    });
    outcomes.into_inner().unwrap_or_default()
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    match text.parse() {
        Ok(number) => Some(number),
        Err(error) => panic!("{name}={text}: {error}"),
    }
}
