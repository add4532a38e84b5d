//! Boolean expressions of True, False, not, and, or.

use rand_chacha::ChaCha8Rng;

use super::Split;
use super::draw::{Asked, Drawn, MAX_QUESTIONS, below, between, distinct, split_of};

const OPERANDS: (usize, usize) = (2, 3);

/// Draws expressions of two or three operands and one operator; an operand may be two in brackets, so
/// that the precedence of `and` and `or` does not matter. A third of the expressions, by their hash, are
/// test questions. The operator is drawn before the answer, so that the answer does not depend on it.
pub(super) fn draw(n: usize, split: Split, rng: &mut ChaCha8Rng) -> Drawn {
    distinct(n, MAX_QUESTIONS, 2, rng, |rng, card| {
        let wanted = card == 0;
        let operator = operator(rng);
        let operands = between(rng, OPERANDS.0, OPERANDS.1);
        let text = loop {
            let (value, text) = joined(rng, operator, operands, operand);
            if value == wanted && split_of(&text) == split {
                break text;
            }
        };
        let gold = if wanted { "True" } else { "False" };
        Some(Asked::new(format!("Is the following expression True or False? {text}"), gold))
    })
}

type Valued = (bool, String);

fn operator(rng: &mut ChaCha8Rng) -> &'static str {
    ["and", "or"][below(rng, 2)]
}

fn joined(
    rng: &mut ChaCha8Rng,
    operator: &str,
    operands: usize,
    operand: fn(&mut ChaCha8Rng) -> Valued,
) -> Valued {
    let (values, texts): (Vec<bool>, Vec<String>) = (0..operands).map(|_| operand(rng)).unzip();
    let value = if operator == "and" { values.iter().all(|&v| v) } else { values.iter().any(|&v| v) };
    (value, texts.join(&format!(" {operator} ")))
}

fn operand(rng: &mut ChaCha8Rng) -> Valued {
    if below(rng, 2) == 0 {
        return constant(rng);
    }
    let operator = operator(rng);
    let (value, text) = joined(rng, operator, 2, constant);
    perhaps_not(rng, (value, format!("({text})")))
}

fn constant(rng: &mut ChaCha8Rng) -> Valued {
    let constant = [(true, "True"), (false, "False")][below(rng, 2)];
    perhaps_not(rng, (constant.0, constant.1.to_string()))
}

fn perhaps_not(rng: &mut ChaCha8Rng, (value, text): Valued) -> Valued {
    if below(rng, 2) == 0 { (value, text) } else { (!value, format!("not {text}")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datasets::generate;
    use crate::datasets::tests::SPLITS;

    /// Rewrites the expression until one word is left.
    fn reread(text: &str) -> String {
        let mut text = text.split_once("? ").unwrap().1.to_string();
        let rules = [
            ("not True", "False"),
            ("not False", "True"),
            ("(True)", "True"),
            ("(False)", "False"),
            ("True and True", "True"),
            ("True and False", "False"),
            ("False and True", "False"),
            ("False and False", "False"),
            ("True or True", "True"),
            ("True or False", "True"),
            ("False or True", "True"),
            ("False or False", "False"),
        ];
        while let Some((from, to)) = rules.iter().find(|(from, _)| text.contains(from)) {
            text = text.replacen(from, to, 1);
        }
        text
    }

    #[test]
    fn the_answer_is_what_rewriting_the_expression_gives() {
        for split in SPLITS {
            for question in generate("boolean-expressions", 2000, 3, split).unwrap() {
                assert_eq!(question.gold, [reread(question.text())], "{}", question.text());
            }
        }
    }

    #[test]
    fn the_outer_operator_does_not_give_the_answer_away() {
        let questions = generate("boolean-expressions", 2000, 4, Split::Train).unwrap();
        let outer = |text: &str| {
            let mut depth = 0;
            let flat: String = text
                .chars()
                .filter(|&c| {
                    depth += i32::from(c == '(') - i32::from(c == ')');
                    depth == 0
                })
                .collect();
            flat.contains(" and ")
        };
        let of_and: Vec<_> =
            questions.iter().filter(|q| outer(q.text().split_once("? ").unwrap().1)).collect();
        let is_true = of_and.iter().filter(|question| question.gold == ["True"]).count();
        // Five standard deviations of a fair coin.
        assert!((2 * is_true).abs_diff(of_and.len()) < 160, "{is_true} of {}", of_and.len());
    }
}
