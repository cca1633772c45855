#include "arch/roles.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "arch/layers.h"
#include "arch/role_names.h"
#include "base/text_util.h"
#include "text/json_spans.h"

namespace crucible {
namespace {

using NameParts = std::vector<std::string_view>;

std::string_view group_name(Block block) noexcept {
  switch (block) {
    case Block::kNone: return "other";
    case Block::kAttention: return "attention";
    case Block::kMlp: return "mlp";
    case Block::kExpert: return "expert";
    case Block::kSharedExpert: return "shared_expert";
    case Block::kRouter: return "router";
    case Block::kSsm: return "ssm";
    case Block::kEmbedding: return "embedding";
    case Block::kHead:
    case Block::kOtherHead: return "head";
    case Block::kBuffer: return "buffer";
  }
  return "other";
}

bool is_mlp_like(Block block) noexcept { return block == Block::kMlp || block == Block::kExpert || block == Block::kSharedExpert; }

template <typename Row, std::size_t N>
const Row* find_row(const std::array<Row, N>& rows, std::string_view part) {
  static const auto index = [&rows] {
    std::unordered_map<std::string_view, const Row*> all;
    for (const Row& row : rows) all.emplace(row.part, &row);
    return all;
  }();
  const auto it = index.find(part);
  return it == index.end() ? nullptr : it->second;
}

bool contains_nocase(std::string_view text, std::string_view lower) noexcept {
  return std::search(text.begin(), text.end(), lower.begin(), lower.end(),
                     [](char a, char b) { return std::tolower(static_cast<unsigned char>(a)) == b; }) != text.end();
}

bool is_norm_part(std::string_view part) noexcept {
  return contains_nocase(part, "norm") || is_one_of(part, kNormParts) || part.starts_with("ln_");
}

std::string in_name(std::string_view part) { return fmt::format("name part `{}`", part); }

// What all names of a model together say about one of them.
struct NameContext {
  bool has_experts = true;
  std::unordered_set<std::string> ssm_blocks;  // prefixes, layer numbers included
};

// The prefixes of a name, longest first, that are a known state space block.
bool in_ssm_block(std::string_view name, const NameContext& context) {
  for (std::size_t dot = name.rfind('.'); dot != std::string_view::npos && dot > 0; dot = name.rfind('.', dot - 1)) {
    if (context.ssm_blocks.contains(std::string(name.substr(0, dot)))) return true;
  }
  return false;
}

class NameReader {
 public:
  NameReader(std::string_view name, const NameContext& context, bool in_layer)
      : name_(name), context_(context), parts_(parts_of(name)), in_layer_(in_layer) {}

  // Empty path: the name says nothing.
  TensorRole read() {
    TensorRole role;
    role.tower = tower_of(name_);
    const std::string_view last = parts_.back();
    role.is_bias = last == "bias" || last.ends_with("_bias");
    role.is_extra = std::any_of(parts_.begin(), parts_.end(), [](auto p) { return is_one_of(p, kExtraWords); });
    role.path.clear();
    name_path(role);
    role.is_before_layers = is_before(role);
    return role;
  }

 private:
  void name_path(TensorRole& role) {
    const NameParts modules = below_layer();
    for (const std::string_view part : modules) {
      if (is_norm_part(part)) return set(role, "norm", part);
    }
    find_block(modules);
    if (block_ == Block::kNone && is_embedding(role)) return;
    if (block_ == Block::kNone && name_ == "output.weight") return set(role, "head", "output");
    if (block_ == Block::kNone) return;
    std::string path(group_name(block_));
    std::string_view sub;
    if (block_ == Block::kOtherHead) sub = is_token_decoder(modules) ? "" : "other";
    if (block_ == Block::kAttention || is_mlp_like(block_)) sub = leaf_part(modules);
    if (!sub.empty()) path += "." + std::string(sub);
    set(role, std::move(path), why_);
  }

  void set(TensorRole& role, std::string path, std::string_view part) {
    role.path = std::move(path);
    role.why = in_name(part);
  }

  // The parts after the layer's number, or all; the tensor's own `weight` or `bias` aside.
  NameParts below_layer() const {
    NameParts out = parts_;
    if (out.size() > 1 && is_one_of(out.back(), kTensorParts)) out.pop_back();
    if (!in_layer_) return out;
    const auto number = std::find_if(out.begin(), out.end(), [](std::string_view p) {
      return !p.empty() && std::all_of(p.begin(), p.end(), [](char c) { return c >= '0' && c <= '9'; });
    });
    if (number != out.end() && number + 1 != out.end()) out.erase(out.begin(), number + 1);
    return out;
  }

