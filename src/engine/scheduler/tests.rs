use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::engine::toy::{END, TURNS, Toy};
use crate::engine::{ChatTemplate, Message, Sampling, complete};

fn request(id: u64, prompt: &str, sampling: Sampling) -> Request {
    let messages = vec![Message::user(prompt)];
    Request { id, messages, thinking: false, sampling, seed: 1000 + id }
}

/// What the toy writes to `request` with nothing beside it, without a scheduler.
fn alone(request: &Request, limit: usize, enough: impl Fn(&str) -> bool) -> (String, usize, Finish) {
    let mut tokens: Vec<Token> =
        format!("{}\n", request.messages[0].content).bytes().map(Token::from).collect();
    let mut bytes = Vec::new();
    let most = request.sampling.max_tokens.min(limit - tokens.len());
    for n in 0..most {
        let uniform = sampler::uniform(request.seed, n as u64);
        let logits = Toy::logits_after(&tokens);
        let generated = &tokens[tokens.len() - n..];
        let draw = Draw { logits: &logits, sampling: &request.sampling, generated, allowed: None, uniform };
        let token = draw.choose().unwrap().token;
        tokens.push(token);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if token == END {
            return (text, n + 1, Finish::EndOfTurn);
        }
        bytes.push(token as u8);
        // A character counts once it is complete, or certain never to be.
        let complete = match std::str::from_utf8(&bytes) {
            Ok(_) => true,
            Err(error) => error.error_len().is_some() && bytes.last() != Some(&0xc3),
        };
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let stops = request.sampling.stop.iter();
        if let Some(at) = stops.filter_map(|stop| text.find(stop.as_str())).min() {
            return (text[..at].to_string(), n + 1, Finish::StopString);
        }
        if complete && enough(&text) {
            return (text, n + 1, Finish::Enough);
        }
    }
    (String::from_utf8_lossy(&bytes).into_owned(), most, Finish::Length)
}

/// Hands out requests, keeps completions, and declares even ids with "ed" in their text done.
struct Collect {
    requests: std::vec::IntoIter<Request>,
    done: BTreeMap<u64, Completion>,
    unwanted_after: Option<(usize, BTreeSet<u64>)>,
}

impl Collect {
    fn new(requests: Vec<Request>) -> Collect {
        Collect { requests: requests.into_iter(), done: BTreeMap::new(), unwanted_after: None }
    }
}

fn enough(id: u64, text: &str) -> bool {
    id.is_multiple_of(2) && text.contains("ed")
}

impl Source for Collect {
    fn next(&mut self) -> Option<Request> {
        self.requests.next()
    }
    fn finished(&mut self, completion: Completion) -> Result<()> {
        assert!(self.wanted(completion.id));
        assert!(self.done.insert(completion.id, completion).is_none());
        Ok(())
    }
    fn enough(&self, id: u64, text: &str) -> bool {
        enough(id, text)
    }
    fn wanted(&self, id: u64) -> bool {
        match &self.unwanted_after {
            Some((n, ids)) => self.done.len() < *n || !ids.contains(&id),
            None => true,
        }
    }
}

/// Groups of samples of questions that begin alike.
fn mixed_requests(seed: u64) -> Vec<Request> {
    let pick = |n: u64, below: u64| (sampler::uniform(seed, n) * below as f64) as u64;
    let template = "You are a careful helper. ";
    let mut requests = Vec::new();
    for question in 0..8 {
        let body: String =
            (0..pick(question, 40)).map(|i| (b'a' + (i * question % 26) as u8) as char).collect();
        let prompt = if pick(100 + question, 3) == 0 { body } else { format!("{template}{body}") };
        for sample in 0..1 + pick(200 + question, 5) {
            let n = 300 + question * 10 + sample;
            let sampling = Sampling {
                temperature: [0.0, 0.7, 1.0][pick(n, 3) as usize],
                top_k: [0, 3][pick(n + 1000, 2) as usize],
                max_tokens: pick(n + 2000, 60) as usize,
                stop: if pick(n + 3000, 2) == 0 { vec!["aa".into(), "\u{e9}b".into()] } else { vec![] },
                repeat_penalty: [1.0, 1.0, 2.0][pick(n + 4000, 3) as usize],
                ..Sampling::default()
            };
            requests.push(request(requests.len() as u64, &prompt, sampling));
        }
    }
    requests
}

