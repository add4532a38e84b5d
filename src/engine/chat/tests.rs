use super::*;

const CHATML: &str = "{% for m in messages %}{{'<|im_start|>' + m['role'] + '\n' + \
    m['content'] + '<|im_end|>' + '\n'}}{% endfor %}\
    {% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

fn conversation() -> Vec<Message> {
    vec![Message::system("Be brief."), Message::user("Hello?")]
}

#[test]
fn a_template_renders_roles_contents_and_the_generation_prompt() {
    let template = ChatTemplate::new(Some(CHATML), "<s>", "</s>").unwrap();
    assert_eq!(
        template.render(&conversation(), true, false).unwrap(),
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHello?<|im_end|>\n\
         <|im_start|>assistant\n"
    );
    assert!(!template.render(&conversation(), false, false).unwrap().contains("assistant"));
}

#[test]
fn a_model_without_a_template_gets_plain_lines() {
    let template = ChatTemplate::new(None, "<s>", "</s>").unwrap();
    assert!(template.is_plain());
    assert_eq!(template.render(&conversation(), true, false).unwrap(), "Be brief.\nHello?\n");
}

#[test]
fn blocks_are_trimmed_and_python_methods_work_as_in_hugging_face_tools() {
    let source = "{%- for m in messages %}\n    {%- if m.role.startswith('us') %}\n\
         {{- m.content.strip() | upper }}\n    {% endif %}\n{% endfor %}\n";
    let template = ChatTemplate::new(Some(source), "", "").unwrap();
    let text = template.render(&[Message::user(" hi ")], true, false).unwrap();
    assert_eq!(text, "HI\n");
}

#[test]
fn a_template_that_refuses_system_messages_gets_the_text_in_the_first_user_message() {
    let refusing = "{% if messages[0].role == 'system' %}\
         {{ raise_exception('System role not supported') }}{% endif %}\
         {% for m in messages %}[{{ m.role }}: {{ m.content }}]{% endfor %}";
    let dropping = "{% for m in messages if m.role != 'system' %}\
         [{{ m.role }}: {{ m.content }}]{% endfor %}";
    for source in [refusing, dropping] {
        let template = ChatTemplate::new(Some(source), "", "").unwrap();
        let text = template.render(&conversation(), true, false).unwrap();
        assert_eq!(text, "[user: Be brief.\n\nHello?]");
    }
}

#[test]
fn thinking_is_off_or_on_as_asked() {
    let source = "{% if enable_thinking is defined and enable_thinking is false %}\
         <think>\n\n</think>{% endif %}";
    let template = ChatTemplate::new(Some(source), "", "").unwrap();
    let text = |thinking| template.render(&[], true, thinking).unwrap();
    assert_eq!(text(false), "<think>\n\n</think>");
    assert_eq!(text(true), "");
}

#[test]
fn a_thinking_block_that_the_template_opens_differs_from_a_closed_one() {
    let opens = |source| ChatTemplate::new(Some(source), "", "").unwrap().opens_thinking();
    assert!(opens("{{ messages[0].content }}{% if thinking %}<think>\n{% endif %}"));
    assert!(!opens("{{ messages[0].content }}<think>\n\n</think>"));
    assert!(!ChatTemplate::plain().opens_thinking());
}

#[test]
fn a_thinking_block_that_a_template_always_opens_is_empty_where_the_model_shall_not_think() {
    let template = ChatTemplate::new(Some("{{ messages[0].content }}<think>\n"), "", "").unwrap();
    let text = |thinking| template.render(&[Message::user("Hm?")], true, thinking).unwrap();
    assert_eq!((text(true).as_str(), text(false).as_str()), ("Hm?<think>", "Hm?<think>\n\n</think>\n\n"));
    assert!(template.opens_thinking() && template.probed.thinking_mode);
}

#[test]
fn bad_templates_give_one_line_that_says_why() {
    let error = ChatTemplate::new(Some("{% if %}\n{{"), "", "").err().unwrap().to_string();
    assert!(error.starts_with("the model's chat template cannot be used"), "{error}");
    assert!(!error.contains('\n'), "{error}");
    let endless = "{% for a in range(9999) %}{% for b in range(9999) %}{{ b }}{% endfor %}\
         {% endfor %}";
    for source in [endless, "{{ messages[7].content.nothing }}", "{{ raise_exception('no') }}"] {
        let template = ChatTemplate::new(Some(source), "", "").unwrap();
        let error = template.render(&conversation(), true, false).unwrap_err().to_string();
        assert!(error.starts_with("the model's chat template cannot be used"), "{error}");
    }
    let nested = "{{ ".to_string() + &"(".repeat(100_000);
    assert!(ChatTemplate::new(Some(&nested), "", "").is_err());
}

