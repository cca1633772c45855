#include "audit/counterfactual.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <span>

#include <fmt/format.h>

#include "base/hash.h"
#include "base/text_util.h"
#include "base/units.h"

namespace crucible {
namespace {

constexpr std::int64_t kElementsRead = std::int64_t{256} << 20;  // of the chosen tensors; passes read them whole
constexpr std::int64_t kBytesKept = std::int64_t{64} << 20;      // of their output
constexpr std::int64_t kChunksOfATensor = 16;

// Output bytes of the sample, by job and place.
class KeepSink final : public TileSink {
 public:
  void write(const Job& job, int, std::int64_t offset, const void* data, std::size_t size) override {
    const auto* bytes = static_cast<const std::byte*>(data);
    std::vector<std::byte> copy(bytes, bytes + size);
    const std::lock_guard lock(mutex_);
    kept_[{job.info.name, offset}] = std::move(copy);
  }
  const std::vector<std::byte>* find(const Job& job, std::int64_t offset) const {
    const auto it = kept_.find({job.info.name, offset});
    return it == kept_.end() ? nullptr : &it->second;
  }

 private:
  std::mutex mutex_;
  std::map<std::pair<std::string, std::int64_t>, std::vector<std::byte>> kept_;
};

// Counts the elements that are not those of another run.
class CountSink final : public TileSink {
 public:
  explicit CountSink(const KeepSink& planned) : planned_(planned) {}
  void write(const Job& job, int, std::int64_t offset, const void* data, std::size_t size) override {
    const std::vector<std::byte>* planned = planned_.find(job, offset);
    if (planned == nullptr || planned->size() != size) return;
    const auto width = static_cast<std::size_t>(facts(job.info.dtype).bits / 8);
    const auto* now = static_cast<const std::byte*>(data);
    std::int64_t differ = 0;
    for (std::size_t at = 0; at < size; at += width) differ += std::memcmp(planned->data() + at, now + at, width) != 0 ? 1 : 0;
    const std::lock_guard lock(mutex_);
    found_.elements += static_cast<std::int64_t>(size / width);
    found_.differ += differ;
    seen_.insert(job.info.name);
    if (differ > 0) differing_.insert(job.info.name);
  }
  Counterfactual take() {
    found_.tensors = std::ssize(seen_);
    found_.tensors_that_differ = std::ssize(differing_);
    return std::move(found_);
  }

 private:
  const KeepSink& planned_;
  std::mutex mutex_;
  Counterfactual found_;
  std::set<std::string> seen_, differing_;
};

// The merged tensors in an order of chance, until enough is read; of each a few chunks.
std::function<bool(std::size_t, std::int64_t)> choose_sample(const Plan& plan) {
  std::vector<std::pair<std::uint64_t, std::size_t>> order;
  for (std::size_t j = 0; j < plan.jobs.size(); ++j) {
    const Job& job = plan.jobs[j];
    if (job.kind == Job::Kind::kMerge && job.tiling.chunks() > 0) order.emplace_back(hash64(plan.digest + job.info.name), j);
  }
  std::sort(order.begin(), order.end());
  std::map<std::size_t, std::set<std::int64_t>> chosen;
  std::int64_t read = 0, kept = 0;
  for (const auto& [draw, j] : order) {
    const Job& job = plan.jobs[j];
    if (!chosen.empty() && (read + job.tiling.elems > kElementsRead || kept >= kBytesKept)) break;
    read += job.tiling.elems;
    const std::int64_t step = std::max<std::int64_t>(1, job.tiling.chunks() / kChunksOfATensor);
    for (std::int64_t c = static_cast<std::int64_t>(draw % static_cast<std::uint64_t>(step)); c < job.tiling.chunks(); c += step) {
      chosen[j].insert(c);
      kept += job.tiling.chunk_elems() * facts(job.info.dtype).bits / 8;
    }
  }
  return [chosen = std::move(chosen)](std::size_t job, std::int64_t chunk) {
    const auto it = chosen.find(job);
    return it != chosen.end() && it->second.contains(chunk);
  };
}

struct Change {
  const Field* field = nullptr;
  Value value;
};

class AsErrors final : public Findings {
 public:
  explicit AsErrors(Diagnostics& diagnostics) : diagnostics_(diagnostics) {}
  void error(std::string message, std::string hint) override {
    if (said_.insert(message).second) diagnostics_.error({}, std::move(message), std::move(hint));
  }
  void notice(std::string, std::string) override {}

