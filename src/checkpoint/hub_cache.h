// The local Hugging Face cache (formats.md section 8): where it is and what it holds. Reads folders only, never the network.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace crucible {

// The cache folder that the environment names: HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE, HF_HOME, XDG_CACHE_HOME, else ~/.cache/huggingface/hub.
std::string hub_cache_folder();

// "org/name" or "name", as the Hub allows it.
bool is_hub_id(std::string_view text) noexcept;

// A snapshot looked up.
struct HubLookup {
  std::string folder;            // of the snapshot; empty = not usable
  std::string repository;        // folder that was looked at
  std::string problem;           // why not: "is not in the cache", "the download is incomplete: ..."
  bool found_something = false;  // the cache knows the model, but not (all of) this revision
};
HubLookup find_in_hub_cache(const std::string& cache, const std::string& id, const std::string& revision);

// "~" at the front and $VAR or ${VAR} replaced from the environment.
std::string expand_path(std::string_view path);

}  // namespace crucible
