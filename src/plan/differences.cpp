#include "plan/differences.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <set>

#include <fmt/format.h>

#include "base/hash.h"
#include "base/text_util.h"
#include "io/file.h"
#include "plan/compared_keys.h"
#include "plan/plan.h"

namespace crucible {
namespace {

constexpr std::size_t kShownValue = 60;
constexpr const char* kNone = "none";

// The compared files of one model; a file that is missing or unreadable has no values.
struct ModelValues {
  std::map<std::string, std::optional<ComparedValues>> files;  // by file name

  const std::optional<ComparedValues>& find(const std::string& file) const {
    static const std::optional<ComparedValues> none;
    const auto it = files.find(file);
    return it == files.end() ? none : it->second;
  }
};

std::string text_of(const std::string& folder, const char* name) {
  const std::string path = folder + "/" + name;
  try {
    return is_folder(folder) && path_exists(path) ? read_small_file(path, kMaxComparedBytes) : std::string();
  } catch (const Error&) {
    return {};
  }
}

// Tokenizers are large: equal files are read for their tokens once.
class Tokenizers {
 public:
  std::optional<ComparedValues> values_of(const std::string& folder) {
    StreamHash hash;
    for (const char* name : {"tokenizer.json", "vocab.json", "vocab.txt", "added_tokens.json", kTokenizerConfig}) {
      const std::string text = text_of(folder, name);
      hash.update(text.data(), text.size());
      hash.update("", 1);
    }
    const auto [it, fresh] = known_.try_emplace(hash.hex());
    if (fresh) it->second = compared_tokenizer(folder);
    return it->second;
  }

 private:
  std::map<std::string, std::optional<ComparedValues>> known_;
};

ModelValues values_of(const PlanInput& input, Tokenizers& tokenizers) {
  const std::string& folder = input.path;
  ModelValues out;
  const std::string tokenizer = text_of(folder, kTokenizerConfig);
  for (const ModelPart& part : input.checkpoint.parts()) out.files[name_below(part.folder, kConfig)] = compared_config(part.config_text);
  out.files[kGenerationConfig] = compared_generation_config(text_of(folder, kGenerationConfig));
  out.files[kTokenizerConfig] = compared_tokenizer_config(tokenizer);
  out.files[kChatTemplate] =
      compared_chat_template(text_of(folder, "chat_template.jinja"), text_of(folder, "chat_template.json"), tokenizer);
  out.files[kTokenizer] = tokenizers.values_of(folder);
  return out;
}

std::string shown(const std::optional<std::string>& value) { return value ? printable(*value, kShownValue) : std::string(kNone); }

// What one key is in every model; a model without the file, or whose absent value means nothing known, does not take part.
std::vector<std::optional<std::string>> compared(const std::vector<ModelValues>& models, const std::string& file, const ComparedKey& key,
                                                 std::vector<bool>& takes_part) {
  std::vector<std::optional<std::string>> out;
  for (const ModelValues& model : models) {
    const auto& values = model.find(file);
    std::optional<std::string> value;
    if (values) {
      if (const auto it = values->find(key.name); it != values->end()) value = it->second;
      if (!value && !key.otherwise.empty()) value = std::string(key.otherwise);
    }
    takes_part.push_back(values.has_value() && (value.has_value() || key.absent_is_a_value));
    out.push_back(std::move(value));
  }
  return out;
}

bool differ(const std::vector<std::optional<std::string>>& values, const std::vector<bool>& takes_part) {
  const std::optional<std::string>* first = nullptr;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!takes_part[i]) continue;
    if (first != nullptr && *first != values[i]) return true;
    first = &values[i];
  }
  return false;
}

