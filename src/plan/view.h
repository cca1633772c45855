// A model under the names of the output: what a job reads is a view of stored tensors, not always one of them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "crucible/checkpoint.h"

namespace crucible {

// Consecutive elements of a stored tensor. `input` is an index into Plan::inputs: rows that one model lacks may come from another.
struct Piece {
  int input = 0;
  const StoredTensor* tensor = nullptr;  // owned by that input's checkpoint
  std::int64_t begin = 0;                // first element
  std::int64_t count = 0;
};

// One tensor of a view. The pieces fill its shape in row-major order, one after the other.
struct ViewTensor {
  TensorInfo info;  // the name that the output uses; the type of the first piece
  std::int64_t bytes = 0;
  std::vector<Piece> pieces;
  std::string how;  // how it came about where it is not simply stored under this name

  // One stored tensor, all of it.
  bool is_whole() const noexcept;
  // The pieces have one type: the bytes may be copied as they are.
  bool has_one_dtype() const noexcept;
  // The stored names, as shown to people: "q_proj.weight + k_proj.weight".
  std::string stored_name() const;
};

ViewTensor whole_tensor(int input, const StoredTensor& stored);

// Sorted by name, names unique. Pointers to its tensors stay valid as long as it lives.
class ModelView {
 public:
  ModelView() = default;
  explicit ModelView(std::vector<ViewTensor> tensors);
  const std::vector<ViewTensor>& tensors() const noexcept { return tensors_; }
  const ViewTensor* find(std::string_view name) const noexcept;

 private:
  std::vector<ViewTensor> tensors_;
};

// Every stored tensor under its own name.
ModelView plain_view(int input, const Checkpoint& checkpoint);

}  // namespace crucible
