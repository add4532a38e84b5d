//! Pairwise judging: which of two responses to a question is better? One of them has a defect.
//!
//! The questions have known answers: capitals, words, symbols, sums. The good response is right and in
//! the form that was asked for; the other has one defect of a known kind. The length does not tell which
//! is which: either response may repeat itself in other words, and some defects make it longer, others
//! shorter.

use rand_chacha::ChaCha8Rng;

use super::Split;
use super::capitals::countries;
use super::draw::{Asked, Drawn, MAX_QUESTIONS, below, between, choose, distinct, split_of};
use super::tables::lines;

const FACTS: &str = include_str!("data/facts.tsv");

/// A defect of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Defect {
    /// A wrong fact or number.
    Wrong,
    /// It ends before the answer.
    Unfinished,
    /// It answers another question.
    OffTopic,
    /// It gives the answer and also another one.
    Contradiction,
    /// It is right, but not in the form that was asked for.
    Form,
}

const DEFECTS: [Defect; 5] =
    [Defect::Wrong, Defect::Unfinished, Defect::OffTopic, Defect::Contradiction, Defect::Form];

/// The form in which the answer is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Sentences,
    Announced,
    Bare,
}

impl Form {
    fn instruction(self) -> &'static str {
        match self {
            Form::Sentences => "Answer in full sentences.",
            Form::Announced => "Answer in full sentences, and begin with \"Answer:\".",
            Form::Bare => "Give only the answer, without a sentence around it.",
        }
    }
}

/// A phrase with one right answer, such as `the capital of Peru` (Lima), and wrong answers.
#[derive(Clone)]
struct Fact {
    phrase: String,
    answer: String,
    wrong: Vec<String>,
}

/// Draws pairs of responses. The splits share no country, no city, no sum, and no subject or answer of
/// the table of facts. The position of the better response and the defects are balanced.
pub(super) fn draw(n: usize, split: Split, rng: &mut ChaCha8Rng) -> Drawn {
    let tables = topics(split);
    // Sums are made as needed; they are the topic after those of the tables.
    let topics = tables.len() + 1;
    distinct(n, MAX_QUESTIONS, 2 * DEFECTS.len(), rng, |rng, card| {
        let (better_first, defect) = (card % 2 == 0, DEFECTS[card / 2]);
        let topic = below(rng, topics);
        let other = (topic + 1 + below(rng, topics - 1)) % topics;
        let mut about = |topic: usize| match tables.get(topic) {
            Some(facts) => facts[below(rng, facts.len())].clone(),
            None => sum(rng, split),
        };
        let (fact, unrelated) = (about(topic), about(other));
        let form = match defect {
            Defect::Wrong | Defect::Form => choose(rng, &[Form::Sentences, Form::Announced, Form::Bare]),
            _ => choose(rng, &[Form::Sentences, Form::Announced]),
        };
        let good = respond(rng, form, &fact.phrase, &fact.answer);
        let bad = spoilt(rng, defect, form, &fact, &unrelated);
        let question = format!("What is {}? {}", fact.phrase, form.instruction());
        let (a, b) = if better_first { (good, bad) } else { (bad, good) };
        Some(Asked {
            fields: vec![("question", question), ("response_a", a), ("response_b", b)],
            gold: vec![if better_first { "A" } else { "B" }.to_string()],
        })
    })
}

/// Phrases from tables. Their wrong answers are right answers to others of the same topic, or cities of
/// the same country.
fn topics(split: Split) -> Vec<Vec<Fact>> {
    let of_country = |country: super::capitals::Country| Fact {
        phrase: format!("the capital of {}", country.name),
        answer: country.capital.to_string(),
        wrong: country.other_cities.iter().map(|city| city.to_string()).collect(),
    };
    let mut topics = vec![countries(split).into_iter().map(of_country).collect()];
    let rows: Vec<[&str; 3]> = lines(FACTS)
        .filter_map(|line| {
            let (what, rest) = line.split_once('\t')?;
            let (subject, answer) = rest.split_once('\t')?;
            (split_of(subject) == split).then_some([what, subject, answer])
        })
        .collect();
    for topic in rows.chunk_by(|a, b| a[0] == b[0]) {
        let others = |answer: &str| {
            topic.iter().map(|row| row[2]).filter(|other| *other != answer).map(str::to_string).collect()
        };
        let of_row = |[what, subject, answer]: &[&str; 3]| Fact {
            phrase: format!("{what} {subject}"),
            answer: answer.to_string(),
            wrong: others(answer),
        };
        topics.push(topic.iter().map(of_row).collect());
    }
    topics
}

