// From arguments to a command, from exceptions to exit codes.
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "command_table.inc"
#include "commands/command.h"
#include "commands/shared/process.h"
#include "crucible/error.h"

namespace crucible {
namespace {

constexpr int kUsageExit = 2;

int run_command(int argc, char** argv, const std::string& invoked_as) {
  CLI::App app{"Merges the weights of language models, with proof that every parameter took effect."};
  app.name("crucible");
  app.set_version_flag("--version", std::string("crucible ") + CRUCIBLE_VERSION);
  app.require_subcommand(1);
  app.footer(
      "Exit codes: 0 done, 1 the answer is no (verify, diff), 2 wrong input, 3 the run failed, 130 interrupted.\n"
      "`crucible COMMAND --help` tells more.");
  std::vector<std::pair<CLI::App*, std::function<int()>>> runs;
  for (const Command* command : all_commands()) {
    CLI::App* sub = app.add_subcommand(std::string(command->name), std::string(command->summary));
    runs.emplace_back(sub, command->declare(*sub));
  }
  std::vector<std::string> args;
  for (int i = argc - 1; i > 0; --i) args.emplace_back(argv[i]);  // CLI11 takes them in reverse
  // A link that carries the name of a command is that command.
  for (const Command* command : all_commands()) {
    if (command->name == invoked_as) args.push_back(invoked_as);
  }
  if (args.empty()) {
    std::fputs(app.help().c_str(), stdout);
    return kUsageExit;
  }
  try {
    app.parse(args);
  } catch (const CLI::ParseError& problem) {
    const int code = app.exit(problem);
    return code == 0 ? 0 : kUsageExit;
  }
  for (const auto& [sub, run] : runs) {
    if (sub->parsed()) return run();
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
