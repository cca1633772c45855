#include "commands/shared/raw_run.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include <fmt/format.h>

#include "base/text_util.h"
#include "commands/shared/single_file.h"
#include "io/file.h"
#include "recipe/recipe.h"
#include "report/library.h"
#include "report/text.h"
#include "text/lines.h"
#include "text/yaml.h"

namespace crucible {
namespace {

// Keys of a recipe that are about networks and tokenizers, which raw mode knows nothing of.
constexpr std::array<std::string_view, 6> kNotRaw = {"slices", "modules", "tokenizer", "tokenizer_source", "chat_template", "name"};

void refuse_keys(const std::string& text, const std::string& file, Diagnostics& diagnostics) {
  Diagnostics told_already;
  const LineIndex lines(without_byte_order_mark(text));
  for (const Node& document : parse_yaml(text, file, told_already)) {
    if (!document.is_map()) continue;
    for (const Node::Entry& entry : document.entries) {
      if (std::find(kNotRaw.begin(), kNotRaw.end(), entry.key) == kNotRaw.end() || entry.value.is_null()) continue;
      diagnostics.add({Severity::kError, entry.key_place,
                       fmt::format("`{}` has no meaning here: raw mode merges tensors of equal names, whatever they are", entry.key),
                       "`crucible merge` knows layers and tokenizers", lines.line_shown(entry.key_place)});
    }
  }
}

Recipe read_recipe(MergeRequest& request, Diagnostics& diagnostics) {
  if (request.recipe_text.empty()) {
    try {
      request.recipe_text = read_small_file(request.recipe_file, static_cast<std::int64_t>(YamlLimits{}.bytes));
    } catch (const Error& problem) {
      diagnostics.error({request.recipe_file, 0, 0}, fmt::format("the configuration cannot be read: {}", problem.what()));
      return {};
    }
  }
  ReadOptions read = read_options(request);
  read.paths = PathForm::kPlain;
  Recipe recipe = parse_recipe(request.recipe_text, request.recipe_file, read, diagnostics);
  refuse_keys(request.recipe_text, request.recipe_file, diagnostics);
  return recipe;
}

}  // namespace

void declare_raw(CommandLine& line, RawOptions& o) {
  const Option both = line.flag("--tensor-intersection,-i", o.intersection, "leave out tensors that some models lack");
  line.flag("--tensor-union,-u", o.all_of_them, "merge tensors that some models lack from the models that have them").excludes(both);
}

int run_raw(const RawOptions& o) {
  MergeRequest request = make_request(o.merge);
  const Talk talk = talk_of(o.merge);
  const bool to_file = asks_for_file(o.out);
  request.missing = o.intersection ? MissingTensors::kIntersection : o.all_of_them ? MissingTensors::kUnion : MissingTensors::kError;
  if (to_file) {
    request.shard_bytes = 0;
    request.copy_companions = false;
    request.write_card = false;
  } else if (!o.dry_run) {
    refuse_occupied(o.merge, o.out);
  }
  Diagnostics of_recipe, found;
  const Recipe recipe = read_recipe(request, of_recipe);
  const Plan plan = plan_recipe(recipe, request, of_recipe, found);
  found.throw_if_errors();
  print_diagnostics(found, talk);
  if (o.dry_run) {
    std::fputs(render_plan(plan, plan_memory(plan, run_options(request))).c_str(), stdout);
    return 0;
  }
  return to_file ? run_into_file(plan, request, o.out, talk) : run_and_tell(plan, request, o.out, talk);
}

}  // namespace crucible