  // The nearest part, from the end, that names a block; else the block of the nearest matrix name.
  void find_block(const NameParts& modules) {
    if (in_ssm_block(name_, context_)) {
      block_ = Block::kSsm;
      why_ = modules.size() > 1 ? modules[modules.size() - 2] : modules.back();
      // Attention and state space may lie in one block of layers under one name; a matrix that only attention has is attention.
      if (const LeafPart* leaf = find_row(kLeafParts, modules.back()); leaf == nullptr || leaf->alone != Block::kAttention) return;
      block_ = Block::kNone;
    }
    for (auto part = modules.rbegin(); part != modules.rend(); ++part) {
      if (*part == "gate" && part == modules.rbegin() && in_layer_ && context_.has_experts && !under_attention(modules)) {
        block_ = Block::kRouter;
        why_ = *part;
        return;
      }
      const BlockPart* row = find_row(kBlockParts, *part);
      if (row == nullptr) continue;
      block_ = row->block;
      why_ = *part;
      return;
    }
    for (auto part = modules.rbegin(); part != modules.rend() && block_ == Block::kNone; ++part) {
      const LeafPart* leaf = find_row(kLeafParts, *part);
      if (leaf == nullptr || leaf->alone == Block::kNone || (!in_layer_ && *part == "output")) continue;
      block_ = leaf->alone;
      why_ = *part;
    }
  }

  static bool under_attention(const NameParts& modules) {
    return std::any_of(modules.begin(), modules.end(), [](auto p) {
      const BlockPart* row = find_row(kBlockParts, p);
      return row != nullptr && row->block == Block::kAttention;
    });
  }

  bool is_embedding(TensorRole& role) {
    for (const std::string_view part : parts_) {
      if (!contains_nocase(part, "embed") && !contains_nocase(part, "pos_emb")) continue;
      set(role, "embedding", part);
      return true;
    }
    return false;
  }

  // The decoder of a masked language model's head is the head itself; its bias may lie one level up.
  static bool is_token_decoder(const NameParts& modules) {
    if (modules.back() == "predictions") return true;
    return modules.back() == "decoder" && is_one_of("predictions", modules);
  }

  std::string_view leaf_part(const NameParts& modules) {
    for (auto part = modules.rbegin(); part != modules.rend(); ++part) {
      const LeafPart* leaf = find_row(kLeafParts, *part);
      if (leaf == nullptr) continue;
      const std::string_view sub = block_ == Block::kAttention ? leaf->in_attention : leaf->in_mlp;
      if (sub.empty()) continue;
      why_ = *part;
      return sub;
    }
    return {};
  }

  bool is_before(const TensorRole& role) const {
    if (role.tower != Tower::kNone) return true;
    if (role.is_extra || role.group() == "head") return false;
    if (role.path != "norm") return true;
    return std::any_of(kEarlyNormWords.begin(), kEarlyNormWords.end(), [this](auto word) { return contains_nocase(name_, word); });
  }

  std::string_view name_;
  const NameContext& context_;
  NameParts parts_;
  bool in_layer_;
  Block block_ = Block::kNone;
  std::string_view why_;
};

// What names say, each read once: the same tensor of another layer, or of another expert, has the same role.
class RolesByName {
 public:
  explicit RolesByName(const NameContext& context) : context_(context) {}

  TensorRole read(const std::string& name, const std::optional<LayerParts>& layer) {
    // A state space block is known by its number too.
    if (!layer || !context_.ssm_blocks.empty()) return NameReader(name, context_, layer.has_value()).read();
    key_.assign(layer->stack);
    key_ += '\n';
    append_without_expert(layer->rest);
    const auto [it, fresh] = known_.try_emplace(key_);
    if (fresh) it->second = NameReader(name, context_, true).read();
    return it->second;
  }

 private:
  void append_without_expert(std::string_view rest) {
    constexpr std::string_view kList = "experts.";
    const std::size_t list = rest.find(kList);
    if (list == std::string_view::npos) {
      key_ += rest;
      return;
    }
    std::size_t end = list + kList.size();
    key_ += rest.substr(0, end);
    while (end < rest.size() && rest[end] >= '0' && rest[end] <= '9') ++end;
    key_ += rest.substr(end);
  }

