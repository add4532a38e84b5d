use super::*;

fn parse(text: &str) -> Result<Vec<Question>> {
    parse_questions(text.as_bytes(), "q.jsonl")
}

fn refusal(bytes: &[u8]) -> String {
    let message = parse_questions(bytes, "q.jsonl").unwrap_err().to_string();
    assert!(!message.contains('\n'), "one line: {message}");
    message
}

#[test]
fn the_answer_of_a_worked_solution_is_its_last_line() {
    let questions = parse(
        r#####"{"question": "How many?", "answer": "48 / 2 = <<48/2=24>>24 clips.\n48 + 24 = 72\n#### 72\n"}
{"question": "Which heading?", "answer": ["#### of", "a\n#### b\nc"]}"#####,
    )
    .unwrap();
    assert_eq!(questions[0].gold, ["72"]);
    assert_eq!(questions[1].gold, ["of", "a\n#### b\nc"]);
}

#[test]
fn json_lines_give_ids_fields_and_gold() {
    let questions = parse(concat!(
        "\u{feff}{\"id\": \"a\", \"question\": \"Why?\", \"answer\": \"because\"}\r\n",
        "\n",
        "{\"question\": \"How many?\", \"answer\": [3, \"three\"], \"source\": {\"ignored\": 1}}\n",
        "{\"id\": 7, \"fields\": {\"a\": \"x\", \"b\": 2}, \"answer\": null}",
    ))
    .unwrap();
    assert_eq!(questions[0], Question::new("a", "Why?", vec!["because".into()]));
    assert_eq!(questions[1], Question::new("L3", "How many?", vec!["3".into(), "three".into()]));
    assert_eq!((questions[2].id.as_str(), questions[2].text()), ("7", ""));
    assert_eq!(questions[2].fields["b"], "2");
    assert!(questions[2].gold.is_empty());
}

#[test]
fn plain_text_gives_one_question_a_line() {
    let questions = parse("\n  What is up? \r\n\n[Sic] {braces} are fine\n").unwrap();
    assert_eq!(questions[0], Question::new("L2", "What is up?", vec![]));
    assert_eq!(questions[1], Question::new("L4", "[Sic] {braces} are fine", vec![]));
}

#[test]
fn a_json_object_in_a_plain_text_file_is_refused_with_the_line_that_made_it_plain() {
    for (text, at) in [
        ("// my data\n{\"id\": 1, \"question\": \"Why?\", \"answer\": \"no\"}", "q.jsonl:2: "),
        ("\n[train]\n\nWhy?\n  {\"question\": \"How?\"}  \n", "q.jsonl:5: "),
    ] {
        let message = refusal(text.as_bytes());
        assert!(message.starts_with(at) && message.contains("found a JSON object in a file"), "{message}");
        assert!(
            message.contains(if at.contains('5') { "since line 2" } else { "since line 1" }),
            "{message}"
        );
    }
    let kept = parse("Which set is it?\n{1, 2} or {3}?\n{x | x > 0}").unwrap();
    assert_eq!(kept.iter().map(|q| q.text()).collect::<Vec<_>>()[1..], ["{1, 2} or {3}?", "{x | x > 0}"]);
}

#[test]
fn a_written_line_reads_back_unchanged() {
    let fields = Fields::from([("a".to_string(), "1\n2".to_string()), ("question".into(), "\"ü\"?".into())]);
    for question in [
        Question::new("x", "y", vec![]),
        Question::new("x", "y", vec!["z".into()]),
        Question { id: "q".into(), fields: fields.clone(), gold: vec!["1".into(), "2".into()] },
        Question { id: "q".into(), fields: Fields::from([("a".into(), String::new())]), gold: vec![] },
    ] {
        let line = question.to_json_line();
        assert!(!line.contains('\n'));
        assert_eq!(parse(&line).unwrap(), [question]);
    }
}

