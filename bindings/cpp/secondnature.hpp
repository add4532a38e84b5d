/**
 * secondnature for C++17: everything in secondnature.h, with destructors, lambdas and results that the
 * compiler does not let you drop. Header only; this header includes those in secondnature/.
 *
 *     #include <secondnature.hpp>
 *     namespace sn = secondnature;
 *
 *     int main() {
 *         const auto model = sn::Model::open("base.gguf");
 *         if (!model) return std::fprintf(stderr, "%s\n", model.message().c_str()), 1;
 *         sn::DistillParams params;
 *         params.task = "coin-flip";
 *         params.questions = "train.jsonl";
 *         params.eval = "eval.jsonl";
 *         params.out_dir = "run";
 *         params.progress = [](const sn::Progress &p) { std::printf("%s\n", std::string(p.note).c_str()); };
 *         const auto report = sn::distill(*model, params);
 *         if (!report) return std::fprintf(stderr, "%s\n", report.message().c_str()), 1;
 *         std::printf("%.3f -> %.3f\n", report->system1_accuracy, report->distilled_accuracy);
 *     }
 *
 * secondnature.h documents what everything does, its units and defaults; these headers say what C++
 * adds.
 *
 * Rules that hold for everything here:
 * - A call that can fail returns a Result: a value, or an Error with a status, a message and its
 *   causes. The compiler warns where one is dropped.
 * - Nothing here throws but std::bad_alloc, and the headers compile with -fno-exceptions. To use
 *   exceptions, define SECONDNATURE_EXCEPTIONS before including them and call `.value()`, which returns
 *   the value or throws: `auto model = sn::Model::open("base.gguf").value();`. Files that pass these
 *   objects to each other must be compiled the same way; else they do not link.
 * - Objects own their handle, can be moved and not copied (Cancel can be), and free it in their
 *   destructor. Calls on one that was moved from fail with SN_STATUS_INVALID_ARGUMENT. A `const` object
 *   may be used by any number of threads at once, any other by one.
 * - Text is UTF-8. A std::string_view returned by an object is valid as long as that object; one passed
 *   to a callback, during that callback.
 * - A callback may throw, where exceptions are on. The exception never unwinds through the library: it
 *   stops the work, and the call fails. Error::exception() holds it, and `.value()` rethrows it.
 *   Whatever the work had finished is kept. A Cancel that the call was given has then been requested.
 */
#ifndef SECONDNATURE_HPP
#define SECONDNATURE_HPP

#include "secondnature/adapter.hpp"
#include "secondnature/answerer.hpp"
#include "secondnature/callbacks.hpp"
#include "secondnature/cancel.hpp"
#include "secondnature/decoder.hpp"
#include "secondnature/error.hpp"
#include "secondnature/figures.hpp"
#include "secondnature/log.hpp"
#include "secondnature/model.hpp"
#include "secondnature/options.hpp"
#include "secondnature/preview.hpp"
#include "secondnature/result.hpp"
#include "secondnature/run.hpp"
#include "secondnature/span.hpp"
#include "secondnature/task.hpp"

#endif // SECONDNATURE_HPP
