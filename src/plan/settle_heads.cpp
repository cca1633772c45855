// Tied heads: one model stores a head of its own, another computes with its embedding.
#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "base/text_util.h"
#include "plan/align_models.h"

namespace crucible {
namespace {

struct Heads {
  VocabularyFacts facts;
  bool is_equal = false;  // the stored head is the embedding, byte for byte, and config.json ties them
};

bool same_bytes(const Checkpoint& checkpoint, const ViewTensor& a, const ViewTensor& b) {
  if (!a.is_whole() || !b.is_whole() || a.info.dtype != b.info.dtype || a.info.shape != b.info.shape) return false;
  constexpr std::int64_t kChunk = std::int64_t{1} << 20;
  const StoredTensor& x = *a.pieces.front().tensor;
  const StoredTensor& y = *b.pieces.front().tensor;
  std::vector<std::byte> left(kChunk), right(kChunk);
  for (std::int64_t at = 0; at < x.bytes; at += kChunk) {
    const auto size = static_cast<std::size_t>(std::min(kChunk, x.bytes - at));
    checkpoint.read(x.file, x.offset + at, left.data(), size);
    checkpoint.read(y.file, y.offset + at, right.data(), size);
    if (std::memcmp(left.data(), right.data(), size) != 0) return false;
  }
  return true;
}

Heads heads_of(const PlanInput& input, const VocabularyFacts& facts) {
  Heads heads{facts, false};
  const VocabularyFacts& f = heads.facts;
  if (!f.head.empty() && !f.embedding.empty() && f.config_tied.value_or(false))
    heads.is_equal = same_bytes(input.checkpoint, *input.view->find(f.head), *input.view->find(f.embedding));
  return heads;
}

class Settler {
 public:
  Settler(Plan& plan, const Vocabularies& vocabularies, Diagnostics& diagnostics) : plan_(plan), diagnostics_(diagnostics) {
    for (std::size_t i = 0; i < plan.inputs.size(); ++i) heads_.push_back(heads_of(plan.inputs[i], vocabularies[i]));
  }

  void run() {
    const auto has = [](const Heads& h) { return !h.facts.head.empty(); };
    const auto is_own = [&](const Heads& h) { return has(h) && !h.is_equal; };
    if (std::none_of(heads_.begin(), heads_.end(), has)) return;
    if (std::all_of(heads_.begin(), heads_.end(), has)) {
      const bool says_tied = heads_[static_cast<std::size_t>(plan_.donor)].facts.config_tied.value_or(false);
      if (std::none_of(heads_.begin(), heads_.end(), is_own)) {
        tie_head();
      } else if (says_tied) {
        untie_config(first(is_own));
      }
      return;
    }
    if (std::any_of(heads_.begin(), heads_.end(), is_own)) {
      give_heads(first(is_own));
    } else {
      drop_heads();
    }
  }

 private:
  template <typename Is>
  std::size_t first(const Is& is) const {
    return static_cast<std::size_t>(std::find_if(heads_.begin(), heads_.end(), is) - heads_.begin());
  }

  // Every model that ties its head gets it as a view of its embedding.
  void give_heads(std::size_t owner) {
    const std::string& name = heads_[owner].facts.head;
    std::vector<std::string> tied;
    for (std::size_t i = 0; i < heads_.size(); ++i) {
      if (!heads_[i].facts.is_tied_for_sure() || plan_.inputs[i].view->find(name) != nullptr) continue;
      std::vector<ViewTensor> tensors = plan_.inputs[i].view->tensors();
      ViewTensor head = *plan_.inputs[i].view->find(heads_[i].facts.embedding);
      head.info.name = name;
      head.how = "tied: the embedding, " + head.stored_name();
      tensors.push_back(std::move(head));
      plan_.inputs[i].view = std::make_shared<const ModelView>(std::move(tensors));
      tied.push_back(plan_.inputs[i].ref.text());
    }
    if (tied.empty()) return;
    diagnostics_.notice({},
                        fmt::format("{} has a head of its own, {}; {} {} it to the embedding, which stands for it: the output has a head",
                                    plan_.inputs[owner].ref.text(), printable(name), join_names(tied), tied.size() == 1 ? "ties" : "tie"));
    untie_config(owner);
  }

  // All models store their tied head once more: so does the output, and the two must come out equal.
  void tie_head() {
    const VocabularyFacts& one = heads_.front().facts;
    if (std::all_of(heads_.begin(), heads_.end(),
                    [&](const Heads& h) { return h.facts.head == one.head && h.facts.embedding == one.embedding; }))
      plan_.tied_head = TiedHead{one.head, one.embedding};
  }

  // All heads that are stored are their embeddings: the output ties it too.
  void drop_heads() {
    for (std::size_t i = 0; i < heads_.size(); ++i) {
      const std::string& name = heads_[i].facts.head;
      if (name.empty()) continue;
      std::vector<ViewTensor> tensors = plan_.inputs[i].view->tensors();
      std::erase_if(tensors, [&](const ViewTensor& t) { return t.info.name == name; });
      plan_.inputs[i].view = std::make_shared<const ModelView>(std::move(tensors));
      diagnostics_.notice({}, fmt::format("{} stores its tied head, {}, once more; other models do not, and neither does the output",
                                          plan_.inputs[i].ref.text(), printable(name)));
    }
  }

  void untie_config(std::size_t owner) {
    const VocabularyFacts& donor = heads_[static_cast<std::size_t>(plan_.donor)].facts;
    const std::string why = fmt::format("{} has a head of its own", plan_.inputs[owner].ref.text());
    std::vector<std::string> paths = donor.tied_paths;
    if (paths.empty()) paths.push_back("tie_word_embeddings");
    if (!donor.config_tied.value_or(true)) return;
    for (const std::string& path : paths) plan_.root().config_changes.push_back({path, "false", why});
  }

  Plan& plan_;
  Diagnostics& diagnostics_;
  std::vector<Heads> heads_;
};

}  // namespace

void settle_heads(Plan& plan, const Vocabularies& vocabularies, Diagnostics& diagnostics) {
  Settler(plan, vocabularies, diagnostics).run();
}

}  // namespace crucible
