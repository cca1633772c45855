#include "audit/foreign.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>

#include <fmt/format.h>

#include "audit/foreign_parts.h"
#include "base/text_util.h"
#include "run/source_reader.h"
#include "tensor/convert.h"

namespace crucible {
namespace foreign {

namespace {
// Digits of the significand, the leading one included, and the smallest normal exponent.
struct Digits {
  int significand = 24;
  int lowest = -126;
};
Digits digits_of(DType dtype) noexcept {
  if (dtype == DType::kBF16) return {8, -126};
  if (dtype == DType::kF16) return {11, -14};
  return {24, -126};
}

// To `through` and back, where that has fewer digits than what was stored.
void round_through(DType stored, std::optional<DType> through, float* values, std::int64_t count, std::vector<std::byte>& raw) {
  if (!through || digits_of(*through).significand >= digits_of(stored).significand) return;
  raw.resize(static_cast<std::size_t>(count * (facts(*through).bits / 8)));
  store_floats(*through, values, raw.data(), count);
  load_floats(*through, raw.data(), values, count);
}
}  // namespace

double spacing(DType dtype, double magnitude) noexcept {
  const Digits d = digits_of(dtype);
  const int exponent = magnitude > 0 ? std::max(std::ilogb(magnitude), d.lowest) : d.lowest;
  return std::ldexp(1.0, exponent - d.significand + 1);
}

DType coarser(DType a, DType b) noexcept { return digits_of(a).significand <= digits_of(b).significand ? a : b; }

void read_elements(const Checkpoint& checkpoint, const StoredTensor& tensor, std::int64_t begin, std::int64_t count, float* out,
                   std::optional<DType> through) {
  const std::int64_t elem = facts(tensor.info.dtype).bits / 8;
  std::vector<std::byte> raw(static_cast<std::size_t>(count * elem));
  checkpoint.read(tensor.file, tensor.offset + begin * elem, raw.data(), raw.size());
  load_floats(tensor.info.dtype, raw.data(), out, count);
  round_through(tensor.info.dtype, through, out, count, raw);
}

void read_elements(const Plan& plan, const SourceTensor& source, std::int64_t begin, std::int64_t count, float* out,
                   std::optional<DType> through) {
  PageBuffer pages;
  read_floats(plan, source, begin, count, out, pages);
  std::vector<std::byte> raw;
  round_through(source.tensor->info.dtype, through, out, count, raw);
}

bool applies_to(const Alternative& a, const Job& job, std::size_t source) { return a.input == job.sources[source].input; }

std::shared_ptr<const Params> with_value(const std::shared_ptr<const Params>& params, const Alternative& a) {
  const auto index = params->table().find(a.parameter);
  if (!index) return params;
  auto changed = std::make_shared<Params>(*params);
  Origin origin;
  origin.level = Origin::Level::kGlobal;
  changed->set(*index, a.value, origin);
  return changed;
}

namespace {

void add_alternatives(const Params& params, int input, std::vector<Alternative>& out) {
  for (std::size_t i = 0; i < params.table().size(); ++i) {
    const Field& field = params.table()[i];
    if (params.is_default(i) || !field.neutral_value || params.value(i) == *field.neutral_value) continue;
    const bool known =
        std::any_of(out.begin(), out.end(), [&](const Alternative& a) { return a.parameter == field.name && a.input == input; });
    if (!known) out.push_back({field.name, input, *field.neutral_value, shown_value(params, i), field.value_text(*field.neutral_value)});
  }
}

// Names and shapes. What is missing is wrong; what is there besides is said.
std::vector<Pair> align(const Plan& plan, const Checkpoint& output, ForeignReport& report) {
  std::vector<Pair> pairs;
  std::set<std::string_view> planned;
  std::vector<std::string> missing;
  for (std::size_t j = 0; j < plan.jobs.size(); ++j) {
    const Job& job = plan.jobs[j];
    planned.insert(job.info.name);
    const StoredTensor* there = output.find(job.info.name);
    if (there == nullptr) {
      missing.push_back(printable(job.info.name));
    } else if (there->info.shape != job.info.shape) {
      report.wrong.push_back(fmt::format("tensor {} has shape {}, the recipe makes {}", printable(job.info.name),
                                         to_string(there->info.shape), to_string(job.info.shape)));
    } else {
      pairs.push_back({j, there});
    }
  }
  if (!missing.empty()) report.wrong.push_back(fmt::format("the output lacks tensors that the recipe makes: {}", join_names(missing)));
  std::vector<std::string> more;
  for (const StoredTensor& t : output.tensors()) {
    if (!planned.contains(t.info.name)) more.push_back(printable(t.info.name));
  }
  if (!more.empty()) report.remarks.push_back(fmt::format("the output has tensors that the recipe does not make: {}", join_names(more)));
  return pairs;
}

// Tensors that are to be copied, byte for byte where the types agree.
void check_copies(const Plan& plan, const Checkpoint& output, const std::vector<Pair>& pairs, ForeignReport& report) {
  constexpr std::int64_t kMost = std::int64_t{1} << 20;
  for (const Pair& p : pairs) {
    const Job& job = plan.jobs[p.job];
    if (job.kind != Job::Kind::kCopy || p.out->info.dtype != job.info.dtype) continue;
    const auto size = static_cast<std::size_t>(std::min(job.bytes, kMost));
    std::vector<std::byte> b(size);
    PageBuffer pages;
    const SourceTensor& source = job.sources.front();
    const std::byte* a = read_stored_bytes(plan, source, 0, static_cast<std::int64_t>(size), pages);
    output.read(p.out->file, p.out->offset, b.data(), size);
    if (std::memcmp(a, b.data(), size) == 0) continue;
    std::string text = fmt::format("tensor {} is not the copy of {} that the recipe asks for", printable(job.info.name),
                                   printable(plan.inputs[static_cast<std::size_t>(source.input)].ref.text()));
    (facts(job.info.dtype).mergeable ? report.wrong : report.remarks).push_back(std::move(text));
  }
}

}  // namespace

std::vector<Alternative> alternatives_of(const Plan& plan) {
  std::vector<Alternative> out;
  for (const Job& job : plan.jobs) {
    if (job.kind != Job::Kind::kMerge) continue;
    add_alternatives(*job.global, -1, out);
    for (std::size_t i = 0; i < job.models.size(); ++i) add_alternatives(*job.models[i], job.sources[i].input, out);
  }
  return out;
}

}  // namespace foreign

std::string_view to_string(Shows shows) noexcept {
  switch (shows) {
    case Shows::kYes: return "shows";
    case Shows::kNo: return "does not show";
    case Shows::kCannotTell: return "cannot tell";
  }
  return "";
}

bool ForeignReport::says_no() const noexcept {
  return !wrong.empty() || std::any_of(verdicts.begin(), verdicts.end(), [](const ParameterVerdict& v) { return v.shows == Shows::kNo; });
}

ForeignReport judge_output(const Plan& plan, const Checkpoint& output, const RunOptions& run) {
  ForeignReport report;
  const std::vector<foreign::Pair> pairs = foreign::align(plan, output, report);
  foreign::check_copies(plan, output, pairs, report);
  std::vector<foreign::Pair> merged;
  for (const foreign::Pair& p : pairs) {
    if (plan.jobs[p.job].kind != Job::Kind::kMerge || !facts(p.out->info.dtype).mergeable) continue;
    merged.push_back(p);
    report.elems_total += plan.jobs[p.job].tiling.elems;
  }
  if (merged.empty()) {
    report.remarks.push_back("nothing is computed by this recipe: there is no parameter to look for");
  } else if (plan.method->random) {
    foreign::judge_masks(plan, output, merged, run, report);
  } else {
    foreign::judge_by_recomputing(plan, output, merged, run, report);
  }
  return report;
}

}  // namespace crucible
