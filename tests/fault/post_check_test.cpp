// What was written is read back before it is put in place: every planted fault is found, nothing is put in place, and what speaks against
// the merge is kept.
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "crucible/crucible.h"
#include "io/system_calls.h"
#include "plan/fit.h"
#include "report/library.h"
#include "run/post_check.h"
#include "run/write_model.h"
#include "support/faulty_file.h"
#include "support/tiny_model.h"

namespace crucible {
namespace {

namespace fs = std::filesystem;

constexpr LlamaSize kSize{2, 8, 8, 8};

class PostCheckTest : public ::testing::Test {
 protected:
  PostCheckTest() {
    for (const char* name : {"base", "a"}) {
      write_llama(box_ / name, name[0] == 'b' ? 1u : 2u, DType::kF16, 1, kSize);
      write_text(box_ / name + "/tokenizer.json", R"({"model": {"type": "BPE", "vocab": {"a": 0, "b": 7}, "merges": []}})");
      write_text(box_ / name + "/1_Pooling/config.json", "{}");
    }
    request_.recipe_text = kHalfOfA;
    request_.model_dirs = {{"base", box_ / "base"}, {"a", box_ / "a"}};
    request_.threads = 1;
    request_.shard_bytes = 600;
    request_.write_card = false;
  }

  Plan make() {
    Diagnostics found;
    Plan plan = plan_request(request_, found);
    found.throw_if_errors();
    return plan;
  }

  // The model written, damaged, and looked at again against the plan, which may be another than the one that was run.
  PostCheck check_after(const std::function<void(const std::string&)>& damage, const std::function<void(Plan&)>& change = {}) {
    fs::remove_all(box_ / "out");
    merge(request_, box_ / "out");
    if (damage) damage(box_ / "out");
    Plan plan = make();
    if (change) change(plan);
    PostCheck check;
    check_output(plan, box_ / "out", check);
    return check;
  }

  static std::string text_of(const PostCheck& check) {
    std::string text;
    for (const std::string& f : check.faults) text += f + "\n";
    return text;
  }

