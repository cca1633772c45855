#include "plan/fit.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include <fmt/format.h>

#include "arch/config_edit.h"
#include "arch/layers.h"
#include "arch/parts.h"
#include "arch/vocabulary.h"
#include "base/text_util.h"
#include "checkpoint/tokenizer_facts.h"
#include "plan/plan.h"
#include "tensor/tensor_infos.h"

namespace crucible {
namespace {

// The outcome of one check of one model.
struct Finding {
  std::string kind;        // the same for the same check of another model
  std::string text;        // what is wrong; empty = nothing
  bool is_common = false;  // models in the world have it and load: not worth a word where an input has it too
};

// One network: a model, or a part of one.
class Finder {
 public:
  // `counts`: the keys of its config.json that must be the number of some layers.
  Finder(const std::vector<const TensorInfo*>& tensors, const ModelPart& part, std::set<std::string> counts)
      : tensors_(tensors),
        config_text_(part.config_text),
        config_(name_below(part.folder, "config.json")),
        of_interest_(std::move(counts)) {}

  std::vector<Finding> run(const std::string& tokenizer_folder) {
    check_layers();
    check_vocabulary(tokenizer_folder);
    return std::move(findings_);
  }
  // The keys of config.json that are the number of some layers.
  std::set<std::string> find_counts() {
    check_layers();
    return std::move(counts_);
  }

 private:
  template <class Text>
  void expect(bool ok, std::string kind, Text text) {
    findings_.push_back({std::move(kind), ok ? std::string() : text(), false});
  }
  template <class Text>
  void expect_usually(bool ok, std::string kind, Text text) {
    findings_.push_back({std::move(kind), ok ? std::string() : text(), true});
  }

  void check_layers() {
    std::vector<std::string_view> names;
    names.reserve(tensors_.size());
    std::map<std::string_view, std::set<std::int64_t>> indices;
    std::optional<LayerParts> last;
    for (const TensorInfo* t : tensors_) {
      names.emplace_back(t->name);
      const auto layer = split_layer_name(t->name);
      // Neighbours mostly belong to one layer.
      if (!layer || (last && last->index == layer->index && last->stack == layer->stack)) continue;
      last = layer;
      indices[layer->stack].insert(layer->index);
    }
    for (const auto& [stack, there] : indices) {
      expect_usually(static_cast<std::int64_t>(there.size()) == *there.rbegin() + 1, fmt::format("gap in {}", stack),
                     [&s = stack, &t = there] {
                       return fmt::format("the layers of {} have gaps: {} of {} are there", printable(s), t.size(), *t.rbegin() + 1);
                     });
    }
    if (config_text_.empty()) return;
    for (const LayerStack& stack : find_layer_stacks(names, config_text_)) {
      // Prediction layers behind the counted ones make more than the key says: then nothing is known of it.
      if (!stack.config_key.empty() && *indices.at(stack.name).rbegin() + 1 == stack.layers) counts_.insert(stack.config_key);
    }
    for (const std::string& key : of_interest_) {
      const auto count = config_value(config_text_, key);
      if (!count) continue;
      expect_usually(counts_.contains(key), "layers by " + key, [&] {
        return fmt::format("{} of {} says {} layers, and no layers of the model are as many", key, printable(config_),
                           printable(*count, 20));
      });
    }
  }

  void check_vocabulary(const std::string& tokenizer_folder) {
    const VocabularyFacts facts = vocabulary_of(tensors_, config_text_);
    if (facts.rows == 0) return;
    const std::string rows_of = printable(facts.embedding.empty() ? facts.head : facts.embedding);
    if (facts.config_size) {
      expect(facts.rows == *facts.config_size, "vocab_size", [&] {
        return fmt::format("{} has {} rows, {} of {} says {}", rows_of, facts.rows, facts.size_path, printable(config_),
                           *facts.config_size);
      });
    }
    if (!tokenizer_folder.empty()) {
      if (const auto tokenizer = read_tokenizer_facts(tokenizer_folder)) {
        expect(tokenizer->size <= facts.rows, "tokenizer", [&] {
          return fmt::format("{} has ids up to {}, {} only {} rows", tokenizer->file, tokenizer->size - 1, rows_of, facts.rows);
        });
      }
    }
    const std::int64_t columns = columns_of(facts.embedding);
    if (const auto hidden = hidden_size(facts.size_path); hidden && columns > 0) {
      expect_usually(*hidden == columns, "hidden size", [&] {
        return fmt::format("{} has {} columns, {} gives a hidden size of {}", rows_of, columns, printable(config_), *hidden);
      });
    }
    check_tying(facts);
  }

  void check_tying(const VocabularyFacts& facts) {
    if (facts.embedding.empty()) return;
    expect_usually(!(facts.config_tied.value_or(false) && !facts.head.empty()), "tied", [&] {
      return fmt::format("{} ties the embeddings, and {} is stored all the same", printable(config_), printable(facts.head));
    });
    expect(facts.config_tied.value_or(true) || !facts.wants_head || !facts.head.empty(), "no head", [&] {
      return fmt::format("{} says that head and embedding are two, and only {} is stored", printable(config_), printable(facts.embedding));
    });
  }

