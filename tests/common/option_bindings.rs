//! The generator of what C and C++ see of the library's options: `src/capi/options.rs`, with the params
//! structs and enums from which cbindgen makes the C header, and `bindings/cpp/secondnature/options.hpp`.

use std::fmt::Write;

use secondnature::EngineOptions;
use secondnature::answer::RoutingOptions;
use secondnature::distill::{CurateOptions, DataMix};
use secondnature::evaluate::Acceptance;
use secondnature::options::{EnumInfo, OptionGroup, OptionInfo, OptionKind, OptionRow, paragraph};
use secondnature::preview::PreviewOptions;
use secondnature::train::TrainOptions;
use secondnature::tune::TuneOptions;

/// A params struct.
struct ParamsStruct {
    /// `train` for `sn_train_params`, `TrainParams` in C++.
    name: &'static str,
    doc: &'static str,
    members: Vec<Member>,
    callbacks: &'static [Callback],
}

/// A member that is an option or an input.
struct Member {
    info: OptionInfo,
    /// Its default as a text.
    default: String,
    /// Whether it is read by hand, as it is no option of a group.
    is_input: bool,
}

/// What a caller may lend to a call.
#[derive(Clone, Copy, PartialEq)]
enum Callback {
    Progress,
    Verdict,
    TrainStep,
    Verifier,
    Decoder,
    /// A decoder that must outlive the call.
    KeptDecoder,
    Cancel,
}

fn group<G: OptionGroup>() -> Vec<Member> {
    let defaults = G::default();
    let member =
        |info: &OptionInfo| Member { info: *info, default: defaults.get(info.name), is_input: false };
    G::OPTIONS.iter().map(member).collect()
}

fn input(name: &'static str, kind: OptionKind, lines: &'static str) -> Vec<Member> {
    let info = OptionInfo { name, lines, kind, is_optional: false, row: OptionRow::PLAIN };
    vec![Member { info, default: String::new(), is_input: true }]
}

/// The groups one after the other; an option that several have, such as threads, stands in the first.
fn members(groups: Vec<Vec<Member>>) -> Vec<Member> {
    let mut members = Vec::<Member>::new();
    for member in groups.into_iter().flatten() {
        if members.iter().all(|known| known.info.name != member.info.name) {
            members.push(member);
        }
    }
    members
}

