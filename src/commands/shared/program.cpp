// From arguments to a command, from exceptions to exit codes.
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <vector>

#include <fmt/format.h>

#include "command_table.inc"
#include "commands/command.h"
#include "commands/shared/process.h"
#include "crucible/error.h"

namespace crucible {
namespace {

constexpr int kUsageExit = 2;

int run_command(int argc, char** argv, const std::string& invoked_as) {
  ArgumentParser parser("crucible", "Merges the weights of language models, with proof that every parameter took effect.");
  parser.version("crucible " CRUCIBLE_VERSION);
  parser.footer(
      "Exit codes: 0 done, 1 the answer is no (verify, diff), 2 wrong input, 3 the run failed, 130 interrupted.\n"
      "`crucible COMMAND --help` tells more.");
  std::vector<std::pair<CommandLine, std::function<int()>>> runs;
  std::vector<std::string> arguments;
  for (const Command* command : all_commands()) {
    CommandLine line = parser.command(command->name, command->summary);
    runs.emplace_back(line, command->declare(line));
    // A link that carries the name of a command is that command.
    if (command->name == invoked_as) arguments.push_back(invoked_as);
  }
  for (int i = 1; i < argc; ++i) arguments.emplace_back(argv[i]);
  if (arguments.empty()) {
    std::fputs(parser.help().c_str(), stdout);
    return kUsageExit;
  }
  switch (parser.parse(arguments)) {
    case Parsed::kAnswer: return 0;
    case Parsed::kWrong: return kUsageExit;
    case Parsed::kCommand: break;
  }
  for (const auto& [line, run] : runs) {
    if (line.is_chosen()) return run();
  }
  return kUsageExit;
}

}  // namespace

std::span<const Command* const> all_commands() noexcept {
  static const std::vector<const Command*> commands = [] {
    std::vector<const Command*> list;
    for (const auto make : generated::command_table) list.push_back(&make());
    return list;
  }();
  return commands;
}

int run_program(int argc, char** argv) {
  prepare_process();
  try {
    const int code = run_command(argc, argv, std::filesystem::path(argc > 0 ? argv[0] : "crucible").filename().string());
    // A full disk or a closed pipe must not look like success.
    if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) return code == 0 ? exit_code_of(ErrorCode::kIo) : code;
    return code;
  } catch (const InputError& problem) {
    std::fputs(render_diagnostics(problem.diagnostics()).c_str(), stderr);
    return exit_code_of(problem.code());
  } catch (const Error& problem) {
    std::fprintf(stderr, "crucible: %s\n", problem.what());
    return exit_code_of(problem.code());
  } catch (const std::bad_alloc&) {
    std::fputs("crucible: out of memory; a smaller --memory or fewer --threads may help\n", stderr);
    return exit_code_of(ErrorCode::kNoSpace);
  } catch (const std::exception& problem) {
    std::fprintf(stderr, "crucible: %s\n", problem.what());
    return exit_code_of(ErrorCode::kIo);
  }
}

}  // namespace crucible
