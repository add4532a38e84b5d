//! Findings about what single steps write.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use regex::Regex;

use super::text::{examples, sentence_words, such_as};
use super::{Finding, FindingKind, Observed, ObservedCall, ObservedQuestion, ObservedSample, is_share};
use crate::curate::ReadFrom;
use crate::task::{Step, without_thinking};
use crate::words::{contains, count, words};

/// Copies are a fault from this share on: below it, votes outvote them.
const COPIES: f64 = 0.2;
/// More copies than this stop curation: the votes are then about the example.
const COPIES_STOP: f64 = 0.5;
/// A shorter sentence than this stands in a prompt and in an output by chance.
const COPIED_WORDS: usize = 3;
/// A step that leaves this share of the questions unchanged does nothing for the set.
const UNCHANGED: f64 = 0.5;
/// Words that may surround an unchanged question, such as "Rewritten question".
const AROUND: usize = 3;
/// One output for this share of the questions, and for at least so many, says nothing about them.
const SAME: f64 = 0.5;
const SAME_QUESTIONS: usize = 3;
/// A shorter output than this may be a class that many questions share.
const SAME_WORDS: usize = 3;
/// The share of completions from which on cuts, refusals and open thinking matter: less is lost to them
/// than to disagreement.
const CUT: f64 = 0.25;
const REFUSED: f64 = 0.125;
const OPEN: f64 = 0.125;
/// A step that may write more tokens than this is there to reason and not to name or rewrite; one that writes the
/// answer and so few words more, such as "The answer is", in this share of its outputs does not.
const NO_REASONING_TOKENS: usize = 64;
const BESIDE_ANSWER: usize = 3;
const AT_ONCE: f64 = 1.0 / 3.0;

pub fn find(view: &Observed, found: &mut Vec<Finding>) {
    for step in &view.task.system2 {
        let rules = StepRules { view, step, is_last: view.task.system2.last() == Some(step) };
        let copies = rules.copies();
        let same = if copies.is_none() { rules.same_output() } else { None };
        let rest = [
            rules.unchanged(),
            rules.cut_off(),
            rules.refusals(),
            rules.thinking_left_open(),
            rules.no_reasoning(),
        ];
        found.extend([copies, same].into_iter().chain(rest).flatten());
    }
}

/// The rules for one step.
struct StepRules<'a> {
    view: &'a Observed<'a>,
    step: &'a Step,
    is_last: bool,
}

/// A call of the step, with the sample and the question it belongs to.
#[derive(Clone, Copy)]
struct StepCall<'a> {
    asked: &'a ObservedQuestion<'a>,
    sampled: &'a ObservedSample<'a>,
    call: &'a ObservedCall<'a>,
    /// The outputs of the steps before.
    before: &'a [ObservedCall<'a>],
}

