//! `include/secondnature.h` is what the source of `src/capi/` says, and belongs to this version.

use std::path::Path;

use cbindgen::{Builder, Config};

/// The files in header order: what every call needs, then the calls, then what only some use.
const SOURCES: [&str; 11] = [
    "version", "status", "error", "model", "progress", "distill", "cancel", "string", "decoder", "verifier",
    "log",
];

fn generate(root: &Path) -> String {
    let config = Config::from_file(root.join("cbindgen.toml")).expect("cbindgen.toml is readable");
    let builder = SOURCES.iter().fold(Builder::new().with_config(config), |builder, noun| {
        builder.with_src(root.join(format!("src/capi/{noun}.rs")))
    });
    let mut header = Vec::new();
    builder.generate().expect("the source is readable").write(&mut header);
    String::from_utf8(header).expect("the header is text")
}

#[test]
fn the_committed_header_is_what_the_source_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("include/secondnature.h");
    let wanted = generate(root);
    if std::env::var_os("SN_WRITE_HEADER").is_some() {
        std::fs::write(&path, &wanted).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap();
    assert!(
        found == wanted,
        "include/secondnature.h has drifted from src/capi; run `make header` and commit it"
    );
}

#[test]
fn the_header_names_this_version() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = std::fs::read_to_string(root.join("cbindgen.toml")).unwrap();
    assert!(config.contains(&format!("#define SN_VERSION \"{}\"", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn every_noun_of_the_boundary_is_in_the_header() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mods = std::fs::read_to_string(root.join("src/capi/mod.rs")).unwrap();
    for noun in mods.lines().filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';')) {
        let is_plumbing = ["boundary", "params"].contains(&noun);
        assert!(is_plumbing || SOURCES.contains(&noun), "{noun} is missing in tests/header.rs");
    }
}
