// Distills base.gguf and answers questions from standard input with the result.
#define SECONDNATURE_EXCEPTIONS
#include <iostream>
#include <secondnature.hpp>

int main() try {
    namespace sn = secondnature;
    const sn::Model model = sn::Model::open("base.gguf").value();
    sn::DistillParams params;
    params.task = "coin-flip";
    params.questions = "train.jsonl";
    params.eval = "eval.jsonl";
    params.out_dir = "run";
    params.verdict = [](const sn::Verdict &v) {
        std::cout << v.question_id << ": " << v.votes << " of " << v.samples << " samples say "
                  << v.answer.value_or("nothing") << (v.kept ? "\n" : ", which is not kept\n");
    };
    const sn::Report report = sn::distill(model, params).value();
    std::cout << "right answers: " << 100 * report.system1_accuracy << "% directly, " << 100 * report.system2_accuracy
              << "% by reasoning, " << 100 * report.distilled_accuracy << "% distilled\n";

    sn::Answerer answerer = sn::Answerer::load(model, "run/adapter.gguf").value();
    for (std::string question; std::getline(std::cin, question);) {
        std::cout << answerer.ask(question).value().text.value_or("I do not know.") << "\n";
    }
} catch (const std::exception &exception) {
    std::cerr << exception.what() << "\n";
    return 1;
}
