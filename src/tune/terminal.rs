//! A report as text: the table of candidates, who was dropped or not judged, the choice and why.

use super::report::{CandidateReport, TuneReport};
use crate::task::AnswerRule;

/// A longer name has a line of its own, so that the columns stay where they are.
const MAX_NAME: usize = 30;

/// What the columns are.
const LEGEND: &str = "Those that came furthest first. asked: questions; read: samples with an answer; \
    agree: pairs of samples that agree, beyond what one answer to everything would; \
    confirmed: samples that the other candidates confirm, weighed by how seldom that is \
    by chance; score: what decides; kept: questions whose vote is accepted; tokens: a \
    sample's. The rows direct.… are wordings of the direct prompt, sampled and voted on \
    like the others; System 1 is the best of them, asked once at temperature 0.";

/// The report as text in lines of `width` columns, if that is enough for the table: 78.
pub fn terminal(report: &TuneReport, width: usize) -> String {
    let names = report.candidates.iter().map(|c| c.name.chars().count());
    let longest = names.filter(|n| *n <= MAX_NAME).max().unwrap_or(0).max(9);
    let mut text = format!(
        "{:<longest$} {:>5} {:>5} {:>5} {:>9} {:>5} {:>5} {:>7}\n",
        "candidate", "asked", "read", "agree", "confirmed", "score", "kept", "tokens"
    );
    for candidate in report.candidates.iter().filter(|c| c.dropped.is_none()) {
        text += &row(candidate, longest);
    }
    let mut paragraph = |lines: &[String]| {
        if !lines.is_empty() {
            text.push('\n');
            lines.iter().for_each(|line| text += &folded(line, width));
        }
    };
    paragraph(&[LEGEND.into(), format!("Answers are read as {}.", kind(&report.answer))]);
    let dropped = report.candidates.iter().filter_map(|c| Some((&c.name, c.dropped.as_ref()?)));
    let dropped: Vec<String> = dropped.map(|(name, why)| format!("Dropped: {name}: {why}")).collect();
    paragraph(&dropped);
    if !report.unjudged.is_empty() {
        paragraph(&[format!("Not judged, because the time was up: {}.", report.unjudged.join(", "))]);
    }
    let reasons = report.reasons.iter().cloned().chain(shortage(report));
    paragraph(&reasons.collect::<Vec<_>>());
    let expected = [vote(report), expected(report), gold(report)];
    paragraph(&expected.into_iter().flatten().collect::<Vec<_>>());
    paragraph(&report.not_proposed.iter().cloned().collect::<Vec<_>>());
    text
}

/// What `rule` reads, in words.
fn kind(rule: &AnswerRule) -> String {
    match rule {
        AnswerRule::Choice(rule) => format!("one of these: {}", rule.choices().join(", ")),
        AnswerRule::Number(_) => "a number".into(),
        AnswerRule::Date(_) => "a date".into(),
        AnswerRule::Text(_) => "a short text".into(),
        AnswerRule::Pattern(_) => "the task's rule says (pattern)".into(),
        AnswerRule::Json(_) => "the task's rule says (json)".into(),
        AnswerRule::LastLine(_) => "the task's rule says (last_line)".into(),
    }
}

fn row(candidate: &CandidateReport, width: usize) -> String {
    let f = &candidate.features;
    let (before, name) = match candidate.name.chars().count() > width {
        true => (format!("{}\n", candidate.name), ""),
        false => (String::new(), candidate.name.as_str()),
    };
    format!(
        "{before}{name:<width$} {:>5} {:>5} {:>5} {:>9} {:>5} {:>5} {:>7.0}\n",
        f.questions,
        percent(f.read),
        percent(f.consistency),
        percent(f.consensus),
        hundredths(candidate.score),
        percent(f.kept),
        f.tokens_per_sample
    )
}

/// What votes of several sizes keep.
fn vote(report: &TuneReport) -> Option<String> {
    let sizes: Vec<String> = report
        .vote_sizes
        .iter()
        .map(|size| {
            format!("{} with {} ({:.1} on average)", percent(size.kept_share), size.samples, size.needed)
        })
        .collect();
    let task = report.samples.map_or(String::new(), |samples| format!(" The task takes at most {samples}."));
    (!sizes.is_empty()).then(|| {
        format!("Share of the questions kept, by the number of samples: {}.{task}", sizes.join(", "))
    })
}

fn expected(report: &TuneReport) -> Option<String> {
    let (winner, expected) = (report.winner.as_ref()?, report.expected.as_ref()?);
    let judged = report.candidates.iter().find(|c| c.name == *winner).map_or(0, |c| c.features.questions);
    let [low, high] = expected.kept_interval.map(percent);
    Some(format!(
        "Expected of {winner}: {} of {} questions kept (95% interval {low} to {high}, by {judged} questions), {:.1} samples a question; {} to curate, {} to train.",
        percent(expected.kept_share),
        report.questions,
        expected.samples_per_question,
        duration(expected.curate_hours),
        duration(expected.train_hours)
    ))
}

fn gold(report: &TuneReport) -> Option<String> {
    let expected = report.expected.as_ref()?;
    let (one, vote) = (expected.system1_accuracy?, expected.vote_accuracy?);
    let labels = expected
        .label_precision
        .map_or(String::new(), |share| format!(", {} of the accepted answers are right", percent(share)));
    Some(format!("On the questions with gold: System 1 {}, vote {}{labels}.", percent(one), percent(vote)))
}

