// Models made of several networks, each in a folder of its own within the model's.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace crucible {

// A folder with weights of its own, of a model that is made of several: "unet" of a pipeline, "2_Dense" of a sentence-transformers model.
// Its tensors are known as FOLDER/NAME; in its files they have their names alone.
struct ModelPart {
  std::string folder;       // relative to the model's folder; empty = that folder itself
  std::string config_text;  // its config.json verbatim; empty when there is none
};

// Index of the part that a tensor belongs to, by its name; 0, the model's own folder, where no part's folder begins the name.
std::size_t part_of(const std::vector<ModelPart>& parts, std::string_view tensor_name) noexcept;

// FOLDER/NAME without FOLDER/. A name that does not begin so stays as it is.
std::string_view name_in_folder(std::string_view name, std::string_view folder) noexcept;
// FOLDER/NAME; NAME where the folder is empty.
std::string name_below(std::string_view folder, std::string_view name);

}  // namespace crucible
