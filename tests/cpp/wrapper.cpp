// The C++ header without a model at work: results, errors, moves, views. Compiles with and without
// exceptions. Argument: MODEL.
#include <secondnature.hpp>
#include <secondnature.hpp> // twice: it must not mind

#include <array>
#include <limits>
#include <thread>
#if __cplusplus >= 202002L
#include <span>
#endif

#include "../c/check.h"

namespace sn = secondnature;

template <typename T>
constexpr bool only_moves = std::is_nothrow_move_constructible_v<T> && std::is_nothrow_move_assignable_v<T> &&
                            !std::is_copy_constructible_v<T> && !std::is_copy_assignable_v<T>;
static_assert(only_moves<sn::Model> && only_moves<sn::Task> && only_moves<sn::Questions>);
static_assert(only_moves<sn::Run> && only_moves<sn::Adapter> && only_moves<sn::Answerer>);
static_assert(std::is_copy_constructible_v<sn::Cancel> && std::is_nothrow_move_assignable_v<sn::Cancel>);
static_assert(std::is_copy_constructible_v<sn::Error> && std::is_copy_constructible_v<sn::Answer>);
// A text is no verdict, and a number no text.
static_assert(!std::is_constructible_v<sn::Result<bool>, const char *>);
static_assert(!std::is_convertible_v<int, sn::Result<std::string>>);
static_assert(std::is_convertible_v<const char *, sn::Result<std::string>>);
// What would be gone at once is not looked at.
static_assert(!std::is_constructible_v<sn::Span<float>, std::vector<float>>);
static_assert(!std::is_constructible_v<sn::Span<float>, std::vector<double> &>);

static bool contains(std::string_view text, std::string_view part) { return text.find(part) != text.npos; }

static sn::Result<int> half(int number) {
    if (number % 2 != 0) {
        return sn::Error(SN_STATUS_INPUT, "odd", {"because"});
    }
    return number / 2;
}

static void results() {
    sn::Result<int> good = half(4);
    CHECK(good && good.ok() && *good == 2 && good.status() == SN_STATUS_OK);
    CHECK(good.message().empty() && good.causes().empty() && std::move(good).value_or(7) == 2);

    const sn::Result<int> bad = half(3);
    CHECK(!bad && !bad.ok() && bad.status() == SN_STATUS_INPUT && bad.message() == "odd");
    CHECK(bad.causes().size() == 1 && bad.error().causes()[0] == "because" && !bad.error().exception());
    CHECK(half(3).value_or(7) == 7);

    const sn::Result<bool> no = false;
    CHECK(no && !*no);
    sn::Result<std::unique_ptr<int>> owner = std::make_unique<int>(5);
    const std::unique_ptr<int> owned = *std::move(owner);
    CHECK(*owned == 5);
    const sn::Result<void> done{};
    const sn::Result<void> failed = sn::Error("no");
    CHECK(done && !failed && failed.status() == SN_STATUS_ENGINE && failed.message() == "no");
}

static void spans() {
    std::vector<float> numbers{1, 2, 3};
    const sn::Span<float> view(numbers);
    CHECK(view.size() == 3 && view[2] == numbers[2] && view.begin() == numbers.data() && !view.empty());
    std::array<int, 2> array{4, 5};
    int sum = 0;
    for (const int number : sn::Span<int>(array)) {
        sum += number;
    }
    CHECK(sum == 9 && sn::Span<int>().empty());
#if __cplusplus >= 202002L
    const std::span<const float> span = view;
    CHECK(span.data() == view.data() && span.size() == 3);
#endif
}

