#include "plan/view.h"

#include <algorithm>

#include "base/check.h"
#include "base/text_util.h"

namespace crucible {

bool ViewTensor::is_whole() const noexcept {
  return pieces.size() == 1 && pieces.front().begin == 0 && pieces.front().tensor->bytes == bytes;
}

bool ViewTensor::has_one_dtype() const noexcept {
  return std::all_of(pieces.begin(), pieces.end(), [this](const Piece& p) { return p.tensor->info.dtype == info.dtype; });
}

std::string ViewTensor::stored_name() const {
  std::vector<std::string> names;
  for (const Piece& p : pieces) {
    if (names.empty() || names.back() != p.tensor->info.name) names.push_back(p.tensor->info.name);
  }
  if (names.size() == 1) return names.front();
  constexpr std::size_t kShown = 3;
  std::string text;
  for (std::size_t i = 0; i < names.size() && i < kShown; ++i) text += (i > 0 ? " + " : "") + names[i];
  return names.size() > kShown ? text + " + ..." : text;
}

ViewTensor whole_tensor(int input, const StoredTensor& stored) {
  return {stored.info, stored.bytes, {{input, &stored, 0, elem_count(stored.info.shape)}}, {}};
}

ModelView::ModelView(std::vector<ViewTensor> tensors) : tensors_(std::move(tensors)) {
  const auto by_name = [](const ViewTensor& a, const ViewTensor& b) { return a.info.name < b.info.name; };
  if (!std::is_sorted(tensors_.begin(), tensors_.end(), by_name)) std::sort(tensors_.begin(), tensors_.end(), by_name);
  const auto twice = std::adjacent_find(tensors_.begin(), tensors_.end(),
                                        [](const ViewTensor& a, const ViewTensor& b) { return a.info.name == b.info.name; });
  CHECK(twice == tensors_.end(), "tensor {} twice in a view", twice->info.name);
}

const ViewTensor* ModelView::find(std::string_view name) const noexcept {
  const auto at =
      std::lower_bound(tensors_.begin(), tensors_.end(), name, [](const ViewTensor& t, std::string_view n) { return t.info.name < n; });
  return at != tensors_.end() && at->info.name == name ? &*at : nullptr;
}

ModelView plain_view(int input, const Checkpoint& checkpoint) {
  std::vector<ViewTensor> tensors;
  tensors.reserve(checkpoint.tensors().size());
  for (const StoredTensor& t : checkpoint.tensors()) tensors.push_back(whole_tensor(input, t));
  return ModelView(std::move(tensors));
}

}  // namespace crucible
