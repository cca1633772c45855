// What a file is, by its first bytes, when it is not what its name says.
#pragma once

#include <string>
#include <string_view>

namespace crucible {

inline constexpr std::size_t kSniffBytes = 512;

// "a Git LFS pointer, not the file itself (run `git lfs pull`)"; empty when the bytes tell nothing. `first_bytes`: up to kSniffBytes.
std::string sniff_file(std::string_view first_bytes);

}  // namespace crucible
