//! The state of one variant of a question: its samples, its vote and, at the end, its outcome.

use std::borrow::Cow;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use super::equivalence::{AnswerClasses, AnswerPair, Judgements};
use super::select::{Response, SelectionRecord, SelectionRound};
use super::{Outcome, ReadFrom, Sample, VoteSummary};
use crate::Result;
use crate::task::{
    ClosingWhen, Perturbation, Question, Select, UNPERTURBED, VoteRule, Weighing, without_thinking,
};
use crate::vote::{
    PromptTooLong, StopReason, Tally, Verdict, decide, decide_selected, needs_selection,
    samples_if_unanimous, stop, verdict_prompt_too_long,
};

/// One variant of one question: the question itself, or a perturbation of it.
pub struct VariantState<'a> {
    pub question: &'a Question,
    /// 0 for the question itself, then the task's perturbations in their order.
    pub index: usize,
    pub perturbation: Option<&'a Perturbation>,
    /// Finished samples by index; the texts of counted ones are empty.
    pub finished: BTreeMap<usize, FinishedSample>,
    /// The index of the next sample to start.
    pub next: usize,
    pub running: usize,
    /// The vote of samples `0..counted`.
    tally: Tally,
    pub counted: usize,
    /// Answer key → the last completion of the first sample that gave this answer.
    completions: HashMap<String, AnswerText>,
    /// The last completions of all samples with an answer, in a universal vote.
    responses: Vec<Response>,
    /// Selections that an interrupted run has finished.
    pub earlier: Vec<SelectionRecord>,
    /// The running selections, once all samples are counted and the vote needs selections.
    pub selections: Option<SelectionRound>,
    /// The answers that mean the same, if the task asks for that.
    classes: AnswerClasses,
    pub outcome: Option<Outcome>,
}

/// A finished sample, which is counted when all samples before it have been.
pub struct FinishedSample {
    vote: VoteSummary,
    weight: Option<f32>,
    text: AnswerText,
}

/// The completion that holds the answer, without its thinking block.
#[derive(Default)]
struct AnswerText {
    text: String,
    /// Whether it is that of a closing turn, because the last completion held no answer. Any other is
    /// preferred.
    is_bare: bool,
}