fn structs() -> Vec<ParamsStruct> {
    use Callback::{Cancel, Decoder, KeptDecoder, Progress, TrainStep, Verdict, Verifier};
    vec![
        ParamsStruct {
            name: "distill",
            doc: "What sn_distill() is to do, and every option of its stages.",
            members: members(vec![
                input(
                    "task",
                    OptionKind::Path,
                    "Required: the name of a built-in task, or the path of a JSON file.",
                ),
                input(
                    "questions",
                    OptionKind::Path,
                    "Required: path of the questions to learn from, one a line, as JSON or plain text.",
                ),
                input(
                    "eval",
                    OptionKind::Path,
                    "Path of held-out questions to measure on, with gold answers if there are any. NULL: \
                     nothing is measured.",
                ),
                input(
                    "out_dir",
                    OptionKind::Path,
                    "Required: the run directory. A new one is created; the same run in it is resumed. Gets \
                     adapter.gguf and report.json.",
                ),
                input("seed", OptionKind::Count(64), "Seed of all sampling and training. Default 0."),
                input(
                    "force",
                    OptionKind::Switch,
                    "Go on where the first questions show that the task cannot work, and train where distilling does \
                     not look worthwhile, instead of SN_STATUS_REFUSED.",
                ),
                group::<EngineOptions>(),
                group::<CurateOptions>(),
                group::<Acceptance>(),
                group::<TrainOptions>(),
                group::<DataMix>(),
            ]),
            callbacks: &[Progress, Verdict, TrainStep, Verifier, Decoder, Cancel],
        },
        ParamsStruct {
            name: "tune",
            doc: "What sn_tune() is to choose, and how.",
            members: members(vec![
                input(
                    "questions",
                    OptionKind::Path,
                    "Required: path of the questions, one a line, as JSON or plain text. Answers in it are \
                     ignored.",
                ),
                input(
                    "out_dir",
                    OptionKind::Path,
                    "Required: the directory. Gets task.json and tune.json; an interrupted race in it is \
                     resumed.",
                ),
                input(
                    "tasks",
                    OptionKind::Paths,
                    "Who takes part: methods of the library (cot, rar-1, rar-2, s2a, bsm, thinking), of which \
                     none means all, and tasks: names of built-in ones or paths of JSON files. `tasks_count` \
                     texts, each as long as `tasks_len` has it, or ending in NUL where `tasks_len` is NULL.",
                ),
                input(
                    "description",
                    OptionKind::Path,
                    "What the questions are about, in one line. NULL: nothing is said.",
                ),
                input(
                    "answer",
                    OptionKind::Path,
                    "How answers are read where no task file says it: number, text, date, choice:yes,no or a \
                     rule in JSON. NULL: found out from direct answers.",
                ),
                input(
                    "gold",
                    OptionKind::Path,
                    "Path of questions with answers that help to choose, 20 or more, none of them among the others. NULL: \
                     none.",
                ),
                input("seed", OptionKind::Count(64), "Seed of all sampling. Default 0."),
                group::<EngineOptions>(),
                group::<TuneOptions>(),
            ]),
            callbacks: &[Progress, Decoder, Cancel],
        },
        ParamsStruct {
            name: "curate",
            doc: "How sn_run_curate() samples and votes.",
            members: members(vec![group::<EngineOptions>(), group::<CurateOptions>()]),
            callbacks: &[Progress, Verdict, Verifier, Decoder, Cancel],
        },
        ParamsStruct {
            name: "train",
            doc: "How sn_run_train() trains.",
            members: members(vec![group::<TrainOptions>(), group::<DataMix>()]),
            callbacks: &[Progress, TrainStep, Decoder, Cancel],
        },
        ParamsStruct {
            name: "evaluate",
            doc: "How sn_run_decide() and sn_run_evaluate() sample, vote and measure. Give both calls the \
                  same, so that the second finds what the first has sampled.",
            members: members(vec![
                group::<EngineOptions>(),
                group::<CurateOptions>(),
                group::<Acceptance>(),
                input(
                    "adapter",
                    OptionKind::Path,
                    "Path of the adapter that sn_run_evaluate() measures. NULL: the run's own.",
                ),
            ]),
            callbacks: &[Progress, Verdict, Verifier, Decoder, Cancel],
        },
        ParamsStruct {
            name: "answer",
            doc: "How sn_answerer_new() sets up. SN_WEIGHTS_AUTO leaves the weights as they are stored, since \
                  few sequences are sampled at once.",
            members: members(vec![group::<RoutingOptions>(), group::<EngineOptions>()]),
            callbacks: &[KeptDecoder],
        },
        ParamsStruct {
            name: "preview",
            doc: "What sn_preview_new() looks at.",
            members: members(vec![
                group::<PreviewOptions>(),
                group::<EngineOptions>(),
                input("seed", OptionKind::Count(64), "Seed of all sampling. Default 0."),
            ]),
            callbacks: &[Progress, Decoder, Cancel],
        },
    ]
}

/// The enums of all options, each once, with whether a value AUTO stands before those it lists.
fn enums() -> Vec<OptionInfo> {
    let mut enums = Vec::<OptionInfo>::new();
    for member in structs().into_iter().flat_map(|params| params.members) {
        let name = |info: &OptionInfo| match info.kind {
            OptionKind::Choice(info) => Some(info.name),
            _ => None,
        };
        if name(&member.info).is_some() && enums.iter().all(|known| name(known) != name(&member.info)) {
            enums.push(member.info);
        }
    }
    enums
}

/// `text` as the lines of a comment, each after `prefix`.
fn comment(prefix: &str, text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last_mut().expect("there is a line");
        if !last.is_empty() && prefix.len() + last.len() + 1 + word.len() > 100 {
            lines.push(word.into());
        } else {
            *last += if last.is_empty() { "" } else { " " };
            *last += word;
        }
    }
    lines.iter().map(|line| format!("{prefix}{line}\n")).collect()
}

fn camel(name: &str) -> String {
    let parts = name.split(['_', '-']);
    parts.map(|part| part[..1].to_uppercase() + &part[1..]).collect()
}

