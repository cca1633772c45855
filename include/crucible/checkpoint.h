// A model on disk: a folder with config.json and weights, perhaps with parts that have weights of their own, opened by reading headers
// only.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "crucible/error.h"
#include "crucible/part.h"
#include "crucible/tensor.h"

namespace crucible {

class ReadFile;

// One weight file of a checkpoint.
struct WeightFile {
  std::string name;  // relative to the folder
  std::string path;
  std::int64_t size_bytes = 0;
  std::string header_hash;  // XXH3-128 of the header text
  std::size_t part = 0;     // index into Checkpoint::parts()
};

// A tensor and where its bytes lie.
struct StoredTensor {
  TensorInfo info;
  int file = 0;             // index into Checkpoint::files()
  std::int64_t offset = 0;  // of the first byte, from the start of the file
  std::int64_t bytes = 0;
};

class Checkpoint {
 public:
  struct Impl;

  // Reads and validates all headers and indices of a folder and of its parts (or of one .safetensors file). Every problem goes to
  // `diagnostics` with the file and tensor named; the result is empty of tensors then. Never reads tensor data.
  static Checkpoint open(const std::string& path, Diagnostics& diagnostics);

  const std::string& path() const noexcept;
  const std::vector<WeightFile>& files() const noexcept;
  const std::vector<StoredTensor>& tensors() const noexcept;  // sorted by name
  const StoredTensor* find(std::string_view name) const noexcept;
  // The model's own folder first, whether it has weights or not; then the parts that have weights, by folder.
  const std::vector<ModelPart>& parts() const noexcept;
  // config.json of the model's own folder verbatim; empty when there is none.
  const std::string& config_text() const noexcept { return parts().front().config_text; }
  // Files that may go with merged weights (checkpoint/companions.h), relative to the folder; sorted.
  const std::vector<std::string>& companion_files() const noexcept;

  // Reads `size` bytes at `offset` of file `file`. Thread-safe. Throws Error.
  void read(int file, std::int64_t offset, void* buffer, std::size_t size) const;
  // File `file` itself (io/file.h). It lives as long as a copy of this checkpoint.
  const ReadFile& weight_file(int file) const;
  // Throws Error{kDamaged} when a weight file changed since it was opened.
  void check_unchanged() const;

 private:
  explicit Checkpoint(std::shared_ptr<const Impl> impl);
  std::shared_ptr<const Impl> impl_;
};

}  // namespace crucible
