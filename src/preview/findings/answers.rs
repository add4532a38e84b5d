//! Findings about the answers that are read from samples, and about their votes.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use super::text::{examples, such_as};
use super::{Finding, FindingKind, Observed, ObservedQuestion, is_share};
use crate::curate::EquivalenceRecord;
use crate::task::{Answer, AnswerRule};
use crate::words::{contains, count, words};

/// From this share on, samples without an answer cost more than disagreement; the decision after curation
/// uses the same.
const UNREAD: f64 = 1.0 / 3.0;
/// With fewer samples, none read may be chance.
const NOTHING_READ: usize = 8;
/// Share of the read answers that are phrases. A few are names that look like phrases.
const PHRASES: f64 = 0.2;
/// Names rarely have more words.
const NAME_WORDS: usize = 3;
/// Names may have shorter words than this in lower case: "Democratic Republic of the Congo".
const SMALL_WORD: usize = 3;
/// A rule that allows more words than this is for sentences.
const RULE_FOR_SENTENCES: u64 = 10;
/// One answer for this share of the questions. With two or three possible answers, eight questions may have
/// the same one by chance, so that is only worth knowing.
const CONSTANT: f64 = 0.9;
const CONSTANT_QUESTIONS: usize = 4;
const CONSTANT_CHOICES: usize = 8;
/// The same, for an answer that stands in the prompt of the last step whatever the question.
const CONSTANT_IN_PROMPT: f64 = 0.7;
/// Share of the questions whose samples have no majority, from which on voting has nothing to find.
const DISAGREE: f64 = 2.0 / 3.0;
/// Samples of a question that must be read before they can disagree.
const DISAGREE_SAMPLES: usize = 3;
/// Pairs of answers that the model must have judged before "the same" to all of them says something of it.
const JUDGED_PAIRS: usize = 4;

pub fn find(view: &Observed, found: &mut Vec<Finding>) {
    found.extend(unread(view));
    found.extend(long_answers(view));
    found.extend(constant(view));
    found.extend(disagree(view));
    found.extend(all_judged_equal(view));
}

/// What kind of answers a rule reads.
pub struct AnswerForm {
    /// Free text.
    pub is_text: bool,
    is_choice: bool,
    max_words: u64,
}

impl AnswerForm {
    pub fn of(rule: &AnswerRule) -> AnswerForm {
        // Rules that only say where an answer is have the rule of what it is in "as".
        let mut json = serde_json::to_value(rule).unwrap_or_default();
        while let Some(inner) = json.get_mut("as").map(Value::take) {
            json = inner;
        }
        let kind = json.get("kind").and_then(Value::as_str).unwrap_or("text");
        let is_text = !matches!(kind, "choice" | "number" | "date");
        let max_words = json.get("max_words").and_then(Value::as_u64).unwrap_or(8);
        AnswerForm { is_text, is_choice: kind == "choice", max_words }
    }
}

/// The answers of all samples, without those that a verifier rejected.
fn read<'v>(view: &'v Observed) -> impl Iterator<Item = (&'v ObservedQuestion<'v>, &'v Answer)> {
    view.samples().filter_map(|(asked, sampled)| Some((asked, sampled.sample.answer.as_ref()?)))
}

fn unread(view: &Observed) -> Option<Finding> {
    let of = view.samples().count();
    let unread: Vec<_> = view.samples().filter(|(_, s)| s.sample.answer.is_none()).map(|(_, s)| s).collect();
    let n = unread.len();
    is_share(n, of, UNREAD).then(|| {
        let last = || unread.iter().filter_map(|sampled| sampled.last());
        let examples = examples(last().map(|call| call.output));
        let cut = last().filter(|call| call.is_cut).count();
        let ended = unread.len() - last().count();
        let marker = view.task.system2.last().and_then(|step| step.marker.as_ref());
        let without = last().filter(|call| marker.is_some_and(|m| m.after(call.output).is_none())).count();
        let has_items = view.task.system2.iter().any(|step| step.for_each.is_some());
        let advice = if ended * 2 > n && has_items {
            "a step had no item to run on: ask the step before for a list, one item a line".into()
        } else if ended * 2 > n {
            format!(
                "the last step of {ended} of them was not asked: with the texts of the steps before it, its prompt \
                 is too long or cannot be rendered; give those steps fewer \"max_tokens\", or ask in one step"
            )
        } else if cut * 2 > n {
            format!("{cut} of them end at \"max_tokens\": give the last step more, or ask for less text")
        } else if without * 2 > n {
            format!(
                "{without} of them lack the \"marker\": show in the prompt how the answer should end, or take \
                 the marker out"
            )
        } else {
            "fit the answer rule to what the last step writes, or the prompt to the rule; a \"closing\" turn \
             asks for the answer alone"
                .into()
        };
        Finding {
            kind: FindingKind::Unread,
            step: view.last_step(),
            count: n,
            of,
            message: format!("no answer was read from {n} of {of} samples{}", such_as(&examples)),
            examples,
            advice,
            fault: true,
            stops: n == of && of >= NOTHING_READ,
        }
    })
}

