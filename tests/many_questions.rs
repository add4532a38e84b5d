//! Files of very many questions are read as a stream and take little memory.

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};

use secondnature::task::read_questions;

/// Counts the bytes in use.
struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = IN_USE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn two_hundred_thousand_short_questions_take_less_than_three_hundred_bytes_each() {
    const N: usize = 200_000;
    let file = tempfile::NamedTempFile::new().unwrap();
    {
        let mut out = std::io::BufWriter::new(file.as_file());
        for i in 0..N {
            let question =
                format!("Question number {i:07} about nothing at all, as long as most of them are, {i:07}?");
            writeln!(out, "{{\"question\": \"{question}\"}}").unwrap();
        }
        out.flush().unwrap();
    }
    let before = IN_USE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let questions = read_questions(file.path()).unwrap();
    let (held, peak) = (IN_USE.load(Ordering::Relaxed) - before, PEAK.load(Ordering::Relaxed) - before);
    assert_eq!((questions.len(), questions[N - 1].id.as_str()), (N, "L200000"));
    assert!(held < 300 * N, "{} bytes a question are held", held / N);
    assert!(peak < 500 * N, "{} bytes a question at the peak", peak / N);

    // A run takes a copy, whose texts are shared.
    let copy = questions.clone();
    let copied = IN_USE.load(Ordering::Relaxed) - before - held;
    assert_eq!(copy.len(), N);
    assert!(copied < 100 * N, "{} bytes a question are copied", copied / N);
}
