//! Object tracking: three people swap the objects that they hold.

use rand_chacha::ChaCha8Rng;

use super::Split;
use super::draw::{Asked, Drawn, MAX_QUESTIONS, below, between, choose_distinct, distinct};
use super::tables::{objects, people};

const HOLDERS: usize = 3;
const SWAPS: (usize, usize) = (2, 4);
const PAIRS: [(usize, usize); 3] = [(0, 1), (0, 2), (1, 2)];

/// Draws swaps. The splits share no person and no object. Half of the questions ask for a person, half for
/// an object; its first place in the text is the first, second and third equally often.
pub(super) fn draw(n: usize, split: Split, rng: &mut ChaCha8Rng) -> Drawn {
    let (people, objects) = (people(split), objects(split));
    distinct(n, MAX_QUESTIONS, 2 * HOLDERS, rng, |rng, card| {
        let (holders, things) =
            (choose_distinct(rng, &people, HOLDERS), choose_distinct(rng, &objects, HOLDERS));
        let swaps = swaps(rng);
        // `at[i]`: who holds the object that person i held at first.
        let mut at = [0, 1, 2];
        for &(a, b) in &swaps {
            for holder in &mut at {
                *holder = if *holder == a {
                    b
                } else if *holder == b {
                    a
                } else {
                    *holder
                };
            }
        }
        let has: Vec<String> =
            holders.iter().zip(&things).map(|(who, what)| format!("{who} has the {what}")).collect();
        let mut text = format!("{}, {} and {}.", has[0], has[1], has[2]);
        for (turn, &(a, b)) in swaps.iter().enumerate() {
            let when = if turn == 0 { "First" } else { "Then" };
            text += &format!(" {when} {} and {} swap what they have.", holders[a], holders[b]);
        }
        let first = card / 2;
        let (who, what) = (holders[at[first]], things[first]);
        Some(if card % 2 == 0 {
            Asked::new(format!("{text} Who has the {what} in the end?"), who)
        } else {
            Asked::new(format!("{text} What does {who} have in the end?"), what)
        })
    })
}

/// Draws the swaps. No pair swaps twice in a row, which would undo the first swap.
fn swaps(rng: &mut ChaCha8Rng) -> Vec<(usize, usize)> {
    let mut last = below(rng, PAIRS.len());
    let mut swaps = vec![PAIRS[last]];
    for _ in 1..between(rng, SWAPS.0, SWAPS.1) {
        last = (last + 1 + below(rng, PAIRS.len() - 1)) % PAIRS.len();
        swaps.push(PAIRS[last]);
    }
    swaps
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::datasets::generate;
    use crate::datasets::tests::{SPLITS, regex};

    /// Hands the things over as the sentences say.
    fn reread(text: &str) -> String {
        let pairs = |pattern: &str| -> Vec<(String, String)> {
            regex(pattern).captures_iter(text).map(|c| (c[1].to_string(), c[2].to_string())).collect()
        };
        let mut has: BTreeMap<String, String> = pairs(r"(\w+) has the (\w+)\b").into_iter().collect();
        has.remove("Who");
        assert_eq!(has.len(), 3, "{text}");
        for (a, b) in pairs(r"(\w+) and (\w+) swap") {
            let (of_a, of_b) = (has[&a].clone(), has[&b].clone());
            has.insert(a, of_b);
            has.insert(b, of_a);
        }
        let asked = regex(r"(?:Who has the|What does) (\w+) (?:have )?in the end\?$").captures(text).unwrap();
        let holds = |(who, what): (&String, &String)| match &asked[1] {
            asked if asked == what => Some(who.clone()),
            asked if asked == who => Some(what.clone()),
            _ => None,
        };
        has.iter().find_map(holds).unwrap()
    }

    #[test]
    fn the_answer_is_where_the_swaps_lead() {
        let mut places = [0; 3];
        for split in SPLITS {
            for question in generate("tracking-objects", 1200, 3, split).unwrap() {
                assert_eq!(question.gold, [reread(question.text())], "{}", question.text());
                let listed: Vec<&str> =
                    question.text().split(['.', ',']).flat_map(|s| s.split(" and ")).collect();
                let place = listed.iter().position(|s| s.contains(&question.gold[0])).unwrap();
                places[place] += 1;
            }
        }
        // Neither the first nor the last one named is a good guess; five standard deviations.
        assert!(places.iter().all(|&n: &usize| n.abs_diff(800) < 116), "{places:?}");
    }
}
