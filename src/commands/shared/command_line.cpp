#include "commands/shared/command_line.h"

#include <CLI/CLI.hpp>

namespace crucible {
namespace {

// The type of the target decides how the value is read and what the help calls it.
template <typename T>
CLI::Option* add_option(CLI::App& command, std::string_view names, T& target, std::string_view text) {
  return command.add_option(std::string(names), target, std::string(text));
}

template <typename T>
CLI::Option* add_flag(CLI::App& command, std::string_view names, T& target, std::string_view text) {
  return command.add_flag(std::string(names), target, std::string(text));
}

}  // namespace

Option Option::required() const { return Option(option_->required()); }
Option Option::repeatable() const { return Option(option_->take_all()); }
Option Option::group(std::string_view heading) const { return Option(option_->group(std::string(heading))); }
Option Option::non_negative() const { return Option(option_->check(CLI::NonNegativeNumber)); }
Option Option::between(int least, int most) const { return Option(option_->check(CLI::Range(least, most))); }
Option Option::one_of(std::initializer_list<std::string_view> words) const {
  return Option(option_->check(CLI::IsMember(std::vector<std::string>(words.begin(), words.end()))));
}
Option Option::shows_default() const { return Option(option_->capture_default_str()); }
Option Option::excludes(Option other) const { return Option(option_->excludes(other.option_)); }

std::size_t Option::count() const { return option_->count(); }
std::string Option::name() const { return option_->get_name(); }

Option CommandLine::option(std::string_view names, std::string& target, std::string_view text) {
  return Option(add_option(*command_, names, target, text));
}
Option CommandLine::option(std::string_view names, std::vector<std::string>& target, std::string_view text) {
  return Option(add_option(*command_, names, target, text));
}
Option CommandLine::option(std::string_view names, int& target, std::string_view text) {
  return Option(add_option(*command_, names, target, text));
}
Option CommandLine::option(std::string_view names, std::uint64_t& target, std::string_view text) {
  return Option(add_option(*command_, names, target, text));
}
Option CommandLine::option(std::string_view names, double& target, std::string_view text) {
  return Option(add_option(*command_, names, target, text));
}
Option CommandLine::option(std::string_view names, std::vector<double>& target, std::string_view text) {
  return Option(add_option(*command_, names, target, text));
}

Option CommandLine::flag(std::string_view names, bool& target, std::string_view text) {
  return Option(add_flag(*command_, names, target, text));
}
Option CommandLine::flag(std::string_view names, int& count, std::string_view text) {
  return Option(add_flag(*command_, names, count, text));
}

// CLI11 takes a text that is not const for a target.
Option CommandLine::unused_option(std::string_view names, std::string_view text) {
  const std::string shown(text);
  return Option(command_->add_option(std::string(names), shown)->expected(1));
}
Option CommandLine::unused_flag(std::string_view names, std::string_view text) {
  const std::string shown(text);
  return Option(command_->add_flag(std::string(names), shown));
}

void CommandLine::footer(std::string_view text) { command_->footer(std::string(text)); }

std::vector<std::pair<std::string, std::string>> CommandLine::long_options() const {
  std::vector<std::pair<std::string, std::string>> all;
  for (const CLI::Option* option : command_->get_options()) {
    for (const std::string& name : option->get_lnames()) all.emplace_back("--" + name, option->get_description());
  }
  return all;
}

bool CommandLine::is_chosen() const { return command_->parsed(); }

ArgumentParser::ArgumentParser(std::string_view program, std::string_view text)
    : program_(std::make_unique<CLI::App>(std::string(text), std::string(program))) {
  program_->require_subcommand(1);
}
ArgumentParser::~ArgumentParser() = default;

void ArgumentParser::version(std::string_view text) { program_->set_version_flag("--version", std::string(text)); }
void ArgumentParser::footer(std::string_view text) { program_->footer(std::string(text)); }

CommandLine ArgumentParser::command(std::string_view name, std::string_view summary) {
  return CommandLine(program_->add_subcommand(std::string(name), std::string(summary)));
}

std::string ArgumentParser::help() const { return program_->help(); }

Parsed ArgumentParser::parse(const std::vector<std::string>& arguments) {
  try {
    program_->parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  } catch (const CLI::ParseError& problem) {
    return program_->exit(problem) == 0 ? Parsed::kAnswer : Parsed::kWrong;
  }
  return Parsed::kCommand;
}

}  // namespace crucible
