//! Samples a few questions and arranges what came back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::cost::SeenVariant;
use super::findings::{Evidence, Prompt, findings};
use super::timed::{Timed, TimedCall};
use super::{Cost, Expected, Preview, PreviewAccuracy, PreviewOptions};
use super::{ShownQuestion, ShownSample, ShownStep, StepCost};
use crate::curate::{self, CurationPlan, EquivalenceRecord, Observer, Sample};
use crate::engine::{Decoder, Engine, Finish, Message, TemplateFacts, template_facts};
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
        let chosen: Vec<usize> = shown_evenly(self.questions.len(), self.options.n_questions).collect();
        // In an order of which every beginning is spread over the file too, since there may be no time for all.
        let mut order: Vec<usize> = (0..chosen.len()).collect();
        order.sort_by_key(|at| (*at as u32).reverse_bits());
        let asked: Vec<Question> = order.iter().map(|at| self.questions[chosen[*at]].clone()).collect();
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
            Error::Cancelled if !cancel.is_cancelled() => too_few_minutes(begin.elapsed()),
            error => error,
        };
        let system1 = evaluate::ask_directly(engine, &task, &asked, self.seed, &stop).map_err(too_early)?;
        let mut seen = PreviewObserver {
            progress,
            questions: asked.len(),
            samples_each: (1 + task.perturbations.len()) * task.vote.samples,
            samples: Vec::new(),
            equivalences: Vec::new(),
            verdicts: Vec::new(),
        };
        let mut timed = Timed { engine, calls: BTreeMap::new(), unfinished: 0 };
        let plan = CurationPlan {
            task: &task,
            questions: &asked,
            seed: self.seed,
            stop_at_answer: false,
            verifier: None,
        };
        let sampling = Instant::now();
        let none = std::iter::empty::<Result<Sample>>();
        match curate::curate(|| Ok(&mut timed), &plan, none, &mut seen, &stop) {
            // What was seen took minutes too.
            Err(Error::Cancelled) if seen.has_votes() => {}
            other => drop(other.map_err(too_early)?),
        }
        let seconds = [sampling.elapsed().as_secs_f64(), begin.elapsed().as_secs_f64()];
        let Timed { engine, calls, unfinished } = timed;
        let mut asked: Vec<(usize, Question)> = order.into_iter().zip(asked).collect();
        asked.sort_by_key(|(at, _)| *at);
        let asked = asked.into_iter().map(|(_, question)| question).collect();
        self.arrange(asked, Replies { system1, seen, calls, unfinished, seconds }, engine, facts.as_ref())
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

    /// `asked`: the chosen questions in the order of the file.
    fn arrange(
        &self,
        mut asked: Vec<Question>,
        replies: Replies,
        engine: &dyn Engine,
        facts: Option<&TemplateFacts>,
    ) -> Result<Preview> {
        let decoder = engine.decoder();
        let Replies { mut system1, seen, calls, unfinished, seconds } = replies;
        let PreviewObserver { mut samples, mut verdicts, mut equivalences, .. } = seen;
        let place: BTreeMap<String, usize> =
            asked.iter().enumerate().map(|(at, question)| (question.id.clone(), at)).collect();
        let variants: Vec<&str> = std::iter::once(UNPERTURBED)
            .chain(self.task.perturbations.iter().map(|p| p.name.as_str()))
            .collect();
        let variant = |sample: &Sample| variants.iter().position(|name| *name == sample.perturbation);
        samples.sort_by_key(|sample| (place[&sample.question], variant(sample), sample.index));
        verdicts.sort_by_key(|verdict| place[&verdict.question]);
        system1.answers.sort_by_key(|direct| place[&direct.question]);

        let made: Vec<Vec<(Prompt, u64)>> = samples
            .iter()
            .map(|sample| prompts_of(self.task, &asked[place[&sample.question]], sample, self.seed, decoder))
            .collect::<Result<_>>()?;
        let seeds: Vec<Vec<u64>> = made.iter().map(|calls| calls.iter().map(|(_, s)| *s).collect()).collect();
        let cost = self.cost(&system1, &samples, &seeds, &calls, seconds);
        let unused_tokens = unused_tokens(&seeds, &calls, unfinished);

        // What came too late for a vote has its cost, and shows nothing.
        let voted: BTreeSet<&str> = verdicts.iter().map(|verdict| verdict.question.as_str()).collect();
        let n_asked = asked.len();
        asked.retain(|question| voted.contains(question.id.as_str()));
        system1.answers.retain(|direct| voted.contains(direct.question.as_str()));
        equivalences.retain(|judgement| voted.contains(judgement.question.as_str()));
        let unseen = n_asked - asked.len();
        let (samples, made): (Vec<Sample>, Vec<Vec<(Prompt, u64)>>) =
            samples.into_iter().zip(made).filter(|(s, _)| voted.contains(s.question.as_str())).unzip();
        let (prompts, seeds): (Vec<Vec<Prompt>>, Vec<Vec<u64>>) =
            made.into_iter().map(|calls| calls.into_iter().unzip()).unzip();

        let evidence = Evidence {
            task: self.task,
            questions: &asked,
            samples: &samples,
            prompts: &prompts,
            verdicts: &verdicts,
            equivalences: &equivalences,
            system1: &system1.answers,
            template: facts,
        };
        let found = findings(&evidence);
        let accuracy = self.accuracy(&asked, &system1, &samples, &verdicts);
        let speed = speed(&cost, if unseen > 0 { unused_tokens } else { 0.0 });
        let expected = self.expected(&asked, &samples, &equivalences, speed);

        let place: BTreeMap<&str, usize> =
            asked.iter().enumerate().map(|(at, question)| (question.id.as_str(), at)).collect();
        let answered = asked.iter().zip(system1.answers).zip(verdicts);
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
        speed: f64,
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
        Expected::of(&self.task.vote, self.questions.len(), &seen, speed, self.seed)
    }

    /// The tokens of a sample whose last step ends with its answer, estimated from where in the text that
    /// is.
    fn tokens_until_answer(&self, sample: &Sample) -> f64 {
        let tokens: usize = sample.steps.iter().map(|step| step.generated_tokens).sum();
        let Some(last) = sample.steps.last().filter(|last| !last.text.is_empty()) else {
            return tokens as f64;
        };
        let share = self.task.reasoned_until_answer(&last.text).len() as f64 / last.text.len() as f64;
        tokens as f64 - last.generated_tokens as f64 * (1.0 - share)
    }
}