#[test]
fn each_fault_is_refused_with_its_line_and_fix() {
    for (text, message) in [
        (
            "{\"question\": \"a\"}\n{\"question\": }",
            "q.jsonl:2: not a JSON object: expected value at column 14",
        ),
        ("{\"question\": \"a\"}\nplain", "q.jsonl:2: not a JSON object: expected value at column 1"),
        ("{\"question\": \"a\"}\n[1]", "q.jsonl:2: expected a JSON object {…}, found a list"),
        (
            "\n{\"id\": \"x\"}",
            "q.jsonl:2: field \"question\" is missing; each line needs \"question\" or \"fields\"",
        ),
        ("{\"question\": \"  \"}", "q.jsonl:1: \"question\" is empty"),
        ("{\"question\": []}", "q.jsonl:1: \"question\" must be text, found a list"),
        ("{\"fields\": {\"context\": \"a\", \"question\": \" \"}}", "q.jsonl:1: \"question\" is empty"),
        (
            "[\n {\"question\": \"a\"},\n {\"question\": \"b\"},\n]",
            "q.jsonl:2: found a JSON object in a file that is read as plain text, since line 1, its first, is none; \
             expected one JSON object on every line, or plain questions",
        ),
        ("{\"fields\": []}", "q.jsonl:1: \"fields\" must be an object of texts, found a list"),
        ("{\"fields\": {\"a\": []}}", "q.jsonl:1: field \"a\" of \"fields\" must be text, found a list"),
        (
            "{\"question\": \"a\", \"fields\": {\"question\": \"b\"}}",
            "q.jsonl:1: \"question\" and \"fields\" give two different questions; keep one",
        ),
        (
            "{\"question\": \"a\", \"id\": \"\"}",
            "q.jsonl:1: \"id\" is empty; leave it out or give each question its own",
        ),
        (
            "{\"question\": \"a\", \"answer\": {}}",
            "q.jsonl:1: \"answer\" must be text or a list of accepted texts, found an object",
        ),
        (
            "{\"question\": \"a\", \"id\": \"L2\"}\n{\"question\": \"b\"}",
            "q.jsonl:2: id \"L2\" is already used on line 1; ids must be unique",
        ),
        (
            "[{\"question\": \"a\"}]",
            "q.jsonl:1: found a JSON array, expected one JSON object a line (jq -c '.[]' makes it so)",
        ),
        ("", "q.jsonl: the file holds no question; expected one a line, as JSON or as plain text"),
        ("\n \r\n", "q.jsonl: the file holds no question; expected one a line, as JSON or as plain text"),
    ] {
        assert_eq!(refusal(text.as_bytes()), message);
    }
}

#[test]
fn a_question_that_is_a_number_is_its_digits() {
    let questions = parse("{\"question\": 12345678901234567890}\n{\"question\": 1.50}").unwrap();
    assert_eq!(questions.iter().map(Question::text).collect::<Vec<_>>(), ["12345678901234567890", "1.50"]);
}

#[test]
fn bytes_that_are_not_utf_8_are_refused_with_their_place() {
    let message = refusal(b"{\"question\": \"a\"}\n{\"question\": \"caf\xe9\"}\n");
    assert_eq!(message, "q.jsonl:2: byte 18 of the line is not UTF-8; save the file as UTF-8");
    assert!(refusal(b"\xff\xfe\0\0q\0\0\0").contains("UTF-32"));
}

#[test]
fn a_missing_file_is_named() {
    let message = read_questions(Path::new("no/such.jsonl")).unwrap_err().to_string();
    assert!(message.starts_with("cannot read no/such.jsonl: "), "{message}");
}

#[test]
fn every_usual_encoding_and_line_end_gives_the_same_questions() {
    let text = "{\"id\": \"a\", \"question\": \"Wie hei\u{df}t \u{1f98a}?\"}\n\n{\"question\": \"b\"}\n";
    let expected = parse(text).unwrap();
    assert_eq!(expected[1].id, "L3");
    for end in ["\n", "\r", "\r\n"] {
        let text = text.replace('\n', end);
        let le = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
        let be = |text: &str| text.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<u8>>();
        let marked = format!("\u{feff}{text}");
        let (utf8, marked_utf8) = (text.clone().into_bytes(), marked.clone().into_bytes());
        for bytes in [utf8, marked_utf8, le(&text), be(&text), le(&marked), be(&marked)] {
            assert_eq!(parse_questions(&bytes, "q").unwrap(), expected, "{end:?} {:?}", &bytes[..4]);
            // The same in pieces, at whose ends a character or a line end may be split.
            for size in [4, 7, 64] {
                let reader = BufReader::with_capacity(size, &bytes[..]);
                assert_eq!(super::parse(reader, "q", Path::new("q")).unwrap(), expected);
            }
        }
    }
    let plain = parse_questions(b"one\rtwo\r\nthree", "q").unwrap();
    let ids: Vec<(&str, &str)> = plain.iter().map(|q| (q.id.as_str(), q.text())).collect();
    assert_eq!(ids, [("L1", "one"), ("L2", "two"), ("L3", "three")]);
    let brackets = parse_questions(b"[one] is first\r\n\r[two]\rthree", "q").unwrap();
    let ids: Vec<(&str, &str)> = brackets.iter().map(|q| (q.id.as_str(), q.text())).collect();
    assert_eq!(ids, [("L1", "[one] is first"), ("L3", "[two]"), ("L4", "three")]);
}

#[test]
fn separators_of_unicode_stand_inside_a_question() {
    let questions = parse("one\u{2028}more\u{85}line\ntwo").unwrap();
    assert_eq!((questions.len(), questions[0].text()), (2, "one\u{2028}more\u{85}line"));
    let json = parse("{\"question\": \"a\u{2028}b\\u0000c\"}").unwrap();
    assert_eq!(json[0].text(), "a\u{2028}b\0c");
}