impl<'a> VariantState<'a> {
    pub fn new(
        question: &'a Question,
        index: usize,
        perturbation: Option<&'a Perturbation>,
    ) -> VariantState<'a> {
        VariantState {
            question,
            index,
            perturbation,
            finished: BTreeMap::new(),
            next: 0,
            running: 0,
            tally: Tally::new(),
            counted: 0,
            completions: HashMap::new(),
            responses: Vec::new(),
            earlier: Vec::new(),
            selections: None,
            classes: AnswerClasses::default(),
            outcome: None,
        }
    }

    /// The name of the perturbation in journals.
    pub fn name(&self) -> &'a str {
        self.perturbation.map_or(UNPERTURBED, |p| &p.name)
    }

    /// The question as this variant asks it.
    pub fn asked(&self) -> Result<Cow<'a, Question>> {
        match self.perturbation {
            None => Ok(Cow::Borrowed(self.question)),
            Some(perturbation) => perturbation.asked(self.question).map(Cow::Owned),
        }
    }

    /// Takes a finished sample of a task with this closing turn. Of two with the same index, the first
    /// counts.
    pub fn take(&mut self, mut sample: Sample, closing: Option<ClosingWhen>) {
        let answer = sample.answer.take().filter(|_| !sample.rejected);
        let answer = match self.perturbation {
            Some(perturbation) => answer.map(|answer| perturbation.meaning(&answer)),
            None => answer,
        };
        let is_bare = sample.read_from == ReadFrom::Closing && closing == Some(ClosingWhen::Unread);
        let text = match sample.steps.last() {
            Some(closing) if is_bare => &closing.text,
            _ => sample.completion(),
        };
        let text = AnswerText { text: without_thinking(text).unwrap_or_default().to_string(), is_bare };
        let (variant, weight) = (self.index, sample.confidence);
        self.finished.entry(sample.index).or_insert_with(|| {
            let vote = VoteSummary {
                variant,
                index: sample.index,
                answer,
                read_from: sample.read_from,
                prompt_tokens: sample.steps.iter().map(|s| s.prompt_tokens).sum(),
                generated_tokens: sample.steps.iter().map(|s| s.generated_tokens).sum(),
                finish: sample.finish,
            };
            FinishedSample { vote, weight, text }
        });
    }

    /// Counts finished samples in the order of their indices. When the vote ends, sets the outcome or
    /// starts the selections. With `judgements`, answers that mean the same count together; returns the
    /// pairs to ask for before the next sample can be counted.
    pub fn count(&mut self, rule: &VoteRule, mut judgements: Option<&mut Judgements>) -> Vec<AnswerPair> {
        while self.outcome.is_none() && self.selections.is_none() {
            if let Some(reason) = stop(rule, &self.tally) {
                if needs_selection(rule, &self.tally) {
                    self.start_selections(rule);
                } else {
                    self.decide(rule, reason);
                }
                return vec![];
            }
            let Some(sample) = self.finished.get_mut(&self.counted) else { return vec![] };
            let mut class = None;
            if let (Some(answer), Some(judgements)) = (&sample.vote.answer, judgements.as_deref_mut()) {
                match self.classes.place(answer, judgements, self.index) {
                    Ok(answer) => class = Some(answer),
                    Err(pairs) => return pairs,
                }
            }
            let weight = match rule.weights {
                Weighing::Equal => None,
                Weighing::Confidence => sample.weight.map(f64::from),
            };
            self.tally.add_weighted(class.as_ref().or(sample.vote.answer.as_ref()), weight);
            let text = std::mem::take(&mut sample.text);
            if let Some(answer) = &sample.vote.answer {
                if rule.select == Select::Universal {
                    let (answer, text) = (answer.clone(), text.text.clone());
                    self.responses.push(Response { sample: self.counted, answer, text });
                }
                match self.completions.entry(answer.key.clone()) {
                    Entry::Occupied(mut first) if first.get().is_bare && !text.is_bare => {
                        first.insert(text);
                    }
                    Entry::Occupied(_) => {}
                    Entry::Vacant(none) => {
                        none.insert(text);
                    }
                }
            }
            self.counted += 1;
        }
        vec![]
    }

    fn decide(&mut self, rule: &VoteRule, reason: StopReason) {
        let mut verdict = decide(rule, &self.question.id, &self.tally, reason);
        verdict.answer = verdict.answer.map(|answer| self.classes.spelled(answer));
        self.close_counted(verdict, Vec::new());
    }

    /// Ends the vote because the prompt of a selection does not fit.
    pub fn cannot_select(&mut self, rule: &VoteRule, prompt: PromptTooLong) {
        let costs = self.selections.take().map_or(Vec::new(), |selections| selections.costs(self.index));
        let verdict = verdict_prompt_too_long(rule, &self.question.id, &self.tally, prompt);
        self.close_counted(verdict, costs);
    }

    fn close_counted(&mut self, mut verdict: Verdict, selections: Vec<super::SelectionCost>) {
        verdict.completion =
            verdict.answer.as_ref().and_then(|a| self.completions.remove(&a.key)).map(|text| text.text);
        self.close(verdict, selections);
    }

    fn start_selections(&mut self, rule: &VoteRule) {
        let responses = std::mem::take(&mut self.responses);
        let earlier = std::mem::take(&mut self.earlier);
        self.selections = Some(SelectionRound::new(responses, earlier, rule.selections));
        self.count_selections(rule);
    }

    /// Sets the outcome once all selections have finished.
    pub fn count_selections(&mut self, rule: &VoteRule) {
        let Some(selections) = self.selections.take_if(|selections| selections.is_done()) else { return };
        let mut verdict = decide_selected(rule, &self.question.id, &self.tally, &selections.picks());
        verdict.completion = verdict.answer.as_ref().and_then(|a| selections.best_of(&a.key));
        self.close(verdict, selections.costs(self.index));
    }

    /// How many samples should be running: as many as end the vote if all of them agree with the
    /// leader, so that few are sampled in vain.
    pub fn samples_wanted(&self, rule: &VoteRule) -> usize {
        samples_if_unanimous(rule, &self.tally)
    }

    fn close(&mut self, verdict: Verdict, selections: Vec<super::SelectionCost>) {
        let counted = std::mem::take(&mut self.finished).into_iter().take(self.counted);
        let samples = counted.map(|(_, finished)| finished.vote).collect();
        self.release_texts();
        self.outcome = Some(Outcome { verdict, samples, selections, equivalences: Vec::new() });
    }

    /// Frees what only an open vote needs.
    pub fn release_texts(&mut self) {
        (self.finished, self.completions, self.tally) = Default::default();
        (self.responses, self.earlier, self.selections) = Default::default();
        self.classes = AnswerClasses::default();
    }
}
