// A decoder in C++: it has a script instead of a model. Arguments: MODEL DIR.
#include <secondnature.hpp>

#include <thread>

#include "../c/check.h"

namespace sn = secondnature;

static bool contains(std::string_view text, std::string_view part) { return text.find(part) != text.npos; }

/**
 * Says about coins what is right where it may reason, and "yes" where it may not. Its tokens are
 * bytes, with some of the fixture's vocabulary unused, and it watches the protocol.
 */
class Script : public sn::Decoder {
public:
    static constexpr sn::Token END = 256;
    static constexpr sn::Token START = 257;

    Script() : Decoder(described()), sequences_(info().max_sequences), here_(std::this_thread::get_id()) {}

    sn::Result<std::vector<sn::Token>> tokenize(std::string_view text, bool special) override {
        std::vector<sn::Token> tokens;
        while (!text.empty()) {
            if (special && text.substr(0, 10) == "<|im_end|>") {
                tokens.push_back(END);
                text.remove_prefix(10);
            } else if (special && text.substr(0, 12) == "<|im_start|>") {
                tokens.push_back(START);
                text.remove_prefix(12);
            } else {
                tokens.push_back(static_cast<unsigned char>(text[0]));
                text.remove_prefix(1);
            }
        }
        return tokens;
    }

    sn::Result<std::string> piece(sn::Token token) override {
        return token < END ? std::string(1, static_cast<char>(token)) : std::string();
    }

    sn::Result<bool> is_end(sn::Token token) override { return token == END; }

    sn::Result<void> decode(sn::Span<sn::BatchRow> rows) override {
        CHECK(std::this_thread::get_id() == here_);
        CHECK(!rows.empty() && rows.size() <= info().max_batch);
        if (rows_until_failure == 0) {
            return fail();
        }
        rows_until_failure--;
        logits_.clear();
        for (const sn::BatchRow &row : rows) {
            std::vector<sn::Token> &sequence = sequences_[row.seq];
            CHECK(row.pos == sequence.size() && row.token >= 0 && row.token < 768);
            sequence.push_back(row.token);
            logits_.emplace_back();
            if (row.logits != 0) {
                logits_.back().resize(width);
                logits_.back()[static_cast<std::size_t>(next(sequence))] = 60;
            }
        }
        return {};
    }

    sn::Result<sn::Span<float>> logits(std::size_t row) override {
        CHECK(!logits_[row].empty());
        return logits_[row];
    }

    sn::Result<void> copy_prefix(std::uint32_t from, std::uint32_t to, std::uint32_t len) override {
        CHECK(sequences_[to].empty() && len <= sequences_[from].size());
        sequences_[to].assign(sequences_[from].begin(), sequences_[from].begin() + len);
        return {};
    }

    sn::Result<void> truncate(std::uint32_t seq, std::uint32_t from) override {
        if (from < sequences_[seq].size()) {
            sequences_[seq].resize(from);
        }
        return {};
    }

    std::size_t rows_until_failure = SIZE_MAX;
    std::size_t width = 768;

private:
    static Info described() {
        Info info;
        info.vocab_size = 768;
        info.context_size = 16384;
        info.sequence_limit = 1024;
        info.max_sequences = 8;
        info.slots = 4;
        info.max_batch = 64;
        return info;
    }

    static sn::Result<void> fail() {
#ifdef SECONDNATURE_EXCEPTIONS
        throw std::range_error("out of cells");
#else
        return sn::Error("out of cells");
#endif
    }

    /** The token that the script has after `history`. */
    static sn::Token next(const std::vector<sn::Token> &history) {
        std::string text;
        for (const sn::Token token : history) {
            if (token < END) {
                text += static_cast<char>(token);
            } else {
                text += token == END ? "<end>" : "<start>";
            }
        }
        const std::string turn = "<start>assistant\n";
        const std::size_t begin = text.rfind(turn);
        CHECK(begin != std::string::npos);
        const std::string said = text.substr(begin + turn.size());
        const std::string reply = contains(text, "step by step") ? "I see. Answer: " + answer(text) : "yes";
        CHECK(reply.compare(0, said.size(), said) == 0);
        return said.size() < reply.size() ? static_cast<unsigned char>(reply[said.size()]) : END;
    }

    static std::string answer(const std::string &question) {
        bool up = true;
        for (const std::string act : {"flips the coin", "turns the coin over", "flips it"}) {
            for (std::size_t at = question.find(act); at != std::string::npos; at = question.find(act, at + 1)) {
                up = !up;
            }
        }
        return up ? "yes" : "no";
    }

