//! Samples a few questions and arranges what came back.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use super::cost::SeenVariant;
use super::findings::{Evidence, Prompt, findings};
use super::{Cost, Expected, Preview, PreviewAccuracy, PreviewOptions};
use super::{ShownQuestion, ShownSample, ShownStep, StepCost};
use crate::curate::{self, CurationPlan, EquivalenceRecord, Observer, Sample};
use crate::engine::{
    Completion, Decoder, Engine, Finish, Message, Request, Source, TemplateFacts, template_facts,
};
use crate::evaluate::{self, Direct, DirectAnswers};
use crate::task::{Answer, Question, Task, UNPERTURBED};
use crate::vote::Verdict;
use crate::{Cancel, Error, Progress, Result, Stage, Update};

/// `n` of `len` indices, evenly spaced, the first included; all where there are no more.
pub fn shown_evenly(len: usize, n: usize) -> impl Iterator<Item = usize> {
    let n = n.min(len);
    (0..n).map(move |i| i * len / n)
}

/// The prompts of the calls of `sample`, rendered as `decoder` does.
pub(crate) fn prompts_of(
    task: &Task,
    question: &Question,
    sample: &Sample,
    seed: u64,
    decoder: Option<&dyn Decoder>,
) -> Result<Vec<(Prompt, u64)>> {
    let requests = curate::requests_of(task, question, sample, seed)?;
    Ok(requests.into_iter().map(|r| (prompt(r.messages, r.thinking, decoder), r.seed)).collect())
}

fn prompt(messages: Vec<Message>, thinking: bool, decoder: Option<&dyn Decoder>) -> Prompt {
    // A template that fails for these messages has failed the call before.
    let render = |decoder: &dyn Decoder| decoder.chat_template().render(&messages, true, thinking).ok();
    Prompt { rendered: decoder.and_then(render), messages }
}

/// A look at a few questions of a set.
pub struct Look<'a> {
    pub task: &'a Task,
    pub questions: &'a [Question],
    pub seed: u64,
    pub options: &'a PreviewOptions,
}

