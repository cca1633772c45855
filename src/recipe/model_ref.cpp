#include "recipe/model_ref.h"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

#include "base/text_util.h"
#include "recipe/keys.h"
#include "recipe/quote.h"

namespace crucible {
namespace {

constexpr std::string_view kForm = "a model reference is path[@revision][+lora[@revision]]";
constexpr std::string_view kMappingHint = "a path that holds `+` or `@` is written as a mapping: {model: {path: \"...\"}}";

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (true) {
    const std::size_t at = text.find(separator);
    parts.push_back(text.substr(0, at));
    if (at == std::string_view::npos) return parts;
    text.remove_prefix(at + 1);
  }
}

bool has_control(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; });
}

bool check_path(const ModelPath& path, const Place& place, Diagnostics& diagnostics) {
  if (path.path.empty()) {
    diagnostics.error(place, "the path of a model is empty");
    return false;
  }
  if (has_control(path.path) || has_control(path.revision)) {
    diagnostics.error(place, fmt::format("the model name `{}` holds a control character", printable(path.path)),
                      "write a Windows path in single quotes or with forward slashes");
    return false;
  }
  return true;
}

// path[@revision]
std::optional<ModelPath> parse_path(std::string_view text, const Place& place, Diagnostics& diagnostics) {
  const auto parts = split(text, '@');
  if (parts.size() > 2) {
    diagnostics.error(place, fmt::format("`{}` has more than one `@`; {}", printable(text), kForm), std::string(kMappingHint));
    return std::nullopt;
  }
  ModelPath out{std::string(parts[0]), parts.size() == 2 ? std::string(parts[1]) : std::string()};
  if (parts.size() == 2 && parts[1].empty()) {
    diagnostics.error(place, fmt::format("`{}` has no revision after its `@`", printable(text)), std::string(kMappingHint));
    return std::nullopt;
  }
  if (!check_path(out, place, diagnostics)) return std::nullopt;
  return out;
}

std::optional<ModelRef> parse_text(const Node& node, Diagnostics& diagnostics) {
  const auto parts = split(node.text, '+');
  if (parts.size() > 2) {
    diagnostics.error(node.place, fmt::format("`{}` has more than one `+`; {}", printable(node.text), kForm), std::string(kMappingHint));
    return std::nullopt;
  }
  ModelRef out;
  out.place = node.place;
  const auto model = parse_path(parts[0], node.place, diagnostics);
  const auto lora = parts.size() == 2 ? parse_path(parts[1], node.place, diagnostics) : std::nullopt;
  if (!model || (parts.size() == 2 && !lora)) return std::nullopt;
  out.model = *model;
  out.lora = lora;
  return out;
}

void check_reference_keys(const Node& map, KeyLevel level, Diagnostics& diagnostics) {
  const std::vector<std::string> allowed = key_names(level);
  for (const Node::Entry& entry : map.entries) {
    if (std::find(allowed.begin(), allowed.end(), entry.key) != allowed.end()) continue;
    const auto near = nearest_name(entry.key, allowed);
    const bool is_path = level == KeyLevel::kReference && (entry.key == "path" || entry.key == "revision");
    diagnostics.error(entry.key_place,
                      fmt::format("unknown key `{}` {}, allowed are {}", printable(entry.key, 60), where_text(level), join_names(allowed)),
                      is_path ? "write {model: {path: \"...\", revision: \"...\"}}"
                      : near  ? fmt::format("did you mean `{}`?", *near)
                              : "");
  }
}

// The text of an optional key; an error when it is a list or a mapping.
std::optional<std::string> parse_optional_text(const Node& map, std::string_view key, Diagnostics& diagnostics) {
  const Node* value = find_value(map, key);
  if (value == nullptr) return std::string();
  if (value->is_scalar()) return value->text;
  diagnostics.error(value->place, fmt::format("`{}` must be a text, not {}", key, describe(*value)));
  return std::nullopt;
}

