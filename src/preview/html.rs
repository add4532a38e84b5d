//! A preview as an HTML page that needs no other file.
//!
//! Texts of the model and of the user are escaped, and the page holds no script.

use std::fmt::Write;

use super::look::span_of;
use super::{Finding, Preview, Prompt, ShownQuestion, ShownSample, StepCost};
use crate::curate::ReadFrom;
use crate::engine::Role;
use crate::task::UNPERTURBED;

const STYLE: &str = "
:root { color-scheme: light dark; --line: #8885; --soft: #8881; --fault: #c33; --note: #37a; --read: #fd08; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }
h1 { font-size: 1.4rem; margin-bottom: .2rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
h3 { font-size: 1rem; margin: 0 0 .4rem; } .sub { opacity: .7; margin-top: 0; }
table { border-collapse: collapse; width: 100%; margin: .6rem 0; }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem; border-top: 1px solid var(--line); }
th { font-weight: 600; min-width: 5rem; } td.n, th.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
pre { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; font: 13px/1.4 ui-monospace, monospace; }
mark { background: var(--read); color: inherit; border-radius: 3px; padding: 0 2px; }
details { margin: .4rem 0; } summary { cursor: pointer; }
.finding { border-left: 4px solid var(--note); background: var(--soft); padding: .6rem .9rem; margin: .6rem 0; }
.finding.fault { border-color: var(--fault); } .finding p { margin: .2rem 0; }
.question { border: 1px solid var(--line); border-radius: 6px; padding: .9rem; margin: 1rem 0; overflow-x: auto; }
.no { color: var(--fault); } .role { opacity: .7; font-size: .85rem; }
";

/// The preview as a page.
pub fn html(preview: &Preview) -> String {
    let mut out = String::new();
    // Writing to a text cannot fail.
    let _ = write_page(&mut out, preview);
    out
}

fn write_page(out: &mut String, preview: &Preview) -> std::fmt::Result {
    let model = preview.model.rsplit(['/', '\\']).next().unwrap_or_default();
    let title = format!("{} on {}", escaped(&preview.task), escaped(model));
    write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n\
         <p class=\"sub\">{} of {} questions, {} samples each; {} accepted",
        preview.shown.len(),
        preview.questions,
        preview.samples,
        preview.kept
    )?;
    if preview.unseen > 0 {
        write!(out, "; stopped before {} further questions", preview.unseen)?;
    }
    if let Some(right) = &preview.accuracy {
        write!(
            out,
            "; right: System 1 {:.0}%, samples {:.0}%, votes {:.0}%",
            100.0 * right.system1,
            100.0 * right.samples,
            100.0 * right.votes
        )?;
        if let Some(accepted) = right.accepted {
            write!(out, ", accepted votes {:.0}%", 100.0 * accepted)?;
        }
    }
    writeln!(out, "</p>")?;
    writeln!(out, "<h2>Findings</h2>")?;
    if preview.findings.is_empty() {
        writeln!(out, "<p>None.</p>")?;
    }
    preview.findings.iter().try_for_each(|finding| write_finding(out, finding))?;
    // Of a model that cannot be asked there is nothing to add up.
    if !preview.shown.is_empty() {
        write_cost(out, preview)?;
        writeln!(out, "<h2>Questions</h2>")?;
    }
    preview.shown.iter().try_for_each(|question| write_question(out, question))?;
    writeln!(out, "</body>\n</html>")
}

fn write_finding(out: &mut String, finding: &Finding) -> std::fmt::Result {
    let class = if finding.fault { "finding fault" } else { "finding" };
    let stops = if finding.stops { " (curation would stop here)" } else { "" };
    writeln!(
        out,
        "<div class=\"{class}\"><h3>{}{stops}</h3><p>{}</p><p>→ {}</p>",
        finding.kind.name(),
        escaped(&finding.message),
        escaped(&finding.advice)
    )?;
    if finding.examples.len() > 1 {
        writeln!(out, "<details><summary>examples</summary><ul>")?;
        for example in &finding.examples {
            writeln!(out, "<li>{}</li>", escaped(example))?;
        }
        writeln!(out, "</ul></details>")?;
    }
    writeln!(out, "</div>")
}

fn write_cost(out: &mut String, preview: &Preview) -> std::fmt::Result {
    let expected = &preview.expected;
    writeln!(
        out,
        "<h2>Cost</h2>\n<table><tr><th>step</th><th class=\"n\">calls</th><th class=\"n\">prompt tokens</th>\
         <th class=\"n\">tokens</th><th class=\"n\">per call</th><th class=\"n\">seconds</th></tr>"
    )?;
    let mut row = |step: &StepCost| {
        writeln!(
            out,
            "<tr><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
             <td class=\"n\">{:.1}</td><td class=\"n\">{:.1}</td></tr>",
            escaped(&step.name),
            step.calls,
            step.prompt_tokens,
            step.generated_tokens,
            step.generated_tokens as f64 / step.calls.max(1) as f64,
            step.seconds
        )
    };
    row(&preview.cost.system1)?;
    preview.cost.steps.iter().try_for_each(row)?;
    writeln!(
        out,
        "</table>\n<p>Curation of all {} questions with early stopping, at this speed: {:.2} hours, {:.1} samples \
         a question, {:.0} tokens.</p>",
        expected.questions, expected.hours, expected.samples_per_question, expected.generated_tokens
    )
}

