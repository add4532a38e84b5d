//! Findings: what is wrong with a task on a model, as its first samples show it.

use serde::{Deserialize, Serialize};

/// What a finding is about. Its name in JSON is in snake case: `copies_prompt`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// The model's chat template leaves out text of the prompt, or no prompt shows the question.
    TemplateLosesText,
    /// The model has no token that ends its turn.
    NoEndOfTurn,
    /// No answer is read from many samples.
    Unread,
    /// Questions cannot be asked, and are set aside.
    SetAside,
    /// A step repeats text that stands in its own prompt, such as the worked example.
    CopiesPrompt,
    /// The last step is asked something that has nothing of the question.
    QuestionLost,
    /// A step returns the question unchanged.
    QuestionUnchanged,
    /// A step writes the same for different questions.
    SameOutput,
    /// Completions end at `max_tokens`.
    CutOff,
    /// The model refuses.
    Refusal,
    /// A thinking block does not end.
    ThinkingLeftOpen,
    /// A step that has room to reason writes the answer alone.
    NoReasoning,
    /// Whole phrases are read as answers.
    LongAnswers,
    /// Different questions get the same answer.
    ConstantAnswer,
    /// The model says of all different answers that they mean the same.
    AllJudgedEqual,
    /// The vote accepts wrong answers, by the gold answers.
    WrongVotes,
    /// The answer is the opinion in the question.
    OpinionMovesAnswer,
    /// The answer is the option that the question names first.
    FirstOption,
    /// The answer changes under a perturbation.
    PerturbationMovesAnswer,
    /// A perturbation leaves the questions as they are.
    PerturbationChangesNothing,
    /// The samples of most questions do not agree.
    SamplesDisagree,
    /// System 1's answers are not read.
    System1Unread,
    /// System 1 gives the voted answers already.
    System1AsGood,
}

impl FindingKind {
    /// Every kind, the most severe first.
    pub const ALL: [FindingKind; 23] = [
        FindingKind::TemplateLosesText,
        FindingKind::NoEndOfTurn,
        FindingKind::Unread,
        FindingKind::SetAside,
        FindingKind::CopiesPrompt,
        FindingKind::QuestionLost,
        FindingKind::QuestionUnchanged,
        FindingKind::SameOutput,
        FindingKind::CutOff,
        FindingKind::Refusal,
        FindingKind::ThinkingLeftOpen,
        FindingKind::NoReasoning,
        FindingKind::LongAnswers,
        FindingKind::ConstantAnswer,
        FindingKind::AllJudgedEqual,
        FindingKind::WrongVotes,
        FindingKind::OpinionMovesAnswer,
        FindingKind::FirstOption,
        FindingKind::PerturbationMovesAnswer,
        FindingKind::PerturbationChangesNothing,
        FindingKind::SamplesDisagree,
        FindingKind::System1Unread,
        FindingKind::System1AsGood,
    ];

    /// Its name, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            FindingKind::TemplateLosesText => "template_loses_text",
            FindingKind::NoEndOfTurn => "no_end_of_turn",
            FindingKind::Unread => "unread",
            FindingKind::SetAside => "set_aside",
            FindingKind::CopiesPrompt => "copies_prompt",
            FindingKind::QuestionLost => "question_lost",
            FindingKind::QuestionUnchanged => "question_unchanged",
            FindingKind::SameOutput => "same_output",
            FindingKind::CutOff => "cut_off",
            FindingKind::Refusal => "refusal",
            FindingKind::ThinkingLeftOpen => "thinking_left_open",
            FindingKind::NoReasoning => "no_reasoning",
            FindingKind::LongAnswers => "long_answers",
            FindingKind::ConstantAnswer => "constant_answer",
            FindingKind::AllJudgedEqual => "all_judged_equal",
            FindingKind::WrongVotes => "wrong_votes",
            FindingKind::OpinionMovesAnswer => "opinion_moves_answer",
            FindingKind::FirstOption => "first_option",
            FindingKind::PerturbationMovesAnswer => "perturbation_moves_answer",
            FindingKind::PerturbationChangesNothing => "perturbation_changes_nothing",
            FindingKind::SamplesDisagree => "samples_disagree",
            FindingKind::System1Unread => "system1_unread",
            FindingKind::System1AsGood => "system1_as_good",
        }
    }
}

/// Something that the samples of a task show, with what to change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// What it is about.
    pub kind: FindingKind,
    /// The name of the step that shows it, if it is about one step.
    pub step: Option<String>,
    /// How often it was found: in that many completions, samples or questions, as `message` says.
    pub count: usize,
    /// Among how many.
    pub of: usize,
    /// Texts that show it, shortened; up to three.
    pub examples: Vec<String>,
    /// What was found, in one sentence with the figures.
    pub message: String,
    /// What to change.
    pub advice: String,
    /// Whether it is a fault; otherwise it is only worth knowing.
    pub fault: bool,
    /// Whether curation stops here unless it is forced to go on.
    pub stops: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_has_one_name_in_json_and_in_messages() {
        for kind in FindingKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
        let header = include_str!("../include/secondnature.h");
        assert!(
            FindingKind::ALL.iter().all(|kind| header.contains(kind.name())),
            "the header names every kind"
        );
        let mut sorted = FindingKind::ALL;
        sorted.sort();
        assert_eq!(sorted, FindingKind::ALL, "the order of the list is that of the type");
    }
}
