// What every part of the recipe binder shares. Internal to src/recipe.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "crucible/error.h"
#include "recipe/recipe.h"

namespace crucible {

struct BindContext {
  const ReadOptions& options;
  Diagnostics& diagnostics;
  const Method* method = nullptr;        // to check parameters against; null when none is known or can be guessed
  std::vector<UnusedParameter>* unused;  // everything that has no effect

  // What was refused already and must not be reported a second time as missing.
  std::vector<std::string> meant{};  // keys of this level that an unknown key was probably meant to be
  std::set<std::string> doubtful{};  // parameters that were given somewhere in a wrong way
  bool all_is_doubtful = false;      // a whole `parameters` was
  bool base_is_doubtful = false;     // `base_model` was
  bool entries_are_missing = false;  // a model could not be read

  bool was_meant(std::string_view key) const;
  bool is_doubtful(const std::string& parameter) const { return all_is_doubtful || doubtful.contains(parameter); }
  void doubt(const std::string& parameter);

  // A key or parameter that nothing declares: always an error. The message is "what: detail".
  void report_unknown(const Place& place, const std::string& what, const std::string& detail, const std::string& hint);
  // A parameter that is known but would change nothing here: an error or a notice, as the options say, and listed either way.
  void report_ignored(const std::string& name, const Place& place, const std::string& what, const std::string& detail,
                      const std::string& hint);
  // A part of mergekit's language that comes later: one clear line.
  void report_later(const Place& place, const std::string& what, const std::string& hint = {});
};

}  // namespace crucible
