//! `secondnature tasks`: the built-in tasks.

use clap::Args;
use secondnature::Result;
use secondnature::task::Task;

use super::output;

/// List the built-in tasks, or print one as JSON to start your own from.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  secondnature tasks coin-flip > my-task.json")]
pub struct Tasks {
    /// The task to print.
    name: Option<String>,
    /// Print all tasks as a JSON array.
    #[arg(long)]
    json: bool,
}

impl Tasks {
    pub fn run(&self) -> Result<()> {
        if let Some(name) = &self.name {
            return output::print(&Task::load(name)?.to_json());
        }
        let tasks: Vec<Task> =
            Task::builtin_names().iter().map(|name| Task::load(name)).collect::<Result<_>>()?;
        if self.json {
            return output::print_json(&tasks);
        }
        let lines = tasks.iter().map(|task| format!("{:<14}{}\n", task.name, task.description));
        output::print(&lines.collect::<String>())
    }
}
