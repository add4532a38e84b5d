use super::row::BLOCK;
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
    let draw = Draw { logits, sampling, generated: &[], allowed: None, uniform: 0.0 };
    reference_of(&draw)
}

fn reference_of(draw: &Draw) -> Vec<f64> {
    let sampling = draw.sampling;
    let heat = f64::from(sampling.temperature);
    let recent: Vec<Token> = draw.generated.iter().rev().take(sampling.repeat_last).copied().collect();
    let scaled: Vec<f64> = (0..)
        .zip(draw.logits)
        .map(|(token, &x)| {
            if !x.is_finite() || draw.allowed.is_some_and(|allowed| !allowed.contains(&token)) {
                return f64::NEG_INFINITY;
            }
            let (x, penalty) = (f64::from(x), f64::from(sampling.repeat_penalty));
            let x = match recent.contains(&token) {
                true if x > 0.0 => x / penalty,
                true => x * penalty,
                false => x,
            };
            x / heat
        })
        .collect();
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
        Sampling { top_k: 40, ..base.clone() },
        Sampling { top_p: 0.9, ..base.clone() },
        Sampling { min_p: 0.1, ..base.clone() },
        Sampling { temperature: 1.5, top_k: 300, top_p: 0.95, min_p: 0.01, ..base.clone() },
        Sampling { top_p: 0.0, ..base },
    ]
}

/// Draws for each goodness-of-fit test, and the chance with which a right sampler fails one. (The
/// seeds are fixed, so it passes always or never.)
const DRAWS: u64 = 200_000;
const SIGNIFICANCE: f64 = 1e-6;

/// Pearson's chi-square: with what probability draws that follow `expected` stray from it at least
/// as far as those of `draw` do. Tokens expected fewer than 10 times share bins, from the least
/// likely up.
fn fit(draw: &Draw, expected: &[f64]) -> f64 {
    let mut counts = vec![0u32; draw.logits.len()];
    for i in 0..DRAWS {
        let choice = Draw { uniform: uniform(11, i), ..*draw }.choose().unwrap();
        counts[choice.token as usize] += 1;
    }
    let mut tokens: Vec<usize> = (0..expected.len()).collect();
    tokens.sort_by(|&a, &b| expected[a].total_cmp(&expected[b]));
    let (mut chi, mut bins, mut bin) = (0.0, 0u32, (0.0, 0.0));
    let mut left: f64 = 1.0;
    for token in tokens {
        if expected[token] == 0.0 {
            if counts[token] > 0 {
                return 0.0;
            }
            continue;
        }
        bin = (bin.0 + f64::from(counts[token]), bin.1 + expected[token] * DRAWS as f64);
        left -= expected[token];
        if bin.1 >= 10.0 || left < 1e-12 {
            chi += (bin.0 - bin.1).powi(2) / bin.1;
            bins += 1;
            bin = (0.0, 0.0);
        }
    }
    chi_square_tail(chi, bins.saturating_sub(1))
}

/// The probability that a chi-square variable of `freedom` degrees is above `chi`: the incomplete
/// gamma function Q(freedom/2, chi/2) by its series or its continued fraction (Abramowitz and
/// Stegun 6.5.29, 6.5.31).
fn chi_square_tail(chi: f64, freedom: u32) -> f64 {
    if freedom == 0 || chi <= 0.0 {
        return 1.0;
    }
    let (a, x) = (f64::from(freedom) / 2.0, chi / 2.0);
    let ln_gamma: f64 = if freedom.is_multiple_of(2) {
        (1..freedom / 2).map(|i| f64::from(i).ln()).sum()
    } else {
        0.5 * std::f64::consts::PI.ln() + (0..freedom / 2).map(|i| (f64::from(i) + 0.5).ln()).sum::<f64>()
    };
    let front = (a * x.ln() - x - ln_gamma).exp();
    if x < a + 1.0 {
        let (mut term, mut sum) = (1.0 / a, 1.0 / a);
        for n in 1..10_000 {
            term *= x / (a + f64::from(n));
            sum += term;
        }
        return 1.0 - front * sum;
    }
    let fraction = (1..10_000).rev().fold(0.0, |rest, n| {
        let n = f64::from(n);
        n * (n - a) / (x + 2.0 * n + 1.0 - a - rest)
    });
    front / (x + 1.0 - a - fraction)
}

