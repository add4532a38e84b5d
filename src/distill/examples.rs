//! Training examples from verdicts; some are held out to choose the epoch and the fallback threshold.

use std::collections::HashSet;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::context::decoder_of;
use crate::curate::messages;
use crate::engine::{Decoder, Engine, Finish, Message, Request, Sampling, complete_each};
use crate::task::{Answer, Question, Target, Task};
use crate::train::batch::Example;
use crate::vote::Verdict;
use crate::{Cancel, Error, Result};

/// With fewer accepted questions than this, all are trained on.
const MIN_TO_SPLIT: usize = 20;

/// Tokens of the longest replayed answer: enough to keep how the model writes.
const REPLAYED_TOKENS: usize = 96;

/// An accepted question with its voted answer.
#[derive(Debug, Clone)]
pub struct Labelled {
    pub question: Question,
    pub answer: Answer,
    /// The text of a sample that gave the answer.
    completion: Option<String>,
}

/// Accepted questions with their voted answers, split.
#[derive(Debug, Default)]
pub struct LabelSplit {
    pub train: Vec<Labelled>,
    pub held_out: Vec<Labelled>,
}

/// Splits the accepted questions; about `share` of them are held out.
///
/// Where answers are many (names, numbers), whole answers are held out, so that a held-out question
/// asks for something never trained on; where they are few (yes, no), single questions are. A
/// perturbed variant that is to be trained on too follows its question.
pub fn split_labels(
    task: &Task,
    questions: &[Question],
    verdicts: &[Verdict],
    share: f32,
) -> Result<LabelSplit> {
    let kept: Vec<(Labelled, &Verdict)> = questions
        .iter()
        .zip(verdicts)
        .filter(|(_, v)| v.kept)
        .filter_map(|(q, v)| {
            let (answer, completion) = (v.answer.clone()?, v.completion.clone());
            Some((Labelled { question: q.clone(), answer, completion }, v))
        })
        .collect();
    let answers: HashSet<&str> = kept.iter().map(|(l, _)| l.answer.key.as_str()).collect();
    let by_answer = answers.len() * 10 >= kept.len();
    let wanted = if kept.len() < MIN_TO_SPLIT { 0 } else { (share * kept.len() as f32).round() as usize };
    let group = |l: &Labelled| if by_answer { l.answer.key.clone() } else { l.question.id.clone() };
    let mut groups: Vec<(u64, String)> = kept
        .iter()
        .map(|(l, _)| group(l))
        .collect::<HashSet<_>>()
        .into_iter()
        .map(|name| (hash(&name), name))
        .collect();
    groups.sort();
    let mut chosen = HashSet::new();
    let mut count = 0;
    for (_, name) in groups {
        if count >= wanted {
            break;
        }
        count += kept.iter().filter(|(l, _)| group(l) == name).count();
        chosen.insert(name);
    }
    let mut split = LabelSplit::default();
    // Every variant goes where its question goes, so that no variant of a held-out one is trained on.
    for (label, verdict) in kept {
        let side = if chosen.contains(&group(&label)) { &mut split.held_out } else { &mut split.train };
        let variants = variant_labels(task, &label, verdict)?;
        side.push(label);
        side.extend(variants);
    }
    Ok(split)
}

/// The perturbed forms of `label` that are trained on too. One in which no answer means the voted
/// one has nothing to teach.
fn variant_labels(task: &Task, label: &Labelled, verdict: &Verdict) -> Result<Vec<Labelled>> {
    let mut variants = Vec::new();
    for perturbation in task.perturbations.iter().filter(|perturbation| perturbation.distill) {
        let Some(answer) = perturbation.wording(&label.answer) else { continue };
        let variant = verdict.variants.iter().find(|b| b.perturbation == perturbation.name);
        variants.push(Labelled {
            question: perturbation.asked(&label.question)?,
            answer,
            completion: variant.and_then(|variant| variant.completion.clone()),
        });
    }
    Ok(variants)
}

fn hash(name: &str) -> u64 {
    let digest = Sha256::digest(name.as_bytes());
    u64::from_le_bytes(digest[..8].try_into().expect("SHA-256 has 32 bytes"))
}

/// System 1 prompt → answer and end of turn, as tokens of the model.
pub fn example(decoder: &dyn Decoder, task: &Task, label: &Labelled) -> Result<Example> {
    let messages = messages(&task.system1, &label.question, &[])?;
    let prompt = decoder.prompt(&messages, task.system1.thinking)?;
    let text = match (task.target, &label.completion) {
        (Target::Completion, Some(text)) => text.trim().to_string(),
        _ => task.answer.target(&label.answer),
    };
    let mut target = decoder.tokenize(&text, false)?;
    let end = decoder.end_of_turn()?.ok_or_else(|| {
        Error::Unsupported("the model has no end-of-turn token, so an answer to learn has no end".into())
    })?;
    target.push(end);
    Ok(Example { prompt, target })
}

