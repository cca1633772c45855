// What a folder holds besides plain weights: quantised models are named and refused, companion files listed.
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "checkpoint/companions.h"
#include "support/tiny_model.h"
#include "unit/checkpoint_test_util.h"

namespace crucible {
namespace {

namespace fs = std::filesystem;
using namespace checkpoint_test;

void expect_quantized(const std::vector<TinyTensor>& tensors, const std::string& part, const std::string& config = "{}") {
  const TempFolder t;
  TinyModel model;
  model.tensors = tensors;
  model.config = config;
  write_tiny_model(t.path(), model);
  const Opened o = open(t.path());
  EXPECT_EQ(o.errors, 1) << o.text;
  EXPECT_NE(o.text.find("quantised inputs are not merged yet"), std::string::npos) << o.text;
  EXPECT_NE(o.text.find(part), std::string::npos) << o.text;
}

TinyTensor zeros(const std::string& name, DType dtype, Shape shape) {
  std::int64_t bytes = *checked_byte_count(dtype, shape);
  return raw_tensor(name, dtype, std::move(shape), std::string(static_cast<std::size_t>(bytes), '\0'));
}

TEST(QuantizedTest, SchemesAreNamed) {
  const TinyTensor plain = make_tensor("norm.weight", DType::kF32, {2}, {1, 2});
  expect_quantized({zeros("q.weight", DType::kU8, {8, 1}), zeros("q.weight.absmax", DType::kF32, {1}),
                    zeros("q.weight.quant_state.bitsandbytes__nf4", DType::kU8, {4})},
                   "bitsandbytes 4-bit");
  expect_quantized({zeros("q.weight", DType::kI8, {2, 2}), zeros("q.SCB", DType::kF32, {2})}, "bitsandbytes 8-bit");
  expect_quantized({zeros("q.qweight", DType::kI32, {2, 2}), zeros("q.qzeros", DType::kI32, {2, 2}), plain}, "GPTQ or AWQ");
  expect_quantized({zeros("q.qweight", DType::kI32, {2, 2})}, "(awq;", R"({"quantization_config": {"quant_method": "awq"}})");
  expect_quantized({zeros("q.weight", DType::kF8E4M3, {2, 2}), zeros("q.weight_scale_inv", DType::kF32, {1, 1})}, "block FP8");
  expect_quantized({zeros("q.weight", DType::kF8E4M3, {2, 2})}, "F8_E4M3 weights");
  expect_quantized({zeros("q.weight", DType::kF4, {2, 2})}, "F4 weights");
  expect_quantized({zeros("e.gate_up_proj_blocks", DType::kU8, {2, 2}), zeros("e.gate_up_proj_scales", DType::kU8, {2})}, "MXFP4");
  expect_quantized({zeros("q.weight_packed", DType::kI32, {2, 2})}, "compressed-tensors");
  expect_quantized({zeros("q.weight", DType::kU8, {2, 2})}, "unknown packing");
  expect_quantized({plain}, "declared quantised (fp8; config.json", R"({"text_config": {"quantization_config": {"quant_method": "fp8"}}})");
  expect_quantized({plain}, "unnamed scheme", R"({"quantization_config": {"load_in_4bit": true}})");
}

TEST(QuantizedTest, NvidiasFileIsRead) {
  const TempFolder t;
  write_llama(t.path(), 1);
  write_text(t / "hf_quant_config.json", R"({"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "FP8"}})");
  expect_error(t.path(), "NVIDIA ModelOpt FP8");
}

TEST(QuantizedTest, PlainModelsPass) {
  const TempFolder t;
  TinyModel model;
  model.tensors = {make_tensor("h.0.attn.bias", DType::kU8, {2, 2}, {1, 0, 1, 1}), make_tensor("position_ids", DType::kI64, {1, 2}, {0, 1}),
                   make_tensor("logit_scale", DType::kF32, {}, {1}), make_tensor("mask", DType::kBool, {2}, {1, 0}),
                   zeros("x.weight", DType::kF16, {2, 2})};
  model.config = R"({"quantization_config": null, "x": {"y": {"quantization_config": {"quant_method": "deep"}}}})";
  write_tiny_model(t.path(), model);
  EXPECT_EQ(open(t.path()).text, "");
}

// Companions.

TEST(CompanionTest, WeightsReportsAndTrainingStateStayBehind) {
  const TempFolder t;
  write_llama(t.path(), 1);
  for (const char* name : {"tokenizer.json",
                           "tokenizer.model",
                           "merges.txt",
                           "LICENSE",
                           "generation_config.json",
                           "modeling_x.py",
                           "chat_template.jinja",
                           "pytorch_model.bin",
                           "x.gguf",
                           "model.onnx",
                           "optimizer.pt",
                           "scheduler.pt",
                           "rng_state_0.pth",
                           "trainer_state.json",
                           "training_args.bin",
                           "README.md",
                           "mergekit_config.yml",
                           "crucible.json",
                           "crucible_report.html",
                           ".gitattributes",
                           "pytorch_model.bin.index.json",
                           "model.safetensors.index.fp16.json",
                           "sub/tokenizer.json"}) {
    write_text(t / name, "x");
  }
  fs::create_symlink("nothing", t / "vocab.json");
  fs::create_symlink("LICENSE", t / "NOTICE");
  const Opened o = open(t.path());
  EXPECT_EQ(o.checkpoint.companion_files(),
            (std::vector<std::string>{"LICENSE", "NOTICE", "chat_template.jinja", "config.json", "generation_config.json", "merges.txt",
                                      "modeling_x.py", "tokenizer.json", "tokenizer.model"}));
  EXPECT_NE(o.text.find("vocab.json is a link to a file that does not exist"), std::string::npos) << o.text;
}

TEST(CompanionTest, WhatAMergeReplaces) {
  for (const char* name :
       {"model.safetensors", "model-00001-of-00003.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "config.json",
        "generation_config.json", "tokenizer.json", "README.md", "mergekit_config.yml", "crucible.json", "crucible_report.html"}) {
    EXPECT_TRUE(is_model_file_name(name)) << name;
  }
  for (const char* name :
       {"modeling_x.py", "notes.txt", ".git", "optimizer.pt", "training_args.bin", "LICENSE", "", "recipe.yml", "data.json"}) {
    EXPECT_FALSE(is_model_file_name(name)) << name;
  }
}

}  // namespace
}  // namespace crucible
