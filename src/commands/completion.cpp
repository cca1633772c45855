// crucible completion: scripts for bash, zsh and fish, made from the commands' own declarations.
#include <cstdio>

#include <fmt/format.h>

#include "commands/command.h"

namespace crucible {
namespace {

struct Words {
  std::string command;
  std::string summary;
  std::vector<std::pair<std::string, std::string>> options;  // "--name", description
};

std::vector<Words> collect() {
  ArgumentParser parser("crucible", {});
  std::vector<Words> all;
  for (const Command* command : all_commands()) {
    CommandLine line = parser.command(command->name, command->summary);
    command->declare(line);
    all.push_back({std::string(command->name), std::string(command->summary), line.long_options()});
  }
  return all;
}

std::string quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

std::string bash_script() {
  std::string names, cases;
  for (const Words& w : collect()) {
    names += w.command + " ";
    std::string options;
    for (const auto& [name, help] : w.options) options += name + " ";
    cases += fmt::format("    {}) words=\"{}\" ;;\n", w.command, options);
  }
  return fmt::format(R"(_crucible() {{
  local current="${{COMP_WORDS[COMP_CWORD]}}" words=""
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "{}--help --version" -- "$current"))
    return
  fi
  case "${{COMP_WORDS[1]}}" in
{}  esac
  case "$current" in
    -*) COMPREPLY=($(compgen -W "$words" -- "$current")) ;;
    *) COMPREPLY=($(compgen -f -- "$current")) ;;
  esac
}}
complete -o filenames -F _crucible crucible
)",
                     names, cases);
}

std::string zsh_script() {
  std::string commands, cases;
  for (const Words& w : collect()) {
    commands += fmt::format("    {}\n", quoted(w.command + ":" + w.summary));
    std::string options;
    for (const auto& [name, help] : w.options) options += " " + quoted(name);
    cases += fmt::format("    {}) compadd -- {} ; _files ;;\n", w.command, options);
  }
  return fmt::format(R"(#compdef crucible
_crucible() {{
  local -a commands=(
{}  )
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  case "$words[2]" in
{}  esac
}}
_crucible "$@"
)",
                     commands, cases);
}

std::string fish_script() {
  std::string out;
  for (const Words& w : collect()) {
    out += fmt::format("complete -c crucible -n __fish_use_subcommand -f -a {} -d {}\n", w.command, quoted(w.summary));
    for (const auto& [name, help] : w.options) {
      out += fmt::format("complete -c crucible -n '__fish_seen_subcommand_from {}' -l {} -d {}\n", w.command, name.substr(2), quoted(help));
    }
  }
  return out;
}

std::function<int()> declare_completion(CommandLine& line) {
  auto shell = std::make_shared<std::string>();
  line.option("shell", *shell, "bash, zsh or fish").required().one_of({"bash", "zsh", "fish"});
  return [shell] {
    std::fputs((*shell == "bash" ? bash_script() : *shell == "zsh" ? zsh_script() : fish_script()).c_str(), stdout);
    return 0;
  };
}

}  // namespace

const Command& command_completion() {
  static const Command command = {"completion", "Print a shell completion script", declare_completion};
  return command;
}

}  // namespace crucible
