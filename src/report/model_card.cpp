#include "report/model_card.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <optional>
#include <string_view>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/text_util.h"
#include "base/units.h"
#include "report/card_facts.h"
#include "report/markdown.h"
#include "report/numbers.h"
#include "report/page.h"
#include "report/public_names.h"
#include "text/documents.h"

namespace crucible {
namespace {

// A scalar that reads back as this text: bare where nothing in it can mean anything else, else in double quotes (JSON's are YAML's).
std::string yaml_scalar(const std::string& text) {
  constexpr std::array kMeanOtherwise = {std::string_view("true"), std::string_view("false"), std::string_view("yes"),
                                         std::string_view("no"),   std::string_view("on"),    std::string_view("off"),
                                         std::string_view("null"), std::string_view("y"),     std::string_view("n")};
  const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  const bool plain = !text.empty() && is_letter(text.front()) && std::all_of(text.begin(), text.end(), [&](char c) {
    return is_letter(c) || (c >= '0' && c <= '9') || c == '/' || c == '.' || c == '_' || c == '-';
  });
  std::string lower = text;
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c); });
  if (plain && std::find(kMeanOtherwise.begin(), kMeanOtherwise.end(), lower) == kMeanOtherwise.end()) return text;
  return nlohmann::json(text).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
}

void add_list(std::string& out, const std::string& key, const std::vector<std::string>& items) {
  if (items.empty()) return;
  out += key + ":\n";
  for (const std::string& item : items) out += "- " + yaml_scalar(item) + "\n";
}

void add_text(std::string& out, const std::string& key, const std::string& value) {
  if (!value.empty()) out += fmt::format("{}: {}\n", key, yaml_scalar(value));
}

PublicNames names_of(const Plan& plan) {
  std::vector<std::string> names;
  for (const PlanInput& input : plan.inputs) {
    names.push_back(input.ref.model.path);
    if (input.ref.lora) names.push_back(input.ref.lora->path);
    names.push_back(input.path);
  }
  return PublicNames(names);
}

// What the cards of all inputs say, where they all say the same.
class Agreed {
 public:
  explicit Agreed(const Plan& plan) {
    for (const PlanInput& input : plan.inputs) cards_.push_back(read_card(input.path));
  }

  template <class Member>
  std::optional<std::decay_t<Member>> on(Member CardFacts::*member) const {
    std::optional<Member> value;
    for (const auto& card : cards_) {
      if (!card || ((*card).*member).empty() || (value && *value != (*card).*member)) return std::nullopt;
      value = (*card).*member;
    }
    return value;
  }
  const std::vector<std::optional<CardFacts>>& cards() const noexcept { return cards_; }

 private:
  std::vector<std::optional<CardFacts>> cards_;
};

struct Names {
  std::vector<std::string> hub_ids;  // by input; empty = none is known
  std::vector<std::string> shown;    // by input, as Markdown
};

Names names_for_card(const Plan& plan, const PublicNames& names) {
  Names out;
  for (const PlanInput& input : plan.inputs) {
    std::string id = find_hub_id(plan, input);
    std::string local = names.publish(input.ref.text());
    while (local.size() > 1 && local.back() == '/') local.pop_back();
    out.shown.push_back(id.empty() ? escape_markdown(mono(local)) : fmt::format("[{0}](https://huggingface.co/{0})", id));
    if (!input.ref.model.revision.empty() && !id.empty())
      out.shown.back() += " at revision " + escape_markdown(mono(input.ref.model.revision));
    out.hub_ids.push_back(std::move(id));
  }
  return out;
}

// Whose loader reads the documents that the output has; empty = none that is known.
std::string_view library_of(const Plan& plan) {
  const auto has = [&plan](std::string_view name) {
    return std::find(plan.companions.begin(), plan.companions.end(), name) != plan.companions.end();
  };
  if (has("model_index.json")) return "diffusers";
  if (has("modules.json")) return "sentence-transformers";
  return plan.root().config_text.empty() ? "" : "transformers";
}

