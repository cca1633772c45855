#include "arch/align.h"

#include <map>
#include <random>
#include <set>

#include <gtest/gtest.h>

namespace crucible {
namespace {

using Names = std::vector<TensorInfo>;

Alignment align(const Names& reference, const Names& other, const std::string& model_type = {}) {
  const auto pointers = [](const Names& names) {
    std::vector<const TensorInfo*> out;
    for (const TensorInfo& t : names) out.push_back(&t);
    return out;
  };
  return align_names(pointers(reference), pointers(other), model_type);
}

TensorInfo bf16(std::string name, Shape shape) { return {std::move(name), DType::kBF16, std::move(shape)}; }

std::map<std::string, Shape> shapes_of(const Alignment& alignment) {
  std::map<std::string, Shape> out;
  for (const AlignedTensor& t : alignment.tensors) out[t.info.name] = t.info.shape;
  return out;
}

std::map<std::string, Shape> shapes_of(const Names& names) {
  std::map<std::string, Shape> out;
  for (const TensorInfo& t : names) out[t.name] = t.shape;
  return out;
}

Names experts_apart(const std::string& prefix, int layers, int experts, std::int64_t inner, std::int64_t hidden) {
  Names names = {bf16(prefix + "embed_tokens.weight", {32, hidden})};
  for (int l = 0; l < layers; ++l) {
    const std::string layer = prefix + "layers." + std::to_string(l) + ".mlp.";
    names.push_back(bf16(layer + "gate.weight", {experts, hidden}));
    for (int e = 0; e < experts; ++e) {
      const std::string expert = layer + "experts." + std::to_string(e) + ".";
      names.push_back(bf16(expert + "gate_proj.weight", {inner, hidden}));
      names.push_back(bf16(expert + "up_proj.weight", {inner, hidden}));
      names.push_back(bf16(expert + "down_proj.weight", {hidden, inner}));
    }
  }
  return names;
}

Names experts_fused(const std::string& prefix, int layers, int experts, std::int64_t inner, std::int64_t hidden) {
  Names names = {bf16(prefix + "embed_tokens.weight", {32, hidden})};
  for (int l = 0; l < layers; ++l) {
    const std::string layer = prefix + "layers." + std::to_string(l) + ".mlp.";
    names.push_back(bf16(layer + "gate.weight", {experts, hidden}));
    names.push_back(bf16(layer + "experts.gate_up_proj", {experts, 2 * inner, hidden}));
    names.push_back(bf16(layer + "experts.down_proj", {experts, hidden, inner}));
  }
  return names;
}

TEST(Align, EqualNamesNeedNoRule) {
  const Names names = experts_apart("model.", 2, 3, 6, 8);
  const Alignment aligned = align(names, names);
  EXPECT_TRUE(aligned.rules.empty());
  EXPECT_EQ(shapes_of(aligned), shapes_of(names));
}

TEST(Align, MoreExpertsThanTenKeepTheirNumericOrder) {
  const Names fused = experts_fused("model.", 1, 12, 6, 8);
  const Names apart = experts_apart("model.", 1, 12, 6, 8);
  const Alignment aligned = align(fused, apart);
  EXPECT_EQ(shapes_of(aligned), shapes_of(fused));
  for (const AlignedTensor& t : aligned.tensors) {
    if (!t.info.name.ends_with("gate_up_proj")) continue;
    ASSERT_EQ(t.pieces.size(), 24u);
    for (std::size_t i = 0; i < t.pieces.size(); ++i) {
      const std::string wanted =
          "model.layers.0.mlp.experts." + std::to_string(i / 2) + (i % 2 == 0 ? ".gate_proj.weight" : ".up_proj.weight");
      EXPECT_EQ(apart[t.pieces[i].tensor].name, wanted);
    }
  }
}

TEST(Align, SplittingGivesConsecutivePieces) {
  const Names apart = experts_apart("model.", 1, 3, 6, 8);
  const Names fused = experts_fused("", 1, 3, 6, 8);
  const Alignment aligned = align(apart, fused);
  EXPECT_TRUE(aligned.problems.empty());
  EXPECT_EQ(shapes_of(aligned), shapes_of(apart));
  for (const AlignedTensor& t : aligned.tensors) {
    if (t.info.name != "model.layers.0.mlp.experts.2.up_proj.weight") continue;
    ASSERT_EQ(t.pieces.size(), 1u);
    EXPECT_EQ(fused[t.pieces[0].tensor].name, "layers.0.mlp.experts.gate_up_proj");
    EXPECT_EQ(t.pieces[0].begin, 2 * 12 * 8 + 6 * 8);
    EXPECT_EQ(t.pieces[0].count, 6 * 8);
  }
}

TEST(Align, DifferentNumbersOfExpertsKeepWhatIsThere) {
  const Alignment aligned = align(experts_fused("model.", 1, 4, 6, 8), experts_apart("model.", 1, 3, 6, 8));
  // Three of four: a tensor of another shape, which the planner refuses with both shapes.
  EXPECT_EQ(shapes_of(aligned).at("model.layers.0.mlp.experts.gate_up_proj"), (Shape{3, 12, 8}));
}

TEST(Align, ABaseModelWithoutHeadIsFound) {
  const Names full = {bf16("model.embed.weight", {9, 4}), bf16("model.layers.0.a.weight", {4, 4}), bf16("lm_head.weight", {9, 4})};
  const Names bare = {bf16("embed.weight", {9, 4}), bf16("layers.0.a.weight", {4, 4})};
  const auto names = shapes_of(align(full, bare));
  EXPECT_TRUE(names.contains("model.embed.weight"));
  EXPECT_TRUE(names.contains("model.layers.0.a.weight"));
  EXPECT_FALSE(names.contains("lm_head.weight"));
}

TEST(Align, ShapesStopAPrefixFromMatchingAnotherPart) {
  const Names a = {bf16("model.proj.weight", {4, 4})};
  const Names b = {bf16("proj.weight", {5, 3})};
  EXPECT_TRUE(align(a, b).rules.empty());
}

TEST(Align, SpareBuffersAreKnownByNameAndShape) {
  EXPECT_TRUE(is_spare_buffer({"model.layers.3.self_attn.rotary_emb.inv_freq", DType::kF32, {32}}));
  EXPECT_TRUE(is_spare_buffer({"transformer.h.0.attn.bias", DType::kBool, {1, 1, 8, 8}}));
  EXPECT_FALSE(is_spare_buffer({"transformer.h.0.attn.bias", DType::kF32, {8}}));
  EXPECT_FALSE(is_spare_buffer({"my_inv_freq", DType::kF32, {8}}));
}

// Whatever the names are: every tensor given comes out exactly once, or a problem says why not, and no element is used twice.
TEST(Align, RandomNamesLoseNothing) {
  std::mt19937 rng(7);
  const std::vector<std::string> parts = {
      "model",  "layers", "0",      "1",    "22", "experts", "gate_proj", "up_proj", "down_proj", "gate_up_proj", "qkv_proj",   "q_proj",
      "k_proj", "v_proj", "weight", "bias", "",   "#",       "w1",        "module",  "LayerNorm", "gamma",        "99999999999"};
  const auto any = [&](std::size_t n) { return static_cast<std::size_t>(rng() % n); };
  const auto random_names = [&] {
    std::map<std::string, TensorInfo> names;
    for (std::size_t i = any(12) + 1; i > 0; --i) {
      std::string name;
      for (std::size_t k = any(6) + 1; k > 0; --k) name += (name.empty() ? "" : ".") + parts[any(parts.size())];
      Shape shape;
      for (std::size_t k = any(4); k > 0; --k) shape.push_back(static_cast<std::int64_t>(any(4)));
      names[name] = bf16(name, shape);
    }
    Names out;
    for (auto& [name, info] : names) out.push_back(info);
    return out;
  };
  for (int round = 0; round < 4000; ++round) {
    const Names a = random_names(), b = random_names();
    const Alignment aligned = align(a, b, "mixtral");
    std::map<std::size_t, std::int64_t> used;
    for (const AlignedTensor& t : aligned.tensors) {
      std::int64_t elems = 0;
      for (const AlignedPiece& p : t.pieces) {
        ASSERT_LT(p.tensor, b.size());
        ASSERT_GE(p.begin, 0);
        ASSERT_LE(p.begin + p.count, elem_count(b[p.tensor].shape));
        used[p.tensor] += p.count;
        elems += p.count;
      }
      ASSERT_EQ(elems, elem_count(t.info.shape)) << t.info.name;
    }
    for (std::size_t i = 0; i < b.size() && aligned.problems.empty(); ++i) ASSERT_EQ(used[i], elem_count(b[i].shape)) << b[i].name;
  }
}

}  // namespace
}  // namespace crucible
