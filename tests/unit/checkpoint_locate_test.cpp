// Where a recipe's model is found: folders, mappings, the Hub cache; and what is said when it is not.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <optional>

#include "checkpoint/hub_cache.h"
#include "checkpoint/locate.h"
#include "support/tiny_model.h"

namespace crucible {
namespace {

namespace fs = std::filesystem;

const std::string kCommit = "0123456789abcdef0123456789abcdef01234567";

// Every variable that matters is set or cleared, and the working directory is a folder of its own.
class LocateTest : public ::testing::Test {
 protected:
  LocateTest() : before_(fs::current_path()) {
    for (const char* name : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "HOME"}) {
      const char* value = std::getenv(name);
      saved_[name] = value == nullptr ? std::optional<std::string>{} : std::string(value);
      ::unsetenv(name);
    }
    fs::create_directories(t_ / "cwd");
    fs::create_directories(t_ / "recipes");
    fs::current_path(t_ / "cwd");
    set("HOME", t_ / "home");
    set("HF_HUB_CACHE", t_ / "hub");
    options_.recipe_folder = t_ / "recipes";
  }
  ~LocateTest() override {
    fs::current_path(before_);
    for (const auto& [name, value] : saved_) {
      if (value) ::setenv(name.c_str(), value->c_str(), 1);
      if (!value) ::unsetenv(name.c_str());
    }
  }

  static void set(const char* name, const std::string& value) { ::setenv(name, value.c_str(), 1); }
  std::string repository() const { return t_ / "hub/models--org--name"; }

  // A snapshot as the Hub library lays it out, with links into blobs.
  void write_snapshot() {
    write_text(repository() + "/refs/main", kCommit + "\n");
    write_text(repository() + "/blobs/b1", "weights");
    write_text(repository() + "/blobs/b2", "{}");
    const std::string snapshot = repository() + "/snapshots/" + kCommit;
    fs::create_directories(snapshot);
    fs::create_symlink("../../blobs/b1", snapshot + "/model.safetensors");
    fs::create_symlink("../../blobs/b2", snapshot + "/config.json");
  }

  std::string locate(const std::string& path, const std::string& revision = {}) {
    diagnostics_ = {};
    const auto found = locate_model(path, revision, {"r.yml", 3, 5}, options_, diagnostics_);
    EXPECT_EQ(found.has_value(), !diagnostics_.has_errors());
    return found ? *found : render_diagnostics(diagnostics_);
  }
  void expect_says(const std::string& text, const std::string& part) { EXPECT_NE(text.find(part), std::string::npos) << text; }

  TempFolder t_;
  LocateOptions options_;
  Diagnostics diagnostics_;

