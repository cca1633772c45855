// What a model card may say about the inputs: who they are on the Hub, and what their own cards agree about.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "plan/plan.h"

namespace crucible {

// The Hub id of an input, where something proves it: it was found in the Hub cache, the user gave a folder for an id (--model), or the
// folder is named like a model that its config.json or its README names as itself. Empty otherwise.
std::string find_hub_id(const Plan& plan, const PlanInput& input);

// The front matter of a README.md, of which only these keys are read. Lists of one are the same as their element.
struct CardFacts {
  std::string license, license_name, license_link;
  std::string pipeline_tag;
  std::vector<std::string> languages;  // sorted
};
// Empty when the text has no front matter or it is no YAML.
std::optional<CardFacts> parse_card(std::string_view readme);
// Of a model folder; empty without a README.md.
std::optional<CardFacts> read_card(const std::string& folder);

}  // namespace crucible
