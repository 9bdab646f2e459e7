use super::*;
#[cfg(not(loom))]
use crate::channel::LAYOUT_VERSION;

#[test]
fn every_word_has_a_place_of_its_own() {
    let mut counters = Counters::default();
    for counter in Counter::ALL {
        counters.increment(*counter);
    }
    for gauge in Gauge::ALL {
        counters.set(*gauge, 1);
    }
    for reason in DropReason::ALL {
        counters.dropped(*reason);
    }
    assert_eq!(counters.words()[..HISTOGRAMS_START], [1; HISTOGRAMS_START]);
    assert_eq!(
        counters.words()[HISTOGRAMS_START..],
        [0; WORDS - HISTOGRAMS_START]
    );
}

#[test]
fn every_bucket_and_sum_has_a_place_of_its_own() {
    let mut counters = Counters::default();
    let mut sums = Vec::new();
    for histogram in Histogram::ALL {
        let last = histogram.bounds().last().unwrap();
        for value in histogram.bounds().chain([last + 1]) {
            counters.record(*histogram, value, 1);
        }
        sums.push(histogram.bounds().sum::<u64>() + last + 1);
    }
    for (histogram, sum) in Histogram::ALL.iter().zip(sums) {
        let buckets = vec![1; histogram.bounds().count() + 1];
        let expected = Distribution {
            buckets: &buckets,
            sum,
        };
        assert_eq!(counters.distribution(*histogram), expected, "{histogram:?}");
    }
    assert_eq!(counters.words()[..HISTOGRAMS_START], [0; HISTOGRAMS_START]);
    assert!(!counters.words()[HISTOGRAMS_START..].contains(&0));
}

#[test]
fn a_value_can_be_recorded_many_times_at_once() {
    let mut once = Counters::default();
    let mut one_by_one = Counters::default();
    once.record(Histogram::Residence, 50_000, 300);
    for _ in 0..300 {
        one_by_one.record(Histogram::Residence, 50_000, 1);
    }
    assert_eq!(once.words(), one_by_one.words());
    let recorded = once.distribution(Histogram::Residence);
    assert_eq!((recorded.count(), recorded.sum), (300, 15_000_000));
}

#[test]
fn a_sum_that_is_full_wraps() {
    let mut counters = Counters::default();
    counters.record(Histogram::Residence, u64::MAX, 3);
    let recorded = counters.distribution(Histogram::Residence);
    assert_eq!((recorded.count(), recorded.sum), (3, u64::MAX - 2));
}

#[cfg(not(loom))]
#[test]
fn another_number_of_words_is_another_version_of_the_layout() {
    // Who changes the lists changes this test, and raises the version.
    assert_eq!((LAYOUT_VERSION, WORDS), (5, 237));
}
