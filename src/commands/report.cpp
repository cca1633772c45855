// crucible report: the report of a merged model, rendered again from its record.
#include <cstdio>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>

#include "commands/command.h"
#include "crucible/error.h"
#include "report/report.h"

namespace crucible {
namespace {

struct ReportFlags {
  std::string folder;
  std::string format = "html";
  std::string output;
};

ReportFormat format_of(const std::string& name) {
  return name == "md" ? ReportFormat::kMarkdown : name == "json" ? ReportFormat::kJson : ReportFormat::kHtml;
}

int report(const ReportFlags& options) {
  const std::string text = render_report_of(options.folder, format_of(options.format));
  if (options.output.empty() || options.output == "-") {
    std::fwrite(text.data(), 1, text.size(), stdout);
    return 0;
  }
  std::ofstream out(options.output, std::ios::binary | std::ios::trunc);
  out.write(text.data(), static_cast<std::streamsize>(text.size()));
  out.close();
  if (!out) throw Error(ErrorCode::kIo, fmt::format("cannot write {}", options.output));
  return 0;
}

std::function<int()> declare_report(CommandLine& line) {
  auto options = std::make_shared<ReportFlags>();
  line.option("folder", options->folder, "a model folder written by crucible").required();
  line.option("--format", options->format, "html, md or json (default html)").one_of({"html", "md", "json"});
  line.option("--output,-o", options->output, "file to write; without it, or with -, to the terminal");
  return [options] { return report(*options); };
}

}  // namespace

const Command& command_report() {
  static const Command command = {"report", "Render the report of a merged model from its record", declare_report};
  return command;
}

}  // namespace crucible
