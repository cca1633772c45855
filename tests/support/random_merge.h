// Random recipes over small random models: every method, scalars, gradients, filters, levels, slices.
#pragma once

#include <string>
#include <vector>

#include "audit/judge.h"
#include "support/kernel_driver.h"
#include "support/tiny_model.h"

namespace crucible::test {

// Models that recipes name base, a, b, c: written once, folders that live as long as this does.
class ModelBox {
 public:
  explicit ModelBox(LlamaSize size, DType dtype = DType::kF32);
  std::vector<std::pair<std::string, std::string>> model_dirs() const;

 private:
  TempFolder folder_;
};

std::string random_recipe(Rng& rng);

// A merge whose bytes go nowhere.
struct AuditedMerge {
  std::vector<std::string> problems;  // of the recipe: nothing ran
  std::vector<std::string> detours;   // parameters that the plan does not hold as the recipe has them
  std::vector<std::string> contradictions;
  Verdict verdict;
  bool accused() const noexcept { return !detours.empty() || !contradictions.empty(); }
  bool accuses(const std::string& parameter) const;
};
AuditedMerge audited_merge(const std::string& recipe, const ModelBox& models, std::uint64_t seed);

}  // namespace crucible::test
