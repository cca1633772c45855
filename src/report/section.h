// One file of report/sections is one section of the report.
#pragma once

#include <span>
#include <string_view>

#include "report/page.h"
#include "report/record_view.h"

namespace crucible {

struct Section {
  std::string_view name;   // anchor
  std::string_view title;  // heading; empty: none
  int order = 0;           // on the page
  // Does the record hold anything that this section shows?
  bool (*wanted)(const RecordView& record) = nullptr;
  void (*render)(const RecordView& record, Page& page) = nullptr;
};

// In the order of the page.
std::span<const Section* const> all_sections();

}  // namespace crucible
