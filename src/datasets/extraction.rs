//! Extraction: one detail of a short mail, form or note.

use jiff::ToSpan;
use jiff::civil::Date;
use jiff::fmt::strtime;
use rand_chacha::ChaCha8Rng;

use super::Split;
use super::draw::{Asked, Drawn, MAX_QUESTIONS, below, between, choose, choose_distinct, distinct};
use super::tables::{objects, people, surnames};

/// What an order's texts tell: two people, two dates, two numbers.
struct Order {
    customer: String,
    clerk: String,
    thing: &'static str,
    count: usize,
    dollars: usize,
    /// Order and customer number.
    numbers: [usize; 2],
    ordered: Date,
    delivered: Date,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Detail {
    OrderNumber,
    Delivered,
    Customer,
    Dollars,
}

const DETAILS: [Detail; 4] = [Detail::OrderNumber, Detail::Delivered, Detail::Customer, Detail::Dollars];

/// The ways in which a text is written.
const TEXTS: [fn(&Order) -> String; 4] = [mail, form, note, report];

/// Draws orders; details and texts come equally often. The splits share no person, no object, no number of
/// an order or customer, and no year.
pub(super) fn draw(n: usize, split: Split, rng: &mut ChaCha8Rng) -> Drawn {
    let (people, surnames, objects) = (people(split), surnames(split), objects(split));
    distinct(n, MAX_QUESTIONS, DETAILS.len() * TEXTS.len(), rng, |rng, card| {
        let (first, last) = (choose_distinct(rng, &people, 2), choose_distinct(rng, &surnames, 2));
        let mut number = || {
            // Multiples of three are the test split's.
            let number = 3 * between(rng, 4000, 30_000);
            if split == Split::Test { number } else { number + 1 + below(rng, 2) }
        };
        let numbers = [number(), number()];
        let year = if split == Split::Test { 2025 } else { between(rng, 2021, 2024) };
        let ordered = jiff::civil::date(year as i16, 1, 1) + (below(rng, 330) as i64).days();
        let order = Order {
            customer: format!("{} {}", first[0], last[0]),
            clerk: format!("{} {}", first[1], last[1]),
            thing: choose(rng, &objects),
            count: between(rng, 2, 40),
            dollars: between(rng, 41, 900),
            numbers,
            ordered,
            delivered: ordered + (between(rng, 2, 20) as i64).days(),
        };
        let (detail, text) = (DETAILS[card % DETAILS.len()], TEXTS[card / DETAILS.len()](&order));
        let (questions, gold) = ask(detail, &order);
        let question = choose(rng, &questions);
        Some(Asked { fields: vec![("question", format!("{text}\n\n{question}"))], gold })
    })
}

/// Questions for a detail, and its accepted spellings.
fn ask(detail: Detail, order: &Order) -> ([&'static str; 3], Vec<String>) {
    match detail {
        Detail::OrderNumber => (
            [
                "What is the number of the order?",
                "Which order number does the text give?",
                "Give the order number.",
            ],
            vec![order.numbers[0].to_string()],
        ),
        Detail::Delivered => (
            [
                "On which date was the order delivered?",
                "What is the date of the delivery?",
                "When did the delivery arrive? Give the date.",
            ],
            ["%-d %B %Y", "%B %-d, %Y", "%B %-d %Y", "%F", "%-d %B", "%B %-d"]
                .map(|format| written(order.delivered, format))
                .to_vec(),
        ),
        Detail::Customer => (
            [
                "What is the full name of the customer?",
                "Who is the customer? Give first name and surname.",
                "Which customer is this about? Give the full name.",
            ],
            vec![order.customer.clone()],
        ),
        Detail::Dollars => (
            [
                "How many dollars did the order cost?",
                "What was the price of the order in dollars?",
                "Which amount in dollars was paid?",
            ],
            vec![order.dollars.to_string(), format!("{} dollars", order.dollars)],
        ),
    }
}

fn written(date: Date, format: &str) -> String {
    strtime::format(format, date).expect("a date has a day, a month and a year")
}

fn day(date: Date) -> String {
    written(date, "%-d %B %Y")
}

fn mail(order: &Order) -> String {
    let Order { customer, clerk, thing, count, dollars, numbers: [number, account], ordered, delivered } =
        order;
    format!(
        "Dear {clerk},\nmy customer number is {account}. On {} I ordered {count} {thing}s from you. The order has \
         the number {number} and cost {dollars} dollars. It was delivered on {}, but two of the {thing}s are \
         missing.\nKind regards,\n{customer}",
        day(*ordered),
        day(*delivered),
    )
}

fn form(order: &Order) -> String {
    let Order { customer, clerk, thing, count, dollars, numbers: [number, account], ordered, delivered } =
        order;
    format!(
        "Customer: {customer}\nCustomer number: {account}\nServed by: {clerk}\nOrder number: {number}\nArticle: \
         {count} {thing}s\nOrdered: {}\nDelivered: {}\nPaid: {dollars} dollars",
        day(*ordered),
        day(*delivered),
    )
}

fn note(order: &Order) -> String {
    let Order { customer, clerk, thing, count, dollars, numbers: [number, account], ordered, delivered } =
        order;
    format!(
        "Note by {clerk}: the customer {customer} (customer number {account}) called about order number {number}. \
         {count} {thing}s arrived on {}, ordered on {}. The {dollars} dollars have been paid.",
        day(*delivered),
        day(*ordered),
    )
}

fn report(order: &Order) -> String {
    let Order { customer, clerk, thing, count, dollars, numbers: [number, account], ordered, delivered } =
        order;
    format!(
        "{clerk} packed {count} {thing}s for order number {number}, which was placed on {}. The price was {dollars} \
         dollars. The driver delivered everything on {} and got a signature from the customer, {customer}, whose \
         customer number is {account}.",
        day(*ordered),
        day(*delivered),
    )
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};

    use super::*;
    use crate::datasets::generate;
    use crate::datasets::tests::{SPLITS, regex};

    /// What is asked for, and what the text has for it.
    fn reread(text: &str) -> (&'static str, String) {
        let (body, question) = text.rsplit_once("\n\n").unwrap();
        let (detail, pattern) = if regex("number").is_match(question) {
            ("number", r"(?i)(?:order has the|\border) number:? (\d+)")
        } else if regex("date").is_match(question) {
            ("date", r"(?:[Dd]elivered(?: everything)?|arrived)(?: on|:) (\d+ \w+ \d{4})")
        } else if regex("dollars").is_match(question) {
            ("dollars", r"(\d+) dollars")
        } else {
            ("customer", r"(?:Kind regards,\n|Customer: |the customer,? )(\w+ \w+)")
        };
        let found: Vec<_> = regex(pattern).captures_iter(body).map(|found| found[1].to_string()).collect();
        assert_eq!(found.len(), 1, "{pattern}: {body}");
        (detail, found[0].clone())
    }

    #[test]
    fn the_answer_stands_once_in_the_text_where_the_question_points() {
        let mut asked = BTreeMap::new();
        for split in SPLITS {
            for question in generate("extraction", 1600, 3, split).unwrap() {
                let (detail, found) = reread(question.text());
                assert_eq!(question.gold[0], found, "{}", question.text());
                *asked.entry(detail).or_insert(0) += 1;
            }
        }
        assert!(asked.len() == 4 && asked.values().all(|&n| n == 800), "{asked:?}");
    }

    #[test]
    fn training_and_test_questions_share_no_number_of_an_order_and_no_year() {
        let numbers = |split| -> HashSet<String> {
            let questions = generate("extraction", 2000, 4, split).unwrap();
            let of = |text: &str| -> Vec<String> {
                regex(r"\d{4,}").find_iter(text).map(|found| found.as_str().to_string()).collect()
            };
            questions.iter().flat_map(|question| of(question.text())).collect()
        };
        assert!(numbers(Split::Train).is_disjoint(&numbers(Split::Test)));
    }
}