impl<'a> StepRules<'a> {
    fn calls(&self) -> impl Iterator<Item = StepCall<'a>> {
        let step = self.step;
        self.view.samples().flat_map(move |(asked, sampled)| {
            sampled.calls.iter().enumerate().filter_map(move |(at, call)| {
                let is_it = call.step.is_some_and(|s| s.name == step.name);
                is_it.then_some(StepCall { asked, sampled, call, before: &sampled.calls[..at] })
            })
        })
    }

    /// A finding about this step that `hits` of all its calls show.
    fn finding(
        &self,
        kind: FindingKind,
        hits: &[StepCall],
        what: &str,
        advice: impl Into<String>,
    ) -> Finding {
        let (count, of) = (hits.len(), self.calls().count());
        let examples = examples(hits.iter().map(|hit| hit.call.output));
        Finding {
            kind,
            step: Some(self.step.name.clone()),
            count,
            of,
            message: format!(
                "step {:?}: {count} of {of} outputs {what}{}",
                self.step.name,
                such_as(&examples)
            ),
            examples,
            advice: advice.into(),
            fault: true,
            stops: false,
        }
    }

    /// Outputs that are sentences of the step's own prompt, and neither of the question nor of an earlier
    /// output. An answer can stand in the prompt rightly, as a choice, so outputs of the last step count
    /// only if no answer was read.
    fn copies(&self) -> Option<Finding> {
        let of = self.calls().count();
        let hits: Vec<StepCall> = self
            .calls()
            .filter(|hit| !self.is_last || hit.sampled.sample.answer.is_none())
            .filter(|hit| self.is_copy(hit))
            .collect();
        if !is_share(hits.len(), of, COPIES) {
            return None;
        }
        let what = "repeat text that stands in the step's own prompt and is not of the question";
        let advice = "take the worked example out of the prompt, or give it as chat turns (\"examples\"); small \
                      models copy what looks like the answer";
        let finding = self.finding(FindingKind::CopiesPrompt, &hits, what, advice);
        Some(Finding { stops: finding.count as f64 > COPIES_STOP * of as f64, ..finding })
    }

    fn is_copy(&self, hit: &StepCall) -> bool {
        let Some(output) = without_thinking(hit.call.output) else { return false };
        let own = Own::of(hit);
        let total = count(&words(output));
        let copied_from = |texts: &BTreeSet<String>| {
            let copied = sentence_words(output).filter(|s| count(s) >= COPIED_WORDS && texts.contains(s));
            copied.map(|sentence| count(&sentence)).sum::<usize>() * 2 > total
        };
        // What stands where an example has its output is copied. Other text of the prompt may be quoted
        // rightly, such as a rule, where the last step still knows the question.
        copied_from(&own.foreign(&example_outputs(hit.call)))
            || !hit.sampled.shows(hit.asked) && copied_from(&own.foreign(&hit.call.prompt.text()))
    }

    fn unchanged(&self) -> Option<Finding> {
        if self.is_last {
            return None;
        }
        let of = self.calls().count();
        let is_unchanged = |hit: &StepCall| {
            let output = words(without_thinking(hit.call.output).unwrap_or_default());
            hit.asked.question.fields.values().map(|field| words(field)).any(|field| {
                count(&field) >= COPIED_WORDS
                    && contains(&output, &field)
                    && count(&output) <= count(&field) + AROUND
            })
        };
        let hits: Vec<StepCall> = self.calls().filter(is_unchanged).collect();
        is_share(hits.len(), of, UNCHANGED).then(|| Finding {
            fault: !self.view.agrees,
            ..self.finding(
                FindingKind::QuestionUnchanged,
                &hits,
                "are the question, unchanged",
                "say in other words what the step should do, give it an example, or leave the step out",
            )
        })
    }

    fn same_output(&self) -> Option<Finding> {
        // Items, such as criteria, may be right for all questions.
        let makes_items = self.view.task.system2.iter().any(|s| s.for_each.as_ref() == Some(&self.step.name));
        if self.is_last || makes_items || !self.step.choices.is_empty() || self.step.for_each.is_some() {
            return None;
        }
        let mut by_output = BTreeMap::<String, Vec<StepCall>>::new();
        for hit in self.calls() {
            by_output.entry(words(hit.call.output)).or_default().push(hit);
        }
        let questions_of =
            |hits: &[StepCall]| hits.iter().map(|hit| &hit.asked.question.id).collect::<BTreeSet<_>>().len();
        let own = |hits: &[StepCall], output: &str| hits.iter().any(|hit| contains(&hit.asked.words, output));
        let asked = self.view.asked.iter().filter(|asked| !asked.samples.is_empty()).count();
        let (_, hits) = by_output
            .iter()
            .filter(|(output, hits)| count(output) >= SAME_WORDS && !own(hits, output))
            .max_by_key(|(_, hits)| questions_of(hits))?;
        let questions = questions_of(hits);
        let enough = questions >= SAME_QUESTIONS && questions as f64 >= SAME * asked as f64;
        let is_lost = hits.iter().any(|hit| !hit.sampled.shows(hit.asked));
        (enough && (is_lost || !self.view.agrees)).then(|| {
            let what = format!("are the same text for {questions} of {asked} different questions");
            self.finding(
                FindingKind::SameOutput,
                hits,
                &what,
                "see whether the step's prompt shows the question, and say what the output should hold of it; \
                 a stop string may cut the output after its first words",
            )
        })
    }

    fn cut_off(&self) -> Option<Finding> {
        let of = self.calls().count();
        // An answer that nothing which would have followed could change is read from a cut text as well; a
        // closing turn asks where the reasoning had not come to its end.
        let is_answered = |hit: &StepCall| hit.sampled.sample.answer.is_some();
        let is_closed = |hit: &StepCall| hit.sampled.sample.read_from == ReadFrom::Closing;
        let is_incomplete = |hit: &StepCall| !self.is_last || !is_answered(hit) || is_closed(hit);
        let is_cut = |hit: &StepCall| {
            hit.call.is_cut && without_thinking(hit.call.output).is_some() && is_incomplete(hit)
        };
        let hits: Vec<StepCall> = self.calls().filter(is_cut).collect();
        is_share(hits.len(), of, CUT).then(|| {
            let limit = self.step.max_tokens;
            let advice = format!(
                "give step {:?} more \"max_tokens\" than {limit}, ask it for less text, or end it with \"stop\"",
                self.step.name
            );
            let what = format!("end at \"max_tokens\" ({limit})");
            Finding {
                fault: (self.is_last && !hits.iter().all(is_answered)) || !self.view.agrees,
                ..self.finding(FindingKind::CutOff, &hits, &what, advice)
            }
        })
    }

    fn refusals(&self) -> Option<Finding> {
        let of = self.calls().count();
        let refuses = |hit: &StepCall| without_thinking(hit.call.output).is_some_and(is_refusal);
        let hits: Vec<StepCall> = self.calls().filter(refuses).collect();
        is_share(hits.len(), of, REFUSED).then(|| {
            self.finding(
                FindingKind::Refusal,
                &hits,
                "refuse",
                "ask for the form of the answer (\"Answer with the name only\"), hold the step to it with \
                 \"choices\" or \"grammar\", or try another model",
            )
        })
    }

    fn thinking_left_open(&self) -> Option<Finding> {
        let of = self.calls().count();
        let hits: Vec<StepCall> =
            self.calls().filter(|hit| without_thinking(hit.call.output).is_none()).collect();
        is_share(hits.len(), of, OPEN).then(|| {
            let advice = format!(
                "give step {:?} more \"max_tokens\" than {}, or switch its \"thinking\" off",
                self.step.name, self.step.max_tokens
            );
            let what = "begin with <think> and never end it";
            self.finding(FindingKind::ThinkingLeftOpen, &hits, what, advice)
        })
    }

    /// The last step that has room to reason writes the answer at once: System 2 is then System 1 with more
    /// tokens.
    fn no_reasoning(&self) -> Option<Finding> {
        let steps = &self.view.task.system2;
        let has_room = |step: &Step| step.max_tokens > NO_REASONING_TOKENS && step.choices.is_empty();
        let makes_items = steps.iter().any(|step| step.for_each.as_ref() == Some(&self.step.name));
        let is_item = self.step.for_each.is_some();
        if steps.iter().rfind(|step| has_room(step)) != Some(self.step) || makes_items || is_item {
            return None;
        }
        let is_at_once = |hit: &StepCall| {
            let answer = hit.sampled.sample.answer.as_ref();
            // Curation reads no further.
            let output = match self.is_last {
                true => self.view.task.reasoned_until_answer(hit.call.output),
                false => hit.call.output,
            };
            answer.is_some_and(|answer| is_answer_alone(output, &words(&answer.text)))
        };
        let hits: Vec<StepCall> = self.calls().filter(is_at_once).collect();
        is_share(hits.len(), self.calls().count(), AT_ONCE).then(|| Finding {
            fault: !self.view.agrees,
            ..self.finding(
                FindingKind::NoReasoning,
                &hits,
                "are the answer at once, without reasoning",
                "say in the prompt what to write before the answer, or show it in an example (\"examples\"): \
                 without it the answer is System 1's",
            )
        })
    }
}