// The inner part of the mapping form: a text "path[@revision]", where '+' is an ordinary character, or {path, revision}.
std::optional<ModelPath> parse_inner(const Node& node, Diagnostics& diagnostics) {
  if (node.is_scalar()) return parse_path(node.text, node.place, diagnostics);
  if (!node.is_map()) {
    diagnostics.error(node.place, fmt::format("a model path must be a text or a mapping with `path`, not {}", describe(node)));
    return std::nullopt;
  }
  check_reference_keys(node, KeyLevel::kReferencePath, diagnostics);
  const auto path = parse_optional_text(node, "path", diagnostics);
  const auto revision = parse_optional_text(node, "revision", diagnostics);
  if (!path || !revision) return std::nullopt;
  if (node.find("path") == nullptr) {
    diagnostics.error(node.place, "`path` is missing in a model path");
    return std::nullopt;
  }
  ModelPath out{*path, *revision};
  if (!check_path(out, node.place, diagnostics)) return std::nullopt;
  return out;
}

std::optional<ModelRef> parse_mapping(const Node& node, Diagnostics& diagnostics) {
  check_reference_keys(node, KeyLevel::kReference, diagnostics);
  const Node* model = find_value(node, "model");
  const Node* lora = find_value(node, "lora");
  if (model == nullptr) {
    diagnostics.error(node.place, "`model` is missing in a model reference", "write {model: {path: \"...\"}}");
    return std::nullopt;
  }
  ModelRef out;
  out.place = node.place;
  const auto model_path = parse_inner(*model, diagnostics);
  const auto lora_path = lora != nullptr ? parse_inner(*lora, diagnostics) : std::nullopt;
  const auto architecture = parse_optional_text(node, "override_architecture", diagnostics);
  if (!model_path || (lora != nullptr && !lora_path) || !architecture) return std::nullopt;
  out.model = *model_path;
  out.lora = lora_path;
  out.override_architecture = *architecture;
  return out;
}

bool fits_text_form(const ModelPath& path) {
  return path.path.find_first_of("+@") == std::string::npos && path.revision.find_first_of("+@") == std::string::npos;
}

std::string text_form(const ModelPath& path) { return path.revision.empty() ? path.path : path.path + "@" + path.revision; }

std::string mapping_form(const ModelPath& path) {
  std::string out = "{path: " + yaml_quoted(path.path);
  if (!path.revision.empty()) out += ", revision: " + yaml_quoted(path.revision);
  return out + "}";
}

}  // namespace

std::string ModelRef::text() const {
  // A text that starts like the mapping form is written in the mapping form, so no two references share a text.
  const bool fits =
      override_architecture.empty() && fits_text_form(model) && (!lora || fits_text_form(*lora)) && !model.path.starts_with('{');
  if (fits) return lora ? text_form(model) + "+" + text_form(*lora) : text_form(model);
  std::string out = "{model: " + mapping_form(model);
  if (lora) out += ", lora: " + mapping_form(*lora);
  if (!override_architecture.empty()) out += ", override_architecture: " + yaml_quoted(override_architecture);
  return out + "}";
}

std::optional<ModelRef> parse_model_ref(const Node& node, Diagnostics& diagnostics, PathForm form) {
  if (node.is_scalar() && form == PathForm::kPlain) {
    ModelRef out;
    out.model.path = node.text;
    out.place = node.place;
    return check_path(out.model, node.place, diagnostics) ? std::optional(out) : std::nullopt;
  }
  if (node.is_scalar()) return parse_text(node, diagnostics);
  if (node.is_map()) return parse_mapping(node, diagnostics);
  diagnostics.error(
      node.place,
      node.is_null() ? "a model is missing here" : fmt::format("a model reference must be a text or a mapping, not {}", describe(node)),
      std::string(kForm));
  return std::nullopt;
}

}  // namespace crucible