#[test]
fn results_are_the_same_alone_and_under_any_schedule() {
    for seed in 0..20 {
        let requests = mixed_requests(seed);
        for (slots, batch, context) in [
            (1, 1, 128),
            (1, 64, 128),
            (2, 3, 128),
            (3, 64, 150),
            (5, 2, 200),
            (16, 512, 4096),
            (16, 40, 128),
        ] {
            let mut source = Collect::new(requests.clone());
            let mut scheduler = Scheduler::new(Toy::new(slots, batch, context));
            scheduler.run(&mut source, &Cancel::new()).unwrap();
            assert_eq!(source.done.len(), requests.len());
            for request in &requests {
                let done = &source.done[&request.id];
                let expected = alone(request, context, |text| enough(request.id, text));
                assert_eq!(
                    (done.text.clone(), done.generated_tokens, done.finish),
                    expected,
                    "request {} of seed {seed}, {slots} slots, batch {batch}, context {context}",
                    request.id
                );
            }
            let stats = scheduler.stats();
            let generated: usize = source.done.values().map(|c| c.generated_tokens).sum();
            if stats.restarts == 0 {
                assert_eq!(stats.generated_tokens, generated as u64);
                let prompts: usize =
                    source.done.values().filter(|c| c.generated_tokens > 0).map(|c| c.prompt_tokens).sum();
                assert_eq!(stats.prompt_tokens + stats.reused_tokens, prompts as u64);
            }
        }
    }
}

#[test]
fn samples_of_one_question_feed_its_prompt_once() {
    let prompt = "a question long enough to be worth sharing between its samples";
    for slots in [1, 4, 8] {
        let requests = (0..8).map(|id| request(id, prompt, Sampling::default())).collect();
        let mut scheduler = Scheduler::new(Toy::new(slots, 512, 4096));
        complete(&mut scheduler, requests, &Cancel::new()).unwrap();
        let n = prompt.len() as u64 + 1;
        // Once in full, then the last token for each further sample.
        assert_eq!(scheduler.stats().prompt_tokens, n + 7, "{slots} slots");
        assert_eq!(scheduler.stats().reused_tokens, 7 * (n - 1));
    }
}

#[test]
fn decode_calls_are_as_full_as_the_slots_allow() {
    let sampling = Sampling { max_tokens: 50, ..Sampling::default() };
    let requests = (0..64).map(|id| request(id, &format!("{id} says"), sampling.clone())).collect();
    let mut scheduler = Scheduler::new(Toy::new(8, 512, 4096));
    let done = complete(&mut scheduler, requests, &Cancel::new()).unwrap();
    let generated: usize = done.iter().map(|c| c.generated_tokens).sum();
    let longest = done.iter().map(|c| c.generated_tokens).max().unwrap();
    let calls = scheduler.stats().decode_calls as usize;
    // Full until the last requests run out.
    assert!(calls <= generated / 8 + longest + 8, "{calls} calls for {generated} tokens");
}

#[test]
fn a_cache_too_small_for_all_makes_some_start_again_and_changes_no_text() {
    let sampling = Sampling { temperature: 0.3, max_tokens: 400, ..Sampling::default() };
    let requests: Vec<_> =
        (0..12).map(|id| request(2 * id + 1, &format!("{id} is"), sampling.clone())).collect();
    let mut scheduler = Scheduler::new(Toy::new(12, 64, 500));
    let mut source = Collect::new(requests.clone());
    scheduler.run(&mut source, &Cancel::new()).unwrap();
    for request in &requests {
        let done = &source.done[&request.id];
        let expected = alone(request, 500, |_| false);
        assert_eq!((done.text.clone(), done.generated_tokens, done.finish), expected);
    }
    assert!(scheduler.stats().restarts > 0);
    assert!(scheduler.decoder().peak_cells <= 500);
}

#[test]
fn a_request_that_is_no_longer_wanted_leaves_without_a_completion() {
    let sampling = Sampling { max_tokens: 40, ..Sampling::default() };
    let requests: Vec<_> = (0..30).map(|id| request(id, "the same question", sampling.clone())).collect();
    let mut source = Collect::new(requests);
    source.unwanted_after = Some((5, (0..30).filter(|id| id % 3 == 0).collect()));
    let mut scheduler = Scheduler::new(Toy::new(4, 64, 512));
    scheduler.run(&mut source, &Cancel::new()).unwrap();
    assert!(source.done.len() < 30);
    assert!((0..30).filter(|id| id % 3 != 0).all(|id| source.done.contains_key(&id)));
}

#[test]
fn a_prompt_that_cannot_fit_is_an_error_that_names_it() {
    let mut scheduler = Scheduler::new(Toy::new(2, 64, 64));
    let requests =
        vec![request(4, "fits", Sampling::default()), request(5, &"x".repeat(64), Sampling::default())];
    let mut source = Collect::new(requests);
    let error = scheduler.run(&mut source, &Cancel::new()).unwrap_err().to_string();
    assert!(error.contains("request 5") && error.contains("65 tokens"), "{error}");
    // The scheduler is usable afterwards.
    let done = complete(&mut scheduler, vec![request(1, "fits", Sampling::default())], &Cancel::new());
    assert_eq!(done.unwrap().len(), 1);
}

