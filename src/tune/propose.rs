//! Candidates that the model itself writes, after the first rounds have shown where samples disagree.

use std::collections::BTreeMap;

use super::contestant::{Contestant, Entrant, Origin};
use super::race::Race;
use super::votes::CandidateVotes;
use crate::context::EngineCache;
use crate::curate::sample_seed;
use crate::engine::{Message, Request, Sampling, complete};
use crate::programs::{Disagreement, ProposalShape, proposal_prompt, proposed, read_proposal};
use crate::task::{Question, Task};
use crate::{Context, Result};

/// Questions that a prompt shows.
const SHOWN: usize = 3;
/// Answers of a question that are shown.
const ANSWERS: usize = 3;
/// Completions asked for each proposal that is wanted, as many are of no use.
const TRIES: usize = 3;
/// The file of the tasks that were proposed.
const FILE: &str = "proposals.json";

impl Race<'_> {
    /// Asks the model for wordings, and enters the programs that follow them. A resumed race enters the same.
    pub(super) fn enter_proposals(&mut self, base: &mut EngineCache, cx: &mut Context) -> Result<()> {
        let saved = self.sampler.dir.saved::<Proposals>(FILE)?.filter(|p| p.identity == self.state.identity);
        let proposals = match saved {
            Some(proposals) => proposals,
            None => {
                let (tasks, refused) = self.propose(base, cx)?;
                let tasks = tasks.iter().map(Task::to_json).collect();
                let proposals = Proposals { identity: self.state.identity.clone(), tasks, refused };
                self.sampler.dir.save(FILE, &proposals)?;
                proposals
            }
        };
        self.not_proposed = proposals.too_few(self.rules.propose);
        for text in proposals.tasks {
            let task = Task::from_json(&text, FILE)?;
            let name = task.name.clone();
            if self.contestants.iter().all(|c| c.entrant.name != name) {
                let entrant =
                    Entrant { family: name.clone(), base: None, name, origin: Origin::Proposed, task };
                self.contestants.push(Contestant::open(entrant, &self.sampler, self.questions)?);
            }
        }
        Ok(())
    }

    /// The tasks, and why the others are not used.
    fn propose(&self, base: &mut EngineCache, cx: &mut Context) -> Result<(Vec<Task>, Vec<String>)> {
        let shown = self.disagreements();
        let shape = |at: usize| [ProposalShape::Reason, ProposalShape::Rewrite][at % 2];
        let cases = |at: usize| -> Vec<Disagreement> {
            // Other questions for each, so that the wordings differ.
            let first = (at * SHOWN) % shown.len().max(1);
            shown.iter().cycle().skip(first).take(SHOWN.min(shown.len())).cloned().collect()
        };
        let requests: Vec<Request> = (0..self.rules.propose * TRIES)
            .map(|at| Request {
                id: at as u64,
                messages: vec![Message::user(proposal_prompt(self.brief, &cases(at), shape(at)))],
                thinking: false,
                sampling: Sampling { temperature: 0.9, max_tokens: 96, ..Sampling::default() },
                seed: sample_seed(self.sampler.seed, "proposal", at, 0),
            })
            .collect();
        let engine = base.engine(cx, None, &self.sampler.engine_options)?;
        let completions = complete(engine, requests, self.sampler.cancel)?;
        let (mut known, mut tasks, mut refused) = (Vec::new(), Vec::new(), Vec::new());
        for (at, completion) in completions.iter().enumerate() {
            match read_proposal(&completion.text, self.brief, &cases(at), &known) {
                Err(why) => {
                    log::debug!("proposal {at} is not used: {why}");
                    refused.push(why.to_string());
                }
                Ok(instruction) => {
                    let programs = proposed(&instruction, shape(at), known.len() + 1, self.brief)?;
                    tasks.extend(programs.into_iter().next().map(|program| program.task));
                    known.push(instruction);
                }
            }
            if tasks.len() == self.rules.propose {
                break;
            }
        }
        let rule = &self.brief.answer;
        Ok((tasks.into_iter().map(|task| Task { answer: rule.clone(), ..task }).collect(), refused))
    }

    /// The questions on which the candidates' samples disagree most, with the answers.
    fn disagreements(&self) -> Vec<Disagreement<'_>> {
        let votes: Vec<CandidateVotes> = self.votes();
        let mut found: Vec<(f64, Disagreement)> = self
            .questions
            .iter()
            .filter_map(|question: &Question| {
                let mut counts = BTreeMap::<&str, (String, usize)>::new();
                let on = votes.iter().filter(|v| !v.is_direct()).filter_map(|v| v.on(&question.id));
                for answer in on.flat_map(|votes| &votes.answers) {
                    counts.entry(&answer.key).or_insert((answer.text.clone(), 0)).1 += answer.votes;
                }
                let mut answers: Vec<(String, usize)> = counts.into_values().collect();
                answers.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
                let total: usize = answers.iter().map(|(_, n)| n).sum();
                let share = answers.first()?.1 as f64 / total as f64;
                answers.truncate(ANSWERS);
                Some((share, Disagreement { question, answers }))
            })
            .collect();
        found.sort_by(|a, b| a.0.total_cmp(&b.0));
        found.into_iter().map(|(_, disagreement)| disagreement).collect()
    }
}

/// `proposals.json`.
#[derive(serde::Serialize, serde::Deserialize)]
struct Proposals {
    /// Of the race.
    identity: String,
    /// Tasks as JSON.
    tasks: Vec<String>,
    /// Why the other completions are not used.
    #[serde(default)]
    refused: Vec<String>,
}

impl Proposals {
    /// That there are fewer than `wanted`, and the most common reason.
    fn too_few(&self, wanted: usize) -> Option<String> {
        let mut counts = BTreeMap::<&str, usize>::new();
        for why in &self.refused {
            *counts.entry(why).or_default() += 1;
        }
        let most = counts.into_iter().max_by_key(|(_, n)| *n);
        let why = most.map_or(String::new(), |(why, n)| {
            format!(": of {n} of {} that are not used, {why}", self.refused.len())
        });
        let n = self.tasks.len();
        (n < wanted)
            .then(|| format!("The model wrote {n} of the {wanted} wordings that it was asked for{why}."))
    }
}
