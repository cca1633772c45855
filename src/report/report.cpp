#include "report/report.h"

#include <algorithm>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "report/html.h"
#include "report/markdown.h"
#include "report/record.h"
#include "report/record_view.h"
#include "report/section.h"
#include "report/verdict.h"
#include "section_table.inc"

namespace crucible {
namespace {

using Json = nlohmann::ordered_json;

std::string title_of(const RecordView& record) {
  std::string models;
  for (const RecordView::Input& input : record.inputs) {
    if (!input.base) models += (models.empty() ? "" : ", ") + input.model;
  }
  return fmt::format("{} of {}", record.method_title.empty() ? record.method : record.method_title, models.empty() ? "models" : models);
}

template <typename Format>
std::string body_of(const RecordView& record, const std::vector<const Section*>& shown) {
  Format page;
  for (const Section* section : shown) {
    page.open_section(*section);
    section->render(record, page);
    if constexpr (std::is_same_v<Format, HtmlPage>) page.close_section();
  }
  return page.take();
}

}  // namespace

std::span<const Section* const> all_sections() {
  static const std::vector<const Section*> sections = [] {
    std::vector<const Section*> list;
    for (const auto make : generated::section_table) list.push_back(&make());
    std::sort(list.begin(), list.end(), [](const Section* a, const Section* b) { return a->order < b->order; });
    return list;
  }();
  return sections;
}

std::string render_report(const Json& json, ReportFormat format) {
  const RecordView record = parse_record_view(json, kRecordName);
  if (format == ReportFormat::kJson) {
    Json out = json;
    out["verdict"] = verdict_json(judge_record(record));
    return out.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
  }
  std::vector<const Section*> shown;
  for (const Section* section : all_sections()) {
    if (section->wanted(record)) shown.push_back(section);
  }
  if (format == ReportFormat::kMarkdown) return body_of<MarkdownPage>(record, shown);
  return html_document(title_of(record), shown, body_of<HtmlPage>(record, shown));
}

std::string render_report_of(const std::string& folder, ReportFormat format) {
  Diagnostics diagnostics;
  const auto record = open_record(folder, diagnostics);
  diagnostics.throw_if_errors();
  return render_report(record->json, format);
}

}  // namespace crucible