#[test]
fn generation_marks_are_transparent() {
    let source = "{% for m in messages %}{%- generation -%} {{ m.content }} \
         {%- endgeneration %}{% endfor %}";
    let template = ChatTemplate::new(Some(source), "", "").unwrap();
    assert_eq!(template.render(&[Message::user("x")], true, false).unwrap(), "x");
}

#[test]
fn dates_are_written_as_strftime_writes_them() {
    let at = |seconds| Timestamp::from_second(seconds).unwrap();
    // date -u -d @1721984461 gives Fri Jul 26 09:01:01 UTC 2024.
    let text = |format| strftime(format, at(1_721_984_461));
    assert_eq!(text("%d %b %Y"), "26 Jul 2024");
    assert_eq!(text("%A, %B %e, %y %H:%M:%S %I %p %%"), "Friday, July 26, 24 09:01:01 09 AM %");
    assert_eq!(strftime("%F %T %a %e %h", at(951_782_400)), "2000-02-29 00:00:00 Tue 29 Feb");
    assert_eq!(strftime("%e %I %p", at(0)), " 1 12 AM");
    assert_eq!(strftime("%F %", at(0)), "1970-01-01 %");
    assert_eq!(strftime("%F %!", at(0)), "1970-01-01 %!");
}

#[test]
fn a_template_is_told_the_time_that_was_fixed() {
    let template = ChatTemplate::new(Some("{{ strftime_now('%d %b %Y') }}"), "", "").unwrap();
    let year = template.render(&[], true, false).unwrap()[7..].parse::<i32>().unwrap();
    assert!(year > 2024, "the clock's, at first");
    template.at(1_721_984_461);
    assert_eq!(template.render(&[], true, false).unwrap(), "26 Jul 2024");
}

fn template(source: &str) -> ChatTemplate {
    ChatTemplate::new(Some(source), "<s>", "</s>").unwrap()
}

