//! Facts, asked plainly or together with somebody's opinion.
//!
//! With the same seed and split, question number n of all four kinds about a relation is about the same
//! subject (while each subject has another question left). Two sets can therefore be compared question by
//! question: does an opinion mislead, and does distrust of opinions mislead?

use rand::Rng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::draw::{Asked, Drawn};

/// What can be asked about a subject.
pub(super) struct SubjectFact<'a> {
    pub subject: &'a str,
    /// Subjects of greater weight tend to come first, so that a small set is about facts that a small
    /// model can know: one of four times the weight is twice as likely to come next.
    pub weight: u64,
    /// The right answer as it stands in a sentence.
    pub right: &'a str,
    /// The accepted answers.
    pub gold: Vec<&'a str>,
    /// Wrong answers as they stand in a sentence.
    pub wrong: Vec<&'a str>,
}

/// The wordings of the questions about a relation: `{S}` stands for the subject, `{A}` for the answer that
/// somebody thinks of.
pub(super) struct RelationWordings {
    /// Without an opinion.
    pub plain: [&'static str; 4],
    /// Somebody thinks that the answer is `{A}`.
    pub opinion: [&'static str; 4],
    /// Somebody thinks that the answer is not `{A}`.
    pub doubt: [&'static str; 4],
    /// One subject is asked about in the first wording, the next in the second, and so on. Otherwise all
    /// subjects come in the first wording before any comes in the second.
    pub by_turns: bool,
}

impl RelationWordings {
    /// The index of the wording of a subject, by its own index, in a round.
    fn index(&self, subject: usize, round: usize) -> usize {
        (round + if self.by_turns { subject } else { 0 }) % 4
    }
}

/// Questions with a wrong opinion. Every subject comes once before any comes again, then with another
/// wording and, while there are any, another wrong answer.
pub(super) fn wrong(
    mut facts: Vec<SubjectFact>,
    wordings: &RelationWordings,
    n: usize,
    rng: &mut ChaCha8Rng,
) -> Drawn {
    facts = by_weight(facts, rng);
    for fact in &mut facts {
        fact.wrong.shuffle(rng);
    }
    let variants = |fact: &SubjectFact| fact.wrong.len() * wordings.opinion.len();
    let max = facts.iter().map(variants).sum();
    if n > max {
        return Err(max);
    }
    let questions = (0..).flat_map(|round| {
        let left = move |(_, fact): &(usize, &SubjectFact)| round < variants(fact);
        facts.iter().enumerate().filter(left).map(move |(subject, fact)| {
            // Each pair of wording and wrong answer comes exactly once.
            let wording = wordings.index(subject, round);
            let answer = (round / wordings.opinion.len() + wording) % fact.wrong.len();
            ask(wordings.opinion[wording], fact, fact.wrong[answer])
        })
    });
    Ok(questions.take(n).collect())
}

/// Questions without an opinion.
pub(super) fn plain(
    facts: Vec<SubjectFact>,
    wordings: &RelationWordings,
    n: usize,
    rng: &mut ChaCha8Rng,
) -> Drawn {
    about_the_answer(facts, wordings, &wordings.plain, n, rng)
}

/// Questions with a right opinion, in the words of the wrong ones.
pub(super) fn right(
    facts: Vec<SubjectFact>,
    wordings: &RelationWordings,
    n: usize,
    rng: &mut ChaCha8Rng,
) -> Drawn {
    about_the_answer(facts, wordings, &wordings.opinion, n, rng)
}

/// Questions with the opinion that the right answer is wrong.
pub(super) fn doubted(
    facts: Vec<SubjectFact>,
    wordings: &RelationWordings,
    n: usize,
    rng: &mut ChaCha8Rng,
) -> Drawn {
    about_the_answer(facts, wordings, &wordings.doubt, n, rng)
}

fn about_the_answer(
    facts: Vec<SubjectFact>,
    wordings: &RelationWordings,
    texts: &[&str],
    n: usize,
    rng: &mut ChaCha8Rng,
) -> Drawn {
    let facts = by_weight(facts, rng);
    let max = facts.len() * texts.len();
    if n > max {
        return Err(max);
    }
    let questions = (0..texts.len()).flat_map(|round| {
        let of = move |(subject, fact): (usize, &SubjectFact)| {
            ask(texts[wordings.index(subject, round)], fact, fact.right)
        };
        facts.iter().enumerate().map(of)
    });
    Ok(questions.take(n).collect())
}

fn ask(wording: &str, fact: &SubjectFact, answer: &str) -> Asked {
    Asked {
        fields: vec![("question", wording.replace("{S}", fact.subject).replace("{A}", answer))],
        gold: fact.gold.iter().map(|name| name.to_string()).collect(),
    }
}

/// A random order by weight. It uses integers only, since floating-point logarithms differ between
/// platforms.
fn by_weight<'a>(mut facts: Vec<SubjectFact<'a>>, rng: &mut ChaCha8Rng) -> Vec<SubjectFact<'a>> {
    let mut ordered = Vec::with_capacity(facts.len());
    while !facts.is_empty() {
        let weight = |fact: &SubjectFact| fact.weight.isqrt() + 1;
        let mut ticket = rng.random_range(0..facts.iter().map(weight).sum::<u64>());
        let next = facts.iter().position(|fact| match ticket.checked_sub(weight(fact)) {
            Some(rest) => {
                ticket = rest;
                false
            }
            None => true,
        });
        ordered.push(facts.remove(next.unwrap_or(0)));
    }
    ordered
}