    std::vector<std::vector<sn::Token>> sequences_;
    std::vector<std::vector<float>> logits_;
    std::thread::id here_;
};

/** The call failed by what the decoder said, however it said it. */
template <typename T>
static void check_failed(const sn::Result<T> &result, std::string_view why) {
    CHECK(result.status() == SN_STATUS_ENGINE && contains(result.message(), why));
    CHECK(!result.causes().empty() && contains(result.causes()[0], why));
#ifdef SECONDNATURE_EXCEPTIONS
    if (result.error().exception()) {
        try {
            result.value();
            CHECK(false);
        } catch (const std::range_error &error) {
            CHECK(error.what() == why);
        }
    }
#endif
}

int main(int argc, char **argv) {
    CHECK(argc == 3);
    const std::string dir = argv[2];
    const sn::Result<sn::Model> model = sn::Model::open(argv[1]);
    const sn::Result<sn::Task> task = sn::Task::load("coin-flip");
    const sn::Result<sn::Questions> questions = sn::Questions::generate("coin-flip", 40, 5, SN_SPLIT_TRAIN);
    const sn::Result<sn::Questions> held_out = sn::Questions::generate("coin-flip", 30, 6, SN_SPLIT_TEST);
    CHECK(model && task && questions && held_out);
    sn::Result<sn::Run> run = sn::Run::create(*model, *task, *questions, dir + "/scripted");
    CHECK(run);

    Script script;
    sn::CurateParams curate;
    curate.decoder = &script;
    script.rows_until_failure = 20;
    check_failed(run->curate(curate), "out of cells");
    script.rows_until_failure = SIZE_MAX;
    script.width = 767;
    check_failed(run->curate(curate), "767 logits, expected one for each of 768 tokens");
    script.width = 768;

    // It is always right, and so is every vote.
    int verdicts = 0;
    curate.disable_early_stop = "converged";
    curate.verdict = [&](const sn::Verdict &verdict) {
        CHECK(verdict.kept && verdict.votes == verdict.samples && verdict.samples == 8);
        verdicts++;
    };
    const sn::Result<sn::Curation> curation = run->curate(curate);
    CHECK(curation && verdicts == 40 && curation->kept == 40);

    // The gold answers of held-out questions say the same: reasoning helps, so distilling is worthwhile.
    sn::EvaluateParams evaluate;
    evaluate.decoder = &script;
    const sn::Result<sn::Decision> decision = run->decide(&*held_out, evaluate);
    CHECK(decision && decision->worthwhile && contains(decision->json, "\"why\""));

    // An answerer keeps its decoder while it moves.
    sn::AnswerParams reason;
    reason.decoder = &script;
    reason.threshold = 2;
    sn::Result<sn::Answerer> loaded = sn::Answerer::load(*model, "", &*task, reason);
    CHECK(loaded);
    sn::Answerer answerer = *std::move(loaded);
    const char *question = "A coin is heads up. Mia flips the coin. Is the coin still heads up?";
    const sn::Result<sn::Answer> answer = answerer.ask(question);
    CHECK(answer && answer->text == "no" && answer->route == SN_ROUTE_REASONED && answer->confidence > 0.9);
    CHECK(answer->tokens > 20);
    script.rows_until_failure = 3;
    check_failed(answerer.ask(question), "out of cells");
    script.rows_until_failure = SIZE_MAX;
    CHECK(answerer.ask(question)->text == "no");
    const sn::Cancel stop;
    stop.request();
    CHECK(answerer.ask(question, stop).status() == SN_STATUS_CANCELLED);

    // Another takes its place, and the first one's end does not disturb it.
    reason.threshold = 0.01;
    sn::Result<sn::Answerer> direct = sn::Answerer::load(*model, "", &*task, reason);
    CHECK(direct);
    answerer = *std::move(direct);
    CHECK(answerer.ask(question)->text == "yes" && answerer.ask(question)->route == SN_ROUTE_DIRECT);

    // One in C, of which everything is missing.
    sn_decoder raw;
    sn_decoder_init(&raw, sizeof raw);
    curate.decoder = &raw;
    sn::Result<sn::Run> other = sn::Run::create(*model, *task, *questions, dir + "/other");
    CHECK(other && !other->curate(curate));
    std::puts("ok");
    return 0;
}
