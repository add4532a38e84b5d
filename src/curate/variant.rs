//! The state of one variant of a question: its samples, its vote and, at the end, its outcome.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use super::select::{Response, SelectionRecord, SelectionRound};
use super::{Outcome, Sample, VoteSummary};
use crate::Result;
use crate::task::{
    Answer, Perturbation, Question, Select, UNPERTURBED, VoteRule, Weighing, without_thinking,
};
use crate::vote::{
    StopReason, Tally, Verdict, decide, decide_selected, needs_selection, stop, verdict_prompt_too_long,
};

/// One variant of one question: the question itself, or a perturbation of it.
pub struct VariantState<'a> {
    pub question: &'a Question,
    /// The variant: 0 is the question itself, the others are the task's perturbations.
    pub index: usize,
    pub perturbation: Option<&'a Perturbation>,
    /// Finished samples by index, those that voted without their texts.
    pub finished: BTreeMap<usize, Finished>,
    /// The next index to start.
    pub next: usize,
    pub running: usize,
    /// The vote of samples `0..counted`.
    tally: Tally,
    pub counted: usize,
    /// What the first sample of each answer wrote in its last step.
    completions: HashMap<String, String>,
    /// What every sample with an answer wrote, where the model is to select among them.
    responses: Vec<Response>,
    /// Selections that an interrupted run finished.
    pub earlier: Vec<SelectionRecord>,
    /// Under way once all samples are there, where the vote asks for it.
    pub selecting: Option<SelectionRound>,
    pub outcome: Option<Outcome>,
}

/// A sample that waits for those before it to be counted.
pub struct Finished {
    voted: VoteSummary,
    weight: Option<f32>,
    /// What it wrote in its last step, less its thinking.
    text: String,
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
            selecting: None,
            outcome: None,
        }
    }

    /// The variant's name in journals.
    pub fn name(&self) -> &'a str {
        self.perturbation.map_or(UNPERTURBED, |p| &p.name)
    }

    /// The question as this variant.
    pub fn asked(&self) -> Result<Cow<'a, Question>> {
        match self.perturbation {
            None => Ok(Cow::Borrowed(self.question)),
            Some(perturbation) => perturbation.asked(self.question).map(Cow::Owned),
        }
    }

    /// Takes a finished sample. The first of two with one index counts.
    pub fn take(&mut self, mut sample: Sample) {
        let answer = sample.answer.take().filter(|_| !sample.rejected);
        let answer = match self.perturbation {
            Some(perturbation) => answer.map(|answer| perturbation.meaning(&answer)),
            None => answer,
        };
        let text = sample.steps.last_mut().map(|step| std::mem::take(&mut step.text)).unwrap_or_default();
        let text = without_thinking(&text).unwrap_or_default().to_string();
        let (variant, weight) = (self.index, sample.confidence);
        self.finished.entry(sample.index).or_insert_with(|| {
            let voted = VoteSummary {
                variant,
                index: sample.index,
                answer,
                prompt_tokens: sample.steps.iter().map(|s| s.prompt_tokens).sum(),
                generated_tokens: sample.steps.iter().map(|s| s.generated_tokens).sum(),
                finish: sample.finish,
            };
            Finished { voted, weight, text }
        });
    }

    /// Counts finished samples in the order of their indices, and has the outcome once they, and
    /// the selections if there are to be any, suffice.
    pub fn count(&mut self, rule: &VoteRule) {
        while self.outcome.is_none() && self.selecting.is_none() {
            if let Some(reason) = stop(rule, &self.tally) {
                return match needs_selection(rule, &self.tally) {
                    true => self.start_selecting(rule),
                    false => self.decide(rule, reason),
                };
            }
            let Some(sample) = self.finished.get_mut(&self.counted) else { return };
            let weight = match rule.weights {
                Weighing::Equal => None,
                Weighing::Confidence => sample.weight.map(f64::from),
            };
            self.tally.add_weighed(sample.voted.answer.as_ref(), weight);
            let text = std::mem::take(&mut sample.text);
            if let Some(answer) = &sample.voted.answer {
                if rule.select == Select::Universal {
                    let (answer, text) = (answer.clone(), text.clone());
                    self.responses.push(Response { sample: self.counted, answer, text });
                }
                self.completions.entry(answer.key.clone()).or_insert(text);
            }
            self.counted += 1;
        }
    }

    fn decide(&mut self, rule: &VoteRule, reason: StopReason) {
        let verdict = decide(rule, &self.question.id, &self.tally, reason);
        self.close_counted(verdict, Vec::new());
    }

    /// Gives up selecting: a selection's prompt has so many tokens, where fewer than so many fit.
    pub fn cannot_select(&mut self, rule: &VoteRule, size: (usize, usize)) {
        let costs = self.selecting.take().map_or(Vec::new(), |selecting| selecting.costs(self.index));
        let verdict = verdict_prompt_too_long(rule, &self.question.id, &self.tally, size);
        self.close_counted(verdict, costs);
    }

    fn close_counted(&mut self, mut verdict: Verdict, selections: Vec<super::SelectionCost>) {
        verdict.completion = verdict.answer.as_ref().and_then(|a| self.completions.remove(&a.key));
        self.close(verdict, selections);
    }

    fn start_selecting(&mut self, rule: &VoteRule) {
        let responses = std::mem::take(&mut self.responses);
        let earlier = std::mem::take(&mut self.earlier);
        self.selecting = Some(SelectionRound::new(responses, earlier, rule.selections));
        self.count_selections(rule);
    }

    /// Has the outcome once all selections are there.
    pub fn count_selections(&mut self, rule: &VoteRule) {
        let Some(selecting) = self.selecting.take_if(|selecting| selecting.is_done()) else { return };
        let mut verdict = decide_selected(rule, &self.question.id, &self.tally, &selecting.picks());
        verdict.completion = verdict.answer.as_ref().and_then(|a| selecting.best_of(&a.key));
        self.close(verdict, selecting.costs(self.index));
    }

    /// How many samples should be under way: as many as would settle the vote if all agreed with
    /// the leader, so that few are sampled in vain.
    pub fn wanted_now(&self, rule: &VoteRule) -> usize {
        let mut tally = self.tally.clone();
        let leader = tally.leader().map(|(answer, _)| answer);
        let leader = leader.unwrap_or_else(|| Answer { key: "?".into(), text: "?".into() });
        let mut wanted = 0;
        while stop(rule, &tally).is_none_or(|reason| reason == StopReason::Abandoned)
            && tally.n() < rule.samples
        {
            tally.add(Some(&leader));
            wanted += 1;
        }
        wanted
    }

    fn close(&mut self, verdict: Verdict, selections: Vec<super::SelectionCost>) {
        let counted = std::mem::take(&mut self.finished).into_iter().take(self.counted);
        let samples = counted.map(|(_, finished)| finished.voted).collect();
        self.release_texts();
        self.outcome = Some(Outcome { verdict, samples, selections });
    }

    /// Gives back what only an open variant needs.
    pub fn release_texts(&mut self) {
        (self.finished, self.completions, self.tally) = Default::default();
        (self.responses, self.earlier, self.selecting) = Default::default();
    }
}
