#include "commands/shared/stacking.h"

#include <fmt/format.h>

#include "base/check.h"
#include "base/text_util.h"
#include "base/units.h"
#include "commands/shared/model_layers.h"
#include "methods/method.h"
#include "recipe/recipe.h"

namespace crucible {
namespace {

Setting scale_setting(double scale, const std::vector<std::string>& parts) {
  Setting setting;
  setting.name = "scale";
  for (const std::string& part : parts) setting.conditions.push_back({part, {}, {{}, {scale}, false}});
  return setting;
}

class Stacker {
 public:
  Stacker(const Stacking& stacking, const std::vector<std::pair<std::string, std::string>>& model_dirs, Diagnostics& diagnostics)
      : stacking_(stacking), layers_(model_dirs), diagnostics_(diagnostics) {}

  std::string recipe() {
    Recipe recipe;
    recipe.method = find_method("passthrough");
    CHECK(recipe.method != nullptr);
    recipe.dtype = stacking_.dtype;
    std::vector<OutputSlice> slices;
    for (const StackedLayers& s : stacking_.slices) slices.push_back(slice_of(s));
    std::vector<OutputModule> sources;
    if (stacking_.embedding) add_modules(*stacking_.embedding, ModelLayers::Outer::kEmbedding, sources);
    if (stacking_.head) add_modules(*stacking_.head, ModelLayers::Outer::kHead, sources);
    if (diagnostics_.has_errors()) return {};
    if (sources.empty()) {
      recipe.slices = std::move(slices);
    } else {
      // The layers first: the first model named gives config and tokenizer.
      OutputModule rest;
      rest.name = "default";
      rest.slices = std::move(slices);
      recipe.modules.push_back(std::move(rest));
      for (OutputModule& m : sources) recipe.modules.push_back(std::move(m));
    }
    return canonical_text(recipe);
  }

 private:
  OutputSlice slice_of(const StackedLayers& s) {
    SliceSource source;
    source.model = s.model;
    source.layer_begin = s.begin;
    source.layer_end = s.end.value_or(s.begin);
    ModelRef asked = s.model;
    asked.place = s.place;
    if (const auto count = layers_.count(asked, diagnostics_)) {
      source.layer_end = s.end.value_or(*count);
      const std::string has = fmt::format("{} has {}, 0 to {}", printable(s.model.text(), 400), render_count(*count, "layer"), *count - 1);
      if (s.begin < 0 || source.layer_end <= s.begin) {
        diagnostics_.error(s.place, fmt::format("{} holds no layers", s.shown), has + "; the end is not part of a range");
      } else if (source.layer_end > *count) {
        diagnostics_.error(s.place, fmt::format("{} reaches past the last layer: {}", s.shown, has),
                           fmt::format("the end is not part of a range: at most {}", *count));
      }
    }
    if (s.scale) source.parameters.push_back(scale_setting(*s.scale, stacking_.scaled));
    OutputSlice slice;
    slice.sources.push_back(std::move(source));
    return slice;
  }

  void add_modules(const ModelRef& from, ModelLayers::Outer what, std::vector<OutputModule>& modules) {
    for (const std::string& name : layers_.outer_modules(from, what, diagnostics_)) {
      OutputModule module;
      module.name = name;
      module.models.push_back({from, {}});
      modules.push_back(std::move(module));
    }
  }

  const Stacking& stacking_;
  ModelLayers layers_;
  Diagnostics& diagnostics_;
};

}  // namespace

std::string stacking_recipe(const Stacking& stacking, const std::vector<std::pair<std::string, std::string>>& model_dirs,
                            Diagnostics& diagnostics) {
  return Stacker(stacking, model_dirs, diagnostics).recipe();
}

}  // namespace crucible
