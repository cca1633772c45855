// Small models for tests: folders with the tensors, config, shards and index that a test asks for. Independent of the code under test:
// headers are written here byte by byte.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "crucible/checkpoint.h"
#include "crucible/tensor.h"

namespace crucible {

// A folder of its own under the system's temporary folder, removed at the end.
class TempFolder {
 public:
  TempFolder();
  ~TempFolder();
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  const std::string& path() const noexcept { return path_; }
  std::string operator/(std::string_view name) const { return path_ + "/" + std::string(name); }

 private:
  std::string path_;
};

void write_text(const std::string& path, std::string_view bytes);  // makes parent folders, replaces the file
std::string read_text(const std::string& path);                    // throws std::runtime_error when it cannot

// Half of the way from "base" to "a".
inline constexpr const char* kHalfOfA =
    "merge_method: task_arithmetic\nbase_model: base\nmodels: [{model: a}]\nparameters: {weight: 0.5}\n";

struct TinyTensor {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;
  std::string bytes;  // little-endian, row-major
};

// From numbers: F16, BF16, F32, F64 (rounded to nearest even), BOOL and the integer types (truncated).
TinyTensor make_tensor(std::string name, DType dtype, Shape shape, const std::vector<double>& values);
// Reproducible numbers around zero, about normal with deviation 0.02 as in real weights; for integers small counts.
TinyTensor random_tensor(std::string name, DType dtype, Shape shape, std::uint64_t seed);
TinyTensor raw_tensor(std::string name, DType dtype, Shape shape, std::string bytes);

// The numbers in little-endian bytes of a dtype that make_tensor can write.
std::vector<double> decode_values(DType dtype, std::string_view bytes);

// 8 bytes of length, the header text as given, the data.
std::string safetensors_file(std::string_view header_text, std::string_view data = {});
// A valid file with the tensors in the order given, `{"format":"pt"}` as metadata.
std::string safetensors_bytes(const std::vector<TinyTensor>& tensors);

struct TinyModel {
  std::vector<TinyTensor> tensors;
  std::string config = R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "float32"})";  // empty = no file
  int shards = 1;                            // more than one: shards of about equal tensor counts, and an index
  std::map<std::string, std::string> files;  // more files: name -> content
};

// Writes the folder (made when missing); returns `folder`.
std::string write_tiny_model(const std::string& folder, const TinyModel& model);

// A llama-like model: embedding, `layers` layers with attention and MLP weights, norms, head; sizes of a few dozen.
struct LlamaSize {
  int layers = 2;
  int hidden = 8;
  int intermediate = 16;
  int vocabulary = 32;
};
std::vector<TinyTensor> llama_tensors(std::uint64_t seed, DType dtype = DType::kF32, LlamaSize size = {});
std::string llama_config(DType dtype = DType::kF32, LlamaSize size = {});
// Both together, written; returns `folder`.
std::string write_llama(const std::string& folder, std::uint64_t seed, DType dtype = DType::kF32, int shards = 1, LlamaSize size = {});

// What a checkpoint holds under a name; throws std::runtime_error when it is not there.
std::string tensor_bytes(const Checkpoint& checkpoint, std::string_view name);
std::vector<double> tensor_values(const Checkpoint& checkpoint, std::string_view name);
// Opens and throws InputError when anything is wrong.
Checkpoint open_checkpoint(const std::string& folder);

}  // namespace crucible