/// Whether `output` is `answer`, from [`words`], and hardly more. A thought, a question or a calculation is more.
fn is_answer_alone(output: &str, answer: &str) -> bool {
    let said = words(output);
    let rest = format!(" {said} ").replacen(&format!(" {answer} "), " ", 1);
    let most = count(answer) + BESIDE_ANSWER;
    contains(&said, answer)
        && count(&said) <= most
        && output.split_whitespace().count() <= most
        && !rest.contains(|c: char| c.is_ascii_digit())
        && !output.contains("<think>")
        && !output.trim_end().ends_with('?')
}

/// The texts that a call was rightly given: the question, and what earlier steps wrote.
struct Own {
    question: String,
    earlier: Vec<String>,
}

impl Own {
    fn of(hit: &StepCall) -> Own {
        let earlier = hit.before.iter().map(|call| words(call.output)).collect();
        Own { question: hit.asked.words.clone(), earlier }
    }

    /// The sentences of `text` that are not of the question or of an earlier output, nor have them inside.
    fn foreign(&self, text: &str) -> BTreeSet<String> {
        let own = || std::iter::once(&self.question).chain(&self.earlier);
        sentence_words(text)
            .filter(|sentence| !own().any(|own| contains(own, sentence) || contains(sentence, own)))
            .collect()
    }
}

