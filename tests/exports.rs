//! The boundary of the built library: what it exports and records, and what its headers need.

#[path = "common/c.rs"]
mod c;
#[path = "common/declared.rs"]
mod declared;

use std::collections::BTreeSet;
use std::ffi::{CStr, c_char, c_void};
use std::path::Path;
use std::process::Command;

use c::{ROOT, compiler, library, run, soname};

fn header() -> String {
    std::fs::read_to_string(Path::new(ROOT).join("include/secondnature.h")).unwrap()
}

/// The compilers that are here: GCC's and Clang's. Continuous integration has both.
fn compilers() -> Vec<(&'static str, &'static str)> {
    let is_here = |name: &str| Command::new(name).arg("--version").output().is_ok();
    let (here, missing): (Vec<_>, Vec<_>) =
        [("gcc", "g++"), ("clang", "clang++")].into_iter().partition(|(c, cxx)| is_here(c) && is_here(cxx));
    assert!(std::env::var_os("CI").is_none() || missing.is_empty(), "{missing:?} must be here for CI");
    assert!(!here.is_empty(), "neither gcc nor clang is here");
    here
}

/// The headers that secondnature.hpp includes.
fn cpp_headers() -> Vec<String> {
    let root = Path::new(ROOT).join("bindings/cpp");
    let mut headers = Vec::new();
    for dir in ["secondnature", "secondnature/detail"] {
        let files = std::fs::read_dir(root.join(dir)).unwrap().map(|file| file.unwrap().file_name());
        let names = files.map(|name| format!("{dir}/{}", name.to_str().unwrap()));
        headers.extend(names.filter(|name| name.ends_with(".hpp")));
    }
    assert!(headers.len() > 10);
    headers
}

#[test]
fn every_header_compiles_alone_and_twice_in_every_dialect() {
    const C: [&str; 3] = ["c99", "c11", "c17"];
    const CXX: [&str; 3] = ["c++11", "c++17", "c++20"];
    let dir = tempfile::tempdir().unwrap();
    let check = |name: &str, std: &str, header: &str, extension: &str| {
        for times in [1, 2] {
            let path = dir.path().join(format!("include.{extension}"));
            std::fs::write(&path, format!("#include <{header}>\n").repeat(times)).unwrap();
            run(compiler(name, std).arg("-fsyntax-only").arg(path));
        }
    };
    for (c, cxx) in compilers() {
        C.iter().for_each(|std| check(c, std, "secondnature.h", "c"));
        CXX.iter().for_each(|std| check(cxx, std, "secondnature.h", "cpp"));
        CXX[1..].iter().for_each(|std| check(cxx, std, "secondnature.hpp", "cpp"));
        for header in cpp_headers() {
            check(cxx, "c++17", &header, "cpp");
        }
    }
}

#[test]
fn the_library_exports_the_functions_of_its_header_and_nothing_else() {
    let output = run(Command::new("nm").args(["-D", "--defined-only"]).arg(library()));
    let symbols = String::from_utf8(output.stdout).unwrap();
    let exported: BTreeSet<&str> =
        symbols.lines().filter_map(|line| line.split_whitespace().last()).collect();
    let listed = std::fs::read_to_string(Path::new(ROOT).join("bindings/exports.txt")).unwrap();
    assert!(exported.len() > 10);
    assert_eq!(exported, listed.lines().collect());
    assert_eq!(declared::functions(&header()).collect::<Vec<_>>(), listed.lines().collect::<Vec<_>>());
}

#[test]
fn the_library_records_the_version_of_its_abi() {
    let output = run(Command::new("readelf").arg("-d").arg(library()));
    let dynamic = String::from_utf8(output.stdout).unwrap();
    let name = format!("[{}]", soname());
    assert!(dynamic.lines().any(|line| line.contains("SONAME") && line.contains(&name)), "{dynamic}");
}

#[test]
fn a_plugin_host_finds_every_function_of_the_header() {
    // SAFETY: the library has no initialisers that need anything.
    let library = unsafe { libloading::Library::new(library()) }.unwrap();
    let names: Vec<String> = declared::functions(&header()).collect();
    assert!(names.len() > 10);
    for name in names {
        // SAFETY: only looked up, as an address.
        let found = unsafe { library.get::<*const c_void>(name.as_bytes()) };
        assert!(found.is_ok(), "{name} is not exported");
    }
    // SAFETY: the type is the one that the header declares.
    let version = unsafe { library.get::<unsafe extern "C" fn() -> *const c_char>(b"sn_version") }.unwrap();
    // SAFETY: static text that ends in NUL.
    let version = unsafe { CStr::from_ptr(version()) };
    assert_eq!(version.to_str().unwrap(), env!("CARGO_PKG_VERSION"));
}
