//! Progress for a person: bars on a terminal, now and then a line elsewhere.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use secondnature::preview::Finding;
use secondnature::{Progress, Silent, Stage, Update};

use super::output;

/// How progress is shown: not at all, in place on a terminal, as lines in a log.
pub fn new(quiet: bool) -> Box<dyn Progress> {
    if quiet {
        Box::new(Silent)
    } else if std::io::stderr().is_terminal() {
        Box::new(ProgressBars::default())
    } else {
        Box::new(ProgressLines::default())
    }
}

fn name(stage: Stage) -> &'static str {
    match stage {
        Stage::Load => "load",
        Stage::Preview => "preview",
        Stage::Tune => "tune",
        Stage::Curate => "curate",
        Stage::Train => "train",
        Stage::Export => "export",
        Stage::Evaluate => "evaluate",
    }
}

/// A bar per stage, the finished ones left standing above.
#[derive(Default)]
struct ProgressBars(Mutex<Option<(Stage, ProgressBar)>>);

impl Progress for ProgressBars {
    fn update(&self, update: &Update) {
        let Ok(mut current) = self.0.lock() else { return };
        if !matches!(&*current, Some((stage, _)) if *stage == update.stage) {
            if let Some((_, bar)) = current.take() {
                bar.abandon();
            }
            *current = Some((update.stage, bar(update.stage)));
        }
        if let Some((_, bar)) = &*current {
            if update.total > 0 {
                bar.set_length(update.total);
                bar.set_style(style("{prefix:>9} {bar:24} {pos}/{len} {elapsed} {wide_msg}"));
            }
            bar.set_position(update.done);
            bar.set_message(update.note.clone());
        }
    }

    fn finding(&self, _: Stage, finding: &Finding) {
        let Ok(current) = self.0.lock() else { return };
        let print = || output::eprint_line(&warning(finding));
        match &*current {
            Some((_, bar)) => bar.suspend(print),
            None => print(),
        }
    }
}

impl Drop for ProgressBars {
    /// Leaves the last bar as it stands, so that what follows begins on a line of its own.
    fn drop(&mut self) {
        if let Ok(Some((_, bar))) = self.0.get_mut().map(Option::take) {
            bar.abandon();
        }
    }
}

fn bar(stage: Stage) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    bar.set_style(style("{prefix:>9} {spinner} {elapsed} {wide_msg}"));
    bar.set_prefix(name(stage));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// A log is read later: a line every few seconds is enough, fewer when it takes long, and none for
/// what is over sooner.
struct ProgressLines {
    begin: Instant,
    last: Mutex<Instant>,
}

const MIN_BETWEEN_LINES: Duration = Duration::from_secs(5);

impl Default for ProgressLines {
    fn default() -> Self {
        ProgressLines { begin: Instant::now(), last: Mutex::new(Instant::now()) }
    }
}

impl Progress for ProgressLines {
    fn update(&self, update: &Update) {
        let Ok(mut last) = self.last.lock() else { return };
        if last.elapsed() >= MIN_BETWEEN_LINES.max(self.begin.elapsed() / 20) {
            *last = Instant::now();
            output::eprint_line(&line(update));
        }
    }

    fn finding(&self, _: Stage, finding: &Finding) {
        output::eprint_line(&warning(finding));
    }
}

/// What is wrong, and what to change.
fn warning(finding: &Finding) -> String {
    let kind = if finding.fault { "warning" } else { "note" };
    format!("{kind}: {}; {}", finding.message, finding.advice)
}

fn line(update: &Update) -> String {
    let Update { stage, done, total, note } = update;
    let count = if *total > 0 { format!(" {done}/{total}") } else { String::new() };
    let note = if note.is_empty() { String::new() } else { format!(" {note}") };
    format!("{}{count}{note}", name(*stage))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_leaves_out_what_is_unknown() {
        let update = Update { stage: Stage::Curate, done: 3, total: 10, note: "2 kept".into() };
        assert_eq!(line(&update), "curate 3/10 2 kept");
        assert_eq!(line(&Update { total: 0, note: String::new(), ..update }), "curate");
    }
}