 private:
  Diagnostics& diagnostics_;
  std::set<std::string> said_;
};

std::optional<Change> parse_question(const Method& method, const std::string& question, Diagnostics& diagnostics) {
  const std::size_t equals = question.find('=');
  const std::string name = question.substr(0, equals);
  Change change;
  std::vector<std::string> names;
  for (const FieldTable* table : {method.global, method.model}) {
    for (const Field& f : table->fields()) {
      names.push_back(f.name);
      if (f.name == name) change.field = &f;
    }
  }
  const auto refuse = [&](const std::string& why, const std::string& hint) {
    diagnostics.error({}, fmt::format("--counterfactual {}: {}", printable(question), why), hint);
    return std::nullopt;
  };
  if (change.field == nullptr)
    return refuse(fmt::format("{} has no parameter `{}`", method.name, printable(name)),
                  names.empty() ? "it has none" : fmt::format("it has {}", join_names(names, 20)));
  if (equals != std::string::npos) {
    std::string why;
    const auto value = change.field->parse(question.substr(equals + 1), false, why);
    if (!value) return refuse(fmt::format("`{}` {}", name, why), change.field->type_text());
    change.value = *value;
    return change;
  }
  if (!change.field->neutral_value) {
    return refuse(fmt::format("`{}` has no value at which it does nothing", name),
                  fmt::format("name one to compare with: {}=VALUE, {}", name, change.field->type_text()));
  }
  change.value = *change.field->neutral_value;
  return change;
}

std::shared_ptr<const Params> changed(const std::shared_ptr<const Params>& params, const Change& change) {
  for (std::size_t i = 0; params && i < params->table().size(); ++i) {
    if (params->table()[i].name != change.field->name) continue;
    auto copy = std::make_shared<Params>(*params);
    Origin origin = params->origin(i);
    if (origin.level == Origin::Level::kDefault) origin.level = Origin::Level::kGlobal;  // given, as far as the method can tell
    copy->set(i, change.value, origin);
    return copy;
  }
  return params;
}

// The plan with one parameter changed everywhere. The method may refuse the combination.
Plan with_change(const Plan& plan, const Change& change, Diagnostics& diagnostics) {
  Plan other = plan;
  AsErrors findings(diagnostics);
  for (Job& job : other.jobs) {
    job.global = changed(job.global, change);
    for (auto& m : job.models) m = changed(m, change);
    if (job.kind != Job::Kind::kMerge || plan.method->check == nullptr) continue;
    const BoundParams params = bind_params(job);
    std::vector<std::string> names;
    for (const SourceTensor& s : job.sources) names.push_back(plan.inputs[static_cast<std::size_t>(s.input)].ref.text());
    plan.method->check({job.info.name, &job.info.shape, job.base.has_value(), &params.global, params.models, names}, findings);
  }
  return other;
}

}  // namespace

std::vector<Counterfactual> counterfactuals(const Plan& plan, const std::vector<std::string>& questions, const RunOptions& options,
                                            Diagnostics& diagnostics) {
  std::vector<std::pair<Change, Plan>> changes;
  for (const std::string& question : questions) {
    const auto change = parse_question(*plan.method, question, diagnostics);
    if (change) changes.emplace_back(*change, with_change(plan, *change, diagnostics));
  }
  if (diagnostics.has_errors() || changes.empty()) return {};
  RunOptions run = options;
  run.measuring = Measuring::kCounts;
  run.selection = choose_sample(plan);
  KeepSink planned;
  run_jobs(plan, run, planned, {});
  std::vector<Counterfactual> found;
  for (const auto& [change, other] : changes) {
    CountSink count(planned);
    run_jobs(other, run, count, {});
    found.push_back(count.take());
    found.back().parameter = change.field->name;
    found.back().instead = change.field->value_text(change.value);
  }
  return found;
}

std::string render_counterfactual(const Counterfactual& c) {
  if (c.elements == 0) return fmt::format("{} = {} instead: no tensor is merged, so nothing was compared", c.parameter, c.instead);
  const std::string of = fmt::format("{} sampled elements of {}", c.elements, render_count(c.tensors, "tensor"));
  if (c.differ == 0)
    return fmt::format("`{}` has no effect on the bytes: with {} instead, none of the {} differs", c.parameter, c.instead, of);
  return fmt::format("{} = {} instead: {:.2f} % of the {} differ, in {} of them", c.parameter, c.instead,
                     100 * static_cast<double>(c.differ) / static_cast<double>(c.elements), of, c.tensors_that_differ);
}

}  // namespace crucible
