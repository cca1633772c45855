// What is published names no absolute path, and everything else of a text stays as it is.
#include "report/public_names.h"

#include <gtest/gtest.h>

namespace crucible {
namespace {

TEST(PublicNames, KnownFoldersGetTheirLastComponent) {
  const PublicNames names({"/data/models/a", "/data/models/b/", "~/c", "./d", "org/e"});
  EXPECT_EQ(names.publish("/data/models/a"), "a");
  EXPECT_EQ(names.publish("model: \"/data/models/b\""), "model: \"b\"");
  EXPECT_EQ(names.publish("[/data/models/a, ~/c, ./d, org/e]"), "[a, c, ./d, org/e]");
  EXPECT_EQ(names.publish("/data/models/a/config.json: no such file"), "a/config.json: no such file");
  EXPECT_EQ(names.publish("/data/models/a@main+/data/models/b"), "a@main+b");
  EXPECT_EQ(names.publish("of /data/models/a."), "of a.");
}

TEST(PublicNames, EqualNamesAreToldApart) {
  const PublicNames names({"/x/run1/last", "/x/run2/last", "/y/only", "other"});
  EXPECT_EQ(names.publish("/x/run1/last /x/run2/last /y/only"), "run1/last run2/last only");
  const PublicNames taken({"/x/other", "other", "/"});
  EXPECT_EQ(taken.publish("/x/other other"), "x/other other");
  const PublicNames longer({"/x/a", "/x/a-2", "/x/a.b"});
  EXPECT_EQ(longer.publish("/x/a-2 /x/a /x/a.b"), "a-2 a a.b");
}

TEST(PublicNames, UnknownPathsAreCutToo) {
  const PublicNames names({});
  EXPECT_EQ(names.publish("# see /home/me/notes.txt, please"), "# see notes.txt, please");
  EXPECT_EQ(names.publish("~/secret/x"), "x");
  EXPECT_EQ(names.publish("('/a/b/')"), "('b')");
}

TEST(PublicNames, WhatIsNoAbsolutePathStays) {
  const PublicNames names({"/data/a"});
  for (const char* text : {"a/b", "./a/b", "../x/y", "https://host/a/b", "1/2 and x / y", "times ||d||_1 / ||e||_1", "/", "~", "~5",
                           "/single", "and/or/not", "a\n b: /\n"}) {
    EXPECT_EQ(names.publish(text), text);
  }
}

}  // namespace
}  // namespace crucible