  std::int64_t columns_of(const std::string& name) const {
    for (const TensorInfo* t : tensors_) {
      if (t->name == name && t->shape.size() == 2) return t->shape[1];
    }
    return 0;
  }

  // The width of the network, at the level of config.json that has the vocabulary's size.
  std::optional<std::int64_t> hidden_size(const std::string& beside) const {
    const std::string level = beside.substr(0, beside.rfind('.') + 1);
    for (const char* key : {"hidden_size", "n_embd", "d_model"}) {
      const auto value = config_value(config_text_, level + key);
      if (const auto size = value ? parse_integer(*value) : std::nullopt) return size;
    }
    return std::nullopt;
  }

  const std::vector<const TensorInfo*>& tensors_;
  const std::string& config_text_;
  std::string config_;  // its name, as messages show it
  std::set<std::string> of_interest_, counts_;
  std::vector<Finding> findings_;
};

// By folder of a part: the keys of its config.json that are the number of some layers.
using Counts = std::map<std::string, std::set<std::string>>;

// All checks of a model, part by part. The tokenizer of the folder is that of the model's own network.
std::vector<Finding> findings_of(const std::vector<const TensorInfo*>& tensors, const std::vector<ModelPart>& parts, const Counts& counts,
                                 const std::string& tokenizer_folder) {
  std::vector<Finding> all;
  const std::vector<PartTensors> split = split_by_part(tensors, parts);
  for (std::size_t p = 0; p < parts.size(); ++p) {
    const auto known = counts.find(parts[p].folder);
    Finder finder(split[p].tensors, parts[p], known == counts.end() ? std::set<std::string>() : known->second);
    for (Finding& f : finder.run(p == 0 ? tokenizer_folder : std::string())) {
      f.kind = name_below(parts[p].folder, f.kind);
      if (p > 0 && !f.text.empty()) f.text = fmt::format("{}/: {}", printable(parts[p].folder), f.text);
      all.push_back(std::move(f));
    }
  }
  return all;
}

// Which checks some input passes, and which some input fails.
struct OfInputs {
  std::set<std::string> passed, failed;
};

OfInputs findings_of_inputs(const Plan& plan, const Counts& counts, bool with_tokenizer) {
  OfInputs out;
  for (const PlanInput& input : plan.inputs) {
    const auto tensors = tensor_infos(input.checkpoint.tensors());
    for (Finding& f : findings_of(tensors, input.checkpoint.parts(), counts, with_tokenizer ? input.path : std::string()))
      (f.text.empty() ? out.passed : out.failed).insert(std::move(f.kind));
  }
  return out;
}

Counts counts_of_inputs(const Plan& plan) {
  Counts counts;
  for (const PlanInput& input : plan.inputs) {
    const auto& parts = input.checkpoint.parts();
    const auto split = split_by_part(tensor_infos(input.checkpoint.tensors()), parts);
    for (std::size_t p = 0; p < parts.size(); ++p) counts[parts[p].folder].merge(Finder(split[p].tensors, parts[p], {}).find_counts());
  }
  return counts;
}

// Slices choose; every other recipe makes at least what the model has that gives the names. Empty: nothing is lost.
std::string lost_parameters(const Plan& plan) {
  const auto slices = [](const OutputModule& m) { return !m.slices.empty(); };
  if (!plan.recipe.slices.empty() || std::any_of(plan.recipe.modules.begin(), plan.recipe.modules.end(), slices)) return {};
  if (plan.options.missing == MissingTensors::kIntersection) return {};
  const PlanInput& donor = plan.inputs[static_cast<std::size_t>(plan.donor)];
  std::int64_t before = 0, after = 0;
  for (const ViewTensor& t : donor.view->tensors()) before += elem_count(t.info.shape);
  for (const Job& job : plan.jobs) after += elem_count(job.info.shape);
  if (after >= before) return {};
  return fmt::format("{} has {} parameters, and the output only {}", donor.ref.text(), before, after);
}

}  // namespace

Fit check_fit(const Plan& plan, const std::string& tokenizer_folder) {
  const auto tensors = tensor_infos(plan.jobs);
  Fit fit;
  std::vector<Finding> wrong;
  const Counts counts = counts_of_inputs(plan);
  for (Finding& f : findings_of(tensors, plan.model_parts(), counts, tokenizer_folder)) {
    ++fit.checks;
    if (!f.text.empty()) wrong.push_back(std::move(f));
  }
  ++fit.checks;
  if (std::string lost = lost_parameters(plan); !lost.empty()) fit.faults.push_back(std::move(lost));
  if (wrong.empty()) return fit;
  const OfInputs inputs = findings_of_inputs(plan, counts, !tokenizer_folder.empty());
  for (Finding& f : wrong) {
    if (inputs.failed.contains(f.kind)) {
      if (!f.is_common) fit.notices.push_back(f.text + ", as in an input");
    } else if (!inputs.passed.contains(f.kind)) {
      continue;
    } else if (plan.options.missing != MissingTensors::kError) {
      fit.notices.push_back(std::move(f.text));
    } else {
      fit.faults.push_back(std::move(f.text));
    }
  }
  return fit;
}

}  // namespace crucible
