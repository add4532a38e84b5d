//! Distills a task on a model and asks the result a question.
//!
//! Usage: distill MODEL TASK QUESTIONS EVAL OUT

use std::path::Path;

use secondnature::answer::{AnswerOptions, Answerer};
use secondnature::distill::{Options, Setup, distill};
use secondnature::task::{Task, read_questions};
use secondnature::{Context, Progress, Update};

/// Prints each report on a line of its own.
struct Printed;

impl Progress for Printed {
    fn update(&self, update: &Update) {
        eprintln!("{:?} {}/{} {}", update.stage, update.done, update.total, update.note);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [model, task, questions, eval, out] = &args[..] else {
        return Err("usage: distill MODEL TASK QUESTIONS EVAL OUT".into());
    };
    let setup = Setup {
        model: model.into(),
        task: Task::load(task)?,
        questions: read_questions(Path::new(questions))?,
        out: out.into(),
        seed: 1,
    };
    let eval = read_questions(Path::new(eval))?;
    let report = distill(&setup, &eval, &Options::default(), &mut Context::new().progress(&Printed))?;
    println!("{}", secondnature::report::table(&report));

    let adapter = Path::new(out).join("adapter.gguf");
    let options = AnswerOptions { adapter: Some(&adapter), ..AnswerOptions::new(&setup.model) };
    let mut cx = Context::new();
    let mut answerer = Answerer::load(&options, &mut cx)?;
    let answer = answerer.answer(&eval[0], &mut cx)?;
    println!("{}: {:?} by {:?}", eval[0].text(), answer.answer, answer.route);
    Ok(())
}
