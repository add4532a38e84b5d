//! A preview as text for a terminal.

use std::fmt::Write;

use super::look::span_of;
use super::{Finding, Preview, Prompt, ShownQuestion, ShownSample, ShownStep};
use crate::curate::ReadFrom;
use crate::engine::Role;
use crate::task::UNPERTURBED;

/// Longer texts are shortened to this number of characters, unless everything is wanted.
const SHORT: usize = 240;
/// Less room than this for a text makes it unreadable.
const MIN_TEXT_WIDTH: usize = 24;

/// The preview as text in lines of `width` columns. Long texts are shortened and followed by their length;
/// `full` shows them whole, and the prompts of every sample in place of those of the first.
pub fn terminal(preview: &Preview, width: usize, full: bool) -> String {
    let mut page = TextPage { out: String::new(), width, full };
    page.head(preview);
    page.findings(&preview.findings);
    for (at, question) in preview.shown.iter().enumerate() {
        page.question(question, at == 0);
    }
    // Of a model that cannot be asked there is nothing to add up.
    if !preview.shown.is_empty() {
        page.cost(preview);
    }
    page.out
}

struct TextPage {
    out: String,
    width: usize,
    full: bool,
}

impl TextPage {
    fn head(&mut self, preview: &Preview) {
        let model = preview.model.rsplit(['/', '\\']).next().unwrap_or_default();
        let Preview { task, questions, samples, kept, shown, .. } = preview;
        let n = shown.len();
        let head = format!(
            "{model} · task {task} · {n} of {questions} questions, {samples} samples each · {kept} accepted"
        );
        self.paragraph("", &head);
        if preview.unseen > 0 {
            let text = format!(
                "stopped before {} further questions; the findings are of what was seen",
                preview.unseen
            );
            self.paragraph("", &text);
        }
        if let Some(right) = &preview.accuracy {
            let percent = |share: f64| format!("{:.0}%", 100.0 * share);
            let text = format!(
                "right: System 1 {}, samples {}, votes {}{}",
                percent(right.system1),
                percent(right.samples),
                percent(right.votes),
                right.accepted.map_or(String::new(), |share| format!(", accepted votes {}", percent(share)))
            );
            self.paragraph("", &text);
        }
    }

    fn findings(&mut self, findings: &[Finding]) {
        self.heading(if findings.is_empty() { "no findings" } else { "findings" });
        for finding in findings {
            let mark = match (finding.stops, finding.fault) {
                (true, _) => "!!",
                (_, true) => "! ",
                _ => "i ",
            };
            let stops = if finding.stops { " (curation would stop here)" } else { "" };
            self.paragraph(&format!("{mark} "), &format!("{}{stops}", finding.kind.name()));
            self.paragraph("   ", &finding.message);
            self.paragraph("   → ", &finding.advice);
        }
    }

    fn question(&mut self, question: &ShownQuestion, is_first: bool) {
        self.heading(&format!("question {}", question.id));
        let name_width = question.fields.keys().map(|name| name.len()).max().unwrap_or(0).clamp(8, 20);
        for (name, text) in &question.fields {
            self.text(&format!("{name:<name_width$}  "), text);
        }
        if !question.gold.is_empty() {
            self.text(&format!("{:<name_width$}  ", "gold"), &question.gold.join(" / "));
        }
        let verdict = &question.verdict;
        let answer = verdict.answer.as_ref().map_or("no answer", |answer| answer.text.as_str());
        let fate = if verdict.kept { "accepted" } else { "rejected" };
        self.text(&format!("{:<name_width$}  ", "vote"), &format!("{answer} · {fate}: {}", verdict.reason));
        let direct = &question.system1;
        let read = match &direct.answer {
            Some(answer) => marked(&direct.text, span_of(&direct.text, answer), &answer.text),
            None => format!("{} → not read", direct.text.trim()),
        };
        self.text(&format!("{:<name_width$}  ", "system 1"), &read);
        if is_first || self.full {
            self.prompt("system1", &question.system1_prompt, is_first);
        }
        for (at, sample) in question.samples.iter().enumerate() {
            self.sample(sample, is_first && at == 0);
        }
    }

