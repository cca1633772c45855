// Numbers as the report shows them. Spaces inside them do not break.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

namespace crucible {

// "12,345,678"
std::string grouped(double count);
// Four significant digits: "0.8", "1.235e-05", "12,350,000". "not finite" where there is no number.
std::string compact(std::optional<double> value);
// Two numbers to be compared, with equally many digits.
std::pair<std::string, std::string> compact_pair(std::optional<double> a, std::optional<double> b);
// A share as "79.98 %".
std::string percent(double share, int decimals = 2);
// A difference of shares in percentage points: "+0.012", "0".
std::string points(double difference);
// "1.9 GB", "-" without a number.
std::string bytes_text(std::optional<double> bytes);
// "0.42 s", "3 min 20 s", "2 h 5 min"
std::string duration_text(double seconds);
// "+1.32 σ"
std::string sigmas_text(double sigmas);
// Beyond: a contradiction.
inline constexpr double kLimitSigmas = 6;

}  // namespace crucible
