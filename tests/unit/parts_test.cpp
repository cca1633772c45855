// Models made of parts: whose a name is, and that nothing is read across parts.
#include <gtest/gtest.h>

#include "arch/parts.h"
#include "crucible/part.h"

namespace crucible {
namespace {

TEST(PartsTest, ANameTellsItsPart) {
  const std::vector<ModelPart> parts = {{"", ""}, {"unet", ""}, {"unet_2", ""}, {"a/b", ""}};
  const std::pair<const char*, std::size_t> cases[] = {{"x.weight", 0}, {"unet/x.weight", 1}, {"unet_2/x.weight", 2}, {"a/b/x", 3},
                                                       {"a/x", 0},      {"unet", 0},          {"unet.x", 0},          {"", 0},
                                                       {"/x", 0},       {"my/unet/x", 0}};
  for (const auto& [name, part] : cases) EXPECT_EQ(part_of(parts, name), part) << name;
  EXPECT_EQ(name_in_folder("unet/x.weight", "unet"), "x.weight");
  EXPECT_EQ(name_in_folder("unet/x.weight", ""), "unet/x.weight");
  EXPECT_EQ(name_in_folder("unet_2/x", "unet"), "unet_2/x");
  EXPECT_EQ(name_below("", "x"), "x");
  EXPECT_EQ(name_below("a/b", "x"), "a/b/x");
}

TEST(PartsTest, StacksAndRolesAreThoseOfEachPartAlone) {
  const std::vector<ModelPart> parts = {{"", R"({"num_hidden_layers": 2})"},
                                        {"head", R"({"num_hidden_layers": 3, "vocab_size": 5, "hidden_size": 4})"}};
  std::vector<TensorInfo> infos;
  for (int i = 0; i < 3; ++i) infos.push_back({"head/model.layers." + std::to_string(i) + ".mlp.up_proj.weight", DType::kF32, {4, 4}});
  infos.push_back({"head/strange", DType::kF32, {5, 4}});
  for (int i = 0; i < 2; ++i) infos.push_back({"model.layers." + std::to_string(i) + ".mlp.up_proj.weight", DType::kF32, {4, 4}});
  infos.push_back({"strange", DType::kF32, {5, 4}});
  std::vector<const TensorInfo*> tensors;
  for (const TensorInfo& info : infos) tensors.push_back(&info);

  const auto stacks = find_layer_stacks(tensors, parts);
  ASSERT_EQ(stacks.size(), 2U);
  EXPECT_EQ(stacks[0].name, "model.layers");
  EXPECT_EQ(stacks[0].layers, 2);
  EXPECT_TRUE(stacks[0].is_main);
  EXPECT_EQ(stacks[1].name, "head/model.layers");
  EXPECT_EQ(stacks[1].layers, 3);
  EXPECT_EQ(stacks[1].config_key, "num_hidden_layers");
  EXPECT_EQ(stacks[1].folder, "head");
  EXPECT_FALSE(stacks[1].is_main);

  const auto roles = infer_roles(tensors, parts);
  EXPECT_EQ(roles[0].path, "mlp.up");
  EXPECT_EQ(roles[3].path, "embedding") << "by the sizes of its own config.json";
  EXPECT_EQ(roles[4].path, "mlp.up");
  EXPECT_EQ(roles[6].path, "other") << "the other part's config.json says nothing of it";
}

}  // namespace
}  // namespace crucible