 private:
  fs::path before_;
  std::map<std::string, std::optional<std::string>> saved_;
};

TEST_F(LocateTest, AbsolutePath) {
  fs::create_directory(t_ / "m");
  EXPECT_EQ(locate(t_ / "m"), t_ / "m");
  expect_says(locate(t_ / "absent"), "r.yml:3:5: error: model \"" + (t_ / "absent") + "\" not found; looked for " + (t_ / "absent"));
}

TEST_F(LocateTest, HomePath) {
  fs::create_directories(t_ / "home/m");
  EXPECT_EQ(locate("~/m"), t_ / "home/m");
  expect_says(locate("~/absent"), t_ / "home/absent");
}

TEST_F(LocateTest, BesideTheRecipeOrInTheWorkingDirectory) {
  fs::create_directories(t_ / "recipes/a");
  fs::create_directories(t_ / "cwd/org/b");
  EXPECT_EQ(locate("a"), t_ / "recipes/a");
  EXPECT_EQ(locate("./a"), t_ / "recipes/./a");
  EXPECT_EQ(locate("org/b"), "org/b");
  EXPECT_EQ(locate("../recipes/a"), t_ / "recipes/../recipes/a");
}

TEST_F(LocateTest, TwoFoldersAreAmbiguous) {
  fs::create_directories(t_ / "recipes/a");
  fs::create_directories(t_ / "cwd/a");
  const std::string text = locate("a");
  expect_says(text, "ambiguous");
  expect_says(text, t_ / "recipes/a");
  expect_says(text, t_ / "cwd/a");
  fs::remove(t_ / "cwd/a");
  fs::create_symlink(t_ / "recipes/a", t_ / "cwd/a");
  EXPECT_EQ(locate("a"), t_ / "recipes/a");
}

TEST_F(LocateTest, OneWeightFile) {
  write_text(t_ / "recipes/a.safetensors", "x");
  EXPECT_EQ(locate("a.safetensors"), t_ / "recipes/a.safetensors");
}

TEST_F(LocateTest, AMappingWins) {
  fs::create_directories(t_ / "recipes/org/name");
  fs::create_directories(t_ / "elsewhere");
  fs::create_directories(t_ / "v2");
  options_.model_dirs = {{"org/name", t_ / "elsewhere"}, {"org/name@v2", t_ / "v2"}};
  EXPECT_EQ(locate("org/name"), t_ / "elsewhere");
  EXPECT_EQ(locate("org/name", "v2"), t_ / "v2");
  EXPECT_EQ(locate("org/name", "v3"), t_ / "elsewhere");
  options_.model_dirs = {{"org/name", t_ / "absent"}};
  expect_says(locate("org/name"), "does not exist");
}

TEST_F(LocateTest, ARevisionOfAFolderIsNoticed) {
  fs::create_directories(t_ / "recipes/a");
  EXPECT_EQ(locate("a", "v1"), t_ / "recipes/a");
  EXPECT_EQ(diagnostics_.items().size(), 1u);
}

TEST_F(LocateTest, NothingFoundNamesEveryPlace) {
  const std::string text = locate("org/name", "v1");
  for (const std::string& part : {t_ / "recipes/org/name", t_ / "cwd/org/name", repository(), std::string("--model org/name@v1=DIR"),
                                  std::string("huggingface-cli download org/name --revision v1")}) {
    expect_says(text, part);
  }
  expect_says(locate("a/b/c"), "no Hub id");
  expect_says(locate(""), "empty");
  EXPECT_EQ(locate("./x").find("huggingface-cli"), std::string::npos);
}

TEST_F(LocateTest, FindsASnapshot) {
  write_snapshot();
  const std::string snapshot = repository() + "/snapshots/" + kCommit;
  EXPECT_EQ(locate("org/name"), snapshot);
  EXPECT_EQ(locate("org/name", "main"), snapshot);
  EXPECT_EQ(locate("org/name", kCommit), snapshot);
  write_text(repository() + "/refs/refs/pr/1", kCommit);
  EXPECT_EQ(locate("org/name", "refs/pr/1"), snapshot);
}

TEST_F(LocateTest, TheRevisionMustBeThere) {
  write_snapshot();
  expect_says(locate("org/name", "v9"), "revision \"v9\" is not there; it has the commits " + kCommit);
  expect_says(locate("org/name", "../../x"), "is no revision");
  expect_says(locate("org/name", std::string(40, 'a')), "is not there");
  write_text(repository() + "/refs/bad", "nonsense");
  expect_says(locate("org/name", "bad"), "holds no commit id");
}

TEST_F(LocateTest, DanglingLinksAreIncomplete) {
  write_snapshot();
  fs::remove(repository() + "/blobs/b1");
  expect_says(locate("org/name"), "is incomplete: a link leads to files that do not exist: model.safetensors");
}

TEST_F(LocateTest, MissingShardsAreIncomplete) {
  write_snapshot();
  const std::string snapshot = repository() + "/snapshots/" + kCommit;
  fs::remove(snapshot + "/model.safetensors");
  expect_says(locate("org/name"), "the weights are missing");
  write_text(repository() + "/blobs/b1.12345678.incomplete", "");
  expect_says(locate("org/name"), "a download was interrupted");
  write_text(snapshot + "/model.safetensors.index.json",
             R"({"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"}})");
  write_text(snapshot + "/model-00001-of-00002.safetensors", "x");
  expect_says(locate("org/name"), "missing: model-00002-of-00002.safetensors");
}

TEST_F(LocateTest, TheCacheFolderFollowsTheEnvironment) {
  EXPECT_EQ(hub_cache_folder(), t_ / "hub");
  ::unsetenv("HF_HUB_CACHE");
  EXPECT_EQ(hub_cache_folder(), t_ / "home/.cache/huggingface/hub");
  set("XDG_CACHE_HOME", "/xdg");
  EXPECT_EQ(hub_cache_folder(), "/xdg/huggingface/hub");
  set("HF_HOME", "~/hf");
  EXPECT_EQ(hub_cache_folder(), t_ / "home/hf/hub");
  set("HUGGINGFACE_HUB_CACHE", "$HOME/legacy");
  EXPECT_EQ(hub_cache_folder(), t_ / "home/legacy");
  set("HF_HUB_CACHE", "${HOME}/new/$UNSET_VARIABLE_X");
  EXPECT_EQ(hub_cache_folder(), (t_ / "home/new/") + "$UNSET_VARIABLE_X");
}

TEST(HubIdTest, KnowsTheRules) {
  for (const char* good : {"gpt2", "org/name", "Org_1/na.me-2"}) EXPECT_TRUE(is_hub_id(good)) << good;
  for (const char* bad : {"", "/", "org/", "/name", "a/b/c", "a--b", "a..b", "-a", "a.", "org/x.git", "a b", "ä", "a\\b"})
    EXPECT_FALSE(is_hub_id(bad)) << bad;
  EXPECT_FALSE(is_hub_id(std::string(97, 'a')));
}

}  // namespace
}  // namespace crucible
