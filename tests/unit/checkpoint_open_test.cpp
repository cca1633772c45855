// Opening a model folder: which file wins, indices that lie (catalogue I), other formats.
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>

#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

#include "checkpoint/index.h"
#include "crucible/checkpoint.h"
#include "support/tiny_model.h"
#include "unit/checkpoint_test_util.h"

namespace crucible {
namespace {

namespace fs = std::filesystem;
using namespace checkpoint_test;

std::string one_tensor(const std::string& name, double value = 1) {
  return safetensors_bytes({make_tensor(name, DType::kF32, {1}, {value})});
}

std::string index_of(const std::string& map, const std::string& metadata = "\"metadata\":{},") {
  return "{" + metadata + "\"weight_map\":{" + map + "}}";
}

const std::string kIndexName = "model.safetensors.index.json";

TEST(CheckpointOpenTest, ReadsASingleFile) {
  const TempFolder t;
  write_llama(t / "m", 1, DType::kBF16);
  const Opened o = open(t / "m");
  EXPECT_EQ(o.text, "");
  EXPECT_EQ(o.checkpoint.path(), t / "m");
  ASSERT_EQ(o.checkpoint.files().size(), 1u);
  EXPECT_EQ(o.checkpoint.files()[0].name, "model.safetensors");
  EXPECT_EQ(o.checkpoint.files()[0].header_hash.size(), 32u);
  EXPECT_EQ(o.checkpoint.tensors().size(), 21u);
  EXPECT_EQ(o.checkpoint.config_text(), llama_config(DType::kBF16));
  EXPECT_EQ(o.checkpoint.companion_files(), std::vector<std::string>{"config.json"});
  EXPECT_EQ(o.checkpoint.find("model.norm.weight")->info.shape, Shape{8});
  EXPECT_EQ(o.checkpoint.find("absent"), nullptr);
  o.checkpoint.check_unchanged();
}

TEST(CheckpointOpenTest, ShardsHoldTheSameTensors) {
  const TempFolder t;
  write_llama(t / "one", 1);
  write_llama(t / "many", 1, DType::kF32, 5);
  const Opened one = open(t / "one");
  const Opened many = open(t / "many");
  EXPECT_EQ(many.text, "");
  EXPECT_EQ(many.checkpoint.files().size(), 5u);
  ASSERT_EQ(many.checkpoint.tensors().size(), one.checkpoint.tensors().size());
  for (const StoredTensor& tensor : one.checkpoint.tensors()) {
    EXPECT_EQ(tensor_bytes(one.checkpoint, tensor.info.name), tensor_bytes(many.checkpoint, tensor.info.name));
  }
}

TEST(CheckpointOpenTest, ATrailingSlashChangesNothing) {
  const TempFolder t;
  write_llama(t / "m", 1);
  EXPECT_EQ(open(t / "m//").text, "");
}

TEST(CheckpointOpenTest, OneWeightFileIsACheckpoint) {
  const TempFolder t;
  write_llama(t / "m", 1);
  const Opened o = open(t / "m/model.safetensors");
  EXPECT_EQ(o.errors, 0);
  EXPECT_TRUE(o.checkpoint.config_text().empty());
  EXPECT_EQ(o.checkpoint.tensors().size(), 21u);
  write_llama(t / "s", 1, DType::kF32, 2);
  expect_notice(t / "s/model-00001-of-00002.safetensors", "one shard");
  expect_error(t / "m/config.json", "only .safetensors files");
  expect_error(t / "absent", "no such file or folder");
}

TEST(CheckpointOpenTest, AChangedFileIsNoticed) {
  const TempFolder t;
  write_llama(t / "m", 1);
  const Opened o = open(t / "m");
  fs::resize_file(t / "m/model.safetensors", 1000);
  try {
    o.checkpoint.check_unchanged();
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kDamaged);
  }
  EXPECT_THROW(tensor_bytes(o.checkpoint, o.checkpoint.tensors().back().info.name), Error);
}

TEST(CheckpointOpenTest, ADamagedFileNamesFileAndTensor) {
  const TempFolder t;
  write_text(t / "m/model.safetensors",
             safetensors_file(R"({"w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,20]}})", std::string(20, 'x')));
  expect_error(t / "m", (t / "m/model.safetensors") + ": error: tensor \"w\": shape [2, 3] of F32 needs 24 bytes, data_offsets give 20");
}

