//! Classification by a written policy: may a request be approved, must it be rejected, or does somebody
//! else decide?

use rand_chacha::ChaCha8Rng;

use super::Split;
use super::draw::{Asked, Drawn, MAX_QUESTIONS, below, between, choose, distinct, shuffle};
use super::tables::{objects, people};

/// The decisions, which are the answers.
const DECISIONS: [&str; 3] = ["approve", "reject", "escalate"];
const APPROVE: usize = 0;
const REJECT: usize = 1;
const ESCALATE: usize = 2;

/// A policy's rules, one for each decision, and a message to which they give one of the decisions.
struct PolicyCase {
    about: &'static str,
    rules: Vec<String>,
    message: String,
}

/// Writes a policy and a message that must get the decision.
type Policy = fn(&mut ChaCha8Rng, usize, &str) -> PolicyCase;

const POLICIES: [Policy; 4] = [refund, expense, leave, damage];

/// Draws policies with numbers of their own, and messages. The three decisions come equally often, and in
/// each the policies as well. The splits share no person and no object.
pub(super) fn draw(n: usize, split: Split, rng: &mut ChaCha8Rng) -> Drawn {
    let (people, objects) = (people(split), objects(split));
    distinct(n, MAX_QUESTIONS, DECISIONS.len() * POLICIES.len(), rng, |rng, card| {
        let (decision, policy) = (card % DECISIONS.len(), card / DECISIONS.len());
        let thing = choose(rng, &objects);
        let mut case = POLICIES[policy](rng, decision, thing);
        shuffle(rng, &mut case.rules);
        let who = choose(rng, &people);
        let closing = [
            format!("Best wishes, {who}"),
            format!("Thank you, {who}"),
            format!("I am looking forward to your answer. {who}"),
            who.to_string(),
        ];
        let text = format!(
            "Policy for {}: {}\n\nMessage: {} {}\n\nWhat does the policy say about this message: approve, reject \
             or escalate?",
            case.about,
            case.rules.join(" "),
            case.message,
            closing[below(rng, closing.len())],
        );
        Some(Asked::new(text, DECISIONS[decision]))
    })
}

fn refund(rng: &mut ChaCha8Rng, decision: usize, thing: &str) -> PolicyCase {
    let (days, dollars) = (between(rng, 10, 40), 10 * between(rng, 3, 20));
    let rules = vec![
        format!(
            "Approve a refund if the item was bought at most {days} days ago and cost at most {dollars} dollars."
        ),
        format!(
            "Escalate it if the item was bought at most {days} days ago but cost more than {dollars} dollars."
        ),
        format!("Reject it if the item was bought more than {days} days ago."),
    ];
    let ago = if decision == REJECT { days + between(rng, 2, 30) } else { between(rng, 2, days - 1) };
    let cost = match decision {
        APPROVE => between(rng, 5, dollars - 1),
        ESCALATE => dollars + between(rng, 5, 100),
        _ => between(rng, 5, dollars + 100),
    };
    let message = match below(rng, 3) {
        0 => format!("I bought a {thing} for {cost} dollars {ago} days ago and would like my money back."),
        1 => format!("{ago} days ago I got a {thing} in your shop. It cost {cost} dollars. May I return it?"),
        _ => format!("Please refund the {cost} dollars for my {thing}. I bought it {ago} days ago."),
    };
    PolicyCase { about: "refunds", rules, message }
}

fn expense(rng: &mut ChaCha8Rng, decision: usize, thing: &str) -> PolicyCase {
    let dollars = 10 * between(rng, 3, 30);
    let rules = vec![
        format!("Approve an expense of up to {dollars} dollars that comes with a receipt."),
        format!("Escalate an expense of more than {dollars} dollars that comes with a receipt."),
        "Reject every expense without a receipt.".to_string(),
    ];
    let cost = match decision {
        APPROVE => between(rng, 5, dollars - 1),
        ESCALATE => dollars + between(rng, 5, 100),
        _ => between(rng, 5, dollars + 100),
    };
    let receipt = if decision == REJECT {
        ["I have lost the receipt.", "There was no receipt.", "I did not keep the receipt."]
    } else {
        ["The receipt is attached.", "You find the receipt below.", "I enclose the receipt."]
    };
    let receipt = choose(rng, &receipt);
    let message = match below(rng, 3) {
        0 => format!("I paid {cost} dollars for a {thing} that we need in the office. {receipt}"),
        1 => format!("{receipt} It is about {cost} dollars for a {thing}."),
        _ => format!("For our stand at the fair I bought a {thing}, which was {cost} dollars. {receipt}"),
    };
    PolicyCase { about: "expenses", rules, message }
}