impl Look<'_> {
    /// Asks the questions. `engine` has no adapter applied.
    pub fn through(
        &self,
        engine: &mut dyn Engine,
        progress: &dyn Progress,
        cancel: &Cancel,
    ) -> Result<Preview> {
        let mut chosen: Vec<Question> = shown_evenly(self.questions.len(), self.options.n_questions)
            .map(|index| self.questions[index].clone())
            .collect();
        let task = self.exhaustive_task();
        let facts = engine.decoder().map(template_facts).transpose()?;
        let cannot_ask =
            |facts: &&TemplateFacts| facts.check().is_err() || curate::turns_lost(&task, facts).is_some();
        if let Some(facts) = facts.as_ref().filter(cannot_ask) {
            return Ok(self.nothing_asked(facts));
        }
        let begin = Instant::now();
        let limit = self.options.minutes.and_then(|minutes| Duration::try_from_secs_f64(60.0 * minutes).ok());
        let stop = match limit.and_then(|limit| begin.checked_add(limit)) {
            Some(deadline) => cancel.or_at(deadline),
            None => cancel.clone(),
        };
        let too_early = |error| match error {
            Error::Cancelled if !cancel.is_cancelled() => {
                let seconds = begin.elapsed().as_secs_f64();
                let what =
                    format!("no question was through after {seconds:.0} s; expected time for one or more");
                Error::field("minutes", format!("{what}: give more, or fewer samples"))
            }
            error => error,
        };
        let mut system1 =
            evaluate::ask_directly(engine, &task, &chosen, self.seed, &stop).map_err(too_early)?;
        let variants = 1 + task.perturbations.len();
        let mut seen = PreviewObserver {
            progress,
            questions: chosen.len(),
            total: chosen.len() * variants * task.vote.samples,
            samples: Vec::new(),
            equivalences: Vec::new(),
            verdicts: Vec::new(),
        };
        let mut timed = Timed { engine, calls: BTreeMap::new() };
        let plan = CurationPlan {
            task: &task,
            questions: &chosen,
            seed: self.seed,
            stop_at_answer: false,
            verifier: None,
        };
        let sampling = Instant::now();
        let none = std::iter::empty::<Result<Sample>>();
        match curate::curate(|| Ok(&mut timed), &plan, none, &mut seen, &stop) {
            // What was seen took minutes too.
            Err(Error::Cancelled) if !seen.verdicts.is_empty() => {}
            other => drop(other.map_err(too_early)?),
        }
        let seconds = sampling.elapsed().as_secs_f64();
        let Timed { engine, calls } = timed;
        let seconds = [seconds, begin.elapsed().as_secs_f64()];
        let voted: BTreeSet<String> = seen.verdicts.iter().map(|verdict| verdict.question.clone()).collect();
        let n_chosen = chosen.len();
        chosen.retain(|question| voted.contains(&question.id));
        system1.answers.retain(|direct| voted.contains(&direct.question));
        seen.samples.retain(|sample| voted.contains(&sample.question));
        seen.equivalences.retain(|judgement| voted.contains(&judgement.question));
        let unseen = n_chosen - chosen.len();
        self.arrange(&chosen, Replies { system1, seen, calls, seconds, unseen }, engine, facts.as_ref())
    }

    /// A preview of a model that cannot be asked anything.
    fn nothing_asked(&self, facts: &TemplateFacts) -> Preview {
        let found = findings(&Evidence {
            task: self.task,
            questions: &[],
            samples: &[],
            prompts: &[],
            verdicts: &[],
            equivalences: &[],
            system1: &[],
            template: Some(facts),
        });
        Preview {
            task: self.task.name.clone(),
            findings: found,
            questions: self.questions.len(),
            samples: self.options.samples,
            ..Preview::default()
        }
    }

    /// The task with the options' number of samples and no early stopping.
    fn exhaustive_task(&self) -> Task {
        let mut task = self.task.clone();
        task.vote.samples = self.options.samples;
        task.vote.min_samples = task.vote.min_samples.min(self.options.samples);
        task.vote.confidence = 1.0;
        task.vote.early_abandon = false;
        task
    }

    fn arrange(
        &self,
        chosen: &[Question],
        replies: Replies,
        engine: &dyn Engine,
        facts: Option<&TemplateFacts>,
    ) -> Result<Preview> {
        let decoder = engine.decoder();
        let Replies { system1, seen, calls, seconds, unseen } = replies;
        let PreviewObserver { mut samples, mut verdicts, equivalences, .. } = seen;
        let place: BTreeMap<&str, usize> =
            chosen.iter().enumerate().map(|(i, q)| (q.id.as_str(), i)).collect();
        let variants: Vec<&str> = std::iter::once(UNPERTURBED)
            .chain(self.task.perturbations.iter().map(|p| p.name.as_str()))
            .collect();
        let variant = |sample: &Sample| variants.iter().position(|name| *name == sample.perturbation);
        samples.sort_by_key(|sample| (place[sample.question.as_str()], variant(sample), sample.index));
        verdicts.sort_by_key(|verdict| place[verdict.question.as_str()]);

        let made: Vec<Vec<(Prompt, u64)>> = samples
            .iter()
            .map(|s| prompts_of(self.task, &chosen[place[s.question.as_str()]], s, self.seed, decoder))
            .collect::<Result<_>>()?;
        let seeds: Vec<Vec<u64>> = made.iter().map(|calls| calls.iter().map(|(_, s)| *s).collect()).collect();
        let prompts: Vec<Vec<Prompt>> =
            made.into_iter().map(|calls| calls.into_iter().map(|(prompt, _)| prompt).collect()).collect();
        let evidence = Evidence {
            task: self.task,
            questions: chosen,
            samples: &samples,
            prompts: &prompts,
            verdicts: &verdicts,
            equivalences: &equivalences,
            system1: &system1.answers,
            template: facts,
        };
        let found = findings(&evidence);
        let accuracy = self.accuracy(chosen, &system1, &samples, &verdicts);
        let cost = self.cost(&system1, &samples, &seeds, &calls, seconds);
        let expected = self.expected(chosen, &samples, &equivalences, &cost);

        let answered = chosen.iter().zip(system1.answers).zip(verdicts);
        let mut shown: Vec<ShownQuestion> = answered
            .map(|((question, direct), verdict)| self.shown(question, direct, verdict, decoder))
            .collect();
        for ((sample, prompts), seeds) in samples.into_iter().zip(prompts).zip(seeds) {
            let at = place[sample.question.as_str()];
            shown[at].samples.push(shown_sample(sample, prompts, &seeds, &calls));
        }
        Ok(Preview {
            model: String::new(),
            task: self.task.name.clone(),
            findings: found,
            questions: self.questions.len(),
            samples: self.options.samples,
            unseen,
            kept: shown.iter().filter(|question| question.verdict.kept).count(),
            accuracy,
            cost,
            expected,
            shown,
        })
    }

    /// A question without its samples.
    fn shown(
        &self,
        question: &Question,
        direct: Direct,
        verdict: Verdict,
        decoder: Option<&dyn Decoder>,
    ) -> ShownQuestion {
        // A question that was set aside has no prompt.
        let messages = curate::messages(&self.task.system1, question, &[]).unwrap_or_default();
        ShownQuestion {
            id: question.id.clone(),
            fields: question.fields.iter().map(|(name, text)| (name.clone(), text.clone())).collect(),
            system1_prompt: prompt(messages, self.task.system1.thinking, decoder),
            system1: direct,
            samples: Vec::new(),
            verdict,
            gold: question.gold.clone(),
        }
    }

    fn accuracy(
        &self,
        chosen: &[Question],
        system1: &DirectAnswers,
        samples: &[Sample],
        verdicts: &[Verdict],
    ) -> Option<PreviewAccuracy> {
        let set_aside = |id: &str| {
            verdicts.iter().any(|v| v.question == id && v.set_aside.is_some())
                || system1.answers.iter().any(|d| d.question == id && d.set_aside.is_some())
        };
        let asked = chosen.iter().filter(|question| !set_aside(&question.id));
        let gold: BTreeMap<&str, &[String]> = asked.map(|q| (q.id.as_str(), q.gold.as_slice())).collect();
        if gold.is_empty() || gold.values().any(|gold| gold.is_empty()) {
            return None;
        }
        // `None` for a question that was not asked.
        let is_right = |id: &str, answer: Option<&Answer>| -> Option<bool> {
            let gold = gold.get(id)?;
            Some(answer.is_some_and(|answer| self.task.answer.is_correct(answer, gold)))
        };
        let share = |right: Vec<bool>| {
            right.iter().filter(|right| **right).count() as f64 / right.len().max(1) as f64
        };
        let own = samples.iter().filter(|sample| sample.perturbation == UNPERTURBED);
        let direct = system1.answers.iter();
        let votes = |accepted: bool| -> Vec<bool> {
            let counted = verdicts.iter().filter(|v| v.kept || !accepted);
            counted.filter_map(|v| is_right(&v.question, v.answer.as_ref())).collect()
        };
        let accepted = Some(votes(true)).filter(|accepted| !accepted.is_empty());
        Some(PreviewAccuracy {
            system1: share(direct.filter_map(|d| is_right(&d.question, d.answer.as_ref())).collect()),
            samples: share(own.filter_map(|s| is_right(&s.question, s.answer.as_ref())).collect()),
            votes: share(votes(false)),
            accepted: accepted.map(share),
        })
    }

    fn cost(
        &self,
        system1: &DirectAnswers,
        samples: &[Sample],
        seeds: &[Vec<u64>],
        calls: &BTreeMap<u64, TimedCall>,
        [system2_seconds, seconds]: [f64; 2],
    ) -> Cost {
        let mut steps: Vec<StepCost> = Vec::new();
        for (sample, seeds) in samples.iter().zip(seeds) {
            for (at, record) in sample.steps.iter().enumerate() {
                let step = match steps.iter().position(|step| step.name == record.name) {
                    Some(known) => &mut steps[known],
                    None => {
                        steps.push(StepCost { name: record.name.clone(), ..StepCost::default() });
                        steps.last_mut().expect("a step was pushed")
                    }
                };
                step.calls += 1;
                step.prompt_tokens += record.prompt_tokens;
                step.generated_tokens += record.generated_tokens;
                step.seconds += seeds.get(at).and_then(|seed| calls.get(seed)).map_or(0.0, |c| c.seconds);
            }
        }
        // Calls run beside each other.
        let sum: f64 = steps.iter().map(|step| step.seconds).sum();
        steps.iter_mut().for_each(|step| step.seconds *= if sum > 0.0 { system2_seconds / sum } else { 0.0 });
        let answers = &system1.answers;
        let direct = StepCost {
            name: "system1".into(),
            calls: answers.len(),
            prompt_tokens: answers.iter().map(|a| a.prompt_tokens).sum(),
            generated_tokens: answers.iter().map(|a| a.generated_tokens).sum(),
            seconds: system1.seconds,
        };
        Cost {
            seconds,
            generated_tokens: direct.generated_tokens
                + steps.iter().map(|step| step.generated_tokens).sum::<usize>(),
            system1: direct,
            steps,
        }
    }

    fn expected(
        &self,
        chosen: &[Question],
        samples: &[Sample],
        equivalences: &[EquivalenceRecord],
        cost: &Cost,
    ) -> Expected {
        let perturbations = || std::iter::once(None).chain(self.task.perturbations.iter().map(Some));
        let seen = |question: &Question| {
            let equal = equal_keys(equivalences.iter().filter(|judged| judged.question == question.id));
            let one_key = |answer: Answer| Answer {
                key: equal.get(&answer.key).cloned().unwrap_or(answer.key),
                ..answer
            };
            let variants = perturbations().map(|perturbation| {
                let name = perturbation.map_or(UNPERTURBED, |p| &p.name);
                let of = || samples.iter().filter(|s| s.question == question.id && s.perturbation == name);
                let meant = |answer: &Answer| perturbation.map_or(answer.clone(), |p| p.meaning(answer));
                SeenVariant {
                    answers: of().map(|s| s.answer.as_ref().map(meant).map(one_key)).collect(),
                    tokens: of().map(|s| self.tokens_until_answer(s)).sum::<f64>()
                        / of().count().max(1) as f64,
                }
            });
            variants.collect::<Vec<_>>()
        };
        let seen: Vec<Vec<SeenVariant>> = chosen.iter().map(seen).collect();
        let tokens: usize = cost.steps.iter().map(|step| step.generated_tokens).sum();
        let seconds: f64 = cost.steps.iter().map(|step| step.seconds).sum();
        let speed = if seconds > 0.0 { tokens as f64 / seconds } else { 0.0 };
        Expected::of(&self.task.vote, self.questions.len(), &seen, speed, self.seed)
    }

    /// The tokens of a sample whose last step ends with its answer, estimated from where in the text that
    /// is.
    fn tokens_until_answer(&self, sample: &Sample) -> f64 {
        let tokens: usize = sample.steps.iter().map(|step| step.generated_tokens).sum();
        let Some(last) = sample.steps.last().filter(|last| !last.text.is_empty()) else {
            return tokens as f64;
        };
        let ends = last.text.char_indices().filter(|(_, c)| c.is_whitespace()).map(|(at, _)| at);
        let is_complete = |end: &usize| self.task.reasoned_is_complete(&last.text[..*end]);
        let end = ends.map(|at| at + 1).find(|end| last.text.is_char_boundary(*end) && is_complete(end));
        let share = end.map_or(1.0, |end| end as f64 / last.text.len() as f64);
        tokens as f64 - last.generated_tokens as f64 * (1.0 - share)
    }
}

