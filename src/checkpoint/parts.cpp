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
constexpr int kDepthLimit = 64;

// The keys whose value is a list that starts with a text: the library of a component. [null, null] is a component that is not there, and
// what else stands there is a setting of the pipeline.
class PipelineReader : public JsonReader {
 public:
  PipelineReader() : JsonReader(kDepthLimit) {}
  bool key(std::string& name) {
    if (depth() == 1) key_ = name;
    return true;
  }
  bool start_object(std::size_t) {
    at_first_ = false;
    return enter();
  }
  bool start_array(std::size_t) {
    if (depth() == 0) throw_json("is a list, not a JSON object");
    at_first_ = depth() == 1;
    return enter();
  }
  bool null() { return value(); }
  bool boolean(bool) { return value(); }
  bool number_integer(std::int64_t) { return value(); }
  bool number_unsigned(std::uint64_t) { return value(); }
  bool number_float(double, const std::string&) { return value(); }
  bool string(std::string&) {
    if (depth() == 2 && at_first_ && !key_.starts_with('_')) folders.push_back(key_);
    return value();
  }

  static constexpr bool kMayBeRoot = false;
  std::vector<std::string> folders;

 private:
  bool value() {
    if (depth() == 0) throw_json("is not a JSON object");
    at_first_ = false;
    return true;
  }
  std::string key_;
  bool at_first_ = false;  // the next value is the first of a list at the top
};

class ModulesReader : public JsonReader {
 public:
  ModulesReader() : JsonReader(kDepthLimit) {}
  bool key(std::string& name) {
    at_path_ = depth() == 2 && name == "path";
    return true;
  }
  bool start_object(std::size_t) {
    if (depth() == 0) throw_json("is an object, not a list of modules");
    return enter();
  }
  bool string(std::string& value) {
    if (at_path_) folders.push_back(value);
    at_path_ = false;
    return true;
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