/// Whether an answer is a phrase or a sentence rather than a name.
fn is_sentence(answer: &str) -> bool {
    static VERB: LazyLock<Regex> = LazyLock::new(|| {
        let verbs = r" (?:is|are|was|were|has|have|can|cannot|lies|located|situated|found|belongs|means|would|should) ";
        let places = r"(?:^| )(?:part|state|region|province|area|city|capital|country|name|answer|municipality|district) (?:of|in) | in the | located ";
        Regex::new(&format!("(?i){verbs}|{places}")).expect("the pattern compiles")
    });
    count(&words(answer)) > 2 && VERB.is_match(answer)
}

/// Whether an answer has many words and not all of those that matter begin as names do: "People's Republic
/// of China" is a name.
fn is_phrase(answer: &str) -> bool {
    let is_small = |word: &str| word.len() > SMALL_WORD && word.starts_with(char::is_lowercase);
    count(&words(answer)) > NAME_WORDS && answer.split_whitespace().any(is_small)
}

fn long_answers(view: &Observed) -> Option<Finding> {
    let form = AnswerForm::of(&view.task.answer);
    if !form.is_text || form.max_words > RULE_FOR_SENTENCES {
        return None;
    }
    let of = read(view).count();
    // A long answer that all samples give is a name; those that differ are wordings.
    let is_shared = |asked: &ObservedQuestion, answer: &Answer| {
        let answers = || asked.samples.iter().filter_map(|s| s.sample.answer.as_ref());
        answers().filter(|other| other.key == answer.key).count() * 2 > answers().count()
    };
    let phrases: Vec<&Answer> = read(view)
        .filter(|(asked, answer)| {
            is_sentence(&answer.text) || is_phrase(&answer.text) && !is_shared(asked, answer)
        })
        .map(|(_, answer)| answer)
        .collect();
    let n = phrases.len();
    is_share(n, of, PHRASES).then(|| {
        let examples = examples(phrases.iter().map(|answer| answer.text.as_str()));
        Finding {
            kind: FindingKind::LongAnswers,
            step: view.last_step(),
            count: n,
            of,
            message: format!("{n} of {of} answers are whole phrases{}", such_as(&examples)),
            examples,
            advice:
                "ask the last step for the name alone, with few \"max_tokens\" and a small \"max_words\", \
                     instead of cutting the answer out of a sentence by a pattern"
                    .into(),
            fault: true,
            stops: false,
        }
    })
}

fn constant(view: &Observed) -> Option<Finding> {
    let form = AnswerForm::of(&view.task.answer);
    let mut votes = BTreeMap::<&str, (usize, &Answer)>::new();
    let mut voted = 0;
    for asked in &view.asked {
        if let Some(answer) = leader(asked) {
            votes.entry(&answer.key).or_insert((0, answer)).0 += 1;
            voted += 1;
        }
    }
    let (n, answer) = *votes.values().max_by_key(|(n, _)| *n)?;
    let answers: Vec<&Answer> = read(view).map(|(_, answer)| answer).collect();
    let same = answers.iter().filter(|other| other.key == answer.key).count();
    let of_all = same as f64 / answers.len().max(1) as f64;
    let key = words(&answer.text);
    // The question itself may hold it.
    let is_in_prompt = view.samples().all(|(asked, sampled)| {
        let prompts = || sampled.calls.iter().map(|call| words(&call.prompt.text()));
        !contains(&asked.words, &key) && prompts().any(|prompt| contains(&prompt, &key))
    });
    let share = if is_in_prompt && form.is_text { CONSTANT_IN_PROMPT } else { CONSTANT };
    let min_questions = if form.is_choice { CONSTANT_CHOICES } else { CONSTANT_QUESTIONS };
    let is_constant = voted >= min_questions && n as f64 >= share * voted as f64 && of_all >= share;
    is_constant.then(|| Finding {
        kind: FindingKind::ConstantAnswer,
        step: view.last_step(),
        count: n,
        of: voted,
        examples: vec![super::text::example(&answer.text)],
        message: format!(
            "the answer to {n} of {voted} questions is {:?}{}",
            super::text::example(&answer.text),
            if is_in_prompt && form.is_text { ", which stands in the prompt" } else { "" }
        ),
        advice: match (is_in_prompt && form.is_text, form.is_choice) {
            (true, _) => {
                "take the worked example out of the prompt, or give other examples: the model repeats \
                          what it is shown"
                    .into()
            }
            (_, true) => {
                "see whether the questions really have one answer; if they do not, the model prefers \
                          it: balance the questions, or name the choices in another order"
                    .into()
            }
            _ => "see whether the last step is shown the question, and whether the questions differ".into(),
        },
        fault: !form.is_choice,
        stops: false,
    })
}

/// The answer of most samples of a question, if it is one.
fn leader<'v>(asked: &'v ObservedQuestion) -> Option<&'v Answer> {
    let (answer, votes, _) = tally(asked)?;
    (votes > 0).then_some(answer)
}

