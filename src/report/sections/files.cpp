// Files read and written, with their hashes, and which layer came from where.
#include <fmt/format.h>

#include "report/numbers.h"
#include "report/section.h"

namespace crucible {
namespace {

constexpr std::size_t kMostFiles = 400;

void add_rows(Table& table, const std::string& part, const std::vector<RecordView::File>& files) {
  for (const RecordView::File& f : files) {
    if (table.rows.size() >= kMostFiles) return;
    std::string hash = !f.hash.empty() ? f.hash : !f.content_hash.empty() ? f.content_hash : f.header_hash;
    Cell cell(hash);
    const bool whole = !f.hash.empty() || !f.content_hash.empty();
    table.rows.push_back({part, mono(f.name), bytes_text(f.bytes), cell, hash.empty() ? "\u2013" : whole ? "whole file" : "header"});
  }
}

void render_files(const RecordView& record, Page& page) {
  Table table;
  table.columns = {{"of", Kind::kText}, {"file", Kind::kText}, {"size", Kind::kNumber}, {"hash", Kind::kCode}, {"hash of", Kind::kText}};
  table.css_name = "files";
  std::size_t all = record.files.size() + record.companions.size();
  add_rows(table, "output", record.files);
  add_rows(table, "output", record.companions);
  for (const RecordView::Input& input : record.inputs) {
    all += input.files.size();
    add_rows(table, mono(input.model) + (input.base ? " (base)" : ""), input.files);
  }
  page.table(table);
  if (all > table.rows.size()) {
    page.paragraph(fmt::format("{} of {} files; {} has all.", table.rows.size(), all, mono("crucible report --format json")));
  }
  if (!record.plan_digest.empty()) {
    page.paragraph(
        fmt::format("Digest of the plan: {}. Equal digests mean equal recipes, inputs, seed and program.", mono(record.plan_digest)));
  }
  if (record.layer_map.empty()) return;
  page.open_details("Where each layer came from");
  std::string lines;
  for (const std::string& line : record.layer_map) lines += line + "\n";
  page.code(lines);
  page.close_details();
}

}  // namespace

const Section& section_files() {
  static const Section section = {"files", "Files and hashes", 110,
                                  [](const RecordView& record) { return !record.files.empty() || !record.inputs.empty(); }, render_files};
  return section;
}

}  // namespace crucible
