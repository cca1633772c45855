// Achieved density by layer and role.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "report/aggregate.h"
#include "report/numbers.h"
#include "report/section.h"

namespace crucible {
namespace {

// The recorded counts have no variance by tensor. Independent keeps vary at most like this, so the true deviation is no smaller.
double least_sigmas(const ModelSums& m) {
  const double variance = m.planned * (1 - m.planned / m.entries);
  const double off = m.kept - m.planned;
  return variance > 0.25 ? off / std::sqrt(variance) : std::abs(off) < 1 ? 0 : std::copysign(1e9, off);
}

Cell cell_of(const ModelSums& m) {
  if (!(m.entries > 0)) return {};
  const double achieved = m.kept / m.entries, planned = m.planned / m.entries;
  Cell cell(fmt::format("{:.2f}", 100 * achieved));
  cell.note = points(achieved - planned);
  cell.heat = static_cast<int>(std::lround(10 * achieved));
  cell.hover = fmt::format("kept {} of {}, planned {}", grouped(m.kept), grouped(m.entries), grouped(std::round(m.planned)));
  if (std::abs(least_sigmas(m)) > kLimitSigmas) {
    cell.tone = Tone::kBad;
    cell.text = "\u26A0 " + cell.text;
  }
  return cell;
}

void render_density(const RecordView& record, Page& page) {
  const LayerTable layers = add_up_layers(record);
  std::vector<std::string> groups;
  std::vector<std::size_t> which;
  for (std::size_t i = 0; i < layers.inputs.size(); ++i) {
    const bool any = std::any_of(layers.rows.begin(), layers.rows.end(),
                                 [&](const LayerRow& r) { return i < r.all.models.size() && r.all.models[i].entries > 0; });
    if (!any) continue;
    which.push_back(i);
    groups.push_back(mono(record.model_name(layers.inputs[i])));
  }
  page.paragraph(
      "Share of the task vector's entries that was kept, in percent, by layer and by role of the tensors; small: its distance from the "
      "planned share, in percentage points. Deeper colour: denser. A cell beyond six standard deviations carries a warning sign.");
  page.table(heat_table(layers, groups, [&](const Sums& sums, std::size_t g) {
    return which[g] < sums.models.size() ? cell_of(sums.models[which[g]]) : Cell();
  }));
}

bool has_density(const RecordView& record) {
  return std::any_of(record.tensors.begin(), record.tensors.end(), [](const auto& t) {
    return std::any_of(t.models.begin(), t.models.end(), [](const auto& m) { return m.entries.value_or(0) > 0 && m.planned; });
  });
}

}  // namespace

const Section& section_density() {
  static const Section section = {"density", "Density by layer and role", 40, has_density, render_density};
  return section;
}

}  // namespace crucible