    /// `is_first`: what the template makes of the prompts is shown of one sample.
    fn sample(&mut self, sample: &ShownSample, is_first: bool) {
        let variant = match sample.perturbation.as_str() {
            UNPERTURBED => String::new(),
            name => format!(" under {name}"),
        };
        let from = match sample.read_from {
            ReadFrom::Completion => "",
            ReadFrom::Closing => ", read from the closing turn",
        };
        self.paragraph("", &format!("sample {}{variant}{from}", sample.index));
        let name = |step: &ShownStep| match &step.item {
            Some(item) => format!("{} [{}]", step.name, shortened(item, 24)),
            None => step.name.clone(),
        };
        let widest = sample.steps.iter().map(|step| name(step).chars().count()).max().unwrap_or(0);
        let widest = widest.min(30);
        let last = sample.steps.len().saturating_sub(1);
        for (at, step) in sample.steps.iter().enumerate() {
            let is_first_call = sample.steps[..at].iter().all(|earlier| earlier.name != step.name);
            if self.full || (is_first && is_first_call) {
                self.prompt(&step.name, &step.prompt, is_first);
            }
            let mut output = match (&sample.answer, sample.span) {
                (Some(answer), span) if at == last => marked(&step.output, span, &answer.text),
                (None, _) if at == last => format!("{} → not read", step.output.trim()),
                _ => step.output.trim().to_string(),
            };
            if step.is_cut {
                output += " ✂ max_tokens";
            }
            self.text(&format!("  {:<widest$}  ", name(step)), &output);
        }
    }

    /// The messages, and what the model's template makes of them if `as_rendered`.
    fn prompt(&mut self, step: &str, prompt: &Prompt, as_rendered: bool) {
        for message in &prompt.messages {
            let role = match message.role {
                Role::System => "system",
                Role::User => "user",
                Role::Assistant => "assistant",
            };
            self.text(&format!("    {step} ‹ {role}: "), &message.content);
        }
        if let Some(rendered) = prompt.rendered.as_ref().filter(|_| as_rendered) {
            self.text(&format!("    {step} ‹ as rendered: "), rendered);
        }
    }

    fn cost(&mut self, preview: &Preview) {
        self.heading("cost");
        let cost = &preview.cost;
        let _ = writeln!(
            self.out,
            "{:<20}{:>7}{:>16}{:>12}{:>10}{:>9}",
            "step", "calls", "prompt tokens", "tokens", "per call", "seconds"
        );
        for step in std::iter::once(&cost.system1).chain(&cost.steps) {
            let _ = writeln!(
                self.out,
                "{:<20}{:>7}{:>16}{:>12}{:>10.1}{:>9.1}",
                shortened(&step.name, 19),
                step.calls,
                step.prompt_tokens,
                step.generated_tokens,
                step.generated_tokens as f64 / step.calls.max(1) as f64,
                step.seconds
            );
        }
        let expected = &preview.expected;
        let text = format!(
            "curation of all {} questions: about {} ({:.1} samples a question, {:.0} thousand tokens), with early \
             stopping and at this speed",
            expected.questions,
            duration(expected.hours),
            expected.samples_per_question,
            expected.generated_tokens / 1000.0
        );
        self.paragraph("", &text);
    }

    fn heading(&mut self, text: &str) {
        let text = printable(text);
        let rule = "─".repeat(self.width.saturating_sub(text.chars().count() + 4).min(100));
        let _ = writeln!(self.out, "\n── {text} {rule}");
    }

    /// A text of the model or the user after a label, in one paragraph, shortened if need be.
    fn text(&mut self, label: &str, text: &str) {
        let lines: Vec<&str> = text.trim().lines().map(str::trim_end).collect();
        let line = lines.join(" ⏎ ");
        let shown = if self.full { line } else { shortened_with_length(&line, SHORT) };
        self.paragraph(label, &shown);
    }

