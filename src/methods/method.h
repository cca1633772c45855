// What a merge method is to the rest of the program: one value of type Method, made by one file of this folder.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "crucible/tensor.h"
#include "methods/kernel.h"
#include "methods/promise.h"
#include "methods/survey.h"
#include "schema/field.h"

namespace crucible {

// How the base model enters a method.
enum class BaseRule {
  kRequired,    // task vectors are taken against it
  kOptional,    // used when given
  kOnlyListed,  // an ordinary input, and only when the recipe lists it among the models
};

// Algebraic laws that tests run over the registry (methods.md C.5).
enum class Law {
  kSelfMergeIsIdentity,  // n copies of one model (and base) give that model, bit for bit
  kOneModelIsItself,     // one model with neutral parameters gives that model
  kBaseIsFixedPoint,     // all models equal to the base give the base, bit for bit
  kZeroWeightIsAbsent,   // a model of weight 0 changes nothing
  kOrderDoesNotMatter,   // permuting the models gives the same bytes
  kScaleEquivariant,     // scaling every input (and the base) by a power of two scales the output
  kRowPermutationCommutes,
  kColumnPermutationCommutes,
};
std::string_view to_string(Law law) noexcept;

struct MethodExample {
  std::string_view title;
  std::string_view recipe;  // a complete recipe that `crucible check` accepts once the models exist
};

// What the planner knows of one job when it asks the method about it.
struct JobFacts {
  std::string_view tensor;
  const Shape* shape = nullptr;
  bool has_base = false;
  const Params* global = nullptr;
  std::span<const Params> models;            // one per input model, in the kernel's order
  std::span<const std::string> model_names;  // as the recipe writes them
};

// Remarks of a method about parameters: collected over all jobs, shown once each.
class Findings {
 public:
  virtual ~Findings() = default;
  virtual void error(std::string message, std::string hint = {}) = 0;
  virtual void notice(std::string message, std::string hint = {}) = 0;  // an error under --strict
};

// For those who ask again what was checked before.
class NoFindings final : public Findings {
 public:
  void error(std::string, std::string) override {}
  void notice(std::string, std::string) override {}
};

struct Method {
  std::string_view name;        // as recipes write it
  std::string_view title;       // "DELLA"
  std::string_view summary;     // one sentence
  std::string_view formula;     // several lines, with the symbols of the parameters
  std::string_view deviations;  // from the paper and from mergekit 0.1.4
  std::string_view paper;       // "arXiv 2406.11617", may be empty
  BaseRule base = BaseRule::kRequired;
  int min_models = 1;  // inputs besides the base
  int max_models = 1 << 20;
  Grain grain = Grain::kElement;
  bool random = false;  // draws from the seed
  const FieldTable* global = nullptr;
  const FieldTable* model = nullptr;  // per input model
  std::vector<Law> laws;
  std::vector<MethodExample> examples;

  // Makes the kernel of one job. Takes every parameter it uses from `spec.global` and `spec.models`.
  std::unique_ptr<Kernel> (*make_kernel)(const KernelSpec& spec) = nullptr;

  // What the kernels must know of the whole model, given its merge jobs; null when the parameters ask for nothing of the kind. Checks what
  // concerns several jobs at once.
  std::unique_ptr<Survey> (*make_survey)(std::span<const KernelSpec> jobs, Findings& findings) = nullptr;

  // Checks of one job that need more than a range: combinations of parameters, shapes. Null = none.
  void (*check)(const JobFacts& job, Findings& findings) = nullptr;

  // What the parameters of a job promise of its data, beside what was measured. Null: the method has nothing that can be measured.
  void (*promise)(const JobFacts& job, const Measure& measure, std::span<const Kernel::Note> notes, Promises& out) = nullptr;
};

// All methods, sorted by name. Generated from the files of this folder.
std::span<const Method* const> all_methods() noexcept;
const Method* find_method(std::string_view name) noexcept;

// Every parameter name that any method has: to tell "unused here" from "unknown".
bool any_method_has_parameter(std::string_view name) noexcept;

}  // namespace crucible
