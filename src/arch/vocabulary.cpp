#include "arch/vocabulary.h"

#include <algorithm>
#include <array>
#include <string_view>

#include <nlohmann/json.hpp>

#include "base/text_util.h"
#include "arch/layers.h"
#include "arch/roles.h"

namespace crucible {
namespace {

using Json = nlohmann::json;

bool contains(std::string_view text, std::string_view part) noexcept { return text.find(part) != std::string_view::npos; }

template <typename Parts>
bool contains_any(std::string_view text, const Parts& parts) noexcept {
  return std::any_of(parts.begin(), parts.end(), [text](std::string_view p) { return contains(text, p); });
}

// Embeddings of something else than tokens.
constexpr std::array<std::string_view, 16> kOtherEmbeddings = {
    "position", "pos_emb", "wpe",  "token_type", "patch",          "vision",    "visual",    "image",
    "audio",    "speech",  "time", "relative",   "embedding_norm", "layernorm", "LayerNorm", "embed_scale"};
constexpr std::array<std::string_view, 8> kOtherTowers = {"vision", "visual",  "image",     "audio",
                                                          "speech", "qformer", "projector", "connector"};
constexpr std::array<std::string_view, 3> kHeadNames = {"lm_head.weight", "embed_out.weight", "output.weight"};
constexpr std::array<std::string_view, 6> kHeadClasses = {"ForCausalLM", "LMHeadModel",    "ForConditionalGeneration",
                                                          "ForMaskedLM", "ForPreTraining", "WithLMHead"};
// Families (model_type) whose configs leave tie_word_embeddings out where it is true.
constexpr std::array<std::string_view, 30> kTiedByDefault = {
    "gpt2",    "gpt_neo",    "gemma", "gemma2", "gemma3", "gemma3_text", "bloom",     "opt",        "mpt",     "falcon",
    "cohere",  "cohere2",    "t5",    "mt5",    "bart",   "mbart",       "pegasus",   "m2m_100",    "bert",    "roberta",
    "electra", "distilbert", "mamba", "albert", "xlm",    "xlm-roberta", "camembert", "starcoder2", "whisper", "marian"};
// Nested descriptions of the text model.
constexpr std::array<std::string_view, 6> kTextConfigs = {"text_config",    "llm_config", "language_config",
                                                          "thinker_config", "decoder",    "generator"};

bool is_matrix(const TensorInfo& t) noexcept { return t.shape.size() == 2 && t.shape[0] > 0; }

bool is_token_embedding(const TensorInfo& t) {
  return is_matrix(t) && !split_layer_name(t.name) && role_of_name(t.name).path == "embedding" && !contains_any(t.name, kOtherEmbeddings) &&
         !contains_any(t.name, kOtherTowers);
}

bool is_token_head(const TensorInfo& t) {
  if (!is_matrix(t) || split_layer_name(t.name) || contains_any(t.name, kOtherTowers)) return false;
  return role_of_name(t.name).path == "head";
}

void read_config(const Json& config, const std::string& path, VocabularyFacts& facts) {
  if (const auto it = config.find("vocab_size"); it != config.end() && it->is_number_integer() && !facts.config_size) {
    facts.config_size = it->get<std::int64_t>();
    facts.size_path = path + "vocab_size";
  }
  if (const auto it = config.find("tie_word_embeddings"); it != config.end() && it->is_boolean()) {
    if (!facts.config_tied) facts.config_tied = it->get<bool>();
    facts.tied_paths.push_back(path + "tie_word_embeddings");
  }
  for (const std::string_view nested : kTextConfigs) {
    const auto it = config.find(std::string(nested));
    if (it != config.end() && it->is_object()) read_config(*it, path + std::string(nested) + ".", facts);
  }
}

}  // namespace

VocabularyFacts vocabulary_of(const std::vector<const TensorInfo*>& tensors, const std::string& config_text) {
  VocabularyFacts facts;
  const Json config = Json::parse(config_text, nullptr, false);
  if (config.is_object()) {
    read_config(config, {}, facts);
    if (const auto it = config.find("model_type"); it != config.end() && it->is_string()) {
      const auto family = it->get<std::string>();
      facts.ties_by_default = !facts.config_tied && is_one_of(family, kTiedByDefault);
    }
    if (const auto it = config.find("architectures"); it != config.end() && it->is_array() && !it->empty() && it->front().is_string())
      facts.wants_head = contains_any(it->front().get<std::string>(), kHeadClasses);
  }
  const TensorInfo* embedding = nullptr;
  for (const TensorInfo* t : tensors) {
    // Of several (T5 stores `shared` beside those of encoder and decoder) the one with the most rows, then the shortest name.
    if (!is_token_embedding(*t)) continue;
    if (embedding == nullptr || t->shape[0] > embedding->shape[0] ||
        (t->shape[0] == embedding->shape[0] && t->name.size() < embedding->name.size()))
      embedding = t;
  }
  const TensorInfo* head = nullptr;
  for (const TensorInfo* t : tensors) {
    if (!is_token_head(*t) || (head != nullptr && t->name.size() >= head->name.size())) continue;
    // As many rows as there are tokens: a head may have layers of its own before the projection (`lm_head.dense`). A head that is padded
    // otherwise than the embedding has a name that is nothing but the head's.
    const std::int64_t rows = embedding != nullptr ? embedding->shape[0] : facts.config_size.value_or(t->shape[0]);
    const bool is_plain = std::any_of(kHeadNames.begin(), kHeadNames.end(), [t](std::string_view n) { return t->name.ends_with(n); });
    if (t->shape[0] == rows || is_plain) head = t;
  }
  if (embedding != nullptr) facts.embedding = embedding->name;
  if (head != nullptr) facts.head = head->name;
  const TensorInfo* rows = embedding != nullptr ? embedding : head;
  if (rows != nullptr) facts.rows = rows->shape[0];
  return facts;
}

}  // namespace crucible
