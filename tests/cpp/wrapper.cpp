// The C++ header: exceptions, moves, and a callback that throws. Arguments: MODEL QUESTIONS OUT.
#include <secondnature.hpp>
#include <secondnature.hpp> // twice: it must not mind

#include "../c/check.h"

namespace sn = secondnature;

int main(int argc, char **argv) {
    CHECK(argc == 4);
    CHECK(sn::version() == SN_VERSION);

    try {
        sn::Model missing("no-such.gguf");
        CHECK(false);
    } catch (const sn::Error &error) {
        CHECK(error.code() == SN_STATUS_IO);
        CHECK(std::string(error.what()).find("no-such.gguf") != std::string::npos);
        CHECK(!error.causes().empty());
    }

    sn::Model opened(argv[1]);
    sn::Model model = std::move(opened);
    CHECK(model.architecture() == "llama" && !model.name().empty() && model.parameters() > 1000);

    sn::DistillParams params;
    params.task = "coin-flip";
    params.questions = argv[2];
    params.out_dir = argv[3];
    params.progress = [](const sn::Progress &progress) {
        if (progress.stage == SN_STAGE_CURATE) {
            throw std::logic_error("enough: " + std::string(progress.note));
        }
    };
    try {
        sn::distill(model, params);
        CHECK(false);
    } catch (const std::logic_error &error) {
        CHECK(std::string(error.what()).find("enough: ") == 0);
    }

    // What was asked to stop stays stopped, through every copy.
    const sn::Cancel copy = params.cancel;
    CHECK(copy.get() != params.cancel.get());
    params.progress = nullptr;
    params.cancel = copy;
    try {
        sn::distill(model, params);
        CHECK(false);
    } catch (const sn::Error &error) {
        CHECK(error.code() == SN_STATUS_CANCELLED);
    }
    std::puts("ok");
    return 0;
}