    /// `text` after a label, folded between words, with the lines below the text.
    fn paragraph(&mut self, label: &str, text: &str) {
        let (label, text) = (&*printable(label), &*printable(text));
        let indent = label.chars().count();
        let (mut line, indent) = match indent + MIN_TEXT_WIDTH > self.width {
            true => {
                let _ = writeln!(self.out, "{}", label.trim_end());
                ("    ".to_string(), 4)
            }
            false => (label.to_string(), indent),
        };
        let mut room = self.width.saturating_sub(indent);
        let mut is_empty = true;
        for word in
            text.split(' ').flat_map(|word| pieces(word, self.width.saturating_sub(indent + 1).max(8)))
        {
            let needed = word.chars().count() + usize::from(!is_empty);
            if needed > room && !is_empty {
                let _ = writeln!(self.out, "{}", line.trim_end());
                line = " ".repeat(indent);
                room = self.width.saturating_sub(indent);
                is_empty = true;
            }
            if !is_empty {
                line.push(' ');
            }
            line += word;
            room = room.saturating_sub(word.chars().count() + usize::from(!is_empty));
            is_empty = false;
        }
        let _ = writeln!(self.out, "{}", line.trim_end());
    }
}

/// `word` in pieces of at most `width` characters: texts without spaces are folded as well.
fn pieces(word: &str, width: usize) -> impl Iterator<Item = &str> {
    let mut rest = Some(word);
    std::iter::from_fn(move || {
        let now = rest.take()?;
        match now.char_indices().nth(width) {
            Some((end, _)) => {
                rest = Some(&now[end..]);
                Some(&now[..end])
            }
            None => Some(now),
        }
    })
}

/// `text` without control characters, which must not reach a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '·' } else { c }).collect()
}

/// `text` with the answer that was read in «», or behind it where it is written in another way.
fn marked(text: &str, span: Option<(usize, usize)>, answer: &str) -> String {
    match span {
        Some((from, to)) => {
            let (before, read, after) = (&text[..from], &text[from..to], &text[to..]);
            format!("{}«{read}»{}", before.trim_start(), after.trim_end())
        }
        None => format!("{} → «{answer}»", text.trim()),
    }
}

fn shortened(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        None => text.to_string(),
        Some(_) => {
            let end = text.char_indices().nth(max.saturating_sub(1)).map_or(0, |(at, _)| at);
            format!("{}…", &text[..end])
        }
    }
}

/// The beginning and the end of a text, since questions begin with what they are about and prompts end
/// with what they ask.
fn shortened_with_length(text: &str, max: usize) -> String {
    let length = text.chars().count();
    if length <= max {
        return text.to_string();
    }
    let at = |n: usize| text.char_indices().nth(n).map_or(text.len(), |(at, _)| at);
    let (begin, end) = (&text[..at(max * 2 / 3)], &text[at(length - max / 3)..]);
    format!("{} […{length} characters…] {}", begin.trim_end(), end.trim_start())
}

/// Hours in words.
fn duration(hours: f64) -> String {
    let seconds = hours * 3600.0;
    match seconds {
        s if s < 90.0 => format!("{:.0} s", s.ceil()),
        s if s < 5400.0 => format!("{:.0} min", (s / 60.0).ceil()),
        _ => format!("{hours:.1} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(width: usize) -> TextPage {
        TextPage { out: String::new(), width, full: false }
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_and_no_control_character_is_left() {
        for width in [20, 40, 80, 120] {
            let mut page = page(width);
            page.text("label  ", &"words and more words ".repeat(30));
            page.text("label  ", &"x".repeat(500));
            page.heading("question a\u{1b}[31m\u{7}\r");
            page.text("    a very long label ‹ as rendered: ", "a\u{1b}[31m\tb\nc");
            for line in page.out.lines() {
                assert!(line.chars().count() <= width.max(37), "{width}: {line}");
                assert!(!line.chars().any(char::is_control), "{line:?}");
            }
            assert!(page.out.contains('⏎'));
        }
    }

    #[test]
    fn a_long_text_keeps_its_ends_and_tells_its_length() {
        let text = format!("begin {} end", "x".repeat(5000));
        let short = shortened_with_length(&text, 240);
        assert!(short.starts_with("begin ") && short.ends_with(" end"));
        assert!(short.contains("[…5010 characters…]") && short.chars().count() < 280, "{short}");
        assert_eq!(shortened_with_length("short", 240), "short");
    }

    #[test]
    fn the_answer_is_marked_where_it_was_read() {
        assert_eq!(marked(" It is Peru.\n", Some((7, 11)), "Peru"), "It is «Peru».");
        assert_eq!(marked("twelve", None, "12"), "twelve → «12»");
    }

    #[test]
    fn times_are_told_in_units_a_person_would_use() {
        assert_eq!([0.001, 0.5, 3.25].map(duration), ["4 s", "30 min", "3.2 h"]);
    }
}
