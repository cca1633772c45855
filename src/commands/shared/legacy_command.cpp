#include "commands/shared/legacy_command.h"

#include <algorithm>
#include <cstdio>

#include <fmt/format.h>

#include "base/text_util.h"
#include "base/units.h"
#include "methods/method.h"
#include "recipe/quote.h"

namespace crucible {
namespace {

std::string model_yaml(const ModelRef& ref) {
  const std::string text = ref.text();
  return text.starts_with('{') ? text : yaml_quoted(text);
}

class Writer {
 public:
  Writer(const LegacyOptions& options, Diagnostics& diagnostics) : o_(options), diagnostics_(diagnostics) {
    method_ = find_method(o_.method);
    if (method_ == nullptr) {
      std::vector<std::string> names;
      for (const Method* m : all_methods()) names.emplace_back(m->name);
      const auto near = nearest_name(o_.method, names);
      diagnostics_.error({}, fmt::format("--method {}: there is no such method", printable(o_.method, 60)),
                         near ? fmt::format("did you mean `{}`?", *near) : fmt::format("methods: {}", join_names(names, 64)));
    }
    if (o_.naive_count) {
      diagnostics_.error({}, "--naive-count: no method here elects signs by counting models",
                         "mergekit 0.1.4 ignores the option: leave it out for its result");
    }
  }

  std::string recipe() {
    read_models();
    if (diagnostics_.has_errors()) return {};
    const bool slerp = o_.method == "slerp";
    if (slerp && o_.weights.size() != 1)
      diagnostics_.error(
          {}, fmt::format("--method slerp takes one --weight, the position between the models, and {} are given", o_.weights.size()));
    check_count("--density", o_.densities.size());
    if (!slerp) check_count("--weight", o_.weights.size());
    if (diagnostics_.has_errors()) return {};
    std::string out = fmt::format("merge_method: {}\n", o_.method);
    if (base_) out += fmt::format("base_model: {}\n", model_yaml(*base_));
    if (!o_.front.dtype.empty()) out += fmt::format("dtype: {}\n", o_.front.dtype);
    out += globals(slerp);
    out += "models:\n";
    for (std::size_t i = 0; i < models_.size(); ++i) out += model_text(i, slerp);
    return out;
  }

 private:
  bool is_base(const ModelRef& ref) const { return base_ && ref.same_as(*base_); }
  // Does the method take this model as an input, with parameters of its own?
  bool is_input(const ModelRef& ref) const { return method_->base == BaseRule::kOnlyListed || !is_base(ref); }

  void read_models() {
    for (const std::string& text : o_.models) {
      if (const auto ref = model_argument(text, diagnostics_)) models_.push_back(*ref);
    }
    if (o_.base.empty()) return;
    base_ = model_argument(o_.base, diagnostics_);
    if (base_ && std::none_of(models_.begin(), models_.end(), [this](const ModelRef& m) { return is_base(m); })) models_.push_back(*base_);
  }

  // One value is everybody's; more are dealt out by position. The base may have one, and needs none where it is no input.
  void check_count(std::string_view option, std::size_t given) {
    if (given <= 1) return;
    const auto most = models_.size();
    std::size_t least = most;
    while (least > o_.models.size() && !is_input(models_[least - 1])) --least;
    if (given >= least && given <= most) return;
    diagnostics_.error({},
                       fmt::format("{} is given {} times for {}{}", option, given, render_count(static_cast<std::int64_t>(most), "model"),
                                   most > o_.models.size() ? ", the base model included" : ""),
                       "give it once for all models, or once for each, in the order of --merge");
  }

  static std::optional<double> at(const std::vector<double>& values, std::size_t i) {
    if (values.size() == 1) return values.front();
    return i < values.size() ? std::optional(values[i]) : std::nullopt;
  }

  std::string globals(bool slerp) const {
    std::string out;
    if (slerp) out += fmt::format("  t: {}\n", render_number(o_.weights.front()));
    // mergekit-legacy says "normalize" to every method; only those that have it listen.
    if (method_->global->find("normalize") || o_.normalize_option.count() > 0) out += fmt::format("  normalize: {}\n", o_.normalize);
    return out.empty() ? out : "parameters:\n" + out;
  }

  std::string model_text(std::size_t i, bool slerp) const {
    std::string out = fmt::format("- model: {}\n", model_yaml(models_[i]));
    if (!is_input(models_[i])) return out;
    std::vector<std::string> parameters;
    const auto weight = slerp ? std::nullopt : at(o_.weights, i);
    const bool wants_weight = !slerp && method_->model->find("weight");
    if (weight || wants_weight) parameters.push_back(fmt::format("weight: {}", render_number(weight.value_or(1.0))));
    if (const auto density = at(o_.densities, i)) parameters.push_back(fmt::format("density: {}", render_number(*density)));
    if (!parameters.empty()) out += fmt::format("  parameters: {{{}}}\n", fmt::join(parameters, ", "));
    return out;
  }

  const LegacyOptions& o_;
  Diagnostics& diagnostics_;
  const Method* method_ = nullptr;
  std::vector<ModelRef> models_;
  std::optional<ModelRef> base_;
};

}  // namespace

void declare_legacy(CommandLine& line, LegacyOptions& o) {
  line.option("--merge", o.models, "model to merge (repeatable)").required().repeatable();
  line.option("--density", o.densities, "share of each task vector to keep: one for all models, or one for each").repeatable();
  line.option("--weight", o.weights, "weight: one for all models, or one for each (default 1); for slerp the position t").repeatable();
  line.option("--method", o.method, "merge method").shows_default();
  line.option("--base-model", o.base, "base model");
  o.normalize_option = line.flag("--normalize,!--no-normalize", o.normalize, "divide by the sum of the weights (default on)");
  line.flag("--naive-count", o.naive_count, "refused: no method elects signs by counting models");
  line.flag("--bf16", o.bf16, "write bfloat16");
}

int run_legacy(LegacyOptions& o, const std::string& name) {
  if (o.bf16) o.front.dtype = "bfloat16";
  Diagnostics diagnostics;
  dtype_of(o.front, diagnostics);
  const std::string recipe = Writer(o, diagnostics).recipe();
  diagnostics.throw_if_errors();
  return run_recipe(o.front, name, recipe);
}

}  // namespace crucible
