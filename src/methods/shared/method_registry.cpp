#include <algorithm>
#include <vector>

#include "method_table.inc"
#include "methods/method.h"

namespace crucible {

std::span<const Method* const> all_methods() noexcept {
  static const std::vector<const Method*> methods = [] {
    std::vector<const Method*> list;
    for (const auto make : generated::method_table) list.push_back(&make());
    std::sort(list.begin(), list.end(), [](const Method* a, const Method* b) { return a->name < b->name; });
    return list;
  }();
  return methods;
}

const Method* find_method(std::string_view name) noexcept {
  for (const Method* m : all_methods()) {
    if (m->name == name) return m;
  }
  return nullptr;
}

bool any_method_has_parameter(std::string_view name) noexcept {
  for (const Method* m : all_methods()) {
    if (m->global->find(name) || m->model->find(name)) return true;
  }
  return false;
}

std::string_view to_string(Law law) noexcept {
  switch (law) {
    case Law::kSelfMergeIsIdentity: return "self-merge is the identity";
    case Law::kOneModelIsItself: return "one model is itself";
    case Law::kBaseIsFixedPoint: return "the base is a fixed point";
    case Law::kZeroWeightIsAbsent: return "a zero weight means absent";
    case Law::kOrderDoesNotMatter: return "the order of the models does not matter";
    case Law::kScaleEquivariant: return "scaling the inputs scales the output";
    case Law::kRowPermutationCommutes: return "permuting rows commutes with merging";
    case Law::kColumnPermutationCommutes: return "permuting columns commutes with merging";
  }
  return "?";
}

}  // namespace crucible