  const NameContext& context_;
  std::string key_;
  std::unordered_map<std::string, TensorRole> known_;
};

// Sizes that config.json names, at the top or in the text part.
struct Sizes {
  std::optional<std::int64_t> vocab, hidden, intermediate, experts;
};

Sizes sizes_of(const std::string& config_text) {
  Sizes out;
  const auto config = nlohmann::json::parse(to_standard_json(config_text), nullptr, false);
  const auto read = [&](const nlohmann::json& object) {
    const auto first = [&](std::optional<std::int64_t>& into, std::initializer_list<const char*> keys) {
      for (const char* key : keys) {
        const auto it = object.find(key);
        if (!into && it != object.end() && it->is_number_integer() && it->get<std::int64_t>() > 0) into = it->get<std::int64_t>();
      }
    };
    first(out.vocab, {"vocab_size"});
    first(out.hidden, {"hidden_size", "d_model", "n_embd", "dim"});
    first(out.intermediate, {"intermediate_size", "ffn_dim", "d_ff", "n_inner"});
    first(out.experts, {"num_experts", "num_local_experts", "n_routed_experts"});
  };
  if (!config.is_object()) return out;
  for (const char* nested : {"text_config", "llm_config", "language_config"}) {
    if (const auto it = config.find(nested); it != config.end() && it->is_object()) read(*it);
  }
  read(config);
  return out;
}

// Roles from shapes, where names say nothing.
class ShapeReader {
 public:
  explicit ShapeReader(Sizes sizes) : sizes_(sizes) {}

  void read(const TensorInfo& tensor, bool in_layer, TensorRole& role) {
    const Shape& s = tensor.shape;
    if (s.size() == 2 && !in_layer && sizes_.vocab && s[0] == *sizes_.vocab && (!sizes_.hidden || s[1] == *sizes_.hidden)) {
      // The first is the embedding, a second one the head.
      const bool first = !has_embedding_;
      has_embedding_ = true;
      role.is_before_layers = first;
      return set(role, first ? "embedding" : "head",
                 first ? "shape [vocab_size, hidden_size] outside the layers" : "a second [vocab_size, hidden_size] outside the layers");
    }
    if (s.size() == 1 && sizes_.hidden && s[0] == *sizes_.hidden && !role.is_bias) {
      role.is_before_layers = false;
      return set(role, "norm", "1-D of hidden_size");
    }
    if (!in_layer) return;
    if (s.size() == 3 && sizes_.experts && s[0] == *sizes_.experts) return set(role, "expert", "3-D, one matrix for each expert");
    if (s.size() != 2) return;
    if (sizes_.experts && sizes_.hidden && s[0] == *sizes_.experts && s[1] == *sizes_.hidden)
      return set(role, "router", "shape [number of experts, hidden_size]");
    if (!sizes_.intermediate || !sizes_.hidden || *sizes_.intermediate == *sizes_.hidden) return;
    if (s[0] == *sizes_.intermediate && s[1] == *sizes_.hidden) return set(role, "mlp", "shape [intermediate_size, hidden_size]");
    if (s[1] == *sizes_.intermediate && s[0] == *sizes_.hidden) return set(role, "mlp.down", "shape [hidden_size, intermediate_size]");
  }

  // Named ones come first.
  void note_embedding() { has_embedding_ = true; }