fn shortage(report: &TuneReport) -> Option<String> {
    let short = report.shortage.as_ref()?;
    let unjudged = match report.unjudged.len() {
        0 => String::new(),
        n => format!(", and not to judge {n} of {} candidates", n + report.candidates.len()),
    };
    Some(format!(
        "The time sufficed to ask every candidate {} and to compare the last ones on {} of {} questions{unjudged}. \
         About {} would suffice for the whole race; fewer methods need less.",
        questions(short.first_questions),
        short.last_questions,
        short.questions,
        match short.minutes_needed.round() {
            n if n <= 1.0 => "a minute".to_string(),
            n => format!("{n} minutes"),
        }
    ))
}

fn questions(n: usize) -> String {
    if n == 1 { "1 question".into() } else { format!("{n} questions") }
}

/// A share in percent. Adding 0 takes the sign from a zero.
pub fn percent(share: f64) -> String {
    format!("{:.0}%", (100.0 * share).round() + 0.0)
}

/// A score with two digits.
pub fn hundredths(score: f64) -> String {
    format!("{:.2}", (100.0 * score).round() / 100.0 + 0.0)
}

/// Hours in a unit that a person would use.
fn duration(hours: f64) -> String {
    match hours * 60.0 {
        minutes if minutes < 1.0 => "under a minute".into(),
        minutes if minutes < 90.0 => format!("about {minutes:.0} min"),
        _ => format!("about {hours:.1} h"),
    }
}

/// A paragraph in lines of at most `width` columns; the second and further ones are indented.
fn folded(text: &str, width: usize) -> String {
    let (mut folded, mut column) = (String::new(), 0);
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > width {
            folded += "\n  ";
            column = 2;
        } else if column > 0 {
            folded.push(' ');
            column += 1;
        }
        folded += word;
        column += length;
    }
    folded + "\n"
}

#[cfg(test)]
mod tests {
    use super::super::report::{Expectation, candidate};
    use super::super::shortage::Shortage;
    use super::*;

    fn report() -> TuneReport {
        let mut dropped = candidate("silent", 0.0);
        dropped.dropped = Some("no answer was read from 6 of 6 samples".into());
        TuneReport {
            model: "m".into(),
            questions: 24,
            seed: 0,
            answer: AnswerRule::Text(Default::default()),
            winner: Some("direct.s2a.which-question.bare".into()),
            worthwhile: true,
            reasons: vec![
                "A long sentence that has to be folded, since terminals have eighty columns or so.".into(),
            ],
            baseline: None,
            expected: Some(Expectation::default()),
            seconds: 1.0,
            rounds: Vec::new(),
            shortage: Some(Shortage {
                first_questions: 1,
                last_questions: 3,
                questions: 24,
                minutes_needed: 9.0,
            }),
            not_proposed: Some("The model wrote 0 of the 3 wordings that it was asked for.".into()),
            vote_sizes: Vec::new(),
            samples: None,
            candidates: vec![
                candidate("direct.s2a.which-question.bare", -0.001),
                candidate("s2a.which-question.marker.own-examples", 1.0),
                dropped,
            ],
            unjudged: vec!["late".into()],
            system1: Vec::new(),
        }
    }

    #[test]
    fn no_line_is_wider_than_eighty_columns_and_the_columns_stay_in_place() {
        let text = terminal(&report(), 80);
        let widths: Vec<usize> = text.lines().map(|line| line.chars().count()).collect();
        assert!(widths.iter().all(|width| *width <= 80), "{text}");
        let figures: Vec<&str> = text.lines().filter(|line| line.contains("100%")).collect();
        assert_eq!(figures.len(), 2, "{text}");
        assert!(figures.iter().all(|line| line.len() == widths[0]), "{text}");
    }

    #[test]
    fn what_was_not_judged_stands_apart_and_the_time_needed_is_told() {
        let text = terminal(&report(), 200);
        let table = text.split("\n\n").next().unwrap();
        assert!(!table.contains("late") && !table.contains("silent"), "{text}");
        assert!(text.contains("\nNot judged, because the time was up: late.\n"), "{text}");
        assert!(text.contains("Dropped: silent: no answer was read from 6 of 6 samples\n"), "{text}");
        assert!(text.contains("not to judge 1 of 4 candidates. About 9 minutes would suffice"), "{text}");
        assert!(text.contains("\nThe model wrote 0 of the 3 wordings that it was asked for.\n"), "{text}");
        let mut short = report();
        short.shortage.as_mut().unwrap().minutes_needed = 1.0;
        assert!(terminal(&short, 200).contains("About a minute would suffice"));
    }

    #[test]
    fn zero_has_no_sign_and_little_time_is_not_approximate() {
        assert_eq!((percent(-0.001), hundredths(-0.001)), ("0%".into(), "0.00".into()));
        assert_eq!((percent(-0.126), hundredths(-0.126)), ("-13%".into(), "-0.13".into()));
        let text = terminal(&report(), 200);
        assert!(text.contains("; under a minute to curate, under a minute to train."), "{text}");
        assert!(!text.contains("-0"), "{text}");
    }
}
