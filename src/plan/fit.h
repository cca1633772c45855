// Does a model fit together: its tensors, its config.json, its tokenizer?
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace crucible {

struct Plan;

struct Fit {
  std::int64_t checks = 0;
  std::vector<std::string> faults;
  std::vector<std::string> notices;
};

// The output of a plan, with the tokenizer files of a folder (empty = not looked at): layers without gaps and as many as config.json says,
// rows of the embedding and vocab_size, ids of the tokenizer, hidden size, tying. What an input has as well is a notice at most: such
// models are in the world and load. What is right in no input is not judged. With --allow-missing everything is a notice.
Fit check_fit(const Plan& plan, const std::string& tokenizer_folder);

}  // namespace crucible
