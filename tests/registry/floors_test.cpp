// The floors of the architecture: a file includes its own folder and lower floors only.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <fmt/format.h>

namespace crucible::test {
namespace {

namespace fs = std::filesystem;

const std::map<std::string, int>& floors() {
  static const std::map<std::string, int> all = {
      {"base", 0},       {"text", 1},      {"io", 1},    {"simd", 1},    {"tensor", 2},   {"schema", 2},
      {"checkpoint", 3}, {"tokenizer", 3}, {"arch", 3},  {"methods", 3}, {"recipe", 4},   {"analysis", 4},
      {"plan", 5},       {"run", 6},       {"audit", 7}, {"report", 8},  {"commands", 9},
  };
  return all;
}

// The public headers stand on the floor of the folder that implements them.
const std::map<std::string, std::string>& public_headers() {
  static const std::map<std::string, std::string> all = {
      {"error.h", "base"},      {"dtype.h", "tensor"},  {"tensor.h", "tensor"}, {"part.h", "tensor"}, {"checkpoint.h", "checkpoint"},
      {"method.h", "methods"},  {"recipe.h", "recipe"}, {"plan.h", "plan"},     {"run.h", "run"},     {"report.h", "report"},
      {"crucible.h", "report"}, {"merge.h", "report"},
  };
  return all;
}

// The folder that an include path or a file's path belongs to.
std::optional<std::string> folder_of(const std::string& path) {
  const std::size_t slash = path.find('/');
  if (slash == std::string::npos) return std::nullopt;
  const std::string first = path.substr(0, slash);
  if (first != "crucible") return floors().contains(first) ? std::optional(first) : std::nullopt;
  const auto it = public_headers().find(path.substr(slash + 1));
  return it == public_headers().end() ? std::nullopt : std::optional(it->second);
}

// What is wrong with one include, or nothing.
std::string judge(const std::string& file, const std::string& include) {
  const auto from = folder_of(file);
  if (!from) return fmt::format("{} is in no folder with a floor", file);
  if (include.ends_with("_table.inc") && include.find('/') == std::string::npos) return {};  // generated, of the folder that includes it
  const auto to = folder_of(include);
  if (!to) return fmt::format("{} includes {}, which has no floor", file, include);
  if (*from == *to) return {};
  if (floors().at(*to) >= floors().at(*from)) {
    return fmt::format("{} (floor {}) includes {} (floor {})", file, floors().at(*from), include, floors().at(*to));
  }
  static const std::set<std::string> kForMethods = {"base", "simd", "tensor", "schema"};
  if (*from == "methods" && !kForMethods.contains(*to)) return fmt::format("{} includes {}: methods know numbers only", file, include);
  return {};
}

// The targets of all #include "..." lines of a text.
std::vector<std::string> includes_of(const fs::path& path) {
  std::vector<std::string> found;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    std::size_t at = line.find_first_not_of(" \t");
    if (at == std::string::npos || line[at] != '#') continue;
    at = line.find_first_not_of(" \t", at + 1);
    if (at == std::string::npos || line.compare(at, 7, "include") != 0) continue;
    const std::size_t open = line.find('"', at), close = line.find('"', open + 1);
    if (open != std::string::npos && close != std::string::npos) found.push_back(line.substr(open + 1, close - open - 1));
  }
  return found;
}

TEST(Floors, NoIncludePointsUpOrSideways) {
  int files = 0, edges = 0;
  for (const char* root : {"src", "include"}) {
    const fs::path folder = fs::path(CRUCIBLE_SOURCE_DIR) / root;
    for (const auto& entry : fs::recursive_directory_iterator(folder)) {
      const std::string extension = entry.path().extension().string();
      if (!entry.is_regular_file() || (extension != ".h" && extension != ".cpp")) continue;
      ++files;
      for (const std::string& include : includes_of(entry.path())) {
        ++edges;
        EXPECT_EQ(judge(fs::relative(entry.path(), folder).generic_string(), include), "");
      }
    }
  }
  EXPECT_GT(files, 50) << "the sources were not found";
  EXPECT_GT(edges, 100);
}

TEST(Floors, TheRulesCanFail) {
  EXPECT_EQ(judge("plan/plan.cpp", "recipe/recipe.h"), "");
  EXPECT_EQ(judge("plan/plan.cpp", "plan/join.h"), "");
  EXPECT_EQ(judge("methods/shared/kernel.cpp", "methods/kernel.h"), "");
  EXPECT_EQ(judge("base/error.cpp", "crucible/error.h"), "");
  EXPECT_EQ(judge("text/yaml.h", "crucible/error.h"), "");
  EXPECT_NE(judge("recipe/recipe.cpp", "plan/plan.h"), "") << "up";
  EXPECT_NE(judge("text/yaml.cpp", "io/file.h"), "") << "sideways";
  EXPECT_NE(judge("tensor/convert.cpp", "schema/field.h"), "") << "sideways";
  EXPECT_NE(judge("methods/ties.cpp", "checkpoint/locate.h"), "") << "sideways";
  EXPECT_NE(judge("methods/ties.cpp", "text/yaml.h"), "") << "lower, but not for methods";
  EXPECT_NE(judge("methods/ties.cpp", "io/file.h"), "");
  EXPECT_NE(judge("base/random.h", "crucible/dtype.h"), "") << "up, through a public header";
  EXPECT_NE(judge("crucible/tensor.h", "crucible/plan.h"), "");
  EXPECT_NE(judge("plan/plan.cpp", "helpers/x.h"), "") << "a folder without a floor";
  EXPECT_NE(judge("plan/plan.cpp", "join.h"), "") << "no folder named";
}

}  // namespace
}  // namespace crucible::test
