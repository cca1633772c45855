// crucible methods: the methods and their parameters, from the field tables.
#include <cstdio>

#include <fmt/format.h>

#include "base/text_util.h"
#include "commands/command.h"
#include "commands/shared/json_views.h"

namespace crucible {
namespace {

std::string fields_text(const FieldTable& table) {
  std::string out;
  for (const Field& f : table.fields()) {
    out += fmt::format("  {:<12} {}; {}\n", f.name, f.type_text(), f.is_required ? std::string("required") : "default " + f.default_text());
    out += fmt::format("               {}\n", f.help);
  }
  return out;
}

std::string method_text(const Method& m) {
  std::string out = fmt::format("{} - {}\n{}\n\n", m.name, m.title, m.summary);
  for (std::string_view rest = m.formula; !rest.empty();) {
    const std::size_t end = rest.find('\n');
    out += fmt::format("    {}\n", rest.substr(0, end));
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
  }
  out += fmt::format("\nbase model: {}\n", m.base == BaseRule::kRequired   ? "required"
                                           : m.base == BaseRule::kOptional ? "optional"
                                                                           : "an input only when it is listed among the models");
  if (m.global->size() > 0) out += "\nparameters of the whole merge\n" + fields_text(*m.global);
  if (m.model->size() > 0) out += "\nparameters of each model (any level of the recipe)\n" + fields_text(*m.model);
  if (!m.deviations.empty()) out += fmt::format("\nnotes\n{}\n", m.deviations);
  if (!m.paper.empty()) out += fmt::format("\nsource: {}\n", m.paper);
  for (const MethodExample& e : m.examples) out += fmt::format("\nexample: {}\n{}", e.title, e.recipe);
  return out;
}

int show_method(const std::string& name, bool json) {
  if (name.empty()) {
    if (json) {
      nlohmann::ordered_json all = nlohmann::ordered_json::array();
      for (const Method* m : all_methods()) all.push_back(method_json(*m));
      std::printf("%s\n", all.dump(2).c_str());
    } else {
      for (const Method* m : all_methods()) std::fputs(fmt::format("{:<18} {}\n", m->name, m->summary).c_str(), stdout);
    }
    return 0;
  }
  const Method* method = find_method(name);
  if (method == nullptr) {
    std::vector<std::string> names;
    for (const Method* m : all_methods()) names.emplace_back(m->name);
    Diagnostics unknown;
    const auto near = nearest_name(name, names);
    unknown.error({}, fmt::format("there is no method `{}`", printable(name)), near ? fmt::format("did you mean `{}`?", *near) : "");
    unknown.throw_if_errors();
  }
  std::fputs((json ? method_json(*method).dump(2) + "\n" : method_text(*method)).c_str(), stdout);
  return 0;
}

std::function<int()> declare_methods(CommandLine& line) {
  auto name = std::make_shared<std::string>();
  auto json = std::make_shared<bool>(false);
  line.option("name", *name, "one method: formula, parameters, ranges, defaults, example");
  line.flag("--json", *json, "print as JSON");
  return [name, json] { return show_method(*name, *json); };
}

}  // namespace

const Command& command_methods() {
  static const Command command = {"methods", "List the merge methods, or explain one", declare_methods};
  return command;
}

}  // namespace crucible
