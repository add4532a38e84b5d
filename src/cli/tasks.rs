//! `secondnature tasks`: the built-in tasks.

use anyhow::Result;
use clap::{Args, Subcommand};
use secondnature::task::Task;

use super::output;

/// List the built-in tasks, or print one as JSON to start your own from.
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
    /// Print a task as JSON, defaults written out, to copy and edit.
    #[command(after_help = "Example:\n  secondnature tasks show rar-2 > my-task.json")]
    Show {
        /// A built-in task or a JSON file.
        name: String,
    },
    /// Print the JSON Schema of task files, for editors that complete and check them.
    #[command(after_help = "Example:\n  secondnature tasks schema > task.schema.json")]
    Schema,
}

impl TasksArgs {
    pub fn run(&self) -> Result<()> {
        match (&self.command, &self.name) {
            (Some(TasksCommand::Show { name }), _) | (None, Some(name)) => {
                output::print(&Task::load(name)?.to_json())
            }
            (Some(TasksCommand::Schema), _) => output::print(&Task::schema()),
            (Some(TasksCommand::List { json }), _) => list(*json),
            (None, None) => list(self.json),
        }
    }
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