/// Tokens written before, some of them twice and some likely, and the tokens a constraint allows.
fn before_and_allowed(logits: &[f32]) -> (Vec<Token>, Vec<Token>) {
    let mut likely: Vec<Token> = (0..logits.len() as Token).collect();
    likely.sort_by(|&a, &b| logits[b as usize].total_cmp(&logits[a as usize]));
    // The first is out of reach of a penalty over the last 64.
    let mut generated = vec![likely[0]];
    generated.extend((0..40).flat_map(|i| [likely[1 + i * i % 50], (i * 31) as Token]));
    let allowed = (0..logits.len() as Token).filter(|token| token % 3 == 1).collect();
    (generated, allowed)
}

#[test]
fn draws_follow_the_reference_distribution() {
    let logits = row(700, 3);
    let (generated, allowed) = before_and_allowed(&logits);
    let free = settings().into_iter().map(|sampling| (sampling, false));
    // A temperature, top-k and everything, each penalised and constrained.
    let [hot, top_k, all] = [2, 4, 7].map(|i| settings()[i].clone());
    let more = [hot, top_k, all].into_iter().flat_map(|plain| {
        let penalised = Sampling { repeat_penalty: 1.3, ..plain.clone() };
        [(penalised.clone(), false), (plain, true), (penalised, true)]
    });
    for (sampling, constrained) in free.chain(more) {
        let allowed = constrained.then_some(&allowed[..]);
        let draw =
            Draw { logits: &logits, sampling: &sampling, generated: &generated, allowed, uniform: 0.0 };
        let p = fit(&draw, &reference_of(&draw));
        assert!(p >= SIGNIFICANCE, "p = {p} for {sampling:?}, constrained: {constrained}");
    }
}

#[test]
fn draws_of_another_distribution_are_told_apart() {
    let logits = row(700, 3);
    let (generated, allowed) = before_and_allowed(&logits);
    let base = Sampling { temperature: 1.0, ..Sampling::default() };
    let narrow = Sampling { top_k: 40, top_p: 0.9, ..base.clone() };
    for (draws, other) in [
        (base.clone(), Sampling { temperature: 0.9, ..base.clone() }),
        (Sampling { temperature: 0.95, ..base.clone() }, base.clone()),
        (Sampling { repeat_penalty: 1.05, ..base.clone() }, base.clone()),
        (Sampling { top_k: 41, ..base.clone() }, Sampling { top_k: 40, ..base.clone() }),
        (Sampling { top_k: 40, ..base.clone() }, Sampling { top_k: 41, ..base.clone() }),
        (narrow.clone(), Sampling { top_p: 0.92, ..narrow.clone() }),
        (
            Sampling { repeat_penalty: 1.3, repeat_last: 81, ..base.clone() },
            Sampling { repeat_penalty: 1.3, ..base.clone() },
        ),
    ] {
        let draw =
            Draw { logits: &logits, sampling: &draws, generated: &generated, allowed: None, uniform: 0.0 };
        let expected = reference_of(&Draw { sampling: &other, ..draw });
        let p = fit(&draw, &expected);
        assert!(p < SIGNIFICANCE, "p = {p}: {draws:?} passed for {other:?}");
    }
    let free = Draw { logits: &logits, sampling: &base, generated: &[], allowed: None, uniform: 0.0 };
    let held = Draw { allowed: Some(&allowed), ..free };
    assert!(fit(&free, &reference_of(&held)) < SIGNIFICANCE);
    assert!(fit(&held, &reference_of(&free)) < SIGNIFICANCE);
}