fn capitalized(text: &str) -> String {
    text.chars().take(1).flat_map(char::to_uppercase).chain(text.chars().skip(1)).collect()
}

impl Member {
    /// Whether init fills in a default that is not 0, so that 0 is a value like others.
    fn is_set_by_init(&self) -> bool {
        let is_number = matches!(self.info.kind, OptionKind::Count(_) | OptionKind::Real);
        is_number && !self.is_input && !self.info.zero_is_default() && self.default != "0"
    }

    /// The documentation of a member whose missing value is `none` (`NULL` in C, empty in C++).
    fn doc(&self, none: &str, is_set_by_init: &str) -> String {
        let info = &self.info;
        let doc = info.doc();
        if self.is_input && !matches!(info.kind, OptionKind::Switch) {
            return doc;
        }
        let range = info.row.range.text();
        let note = match info.kind {
            OptionKind::Switch => {
                return if none == "NULL" {
                    format!("Not 0: {}{}", doc[..1].to_lowercase(), &doc[1..])
                } else {
                    doc
                };
            }
            OptionKind::Choice(info) => format!("An sn_{}.", info.name),
            OptionKind::Count(_) | OptionKind::Real => {
                let default = match (info.is_optional, info.zero_is_default(), self.default.as_str()) {
                    (true, ..) => format!("0 for {}", info.row.unset),
                    (_, true, default) => format!("0 for the default, {default}"),
                    (.., "0") => "default 0".into(),
                    (.., default) => format!("{is_set_by_init} {default}"),
                };
                let unit = if info.row.is_bytes { "bytes" } else { range.as_str() };
                let parts: Vec<_> = [unit, &default].into_iter().filter(|part| !part.is_empty()).collect();
                capitalized(&parts.join("; ")) + "."
            }
            OptionKind::Names(_) => {
                let names: Vec<_> = info.values().into_iter().map(|(name, _)| name).collect();
                let names = names.join(",");
                let default = match self.default.as_str() {
                    "" => "none",
                    default if default == names => "all",
                    default => default,
                };
                format!("Some of {names}, with commas between them; {none} for {default}.")
            }
            OptionKind::Path => {
                let unset = if info.is_optional { info.row.unset } else { "none" };
                format!("A path; {none} for {unset}.")
            }
            OptionKind::Paths if none == "NULL" => format!(
                "`{0}_count` paths, each as long as `{0}_len` has it, or ending in NUL where `{0}_len` is NULL.",
                info.name
            ),
            OptionKind::Paths => "Paths.".into(),
        };
        format!("{doc} {note}")
    }

    /// The members of the Rust struct: name, type, default.
    fn fields(&self) -> Vec<(String, String, String)> {
        let name = self.info.name;
        let default = if self.is_set_by_init() { self.default.as_str() } else { "0" };
        let one = |kind: &str, default: String| vec![(name.to_string(), kind.to_string(), default)];
        let len = format!("{name}_len");
        match self.info.kind {
            OptionKind::Switch | OptionKind::Choice(_) => one("i32", "0".into()),
            OptionKind::Count(bits) => one(&format!("u{bits}"), default.into()),
            OptionKind::Real => one("f64", format!("{:?}", default.parse::<f64>().expect("a number"))),
            OptionKind::Names(_) | OptionKind::Path => vec![
                (name.into(), "*const c_char".into(), "null()".into()),
                (len, "usize".into(), "NUL_TERMINATED".into()),
            ],
            OptionKind::Paths => vec![
                (name.into(), "*const *const c_char".into(), "null()".into()),
                (len, "*const usize".into(), "null()".into()),
                (format!("{name}_count"), "usize".into(), "0".into()),
            ],
        }
    }