#[test]
fn numbers_keep_their_digits() {
    let line = r#"{"id": 9007199254740993, "fields": {"a": 1.10, "b": 123456789012345678901234567890, "c": 1e3, "d": -0, "e": true}, "answer": [0.10, 18446744073709551616]}"#;
    let question = parse(line).unwrap().remove(0);
    assert_eq!(question.id, "9007199254740993");
    let texts: Vec<&str> = question.fields.values().map(String::as_str).collect();
    assert_eq!(texts, ["1.10", "123456789012345678901234567890", "1e3", "-0", "true"]);
    assert_eq!(question.gold, ["0.10", "18446744073709551616"]);
    assert_eq!(parse(&question.to_json_line()).unwrap(), [question]);
}

#[test]
fn what_is_no_text_is_refused_with_its_line() {
    for (text, message) in [
        (
            &b"{\"question\": \"a\"}\n{\"id\": 1, \"question\": \"cut \\ud83d off\"}"[..],
            "q.jsonl:2: not a JSON object: half of a character (a lone surrogate such as \\ud83d) at column",
        ),
        (b"{\"question\": \"\\udc00\"}", "q.jsonl:1: not a JSON object: half of a character"),
        (b"{\"question\": \"\\ud83d", "q.jsonl:1: not a JSON object: EOF"),
        (b"one\ntwo\0three", "q.jsonl:2: byte 4 of the line is NUL; is this a text file?"),
        (b"\xff\xfea\0\n\0\0\xd8b\0", "q.jsonl:2: d800 is half of a character of UTF-16"),
        (b"\xff\xfea\0\n\0b\0\0\xdc", "q.jsonl:2: dc00 is half of a character of UTF-16"),
        (b"\xff\xfea\0\n\0b\0c", "q.jsonl:2: half a character of UTF-16 is missing"),
        (b"[1\nb\n\xff", "q.jsonl:3: byte 1 of the line is not UTF-8"),
        (b"{\"question\": \"a\", \"question\": \"b\"}", "q.jsonl:1: \"question\" is given twice; keep one"),
        (b"{\"fields\": {\"a\": 1, \"a\": 2}}", "q.jsonl:1: \"a\" is given twice; keep one"),
        (b"{\"question\": \"\\x\"}", "q.jsonl:1: not a JSON object: invalid escape at column 16"),
    ] {
        let found = refusal(text);
        assert!(found.starts_with(message), "{found}\nshould begin with\n{message}");
    }
    let whole = parse(r#"{"question": "\ud83e\udd8a"}"#).unwrap();
    assert_eq!(whole[0].text(), "\u{1f98a}");
}

#[test]
fn a_line_without_end_is_refused_before_it_fills_the_memory() {
    struct Endless;
    impl std::io::Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            buffer.fill(b'x');
            Ok(buffer.len())
        }
    }
    let reader = BufReader::with_capacity(1 << 20, Endless);
    let error = super::parse(reader, "q", Path::new("q")).unwrap_err().to_string();
    assert!(error.starts_with("q:1: the line is longer than 64 MB"), "{error}");
}

#[test]
fn random_files_never_panic_and_errors_name_a_line() {
    use rand::{Rng, SeedableRng};
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(5);
    let parts: [&[u8]; 24] = [
        b"{\"question\": \"a\"}",
        b"\n",
        b"\r",
        b"\r\n",
        b"{",
        b"}",
        b"[",
        b"]",
        b"\"",
        b"\\ud800",
        b"\\u0041",
        b"\xff\xfe",
        b"\xfe\xff",
        b"\xef\xbb\xbf",
        b"\0",
        b"\xc3",
        b"\xa9",
        b":",
        b",",
        b"\"id\"",
        b"{\"fields\": {\"a\": 1e400}}",
        b"plain text",
        b"{\"question\": \"b\", \"answer\": [1, 2]}\n",
        b"\xd8\x3d",
    ];
    let mut read = 0;
    for _ in 0..20_000 {
        let mut bytes = Vec::new();
        for _ in 0..rng.random_range(0..12) {
            match rng.random_range(0..10) {
                0 => bytes.push(rng.random()),
                _ => bytes.extend(parts[rng.random_range(0..parts.len())]),
            }
        }
        match parse_questions(&bytes, "q.jsonl") {
            Ok(questions) => {
                read += 1;
                for question in questions {
                    assert_eq!(parse(&question.to_json_line()).unwrap(), [question]);
                }
            }
            Err(error) => {
                let message = error.to_string();
                assert!(!message.contains('\n'), "{message:?}");
                let place = message.strip_prefix("q.jsonl:").unwrap();
                let has_line = place.chars().next().is_some_and(|c| c.is_ascii_digit());
                assert!(has_line || place.contains("holds no question"), "{message}");
            }
        }
    }
    assert!(read > 500, "{read} of them hold questions");
}
