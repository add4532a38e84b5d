//! Curation that is killed, or starved of disk, on a decoder that is a script.
//!
//! To be killed, the work must be another process: the tests start this test program again, with
//! only [`curate_in_the_directory_named`] to run.

use std::collections::HashSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rand::{Rng, SeedableRng};

use super::*;
use crate::curate::Sample;
use crate::engine::{BatchRow, ChatTemplate, Decoder, Scheduler, SeqId, Token};
use crate::run::Journal;

const END: Token = 256;
/// That of the fixture, though only bytes and the end are used.
const VOCABULARY: usize = 768;
const DIRECTORY: &str = "SN_SURVIVAL_DIR";
const PERTURBED: &str = "SN_SURVIVAL_PERTURBED";
const LARGEST_FILE: &str = "SN_SURVIVAL_LARGEST_FILE";
const QUESTIONS: usize = 900;

/// Bytes are tokens. After a line break it says "yes" or "no", as likely as the prompt's hash has it.
pub(super) struct Script {
    pub(super) template: ChatTemplate,
    pub(super) sequences: Vec<Vec<Token>>,
    pub(super) logits: Vec<Vec<f32>>,
}

impl Script {
    pub(super) fn new() -> Script {
        Script { template: ChatTemplate::plain(), sequences: vec![Vec::new(); 8], logits: Vec::new() }
    }

    fn logits_after(history: &[Token]) -> Vec<f32> {
        let mut logits = vec![f32::NEG_INFINITY; VOCABULARY];
        let said = history.iter().rposition(|t| *t == Token::from(b'\n')).map_or(0, |at| at + 1);
        match history[said..] {
            [] => {
                let hash = history.iter().fold(7u64, |h, t| (h ^ *t as u64).wrapping_mul(0x0100_0000_01b3));
                logits[usize::from(b'y')] = (hash >> 40) as f32 / (1 << 21) as f32 - 4.0;
                logits[usize::from(b'n')] = 0.0;
            }
            ref said => {
                let text: &[u8] = if said[0] == Token::from(b'y') { b"yes" } else { b"no" };
                let next = text.get(said.len()).map_or(END as usize, |b| usize::from(*b));
                logits[next] = 0.0;
            }
        }
        logits
    }
}

impl Decoder for Script {
    fn tokenize(&self, text: &str, _: bool) -> Result<Vec<Token>> {
        Ok(text.bytes().map(Token::from).collect())
    }
    fn piece(&self, token: Token, out: &mut Vec<u8>) {
        out.extend(u8::try_from(token).ok());
    }
    fn is_end(&self, token: Token) -> bool {
        token == END
    }
    fn chat_template(&self) -> &ChatTemplate {
        &self.template
    }
    fn bos(&self) -> Option<Token> {
        None
    }
    fn eos(&self) -> Option<Token> {
        Some(END)
    }
    fn vocab_size(&self) -> usize {
        VOCABULARY
    }
    fn context_size(&self) -> usize {
        2048
    }
    fn max_sequences(&self) -> usize {
        self.sequences.len()
    }
    fn max_batch(&self) -> usize {
        64
    }
    fn decode(&mut self, rows: &[BatchRow]) -> Result<()> {
        // So that there is time to be killed in.
        std::thread::sleep(Duration::from_micros(500));
        self.logits.clear();
        for row in rows {
            let sequence = &mut self.sequences[row.seq.0 as usize];
            sequence.push(row.token);
            self.logits.push(if row.logits { Script::logits_after(sequence) } else { Vec::new() });
        }
        Ok(())
    }
    fn logits(&self, index: usize) -> &[f32] {
        &self.logits[index]
    }
    fn copy_prefix(&mut self, from: SeqId, to: SeqId, len: u32) {
        self.sequences[to.0 as usize] = self.sequences[from.0 as usize][..len as usize].to_vec();
    }
    fn truncate(&mut self, seq: SeqId, from: u32) {
        self.sequences[seq.0 as usize].truncate(from as usize);
    }
    fn set_adapter(&mut self, _: Option<&Path>) -> Result<()> {
        Ok(())
    }
}

fn setup(out: &Path, perturbed: bool) -> Setup {
    let mut task = Task::from_json(
        r#"{"name": "t", "description": "d", "method": "rar-2",
            "system1": {"prompt": "{{ question }}"},
            "system2": [
                {"name": "think", "prompt": "Think: {{ question }}", "temperature": 1.0},
                {"name": "answer", "prompt": "{{ question }} after {{ think }}", "temperature": 1.0}
            ],
            "answer": {"kind": "choice", "choices": ["yes", "no"]},
            "perturbations": [
                {"name": "negated", "fields": {"question": "not {{ question }}"}, "answers": {"yes": "no", "no": "yes"}},
                {"name": "polite", "fields": {"question": "Please, {{ question }}"}, "distill": true}]}"#,
        "test",
    )
    .unwrap();
    if !perturbed {
        task.perturbations.clear();
    }
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/coin-flip-tiny-q8_0.gguf");
    let questions = (0..QUESTIONS).map(|i| Question::new(format!("q{i}"), format!("is {i} nice?"), vec![]));
    Setup { model, task, questions: questions.collect(), out: out.into(), seed: 5 }
}