    /// The expression that reads the member as a `Given`.
    fn given(&self) -> String {
        let name = self.info.name;
        match self.info.kind {
            OptionKind::Switch | OptionKind::Choice(_) => format!("Given::Number(self.{name})"),
            OptionKind::Count(64) => format!("Given::Count(self.{name})"),
            OptionKind::Count(_) => format!("Given::Count(self.{name}.into())"),
            OptionKind::Real => format!("Given::Real(self.{name})"),
            OptionKind::Names(_) | OptionKind::Path => format!(
                "Given::Text(unsafe {{ optional_text(\"params.{name}\", self.{name}, self.{name}_len) }}?)"
            ),
            OptionKind::Paths => format!(
                "Given::Texts(unsafe {{ texts(\"params.{name}\", self.{name}, self.{name}_len, \
                 self.{name}_count) }}?)"
            ),
        }
    }
}

impl Callback {
    /// The members of the Rust struct: name, type, default, documentation.
    fn fields(self) -> Vec<(String, &'static str, &'static str, String)> {
        let (name, kind, doc) = match self {
            Callback::Progress => ("progress", "sn_progress_fn", "Receives progress; NULL for none."),
            Callback::Verdict => {
                ("verdict", "sn_verdict_fn", "Receives the verdict on each question; NULL for none.")
            }
            Callback::TrainStep => {
                ("step", "sn_train_step_fn", "Receives the figures of each optimiser step; NULL for none.")
            }
            Callback::Verifier => {
                ("verifier", "sn_verifier_fn", "Checks each sampled answer; NULL for no check.")
            }
            Callback::Decoder => {
                let doc = "The caller's own inference; NULL for the library's.";
                return vec![("decoder".into(), "*const sn_decoder", "null()", doc.into())];
            }
            Callback::KeptDecoder => {
                let doc = "The caller's own inference, which must stay usable until the answerer is freed; \
                           NULL for the library's.";
                return vec![("decoder".into(), "*const sn_decoder", "null()", doc.into())];
            }
            Callback::Cancel => {
                let doc = "Stops the work; NULL for none.";
                return vec![("cancel".into(), "*const sn_cancel", "null()", doc.into())];
            }
        };
        vec![
            (name.into(), kind, "None", doc.into()),
            (format!("{name}_user_data"), "*mut c_void", "null_mut()", format!("Handed to `{name}`.")),
        ]
    }
}

const RUST_HEAD: &str = "\
//! The params structs and enums of options, as C sees them.
//!
//! Generated by `make header` from the library's tables of options; do not edit.

use std::ffi::{c_char, c_void};
use std::mem::size_of;
use std::ptr::{null, null_mut};

use super::callbacks::Callbacks;
use super::cancel::sn_cancel;
use super::catch::catch;
use super::decoder::sn_decoder;
use super::failure::Failure;
use super::given::{Given, GivenOptions, texts};
use super::params::{self, Params};
use super::progress::sn_progress_fn;
use super::text::{NUL_TERMINATED, optional_text};
use super::train_step::sn_train_step_fn;
use super::verdict::sn_verdict_fn;
use super::verifier::sn_verifier_fn;
";

/// The source of `src/capi/options.rs`.
pub fn rust() -> String {
    let mut out = RUST_HEAD.to_string();
    for option in enums() {
        let OptionKind::Choice(EnumInfo { name, lines, .. }) = option.kind else { continue };
        out += "\n";
        out += &comment("/// ", &paragraph(lines));
        out += "#[allow(dead_code)] // Members hold its numbers.\n#[repr(i32)]\n#[derive(Debug, Clone, Copy, PartialEq, Eq)]\n";
        let _ = writeln!(out, "pub enum sn_{name} {{");
        for (at, (value, doc)) in option.values().into_iter().enumerate() {
            out += &comment("    /// ", &doc);
            let _ = writeln!(out, "    {} = {at},", camel(value));
        }
        out += "}\n";
    }
    for params in structs() {
        out += &rust_struct(&params);
    }
    out
}

