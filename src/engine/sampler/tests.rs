use super::row::{BLOCK, exp};
use super::*;

fn choose(logits: &[f32], sampling: &Sampling, uniform: f64) -> Option<Choice> {
    Draw { logits, sampling, generated: &[], allowed: None, uniform }.choose()
}

/// Logits like a language model's: most far below, a few ahead.
fn row(n: usize, seed: u64) -> Vec<f32> {
    (0..n as u64)
        .map(|i| {
            let u = uniform(seed, i) as f32;
            12.0 - 14.0 * u.powf(0.3) + uniform(seed + 1, i) as f32
        })
        .collect()
}

/// Probabilities after all filters, by the definitions, in f64, with a full sort.
fn reference(logits: &[f32], sampling: &Sampling) -> Vec<f64> {
    let finite = |x: f32| {
        if x.is_finite() { f64::from(x) } else { f64::NEG_INFINITY }
    };
    let heat = f64::from(sampling.temperature);
    let scaled: Vec<f64> = logits.iter().map(|&x| finite(x) / heat).collect();
    let max = scaled.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut p: Vec<f64> = scaled.iter().map(|x| (x - max).exp()).collect();
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[b].total_cmp(&p[a]).then(a.cmp(&b)));
    if sampling.top_k > 0 {
        for &i in order.iter().skip(sampling.top_k) {
            p[i] = 0.0;
        }
    }
    let total: f64 = p.iter().sum();
    let mut before = 0.0;
    for (rank, &i) in order.iter().enumerate() {
        let weight = p[i];
        if rank > 0 && sampling.top_p < 1.0 && before >= f64::from(sampling.top_p) * total {
            p[i] = 0.0;
        }
        before += weight;
    }
    p.iter_mut().for_each(|w| *w = if *w < f64::from(sampling.min_p) { 0.0 } else { *w });
    let total: f64 = p.iter().sum();
    p.iter().map(|w| w / total).collect()
}

fn settings() -> Vec<Sampling> {
    let base = Sampling { temperature: 0.8, ..Sampling::default() };
    vec![
        Sampling { temperature: 1.0, ..base.clone() },
        base.clone(),
        Sampling { temperature: 1.7, ..base.clone() },
        Sampling { top_k: 7, ..base.clone() },
        Sampling { top_p: 0.9, ..base.clone() },
        Sampling { min_p: 0.1, ..base.clone() },
        Sampling { temperature: 1.5, top_k: 300, top_p: 0.95, min_p: 0.01, ..base.clone() },
        Sampling { top_p: 0.0, ..base },
    ]
}

#[test]
fn draws_follow_the_reference_distribution() {
    let logits = row(5000, 3);
    for sampling in settings() {
        let expected = reference(&logits, &sampling);
        let draws = 20_000;
        let mut counts = vec![0u32; logits.len()];
        for i in 0..draws {
            let choice = choose(&logits, &sampling, uniform(11, i)).unwrap();
            counts[choice.token as usize] += 1;
        }
        // Pearson's chi-square over the tokens expected at least 5 times, the rest pooled.
        let (mut chi, mut cells, mut rest) = (0.0, 0usize, (0.0, 0.0));
        for (count, p) in counts.iter().zip(&expected) {
            let (seen, want) = (f64::from(*count), p * draws as f64);
            assert!(*p > 0.0 || *count == 0, "a token that {sampling:?} excludes was drawn");
            if want >= 5.0 {
                chi += (seen - want).powi(2) / want;
                cells += 1;
            } else {
                rest = (rest.0 + seen, rest.1 + want);
            }
        }
        if rest.1 >= 5.0 {
            chi += (rest.0 - rest.1).powi(2) / rest.1;
            cells += 1;
        }
        let freedom = cells.saturating_sub(1) as f64;
        // Five standard deviations above the mean of the chi-square distribution.
        let limit = freedom + 5.0 * (2.0 * freedom).sqrt() + 1e-9;
        assert!(chi <= limit, "chi-square {chi} with {freedom} degrees for {sampling:?}");
    }
}

#[test]
fn exactly_the_reference_tokens_can_be_drawn() {
    for seed in 0..20 {
        let logits = row(777, 100 + seed);
        for sampling in settings() {
            let expected = reference(&logits, &sampling);
            let possible = expected.iter().filter(|&&p| p > 0.0).count();
            if possible > 200 {
                continue;
            }
            let mut seen = std::collections::BTreeSet::new();
            for i in 0..4000 {
                let choice = choose(&logits, &sampling, (f64::from(i) + 0.5) / 4000.0).unwrap();
                assert!(expected[choice.token as usize] > 0.0, "{sampling:?}");
                seen.insert(choice.token);
            }
            let likely = expected.iter().filter(|&&p| p > 1.0 / 4000.0).count();
            assert!(seen.len() >= likely, "{} of {likely} for {sampling:?}", seen.len());
        }
    }
}

#[test]
fn the_probability_is_the_models_own_whatever_the_filters() {
    let logits = row(3000, 5);
    let plain = reference(&logits, &Sampling::default());
    for sampling in settings().into_iter().chain([Sampling::greedy(1)]) {
        let choice = choose(&logits, &sampling, 0.37).unwrap();
        let expected = plain[choice.token as usize];
        // f32 sums in blocks: a few parts in a million.
        let off = (f64::from(choice.probability) - expected).abs();
        assert!(off <= 1e-5 * expected, "{choice:?} {expected}");
    }
}

#[test]
fn temperature_zero_takes_the_first_of_the_largest() {
    let mut logits = row(1000, 9);
    logits[400] = 50.0;
    logits[700] = 50.0;
    let choice = choose(&logits, &Sampling::greedy(1), 0.99).unwrap();
    assert_eq!(choice.token, 400);
    assert!((choice.probability - 0.5).abs() < 1e-6);
}

