//! Compiles programs against the shared library, the way `make install` lays it out.
//!
//! `make test-sanitize` reaches in here: `SN_TEST_LIBRARY` is another build of the library,
//! `SN_TEST_CFLAGS` are more flags for the programs, and `SN_TEST_RUNNER` is a command in front of
//! each.
#![allow(dead_code)]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const STRICT: [&str; 4] = ["-Wall", "-Wextra", "-pedantic", "-Werror"];

/// The library that cargo built together with this test, unless another is to be tested.
pub fn library() -> PathBuf {
    let path = match std::env::var_os("SN_TEST_LIBRARY") {
        Some(path) => Path::new(ROOT).join(path),
        None => {
            let here = std::env::current_exe().unwrap();
            here.parent().unwrap().join(libloading::library_filename("secondnature"))
        }
    };
    assert!(path.exists(), "{} is missing", path.display());
    path
}

/// The name that programs record.
pub fn soname() -> String {
    let (major, minor) = (env!("CARGO_PKG_VERSION_MAJOR"), env!("CARGO_PKG_VERSION_MINOR"));
    let abi = if major == "0" { format!("{major}.{minor}") } else { major.to_string() };
    format!("libsecondnature.so.{abi}")
}

pub fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}\n{}{}", text(&output.stdout), text(&output.stderr));
    output
}

/// `name`, a compiler, with the headers of this project and all warnings as errors.
pub fn compiler(name: &str, std: &str) -> Command {
    let mut command = Command::new(name);
    command.args(STRICT).arg(format!("-std={std}"));
    for headers in ["include", "bindings/c", "bindings/cpp"] {
        command.arg(format!("-I{ROOT}/{headers}"));
    }
    command
}

pub fn cc(std: &str) -> Command {
    compiler(&std::env::var("CC").unwrap_or_else(|_| "cc".into()), std)
}

pub fn cxx(std: &str) -> Command {
    compiler(&std::env::var("CXX").unwrap_or_else(|_| "c++".into()), std)
}

/// Compiles the one file `source` into a program in `dir`.
pub fn build(mut compiler: Command, source: &Path, dir: &Path) -> PathBuf {
    let shared = dir.join(soname());
    if !shared.exists() {
        std::os::unix::fs::symlink(library(), &shared).unwrap();
    }
    let program = dir.join(source.file_stem().unwrap());
    let runner = std::env::var("SN_TEST_RUNNER").ok();
    let binary = if runner.is_some() { program.with_extension("bin") } else { program.clone() };
    let flags = std::env::var("SN_TEST_CFLAGS").unwrap_or_default();
    run(compiler
        .args(flags.split_whitespace())
        .arg(source)
        .arg("-o")
        .arg(&binary)
        .arg(shared)
        .arg(format!("-Wl,-rpath,{}", dir.display())));
    if let Some(runner) = runner {
        std::fs::write(&program, format!("#!/bin/sh\nexec {runner} '{}' \"$@\"\n", binary.display()))
            .unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    program
}

pub fn source(name: &str) -> PathBuf {
    Path::new(ROOT).join("tests").join(name)
}

pub fn fixture() -> PathBuf {
    Path::new(ROOT).join("fixtures/coin-flip-tiny-q8_0.gguf")
}