/// Of the answers that were judged equal, the key of each → the one that stands for all.
fn equal_keys<'a>(judged: impl Iterator<Item = &'a EquivalenceRecord>) -> BTreeMap<String, String> {
    let mut class: Vec<BTreeSet<&str>> = Vec::new();
    for record in judged.filter(|record| record.equal) {
        let pair = BTreeSet::from([record.a.key.as_str(), record.b.key.as_str()]);
        let (touched, mut others): (Vec<_>, Vec<_>) =
            class.into_iter().partition(|keys| keys.intersection(&pair).next().is_some());
        others.push(touched.into_iter().fold(pair, |all, keys| &all | &keys));
        class = others;
    }
    let named = |keys: BTreeSet<&str>| {
        let first = keys.first().map_or(String::new(), |key| key.to_string());
        keys.into_iter().map(|key| (key.to_string(), first.clone())).collect::<Vec<_>>()
    };
    class.into_iter().flat_map(named).collect()
}

fn shown_sample(
    sample: Sample,
    prompts: Vec<Prompt>,
    seeds: &[u64],
    calls: &BTreeMap<u64, TimedCall>,
) -> ShownSample {
    let span = sample.answer.as_ref().and_then(|answer| span_of(&sample.steps.last()?.text, answer));
    let is_cut = |at: usize| {
        seeds.get(at).and_then(|seed| calls.get(seed)).is_some_and(|call| call.finish == Finish::Length)
    };
    let step = |(at, (record, prompt)): (usize, (curate::StepRecord, Prompt))| ShownStep {
        name: record.name,
        item: record.item,
        prompt,
        output: record.text,
        is_cut: is_cut(at),
        prompt_tokens: record.prompt_tokens,
        generated_tokens: record.generated_tokens,
    };
    ShownSample {
        index: sample.index,
        perturbation: sample.perturbation,
        steps: sample.steps.into_iter().zip(prompts).enumerate().map(step).collect(),
        answer: sample.answer,
        read_from: sample.read_from,
        span,
    }
}