/// The outputs of the worked examples in a prompt: the turns of the model, and what follows the label with
/// which the prompt ends, such as `Rewritten:`, where it stands in the prompt before.
fn example_outputs(call: &ObservedCall) -> String {
    let mut outputs = Vec::new();
    for message in &call.prompt.messages {
        if message.role == crate::engine::Role::Assistant {
            outputs.push(message.content.as_str());
        }
    }
    let prompt = call.prompt.messages.last().map_or("", |message| message.content.as_str()).trim_end();
    let label = prompt.lines().last().unwrap_or_default().trim();
    if label.ends_with(':') && !label.is_empty() {
        let lines: Vec<&str> = prompt.lines().map(str::trim).collect();
        for (at, line) in lines[..lines.len() - 1].iter().enumerate() {
            if let Some(rest) = line.strip_prefix(label) {
                let output = if rest.trim().is_empty() { lines[at + 1] } else { rest.trim() };
                outputs.push(output);
            }
        }
    }
    outputs.join("\n")
}

/// Whether `output` begins as refusals do. What comes later may be a thought.
pub fn is_refusal(output: &str) -> bool {
    static REFUSAL: LazyLock<Regex> = LazyLock::new(|| {
        let sorry = r"(?:(?:i'?m|i am) (?:very |really |truly |so )?sorry|sorry|my apologies|(?:i )?apologi[sz]e[sd]?|unfortunately)";
        let cannot = r"i (?:cannot|can't|can not|could not|couldn't|am unable to|am not able to|won't|will not|do not have|don't have|am just an?|am only an?|am an?)";
        let unable = r"(?:i'm (?:unable|not able) to|i'm (?:just |only )?an?)";
        let ai = r"as an? (?:artificial intelligence|ai|(?:large )?language model|virtual assistant|chatbot)";
        let help = r"(?:assist|help|answer|provide|fulfill?|comply|respond|complete|process|access|browse|generate|do that|give|offer|ai\b|artificial|language model|access to|the ability|personal opinions|enough information)";
        let pattern = format!(
            r"(?i)^\W*(?:{ai}\b(?: (?:language )?model| assistant)?(?:,|\.| i\b| developed| created| trained)|{sorry}[,.]? (?:but|for|i\b|as an)|(?:{cannot}|{unable}) (?:\w+ )?{help})"
        );
        Regex::new(&pattern).expect("the pattern compiles")
    });
    let begin: String = output.trim_start().chars().take(120).collect();
    REFUSAL.is_match(&begin.replace('’', "'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_recognized_by_how_they_begin() {
        for text in [
            "As an AI language model, I cannot say where it is.",
            "As an AI developed by Alibaba, I do not have opinions.",
            "I'm sorry, but I can't assist with that.",
            "I’m sorry, I cannot answer that question.",
            "Sorry, but I can't help with that.",
            "I apologize, but I am not able to do so.",
            "I cannot provide that information.",
            "I am unable to answer this question.",
            "I'm unable to browse the web.",
            "Unfortunately, I don't have access to the data.",
            "I don't have personal opinions.",
            "\"I'm an AI and have no view.\"",
        ] {
            assert!(is_refusal(text), "{text}");
        }
    }

    #[test]
    fn an_answer_with_a_thought_or_a_calculation_is_not_alone() {
        for (output, answer) in [
            ("Paris", "paris"),
            ("Answer: Paris.", "paris"),
            ("The answer is **60**", "60"),
            ("- New York\n", "new york"),
            ("5 apples", "5"),
        ] {
            assert!(is_answer_alone(output, answer), "{output}");
        }
        for (output, answer) in [
            ("12 * 5 = 60", "60"),
            ("12*5=60", "60"),
            ("3 + 4 - 2 = 5", "5"),
            ("12 15 18", "15"),
            ("Rome or Paris?", "paris"),
            ("It has a tower, so Paris.", "paris"),
            ("<think>Hm</think>Paris", "paris"),
            ("Rome", "paris"),
        ] {
            assert!(!is_answer_alone(output, answer), "{output}");
        }
    }

    #[test]
    fn what_only_sounds_like_a_refusal_is_none() {
        for text in [
            "Aida is as an aide in Spain.",
            "As an airport city, Doha is in Qatar.",
            "The speaker is sorry, but I can't see why that matters: 12.",
            "Sorry is the word that she said. Answer: no",
            "I can answer that: Portugal.",
            "I cannot be heads up, since it was flipped once.",
            "Cannot.",
            "I am in Peru.",
            "Which country is the city of Doha in?",
        ] {
            assert!(!is_refusal(text), "{text}");
        }
    }
}
