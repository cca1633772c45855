#include "support/random_merge.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "audit/retrace.h"
#include "plan/plan.h"
#include "run/runner.h"

namespace crucible::test {
namespace {

class NoSink final : public TileSink {
 public:
  void write(const Job&, int, std::int64_t, const void*, std::size_t) override {}
};

// Task vectors: the base and something small, as fine-tuning makes it.
TinyTensor moved(TinyTensor tensor, std::uint64_t seed) {
  const std::vector<double> by = decode_values(tensor.dtype, random_tensor(tensor.name, tensor.dtype, tensor.shape, seed).bytes);
  std::vector<double> values = decode_values(tensor.dtype, tensor.bytes);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] += 0.1 * by[i];
  return make_tensor(tensor.name, tensor.dtype, tensor.shape, values);
}

std::string pick(Rng& rng, const std::vector<std::string>& from) { return from[static_cast<std::size_t>(below(rng, std::ssize(from)))]; }

// A number that a field takes. One in five is an extreme: an end of its range, nearly nothing, very much, negative.
std::string number_for(const Field& field, Rng& rng) {
  if (field.name == "tol" || field.name == "eps") return "1e-7";
  const Range& range = field.limits;
  if (below(rng, 5) == 0) {
    std::vector<std::string> extremes;
    for (const double v : {range.low, range.high, 0.0, 1.0, 1e-6, 1e6, -0.75, -1e-6}) {
      if (std::isfinite(v) && range.contains(v)) extremes.push_back(fmt::format("{}", v));
    }
    return pick(rng, extremes);
  }
  // Ranges that do little or too much over most of their width.
  if (field.name == "epsilon") return fmt::format("{:.4f}", uniform(rng, 0, 0.4));
  if (field.name == "gamma") return fmt::format("{:.3f}", uniform(rng, 0, 0.1));
  return fmt::format("{:.3f}", uniform(rng, 0.05, std::isfinite(range.high) ? range.high : 1.5));
}

std::string scalar_for(const Field& field, Rng& rng) {
  if (field.kind == FieldKind::kFlag) return below(rng, 2) == 0 ? "true" : "false";
  if (field.kind == FieldKind::kChoice)
    return std::string(field.choices[static_cast<std::size_t>(below(rng, std::ssize(field.choices)))].name);
  if (field.kind == FieldKind::kInteger) return std::to_string(1 + below(rng, 9));
  return number_for(field, rng);
}

// Scalar, gradient, or conditions with filters.
std::string value_for(const Field& field, Rng& rng) {
  const bool number = field.kind == FieldKind::kNumber;
  const auto form = below(rng, 6);
  if (number && form == 0) return fmt::format("[{}, {}]", scalar_for(field, rng), scalar_for(field, rng));
  if (number && form == 1) return fmt::format("[{}, {}, {}]", scalar_for(field, rng), scalar_for(field, rng), scalar_for(field, rng));
  if (number && form == 2) {
    return fmt::format("[{{filter: {}, value: {}}}, {{filter: {}, value: [{}, {}]}}, {{value: {}}}]",
                       pick(rng, {"mlp", "self_attn", "norm"}), scalar_for(field, rng), pick(rng, {"embed", "q_proj", "layers.1."}),
                       scalar_for(field, rng), scalar_for(field, rng), scalar_for(field, rng));
  }
  return scalar_for(field, rng);
}

// Weights whose sum is zero, up to rounding or altogether.
constexpr std::array<std::array<const char*, 3>, 3> kCancelling = {{{"1", "", ""}, {"0.7", "-0.7", ""}, {"0.1", "0.2", "-0.3"}}};

// Some of a table's parameters, as one flow mapping; `must`: required ones too. `weight`: what the weight is; empty = any.
std::string parameters(const FieldTable& table, bool must, Rng& rng, const std::string& weight = {}) {
  std::string out;
  bool has_ramp = false;
  for (const Field& field : table.fields()) {
    const bool is_weight = field.name == "weight" && !weight.empty();
    if (!(field.is_required && must) && !is_weight && below(rng, 2) == 0) continue;
    if (field.is_required && !must) continue;
    // Two ways to say one thing; both at once are refused.
    if (field.name == "epsilon" || field.name == "window") {
      if (std::exchange(has_ramp, true)) continue;
    }
    out += fmt::format("{}{}: {}", out.empty() ? "" : ", ", field.name, is_weight ? weight : value_for(field, rng));
  }
  return out;
}

}  // namespace

