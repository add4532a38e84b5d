/** What the stages of a run return. */
#ifndef SECONDNATURE_FIGURES_HPP
#define SECONDNATURE_FIGURES_HPP

#include <string>

#include "config.hpp"

namespace secondnature {
inline namespace SECONDNATURE_ABI {

/**
 * What curation gave: the figures of sn_curation, and `json`, what report.json has of it. Here and below,
 * a figure that does not exist, such as an accuracy without gold answers, is NaN.
 */
struct Curation : sn_curation {
    Curation() noexcept : sn_curation() { struct_size = sizeof(sn_curation); }
    std::string json;
};

/** What training gave. */
struct Training : sn_training {
    Training() noexcept : sn_training() { struct_size = sizeof(sn_training); }
    std::string json;
};

/** What an evaluation measured. */
struct Evaluation : sn_evaluation {
    Evaluation() noexcept : sn_evaluation() { struct_size = sizeof(sn_evaluation); }
    std::string json;
};

/** What distill() gave. `json` is the text of report.json. */
struct Report : sn_report {
    Report() noexcept : sn_report() { struct_size = sizeof(sn_report); }
    std::string json;
};

/** What tune() found. `json` is the text of tune.json. */
struct Choice : sn_choice {
    Choice() noexcept : sn_choice() { struct_size = sizeof(sn_choice); }
    std::string json;
};

/** Whether distilling looks worthwhile before training; why, and what to try where not, as JSON. */
struct Decision {
    bool worthwhile = false;
    std::string json;
};

} // namespace SECONDNATURE_ABI
} // namespace secondnature

#endif // SECONDNATURE_FIGURES_HPP
