// Sizes as people write them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace crucible {

// Bytes of "500M", "5G", "5GB" (powers of ten), "2GiB", "2Gi" (powers of two), plain digits, or mergekit's "5B" (10^9 bytes).
// A fraction is allowed before a unit ("1.5G"). Empty when the text is anything else, negative, or does not fit.
std::optional<std::int64_t> parse_size(std::string_view text);

// "1.9 GB", "512 B": powers of ten, two significant digits after the point at most.
std::string render_bytes(std::int64_t bytes);

// "1 tensor", "2 tensors"
std::string render_count(std::int64_t count, std::string_view singular, std::string_view plural = {});

}  // namespace crucible