/// Condensed from what well-known models have: each with what it renders for a system and a user message.
const KNOWN: &[(&str, &str, &str)] = &[
    (
        "Llama 3: a date, a system turn even without system message",
        "{{- bos_token }}{% set date = strftime_now('%d %b %Y') %}\
         {%- if messages[0]['role'] == 'system' %}{% set system = messages[0]['content']|trim %}\
         {% set messages = messages[1:] %}{% else %}{% set system = '' %}{% endif %}\
         {{- '<|start_header_id|>system<|end_header_id|>\n\nToday Date: ' + date + '\n\n' + system + '<|eot_id|>' }}\
         {%- for m in messages %}{{- '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' + m['content']|trim + '<|eot_id|>' }}{% endfor %}\
         {%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}",
        "<s><|start_header_id|>system<|end_header_id|>\n\nToday Date: 26 Jul 2024\n\nBe brief.<|eot_id|>\
         <|start_header_id|>user<|end_header_id|>\n\nHello?<|eot_id|>\
         <|start_header_id|>assistant<|end_header_id|>\n\n",
    ),
    (
        "Gemma 2: no system role, the model is called model",
        "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}\
         {% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}\
         {{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}\
         {% if m['role'] == 'assistant' %}{% set role = 'model' %}{% else %}{% set role = m['role'] %}{% endif %}\
         {{ '<start_of_turn>' + role + '\n' + m['content'] | trim + '<end_of_turn>\n' }}{% endfor %}\
         {% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}",
        "<s><start_of_turn>user\nBe brief.\n\nHello?<end_of_turn>\n<start_of_turn>model\n",
    ),
    (
        "Gemma 3: a string or typed parts",
        "{{ bos_token }}{% if messages[0]['role'] == 'system' %}\
         {% if messages[0]['content'] is string %}{% set first = messages[0]['content'] + '\n\n' %}\
         {% else %}{% set first = messages[0]['content'][0]['text'] + '\n\n' %}{% endif %}\
         {% set loop_messages = messages[1:] %}{% else %}{% set first = '' %}{% set loop_messages = messages %}{% endif %}\
         {% for m in loop_messages %}{{ '<start_of_turn>' + ('model' if m['role'] == 'assistant' else m['role']) + '\n' + (first if loop.first else '') }}\
         {% if m['content'] is string %}{{ m['content'] | trim }}{% elif m['content'] is iterable %}\
         {% for item in m['content'] %}{% if item['type'] == 'text' %}{{ item['text'] | trim }}{% endif %}{% endfor %}\
         {% else %}{{ raise_exception('Invalid content type') }}{% endif %}{{ '<end_of_turn>\n' }}{% endfor %}\
         {% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}",
        "<s><start_of_turn>user\nBe brief.\n\nHello?<end_of_turn>\n<start_of_turn>model\n",
    ),
    (
        "Mistral: instructions in brackets, the end only after the model's turn",
        "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] + ' [/INST]' }}\
         {% elif m['role'] == 'assistant' %}{{ m['content'] + eos_token }}\
         {% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}",
        "<s>[INST] Be brief.\n\nHello? [/INST]",
    ),
    (
        "Phi 3: system messages are dropped",
        "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}{{ '<|user|>\n' + m['content'] + '<|end|>\n<|assistant|>\n' }}\
         {% elif m['role'] == 'assistant' %}{{ m['content'] + '<|end|>\n' }}{% endif %}{% endfor %}",
        "<s><|user|>\nBe brief.\n\nHello?<|end|>\n<|assistant|>\n",
    ),
    (
        "Qwen3: thinking blocks of earlier turns are stripped",
        "{%- if messages[0].role == 'system' %}{{- '<|im_start|>system\n' + messages[0].content + '<|im_end|>\n' }}{%- endif %}\
         {%- for m in messages %}{%- if m.content is string %}{%- set content = m.content %}{%- else %}{%- set content = '' %}{%- endif %}\
         {%- if m.role == 'user' or (m.role == 'system' and not loop.first) %}{{- '<|im_start|>' + m.role + '\n' + content + '<|im_end|>\n' }}\
         {%- elif m.role == 'assistant' %}{{- '<|im_start|>assistant\n' + content.split('</think>')[-1].lstrip('\n') + '<|im_end|>\n' }}{%- endif %}{%- endfor %}\
         {%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}\
         {%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\n\n</think>\n\n' }}{%- endif %}{%- endif %}",
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHello?<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
    ),
    (
        "DeepSeek R1: the thinking block is opened",
        "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'system' %}{{ m['content'] }}{% endif %}{% endfor %}\
         {% for m in messages %}{% if m['role'] == 'user' %}{{ '<|User|>' + m['content'] }}{% endif %}\
         {% if m['role'] == 'assistant' %}{% set content = m['content'] %}{% if '</think>' in content %}\
         {% set content = content.split('</think>')[-1] %}{% endif %}{{ '<|Assistant|>' + content + eos_token }}{% endif %}{% endfor %}\
         {% if add_generation_prompt %}{{ '<|Assistant|><think>\n' }}{% endif %}",
        "<s>Be brief.<|User|>Hello?<|Assistant|><think>\n\n</think>\n\n",
    ),
    (
        "SmolLM2: a system message of its own where there is none",
        "{% for m in messages %}{% if loop.first and messages[0]['role'] != 'system' %}\
         {{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM<|im_end|>\n' }}{% endif %}\
         {{'<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n'}}{% endfor %}\
         {% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHello?<|im_end|>\n<|im_start|>assistant\n",
    ),
    (
        "Qwen2-VL: a string or typed parts",
        "{% for m in messages %}{% if loop.first and m['role'] != 'system' %}<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}\
         <|im_start|>{{ m['role'] }}\n{% if m['content'] is string %}{{ m['content'] }}<|im_end|>\n{% else %}\
         {% for content in m['content'] %}{% if content['type'] == 'image' %}<|image_pad|>{% elif 'text' in content %}{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endif %}{% endfor %}\
         {% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHello?<|im_end|>\n<|im_start|>assistant\n",
    ),
    (
        "SmolVLM: typed parts only, roles in capitals",
        "<|im_start|>{% for m in messages %}{{ m['role'] | capitalize }}\
         {% if m['content'][0]['type'] == 'image' %}{{':'}}{% else %}{{': '}}{% endif %}\
         {% for line in m['content'] %}{% if line['type'] == 'text' %}{{ line['text'] }}{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}\
         {% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}",
        "<|im_start|>System: Be brief.<end_of_utterance>\nUser: Hello?<end_of_utterance>\nAssistant:",
    ),
    (
        "typed parts for the user, a string for the system",
        "{% for m in messages %}{% if m.role == 'system' %}[{{ m.content }}]{% else %}\
         ({{ m.content | selectattr('type', 'equalto', 'text') | map(attribute='text') | join('') }}){% endif %}{% endfor %}",
        "[Be brief.](Hello?)",
    ),
];

