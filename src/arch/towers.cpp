#include "arch/towers.h"

#include <algorithm>
#include <array>

namespace crucible {
namespace {

struct TowerWord {
  std::string_view word;
  Tower tower;
  bool whole = false;  // the whole part, not a piece of it
};

// The first that is found in any part decides.
constexpr std::array kWords = {
    TowerWord{"projector", Tower::kProjector},
    TowerWord{"projection_layer", Tower::kProjector},
    TowerWord{"img_projection", Tower::kProjector},
    TowerWord{"vision_proj", Tower::kProjector},
    TowerWord{"visual_proj", Tower::kProjector},
    TowerWord{"audio_proj", Tower::kProjector},
    TowerWord{"merger", Tower::kProjector},
    TowerWord{"connector", Tower::kProjector},
    TowerWord{"aligner", Tower::kProjector},
    TowerWord{"qformer", Tower::kProjector},
    TowerWord{"q_former", Tower::kProjector},
    TowerWord{"resampler", Tower::kProjector},
    TowerWord{"abstractor", Tower::kProjector},
    TowerWord{"perceiver", Tower::kProjector},
    TowerWord{"vision_adapter", Tower::kProjector},
    TowerWord{"vision_language_adapter", Tower::kProjector},
    TowerWord{"embed_vision", Tower::kProjector},
    TowerWord{"embed_audio", Tower::kProjector},
    TowerWord{"mlp1", Tower::kProjector, true},
    TowerWord{"vision", Tower::kVision},
    TowerWord{"visual", Tower::kVision},
    TowerWord{"image", Tower::kVision},
    TowerWord{"siglip", Tower::kVision},
    TowerWord{"vqmodel", Tower::kVision},
    TowerWord{"vit", Tower::kVision, true},
    TowerWord{"clip", Tower::kVision, true},
    TowerWord{"audio", Tower::kAudio},
    TowerWord{"speech", Tower::kAudio},
    TowerWord{"whisper", Tower::kAudio},
    TowerWord{"wav2vec2", Tower::kAudio},
    TowerWord{"sound", Tower::kAudio},
};

}  // namespace

std::string_view to_string(Tower tower) noexcept {
  switch (tower) {
    case Tower::kNone: return "";
    case Tower::kVision: return "vision";
    case Tower::kAudio: return "audio";
    case Tower::kProjector: return "projector";
  }
  return "";
}

Tower tower_of(std::string_view name) noexcept {
  for (const TowerWord& w : kWords) {
    for (std::size_t at = name.find(w.word); at != std::string_view::npos; at = name.find(w.word, at + 1)) {
      const std::size_t end = at + w.word.size();
      const bool whole = (at == 0 || name[at - 1] == '.') && (end == name.size() || name[end] == '.');
      if (whole || !w.whole) return w.tower;
    }
  }
  return Tower::kNone;
}

std::vector<std::string_view> parts_of(std::string_view name) {
  std::vector<std::string_view> parts;
  for (;;) {
    const std::size_t dot = name.find('.');
    parts.push_back(name.substr(0, dot));
    if (dot == std::string_view::npos) return parts;
    name.remove_prefix(dot + 1);
  }
}

}  // namespace crucible
