// The merge methods, as data: what `crucible methods` shows.
#pragma once

#include <string>
#include <vector>

namespace crucible {

struct ParameterInfo {
  std::string name;
  std::string help;
  std::string type;           // "number in [0, 1]"
  std::string default_value;  // empty when required
  bool required = false;
};

struct MethodInfo {
  std::string name;  // as recipes write it
  std::string title;
  std::string summary;
  std::string formula;                          // several lines
  std::string source;                           // paper
  std::vector<ParameterInfo> parameters;        // of the whole merge
  std::vector<ParameterInfo> model_parameters;  // of each model
};

// Every method, sorted by name.
std::vector<MethodInfo> list_methods();

}  // namespace crucible
