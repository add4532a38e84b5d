//! The properties of a finished run that hold whatever the model writes: everything in the run directory
//! is computed again from the journals, the questions and the model's tokenizer.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use secondnature::curate::{Sample, messages};
use secondnature::distill::read_examples;
use secondnature::engine::{Decoder, Finish, Llama, LlamaOptions, Token};
use secondnature::evaluate::DirectAnswers;
use secondnature::report::Report;
use secondnature::task::{Answer, Output, Part, Question, Target, Task, UNPERTURBED, read_questions};
use secondnature::vote::Verdict;
use serde::de::DeserializeOwned;

/// A finished run, as read from its directory.
pub struct Finished {
    pub task: Task,
    pub questions: Vec<Question>,
    pub samples: Vec<Sample>,
    pub verdicts: Vec<Verdict>,
    pub report: Report,
    pub llama: Llama,
}

pub fn lines<T: DeserializeOwned>(path: &Path) -> Vec<T> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn whole<T: DeserializeOwned>(path: &Path) -> T {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap()
}

/// Reads the run of `model` in `out`, which was evaluated on `eval`, and checks all of it.
pub fn check(model: &Path, out: &Path, eval: &Path) -> Finished {
    let options = LlamaOptions { slots: 1, threads: Some(1), ..LlamaOptions::default() };
    let mut run = Finished {
        task: Task::load(out.join("task.json").to_str().unwrap()).unwrap(),
        questions: read_questions(&out.join("questions.jsonl")).unwrap(),
        samples: lines(&out.join("samples.jsonl")),
        verdicts: lines(&out.join("verdicts.jsonl")),
        report: whole(&out.join("report.json")),
        llama: Llama::load(model, &options).unwrap(),
    };
    let eval = read_questions(eval).unwrap();
    for sample in &run.samples {
        run.check_steps(sample, &run.questions);
    }
    run.check_verdicts();
    run.check_examples(out);
    run.check_evaluation(&eval, out);
    run.check_adapter(out);
    run
}

impl Finished {
    /// Checks that each step of the program has run, once or once for each item, and that its prompt
    /// contained the outputs of earlier steps.
    fn check_steps(&self, sample: &Sample, questions: &[Question]) {
        let question = questions.iter().find(|q| q.id == sample.question).unwrap();
        let question = self.asked(question, &sample.perturbation);
        let mut records = sample.steps.iter().peekable();
        let mut outputs: Vec<(String, Output)> = Vec::new();
        let mut is_whole = true;
        for step in &self.task.system2 {
            let items = match &step.for_each {
                None => vec![None],
                Some(list) => {
                    let list = sample.steps.iter().find(|record| record.name == *list).unwrap();
                    step.items.split(&list.text).into_iter().map(Some).collect()
                }
            };
            if items.is_empty() {
                is_whole = false;
                break;
            }
            let mut parts = Vec::new();
            for item in items {
                let record = records.next().unwrap_or_else(|| panic!("no {:?} in {sample:?}", step.name));
                assert_eq!((&record.name, &record.item), (&step.name, &item));
                let mut seen = outputs.clone();
                seen.extend(item.clone().map(|item| ("item".to_string(), Output::Text(item))));
                let prompt = messages(step, &question, &seen).unwrap();
                let prompt = self.llama.prompt(&prompt, step.thinking).unwrap();
                assert_eq!(record.prompt_tokens, prompt.len(), "{:?} of {sample:?}", step.name);
                assert!((1..=step.max_tokens).contains(&record.generated_tokens), "{record:?}");
                parts.push(Part { item: item.unwrap_or_default(), output: record.text.clone() });
            }
            let output = match &step.for_each {
                Some(_) => Output::Parts(parts),
                None => Output::Text(parts.remove(0).output),
            };
            outputs.push((step.name.clone(), output));
        }
        assert!(records.peek().is_none(), "steps that the program does not have: {sample:?}");
        let last = sample.steps.last().unwrap();
        let is_cut = sample.finish == Finish::Length;
        let cut_thought =
            self.task.system2.last().unwrap().thinking && is_cut && !last.text.contains("</think>");
        let answer =
            if is_whole && !cut_thought { self.task.read_reasoned(&last.text, is_cut) } else { None };
        assert_eq!(sample.answer, answer, "{sample:?}");
    }

    /// The question as the named perturbation asks it.
    fn asked(&self, question: &Question, name: &str) -> Question {
        match self.task.perturbations.iter().find(|p| p.name == name) {
            Some(perturbation) => perturbation.asked(question).unwrap(),
            None => {
                assert_eq!(name, UNPERTURBED);
                question.clone()
            }
        }
    }

