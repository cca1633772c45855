// What the record proves, the key facts, and what to do where something is off.
#include "report/verdict.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/text_util.h"
#include "base/units.h"
#include "report/html.h"
#include "report/markdown.h"
#include "report/numbers.h"
#include "report/section.h"

namespace crucible {
namespace {

struct Fact {
  std::string name, value, more;
};

std::string models_text(const RecordView& record) {
  std::vector<std::string> names;
  std::string base;
  for (const RecordView::Input& input : record.inputs) {
    if (input.base) {
      base = input.model;
    } else {
      names.push_back(input.model);
    }
  }
  std::string out;
  for (std::size_t i = 0; i < names.size(); ++i) out += (i == 0 ? "" : i + 1 == names.size() ? " and " : ", ") + mono(names[i]);
  if (out.empty()) out = "models";
  return base.empty() ? out : out + " on " + mono(base);
}

std::vector<Fact> facts_of(const RecordView& record) {
  std::vector<Fact> out;
  const auto copied = std::count_if(record.tensors.begin(), record.tensors.end(), [](const auto& t) { return t.copied(); });
  const auto merged = static_cast<std::int64_t>(record.tensors.size()) - copied;
  out.push_back({"tensors", grouped(static_cast<double>(record.tensors.size())),
                 copied > 0
                     ? fmt::format("{} merged, {} copied", grouped(static_cast<double>(merged)), grouped(static_cast<double>(copied)))
                     : "all merged"});
  if (record.elems) {
    out.push_back({"elements", grouped(*record.elems),
                   record.sampled && *record.sampled < *record.elems
                       ? fmt::format("counts on all, norms on {}", percent(*record.sampled / std::max(*record.elems, 1.0), 1))
                       : "each one measured"});
  }
  double bytes = 0;
  for (const RecordView::File& file : record.files) bytes += file.bytes.value_or(0);
  if (!record.files.empty()) {
    out.push_back({"weights", bytes_text(bytes), render_count(static_cast<std::int64_t>(record.files.size()), "file")});
  }
  if (record.seed) out.push_back({"seed", fmt::format("{}", *record.seed), ""});
  if (record.run.seconds) {
    out.push_back({"time", duration_text(*record.run.seconds),
                   record.run.workers ? render_count(static_cast<std::int64_t>(*record.run.workers), "worker") : ""});
  }
  if (!record.program.empty()) out.push_back({"program", "crucible " + record.program, ""});
  return out;
}

std::string scope_text(const RecordView& record, const ReportVerdict& verdict) {
  std::string out;
  if (verdict.kind != ReportVerdict::Kind::kNotJudged) {
    const auto failed = std::count_if(record.expectations.begin(), record.expectations.end(), [](const auto& e) { return !e.ok; });
    out = failed > 0 ? fmt::format("{} checks in {} kinds; {} of the kinds contradict the plan.", grouped(verdict.checks),
                                   record.expectations.size(), failed)
                     : fmt::format("What was measured agrees with what was planned, in {}.",
                                   render_count(static_cast<std::int64_t>(record.expectations.size()), "kind") + " of checks");
    if (record.false_alarm.value_or(0) > 0)
      out += fmt::format(" A correct merge fails any of them with a chance of one in {}.", grouped(1 / *record.false_alarm));
  }
  if (!verdict.unmeasured.empty() && verdict.kind != ReportVerdict::Kind::kNotJudged) {
    std::string names;
    for (std::size_t i = 0; i < verdict.unmeasured.size(); ++i) {
      names += (i == 0 ? "" : i + 1 == verdict.unmeasured.size() ? " and " : ", ") + mono(verdict.unmeasured[i]);
    }
    out += fmt::format("{}Not measured: {}; taken by the arithmetic, but without a statistic of {} own.", out.empty() ? "" : " ", names,
                       verdict.unmeasured.size() == 1 ? "its" : "their");
  }
  return out;
}

std::string_view remedies_title(const ReportVerdict& verdict) {
  const bool serious = std::any_of(verdict.remedies.begin(), verdict.remedies.end(), [](const Remedy& r) { return r.serious; });
  return serious ? "What to do" : "Worth knowing";
}

void render_html(const RecordView& record, const ReportVerdict& verdict, Page& page) {
  constexpr const char* kClass[] = {"good", "bad", "open"};
  constexpr const char* kIcon[] = {"M5 12.5l4.5 4.5L19 7.5", "M6.5 6.5l11 11m0-11l-11 11", "M6 12h12"};
  const auto kind = static_cast<std::size_t>(verdict.kind);
  std::string out = fmt::format(
      "<header class=\"verdict {}\"><svg class=\"icon\" viewBox=\"0 0 24 24\" aria-hidden=\"true\"><path "
      "d=\"{}\"/></svg>\n<div><h1>{}</h1>\n"
      "<p class=\"lead\">{} merge of {}</p></div></header>\n",
      kClass[kind], kIcon[kind], escape_html(verdict.headline),
      escape_html(record.method_title.empty() ? record.method : record.method_title), escape_html(models_text(record)));
  out += "<dl class=\"facts\">\n";
  for (const Fact& f : facts_of(record)) {
    out += fmt::format("<div><dt>{}</dt><dd>{}{}</dd></div>\n", escape_html(f.name), escape_html(f.value),
                       f.more.empty() ? "" : "<small>" + escape_html(f.more) + "</small>");
  }
  out += "</dl>\n";
  const std::string scope = scope_text(record, verdict);
  if (!scope.empty()) out += fmt::format("<p class=\"scope\">{}</p>\n", escape_html(scope));
  if (!verdict.remedies.empty()) {
    out += fmt::format("<div class=\"remedies\"><h2>{}</h2>\n<ul>\n", remedies_title(verdict));
    for (const Remedy& r : verdict.remedies) {
      out += fmt::format("<li{}><p>{}</p><p class=\"do\">{}</p></li>\n", r.serious ? " class=\"bad\"" : "", escape_html(r.what),
                         escape_html(r.do_this));
    }
    out += "</ul></div>\n";
  }
  page.html(out);
}

void render_verdict(const RecordView& record, Page& page) {
  const ReportVerdict verdict = judge_record(record);
  render_html(record, verdict, page);
  std::string md =
      fmt::format("# {}\n\n{} merge of {}\n\n", escape_markdown(verdict.headline),
                  escape_markdown(record.method_title.empty() ? record.method : record.method_title), escape_markdown(models_text(record)));
  for (const Fact& f : facts_of(record)) {
    md += fmt::format("- {}: {}{}\n", f.name, escape_markdown(f.value), f.more.empty() ? "" : " (" + escape_markdown(f.more) + ")");
  }
  const std::string scope = scope_text(record, verdict);
  if (!scope.empty()) md += "\n" + escape_markdown(scope) + "\n";
  if (!verdict.remedies.empty()) {
    md += fmt::format("\n## {}\n\n", remedies_title(verdict));
    for (const Remedy& r : verdict.remedies) md += fmt::format("- {} {}\n", escape_markdown(r.what), escape_markdown(r.do_this));
  }
  page.markdown(md + "\n");
}

}  // namespace

const Section& section_verdict() {
  static const Section section = {"verdict", "", 10, [](const RecordView&) { return true; }, render_verdict};
  return section;
}

}  // namespace crucible
