//! The report as a table for a terminal.

use std::fmt::Write;

use super::Report;
use crate::evaluate::Measurement;

/// The report in a dozen lines.
pub fn table(report: &Report) -> String {
    let mut out = String::new();
    let _ = write_table(&mut out, report);
    out
}

fn write_table(out: &mut String, report: &Report) -> std::fmt::Result {
    writeln!(out, "{} · task {}", report.model.name, report.task)?;
    if let Some(c) = &report.curation {
        write!(
            out,
            "curated   {} of {} questions kept, {} samples, {:.0} s",
            c.kept, c.questions, c.samples, c.seconds
        )?;
        match c.precision {
            Some(p) => writeln!(out, "; kept labels right: {:.1}%", 100.0 * p)?,
            None => writeln!(out)?,
        }
        if c.set_aside > 0 {
            let why = c.set_aside_reason.as_deref().unwrap_or_default();
            let (n, all) = (c.set_aside, c.questions);
            writeln!(out, "          {n} of {all} questions set aside; the first: {why}")?;
        }
        for finding in c.findings.iter().filter(|finding| finding.fault) {
            writeln!(out, "          {}", finding.message)?;
        }
    }
    if let Some(t) = &report.training {
        writeln!(
            out,
            "trained   {} examples, {:.1} epochs, {} steps, {:.0} s, {:.0} tokens/s, loss {:.3} → {:.3}, peak {:.0} MB",
            t.examples,
            t.epochs,
            t.steps,
            t.seconds,
            t.tokens_per_s,
            t.loss_first,
            t.loss_last,
            t.peak_rss_mb
        )?;
    }
    if let Some(a) = &report.adapter {
        writeln!(
            out,
            "adapter   {} ({:.1} MB, rank {}), equal to llama.cpp within {:.3}",
            a.path,
            a.bytes as f64 / 1e6,
            a.rank,
            a.parity_max_abs_diff
        )?;
    }
    if let Some(e) = &report.evaluation {
        if e.set_aside > 0 {
            writeln!(out, "\nheld-out questions set aside, since they cannot be asked: {}", e.set_aside)?;
        }
        let of = if e.against == "gold" { "accuracy" } else { "agreement" };
        writeln!(
            out,
            "\n{:<34}{of:>9}{:>16}{:>12}",
            format!("{} held-out questions", e.n),
            "tokens/answer",
            "ms/answer"
        )?;
        let mut row = |name: &str, accuracy: f64, tokens: f64, ms: Option<f64>| {
            let ms = ms.map_or(String::new(), |ms| format!("{ms:.1}"));
            writeln!(out, "{name:<34}{:>8.1}%{tokens:>16.1}{ms:>12}", 100.0 * accuracy)
        };
        let plain = |m: &Measurement| (m.accuracy, m.tokens_per_answer, Some(m.ms_per_answer));
        let (a, t, ms) = plain(&e.system1);
        row("System 1 (asked directly)", a, t, ms)?;
        if let (Some(a), Some(t)) = (e.system2.accuracy_per_sample, e.system2.tokens_per_sample) {
            row("System 2 (one reasoned sample)", a, t, None)?;
        }
        let (a, t, ms) = plain(&e.system2);
        let samples = e.system2.samples_per_question.unwrap_or(0.0);
        row(&format!("System 2 (vote of {samples:.1} samples)"), a, t, ms)?;
        let (a, t, ms) = plain(&e.distilled);
        row("distilled (asked directly)", a, t, ms)?;
        if let Some(f) = &e.fallback {
            row(
                &format!("distilled, reasoning when < {:.2}", f.threshold),
                f.accuracy,
                f.tokens_per_answer,
                None,
            )?;
        }
        for i in &e.inconsistent {
            writeln!(
                out,
                "{:<34}System 1 {:.1}%, System 2 {:.1}%, distilled {:.1}%",
                format!("inconsistent under {}", i.perturbation),
                100.0 * i.system1,
                100.0 * i.system2,
                100.0 * i.distilled
            )?;
        }
    }
    if let Some(d) = &report.decision {
        writeln!(
            out,
            "\n{}: {}",
            if d.distill { "worth distilling" } else { "not worth distilling" },
            d.why
        )?;
        for advice in &d.advice {
            writeln!(out, "  what may help: {advice}")?;
        }
    }
    Ok(())
}
