#include "plan/join.h"

#include <algorithm>
#include <map>
#include <set>

#include <fmt/format.h>

#include "arch/layers.h"
#include "base/text_util.h"
#include "plan/resolve_params.h"

namespace crucible {
namespace {

// What a method says about jobs: each remark once, however many tensors it is about.
class CollectedFindings final : public Findings {
 public:
  CollectedFindings(Diagnostics& diagnostics, Place place) : diagnostics_(diagnostics), place_(std::move(place)) {}
  void at(std::string tensor) { tensor_ = std::move(tensor); }
  void error(std::string message, std::string hint) override {
    if (!seen_.insert(message).second) return;
    diagnostics_.error(place_, tensor_.empty() ? message : message + " (tensor " + printable(tensor_) + ")", std::move(hint));
  }
  void notice(std::string message, std::string hint) override {
    if (seen_.insert(message).second) diagnostics_.notice(place_, std::move(message), std::move(hint));
  }

 private:
  Diagnostics& diagnostics_;
  Place place_;
  std::string tensor_;
  std::set<std::string> seen_;
};

class Joiner {
 public:
  Joiner(Plan& plan, Diagnostics& diagnostics)
      : plan_(plan),
        diagnostics_(diagnostics),
        resolver_(plan.recipe, *plan.method, diagnostics),
        findings_(diagnostics, plan.recipe.method_place) {}

  void run(const std::vector<LogicalTensor>& tensors) {
    for (const LogicalTensor& tensor : tensors) join(tensor);
    report_missing();
    report_shapes();
    if (diagnostics_.has_errors()) return;
    resolver_.report_unused();
    report_untaken();
    findings_.at({});
    static_cast<void>(make_plan_survey(plan_, findings_));
    report_types();
  }

 private:
  const PlanInput& input(int i) const { return plan_.inputs[static_cast<std::size_t>(i)]; }
  std::string model_name(int i) const { return input(i).ref.text(); }

  std::optional<SourceTensor> find(const TensorUse& use) {
    const ViewTensor* tensor = input(use.input).view->find(use.name);
    if (tensor == nullptr) {
      missing_[use.input].push_back(use.name);
      return std::nullopt;
    }
    return SourceTensor{use.input, tensor};
  }

  void join(const LogicalTensor& logical) {
    Job job;
    job.t = logical.t;
    job.info.name = logical.name;
    bool complete = true;
    if (logical.base) {
      job.base = find(*logical.base);
      complete = job.base.has_value();
    }
    std::vector<std::size_t> order(logical.sources.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    if (order_is_free()) {
      // A canonical order of the models, so that their order in the recipe cannot change a bit of any sum.
      std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
        return model_name(logical.sources[a].input) < model_name(logical.sources[b].input);
      });
    }
    std::vector<const TensorUse*> uses;
    std::optional<SourceTensor> first_listed;
    for (const std::size_t i : order) {
      const TensorUse& use = logical.sources[i];
      if (auto source = find(use)) {
        if (i == 0) first_listed = source;
        job.sources.push_back(*source);
        job.source_inputs.push_back(source->input);
        uses.push_back(&use);
      } else {
        complete = false;
      }
    }
    if (!complete || !same_shapes(job)) return;
    // The base, else the model that the recipe lists first, gives the type: the same one that gives config.json.
    const SourceTensor reference = job.base ? *job.base : *first_listed;
    const TensorInfo& stored = reference.tensor->info;
    job.info.shape = stored.shape;
    if (!facts(stored.dtype).mergeable) {
      make_copy(job, reference, "not a floating-point tensor: copied, never averaged");
    } else {
      make_merge(job, logical, uses, stored.dtype);
    }
    plan_.jobs.push_back(std::move(job));
  }

  bool order_is_free() const {
    const auto& laws = plan_.method->laws;
    return std::find(laws.begin(), laws.end(), Law::kOrderDoesNotMatter) != laws.end();
  }

  bool same_shapes(const Job& job) {
    std::vector<SourceTensor> all = job.sources;
    if (job.base) all.insert(all.begin(), *job.base);
    for (const SourceTensor& s : all) {
      if (s.tensor->info.shape != all.front().tensor->info.shape ||
          facts(s.tensor->info.dtype).mergeable != facts(all.front().tensor->info.dtype).mergeable) {
        differing_.emplace_back(job.info.name, std::move(all));
        return false;
      }
    }
    return true;
  }

  static void make_copy(Job& job, const SourceTensor& source, std::string reason) {
    job.kind = Job::Kind::kCopy;
    job.info.dtype = source.tensor->info.dtype;
    job.bytes = source.tensor->bytes;
    job.copy_reason = std::move(reason);
    job.sources = {source};
  }

  void make_merge(Job& job, const LogicalTensor& logical, const std::vector<const TensorUse*>& uses, DType stored) {
    const Recipe& recipe = plan_.recipe;
    job.info.dtype = recipe.out_dtype.value_or(recipe.dtype.value_or(stored));
    job.bytes = byte_count(job.info);
    job.tiling = make_tiling(job.info.shape, plan_.method->grain);
    job.global = resolver_.global(logical);
    std::map<std::string, int> repeats;
    std::vector<std::string> names;
    for (const TensorUse* use : uses) {
      const std::string name = model_name(use->input);
      job.models.push_back(resolver_.model(logical, *use, name));
      // The same model twice in one list draws twice: the repeat is part of its name.
      const int repeat = repeats[name]++;
      job.random_keys.push_back(make_random_key(plan_.options.seed, logical.name, repeat == 0 ? name : fmt::format("{}#{}", name, repeat)));
      names.push_back(name);
    }
    if (diagnostics_.has_errors()) return;
    ask_method(job, names);
  }