static sn::Model model(const char *path) {
    sn::Result<sn::Model> missing = sn::Model::open("no-such.gguf");
    CHECK(!missing && missing.status() == SN_STATUS_IO && contains(missing.message(), "no-such.gguf"));
    CHECK(!missing.causes().empty());
    CHECK(sn::Model::open("\xff").status() == SN_STATUS_INVALID_ARGUMENT);

    sn::Result<sn::Model> opened = sn::Model::open(path);
    CHECK(opened && opened->architecture() == "llama" && !opened->name().empty() && opened->parameters() > 1000);
    const std::string_view name = opened->name();
    sn::Model taken = *std::move(opened);
    // What it lent goes with it; what it leaves behind is empty and harmless.
    CHECK(taken.name().data() == name.data());
    CHECK(opened->get() == nullptr && opened->name().empty() && opened->parameters() == 0);
    CHECK(sn::distill(*opened, {}).status() == SN_STATUS_INVALID_ARGUMENT);
    sn::Model again = sn::Model(std::exchange(taken, sn::Model(nullptr)));
    CHECK(again.parameters() > 1000 && taken.get() == nullptr);
    return again;
}

static void cancels() {
    sn::Cancel cancel;
    sn::Cancel copy = cancel;
    CHECK(copy.get() != cancel.get() && copy.get() != nullptr);
    const sn::Cancel moved = std::move(cancel);
    cancel = moved;
    CHECK(cancel.get() != nullptr);
    std::thread([stop = cancel] { stop.request(); }).join();
}

static void tasks() {
    const std::vector<std::string_view> names = sn::Task::builtin();
    CHECK(std::find(names.begin(), names.end(), "coin-flip") != names.end());
    for (const std::string_view name : names) {
        CHECK(sn::Task::load(name)->name() == name);
    }
    const sn::Result<sn::Task> unknown = sn::Task::load("no-such-task");
    CHECK(unknown.status() == SN_STATUS_INPUT && contains(unknown.message(), "coin-flip"));

    sn::Result<sn::Task> task = sn::Task::load("coin-flip");
    const sn::Result<sn::Task> parsed = sn::Task::parse(task->json());
    CHECK(parsed && parsed->name() == "coin-flip" && parsed->json() == task->json());
    CHECK(sn::Task::parse("{").status() == SN_STATUS_INPUT);
    const sn::Task moved = *std::move(task);
    CHECK(moved.name() == "coin-flip" && task->name().empty());
}

static void questions() {
    sn::Questions questions;
    CHECK(questions.count() == 0);
    CHECK(questions.add("Is it?") && questions.add("Is it not?", "no"));
    CHECK(questions.add("And?", std::nullopt, "third"));
    const sn::Result<void> twice = questions.add("And?", "yes", "third");
    CHECK(twice.status() == SN_STATUS_INPUT && contains(twice.message(), "third"));
    CHECK(questions.add("").status() == SN_STATUS_INPUT);
    CHECK(questions.add("Empty?", "", "").status() == SN_STATUS_INPUT);
    CHECK(questions.count() == 3);

    CHECK(sn::Questions::parse("one?\ntwo?\n")->count() == 2);
    CHECK(contains(sn::Questions::parse("{\"answer\": \"yes\"}").message(), "question"));
    CHECK(sn::Questions::read("no-such.jsonl").status() == SN_STATUS_IO);
    sn::Result<sn::Questions> made = sn::Questions::generate("coin-flip", 5, 1, SN_SPLIT_TRAIN);
    CHECK(made && made->count() == 5);
    CHECK(sn::Questions::generate("no-such", 5, 1, SN_SPLIT_TEST).status() == SN_STATUS_INPUT);
    questions = *std::move(made);
    CHECK(questions.count() == 5 && made->count() == 0);
    CHECK(made->add("Gone?").status() == SN_STATUS_INVALID_ARGUMENT);
}

static void runs(const sn::Model &model) {
    CHECK(sn::Run::open("no-such-run").status() == SN_STATUS_RUN);
    const sn::Result<sn::Run> none = sn::Run::create(model, *sn::Task::load("coin-flip"), sn::Questions(), "empty");
    CHECK(none.status() == SN_STATUS_INPUT);
    const sn::Result<sn::Adapter> adapter = sn::Adapter::open("no-such.gguf");
    CHECK(adapter.status() == SN_STATUS_IO && contains(adapter.message(), "no-such.gguf"));
    const sn::Result<sn::Answerer> taskless = sn::Answerer::load(model, "");
    CHECK(taskless.status() == SN_STATUS_INPUT);

    sn::Run null(nullptr);
    CHECK(null.curate().status() == SN_STATUS_INVALID_ARGUMENT);
    CHECK(null.decide().status() == SN_STATUS_INVALID_ARGUMENT);
    CHECK(null.train().status() == SN_STATUS_INVALID_ARGUMENT);
    CHECK(null.evaluate(sn::Questions()).status() == SN_STATUS_INVALID_ARGUMENT);
    CHECK(null.report().status() == SN_STATUS_INVALID_ARGUMENT && !null.adapter_path());
    sn::Adapter no_adapter(nullptr);
    CHECK(no_adapter.rank() == 0 && no_adapter.task().empty() && no_adapter.describe().empty());
}

