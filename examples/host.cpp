// An application with a llama.cpp of its own. It has loaded its model already; it lends its context
// to secondnature to sample with, and afterwards applies the adapter to the same context and asks.
//
//     host MODEL QUESTIONS OUT [--task NAME] [--eval FILE] [--sequences N] [--threads N] [--seed N]
//          [--curate-only] [--ask TEXT]...
//
// It prints how much memory the process and the model's file take, and which llama.cpp is where:
// there are two in this process, the application's and the one inside libsecondnature, and neither
// knows of the other. `make test-host` builds it against another version than the library's.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include <ggml.h>
#include <secondnature_llama.h>

namespace {

struct Options {
    std::string model, questions, out, task = "coin-flip", eval;
    uint32_t sequences = 32;
    uint32_t threads = 2;
    uint64_t seed = 0;
    bool curate_only = false;
    std::vector<std::string> ask;
};

[[noreturn]] void fail(const std::string &why) {
    std::fprintf(stderr, "host: %s\n", why.c_str());
    std::exit(1);
}

Options parse(int argc, char **argv) {
    Options options;
    std::vector<std::string> files;
    for (int i = 1; i < argc; i++) {
        const std::string name = argv[i];
        auto value = [&]() -> std::string {
            return i + 1 < argc ? argv[++i] : throw std::string(name + " needs a value");
        };
        if (name == "--curate-only") options.curate_only = true;
        else if (name == "--task") options.task = value();
        else if (name == "--eval") options.eval = value();
        else if (name == "--sequences") options.sequences = (uint32_t)std::stoul(value());
        else if (name == "--threads") options.threads = (uint32_t)std::stoul(value());
        else if (name == "--seed") options.seed = std::stoull(value());
        else if (name == "--ask") options.ask.push_back(value());
        else files.push_back(name);
    }
    if (files.size() != 3) fail("usage: host MODEL QUESTIONS OUT [options]");
    options.model = files[0];
    options.questions = files[1];
    options.out = files[2];
    return options;
}

// Memory, as Linux tells it.
struct Memory {
    double process = 0;   // MB resident
    double model = 0;     // MB of the model's file resident, once for each place it is mapped to
    int mappings = 0;     // places where more than a few pages of it are resident
};

Memory memory(const std::string &model) {
    Memory now;
    std::ifstream smaps("/proc/self/smaps");
    std::string line;
    bool of_model = false;
    while (std::getline(smaps, line)) {
        double kb = 0;
        if (std::sscanf(line.c_str(), "Rss: %lf kB", &kb) == 1) {
            now.process += kb / 1e3;
            if (of_model) {
                now.model += kb / 1e3;
                now.mappings += kb > 64 ? 1 : 0;
            }
        } else if (line.find('-') < line.find(' ')) { // "start-end perms offset device inode path"
            of_model = line.size() > model.size() &&
                       line.compare(line.size() - model.size(), model.size(), model) == 0;
        }
    }
    return now;
}

void print(const char *when, const Memory &now) {
    std::printf("memory %-18s %8.1f MB resident, of it %.1f MB of the model's file in %d place(s)\n", when,
                now.process, now.model, now.mappings);
}

// The most memory that there was while it curated.
struct Watch {
    const Options *options;
    Memory most;
};

void on_progress(const sn_progress *, void *user_data) {
    Watch &watch = *static_cast<Watch *>(user_data);
    const Memory now = memory(watch.options->model);
    watch.most.process = std::max(watch.most.process, now.process);
    watch.most.model = std::max(watch.most.model, now.model);
    watch.most.mappings = std::max(watch.most.mappings, now.mappings);
}

void on_log(int32_t, const char *line, size_t, void *) {
    if (std::strstr(line, "inside this library") != nullptr) std::printf("%s\n", line);
}

// Ends the program where a call failed.
void check(sn_status status, sn_error *&err) {
    if (status != SN_STATUS_OK) fail(sn_error_message(err, nullptr));
}

void distill(const Options &options, llama_model *model, llama_context *context) {
    sn_llama_decoder mine;
    if (const char *why = sn_llama_decoder_init(&mine, model, context)) fail(why);

    sn_error *err = nullptr;
    sn_model *base = nullptr;
    sn_task *task = nullptr;
    sn_questions *questions = nullptr;
    sn_run *run = nullptr;
    check(sn_model_open(options.model.c_str(), SN_NUL_TERMINATED, &base, &err), err);
    check(sn_task_load(options.task.c_str(), SN_NUL_TERMINATED, &task, &err), err);
    check(sn_questions_read(options.questions.c_str(), SN_NUL_TERMINATED, &questions, &err), err);
    check(sn_run_create(base, task, questions, options.out.c_str(), SN_NUL_TERMINATED, options.seed, &run, &err), err);

    Watch watch{&options, {}};
    sn_curate_params curate;
    sn_curate_params_init(&curate, sizeof curate);
    curate.progress = on_progress;
    curate.progress_user_data = &watch;
    curate.decoder = &mine.decoder;
    check(sn_run_curate(run, &curate, nullptr, nullptr, nullptr, &err), err);
    print("while it curated", watch.most);
    print("after curating", memory(options.model));

    if (!options.curate_only) {
        sn_train_params train;
        sn_train_params_init(&train, sizeof train);
        train.threads = options.threads;
        train.decoder = &mine.decoder;
        check(sn_run_train(run, &train, nullptr, nullptr, nullptr, &err), err);
        print("after training", memory(options.model));
    }
    if (!options.curate_only && !options.eval.empty()) {
        sn_questions *held_out = nullptr;
        sn_evaluate_params evaluate;
        sn_evaluate_params_init(&evaluate, sizeof evaluate);
        evaluate.decoder = &mine.decoder;
        check(sn_questions_read(options.eval.c_str(), SN_NUL_TERMINATED, &held_out, &err), err);
        check(sn_run_evaluate(run, held_out, &evaluate, nullptr, nullptr, nullptr, &err), err);
        sn_questions_free(held_out);
    }
    check(sn_run_report(run, nullptr, nullptr, &err), err);
    sn_run_free(run);
    sn_questions_free(questions);
    sn_task_free(task);
    sn_model_free(base);
    sn_llama_decoder_free(&mine);
}

// What any application does with an adapter, as its llama.cpp does it.
std::string answer(llama_model *model, llama_context *context, const std::string &question) {
    const llama_vocab *vocab = llama_model_get_vocab(model);
    const llama_chat_message message = {"user", question.c_str()};
    std::vector<char> text(question.size() + 1024);
    const int32_t size = llama_chat_apply_template(llama_model_chat_template(model, nullptr), &message, 1, true,
                                                   text.data(), (int32_t)text.size());
    if (size < 0 || size > (int32_t)text.size()) fail("the chat template is not one that llama.cpp knows");
    std::vector<llama_token> tokens((size_t)size + 8);
    const int32_t n = llama_tokenize(vocab, text.data(), size, tokens.data(), (int32_t)tokens.size(), true, true);
    if (n <= 0) fail("the question has no tokens");
    tokens.resize((size_t)n);

    llama_memory_clear(llama_get_memory(context), true);
    llama_sampler *greedy = llama_sampler_init_greedy();
    std::string said;
    llama_batch batch = llama_batch_get_one(tokens.data(), n);
    for (int i = 0; i < 16; i++) {
        if (llama_decode(context, batch) != 0) fail("llama_decode failed");
        llama_token token = llama_sampler_sample(greedy, context, -1);
        if (llama_vocab_is_eog(vocab, token)) break;
        char piece[64];
        const int32_t len = llama_token_to_piece(vocab, token, piece, sizeof piece, 0, false);
        said.append(piece, (size_t)std::max(len, 0));
        tokens[0] = token;
        batch = llama_batch_get_one(tokens.data(), 1);
    }
    llama_sampler_free(greedy);
    return said;
}

void use(const Options &options, llama_model *model, llama_context *context) {
    const std::string path = options.out + "/adapter.gguf";
    llama_adapter_lora *adapter = llama_adapter_lora_init(model, path.c_str());
    if (adapter == nullptr) fail("cannot load " + path);
#if SN_LLAMA_ADAPTERS == 1
    llama_set_adapter_lora(context, adapter, 1.0f);
#else
    float scale = 1.0f;
    llama_set_adapters_lora(context, &adapter, 1, &scale);
#endif
    for (const std::string &question : options.ask) {
        std::printf("asked: %s\nsaid: %s\n", question.c_str(), answer(model, context, question).c_str());
    }
}

} // namespace

