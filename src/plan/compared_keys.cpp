#include "plan/compared_keys.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/hash.h"
#include "base/text_util.h"
#include "checkpoint/tokenizer_facts.h"

namespace crucible {
namespace {

using Json = nlohmann::json;

constexpr std::string_view kTokens = "special tokens";
constexpr std::string_view kRope = "rope settings";
constexpr std::string_view kContext = "context length";
constexpr std::string_view kDtype = "the type of the weights";
constexpr std::string_view kQuantization = "quantization";
constexpr std::string_view kTying = "tied embeddings";
constexpr std::string_view kVocabulary = "the vocabulary";
constexpr std::string_view kArchitecture = "the architecture";
constexpr std::string_view kArithmetic = "the arithmetic of layers";
constexpr std::string_view kLabels = "labels";
constexpr std::string_view kTemplate = "the chat template";
constexpr std::string_view kGeneration = "generation settings";
constexpr std::string_view kOther = "other keys of config.json";

// Older and newer spellings of one thing. The first part of a dotted key may be a prefix here ("rope_scaling." -> "rope.").
struct Spelling {
  std::string_view from, to;
};
constexpr std::array kPrefixes = {
    Spelling{"rope_parameters.full_attention.", "rope."},
    Spelling{"rope_parameters.", "rope."},
    Spelling{"rope_scaling.", "rope."},
};
constexpr std::array kSpellings = {
    Spelling{"torch_dtype", "dtype"},
    Spelling{"rope_theta", "rope.rope_theta"},
    Spelling{"rotary_emb_base", "rope.rope_theta"},
    Spelling{"rope.type", "rope.rope_type"},
    Spelling{"rope_local_base_freq", "rope.sliding_attention.rope_theta"},
    Spelling{"partial_rotary_factor", "rope.partial_rotary_factor"},
    Spelling{"rotary_pct", "rope.partial_rotary_factor"},
    Spelling{"n_positions", "max_position_embeddings"},
    Spelling{"n_ctx", "max_position_embeddings"},
    Spelling{"max_seq_len", "max_position_embeddings"},
    Spelling{"max_sequence_length", "max_position_embeddings"},
    Spelling{"seq_length", "max_position_embeddings"},
    Spelling{"hidden_activation", "hidden_act"},
    Spelling{"activation_function", "hidden_act"},
    Spelling{"rms_norm_eps", "norm_eps"},
    Spelling{"layer_norm_eps", "norm_eps"},
    Spelling{"layer_norm_epsilon", "norm_eps"},
    Spelling{"norm_epsilon", "norm_eps"},
    Spelling{"num_local_experts", "num_experts"},
    Spelling{"n_routed_experts", "num_experts"},
    Spelling{"num_experts_per_token", "num_experts_per_tok"},
};

// Two names of one function.
constexpr std::array kSameValues = {Spelling{"swish", "silu"}, Spelling{"gelu_pytorch_tanh", "gelu_new"}};

// A nested text model has its keys where a plain one has them at the top.
constexpr std::array kTextParts = {std::string_view("text_config."), std::string_view("llm_config."), std::string_view("language_config.")};

// What is known about a key. `otherwise`: what transformers takes when it is absent; "-" = absent is a value of its own ("none").
struct Known {
  std::string_view key, kind, otherwise;
};
constexpr std::array kConfigKeys = {
    Known{"eos_token_id", kTokens, "-"},
    Known{"bos_token_id", kTokens, "-"},
    Known{"pad_token_id", kTokens, "-"},
    Known{"decoder_start_token_id", kTokens, "-"},
    Known{"rope.rope_theta", kRope, "10000"},
    Known{"rope.rope_type", kRope, "default"},
    Known{"rope.factor", kRope, "-"},
    Known{"rope.partial_rotary_factor", kRope, ""},
    Known{"max_position_embeddings", kContext, ""},
    Known{"sliding_window", kContext, "-"},
    Known{"use_sliding_window", kContext, ""},
    Known{"dtype", kDtype, ""},
    Known{"quantization_config", kQuantization, "-"},
    Known{"tie_word_embeddings", kTying, ""},
    Known{"vocab_size", kVocabulary, ""},
    Known{"model_type", kArchitecture, ""},
    Known{"architectures", kArchitecture, ""},
    Known{"hidden_act", kArithmetic, ""},
    Known{"norm_eps", kArithmetic, ""},
    Known{"num_attention_heads", kArithmetic, ""},
    Known{"num_key_value_heads", kArithmetic, ""},
    Known{"head_dim", kArithmetic, ""},
    Known{"num_experts_per_tok", kArithmetic, ""},
    Known{"norm_topk_prob", kArithmetic, "false"},
    Known{"routed_scaling_factor", kArithmetic, ""},
    Known{"scoring_func", kArithmetic, ""},
    Known{"attention_multiplier", kArithmetic, "1"},
    Known{"embedding_multiplier", kArithmetic, "1"},
    Known{"residual_multiplier", kArithmetic, "1"},
    Known{"logits_scaling", kArithmetic, "1"},
    Known{"logit_scale", kArithmetic, ""},
    Known{"query_pre_attn_scalar", kArithmetic, ""},
    Known{"attn_logit_softcapping", kArithmetic, "-"},
    Known{"final_logit_softcapping", kArithmetic, "-"},
    Known{"parallel_attn", kArithmetic, ""},
    Known{"alibi", kArithmetic, "false"},
};
constexpr std::array kGenerationKeys = {
    Known{"eos_token_id", kTokens, "-"},      Known{"bos_token_id", kTokens, "-"},    Known{"pad_token_id", kTokens, "-"},
    Known{"do_sample", kGeneration, "false"}, Known{"temperature", kGeneration, "1"}, Known{"top_p", kGeneration, "1"},
    Known{"top_k", kGeneration, "50"},        Known{"num_beams", kGeneration, "1"},   Known{"repetition_penalty", kGeneration, "1"},
    Known{"max_length", kGeneration, "20"},
};
constexpr std::array kTokenizerKeys = {
    Known{"eos_token", kTokens, "-"}, Known{"bos_token", kTokens, "-"},    Known{"pad_token", kTokens, "-"},
    Known{"unk_token", kTokens, "-"}, Known{"add_bos_token", kTokens, ""}, Known{"add_eos_token", kTokens, ""},
};

// What says nothing about the network, or what the layer map tells. By the last part of a key.
constexpr std::array kIgnored = {
    std::string_view("transformers_version"),
    std::string_view("use_cache"),
    std::string_view("torchscript"),
    std::string_view("auto_map"),
    std::string_view("num_hidden_layers"),
    std::string_view("n_layer"),
    std::string_view("n_layers"),
    std::string_view("num_layers"),
    std::string_view("layer_types"),
    std::string_view("no_rope_layers"),
    std::string_view("max_window_layers"),
    std::string_view("num_decoder_layers"),
    std::string_view("encoder_layers"),
    std::string_view("decoder_layers"),
    std::string_view("gradient_checkpointing"),
    std::string_view("attn_implementation"),
    std::string_view("pretraining_tp"),
    std::string_view("initializer_range"),
    std::string_view("initializer_factor"),
    std::string_view("task_specific_params"),
    std::string_view("router_aux_loss_coef"),
    std::string_view("router_jitter_noise"),
    std::string_view("output_router_logits"),
    std::string_view("output_attentions"),
    std::string_view("output_hidden_states"),
    std::string_view("return_dict"),
    std::string_view("use_return_dict"),
    std::string_view("label2id"),
    std::string_view("unsloth_version"),
    std::string_view("unsloth_fixed"),
    std::string_view("use_bfloat16"),
    std::string_view("problem_type"),
    std::string_view("finetuning_task"),
};

bool is_ignored(std::string_view key) {
  const std::string_view last = key.substr(key.rfind('.') + 1);
  return last.starts_with('_') || last.find("dropout") != std::string_view::npos || last.ends_with("_pdrop") ||
         std::find(kIgnored.begin(), kIgnored.end(), last) != kIgnored.end();
}

bool is_token_id(std::string_view key) { return key.ends_with("_token_id"); }

std::string scalar_text(const Json& value) {
  if (value.is_number()) {
    const double number = value.get<double>();
    const bool whole = std::abs(number) < 1e15 && number == std::floor(number);
    return whole ? fmt::format("{:.0f}", number) : render_number(number);
  }
  if (value.is_boolean()) return value.get<bool>() ? "true" : "false";
  if (value.is_string()) {
    std::string text = value.get<std::string>();
    for (const Spelling& s : kSameValues) {
      if (text == s.from) text = s.to;
    }
    return text.starts_with("torch.") ? text.substr(6) : text;
  }
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string value_text(std::string_view key, const Json& value) {
  if (!value.is_array()) return scalar_text(value);
  std::vector<std::string> items;
  for (const Json& item : value) items.push_back(scalar_text(item));
  if (items.size() == 1) return items.front();
  if (is_token_id(key)) {  // a set
    std::sort(items.begin(), items.end(),
              [](const std::string& a, const std::string& b) { return a.size() != b.size() ? a.size() < b.size() : a < b; });
    items.erase(std::unique(items.begin(), items.end()), items.end());
  }
  return fmt::format("[{}]", fmt::join(items, ", "));
}

std::string respell(std::string key) {
  for (const Spelling& s : kPrefixes) {
    if (key.starts_with(s.from)) {
      key = std::string(s.to) + key.substr(s.from.size());
      break;
    }
  }
  for (const Spelling& s : kSpellings) {
    if (key == s.from) return std::string(s.to);
  }
  return key;
}

// An object that is compared as one value.
bool is_one_value(std::string_view key) { return key == "quantization_config" || key == "id2label"; }

void flatten(const Json& object, const std::string& prefix, int depth, ComparedValues& out) {
  for (const auto& [name, value] : object.items()) {
    const std::string key = prefix + name;
    if (value.is_null() || is_ignored(key)) continue;
    if (value.is_object() && !is_one_value(name) && depth < 4) {
      flatten(value, key + ".", depth + 1, out);
    } else {
      out.emplace(key, value_text(key, value));
    }
  }
}

std::optional<Json> parse_object(const std::string& text) {
  if (text.empty()) return std::nullopt;
  Json json = Json::parse(text, nullptr, false);
  if (!json.is_object()) return std::nullopt;
  return json;
}

void erase_value(ComparedValues& values, const std::string& key, std::string_view value) {
  const auto it = values.find(key);
  if (it != values.end() && it->second == value) values.erase(it);
}

template <class Table>
const Known* find_known(const Table& table, std::string_view key) {
  const auto it = std::find_if(table.begin(), table.end(), [&](const Known& k) { return k.key == key; });
  return it == table.end() ? nullptr : &*it;
}

}  // namespace

std::optional<ComparedValues> compared_config(const std::string& text) {
  const auto json = parse_object(text);
  if (!json) return std::nullopt;
  ComparedValues raw;
  flatten(*json, "", 0, raw);
  ComparedValues out;
  for (const auto& [key, value] : raw) {
    std::string at_top = key;
    for (const std::string_view part : kTextParts) {
      if (key.starts_with(part) && !raw.contains(key.substr(part.size()))) at_top = key.substr(part.size());
    }
    out.emplace(respell(std::move(at_top)), value);
  }
  // A window that is switched off is none.
  const auto uses = out.find("use_sliding_window");
  if (uses != out.end() && uses->second == "false") out.erase("sliding_window");
  erase_value(out, "use_sliding_window", "false");
  return out;
}

std::optional<ComparedValues> compared_generation_config(const std::string& text) {
  const auto json = parse_object(text);
  if (!json) return std::nullopt;
  ComparedValues out;
  flatten(*json, "", 3, out);
  return out;
}

std::optional<ComparedValues> compared_tokenizer_config(const std::string& text) {
  const auto json = parse_object(text);
  if (!json) return std::nullopt;
  ComparedValues out;
  for (const Known& known : kTokenizerKeys) {
    const auto it = json->find(known.key);
    if (it == json->end() || it->is_null()) continue;
    const bool token = it->is_object() && it->contains("content");
    out.emplace(known.key, scalar_text(token ? (*it)["content"] : *it));
  }
  return out;
}

std::optional<ComparedValues> compared_chat_template(const std::string& jinja, const std::string& json,
                                                     const std::string& tokenizer_config) {
  std::string found = jinja;
  for (const std::string& text : {json, tokenizer_config}) {
    if (!found.empty()) break;
    const auto object = parse_object(text);
    if (!object || !object->contains("chat_template")) continue;
    const Json& value = (*object)["chat_template"];
    if (value.is_string()) found = value.get<std::string>();
    if (value.is_array()) found = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  }
  while (!found.empty() && (found.back() == '\n' || found.back() == ' ' || found.back() == '\r')) found.pop_back();
  ComparedValues out;
  if (!found.empty()) out["chat_template"] = fmt::format("{} characters, hash {}", found.size(), hash128_hex(found).substr(0, 8));
  // A model without a tokenizer has no template to differ in.
  if (found.empty() && tokenizer_config.empty()) return std::nullopt;
  return out;
}

std::optional<ComparedValues> compared_tokenizer(const std::string& folder) {
  const auto facts = read_tokenizer_facts(folder);
  if (!facts) return std::nullopt;
  return ComparedValues{{"tokens", fmt::format("ids below {}, hash {}", facts->size, facts->vocabulary_id.substr(0, 8))}};
}

ComparedKey compared_key(std::string_view file, const std::string& name) {
  ComparedKey out{name, name, {}, {}, false};
  const Known* known = nullptr;
  if (file == kConfig) {
    known = find_known(kConfigKeys, name);
    out.kind = kOther;
    if (name.starts_with("rope.")) out.kind = kRope;
    if (name == "id2label") out.kind = kLabels;
    if (name == "rope.rope_theta") out.shown = "rope_theta";
  } else if (file == kGenerationConfig) {
    known = find_known(kGenerationKeys, name);
    out.kind = kGeneration;
  } else if (file == kTokenizerConfig) {
    known = find_known(kTokenizerKeys, name);
  } else if (file == kChatTemplate) {
    out.kind = kTemplate;
    out.absent_is_a_value = true;
  } else if (file == kTokenizer) {
    out.kind = kVocabulary;
  }
  if (known != nullptr) {
    out.kind = known->kind;
    out.absent_is_a_value = known->otherwise == "-";
    if (!out.absent_is_a_value) out.otherwise = known->otherwise;
  }
  return out;
}

}  // namespace crucible