    /// Checks that every question has a verdict, and that it follows from the samples.
    fn check_verdicts(&self) {
        let ids = |verdicts: &[Verdict]| verdicts.iter().map(|v| v.question.clone()).collect::<Vec<_>>();
        let asked: Vec<String> = self.questions.iter().map(|q| q.id.clone()).collect();
        assert_eq!(ids(&self.verdicts), asked);
        for verdict in &self.verdicts {
            let own = self.vote(verdict, UNPERTURBED, verdict.n);
            assert_eq!(own.votes, verdict.votes, "{verdict:?}");
            let mut kept = own.kept;
            if !self.task.perturbations.is_empty() {
                assert_eq!(verdict.variants[0].perturbation, UNPERTURBED);
                kept &= verdict.variants.len() == self.task.perturbations.len() + 1;
                for variant in &verdict.variants {
                    let vote = self.vote(verdict, &variant.perturbation, variant.n);
                    assert_eq!((vote.votes, vote.kept), (variant.votes, variant.kept), "{verdict:?}");
                    kept &= vote.kept && vote.key == own.key;
                }
            }
            assert_eq!(verdict.kept, kept, "{verdict:?}");
            if kept {
                assert_eq!(verdict.answer.as_ref().map(|a| &a.key), own.key.as_ref(), "{verdict:?}");
            }
        }
        let curation = self.report.curation.as_ref().unwrap();
        let kept = self.verdicts.iter().filter(|v| v.kept).count();
        assert_eq!((curation.questions, curation.kept), (self.questions.len(), kept));
        assert!(
            kept > 0,
            "no question was accepted, so the checks below would test nothing: {:?}",
            self.verdicts
        );
    }

    /// The vote of the first `n` samples of one variant.
    fn vote(&self, verdict: &Verdict, name: &str, n: usize) -> Vote {
        let of_variant = |s: &&Sample| s.question == verdict.question && s.perturbation == name;
        let by_index: BTreeMap<usize, &Sample> =
            self.samples.iter().filter(of_variant).map(|s| (s.index, s)).collect();
        let perturbation = self.task.perturbations.iter().find(|p| p.name == name);
        let mut counts = HashMap::<String, usize>::new();
        for index in 0..n {
            let answer: Option<&Answer> = by_index[&index].answer.as_ref();
            let key = answer.map(|a| perturbation.map_or(a.key.clone(), |p| p.meaning(a).key));
            key.into_iter().for_each(|key| *counts.entry(key).or_default() += 1);
        }
        let votes = counts.values().copied().max().unwrap_or(0);
        let leaders: Vec<&String> = counts.iter().filter(|(_, n)| **n == votes).map(|(key, _)| key).collect();
        let enough = votes as f32 >= self.task.vote.threshold * n as f32 - 1e-4;
        Vote {
            votes,
            kept: leaders.len() == 1 && enough,
            key: (leaders.len() == 1).then(|| leaders[0].clone()),
        }
    }

    /// Checks the training examples: the direct prompt and the voted answer of every accepted question, and
    /// of its perturbations with "distill", and nothing else.
    fn check_examples(&self, out: &Path) {
        let mut expected: Vec<(Vec<Token>, Vec<Token>)> = Vec::new();
        for (question, verdict) in self.questions.iter().zip(&self.verdicts).filter(|(_, v)| v.kept) {
            let answer = verdict.answer.as_ref().unwrap();
            expected.push(self.example(question, answer, verdict.completion.as_deref()));
            for perturbation in self.task.perturbations.iter().filter(|p| p.distill) {
                let Some(answer) = perturbation.wording(answer) else { continue };
                let variant = verdict.variants.iter().find(|v| v.perturbation == perturbation.name).unwrap();
                let asked = perturbation.asked(question).unwrap();
                expected.push(self.example(&asked, &answer, variant.completion.as_deref()));
            }
        }
        let found = read_examples(&out.join("train/examples.jsonl")).unwrap();
        let found: Vec<_> = found.into_iter().map(|e| (e.prompt, e.target)).collect();
        assert_eq!(found, expected);
        let training = self.report.training.as_ref().unwrap();
        assert_eq!((training.examples, training.held_out), (found.len(), 0));
        assert!(training.steps >= 1 && training.loss_first.is_finite(), "{training:?}");
    }

    fn example(
        &self,
        question: &Question,
        answer: &Answer,
        completion: Option<&str>,
    ) -> (Vec<Token>, Vec<Token>) {
        let text = match self.task.target {
            Target::Completion => completion.unwrap().trim().to_string(),
            _ => self.task.answer.target(answer),
        };
        let mut target = self.llama.tokenize(&text, false).unwrap();
        target.push(self.llama.end_of_turn().unwrap().unwrap());
        (self.direct_prompt(question), target)
    }