/** A field with a value that is refused, so that the message tells whether it arrived. */
template <typename Params>
struct Wrong {
    const char *name;
    void (*set)(Params &);
};

template <typename Params, typename Call>
static void refuse(const std::vector<Wrong<Params>> &wrong, const Params &good, Call call) {
    for (const Wrong<Params> &field : wrong) {
        Params params = good;
        field.set(params);
        const auto result = call(params);
        const bool named = !result && contains(result.message(), field.name);
        if (!named) {
            std::fprintf(stderr, "%s: %s\n", field.name, result.message().c_str());
        }
        CHECK(named);
    }
}

template <typename Params>
static std::vector<Wrong<Params>> wrong_sampling() {
    return {{"threads", [](Params &p) { p.threads = 1025; }},
            {"slots", [](Params &p) { p.slots = 257; }},
            {"weights", [](Params &p) { p.weights = static_cast<sn_weights>(3); }},
            {"samples", [](Params &p) { p.samples = 1001; }},
            {"threshold", [](Params &p) { p.threshold = 1.5; }},
            {"memory", [](Params &p) { p.max_memory = 1; }}};
}

static void fields(const sn::Model &model) {
    const sn::Result<sn::Task> task = sn::Task::load("coin-flip");
    const sn::Questions questions = *sn::Questions::generate("coin-flip", 3, 1, SN_SPLIT_TRAIN);
    sn::Result<sn::Run> made = sn::Run::create(model, *task, questions, "fields", 7);
    CHECK(made && !made->adapter_path());
    sn::Run run = *std::move(made);
    CHECK(sn::Run::create(model, *task, questions, "fields", 8).status() == SN_STATUS_RUN);
    CHECK(sn::Run::open("fields").status() == SN_STATUS_RUN); // it is in use
    refuse<sn::CurateParams>(wrong_sampling<sn::CurateParams>(), {}, [&](const auto &p) { return run.curate(p); });
    std::vector<Wrong<sn::EvaluateParams>> wrong{
        {"threads", [](auto &p) { p.threads = 1025; }},
        {"slots", [](auto &p) { p.slots = 257; }},
        {"weights", [](auto &p) { p.weights = static_cast<sn_weights>(3); }},
        {"min_kept_share", [](auto &p) { p.min_kept_share = 1.5; }},
    };
    refuse<sn::EvaluateParams>(wrong, {}, [&](const auto &p) { return run.decide(&questions, p); });
    wrong.pop_back();
    refuse<sn::EvaluateParams>(wrong, {}, [&](const auto &p) { return run.evaluate(questions, p); });
    refuse<sn::TrainParams>({{"rank", [](auto &p) { p.rank = 257; }},
                             {"alpha", [](auto &p) { p.alpha = -1; }},
                             {"lr", [](auto &p) { p.lr = 2; }},
                             {"lora_plus", [](auto &p) { p.lora_plus = -1; }},
                             {"dropout", [](auto &p) { p.dropout = 1; }},
                             {"warmup", [](auto &p) { p.warmup = 2; }},
                             {"clip", [](auto &p) { p.clip = -1; }},
                             {"weight_decay", [](auto &p) { p.weight_decay = -1; }},
                             {"held_out", [](auto &p) { p.held_out = 0.6; }},
                             {"schedule", [](auto &p) { p.schedule = static_cast<sn_schedule>(3); }},
                             {"adapter_dtype", [](auto &p) { p.adapter_dtype = static_cast<sn_adapter_dtype>(3); }},
                             {"compute_dtype", [](auto &p) { p.compute_dtype = static_cast<sn_compute_dtype>(3); }},
                             {"recompute", [](auto &p) { p.recompute = static_cast<sn_recompute>(3); }},
                             {"threads", [](auto &p) { p.threads = 1025; }},
                             {"modules", [](auto &p) { p.modules = "attn_z"; }},
                             {"no-such-replay", [](auto &p) { p.replay = "no-such-replay"; }},
                             {"replay_share", [](auto &p) { p.replay_share = 11; }}},
                            {}, [&](const auto &p) { return run.train(p); });

    std::FILE *lines = std::fopen("lines.txt", "w");
    CHECK(lines != nullptr && std::fputs("Is it?\n", lines) >= 0 && std::fclose(lines) == 0);
    sn::DistillParams distill;
    distill.task = "coin-flip";
    distill.questions = "lines.txt";
    distill.out_dir = "distilled";
    std::vector<Wrong<sn::DistillParams>> of_distill = wrong_sampling<sn::DistillParams>();
    of_distill.insert(of_distill.end(), {{"no-such-task", [](auto &p) { p.task = "no-such-task"; }},
                                         {"task", [](auto &p) { p.task.clear(); }},
                                         {"out_dir", [](auto &p) { p.out_dir.clear(); }},
                                         {"rank", [](auto &p) { p.rank = 257; }},
                                         {"lr", [](auto &p) { p.lr = 2; }},
                                         {"min_kept_share", [](auto &p) { p.min_kept_share = 2; }},
                                         {"no-such-eval", [](auto &p) { p.eval = "no-such-eval"; }},
                                         {"no-such-lines", [](auto &p) { p.questions = "no-such-lines"; }}});
    refuse<sn::DistillParams>(of_distill, distill, [&](const auto &p) { return sn::distill(model, p); });
    for (const Wrong<sn::AnswerParams> &field : std::vector<Wrong<sn::AnswerParams>>{
             {"threads", [](auto &p) { p.threads = 1025; }},
             {"slots", [](auto &p) { p.slots = 257; }},
             {"weights", [](auto &p) { p.weights = static_cast<sn_weights>(3); }},
             {"threshold", [](auto &p) { p.threshold = std::numeric_limits<double>::quiet_NaN(); }},
             {"memory", [](auto &p) { p.max_memory = 1; }}}) {
        sn::AnswerParams params;
        field.set(params);
        const sn::Result<sn::Answerer> result = sn::Answerer::load(model, "", &*task, params);
        CHECK(!result && contains(result.message(), field.name));
    }
    CHECK(contains(sn::Answerer::load(model, "no-such-adapter").message(), "no-such-adapter"));
}

