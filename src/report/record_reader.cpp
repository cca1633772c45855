#include <filesystem>

#include <fmt/format.h>

#include "base/hash.h"
#include "base/text_util.h"
#include "io/file.h"
#include "io/output_folder.h"
#include "report/record.h"

namespace crucible {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::int64_t kRecordLimit = std::int64_t{1} << 30;
constexpr int kDepthLimit = 32;

// Why a record cannot be used.
struct BadRecord {
  std::string why;
};

// One value of the record and where it stands: "tensors[3].hash".
class View {
 public:
  View(const Json& json, std::string path) : json_(&json), path_(std::move(path)) {}

  View at(const char* key) const {
    if (!json_->is_object()) wrong("an object");
    const auto it = json_->find(key);
    const std::string path = path_.empty() ? key : path_ + "." + key;
    if (it == json_->end()) throw BadRecord{fmt::format("`{}` is missing", path)};
    return {*it, path};
  }
  bool has(const char* key) const { return json_->is_object() && json_->contains(key); }
  template <typename Visit>
  void each(Visit visit) const {
    if (!json_->is_array()) wrong("a list");
    for (std::size_t i = 0; i < json_->size(); ++i) visit(View((*json_)[i], fmt::format("{}[{}]", path_, i)));
  }
  std::string text() const {
    if (!json_->is_string()) wrong("text");
    return json_->get<std::string>();
  }
  bool flag() const {
    if (!json_->is_boolean()) wrong("true or false");
    return json_->get<bool>();
  }
  std::int64_t integer() const {
    if (!json_->is_number_integer() || (json_->is_number_unsigned() && json_->get<std::uint64_t>() > INT64_MAX)) wrong("an integer");
    return json_->get<std::int64_t>();
  }
  std::uint64_t natural() const {
    if (!json_->is_number_unsigned()) wrong("an integer from 0");
    return json_->get<std::uint64_t>();
  }
  std::int64_t size() const {
    if (!json_->is_number_unsigned()) wrong("an integer from 0");
    return integer();
  }
  std::string hash() const {
    std::string hex = text();
    if (hex.size() != 32 || hex.find_first_not_of("0123456789abcdef") != std::string::npos) wrong("a hash of 32 hexadecimal digits");
    return hex;
  }
  // A file of the folder or below it, not of elsewhere.
  std::string relative_name() const {
    std::string name = text();
    if (!is_plain_relative_name(name)) wrong("the name of a file in the folder");
    return name;
  }
  // A file of the folder itself.
  [[noreturn]] void wrong(std::string_view expected) const {
    std::string shown = json_->is_structured() ? (json_->is_array() ? "a list" : "an object")
                                               : printable(json_->dump(-1, ' ', false, Json::error_handler_t::replace), 60);
    throw BadRecord{fmt::format("{} is {}, not {}", path_.empty() ? "the whole" : "`" + path_ + "`", shown, expected)};
  }