  TempFolder box_;
  MergeRequest request_;
};

void replace_in(const std::string& path, const std::string& from, const std::string& to) {
  std::string text = read_text(path);
  const std::size_t at = text.find(from);
  ASSERT_NE(at, std::string::npos) << from << " in " << path;
  write_text(path, text.replace(at, from.size(), to));
}

TEST_F(PostCheckTest, AnUndamagedModelPasses) {
  const PostCheck check = check_after({});
  EXPECT_EQ(text_of(check), "");
  EXPECT_EQ(check.notices, std::vector<std::string>{});
  EXPECT_GT(check.checks, 80);
}

TEST_F(PostCheckTest, EveryDamageOfAFileIsFound) {
  const std::string first = "/model-00001-of-", index = "/model.safetensors.index.json";
  const auto shard = [&](const std::string& out, int n) {
    for (const auto& entry : fs::directory_iterator(out)) {
      const std::string name = entry.path().filename().string();
      if (name.starts_with("model-0000" + std::to_string(n))) return entry.path().string();
    }
    throw std::runtime_error("no shard");
  };
  struct Case {
    const char* what;
    std::function<void(const std::string&)> damage;
    const char* found;
  };
  const Case cases[] = {
      {"shard removed", [&](const std::string& o) { fs::remove(shard(o, 2)); }, "is missing"},
      {"shard cut", [&](const std::string& o) { fs::resize_file(shard(o, 2), fs::file_size(shard(o, 2)) - 2); }, "bytes, planned were"},
      {"shard longer", [&](const std::string& o) { fs::resize_file(shard(o, 2), fs::file_size(shard(o, 2)) + 2); }, "does not read back"},
      {"header zeroed", [&](const std::string& o) { write_text(shard(o, 1), std::string(fs::file_size(shard(o, 1)), '\0')); },
       "does not read back"},
      {"type changed", [&](const std::string& o) { replace_in(shard(o, 1), "\"F16\"", "\"I16\""); }, "is I16"},
      {"shape changed", [&](const std::string& o) { replace_in(shard(o, 1), "[8,8]", "[64] "); }, "is F16 [64], planned was F16 [8, 8]"},
      {"overlap", [&](const std::string& o) { replace_in(shard(o, 1), "[128,144]", "[126,142]"); }, "does not read back"},
      {"tensor renamed", [&](const std::string& o) { replace_in(shard(o, 1), "layers.0.", "layers.9."); }, "is in no weight file"},
      {"shards exchanged",
       [&](const std::string& o) {
         const std::string a = shard(o, 1), b = shard(o, 2);
         fs::rename(a, o + "/x");
         fs::rename(b, a);
         fs::rename(o + "/x", b);
       },
       "is in no weight file"},
      {"stray shard", [&](const std::string& o) { write_text(o + "/model-00001-of-00099.safetensors", "x"); }, "was not planned"},
      {"no index", [&](const std::string& o) { fs::remove(o + index); }, "index.json is missing"},
      {"index cut", [&](const std::string& o) { fs::resize_file(o + index, 100); }, "index.json does not read back"},
      {"index lacks a tensor", [&](const std::string& o) { replace_in(o + index, "\"model.norm.weight\"", "\"model.norm.weighs\""); },
       "does not name tensor model.norm.weight"},
      {"index names another file", [&](const std::string& o) { replace_in(o + index, ": \"model-00001", ": \"model-00002"); },
       "it is in model-00001"},
      {"total size", [&](const std::string& o) { replace_in(o + index, "\"total_size\": ", "\"total_size\": 1"); }, "gives a total size"},
      {"config cut", [&](const std::string& o) { fs::resize_file(o + "/config.json", 20); }, "config.json does not read back"},
      {"config edited",
       [&](const std::string& o) { replace_in(o + "/config.json", "\"num_attention_heads\": 2", "\"num_attention_heads\": 4"); },
       "not the one that was planned"},
      {"no config", [&](const std::string& o) { fs::remove(o + "/config.json"); }, "config.json is missing"},
      {"companion cut", [&](const std::string& o) { fs::resize_file(o + "/tokenizer.json", 5); },
       "the copy of tokenizer.json has another size"},
      {"companion removed", [&](const std::string& o) { fs::remove(o + "/1_Pooling/config.json"); }, "1_Pooling/config.json is missing"},
  };
  for (const Case& c : cases)
    EXPECT_NE(text_of(check_after(c.damage)).find(c.found), std::string::npos) << c.what << ": " << text_of(check_after(c.damage));
}

// The model is what was planned, but the plan is wrong: config and tensors no longer fit together.
TEST_F(PostCheckTest, EveryMisfitIsFound) {
  struct Case {
    const char* from;
    const char* to;
    const char* found;
  };
  const Case cases[] = {
      {"\"vocab_size\": 8", "\"vocab_size\": 9", "has 8 rows, vocab_size of config.json says 9"},
      {"\"hidden_size\": 8", "\"hidden_size\": 16", "has 8 columns, config.json gives a hidden size of 16"},
      {"\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3",
       "num_hidden_layers of config.json says 3 layers, and no layers of the model are as many"},
      {"\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1",
       "num_hidden_layers of config.json says 1 layers, and no layers of the model are as many"},
      {"\"num_attention_heads\": 2", "\"tie_word_embeddings\": true",
       "config.json ties the embeddings, and lm_head.weight is stored all the same"},
  };
  for (const Case& c : cases) {
    std::string config = llama_config(DType::kF16, kSize);
    const std::size_t at = config.find(c.from);
    ASSERT_NE(at, std::string::npos);
    config.replace(at, std::string(c.from).size(), c.to);
    const PostCheck check = check_after([&](const std::string& out) { write_text(out + "/config.json", config); },
                                        [&](Plan& plan) { plan.root().config_text = config; });
    EXPECT_EQ(check.faults.size(), 1u) << c.to;
    EXPECT_NE(text_of(check).find(c.found), std::string::npos) << c.to << ": " << text_of(check);
  }
}

TEST_F(PostCheckTest, ATokenizerThatIsTooLargeIsFound) {
  // Two inputs that fit, and an output with the tokenizer of another model.
  const std::string wide = R"({"model": {"type": "BPE", "vocab": {"a": 0, "b": 8}, "merges": []}})";
  const PostCheck check = check_after([&](const std::string& out) { write_text(out + "/tokenizer.json", wide); });
  EXPECT_NE(text_of(check).find("tokenizer.json has ids up to 8, model.embed_tokens.weight only 8 rows"), std::string::npos)
      << text_of(check);
}

TEST_F(PostCheckTest, ALostTensorIsFoundByTheNumberOfParameters) {
  Plan plan = make();
  ASSERT_TRUE(check_fit(plan, {}).faults.empty());
  std::erase_if(plan.jobs, [](const Job& job) { return job.info.name == "model.layers.1.mlp.up_proj.weight"; });
  const Fit fit = check_fit(plan, {});
  ASSERT_EQ(fit.faults.size(), 1u);
  EXPECT_NE(fit.faults.front().find("parameters, and the output only"), std::string::npos) << fit.faults.front();
}

TEST_F(PostCheckTest, AMissingHeadIsFoundAndAMissingLayer) {
  request_.shard_bytes = 0;
  const auto without = [](Plan& plan, const std::string& part) {
    std::erase_if(plan.jobs, [&](const Job& job) { return job.info.name.find(part) != std::string::npos; });
  };
  std::string untied = llama_config(DType::kF16, kSize);
  untied.replace(untied.find("\"num_attention_heads\": 2"), 24, "\"tie_word_embeddings\": false");
  PostCheck check = check_after({}, [&](Plan& plan) {
    without(plan, "lm_head");
    plan.root().config_text = untied;
  });
  EXPECT_NE(text_of(check).find("only model.embed_tokens.weight is stored"), std::string::npos) << text_of(check);
  check = check_after({}, [&](Plan& plan) { without(plan, "layers.0."); });
  EXPECT_NE(text_of(check).find("the layers of model.layers have gaps"), std::string::npos) << text_of(check);
}

TEST_F(PostCheckTest, BytesThatWereNotWrittenAreFound) {
  const Plan plan = make();
  PostCheck check;
  check_coverage(plan, std::vector<std::int64_t>(plan.files.size(), 0), check);
  EXPECT_EQ(text_of(check), "");
  std::vector<std::int64_t> unwritten(plan.files.size(), 0);
  unwritten[1] = 12;
  check_coverage(plan, unwritten, check);
  EXPECT_NE(text_of(check).find("12 bytes of model-00002"), std::string::npos);
}

TEST(CountNonfinite, StoredBytes) {
  EXPECT_EQ(count_nonfinite_stored(DType::kF16, "\x00\x7c\x00\x7e\xff\x7b\x00\xfc", 8), 3);
  EXPECT_EQ(count_nonfinite_stored(DType::kBF16, "\x80\x7f\xc0\xff\x7f\x7f", 6), 2);
  EXPECT_EQ(count_nonfinite_stored(DType::kF32, "\x00\x00\x80\x7f\xff\xff\x7f\x7f", 8), 1);
  EXPECT_EQ(count_nonfinite_stored(DType::kF64, "\0\0\0\0\0\0\xf0\xff", 8), 1);
  EXPECT_EQ(count_nonfinite_stored(DType::kF8E4M3, "\x7f\xff\x7e", 3), 2);
  EXPECT_EQ(count_nonfinite_stored(DType::kF8E5M2, "\x7c\xfd\x7b", 3), 2);
  EXPECT_EQ(count_nonfinite_stored(DType::kI64, "\xff\xff\xff\xff\xff\xff\xff\xff", 8), 0);
}

// A disk that says it has written and has not: the write number `dropped` goes nowhere.
class LyingDisk {
 public:
  explicit LyingDisk(int dropped) {
    real_ = system_calls();
    left_ = dropped;
    system_calls().pwrite = [](int fd, const void* data, std::size_t n, off_t at) {
      return --left_ == 0 ? static_cast<ssize_t>(n) : real_.pwrite(fd, data, n, at);
    };
  }

