//! The shared library as a C or C++ program, or a host that loads it at run time, meets it.

#[path = "common/c.rs"]
mod c;

use std::ffi::{CStr, CString, OsStr, c_char, c_void};
use std::path::Path;
use std::process::Command;

use c::{ROOT, build, cc, cxx, fixture, library, run, source};
use secondnature::datasets::{Split, generate};
use secondnature::task::Question;

fn write_questions(path: &Path, n: usize, split: Split) {
    let questions = generate("coin-flip", n, 3, split).unwrap();
    let lines = |q: &Question| q.to_json_line() + "\n";
    std::fs::write(path, questions.iter().map(lines).collect::<String>()).unwrap();
}

#[test]
fn a_c_program_gets_errors_and_facts() {
    let dir = tempfile::tempdir().unwrap();
    let program = build(cc("c99"), &source("c/boundary.c"), dir.path());
    run(Command::new(program).arg(fixture()).current_dir(&dir));
}

/// Runs `c/distill.c` on `task` and so many questions to learn from and to measure on.
fn cancel_and_resume(task: impl AsRef<OsStr>, n_train: usize, n_eval: usize) {
    let dir = tempfile::tempdir().unwrap();
    let (train, eval) = (dir.path().join("train.jsonl"), dir.path().join("eval.jsonl"));
    write_questions(&train, n_train, Split::Train);
    write_questions(&eval, n_eval, Split::Test);
    let program = build(cc("c99"), &source("c/distill.c"), dir.path());
    let out = dir.path().join("run");
    run(Command::new(program).arg(fixture()).arg(task).args([&train, &eval, &out]));
    assert!(out.join("report.json").exists());
}

#[test]
fn a_c_program_cancels_and_resumes_a_whole_distillation() {
    cancel_and_resume("coin-flip", 24, 8);
}

/// The one whole distillation that is short enough for valgrind.
#[test]
fn a_c_program_distills_the_shortest_of_tasks() {
    cancel_and_resume(source("c/shortest.json"), 4, 2);
}

#[test]
fn a_c_program_reads_tasks_and_questions() {
    let dir = tempfile::tempdir().unwrap();
    let train = dir.path().join("train.jsonl");
    write_questions(&train, 8, Split::Train);
    let program = build(cc("c99"), &source("c/nouns.c"), dir.path());
    run(Command::new(program).arg(train).current_dir(&dir));
}

#[test]
fn a_c_program_looks_at_a_few_questions() {
    let dir = tempfile::tempdir().unwrap();
    let train = dir.path().join("train.jsonl");
    write_questions(&train, 8, Split::Train);
    let program = build(cc("c99"), &source("c/preview.c"), dir.path());
    run(Command::new(program).arg(fixture()).arg(train).current_dir(&dir));
}

#[test]
fn a_c_program_has_its_system_2_program_chosen() {
    let dir = tempfile::tempdir().unwrap();
    let train = dir.path().join("train.jsonl");
    write_questions(&train, 24, Split::Train);
    let program = build(cc("c99"), &source("c/tune.c"), dir.path());
    run(Command::new(program).arg(fixture()).args([&train, &dir.path().join("tuned")]).current_dir(&dir));
}

#[test]
fn params_of_older_and_newer_headers_are_served_and_wrong_numbers_refused() {
    let dir = tempfile::tempdir().unwrap();
    let train = dir.path().join("train.jsonl");
    write_questions(&train, 8, Split::Train);
    let program = build(cc("c99"), &source("c/params.c"), dir.path());
    run(Command::new(program).arg(fixture()).args([&train, &dir.path().join("run")]).current_dir(&dir));
}

#[test]
fn a_c_program_goes_through_the_stages_and_answers_with_the_adapter() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let stages = build(cc("c99"), &source("c/stages.c"), dir.path());
    run(Command::new(stages).arg(fixture()).arg(&out).current_dir(&dir));
    assert!(out.join("report.json").exists());
    let answers = build(cc("c99"), &source("c/answers.c"), dir.path());
    run(Command::new(answers).arg(fixture()).arg(out.join("adapter.gguf")).current_dir(&dir));
}