#[test]
fn cancelling_stops_within_a_decode_call() {
    struct CancelAfter(Collect, usize, Cancel);
    impl Source for CancelAfter {
        fn next(&mut self) -> Option<Request> {
            self.0.next()
        }
        fn finished(&mut self, completion: Completion) -> Result<()> {
            self.0.finished(completion)?;
            if self.0.done.len() == self.1 {
                self.2.cancel();
            }
            Ok(())
        }
    }
    let cancel = Cancel::new();
    let requests = (0..50).map(|id| request(2 * id + 1, "q", Sampling::default())).collect();
    let mut source = CancelAfter(Collect::new(requests), 3, cancel.clone());
    let mut scheduler = Scheduler::new(Toy::new(1, 64, 512));
    assert!(matches!(scheduler.run(&mut source, &cancel), Err(Error::Cancelled)));
    assert_eq!(source.0.done.len(), 3);
}

#[test]
fn probability_is_the_product_over_the_generated_tokens() {
    let sampling = Sampling { temperature: 0.0, max_tokens: 5, ..Sampling::default() };
    let request = request(1, "p", sampling);
    let mut tokens: Vec<Token> = b"p\n".iter().copied().map(Token::from).collect();
    let mut expected = 1.0;
    for _ in 0..5 {
        let logits = Toy::logits_after(&tokens);
        let sampling = &request.sampling;
        let draw = Draw { logits: &logits, sampling, generated: &[], allowed: None, uniform: 0.0 };
        let choice = draw.choose().unwrap();
        expected *= choice.probability;
        tokens.push(choice.token);
        if choice.token == END {
            break;
        }
    }
    let mut scheduler = Scheduler::new(Toy::new(2, 8, 64));
    let done = complete(&mut scheduler, vec![request], &Cancel::new()).unwrap();
    assert!((done[0].probability - expected).abs() < 1e-6);
}

#[test]
fn text_of_special_tokens_in_a_message_stays_text() {
    let toy = Toy::new(1, 8, 64);
    let prompt = toy.prompt(&[Message::user("a<end>b"), Message::user("c")], false).unwrap();
    let plain: Vec<Token> = b"a<end>b\nc\n".iter().copied().map(Token::from).collect();
    assert_eq!(prompt, plain);
}

#[test]
fn a_single_slot_feeds_a_prompt_in_the_same_shapes_whatever_ran_before() {
    /// The batches in which each prompt was fed, by the toy's count of rows.
    fn shapes(prompts: &[&str]) -> Vec<u64> {
        let mut scheduler = Scheduler::new(Toy::new(1, 16, 256));
        let sampling = Sampling { max_tokens: 1, ..Sampling::default() };
        let calls = |scheduler: &Scheduler<Toy>| scheduler.stats().decode_calls;
        prompts
            .iter()
            .map(|prompt| {
                let before = calls(&scheduler);
                complete(&mut scheduler, vec![request(0, prompt, sampling.clone())], &Cancel::new()).unwrap();
                calls(&scheduler) - before
            })
            .collect()
    }
    // 21 tokens: 16, 4 and the last; shared only as a whole, then just the last.
    let (a, b) = ("abcdefghijklmnopqrst", "abcdefghijklmnopqrsu");
    assert_eq!(shapes(&[a, a, b, b, a]), [3, 1, 3, 1, 3]);
}

/// Completions of the toy for 40 samples of `sampling`.
fn samples(sampling: &Sampling) -> (Vec<Completion>, Scheduler<Toy>) {
    let requests = (0..40).map(|id| request(id, "which", sampling.clone())).collect();
    let mut scheduler = Scheduler::new(Toy::new(6, 64, 512));
    let done = complete(&mut scheduler, requests, &Cancel::new()).unwrap();
    (done, scheduler)
}

#[test]
fn a_completion_is_one_of_the_choices_and_ends_with_it() {
    // The toy writes letters, spaces and é at random.
    let choices = ["ab", "abba", "c d", "\u{e9}e"];
    let sampling = Sampling { choices: choices.map(String::from).into(), ..Sampling::default() };
    let (done, _) = samples(&sampling);
    let mut seen = BTreeSet::new();
    for completion in &done {
        let text = completion.text.as_str();
        assert!(choices.contains(&text), "{text:?}");
        // Only where another choice begins with it the model has to say that it is over.
        let finish = if text == "ab" { Finish::EndOfTurn } else { Finish::Enough };
        assert_eq!(completion.finish, finish, "{text:?}");
        assert_eq!(completion.generated_tokens, text.len() + usize::from(text == "ab"));
        seen.insert(text.to_string());
    }
    assert_eq!(seen.len(), choices.len());
}