#[test]
fn logits_that_are_not_finite_are_never_chosen() {
    let mut logits = vec![f32::NAN; 70];
    logits[3] = f32::INFINITY;
    logits[4] = f32::NEG_INFINITY;
    logits[33] = -1e30;
    for sampling in settings().into_iter().chain([Sampling::greedy(1)]) {
        let choice = choose(&logits, &sampling, 0.999_999).unwrap();
        assert_eq!((choice.token, choice.probability), (33, 1.0), "{sampling:?}");
        assert_eq!(choose(&[f32::NAN, f32::INFINITY], &sampling, 0.5), None);
        assert_eq!(choose(&[], &sampling, 0.5), None);
    }
}

#[test]
fn absurd_settings_still_choose_a_token() {
    let logits = row(100, 2);
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1.0, 0.0, 1e-30, 1e30] {
        for top_k in [0, 1, 100, usize::MAX] {
            let sampling =
                Sampling { temperature: value, top_p: value, min_p: value, top_k, ..Sampling::default() };
            assert!(choose(&logits, &sampling, 0.5).is_some(), "{sampling:?}");
            let warm = Sampling { temperature: 1.0, ..sampling };
            assert!(choose(&logits, &warm, 0.5).is_some(), "{warm:?}");
        }
    }
}

#[test]
fn equal_logits_are_equally_likely_across_blocks() {
    let logits = vec![1.5; 3 * BLOCK + 17];
    let n = logits.len() as f64;
    for index in [0, BLOCK - 1, BLOCK, 2 * BLOCK + 5, 3 * BLOCK + 16] {
        let choice = choose(&logits, &Sampling::default(), (index as f64 + 0.5) / n).unwrap();
        assert_eq!(choice.token as usize, index);
    }
}

#[test]
fn the_fast_exponential_agrees_with_the_library() {
    for i in 0..=870_000 {
        let x = -(i as f32) * 1e-4;
        let (fast, exact) = (f64::from(exp(x)), f64::from(x).exp());
        assert!((fast - exact).abs() <= 3e-7 * exact, "{x}: {fast} {exact}");
    }
}

#[test]
fn uniform_numbers_are_even_and_unrelated_between_seeds() {
    let (mut mean, mut product) = (0.0, 0.0);
    let n = 100_000;
    for i in 0..n {
        let (a, b) = (uniform(i, 0), uniform(i + 1, 0));
        assert!((0.0..1.0).contains(&a));
        mean += a / n as f64;
        product += (a - 0.5) * (b - 0.5) / n as f64;
    }
    // Five standard errors: 0.289 / sqrt(n), (1/12) / sqrt(n).
    assert!((mean - 0.5).abs() < 5.0 * 0.289 / (n as f64).sqrt(), "{mean}");
    assert!(product.abs() < 5.0 / 12.0 / (n as f64).sqrt(), "{product}");
}

/// `cargo test --release --lib -- --ignored --nocapture how_long`: no assertion, only figures.
#[test]
#[ignore = "prints figures"]
fn how_long_sixteen_rows_of_a_wide_vocabulary_take() {
    let flat: Vec<Vec<f32>> = (0..16).map(|i| row(151_936, 1000 + 2 * i)).collect();
    let peaked: Vec<Vec<f32>> = (0..16).map(|i| peaked_row(151_936, 2000 + 2 * i)).collect();
    for (name, rows) in [("flat", &flat), ("peaked", &peaked)] {
        print_times(name, rows);
    }
}

/// Logits as confident models have them: a bell curve, and a dozen tokens well ahead of it.
fn peaked_row(n: usize, seed: u64) -> Vec<f32> {
    let mut logits: Vec<f32> = (0..n as u64)
        .map(|i| {
            let sum: f64 = (0..6).map(|j| uniform(seed + j, i)).sum();
            ((sum - 3.0) * 3.5) as f32
        })
        .collect();
    for rank in 0..12 {
        let index = (uniform(seed + 7, rank) * n as f64) as usize;
        logits[index] = 20.0 - 0.9 * rank as f32;
    }
    logits
}

fn print_times(kind: &str, rows: &[Vec<f32>]) {
    let base = Sampling { temperature: 0.7, ..Sampling::default() };
    for (name, sampling) in [
        ("greedy", Sampling::greedy(1)),
        ("temperature 1", Sampling::default()),
        ("temperature 0.7", base.clone()),
        ("top-k 40", Sampling { top_k: 40, ..base.clone() }),
        ("top-p 0.95", Sampling { top_p: 0.95, ..base.clone() }),
        ("min-p 0.05", Sampling { min_p: 0.05, ..base.clone() }),
    ] {
        let time = |work: &mut dyn FnMut(u64)| {
            let mut times: Vec<f64> = (0..41)
                .map(|i| {
                    let start = std::time::Instant::now();
                    work(i);
                    start.elapsed().as_secs_f64() * 1e6
                })
                .collect();
            times.sort_by(f64::total_cmp);
            times[times.len() / 2]
        };
        let one = time(&mut |i| {
            std::hint::black_box(choose(&rows[i as usize % 16], &sampling, uniform(1, i)));
        });
        let all = time(&mut |i| {
            let draws: Vec<Draw> = rows
                .iter()
                .map(|logits| Draw {
                    logits,
                    sampling: &sampling,
                    generated: &[],
                    allowed: None,
                    uniform: uniform(2, i),
                })
                .collect();
            std::hint::black_box(choose_all(&draws));
        });
        println!("{kind}, {name}: one row {one:.0} us, 16 rows {all:.0} us");
    }
}
