#include "arch/layer_config.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "arch/layer_rules.h"
#include "base/text_util.h"
#include "text/json_spans.h"

namespace crucible {
namespace {

using Json = nlohmann::ordered_json;

const IndexList* index_list(std::string_view key) noexcept {
  const auto it = std::find_if(kIndexLists.begin(), kIndexLists.end(), [key](const IndexList& l) { return l.key == key; });
  return it == kIndexLists.end() ? nullptr : &*it;
}

std::string object_of(const std::string& path) {
  const std::size_t dot = path.rfind('.');
  return dot == std::string::npos ? std::string() : path.substr(0, dot + 1);
}

// Paths of the objects that describe a stack.
std::vector<std::string> objects_of(const LayerStack& stack) {
  std::vector<std::string> out;
  if (stack.config_key.empty()) return out;
  out.push_back(object_of(stack.config_key));
  for (const std::string& key : stack.also_keys) {
    if (!is_one_of(object_of(key), out)) out.push_back(object_of(key));
  }
  return out;
}

const Json* at_path(const Json& root, std::string_view path) {
  const Json* at = &root;
  for (const std::string_view part : parts_of(path)) {
    if (part.empty()) continue;
    if (!at->is_object()) return nullptr;
    const auto it = at->find(std::string(part));
    if (it == at->end()) return nullptr;
    at = &*it;
  }
  return at;
}

// The layer numbers of an index list: a list, or text with commas.
std::optional<std::set<std::int64_t>> numbers_of(const Json& value) {
  std::set<std::int64_t> out;
  if (value.is_string()) {
    std::string_view rest = value.get_ref<const std::string&>();
    while (!rest.empty()) {
      const std::size_t comma = rest.find(',');
      std::string_view one = rest.substr(0, comma);
      while (one.starts_with(' ')) one.remove_prefix(1);
      const auto number = parse_integer(one);
      if (!number) return std::nullopt;
      out.insert(*number);
      rest = comma == std::string_view::npos ? std::string_view() : rest.substr(comma + 1);
    }
    return out;
  }
  if (!value.is_array()) return std::nullopt;
  for (const Json& one : value) {
    if (!one.is_number_integer()) return std::nullopt;
    out.insert(one.get<std::int64_t>());
  }
  return out;
}

class Adapter {
 public:
  Adapter(const SlicedStack& donor, const std::vector<SlicedStack>& models, const std::vector<LayerSource>& layers)
      : donor_(donor), models_(models), layers_(layers), root_(parse(donor.config_text)) {
    for (const SlicedStack& m : models) roots_.push_back(parse(m.config_text));
  }

  LayerConfigAnswer run() {
    if (!root_.is_object()) return {};
    auto objects = objects_of(donor_.stack);
    if (objects.empty() && donor_.stack.tower == Tower::kNone) objects = objects_with_layer_list();
    if (objects.empty()) {
      if (count() != donor_.stack.layers)
        answer_.notices.push_back(
            fmt::format("no number of config.json agrees with the {} layers of `{}`: the new count of {} is not written",
                        donor_.stack.layers, printable(donor_.stack.name), count()));
      return std::move(answer_);
    }
    if (!donor_.stack.config_key.empty()) change(donor_.stack.config_key, count(), "the number of layers of the output");
    for (const std::string& key : donor_.stack.also_keys) change(key, count(), "the number of layers of the output");
    for (const std::string& object : objects) {
      if (const Json* at = at_path(root_, object); at != nullptr && at->is_object()) {
        object_ = object;
        walk(*at, "");
        sparse_step(*at);
        for (const LayerRule& rule : kLayerRules) hold_rule(*at, rule);
      }
    }
    return std::move(answer_);
  }

 private:
  static Json parse(const std::string& text) { return Json::parse(to_standard_json(text), nullptr, false); }
  std::int64_t count() const { return static_cast<std::int64_t>(layers_.size()); }

  // Descriptions whose list for each layer is as long as the stack.
  std::vector<std::string> objects_with_layer_list() const {
    std::vector<std::string> out;
    for (const std::string object : {"", "text_config.", "llm_config.", "language_config."}) {
      const Json* at = at_path(root_, object);
      if (at == nullptr || !at->is_object()) continue;
      const bool found = std::any_of(kLayerLists.begin(), kLayerLists.end(), [&](std::string_view key) {
        const auto list = at->find(std::string(key));
        return list != at->end() && list->is_array() && static_cast<std::int64_t>(list->size()) == donor_.stack.layers;
      });
      if (found) out.push_back(object);
    }
    return out;
  }

