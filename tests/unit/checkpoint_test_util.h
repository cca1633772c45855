// Opens folders and looks at what was said, for the checkpoint tests.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "crucible/checkpoint.h"
#include "crucible/error.h"

namespace crucible::checkpoint_test {

struct Opened {
  Checkpoint checkpoint;
  std::string text;
  int errors;
};

inline Opened open(const std::string& path) {
  Diagnostics diagnostics;
  Checkpoint checkpoint = Checkpoint::open(path, diagnostics);
  if (diagnostics.has_errors()) {
    EXPECT_TRUE(checkpoint.tensors().empty());
  }
  return {std::move(checkpoint), render_diagnostics(diagnostics), diagnostics.error_count()};
}

inline void expect_error(const std::string& path, const std::string& part) {
  const Opened o = open(path);
  EXPECT_GT(o.errors, 0);
  EXPECT_NE(o.text.find(part), std::string::npos) << o.text;
}

inline void expect_notice(const std::string& path, const std::string& part) {
  const Opened o = open(path);
  EXPECT_EQ(o.errors, 0) << o.text;
  EXPECT_NE(o.text.find(part), std::string::npos) << o.text;
}

}  // namespace crucible::checkpoint_test