std::string front_matter(const Plan& plan, const Names& names, const Agreed& agreed) {
  std::vector<std::string> ids;
  for (const std::string& id : names.hub_ids) {
    if (!id.empty() && std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(id);
  }
  std::string out = "---\n";
  add_list(out, "base_model", ids);
  if (!ids.empty()) out += "base_model_relation: merge\n";
  if (const std::string_view library = library_of(plan); !library.empty()) out += fmt::format("library_name: {}\n", library);
  add_list(out, "tags", {"merge", "crucible", "mergekit", std::string(plan.method->name)});
  if (const auto license = agreed.on(&CardFacts::license)) {
    // "other" is a licence only together with its name.
    const auto name = agreed.on(&CardFacts::license_name);
    if (*license != "other" || name) {
      add_text(out, "license", *license);
      add_text(out, "license_name", name.value_or(""));
      add_text(out, "license_link", agreed.on(&CardFacts::license_link).value_or(""));
    }
  }
  if (const auto languages = agreed.on(&CardFacts::languages)) add_list(out, "language", *languages);
  add_text(out, "pipeline_tag", agreed.on(&CardFacts::pipeline_tag).value_or(""));
  return out + "---\n";
}

std::string license_text(const Names& names, const Agreed& agreed) {
  if (const auto license = agreed.on(&CardFacts::license)) {
    if (*license != "other" || agreed.on(&CardFacts::license_name)) return {};
  }
  std::string out = "\n## Licence\n\nThe cards of the merged models do not agree on one licence, so this card names none:\n\n";
  for (std::size_t i = 0; i < names.shown.size(); ++i) {
    const auto& card = agreed.cards()[i];
    const std::string license = !card || card->license.empty() ? std::string()
                                : card->license_name.empty()   ? card->license
                                                               : card->license_name;
    out += fmt::format("- {}: {}\n", names.shown[i], license.empty() ? std::string("not known") : escape_markdown(mono(license)));
  }
  return out;
}

std::string paper_text(std::string_view paper) {
  if (paper.empty()) return {};
  constexpr std::string_view kArxiv = "arXiv ";
  if (!paper.starts_with(kArxiv)) return fmt::format(" ({})", escape_markdown(paper));
  const std::string_view id = paper.substr(kArxiv.size(), paper.substr(kArxiv.size()).find_first_of(" ,;"));
  return fmt::format(" ([{}](https://arxiv.org/abs/{}))", escape_markdown(paper), id);
}

std::string proof_text(const RunSummary& summary, const PublicNames& names) {
  std::string out;
  if (std::any_of(summary.models.begin(), summary.models.end(), [](const ModelSummary& m) { return m.sparsified; })) {
    out += "\n| model | entries kept | planned |\n|---|---:|---:|\n";
    for (const ModelSummary& m : summary.models) {
      if (!m.sparsified) continue;
      out += fmt::format("| {} | {:.3f} % | {:.3f} % |\n", escape_markdown(mono(names.publish(m.name))), 100 * m.kept_share(),
                         100 * m.planned_share());
    }
  }
  if (summary.verdict.on && summary.verdict.checks > 0) {
    out +=
        fmt::format("\n{} checks of the measured data against the plan, all kept.\n", grouped(static_cast<double>(summary.verdict.checks)));
  }
  return out.empty() ? out : "\n## What was measured\n" + out;
}

// The models of a recipe under their public names.
Recipe with_public_names(Recipe recipe, const PublicNames& names) {
  const auto rename = [&names](ModelRef& ref) {
    ref.model.path = names.publish(ref.model.path);
    if (ref.lora) ref.lora->path = names.publish(ref.lora->path);
  };
  const auto rename_slices = [&](std::vector<OutputSlice>& slices) {
    for (OutputSlice& slice : slices) {
      for (SliceSource& source : slice.sources) rename(source.model);
      if (slice.base_model) rename(*slice.base_model);
    }
  };
  if (recipe.base_model) rename(*recipe.base_model);
  for (RecipeModel& m : recipe.models) rename(m.model);
  rename_slices(recipe.slices);
  for (OutputModule& module : recipe.modules) {
    for (RecipeModel& m : module.models) rename(m.model);
    rename_slices(module.slices);
  }
  return recipe;
}

bool names_absolute_path(const std::string& text) {
  Diagnostics problems;
  const Recipe recipe = parse_recipe(text, "recipe.yml", ReadOptions{UnusedPolicy::kNotice}, problems);
  if (problems.has_errors()) return true;
  const auto refs = recipe.referenced_models();
  return std::any_of(refs.begin(), refs.end(), [](const ModelRef& ref) {
    return is_absolute_path(ref.model.path) || (ref.lora && is_absolute_path(ref.lora->path));
  });
}

}  // namespace

std::string published_recipe(const Plan& plan) {
  const PublicNames names = names_of(plan);
  const std::string_view written = without_leading_lines(plan.recipe.text);
  std::string text = names.publish(written);
  if (text == written && !names_absolute_path(text)) return text;
  // A path in an unusual spelling (escapes in quotes, for one) is only known once it was read.
  if (names_absolute_path(text)) text = canonical_text(with_public_names(plan.recipe, names));
  return fmt::format("# Folders are named without the paths to them.{}\n",
                     plan.method->random ? " Random choices depend on a model's name: crucible.json has the names that were used." : "") +
         text;
}

std::string render_model_card(const Plan& plan, const RunSummary& summary, const std::string& title) {
  const PublicNames paths = names_of(plan);
  const Names names = names_for_card(plan, paths);
  const Agreed agreed(plan);
  std::string out = front_matter(plan, names, agreed);
  out += fmt::format("# {}\n\nThis is a merge of models made with Crucible {}.\n\n## Method\n\n{}{}", escape_markdown(title),
                     CRUCIBLE_VERSION, plan.method->title, paper_text(plan.method->paper));
  if (plan.base) out += fmt::format(", with {} as the base", names.shown[static_cast<std::size_t>(*plan.base)]);
  out += fmt::format(": {}\n\n## Models merged\n\n", plan.method->summary);
  for (std::size_t i = 0; i < plan.inputs.size(); ++i) {
    if (!plan.base || *plan.base != static_cast<int>(i)) out += fmt::format("- {}\n", names.shown[i]);
  }
  if (!plan.companions.empty()) {
    out += fmt::format("\nTokenizer, templates and other files are those of {}.\n", names.shown[static_cast<std::size_t>(plan.donor)]);
  }
  out += proof_text(summary, paths);
  const std::string fenced = MarkdownPage::fenced(published_recipe(plan));
  out += "\n## Recipe\n\n" + fenced.substr(0, fenced.find('\n')) + "yaml" + fenced.substr(fenced.find('\n'));
  out +=
      "## Verify\n\n`crucible verify .` in this folder holds every byte against `crucible.json`, then computes the merge again from its "
      "inputs and compares (`--model ID=DIR` says where an input lies; `--hashes-only` needs none).\n";
  return out + license_text(names, agreed);
}

}  // namespace crucible
