#include "plan/plan.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <exception>
#include <filesystem>
#include <map>
#include <system_error>
#include <thread>

#include <fmt/format.h>

#include "base/hash.h"
#include "base/text_util.h"
#include "checkpoint/locate.h"
#include "plan/align_models.h"
#include "plan/donor.h"
#include "plan/enumerate.h"
#include "plan/fit.h"
#include "plan/join.h"
#include "plan/layout.h"
#include "plan/parts.h"
#include "text/lines.h"

namespace crucible {
namespace {

// In the order of MissingTensors.
constexpr std::array<std::string_view, 4> kMissingNames = {"error", "intersection", "union", "donor"};

struct Opened {
  ModelRef ref;
  std::string path;
  std::optional<Checkpoint> checkpoint;
  Diagnostics diagnostics;
  std::exception_ptr failure;
  std::shared_ptr<const ModelView> view;
};

void open_one(Opened& model, int input) noexcept {
  try {
    model.checkpoint = Checkpoint::open(model.path, model.diagnostics);
    model.view = std::make_shared<const ModelView>(plain_view(input, *model.checkpoint));
  } catch (...) {
    model.failure = std::current_exception();
  }
}

// Side by side: the headers of a model with many experts are ten megabytes of JSON.
void open_all(std::vector<Opened>& models) {
  std::atomic<std::size_t> next{0};
  const auto work = [&] {
    for (std::size_t i = next++; i < models.size(); i = next++) open_one(models[i], static_cast<int>(i));
  };
  std::vector<std::jthread> helpers;
  const std::size_t wanted = std::min<std::size_t>(models.size(), std::max(1U, std::thread::hardware_concurrency()));
  try {
    for (std::size_t i = 1; i < wanted; ++i) helpers.emplace_back(work);
  } catch (const std::system_error&) {
    // No more threads to be had: this one does the rest.
  }
  work();
}

void open_inputs(Plan& plan, Diagnostics& diagnostics) {
  LocateOptions locate;
  locate.recipe_folder = std::filesystem::path(plan.recipe.file).parent_path().string();
  locate.model_dirs = plan.options.model_dirs;
  std::vector<Opened> models;
  for (const ModelRef& ref : plan.recipe.referenced_models()) {
    if (auto path = locate_model(ref.model.path, ref.model.revision, ref.place, locate, diagnostics))
      models.push_back({ref, *path, {}, {}, {}, {}});
  }
  open_all(models);
  for (Opened& model : models) {
    if (model.failure) std::rethrow_exception(model.failure);
    for (Diagnostic d : model.diagnostics.items()) {
      // A fault of a model is shown with the line of the recipe that names it.
      if (d.place.file.empty()) d.place = model.ref.place;
      if (!d.message.starts_with(printable(model.path, 400) + ": ")) d.message = fmt::format("{}: {}", model.ref.text(), d.message);
      diagnostics.add(std::move(d));
    }
    plan.inputs.push_back({model.ref, model.path, std::move(*model.checkpoint), std::move(model.view)});
  }
}

// Shows the recipe's line, with a caret, beside everything that is about a place in it.
Diagnostics with_source_lines(const Diagnostics& found, const Recipe& recipe) {
  const LineIndex lines(without_byte_order_mark(recipe.text));
  Diagnostics out;
  for (Diagnostic d : found.items()) {
    if (d.source_line.empty() && d.place.line > 0 && d.place.file == recipe.file) d.source_line = lines.line_shown(d.place);
    out.add(std::move(d));
  }
  return out;
}

std::string digest_of(const Plan& plan) {
  StreamHash hash;
  const auto add = [&hash](std::string_view text) {
    hash.update(text.data(), text.size());
    hash.update("\n", 1);
  };
  add(CRUCIBLE_VERSION);
  add(canonical_text(plan.recipe));
  add(fmt::format("seed {}", plan.options.seed));
  if (plan.options.missing != MissingTensors::kError) add(fmt::format("missing {}", to_string(plan.options.missing)));
  for (const PlanInput& input : plan.inputs) {
    add(input.ref.text());
    for (const WeightFile& file : input.checkpoint.files()) add(fmt::format("{} {} {}", file.name, file.size_bytes, file.header_hash));
  }
  for (const PlanFile& file : plan.files) {
    hash.update(file.name.data(), file.name.size());
    add(file.header);
  }
  if (plan.tied_head) add(fmt::format("{} is {}", plan.tied_head->head, plan.tied_head->embedding));
  for (const PlanPart& part : plan.parts) add(part.config_text);
  return hash.hex();
}

}  // namespace

std::string_view to_string(MissingTensors missing) noexcept { return kMissingNames[static_cast<std::size_t>(missing)]; }

std::optional<MissingTensors> parse_missing_tensors(std::string_view text) noexcept {
  for (std::size_t i = 0; i < kMissingNames.size(); ++i) {
    if (kMissingNames[i] == text) return static_cast<MissingTensors>(i);
  }
  return std::nullopt;
}

std::vector<ModelPart> Plan::model_parts() const {
  std::vector<ModelPart> out;
  for (const PlanPart& part : parts) out.push_back({part.folder, part.config_text});
  return out;
}

std::string_view Plan::name_in_file(const Job& job) const noexcept {
  return name_in_folder(job.info.name, parts[files[static_cast<std::size_t>(job.file)].part].folder);
}

std::vector<std::pair<std::string, const std::string*>> Plan::made_files() const {
  std::vector<std::pair<std::string, const std::string*>> out;
  for (const PlanPart& part : parts) {
    if (!part.config_text.empty()) out.emplace_back(part.config_name(), &part.config_text);
    if (!part.index_text.empty()) out.emplace_back(part.index_name, &part.index_text);
  }
  return out;
}

std::int64_t Plan::data_bytes() const noexcept {
  std::int64_t sum = 0;
  for (const Job& job : jobs) sum += job.bytes;
  return sum;
}

std::int64_t Plan::input_bytes() const noexcept {
  std::int64_t sum = 0;
  for (const Job& job : jobs) {
    if (job.base && job.kind == Job::Kind::kMerge) sum += job.base->tensor->bytes;
    for (const SourceTensor& s : job.sources) sum += s.tensor->bytes;
  }
  return sum;
}

Plan make_plan(const Recipe& recipe, const PlanOptions& options, Diagnostics& diagnostics) {
  Plan plan;
  plan.recipe = recipe;
  plan.options = options;
  plan.method = recipe.method;
  Diagnostics found;
  const auto finish = [&]() {
    plan.notices = with_source_lines(found, recipe);
    diagnostics.append(plan.notices);
  };
  open_inputs(plan, found);
  if (found.has_errors()) {
    finish();
    return plan;
  }
  if (recipe.base_model) plan.base = input_of(plan, *recipe.base_model);
  plan.donor = find_donor(plan, found);
  make_parts(plan, found);
  if (found.has_errors()) {
    finish();
    return plan;
  }
  align_models(plan, found);
  if (found.has_errors()) {
    finish();
    return plan;
  }
  Enumeration names = enumerate_tensors(plan, found);
  if (!found.has_errors()) join_tensors(plan, names.tensors, found);
  if (!found.has_errors() && plan.jobs.empty()) found.error(recipe.method_place, "the recipe names no tensor: there is nothing to write");
  if (found.has_errors()) {
    finish();
    return plan;
  }
  plan.layer_map = names.layer_map;
  lay_out(plan);
  std::move(names.config_changes.begin(), names.config_changes.end(), std::back_inserter(plan.root().config_changes));
  edit_configs(plan, found);
  if (options.copy_companions) choose_companions(plan, found);
  const std::string& donor_path = plan.inputs[static_cast<std::size_t>(plan.donor)].path;
  for (const std::string& fault : check_fit(plan, options.copy_companions ? donor_path : std::string()).faults)
    found.error({}, "the output would not fit together: " + fault);
  plan.differences = find_differences(plan);
  report_differences(plan, found);
  plan.digest = digest_of(plan);
  finish();
  return plan;
}

BoundParams bind_params(const Job& job) {
  BoundParams bound{*job.global, {}};
  bound.global.forget_taken();
  for (const auto& m : job.models) {
    bound.models.push_back(*m);
    bound.models.back().forget_taken();
  }
  return bound;
}

const BoundParams& ParamBinder::bind(const Job& job) {
  if (!bound_ || global_ != job.global || models_ != job.models) {
    bound_ = bind_params(job);
    global_ = job.global;
    models_ = job.models;
  } else {
    bound_->global.forget_taken();
    for (const Params& m : bound_->models) m.forget_taken();
  }
  return *bound_;
}

KernelSpec kernel_spec(const Job& job, const BoundParams& params, std::int64_t keep_budget_bytes) {
  KernelSpec spec;
  spec.tensor = job.info.name;
  spec.shape = &job.info.shape;
  spec.tiling = job.tiling;
  spec.has_base = job.base.has_value();
  spec.global = &params.global;
  spec.models = params.models;
  spec.random_keys = job.random_keys;
  spec.inputs = job.source_inputs;
  spec.keep_budget_bytes = keep_budget_bytes;
  return spec;
}

PlanSurvey make_plan_survey(const Plan& plan, Findings& findings) {
  PlanSurvey made;
  if (plan.method->make_survey == nullptr) return made;
  std::vector<KernelSpec> specs;
  std::map<std::pair<const Params*, std::vector<std::shared_ptr<const Params>>>, const BoundParams*> bound_of;
  const Job* last = nullptr;  // neighbours mostly share their parameters
  const BoundParams* last_bound = nullptr;
  for (std::size_t j = 0; j < plan.jobs.size(); ++j) {
    const Job& job = plan.jobs[j];
    if (job.kind != Job::Kind::kMerge) continue;
    made.jobs.push_back(j);
    // Most jobs share their parameters, and a copy for each of fifty thousand would weigh more than all the rest of the plan.
    if (last == nullptr || last->global != job.global || last->models != job.models) {
      const BoundParams*& bound = bound_of[{job.global.get(), job.models}];
      if (bound == nullptr) bound = made.params.emplace_back(std::make_unique<BoundParams>(bind_params(job))).get();
      last = &job;
      last_bound = bound;
    }
    specs.push_back(kernel_spec(job, *last_bound, 0));
    specs.back().job = j;
  }
  made.survey = plan.method->make_survey(specs, findings);
  return made;
}

std::vector<std::string> untaken(const Params& params) {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < params.table().size(); ++i) {
    if (!params.was_taken(i)) names.push_back(params.table()[i].name);
  }
  return names;
}

}  // namespace crucible
