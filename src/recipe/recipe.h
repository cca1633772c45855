// What the user asked for: the recipe as a plain value, every part with its place in the file.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "crucible/dtype.h"
#include "crucible/error.h"
#include "recipe/model_ref.h"
#include "schema/field.h"

namespace crucible {

struct Method;

// One value as written: a scalar, or a gradient of numbers over the layers.
struct SettingValue {
  Place place;
  std::vector<Value> values;  // one, or the points of a gradient
  bool is_gradient = false;
};

// `value` where `filter` matches; a plain setting is one condition without filter.
struct Condition {
  std::string filter;  // empty = everything
  Place filter_place;
  SettingValue value;
};

// All that one level says about one parameter.
struct Setting {
  std::string name;
  Place name_place;
  std::vector<Condition> conditions;  // first match wins
};

using Settings = std::vector<Setting>;  // file order, names unique

struct RecipeModel {
  ModelRef model;
  Settings parameters;
};

struct SliceSource {
  ModelRef model;
  std::int64_t layer_begin = 0;  // half-open
  std::int64_t layer_end = 0;
  Place range_place;
  Settings parameters;
};

struct OutputSlice {
  Place place;
  std::vector<SliceSource> sources;
  std::optional<ModelRef> base_model;
  Settings parameters;
};

struct OutputModule {
  std::string name;
  Place place;
  std::vector<RecipeModel> models;  // either
  std::vector<OutputSlice> slices;  // or
  Settings parameters;
};

// A parameter that some method has, but not the chosen one (allowed as a notice by UnusedPolicy::kNotice).
struct UnusedParameter {
  std::string name;
  Place place;
};

struct Recipe {
  std::string file;  // as given; "<text>" when it came from memory
  std::string text;  // verbatim
  std::string name;  // of a document among several (crucible multi); empty = it has none
  Place name_place;
  PathForm paths = PathForm::kReference;  // as it was read
  std::string method_name;
  Place method_place;
  const Method* method = nullptr;
  std::vector<RecipeModel> models;    // exactly one of models,
  std::vector<OutputSlice> slices;    // slices
  std::vector<OutputModule> modules;  // and modules is non-empty
  std::optional<ModelRef> base_model;
  std::optional<DType> dtype;
  std::optional<DType> out_dtype;
  Settings parameters;
  std::vector<UnusedParameter> unused;

  // base_model first, then every model in file order, without repeats.
  std::vector<ModelRef> referenced_models() const;
};

enum class UnusedPolicy { kError, kNotice };

// Is the recipe one of several in its file? Then it may have a name.
enum class RecipeCount { kOne, kSeveral };

struct ReadOptions {
  UnusedPolicy unused = UnusedPolicy::kError;
  RecipeCount count = RecipeCount::kOne;
  PathForm paths = PathForm::kReference;
};

// Parses and checks a recipe: syntax, keys, levels, types, ranges, method, parameters. All problems at once. Touches no disk.
// The result is meaningful only when `diagnostics` has no errors afterwards.
Recipe parse_recipe(std::string_view text, const std::string& file, const ReadOptions& options, Diagnostics& diagnostics);

// The same from a file ("-" = standard input is left to the caller). A file that cannot be read is an error in `diagnostics`.
Recipe open_recipe(const std::string& path, const ReadOptions& options, Diagnostics& diagnostics);

// One normal form for every way to write the same recipe: fixed key order, defaults left out. Parses back to an equal recipe.
std::string canonical_text(const Recipe& recipe);

}  // namespace crucible
