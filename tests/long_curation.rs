//! Memory for ten thousand questions. The test has a process of its own, whose memory it measures.

use std::path::Path;
use std::time::Instant;

use secondnature::Context;
use secondnature::distill::{CurateOptions, Run, Setup};
use secondnature::engine::{Request, Scripted};
use secondnature::task::{Question, Task};

const MANY: usize = 10_000;

fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0) * 4096
}

#[test]
fn ten_thousand_questions_take_memory_only_for_their_votes() {
    for n in [MANY / 4, MANY / 2, MANY] {
        let (seconds, grown) = curate(n);
        assert!(grown < n * 3000, "{grown} bytes for {n} questions");
        println!("{n} questions: {seconds:.2} s, {:.3} ms each", 1000.0 * seconds / n as f64);
    }
}

/// The seconds that curation of `n` questions takes, and by how many bytes the process grows.
fn curate(n: usize) -> (f64, usize) {
    let dir = tempfile::tempdir().unwrap();
    let setup = Setup {
        model: Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/coin-flip-tiny-q8_0.gguf"),
        task: Task::load("coin-flip").unwrap(),
        questions: (0..n).map(|i| Question::new(format!("q{i}"), format!("is {i} up?"), vec![])).collect(),
        out: dir.path().join("run"),
        seed: 5,
    };
    let mut run = Run::create(&setup, &mut Context::new()).unwrap();
    let reasoning = format!("{}\nAnswer: yes", "word ".repeat(100));
    let mut engine = Scripted::new(|_: &Request| reasoning.clone());
    let (begin, before) = (Instant::now(), resident());
    let curation = run.curate(&CurateOptions::default(), &mut Context::new().engine(&mut engine)).unwrap();
    let (seconds, grown) = (begin.elapsed().as_secs_f64(), resident().saturating_sub(before));
    assert_eq!((curation.questions, curation.kept, curation.samples), (n, n, 4 * n));
    let written = std::fs::metadata(dir.path().join("run/samples.jsonl")).unwrap().len() as usize;
    // The 500 bytes of text of each sample are on disk; the verdict of a question has one text.
    assert!(written > 4 * n * 500, "{written}");
    (seconds, grown)
}
