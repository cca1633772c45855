// Models made of several networks, each in a folder of its own. The documents of the model say which folders those are:
//
//   model_index.json, of diffusers: {"_class_name": "...", "unet": ["diffusers", "UNet2DConditionModel"], "safety_checker": [null, null]}
//
//   modules.json, of sentence-transformers: [{"path": ""}, {"path": "1_Pooling"}, {"path": "2_Dense"}]
#pragma once

#include <string>
#include <vector>

#include "crucible/error.h"

namespace crucible {

struct PartList {
  std::vector<std::string> folders;  // relative, sorted, none twice; the model's own folder is not among them
  bool is_pipeline = false;          // there is a model_index.json
  bool lists_root = false;           // modules.json names the model's own folder
};

// A document that cannot be read, and a folder in it that is no plain relative path or lies in another listed folder, are errors with the
// document's name. Whether the folders exist is not looked at.
PartList list_parts(const std::string& folder, Diagnostics& diagnostics);

}  // namespace crucible