#[test]
fn a_c_program_cancels_from_another_thread_and_works_on_several() {
    let dir = tempfile::tempdir().unwrap();
    let mut compiler = cc("c99");
    compiler.arg("-pthread");
    let program = build(compiler, &source("c/threads.c"), dir.path());
    let output = run(Command::new(program).arg(fixture()).arg(dir.path()));
    print!("{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn a_c_program_brings_its_own_decoder_and_verifier() {
    let dir = tempfile::tempdir().unwrap();
    let (train, eval) = (dir.path().join("train.jsonl"), dir.path().join("eval.jsonl"));
    write_questions(&train, 40, Split::Train);
    write_questions(&eval, 6, Split::Test);
    let program = build(cc("c99"), &source("c/decoder.c"), dir.path());
    let out = dir.path().join("run");
    run(Command::new(program).arg(fixture()).args([&train, &eval, &out]));
    // The script agrees with itself wherever the verifier lets it.
    let verdicts = std::fs::read_to_string(out.join("verdicts.jsonl")).unwrap();
    let kept = verdicts.lines().filter(|line| line.contains(r#""kept":true"#)).count();
    assert!((1..40).contains(&kept), "{kept} kept");
}

/// How the C++ header can be compiled: with exceptions, with `.value()` that throws them, without.
const WAYS: [&str; 3] = ["-fexceptions", "-DSECONDNATURE_EXCEPTIONS", "-fno-exceptions"];

fn strict_cxx(std: &str, way: &str) -> Command {
    let mut command = cxx(std);
    command.args(["-Wshadow", "-Wconversion", "-pthread", way]);
    command
}

#[test]
fn the_cpp_header_and_its_programs_compile_in_every_dialect_by_every_compiler_there_is() {
    let mut names: Vec<String> = std::env::var("CXX").into_iter().collect();
    let works = |name: &str| Command::new(name).arg("--version").output().is_ok();
    names.extend(["g++", "clang++"].into_iter().filter(|name| works(name)).map(String::from));
    assert!(!names.is_empty(), "there is no C++ compiler");
    for name in &names {
        for (std, way) in ["c++17", "c++20"].into_iter().flat_map(|std| WAYS.map(|way| (std, way))) {
            let like = strict_cxx(std, way);
            let mut programs = vec!["tests/cpp/wrapper.cpp"];
            match (std, way) {
                ("c++17", "-DSECONDNATURE_EXCEPTIONS") => programs.push("tests/cpp/callbacks.cpp"),
                ("c++17", "-fexceptions") => programs.push("examples/distill.cpp"),
                ("c++17", _) => programs.push("tests/cpp/decoder.cpp"),
                _ => {}
            }
            let programs = programs.iter().map(|program| Path::new(ROOT).join(program));
            run(Command::new(name).args(like.get_args()).arg("-fsyntax-only").args(programs));
        }
    }
}

/// Each way has names of its own, so that files compiled either way do not get each other's code.
#[test]
fn a_cpp_program_may_be_of_files_that_use_exceptions_and_files_that_do_not() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, format!("#include <secondnature.hpp>\nnamespace sn = secondnature;\n{text}\n"))
            .unwrap();
        path
    };
    let plain = write("plain.cpp", "int plain() { return sn::Model::open(\"no-such.gguf\").status(); }");
    let throwing = write(
        "throwing.cpp",
        "int plain();\n\
         int main() try { sn::Model::open(\"no-such.gguf\").value(); }\n\
         catch (const sn::Exception &e) { return e.status() == plain() ? 0 : 1; }",
    );
    let object = dir.path().join("plain.o");
    run(strict_cxx("c++17", "-fno-exceptions").arg("-c").arg(plain).arg("-o").arg(&object));
    let mut compiler = strict_cxx("c++17", "-DSECONDNATURE_EXCEPTIONS");
    compiler.arg(&object);
    run(&mut Command::new(build(compiler, &throwing, dir.path())));
}

/// A result that is dropped is an error of the compiler, where warnings are.
#[test]
fn the_cpp_header_lets_no_failure_be_overlooked() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dropped.cpp");
    let source = "#include <secondnature.hpp>\nint main() { secondnature::Model::open(\"m\"); }\n";
    std::fs::write(&path, source).unwrap();
    for way in WAYS {
        let output = strict_cxx("c++17", way).arg("-fsyntax-only").arg(&path).output().unwrap();
        assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("nodiscard"));
    }
}

/// What is wrong with a result is said when it is used all the same.
#[test]
fn a_cpp_program_that_uses_what_is_not_there_ends_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("careless.cpp");
    let source = "#include <secondnature.hpp>\n\
        int main() { return secondnature::Model::open(\"no-such.gguf\")->name().empty(); }\n";
    std::fs::write(&path, source).unwrap();
    for way in WAYS {
        let program = build(strict_cxx("c++17", way), &path, dir.path());
        let output = Command::new(program).output().unwrap();
        assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("no-such.gguf"));
    }
}