 private:
  RestoredCalls restored_;
  static inline SystemCalls real_{};
  static inline int left_ = 0;
};

TEST_F(PostCheckTest, AStoppedMergeLeavesItsEvidenceAndNothingElse) {
  fs::create_directory(box_ / "work");
  try {
    const LyingDisk disk(1);  // the first header
    merge(request_, box_ / "work/out");
    FAIL() << "the header was never written";
  } catch (const Error& error) {
    EXPECT_EQ(exit_code_of(error.code()), 3);
    const std::string text = error.what();
    EXPECT_NE(text.find("what was written is not the model that was planned; nothing was put in place:"), std::string::npos) << text;
    EXPECT_NE(text.find("model-00001-of-"), std::string::npos) << text;
    EXPECT_NE(text.find("work/out.evidence"), std::string::npos) << text;
  }
  EXPECT_FALSE(fs::exists(box_ / "work/out"));
  EXPECT_TRUE(fs::exists(box_ / "work/out.evidence/crucible.json"));
  EXPECT_NE(read_text(box_ / "work/out.evidence/crucible_report.html").find("was not put in place"), std::string::npos);
  EXPECT_EQ(std::distance(fs::directory_iterator(box_ / "work"), fs::directory_iterator{}), 1);
}

}  // namespace
}  // namespace crucible