fn curate(out: &Path, perturbed: bool) -> Result<crate::curate::Curation> {
    let mut run = Run::create(&setup(out, perturbed), &mut Context::new())?;
    let mut engine = Scheduler::new(Script::new());
    run.curate(&CurateOptions::default(), &mut Context::new().engine(&mut engine))
}

#[test]
#[ignore = "the process that the tests below start"]
fn curate_in_the_directory_named() {
    let Some(out) = std::env::var_os(DIRECTORY) else { return };
    if let Some(most) = std::env::var(LARGEST_FILE).ok().and_then(|n| n.parse().ok()) {
        let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
        // SAFETY: plain system calls; without its signal, passing the limit is an error like that of
        // a full disk.
        unsafe {
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
            assert_eq!(libc::setrlimit(libc::RLIMIT_FSIZE, &limit), 0);
        }
    }
    curate(Path::new(&out), std::env::var_os(PERTURBED).is_some()).unwrap();
}

fn start(out: &Path, perturbed: bool, largest_file: Option<u64>) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "distill::survival_tests::curate_in_the_directory_named"]);
    command.env(DIRECTORY, out).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if perturbed {
        command.env(PERTURBED, "1");
    }
    if let Some(most) = largest_file {
        command.env(LARGEST_FILE, most.to_string());
    }
    command.spawn().unwrap()
}

fn whole_lines(path: &Path) -> Vec<u8> {
    let bytes = std::fs::read(path).unwrap_or_default();
    let end = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    bytes[..end].to_vec()
}

#[test]
fn ten_kills_lose_no_sample_repeat_none_and_change_no_byte_of_the_verdicts() {
    let verdicts = survives_kills(false);
    assert!(verdicts.contains("\"yes\"") && verdicts.contains("\"no\"") && verdicts.contains("abandoned"));
}

#[test]
fn nor_do_they_where_questions_are_asked_in_several_forms() {
    let verdicts = survives_kills(true);
    assert!(verdicts.contains("where the question itself says") && verdicts.contains("; under polite: "));
}

fn survives_kills(perturbed: bool) -> String {
    let dir = tempfile::tempdir().unwrap();
    let (whole, killed) = (dir.path().join("whole"), dir.path().join("killed"));
    curate(&whole, perturbed).unwrap();
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(11);
    let mut before = Vec::new();
    for _ in 0..10 {
        let mut child = start(&killed, perturbed, None);
        std::thread::sleep(Duration::from_millis(rng.random_range(60..220)));
        child.kill().unwrap();
        child.wait().unwrap();
        let now = whole_lines(&killed.join("samples.jsonl"));
        assert!(now.starts_with(&before), "a finished sample was lost");
        before = now;
    }
    assert!(!killed.join("verdicts.jsonl").exists(), "it was over before the last kill");
    assert!(!before.is_empty(), "nothing was sampled before the last kill");
    assert!(start(&killed, perturbed, None).wait().unwrap().success());
    let read = |run: &Path, name: &str| std::fs::read(run.join(name)).unwrap();
    assert!(read(&killed, "verdicts.jsonl") == read(&whole, "verdicts.jsonl"));
    let samples = Journal::<Sample>::open(killed.join("samples.jsonl")).unwrap().1;
    let mut seen = HashSet::new();
    for sample in samples {
        let sample = sample.unwrap();
        let name = (sample.question.clone(), sample.perturbation.clone(), sample.index);
        assert!(seen.insert(name), "{sample:?} is there twice");
    }
    let verdicts = String::from_utf8(read(&whole, "verdicts.jsonl")).unwrap();
    assert_eq!(verdicts.lines().count(), QUESTIONS);
    verdicts
}

#[test]
fn a_full_disk_is_one_clear_error_and_the_run_resumes_when_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, starved) = (dir.path().join("whole"), dir.path().join("starved"));
    curate(&whole, false).unwrap();
    let output = start(&starved, false, Some(200_000)).wait_with_output().unwrap();
    assert!(!output.status.success());
    let complaint = String::from_utf8_lossy(&output.stdout);
    assert!(complaint.contains("append to") && complaint.contains("samples.jsonl"), "{complaint}");
    let kept = std::fs::read(starved.join("samples.jsonl")).unwrap();
    assert_eq!(
        kept,
        whole_lines(&starved.join("samples.jsonl")),
        "the line that did not fit was not removed"
    );
    curate(&starved, false).unwrap();
    let verdicts = |run: &Path| std::fs::read(run.join("verdicts.jsonl")).unwrap();
    assert!(verdicts(&starved) == verdicts(&whole));
}
