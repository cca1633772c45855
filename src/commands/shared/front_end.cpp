#include "commands/shared/front_end.h"

#include <cstdio>

#include <fmt/format.h>

#include "base/text_util.h"
#include "io/file.h"
#include "report/library.h"
#include "report/text.h"

namespace crucible {
namespace {

void write_recipe_file(const std::string& path, const std::string& recipe) {
  Diagnostics refused;
  if (path_exists(path)) refused.error({}, fmt::format("--write-recipe {}: the file exists", printable(path, 400)), "name another file");
  refused.throw_if_errors();
  write_small_file(path, recipe);
}

}  // namespace

void declare_front_end(CommandLine& line, FrontEnd& o, const char* model_names) {
  line.option("out", o.out, "folder to write the model to").required();
  line.flag("--dry-run", o.dry_run, "show the plan and write no model");
  line.flag("--print-recipe", o.print_recipe, "print the recipe and do nothing else");
  line.option("--write-recipe", o.write_recipe, "file to write the recipe to");
  line.option("--dtype", o.dtype, "type of the output: bfloat16, float16, float32 (default: as stored)");
  declare_options_of_set(line, o.merge, OptionSet::kRun, model_names);
}

std::optional<DType> dtype_of(const FrontEnd& o, Diagnostics& diagnostics) {
  if (o.dtype.empty()) return std::nullopt;
  const auto dtype = find_torch_dtype(o.dtype);
  if (dtype && facts(*dtype).mergeable) return dtype;
  diagnostics.error({}, fmt::format("--dtype {}: not a type that weights are merged in", printable(o.dtype, 40)),
                    "allowed are bfloat16, float16, float32 and float64");
  return std::nullopt;
}

std::optional<ModelRef> model_argument(const std::string& text, Diagnostics& diagnostics) {
  if (text.find_first_of("+@") != std::string::npos && path_exists(text)) {
    ModelRef ref;
    ref.model.path = text;
    return ref;
  }
  Node node;
  node.kind = Node::Kind::kScalar;
  node.text = text;
  return parse_model_ref(node, diagnostics);
}

int run_recipe(FrontEnd& o, const std::string& name, const std::string& recipe) {
  o.merge.recipe = name;
  o.merge.recipe_text = recipe;
  if (!o.write_recipe.empty()) write_recipe_file(o.write_recipe, recipe);
  if (o.print_recipe) {
    std::fputs(recipe.c_str(), stdout);
    if (o.print_only) return 0;
  }
  if (!o.dry_run) return merge_into(o.merge, o.out);
  const MergeRequest request = make_request(o.merge);
  const Plan plan = plan_or_throw(request, talk_of(o.merge));
  std::fputs(render_plan(plan, plan_memory(plan, run_options(request))).c_str(), stdout);
  return 0;
}

}  // namespace crucible
