// The options of a command and the program's arguments. The library that parses them is seen by command_line.cpp alone: every file that
// includes it compiles all of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace crucible {

// Refers to a declared option; usable as long as its ArgumentParser lives. What changes it returns it again.
class Option {
 public:
  Option() = default;  // refers to none

  Option required() const;
  // Given again, it adds to the values before.
  Option repeatable() const;
  // The help lists it under this heading.
  Option group(std::string_view heading) const;
  Option non_negative() const;
  // Both ends are allowed.
  Option between(int least, int most) const;
  Option one_of(std::initializer_list<std::string_view> words) const;
  // The help shows the value that the target has now.
  Option shows_default() const;
  // Not together with `other`.
  Option excludes(Option other) const;

  // After parsing: how often it was given.
  std::size_t count() const;
  // As messages call it.
  std::string name() const;

 private:
  friend class CommandLine;
  explicit Option(CLI::Option* option) noexcept : option_(option) {}

  CLI::Option* option_ = nullptr;
};

// What one command takes. Names are "--long,-s", and "--on,!--off" for a flag that can be given either way; a name without dashes is an
// argument that is told by its place. A target must live until the arguments are parsed, and keeps its value where nothing is given.
class CommandLine {
 public:
  Option option(std::string_view names, std::string& target, std::string_view text);
  Option option(std::string_view names, std::vector<std::string>& target, std::string_view text);
  Option option(std::string_view names, int& target, std::string_view text);
  Option option(std::string_view names, std::uint64_t& target, std::string_view text);
  Option option(std::string_view names, double& target, std::string_view text);
  Option option(std::string_view names, std::vector<double>& target, std::string_view text);
  Option flag(std::string_view names, bool& target, std::string_view text);
  // How often it is given.
  Option flag(std::string_view names, int& count, std::string_view text);
  // Without a target, for what is accepted only.
  Option unused_option(std::string_view names, std::string_view text);
  Option unused_flag(std::string_view names, std::string_view text);

  // The last words of the help.
  void footer(std::string_view text);
  // "--name" and text of every option that has a long name, in the order of declaration.
  std::vector<std::pair<std::string, std::string>> long_options() const;
  // After parsing: the arguments name this command.
  bool is_chosen() const;

 private:
  friend class ArgumentParser;
  explicit CommandLine(CLI::App* command) noexcept : command_(command) {}

  CLI::App* command_;
};

enum class Parsed {
  kCommand,  // one command is chosen and its targets are set
  kAnswer,   // help or the version was asked for and is printed
  kWrong,    // what is wrong is printed
};

// The arguments of a program that is a set of commands. Owns what CommandLine and Option refer to.
class ArgumentParser {
 public:
  ArgumentParser(std::string_view program, std::string_view text);
  ~ArgumentParser();
  ArgumentParser(const ArgumentParser&) = delete;
  ArgumentParser& operator=(const ArgumentParser&) = delete;

  // What --version prints.
  void version(std::string_view text);
  // The last words of the help.
  void footer(std::string_view text);
  CommandLine command(std::string_view name, std::string_view summary);

  std::string help() const;
  // Arguments in their order, without the program. Answers go to stdout, errors to stderr.
  Parsed parse(const std::vector<std::string>& arguments);

 private:
  std::unique_ptr<CLI::App> program_;
};

}  // namespace crucible