fn write_question(out: &mut String, question: &ShownQuestion) -> std::fmt::Result {
    writeln!(out, "<div class=\"question\"><h3>{}</h3>\n<table>", escaped(&question.id))?;
    for (name, text) in &question.fields {
        writeln!(out, "<tr><th>{}</th><td><pre>{}</pre></td></tr>", escaped(name), escaped(text))?;
    }
    if !question.gold.is_empty() {
        writeln!(out, "<tr><th>gold</th><td>{}</td></tr>", escaped(&question.gold.join(" / ")))?;
    }
    let verdict = &question.verdict;
    let answer = verdict.answer.as_ref().map_or("no answer", |answer| answer.text.as_str());
    let (class, fate) = if verdict.kept { ("", "accepted") } else { (" class=\"no\"", "rejected") };
    writeln!(
        out,
        "<tr><th>vote</th><td><b>{}</b> <span{class}>{fate}</span>: {}</td></tr>",
        escaped(answer),
        escaped(&verdict.reason)
    )?;
    let direct = &question.system1;
    let span = direct.answer.as_ref().and_then(|answer| span_of(&direct.text, answer));
    writeln!(
        out,
        "<tr><th>System 1</th><td><pre>{}</pre>",
        with_answer(&direct.text, span, direct.answer.as_ref().map(|a| &*a.text))
    )?;
    write_prompt(out, &question.system1_prompt)?;
    writeln!(out, "</td></tr>\n</table>")?;
    question.samples.iter().try_for_each(|sample| write_sample(out, sample))?;
    writeln!(out, "</div>")
}

fn write_sample(out: &mut String, sample: &ShownSample) -> std::fmt::Result {
    let variant = match sample.perturbation.as_str() {
        UNPERTURBED => String::new(),
        name => format!(" under {}", escaped(name)),
    };
    let answer = sample.answer.as_ref().map(|answer| answer.text.as_str());
    let from = match sample.read_from {
        ReadFrom::Completion => "",
        ReadFrom::Closing => ", read from the closing turn",
    };
    writeln!(
        out,
        "<details open><summary>sample {}{variant}: {}{from}</summary><table>",
        sample.index,
        answer.map_or("<span class=\"no\">not read</span>".into(), escaped)
    )?;
    let last = sample.steps.len().saturating_sub(1);
    for (at, step) in sample.steps.iter().enumerate() {
        let item = step.item.as_ref().map_or(String::new(), |item| format!(" [{}]", escaped(item)));
        let output = match at == last {
            true => with_answer(&step.output, sample.span, answer),
            false => escaped(&step.output),
        };
        let cut = if step.is_cut { " <span class=\"no\">ended at max_tokens</span>" } else { "" };
        writeln!(out, "<tr><th>{}{item}</th><td><pre>{output}</pre>{cut}", escaped(&step.name))?;
        write_prompt(out, &step.prompt)?;
        writeln!(out, "</td><td class=\"n\">{} tokens</td></tr>", step.generated_tokens)?;
    }
    writeln!(out, "</table></details>")
}

fn write_prompt(out: &mut String, prompt: &Prompt) -> std::fmt::Result {
    writeln!(out, "<details><summary class=\"role\">prompt</summary>")?;
    for message in &prompt.messages {
        let role = match message.role {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
        };
        writeln!(out, "<span class=\"role\">{role}</span><pre>{}</pre>", escaped(&message.content))?;
    }
    if let Some(rendered) = &prompt.rendered {
        writeln!(
            out,
            "<span class=\"role\">as the model's template renders it</span><pre>{}</pre>",
            escaped(rendered)
        )?;
    }
    writeln!(out, "</details>")
}

/// A text with the answer that was read marked, or behind it where it is written in another way.
fn with_answer(text: &str, span: Option<(usize, usize)>, answer: Option<&str>) -> String {
    match (span, answer) {
        (Some((from, to)), Some(_)) => {
            let (before, read, after) = (&text[..from], &text[from..to], &text[to..]);
            format!("{}<mark>{}</mark>{}", escaped(before), escaped(read), escaped(after))
        }
        (None, Some(answer)) => format!("{} → <mark>{}</mark>", escaped(text), escaped(answer)),
        _ => escaped(text),
    }
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            c if c.is_control() && !matches!(c, '\n' | '\t') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped_and_the_answer_is_marked_inside_them() {
        let text = "<b>It's \"Peru\" & so</b>\u{1b}";
        let marked = with_answer(text, Some((9, 13)), Some("Peru"));
        assert_eq!(marked, "&lt;b&gt;It&#39;s &quot;<mark>Peru</mark>&quot; &amp; so&lt;/b&gt;\u{fffd}");
        assert_eq!(with_answer("a<", None, Some("1>")), "a&lt; → <mark>1&gt;</mark>");
        assert_eq!(with_answer("a<", None, None), "a&lt;");
    }
}
