// The output folder: complete or not there, the old model never lost, every failing system call survived.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "checkpoint/companions.h"
#include "io/output_folder.h"
#include "support/faulty_file.h"
#include "support/tiny_model.h"

namespace crucible {
namespace {

namespace fs = std::filesystem;

using Content = std::map<std::string, std::string>;

Content content_of(const std::string& folder) {
  Content out;
  if (!fs::exists(folder)) return out;
  for (const auto& e : fs::recursive_directory_iterator(folder)) {
    if (e.is_regular_file()) out[fs::relative(e.path(), folder).string()] = read_text(e.path().string());
  }
  return out;
}

std::set<std::string> entries_of(const std::string& folder) {
  std::set<std::string> out;
  for (const auto& e : fs::directory_iterator(folder)) out.insert(e.path().filename().string());
  return out;
}

std::string message_of(const std::function<void()>& action, ErrorCode code) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return {};
}

void write_new_model(OutputFolder& out) {
  auto weights = out.create("model.safetensors", 3);
  weights->write_at(0, "new", 3);
  weights->sync_and_close();
  out.add_small_file("config.json", "new config");
}

const Content kNewModel = {{"model.safetensors", "new"}, {"config.json", "new config"}};

void write_old_model(const std::string& folder) {
  write_text(folder + "/model-00001-of-00002.safetensors", "old 1");
  write_text(folder + "/model-00002-of-00002.safetensors", "old 2");
  write_text(folder + "/model.safetensors.index.json", "old index");
  write_text(folder + "/config.json", "old config");
  write_text(folder + "/notes.txt", "mine");
  write_text(folder + "/runs/log", "log");
}

Content merged_content() {
  Content c = kNewModel;
  c["notes.txt"] = "mine";
  c["runs/log"] = "log";
  return c;
}

TEST(OutputFolderTest, ANewFolderAppearsAtCommit) {
  const TempFolder t;
  const std::string target = t / "out";
  {
    OutputFolder out(target, Existing::kRefuse, is_model_file_name);
    write_new_model(out);
    EXPECT_FALSE(path_exists(target));
    out.commit();
  }
  EXPECT_EQ(content_of(target), kNewModel);
  EXPECT_EQ(entries_of(t.path()), std::set<std::string>{"out"});
}

TEST(OutputFolderTest, WithoutCommitNothingRemains) {
  const TempFolder t;
  {
    OutputFolder out(t / "a/b/out", Existing::kRefuse, nullptr);
    write_new_model(out);
    EXPECT_TRUE(is_folder(t / "a/b"));
  }
  EXPECT_TRUE(entries_of(t.path()).empty());
}

TEST(OutputFolderTest, ParentsThatOthersUseStay) {
  const TempFolder t;
  {
    OutputFolder out(t / "a/b/out", Existing::kRefuse, nullptr);
    write_text(t / "a/other", "x");
  }
  EXPECT_EQ(entries_of(t.path()), std::set<std::string>{"a"});
  EXPECT_EQ(entries_of(t / "a"), std::set<std::string>{"other"});
}

TEST(OutputFolderTest, MakesParents) {
  const TempFolder t;
  OutputFolder out(t / "a/b/out/", Existing::kRefuse, nullptr);
  write_new_model(out);
  out.commit();
  EXPECT_EQ(content_of(t / "a/b/out"), kNewModel);
}

TEST(OutputFolderTest, AnEmptyFolderIsTaken) {
  const TempFolder t;
  fs::create_directory(t / "out");
  fs::permissions(t / "out", fs::perms::owner_all | fs::perms::group_read);
  OutputFolder out(t / "out", Existing::kRefuse, nullptr);
  write_new_model(out);
  out.commit();
  EXPECT_EQ(content_of(t / "out"), kNewModel);
  EXPECT_EQ(fs::status(t / "out").permissions(), fs::perms::owner_all | fs::perms::group_read);
}

TEST(OutputFolderTest, RefusesWhatItMayNotTouch) {
  const TempFolder t;
  write_old_model(t / "full");
  write_text(t / "file", "x");
  fs::create_symlink("nowhere", t / "dangling");
  const auto open = [&](const std::string& name, Existing existing) {
    return [&, name, existing] { OutputFolder(name.empty() ? name : t / name, existing, is_model_file_name); };
  };
  EXPECT_NE(message_of(open("full", Existing::kRefuse), ErrorCode::kInput).find("exists and is not empty"), std::string::npos);
  EXPECT_NE(message_of(open("file", Existing::kReplace), ErrorCode::kInput).find("is not a folder"), std::string::npos);
  EXPECT_NE(message_of(open("file/out", Existing::kReplace), ErrorCode::kInput).find("Not a directory"), std::string::npos);
  EXPECT_NE(message_of(open("dangling", Existing::kReplace), ErrorCode::kInput).find("link"), std::string::npos);
  EXPECT_NE(message_of(open("", Existing::kReplace), ErrorCode::kInput).find("no path"), std::string::npos);
  EXPECT_EQ(entries_of(t.path()), (std::set<std::string>{"full", "file", "dangling"}));
}

TEST(OutputFolderTest, ReplacesTheModelAndKeepsTheRest) {
  const TempFolder t;
  write_old_model(t / "out");
  OutputFolder out(t / "out", Existing::kReplace, is_model_file_name);
  write_new_model(out);
  EXPECT_EQ(content_of(t / "out").at("config.json"), "old config");
  out.commit();
  EXPECT_EQ(content_of(t / "out"), merged_content());
  EXPECT_EQ(entries_of(t.path()), std::set<std::string>{"out"});
}

TEST(OutputFolderTest, ReplacesWithoutAnExchange) {
  const TempFolder t;
  write_old_model(t / "out");
  const RestoredCalls restored;
  system_calls().exchange = [](const char*, const char*) {
    errno = EINVAL;
    return -1;
  };
  OutputFolder out(t / "out", Existing::kReplace, is_model_file_name);
  write_new_model(out);
  out.commit();
  EXPECT_EQ(content_of(t / "out"), merged_content());
  EXPECT_EQ(entries_of(t.path()), std::set<std::string>{"out"});
}

TEST(OutputFolderTest, WorksThroughALinkToTheFolder) {
  const TempFolder t;
  write_old_model(t / "real");
  fs::create_symlink("real", t / "out");
  OutputFolder out(t / "out", Existing::kReplace, is_model_file_name);
  write_new_model(out);
  out.commit();
  EXPECT_TRUE(fs::is_symlink(t / "out"));
  EXPECT_EQ(content_of(t / "real"), merged_content());
}

class InTheWorkingDirectory : public ::testing::Test {
 protected:
  InTheWorkingDirectory() : before_(fs::current_path()) {}
  ~InTheWorkingDirectory() override { fs::current_path(before_); }
  TempFolder t_;

