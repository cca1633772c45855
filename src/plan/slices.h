// Output slices: which layer of the output comes from where, under which number, and what that changes in config.json.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "plan/enumerate.h"
#include "plan/model_facts.h"

namespace crucible {

// One model's part in one output slice; `models` are a slice over all layers.
struct SourceView {
  int input = 0;
  std::int64_t begin = 0;
  std::int64_t end = 0;
  const Settings* parameters = nullptr;
};

struct SliceView {
  std::vector<SourceView> sources;
  std::optional<SourceView> base;
  const Settings* settings = nullptr;
  const Settings* module = nullptr;

  // Whose tensors and types count: the base, else the first source.
  const SourceView& reference() const { return base ? *base : sources.front(); }
};

// Does a module cover a tensor, by its name?
using Covers = std::function<bool(const std::string&)>;

// Adds one output tensor, merged from the tensors that `name_for` names in each source.
template <typename NameFor>
void add_tensor(ModelFacts& facts, Enumeration& out, const SliceView& slice, const std::string& output_name, double t,
                const NameFor& name_for) {
  LogicalTensor tensor;
  tensor.name = output_name;
  tensor.t = t;
  tensor.slice = slice.settings;
  tensor.module = slice.module;
  const auto use_of = [&](const SourceView& s) {
    const auto& name = name_for(s);
    TensorUse use{s.input, facts.find(s.input, name), {}, s.parameters};
    if (use.tensor == nullptr) use.lacked = name;
    return use;
  };
  tensor.sources.reserve(slice.sources.size());
  for (const SourceView& s : slice.sources) tensor.sources.push_back(use_of(s));
  if (slice.base) tensor.base = use_of(*slice.base);
  // The role in the reference, or in the first model that has the tensor.
  const TensorUse* known = tensor.base ? &*tensor.base : &tensor.sources.front();
  for (const TensorUse& use : tensor.sources) {
    if (known->tensor != nullptr) break;
    known = &use;
  }
  if (known->tensor != nullptr) tensor.role = facts.role(known->input, *known->tensor);
  out.tensors.push_back(std::move(tensor));
}

// Adds the tensors of `slices` that `covers` covers. Problems (ranges past a model's layers, several stacks, an order that config.json
// cannot express) go to `diagnostics`.
void add_slices(const Plan& plan, ModelFacts& facts, const std::vector<OutputSlice>& slices, const Settings* module, const Covers& covers,
                Enumeration& out, Diagnostics& diagnostics);

}  // namespace crucible