// `output`: what is made of the file; null where it is copied.
std::string chosen_for(const Plan& plan, const ComparedKey& key, const ComparedValues* output,
                       const std::vector<std::optional<std::string>>& values) {
  if (output != nullptr) {
    const auto it = output->find(key.name);
    if (it != output->end()) return printable(it->second, kShownValue);
    return key.otherwise.empty() ? std::string(kNone) : std::string(key.otherwise);
  }
  if (!plan.options.copy_companions) return "not copied";
  return shown(values[static_cast<std::size_t>(plan.donor)]);
}

std::string names_with(const Plan& plan, const Difference::Row& row, const std::string& value) {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < row.values.size(); ++i) {
    if (row.values[i] == value) names.push_back(printable(plan.inputs[i].ref.text(), 80));
  }
  return join_names(names, 4);
}

// "rope_theta (config.json)  10000: ./base, ./b | 500000: ./a | output: 10000"
std::string row_text(const Plan& plan, const Difference::Row& row, std::size_t width) {
  std::string out = fmt::format("{:<{}}", fmt::format("{} ({})", row.key, row.file), width);
  std::set<std::string> told;
  for (const std::string& value : row.values) {
    if (!value.empty() && told.insert(value).second) out += fmt::format("{}: {} | ", value, names_with(plan, row, value));
  }
  return out + "output: " + row.chosen;
}

}  // namespace

std::vector<Difference> find_differences(const Plan& plan) {
  if (plan.inputs.size() < 2) return {};
  std::vector<ModelValues> models;
  Tokenizers tokenizers;
  for (const PlanInput& input : plan.inputs) models.push_back(values_of(input, tokenizers));
  // The files in the order in which they are told, and which row of the table of keys each has.
  std::vector<std::pair<std::string, const char*>> files;
  std::map<std::string, ComparedValues> made;
  for (const PlanPart& part : plan.parts) {
    files.emplace_back(part.config_name(), kConfig);
    made[part.config_name()] = compared_config(part.config_text).value_or(ComparedValues{});
  }
  for (const char* file : {kGenerationConfig, kTokenizerConfig, kChatTemplate, kTokenizer}) files.emplace_back(file, file);
  std::map<std::string, Difference> kinds;
  std::vector<std::string> order;
  for (const auto& [file, table] : files) {
    const auto output = made.find(file);
    std::set<std::string> keys;
    for (const ModelValues& model : models) {
      if (const auto& values = model.find(file)) {
        for (const auto& [key, value] : *values) keys.insert(key);
      }
    }
    for (const std::string& name : keys) {
      const ComparedKey key = compared_key(table, name);
      if (key.kind.empty()) continue;
      std::vector<bool> takes_part;
      const auto values = compared(models, file, key, takes_part);
      if (!differ(values, takes_part)) continue;
      const auto [it, fresh] = kinds.try_emplace(std::string(key.kind));
      if (fresh) order.emplace_back(key.kind);
      Difference::Row row{
          std::string(key.shown), file, {}, chosen_for(plan, key, output == made.end() ? nullptr : &output->second, values)};
      for (std::size_t i = 0; i < values.size(); ++i) row.values.push_back(models[i].find(file) ? shown(values[i]) : std::string());
      it->second.kind = key.kind;
      it->second.rows.push_back(std::move(row));
    }
  }
  std::vector<Difference> out;
  out.reserve(order.size());
  for (const std::string& kind : order) out.push_back(std::move(kinds.at(kind)));
  return out;
}

void report_differences(const Plan& plan, Diagnostics& diagnostics) {
  const std::string donor = printable(plan.inputs[static_cast<std::size_t>(plan.donor)].ref.text(), 400);
  for (const Difference& d : plan.differences) {
    std::string text = fmt::format("the models differ in {}; the output takes after {}", d.kind, donor);
    std::size_t width = 0;
    for (const Difference::Row& row : d.rows) width = std::max(width, row.key.size() + row.file.size() + 5);
    for (const Difference::Row& row : d.rows) text += "\n  " + row_text(plan, row, width);
    diagnostics.notice({}, std::move(text));
  }
}

}  // namespace crucible