/// A sum or a difference. A third of them, by their hash, are for tests.
fn sum(rng: &mut ChaCha8Rng, split: Split) -> Fact {
    loop {
        let (a, b) = (between(rng, 11, 99), between(rng, 11, 99));
        let (phrase, answer) = match below(rng, 2) {
            0 => (format!("the sum of {a} and {b}"), a + b),
            _ => (format!("the difference between {} and {b}", a + b), a),
        };
        if split_of(&phrase) == split {
            let wrong = [answer - 10, answer - 2, answer - 1, answer + 1, answer + 2, answer + 10];
            let wrong = wrong.iter().map(usize::to_string).collect();
            return Fact { phrase, answer: answer.to_string(), wrong };
        }
    }
}

/// The good response, which says once or twice that the phrase is this answer.
fn respond(rng: &mut ChaCha8Rng, form: Form, phrase: &str, answer: &str) -> String {
    let twice = below(rng, 2) == 0;
    say(form, phrase, answer, twice.then_some(answer))
}

fn spoilt(rng: &mut ChaCha8Rng, defect: Defect, form: Form, fact: &Fact, unrelated: &Fact) -> String {
    let Fact { phrase, answer, wrong } = fact;
    match defect {
        Defect::Wrong => {
            let wrong = &wrong[below(rng, wrong.len())];
            respond(rng, form, phrase, wrong)
        }
        Defect::Unfinished => {
            let whole = say(form, phrase, "", None);
            whole.trim_end_matches(['.', ' ']).to_string()
        }
        Defect::OffTopic => respond(rng, form, &unrelated.phrase, &unrelated.answer),
        Defect::Contradiction => {
            let wrong = &wrong[below(rng, wrong.len())];
            let (first, second) = if below(rng, 2) == 0 { (answer, wrong) } else { (wrong, answer) };
            say(form, phrase, first, Some(second))
        }
        Defect::Form => {
            let others = match form {
                Form::Sentences => &[Form::Bare, Form::Bare],
                Form::Announced => &[Form::Sentences, Form::Bare],
                Form::Bare => &[Form::Sentences, Form::Announced],
            };
            let other = choose(rng, others);
            respond(rng, other, phrase, answer)
        }
    }
}

fn say(form: Form, phrase: &str, answer: &str, again: Option<&str>) -> String {
    let sentences = || {
        let mut text = sentence(&format!("{} is {answer}", capitalised(phrase)));
        if let Some(again) = again {
            text += " In other words, ";
            text += &sentence(&format!("{again} is {phrase}"));
        }
        text
    };
    match form {
        Form::Sentences => sentences(),
        Form::Announced => format!("Answer: {}", sentences()),
        Form::Bare => answer.to_string(),
    }
}