TEST(CheckpointOpenTest, AnEmptyModelIsAnError) {
  const TempFolder t;
  write_text(t / "m/model.safetensors", safetensors_file("{}"));
  expect_error(t / "m", "has no tensors");
  write_text(t / "i" + std::string("/") + kIndexName, index_of(""));
  expect_error(t / "i", "weight_map is empty");
}

// Which file wins.

TEST(WeightChoiceTest, ASingleFileBesideAConsistentIndex) {
  const TempFolder t;
  write_llama(t / "m", 1, DType::kF32, 2);
  write_text(t / "m/model.safetensors", one_tensor("stale"));
  const Opened o = open(t / "m");
  EXPECT_EQ(o.errors, 0) << o.text;
  EXPECT_EQ(o.checkpoint.files().size(), 2u);
  EXPECT_NE(o.text.find("the files of the index are used"), std::string::npos) << o.text;
}

TEST(WeightChoiceTest, ASingleFileBesideABrokenIndex) {
  const TempFolder t;
  for (const std::string& index : {index_of("\"a\":\"model-00001-of-00002.safetensors\""), std::string("{"), index_of("\"a\":\"../x\"")}) {
    write_text(t / "m" + std::string("/") + kIndexName, index);
    write_text(t / "m/model.safetensors", one_tensor("a"));
    const Opened o = open(t / "m");
    EXPECT_EQ(o.errors, 0) << o.text;
    EXPECT_EQ(o.checkpoint.tensors().size(), 1u);
    EXPECT_NE(o.text.find("model.safetensors is used"), std::string::npos) << o.text;
  }
}

TEST(WeightChoiceTest, AnIndexThatNamesTheSingleFile) {
  const TempFolder t;
  write_text(t / "m" + std::string("/") + kIndexName, index_of("\"a\":\"model.safetensors\""));
  write_text(t / "m/model.safetensors", one_tensor("a"));
  EXPECT_EQ(open(t / "m").text, "");
}

TEST(WeightChoiceTest, TheConfigMayNameTheFile) {
  const TempFolder t;
  write_text(t / "m/model.safetensors", one_tensor("a"));
  write_text(t / "m/model.fp16.safetensors", one_tensor("b"));
  write_text(t / "m/config.json", R"({"transformers_weights": "model.fp16.safetensors"})");
  EXPECT_NE(open(t / "m").checkpoint.find("b"), nullptr);
  write_text(t / "m/other.safetensors.index.json", index_of("\"a\":\"model.safetensors\""));
  write_text(t / "m/config.json", R"({"transformers_weights": "other.safetensors.index.json"})");
  EXPECT_NE(open(t / "m").checkpoint.find("a"), nullptr);
  write_text(t / "m/config.json", R"({"transformers_weights": "../model.safetensors"})");
  expect_error(t / "m", "leaves or repeats its folder");
  write_text(t / "m/config.json", R"({"transformers_weights": "x.bin"})");
  expect_error(t / "m", "only .safetensors files and their indices");
  write_text(t / "m/config.json", R"({"transformers_weights": "absent.safetensors"})");
  expect_error(t / "m", "absent.safetensors");
}

TEST(WeightChoiceTest, OneFileOfAnotherName) {
  const TempFolder t;
  write_text(t / "m/weights.safetensors", one_tensor("a"));
  write_text(t / "m/consolidated.safetensors", one_tensor("b"));
  expect_notice(t / "m", "weights.safetensors is taken");
  write_text(t / "m/more.safetensors", one_tensor("c"));
  expect_error(t / "m", "several weight files");
  write_text(t / "c/consolidated.safetensors", one_tensor("b"));
  expect_notice(t / "c", "consolidated.safetensors is taken");
  write_text(t / "s/model-00001-of-00002.safetensors", one_tensor("a"));
  expect_error(t / "s", "there are shards");
}

TEST(WeightChoiceTest, OtherFormatsAreNamed) {
  const TempFolder t;
  const auto folder = [&](const std::string& name, const std::string& file) {
    write_text(t / name + "/" + file, "x");
    return t / name;
  };
  expect_error(folder("bin", "pytorch_model.bin"), "PyTorch weights (pytorch_model.bin), which are not supported yet");
  expect_error(folder("gguf", "m.Q4_K.gguf"), "GGUF");
  expect_error(folder("lora", "adapter_model.safetensors"), "this is a LoRA adapter");
  expect_error(folder("lora2", "adapter_config.json"), "this is a LoRA adapter");
  expect_error(folder("pth", "consolidated.00.pth"), "PyTorch");
  expect_error(folder("h5", "tf_model.h5"), "TensorFlow");
  expect_error(folder("none", "training_args.bin"), "has no weights");
  expect_error(folder("lfs", "model.safetensors"), "has 1 byte");
}