 private:
  static void set(TensorRole& role, std::string path, std::string why) {
    role.path = std::move(path);
    role.why = std::move(why);
  }
  Sizes sizes_;
  bool has_embedding_ = false;
};

NameContext context_of(const std::vector<const TensorInfo*>& tensors) {
  NameContext context;
  context.has_experts = false;
  for (const TensorInfo* t : tensors) {
    if (!context.has_experts) context.has_experts = contains_nocase(t->name, "expert") || contains_nocase(t->name, "moe");
    const std::string_view name = t->name;
    for (std::size_t dot = name.find('.'); dot != std::string_view::npos;) {
      const std::size_t next = name.find('.', dot + 1);
      const std::string_view part = name.substr(dot + 1, next == std::string_view::npos ? next : next - dot - 1);
      if (is_one_of(part, kSsmMarks)) context.ssm_blocks.emplace(name.substr(0, dot));
      dot = next;
    }
  }
  return context;
}

// What the stored numbers say against the name: masks and counters, stacks of experts, transforms inside of a head.
void correct_by_shape(const TensorInfo& tensor, TensorRole& role) {
  if (!facts(tensor.dtype).mergeable) {
    role.path = "buffer";
    role.why = "not a floating-point tensor";
    role.is_bias = false;
  } else if (role.is_bias && tensor.shape.size() >= 3) {
    role.path = "buffer";
    role.why = fmt::format("a bias with {} dimensions is a mask", tensor.shape.size());
    role.is_bias = false;
  } else if (tensor.shape.size() == 3 && role.group() == "mlp" && role.tower == Tower::kNone) {
    role.path = "expert" + role.path.substr(3);
    role.why += ", 3-D: one matrix for each expert";
  } else if (role.path == "head" && tensor.shape.size() == 2 && tensor.shape[0] == tensor.shape[1]) {
    role.path = "head.other";
    role.why += ", square: no projection onto the vocabulary";
  }
}

}  // namespace

std::string TensorRole::text() const {
  std::string out = path;
  if (tower != Tower::kNone) out += ", " + std::string(to_string(tower));
  if (is_bias) out += ", bias";
  if (is_extra) out += ", mtp";
  return out;
}

const std::vector<std::string_view>& role_groups() {
  static const std::vector<std::string_view> all = {"embedding",     "attention", "ssm",  "mlp",    "router", "expert",
                                                    "shared_expert", "norm",      "head", "buffer", "other"};
  return all;
}

const std::vector<std::string>& role_words() {
  static const std::vector<std::string> all = [] {
    std::vector<std::string> words;
    std::set<std::string_view> attention, mlp;
    for (const LeafPart& leaf : kLeafParts) {
      if (!leaf.in_attention.empty()) attention.insert(leaf.in_attention);
      if (!leaf.in_mlp.empty()) mlp.insert(leaf.in_mlp);
    }
    for (const std::string_view group : role_groups()) {
      words.emplace_back(group);
      const auto add = [&](const std::set<std::string_view>& parts) {
        for (const std::string_view part : parts) words.push_back(fmt::format("{}.{}", group, part));
      };
      if (group == "attention") add(attention);
      if (group == "mlp" || group == "expert" || group == "shared_expert") add(mlp);
      if (group == "head") words.emplace_back("head.other");
    }
    for (const char* trait : {"bias", "vision", "audio", "projector", "mtp"}) words.emplace_back(trait);
    return words;
  }();
  return all;
}

bool role_matches(const TensorRole& role, std::string_view word) noexcept {
  if (word == "bias") return role.is_bias;
  if (word == "mtp") return role.is_extra;
  if (role.tower != Tower::kNone && word == to_string(role.tower)) return true;
  return role.path.starts_with(word) && (role.path.size() == word.size() || role.path[word.size()] == '.');
}

std::vector<TensorRole> infer_roles(const std::vector<const TensorInfo*>& tensors, const std::string& config_text) {
  const NameContext context = context_of(tensors);
  std::vector<std::string_view> names;
  names.reserve(tensors.size());
  for (const TensorInfo* t : tensors) names.push_back(t->name);
  std::map<std::string, std::int64_t, std::less<>> counted;
  for (const LayerStack& s : find_layer_stacks(names, config_text)) counted[s.name] = s.layers;

  std::vector<TensorRole> roles;
  roles.reserve(tensors.size());
  ShapeReader shapes(sizes_of(config_text));
  RolesByName by_name(context);
  std::vector<char> in_layer;
  for (const TensorInfo* t : tensors) {
    const auto layer = split_layer_name(t->name);
    const auto stack = layer ? counted.find(layer->stack) : counted.end();
    in_layer.push_back(stack != counted.end());
    roles.push_back(by_name.read(t->name, layer));
    if (stack != counted.end() && layer->index >= stack->second) roles.back().is_extra = true;
    if (roles.back().path == "embedding" && roles.back().tower == Tower::kNone) shapes.note_embedding();
  }
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    TensorRole& role = roles[i];
    if (role.path.empty()) {
      shapes.read(*tensors[i], in_layer[i] != 0, role);
      if (role.path.empty()) {
        role.path = "other";
        role.why = "neither its name nor its shape tells";
      }
    }
    correct_by_shape(*tensors[i], role);
  }
  return roles;
}

TensorRole role_of_name(std::string_view tensor_name) {
  static const NameContext none;
  TensorRole role = NameReader(tensor_name, none, parse_layer_name(tensor_name).has_value()).read();
  if (role.path.empty()) role.path = "other";
  return role;
}

bool comes_before_layers(std::string_view tensor_name) { return role_of_name(tensor_name).is_before_layers; }

}  // namespace crucible
