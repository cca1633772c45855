#include "checkpoint/index.h"

#include <algorithm>
#include <map>
#include <utility>

#include <fmt/format.h>

#include "base/text_util.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/strict_json.h"

namespace crucible {
namespace {

constexpr int kIndexDepth = 128;

class IndexReader : public JsonReader {
 public:
  explicit IndexReader(WeightIndex& index) : JsonReader(kIndexDepth), index_(index) {}

  void null() override { scalar(); }
  void boolean(bool) override { scalar(); }
  void number_integer(std::int64_t value) override { number(static_cast<double>(value)); }
  void number_unsigned(std::uint64_t value) override { number(static_cast<double>(value)); }
  void number_float(double value, const std::string&) override { number(value); }
  void string(std::string& value) override {
    if (!in_map()) return scalar();
    if (index_.items.size() == kMostTensors) throw_json(fmt::format("more than {} tensors", kMostTensors));
    index_.items.push_back({std::move(tensor_), number_of(value)});
  }
  void start_object() override {
    enter();
    if (depth() == 3 && section_ == Section::kMap)
      throw_json(fmt::format("weight_map {} is an object, not a file name", in_quotes(tensor_)));
  }
  void start_array() override {
    enter();
    if (depth() == 1) throw_json("is a list, not a JSON object");
    if (section_ == Section::kMap) {
      throw_json(depth() == 2 ? std::string("weight_map is a list, not an object")
                              : fmt::format("weight_map {} is a list, not a file name", in_quotes(tensor_)));
    }
  }
  void key(std::string& name) override {
    if (depth() == 1) {
      section_ = name == "weight_map" ? Section::kMap : name == "metadata" ? Section::kMetadata : Section::kOther;
      if (section_ == Section::kMap && std::exchange(had_map_, true)) throw_json("weight_map stands there twice");
    } else if (depth() == 2) {
      at_total_ = section_ == Section::kMetadata && name == "total_size";
      if (section_ == Section::kMap) tensor_ = std::move(name);
    }
  }
  void finish() {
    if (!had_map_) throw_json("has no weight_map");
  }

 private:
  enum class Section { kOther, kMap, kMetadata };
  // Neighbours mostly lie in one file.
  int number_of(const std::string& file) {
    if (!index_.items.empty() && index_.files[static_cast<std::size_t>(index_.items.back().file)] == file) return index_.items.back().file;
    const auto [at, is_new] = file_numbers_.emplace(file, static_cast<int>(index_.files.size()));
    if (is_new) index_.files.push_back(file);
    return at->second;
  }
  bool in_map() const noexcept { return depth() == 2 && section_ == Section::kMap; }
  void number(double value) {
    if (depth() == 2 && at_total_) index_.total_bytes = value;
    scalar();
  }
  void scalar() {
    if (depth() == 0) throw_json("is not a JSON object");
    if (depth() == 1 && section_ == Section::kMap) throw_json("weight_map is not an object");
    if (in_map()) throw_json(fmt::format("weight_map {} is not a file name", in_quotes(tensor_)));
  }

  WeightIndex& index_;
  Section section_ = Section::kOther;
  bool had_map_ = false;
  bool at_total_ = false;
  std::string tensor_;
  std::map<std::string, int, std::less<>> file_numbers_;
};

// The files by name, so that their numbers do not depend on the order in the text.
void sort_index(WeightIndex& index) {
  std::vector<int> order(index.files.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int>(i);
  const auto name = [&](int i) -> const std::string& { return index.files[static_cast<std::size_t>(i)]; };
  std::sort(order.begin(), order.end(), [&](int a, int b) { return name(a) < name(b); });
  std::vector<int> rank(order.size());
  std::vector<std::string> files;
  for (const int old : order) {
    rank[static_cast<std::size_t>(old)] = static_cast<int>(files.size());
    files.push_back(name(old));
  }
  index.files = std::move(files);
  for (WeightIndex::Item& item : index.items) item.file = rank[static_cast<std::size_t>(item.file)];
  const auto before = [](const WeightIndex::Item& a, const WeightIndex::Item& b) { return a.tensor < b.tensor; };
  if (!std::is_sorted(index.items.begin(), index.items.end(), before)) std::sort(index.items.begin(), index.items.end(), before);
}

}  // namespace

WeightIndex parse_weight_index(std::string_view text) {
  WeightIndex index;
  IndexReader reader(index);
  read_json(text, reader);
  reader.finish();
  sort_index(index);
  const auto twice =
      std::adjacent_find(index.items.begin(), index.items.end(), [](const auto& a, const auto& b) { return a.tensor == b.tensor; });
  if (twice != index.items.end()) throw_json(fmt::format("weight_map has tensor {} twice", in_quotes(twice->tensor)));
  for (const std::string& file : index.files) {
    if (const std::string why = check_weight_file_name(file); !why.empty())
      throw_json(fmt::format("weight_map names the file {}: {}", in_quotes(file), why));
    if (!file.ends_with(".safetensors")) throw_json(fmt::format("weight_map names the file {}: not a .safetensors file", in_quotes(file)));
  }
  return index;
}

std::string render_weight_index(std::int64_t total_bytes, std::span<const std::pair<std::string_view, std::string_view>> file_of) {
  std::string text = fmt::format("{{\n  \"metadata\": {{\n    \"total_size\": {}\n  }},\n  \"weight_map\": {{", total_bytes);
  for (const auto& [tensor, file] : file_of) {
    text += text.back() == '{' ? "\n    " : ",\n    ";
    append_json_string(text, tensor);
    text += ": ";
    append_json_string(text, file);
  }
  return text += file_of.empty() ? "}\n}\n" : "\n  }\n}\n";
}

std::string check_weight_file_name(std::string_view name) {
  if (name.empty()) return "an empty name";
  if (!is_valid_utf8(name)) return "not valid UTF-8";
  if (name.front() == '/') return "an absolute path";
  if (name.find('\\') != std::string_view::npos) return "a backslash in the name";
  if (name.size() >= 2 && name[1] == ':') return "a drive prefix";
  if (std::any_of(name.begin(), name.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; }))
    return "control bytes in the name";
  while (true) {
    const std::size_t slash = name.find('/');
    const std::string_view part = name.substr(0, slash);
    if (part.empty()) return "an empty part in the path";
    if (part == "." || part == "..") return "leaves or repeats its folder";
    if (part.size() > 255) return "a part of more than 255 bytes";
    if (part.back() == ' ' || part.back() == '.') return "a part that ends in a space or a dot";
    if (slash == std::string_view::npos) return {};
    name.remove_prefix(slash + 1);
  }
}

}  // namespace crucible