ModelBox::ModelBox(LlamaSize size, DType dtype) {
  TinyModel model;
  model.config = llama_config(dtype, size);
  const std::vector<TinyTensor> base = llama_tensors(1, dtype, size);
  model.tensors = base;
  write_tiny_model(folder_ / "base", model);
  std::uint64_t seed = 100;
  for (const char* name : {"a", "b", "c"}) {
    model.tensors.clear();
    for (const TinyTensor& t : base) model.tensors.push_back(moved(t, ++seed));
    write_tiny_model(folder_ / name, model);
  }
}

std::vector<std::pair<std::string, std::string>> ModelBox::model_dirs() const {
  std::vector<std::pair<std::string, std::string>> dirs;
  for (const char* name : {"base", "a", "b", "c"}) dirs.emplace_back(name, folder_ / name);
  return dirs;
}

std::string random_recipe(Rng& rng) {
  const Method& method = *all_methods()[static_cast<std::size_t>(below(rng, std::ssize(all_methods())))];
  const bool with_base = method.base == BaseRule::kRequired || (method.base == BaseRule::kOptional && below(rng, 2) == 0);
  const auto least = std::max<std::int64_t>(std::max(method.min_models, 1), with_base && method.name == "nuslerp" ? 2 : 1);
  const auto most = std::min<std::int64_t>(method.max_models, 3);
  const std::int64_t models = least + below(rng, most - least + 1);
  std::string out = fmt::format("merge_method: {}\n", method.name);
  if (with_base) out += "base_model: base\n";
  const bool cancels = below(rng, 8) == 0;
  const auto entry = [&](std::int64_t m, const std::string& name, const std::string& more) {
    const auto of = [](std::int64_t i) { return static_cast<std::size_t>(i); };
    const std::string own = parameters(*method.model, true, rng, cancels ? kCancelling[of(models - 1)][of(m)] : "");
    return fmt::format("- model: {}\n{}{}", name, more, own.empty() ? "" : fmt::format("  parameters: {{{}}}\n", own));
  };
  std::vector<std::string> names = {"a", "b", "c"};
  // The same model twice in a list draws twice.
  if (below(rng, 4) == 0) names[1] = names[below(rng, 2) == 0 ? 0 : 2];
  if (below(rng, 4) == 0) {
    out += "slices:\n";
    for (const char* range : {"[0, 1]", "[1, 3]"}) {
      std::string sources;
      for (std::int64_t m = 0; m < models; ++m)
        sources += entry(m, names[static_cast<std::size_t>(m)], fmt::format("  layer_range: {}\n", range));
      out += "- sources:\n";
      for (std::size_t at = 0; at < sources.size();) {
        const std::size_t end = sources.find('\n', at);
        out += "  " + sources.substr(at, end - at + 1);
        at = end + 1;
      }
      const std::string own = parameters(*method.global, false, rng);
      if (!own.empty()) out += fmt::format("  parameters: {{{}}}\n", own);
    }
  } else {
    out += "models:\n";
    for (std::int64_t m = 0; m < models; ++m) out += entry(m, names[static_cast<std::size_t>(m)], "");
  }
  const std::string own = parameters(*method.global, true, rng);
  if (!own.empty()) out += fmt::format("parameters: {{{}}}\n", own);
  out += fmt::format("dtype: {}\n", pick(rng, {"float32", "bfloat16", "float16"}));
  return out;
}

bool AuditedMerge::accuses(const std::string& parameter) const {
  const auto names = [&parameter](const std::string& line) { return line.starts_with("`" + parameter + "`"); };
  return std::any_of(detours.begin(), detours.end(), names) || std::any_of(contradictions.begin(), contradictions.end(), names);
}

AuditedMerge audited_merge(const std::string& text, const ModelBox& models, std::uint64_t seed) {
  AuditedMerge merge;
  Diagnostics diagnostics;
  const Recipe recipe = parse_recipe(text, "recipe.yml", {}, diagnostics);
  Plan plan;
  if (!diagnostics.has_errors()) {
    PlanOptions options;
    options.model_dirs = models.model_dirs();
    options.seed = seed;
    plan = make_plan(recipe, options, diagnostics);
  }
  for (const Diagnostic& d : diagnostics.items()) {
    if (d.severity == Severity::kError) merge.problems.push_back(d.message);
  }
  if (!merge.problems.empty()) return merge;
  merge.detours = render_detours(retrace(plan));
  NoSink sink;
  RunOptions run;
  run.threads = 1;
  RunResult result;
  try {
    result = run_jobs(plan, run, sink, {});
  } catch (const Error& error) {
    // Weights that cancel, or very large ones, may leave the range of the output's type.
    if (error.code() != ErrorCode::kNumeric) throw;
    merge.problems.emplace_back(error.what());
    return merge;
  }
  merge.verdict = judge(plan, result);
  merge.contradictions = contradictions(plan, merge.verdict);
  return merge;
}

}  // namespace crucible::test