fn leave(rng: &mut ChaCha8Rng, decision: usize, thing: &str) -> PolicyCase {
    let (longest, ahead) = (between(rng, 4, 15), between(rng, 7, 30));
    let rules = vec![
        format!("Approve leave of at most {longest} days that is asked for at least {ahead} days ahead."),
        format!("Escalate leave of more than {longest} days that is asked for at least {ahead} days ahead."),
        format!("Reject leave that is asked for less than {ahead} days ahead."),
    ];
    let days = match decision {
        APPROVE => between(rng, 2, longest - 1),
        ESCALATE => longest + between(rng, 1, 10),
        _ => between(rng, 2, longest + 10),
    };
    let notice = if decision == REJECT { between(rng, 2, ahead - 1) } else { ahead + between(rng, 1, 30) };
    let message = match below(rng, 3) {
        0 => format!("I would like to take {days} days off for a {thing} fair. It begins in {notice} days."),
        1 => format!(
            "My leave would begin {notice} days from now and last {days} days. I want to see a {thing} museum."
        ),
        _ => format!(
            "May I have {days} days of leave, starting in {notice} days? I have to sell my old {thing}."
        ),
    };
    PolicyCase { about: "leave", rules, message }
}

fn damage(rng: &mut ChaCha8Rng, decision: usize, thing: &str) -> PolicyCase {
    let days = between(rng, 3, 20);
    let rules = vec![
        format!(
            "Approve a claim that is made at most {days} days after delivery and shows the damage in a photo."
        ),
        format!("Escalate a claim that is made at most {days} days after delivery but has no photo."),
        format!("Reject a claim that is made more than {days} days after delivery."),
    ];
    let after = if decision == REJECT { days + between(rng, 1, 30) } else { between(rng, 2, days) };
    let photo = decision == APPROVE || decision == REJECT && below(rng, 2) == 0;
    let photo = if photo {
        ["A photo of the damage is attached.", "The photo shows where it broke.", "I send a photo of it."]
    } else {
        ["I have no photo of it.", "I could not take a photo.", "Sadly there is no photo."]
    };
    let photo = choose(rng, &photo);
    let message = match below(rng, 3) {
        0 => format!("The {thing} that you delivered {after} days ago is broken. {photo}"),
        1 => format!("{photo} My {thing} came {after} days ago and has a crack."),
        _ => format!("It is {after} days since the parcel came, and the {thing} in it is damaged. {photo}"),
    };
    PolicyCase { about: "damaged parcels", rules, message }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::datasets::generate;
    use crate::datasets::tests::{SPLITS, regex};

    fn number(text: &str, pattern: &str) -> Option<usize> {
        regex(pattern).captures(text).map(|found| found[1].parse().unwrap())
    }

    /// The decision that the rules give to the message.
    fn reread(text: &str) -> (&'static str, String) {
        let about = regex(r"^Policy for ([\w ]+): ").captures(text).unwrap()[1].to_string();
        let (policy, message) = text.split_once("\n\nMessage: ").unwrap();
        let rule = |word: &str| regex(&format!("{word}[^.]+\\.")).find(policy).unwrap().as_str().to_string();
        let (approve, reject) = (rule("Approve"), rule("Reject"));
        let must =
            |text: &str, pattern: &str| number(text, pattern).unwrap_or_else(|| panic!("{pattern}: {text}"));
        // What is in time, and what is small or complete.
        let (in_time, plain) = match about.as_str() {
            "refunds" => (
                must(message, r"(\d+) days ago") <= must(&reject, r"more than (\d+) days"),
                must(message, r"(\d+) dollars") <= must(&approve, r"at most (\d+) dollars"),
            ),
            "expenses" => (
                !regex("lost the receipt|no receipt|not keep the receipt").is_match(message),
                must(message, r"(\d+) dollars") <= must(&approve, r"up to (\d+) dollars"),
            ),
            "leave" => (
                must(message, r"(?:in|begin) (\d+) days") >= must(&reject, r"less than (\d+) days"),
                must(message, r"(?:take|last|have) (\d+) days") <= must(&approve, r"at most (\d+) days"),
            ),
            _ => (
                must(message, r"(\d+) days (?:ago|since)") <= must(&reject, r"more than (\d+) days"),
                !regex("no photo|not take a photo").is_match(message),
            ),
        };
        let decision = match (in_time, plain) {
            (false, _) => "reject",
            (true, true) => "approve",
            (true, false) => "escalate",
        };
        (decision, about)
    }

    #[test]
    fn the_answer_is_what_the_rules_say_of_the_message() {
        let mut given = BTreeMap::new();
        for split in SPLITS {
            for question in generate("policies", 1200, 3, split).unwrap() {
                let (decision, about) = reread(question.text());
                assert_eq!(question.gold, [decision], "{}", question.text());
                *given.entry((about, decision)).or_insert(0) += 1;
            }
        }
        assert_eq!(given.len(), 12);
        assert!(given.values().all(|&n| n == 200), "{given:?}");
    }

    #[test]
    fn the_order_of_the_rules_does_not_tell_the_answer() {
        let mut first = BTreeMap::<bool, i32>::new();
        for question in generate("policies", 900, 5, crate::datasets::Split::Test).unwrap() {
            let word = question.text().split(": ").nth(1).unwrap().split(' ').next().unwrap().to_lowercase();
            *first.entry(word == question.gold[0]).or_insert(0) += 1;
        }
        // A third of 900; five standard deviations.
        assert!(first[&true].abs_diff(300) < 71, "{first:?}");
    }
}