  void change(const std::string& path, const Json& value, std::string why) {
    answer_.changes.push_back({path, value.dump(), std::move(why)});
  }
  void note(std::vector<std::string>& list, std::string text) {
    if (!is_one_of(text, list)) list.push_back(std::move(text));
  }

  // The same value in another model's config: in its own description of the stack, else at the donor's path.
  const Json* value_in(std::size_t model, const std::string& below) const {
    for (const std::string& object : objects_of(models_[model].stack)) {
      if (const Json* found = at_path(roots_[model], object + below)) return found;
    }
    return at_path(roots_[model], object_ + below);
  }

  void walk(const Json& object, const std::string& below) {
    for (const auto& [key, value] : object.items()) {
      if (key.find('.') != std::string::npos) continue;
      const std::string path = below + key;
      if (const IndexList* row = index_list(key)) {
        if (numbers_of(value)) remap_numbers(path, value, row->base);
      } else if (is_one_of(key, kLastLayerKeys)) {
        if (value == donor_.stack.layers - 1) change(object_ + path, count() - 1, "the last layer");
      } else if (key == "attention_types" && value.is_array()) {
        remap_runs(path, value);
      } else if (value.is_array() && static_cast<std::int64_t>(value.size()) == donor_.stack.layers && !is_one_of(key, kNoLayerLists)) {
        remap_list(path, value);
      } else if (value.is_string() && is_one_of(key, kLayerStrings) &&
                 static_cast<std::int64_t>(value.get<std::string>().size()) == donor_.stack.layers) {
        remap_text(path, value.get<std::string>());
      } else if (value.is_object() && tower_of(key) == Tower::kNone && !describes_other_stack(value)) {
        walk(value, path + ".");
      }
    }
  }

  static bool describes_other_stack(const Json& object) { return object.contains("num_hidden_layers") || object.contains("n_layer"); }

  // The entry of each output layer; `whole` reads all entries of a model.
  template <typename Entries>
  std::optional<std::vector<Json>> gather(const std::string& below, const std::vector<Json>& donors, const Entries& whole) {
    std::map<std::size_t, std::vector<Json>> known;
    std::vector<Json> out;
    for (const LayerSource& l : layers_) {
      auto [it, fresh] = known.try_emplace(l.model);
      if (fresh) {
        const Json* value = value_in(l.model, below);
        if (value != nullptr) it->second = whole(*value);
        if (static_cast<std::int64_t>(it->second.size()) != models_[l.model].stack.layers) {
          it->second = donors;
          note(answer_.notices, fmt::format("config.json of {} has no `{}` for each of its layers: what the donor's says of the same layer "
                                            "numbers is taken",
                                            models_[l.model].model, printable(below)));
        }
      }
      if (static_cast<std::size_t>(l.layer) >= it->second.size()) {
        note(answer_.errors,
             fmt::format("config.json of {} does not say what `{}` is of its layer {}", models_[l.model].model, printable(below), l.layer));
        return std::nullopt;
      }
      out.push_back(it->second[static_cast<std::size_t>(l.layer)]);
    }
    return out;
  }

  void remap_list(const std::string& below, const Json& value) {
    const auto whole = [](const Json& v) { return v.is_array() ? v.get<std::vector<Json>>() : std::vector<Json>(); };
    if (const auto entries = gather(below, whole(value), whole)) change(object_ + below, *entries, "an entry for each layer");
  }

  void remap_text(const std::string& below, const std::string& value) {
    const auto whole = [](const Json& v) {
      std::vector<Json> out;
      if (v.is_string()) {
        for (const char c : v.get<std::string>()) out.push_back(std::string(1, c));
      }
      return out;
    };
    const auto entries = gather(below, whole(value), whole);
    if (!entries) return;
    std::string text;
    for (const Json& c : *entries) text += c.get<std::string>();
    change(object_ + below, text, "a letter for each layer");
  }