/// The tokens of a preview that was stopped that are of no sample: those of finished calls, and half of what
/// a call has for each that was under way. 0 where none was.
fn unused_tokens(seeds: &[Vec<u64>], calls: &BTreeMap<u64, TimedCall>, unfinished: usize) -> f64 {
    if unfinished == 0 || calls.is_empty() {
        return 0.0;
    }
    let used: BTreeSet<u64> = seeds.iter().flatten().copied().collect();
    let all: usize = calls.values().map(|call| call.generated_tokens).sum();
    let unused = calls.iter().filter(|(seed, _)| !used.contains(seed));
    let unused: usize = unused.map(|(_, call)| call.generated_tokens).sum();
    unused as f64 + 0.5 * unfinished as f64 * all as f64 / calls.len() as f64
}

/// Tokens a second of System 2; its cost has all seconds, and not the unused tokens.
fn speed(cost: &Cost, unused_tokens: f64) -> f64 {
    let tokens: usize = cost.steps.iter().map(|step| step.generated_tokens).sum();
    let seconds: f64 = cost.steps.iter().map(|step| step.seconds).sum();
    if seconds > 0.0 { (tokens as f64 + unused_tokens) / seconds } else { 0.0 }
}

fn too_few_minutes(passed: Duration) -> Error {
    let seconds = passed.as_secs_f64();
    let what = format!("no question was through after {seconds:.0} s; expected time for one or more");
    Error::field("minutes", format!("{what}: give more, or ask for fewer questions or samples"))
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
    /// Number of calls that were under way at the end.
    unfinished: usize,
    /// Seconds of System 2, and of everything.
    seconds: [f64; 2],
}

/// Collects what curation finds.
struct PreviewObserver<'a> {
    progress: &'a dyn Progress,
    questions: usize,
    /// Number of samples of a question, with those of its perturbations.
    samples_each: usize,
    samples: Vec<Sample>,
    equivalences: Vec<EquivalenceRecord>,
    verdicts: Vec<Verdict>,
}

impl PreviewObserver<'_> {
    /// Whether a question was voted on.
    fn has_votes(&self) -> bool {
        self.verdicts.iter().any(|verdict| verdict.set_aside.is_none())
    }

    fn tell(&self) {
        let set_aside = self.verdicts.iter().filter(|verdict| verdict.set_aside.is_some()).count();
        self.progress.update(&Update {
            stage: Stage::Preview,
            done: self.samples.len() as u64,
            total: ((self.questions - set_aside) * self.samples_each) as u64,
            note: format!("samples; {} of {} questions", self.verdicts.len(), self.questions),
        });
    }
}

impl Observer for PreviewObserver<'_> {
    fn sample(&mut self, sample: &Sample) -> Result<()> {
        self.samples.push(sample.clone());
        self.tell();
        Ok(())
    }

    fn equivalence(&mut self, judgement: &EquivalenceRecord) -> Result<()> {
        self.equivalences.push(judgement.clone());
        Ok(())
    }

    fn verdict(&mut self, verdict: &Verdict) -> Result<()> {
        self.verdicts.push(verdict.clone());
        self.tell();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_stopped_look_did_not_use_counts_for_its_speed() {
        let call = |generated_tokens| TimedCall { seconds: 1.0, finish: Finish::Length, generated_tokens };
        let calls = BTreeMap::from([(1, call(20)), (2, call(30)), (3, call(10))]);
        assert_eq!(unused_tokens(&[vec![1], vec![2]], &calls, 0), 0.0);
        assert_eq!(unused_tokens(&[vec![1], vec![2]], &calls, 4), 10.0 + 4.0 * 0.5 * 20.0);
        assert_eq!(unused_tokens(&[], &BTreeMap::new(), 4), 0.0);
        let step = StepCost { generated_tokens: 50, seconds: 10.0, ..StepCost::default() };
        let cost = Cost { steps: vec![step], ..Cost::default() };
        assert_eq!((speed(&cost, 0.0), speed(&cost, 50.0)), (5.0, 10.0));
        assert_eq!(speed(&Cost::default(), 50.0), 0.0);
    }

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
