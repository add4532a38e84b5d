// With SECONDNATURE_EXCEPTIONS. Callbacks see the work; what they throw stops it and arrives at the
// caller.
// Arguments: MODEL DIR.
#include <secondnature.hpp>

#include <set>
#include <thread>

#include "../c/check.h"

namespace sn = secondnature;

/** Not a std::exception, and not the library's. */
struct Enough {
    std::string why;
};

static bool contains(std::string_view text, std::string_view part) { return text.find(part) != text.npos; }

/** A fresh or earlier run on 24 questions. */
static sn::Run run_in(const sn::Model &model, const std::string &dir) {
    const sn::Task task = sn::Task::load("coin-flip").value();
    const sn::Questions questions = sn::Questions::generate("coin-flip", 24, 3, SN_SPLIT_TRAIN).value();
    return sn::Run::create(model, task, questions, dir).value();
}

static void progress(const sn::Model &model, const std::string &dir) {
    sn::DistillParams params;
    params.task = "coin-flip";
    params.questions = dir + "/questions.jsonl";
    params.out_dir = dir + "/progress";
    int calls = 0;
    params.progress = [&](const sn::Progress &progress) {
        calls++;
        if (progress.stage == SN_STAGE_CURATE) {
            throw std::logic_error("enough: " + std::string(progress.note));
        }
    };
    const sn::Result<sn::Report> stopped = sn::distill(model, params);
    CHECK(!stopped && stopped.status() == SN_STATUS_CANCELLED && stopped.error().exception());
    CHECK(contains(stopped.message(), "the progress callback: enough"));
    CHECK(contains(stopped.causes().at(0), "enough"));
    // It was the last one to be told, and the exception is the one that was thrown.
    int before = std::exchange(calls, 0);
    try {
        stopped.value();
        CHECK(false);
    } catch (const std::logic_error &error) {
        CHECK(std::string(error.what()).find("enough: ") == 0);
    }

    // A Cancel that was given is requested; what was asked to stop stays stopped, through every copy.
    params.cancel.emplace();
    const sn::Cancel copy = *params.cancel;
    CHECK(!sn::distill(model, params) && calls == before);
    params.progress = nullptr;
    params.cancel = copy;
    try {
        sn::distill(model, params).value();
        CHECK(false);
    } catch (const sn::Exception &exception) {
        CHECK(exception.status() == SN_STATUS_CANCELLED && !exception.error().exception());
    }
}

static void verdict(const sn::Model &model, const std::string &dir) {
    sn::Run run = run_in(model, dir + "/run");
    sn::CurateParams params;
    int seen = 0;
    params.verdict = [&](const sn::Verdict &verdict) {
        CHECK(verdict.stage == SN_STAGE_CURATE && !verdict.question_id.empty() && !verdict.reason.empty());
        if (++seen == 2) {
            throw Enough{std::string(verdict.question_id)};
        }
    };
    const sn::Result<sn::Curation> stopped = run.curate(params);
    CHECK(!stopped && seen == 2 && contains(stopped.message(), "the verdict callback: "));
    try {
        stopped.value();
        CHECK(false);
    } catch (const Enough &enough) {
        CHECK(!enough.why.empty());
    }

    // The same call resumes, and tells of every question once.
    std::set<std::string> ids;
    std::uint64_t kept = 0;
    params.verdict = [&](const sn::Verdict &verdict) {
        CHECK(ids.emplace(verdict.question_id).second);
        CHECK(!verdict.answer || *verdict.answer == "yes" || *verdict.answer == "no");
        CHECK(verdict.votes <= verdict.samples && verdict.agreement >= 0 && verdict.agreement <= 1);
        kept += verdict.kept ? 1 : 0;
    };
    const sn::Curation curation = run.curate(params).value();
    CHECK(ids.size() == 24 && kept > 0);

    // What is thrown when there is nothing left to stop arrives, too.
    int left = 24;
    params.verdict = [&](const sn::Verdict &) {
        if (--left == 0) {
            throw Enough{"at the end"};
        }
    };
    const sn::Result<sn::Curation> late = run.curate(params);
    CHECK(!late && left == 0 && late.status() == SN_STATUS_CANCELLED && late.error().exception());
    CHECK(curation.kept == kept && curation.questions == 24 && contains(curation.json, "\"kept\""));
}

