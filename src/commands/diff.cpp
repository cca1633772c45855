// crucible diff: what differs between two models, tensor by tensor.
#include <algorithm>
#include <cmath>
#include <cstdio>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "analysis/diff.h"
#include "base/text_util.h"
#include "base/units.h"
#include "commands/command.h"
#include "commands/shared/open_models.h"

namespace crucible {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kShownChanges = 20;
constexpr std::size_t kShownNames = 10;

struct DiffFlags {
  std::string a, b, filter;
  double tolerance = -1;  // none
  bool json = false;
  bool all = false;
  bool config = false;
  MergeOptions run;

  std::optional<double> asked_tolerance() const { return tolerance < 0 ? std::nullopt : std::optional(tolerance); }
};

struct Answer {
  CheckpointDiff diff;
  std::vector<std::pair<std::string, ConfigDifference>> config;  // with the name of the file
  bool equal = false;
};

// Changed and retyped tensors whose numbers were compared, largest relative change first; then by name.
std::vector<const TensorDiff*> by_change(const CheckpointDiff& diff) {
  std::vector<const TensorDiff*> changed;
  for (const TensorDiff& d : diff.tensors) {
    if (d.status == DiffStatus::kChanged || d.status == DiffStatus::kRetyped) changed.push_back(&d);
  }
  const auto weight = [](const TensorDiff* d) {
    const bool strange = d->nonfinite_a != d->nonfinite_b || std::isnan(d->relative) || !d->has_values;
    return strange ? HUGE_VAL : d->relative;
  };
  std::stable_sort(changed.begin(), changed.end(), [&](const TensorDiff* x, const TensorDiff* y) { return weight(x) > weight(y); });
  return changed;
}

// --- text ---------------------------------------------------------------------------------------------------------------------

std::string describe_model(std::string_view letter, const Checkpoint& model) {
  std::int64_t bytes = 0;
  for (const StoredTensor& t : model.tensors()) bytes += t.bytes;
  return fmt::format("{}  {}: {}, {}\n", letter, printable(model.path(), 400),
                     render_count(static_cast<std::int64_t>(model.tensors().size()), "tensor"), render_bytes(bytes));
}

std::string share_of(std::int64_t part, std::int64_t whole) {
  if (whole == 0) return "-";
  const double percent = 100.0 * static_cast<double>(part) / static_cast<double>(whole);
  if (part == 0) return "0 %";
  if (part == whole) return "100 %";
  return percent < 0.1 ? "<0.1 %" : percent > 99.9 ? ">99.9 %" : fmt::format("{:.1f} %", percent);
}

std::string list_status(const CheckpointDiff& diff, DiffStatus status, std::string_view title, const DiffFlags& options) {
  std::string out;
  std::size_t shown = 0;
  const auto count = static_cast<std::size_t>(diff.count(status));
  if (count == 0) return out;
  out += fmt::format("{} ({}):\n", title, count);
  for (const TensorDiff& d : diff.tensors) {
    if (d.status != status) continue;
    if (!options.all && ++shown > kShownNames) {
      out += fmt::format("  ... {} more (--all)\n", count - kShownNames);
      break;
    }
    const auto form = [](const TensorInfo& t) { return fmt::format("{} {}", facts(t.dtype).name, to_string(t.shape)); };
    const std::string change = d.a && d.b ? fmt::format("{} in A, {} in B", form(*d.a), form(*d.b)) : form(d.a ? *d.a : *d.b);
    out += fmt::format("  {}  {}\n", printable(d.name), change);
  }
  return out;
}

std::string change_line(const TensorDiff& d) {
  std::string remark;
  if (d.status == DiffStatus::kRetyped) {
    remark = fmt::format("  ({} in A, {} in B{})", facts(d.a->dtype).name, facts(d.b->dtype).name, d.equal_values ? ", equal values" : "");
  } else if (d.equal_values) {
    remark = "  (equal values: signs of zero or codes of NaN)";
  }
  if (d.nonfinite_a != 0 || d.nonfinite_b != 0) remark += fmt::format("  (not finite: {} in A, {} in B)", d.nonfinite_a, d.nonfinite_b);
  const std::string changed = d.elems > 0 ? share_of(d.differing, d.elems) : "-";
  if (!d.has_values) return fmt::format("  {:>9} {:>11} {:>8} {:>9}  {}{}\n", "-", "-", changed, "-", printable(d.name), remark);
  const std::string at = d.largest_at < 0 ? "" : " " + render_index(d.largest_at, d.a->shape);
  return fmt::format("  {:>9.2e} {:>11} {:>8} {:>9.2e}  {}{}{}\n", d.relative, std::isnan(d.cosine) ? "-" : fmt::format("{:.8f}", d.cosine),
                     changed, d.largest, printable(d.name), at, remark);
}

std::string render_config(const std::vector<std::pair<std::string, ConfigDifference>>& config) {
  std::string out;
  for (const auto& [file, c] : config) {
    const auto value = [](const std::string& text) { return text.empty() ? std::string("not there") : printable(text, 60); };
    out += fmt::format("{} {}: {} in A, {} in B\n", printable(file), c.key.empty() ? "(not plain JSON)" : printable(c.key), value(c.a),
                       value(c.b));
  }
  return out;
}

std::string diff_text(const Answer& answer, const Checkpoint& a, const Checkpoint& b, const DiffFlags& options) {
  const CheckpointDiff& diff = answer.diff;
  std::string out = describe_model("A", a) + describe_model("B", b) + render_config(answer.config);
  out += list_status(diff, DiffStatus::kRemoved, "only in A", options);
  out += list_status(diff, DiffStatus::kAdded, "only in B", options);
  out += list_status(diff, DiffStatus::kReshaped, "other shapes", options);
  const auto changed = by_change(diff);
  if (!changed.empty()) {
    out += "largest relative change first\n   relative      cosine  changed   largest  tensor [its largest change]\n";
    const std::size_t shown = options.all ? changed.size() : std::min(changed.size(), kShownChanges);
    for (std::size_t i = 0; i < shown; ++i) out += change_line(*changed[i]);
    if (shown < changed.size()) out += fmt::format("  ... {} more (--all)\n", changed.size() - shown);
  }
  std::string counts;
  for (const DiffStatus s : {DiffStatus::kIdentical, DiffStatus::kChanged, DiffStatus::kRetyped, DiffStatus::kReshaped,
                             DiffStatus::kRemoved, DiffStatus::kAdded}) {
    const std::int64_t n = diff.count(s);
    if (n > 0) counts += fmt::format("{}{} {}", counts.empty() ? "" : ", ", n, to_string(s));
  }
  const auto tolerance = options.asked_tolerance();
  const std::string within = tolerance ? fmt::format(" within a relative change of {}", render_number(*tolerance)) : "";
  out += fmt::format("{}: {}{}\n", counts.empty() ? "no tensors" : counts, answer.equal ? "equal" : "different", within);
  return out;
}

// --- JSON ---------------------------------------------------------------------------------------------------------------------

Json diff_tensor_json(const TensorDiff& d) {
  Json out = {{"name", d.name}, {"status", to_string(d.status)}};
  const auto side = [](const TensorInfo& t) { return Json{{"dtype", facts(t.dtype).name}, {"shape", t.shape}}; };
  if (d.a) out["a"] = side(*d.a);
  if (d.b) out["b"] = side(*d.b);
  if (d.status != DiffStatus::kChanged && d.status != DiffStatus::kRetyped) return out;
  out["elements"] = d.elems;
  out["elements_changed"] = d.differing;
  out["equal_values"] = d.equal_values;
  if (!d.has_values) return out;
  out["relative"] = d.relative;  // a number that is not finite becomes null
  out["cosine"] = d.cosine;
  out["norm_a"] = d.norm_a;
  out["norm_b"] = d.norm_b;
  out["norm_difference"] = d.norm_difference;
  out["largest_change"] = d.largest;
  if (d.largest_at >= 0) {
    Json index = Json::array();
    std::int64_t rest = d.largest_at;
    for (std::size_t i = d.a->shape.size(); i-- > 0;) {
      index.insert(index.begin(), rest % d.a->shape[i]);
      rest /= d.a->shape[i];
    }
    out["largest_at"] = {{"index", std::move(index)}, {"a", d.largest_a}, {"b", d.largest_b}};
  }
  out["nonfinite_a"] = d.nonfinite_a;
  out["nonfinite_b"] = d.nonfinite_b;
  return out;
}

Json diff_json(const Answer& answer, const Checkpoint& a, const Checkpoint& b) {
  Json out = {{"a", a.path()}, {"b", b.path()}, {"equal", answer.equal}};
  for (const DiffStatus s : {DiffStatus::kIdentical, DiffStatus::kChanged, DiffStatus::kRetyped, DiffStatus::kReshaped,
                             DiffStatus::kRemoved, DiffStatus::kAdded}) {
    out["counts"][std::string(to_string(s))] = answer.diff.count(s);
  }
  out["config"] = Json::array();
  for (const auto& [file, c] : answer.config) {
    const auto value = [](const std::string& text) { return text.empty() ? Json() : Json(text); };
    out["config"].push_back({{"key", c.key}, {"a", value(c.a)}, {"b", value(c.b)}});
    if (file != "config.json") out["config"].back()["file"] = file;
  }
  out["tensors"] = Json::array();
  for (const TensorDiff& d : answer.diff.tensors) out["tensors"].push_back(diff_tensor_json(d));
  return out;
}

int diff(const DiffFlags& options) {
  const Talk talk = talk_of(options.run);
  const std::vector<Checkpoint> models = open_models({options.a, options.b}, talk);
  Answer answer;
  {
    const ProgressLine progress(talk, "compared");
    answer.diff = diff_checkpoints(models[0], models[1], {options.filter, stream_options(options.run, progress)});
  }
  if (answer.diff.tensors.empty() && !options.filter.empty()) {
    Diagnostics none;
    none.error({}, fmt::format("no tensor of either model matches `{}`", printable(options.filter)), "* stands for any characters");
    none.throw_if_errors();
  }
  // A single weight file has no config to compare.
  for (const ModelPart& a : models[0].parts()) {
    for (const ModelPart& b : models[1].parts()) {
      if (a.folder != b.folder || a.config_text.empty() || b.config_text.empty()) continue;
      for (ConfigDifference& d : diff_configs(a.config_text, b.config_text))
        answer.config.emplace_back(name_below(a.folder, "config.json"), std::move(d));
    }
  }
  answer.equal = answer.diff.equal(options.asked_tolerance()) && (!options.config || answer.config.empty());
  if (options.json) {
    std::printf("%s\n", diff_json(answer, models[0], models[1]).dump(2, ' ', false, Json::error_handler_t::replace).c_str());
  } else if (!options.run.quiet) {
    std::fputs(diff_text(answer, models[0], models[1], options).c_str(), stdout);
  }
  return answer.equal ? 0 : 1;
}

std::function<int()> declare_diff(CommandLine& line) {
  auto options = std::make_shared<DiffFlags>();
  line.option("A", options->a, "a model folder, a .safetensors file, or the id of a model in the local Hub cache").required();
  line.option("B", options->b, "the other one").required();
  line.flag("--json", options->json, "print as JSON, every tensor included");
  line.flag("--all", options->all, "list every tensor that differs, not the first twenty");
  line.option("--filter", options->filter, "only tensors whose name matches; * stands for any characters");
  line.option("--tolerance", options->tolerance,
              "count a tensor as equal when ||A - B|| is at most this share of ||A||, whatever its type (default: bytes must be equal)")
      .non_negative();
  line.flag("--config", options->config, "differences of config.json make the models different too; without it they are only shown");
  declare_thread_options(line, options->run);
  line.footer("Exit codes: 0 equal, 1 different, 2 wrong input, 3 the run failed.");
  return [options] { return diff(*options); };
}

}  // namespace

const Command& command_diff() {
  static const Command command = {"diff", "Show what differs between two models, tensor by tensor", declare_diff};
  return command;
}

}  // namespace crucible