#[test]
fn templates_like_those_of_known_models_keep_every_text() {
    for (name, source, expected) in KNOWN {
        let template = template(source);
        template.at(1_721_984_461);
        assert_eq!(template.probed.loses, None, "{name}");
        assert!(template.probed.conversations, "{name}");
        assert_eq!(template.render(&conversation(), true, false).unwrap(), *expected, "{name}");
        let chat =
            [Message::user("One?"), Message::assistant("<think>so</think>Two."), Message::user("Three?")];
        let text = template.render(&chat, true, false).unwrap();
        for part in ["One?", "Two.", "Three?"] {
            assert!(text.contains(part), "{name}: {text}");
        }
    }
}

#[test]
fn typed_parts_are_given_only_where_a_string_gets_lost() {
    let typed = |name: &str| {
        let (.., source, _) = KNOWN.iter().find(|(known, ..)| known.starts_with(name)).unwrap();
        template(source).probed.typed
    };
    for name in ["Llama 3", "Gemma 2", "Gemma 3", "Qwen3", "Qwen2-VL"] {
        assert_eq!(typed(name), probe::TypedRoles::default(), "{name}");
    }
    assert_eq!(typed("SmolVLM"), probe::TypedRoles { system: true, user: true, assistant: true });
    let mixed = typed("typed parts for the user");
    assert!(mixed.user && mixed.assistant && !mixed.system);
}

#[test]
fn dates_and_thinking_modes_are_found() {
    let probed = |name: &str| {
        let (.., source, _) = KNOWN.iter().find(|(known, ..)| known.starts_with(name)).unwrap();
        let found = template(source).probed;
        (found.dated, found.thinking_mode, found.opens_thinking, found.system_role)
    };
    assert_eq!(probed("Llama 3"), (true, false, false, true));
    assert_eq!(probed("Qwen3"), (false, true, false, true));
    assert_eq!(probed("DeepSeek"), (false, true, true, true));
    assert_eq!(probed("Phi 3"), (false, false, false, false));
}

#[test]
fn a_template_that_loses_the_question_is_known_when_it_is_compiled() {
    for source in [
        "{% for m in messages %}{{ m.role }}{% endfor %}",
        "{% for p in messages[0].content %}{% if p.type == 'image' %}<image>{% endif %}{% endfor %}",
        "",
    ] {
        let lost = template(source).probed.loses.unwrap();
        assert!(lost.contains("would not see the question"), "{lost}");
    }
    // A list that is printed is not typed content.
    let printed = "{% if messages[0].content is string %}{{ raise_exception('a list') }}{% endif %}{{ messages[0].content }}";
    assert!(template(printed).probed.loses.unwrap().contains("a list"));
}

#[test]
fn a_single_prompt_that_loses_its_text_is_an_error_that_shows_it() {
    let source =
        "{% for m in messages %}{% if 'image' not in m.content %}{{ m.content }}{% endif %}{% endfor %}";
    let template = template(source);
    assert_eq!(template.probed.loses, None);
    assert!(template.render(&[Message::user("Why?")], true, false).is_ok());
    let error = template.render(&[Message::user("Why an image?")], true, false).unwrap_err().to_string();
    assert!(error.contains("leaves out the text of the user message \"Why an image?\""), "{error}");
}

#[test]
fn trimmed_escaped_and_capital_texts_are_not_lost() {
    for source in ["{{ messages[0].content | trim | upper }}", "{{ messages[0].content | e }}"] {
        let text = " Is one & only one of the two sentences true, or are they both not? ";
        assert!(template(source).render(&[Message::user(text)], true, false).is_ok(), "{source}");
    }
}

