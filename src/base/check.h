// CHECK: our own bugs. Aborts with the place and the values; never used for what a user can cause.
#pragma once

#include <fmt/format.h>

namespace crucible {

[[noreturn]] void check_failed(const char* file, int line, const char* condition, const std::string& details);

}  // namespace crucible

#define CHECK(condition, ...)                                                                  \
  do {                                                                                         \
    if (!(condition)) [[unlikely]]                                                             \
      ::crucible::check_failed(__FILE__, __LINE__, #condition, ::fmt::format("" __VA_ARGS__)); \
  } while (false)

#ifdef NDEBUG
#define DCHECK(condition, ...) static_cast<void>(0)
#else
#define DCHECK(condition, ...) CHECK(condition, __VA_ARGS__)
#endif
