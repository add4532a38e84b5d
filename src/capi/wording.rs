//! Messages speak of the program's options and commands; a host knows fields and functions.

use std::sync::LazyLock;

use regex::Regex;

static COMMAND: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new("`secondnature ([a-z]+)`").ok());
static OPTION: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new("(?P<before>^|[ (])--(?P<name>[a-z]+(-[a-z]+)*)").ok());

/// `message` in the words of the C header: `--lora-plus` is "lora_plus", `secondnature train` is
/// sn_run_train().
pub(super) fn for_hosts(message: &str) -> String {
    let (Some(command), Some(option)) = (&*COMMAND, &*OPTION) else { return message.to_string() };
    let message = command.replace_all(message, |found: &regex::Captures| match &found[1] {
        "distill" => "sn_distill()".to_string(),
        stage => format!("sn_run_{stage}()"),
    });
    let in_quotes =
        |found: &regex::Captures| format!("{}\"{}\"", &found["before"], found["name"].replace('-', "_"));
    option.replace_all(&message, in_quotes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::for_hosts;

    #[test]
    fn options_and_commands_are_called_what_a_host_calls_them() {
        for (said, heard) in [
            ("--rank: 0 is outside 1..=256", "\"rank\": 0 is outside 1..=256"),
            ("lower --lr (now 1) or --lora-plus", "lower \"lr\" (now 1) or \"lora_plus\""),
            ("no questions (--eval)", "no questions (\"eval\")"),
            ("run `secondnature curate` first", "run sn_run_curate() first"),
            ("start one with `secondnature distill`", "start one with sn_distill()"),
            ("a--b.gguf: not a GGUF -- at all", "a--b.gguf: not a GGUF -- at all"),
        ] {
            assert_eq!(for_hosts(said), heard);
        }
    }
}