TEST(WeightChoiceTest, LinksAreFollowedToRegularFilesOnly) {
  const TempFolder t;
  write_text(t / "elsewhere/w", one_tensor("a"));
  const auto linked = [&](const std::string& name, const std::string& to) {
    fs::create_directories(t / name);
    fs::create_symlink(to, t / name + "/model.safetensors");
    return t / name;
  };
  EXPECT_EQ(open(linked("outside", "../elsewhere/w")).text, "");
  expect_error(linked("folder", "../elsewhere"), "is a folder");
  expect_error(linked("dangling", "nothing"), "link to a file that does not exist");
  expect_error(linked("loop", "model.safetensors"), "cannot open");
  ASSERT_EQ(::mkfifo((t / "pipe").c_str(), 0600), 0);
  expect_error(linked("fifo", "../pipe"), "named pipe");
}

// The index.

class BadFileName : public ::testing::TestWithParam<const char*> {};

TEST_P(BadFileName, IsRefused) {
  EXPECT_NE(check_weight_file_name(GetParam()), "");
  const TempFolder t;
  std::string escaped;
  for (const char* c = GetParam(); *c != '\0'; ++c) escaped += *c == '\\' ? "\\\\" : *c == '\x1b' ? "\\u001b" : std::string(1, *c);
  write_text(t / kIndexName, index_of("\"a\":\"" + escaped + "\""));
  expect_error(t.path(), "weight_map names the file");
}

INSTANTIATE_TEST_SUITE_P(Names, BadFileName,
                         ::testing::Values("../x.safetensors", "/etc/passwd", "a\\..\\b", "C:x", "\\\\h\\s\\x", ".", "", "x/", "a//b",
                                           "a/../b", "./a", "a/./b", "x ", "x.", "a /b", "\x1b[31m", "x.bin/"));

TEST(IndexTest, NameRulesAtTheBounds) {
  EXPECT_EQ(check_weight_file_name(std::string(255, 'a')), "");
  EXPECT_NE(check_weight_file_name(std::string(256, 'a')), "");
  EXPECT_EQ(check_weight_file_name("sub/model.safetensors"), "");
  EXPECT_NE(check_weight_file_name("\xFF"), "");
  EXPECT_NE(check_weight_file_name(std::string("a\0b", 3)), "");
}

TEST(IndexTest, BadJsonIsAnError) {
  const TempFolder t;
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"{", "not valid JSON"},
      {"[]", "is a list"},
      {"1", "is not a JSON object"},
      {"{}", "has no weight_map"},
      {R"({"weight_map":[]})", "weight_map is a list"},
      {R"({"weight_map":1})", "weight_map is not an object"},
      {R"({"weight_map":{"a":1}})", "weight_map \"a\" is not a file name"},
      {R"({"weight_map":{"a":{}}})", "weight_map \"a\" is an object"},
      {R"({"weight_map":{"a":["m.safetensors"]}})", "weight_map \"a\" is a list"},
      {R"({"weight_map":{"a":"m.safetensors","\u0061":"m.safetensors"}})", "tensor \"a\" twice"},
      {R"({"weight_map":{},"weight_map":{}})", "stands there twice"},
      {R"({"weight_map":{"a":"m.bin"}})", "not a .safetensors file"},
      {std::string(200, '[') + std::string(200, ']'), "is a list"},
      {"{\"x\":" + std::string(200, '[') + std::string(200, ']') + "}", "deeper than 128"},
  };
  for (const auto& [text, part] : cases) {
    write_text(t / kIndexName, text);
    expect_error(t.path(), part);
  }
}

