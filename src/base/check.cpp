#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace crucible {

void check_failed(const char* file, int line, const char* condition, const std::string& details) {
  std::fprintf(stderr, "crucible: internal error at %s:%d: %s is false%s%s\nPlease report this with the recipe that caused it.\n", file,
               line, condition, details.empty() ? "" : ": ", details.c_str());
  std::fflush(stderr);
  std::abort();
}

}  // namespace crucible