 private:
  const Json* json_;
  std::string path_;
};

Record::File read_weight_file(const View& view) {
  Record::File file{view.at("name").text(), view.at("bytes").size(), view.at("header_hash").hash(), {}};
  if (view.has("content_hash")) file.content_hash = view.at("content_hash").hash();
  return file;
}

Record::Input read_input(const View& view, const std::string& folder) {
  Record::Input input{view.at("model").text(), view.at("id").text(), {}, {}};
  const fs::path path = view.at("path").text();
  input.path = (path.is_absolute() ? path : fs::path(folder) / path).lexically_normal().string();
  view.at("files").each([&](const View& f) { input.files.push_back(read_weight_file(f)); });
  return input;
}

Record::Tensor read_tensor(const View& view, std::size_t files) {
  Record::Tensor tensor;
  tensor.name = view.at("name").text();
  tensor.dtype = view.at("dtype").text();
  view.at("shape").each([&](const View& n) { tensor.shape.push_back(n.size()); });
  const View file = view.at("file");
  if (static_cast<std::size_t>(file.size()) >= files) file.wrong(fmt::format("the number of one of {} files", files));
  tensor.file = static_cast<int>(file.size());
  tensor.hash = view.at("hash").hash();
  const View chunk = view.at("hash_chunk");
  tensor.hash_chunk = chunk.size();
  if (tensor.hash_chunk < 1 || tensor.hash_chunk > (std::int64_t{1} << 30)) chunk.wrong("a number of bytes in [1, 2^30]");
  tensor.copied = view.has("copied_from");
  return tensor;
}

Record read_record(const Json& json, const std::string& folder) {
  const View root(json, "");
  Record record;
  record.program_version = root.at("program").text();
  record.recipe_file = root.at("recipe_file").text();
  record.recipe_text = root.at("recipe").text();
  record.method = root.at("method").text();
  if (root.has("plain_paths")) record.paths = root.at("plain_paths").flag() ? PathForm::kPlain : PathForm::kReference;
  record.seed = root.at("seed").natural();
  record.shard_bytes = root.at("shard_bytes").integer();
  if (root.has("missing_tensors")) {
    const View missing = root.at("missing_tensors");
    const auto policy = parse_missing_tensors(missing.text());
    if (!policy) missing.wrong("error, intersection, union or donor");
    record.missing = *policy;
  }
  record.plan_digest = root.at("plan_digest").hash();
  if (root.has("companions_from")) record.companions_from = root.at("companions_from").text();
  root.at("inputs").each([&](const View& v) { record.inputs.push_back(read_input(v, folder)); });
  root.at("files").each([&](const View& v) {
    v.at("name").relative_name();
    record.files.push_back(read_weight_file(v));
  });
  root.at("companions").each([&](const View& v) {
    record.companions.push_back({v.at("name").relative_name(), v.at("bytes").size(), {}, v.at("hash").hash()});
  });
  root.at("tensors").each([&](const View& v) { record.tensors.push_back(read_tensor(v, record.files.size())); });
  return record;
}

void check_version(const Json& json) {
  if (!json.is_object() || !json.contains("format") || json["format"] != "crucible-record")
    throw BadRecord{"this is not a record of Crucible, or it is damaged"};
  const View version = View(json, "").at("version");
  if (version.integer() != kRecordVersion) {
    throw BadRecord{
        fmt::format("the record has version {}, this program ({}) reads version {}", version.integer(), CRUCIBLE_VERSION, kRecordVersion)};
  }
}

void check_checksum(const Json& json) {
  const std::string given = View(json, "").at("checksum").hash();
  Json rest = json;
  rest.erase("checksum");
  if (hash128_hex(rest.dump()) != given)
    throw BadRecord{"the record was edited after it was written: its checksum is that of another text"};
}

Json parse_json(const std::string& text) {
  try {
    // Depth is bounded before a tree is made of it: what is deep is no record.
    const auto depth_ok = [](int depth, Json::parse_event_t, Json&) {
      if (depth > kDepthLimit) throw BadRecord{"the record is damaged: values are nested too deeply"};
      return true;
    };
    return Json::parse(text, depth_ok);
  } catch (const nlohmann::json::parse_error& problem) {
    if (problem.byte > text.size())
      throw BadRecord{fmt::format("the record is cut off: it ends after {} bytes in the middle", text.size())};
    throw BadRecord{fmt::format("the record is damaged: byte {} is no valid JSON", problem.byte)};
  }
}

}  // namespace

std::vector<std::pair<std::string, std::string>> Record::model_dirs() const {
  std::vector<std::pair<std::string, std::string>> dirs;
  for (const Input& input : inputs) dirs.emplace_back(input.id, input.path);
  return dirs;
}

std::optional<Record> parse_record(const std::string& text, const std::string& file, const std::string& folder, Diagnostics& diagnostics) {
  try {
    Json json = parse_json(text);
    check_version(json);
    Record record = read_record(json, folder);
    check_checksum(json);
    record.json = std::move(json);
    return record;
  } catch (const BadRecord& bad) {
    diagnostics.error({file, 0, 0}, bad.why, "only the merge can write it again");
    return std::nullopt;
  }
}

std::optional<Record> open_record(const std::string& folder, Diagnostics& diagnostics) {
  const std::string path = (fs::path(folder) / kRecordName).string();
  if (!path_exists(path)) {
    diagnostics.error(
        {}, fmt::format("{} has no {}: it was not written by Crucible, or the record was removed", printable(folder, 400), kRecordName),
        "crucible verify OUT --recipe RECIPE judges the output of another tool");
    return std::nullopt;
  }
  try {
    return parse_record(read_small_file(path, kRecordLimit), path, folder, diagnostics);
  } catch (const Error& problem) {
    diagnostics.error({}, problem.what());
    return std::nullopt;
  }
}

}  // namespace crucible
