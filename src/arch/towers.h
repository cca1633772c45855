// Parts of a model beside its text network, as far as words in names tell.
#pragma once

#include <string_view>
#include <vector>

namespace crucible {

enum class Tower { kNone, kVision, kAudio, kProjector };

// "vision", "audio", "projector"; empty for kNone.
std::string_view to_string(Tower tower) noexcept;

// Of a tensor's name or a path in config.json. What connects a tower with the text network is a projector.
Tower tower_of(std::string_view dotted_name) noexcept;

// The parts of a dotted name, in order.
std::vector<std::string_view> parts_of(std::string_view dotted_name);

}  // namespace crucible
