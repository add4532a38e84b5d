//! `include/secondnature.h` is what the source of `src/capi/` says, and belongs to this version.

use std::path::Path;

use cbindgen::{Builder, Config};

#[path = "common/declared.rs"]
mod declared;

/// The files in header order: what every call needs; the one call, then its stages; then what only
/// some hosts use.
const SOURCES: [&str; 22] = [
    "version",
    "status",
    "error",
    "string",
    "cancel",
    "model",
    "progress",
    "verdict",
    "step",
    "distill",
    "task",
    "questions",
    "sampling",
    "curate",
    "train",
    "evaluate",
    "run",
    "adapter",
    "answerer",
    "decoder",
    "verifier",
    "log",
];

/// Files that hold no noun of the header.
const PLUMBING: [&str; 4] = ["boundary", "params", "testing", "naming"];

/// The functions before which a part of the header begins, and what it is about.
const PARTS: [(&str, &str); 3] = [
    ("sn_version", "1. One call. sn_distill() goes from questions to an adapter and a report."),
    ("sn_task_load", "2. Stages. The same one by one, what they work on, and what to do with the result."),
    ("sn_decoder_init", "3. The host's own parts: inference, a check of answers, a log."),
];

/// `header` with its examples indented, which rustdoc wants fenced and named to see that they are not
/// Rust.
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

fn generate(root: &Path) -> String {
    let mut config = Config::from_file(root.join("cbindgen.toml")).expect("cbindgen.toml is readable");
    let after = config.after_includes.take().expect("cbindgen.toml defines SN_VERSION");
    config.after_includes = Some(after.replace("@VERSION@", env!("CARGO_PKG_VERSION")));
    let builder = SOURCES.iter().fold(Builder::new().with_config(config), |builder, noun| {
        builder.with_src(root.join(format!("src/capi/{noun}.rs")))
    });
    let mut header = Vec::new();
    builder.generate().expect("the source is readable").write(&mut header);
    let header = indent_examples(&String::from_utf8(header).expect("the header is text"));
    PARTS.iter().fold(header, |header, (function, about)| {
        let call = format!("{function}(");
        let begins_line = |at: usize| header[..at].rfind('\n').map_or(0, |end| end + 1);
        let mut mentions = header.match_indices(&call).map(|(at, _)| begins_line(at));
        let declaration = mentions.find(|at| !header[*at..].starts_with([' ', '/']));
        let comment = header[..declaration.expect(function)].rfind("/**").expect(function);
        format!("{}/* ---- {about} ---- */\n\n{}", &header[..comment], &header[comment..])
    })
}

#[test]
fn the_committed_header_and_exports_are_what_the_source_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let header = generate(root);
    let exports = declared::functions(&header).map(|name| name + "\n").collect::<String>();
    for (path, wanted) in [("include/secondnature.h", header), ("bindings/exports.txt", exports)] {
        let path = root.join(path);
        if std::env::var_os("SN_WRITE_HEADER").is_some() {
            std::fs::write(&path, &wanted).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == wanted,
            "{} has drifted from src/capi; run `make header` and commit it",
            path.display()
        );
    }
}

#[test]
fn the_header_names_this_version() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let header = std::fs::read_to_string(root.join("include/secondnature.h")).unwrap();
    assert!(header.contains(&format!("#define SN_VERSION \"{}\"\n", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn every_noun_of_the_boundary_is_in_the_header() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mods = std::fs::read_to_string(root.join("src/capi/mod.rs")).unwrap();
    for noun in mods.lines().filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';')) {
        let is_known = PLUMBING.contains(&noun) || SOURCES.contains(&noun);
        assert!(is_known, "{noun} is missing in tests/header.rs");
    }
}