#[test]
fn the_chi_square_tail_agrees_with_tables_and_closed_forms() {
    for (chi, p) in [(3.841_459, 0.05), (23.928_127, 1e-6)] {
        // The table has seven digits of chi.
        assert!((chi_square_tail(chi, 1) / p - 1.0).abs() < 1e-5, "{chi}");
    }
    for freedom in [2, 10, 40, 100, 400] {
        for times in [0.5, 0.9, 1.0, 1.2, 1.5] {
            // For even degrees it is the chance of fewer than freedom/2 events where chi/2 are
            // expected.
            let half = times * f64::from(freedom) / 2.0;
            let (mut term, mut sum) = ((-half).exp(), 0.0);
            for n in 1..=freedom / 2 {
                sum += term;
                term *= half / f64::from(n);
            }
            let found = chi_square_tail(2.0 * half, freedom);
            assert!((found / sum - 1.0).abs() < 1e-9, "{times} {freedom}: {found} {sum}");
        }
    }
}

#[test]
fn a_penalty_acts_as_if_the_row_had_been_changed() {
    let logits = row(5 * BLOCK + 3, 21);
    let (generated, _) = before_and_allowed(&logits);
    for plain in settings().into_iter().chain([Sampling::greedy(1)]) {
        for repeat_penalty in [0.7, 1.0, 1.3, 5.0] {
            let sampling = Sampling { repeat_penalty, repeat_last: 30, ..plain.clone() };
            let mut changed = logits.clone();
            let mut recent = generated[generated.len() - 30..].to_vec();
            recent.sort_unstable();
            recent.dedup();
            for token in recent {
                let x = &mut changed[token as usize];
                *x = if *x > 0.0 { *x / repeat_penalty } else { *x * repeat_penalty };
            }
            for i in 0..300 {
                let uniform = uniform(5, i);
                let draw = Draw {
                    logits: &logits,
                    sampling: &sampling,
                    generated: &generated,
                    allowed: None,
                    uniform,
                };
                let choice = draw.choose().unwrap();
                assert_eq!(choice.token, choose(&changed, &plain, uniform).unwrap().token, "{sampling:?}");
                // The probability is that of the row without a penalty.
                let total: f64 = logits.iter().map(|&x| f64::from(x).exp()).sum();
                let own = f64::from(logits[choice.token as usize]).exp() / total;
                assert!((f64::from(choice.probability) / own - 1.0).abs() < 1e-5);
            }
        }
    }
}

#[test]
fn only_allowed_tokens_are_chosen_and_none_if_none_can_be() {
    let mut logits = row(3000, 8);
    logits[7] = f32::NEG_INFINITY;
    for sampling in settings().into_iter().chain([Sampling::greedy(1)]) {
        let draw = Draw {
            logits: &logits,
            sampling: &sampling,
            generated: &[],
            allowed: Some(&[7, 2900]),
            uniform: 0.3,
        };
        assert_eq!(draw.choose().map(|choice| choice.token), Some(2900));
        for none in [&[][..], &[7], &[5000]] {
            assert_eq!(Draw { allowed: Some(none), ..draw }.choose(), None);
        }
    }
}

#[test]
fn many_rows_are_chosen_from_as_each_alone() {
    let rows: Vec<Vec<f32>> = (0..9).map(|i| row(100_000 + i, 50 + i as u64)).collect();
    let sampling = Sampling { top_p: 0.9, ..Sampling::default() };
    let draw = |(i, logits)| Draw {
        logits,
        sampling: &sampling,
        generated: &[],
        allowed: None,
        uniform: uniform(3, i),
    };
    let draws: Vec<Draw> = (0..).zip(rows.iter().map(Vec::as_slice)).map(draw).collect();
    let alone: Vec<_> = draws.iter().map(Draw::choose).collect();
    for threads in [1, 3] {
        assert_eq!(choose_all(&draws, &SamplingTeam::of(threads)).unwrap(), alone);
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
            (times[0], times[times.len() / 2])
        };
        let one = time(&mut |i| {
            std::hint::black_box(choose(&rows[i as usize % 16], &sampling, uniform(1, i)));
        });
        let team = SamplingTeam::of(2);
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
            std::hint::black_box(choose_all(&draws, &team).unwrap());
        });
        println!(
            "{kind}, {name}: one row {:.0} us (median {:.0}), 16 rows {:.0} us (median {:.0})",
            one.0, one.1, all.0, all.1
        );
    }
}