  // [[pattern, repeats], ...]: the pattern over and over.
  void remap_runs(const std::string& below, const Json& value) {
    const auto whole = [](const Json& v) {
      std::vector<Json> out;
      for (const Json& run : v) {
        if (!run.is_array() || run.size() != 2 || !run[0].is_array() || !run[1].is_number_integer()) return std::vector<Json>();
        for (std::int64_t k = 0; k < run[1].get<std::int64_t>() && out.size() < 100'000; ++k) {
          for (const Json& one : run[0]) out.push_back(one);
        }
      }
      return out;
    };
    const std::vector<Json> donors = whole(value);
    if (static_cast<std::int64_t>(donors.size()) != donor_.stack.layers) return;
    const auto entries = gather(below, donors, whole);
    if (!entries || *entries == donors) return;
    change(object_ + below, Json::array({Json::array({Json(*entries), 1})}), "an entry for each layer");
  }

  void remap_numbers(const std::string& below, const Json& value, std::int64_t base) {
    std::vector<std::optional<std::set<std::int64_t>>> known(models_.size());
    std::vector<std::int64_t> out;
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      auto& numbers = known[layers_[i].model];
      if (!numbers) {
        const Json* theirs = value_in(layers_[i].model, below);
        numbers = theirs != nullptr ? numbers_of(*theirs) : std::nullopt;
        if (!numbers) numbers.emplace();
      }
      if (numbers->contains(layers_[i].layer + base)) out.push_back(static_cast<std::int64_t>(i) + base);
    }
    moved_[below] = {out.begin(), out.end()};
    if (value.is_string()) {
      change(object_ + below, fmt::format("{}", fmt::join(out, ",")), "numbers of layers");
    } else {
      change(object_ + below, out, "numbers of layers");
    }
  }

  bool kinds_known() const {
    const auto known = [](const SlicedStack& s) { return static_cast<std::int64_t>(s.kinds.size()) >= s.stack.layers; };
    return known(donor_) && std::all_of(models_.begin(), models_.end(), known);
  }
  static bool shows(const LayerKind& kind, RuleOf of) { return of == RuleOf::kExperts ? kind.experts : kind.attention; }
  const LayerKind& kind_of(const LayerSource& l) const { return models_[l.model].kinds[static_cast<std::size_t>(l.layer)]; }

  // Every so many layers have experts, but for a list of dense ones: any order can be told by the list alone.
  void sparse_step(const Json& object) {
    const auto step = object.find("decoder_sparse_step");
    if (step == object.end() || !step->is_number_integer() || !kinds_known()) return;
    const std::int64_t s = step->get<std::int64_t>();
    std::vector<std::int64_t> dense;
    bool agrees = s > 0;
    for (std::size_t i = 0; i < layers_.size() && s > 0; ++i) {
      const bool want = kind_of(layers_[i]).experts;
      if (!want) dense.push_back(static_cast<std::int64_t>(i));
      const auto listed = moved_.find("mlp_only_layers");
      const bool in_list = listed != moved_.end() && listed->second.contains(static_cast<std::int64_t>(i));
      agrees = agrees && want == (!in_list && (static_cast<std::int64_t>(i) + 1) % s == 0);
    }
    if (agrees || dense.size() == layers_.size()) return;
    change(object_ + "decoder_sparse_step", 1, "which layers have experts is told by mlp_only_layers");
    change(object_ + "mlp_only_layers", dense, "numbers of the layers without experts");
  }

  struct Numbers {
    std::int64_t first = 0, second = 0;
  };
  static std::optional<Numbers> numbers_in(const Json& object, const LayerRule& rule) {
    const auto first = object.find(std::string(rule.keys[0]));
    if (first == object.end() || !first->is_number_integer() || first->get<std::int64_t>() < rule.least) return std::nullopt;
    Numbers out{first->get<std::int64_t>(), rule.second_default};
    if (rule.keys[1].empty()) return out;
    const auto second = object.find(std::string(rule.keys[1]));
    if (second != object.end() && second->is_number_integer()) out.second = second->get<std::int64_t>();
    if (second != object.end() && second->is_array()) return std::nullopt;  // an entry for each layer goes first
    return out;
  }

