// The report a person looks at, from the record alone. Equal records give equal bytes.
#pragma once

#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

namespace crucible {

inline constexpr std::string_view kReportFile = "crucible_report.html";

enum class ReportFormat { kHtml, kMarkdown, kJson };

// Of a record as make_record makes it. Throws InputError, with the place, where a value is missing or of another kind.
std::string render_report(const nlohmann::ordered_json& record, ReportFormat format);

// The same from the record of a model folder. Throws InputError where there is none, and where it is damaged or was edited.
std::string render_report_of(const std::string& folder, ReportFormat format);

}  // namespace crucible