/// Where an answer stands in a text, in bytes, whatever its case; the last place where there are several.
pub fn span_of(text: &str, answer: &Answer) -> Option<(usize, usize)> {
    let written = regex::escape(&answer.text);
    let last = |pattern: String| {
        let found = regex::Regex::new(&pattern).ok()?.find_iter(text).last()?;
        Some((found.start(), found.end()))
    };
    last(format!(r"(?i)\b{written}\b")).or_else(|| last(format!("(?i){written}")))
}

/// What the model answered, and how long it took.
struct Replies<'a> {
    system1: DirectAnswers,
    seen: PreviewObserver<'a>,
    calls: BTreeMap<u64, TimedCall>,
    /// Seconds of System 2, and of everything.
    seconds: [f64; 2],
    /// Number of questions that were not voted on in time.
    unseen: usize,
}

/// Collects what curation finds.
struct PreviewObserver<'a> {
    progress: &'a dyn Progress,
    questions: usize,
    /// Number of samples that are to come.
    total: usize,
    samples: Vec<Sample>,
    equivalences: Vec<EquivalenceRecord>,
    verdicts: Vec<Verdict>,
}

impl Observer for PreviewObserver<'_> {
    fn sample(&mut self, sample: &Sample) -> Result<()> {
        self.samples.push(sample.clone());
        self.progress.update(&Update {
            stage: Stage::Preview,
            done: self.samples.len() as u64,
            total: self.total as u64,
            note: format!("samples; {} of {} questions", self.verdicts.len(), self.questions),
        });
        Ok(())
    }

    fn equivalence(&mut self, judgement: &EquivalenceRecord) -> Result<()> {
        self.equivalences.push(judgement.clone());
        Ok(())
    }

    fn verdict(&mut self, verdict: &Verdict) -> Result<()> {
        self.verdicts.push(verdict.clone());
        Ok(())
    }
}

