#include "plan/join.h"

#include <algorithm>
#include <map>
#include <set>

#include <fmt/format.h>

#include "arch/align.h"
#include "arch/roles.h"
#include "base/text_util.h"
#include "base/units.h"
#include "plan/align_models.h"
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
        findings_(diagnostics, plan.recipe.method_place) {
    for (const PlanInput& i : plan.inputs) names_.push_back(i.ref.text());
  }

  void run(const std::vector<LogicalTensor>& tensors) {
    plan_.jobs.reserve(tensors.size());
    for (const LogicalTensor& tensor : tensors) join(tensor);
    report_missing();
    report_partial();
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
  const std::string& model_name(int i) const { return names_[static_cast<std::size_t>(i)]; }

  static std::optional<SourceTensor> source_of(const TensorUse& use) {
    if (use.tensor == nullptr) return std::nullopt;
    return SourceTensor{use.input, use.tensor};
  }

  // The models in the order in which the kernel takes them.
  std::vector<std::size_t> kernel_order(const LogicalTensor& logical) const {
    std::vector<std::size_t> order(logical.sources.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    if (order_is_free()) {
      // A canonical order of the models, so that their order in the recipe cannot change a bit of any sum.
      const auto before = [&](std::size_t a, std::size_t b) {
        return model_name(logical.sources[a].input) < model_name(logical.sources[b].input);
      };
      if (!std::is_sorted(order.begin(), order.end(), before)) std::stable_sort(order.begin(), order.end(), before);
    }
    return order;
  }

  void join(const LogicalTensor& logical) {
    Job job;
    job.t = logical.t;
    job.role = logical.role;
    job.info.name = logical.name;
    job.as = logical.as;
    std::vector<TensorUse> lacking;
    if (logical.base && !(job.base = source_of(*logical.base))) lacking.push_back(*logical.base);
    std::vector<const TensorUse*> uses;
    uses.reserve(logical.sources.size());
    job.sources.reserve(logical.sources.size());
    job.source_inputs.reserve(logical.sources.size());
    std::optional<SourceTensor> first_listed;  // the model that the recipe lists first, of those that have the tensor
    std::size_t first_place = logical.sources.size();
    for (const std::size_t i : kernel_order(logical)) {
      const TensorUse& use = logical.sources[i];
      const auto source = source_of(use);
      if (!source) {
        lacking.push_back(use);
        continue;
      }
      if (i < first_place) {
        first_place = i;
        first_listed = source;
      }
      job.sources.push_back(*source);
      job.source_inputs.push_back(source->input);
      uses.push_back(&use);
    }
    if (!job.base && !first_listed) {
      for (const TensorUse& use : lacking) missing_[use.input].push_back(use.name());
      return;
    }
    // The base, else the model that the recipe lists first, gives the type: the same one that gives config.json.
    const SourceTensor reference = job.base ? *job.base : *first_listed;
    if (!lacking.empty()) {
      const Fate fate = fate_of(job, reference, lacking);
      if (fate == Fate::kGone) return;
      if (fate == Fate::kCopied) {
        make_copy(job, reference, "other models lack this tensor");
        plan_.jobs.push_back(std::move(job));
        return;
      }
    }
    if (!same_shapes(job)) return;
    const TensorInfo& stored = reference.tensor->info;
    job.info.shape = stored.shape;
    if (!facts(stored.dtype).mergeable) {
      make_copy(job, reference, "not a floating-point tensor: copied, never averaged");
    } else {
      make_merge(job, logical, uses, stored.dtype);
    }
    plan_.jobs.push_back(std::move(job));
  }

  // What becomes of a tensor that some models lack.
  enum class Fate { kGone, kCopied, kMerged };
  Fate fate_of(const Job& job, const SourceTensor& reference, const std::vector<TensorUse>& lacking) {
    const ViewTensor* donors = input(plan_.donor).view->find(job.info.name);
    const TensorInfo& info = reference.tensor->info;
    // Loaders make these buffers themselves: the output has them where the donor does.
    if (is_spare_buffer(info) || !facts(info.dtype).mergeable) {
      if (donors == nullptr) {
        spare_left_.push_back(job.info.name);
        return Fate::kGone;
      }
      spare_kept_.push_back(job.info.name);
      return Fate::kCopied;
    }
    const MissingTensors policy = plan_.options.missing;
    if (policy == MissingTensors::kError) {
      for (const TensorUse& use : lacking) missing_[use.input].push_back(use.name());
      return Fate::kGone;
    }
    if (policy == MissingTensors::kIntersection || (policy == MissingTensors::kDonor && donors == nullptr)) {
      left_out_.push_back(job.info.name);
      return Fate::kGone;
    }
    const bool lost_base = plan_.method->base == BaseRule::kRequired && !job.base;
    if (lost_base || static_cast<int>(job.sources.size()) < plan_.method->min_models) {
      copied_.push_back(job.info.name);
      return Fate::kCopied;
    }
    partly_.push_back(job.info.name);
    return Fate::kMerged;
  }

  bool order_is_free() const {
    const auto& laws = plan_.method->laws;
    return std::find(laws.begin(), laws.end(), Law::kOrderDoesNotMatter) != laws.end();
  }

  bool same_shapes(const Job& job) {
    const TensorInfo& first = (job.base ? *job.base : job.sources.front()).tensor->info;
    const auto is_alike = [&first](const SourceTensor& s) {
      return s.tensor->info.shape == first.shape && facts(s.tensor->info.dtype).mergeable == facts(first.dtype).mergeable;
    };
    if (std::all_of(job.sources.begin(), job.sources.end(), is_alike)) return true;
    std::vector<SourceTensor> all = job.sources;
    if (job.base) all.insert(all.begin(), *job.base);
    differing_.emplace_back(job.info.name, std::move(all));
    return false;
  }

  void make_copy(Job& job, const SourceTensor& source, std::string reason) const {
    const TensorInfo& stored = source.tensor->info;
    job.kind = Job::Kind::kCopy;
    job.info.dtype = facts(stored.dtype).mergeable ? output_dtype(stored.dtype) : stored.dtype;
    job.info.shape = stored.shape;
    job.bytes = job.info.dtype == stored.dtype ? source.tensor->bytes : byte_count(job.info);
    job.copy_reason = std::move(reason);
    job.base.reset();
    job.sources = {source};
    job.source_inputs = {source.input};
  }

  DType output_dtype(DType stored) const { return plan_.recipe.out_dtype.value_or(plan_.recipe.dtype.value_or(stored)); }

  void make_merge(Job& job, const LogicalTensor& logical, const std::vector<const TensorUse*>& uses, DType stored) {
    job.info.dtype = output_dtype(stored);
    job.bytes = byte_count(job.info);
    job.tiling = make_tiling(job.info.shape, plan_.method->grain);
    job.global = resolver_.global(logical);
    job.models.reserve(uses.size());
    job.random_keys.reserve(uses.size());
    for (std::size_t i = 0; i < uses.size(); ++i) {
      const std::string& name = model_name(uses[i]->input);
      job.models.push_back(resolver_.model(logical, *uses[i], name));
      // The same model twice in one list draws twice: the repeat is part of its name.
      const auto repeat = std::count(job.source_inputs.begin(), job.source_inputs.begin() + static_cast<std::ptrdiff_t>(i), uses[i]->input);
      const std::string& tensor = logical.decided_by();
      job.random_keys.push_back(make_random_key(plan_.options.seed, tensor, repeat == 0 ? name : fmt::format("{}#{}", name, repeat)));
    }
    if (diagnostics_.has_errors()) return;
    ask_method(job);
  }

  void ask_method(Job& job) {
    const BoundParams& params = binder_.bind(job);
    if (plan_.method->check != nullptr) {
      std::vector<std::string> names;
      for (const int i : job.source_inputs) names.push_back(model_name(i));
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
      std::string hint = near ? fmt::format("the nearest name there is {}; ", printable(*near)) : std::string();
      const bool only_heads = std::all_of(names.begin(), names.end(), [](const std::string& n) { return role_of_name(n).path == "head"; });
      if (only_heads) hint = "its config.json does not say that the embedding is its head (tie_word_embeddings); ";
      diagnostics_.error(input(model).ref.place,
                         fmt::format("{} lacks {} that other models have: {}", model_name(model),
                                     names.size() == 1 ? "a tensor" : fmt::format("{} tensors", names.size()), join_names(shown, 4)),
                         hint + "--allow-missing merges such tensors from the models that have them");
    }
  }

  void note(const std::vector<std::string>& names, std::string_view what) {
    if (names.empty()) return;
    std::vector<std::string> shown;
    shown.reserve(names.size());
    for (const std::string& n : names) shown.push_back(printable(n));
    diagnostics_.notice(
        {}, fmt::format("{} {}: {}", render_count(static_cast<std::int64_t>(names.size()), "tensor"), what, join_names(shown, 4)));
  }

  void report_partial() {
    note(spare_kept_, "that some models lack, buffers that every loader makes itself, copied from the one that gives config.json");
    note(spare_left_, "left out, buffers that every loader makes itself and the model that gives config.json lacks");
    note(left_out_, "left out, because some models lack them");
    note(copied_, "copied, because the method cannot do without the models that lack them");
    note(partly_, "merged from the models that have them; some lack them");
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
      const bool vocabulary = rows_only && (role_of_name(name).path == "embedding" || role_of_name(name).path == "head");
      diagnostics_.error(
          plan_.recipe.method_place, fmt::format("tensor {} does not have one shape: {}", printable(name), join_names(table)),
          vocabulary ? "the vocabularies differ in more than padding; merging those is not supported yet:" + render_vocabularies(plan_)
                     : std::string());
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
  ParamBinder binder_;
  std::vector<std::string> names_;  // by input
  std::map<int, std::vector<std::string>> missing_;
  std::vector<std::string> spare_kept_, spare_left_, left_out_, copied_, partly_;  // output names, by what became of them
  std::vector<std::pair<std::string, std::vector<SourceTensor>>> differing_;
  std::map<std::string, std::pair<Place, std::string>> untaken_;  // parameter -> where it is given, the first tensor
};

}  // namespace

void join_tensors(Plan& plan, const std::vector<LogicalTensor>& tensors, Diagnostics& diagnostics) {
  Joiner(plan, diagnostics).run(tensors);
}

}  // namespace crucible