/// Ends a sentence; `Washington, D.C.` has its full stop already.
fn sentence(text: &str) -> String {
    format!("{}.", text.trim_end_matches('.'))
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};

    use super::*;
    use crate::datasets::generate;
    use crate::datasets::tests::SPLITS;

    /// Every fact of both splits, straight from the tables.
    fn known() -> BTreeMap<String, String> {
        let capitals = lines(include_str!("data/capitals.tsv")).map(|line| {
            let columns: Vec<&str> = line.split('\t').collect();
            (format!("the capital of {}", columns[1]), columns[2].to_string())
        });
        let facts = lines(FACTS).map(|line| {
            let columns: Vec<&str> = line.split('\t').collect();
            (format!("{} {}", columns[0], columns[1]), columns[2].to_string())
        });
        capitals.chain(facts).collect()
    }

    fn truth(known: &BTreeMap<String, String>, phrase: &str) -> String {
        let numbers: Vec<i64> = phrase.split(' ').filter_map(|word| word.parse().ok()).collect();
        match numbers.as_slice() {
            [a, b] if phrase.starts_with("the sum of ") => (a + b).to_string(),
            [a, b] if phrase.starts_with("the difference between ") => (a - b).to_string(),
            _ => known[phrase].clone(),
        }
    }

    /// What is wrong with a response, as a strict reader sees it.
    fn fault(known: &BTreeMap<String, String>, question: &str, response: &str) -> Option<Defect> {
        let (phrase, instruction) = question.strip_prefix("What is ").unwrap().split_once("? ").unwrap();
        let truth = truth(known, phrase);
        if instruction.starts_with("Give only") {
            let in_sentence = response.contains(" is ");
            return match response {
                _ if response == truth => None,
                _ if in_sentence => Some(Defect::Form),
                _ => Some(Defect::Wrong),
            };
        }
        let announced = response.strip_prefix("Answer: ");
        let sentences = announced.unwrap_or(response);
        if !sentences.contains(" is") || instruction.contains("begin") != announced.is_some() {
            return Some(Defect::Form);
        }
        let lower = |text: &str| text.replacen("The ", "the ", 1);
        let (first, second) = match sentences.split_once(" In other words, ") {
            Some((first, second)) => (lower(first), Some(second)),
            None => (lower(sentences), None),
        };
        if !first.contains(" is ") || !first.ends_with('.') {
            return Some(Defect::Unfinished);
        }
        let said_first = first.strip_prefix(&format!("{phrase} is "));
        let Some(said_first) = said_first else { return Some(Defect::OffTopic) };
        let stopped = |text: &str| format!("{}.", text.trim_end_matches('.'));
        let first_right = said_first == stopped(&truth);
        let second_right = second.is_none_or(|second| second == stopped(&format!("{truth} is {phrase}")));
        match (first_right, second_right) {
            (true, true) => None,
            (false, false) => Some(Defect::Wrong),
            (false, true) if second.is_none() => Some(Defect::Wrong),
            _ => Some(Defect::Contradiction),
        }
    }

    #[test]
    fn exactly_one_response_has_a_fault_and_gold_is_the_other() {
        let known = known();
        for split in SPLITS {
            let mut faults = BTreeMap::new();
            for question in generate("pairwise-judge", 2000, 3, split).unwrap() {
                let fields = &question.fields;
                let of = |name: &str| fault(&known, question.text(), &fields[name]);
                let (found, better) = match (of("response_a"), of("response_b")) {
                    (None, Some(fault)) => (fault, "A"),
                    (Some(fault), None) => (fault, "B"),
                    both => panic!("{both:?}: {fields:?}"),
                };
                assert_eq!(question.gold, [better], "{fields:?}");
                *faults.entry(format!("{found:?} {better}")).or_insert(0) += 1;
            }
            assert_eq!(faults.len(), 2 * DEFECTS.len(), "{faults:?}");
            assert!(faults.values().all(|&n: &i32| n == 200), "{faults:?}");
        }
    }

    #[test]
    fn the_longer_response_is_not_the_better_one_too_often() {
        let questions = generate("pairwise-judge", 4000, 5, Split::Train).unwrap();
        let longer_wins = |question: &&crate::task::Question| {
            let (a, b) = (question.fields["response_a"].len(), question.fields["response_b"].len());
            a != b && (a > b) == (question.gold == ["A"])
        };
        let differ =
            questions.iter().filter(|q| q.fields["response_a"].len() != q.fields["response_b"].len());
        let (wins, differ) = (questions.iter().filter(longer_wins).count(), differ.count());
        assert!((3 * differ / 10..7 * differ / 10).contains(&wins), "{wins} of {differ}");
    }

    #[test]
    fn training_and_test_questions_share_no_subject_and_no_answer() {
        let said = |split| -> HashSet<String> {
            topics(split).into_iter().flatten().flat_map(|fact| [fact.phrase, fact.answer]).collect()
        };
        assert!(said(Split::Train).is_disjoint(&said(Split::Test)));
        let asked = |split| -> HashSet<String> {
            let questions = generate("pairwise-judge", 3000, 1, split).unwrap();
            questions.iter().map(|q| q.text().split('?').next().unwrap().to_string()).collect()
        };
        assert!(asked(Split::Train).is_disjoint(&asked(Split::Test)));
        for split in SPLITS {
            assert!(topics(split).iter().all(|topic| topic.len() >= 5));
        }
    }
}