  void ask_method(Job& job, const std::vector<std::string>& names) {
    const BoundParams params = bind_params(job);
    if (plan_.method->check != nullptr) {
      findings_.at(job.info.name);
      plan_.method->check({job.info.name, &job.info.shape, job.base.has_value(), &params.global, params.models, names}, findings_);
      if (diagnostics_.has_errors()) return;
    }
    // A trial kernel, without data, shows which parameters reach the arithmetic.
    const auto kernel = plan_.method->make_kernel(kernel_spec(job, params, 0));
    note_untaken(params.global, job);
    for (const Params& p : params.models) note_untaken(p, job);
    const bool same_type =
        job.sources.size() == 1 && job.sources.front().tensor->info.dtype == job.info.dtype && job.sources.front().tensor->has_one_dtype();
    if (kernel->copies_input() && same_type) {
      job.kind = Job::Kind::kCopy;
      job.copy_reason = "the method copies this input";
    }
  }

  void note_untaken(const Params& params, const Job& job) {
    for (const std::string& name : untaken(params)) {
      const Place& place = params.origin(*params.table().find(name)).place;
      untaken_.try_emplace(name, place.line > 0 ? place : plan_.recipe.method_place, job.info.name);
    }
  }

  // At the place of the value that is lost; a default has the method's.
  void report_untaken() {
    for (const auto& [name, first] : untaken_) {
      diagnostics_.error(first.first,
                         fmt::format("`{}` reaches no arithmetic in {} (first: {})", name, plan_.method->name, printable(first.second)),
                         "this is a fault of the program, not of the recipe: please report it");
    }
  }

  void report_missing() {
    for (const auto& [model, names] : missing_) {
      std::vector<std::string> shown;
      for (const std::string& n : names) shown.push_back(printable(n));
      std::vector<std::string> all;
      for (const ViewTensor& t : input(model).view->tensors()) all.push_back(t.info.name);
      const auto near = nearest_name(names.front(), all);
      std::string hint = near ? fmt::format("the nearest name there is {}", printable(*near)) : std::string();
      const bool only_heads = std::all_of(names.begin(), names.end(), [](const std::string& n) { return role_of(n) == Role::kHead; });
      if (only_heads) hint = "a model with tied embeddings has no head of its own: merging tied with untied models is not supported yet";
      diagnostics_.error(input(model).ref.place,
                         fmt::format("{} lacks {} that other models have: {}", model_name(model),
                                     names.size() == 1 ? "a tensor" : fmt::format("{} tensors", names.size()), join_names(shown, 4)),
                         hint);
    }
  }

  void report_shapes() {
    constexpr std::size_t kShown = 8;
    for (std::size_t i = 0; i < differing_.size() && i < kShown; ++i) {
      const auto& [name, sources] = differing_[i];
      std::vector<std::string> table;
      bool rows_only = true;
      for (const SourceTensor& s : sources) {
        table.push_back(
            fmt::format("{} has {} {}", model_name(s.input), facts(s.tensor->info.dtype).name, to_string(s.tensor->info.shape)));
        const Shape& a = s.tensor->info.shape;
        const Shape& b = sources.front().tensor->info.shape;
        rows_only = rows_only && a.size() == 2 && b.size() == 2 && a[1] == b[1];
      }
      const bool vocabulary = rows_only && (role_of(name) == Role::kEmbedding || role_of(name) == Role::kHead);
      diagnostics_.error(
          plan_.recipe.method_place, fmt::format("tensor {} does not have one shape: {}", printable(name), join_names(table)),
          vocabulary ? "the vocabularies differ in size; merging those needs tokenizer work, which is not supported yet" : "");
    }
    if (differing_.size() > kShown) {
      diagnostics_.error(plan_.recipe.method_place, fmt::format("{} more tensors differ in shape", differing_.size() - kShown));
    }
  }

  void report_types() {
    const bool has_f64 = std::any_of(plan_.jobs.begin(), plan_.jobs.end(), [](const Job& j) {
      return j.kind == Job::Kind::kMerge &&
             std::any_of(j.sources.begin(), j.sources.end(), [](const SourceTensor& s) { return s.tensor->info.dtype == DType::kF64; });
    });
    const bool asked = plan_.recipe.dtype || plan_.recipe.out_dtype;
    const bool mixed = std::any_of(plan_.jobs.begin(), plan_.jobs.end(), [](const Job& j) {
      return j.kind == Job::Kind::kMerge &&
             std::any_of(j.sources.begin(), j.sources.end(), [&j](const SourceTensor& s) { return s.tensor->info.dtype != j.info.dtype; });
    });
    if (mixed && !asked) {
      diagnostics_.notice(
          {}, "the models store different types, and the recipe names no dtype: the output has those of the base, or of the first model",
          "write dtype: to choose");
    }
    if (has_f64) diagnostics_.notice({}, "F64 tensors are rounded to F32 before they are merged: all arithmetic on elements is F32");
  }

  Plan& plan_;
  Diagnostics& diagnostics_;
  ParamResolver resolver_;
  CollectedFindings findings_;
  std::map<int, std::vector<std::string>> missing_;
  std::vector<std::pair<std::string, std::vector<SourceTensor>>> differing_;
  std::map<std::string, std::pair<Place, std::string>> untaken_;  // parameter -> where it is given, the first tensor
};

}  // namespace

void join_tensors(Plan& plan, const std::vector<LogicalTensor>& tensors, Diagnostics& diagnostics) {
  Joiner(plan, diagnostics).run(tensors);
}

}  // namespace crucible