/// The answer with most votes, its votes, and the number of answers.
fn tally<'v>(asked: &'v ObservedQuestion) -> Option<(&'v Answer, usize, usize)> {
    let mut votes = BTreeMap::<&str, (usize, &Answer)>::new();
    let answers = asked.samples.iter().filter_map(|sampled| sampled.sample.answer.as_ref());
    let mut n = 0;
    for answer in answers {
        votes.entry(&answer.key).or_insert((0, answer)).0 += 1;
        n += 1;
    }
    let (most, answer) = votes.into_values().max_by_key(|(votes, _)| *votes)?;
    Some((answer, most, n))
}

fn disagree(view: &Observed) -> Option<Finding> {
    // Where the answer is selected among texts, no two need be alike.
    if view.task.vote.select == crate::task::Select::Universal {
        return None;
    }
    let tallies: Vec<(&ObservedQuestion, usize, usize)> = view
        .asked
        .iter()
        .filter_map(|asked| tally(asked).map(|(_, votes, n)| (asked, votes, n)))
        .filter(|(_, _, n)| *n >= DISAGREE_SAMPLES)
        .collect();
    let torn: Vec<&ObservedQuestion> =
        tallies.iter().filter(|(_, votes, n)| votes * 2 <= *n).map(|(asked, ..)| *asked).collect();
    let (n, of) = (torn.len(), tallies.len());
    (is_share(n, of, DISAGREE) && !view.agrees).then(|| {
        let answers = torn.iter().map(|asked| {
            let answers = asked.samples.iter().filter_map(|s| s.sample.answer.as_ref());
            answers.map(|answer| answer.text.as_str()).collect::<Vec<_>>().join(" / ")
        });
        let answers: Vec<String> = answers.collect();
        let examples = examples(answers.iter().map(String::as_str));
        Finding {
            kind: FindingKind::SamplesDisagree,
            step: view.last_step(),
            count: n,
            of,
            message: format!("the samples of {n} of {of} questions have no majority{}", such_as(&examples)),
            examples,
            advice:
                "lower the temperature of the last step, ask for a shorter answer, or try another wording \
                     or a larger model"
                    .into(),
            fault: true,
            stops: false,
        }
    })
}

/// The model called all of several pairs of different answers the same. Wordings of one answer may really be;
/// it is a fault where most pairs have no word in common.
fn all_judged_equal(view: &Observed) -> Option<Finding> {
    let judged: Vec<&EquivalenceRecord> =
        view.equivalences.iter().filter(|judgement| !judgement.text.is_empty()).collect();
    let of = judged.len();
    if of < JUDGED_PAIRS || judged.iter().any(|judgement| !judgement.equal) {
        return None;
    }
    let is_unlike = |judgement: &&&EquivalenceRecord| {
        let (a, b) = (words(&judgement.a.text), words(&judgement.b.text));
        !a.split_whitespace().any(|word| b.split_whitespace().any(|other| other == word))
    };
    let unlike = judged.iter().filter(is_unlike).count();
    // Those without a common word show it best.
    let (first, rest): (Vec<_>, Vec<_>) = judged.iter().copied().partition(|judgement| is_unlike(&judgement));
    let pairs: Vec<String> =
        first.into_iter().chain(rest).map(|j| format!("{} = {}", j.a.text, j.b.text)).collect();
    let examples = examples(pairs.iter().map(String::as_str));
    Some(Finding {
        kind: FindingKind::AllJudgedEqual,
        step: None,
        count: of,
        of,
        message: format!(
            "the model says of all {of} pairs of different answers that they mean the same{}",
            such_as(&examples)
        ),
        examples,
        advice:
            "where they do not, the votes agree on nothing: leave out \"equivalence\": \"model\", or use a \
                 larger model"
                .into(),
        fault: unlike * 2 >= of,
        stops: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::Task;

    #[test]
    fn a_phrase_is_told_from_a_name_by_its_words() {
        for text in [
            "southern part of Nepal",
            "Lisbon is in Portugal",
            "Mexican state of Jalisco",
            "city in the north",
            "The answer is 12",
        ] {
            assert!(is_sentence(text), "{text}");
        }
        for text in ["southern part of the land", "a large city by the sea"] {
            assert!(is_phrase(text), "{text}");
        }
        for text in [
            "Nepal",
            "Bosnia and Herzegovina",
            "Democratic Republic of the Congo",
            "Isle of Man",
            "What Is",
            "The United States of America",
            "Statesboro",
        ] {
            assert!(!is_sentence(text) && !is_phrase(text), "{text}");
        }
    }

    #[test]
    fn the_form_of_an_answer_is_that_of_the_innermost_rule() {
        let form = |name: &str| AnswerForm::of(&Task::load(name).unwrap().answer);
        assert!(form("coin-flip").is_choice && !form("coin-flip").is_text);
        assert!(form("biased-fact").is_text);
        assert!(!form("arithmetic").is_text);
    }
}
