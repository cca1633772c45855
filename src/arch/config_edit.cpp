#include "arch/config_edit.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/text_util.h"
#include "text/json_spans.h"

namespace crucible {
namespace {

using JsonKind = JsonSpan::Kind;

std::optional<JsonSpan> spans_of(std::string_view text) {
  std::string ignored;
  return find_json_spans(text, ignored);
}

const JsonSpan* at_path(const JsonSpan& root, std::string_view path) {
  const JsonSpan* at = &root;
  while (at != nullptr) {
    const std::size_t dot = path.find('.');
    at = at->kind == JsonKind::kObject ? at->find(path.substr(0, dot)) : nullptr;
    if (dot == std::string_view::npos) break;
    path.remove_prefix(dot + 1);
  }
  return at;
}

// Equal as JSON values; a whole number and the same number with a fraction are not.
bool same_value(std::string_view a, std::string_view b) {
  if (a == b) return true;
  const std::string standard_a = to_standard_json(a);
  const std::string standard_b = to_standard_json(b);
  if (standard_a != a || standard_b != b) return false;  // NaN, Infinity: equal in spelling or not at all
  const auto parsed_a = nlohmann::json::parse(standard_a, nullptr, false);
  const auto parsed_b = nlohmann::json::parse(standard_b, nullptr, false);
  return !parsed_a.is_discarded() && !parsed_b.is_discarded() && parsed_a.dump() == parsed_b.dump();
}

// A new list in the layout of the old one: the same space before, between and after its items.
std::string in_layout_of(std::string_view text, const JsonSpan& old, const std::string& json) {
  const auto fresh = spans_of(json);
  if (old.kind != JsonKind::kList || old.items.empty() || !fresh || fresh->kind != JsonKind::kList || fresh->items.empty()) return json;
  const std::string_view before = text.substr(old.begin + 1, old.items.front().begin - old.begin - 1);
  const std::string_view after = text.substr(old.items.back().end, old.end - 1 - old.items.back().end);
  const bool one_line = before.find('\n') == std::string_view::npos;
  const std::string between = old.items.size() > 1 ? std::string(text.substr(old.items[0].end, old.items[1].begin - old.items[0].end))
                                                   : "," + (one_line ? std::string(" ") : std::string(before));
  std::string out = "[" + std::string(before);
  for (std::size_t i = 0; i < fresh->items.size(); ++i) {
    if (i > 0) out += between;
    out += fresh->items[i].in(json);
  }
  return out + std::string(after) + "]";
}

// `"key": value` after the last entry of an object, with the white space that its last entry has.
std::string with_entry(const std::string& text, const JsonSpan& object, std::string_view key, const std::string& json) {
  if (object.entries.empty()) {
    return text.substr(0, object.begin) + fmt::format("{{{}: {}}}", json_string(key), json) + text.substr(object.end);
  }
  const JsonEntry& last = object.entries.back();
  std::size_t space = last.key_begin;
  while (space > object.begin + 1 && std::string_view(" \t\r\n").find(text[space - 1]) != std::string_view::npos) --space;
  std::string before = text.substr(space, last.key_begin - space);
  const std::string colon = text.substr(last.key_end, last.value.begin - last.key_end);
  if (object.entries.size() == 1 && before.empty() && colon != ":") before = " ";  // {"a": 1} -> {"a": 1, "b": 2}
  return text.substr(0, last.value.end) + "," + before + json_string(key) + colon + json + text.substr(last.value.end);
}

// One change made; a problem goes to `problem`.
std::string apply(const std::string& text, const ConfigChange& change, std::string& problem) {
  const auto root = find_json_spans(text, problem);
  if (!root) return text;
  const JsonSpan* at = &*root;
  std::string_view rest = change.path;
  for (;;) {
    if (at->kind != JsonKind::kObject) {
      problem = fmt::format("{} is no mapping, so `{}` cannot be set in it", printable(at->in(text), 40), printable(change.path));
      return text;
    }
    const std::size_t dot = rest.find('.');
    const std::string_view key = rest.substr(0, dot);
    const JsonSpan* next = at->find(key);
    if (next == nullptr) {
      std::string json = change.json;
      // Missing objects on the way are made, from the inside out.
      std::string_view inner = dot == std::string_view::npos ? std::string_view() : rest.substr(dot + 1);
      while (!inner.empty()) {
        const std::size_t last = inner.rfind('.');
        json = fmt::format("{{{}: {}}}", json_string(inner.substr(last == std::string_view::npos ? 0 : last + 1)), json);
        inner = last == std::string_view::npos ? std::string_view() : inner.substr(0, last);
      }
      return with_entry(text, *at, key, json);
    }
    if (dot == std::string_view::npos) {
      return text.substr(0, next->begin) + in_layout_of(text, *next, change.json) + text.substr(next->end);
    }
    at = next;
    rest.remove_prefix(dot + 1);
  }
}

constexpr std::array<std::string_view, 2> kDtypeKeys = {"torch_dtype", "dtype"};

void add_dtype_changes(const JsonSpan& object, const std::string& prefix, const std::string& json, std::vector<ConfigChange>& out) {
  const std::string why = "the type of the output's tensors";
  for (const JsonEntry& entry : object.entries) {
    if (entry.key.find('.') != std::string::npos) continue;  // no path can name it
    const std::string path = prefix + entry.key;
    const bool is_dtype = is_one_of(entry.key, kDtypeKeys);
    if (is_dtype && entry.value.kind == JsonKind::kObject) {
      for (const JsonEntry& part : entry.value.entries) out.push_back({path + "." + part.key, json, why});
    } else if (is_dtype) {
      out.push_back({path, json, why});
    } else if (entry.value.kind == JsonKind::kObject && entry.key != "quantization_config" && entry.key != "compression_config") {
      add_dtype_changes(entry.value, path + ".", json, out);
    }
  }
}

}  // namespace

std::string json_string(std::string_view text) {
  return nlohmann::json(std::string(text)).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::optional<std::string> config_value(std::string_view config_text, std::string_view path) {
  const auto root = spans_of(config_text);
  const JsonSpan* at = root ? at_path(*root, path) : nullptr;
  if (at == nullptr) return std::nullopt;
  return std::string(at->in(config_text));
}

std::vector<ConfigChange> dtype_changes(std::string_view config_text, std::string_view dtype, DtypeKey key) {
  std::vector<ConfigChange> out;
  const auto root = spans_of(config_text);
  if (!root || root->kind != JsonKind::kObject) return out;
  add_dtype_changes(*root, {}, json_string(dtype), out);
  const bool named = std::any_of(kDtypeKeys.begin(), kDtypeKeys.end(), [&](auto name) { return root->find(name) != nullptr; });
  if (!named && key == DtypeKey::kAddWhereAbsent) out.push_back({"torch_dtype", json_string(dtype), "the type of the output's tensors"});
  return out;
}

std::vector<ConfigChange> effective_changes(std::string_view config_text, const std::vector<ConfigChange>& changes) {
  std::vector<ConfigChange> out;
  const auto root = spans_of(config_text);
  for (const ConfigChange& change : changes) {
    std::erase_if(out, [&](const ConfigChange& c) { return c.path == change.path; });
    const JsonSpan* now = root ? at_path(*root, change.path) : nullptr;
    if (now == nullptr || !same_value(now->in(config_text), change.json)) out.push_back(change);
  }
  return out;
}

std::string edit_config(const std::string& config_text, const std::vector<ConfigChange>& changes, const std::string& name,
                        Diagnostics& diagnostics) {
  if (config_text.empty() || changes.empty()) return config_text;
  std::string text = config_text;
  for (const ConfigChange& change : changes) {
    std::string problem;
    text = apply(text, change, problem);
    if (problem.empty()) continue;
    diagnostics.error({}, fmt::format("{} cannot be edited ({}): {}", printable(name), printable(change.why), problem),
                      fmt::format("correct {} of the model that it is taken from", printable(name)));
    return config_text;
  }
  return text;
}

}  // namespace crucible
