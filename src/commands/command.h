// One file of this folder is one command: its name, its options, what it does.
#pragma once

#include <functional>
#include <span>
#include <string_view>

#include "commands/shared/command_line.h"

namespace crucible {

struct Command {
  std::string_view name;
  std::string_view summary;
  // Declares the options on `line` and returns what to run once they are parsed; the result is the exit code.
  std::function<int()> (*declare)(CommandLine& line) = nullptr;
};

std::span<const Command* const> all_commands() noexcept;

// The whole program: arguments in, exit code out.
int run_program(int argc, char** argv);

}  // namespace crucible
