#include "checkpoint/parts.h"

#include <algorithm>
#include <set>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "base/text_util.h"
#include "checkpoint/index.h"
#include "checkpoint/strict_json.h"
#include "crucible/part.h"
#include "io/file.h"

namespace crucible {
namespace {

constexpr std::int64_t kMostBytes = 1 << 20;
constexpr int kPartsDepth = 64;

// The keys whose value is a list that starts with a text: the library of a component. [null, null] is a component that is not there, and
// what else stands there is a setting of the pipeline.
class PipelineReader : public JsonReader {
 public:
  PipelineReader() : JsonReader(kPartsDepth) {}
  void key(std::string& name) override {
    if (depth() == 1) key_ = name;
  }
  void start_object() override {
    at_first_ = false;
    enter();
  }
  void start_array() override {
    if (depth() == 0) throw_json("is a list, not a JSON object");
    at_first_ = depth() == 1;
    enter();
  }
  void null() override { value(); }
  void boolean(bool) override { value(); }
  void number_integer(std::int64_t) override { value(); }
  void number_unsigned(std::uint64_t) override { value(); }
  void number_float(double, const std::string&) override { value(); }
  void string(std::string&) override {
    if (depth() == 2 && at_first_ && !key_.starts_with('_')) folders.push_back(key_);
    value();
  }

  static constexpr bool kMayBeRoot = false;
  std::vector<std::string> folders;

 private:
  void value() {
    if (depth() == 0) throw_json("is not a JSON object");
    at_first_ = false;
  }
  std::string key_;
  bool at_first_ = false;  // the next value is the first of a list at the top
};

class ModulesReader : public JsonReader {
 public:
  ModulesReader() : JsonReader(kPartsDepth) {}
  void key(std::string& name) override { at_path_ = depth() == 2 && name == "path"; }
  void start_object() override {
    if (depth() == 0) throw_json("is an object, not a list of modules");
    enter();
  }
  void string(std::string& value) override {
    if (at_path_) folders.push_back(value);
    at_path_ = false;
  }

  static constexpr bool kMayBeRoot = true;  // the path of a module that lies in the model's own folder is empty
  std::vector<std::string> folders;

 private:
  bool at_path_ = false;
};

template <class Reader>
std::vector<std::string> read_document(const std::string& path, Diagnostics& diagnostics) {
  Reader reader;
  try {
    read_json(read_small_file(path, kMostBytes), reader);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kIo) throw;
    const std::string what = error.what();
    diagnostics.error({path, 0, 0}, what.starts_with(path + ": ") ? what.substr(path.size() + 2) : what);
    return {};
  }
  std::vector<std::string> good;
  for (std::string& folder : reader.folders) {
    const std::string why = folder.empty() && Reader::kMayBeRoot ? std::string() : check_weight_file_name(folder);
    if (why.empty()) {
      good.push_back(std::move(folder));
    } else {
      diagnostics.error({path, 0, 0}, fmt::format("names the folder {}: {}", in_quotes(folder), why), "a part lies in the model's folder");
    }
  }
  return good;
}

}  // namespace

PartList list_parts(const std::string& folder, Diagnostics& diagnostics) {
  PartList list;
  std::set<std::string> all;
  const std::string pipeline = folder + "/model_index.json", modules = folder + "/modules.json";
  if (path_exists(pipeline)) {
    list.is_pipeline = true;
    for (std::string& name : read_document<PipelineReader>(pipeline, diagnostics)) all.insert(std::move(name));
  }
  if (path_exists(modules)) {
    for (std::string& name : read_document<ModulesReader>(modules, diagnostics)) all.insert(std::move(name));
  }
  list.lists_root = all.erase("") > 0;
  for (const std::string& outer : all) {
    for (const std::string& inner : all) {
      if (name_in_folder(inner, outer).size() == inner.size()) continue;
      diagnostics.error(
          {}, fmt::format("{}: its part {} lies in the folder of its part {}", printable(folder, 400), in_quotes(inner), in_quotes(outer)));
    }
  }
  list.folders.assign(all.begin(), all.end());
  return list;
}

}  // namespace crucible