fn rust_struct(params: &ParamsStruct) -> String {
    let c_name = format!("sn_{}_params", params.name);
    let mut out = "\n".to_string();
    let rules = "Fill it with the init function, then set what you need. 0 and NULL stand for the defaults, \
                 except where it is said that init sets the default: there, 0 is a value like others. \
                 Everything is borrowed for the duration of the call. Later versions append members, whose \
                 zero means what this version does.";
    let rules = rules.replace("the init function", &format!("{c_name}_init()"));
    out += &comment("/// ", params.doc);
    out += "///\n";
    out += &comment("/// ", &rules);
    let _ = writeln!(out, "#[repr(C)]\n#[derive(Clone, Copy)]\npub struct {c_name} {{");
    let size = format!("The size of this struct as the caller knows it. Set by {c_name}_init().");
    out += &comment("    /// ", &size);
    out += "    pub struct_size: usize,\n";
    let mut defaults = format!("        struct_size: size_of::<{c_name}>(),\n");
    for member in &params.members {
        out += &comment("    /// ", &member.doc("NULL", "init sets the default,"));
        for (name, kind, default) in member.fields() {
            let _ = writeln!(out, "    pub {name}: {kind},");
            let _ = writeln!(defaults, "        {name}: {default},");
        }
    }
    for (name, kind, default, doc) in params.callbacks.iter().flat_map(|callback| callback.fields()) {
        out += &comment("    /// ", &doc);
        let _ = writeln!(out, "    pub {name}: {kind},");
        let _ = writeln!(defaults, "        {name}: {default},");
    }
    out += "}\n\n";
    let _ = write!(
        out,
        "// SAFETY: numbers, pointers and function pointers that may be NULL; the last has the largest alignment.
unsafe impl Params for {c_name} {{
    const FIRST_SIZE: usize = size_of::<{c_name}>();
    const INIT: &'static str = \"{c_name}_init\";
    const DEFAULT: {c_name} = {c_name} {{
{defaults}    }};
}}

impl {c_name} {{
    /// The members that are options.
    ///
    /// # Safety
    /// The members point to what the struct's documentation says.
    #[allow(unused_unsafe)]
    pub(super) unsafe fn given(&self) -> Result<GivenOptions<'_>, Failure> {{
        Ok(GivenOptions(vec![
"
    );
    for member in &params.members {
        // The seed of a run is that of its training, too.
        if !member.is_input || member.info.name == "seed" {
            if matches!(member.info.kind, OptionKind::Names(_) | OptionKind::Path | OptionKind::Paths) {
                out += "            // SAFETY: by this function's contract.\n";
            }
            let _ = writeln!(out, "            (\"{}\", {}),", member.info.name, member.given());
        }
    }
    out += "        ]))\n    }\n";
    let reported = [Callback::Progress, Callback::Verdict, Callback::TrainStep];
    let reported: Vec<_> = params.callbacks.iter().filter(|callback| reported.contains(callback)).collect();
    if !reported.is_empty() {
        out += "\n    pub(super) fn callbacks(&self) -> Callbacks {\n        Callbacks {\n";
        for callback in &reported {
            let name = &callback.fields()[0].0;
            let _ = writeln!(out, "            {name}: (self.{name}, self.{name}_user_data),");
        }
        let rest = if reported.len() < 3 { "            ..Callbacks::default()\n" } else { "" };
        out += rest;
        out += "        }\n    }\n";
    }
    let _ = write!(
        out,
        "}}

/// Fills `params` with the defaults. `struct_size` is `sizeof *params`. Does nothing for NULL.
#[unsafe(no_mangle)]
pub unsafe extern \"C\" fn {c_name}_init(params: *mut {c_name}, struct_size: usize) {{
    // SAFETY: by the header's rules.
    catch!(or () => unsafe {{ params::init(params, struct_size) }})
}}
"
    );
    out
}

const CPP_HEAD: &str = "\
/**
 * Options of the calls. 0 and empty texts stand for the defaults, as does what is not set of a
 * std::optional; secondnature.h is the manual.
 *
 * Generated by `make header` from the library's tables of options; do not edit.
 */
#ifndef SECONDNATURE_OPTIONS_HPP
#define SECONDNATURE_OPTIONS_HPP

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include \"callbacks.hpp\"
#include \"cancel.hpp\"
#include \"decoder.hpp\"
#include \"handle.hpp\"

namespace secondnature {
inline namespace SECONDNATURE_ABI {
namespace detail {

/** What a params struct points to beside the texts of its C++ form. */
struct OptionStorage {
    std::vector<const char *> paths;
    std::vector<std::size_t> path_lens;
};

} // namespace detail
";

/// The source of `bindings/cpp/secondnature/options.hpp`.
pub fn cpp() -> String {
    let mut out = CPP_HEAD.to_string();
    for params in structs() {
        out += &cpp_struct(&params);
    }
    out += "
} // namespace SECONDNATURE_ABI
} // namespace secondnature

#endif // SECONDNATURE_OPTIONS_HPP
";
    out
}

/// A comment of C++ before a member.
fn cpp_comment(text: &str) -> String {
    let lines = comment("     * ", text);
    match lines.lines().count() {
        1 if text.len() + 11 <= 100 => format!("    /** {} */\n", text.trim()),
        _ => format!("    /**\n{lines}     */\n"),
    }
}

fn cpp_struct(params: &ParamsStruct) -> String {
    let (c_name, cpp_name) = (format!("sn_{}_params", params.name), format!("{}Params", camel(params.name)));
    let doc = format!("{} See {c_name}.", params.doc);
    let mut out = format!("\n/**\n{} */\nstruct {cpp_name} {{\n", comment(" * ", &doc));
    let mut set = String::new();
    let mut has_list = false;
    for member in &params.members {
        let name = member.info.name;
        let (kind, default) = match member.info.kind {
            OptionKind::Switch => ("bool".to_string(), " = false".to_string()),
            OptionKind::Choice(info) => {
                let first = member.info.values()[0].0;
                let first = format!("SN_{}_{}", info.name, first.replace('-', "_")).to_uppercase();
                (format!("sn_{}", info.name), format!(" = {first}"))
            }
            OptionKind::Count(bits) => (format!("std::uint{bits}_t"), " = 0".into()),
            OptionKind::Real => ("double".into(), " = 0".into()),
            OptionKind::Names(_) | OptionKind::Path => ("std::string".into(), String::new()),
            OptionKind::Paths => ("std::vector<std::string>".into(), String::new()),
        };
        out += &cpp_comment(&member.doc("empty", "default").replace("NULL", "Empty"));
        let is_set_by_init = member.is_set_by_init();
        let _ = match is_set_by_init {
            true => writeln!(out, "    std::optional<{kind}> {name};"),
            false => writeln!(out, "    {kind} {name}{default};"),
        };
        match member.info.kind {
            OptionKind::Names(_) | OptionKind::Path => {
                let _ = writeln!(set, "    set_text(params.{name}, raw.{name}, raw.{name}_len);");
            }
            OptionKind::Paths => {
                has_list = true;
                let _ = write!(
                    set,
                    "    for (const std::string &path : params.{name}) {{
        storage.paths.push_back(path.data());
        storage.path_lens.push_back(path.size());
    }}
    raw.{name} = storage.paths.data();
    raw.{name}_len = storage.path_lens.data();
    raw.{name}_count = storage.paths.size();
"
                );
            }
            _ if is_set_by_init => {
                let _ = writeln!(set, "    raw.{name} = params.{name}.value_or(raw.{name});");
            }
            _ => {
                let _ = writeln!(set, "    raw.{name} = params.{name};");
            }
        }
    }
    for callback in params.callbacks {
        let doc = &callback.fields()[0].3;
        out += &cpp_comment(&doc.replace("NULL for", "empty for"));
        out += match callback {
            Callback::Progress => "    OnProgress progress;\n",
            Callback::Verdict => "    OnVerdict verdict;\n",
            Callback::TrainStep => "    OnStep step;\n",
            Callback::Verifier => "    Verifier verifier;\n",
            Callback::Decoder | Callback::KeptDecoder => "    DecoderRef decoder;\n",
            Callback::Cancel => "    std::optional<Cancel> cancel;\n",
        };
    }
    let (storage, noexcept) = if has_list { ("storage", "") } else { ("", " noexcept") };
    let _ = write!(
        out,
        "}};

namespace detail {{

inline void set_options({c_name} &raw, const {cpp_name} &params, OptionStorage &{storage}){noexcept} {{
    {c_name}_init(&raw, sizeof raw);
{set}}}

}} // namespace detail
"
    );
    out
}

/// Every option's name, with those of its values.
pub fn rows() -> Vec<(OptionInfo, &'static str)> {
    structs().into_iter().flat_map(|p| p.members.into_iter().map(move |m| (m.info, p.name))).collect()
}
