//! The names of System 2 methods.

use std::fmt;
use std::str::FromStr;

/// A System 2 method. Its name in task files is [`ReasoningMethod::as_str`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ReasoningMethod {
    /// The direct question, sampled at a temperature (Wang et al., arXiv 2203.11171, without the chain).
    SelfConsistency,
    /// Reasoning before the answer (Wei et al., arXiv 2201.11903; Kojima et al., arXiv 2205.11916).
    ChainOfThought,
    /// The text is written again without opinions and things beside the point, and what is left is
    /// answered (Weston and Sukhbaatar, arXiv 2311.11829).
    System2Attention,
    /// The question is said again and answered in one call (Deng et al., arXiv 2311.04205).
    RephraseAndRespond1,
    /// The question is said again in one call and answered in a second (the same paper).
    RephraseAndRespond2,
    /// Points or parts are named, each is looked at, the notes are merged (Saha et al.,
    /// arXiv 2310.15123).
    BranchSolveMerge,
    /// The model's own thinking mode.
    Thinking,
}

impl ReasoningMethod {
    /// All methods.
    pub const ALL: [ReasoningMethod; 7] = [
        ReasoningMethod::SelfConsistency,
        ReasoningMethod::ChainOfThought,
        ReasoningMethod::System2Attention,
        ReasoningMethod::RephraseAndRespond1,
        ReasoningMethod::RephraseAndRespond2,
        ReasoningMethod::BranchSolveMerge,
        ReasoningMethod::Thinking,
    ];

    /// The name in task files, such as `chain-of-thought`.
    pub fn as_str(self) -> &'static str {
        match self {
            ReasoningMethod::SelfConsistency => "self-consistency",
            ReasoningMethod::ChainOfThought => "chain-of-thought",
            ReasoningMethod::System2Attention => "system-2-attention",
            ReasoningMethod::RephraseAndRespond1 => "rephrase-and-respond-1",
            ReasoningMethod::RephraseAndRespond2 => "rephrase-and-respond-2",
            ReasoningMethod::BranchSolveMerge => "branch-solve-merge",
            ReasoningMethod::Thinking => "thinking",
        }
    }

    /// The short name, with which the names of the library's programs begin, such as `cot`.
    pub fn short(self) -> &'static str {
        match self {
            ReasoningMethod::SelfConsistency => "plain",
            ReasoningMethod::ChainOfThought => "cot",
            ReasoningMethod::System2Attention => "s2a",
            ReasoningMethod::RephraseAndRespond1 => "rar-1",
            ReasoningMethod::RephraseAndRespond2 => "rar-2",
            ReasoningMethod::BranchSolveMerge => "bsm",
            ReasoningMethod::Thinking => "thinking",
        }
    }
}

impl fmt::Display for ReasoningMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ReasoningMethod {
    type Err = String;

    /// Reads either name; the error lists the names.
    fn from_str(text: &str) -> Result<Self, String> {
        let named = |method: &ReasoningMethod| method.as_str() == text || method.short() == text;
        ReasoningMethod::ALL.into_iter().find(named).ok_or_else(|| {
            let names = ReasoningMethod::ALL.map(ReasoningMethod::short).join(", ");
            format!("no such method {text:?}; methods are {names}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_is_read_by_either_of_its_names() {
        for method in ReasoningMethod::ALL {
            assert_eq!(method.as_str().parse(), Ok(method));
            assert_eq!(method.short().parse(), Ok(method));
        }
        let error = "chain".parse::<ReasoningMethod>().unwrap_err();
        assert!(error.contains("\"chain\"; methods are plain, cot, s2a"), "{error}");
    }
}