#[test]
fn a_cpp_program_gets_results_and_moves_what_it_owns() {
    for way in WAYS {
        let dir = tempfile::tempdir().unwrap();
        let program = build(strict_cxx("c++17", way), &source("cpp/wrapper.cpp"), dir.path());
        run(Command::new(program).arg(fixture()).current_dir(&dir));
    }
}

#[test]
fn what_cpp_callbacks_throw_stops_the_work_and_arrives_at_the_caller() {
    let dir = tempfile::tempdir().unwrap();
    write_questions(&dir.path().join("questions.jsonl"), 24, Split::Train);
    let compiler = strict_cxx("c++17", "-DSECONDNATURE_EXCEPTIONS");
    let program = build(compiler, &source("cpp/callbacks.cpp"), dir.path());
    run(Command::new(program).arg(fixture()).arg(dir.path()));
}

#[test]
fn a_decoder_in_cpp_curates_decides_and_answers() {
    for way in WAYS {
        let dir = tempfile::tempdir().unwrap();
        let program = build(strict_cxx("c++17", way), &source("cpp/decoder.cpp"), dir.path());
        run(Command::new(program).arg(fixture()).arg(dir.path()));
    }
}

/// With the tiny model as its base.gguf, the example does what it says.
#[test]
fn the_cpp_example_distills_and_answers() {
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(fixture(), dir.path().join("base.gguf")).unwrap();
    write_questions(&dir.path().join("train.jsonl"), 100, Split::Train);
    write_questions(&dir.path().join("eval.jsonl"), 30, Split::Test);
    let example = Path::new(ROOT).join("examples/distill.cpp");
    let program = build(strict_cxx("c++17", "-fexceptions"), &example, dir.path());
    let asked = dir.path().join("asked.txt");
    std::fs::write(&asked, "A coin is heads up. Mia flips the coin. Is the coin still heads up?\n").unwrap();
    let output = run(Command::new(program).current_dir(&dir).stdin(std::fs::File::open(asked).unwrap()));
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(
        told.contains("samples say") && told.contains("% distilled") && told.ends_with("\nno\n"),
        "{told}"
    );
    assert!(dir.path().join("run/adapter.gguf").exists());
}

/// The first block of C in the README is a whole program.
#[test]
fn the_example_in_the_readme_compiles_and_reports_a_missing_model() {
    let readme = std::fs::read_to_string(Path::new(ROOT).join("README.md")).unwrap();
    let (_, rest) = readme.split_once("```c\n").expect("the README has a C example");
    let (example, _) = rest.split_once("```").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("example.c");
    std::fs::write(&path, example).unwrap();
    let program = build(cc("c99"), &path, dir.path());
    let output = Command::new(program).current_dir(&dir).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("base.gguf"));
}

/// As a plugin host does: open, look up, call from several threads, close.
#[test]
fn a_host_loads_the_library_at_run_time() {
    type Open = unsafe extern "C" fn(*const c_char, usize, *mut *mut c_void, *mut *mut c_void) -> i32;
    type Message = unsafe extern "C" fn(*const c_void, *mut usize) -> *const c_char;
    type Version = unsafe extern "C" fn() -> *const c_char;
    type Free = unsafe extern "C" fn(*mut c_void);

    // SAFETY: the library has no initialisers of its own; the types above are those of the header.
    unsafe {
        let library = libloading::Library::new(library()).unwrap();
        let version = library.get::<Version>(b"sn_version").unwrap();
        assert_eq!(CStr::from_ptr(version()).to_str().unwrap(), env!("CARGO_PKG_VERSION"));

        let open = library.get::<Open>(b"sn_model_open").unwrap();
        let message = library.get::<Message>(b"sn_error_message").unwrap();
        let error_free = library.get::<Free>(b"sn_error_free").unwrap();
        let model_free = library.get::<Free>(b"sn_model_free").unwrap();
        let path = CString::new(fixture().display().to_string()).unwrap();
        std::thread::scope(|scope| {
            for i in 0..8 {
                let (open, message, error_free, model_free, path) =
                    (&open, &message, &error_free, &model_free, &path);
                scope.spawn(move || {
                    let (mut model, mut error) = (std::ptr::null_mut(), std::ptr::null_mut());
                    if i % 2 == 0 {
                        assert_eq!(open(path.as_ptr(), usize::MAX, &mut model, &mut error), 0);
                        model_free(model);
                    } else {
                        let missing = format!("missing-{i}.gguf");
                        assert_eq!(open(missing.as_ptr().cast(), missing.len(), &mut model, &mut error), 2);
                        let text = CStr::from_ptr(message(error, std::ptr::null_mut()));
                        assert!(text.to_str().unwrap().contains(&missing));
                        error_free(error);
                    }
                });
            }
        });
    }
}
