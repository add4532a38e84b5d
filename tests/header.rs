//! The generator of `include/secondnature.h` and `bindings/exports.txt`, and the tests that both are
//! what it makes of `src/capi/`.
//!
//! cbindgen reads the declarations and doc comments; the functions below turn its output into a header
//! that a C programmer would have written. It is a test so that a header that has drifted fails;
//! `make header` sets `SN_WRITE_HEADER`, and the files are written.

use std::path::Path;

use cbindgen::{Builder, Config};
use regex::{Captures, Regex};

#[path = "common/declared.rs"]
mod declared;
#[path = "common/option_bindings.rs"]
mod option_bindings;

/// The files in header order: what every call needs; the one call, then its stages; then what only
/// some callers use.
const SOURCES: [&str; 23] = [
    "version",
    "status",
    "error",
    "string",
    "cancel",
    "model",
    "stage",
    "progress",
    "verdict",
    "train_step",
    "figures",
    "options",
    "distill",
    "tune",
    "task",
    "questions",
    "preview",
    "run",
    "adapter",
    "answerer",
    "decoder",
    "verifier",
    "log",
];

/// Files that declare nothing in the header.
const INTERNAL: [&str; 11] = [
    "callbacks",
    "catch",
    "entry",
    "failure",
    "given",
    "handle",
    "naming",
    "output",
    "panic_tests",
    "params",
    "text",
];

/// The functions before which a part of the header begins, and what it is about.
const PARTS: [(&str, &str); 3] = [
    ("sn_version", "1. One call. sn_distill() goes from questions to an adapter and a report."),
    ("sn_task_load", "2. Stages. The same one by one, what they work on, and how to use the result."),
    ("sn_decoder_init", "3. The caller's own parts: inference, a check of answers, a log."),
];

/// The examples indented, which in rustdoc are fenced and named to tell that they are not Rust.
fn indent_examples(header: &str) -> String {
    let mut is_example = false;
    let mut indented = String::new();
    for line in header.split_inclusive('\n') {
        match line.trim_start().strip_prefix("* ") {
            Some(fence) if fence.starts_with("```") => is_example = fence.trim_end() != "```",
            Some(code) if is_example => indented += &format!(" *     {code}"),
            _ => indented += line,
        }
    }
    indented
}

/// Each enum as constants and an integer of a known size, which is the same type in every dialect of
/// C and C++: cbindgen's own form needs twelve lines of preprocessor each.
fn simplify_enums(header: &str) -> String {
    let head = Regex::new(r"(?m)^enum (sn_\w+)\n#if [^\n]*\n  : int32_t\n#endif[^\n]*\n \{").unwrap();
    let tail = Regex::new(r"(?ms)^\};\n#ifndef __cplusplus\n.*?^#endif // __cplusplus\n").unwrap();
    let header = head.replace_all(header, "typedef int32_t $1;\nenum {");
    tail.replace_all(&header, "};\n").into_owned()
}

/// A comment of one line where it fits on one.
fn shorten_comments(header: &str) -> String {
    let comment = Regex::new(r"(?m)^( *)/\*\*\n *\* ([^\n]*)\n *\*/$").unwrap();
    let short = |found: &Captures| match format!("{}/** {} */", &found[1], &found[2]) {
        line if line.len() <= 100 => line,
        _ => found[0].to_string(),
    };
    comment.replace_all(header, short).into_owned()
}

/// SN_NODISCARD before every function that returns a status.
fn mark_statuses(header: &str) -> String {
    let function = Regex::new(r"(?m)^SN_API\s+(?P<rest>(?P<type>[a-z0-9_ ]+?[ *]+)sn_\w+\()").unwrap();
    let mark = |found: &Captures| {
        let nodiscard = if &found["type"] == "sn_status " { "SN_NODISCARD " } else { "" };
        format!("{nodiscard}SN_API {}", &found["rest"])
    };
    function.replace_all(header, mark).into_owned()
}

/// A heading before the first function of each part.
fn add_headings(header: String) -> String {
    PARTS.iter().fold(header, |header, (function, about)| {
        let call = format!("{function}(");
        let begins_line = |at: usize| header[..at].rfind('\n').map_or(0, |end| end + 1);
        let mut mentions = header.match_indices(&call).map(|(at, _)| begins_line(at));
        let declaration = mentions.find(|at| header[*at..].starts_with("SN_"));
        let comment = header[..declaration.expect(function)].rfind("/**").expect(function);
        format!("{}/* ---- {about} ---- */\n\n{}", &header[..comment], &header[comment..])
    })
}

