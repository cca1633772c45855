// Vocabularies of one tokenizer, padded to different sizes.
#include <algorithm>

#include <fmt/format.h>

#include "arch/layers.h"
#include "arch/roles.h"
#include "base/text_util.h"
#include "checkpoint/tokenizer_facts.h"
#include "plan/align_models.h"

namespace crucible {
namespace {

bool is_of_vocabulary(const TensorInfo& info, std::int64_t rows) {
  if (info.shape.empty() || info.shape.front() != rows || parse_layer_name(info.name)) return false;
  const TensorRole role = role_of_name(info.name);
  return role.path == "embedding" || role.path == "head";
}

// `model` with its vocabulary tensors as long as those of `longer`, whose last rows are taken.
std::shared_ptr<const ModelView> padded(const PlanInput& model, std::int64_t rows, const PlanInput& longer, std::int64_t wanted) {
  std::vector<ViewTensor> tensors = model.view->tensors();
  for (ViewTensor& t : tensors) {
    const ViewTensor* other = longer.view->find(t.info.name);
    if (other == nullptr || !is_of_vocabulary(t.info, rows) || !is_of_vocabulary(other->info, wanted)) continue;
    Shape shape = t.info.shape;
    shape.front() = wanted;
    if (shape != other->info.shape || !facts(t.info.dtype).mergeable || !other->is_whole()) continue;
    const std::int64_t row = elem_count(t.info.shape) / rows;
    const Piece& last = other->pieces.front();
    t.info.shape = std::move(shape);
    t.bytes = byte_count(t.info);
    t.pieces.push_back({last.input, last.tensor, rows * row, (wanted - rows) * row});
    t.how += fmt::format("{}rows {} to {} are padding, from {}", t.how.empty() ? "" : "; ", rows, wanted - 1, longer.ref.text());
  }
  return std::make_shared<const ModelView>(std::move(tensors));
}

}  // namespace

std::string render_vocabularies(const Plan& plan) {
  std::string text;
  const Vocabularies all = vocabularies_of(plan);
  for (std::size_t i = 0; i < all.size(); ++i) {
    const PlanInput& input = plan.inputs[i];
    const VocabularyFacts& f = all[i];
    const auto tokenizer = read_tokenizer_facts(input.checkpoint.path());
    text += fmt::format(
        "\n    {}: {} rows of {}, config.json says {}, {}", input.ref.text(), f.rows,
        f.embedding.empty() ? "no embedding" : printable(f.embedding),
        f.config_size ? fmt::format("vocab_size {}", *f.config_size) : "no vocab_size",
        tokenizer ? fmt::format("{} has {} tokens (vocabulary {})", tokenizer->file, tokenizer->size, tokenizer->vocabulary_id.substr(0, 8))
                  : "no tokenizer that can be read");
  }
  return text;
}

void pad_vocabularies(Plan& plan, const Vocabularies& vocabularies, Diagnostics& diagnostics) {
  const auto [least, most] = std::minmax_element(vocabularies.begin(), vocabularies.end(),
                                                 [](const VocabularyFacts& a, const VocabularyFacts& b) { return a.rows < b.rows; });
  const std::int64_t wanted = most->rows;
  const std::int64_t fewest = least->rows;
  if (fewest == wanted || fewest == 0) return;
  std::vector<std::optional<TokenizerFacts>> tokenizers;
  for (const PlanInput& input : plan.inputs) tokenizers.push_back(read_tokenizer_facts(input.checkpoint.path()));
  const auto& first = tokenizers.front();
  const bool padding_only = std::all_of(tokenizers.begin(), tokenizers.end(), [&](const std::optional<TokenizerFacts>& t) {
    return t && t->vocabulary_id == first->vocabulary_id && t->size <= fewest;
  });
  if (!padding_only) return;  // the joiner says so where such tensors meet
  // The donor's rows where it has as many, else the last such model's: all models then agree about rows that no token uses.
  std::size_t longer = static_cast<std::size_t>(plan.donor);
  if (vocabularies[longer].rows != wanted) longer = static_cast<std::size_t>(most - vocabularies.begin());
  std::vector<std::string> padded_models;
  for (std::size_t i = 0; i < vocabularies.size(); ++i) {
    if (vocabularies[i].rows == wanted) continue;
    plan.inputs[i].view = padded(plan.inputs[i], vocabularies[i].rows, plan.inputs[longer], wanted);
    padded_models.push_back(fmt::format("{} ({} rows)", plan.inputs[i].ref.text(), vocabularies[i].rows));
  }
  diagnostics.notice({}, fmt::format("all models have the same {} tokens, padded to different numbers of rows: the output has {}, and {} "
                                     "takes the rows that no token uses from {}",
                                     first->size, wanted, join_names(padded_models), plan.inputs[longer].ref.text()));
  const VocabularyFacts& donor = vocabularies[static_cast<std::size_t>(plan.donor)];
  if (donor.config_size && *donor.config_size < wanted)
    plan.root().config_changes.push_back({donor.size_path, std::to_string(wanted), "the embedding's rows, padding included"});
}

}  // namespace crucible