/// Reads what a run trained on: its `train/examples.jsonl`.
pub fn read_examples(path: &Path) -> Result<Vec<Example>> {
    let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
    let examples = text
        .lines()
        .enumerate()
        .map(|(i, line)| {
            let bad = |why: String| Error::input(format!("{}:{}", path.display(), i + 1), why);
            let example: Example = serde_json::from_str(line).map_err(|e| {
                bad(format!("{e}; expected {{\"prompt\": [..], \"target\": [..]}} of tokens"))
            })?;
            match example.prompt.is_empty() || example.target.is_empty() {
                true => Err(bad("the prompt or the target is empty".into())),
                false => Ok(example),
            }
        })
        .collect::<Result<Vec<_>>>()?;
    if examples.is_empty() {
        return Err(Error::input(path.display().to_string(), "holds no example"));
    }
    Ok(examples)
}

/// The base model's own answers to `prompts`, as examples; none where it wrote nothing. Those it did
/// not finish end without an end of turn.
pub fn replayed(
    engine: &mut dyn Engine,
    prompts: &[&Question],
    cancel: &Cancel,
) -> Result<Vec<Option<Example>>> {
    let message = |q: &Question| vec![Message::user(q.text())];
    let sampling = Sampling { temperature: 0.0, max_tokens: REPLAYED_TOKENS, ..Sampling::default() };
    let requests = prompts.iter().enumerate().map(|(i, q)| Request {
        id: i as u64,
        messages: message(q),
        thinking: false,
        sampling: sampling.clone(),
        seed: 0,
    });
    let completions = complete_each(engine, requests.collect(), cancel)?;
    let decoder = decoder_of(engine)?;
    let mut examples = Vec::new();
    for (question, completion) in prompts.iter().zip(completions) {
        // A prompt that does not fit is not replayed.
        let Ok(completion) = completion else {
            examples.push(None);
            continue;
        };
        let prompt = decoder.prompt(&message(question), false)?;
        let mut target = decoder.tokenize(&completion.text, false)?;
        if completion.finish == Finish::EndOfTurn {
            target.extend(decoder.end_of_turn()?);
        }
        examples.push((!completion.text.trim().is_empty()).then_some(Example { prompt, target }));
    }
    Ok(examples)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vote::StopReason;

    fn verdict(id: &str, answer: &str) -> Verdict {
        Verdict {
            question: id.into(),
            answer: Some(Answer { key: answer.into(), text: answer.into() }),
            completion: None,
            votes: 4,
            n: 4,
            selections: None,
            agreement: 1.0,
            stop: StopReason::Converged,
            kept: true,
            reason: String::new(),
            set_aside: None,
            variants: vec![],
        }
    }

    fn task() -> Task {
        Task::load("coin-flip").unwrap()
    }

    fn set(n: usize, answer: impl Fn(usize) -> String) -> (Vec<Question>, Vec<Verdict>) {
        (0..n)
            .map(|i| {
                (
                    Question::new(format!("q{i}"), format!("{i}?"), vec![]),
                    verdict(&format!("q{i}"), &answer(i)),
                )
            })
            .unzip()
    }

    #[test]
    fn open_answers_are_held_out_whole_and_choices_by_question() {
        let (q, v) = set(100, |i| format!("city {}", i / 2));
        let d = split_labels(&task(), &q, &v, 0.1).unwrap();
        assert!((10..=12).contains(&d.held_out.len()), "{}", d.held_out.len());
        let learned: HashSet<_> = d.train.iter().map(|l| &l.answer.key).collect();
        assert!(d.held_out.iter().all(|l| !learned.contains(&l.answer.key)));

        let (q, v) = set(100, |i| if i % 2 == 0 { "yes" } else { "no" }.into());
        let d = split_labels(&task(), &q, &v, 0.1).unwrap();
        assert_eq!((d.held_out.len(), d.train.len()), (10, 90));
    }

    #[test]
    fn a_few_questions_and_a_share_of_zero_hold_nothing_out() {
        let (q, v) = set(19, |i| format!("{i}"));
        assert!(split_labels(&task(), &q, &v, 0.1).unwrap().held_out.is_empty());
        let (q, v) = set(50, |i| format!("{i}"));
        assert!(split_labels(&task(), &q, &v, 0.0).unwrap().held_out.is_empty());
    }

    #[test]
    fn a_variant_that_is_trained_on_too_follows_its_question_in_its_own_words() {
        let json = task().to_json().replacen(
            "\"vote\"",
            "\"perturbations\": [
                {\"name\": \"negated\", \"fields\": {\"question\": \"not {{ question }}\"},
                    \"answers\": {\"yes\": \"no\", \"no\": \"yes\"}, \"distill\": true},
                {\"name\": \"loud\", \"fields\": {\"question\": \"{{ question }}!\"}}], \"vote\"",
            1,
        );
        let task = Task::from_json(&json, "test").unwrap();
        let (q, v) = set(100, |i| if i % 2 == 0 { "yes" } else { "no" }.into());
        let d = split_labels(&task, &q, &v, 0.1).unwrap();
        assert_eq!((d.held_out.len(), d.train.len()), (20, 180));
        for side in [&d.held_out, &d.train] {
            for pair in side.chunks(2) {
                assert_eq!(pair[1].question.text(), format!("not {}", pair[0].question.text()));
                assert_ne!(pair[1].answer.key, pair[0].answer.key);
            }
        }
        let learned: HashSet<_> = d.train.iter().map(|l| &l.question.id).collect();
        assert!(d.held_out.iter().all(|l| !learned.contains(&l.question.id)));
    }
}