 private:
  fs::path before_;
};

TEST_F(InTheWorkingDirectory, FilesAreMovedOneByOne) {
  write_old_model(t_ / "out");
  fs::current_path(t_ / "out");
  OutputFolder out(".", Existing::kReplace, is_model_file_name);
  EXPECT_EQ(fs::path(out.working_path()).parent_path().string(), t_ / "out");
  write_new_model(out);
  out.commit();
  EXPECT_EQ(content_of(t_ / "out"), merged_content());
  EXPECT_EQ(fs::current_path().string(), t_ / "out");
}

TEST_F(InTheWorkingDirectory, AFolderAboveItIsNotSwappedEither) {
  write_old_model(t_ / "out");
  fs::current_path(t_ / "out/runs");
  OutputFolder out("..", Existing::kReplace, is_model_file_name);
  write_new_model(out);
  out.commit();
  EXPECT_EQ(content_of(t_ / "out"), merged_content());
}

TEST_F(InTheWorkingDirectory, AnEmptyOneNeedsNoPermissionToReplace) {
  fs::create_directory(t_ / "out");
  fs::current_path(t_ / "out");
  {
    OutputFolder out(".", Existing::kRefuse, is_model_file_name);
    write_new_model(out);
  }
  EXPECT_TRUE(fs::is_empty(t_ / "out"));
  OutputFolder out(".", Existing::kRefuse, is_model_file_name);
  write_new_model(out);
  out.commit();
  EXPECT_EQ(content_of(t_ / "out"), kNewModel);
}

TEST(OutputFolderTest, AMountPointIsFilledInPlace) {
  const TempFolder t;
  fs::create_directory(t / "out");
  if (::mount("tmpfs", (t / "out").c_str(), "tmpfs", 0, "size=64k") != 0) GTEST_SKIP() << "may not mount here";
  write_old_model(t / "out");
  std::string no_space;
  {
    OutputFolder out(t / "out", Existing::kReplace, is_model_file_name);
    no_space = message_of([&] { out.check_space(1 << 20); }, ErrorCode::kNoSpace);
    message_of([&] { out.create("big", 1 << 20); }, ErrorCode::kNoSpace);
    write_new_model(out);
    out.commit();
  }
  const Content after = content_of(t / "out");
  ::umount((t / "out").c_str());
  EXPECT_EQ(after, merged_content());
  EXPECT_NE(no_space.find("(1048576 bytes)"), std::string::npos) << no_space;
}

TEST(OutputFolderTest, AFolderOfTheModelFilesNameIsAnError) {
  const TempFolder t;
  write_text(t / "out/config.json/x", "x");
  OutputFolder out(t / "out", Existing::kReplace, is_model_file_name);
  write_new_model(out);
  EXPECT_NE(message_of([&] { out.commit(); }, ErrorCode::kInput).find("config.json: is a folder"), std::string::npos);
  EXPECT_EQ(content_of(t / "out"), (Content{{"config.json/x", "x"}}));
}

TEST(OutputFolderTest, ATargetThatFillsUpMeanwhileIsNotOverwritten) {
  const TempFolder t;
  {
    OutputFolder out(t / "out", Existing::kRefuse, is_model_file_name);
    write_new_model(out);
    write_text(t / "out/config.json", "theirs");
    EXPECT_NE(message_of([&] { out.commit(); }, ErrorCode::kInput).find("another program"), std::string::npos);
  }
  EXPECT_EQ(content_of(t / "out"), (Content{{"config.json", "theirs"}}));
  EXPECT_EQ(entries_of(t.path()), std::set<std::string>{"out"});
}

TEST(OutputFolderTest, ProtectsInputs) {
  const TempFolder t;
  write_old_model(t / "model");
  fs::create_directories(t / "models/a");
  fs::create_symlink("model", t / "link");
  const auto message = [&](const std::string& target, const std::string& input) {
    const OutputFolder out(t / target, Existing::kReplace, is_model_file_name);
    return message_of([&] { out.protect(t / input); }, ErrorCode::kInput);
  };
  EXPECT_NE(message("model", "model").find("is the input model"), std::string::npos);
  EXPECT_NE(message("link", "model").find("is the input model"), std::string::npos);
  EXPECT_NE(message("model", "link").find("is the input model"), std::string::npos);
  EXPECT_NE(message("model/merged", "model").find("lies inside"), std::string::npos);
  EXPECT_NE(message("models", "models/a").find("holds the input"), std::string::npos);
  EXPECT_NE(message("model", "model/config.json").find("holds the input"), std::string::npos);
  const OutputFolder fine(t / "models/b", Existing::kRefuse, nullptr);
  fine.protect(t / "models/a");
  fine.protect(t / "model/config.json");
  fine.protect(t / "absent");
}

TEST(OutputFolderTest, CopiesFilesThroughLinks) {
  const TempFolder t;
  write_text(t / "a", std::string(5'000'000, 'x') + "end");
  fs::create_symlink("a", t / "link");
  OutputFolder out(t / "out", Existing::kRefuse, nullptr);
  out.copy_file(t / "link", "b");
  out.commit();
  EXPECT_FALSE(fs::is_symlink(t / "out/b"));
  EXPECT_EQ(read_text(t / "out/b"), read_text(t / "a"));
}

TEST(OutputFolderTest, LongNamesWork) {
  const TempFolder t;
  const std::string name(255, 'n');
  OutputFolder out(t / name, Existing::kRefuse, nullptr);
  write_new_model(out);
  out.commit();
  EXPECT_EQ(content_of(t / name), kNewModel);
}

TEST(OutputFolderTest, AbandonRemovesEverythingUncommitted) {
  const TempFolder t;
  OutputFolder done(t / "done", Existing::kRefuse, nullptr);
  write_new_model(done);
  done.commit();
  OutputFolder a(t / "x/a", Existing::kRefuse, nullptr);
  OutputFolder b(t / "b", Existing::kRefuse, nullptr);
  write_new_model(b);
  abandon_all_outputs();
  EXPECT_EQ(entries_of(t.path()), std::set<std::string>{"done"});
  EXPECT_EQ(content_of(t / "done"), kNewModel);
  EXPECT_THROW(b.commit(), Error);
}

// Where the old content is: the target itself, or the folder that an error left beside or in it.
bool old_model_is_complete(const Content& everything) {
  for (const char* name : {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"}) {
    const bool there = std::any_of(everything.begin(), everything.end(),
                                   [&](const auto& e) { return fs::path(e.first).filename() == name && e.second.starts_with("old"); });
    if (!there) return false;
  }
  return true;
}

void fail_every_call(bool inside, bool persistent, int error) {
  const fs::path before = fs::current_path();
  for (int n = 1; n < 200; ++n) {
    const TempFolder t;
    const std::string target = t / "out";
    write_old_model(target);
    if (inside) fs::current_path(target);
    bool failed = false;
    int calls = 0;
    {
      const FaultySystem faults(n, error, persistent);
      try {
        OutputFolder out(target, Existing::kReplace, is_model_file_name);
        write_new_model(out);
        out.commit();
      } catch (const Error&) {
        failed = true;
      }
      calls = faults.calls();
    }
    fs::current_path(before);
    const Content all = content_of(t.path());
    const Content now = content_of(target);
    const bool is_new = now.contains("model.safetensors") && now.at("model.safetensors") == "new" && now.contains("config.json") &&
                        now.at("config.json") == "new config" && !now.contains("model.safetensors.index.json");
    EXPECT_TRUE(is_new || old_model_is_complete(all)) << "call " << n;
    EXPECT_TRUE(failed || is_new) << "call " << n << " failed silently";
    const bool mine_is_safe =
        std::any_of(all.begin(), all.end(), [](const auto& e) { return e.first.ends_with("notes.txt") && e.second == "mine"; });
    EXPECT_TRUE(mine_is_safe) << "call " << n;
    if (calls < n) {
      EXPECT_EQ(now, merged_content());
      EXPECT_GT(n, 10);
      return;
    }
  }
  FAIL() << "never ran through";
}

TEST(OutputFolderTest, NoFailingCallLosesTheOldModel) { fail_every_call(false, false, EIO); }
TEST(OutputFolderTest, NoFailingCallLosesTheOldModelInPlace) { fail_every_call(true, false, EIO); }
TEST(OutputFolderTest, NoFailureForGoodLosesTheOldModel) { fail_every_call(false, true, ENOSPC); }
TEST(OutputFolderTest, NoFailureForGoodLosesTheOldModelInPlace) { fail_every_call(true, true, ENOSPC); }

}  // namespace
}  // namespace crucible