#[test]
fn a_turn_ends_with_the_token_of_the_template_or_with_the_end_of_sequence() {
    let mut toy = crate::engine::toy::Toy::new(1, 8, 64);
    let ends = |toy: &crate::engine::toy::Toy| template_facts(toy).unwrap().turn_end;
    assert_eq!(ends(&toy), TurnEnd::EndOfSequence(crate::engine::toy::END));
    toy.template = template("{% for m in messages %}{{ m.content }}<end>{% endfor %}");
    assert_eq!(ends(&toy), TurnEnd::Template(crate::engine::toy::END));
    toy.template = template("{% for m in messages %}{{ m.content }};{% endfor %}");
    assert_eq!(ends(&toy), TurnEnd::EndOfSequence(crate::engine::toy::END));
    assert!(template_facts(&toy).unwrap().check().is_ok());
    toy.template = template("{% for m in messages %}{{ m.role }}{% endfor %}");
    assert!(template_facts(&toy).unwrap().check().is_err());
}

/// The tokens of a conversation whose answer was generated as the bytes `said`, and where in them
/// those bytes are.
fn continued(template: &str, said: &[u8], thinking: bool) -> (Vec<Token>, Option<usize>) {
    let mut toy = crate::engine::toy_with_turns(1, 1, 64);
    toy.template = ChatTemplate::new(Some(template), "", "").unwrap();
    let tokens: Arc<[Token]> = said.iter().map(|&byte| Token::from(byte)).collect();
    let text = String::from_utf8_lossy(said).into_owned();
    let answer = Message { tokens: Some(tokens.clone()), ..Message::assistant(text) };
    let messages = [Message::user("a question<end>"), answer, Message::user("and then?")];
    let prompt = prompt_tokens(&toy, &messages, thinking).unwrap();
    let at = prompt.windows(tokens.len()).position(|window| *window == *tokens);
    (prompt, at)
}

#[test]
fn an_earlier_turn_has_the_tokens_that_were_generated() {
    let turns = "{% for m in messages %}{{ m.role[0] }}:{{ m.content }}<end>{% endfor %}a:";
    // Half of a character is no text.
    let said = b" half \xc3, <end> ";
    let (prompt, at) = continued(turns, said, false);
    assert_eq!(at, Some("u:a question<end>".len() + 1 + "a:".len()));
    // In the messages "<end>" is text; two turns end with the token.
    assert_eq!(prompt.iter().filter(|&&token| token == crate::engine::toy::END).count(), 3);
    let trims = "{% for m in messages %}{{ m.content | trim }}<end>{% endfor %}";
    assert!(continued(trims, said, false).1.is_some(), "white space around a turn is no difference");
}

#[test]
fn a_template_that_changes_earlier_turns_gets_their_text() {
    let said = b"<think>hm</think>yes \xc3";
    let drops = "{% for m in messages %}{{ m.content.split('</think>')[-1] }}<end>{% endfor %}";
    let (prompt, at) = continued(drops, said, false);
    assert_eq!(at, None);
    let bytes: Vec<u8> = prompt.iter().filter_map(|&token| u8::try_from(token).ok()).collect();
    let text = String::from_utf8_lossy(&bytes);
    assert_eq!(text, "a question<end>yes \u{fffd}and then?");
    assert!(continued(drops, b"yes \xc3", false).1.is_some(), "it has nothing to drop here");
    // What the template wrote itself is not among the tokens.
    let opens = "{% for m in messages %}{{ m.content }}<end>{% endfor %}{% if thinking %}<think>{% endif %}";
    assert_eq!(continued(opens, b"<think>hm \xc3", true).1, None);
    assert!(continued(opens, b"hm \xc3", true).1.is_some());
}

#[test]
fn a_template_that_shows_one_message_loses_conversations_but_no_system_message() {
    for shown in ["messages[0]", "messages[-1]"] {
        let template = template(&format!("<user>{{{{ {shown}.content }}}}<model>"));
        assert_eq!(template.probed.loses, None, "{shown}");
        assert!(!template.probed.conversations && !template.probed.system_role, "{shown}");
        let asked = [Message::system("Be brief."), Message::user("Hello?")];
        assert_eq!(template.render(&asked, true, false).unwrap(), "<user>Be brief.\n\nHello?<model>");
        let chat = [Message::user("One?"), Message::assistant("Two."), Message::user("Three?")];
        let error = template.render(&chat, true, false).unwrap_err().to_string();
        assert!(error.contains("leaves out the text of the"), "{error}");
    }
    let few = template("{% for m in messages[-3:] %}{{ m.content }}{% endfor %}");
    assert!(!few.probed.conversations, "the first of five turns is lost");
}