    fn direct_prompt(&self, question: &Question) -> Vec<Token> {
        let messages = messages(&self.task.system1, question, &[]).unwrap();
        self.llama.prompt(&messages, self.task.system1.thinking).unwrap()
    }

    /// Checks that System 1, System 2 and the distilled model were measured, and the scores of their
    /// answers.
    fn check_evaluation(&self, eval: &[Question], out: &Path) {
        let found = self.report.evaluation.as_ref().unwrap();
        assert_eq!((found.n, found.against.as_str()), (eval.len(), "gold"));
        let systems = [("system1", &found.system1), ("distilled", &found.distilled)];
        let asked = systems.map(|(name, measured)| {
            let asked: DirectAnswers = whole(&out.join(format!("evaluation/{name}.json")));
            assert_eq!(asked.answers.len(), eval.len());
            let mut right = 0;
            for (question, direct) in eval.iter().zip(&asked.answers) {
                assert_eq!(direct.question, question.id);
                let read = [false, true].map(|is_cut| self.task.read_direct(&direct.text, is_cut));
                let may_be_cut = direct.generated_tokens == self.task.system1.max_tokens;
                assert!(direct.answer == read[0] || (may_be_cut && direct.answer == read[1]), "{direct:?}");
                assert_eq!(direct.prompt_tokens, self.direct_prompt(question).len());
                let is_right = |a: &Answer| self.task.answer.is_correct(a, &question.gold);
                right += usize::from(direct.answer.as_ref().is_some_and(is_right));
            }
            assert_eq!(measured.accuracy, right as f64 / eval.len() as f64, "{name}");
            assert!(measured.tokens_per_answer >= 1.0, "{name}");
            asked
        });
        let slow: Vec<Sample> = lines(&out.join("evaluation/system2.jsonl"));
        for sample in &slow {
            self.check_steps(sample, eval);
        }
        for question in eval {
            assert!(slow.iter().any(|s| s.question == question.id), "{} was not reasoned about", question.id);
        }
        let samples = found.system2.samples_per_question.unwrap();
        assert!(samples >= 1.0 && samples <= self.task.vote.samples as f64, "{samples}");
        assert!(found.system2.tokens_per_sample.unwrap() >= 1.0);

        let names: Vec<&String> = found.inconsistent.iter().map(|i| &i.perturbation).collect();
        assert_eq!(names, self.task.perturbations.iter().map(|p| &p.name).collect::<Vec<_>>());
        for shares in &found.inconsistent {
            for (asked, share) in asked.iter().zip([shares.system1, shares.distilled]) {
                let perturbed =
                    asked.perturbed.iter().find(|p| p.perturbation == shares.perturbation).unwrap();
                let key = |answer: &Option<Answer>| answer.as_ref().map(|a| a.key.clone());
                let pairs = asked.answers.iter().zip(&perturbed.answers);
                let changed = pairs.filter(|(own, other)| key(&own.answer) != key(&other.answer)).count();
                assert_eq!(share, changed as f64 / eval.len() as f64, "{shares:?}");
            }
            assert!((0.0..=1.0).contains(&shares.system2), "{shares:?}");
        }
    }

    /// Checks that the run compared the adapter in llama.cpp with the trainer's, that llama.cpp loads it,
    /// and that it changes the logits.
    fn check_adapter(&mut self, out: &Path) {
        let facts = self.report.adapter.as_ref().unwrap();
        // llama.cpp rounds activations to 8 bits. With few rows of a small model that is a noticeable
        // difference; the adapter must not add more than the difference of the base model alone.
        let (base, with) = (facts.parity_base_relative_rms, facts.parity_relative_rms);
        assert!(
            base > 0.0 && with <= 2.0 * base + 2e-3 && facts.parity_max_abs_diff.is_finite(),
            "{facts:?}"
        );
        println!("{}: {base:.4} without the adapter, {with:.4} with", out.display());
        let prompt = self.direct_prompt(&self.questions[0]);
        let plain = self.llama.logits_for(&prompt).unwrap();
        self.llama.set_adapter(Some(&out.join("adapter.gguf"))).unwrap();
        assert!(plain != self.llama.logits_for(&prompt).unwrap(), "the adapter does nothing");
        self.llama.set_adapter(None).unwrap();
    }
}

struct Vote {
    votes: usize,
    kept: bool,
    key: Option<String>,
}