static void step(const sn::Model &model, const std::string &dir) {
    sn::Run run = run_in(model, dir + "/run"); // curated already
    CHECK(!run.adapter_path());
    sn::TrainParams params;
    params.epochs = 1;
    params.batch = 4;
    params.rank = 4;
    params.max_steps = 4;
    params.step = [](const sn::TrainStep &step) {
        CHECK(step.steps == 4); // twenty answers, four at a time, would be more
        CHECK(step.step >= 1 && step.step <= step.steps && step.loss > 0 && step.lr > 0);
        if (step.step == 2) {
            throw std::out_of_range("step 2");
        }
    };
    try {
        run.train(params).value();
        CHECK(false);
    } catch (const std::out_of_range &error) {
        CHECK(std::string(error.what()) == "step 2");
    }
    CHECK(!run.adapter_path());

    std::uint64_t last = 0;
    params.step = [&](const sn::TrainStep &step) { last = step.step; };
    run.train(params).value();
    CHECK(last == 4 && run.adapter_path());
    const sn::Adapter adapter = sn::Adapter::open(*run.adapter_path()).value();
    CHECK(adapter.rank() == 4 && adapter.alpha() == 32 && adapter.task() == "coin-flip");
    CHECK(contains(adapter.describe(), "\"rank\""));
}

static void verifier(const sn::Model &model, const std::string &dir) {
    sn::Run run = run_in(model, dir + "/verified");
    sn::CurateParams params;
    params.verifier = [](const sn::Candidate &) -> bool { throw std::runtime_error("no calculator"); };
    try {
        run.curate(params).value();
        CHECK(false);
    } catch (const std::runtime_error &error) {
        CHECK(std::string(error.what()) == "no calculator");
    }
    // Without exceptions it is an Error that ends the call.
    params.verifier = [](const sn::Candidate &) -> sn::Result<bool> {
        return sn::Error(SN_STATUS_IO, "no list", {"it is gone"});
    };
    const sn::Result<sn::Curation> failed = run.curate(params);
    CHECK(failed.status() == SN_STATUS_INPUT && contains(failed.message(), "the verifier: no list"));
    CHECK(failed.causes().at(0) == "no list" && failed.causes().at(1) == "it is gone");

    const std::thread::id here = std::this_thread::get_id();
    int yes = 0;
    params.verifier = [&](const sn::Candidate &candidate) {
        CHECK(std::this_thread::get_id() == here);
        CHECK(!candidate.question_id.empty() && contains(candidate.question, "coin"));
        CHECK(contains(candidate.question_json, "\"id\"") && contains(candidate.completion, candidate.answer));
        yes += candidate.answer == "yes" ? 1 : 0;
        return candidate.answer == "yes";
    };
    params.verdict = [](const sn::Verdict &verdict) { CHECK(!verdict.answer || *verdict.answer == "yes"); };
    run.curate(params).value();
    CHECK(yes > 0);
}

static void cancelled_from_another_thread(const sn::Model &model, const std::string &dir) {
    sn::Run run = run_in(model, dir + "/cancelled");
    const sn::Cancel stop;
    sn::CurateParams params;
    params.cancel = stop;
    std::atomic<bool> begun{false};
    params.progress = [&](const sn::Progress &progress) { begun = begun || progress.stage == SN_STAGE_CURATE; };
    std::thread other([&] {
        while (!begun) {
            std::this_thread::yield();
        }
        stop.request();
    });
    const sn::Result<sn::Curation> stopped = run.curate(params);
    other.join();
    CHECK(stopped.status() == SN_STATUS_CANCELLED && !stopped.error().exception());
}

int main(int argc, char **argv) {
    CHECK(argc == 3);
    const std::string dir = argv[2];
    std::atomic<int> lines{0};
    sn::set_log(SN_LOG_LEVEL_DEBUG, [&](sn_log_level level, std::string_view) {
        CHECK(level >= SN_LOG_LEVEL_ERROR && level <= SN_LOG_LEVEL_DEBUG);
        lines++;
        throw Enough{"a log that throws stops nothing"};
    }).value();

    const sn::Model model = sn::Model::open(argv[1]).value();
    progress(model, dir);
    CHECK(lines > 0);
    sn::set_log(SN_LOG_LEVEL_DEBUG, nullptr).value();
    const int told = lines;
    verdict(model, dir);
    step(model, dir);
    verifier(model, dir);
    cancelled_from_another_thread(model, dir);
    CHECK(lines == told);
    std::puts("ok");
    return 0;
}
