// Which values that are not finite stop a merge: those that finite inputs make.
#include <cmath>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "crucible/crucible.h"
#include "support/tiny_model.h"

namespace crucible {
namespace {

constexpr std::int64_t kSeveralTiles = 300'000;

class NonFinite : public ::testing::Test {
 protected:
  void write(const std::string& name, double last) {
    std::vector<double> values(kSeveralTiles, 0.25);
    for (std::size_t i = 0; i < values.size(); i += name.size() + 1) values[i] = -0.5;
    values.back() = last;
    TinyModel model;
    model.tensors = {make_tensor("w", DType::kF32, {kSeveralTiles}, values)};
    write_tiny_model(box_ / name, model);
  }
  std::vector<double> run(const std::string& recipe) {
    MergeRequest request;
    request.recipe_text = recipe;
    request.model_dirs = {{"a", box_ / "a"}, {"bb", box_ / "bb"}};
    request.existing = ExistingOutput::kReplace;
    merge(request, box_ / "out");
    return tensor_values(open_checkpoint(box_ / "out"), "w");
  }
  TempFolder box_;
};

// One NaN in an input makes every element of SLERP's output NaN, in tiles without any too: the input is the cause.
TEST_F(NonFinite, AMethodOfVectorsMaySpreadAnInputsNan) {
  write("a", 1);
  write("bb", std::nan(""));
  const auto out = run("merge_method: slerp\nbase_model: a\nmodels: [{model: bb}]\nparameters: {t: 0.3}\n");
  EXPECT_TRUE(std::isnan(out.front()));
  EXPECT_TRUE(std::isnan(out.back()));
}

TEST_F(NonFinite, FiniteInputsThatOverflowStopTheMerge) {
  write("a", 1);
  write("bb", 3e38);
  EXPECT_THROW(run("merge_method: passthrough\nmodels: [{model: bb, parameters: {scale: 2}}]\n"), Error);
}

const char kTaskArithmetic[] = "merge_method: task_arithmetic\nbase_model: a\nmodels: [{model: bb, parameters: {weight: 0.5}}]\n";

TEST_F(NonFinite, FiniteInputsWhoseDifferenceOverflowsStopTheMerge) {
  write("a", -3e38);
  write("bb", 3e38);
  EXPECT_THROW(run(kTaskArithmetic), Error);
}

TEST_F(NonFinite, AnInputsNanIsSeenBehindItsTaskVector) {
  write("a", 1);
  write("bb", std::nan(""));
  const auto out = run(kTaskArithmetic);
  EXPECT_TRUE(std::isfinite(out.front()));
  EXPECT_TRUE(std::isnan(out.back()));
}

}  // namespace
}  // namespace crucible
