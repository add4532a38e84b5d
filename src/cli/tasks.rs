//! `secondnature tasks`: the built-in tasks and the library of programs.

use anyhow::Result;
use clap::{Args, Subcommand};
use secondnature::programs::{Brief, Candidate, ReasoningMethod, direct, library, load, parse_answer_kind};
use secondnature::task::{AnswerRule, Task};

use super::output;

/// List the built-in tasks or the library of programs, or print one as JSON to start your own from.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Example:\n  secondnature tasks show coin-flip > my-task.json"
)]
pub struct TasksArgs {
    #[command(subcommand)]
    command: Option<TasksCommand>,
    /// The task to print, as `show` does.
    #[arg(hide = true)]
    name: Option<String>,
    /// Print all tasks as a JSON array.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum TasksCommand {
    /// List the built-in tasks: name, method, what they are for.
    #[command(after_help = "Example:\n  secondnature tasks list")]
    List {
        /// Print all tasks as a JSON array.
        #[arg(long)]
        json: bool,
    },
    /// List the programs of the library for your questions, in the order in which they are tried: name
    /// and first prompt. `show` prints one.
    #[command(after_help = "Example:\n  secondnature tasks programs --answer choice:yes,no --method cot")]
    Programs {
        #[command(flatten)]
        brief: BriefArgs,
        /// Only programs of this method, and more of them: plain, cot, s2a, rar-1, rar-2, bsm or thinking;
        /// may be given several times.
        #[arg(long = "method", value_name = "METHOD")]
        methods: Vec<ReasoningMethod>,
        /// The wordings of the direct question instead.
        #[arg(long, conflicts_with = "methods")]
        direct: bool,
        /// Print their tasks as a JSON array.
        #[arg(long)]
        json: bool,
    },
    /// Print a task as JSON, defaults written out, to copy and edit.
    #[command(after_help = "Examples:
  secondnature tasks show rar-2 > my-task.json
  secondnature tasks show cot.steps.sentence --answer number > my-task.json")]
    Show {
        /// A built-in task, a program of the library or a JSON file.
        name: String,
        #[command(flatten)]
        brief: BriefArgs,
    },
    /// Print how answers are read from completions: every answer rule and its fields.
    #[command(after_help = "Example:\n  secondnature tasks answers | less")]
    Answers,
    /// Print the JSON Schema of task files, for editors that complete and check them.
    #[command(after_help = "Example:\n  secondnature tasks schema > task.schema.json")]
    Schema,
}

/// What the questions are for which a program of the library is wanted. Built-in tasks and files are what
/// they are.
#[derive(Debug, Args)]
struct BriefArgs {
    /// What an answer is: text, number, date, choice:yes,no with the choices, or an answer rule as JSON.
    #[arg(long, value_name = "KIND", default_value = "text")]
    answer: String,
    /// What the questions are, in one line, which some programs tell the model.
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// What the answer is called, as in "Answer with the NOUN only", such as "name of the country".
    #[arg(long, value_name = "NOUN")]
    noun: Option<String>,
    /// The names of the questions' fields, with commas between them.
    #[arg(long, value_name = "FIELDS", value_delimiter = ',', default_value = "question")]
    fields: Vec<String>,
}

impl BriefArgs {
    fn brief(&self) -> Result<Brief> {
        Ok(Brief {
            description: self.description.clone(),
            answer: parse_answer_kind(&self.answer)?,
            noun: self.noun.clone(),
            fields: self.fields.clone(),
            ..Brief::default()
        })
    }
}

impl TasksArgs {
    pub fn run(&self) -> Result<()> {
        match (&self.command, &self.name) {
            (Some(TasksCommand::Show { name, brief }), _) => {
                output::print(&load(name, &brief.brief()?)?.to_json())
            }
            (None, Some(name)) => output::print(&load(name, &Brief::default())?.to_json()),
            (Some(TasksCommand::Programs { brief, methods, direct: only_direct, json }), _) => {
                let brief = Brief { methods: methods.clone(), ..brief.brief()? };
                programs(&if *only_direct { direct(&brief)? } else { library(&brief)? }, *only_direct, *json)
            }
            (Some(TasksCommand::Answers), _) => output::print(AnswerRule::SPECIFICATION),
            (Some(TasksCommand::Schema), _) => output::print(&Task::schema()),
            (Some(TasksCommand::List { json }), _) => list(*json),
            (None, None) => list(self.json),
        }
    }
}

/// Each program with the prompt that tells it from the others: its first or, asked directly, its only one.
fn programs(found: &[Candidate], direct: bool, json: bool) -> Result<()> {
    if json {
        return output::print_json(&found.iter().map(|program| &program.task).collect::<Vec<_>>());
    }
    let width = found.iter().map(|program| program.name.len()).max().unwrap_or(0);
    let line = |program: &Candidate| {
        let step = if direct { &program.task.system1 } else { &program.task.system2[0] };
        let prompt = step.prompt.split_whitespace().collect::<Vec<_>>().join(" ");
        format!("{:width$}  {prompt}\n", program.name)
    };
    output::print(&found.iter().map(line).collect::<String>())
}

fn list(json: bool) -> Result<()> {
    let tasks: Vec<Task> =
        Task::builtin_names().iter().map(|name| Task::load(name)).collect::<secondnature::Result<_>>()?;
    if json {
        return output::print_json(&tasks);
    }
    let width = |column: fn(&Task) -> &str| tasks.iter().map(|task| column(task).len()).max().unwrap_or(0);
    let (name, method) = (width(|task| &task.name), width(|task| &task.method));
    let line = |task: &Task| format!("{:name$}  {:method$}  {}\n", task.name, task.method, task.description);
    output::print(&tasks.iter().map(line).collect::<String>())
}
