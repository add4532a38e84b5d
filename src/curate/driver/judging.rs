//! Votes in which the model judges which answers mean the same.

use super::super::equivalence::{AnswerPair, Judgements, Needed};
use super::super::{EquivalenceCost, EquivalenceRecord};
use super::Driver;
use crate::Result;
use crate::engine::Completion;

impl Driver<'_> {
    /// Counts the finished samples of variant `i` as far as the classes of their answers are known, and
    /// asks for the judgements that are missing. The variants before it come first, so that which pairs
    /// are judged, and in which spelling, does not depend on the schedule.
    pub(super) fn count_judged(&mut self, i: usize) -> Result<()> {
        if !self.is_its_turn(i) {
            return Ok(());
        }
        let (rule, question) = (&self.plan.task.vote, i / self.n_variants());
        let mut judgements = self.judgements.remove(&question).unwrap_or_default();
        let variant = self.open(i);
        let pairs = variant.count(rule, Some(&mut judgements));
        let has_ended = variant.outcome.is_some();
        self.judgements.insert(question, judgements);
        pairs.into_iter().try_for_each(|pair| self.judge(question, pair))?;
        if has_ended { self.close(i) } else { Ok(()) }
    }

    /// Asks whether the answers of `pair` to `question` mean the same.
    fn judge(&mut self, question: usize, pair: AnswerPair) -> Result<()> {
        let request = pair.request(self.next_id, &self.plan.task.vote, &self.plan.questions[question])?;
        self.next_id += 1;
        self.pending_judgements.insert(request.id, (question, pair));
        self.ready.push_back(request);
        Ok(())
    }

    pub(super) fn finished_judgement(
        &mut self,
        question: usize,
        pair: AnswerPair,
        completion: Completion,
    ) -> Result<()> {
        let record = pair.judged(&self.plan.questions[question].id, completion);
        self.observer.equivalence(&record)?;
        self.take_judgement(question, record)
    }

    /// Takes a judgement, and counts the samples that have waited for it.
    pub(super) fn take_judgement(&mut self, question: usize, record: EquivalenceRecord) -> Result<()> {
        let judgements = self.judgements.entry(question).or_default();
        judgements.take(record);
        if judgements.awaited {
            return self.finish_question(question);
        }
        let n = self.n_variants();
        (question * n..(question + 1) * n).try_for_each(|i| match self.variants[i].is_some() {
            true => self.count(i),
            false => Ok(()),
        })
    }

    /// Writes the answer of the question itself for those of its variants that mean the same. `false` if
    /// a judgement on that is still to come.
    pub(super) fn unify_variants(&mut self, question: usize) -> Result<bool> {
        let n = self.n_variants();
        let Some(judgements) = self.judgements.get_mut(&question) else { return Ok(true) };
        let [Some(own), others @ ..] = &mut self.variants[question * n..(question + 1) * n] else {
            return Ok(true);
        };
        judgements.awaited = false;
        let own = own.outcome.as_ref().filter(|outcome| outcome.verdict.kept);
        let Some(own) = own.and_then(|outcome| outcome.verdict.answer.as_ref()) else { return Ok(true) };
        let mut asked = Vec::new();
        for variant in others.iter_mut().flatten() {
            let index = variant.index;
            let verdict = variant.outcome.as_mut().map(|outcome| &mut outcome.verdict);
            let Some(verdict) = verdict.filter(|verdict| verdict.kept) else { continue };
            let Some(answer) = verdict.answer.as_mut().filter(|answer| answer.key != own.key) else {
                continue;
            };
            match judgements.need(own, answer, index) {
                Needed::Known(true) => *answer = own.clone(),
                Needed::Known(false) => {}
                Needed::Missing(pair) => {
                    judgements.awaited = true;
                    asked.extend(pair);
                }
            }
        }
        let is_awaited = judgements.awaited;
        asked.into_iter().try_for_each(|pair| self.judge(question, pair))?;
        Ok(!is_awaited)
    }

    /// Forgets the judgements on `question`, and returns what those cost that were needed.
    pub(super) fn end_judging(&mut self, question: usize) -> Vec<EquivalenceCost> {
        if !self.judges {
            return Vec::new();
        }
        self.pending_judgements.retain(|_, (other, _)| *other != question);
        self.judgements.remove(&question).map_or(Vec::new(), |judgements: Judgements| judgements.costs())
    }
}