TEST(IndexTest, EveryDisagreementIsListedAtOnce) {
  const TempFolder t;
  write_text(t / "one.safetensors", safetensors_bytes({make_tensor("a", DType::kF32, {1}, {1}), make_tensor("both", DType::kF32, {1}, {1}),
                                                       make_tensor("unlisted", DType::kF32, {1}, {1})}));
  write_text(t / "two.safetensors",
             safetensors_bytes({make_tensor("moved", DType::kF32, {1}, {1}), make_tensor("both", DType::kF32, {1}, {1})}));
  write_text(t / kIndexName,
             index_of(R"("a":"one.safetensors","both":"one.safetensors","moved":"one.safetensors","lost":"two.safetensors",)"
                      R"("far":"three.safetensors")"));
  const Opened o = open(t.path());
  EXPECT_EQ(o.errors, 4) << o.text;
  for (const char* part :
       {"1 weight file that it names is missing: three.safetensors", "in two weight files: \"both\" (one.safetensors and two.safetensors)",
        "2 tensors are not in the files that the index names: \"lost\" (index: two.safetensors, found nowhere) and "
        "\"moved\" (index: one.safetensors, found in two.safetensors)",
        "1 tensor is in a weight file but not in the index: \"unlisted\" (one.safetensors)"}) {
    EXPECT_NE(o.text.find(part), std::string::npos) << o.text;
  }
}

TEST(IndexTest, StrayShardsAreNoticed) {
  const TempFolder t;
  write_llama(t / "m", 1, DType::kF32, 2);
  write_text(t / "m/model-00003-of-00003.safetensors", "stale");
  expect_notice(t / "m", "does not name model-00003-of-00003.safetensors; ignored");
}

TEST(IndexTest, TotalSizeIsOnlyAHint) {
  const TempFolder t;
  write_text(t / "model-1.safetensors", one_tensor("a"));
  const auto with_total = [&](const std::string& metadata) {
    write_text(t / kIndexName, index_of("\"a\":\"model-1.safetensors\"", metadata));
  };
  for (const char* fine : {"\"metadata\":{\"total_size\":4},", "\"metadata\":{\"total_size\":4.0},", "\"metadata\":{},", "",
                           "\"metadata\":null,", "\"metadata\":{\"total_size\":\"4\"},"}) {
    with_total(fine);
    EXPECT_EQ(open(t.path()).text, "") << fine;
  }
  for (const char* wrong : {"5", "-4", "4.5", "1e300", "18446744073709551616"}) {
    with_total(fmt::format("\"metadata\":{{\"total_size\":{}}},", wrong));
    expect_notice(t.path(), "total_size says");
  }
}

TEST(IndexTest, ShardsMayLieInSubfolders) {
  const TempFolder t;
  write_text(t / "part/one.safetensors", one_tensor("a"));
  write_text(t / kIndexName, index_of("\"a\":\"part/one.safetensors\""));
  EXPECT_EQ(open(t.path()).text, "");
}

// config.json

TEST(ConfigTest, MustBeAnObject) {
  const TempFolder t;
  write_llama(t / "m", 1);
  for (const auto& [text, part] :
       std::vector<std::pair<std::string, std::string>>{{"{", "not valid JSON"}, {"[]", "is a list"}, {"3", "is not a JSON object"}}) {
    write_text(t / "m/config.json", text);
    expect_error(t / "m", "config.json: error: " + part);
  }
}

TEST(ConfigTest, PythonsLiteralsAreTolerated) {
  const TempFolder t;
  write_llama(t / "m", 1);
  const std::string text = "{\"a\": NaN, \"b\": [Infinity, -Infinity], \"c\": \"NaN \\\" Infinity\"}";
  write_text(t / "m/config.json", text);
  const Opened o = open(t / "m");
  EXPECT_EQ(o.text, "");
  EXPECT_EQ(o.checkpoint.config_text(), text);
}

// Eight 70B-size models: 30 shards, 723 tensors each. The bound is loose for busy machines; it takes some hundredths of a second.
TEST(CheckpointOpenTest, LargeModelsOpenFast) {
  const TempFolder t;
  std::string map;
  for (int s = 0; s < 30; ++s) {
    std::vector<TinyTensor> tensors;
    for (int i = s * 24; i < s * 24 + 24; ++i) {
      tensors.push_back(make_tensor(fmt::format("model.layers.{}.self_attn.some_proj.weight", i), DType::kF32, {1}, {1}));
      map += fmt::format("{}\"{}\":\"model-{}.safetensors\"", map.empty() ? "" : ",", tensors.back().name, s);
    }
    write_text(t / fmt::format("model-{}.safetensors", s), safetensors_bytes(tensors));
  }
  write_text(t / kIndexName, index_of(map));
  const auto before = std::chrono::steady_clock::now();
  for (int i = 0; i < 8; ++i) EXPECT_EQ(open(t.path()).text, "");
  EXPECT_LT(std::chrono::steady_clock::now() - before, std::chrono::seconds(2));
}

}  // namespace
}  // namespace crucible