static void logs() {
    CHECK(sn::set_log(static_cast<sn_log_level>(99), [](sn_log_level, std::string_view) {}).status() ==
          SN_STATUS_INVALID_ARGUMENT);
    CHECK(sn::set_log(SN_LOG_LEVEL_WARNING, [](sn_log_level, std::string_view) {}));
    CHECK(sn::set_log(SN_LOG_LEVEL_WARNING, nullptr));
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    CHECK(sn::version() == SN_VERSION);
    results();
    spans();
    const sn::Model opened = model(argv[1]);
    cancels();
    tasks();
    questions();
    runs(opened);
    fields(opened);
    logs();
#ifdef SECONDNATURE_EXCEPTIONS
    try {
        sn::Model::open("no-such.gguf").value();
        CHECK(false);
    } catch (const sn::Exception &exception) {
        const sn::Exception copy = exception;
        CHECK(copy.status() == SN_STATUS_IO && copy.causes() == exception.error().causes());
        CHECK(contains(copy.what(), "no-such.gguf"));
    }
    CHECK(sn::Task::load("coin-flip").value().name() == "coin-flip" && half(8).value() == 4);
    sn::Result<int> named = half(8);
    named.value() = 3;
    CHECK(std::as_const(named).value() == 3);
    sn::Result<void>().value();
#endif
    std::puts("ok");
    return 0;
}
