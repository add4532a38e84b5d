//! Navigation: does a walk end where it began?

use rand_chacha::ChaCha8Rng;

use super::Split;
use super::draw::{Asked, Drawn, MAX_QUESTIONS, below, counted, distinct, shuffle, split_of, yes_or_no};

const MAX_STEPS: usize = 9;

/// A part of the walk: its direction in quarter turns to the left, and its number of steps.
type Stretch = (usize, usize);

/// Draws walks. In half of the questions the person always faces the same way and steps sideways; in the
/// others the person turns. A walk that does not return is one that does, with one part changed, so that
/// its shape does not tell the answer. A third of the questions, by their hash, are test questions.
pub(super) fn draw(n: usize, split: Split, rng: &mut ChaCha8Rng) -> Drawn {
    distinct(n, MAX_QUESTIONS, 2, rng, |rng, card| {
        let returns = card == 0;
        let mut walk = round_trip(rng);
        if !returns {
            spoil(rng, &mut walk);
        }
        let way = if below(rng, 2) == 0 { facing_forward(&walk) } else { turning(&walk) };
        let text = format!("{way} Are you back where you started?");
        (split_of(&text) == split).then(|| Asked::new(text, yes_or_no(returns)))
    })
}

/// A walk that returns: out and back along one line or two, each way in one part or two.
fn round_trip(rng: &mut ChaCha8Rng) -> Vec<Stretch> {
    let mut walk = Vec::new();
    let first = below(rng, 4);
    let lines = if below(rng, 4) == 0 { 1 } else { 2 };
    for line in 0..lines {
        let steps = 1 + below(rng, MAX_STEPS);
        for direction in [first + line, first + line + 2] {
            let part = if below(rng, 4) == 0 { below(rng, steps) } else { 0 };
            let stretches = [part, steps - part].into_iter().filter(|&steps| steps > 0);
            walk.extend(stretches.map(|steps| (direction % 4, steps)));
        }
    }
    shuffle(rng, &mut walk);
    walk
}

/// Changes the direction or the number of steps of one part.
fn spoil(rng: &mut ChaCha8Rng, walk: &mut [Stretch]) {
    let at = below(rng, walk.len());
    let (direction, steps) = &mut walk[at];
    if below(rng, 2) == 0 {
        *direction = (*direction + 1 + below(rng, 3)) % 4;
    } else {
        *steps = (*steps + below(rng, MAX_STEPS - 1)) % MAX_STEPS + 1;
    }
}

fn facing_forward(walk: &[Stretch]) -> String {
    const WAYS: [&str; 4] = ["forward", "to the left", "backward", "to the right"];
    let mut text = "Always face forward.".to_string();
    for &(direction, steps) in walk {
        text += &format!(" Take {} {}.", counted(steps, "step"), WAYS[direction]);
    }
    text
}

fn turning(walk: &[Stretch]) -> String {
    const TURNS: [&str; 4] = ["", "Turn left.", "Turn around.", "Turn right."];
    let mut sentences = Vec::new();
    let mut heading = 0;
    for &(direction, steps) in walk {
        sentences.push(TURNS[(direction + 4 - heading) % 4].to_string());
        sentences.push(format!("Take {}.", counted(steps, "step")));
        heading = direction;
    }
    sentences.retain(|sentence| !sentence.is_empty());
    sentences.join(" ")
}

#[cfg(test)]
mod tests {
    use crate::datasets::generate;
    use crate::datasets::tests::SPLITS;

    /// Walks on the plane; turns rotate the heading.
    fn reread(text: &str) -> &'static str {
        let text = text.strip_suffix(" Are you back where you started?").unwrap();
        let (mut at, mut heading) = ((0, 0), (0, 1));
        let left = |(x, y): (i32, i32)| (-y, x);
        for sentence in text.split_inclusive('.').map(str::trim) {
            match sentence {
                "Always face forward." => {}
                "Turn left." => heading = left(heading),
                "Turn right." => heading = left(left(left(heading))),
                "Turn around." => heading = left(left(heading)),
                _ => {
                    let words: Vec<&str> = sentence.trim_end_matches('.').split(' ').collect();
                    let steps: i32 = words[1].parse().unwrap();
                    assert_eq!((words[0], words[2]), ("Take", if steps == 1 { "step" } else { "steps" }));
                    let way = match words[3..].join(" ").as_str() {
                        "" | "forward" => heading,
                        "backward" => left(left(heading)),
                        "to the left" => left(heading),
                        "to the right" => left(left(left(heading))),
                        other => panic!("unknown way {other:?}"),
                    };
                    at = (at.0 + steps * way.0, at.1 + steps * way.1);
                }
            }
        }
        if at == (0, 0) { "yes" } else { "no" }
    }

    #[test]
    fn the_answer_is_where_the_walk_ends() {
        for split in SPLITS {
            let questions = generate("navigate", 2000, 3, split).unwrap();
            for question in &questions {
                assert_eq!(question.gold, [reread(question.text())], "{}", question.text());
            }
            let facing = questions.iter().filter(|q| q.text().starts_with("Always")).count();
            assert!((700..1300).contains(&facing), "{facing} of 2000 face forward");
        }
    }
}