int main(int argc, char **argv) try {
    const Options options = parse(argc, argv);
    std::setvbuf(stdout, nullptr, _IOLBF, 0);
    std::printf("llama.cpp of this application: ggml %s, session format %d\n", ggml_version(), LLAMA_SESSION_VERSION);
    llama_log_set([](ggml_log_level, const char *, void *) {}, nullptr);
    sn_error *err = nullptr;
    check(sn_log_set(SN_LOG_LEVEL_INFO, on_log, nullptr, &err), err);

    // The application's own business: a model and a context.
    llama_backend_init();
    llama_model *model = llama_model_load_from_file(options.model.c_str(), llama_model_default_params());
    if (model == nullptr) fail("cannot load " + options.model);
    llama_context_params wanted = llama_context_default_params();
    wanted.n_seq_max = options.sequences;
    wanted.n_ctx = std::max<uint32_t>(2048, 256 * options.sequences);
    wanted.n_batch = 512;
    wanted.n_ubatch = 512;
    wanted.n_threads = (int32_t)options.threads;
    wanted.n_threads_batch = (int32_t)options.threads;
    wanted.kv_unified = true;
    wanted.swa_full = true;
    llama_context *context = llama_init_from_model(model, wanted);
    if (context == nullptr) fail("no context");

    // As if it had served for a while: every page of the weights is in memory.
    answer(model, context, "Are you there?");
    print("before", memory(options.model));
    distill(options, model, context);
    print("after", memory(options.model));
    if (!options.curate_only) use(options, model, context);

    llama_free(context);
    llama_model_free(model);
    llama_backend_free();
    return 0;
} catch (const std::string &why) {
    fail(why);
} catch (const std::exception &why) {
    fail(why.what());
}
