#include "report/folder_text.h"

#include <map>
#include <vector>

#include <fmt/format.h>

#include "arch/config_edit.h"
#include "base/text_util.h"
#include "base/units.h"

namespace crucible {
namespace {

constexpr std::size_t kMostNames = 12;
constexpr std::size_t kMostValue = 60;

std::string names_text(const std::vector<std::string>& names) { return printable(join_names(names, kMostNames), 800); }

}  // namespace

std::string render_folder_summary(const Plan& plan, const Written& written) {
  std::vector<std::string> copied, rebuilt;
  for (const WrittenFile& file : written.companions) (file.origin == FileOrigin::kCopied ? copied : rebuilt).push_back(file.name);
  const std::string donor = printable(plan.inputs[static_cast<std::size_t>(plan.donor)].ref.text(), 200);
  std::string out = "Files beside the weights:\n";
  if (!rebuilt.empty()) out += fmt::format("  made: {}\n", names_text(rebuilt));
  for (std::size_t p = 0; p < plan.parts.size(); ++p) {
    const std::string& before = plan.inputs[static_cast<std::size_t>(plan.donor)].checkpoint.parts()[p].config_text;
    for (const ConfigChange& c : plan.parts[p].config_changes) {
      out += fmt::format("  {}: {} is {}, was {} ({})\n", printable(plan.parts[p].config_name()), printable(c.path),
                         printable(c.json, kMostValue), printable(config_value(before, c.path).value_or("absent"), kMostValue), c.why);
    }
  }
  if (!copied.empty()) out += fmt::format("  copied from {}: {}\n", donor, names_text(copied));
  std::map<std::string, std::vector<std::string>> by_reason;
  for (const FolderFile& file : plan.left_out) by_reason[file.left_out].push_back(file.name);
  for (const auto& [reason, names] : by_reason) out += fmt::format("  left out ({}): {}\n", reason, names_text(names));
  for (const std::string& notice : written.checked.notices) out += "notice: " + notice + "\n";
  return out + fmt::format("Read back: {}, nothing wrong\n", render_count(written.checked.checks, "check"));
}

}  // namespace crucible
