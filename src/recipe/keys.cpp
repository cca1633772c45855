#include "recipe/keys.h"

#include <algorithm>
#include <array>
#include <optional>

#include <fmt/format.h>

#include "base/text_util.h"
#include "methods/method.h"
#include "recipe/later.h"

namespace crucible {
namespace {

using KeyCheck = void (*)(const Node::Entry& entry, BindContext& context);

struct KeyRow {
  KeyLevel level;
  std::string_view name;
  KeyCheck check = nullptr;  // null: bound by the code of its level
};

constexpr KeyRow kKeys[] = {
    {KeyLevel::kDocument, "merge_method"},
    {KeyLevel::kDocument, "base_model"},
    {KeyLevel::kDocument, "models"},
    {KeyLevel::kDocument, "slices"},
    {KeyLevel::kDocument, "modules"},
    {KeyLevel::kDocument, "dtype"},
    {KeyLevel::kDocument, "out_dtype"},
    {KeyLevel::kDocument, "parameters"},
    {KeyLevel::kDocument, "tokenizer_source", check_tokenizer_source},
    {KeyLevel::kDocument, "tokenizer", check_tokenizer},
    {KeyLevel::kDocument, "chat_template", check_chat_template},
    {KeyLevel::kDocument, "name", check_name},
    {KeyLevel::kModel, "model"},
    {KeyLevel::kModel, "parameters"},
    {KeyLevel::kSlice, "sources"},
    {KeyLevel::kSlice, "base_model"},
    {KeyLevel::kSlice, "parameters"},
    {KeyLevel::kSlice, "residual_weight", check_residual_weight},
    {KeyLevel::kSource, "model"},
    {KeyLevel::kSource, "layer_range"},
    {KeyLevel::kSource, "parameters"},
    {KeyLevel::kModule, "models"},
    {KeyLevel::kModule, "slices"},
    {KeyLevel::kModule, "parameters"},
    {KeyLevel::kCondition, "value"},
    {KeyLevel::kCondition, "filter"},
    {KeyLevel::kReference, "model"},
    {KeyLevel::kReference, "lora"},
    {KeyLevel::kReference, "override_architecture"},
    {KeyLevel::kReferencePath, "path"},
    {KeyLevel::kReferencePath, "revision"},
    {KeyLevel::kTokenizer, "source"},
    {KeyLevel::kTokenizer, "tokens"},
    {KeyLevel::kTokenizer, "pad_to_multiple_of"},
};

// Old and neighbouring spellings that edit distance would not find, or whose right form is more than a name.
struct Spelling {
  std::string_view name;
  std::string_view meant;  // the key of the same level, or empty
  std::string_view hint;
  std::string_view parameter = {};  // the parameter that was meant
};

constexpr Spelling kSpellings[] = {
    {"method", "merge_method", "did you mean `merge_method`?"},
    {"type", "merge_method", "did you mean `merge_method`?"},
    {"base", "base_model", "did you mean `base_model`?"},
    {"output_dtype", "out_dtype", "did you mean `out_dtype`?"},
    {"output_type", "out_dtype", "did you mean `out_dtype`?"},
    {"torch_dtype", "dtype", "did you mean `dtype`?"},
    {"precision", "dtype", "did you mean `dtype`?"},
    {"params", "parameters", "did you mean `parameters`?"},
    {"input_model_parameters", "", "write them under `parameters` of each model, or of the whole recipe"},
    {"pattern", "filter", "did you mean `filter`? It is a plain part of the tensor name, not a pattern"},
    {"regex", "filter", "did you mean `filter`? It is a plain part of the tensor name, not a pattern"},
    {"name_filter", "filter", "did you mean `filter`?"},
    {"weights", "", "did you mean `weight`? It belongs under `parameters:`", "weight"},
    {"densities", "", "did you mean `density`? It belongs under `parameters:`", "density"},
    {"layers", "layer_range", "did you mean `layer_range: [begin, end]`?"},
    {"range", "layer_range", "did you mean `layer_range: [begin, end]`?"},
    {"lora", "", "a LoRA adapter is written as `model: base+lora`"},
    {"adapter", "", "a LoRA adapter is written as `model: base+lora`"},
    {"seed", "", "the seed is an option of the command, not part of the recipe"},
    {"random_seed", "", "the seed is an option of the command, not part of the recipe"},
    {"template", "", "did you mean `chat_template`?"},
};

// Not all of mergekit's methods need to be here for their parameters to be recognised.
constexpr std::array<std::string_view, 20> kMergekitParameters = {
    "weight",   "density", "epsilon",     "gamma",       "lambda",           "normalize",       "rescale",           "int8_mask",
    "t",        "scale",   "select_topk", "filter_wise", "nuslerp_row_wise", "nuslerp_flatten", "normalize_weights", "eps",
    "max_iter", "tol",     "r",           "alpha"};

// A reference names the levels that users know.
constexpr KeyLevel kUserLevels[] = {KeyLevel::kDocument, KeyLevel::kModel,  KeyLevel::kSlice,
                                    KeyLevel::kSource,   KeyLevel::kModule, KeyLevel::kCondition};

const KeyRow* find_row(KeyLevel level, std::string_view name) {
  for (const KeyRow& row : kKeys) {
    if (row.level == level && row.name == name) return &row;
  }
  return nullptr;
}

bool has_parameters(KeyLevel level) { return find_row(level, "parameters") != nullptr; }

// The `model@revision` that a separate key was meant to be.
std::string revision_hint(const Node& map, const Node::Entry& entry) {
  const Node* model = map.find("model");
  const std::string name = model != nullptr && model->is_scalar() ? printable(model->text, 60) : "NAME";
  const std::string revision = entry.value.is_scalar() ? printable(entry.value.text, 40) : "REVISION";
  return fmt::format("write `model: {}@{}`", name, revision);
}

// Signs of a text copied from a web page: blanks that look like spaces and are none.
bool has_strange_blank(std::string_view key) {
  for (const std::string_view blank : {"\xC2\xA0", "\xE2\x80\x8B", "\xE3\x80\x80", "\xEF\xBB\xBF", "\xE2\x80\xAF"}) {
    if (key.find(blank) != std::string_view::npos) return true;
  }
  return false;
}

struct Advice {
  std::string what;    // what is wrong with the key
  std::string detail;  // what is right
  std::string hint;
  std::string meant;      // the key of this level that it was probably meant to be
  std::string parameter;  // the parameter that it was probably meant to be
};

std::optional<Advice> advice_by_spelling(const Node& map, const Node::Entry& entry, KeyLevel level, const Advice& unknown) {
  const bool names_model = level == KeyLevel::kModel || level == KeyLevel::kSource || level == KeyLevel::kDocument;
  if (names_model && (entry.key == "revision" || entry.key == "branch"))
    return Advice{unknown.what, unknown.detail, revision_hint(map, entry), {}, {}};
  for (const Spelling& s : kSpellings) {
    if (entry.key != s.name) continue;
    if (!s.meant.empty() && find_row(level, s.meant) == nullptr) continue;
    if (s.meant.empty() && level != KeyLevel::kDocument && level != KeyLevel::kModel && level != KeyLevel::kSource) continue;
    return Advice{unknown.what, unknown.detail, std::string(s.hint), std::string(s.meant), std::string(s.parameter)};
  }
  return std::nullopt;
}

Advice advise(const Node& map, const Node::Entry& entry, KeyLevel level) {
  const std::string shown = printable(entry.key, 60);
  const std::vector<std::string> allowed = key_names(level);
  Advice unknown;
  unknown.what = fmt::format("unknown key `{}` {}", shown, where_text(level));
  unknown.detail = "allowed are " + join_names(allowed, 16);
  if (auto advice = advice_by_spelling(map, entry, level, unknown)) return *advice;
  if (has_parameters(level) && is_some_parameter(entry.key)) {
    return {fmt::format("the parameter `{}` stands outside of `parameters:`", shown),
            {},
            fmt::format("write `parameters: {{{}: ...}}`", shown),
            {},
            entry.key};
  }
  for (const KeyLevel other : kUserLevels) {
    if (other == level || find_row(other, entry.key) == nullptr) continue;
    return {
        fmt::format("`{}` does not belong {}", shown, where_text(level)), fmt::format("its place is {}", where_text(other)), {}, {}, {}};
  }
  if (has_strange_blank(entry.key)) {
    unknown.hint = "the key holds a blank that is no plain space; type it again";
    return unknown;
  }
  if (auto near = nearest_name(entry.key, allowed)) {
    unknown.hint = fmt::format("did you mean `{}`?", *near);
    unknown.meant = *near;
    return unknown;
  }
  if (has_parameters(level)) {
    const std::vector<std::string> parameters(kMergekitParameters.begin(), kMergekitParameters.end());
    if (auto near = nearest_name(entry.key, parameters); near && entry.key.size() > 2) {
      unknown.hint = fmt::format("did you mean `{}`? It belongs under `parameters:`", *near);
      unknown.parameter = *near;
    }
  }
  return unknown;
}

}  // namespace

std::string_view where_text(KeyLevel level) noexcept {
  switch (level) {
    case KeyLevel::kDocument: return "at the top level";
    case KeyLevel::kModel: return "in an entry of `models`";
    case KeyLevel::kSlice: return "in an entry of `slices`";
    case KeyLevel::kSource: return "in an entry of `sources`";
    case KeyLevel::kModule: return "in a module";
    case KeyLevel::kCondition: return "in a condition";
    case KeyLevel::kReference: return "in a model reference";
    case KeyLevel::kReferencePath: return "in a model path";
    case KeyLevel::kTokenizer: return "in `tokenizer`";
  }
  return "";
}

std::vector<std::string> key_names(KeyLevel level) {
  std::vector<std::string> out;
  for (const KeyRow& row : kKeys) {
    if (row.level == level) out.emplace_back(row.name);
  }
  return out;
}

void check_keys(const Node& map, KeyLevel level, BindContext& context) {
  for (const Node::Entry& entry : map.entries) {
    if (const KeyRow* row = find_row(level, entry.key)) {
      if (row->check != nullptr && !entry.value.is_null()) row->check(entry, context);
      continue;
    }
    const Advice advice = advise(map, entry, level);
    if (!advice.parameter.empty()) context.doubt(advice.parameter);
    if (!advice.meant.empty()) {
      context.meant.push_back(advice.meant);
      if (advice.meant == "parameters") context.all_is_doubtful = true;
      if (advice.meant == "base_model") context.base_is_doubtful = true;
    }
    context.report_unknown(entry.key_place, advice.what, advice.detail, advice.hint);
  }
}

const Node* find_value(const Node& map, std::string_view key) noexcept {
  const Node* value = map.find(key);
  return value != nullptr && !value->is_null() ? value : nullptr;
}

bool is_some_parameter(std::string_view name) noexcept {
  return any_method_has_parameter(name) ||
         std::find(kMergekitParameters.begin(), kMergekitParameters.end(), name) != kMergekitParameters.end();
}

const std::vector<std::string>& mergekit_method_names() {
  static const std::vector<std::string> names = {
      "arcee_fusion", "breadcrumbs", "breadcrumbs_ties", "dare_linear", "dare_ties", "della",       "della_linear", "karcher",
      "linear",       "model_stock", "multislerp",       "nearswap",    "nuslerp",   "passthrough", "ram",          "ramplus_tl",
      "sce",          "slerp",       "task_arithmetic",  "ties"};
  return names;
}

bool BindContext::was_meant(std::string_view key) const { return std::find(meant.begin(), meant.end(), key) != meant.end(); }

void BindContext::doubt(const std::string& parameter) { doubtful.insert(parameter); }

void BindContext::report_unknown(const Place& place, const std::string& what, const std::string& detail, const std::string& hint) {
  diagnostics.error(place, what + (detail.empty() ? "" : ": " + detail), hint);
}

void BindContext::report_ignored(const std::string& name, const Place& place, const std::string& what, const std::string& detail,
                                 const std::string& hint) {
  unused->push_back({name, place});
  const std::string tail = detail.empty() ? "" : ": " + detail;
  if (options.unused == UnusedPolicy::kError) {
    diagnostics.error(place, what + tail, hint);
  } else {
    diagnostics.notice(place, what + ", so it has no effect" + tail, hint);
  }
}

void BindContext::report_later(const Place& place, const std::string& what, const std::string& hint) {
  diagnostics.error(place, "not supported yet: " + what, hint);
}

}  // namespace crucible
