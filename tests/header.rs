//! `include/secondnature.h` is what the source of `src/capi/` says, and belongs to this version.

use std::path::Path;

use cbindgen::{Builder, Config};

#[path = "common/declared.rs"]
mod declared;

/// The files in header order: what every call needs, then the calls, then what only some use.
const SOURCES: [&str; 8] = ["version", "status", "error", "model", "progress", "distill", "cancel", "string"];

fn generate(root: &Path) -> String {
    let mut config = Config::from_file(root.join("cbindgen.toml")).expect("cbindgen.toml is readable");
    let after = config.after_includes.take().expect("cbindgen.toml defines SN_VERSION");
    config.after_includes = Some(after.replace("@VERSION@", env!("CARGO_PKG_VERSION")));
    let builder = SOURCES.iter().fold(Builder::new().with_config(config), |builder, noun| {
        builder.with_src(root.join(format!("src/capi/{noun}.rs")))
    });
    let mut header = Vec::new();
    builder.generate().expect("the source is readable").write(&mut header);
    String::from_utf8(header).expect("the header is text")
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
        assert!(noun == "boundary" || SOURCES.contains(&noun), "{noun} is missing in tests/header.rs");
    }
}