/// How long a call took, and why it ended.
struct TimedCall {
    seconds: f64,
    finish: Finish,
}

/// An engine that notes how long each call takes, by its seed, which no other call has.
struct Timed<'a> {
    engine: &'a mut dyn Engine,
    calls: BTreeMap<u64, TimedCall>,
}

impl Engine for Timed<'_> {
    fn run(&mut self, source: &mut dyn Source, cancel: &Cancel) -> Result<()> {
        let mut timed = TimedSource { source, seeds: BTreeMap::new(), calls: &mut self.calls };
        self.engine.run(&mut timed, cancel)
    }
    fn set_adapter(&mut self, path: Option<&Path>) -> Result<()> {
        self.engine.set_adapter(path)
    }
    fn sampling_threads(&self) -> usize {
        self.engine.sampling_threads()
    }
    fn takes_adapters(&self) -> bool {
        self.engine.takes_adapters()
    }
    fn decoder(&self) -> Option<&dyn Decoder> {
        self.engine.decoder()
    }
}

struct TimedSource<'a> {
    source: &'a mut dyn Source,
    /// Request id → seed.
    seeds: BTreeMap<u64, u64>,
    calls: &'a mut BTreeMap<u64, TimedCall>,
}

impl Source for TimedSource<'_> {
    fn next(&mut self) -> Option<Request> {
        let request = self.source.next()?;
        self.seeds.insert(request.id, request.seed);
        Some(request)
    }
    fn finished(&mut self, completion: Completion) -> Result<()> {
        if let Some(seed) = self.seeds.remove(&completion.id) {
            let call = TimedCall { seconds: completion.seconds, finish: completion.finish };
            self.calls.insert(seed, call);
        }
        self.source.finished(completion)
    }
    fn enough(&self, id: u64, text: &str) -> bool {
        self.source.enough(id, text)
    }
    fn wanted(&self, id: u64) -> bool {
        self.source.wanted(id)
    }
    fn continues(&self, id: u64) -> bool {
        self.source.continues(id)
    }
    fn too_long(&mut self, id: u64, tokens: usize, limit: usize) -> Result<()> {
        self.source.too_long(id, tokens, limit)
    }
    fn cannot_render(&mut self, id: u64, error: Error) -> Result<()> {
        self.source.cannot_render(id, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_that_were_judged_equal_have_one_key() {
        let answer = |key: &str| Answer { key: key.into(), text: key.into() };
        let judged = |a: &str, b: &str, equal| EquivalenceRecord {
            question: "q".into(),
            a: answer(a),
            b: answer(b),
            text: String::new(),
            equal,
            prompt_tokens: 0,
            generated_tokens: 0,
        };
        let all = [
            judged("c", "d", true),
            judged("a", "b", true),
            judged("b", "c", true),
            judged("a", "e", false),
            judged("f", "g", true),
        ];
        let keys = equal_keys(all.iter());
        let of = |key: &str| keys.get(key).map(String::as_str);
        assert_eq!(["a", "b", "c", "d"].map(of), [Some("a"); 4]);
        assert_eq!(["e", "f", "g"].map(of), [None, Some("f"), Some("f")]);
    }
}