fn generate(root: &Path) -> String {
    let mut config = Config::from_file(root.join("cbindgen.toml")).expect("cbindgen.toml is readable");
    let after = config.after_includes.take().expect("cbindgen.toml defines SN_VERSION");
    let version = [
        ("@MAJOR@", env!("CARGO_PKG_VERSION_MAJOR")),
        ("@MINOR@", env!("CARGO_PKG_VERSION_MINOR")),
        ("@PATCH@", env!("CARGO_PKG_VERSION_PATCH")),
    ];
    config.after_includes =
        Some(version.iter().fold(after, |after, (name, number)| after.replace(name, number)));
    let builder = SOURCES.iter().fold(Builder::new().with_config(config), |builder, file| {
        builder.with_src(root.join(format!("src/capi/{file}.rs")))
    });
    let mut header = Vec::new();
    builder.generate().expect("the source is readable").write(&mut header);
    let header = String::from_utf8(header).expect("the header is text");
    add_headings(mark_statuses(&shorten_comments(&simplify_enums(&indent_examples(&header)))))
}

/// Writes the generated text to `path` where SN_WRITE_HEADER is set, and compares what is there.
fn write_or_compare(path: &Path, wanted: &str) {
    if std::env::var_os("SN_WRITE_HEADER").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, wanted).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(found == wanted, "{} has drifted from src/; run `make header` and commit it", path.display());
}

#[test]
fn the_committed_header_and_exports_are_what_the_source_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    write_or_compare(&root.join("src/capi/options.rs"), &option_bindings::rust());
    write_or_compare(&root.join("bindings/cpp/secondnature/options.hpp"), &option_bindings::cpp());
    let header = generate(root);
    let exports = declared::functions(&header).map(|name| name + "\n").collect::<String>();
    write_or_compare(&root.join("include/secondnature.h"), &header);
    write_or_compare(&root.join("bindings/exports.txt"), &exports);
}

#[test]
fn the_header_names_this_version() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let header = std::fs::read_to_string(root.join("include/secondnature.h")).unwrap();
    assert!(header.contains(&format!("#define SN_VERSION \"{}\"\n", env!("CARGO_PKG_VERSION"))));
    assert!(header.contains(&format!("#define SN_VERSION_MINOR {}\n", env!("CARGO_PKG_VERSION_MINOR"))));
}

#[test]
fn every_file_of_the_boundary_is_in_the_header_or_known_as_internal() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mods = std::fs::read_to_string(root.join("src/capi/mod.rs")).unwrap();
    for file in mods.lines().filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';')) {
        let is_known = INTERNAL.contains(&file) || SOURCES.contains(&file);
        assert!(is_known, "{file} is missing in tests/header.rs");
    }
}

/// A new option is one row of a table: nothing else has to be written for it to be in C, C++ and files.
#[test]
fn every_row_of_the_tables_is_in_both_headers() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
    let (c, cpp) = (read("include/secondnature.h"), read("bindings/cpp/secondnature/options.hpp"));
    let rows = option_bindings::rows();
    assert!(rows.len() > 80, "{} rows", rows.len());
    for (row, group) in rows {
        let between = |text: &str, begin: &str, end: &str| {
            let begin = text.find(begin).unwrap_or_else(|| panic!("{begin} is missing"));
            text[begin..begin + text[begin..].find(end).unwrap()].to_string()
        };
        let in_c = between(&c, &format!("typedef struct sn_{group}_params {{"), "\n} ");
        assert!(Regex::new(&format!(r"\b{}[;,]", row.name)).unwrap().is_match(&in_c), "{} in C", row.name);
        let fill = between(&cpp, &format!("set_options(sn_{group}_params &raw"), "\n}");
        assert!(fill.contains(&format!("params.{}", row.name)), "{} in C++", row.name);
        if let secondnature::options::OptionKind::Choice(info) = row.kind {
            for (value, _) in row.values() {
                let constant = format!("SN_{}_{}", info.name, value.replace('-', "_")).to_uppercase();
                assert!(c.contains(&constant), "{constant} in C");
            }
        }
    }
}