  void hold_rule(const Json& object, const LayerRule& rule) {
    const auto numbers = numbers_in(object, rule);
    if (!numbers) return;
    const auto true_at = [&](std::string_view key) {
      const auto it = object.find(std::string(key));
      return it != object.end() && it->is_boolean() && it->get<bool>();
    };
    if (!rule.only_if.empty() && !true_at(rule.only_if)) return;
    if (const auto list = object.find(std::string(rule.overridden_by)); list != object.end() && list->is_array() && !list->empty()) return;
    std::vector<bool> want;
    if (!wanted(rule, *numbers, want) || fits(rule, *numbers, want)) return;
    const bool has_second = !rule.keys[1].empty() && object.contains(std::string(rule.keys[1]));
    const auto better = search(rule, *numbers, has_second, want);
    if (better) {
      change(object_ + std::string(rule.keys[0]), better->first, std::string(rule.about));
      if (has_second) change(object_ + std::string(rule.keys[1]), better->second, std::string(rule.about));
      return;
    }
    std::string text =
        fmt::format("config.json cannot say {}: no value of `{}` describes the new order of layers", rule.about, rule.keys[0]);
    if (rule.of == RuleOf::kBehaviour) {
      note(answer_.notices, text + "; some layers will behave differently");
    } else {
      note(answer_.errors, text + ", and the output would not load");
    }
  }

  // For each output layer, what it was in its own model. False: not known, or the rule is not understood.
  bool wanted(const LayerRule& rule, const Numbers& donors, std::vector<bool>& want) const {
    if (rule.of != RuleOf::kBehaviour) {
      if (!kinds_known()) return false;
      for (std::int64_t i = 0; i < donor_.stack.layers; ++i) {
        if (rule.holds(donors.first, donors.second, i, donor_.stack.layers) != shows(donor_.kinds[static_cast<std::size_t>(i)], rule.of))
          return false;
      }
      for (const LayerSource& l : layers_) want.push_back(shows(kind_of(l), rule.of));
      return true;
    }
    for (const LayerSource& l : layers_) {
      Numbers theirs = donors;
      const auto objects = objects_of(models_[l.model].stack);
      const Json* object = objects.empty() ? nullptr : at_path(roots_[l.model], objects.front());
      if (object != nullptr && object->is_object()) theirs = numbers_in(*object, rule).value_or(donors);
      want.push_back(rule.holds(theirs.first, theirs.second, l.layer, models_[l.model].stack.layers));
    }
    return true;
  }

  bool fits(const LayerRule& rule, const Numbers& n, const std::vector<bool>& want) const {
    for (std::size_t i = 0; i < want.size(); ++i) {
      if (rule.holds(n.first, n.second, static_cast<std::int64_t>(i), count()) != want[i]) return false;
    }
    return true;
  }

  // The smallest numbers that describe the order; the second key keeps its value where it can, and changes only where the config has it.
  std::optional<Numbers> search(const LayerRule& rule, const Numbers& now, bool has_second, const std::vector<bool>& want) const {
    std::vector<std::int64_t> seconds = {now.second};
    for (std::int64_t second = 0; has_second && second <= count(); ++second) seconds.push_back(second);
    for (const std::int64_t second : seconds) {
      for (std::int64_t first = rule.least; first <= count() + 1; ++first) {
        if (fits(rule, {first, second}, want)) return Numbers{first, second};
      }
    }
    return std::nullopt;
  }

  const SlicedStack& donor_;
  const std::vector<SlicedStack>& models_;
  const std::vector<LayerSource>& layers_;
  Json root_;
  std::vector<Json> roots_;
  std::string object_;                                   // path of the description that is being read
  std::map<std::string, std::set<std::int64_t>> moved_;  // index lists as they will be
  LayerConfigAnswer answer_;
};

}  // namespace

LayerConfigAnswer adapt_layer_config(const SlicedStack& donor, const std::vector<SlicedStack>& models,
                                     const std::vector<LayerSource>& layers) {
  return Adapter(donor, models, layers).run();
}

bool holds_part_of_every_layer(std::string_view name) noexcept {
  return std::any_of(kTensorsOfAllLayers.begin(), kTensorsOfAllLayers.end(),
                     [name](auto part) { return name.find(part) != std::string_view::npos; });
}

}  // namespace crucible