#[test]
fn a_completion_follows_its_grammar() {
    let sampling =
        Sampling { grammar: Some(r#"root ::= [abc]{2} ("d" | " e")+"#.into()), ..Sampling::default() };
    let (done, mut scheduler) = samples(&sampling);
    for completion in &done {
        assert_eq!(completion.finish, Finish::EndOfTurn);
        let (head, tail) = completion.text.split_at(2);
        assert!(head.chars().all(|c| "abc".contains(c)), "{completion:?}");
        assert!(!tail.is_empty() && tail.replace(" e", "d").chars().all(|c| c == 'd'), "{completion:?}");
    }
    assert!(done.iter().any(|completion| completion.text.len() > 4));

    let faulty = Sampling { grammar: Some("root ::= x".into()), ..sampling };
    let error = complete(&mut scheduler, vec![request(1, "q", faulty)], &Cancel::new()).unwrap_err();
    assert_eq!(error.to_string(), "grammar: rule \"x\" is used in line 1 but not defined");
}

/// What the toy writes to `request`, whose grammar is `[ab] "cde" [ab] "\u{e9} ba"` over and over,
/// with nothing beside it: only letters with a choice are drawn.
fn alone_with_a_form(request: &Request) -> (String, usize) {
    let mut tokens: Vec<Token> =
        format!("{}\n", request.messages[0].content).bytes().map(Token::from).collect();
    let prompt = tokens.len();
    let forms = [&b"ab"[..], b"c", b"d", b"e", b"ab", b"\xc3", b"\xa9", b" ", b"b", b"a"];
    let mut drawn = 0;
    for form in forms.iter().cycle().take(request.sampling.max_tokens) {
        let token = if let [one] = form {
            Token::from(*one)
        } else {
            drawn += 1;
            let allowed: Vec<Token> = form.iter().copied().map(Token::from).collect();
            let uniform = sampler::uniform(request.seed, (tokens.len() - prompt) as u64);
            let (logits, generated) = (&Toy::logits_after(&tokens)[..], &tokens[prompt..]);
            let sampling = &request.sampling;
            Draw { logits, sampling, generated, allowed: Some(&allowed), uniform }.choose().unwrap().token
        };
        tokens.push(token);
    }
    let text: Vec<u8> = tokens[prompt..].iter().map(|&token| token as u8).collect();
    (String::from_utf8_lossy(&text).into_owned(), drawn)
}

#[test]
fn what_a_grammar_leaves_no_choice_about_is_written_without_sampling() {
    let form = r#"root ::= [ab] "cde" [ab] "\u00e9 ba" root"#;
    let request = |id| {
        let sampling = Sampling { max_tokens: 17 + id as usize, ..Sampling::default() };
        request(id, "which", Sampling { grammar: Some(form.into()), repeat_penalty: 1.5, ..sampling })
    };
    for (slots, batch, context) in [(1, 1, 128), (1, 64, 128), (3, 2, 100), (6, 5, 80), (16, 512, 4096)] {
        let requests: Vec<Request> = (0..20).map(request).collect();
        let mut scheduler = Scheduler::new(Toy::new(slots, batch, context));
        let done = complete(&mut scheduler, requests.clone(), &Cancel::new()).unwrap();
        let mut drawn = 0;
        for (request, completion) in requests.iter().zip(&done) {
            let (text, drawn_here) = alone_with_a_form(request);
            drawn += drawn_here as u64;
            assert_eq!((&completion.text, completion.finish), (&text, Finish::Length));
            assert_eq!(completion.generated_tokens, request.sampling.max_tokens);
        }
        let stats = scheduler.stats();
        let generated: usize = requests.iter().map(|request| request.sampling.max_tokens).sum();
        if stats.restarts == 0 {
            assert_eq!(stats.generated_tokens, drawn);
            assert_eq!(stats.forced_tokens, generated as u64 - drawn);
        } else {
            assert!(slots > 1 && context < 128);
        }
    }
    // Twenty requests at once, each with at most eight letters to draw.
    let mut scheduler = Scheduler::new(Toy::new(20, 512, 4096));
    complete(&mut scheduler, (0..20).map(request).collect(), &Cancel::new()).unwrap();
    assert!(scheduler.stats().decode_calls <= 10, "{:?}", scheduler.stats());
}

#[test]
fn a_stop_string_in_what_is_given_ends_the_text() {
    let grammar = Some(r#"root ::= [ab] "cde" [ab]"#.into());
    let (done, scheduler) = samples(&Sampling { grammar, stop: vec!["d".into()], ..Sampling::default() });
    for completion in done {
        assert_eq!((completion.text.len(), completion.finish), (2, Finish::StopString), "{completion:?}");
        assert_eq!(completion.generated_tokens, 3);
    }
    assert_eq!(scheduler.stats().generated_tokens, 40);
}

#[test]
fn a_choice_that_the_model_cannot_write_is_an_error_that_says_so() {
    // The toy's logit for "z" is minus infinity.
    let sampling = Sampling { choices: vec!["za".into()], ..Sampling::default() };
    let mut scheduler = Scheduler::new(Toy::new(1, 64, 512));
    let error = complete(&mut scheduler, vec![request(7, "q", sampling)], &Cancel::new()).unwrap_err();
    let expected = "engine: request 0: no token that its choices or grammar allow has a finite logit";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_repetition_penalty_looks_at_the_generated_tokens_alone() {
    let sampling = Sampling { temperature: 0.0, repeat_penalty: 1e6, max_tokens: 8, ..Sampling::default() };
    let requests = vec![request(1, "aaabbbcccddd", sampling)];
    let mut scheduler = Scheduler::new(Toy::new(2, 8, 64));
    let done = complete(&mut scheduler, requests.clone(), &Cancel::new()).unwrap();
    assert_eq!(
        (done[0].text.clone(), done[0].generated_tokens, done[0].finish),
        alone(&requests[0], 64, |_| false)
    );
    // All of the toy's logits are above 0, so whatever it wrote it does not write again. (Halves of
    // an é by themselves are no text.)
    let letters: Vec<char> = done[0].text.chars().filter(char::is_ascii).collect();
    assert!(letters.len() > 3);
    assert_eq!(letters.iter().collect::<BTreeSet<_>>().len(), letters.len());
}

#[test]
fn sequences_beyond_the_slots_keep_prompts_for_requests_to_come() {
    let prompts = ["the first question", "a second question", "question number three"];
    let sampling = Sampling { max_tokens: 6, temperature: 1.0, ..Sampling::default() };
    let requests: Vec<Request> =
        (0..24).map(|id| request(id, prompts[id as usize % 3], sampling.clone())).collect();
    let fed = |sequences| {
        let mut toy = Toy::new(sequences, 64, 1024);
        toy.slots = 2;
        let mut scheduler = Scheduler::new(toy);
        let done = complete(&mut scheduler, requests.clone(), &Cancel::default()).unwrap();
        for (request, completion) in requests.iter().zip(done) {
            assert_eq!(completion.text, alone(request, 1024, |_| false).0);
        }
        scheduler.stats().prompt_tokens
    };
    let (few, many) = (fed(2), fed(6));
    // With room to keep all three, each is fed once, but for its last token.
    let once: usize = prompts.iter().map(|p| p.len() + 1).sum();
    assert!(many <= (once + 24) as u64, "{many} prompt tokens fed");
    assert!(many < few, "{many} with spare sequences, {few} without");
}

#[test]
fn a_thought_that_the_template_begins_begins_in_the_text_too() {
    let mut toy = Toy::new(2, 64, 256);
    let source = "{{ messages[0].content }}\n{% if thinking %}<think>\n{% endif %}";
    toy.template = ChatTemplate::new(Some(source), "", "").unwrap();
    let mut engine = Scheduler::new(toy);
    let sampling = Sampling { max_tokens: 12, temperature: 1.0, ..Sampling::default() };
    for (thinking, prompt, begins) in [(false, "q", ""), (true, "q\n<think>", "<think>")] {
        let asked = Request { thinking, ..request(1, "q", sampling.clone()) };
        let (text, ..) = alone(&request(1, prompt, sampling.clone()), 256, |_| false);
        let done = complete(&mut engine, vec![asked], &Cancel::new()).unwrap();
        assert_eq!(done[0].text, format!("{begins}{text}"));
    }
}

/// What `scheduler` writes to a few batches of requests, each with another adapter, which begin alike.
/// `before_each` is done before an adapter is applied.
fn texts_with_adapters(
    scheduler: &mut Scheduler<Toy>,
    seed: u64,
    adapters: &[Option<&Path>],
    before_each: impl Fn(&mut Scheduler<Toy>),
) -> Vec<(u64, String)> {
    let mut texts = Vec::new();
    for (round, adapter) in adapters.iter().enumerate() {
        before_each(scheduler);
        Engine::set_adapter(scheduler, *adapter).unwrap();
        // Each round asks some of the same questions again.
        let requests: Vec<Request> = mixed_requests(seed + round as u64 % 2);
        let mut source = Collect::new(requests);
        scheduler.run(&mut source, &Cancel::new()).unwrap();
        texts.extend(source.done.into_iter().map(|(id, completion)| (id, completion.text)));
    }
    texts
}

#[test]
fn cells_kept_across_adapters_change_no_text() {
    let dir = tempfile::tempdir().unwrap();
    let [a, b] = ["a.gguf", "b.gguf"].map(|name| dir.path().join(name));
    std::fs::write(&a, "a").unwrap();
    std::fs::write(&b, "b").unwrap();
    let adapters = [None, Some(&*a), None, Some(&*b), Some(&*a), Some(&*a), None];
    let mut reused = (0, 0);
    for seed in 0..12 {
        for (sequences, slots, batch, context) in [
            (1, 1, 64, 128),
            (2, 1, 16, 200),
            (3, 2, 3, 150),
            (6, 3, 64, 400),
            (32, 16, 512, 4096),
            (8, 8, 40, 128),
        ] {
            let scheduler = || {
                let mut toy = Toy::new(sequences, batch, context);
                toy.slots = slots;
                Scheduler::new(toy)
            };
            let (mut keeping, mut clearing) = (scheduler(), scheduler());
            let kept = texts_with_adapters(&mut keeping, seed, &adapters, |_| ());
            let cleared = texts_with_adapters(&mut clearing, seed, &adapters, Scheduler::clear);
            assert_eq!(kept, cleared, "seed {seed}, {sequences} sequences, {slots} slots, context {context}");
            reused.0 += keeping.stats().reused_tokens;
            reused.1 += clearing.stats().reused_tokens;
        }
    }
    assert!(reused.0 > reused.1, "{reused:?}");
}

#[test]
fn the_prompt_of_a_fallback_is_still_there_after_a_direct_answer() {
    let dir = tempfile::tempdir().unwrap();
    let adapter = dir.path().join("adapter.gguf");
    std::fs::write(&adapter, "weights").unwrap();
    let mut toy = Toy::new(4, 64, 2048);
    toy.slots = 2;
    let mut scheduler = Scheduler::new(toy);
    let prompt = |question: &str| format!("Think step by step, as in these examples: 1, 2, 3. {question}");
    let sampling = Sampling { max_tokens: 4, ..Sampling::default() };
    let mut fed = Vec::new();
    for question in ["one?", "two?", "three?"] {
        for (adapter, text) in [(Some(&*adapter), question.to_string()), (None, prompt(question))] {
            Engine::set_adapter(&mut scheduler, adapter).unwrap();
            let before = scheduler.stats().prompt_tokens;
            complete(&mut scheduler, vec![request(1, &text, sampling.clone())], &Cancel::new()).unwrap();
            fed.push(scheduler.stats().prompt_tokens - before);
        }
    }
    let all = prompt("one?").len() as u64 + 1;
    assert_eq!(fed[1], all);
    assert!(fed[3] <= 8 && fed[5] <= 8, "{fed:?} of {all}");
}

#[test]
fn an_adapter_that_cannot_be_applied_leaves_no_cell_to_be_reused() {
    struct Refusing(Toy);
    // The toy, but for adapters.
    impl Decoder for Refusing {
        fn tokenize(&self, text: &str, special: bool) -> Result<Vec<Token>> {
            self.0.tokenize(text, special)
        }
        fn piece(&self, token: Token, out: &mut Vec<u8>) {
            self.0.piece(token, out);
        }
        fn is_end(&self, token: Token) -> bool {
            self.0.is_end(token)
        }
        fn chat_template(&self) -> &ChatTemplate {
            self.0.chat_template()
        }
        fn bos(&self) -> Option<Token> {
            None
        }
        fn vocab_size(&self) -> usize {
            self.0.vocab_size()
        }
        fn context_size(&self) -> usize {
            self.0.context_size()
        }
        fn max_sequences(&self) -> usize {
            self.0.max_sequences()
        }
        fn max_batch(&self) -> usize {
            self.0.max_batch()
        }
        fn decode(&mut self, rows: &[BatchRow]) -> Result<()> {
            self.0.decode(rows)
        }
        fn logits(&self, index: usize) -> &[f32] {
            self.0.logits(index)
        }
        fn copy_prefix(&mut self, from: SeqId, to: SeqId, len: u32) {
            self.0.copy_prefix(from, to, len);
        }
        fn truncate(&mut self, seq: SeqId, from: u32) {
            self.0.truncate(seq, from);
        }
        fn set_adapter(&mut self, path: Option<&Path>) -> Result<()> {
            self.0.set_adapter(path)?; // Applied, and then told to have failed.
            Err(Error::Engine("on purpose".into()))
        }
    }
    let mut scheduler = Scheduler::new(Refusing(Toy::new(4, 64, 512)));
    let ask = |scheduler: &mut Scheduler<Refusing>| {
        let requests = vec![request(1, "the same question", Sampling::default())];
        complete(scheduler, requests, &Cancel::new()).unwrap()[0].text.clone()
    };
    let without = ask(&mut scheduler);
    assert!(Engine::set_adapter(&mut scheduler, Some(Path::new("x.gguf"))).is_err());
    let reused = scheduler.stats().reused_tokens;
    assert_ne!(ask(&mut scheduler), without);
    assert_eq!(scheduler.stats().reused_tokens, reused);
}

#[test]
fn the_grammar_that_was_not_used_for_longest_is_forgotten_first() {
    let mut scheduler = Scheduler::new(Toy::new(1, 8, 64));
    let used = |scheduler: &mut Scheduler<Toy>, n: usize| {
        let sampling = Sampling { choices: vec![format!("choice {n}")], ..Sampling::default() };
        scheduler.constrained(&sampling).unwrap().unwrap().constraint
    };
    let hot = used(&mut scheduler, 0);
    for n in 1..4 * MAX_CONSTRAINTS {
        used(&mut scheduler, n);
        assert!(Arc::ptr_eq(&hot, &used(&mut scheduler, 0)), "forgotten after {n} others");
    }
    assert_eq!(scheduler.constraints.len(), MAX_CONSTRAINTS);
}

/// Conversations of several turns, each of which continues as soon as the model has answered.
struct Talk {
    requests: VecDeque<Request>,
    /// The messages of each conversation so far.
    messages: BTreeMap<u64, Vec<Message>>,
    turns: usize,
    done: Vec<(Request, Completion)>,
    sampling: Sampling,
}

impl Talk {
    fn new(conversations: u64, turns: usize, sampling: Sampling) -> Talk {
        let mut talk =
            Talk { requests: VecDeque::new(), messages: BTreeMap::new(), turns, done: vec![], sampling };
        for id in 0..conversations {
            talk.ask(id, 0, vec![Message::user(format!("{id} is the question"))]);
        }
        talk
    }

    fn ask(&mut self, conversation: u64, turn: u64, messages: Vec<Message>) {
        let id = conversation + 1000 * turn;
        self.messages.insert(id, messages.clone());
        let sampling = self.sampling.clone();
        self.requests.push_back(Request { id, messages, thinking: false, sampling, seed: 77 + id });
    }
}

impl Source for Talk {
    fn next(&mut self) -> Option<Request> {
        self.requests.pop_front()
    }
    fn finished(&mut self, completion: Completion) -> Result<()> {
        let (conversation, turn) = (completion.id % 1000, completion.id / 1000);
        let messages = self.messages[&completion.id].clone();
        let request = Request {
            id: completion.id,
            messages: messages.clone(),
            thinking: false,
            sampling: self.sampling.clone(),
            seed: 77 + completion.id,
        };
        if (turn as usize) + 1 < self.turns {
            let next = [Message::generated(&completion), Message::user(format!("and then, {turn}?"))];
            self.ask(conversation, turn + 1, [&messages[..], &next].concat());
            // The newest first, as curation does.
            self.requests.rotate_right(1);
        }
        self.done.push((request, completion));
        Ok(())
    }
    fn continues(&self, id: u64) -> bool {
        (id / 1000) as usize + 1 < self.turns && !self.done.iter().any(|(r, _)| r.id == id + 1000)
    }
}

/// What the toy writes after `prompt` by itself.
fn after(prompt: &[Token], request: &Request, limit: usize) -> Vec<Token> {
    let mut tokens = prompt.to_vec();
    for n in 0..request.sampling.max_tokens.min(limit - prompt.len()) {
        let uniform = sampler::uniform(request.seed, n as u64);
        let logits = Toy::logits_after(&tokens);
        let generated = &tokens[prompt.len()..];
        let draw = Draw { logits: &logits, sampling: &request.sampling, generated, allowed: None, uniform };
        tokens.push(draw.choose().unwrap().token);
        if tokens.last() == Some(&END) {
            break;
        }
    }
    tokens.split_off(prompt.len())
}

#[test]
fn a_conversation_goes_on_with_the_tokens_it_had_and_computes_no_cell_twice() {
    let mut ends = BTreeSet::new();
    for (conversations, turns) in [(1, 5), (7, 3), (20, 2)] {
        for (sequences, slots, batch, context) in [
            (1, 1, 64, 1024),
            (1, 1, 5, 1024),
            (3, 1, 64, 1024),
            (4, 4, 64, 1024),
            (4, 2, 3, 1024),
            (16, 16, 512, 8192),
            (8, 8, 64, 500),
        ] {
            let sampling = Sampling { temperature: 1.0, max_tokens: 24, ..Sampling::default() };
            let mut toy = Toy::new(sequences, batch, context);
            toy.slots = slots;
            toy.template = ChatTemplate::new(Some(TURNS), "", "").unwrap();
            let mut scheduler = Scheduler::new(toy);
            let mut talk = Talk::new(conversations, turns, sampling);
            scheduler.run(&mut talk, &Cancel::new()).unwrap();
            assert_eq!(talk.done.len(), conversations as usize * turns);
            let mut new_tokens = 0;
            for (request, completion) in &talk.done {
                let at = format!("request {}, {sequences} sequences, {slots} slots", request.id);
                let prompt = scheduler.decoder().prompt(&request.messages, false).unwrap();
                let generated = after(&prompt, request, context);
                assert_eq!(completion.prompt_tokens, prompt.len(), "{at}");
                assert_eq!(completion.generated_tokens, generated.len(), "{at}");
                let of_text = generated.strip_suffix(&[END]).unwrap_or(&generated);
                assert_eq!(&*completion.tokens, of_text, "{at}");
                ends.insert(format!("{:?}", completion.finish));
                let fed_before = match request.id.checked_sub(1000) {
                    None => 0,
                    Some(earlier) => {
                        let (_, said) = talk.done.iter().find(|(r, _)| r.id == earlier).unwrap();
                        // The prompt holds the exact tokens, of which the last was not fed.
                        assert!(prompt[said.prompt_tokens..].starts_with(&said.tokens), "{at}");
                        said.prompt_tokens + said.generated_tokens - 1
                    }
                };
                new_tokens += (prompt.len() - fed_before) as u64;
            }
            let (stats, toy) = (scheduler.stats(), scheduler.decoder());
            if context > 1000 {
                assert_eq!(stats.restarts, 0);
                if sequences == 1 {
                    assert_eq!(stats.prompt_tokens, new_tokens);
                } else {
                    assert!(stats.prompt_tokens <= new_tokens, "{stats:?}, {new_tokens} new tokens");
                    // Only the first three tokens can be those of several conversations.
                    let twice = &toy.fed_twice;
                    assert!(slots == 1 || twice.iter().all(|pos| *pos < 3), "twice: {twice:?}");
                }
            }
        }
    }
    assert!(ends.len() > 1, "{ends:?}");
}

#[test]
fn after_a_conversation_the_prompt_that_it_began_with_is_still_there() {
    let mut toy = Toy::new(2, 64, 1024);
    toy.slots = 1;
    let mut scheduler = Scheduler::new(toy);
    let sampling = Sampling { temperature: 1.0, max_tokens: 24, ..Sampling::default() };
    scheduler.run(&mut Talk::new(1, 2, sampling.clone()), &Cancel::new()).unwrap();
    let before = scheduler.stats().prompt_tokens;
    let again = request(5, "0 is the question", sampling);
    complete(&mut scheduler, vec![again], &Cancel::new()).unwrap();
    assert_eq!(scheduler.stats().prompt_tokens - before, 1);
}

#[test]
fn a_conversation_that_is_given_up_frees_its_cells() {
    /// Says that a conversation goes on until another request has finished.
    struct Hesitant(Vec<Request>, usize);
    impl Source for Hesitant {
        fn next(&mut self) -> Option<Request> {
            self.0.pop()
        }
        fn finished(&mut self, _: Completion) -> Result<()> {
            self.1 += 1;
            Ok(())
        }
        fn continues(&self, id: u64) -> bool {
            id == 1 && self.1 < 2
        }
    }
    let mut scheduler = Scheduler::new(Toy::new(2, 64, 512));
    let sampling = Sampling { max_tokens: 20, stop: vec!["b".into()], ..Sampling::default() };
    let longer = Sampling { max_tokens: 60, ..Sampling::default() };
    let mut source = Hesitant(vec![request(2, "two two two", longer), request(1, "one", sampling)], 0);
    scheduler.run(&mut source, &Cancel::new()).unwrap();
    scheduler.run(&mut source, &Cancel::new()).unwrap();
    assert!(scheduler.slots.iter().all(|slot| slot.continued.is_none()));
    let held: Vec<usize> = scheduler.slots.iter().map(|slot| slot.held.len()).collect();
    assert!(held.iter().all(|len| *len <= "two two two\n".len()), "{held:?}");
}

#[test]
fn the_tokens_of_a_text_that_ended_at_a_stop_string_have_none_of_it() {
    let sampling = Sampling { max_tokens: 60, stop: vec!["ab".into(), "ed".into()], ..Sampling::default() };
    let mut stopped = 0;
    for id in 0..30 {
        let mut scheduler = Scheduler::new(Toy::new(2, 64, 512));
        let requests = vec![request(id, "q", Sampling { temperature: 1.0, ..sampling.clone() })];
        let done = complete(&mut scheduler, requests, &Cancel::new()).unwrap().remove(0);
        let mut bytes = Vec::new();
        done.tokens.iter().for_each(|&token| scheduler.decoder().piece(token, &mut bytes));
        if done.finish == Finish::StopString {
            stopped += 1;
            assert_eq!(String::from_utf8_lossy(&bytes), done.text);
        }
    }
    assert!(stopped > 5);
}
